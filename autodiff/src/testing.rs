//! What the tests of the operations share.

use crate::{Graph, Params, Var, gradcheck};

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
    let graph = Graph::new();
    let y = f(&vars(&graph, &params)).slot();
    let mut tape = graph.finish(y).expect("right shapes");
    tape.forward(params.values()).expect("enough parameters");
    tape.value(y).to_vec()
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
