//! Reverse-mode differentiation of scalars, complete in a page and without this crate.
//!
//! ```text
//! cargo run -p autodiff --example 01_scalar_engine
//! ```
//!
//! A tape is a list. Each entry has a value, and for each operand the local derivative of
//! that value by it. The backward sweep goes through the list once, from the last entry to
//! the first, and hands ∂L/∂(entry) on to the operands by the chain rule.
//!
//! The expression is the published example of A. Karpathy's micrograd, and so are its
//! results: 24.7041, and the derivatives 138.8338 and 645.5773.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One entry: its value, and (operand, ∂value/∂operand) for each operand.
struct Entry {
    value: f64,
    operands: Vec<(usize, f64)>,
}

#[derive(Default)]
struct Tape(RefCell<Vec<Entry>>);

/// A scalar on a tape.
#[derive(Clone, Copy)]
struct Scalar<'t> {
    tape: &'t Tape,
    index: usize,
}

impl Tape {
    fn push(&self, value: f64, operands: Vec<(usize, f64)>) -> Scalar<'_> {
        let mut entries = self.0.borrow_mut();
        entries.push(Entry { value, operands });
        let index = entries.len() - 1;
        Scalar { tape: self, index }
    }

    fn scalar(&self, value: f64) -> Scalar<'_> {
        self.push(value, Vec::new())
    }
}

impl<'t> Scalar<'t> {
    fn value(self) -> f64 {
        self.tape.0.borrow()[self.index].value
    }

    /// y = f(a), f′ given.
    fn map(self, y: f64, slope: f64) -> Self {
        self.tape.push(y, vec![(self.index, slope)])
    }

    /// y = f(a, b), both partial derivatives given.
    fn with(self, b: Self, y: f64, [by_a, by_b]: [f64; 2]) -> Self {
        let operands = vec![(self.index, by_a), (b.index, by_b)];
        self.tape.push(y, operands)
    }

    fn powi(self, n: i32) -> Self {
        let a = self.value();
        self.map(a.powi(n), f64::from(n) * a.powi(n - 1))
    }

    fn relu(self) -> Self {
        let a = self.value();
        self.map(a.max(0.0), if a > 0.0 { 1.0 } else { 0.0 })
    }

    /// ∂self/∂(entry) for every entry of the tape: the whole of reverse mode.
    fn gradients(self) -> Vec<f64> {
        let entries = self.tape.0.borrow();
        let mut gradients = vec![0.0; entries.len()];
        gradients[self.index] = 1.0;
        for (i, entry) in entries.iter().enumerate().rev() {
            for &(operand, slope) in &entry.operands {
                gradients[operand] += gradients[i] * slope;
            }
        }
        gradients
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, |$a:ident, $b:ident| $y:expr, $slopes:expr) => {
        impl<'t> $trait for Scalar<'t> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self.value(), other.value());
                self.with(other, $y, $slopes)
            }
        }
        impl<'t> $trait<f64> for Scalar<'t> {
            type Output = Self;
            fn $method(self, other: f64) -> Self {
                $trait::$method(self, self.tape.scalar(other))
            }
        }
    };
}
operator! { Add, add, |a, b| a + b, [1.0, 1.0] }
operator! { Sub, sub, |a, b| a - b, [1.0, -1.0] }
operator! { Mul, mul, |a, b| a * b, [b, a] }
operator! { Div, div, |a, b| a / b, [1.0 / b, -a / (b * b)] }

impl Neg for Scalar<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.map(-self.value(), -1.0)
    }
}

/// Prints g and its derivatives by a and b.
pub fn main() {
    let tape = Tape::default();
    let (a, b) = (tape.scalar(-4.0), tape.scalar(2.0));
    let c = a + b;
    let d = a * b + b.powi(3);
    let c = c + c + 1.0;
    let c = c + c + 1.0 - a;
    let d = d + d * 2.0 + (b + a).relu();
    let d = d + d * 3.0 + (b - a).relu();
    let f = (c - d).powi(2);
    let g = f / 2.0 + tape.scalar(10.0) / f;

    let gradients = g.gradients();
    let (by_a, by_b) = (gradients[a.index], gradients[b.index]);
    println!(
        "g     = {:.4}\n∂g/∂a = {by_a:.4}\n∂g/∂b = {by_b:.4}",
        g.value()
    );
    for (found, published) in [(g.value(), 24.7041), (by_a, 138.8338), (by_b, 645.5773)] {
        assert!(
            (found - published).abs() < 5e-5,
            "{found} is not {published}"
        );
    }
}
