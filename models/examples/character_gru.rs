//! A recurrent network that learns a rhyme, character by character, and recites it.
//!
//! ```text
//! cargo run -p models --example character_gru
//! ```
//!
//! A gated recurrent unit (Cho et al. 2014) on an embedding e of the last character:
//!
//! ```text
//! z, r = σ([e, h]·W + b)    n = tanh([e, r∘h]·U + c)    h′ = (1 − z)∘n + z∘h
//! ```

use autodiff::{Dense, Error, Param, Params, Slot, Tape, Var, init, record};
use l4::{L4Adam, Optimizer};
use rand::{Rng, SeedableRng};

const TEXT: &str = "Humpty Dumpty sat on a wall, Humpty Dumpty had a great fall. \
    All the king's horses and all the king's men couldn't put Humpty together again. ";
const EMBEDDING: usize = 16;
const HIDDEN: usize = 64;
/// Characters between two updates, and readers side by side.
const STEPS: usize = 32;
const BATCH: usize = 8;
const UPDATES: usize = 600;

struct Gru {
    characters: usize,
    embedding: Param,
    gates: Dense,
    candidate: Dense,
    output: Dense,
}

impl Gru {
    fn new(params: &mut Params<f32>, characters: usize, rng: &mut impl Rng) -> Result<Self, Error> {
        let (shape, inputs) = ([characters, EMBEDDING], EMBEDDING + HIDDEN);
        let embedding = params.add("embedding", shape, init::standard_normal(rng))?;
        let mut dense = |name, inputs, outputs| {
            let kernel = init::glorot_uniform(inputs, outputs, rng);
            Dense::new(params, name, inputs, outputs, kernel)
        };
        Ok(Self {
            characters,
            embedding,
            gates: dense("gates", inputs, 2 * HIDDEN)?,
            candidate: dense("candidate", inputs, HIDDEN)?,
            output: dense("output", HIDDEN, characters)?,
        })
    }

    /// h′ for e: [batch, EMBEDDING] and h: [batch, HIDDEN].
    fn step<'g>(&self, e: Var<'g, f32>, h: Var<'g, f32>) -> Var<'g, f32> {
        let gates = self.gates.apply(e.graph().concat(1, &[e, h])).sigmoid();
        let [z, r] = [0, HIDDEN].map(|first| gates.slice(1, first..first + HIDDEN));
        let inputs = e.graph().concat(1, &[e, r * h]);
        let n = self.candidate.apply(inputs).tanh();
        n + z * (h - n)
    }

    /// `steps` characters of `batch` texts, after each of which the next is predicted. The
    /// slots: characters, the next ones, h before the first and after the last, logits, loss.
    fn unroll(&self, steps: usize, batch: usize) -> Result<(Tape<f32>, [Slot; 6]), Error> {
        record(|g| {
            let characters = g.indices([steps, batch], self.characters);
            let next = g.indices([steps, batch], self.characters);
            let before = g.input([batch, HIDDEN]);
            let embedded = g.param(self.embedding).gather(characters);
            let (mut h, mut states) = (before, Vec::new());
            for e in embedded.split(0, &vec![1; steps]) {
                h = self.step(e.reshape([batch, EMBEDDING]), h);
                states.push(h);
            }
            let logits = self.output.apply(g.stack(0, &states));
            let loss = logits.cross_entropy(next).mean();
            Ok([characters.var(), next.var(), before, h, logits, loss])
        })
    }
}

/// Trains, and prints and checks what the network recites.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut alphabet: Vec<char> = TEXT.chars().collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let code = |c| alphabet.iter().position(|&a| a == c);
    let text: Vec<usize> = TEXT.chars().filter_map(code).collect();

    let mut params = Params::new();
    let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let gru = Gru::new(&mut params, alphabet.len(), rng)?;
    let (mut tape, [characters, next, before, after, ..]) = gru.unroll(STEPS, BATCH)?;
    let (mut optimizer, mut grads) = (L4Adam::new(), params.zeros_like());
    for update in 0..UPDATES {
        // The readers go round the text, each from a place of its own.
        let place = |k| update * STEPS + k / BATCH + k % BATCH * text.len() / BATCH;
        let read = (0..(STEPS + 1) * BATCH).map(|k| text[place(k) % text.len()]);
        let read: Vec<usize> = read.collect();
        tape.set_indices(characters, &read[..STEPS * BATCH])?;
        tape.set_indices(next, &read[BATCH..])?;
        let mut pass = tape.forward(&params)?;
        pass.backward(&mut grads)?;
        let loss = pass.loss()?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        tape.copy(after, before)?;
        if update % 100 == 0 {
            println!("update {update}: {loss:.4} nats a character");
        }
    }

    // It reads the rhyme once, then each answer is the next question.
    let (mut tape, [characters, _, before, after, logits, _]) = gru.unroll(1, 1)?;
    let mut sample = text.clone();
    for place in 0..2 * text.len() - 1 {
        tape.set_indices(characters, &sample[place..=place])?;
        let logits = tape.forward(&params)?.into_value(logits)?;
        if place + 1 == sample.len() {
            sample.extend((0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])));
        }
        tape.copy(after, before)?;
    }
    let recited = sample[text.len()..].iter();
    let recited: String = recited.map(|&c| alphabet[c]).collect();
    println!("{recited}");
    assert_eq!(recited, TEXT);
    Ok(())
}
