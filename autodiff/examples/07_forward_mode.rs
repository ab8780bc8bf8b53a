//! Forward mode, and the test that holds it against reverse mode.
//!
//! ```text
//! cargo run -p autodiff --example 07_forward_mode
//! ```
//!
//! A function y = f(x) has the Jacobian J, ∂yᵢ/∂xⱼ. Reverse mode computes Jᵀ·dy, the gradient
//! of ⟨dy, y⟩. Forward mode computes J·v, the derivative of y along v: every number carries its
//! derivative along, y + ε·(J·v) with ε² = 0, a dual number. One pass costs a small multiple of f,
//! but gives one direction; the gradient by a million parameters would take a million passes.
//!
//! The two know nothing of each other, and yet ⟨dy, J·v⟩ = ⟨Jᵀ·dy, v⟩ for all dy and v: a
//! test of derivatives to the last digits, where differences divide their rounding error by a
//! small step.

use autodiff::{Error, Params, Var, record};
use std::ops::{Add, Div, Mul};

/// value + ε·slope, ε² = 0.
#[derive(Clone, Copy)]
struct Dual {
    value: f64,
    slope: f64,
}

impl Dual {
    fn map(self, value: f64, derivative: f64) -> Self {
        let slope = derivative * self.slope;
        Self { value, slope }
    }
    fn exp(self) -> Self {
        self.map(self.value.exp(), self.value.exp())
    }
    fn tanh(self) -> Self {
        let y = self.value.tanh();
        self.map(y, 1.0 - y * y)
    }
    fn square(self) -> Self {
        self.map(self.value * self.value, 2.0 * self.value)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, |$a:ident, $b:ident| $value:expr, $slope:expr) => {
        impl $trait for Dual {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                Self {
                    value: $value,
                    slope: $slope,
                }
            }
        }
    };
}
operator! { Add, add, |a, b| a.value + b.value, a.slope + b.slope }
operator! { Mul, mul, |a, b| a.value * b.value, a.slope * b.value + a.value * b.slope }
operator! { Div, div, |a, b| a.value / b.value, (a.slope - a.value / b.value * b.slope) / b.value }

/// Rows and inner dimension of A, columns of B.
const M: usize = 3;
const K: usize = 4;
const N: usize = 2;

/// f, once on the tape …
fn on_the_tape<'g>(a: Var<'g, f64>, b: Var<'g, f64>) -> Var<'g, f64> {
    let y = a.matmul(b).tanh();
    y / (y.square().exp() + y.exp())
}

/// … and once in dual numbers.
fn in_duals(a: &[Dual], b: &[Dual]) -> Vec<Dual> {
    let zero = Dual {
        value: 0.0,
        slope: 0.0,
    };
    let element = |i: usize, j: usize| {
        let products = (0..K).map(|p| a[i * K + p] * b[p * N + j]);
        let y = products.fold(zero, |sum, product| sum + product).tanh();
        y / (y.square().exp() + y.exp())
    };
    (0..M * N).map(|at| element(at / N, at % N)).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Prints both inner products.
pub fn main() -> Result<(), Error> {
    let numbers = |n: usize, seed: f64| (1..=n).map(move |i| f64::sin(seed * i as f64));
    let mut params = Params::new();
    let mut values = numbers(M * K + K * N, 1.3);
    let a = params.add("A", [M, K], || values.next().unwrap_or(0.0))?;
    let b = params.add("B", [K, N], || values.next().unwrap_or(0.0))?;
    let dy: Vec<f64> = numbers(M * N, 2.1).collect();
    let v: Vec<f64> = numbers(params.len(), 0.7).collect();

    let (mut tape, _) = record(|g| {
        let y = on_the_tape(g.param(a), g.param(b));
        Ok([(y * g.constant([M, N], &dy)).sum()])
    })?;
    let mut gradient = params.zeros_like();
    tape.forward(&params)?.backward(&mut gradient)?;

    let along = params.values().iter().zip(&v);
    let duals: Vec<Dual> = along
        .map(|(&value, &slope)| Dual { value, slope })
        .collect();
    let y = in_duals(&duals[a.range()], &duals[b.range()]);
    let jv: Vec<f64> = y.iter().map(|y| y.slope).collect();

    let (forward, reverse) = (inner(&dy, &jv), inner(&gradient, &v));
    println!("⟨dy, J·v⟩  = {forward:.16}\n⟨Jᵀ·dy, v⟩ = {reverse:.16}");
    assert!((forward - reverse).abs() < 1e-14 * forward.abs().max(1.0));
    Ok(())
}
