//! A perceptron with one hidden layer learns exclusive or, which no linear model
//! can: y = σ(tanh(x·W1 + b1)·W2 + b2), by plain gradient descent.
//!
//! ```text
//! cargo run -p autodiff --example xor
//! ```
//!
//! prints the loss as it falls and then the four answers.

use autodiff::{Error, Params, record};

/// The truth table, one row per sample.
const X: [f64; 8] = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
const TARGETS: [f64; 4] = [0.0, 1.0, 1.0, 0.0];
const HIDDEN: usize = 4;
const RATE: f64 = 0.5;
const STEPS: usize = 1000;

fn main() -> Result<(), Error> {
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
    println!("{} parameters\n\n step  loss", params.len());
    for step in 0..=STEPS {
        let mut pass = tape.forward(&params)?;
        if step % 100 == 0 {
            println!("{step:5}  {:.6}", pass.loss()?);
        }
        pass.backward(&mut grads)?;
        for (theta, gradient) in params.values_mut().iter_mut().zip(grads.iter()) {
            *theta -= RATE * gradient;
        }
    }

    println!("\n a  b  a xor b");
    let pass = tape.forward(&params)?;
    for (x, y) in X.chunks(2).zip(pass.value(y)?) {
        println!(" {}  {}  {y:.3}", x[0], x[1]);
    }
    Ok(())
}
