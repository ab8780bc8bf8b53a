//! The convolutional network of section 3.5.

use crate::Layers;
use crate::source::{Drawn, Source, Zeros};
use autodiff::init::zeros;
use autodiff::{Dense, Error, Padding, Param, Params, Real, Var};
use rand::Rng;

/// The MNIST network of TensorFlow's official models: 5×5 convolutions to 32 and to 64
/// channels, each with bias, ReLU and 2×2 max pooling; a dense layer of 1024 with ReLU;
/// dropout; 10 logits.
///
/// Weights are [Glorot uniform](autodiff::init::glorot_uniform) and biases start at zero.
/// Kernels of convolutions are \[height, width, inputs, outputs\], those of dense layers
/// \[inputs, outputs\]; the 3136 inputs of the hidden layer are 7 × 7 pixels of 64 channels,
/// the channels innermost:
///
/// ```
/// let mut params = autodiff::Params::<f32>::new();
/// models::ConvNet::zeros(&mut params, 0.4)?;
/// let layout: Vec<_> = params.iter().map(|(name, p)| format!("{name} {}", p.shape())).collect();
/// assert_eq!(layout, [
///     "conv1/kernel [5, 5, 1, 32]", "conv1/bias [32]",
///     "conv2/kernel [5, 5, 32, 64]", "conv2/bias [64]",
///     "hidden/kernel [3136, 1024]", "hidden/bias [1024]",
///     "output/kernel [1024, 10]", "output/bias [10]",
/// ]);
/// # Ok::<(), autodiff::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ConvNet {
    conv1: ConvPool,
    conv2: ConvPool,
    hidden: Dense,
    output: Dense,
    dropout: f64,
}

impl ConvNet {
    /// Height, width and channels of an input.
    pub const INPUT: [usize; 3] = [28, 28, 1];
    /// Units of the dense hidden layer.
    pub const HIDDEN: usize = 1024;
    /// Logits.
    pub const CLASSES: usize = 10;
    /// Of the 5×5 convolutions, whose stride is 1: two pixels of zeros on each side. The
    /// pooling, 2×2 with stride 2, has none.
    pub const PADDING: Padding = Padding::Same;

    /// Channels of the two convolutions.
    const CHANNELS: [usize; 2] = [32, 64];

    /// Adds the network's parameters. `dropout` is the share of hidden units that are set to 0, from 0 to
    /// below 1 (recording refuses any other): TensorFlow's model has 0.4.
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        dropout: f64,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        Self::build(params, dropout, &mut Drawn(rng))
    }

    /// As [`new`](Self::new), without a random generator: every kernel is zero, to be
    /// written over with trained values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeros<T: Real>(params: &mut Params<T>, dropout: f64) -> Result<Self, Error> {
        Self::build(params, dropout, &mut Zeros)
    }

    fn build<T: Real>(
        params: &mut Params<T>,
        dropout: f64,
        source: &mut impl Source,
    ) -> Result<Self, Error> {
        let ([height, width, inputs], [c1, c2]) = (Self::INPUT, Self::CHANNELS);
        let (hidden, classes) = (Self::HIDDEN, Self::CLASSES);
        let flat = height / 4 * (width / 4) * c2;
        Ok(Self {
            conv1: ConvPool::new(params, "conv1", [inputs, c1], source)?,
            conv2: ConvPool::new(params, "conv2", [c1, c2], source)?,
            hidden: Dense::new(
                params,
                "hidden",
                flat,
                hidden,
                source.glorot_uniform(flat, hidden),
            )?,
            output: Dense::new(
                params,
                "output",
                hidden,
                classes,
                source.glorot_uniform(hidden, classes),
            )?,
            dropout,
        })
    }

    /// Logits [batch, 10] for images x: [batch, 28, 28, 1].
    #[track_caller]
    pub fn logits<'g, T: Real>(&self, x: Var<'g, T>, layers: &mut Layers) -> Var<'g, T> {
        let h = self.conv2.apply(self.conv1.apply(x));
        // If it has no shape there is an error already.
        let shape = h.shape().unwrap_or_default();
        let batch = shape.first().copied().unwrap_or(0);
        let flat = shape.elements() / batch.max(1);
        let h = self.hidden.apply(h.reshape([batch, flat])).relu();
        self.output
            .apply(layers.dropout("dropout", h, self.dropout))
    }
}

/// A 5×5 convolution, SAME, with bias and ReLU, and 2×2 max pooling.
#[derive(Clone, Copy, Debug)]
struct ConvPool {
    kernel: Param,
    bias: Param,
}

impl ConvPool {
    const SIZE: usize = 5;

    fn new<T: Real>(
        params: &mut Params<T>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        source: &mut impl Source,
    ) -> Result<Self, Error> {
        let (size, area) = (Self::SIZE, Self::SIZE * Self::SIZE);
        let kernel = source.glorot_uniform(area * inputs, area * outputs);
        Ok(Self {
            kernel: params.add(
                format!("{name}/kernel"),
                [size, size, inputs, outputs],
                kernel,
            )?,
            bias: params.add(format!("{name}/bias"), [outputs], zeros())?,
        })
    }

    #[track_caller]
    fn apply<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        let (kernel, bias) = (x.graph().param(self.kernel), x.graph().param(self.bias));
        x.conv2d_bias_relu_max_pool(kernel, bias, 1, ConvNet::PADDING, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn has_the_papers_number_of_parameters() {
        let mut params = Params::<f32>::new();
        ConvNet::new(&mut params, 0.4, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let convolutions = (5 * 5 * 32 + 32) + (5 * 5 * 32 * 64 + 64);
        let dense = (7 * 7 * 64 * 1024 + 1024) + (1024 * 10 + 10);
        assert_eq!(params.len(), convolutions + dense);
        assert_eq!(params.len(), 3_274_634);
    }

    #[test]
    fn kernels_are_glorot_uniform_by_receptive_field() {
        let mut params = Params::<f64>::new();
        ConvNet::new(&mut params, 0.4, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let kernel = params.view(params.get("conv2/kernel").unwrap());
        let limit = (6.0 / f64::from(25 * (32 + 64))).sqrt();
        let largest = kernel.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(0.999 * limit < largest && largest <= limit);
    }
}
