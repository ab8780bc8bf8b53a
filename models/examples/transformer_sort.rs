//! A small Transformer that learns to sort.
//!
//! ```text
//! cargo run -p models --example transformer_sort
//! ```
//!
//! It reads six digits and then writes them in order, each as the next token after those
//! before it: 3 1 2 0 1 3 → 0 1 1 2 3 3. One block with the norms in front (Vaswani et al.
//! 2017, Xiong et al. 2020) and two heads, in which no position sees a later one:
//!
//! ```text
//! x = E[token] + P    x += attention(norm(x))    x += relu(norm(x)·W + b)·V + c
//! logits = norm(x)·U + d
//! ```

use autodiff::{Dense, Error, Param, Params, Slot, Tape, Var, init, record};
use l4::{L4Adam, Optimizer};
use rand::{Rng, RngExt, SeedableRng};

const DIGITS: usize = 4;
const LENGTH: usize = 6;
/// The digits as they come, then all but the last in order.
const TIME: usize = 2 * LENGTH - 1;
const WIDTH: usize = 32;
const HEADS: usize = 2;
const BATCH: usize = 64;
const UPDATES: usize = 600;

struct Transformer {
    tokens: Param,
    positions: Param,
    query_key_value: Dense,
    heads: Dense,
    hidden: Dense,
    result: Dense,
    logits: Dense,
}

impl Transformer {
    fn new(params: &mut Params<f32>, rng: &mut impl Rng) -> Result<Self, Error> {
        let tokens = params.add("tokens", [DIGITS, WIDTH], init::standard_normal(rng))?;
        let positions = params.add("positions", [TIME, WIDTH], init::standard_normal(rng))?;
        let mut dense = |name, inputs, outputs| {
            let kernel = init::glorot_uniform(inputs, outputs, rng);
            Dense::new(params, name, inputs, outputs, kernel)
        };
        Ok(Self {
            tokens,
            positions,
            query_key_value: dense("query_key_value", WIDTH, 3 * WIDTH)?,
            heads: dense("heads", WIDTH, WIDTH)?,
            hidden: dense("hidden", WIDTH, 4 * WIDTH)?,
            result: dense("result", 4 * WIDTH, WIDTH)?,
            logits: dense("logits", WIDTH, DIGITS)?,
        })
    }

    /// softmax(Q·Kᵀ/√d + mask)·V of each head, put together; x: [BATCH, TIME, WIDTH].
    fn attention<'g>(&self, x: Var<'g, f32>) -> Var<'g, f32> {
        let heads = [BATCH, TIME, 3 * HEADS, WIDTH / HEADS];
        let all = self.query_key_value.apply(x).reshape(heads);
        let all = all.permute(&[0, 2, 1, 3]); // [BATCH, heads of q, k and v, TIME, ..]
        let [q, k, v] = [0, 1, 2].map(|i| all.slice(1, i * HEADS..(i + 1) * HEADS));
        let later = |at| if at % TIME > at / TIME { -1e9 } else { 0.0 };
        let mask: Vec<f32> = (0..TIME * TIME).map(later).collect();
        let mask = x.graph().constant([TIME, TIME], &mask);
        let scores = q.matmul(k.transpose()) / ((WIDTH / HEADS) as f32).sqrt() + mask;
        let heads = scores.softmax().matmul(v).permute(&[0, 2, 1, 3]);
        self.heads.apply(heads.reshape([BATCH, TIME, WIDTH]))
    }

    /// The slots: tokens, the digits in order, the logits for these, loss.
    fn record(&self) -> Result<(Tape<f32>, [Slot; 4]), Error> {
        record(|g| {
            let tokens = g.indices([BATCH, TIME], DIGITS);
            let sorted = g.indices([BATCH, LENGTH], DIGITS);
            let [ones, zeros] = [1.0, 0.0].map(|c| g.constant([WIDTH], &[c; WIDTH]));
            let norm = |x| Var::layer_norm(x, ones, zeros, 1e-5);
            let x = g.param(self.tokens).gather(tokens) + g.param(self.positions);
            let x = x + self.attention(norm(x));
            let x = x + self.result.apply(self.hidden.apply(norm(x)).relu());
            let logits = self.logits.apply(norm(x).slice(1, LENGTH - 1..TIME));
            let loss = logits.cross_entropy(sorted).mean();
            Ok([tokens.var(), sorted.var(), logits, loss])
        })
    }
}

/// Draws tokens; gives their digits in order.
fn draw(tokens: &mut [usize], rng: &mut impl Rng) -> Vec<usize> {
    let rows = tokens.chunks_exact_mut(TIME).flat_map(|row| {
        row[..LENGTH].fill_with(|| rng.random_range(0..DIGITS));
        let mut sorted = row[..LENGTH].to_vec();
        sorted.sort_unstable();
        row[LENGTH..].copy_from_slice(&sorted[..LENGTH - 1]);
        sorted
    });
    rows.collect()
}

/// Trains, and checks that fresh digits are sorted.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut params = Params::new();
    let transformer = Transformer::new(&mut params, rng)?;
    let (mut tape, [tokens, sorted, logits, _]) = transformer.record()?;
    let (mut optimizer, mut grads) = (L4Adam::new(), params.zeros_like());
    let mut drawn = vec![0; BATCH * TIME];
    for update in 0..UPDATES {
        tape.set_indices(sorted, &draw(&mut drawn, rng))?;
        tape.set_indices(tokens, &drawn)?;
        let mut pass = tape.forward(&params)?;
        pass.backward(&mut grads)?;
        let loss = pass.loss()?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        if update % 100 == 0 {
            println!("update {update}: {loss:.4} nats a digit");
        }
    }

    let expected = draw(&mut drawn, rng);
    tape.set_indices(tokens, &drawn)?;
    let logits = tape.forward(&params)?.into_value(logits)?;
    let largest = |row: &[f32]| (0..DIGITS).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let written: Vec<usize> = logits.chunks(DIGITS).filter_map(largest).collect();
    println!("{:?} → {:?}", &drawn[..LENGTH], &written[..LENGTH]);
    let wrong = expected.iter().zip(&written).filter(|(e, w)| e != w);
    assert!(wrong.count() * 50 < expected.len(), "more than 2% wrong");
    Ok(())
}
