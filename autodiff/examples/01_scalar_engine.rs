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
use std::ops::{Add, Div, Mul, Sub};

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
        let index = entries.len();
        entries.push(Entry { value, operands });
        Scalar { tape: self, index }
    }

    fn scalar(&self, value: f64) -> Scalar<'_> {
        self.push(value, vec![])
    }
}

impl Scalar<'_> {
    fn value(self) -> f64 {
        self.tape.0.borrow()[self.index].value
    }

    fn powi(self, n: i32) -> Self {
        let a = self.value();
        let slope = f64::from(n) * a.powi(n - 1);
        self.tape.push(a.powi(n), vec![(self.index, slope)])
    }

    fn relu(self) -> Self {
        let a = self.value();
        let slope = if a > 0.0 { 1.0 } else { 0.0 };
        self.tape.push(a.max(0.0), vec![(self.index, slope)])
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

/// y = f(a, b), with both partial derivatives given.
macro_rules! operator {
    ($trait:ident, $method:ident, |$a:ident, $b:ident| $y:expr, $by_a:expr, $by_b:expr) => {
        impl $trait for Scalar<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self.value(), other.value());
                let operands = vec![(self.index, $by_a), (other.index, $by_b)];
                self.tape.push($y, operands)
            }
        }
    };
}
operator! { Add, add, |a, b| a + b, 1.0, 1.0 }
operator! { Sub, sub, |a, b| a - b, 1.0, -1.0 }
operator! { Mul, mul, |a, b| a * b, b, a }
operator! { Div, div, |a, b| a / b, 1.0 / b, -a / (b * b) }

/// Prints g and its derivatives by a and b.
pub fn main() {
    let tape = Tape::default();
    let (a, b) = (tape.scalar(-4.0), tape.scalar(2.0));
    let [one, two, three, ten] = [1.0, 2.0, 3.0, 10.0].map(|x| tape.scalar(x));
    let c = a + b;
    let d = a * b + b.powi(3);
    let c = c + c + one;
    let c = c + c + one - a;
    let d = d + d * two + (b + a).relu();
    let d = d + d * three + (b - a).relu();
    let f = (c - d).powi(2);
    let g = f / two + ten / f;

    let gradients = g.gradients();
    for (name, found, published) in [
        ("g", g.value(), 24.7041),
        ("∂g/∂a", gradients[a.index], 138.8338),
        ("∂g/∂b", gradients[b.index], 645.5773),
    ] {
        println!("{name:5} = {found:.4}");
        assert!((found - published).abs() < 5e-5, "not {published}");
    }
}
