//! What the tests of the mechanisms share.

use super::layout::Sizes;
use super::pack::LANES;
use autodiff::{Gradcheck, Graph, Params, Shape, Var, record};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Odd sizes, two blocks of sequences, two write heads.
pub(super) const SIZES: Sizes = Sizes {
    batch: 17,
    n: 3,
    w: 5,
    reads: 3,
    writes: 2,
};

/// Units of the LSTM.
pub(super) const HIDDEN: usize = 3;

/// Fixed irregular numbers.
pub(super) fn numbers(n: usize, low: f64, high: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    (0..n).map(|_| rng.random_range(low..high)).collect()
}

/// Parameters of these shapes, from the stated low to high.
fn params(operands: &[(Shape, f64, f64)]) -> Params<f64> {
    let mut params = Params::new();
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    for (i, &(shape, low, high)) in operands.iter().enumerate() {
        params
            .add(format!("x{i}"), shape, || rng.random_range(low..high))
            .unwrap();
    }
    params
}

/// The parameters as results, which have gradients of their own.
fn vars<'g>(graph: &'g Graph<f64>, params: &Params<f64>) -> Vec<Var<'g, f64>> {
    params.iter().map(|(_, p)| graph.param(p) * 1.0).collect()
}

/// Checks the gradient of `f` by every operand.
pub(super) fn assert_gradients(
    operands: &[(Shape, f64, f64)],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) {
    let params = params(operands);
    // Usages are sorted, and some of the random ones lie closer together than the default
    // step: their order must not change.
    let closely = Gradcheck {
        step: 1e-5,
        ..Gradcheck::default()
    };
    if let Err(error) = closely.check(&params, |g| f(&vars(g, &params))) {
        panic!("{error}");
    }
}

/// The elements of `f` at operands made of these shapes and ranges.
pub(super) fn evaluate(
    operands: &[(Shape, f64, f64)],
    f: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) -> Vec<f64> {
    let params = params(operands);
    let (mut tape, [y]) = record(|g| Ok([f(&vars(g, &params))])).unwrap();
    let pass = tape.forward(&params).unwrap();
    pass.into_value(y).unwrap().to_vec()
}

/// These numbers for each of the sequences of a block.
pub(super) fn constant<'g>(graph: &'g Graph<f64>, shape: Shape, numbers: &[f64]) -> Var<'g, f64> {
    let packs: Vec<[f64; LANES]> = numbers.iter().map(|&x| [x; LANES]).collect();
    graph.constant(shape, packs.as_flattened())
}

/// For one of the sequences of a block, all alike, what `f` makes of [`constant`]s.
pub(super) fn run(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> Vec<f64> {
    let (mut tape, [y]) = record(|g| Ok([f(g)])).unwrap();
    let none = Params::new();
    let pass = tape.forward(&none).unwrap();
    let packs = pass.value(y).unwrap().chunks_exact(LANES);
    assert!(packs.clone().all(|pack| pack.iter().all(|&x| x == pack[0])));
    packs.map(|pack| pack[0]).collect()
}

/// [batch, numbers] of packs [2 blocks, numbers].
pub(super) fn rows<'g>(packs: Var<'g, f64>, numbers: usize) -> Var<'g, f64> {
    let packs = packs.reshape([2, numbers, LANES]).permute(&[0, 2, 1]);
    packs.reshape([2 * LANES, numbers]).slice(0, 0..SIZES.batch)
}

/// Compares element by element.
#[track_caller]
pub(super) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "number of elements");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "element {i}: {f} is not {e}");
    }
}
