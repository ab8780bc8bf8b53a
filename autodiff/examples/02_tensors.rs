//! The same on tensors: first the expression of `01_scalar_engine` at several points at
//! once, then what an engine is for, a network that learns.
//!
//! What is new: this tape is recorded first and computed later, as often as asked. `record`
//! only lists the operations; `forward` computes their values; `backward` goes through the
//! list as `gradients` did there, but finds the local derivatives on the way instead of
//! keeping them. Parameters are ranges of one flat vector, and so are their gradients:
//! `grads[a.range()]`.
//!
//! ```text
//! cargo run -p autodiff --example 02_tensors
//! ```
//!
//! The network is a perceptron with one hidden layer. It learns exclusive or, which no
//! linear model can: y = σ(tanh(x·W1 + b1)·W2 + b2), by plain gradient descent.

use autodiff::{Error, Params, Var, record};

/// g of a and b, element by element.
fn expression<'g>(a: Var<'g, f64>, b: Var<'g, f64>) -> Var<'g, f64> {
    let c = a + b;
    let d = a * b + b * b * b;
    let c = c + c + 1.0;
    let c = c + c + 1.0 - a;
    let d = d * 3.0 + (b + a).relu();
    let d = d * 4.0 + (b - a).relu();
    let f = (c - d).square();
    f / 2.0 + 10.0 / f
}

fn same_expression() -> Result<(), Error> {
    let mut params = Params::new();
    // The last point is micrograd's.
    let mut a_values = [1.0, 0.5, -4.0].into_iter();
    let mut b_values = [2.0, -1.5, 2.0].into_iter();
    let a = params.add("a", [3], || a_values.next().unwrap_or(0.0))?;
    let b = params.add("b", [3], || b_values.next().unwrap_or(0.0))?;
    // A sum, so that there is one number to differentiate: each element of a has a part in
    // one term only, so that ∂Σg/∂aᵢ = ∂gᵢ/∂aᵢ.
    let (mut tape, [g, _]) = record(|graph| {
        let g = expression(graph.param(a), graph.param(b));
        Ok([g, g.sum()])
    })?;
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(&params)?;
    pass.backward(&mut grads)?;
    let g = pass.value(g)?;
    println!("g     = {g:.4?}");
    println!(
        "∂g/∂a = {:.4?}\n∂g/∂b = {:.4?}",
        &grads[a.range()],
        &grads[b.range()]
    );
    let last = [g[2], grads[a.range()][2], grads[b.range()][2]];
    for (found, published) in last.into_iter().zip([24.7041, 138.8338, 645.5773]) {
        assert!(
            (found - published).abs() < 5e-5,
            "{found} is not {published}"
        );
    }
    Ok(())
}

/// The truth table, one row per sample.
const X: [f64; 8] = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
const TARGETS: [f64; 4] = [0.0, 1.0, 1.0, 0.0];
const HIDDEN: usize = 4;
const RATE: f64 = 0.5;
const STEPS: usize = 1000;

fn exclusive_or() -> Result<(), Error> {
    // Any irregular numbers will do to start from; equal ones would stay equal.
    let mut n = 0.0;
    let mut irregular = || {
        n += 1.0;
        f64::sin(3.0 * n)
    };
    let mut params = Params::new();
    let w1 = params.add("W1", [2, HIDDEN], &mut irregular)?;
    let b1 = params.add("b1", [HIDDEN], || 0.0)?;
    let w2 = params.add("W2", [HIDDEN, 1], &mut irregular)?;
    let b2 = params.add("b2", [1], || 0.0)?;
    let (mut tape, [y, _]) = record(|g| {
        let (x, targets) = (g.constant([4, 2], &X), g.constant([4, 1], &TARGETS));
        let hidden = x.affine(g.param(w1), g.param(b1)).tanh();
        let y = hidden.affine(g.param(w2), g.param(b2)).sigmoid();
        Ok([y, y.squared_error(targets)])
    })?;

    let mut grads = params.zeros_like();
    println!("\n{} parameters\n\n step  loss", params.len());
    for step in 0..=STEPS {
        let mut pass = tape.forward(&params)?;
        if step % 200 == 0 {
            println!("{step:5}  {:.6}", pass.loss()?);
        }
        pass.backward(&mut grads)?;
        for (theta, gradient) in params.values_mut().iter_mut().zip(grads.iter()) {
            *theta -= RATE * gradient;
        }
    }

    println!("\n a  b  a xor b");
    let pass = tape.forward(&params)?;
    for ((x, y), target) in X.chunks(2).zip(pass.value(y)?).zip(TARGETS) {
        println!(" {}  {}  {y:.3}", x[0], x[1]);
        assert!((y - target).abs() < 0.2, "{y} is not {target}");
    }
    Ok(())
}

/// Prints both.
pub fn main() -> Result<(), Error> {
    same_expression()?;
    exclusive_or()
}
