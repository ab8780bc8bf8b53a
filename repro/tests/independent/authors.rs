//! Rate-free methods against their own authors' PyTorch, on section 3.1 in miniature.

use autodiff::Params;
use l4::rate_free::{DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW};
use l4::{Optimizer, Sgd};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::regression::{STEPS, constant, problem};
use crate::{assert_near, assert_weights};

/// The rate that these methods find is a sum over all steps so far, which carries each one's rounding into all later ones.
const TOLERANCE: f64 = 1e-9;
/// Mechanic divides θ − θ₀ by a sum of scales that begins at 1e-8, and with it what rounding has left of that difference. The
/// last bits of the gradients move the loss of step 50 by less than this, that of step 200 by a hundredth: its first steps are
/// compared.
const MECHANIC: (usize, f64) = (51, 1e-5);

#[derive(Deserialize)]
struct Numbers {
    steps: Vec<usize>,
    runs: BTreeMap<String, Run>,
}

#[derive(Deserialize)]
struct Run {
    loss: Vec<f64>,
    norm: f64,
    first_weights: Vec<f64>,
}

fn agrees(name: &str, optimizer: impl Optimizer<f64>) {
    let (expected, params) = agrees_until((STEPS, TOLERANCE), name, optimizer);
    let (norm, first) = (expected.norm, &expected.first_weights);
    assert_weights(name, params.values(), norm, first, TOLERANCE);
}

/// Compares the losses of so many steps; returns what is expected of the last one, and the parameters.
fn agrees_until(
    (steps, tolerance): (usize, f64),
    name: &str,
    mut optimizer: impl Optimizer<f64>,
) -> (Run, Params<f64>) {
    let mut numbers: Numbers = serde_json::from_str(include_str!("authors.json")).unwrap();
    let expected = numbers.runs.remove(name).unwrap();
    let (mut regression, mut params) = problem();
    let mut grads = params.zeros_like();
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = regression.loss_and_gradient(&params, &mut grads).unwrap();
        optimizer
            .step(loss, params.values_mut(), &mut grads)
            .unwrap();
        losses.push(loss);
    }
    let recorded = numbers.steps.iter().zip(&expected.loss);
    for (&step, &expected) in recorded.filter(|(step, _)| **step < steps) {
        let what = format!("{name}, loss of step {step}");
        assert_near(&what, losses[step], expected, tolerance);
    }
    (expected, params)
}

#[test]
fn d_adaptation() {
    agrees("D-Adaptation", DAdaptAdam::new());
}

#[test]
fn prodigy() {
    agrees("Prodigy", Prodigy::new());
}

#[test]
fn schedule_free_adamw() {
    agrees("schedule-free AdamW", ScheduleFreeAdamW::new());
}

#[test]
fn dog() {
    agrees("DoG", Dog::new());
}

#[test]
fn momo() {
    agrees("MoMo", Momo::new());
}

#[test]
fn momo_adam() {
    agrees("MoMo-Adam", MomoAdam::new());
}

#[test]
fn mechanic() {
    let mechanic = Mechanic::new(Sgd::new(constant(0.004)));
    agrees_until(MECHANIC, "Mechanic", mechanic);
}
