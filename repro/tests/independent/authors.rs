//! Rate-free methods against their own authors' PyTorch, on section 3.1 in miniature.

use l4::rate_free::{DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW};
use l4::{Optimizer, Sgd};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::regression::{STEPS, constant, problem};
use crate::{assert_near, assert_weights};

/// The rate that these methods find is a sum over all steps so far, which carries each one's rounding into all later ones.
const TOLERANCE: f64 = 1e-9;
/// Mechanic divides θ − θ₀ by a sum of scales that begins at 1e-8, and with it what rounding has left of that difference.
const MECHANIC_TOLERANCE: f64 = 1e-5;

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
    agrees_within(TOLERANCE, name, optimizer);
}

fn agrees_within(tolerance: f64, name: &str, mut optimizer: impl Optimizer<f64>) {
    let numbers: Numbers = serde_json::from_str(include_str!("authors.json")).unwrap();
    let expected = &numbers.runs[name];
    let (mut regression, mut params) = problem();
    let mut grads = params.zeros_like();
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let loss = regression.loss_and_gradient(&params, &mut grads).unwrap();
        optimizer
            .step(loss, params.values_mut(), &mut grads)
            .unwrap();
        losses.push(loss);
    }
    for (&step, &expected) in numbers.steps.iter().zip(&expected.loss) {
        let what = format!("{name}, loss of step {step}");
        assert_near(&what, losses[step], expected, tolerance);
    }
    let (norm, first) = (expected.norm, &expected.first_weights);
    assert_weights(name, params.values(), norm, first, tolerance);
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
    agrees_within(MECHANIC_TOLERANCE, "Mechanic", mechanic);
}
