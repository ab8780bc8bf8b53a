//! Layers that keep something from step to step, and what they keep.

use autodiff::init::{self, Fill};
use autodiff::{
    BatchNorm, BatchNormConfig, BatchNormMode, Dropout, Error, Graph, Padding, Param, Params,
    Preactivation, Real, ResidualBlock, Slot, Tape, Var,
};

/// What a network is recorded for; see the constructors of [`Layers`].
#[derive(Clone, Copy, Debug)]
enum Mode {
    Training { dropout_seed: [u8; 32] },
    Evaluation,
}

/// Records the layers of a network that differ between training and evaluation, and
/// knows where on the tape those are that keep something.
///
/// [`Classifier`](crate::Classifier) has its own. Make one for a network that you record
/// with a loss of your own:
///
/// ```
/// use autodiff::{Params, record};
/// use models::{ConvNet, Layers};
///
/// let mut params = Params::<f32>::new();
/// let network = ConvNet::zeros(&mut params, 0.4)?;
/// let mut layers = Layers::training([7; 32]);
/// let (mut tape, [x, loss]) = record(|g| {
///     let x = g.input([2, 28, 28, 1]);
///     Ok([x, network.logits(x, &mut layers).square().mean()])
/// })?;
/// tape.set(x, &[0.5; 2 * 28 * 28])?;
/// assert_eq!(tape.forward(&params)?.value(loss)?, [0.0]);
/// // One mask was drawn. Save this beside the parameters:
/// let state = layers.state(&tape)?;
/// assert_eq!(state.positions, [("dropout/position".to_owned(), 1)]);
/// layers.restore(&mut tape, &state)?;
/// # Ok::<(), autodiff::Error>(())
/// ```
///
/// Layers are told apart by their names: record a network once with one of these. Applied twice, its layers would both get the
/// state of the first on [`restore`](Self::restore).
#[derive(Clone, Debug)]
pub struct Layers {
    mode: Mode,
    batch_norms: Vec<(String, Kept)>,
    dropouts: Vec<(String, Slot)>,
}

/// Where on a tape a batch normalisation is kept.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// An operation of its own.
    Alone(Slot),
    /// That of the first or second half of a residual block.
    InBlock(Slot, usize),
}

impl Kept {
    fn on<T: Real>(self, tape: &Tape<T>) -> Option<&BatchNorm<T>> {
        match self {
            Kept::Alone(slot) => tape.op(slot),
            Kept::InBlock(slot, half) => Some(&tape.op::<ResidualBlock<T>>(slot)?.norms()[half]),
        }
    }

    fn on_mut<T: Real>(self, tape: &mut Tape<T>) -> Option<&mut BatchNorm<T>> {
        match self {
            Kept::Alone(slot) => tape.op_mut(slot),
            Kept::InBlock(slot, half) => {
                let block: &mut ResidualBlock<T> = tape.op_mut(slot)?;
                Some(&mut block.norms_mut()[half])
            }
        }
    }
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
    /// For training: dropout draws masks from random streams that start at
    /// `dropout_seed`, and batch normalisation is by the batch's statistics and updates the
    /// running ones.
    pub fn training(dropout_seed: [u8; 32]) -> Self {
        Self::new(Mode::Training { dropout_seed })
    }

    /// For evaluation: dropout is the identity, and batch normalisation is by the running
    /// statistics, which [`restore`](Self::restore) brings from a training.
    pub fn evaluation() -> Self {
        Self::new(Mode::Evaluation)
    }

    fn new(mode: Mode) -> Self {
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
    ///
    /// # Errors
    /// [`Error::OtherTape`] if they were recorded on another.
    pub fn state<T: Real>(&self, tape: &Tape<T>) -> Result<State<T>, Error> {
        let mut state = State::default();
        for (name, kept) in &self.batch_norms {
            let layer: &BatchNorm<T> = kept.on(tape).ok_or(Error::OtherTape)?;
            let [mean, variance] = statistics(name);
            state.statistics.extend([
                (mean, layer.running_mean().to_vec()),
                (variance, layer.running_variance().to_vec()),
            ]);
        }
        for (name, slot) in &self.dropouts {
            let layer: &Dropout<T> = tape.op(*slot).ok_or(Error::OtherTape)?;
            state.positions.push((position(name), layer.position()));
        }
        Ok(state)
    }

    /// Gives the layers on this tape what others of the same names have kept. What they
    /// have no use for is ignored: evaluation draws no dropout masks.
    ///
    /// # Errors
    /// [`Error::MissingState`] if a layer finds nothing under its name,
    /// [`Error::Length`] if that is of another number of channels, an error of
    /// [`BatchNorm::set_running`] if its values are none that statistics can have, [`Error::OtherTape`]
    /// as for [`state`](Self::state). The layers before it have then been restored.
    pub fn restore<T: Real>(&self, tape: &mut Tape<T>, state: &State<T>) -> Result<(), Error> {
        for (name, kept) in &self.batch_norms {
            let [mean, variance] = statistics(name);
            let (mean, variance) = (
                find(&state.statistics, mean)?,
                find(&state.statistics, variance)?,
            );
            let layer: &mut BatchNorm<T> = kept.on_mut(tape).ok_or(Error::OtherTape)?;
            layer.set_running(mean, variance)?;
        }
        for (name, slot) in &self.dropouts {
            let position = *find(&state.positions, position(name))?;
            let layer: &mut Dropout<T> = tape.op_mut(*slot).ok_or(Error::OtherTape)?;
            layer.set_position(position);
        }
        Ok(())
    }
}

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
    pub(crate) const DECAY: f64 = 0.997;
    pub(crate) const EPSILON: f64 = 1e-5;

    fn config(layers: &Layers) -> BatchNormConfig {
        BatchNormConfig {
            mode: layers.batch_norm_mode(),
            decay: Self::DECAY,
            epsilon: Self::EPSILON,
        }
    }

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
        let y = x.batch_norm_relu(gamma, beta, Self::config(layers));
        let kept = Kept::Alone(y.slot());
        layers.batch_norms.push((self.name.clone(), kept));
        y
    }

    /// This and the convolution that follows.
    fn before<'g, T: Real>(&self, graph: &'g Graph<T>, conv: Conv) -> Preactivation<'g, T> {
        Preactivation {
            scale: graph.param(self.gamma),
            shift: graph.param(self.beta),
            kernel: graph.param(conv.kernel),
        }
    }
}

/// x ↦ conv(relu(norm(conv(relu(norm(x)))))) + short cut.
#[derive(Clone, Debug)]
pub(crate) struct Residual {
    /// The second convolution has stride 1.
    pub(crate) halves: [(NormRelu, Conv); 2],
    /// The short cut, if it is a convolution of the first ReLU's result; else it is x.
    pub(crate) projection: Option<Conv>,
}

impl Residual {
    #[track_caller]
    pub(crate) fn apply<'g, T: Real>(&self, x: Var<'g, T>, layers: &mut Layers) -> Var<'g, T> {
        let (graph, config) = (x.graph(), NormRelu::config(layers));
        let halves = [0, 1].map(|i| {
            let (norm, conv) = &self.halves[i];
            norm.before(graph, *conv)
        });
        let projection = self.projection.map(|conv| graph.param(conv.kernel));
        let y = x.residual_block(halves, projection, self.halves[0].1.stride, config);
        for (i, (norm, _)) in self.halves.iter().enumerate() {
            let kept = Kept::InBlock(y.slot(), i);
            layers.batch_norms.push((norm.name.clone(), kept));
        }
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
    /// That of a kernel of this size.
    pub(crate) const fn padding(size: usize) -> Padding {
        let zeros = (size - 1) / 2;
        Padding::Explicit {
            top: zeros,
            bottom: zeros,
            left: zeros,
            right: zeros,
        }
    }

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
        let kernel = x.graph().param(self.kernel);
        x.conv2d(kernel, self.stride, Self::padding(self.size))
    }
}
