//! One step of the networks of sections 3.3 and 3.5, in full, in float64.

use autodiff::Params;
use models::{Classifier, ConvNet, ResNet, Training};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::assert_near;
use crate::lcg::Lcg;

const BATCH: usize = 2;
const LABELS: [u8; BATCH] = [3, 8];
/// For sums of up to millions of products, through 32 layers.
const TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct Numbers {
    convnet: Step,
    resnet32: Step,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    #[serde(default)]
    penalty: f64,
    gradients: Vec<Digest>,
    #[serde(default)]
    statistics: Vec<Digest>,
    #[serde(default)]
    evaluation: f64,
}

/// An array without its elements.
#[derive(Deserialize)]
pub struct Digest {
    pub name: String,
    norm: f64,
    weighted: f64,
    first: Vec<f64>,
}

impl Digest {
    #[track_caller]
    pub fn assert_is_of(&self, found: &[f64]) {
        let name = &self.name;
        let norm = found.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert_near(&format!("{name}, norm"), norm, self.norm, TOLERANCE);
        let weight = |i: usize| (i * 7919 % 1024) as f64 / 1024.0 - 0.5;
        let weighted: f64 = found.iter().enumerate().map(|(i, x)| x * weight(i)).sum();
        let pairs = found.iter().zip(&self.first);
        for (found, expected) in pairs.chain([(&weighted, &self.weighted)]) {
            assert!(
                (found - expected).abs() <= TOLERANCE * self.norm,
                "{name}: found {found:e}, expected {expected:e}, with a norm of {:e}",
                self.norm
            );
        }
    }
}

fn numbers() -> Numbers {
    serde_json::from_str(include_str!("networks.json")).unwrap()
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

/// Sets the weights that the step starts from.
fn fill(params: &mut Params<f64>) {
    let mut lcg = Lcg(5);
    let places: Vec<_> = params.iter().map(|(n, p)| (n.to_owned(), p)).collect();
    for (name, param) in places {
        let shape = param.shape();
        let limit = match shape.split_last() {
            Some((_, inner @ [_, ..])) => {
                let fan_in = inner.iter().product::<usize>() as f64;
                (-(fan_in.log2() / 2.0).round_ties_even()).exp2()
            }
            _ => 1.0 / 8.0,
        };
        let centre = if name.ends_with("gamma") { 1.0 } else { 0.0 };
        for weight in &mut params.values_mut()[param.range()] {
            *weight = limit * lcg.signed(24) + centre;
        }
    }
}

fn load(classifier: &mut Classifier<f64>) {
    let mut lcg = Lcg(9);
    classifier.inputs_mut().fill_with(|| lcg.signed(8));
    classifier.set_labels(&LABELS).unwrap();
}

/// One step of training; compares the loss and all gradients.
fn step(classifier: &mut Classifier<f64>, params: &Params<f64>, expected: &Step) {
    load(classifier);
    let mut grads = params.zeros_like();
    let loss = classifier.loss_and_gradient(params, &mut grads).unwrap();
    assert_near("loss", loss, expected.loss, TOLERANCE);
    assert_eq!(params.iter().count(), expected.gradients.len());
    for digest in &expected.gradients {
        let param = params.get(&digest.name).expect(&digest.name);
        digest.assert_is_of(&grads[param.range()]);
    }
}

#[test]
fn convnet() {
    let (expected, mut params) = (numbers().convnet, Params::new());
    // No dropout: PyTorch would draw another mask.
    let network = ConvNet::new(&mut params, 0.0, &mut rng()).unwrap();
    fill(&mut params);
    let setting = Training {
        dropout_seed: [0; 32],
        l2: 0.0,
    };
    let classifier = Classifier::training([BATCH, 28, 28, 1], &params, setting, |x, layers| {
        network.logits(x, layers)
    });
    step(&mut classifier.unwrap(), &params, &expected);
}

#[test]
fn resnet32() {
    let (expected, mut params) = (numbers().resnet32, Params::new());
    let network = ResNet::new(&mut params, 5, &mut rng()).unwrap();
    fill(&mut params);
    let setting = Training {
        dropout_seed: [0; 32],
        l2: 2e-4,
    };
    let input = [BATCH, 32, 32, 3];
    let training = Classifier::training(input, &params, setting, |x, layers| {
        network.logits(x, layers)
    });
    let mut training = training.unwrap();
    step(&mut training, &params, &expected);
    assert_near("penalty", training.penalty(), expected.penalty, TOLERANCE);

    let state = training.state();
    assert_eq!(state.statistics.len(), expected.statistics.len());
    for ((name, values), digest) in state.statistics.iter().zip(&expected.statistics) {
        assert_eq!(*name, digest.name);
        digest.assert_is_of(values);
    }
    let evaluation = Classifier::evaluation(input, |x, layers| network.logits(x, layers));
    let mut evaluation = evaluation.unwrap();
    evaluation.restore(&state).unwrap();
    load(&mut evaluation);
    let (_, loss) = evaluation.evaluate(&params, &LABELS).unwrap();
    assert_near("evaluation", loss, expected.evaluation, TOLERANCE);
}
