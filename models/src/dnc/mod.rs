//! The differentiable neural computer of section 3.4: A. Graves et al., *Hybrid computing
//! using a neural network with dynamic external memory*, Nature 538 (2016), with what
//! DeepMind's code adds to the paper.
//!
//! A controller, here an LSTM, works with a memory M of N slots of W numbers. At every
//! step it emits an interface vector ξ, by which write heads and read heads act on the
//! memory; what was read goes back to the controller with the next observation. The
//! letters are the paper's:
//!
//! | step | mechanism | file |
//! |---|---|---|
//! | h = LSTM(x, r, h) | controller | `controller.rs` |
//! | ξ = h·W_ξ, through σ, softplus, softmax | interface | `controller.rs`, `layout.rs` |
//! | u | usage: writes fill slots, free gates empty them | `allocation.rs` |
//! | a | allocation: the least used slot first | `allocation.rs` |
//! | c = C(M, k, β) | content: cosine similarity to a key | `content.rs` |
//! | w = g^w (g^a a + (1 − g^a) c) | write weighting | `write.rs` |
//! | M ← M∘(1 − w eᵀ) + w vᵀ | erase and write | `write.rs` |
//! | L, p | temporal links: what was written after what | `linkage.rs` |
//! | w^r = π^b Lᵀw^r + π^f L w^r + π^c c | read weighting | `read.rs` |
//! | r = Mᵀ w^r | read | `read.rs` |
//! | y = [h, r]·W_y | output | `controller.rs` |
//!
//! Each mechanism is one operation, recorded once for each step of a sequence, and computes
//! sixteen sequences at a time: see `pack.rs`.

mod allocation;
mod content;
mod controller;
mod layout;
mod linkage;
mod pack;
mod read;
#[cfg(test)]
mod testing;
mod trainer;
mod write;

pub use trainer::{DncTrainer, Sequences};

use crate::init::{Fill, truncated_normal, zeros};
use allocation::{Allocation, Usage};
use autodiff::{Error, Param, Params, Real, Shape, Var};
use content::Content;
use controller::{Emission, Lstm, Outputs};
use layout::{Interface, Sizes};
use linkage::Linkage;
use rand::Rng;
use read::{Read, ReadWeights};
use write::{Memory, WriteWeights};

/// Sizes of a [`Dnc`], all at least 1.
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
    /// Largest magnitude of the controller's output and state and of the logits.
    pub clip: f64,
}

impl DncConfig {
    /// The paper's, which is the default of DeepMind's code, for the observations and
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
    fn new<T: Real, R: Rng>(
        params: &mut Params<T>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        rng: &mut R,
        bias: impl for<'r> FnOnce(f64, &'r mut R) -> Fill<'r, T>,
    ) -> Result<Self, Error> {
        let deviation = 1.0 / (inputs as f64).sqrt();
        let kernel = truncated_normal(deviation, rng);
        Ok(Self {
            kernel: params.add(format!("{name}/kernel"), [inputs, outputs], kernel)?,
            bias: params.add(format!("{name}/bias"), [outputs], bias(deviation, rng))?,
        })
    }
}

/// A differentiable neural computer; see the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Dnc {
    config: DncConfig,
    lstm: Affine,
    interface: Affine,
    output: Affine,
}

/// What one step leaves to the next.
#[derive(Clone, Copy)]
struct State<'g, T> {
    /// h and c of the LSTM.
    controller: Var<'g, T>,
    /// M.
    memory: Var<'g, T>,
    /// u.
    usage: Var<'g, T>,
    /// w.
    write_weights: Var<'g, T>,
    /// L and p.
    linkage: Var<'g, T>,
    /// w^r.
    read_weights: Var<'g, T>,
    /// r.
    words: Var<'g, T>,
}

impl Dnc {
    /// Adds the network's parameters, initialised as in DeepMind's code: kernels from
    /// truncated normals of deviation 1/√inputs, and so the bias of the LSTM; the other
    /// biases zero. (The linear maps that the code has for each part of ξ have the same
    /// inputs and so the same deviation: they are one matrix here.)
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        config: DncConfig,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        let read = config.read_heads * config.word;
        let interface = Interface::new(Sizes::new(config, 0)).len;
        let lstm = [config.inputs + read + config.hidden, 4 * config.hidden];
        let output = [config.hidden + read, config.outputs];
        Ok(Self {
            config,
            lstm: Affine::new(params, "lstm", lstm, rng, |deviation, rng| {
                truncated_normal(deviation, rng)
            })?,
            interface: Affine::new(
                params,
                "interface",
                [config.hidden, interface],
                rng,
                |_, _| zeros(),
            )?,
            output: Affine::new(params, "output", output, rng, |_, _| zeros())?,
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

/// What all steps of a recording share.
struct Cell<'g, T> {
    observations: Var<'g, T>,
    steps: usize,
    sizes: Sizes,
    hidden: usize,
    clip: T,
    /// Kernel, bias, kernelᵀ.
    lstm: [Var<'g, T>; 3],
    interface: [Var<'g, T>; 3],
    /// Kernel, bias.
    output: [Var<'g, T>; 2],
}

impl<'g, T: Real> Cell<'g, T> {
    #[track_caller]
    fn new(dnc: &Dnc, observations: Var<'g, T>) -> Self {
        let graph = observations.graph();
        let shape = observations.shape().unwrap_or_default();
        let (steps, batch) = match *shape {
            [steps, batch, _] => (steps, batch),
            // No step can be recorded on it: the first fails with its shape.
            _ => (1, 1),
        };
        let weights = |affine: Affine| {
            let kernel = graph.param(affine.kernel);
            [kernel, graph.param(affine.bias), kernel.transpose()]
        };
        Self {
            observations,
            steps,
            sizes: Sizes::new(dnc.config, batch),
            hidden: dnc.config.hidden,
            clip: T::of(dnc.config.clip),
            lstm: weights(dnc.lstm),
            interface: weights(dnc.interface),
            output: [dnc.output.kernel, dnc.output.bias].map(|p| graph.param(p)),
        }
    }

    /// The state before the first step: zeros.
    fn start(&self) -> State<'g, T> {
        let (graph, sizes) = (self.observations.graph(), self.sizes);
        let zeros = |shape: Shape| graph.constant(shape, &vec![T::zero(); shape.elements()]);
        State {
            controller: zeros([2, sizes.batch, self.hidden].into()),
            memory: zeros(sizes.memory()),
            usage: zeros(sizes.usage()),
            write_weights: zeros(sizes.write_weights()),
            linkage: zeros(sizes.linkage()),
            read_weights: zeros(sizes.read_weights()),
            words: zeros(sizes.words()),
        }
    }

    /// One step: the table of the [module](self), line by line.
    #[track_caller]
    fn step(&self, step: usize, before: State<'g, T>) -> State<'g, T> {
        let (graph, sizes) = (self.observations.graph(), self.sizes);
        let [kernel, bias, transposed] = self.lstm;
        let controller = graph.apply(
            Lstm::new(sizes, step, self.clip),
            &[
                self.observations,
                before.words,
                before.controller,
                kernel,
                bias,
                transposed,
            ],
        );
        let [kernel, bias, transposed] = self.interface;
        let xi = graph.apply(
            Emission::new(sizes),
            &[controller, kernel, bias, transposed],
        );

        let usage = graph.apply(
            Usage::new(sizes),
            &[before.usage, before.write_weights, xi, before.read_weights],
        );
        let allocation = graph.apply(Allocation::new(sizes), &[usage, xi]);
        let content = graph.apply(Content::of_writes(sizes), &[xi, before.memory]);
        let write_weights = graph.apply(WriteWeights::new(sizes), &[xi, allocation, content]);
        let memory = graph.apply(Memory::new(sizes), &[before.memory, write_weights, xi]);

        let linkage = graph.apply(Linkage::new(sizes), &[before.linkage, write_weights]);
        let content = graph.apply(Content::of_reads(sizes), &[xi, memory]);
        let read_weights = graph.apply(
            ReadWeights::new(sizes),
            &[xi, content, linkage, before.read_weights],
        );
        let words = graph.apply(Read::new(sizes), &[read_weights, memory]);
        State {
            controller,
            memory,
            usage,
            write_weights,
            linkage,
            read_weights,
            words,
        }
    }

    /// The logits of all steps.
    #[track_caller]
    fn outputs(&self, controllers: &[Var<'g, T>], words: &[Var<'g, T>]) -> Var<'g, T> {
        let operands = [controllers, words, &self.output].concat();
        let graph = self.observations.graph();
        graph.apply(Outputs::new(self.sizes, self.clip), &operands)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::numbers;
    use super::*;
    use autodiff::{Graph, Slot, gradcheck, record};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SMALL: DncConfig = DncConfig {
        inputs: 2,
        outputs: 3,
        hidden: 3,
        slots: 3,
        word: 2,
        read_heads: 2,
        write_heads: 1,
        clip: 20.0,
    };
    const STEPS: usize = 4;
    /// Two blocks of sequences.
    const BATCH: usize = 17;

    fn dnc(config: DncConfig) -> (Dnc, Params<f64>) {
        let mut params = Params::new();
        let rng = &mut ChaCha8Rng::seed_from_u64(5);
        let dnc = Dnc::new(&mut params, config, rng).unwrap();
        // Weights large enough for the gates to differ from 1/2.
        let values = numbers(params.len(), -1.0, 1.0);
        params.values_mut().copy_from_slice(&values);
        (dnc, params)
    }

    fn observations<'g>(graph: &'g Graph<f64>, config: DncConfig) -> Var<'g, f64> {
        let shape = Shape::from([STEPS, BATCH, config.inputs]);
        graph.constant(shape, &numbers(shape.elements(), -1.0, 1.0))
    }

    /// As [`Dnc::logits`], but the usage of each step is made of the constants `writes`
    /// in place of the last write weighting, through which no gradient flows.
    fn logits_with_frozen_writes<'g>(
        dnc: &Dnc,
        graph: &'g Graph<f64>,
        writes: &[Vec<f64>],
    ) -> Var<'g, f64> {
        let cell = Cell::new(dnc, observations(graph, dnc.config));
        let mut state = cell.start();
        let (mut controllers, mut words) = (Vec::new(), Vec::new());
        for (step, writes) in writes.iter().enumerate() {
            let shape = state.write_weights.shape().unwrap();
            state.write_weights = graph.constant(shape, writes);
            state = cell.step(step, state);
            controllers.push(state.controller);
            words.push(state.words);
        }
        cell.outputs(&controllers, &words)
    }

    /// The write weightings that the steps begin with.
    fn writes(dnc: &Dnc, params: &Params<f64>) -> Vec<Vec<f64>> {
        let mut slots: Vec<Slot> = Vec::new();
        let (mut tape, _) = record(|g| {
            let cell = Cell::new(dnc, observations(g, dnc.config));
            let mut state = cell.start();
            for step in 0..STEPS {
                slots.push(state.write_weights.slot());
                state = cell.step(step, state);
            }
            Ok([state.words])
        })
        .unwrap();
        let pass = tape.forward(params).unwrap();
        let value = |&slot| pass.value(slot).unwrap().to_vec();
        slots.iter().map(value).collect()
    }

    fn gradient(
        params: &Params<f64>,
        build: impl for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>,
    ) -> Vec<f64> {
        let (mut tape, _) = record(|g| Ok([build(g).square().sum()])).unwrap();
        let mut grads = params.zeros_like();
        tape.forward(params).unwrap().backward(&mut grads).unwrap();
        grads.to_vec()
    }

    /// The whole cell over several steps. Central differences know of no gradient that is
    /// held back: they are taken with the write weightings that make the usage held fixed.
    fn has_the_right_gradient(config: DncConfig) {
        let (dnc, params) = dnc(config);
        let writes = writes(&dnc, &params);
        gradcheck(&params, |g| logits_with_frozen_writes(&dnc, g, &writes)).unwrap();
        let frozen = gradient(&params, |g| logits_with_frozen_writes(&dnc, g, &writes));
        let plain = gradient(&params, |g| dnc.logits(observations(g, config)));
        assert_eq!(plain, frozen);
        assert!(plain.iter().all(|&g| g != 0.0), "{plain:?}");
    }

    #[test]
    fn gradient_over_several_steps() {
        has_the_right_gradient(SMALL);
    }

    #[test]
    fn gradient_with_two_write_heads() {
        has_the_right_gradient(DncConfig {
            write_heads: 2,
            ..SMALL
        });
    }

    #[test]
    fn gradient_where_values_are_clipped() {
        let config = DncConfig { clip: 0.2, ..SMALL };
        let (dnc, params) = dnc(config);
        let writes = writes(&dnc, &params);
        gradcheck(&params, |g| logits_with_frozen_writes(&dnc, g, &writes)).unwrap();
    }

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

    #[test]
    fn sizes_of_zero_are_errors() {
        type Size = fn(&mut DncConfig) -> &mut usize;
        let sizes: [Size; 7] = [
            |c| &mut c.inputs,
            |c| &mut c.outputs,
            |c| &mut c.hidden,
            |c| &mut c.slots,
            |c| &mut c.word,
            |c| &mut c.read_heads,
            |c| &mut c.write_heads,
        ];
        for (k, size) in sizes.into_iter().enumerate() {
            let mut config = SMALL;
            *size(&mut config) = 0;
            let mut params = Params::<f64>::new();
            let rng = &mut ChaCha8Rng::seed_from_u64(0);
            let dnc = Dnc::new(&mut params, config, rng).unwrap();
            let recorded =
                record::<f64, 1>(|g| Ok([dnc.logits(g.input([2, 1, config.inputs])).sum()]));
            assert!(recorded.is_err(), "size {k}");
        }
    }

    #[test]
    fn observations_of_another_shape_are_an_error() {
        let (dnc, _) = dnc(SMALL);
        for shape in [&[2][..], &[2, 1, 3], &[0, 1, 2], &[2, 0, 2]] {
            let observed = Shape::new(shape).unwrap();
            let recorded = record::<f64, 1>(|g| Ok([dnc.logits(g.input(observed)).sum()]));
            assert!(recorded.is_err(), "{shape:?}");
        }
    }
}
