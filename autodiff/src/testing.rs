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

/// Checks the gradient of `f` by every operand: each component by [`gradcheck`], and all of
/// them at once by the dot-product test.
pub(crate) fn assert_gradients(
    operands: &[Operand],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) {
    let params = params(operands);
    if let Err(error) = gradcheck(&params, |g| f(&vars(g, &params))) {
        panic!("{error}");
    }
    dot_product_test(&params, f);
}

/// ⟨dy, J·v⟩ = ⟨Jᵀ·dy, v⟩, with J·v from differences along v, extrapolated, and Jᵀ·dy from
/// the tape: neither side sees a component alone, so that a term in the wrong place shows
/// although it is of the right size.
fn dot_product_test(params: &Params<f64>, f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>) {
    let (mut tape, [y]) = record(|g| Ok([f(&vars(g, params))])).expect("right shapes");
    let elements = tape.shape(y).expect("its own slot").elements();
    let (dy, v) = (numbers(elements), numbers(params.len() + 7).split_off(7));
    let mut along = |h: f64| {
        let mut moved = params.clone();
        let theta = moved.values_mut().iter_mut().zip(&v);
        theta.for_each(|(theta, v)| *theta += h * v);
        let pass = tape.forward(&moved).expect("a clone");
        pass.into_value(y).expect("its own slot").to_vec()
    };
    let h = 1e-4;
    let [far, near] = [h, h / 2.0].map(|h| [along(h), along(-h)]);
    let difference =
        |[after, before]: &[Vec<f64>; 2], i: usize, h: f64| (after[i] - before[i]) / (2.0 * h);
    let jv = |i| (4.0 * difference(&near, i, h / 2.0) - difference(&far, i, h)) / 3.0;
    let forward: f64 = dy.iter().enumerate().map(|(i, dy)| dy * jv(i)).sum();
    let size: f64 = dy
        .iter()
        .enumerate()
        .map(|(i, dy)| (dy * jv(i)).abs())
        .sum();

    let (mut tape, _) = record(|g| {
        let y = f(&vars(g, params));
        Ok([(y * g.constant(y.shape()?, &dy)).sum()])
    })
    .expect("right shapes");
    let mut gradient = params.zeros_like();
    let mut pass = tape.forward(params).expect("its own parameters");
    pass.backward(&mut gradient).expect("a scalar");
    let reverse: f64 = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
    assert!(
        (forward - reverse).abs() <= 1e-6 * size.max(1e-3),
        "⟨dy, J·v⟩ is {forward:e} and ⟨Jᵀ·dy, v⟩ {reverse:e}"
    );
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

/// Fixed numbers between -1.5 and 1.5: a sine sampled every 0.42, so that neighbours are close and no two are equal.
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
    recorded.expect_err("an error").to_string()
}
