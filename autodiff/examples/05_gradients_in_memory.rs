//! Why no pass zeroes all gradients first, and how they share memory.
//!
//! ```text
//! cargo run -p autodiff --example 05_gradients_in_memory
//! ```
//!
//! The gradient of a value is a sum with a term for each of its uses. The usual way zeroes
//! all gradients before a backward pass and lets every operation add. Here the first
//! operation to reach a gradient overwrites what the last pass left, and the further ones
//! add (`kernels::Term`): a pass over all memory less. An operation whose loop can only add
//! zeroes that one gradient itself (`Gradient::zeroed`; here the sum). A gradient that nobody
//! reaches, for a parameter without part in the loss, is zero all the same.
//!
//! The gradient of a result is needed from the backward step of its last user to that of
//! its own operation. In a chain of n layers two buffers are enough for n gradients, which
//! is what `Tape::share_gradients` plans.

use autodiff::{Error, Params, Tape, record};

const LAYERS: usize = 20;
const UNITS: usize = 64;

/// x ← tanh(x·W), `LAYERS` times, and then Σ x².
fn deep() -> Result<(Params<f64>, Tape<f64>), Error> {
    let mut params = Params::new();
    let mut n = 0.0;
    let mut irregular = || {
        n += 1.0;
        f64::sin(n) / 8.0
    };
    let x = params.add("x", [1, UNITS], &mut irregular)?;
    let weights = (0..LAYERS).map(|i| params.add(format!("W{i}"), [UNITS, UNITS], &mut irregular));
    let weights: Vec<_> = weights.collect::<Result<_, _>>()?;
    params.add("without part", [UNITS], || 1.0)?;
    let (tape, _) = record(|g| {
        let first = g.param(x);
        let layers = weights.iter().map(|&w| g.param(w));
        let y = layers.fold(first, |x, w| x.matmul(w).tanh());
        Ok([y.square().sum()])
    })?;
    Ok((params, tape))
}

/// Prints what both ways need.
pub fn main() -> Result<(), Error> {
    let (params, mut tape) = deep()?;
    // Rubbish, as the last step would leave it.
    let mut grads = vec![777.0; params.len()];
    tape.forward(&params)?.backward(&mut grads)?;
    let alone = tape.gradient_elements();
    assert!(
        grads.iter().all(|&g| g != 777.0),
        "every element is written"
    );
    let without_part = params.get("without part").map(|p| p.range());
    let zeros = &grads[without_part.unwrap_or_default()];
    assert!(zeros.iter().all(|&g| g == 0.0));
    println!(
        "gradients of {} parameters, written over rubbish",
        params.len()
    );

    tape.share_gradients();
    let mut again = vec![-777.0; params.len()];
    tape.forward(&params)?.backward(&mut again)?;
    let shared = tape.gradient_elements();
    assert_eq!(again, grads, "the same bits");
    println!("{LAYERS} layers of {UNITS} units: gradients of results take {alone} numbers,");
    println!("and {shared} where they share memory");
    assert!(shared * 5 < alone);
    Ok(())
}
