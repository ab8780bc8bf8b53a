//! 200 steps of L4Adam* and L4Mom on the perceptron of section 3.2, from the same weights on the same batches.
//!
//! In float64 the two sides agree to all the digits that were written, so the formulas are the same. In float32 they
//! agree to rounding, which training amplifies: [`float32_tolerance`].

use autodiff::{Params, Real};
use l4::{L4Adam, L4Mom, Optimizer};
use models::{Classifier, Mlp};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::lcg::Lcg;
use crate::{assert_near, assert_weights};

const BATCH: usize = 64;
const BATCHES: usize = 20;
const STEPS: usize = 200;
/// How many of 32 pixels are the class's own.
const SIGNAL: u64 = 5;

#[derive(Deserialize)]
struct Numbers {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    method: String,
    alpha: f64,
    r#type: String,
    loss: Vec<f64>,
    learning_rate: Vec<f64>,
    last: Vec<Last>,
}

/// A kernel or bias after the last step.
#[derive(Deserialize)]
struct Last {
    norm: f64,
    first: Vec<f64>,
}

/// A byte, zero three times in four.
fn pixel(lcg: &mut Lcg) -> u64 {
    if lcg.bits(2) == 0 { lcg.bits(8) } else { 0 }
}

/// The bytes of all batches; sample i has the label i mod 10.
fn images() -> Vec<u64> {
    let mut lcg = Lcg(784);
    let patterns: Vec<u64> = (0..Mlp::CLASSES * Mlp::INPUTS)
        .map(|_| pixel(&mut lcg))
        .collect();
    (0..BATCHES * BATCH)
        .flat_map(|i| &patterns[i % Mlp::CLASSES * Mlp::INPUTS..][..Mlp::INPUTS])
        .map(|&common| {
            if lcg.bits(5) < SIGNAL {
                common
            } else {
                pixel(&mut lcg)
            }
        })
        .collect()
}

/// Sets the weights that training starts from. The limits are near Glorot's.
fn fill<T: Real>(params: &mut Params<T>) {
    let mut lcg = Lcg(3);
    let limits = [
        ("hidden1/kernel", 1.0 / 16.0),
        ("hidden2/kernel", 1.0 / 8.0),
    ];
    for (name, limit) in limits {
        let range = params.get(name).unwrap().range();
        for weight in &mut params.values_mut()[range] {
            *weight = T::nearest(limit * lcg.signed(24));
        }
    }
}

fn optimizer<T: l4::Real>(run: &Run) -> Box<dyn Optimizer<T>> {
    let alpha = T::of(run.alpha);
    match run.method.as_str() {
        "L4Adam" => Box::new(L4Adam::new().alpha(alpha).unwrap()),
        "L4Mom" => Box::new(L4Mom::new().alpha(alpha).unwrap()),
        other => panic!("mnist_l4.json names {other}, which is no method of this test"),
    }
}

/// The batches, in order and then again.
struct Batches<T> {
    pixels: Vec<T>,
    labels: Vec<u8>,
}

impl<T: Real> Batches<T> {
    fn new() -> Self {
        let pixels = images()
            .into_iter()
            .map(|byte| T::nearest(byte as f64) / T::nearest(255.0));
        let labels = (0..BATCHES * BATCH).map(|i| (i % Mlp::CLASSES) as u8);
        Self {
            pixels: pixels.collect(),
            labels: labels.collect(),
        }
    }

    fn load(&self, step: usize, classifier: &mut Classifier<T>) {
        let first = step % BATCHES * BATCH;
        let pixels = &self.pixels[first * Mlp::INPUTS..][..BATCH * Mlp::INPUTS];
        classifier.inputs_mut().copy_from_slice(pixels);
        classifier
            .set_labels(&self.labels[first..][..BATCH])
            .unwrap();
    }
}

/// Repeats a run of the JSON and compares: losses and rates within `tolerance` of the step, relative to themselves; the
/// last weights within `weight_tolerance`, relative to the norm of their kernel or bias.
fn agrees<T: Real + l4::Real>(run: &Run, tolerance: impl Fn(usize) -> f64, weight_tolerance: f64) {
    let mut params = Params::<T>::new();
    let network = Mlp::new(&mut params, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    fill(&mut params);
    let mut classifier = Classifier::new([BATCH, Mlp::INPUTS], |x| network.logits(x)).unwrap();
    let batches = Batches::<T>::new();
    let mut optimizer = optimizer::<T>(run);
    let mut grads = params.zeros_like();

    let recorded = run.loss.iter().zip(&run.learning_rate);
    for (step, (&expected_loss, &expected_rate)) in recorded.enumerate() {
        batches.load(step, &mut classifier);
        let loss = classifier.loss_and_gradient(&params, &mut grads).unwrap();
        let rate = optimizer
            .step(loss, params.values_mut(), &mut grads)
            .unwrap()
            .learning_rate;
        let what = |quantity| format!("{} in {}, {quantity} of step {step}", run.method, T::NAME);
        assert_near(&what("loss"), loss.as_f64(), expected_loss, tolerance(step));
        assert_near(&what("rate"), rate.as_f64(), expected_rate, tolerance(step));
    }

    assert_eq!(params.iter().count(), run.last.len());
    for ((name, param), last) in params.iter().zip(&run.last) {
        let weights: Vec<f64> = params.view(param).iter().map(|w| w.as_f64()).collect();
        let what = format!("{} in {}, {name}", run.method, T::NAME);
        assert_weights(&what, &weights, last.norm, &last.first, weight_tolerance);
    }
}

fn runs_in(r#type: &str) -> Vec<Run> {
    let numbers: Numbers = serde_json::from_str(include_str!("mnist_l4.json")).unwrap();
    let runs: Vec<Run> = numbers
        .runs
        .into_iter()
        .filter(|run| run.r#type == r#type)
        .collect();
    assert_eq!(runs.len(), 2);
    assert!(
        runs.iter()
            .all(|run| run.loss.len() == STEPS && run.learning_rate.len() == STEPS)
    );
    runs
}

/// The numbers were written with 12 digits, and no more than those 5e-12 were ever seen between the two sides.
const FLOAT64_TOLERANCE: f64 = 1e-10;

#[test]
fn float64_agrees() {
    for run in runs_in("f64") {
        agrees::<f64>(&run, |_| FLOAT64_TOLERANCE, FLOAT64_TOLERANCE);
    }
}

/// From 1e-5, ten times more every 100 steps, to 1e-3.
///
/// A gradient is a sum over 64 samples and up to 784 products, so that its rounding, and that of g·v, is some tens of
/// float32's 6e-8; 3e-6 is seen in the first steps. From then on the runs are two trajectories of one map that expands:
/// PyTorch's own run in float32 strays from its run in float64 by 2e-6 within 10 steps and by 2e-4 within 200. Ours
/// strays from PyTorch's by 7e-5. The rest is room for vector units that sum in another order.
fn float32_tolerance(step: usize) -> f64 {
    1e-5 * 10f64.powf(step as f64 / 100.0)
}

/// The weights, unlike the loss, are not near zero, and stray by 1e-6 only.
const FLOAT32_WEIGHT_TOLERANCE: f64 = 2e-5;

#[test]
fn float32_agrees_to_rounding() {
    for run in runs_in("f32") {
        agrees::<f32>(&run, float32_tolerance, FLOAT32_WEIGHT_TOLERANCE);
    }
}
