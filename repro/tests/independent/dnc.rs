//! The DNC of section 3.4, forward and backward over a batch of sequences, in float64.

use autodiff::Params;
use models::{Dnc, DncConfig, DncTrainer, Sequences};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::assert_near;
use crate::lcg::Lcg;
use crate::networks::Digest;

const STEPS: usize = 6;
const BATCH: usize = 3;
/// For a recurrence that takes in the rounding of six steps.
const TOLERANCE: f64 = 1e-10;

#[derive(Deserialize)]
struct Numbers {
    one_write_head: Pass,
    two_write_heads: Pass,
}

#[derive(Deserialize)]
struct Pass {
    loss: f64,
    logits: Digest,
    gradients: Vec<Digest>,
}

fn agrees(write_heads: usize, expected: &Pass) {
    let config = DncConfig {
        write_heads,
        ..DncConfig::PAPER
    };
    let mut params = Params::<f64>::new();
    let dnc = Dnc::new(&mut params, config, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    let mut lcg = Lcg(7);
    params.values_mut().fill_with(|| 0.5 * lcg.signed(24));
    let mut bits = |width: usize| -> Vec<f64> {
        let bits = (0..STEPS * BATCH * width).map(|_| lcg.bits(1) as f64);
        bits.collect()
    };
    let (observations, targets, mask) = (bits(config.inputs), bits(config.outputs), bits(1));
    let sequences = Sequences {
        observations: &observations,
        targets: &targets,
        mask: &mask,
    };
    let mut trainer = DncTrainer::new(&dnc, BATCH);
    let mut grads = params.zeros_like();
    let batch = trainer.unroll(&sequences).unwrap();
    let loss = batch.loss_and_gradient(&params, &mut grads);
    assert_near("loss", loss.unwrap(), expected.loss, TOLERANCE);
    expected.logits.assert_is_of(batch.logits(&params).unwrap());
    assert_eq!(params.iter().count(), expected.gradients.len());
    for digest in &expected.gradients {
        let param = params.get(&digest.name).expect(&digest.name);
        digest.assert_is_of(&grads[param.range()]);
    }
}

fn numbers() -> Numbers {
    serde_json::from_str(include_str!("dnc.json")).unwrap()
}

#[test]
fn one_write_head() {
    agrees(1, &numbers().one_write_head);
}

#[test]
fn two_write_heads() {
    agrees(2, &numbers().two_write_heads);
}
