//! The differentiable neural computer of section 3.4: A. Graves et al., *Hybrid computing
//! using a neural network with dynamic external memory*, Nature 538 (2016), “Methods”, as
//! DeepMind's code has it.
//!
//! A controller, here an LSTM, works with a memory M of N slots of W numbers. At every
//! step it emits an interface vector ξ, by which write heads and read heads act on the
//! memory; what was read goes back to the controller with the next observation. The
//! letters are those of Graves et al.:
//!
//! | step | mechanism | file |
//! |---|---|---|
//! | h = LSTM(x, r, h) | controller | `lstm.rs` |
//! | ξ = h·W_ξ, through σ, softplus, softmax | interface | `interface.rs`, `layout.rs` |
//! | u | usage: writes fill slots, free gates empty them | `allocation.rs` |
//! | a | allocation: the least used slot first | `allocation.rs` |
//! | c = C(M, k, β) | content: cosine similarity to a key | `content.rs` |
//! | w = g^w (g^a a + (1 − g^a) c) | write weighting | `write.rs` |
//! | M ← M∘(1 − w eᵀ) + w vᵀ | erase and write | `write.rs` |
//! | L, p | temporal links: what was written after what | `linkage.rs` |
//! | w^r = π^b Lᵀw^r + π^f L w^r + π^c c | read weighting | `read.rs` |
//! | r = Mᵀ w^r | read | `read.rs` |
//! | y = [h, r]·W_y | output | `output.rs` |
//!
//! u is made of w and w^r of the step before; the write heads' c of M before the write, the read
//! heads' of M after it; w^r of the new L and the w^r of the step before.
//!
//! Where DeepMind's code departs from the article, it is followed: strengths pass through
//! softplus, not oneplus = 1 + softplus; norms, cosine and allocation have an ε of 1e-6; no
//! gradient flows through w into the usage; there may be several write heads; read modes are in
//! the order backward, forward, content (the article: content second); the LSTM has one layer and
//! the forget gate σ(f + 1); its state and y are clipped.
//!
//! Each mechanism is one operation, recorded by `cell.rs` once for each step of a sequence, the output
//! once for all steps; it computes sixteen sequences at a time: see `pack.rs`.

mod affine;
mod allocation;
mod cell;
mod content;
mod interface;
mod layout;
mod linkage;
mod lstm;
mod output;
mod pack;
mod read;
#[cfg(test)]
mod testing;
mod trainer;
mod write;

pub use trainer::{DncTrainer, Sequences, Unrolled};

use crate::source::{Drawn, Source, Zeros};
use autodiff::init::{Fill, zeros};
use autodiff::{Error, Param, Params, Real, Var};
use cell::Cell;
use layout::{Interface, Sizes};
use rand::Rng;
use std::ops::Range;

/// Sizes of a [`Dnc`], all at least 1, and a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DncConfig {
    /// Numbers in an observation.
    pub inputs: usize,
    /// Logits of a step.
    pub outputs: usize,
    /// Units of the LSTM.
    pub hidden: usize,
    /// N, slots of the memory.
    pub slots: usize,
    /// W, numbers in a slot.
    pub word: usize,
    /// R, read heads.
    pub read_heads: usize,
    /// Write heads.
    pub write_heads: usize,
    /// Largest magnitude of the controller's output and state and of the logits. Has to be above 0, which is
    /// not checked: with 0, a negative number or NaN no gradient passes, and nothing is learned.
    pub clip: f64,
}

impl DncConfig {
    /// The L4 paper's (section 3.4), which is the default of DeepMind's code, for the observations and
    /// targets of its repeat-copy task.
    pub const PAPER: Self = Self {
        inputs: 6,
        outputs: 5,
        hidden: 64,
        slots: 16,
        word: 16,
        read_heads: 4,
        write_heads: 1,
        clip: 20.0,
    };

    /// The columns of `interface/kernel` and `interface/bias` by the part of ξ that they
    /// compute. Within a part one head follows the other; a read head's modes are backward
    /// by the links of each write head, forward by the links of each write head, content.
    ///
    /// ```
    /// assert_eq!(models::DncConfig::PAPER.interface_columns(), [
    ///     ("write vectors", 0..16),       // v
    ///     ("write keys", 16..32),         // k^w
    ///     ("read keys", 32..96),          // k^r
    ///     ("erase vectors", 96..112),     // e, through σ
    ///     ("free gates", 112..116),       // f, through σ: one for each read head
    ///     ("allocation gates", 116..117), // g^a, through σ
    ///     ("write gates", 117..118),      // g^w, through σ
    ///     ("write strengths", 118..119),  // β^w, through softplus
    ///     ("read strengths", 119..123),   // β^r, through softplus
    ///     ("read modes", 123..135),       // π, through the softmax of each head
    /// ]);
    /// ```
    pub fn interface_columns(self) -> [(&'static str, Range<usize>); 10] {
        let interface = Interface::new(Sizes::new(self, 0));
        [
            ("write vectors", interface.write_vectors),
            ("write keys", interface.write_keys),
            ("read keys", interface.read_keys),
            ("erase vectors", interface.erase_vectors),
            ("free gates", interface.free_gates),
            ("allocation gates", interface.allocation_gates),
            ("write gates", interface.write_gates),
            ("write strengths", interface.write_strengths),
            ("read strengths", interface.read_strengths),
            ("read modes", interface.read_modes),
        ]
        .map(|(part, columns)| (part, columns.start..columns.start + columns.len))
    }
}

/// Weights of x·kernel + bias.
#[derive(Clone, Copy, Debug)]
struct Affine {
    kernel: Param,
    bias: Param,
}

impl Affine {
    /// Adds `name/kernel`, from a truncated normal of deviation 1/√inputs, and
    /// `name/bias`, from `bias`.
    fn new<T: Real, S: Source>(
        params: &mut Params<T>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        source: &mut S,
        bias: impl for<'s> FnOnce(f64, &'s mut S) -> Fill<'s, T>,
    ) -> Result<Self, Error> {
        let deviation = 1.0 / (inputs as f64).sqrt();
        let kernel = source.truncated_normal(deviation);
        Ok(Self {
            kernel: params.add(format!("{name}/kernel"), [inputs, outputs], kernel)?,
            bias: params.add(format!("{name}/bias"), [outputs], bias(deviation, source))?,
        })
    }
}

/// A differentiable neural computer; see the [module](self).
///
/// Its parameters, with the sizes of a [`DncConfig`]. Rows are inputs and columns outputs, in
/// the order given; read heads follow one another in r:
///
/// | name | shape | rows | columns |
/// |---|---|---|---|
/// | `lstm/kernel` | \[inputs + R·W + hidden, 4·hidden\] | x, r, h | i, g, f, o |
/// | `lstm/bias` | \[4·hidden\] | | i, g, f, o |
/// | `interface/kernel` | \[hidden, \|ξ\|\] | h | [`interface_columns`](DncConfig::interface_columns) |
/// | `interface/bias` | \[\|ξ\|\] | | as above |
/// | `output/kernel` | \[hidden + R·W, outputs\] | h, r | y |
/// | `output/bias` | \[outputs\] | | y |
///
/// The gates of the LSTM are those of DeepMind's Sonnet: input i, candidate g, forget f,
/// output o. The forget gate is σ(f + 1): the 1 by which it starts open is not in `lstm/bias`.
///
/// ```
/// let mut params = autodiff::Params::<f32>::new();
/// models::Dnc::zeros(&mut params, models::DncConfig::PAPER)?;
/// let layout: Vec<_> = params.iter().map(|(name, p)| format!("{name} {}", p.shape())).collect();
/// assert_eq!(layout, [
///     "lstm/kernel [134, 256]", "lstm/bias [256]", // 134 = 6 + 4·16 + 64
///     "interface/kernel [64, 135]", "interface/bias [135]",
///     "output/kernel [128, 5]", "output/bias [5]",
/// ]);
/// # Ok::<(), autodiff::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dnc {
    config: DncConfig,
    lstm: Affine,
    interface: Affine,
    output: Affine,
}

impl Dnc {
    /// Adds the network's parameters, initialised as in DeepMind's code: kernels from
    /// truncated normals of deviation 1/√inputs, and so the bias of the LSTM; the other
    /// biases zero. (The linear maps that the code has for each part of ξ have the same
    /// inputs and so the same deviation: they are one matrix here.)
    ///
    /// # Errors
    /// If `params` holds another network of this kind, or memory cannot hold this one.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        config: DncConfig,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        Self::build(params, config, &mut Drawn(rng))
    }

    /// As [`new`](Self::new), without a random generator: every parameter is zero, to be
    /// written over with trained values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeros<T: Real>(params: &mut Params<T>, config: DncConfig) -> Result<Self, Error> {
        Self::build(params, config, &mut Zeros)
    }

    fn build<T: Real>(
        params: &mut Params<T>,
        config: DncConfig,
        source: &mut impl Source,
    ) -> Result<Self, Error> {
        let hidden = config.hidden;
        let controlled = hidden.saturating_add(config.read_heads.saturating_mul(config.word));
        let interface = [hidden, Interface::new(Sizes::new(config, 0)).len];
        let rows = config.inputs.saturating_add(controlled);
        let lstm = [rows, hidden.saturating_mul(4)];
        let output = [controlled, config.outputs];
        Ok(Self {
            config,
            lstm: Affine::new(params, "lstm", lstm, source, |deviation, source| {
                source.truncated_normal(deviation)
            })?,
            interface: Affine::new(params, "interface", interface, source, |_, _| zeros())?,
            output: Affine::new(params, "output", output, source, |_, _| zeros())?,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> DncConfig {
        self.config
    }

    /// Logits [steps, batch, outputs] for observations [steps, batch, inputs], from a
    /// state of zeros.
    #[track_caller]
    pub fn logits<'g, T: Real>(&self, observations: Var<'g, T>) -> Var<'g, T> {
        let cell = Cell::new(self, observations);
        let mut state = cell.start();
        let (mut controllers, mut words) = (Vec::new(), Vec::new());
        for step in 0..cell.steps {
            state = cell.step(step, state);
            controllers.push(state.controller);
            words.push(state.words);
        }
        cell.outputs(&controllers, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn has_the_number_of_parameters_of_deepminds_code() {
        let mut params = Params::<f32>::new();
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        let config = DncConfig::PAPER;
        assert_eq!(Dnc::new(&mut params, config, rng).unwrap().config(), config);
        // ξ: 5 keys, write vector and erase vector of 16 numbers, 4 free gates, 2 gates, 5
        // strengths and 4 · 3 read modes.
        let interface = 7 * 16 + 4 + 2 + 5 + 12;
        let expected = (134 + 1) * 256 + (64 + 1) * interface + (128 + 1) * 5;
        assert_eq!(params.len(), expected);
        // Of which no parameter tells.
        assert_eq!((config.slots, config.clip), (16, 20.0));
    }

    #[test]
    fn initial_values_have_the_deviations_of_deepminds_code() {
        let mut params = Params::<f64>::new();
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        Dnc::new(&mut params, DncConfig::PAPER, rng).unwrap();
        let largest = |name| {
            let values = params.view(params.get(name).unwrap());
            values.iter().fold(0.0f64, |m, x| m.max(x.abs()))
        };
        // Truncated at two deviations, which 8000 draws come close to.
        for (name, inputs) in [
            ("lstm/kernel", 134.0),
            ("interface/kernel", 64.0),
            ("output/kernel", 128.0),
        ] {
            let limit = 2.0 / f64::sqrt(inputs);
            let found = largest(name);
            assert!(0.95 * limit < found && found < limit, "{name}: {found}");
        }
        let limit = 2.0 / f64::sqrt(134.0);
        assert!((0.8 * limit..limit).contains(&largest("lstm/bias")));
        assert_eq!(largest("interface/bias"), 0.0);
        assert_eq!(largest("output/bias"), 0.0);
    }
}
