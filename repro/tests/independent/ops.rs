//! Values and gradients of autodiff's operations in float64, composed so that each gradient passes through several.

use autodiff::{BatchNormConfig, BatchNormMode, Params, Shape, Var, record};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::assert_near;
use crate::lcg::Lcg;

/// Thousands of roundings of float64; no case makes so many.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Numbers {
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    value: f64,
    gradient: Vec<f64>,
}

/// Compares a function of parameters of these shapes with the case of this name.
fn agrees(
    name: &str,
    shapes: &[Shape],
    function: impl for<'g> Fn(&[Var<'g, f64>]) -> Var<'g, f64>,
) {
    let numbers: Numbers = serde_json::from_str(include_str!("ops.json")).unwrap();
    let expected = &numbers.cases[name];
    let (mut lcg, mut params) = (Lcg(11), Params::new());
    let inputs: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(k, &shape)| params.add(k.to_string(), shape, || 2.0 * lcg.signed(12)))
        .collect::<Result<_, _>>()
        .unwrap();
    let (mut tape, _) = record(|g| {
        let inputs: Vec<_> = inputs.iter().map(|&param| g.param(param)).collect();
        Ok([function(&inputs)])
    })
    .unwrap();
    let mut gradient = params.zeros_like();
    let mut pass = tape.forward(&params).unwrap();
    pass.backward(&mut gradient).unwrap();

    assert_near(name, pass.loss().unwrap(), expected.value, TOLERANCE);
    assert_eq!(gradient.len(), expected.gradient.len());
    // Elements near zero are differences of large terms: the error is relative to the largest.
    let scale = expected.gradient.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (k, (found, expected)) in gradient.iter().zip(&expected.gradient).enumerate() {
        assert!(
            (found - expected).abs() <= TOLERANCE * scale,
            "{name}, gradient {k}: found {found:e}, expected {expected:e}"
        );
    }
}

/// Σ k·y_k over the elements in row-major order, so that no two elements count alike.
fn weighted_sum(y: Var<'_, f64>) -> Var<'_, f64> {
    let shape = y.shape().unwrap();
    let weights: Vec<f64> = (1..=shape.elements()).map(|k| k as f64).collect();
    (y * y.graph().constant(shape, &weights)).sum()
}

#[test]
fn softmax_cross_entropy_with_soft_targets() {
    let shapes = [[5, 7].into(), [5, 7].into()];
    agrees("softmax cross-entropy", &shapes, |v| {
        v[0].softmax_cross_entropy(v[1].softmax())
    });
}

#[test]
fn broadcasting() {
    let shapes = [[4, 1, 3].into(), [5, 1].into(), [3].into()];
    agrees("broadcasting", &shapes, |v| {
        let (a, b, c) = (v[0], v[1], v[2]);
        let y = (a * b + c) / (b.square() + 1.0) - a;
        weighted_sum(y) + y.mean_over(&[0, 2]).square().sum()
    });
}

#[test]
fn softplus_sigmoid_and_tanh() {
    agrees(
        "softplus, sigmoid, tanh",
        &[[3, 4].into(), [4].into()],
        |v| {
            let (a, b) = (v[0], v[1]);
            let y = (a.sigmoid() * 3.0 - (b * 2.0).tanh()).softplus();
            weighted_sum(y * (-a.square()).exp())
        },
    );
}

#[test]
fn max_pooling() {
    agrees("max pooling", &[[2, 7, 8, 3].into()], |v| {
        weighted_sum(v[0].max_pool2d(3, 2))
    });
}

#[test]
fn batch_norm() {
    let shapes = [[11, 5].into(), [5].into(), [5].into()];
    let config = BatchNormConfig {
        mode: BatchNormMode::Training,
        decay: 0.9,
        epsilon: 1e-3,
    };
    agrees("batch norm", &shapes, |v| {
        weighted_sum(v[0].batch_norm(v[1], v[2], config))
    });
    agrees("batch norm, relu", &shapes, |v| {
        weighted_sum(v[0].batch_norm_relu(v[1], v[2], config))
    });
}

#[test]
fn products_of_matrices_in_all_transpositions() {
    let [a, at] = [[3, 4].into(), [4, 3].into()];
    let [b, bt] = [[4, 5].into(), [5, 4].into()];
    agrees("A·B", &[a, b], |v| weighted_sum(v[0].matmul(v[1])));
    agrees("Aᵀ·B", &[at, b], |v| {
        weighted_sum(v[0].transpose().matmul(v[1]))
    });
    agrees("A·Bᵀ", &[a, bt], |v| {
        weighted_sum(v[0].matmul(v[1].transpose()))
    });
    agrees("Aᵀ·Bᵀ", &[at, bt], |v| {
        weighted_sum(v[0].transpose().matmul(v[1].transpose()))
    });
}
