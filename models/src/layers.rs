//! Layers that keep something from step to step, and what they keep.

use crate::init::{self, Fill};
use autodiff::{
    BatchNorm, BatchNormConfig, BatchNormMode, Dropout, Error, Padding, Param, Params, Real, Slot,
    Tape, Var,
};

/// What a network is recorded for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// Dropout draws masks, and batch normalisation is by the batch's statistics and
    /// updates the running ones.
    Training {
        /// Start of the random stream of the dropout masks.
        dropout_seed: [u8; 32],
    },
    /// Dropout is the identity, and batch normalisation is by the running statistics.
    Evaluation,
}

/// Records the layers of a network that differ between training and evaluation, and
/// knows where on the tape those are that keep something.
#[derive(Clone, Debug)]
pub struct Layers {
    mode: Mode,
    batch_norms: Vec<(String, Slot)>,
    dropouts: Vec<(String, Slot)>,
}

/// What the layers of a recording keep from step to step, by name: what has to be saved
/// beside the parameters for a run to go on as if it had never stopped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<T> {
    /// `name/moving_mean` and `name/moving_variance` of every batch normalisation, by
    /// channel.
    pub statistics: Vec<(String, Vec<T>)>,
    /// `name/position` of every dropout: how many masks it has drawn.
    pub positions: Vec<(String, u64)>,
}

impl Layers {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            batch_norms: Vec::new(),
            dropouts: Vec::new(),
        }
    }

    /// [`Var::dropout`], if this is training. The layers of a network draw different
    /// masks.
    #[track_caller]
    pub fn dropout<'g, T: Real>(&mut self, name: &str, x: Var<'g, T>, rate: f64) -> Var<'g, T> {
        let Mode::Training {
            dropout_seed: mut seed,
        } = self.mode
        else {
            return x;
        };
        let layer = self.dropouts.len() as u64;
        seed.iter_mut()
            .zip(layer.to_le_bytes())
            .for_each(|(seed, layer)| *seed ^= layer);
        let y = x.dropout(rate, seed);
        self.dropouts.push((name.to_owned(), y.slot()));
        y
    }

    fn batch_norm_mode(&self) -> BatchNormMode {
        match self.mode {
            Mode::Training { .. } => BatchNormMode::Training,
            Mode::Evaluation => BatchNormMode::Inference,
        }
    }

    /// What the layers on this tape have kept.
    pub(crate) fn state<T: Real>(&self, tape: &Tape<T>) -> State<T> {
        let statistics = self.batch_norms.iter().flat_map(|(name, slot)| {
            let layer: &BatchNorm<T> = tape.op(*slot).expect(RECORDED);
            let [mean, variance] = statistics(name);
            [
                (mean, layer.running_mean().to_vec()),
                (variance, layer.running_variance().to_vec()),
            ]
        });
        let positions = self.dropouts.iter().map(|(name, slot)| {
            let layer: &Dropout<T> = tape.op(*slot).expect(RECORDED);
            (position(name), layer.position())
        });
        State {
            statistics: statistics.collect(),
            positions: positions.collect(),
        }
    }

    /// Gives the layers on this tape what others of the same names have kept.
    pub(crate) fn restore<T: Real>(
        &self,
        tape: &mut Tape<T>,
        state: &State<T>,
    ) -> Result<(), Error> {
        for (name, slot) in &self.batch_norms {
            let [mean, variance] = statistics(name);
            let (mean, variance) = (
                find(&state.statistics, mean)?,
                find(&state.statistics, variance)?,
            );
            let layer: &mut BatchNorm<T> = tape.op_mut(*slot).expect(RECORDED);
            layer.set_running(mean, variance)?;
        }
        for (name, slot) in &self.dropouts {
            let position = *find(&state.positions, position(name))?;
            let layer: &mut Dropout<T> = tape.op_mut(*slot).expect(RECORDED);
            layer.set_position(position);
        }
        Ok(())
    }
}

const RECORDED: &str = "the layer was recorded at this slot";

fn statistics(layer: &str) -> [String; 2] {
    ["moving_mean", "moving_variance"].map(|what| format!("{layer}/{what}"))
}

fn position(layer: &str) -> String {
    format!("{layer}/position")
}

fn find<V>(entries: &[(String, V)], name: String) -> Result<&V, Error> {
    match entries.iter().find(|(other, _)| *other == name) {
        Some((_, value)) => Ok(value),
        None => Err(Error::MissingState(name)),
    }
}

/// Batch normalisation with a ReLU on top, with the constants of section 3.3.
#[derive(Clone, Debug)]
pub(crate) struct NormRelu {
    name: String,
    gamma: Param,
    beta: Param,
}

impl NormRelu {
    const DECAY: f64 = 0.997;
    const EPSILON: f64 = 1e-5;

    /// Adds the parameters `name/gamma`, ones, and `name/beta`, zeros.
    pub(crate) fn new<T: Real>(
        params: &mut Params<T>,
        name: &str,
        channels: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            name: name.to_owned(),
            gamma: params.add(format!("{name}/gamma"), [channels], init::ones())?,
            beta: params.add(format!("{name}/beta"), [channels], init::zeros())?,
        })
    }

    #[track_caller]
    pub(crate) fn apply<'g, T: Real>(&self, x: Var<'g, T>, layers: &mut Layers) -> Var<'g, T> {
        let (gamma, beta) = (x.graph().param(self.gamma), x.graph().param(self.beta));
        let config = BatchNormConfig {
            mode: layers.batch_norm_mode(),
            decay: Self::DECAY,
            epsilon: Self::EPSILON,
        };
        let y = x.batch_norm_relu(gamma, beta, config);
        layers.batch_norms.push((self.name.clone(), y.slot()));
        y
    }
}

/// A convolution without bias, padded as TensorFlow's official ResNet does: by
/// (size − 1)/2 on each side of the image, whatever the stride.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    kernel: Param,
    size: usize,
    stride: usize,
}

impl Conv {
    /// Adds the parameter `name/kernel`.
    pub(crate) fn new<T: Real>(
        params: &mut Params<T>,
        name: &str,
        [size, inputs, outputs, stride]: [usize; 4],
        kernel: Fill<T>,
    ) -> Result<Self, Error> {
        let kernel = params.add(
            format!("{name}/kernel"),
            [size, size, inputs, outputs],
            kernel,
        )?;
        Ok(Self {
            kernel,
            size,
            stride,
        })
    }

    #[track_caller]
    pub(crate) fn apply<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        let zeros = (self.size - 1) / 2;
        let padding = Padding::Explicit {
            top: zeros,
            bottom: zeros,
            left: zeros,
            right: zeros,
        };
        x.conv2d(x.graph().param(self.kernel), self.stride, padding)
    }
}
