//! What the tests of the operations share.

use crate::{Graph, Params, Var, gradcheck, record};

/// A shape and its elements.
pub(crate) type Operand<'a> = (&'a [usize], &'a [f64]);

fn params(operands: &[Operand]) -> Params<f64> {
    let mut params = Params::new();
    for (i, (shape, data)) in operands.iter().enumerate() {
        let mut data = data.iter().copied();
        let shape = crate::Shape::new(shape).expect("few axes");
        params
            .add(format!("x{i}"), shape, || data.next().expect("enough data"))
            .expect("distinct names");
    }
    params
}

fn vars<'g>(graph: &'g Graph<f64>, params: &Params<f64>) -> Vec<Var<'g, f64>> {
    params.iter().map(|(_, p)| graph.param(p)).collect()
}

/// The elements of `f` applied to the operands.
pub(crate) fn evaluate(
    operands: &[Operand],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) -> Vec<f64> {
    let params = params(operands);
    let (mut tape, [y]) = record(|g| Ok([f(&vars(g, &params))])).expect("right shapes");
    let pass = tape.forward(&params).expect("its own parameters");
    pass.into_value(y).expect("its own slot").to_vec()
}

/// Checks the gradient of `f` by every operand.
pub(crate) fn assert_gradients(
    operands: &[Operand],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) {
    let params = params(operands);
    if let Err(error) = gradcheck(&params, |g| f(&vars(g, &params))) {
        panic!("{error}");
    }
}

/// Compares element by element, relative to the larger of the value and 1.
pub(crate) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * e.abs().max(1.0),
            "{what}[{i}]: {f} is not {e}"
        );
    }
}

/// Fixed irregular numbers between -1.5 and 1.5.
pub(crate) fn numbers(n: usize) -> Vec<f64> {
    (0..n)
        .map(|i| ((i as f64 + 1.0) * 12.9898).sin() * 1.5)
        .collect()
}

/// Value of `f`, a scalar, and its gradient by every operand, one after the other.
pub(crate) fn value_and_gradient(
    operands: &[Operand],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) -> (f64, Vec<f64>) {
    let params = params(operands);
    let (mut tape, _) = record(|g| Ok([f(&vars(g, &params))])).expect("right shapes");
    // Whatever is not written shows.
    let mut grads = vec![777.0; params.len()];
    let mut pass = tape.forward(&params).expect("its own parameters");
    pass.backward(&mut grads).expect("a scalar");
    (pass.loss().expect("a scalar"), grads)
}

/// What recording `f` says is wrong with it.
pub(crate) fn error_of(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> String {
    let recorded = record(|g| Ok([f(g)]));
    recorded.err().expect("an error").to_string()
}
