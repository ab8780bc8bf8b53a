//! Section 3.1 in miniature: the network and its gradient, every optimiser, and Levenberg–Marquardt.
//!
//! A run is a map iterated 201 times, and rounding grows with the steps where that map expands. With rates this small and
//! a loss that falls it hardly does: errors are 1e-16 at the start and 1e-14 at the end, so one tolerance serves all steps.

use autodiff::Params;
use l4::rate_free::ScheduleFreePlus;
use l4::{
    Adam, L4Adam, L4Mom, LeastSquares, LevenbergMarquardt, LevenbergMarquardtOutcome, Momentum,
    Optimizer, RmsProp, Schedule, Sgd,
};
use models::{Regression, TwoLayerLinear, TwoLayerShape};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::lcg::Lcg;
use crate::{assert_near, assert_weights};

const SHAPE: TwoLayerShape = TwoLayerShape::PAPER;
const SAMPLES: usize = 40;
pub const STEPS: usize = 201;

/// Some thousand roundings of float64: about as many as go into one loss, in whatever order it is summed.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Numbers {
    steps: Vec<usize>,
    runs: BTreeMap<String, Run>,
    schedule_free_plus: Run,
    levenberg_marquardt: LevenbergMarquardtRun,
}

#[derive(Deserialize)]
struct Run {
    last_loss: f64,
    loss: Vec<f64>,
    learning_rate: Vec<f64>,
    norm: f64,
    first_weights: Vec<f64>,
}

#[derive(Deserialize)]
struct LevenbergMarquardtRun {
    steps: Vec<LevenbergMarquardtStep>,
    norm: f64,
    first_weights: Vec<f64>,
}

#[derive(Deserialize)]
struct LevenbergMarquardtStep {
    damping: f64,
    accepted: bool,
    loss: f64,
}

fn numbers() -> Numbers {
    serde_json::from_str(include_str!("regression.json")).unwrap()
}

/// The problem and the first weights.
pub fn problem() -> (Regression<f64>, Params<f64>) {
    let TwoLayerShape {
        inputs, outputs, ..
    } = SHAPE;
    let mut lcg = Lcg(31);
    let u = lcg.signed_list(12, outputs * inputs);
    let a = |o: usize, i: usize| 0.5f64.powi(o as i32) * (0.5 + 0.5 * u[o * inputs + i]);
    let mut x = lcg.signed_list(12, inputs * SAMPLES);
    x.iter_mut().for_each(|x| *x *= 2.0);
    let y: Vec<f64> = (0..outputs * SAMPLES)
        .map(|k| (k / SAMPLES, k % SAMPLES))
        .map(|(o, s)| (0..inputs).map(|i| a(o, i) * x[i * SAMPLES + s]).sum())
        .collect();
    let mut params = Params::new();
    let network =
        TwoLayerLinear::new(&mut params, SHAPE, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    let start = lcg.signed_list(12, SHAPE.weights());
    for (weight, u) in params.values_mut().iter_mut().zip(start) {
        *weight = 2.0 * u;
    }
    let regression = Regression::new(network, SHAPE, SAMPLES, &x, &y).unwrap();
    (regression, params)
}

fn agrees(name: &str, mut optimizer: impl Optimizer<f64>) {
    let numbers = numbers();
    let expected = &numbers.runs[name];
    let (mut regression, mut params) = problem();
    let mut grads = params.zeros_like();
    let (mut losses, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let loss = regression.loss_and_gradient(&params, &mut grads).unwrap();
        let step = optimizer
            .step(loss, params.values_mut(), &mut grads)
            .unwrap();
        losses.push(loss);
        rates.push(step.learning_rate);
    }
    for (k, &step) in numbers.steps.iter().enumerate() {
        let what = |quantity| format!("{name}, {quantity} of step {step}");
        assert_near(&what("loss"), losses[step], expected.loss[k], TOLERANCE);
        assert_near(
            &what("rate"),
            rates[step],
            expected.learning_rate[k],
            TOLERANCE,
        );
    }
    let (norm, first) = (expected.norm, &expected.first_weights);
    assert_weights(name, params.values(), norm, first, TOLERANCE);
}

pub fn constant(rate: f64) -> Schedule<f64> {
    Schedule::constant(rate).unwrap()
}

#[test]
fn sgd() {
    agrees("SGD 0.016", Sgd::new(constant(0.016)));
}

#[test]
fn heavy_ball() {
    agrees("heavy ball 0.004", Momentum::new(constant(0.004)));
}

#[test]
fn adam() {
    agrees("Adam 0.004", Adam::new(constant(0.004)));
}

#[test]
fn rmsprop() {
    agrees("RMSProp 0.001", RmsProp::new(constant(0.001)));
}

#[test]
fn l4_adam() {
    agrees("L4Adam 0.15", L4Adam::new());
    agrees("L4Adam 0.25", L4Adam::new().alpha(0.25).unwrap());
}

#[test]
fn l4_mom() {
    agrees("L4Mom 0.15", L4Mom::new());
    agrees("L4Mom 0.25", L4Mom::new().alpha(0.25).unwrap());
}

/// Its loss falls, and then grows without bound: rounding grows with it, so that the first 50 steps are compared and the end is
/// only told to be as hopeless.
#[test]
fn schedule_free_plus_explodes() {
    let numbers = numbers();
    let expected = numbers.schedule_free_plus;
    let (mut regression, mut params) = problem();
    let mut grads = params.zeros_like();
    let mut optimizer = ScheduleFreePlus::new();
    let mut losses = Vec::new();
    for _ in 0..600 {
        let loss = regression.loss_and_gradient(&params, &mut grads).unwrap();
        optimizer
            .step(loss, params.values_mut(), &mut grads)
            .unwrap();
        losses.push(loss);
    }
    for (k, &step) in numbers
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| **step <= 50)
    {
        let what = format!("ScheduleFree+, loss of step {step}");
        assert_near(&what, losses[step], expected.loss[k], 1e-10);
    }
    let last = losses[losses.len() - 1];
    assert!(
        last > 1e10 && expected.last_loss > 1e10,
        "{last:e} {:e}",
        expected.last_loss
    );
}

struct Residuals(Regression<f64>);

impl LeastSquares for Residuals {
    fn residual_count(&self) -> usize {
        self.0.residual_count()
    }

    fn parameter_count(&self) -> usize {
        SHAPE.weights()
    }

    fn residuals(&mut self, x: &[f64], r: &mut [f64]) {
        self.0.residuals(x, r);
    }

    fn jacobian(&mut self, x: &[f64], j: &mut [f64]) {
        self.0.jacobian(x, j);
    }
}

/// The solver works on the normal equations, whose condition number is the largest damping over the smallest times 1e3,
/// here above 1e6; the other side solves the least-squares problem itself. 1e-9 is that many roundings of float64.
const LMA_TOLERANCE: f64 = 1e-9;

#[test]
fn levenberg_marquardt() {
    let expected = numbers().levenberg_marquardt;
    let (regression, mut params) = problem();
    let mut solver = LevenbergMarquardt::new(Residuals(regression));
    for (k, expected) in expected.steps.iter().enumerate() {
        let step = solver.step(params.values_mut()).unwrap();
        let accepted = step.outcome == LevenbergMarquardtOutcome::Accepted;
        assert_eq!(accepted, expected.accepted, "step {k}");
        let what = |quantity| format!("LMA, {quantity} of step {k}");
        assert_near(
            &what("damping"),
            step.damping,
            expected.damping,
            LMA_TOLERANCE,
        );
        assert_near(
            &what("loss"),
            2.0 * step.loss_after,
            expected.loss,
            LMA_TOLERANCE,
        );
    }
    let (norm, first) = (expected.norm, &expected.first_weights);
    assert_weights("LMA", params.values(), norm, first, LMA_TOLERANCE);
}
