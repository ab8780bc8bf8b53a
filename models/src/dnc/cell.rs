//! The cell: one step of the network, from mechanism to mechanism.

use super::allocation::{Allocation, Usage};
use super::content::Content;
use super::interface::Emission;
use super::layout::Sizes;
use super::linkage::Linkage;
use super::lstm::Lstm;
use super::output::Outputs;
use super::read::{Read, ReadWeights};
use super::write::{Memory, WriteWeights};
use super::{Affine, Dnc};
use autodiff::{Real, Var};

/// What one step leaves to the next.
#[derive(Clone, Copy)]
pub(super) struct State<'g, T> {
    /// h and c of the LSTM.
    pub controller: Var<'g, T>,
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
    pub words: Var<'g, T>,
}

/// What all steps of a recording share.
pub(super) struct Cell<'g, T> {
    observations: Var<'g, T>,
    pub steps: usize,
    sizes: Sizes,
    hidden: usize,
    clip: T,
    /// Kernel, bias.
    lstm: [Var<'g, T>; 2],
    interface: [Var<'g, T>; 2],
    output: [Var<'g, T>; 2],
}

impl<'g, T: Real> Cell<'g, T> {
    #[track_caller]
    pub fn new(dnc: &Dnc, observations: Var<'g, T>) -> Self {
        let graph = observations.graph();
        let shape = observations.shape().unwrap_or_default();
        let (steps, batch) = match *shape {
            [steps, batch, _] => (steps, batch),
            // No step can be recorded on it: the first fails with its shape.
            _ => (1, 1),
        };
        let weights = |affine: Affine| [affine.kernel, affine.bias].map(|p| graph.param(p));
        Self {
            observations,
            steps,
            sizes: Sizes::new(dnc.config, batch),
            hidden: dnc.config.hidden,
            clip: T::nearest(dnc.config.clip),
            lstm: weights(dnc.lstm),
            interface: weights(dnc.interface),
            output: weights(dnc.output),
        }
    }

    /// The state before the first step: zeros, with gradients like those of any later state.
    #[track_caller]
    pub fn start(&self) -> State<'g, T> {
        let (graph, sizes) = (self.observations.graph(), self.sizes);
        State {
            controller: graph.input_with_gradient(sizes.controller(self.hidden)),
            memory: graph.input_with_gradient(sizes.memory()),
            usage: graph.input_with_gradient(sizes.usage()),
            write_weights: graph.input_with_gradient(sizes.write_weights()),
            linkage: graph.input_with_gradient(sizes.linkage()),
            read_weights: graph.input_with_gradient(sizes.read_weights()),
            words: graph.input_with_gradient(sizes.words()),
        }
    }

    /// One step: the table of the [module](super), line by line.
    #[track_caller]
    pub fn step(&self, step: usize, before: State<'g, T>) -> State<'g, T> {
        let (graph, sizes) = (self.observations.graph(), self.sizes);
        let [kernel, bias] = self.lstm;
        let controller = graph.apply(
            Lstm::new(sizes, step, self.clip),
            &[
                self.observations,
                before.words,
                before.controller,
                kernel,
                bias,
            ],
        );
        let [kernel, bias] = self.interface;
        let xi = graph.apply(Emission::new(sizes), &[controller, kernel, bias]);

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
    pub fn outputs(&self, controllers: &[Var<'g, T>], words: &[Var<'g, T>]) -> Var<'g, T> {
        let operands = [controllers, words, &self.output].concat();
        let graph = self.observations.graph();
        graph.apply(Outputs::new(self.sizes, self.clip), &operands)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, numbers};
    use super::*;
    use crate::DncConfig;
    use autodiff::{Graph, Params, Shape, Slot, gradcheck, record};
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
    fn logits_and_the_controllers_state_reach_the_limit_and_no_further() {
        let config = DncConfig { clip: 0.2, ..SMALL };
        let (dnc, params) = dnc(config);
        let (mut tape, [state, logits]) = record(|g| {
            let observations = observations(g, config);
            let cell = Cell::new(&dnc, observations);
            let state = cell.step(0, cell.start()).controller;
            Ok([state, dnc.logits(observations)])
        })
        .unwrap();
        let pass = tape.forward(&params).unwrap();
        for slot in [state, logits] {
            let values = pass.value(slot).unwrap().iter();
            assert_eq!(values.fold(0.0f64, |m, x| m.max(x.abs())), config.clip);
        }
    }

    #[test]
    fn gradient_where_values_are_clipped() {
        let config = DncConfig { clip: 0.2, ..SMALL };
        let (dnc, params) = dnc(config);
        let writes = writes(&dnc, &params);
        gradcheck(&params, |g| logits_with_frozen_writes(&dnc, g, &writes)).unwrap();
    }

    #[test]
    fn sizes_of_zero_and_sizes_that_no_memory_holds_are_errors() {
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
        let extents = [0, 1 << 50, usize::MAX];
        for (k, extent) in (0..7).flat_map(|k| extents.map(|extent| (k, extent))) {
            let mut config = SMALL;
            *sizes[k](&mut config) = extent;
            config.interface_columns();
            let mut params = Params::<f64>::new();
            let rng = &mut ChaCha8Rng::seed_from_u64(0);
            let recorded = record::<f64, 1>(|g| {
                let dnc = Dnc::new(&mut params, config, rng)?;
                Ok([dnc.logits(g.input([2, 1, config.inputs])).sum()])
            });
            let error = recorded.expect_err("an error").to_string();
            let told = ["of no size 0", "memory can"];
            assert!(told.iter().any(|what| error.contains(what)), "{k}: {error}");
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

    /// Each sequence has a memory of its own, wherever it stands in its block.
    #[test]
    fn sequences_do_not_know_of_one_another() {
        for write_heads in [1, 2] {
            let config = DncConfig {
                write_heads,
                ..SMALL
            };
            let (dnc, params) = dnc(config);
            let logits = |observed: &[f64], batch: usize| -> Vec<f64> {
                let recorded = record(|g| {
                    let x = g.constant([STEPS, batch, config.inputs], observed);
                    Ok([dnc.logits(x)])
                });
                let (mut tape, [y]) = recorded.unwrap();
                let pass = tape.forward(&params).unwrap();
                pass.into_value(y).unwrap().to_vec()
            };
            let of = |values: &[f64], width: usize, sequence: usize| -> Vec<f64> {
                let steps = values.chunks_exact(BATCH * width);
                let own = steps.flat_map(|step| &step[sequence * width..][..width]);
                own.copied().collect()
            };
            let all = numbers(STEPS * BATCH * config.inputs, -1.0, 1.0);
            let together = logits(&all, BATCH);
            for sequence in [0, 15, 16] {
                let alone = logits(&of(&all, config.inputs, sequence), 1);
                let found = of(&together, config.outputs, sequence);
                assert_close(&found, &alone, 1e-12);
            }
        }
    }
}
