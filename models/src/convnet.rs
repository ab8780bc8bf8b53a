//! The convolutional network of section 3.5.

use crate::init::{glorot_uniform, zeros};
use crate::{Dense, Layers};
use autodiff::{Error, Padding, Param, Params, Real, Var};
use rand::Rng;

/// The MNIST network of TensorFlow's official models: 5×5 convolutions to 32 and to 64
/// channels, each with bias, ReLU and 2×2 max pooling; a dense layer of 1024 with ReLU;
/// dropout; 10 logits.
///
/// Weights are Glorot uniform and biases start at zero.
#[derive(Clone, Copy, Debug)]
pub struct ConvNet {
    conv1: ConvRelu,
    conv2: ConvRelu,
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

    /// Channels of the two convolutions.
    const CHANNELS: [usize; 2] = [32, 64];

    /// Adds the network's parameters. `dropout` is the rate.
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        dropout: f64,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        let ([height, width, inputs], [c1, c2]) = (Self::INPUT, Self::CHANNELS);
        let (hidden, classes) = (Self::HIDDEN, Self::CLASSES);
        let flat = height / 4 * (width / 4) * c2;
        Ok(Self {
            conv1: ConvRelu::new(params, "conv1", [inputs, c1], rng)?,
            conv2: ConvRelu::new(params, "conv2", [c1, c2], rng)?,
            hidden: Dense::new(
                params,
                "hidden",
                flat,
                hidden,
                glorot_uniform(flat, hidden, rng),
            )?,
            output: Dense::new(
                params,
                "output",
                hidden,
                classes,
                glorot_uniform(hidden, classes, rng),
            )?,
            dropout,
        })
    }

    /// Logits [batch, 10] for images x: [batch, 28, 28, 1].
    #[track_caller]
    pub fn logits<'g, T: Real>(&self, x: Var<'g, T>, layers: &mut Layers) -> Var<'g, T> {
        let h = self.conv1.apply(x).max_pool2d(2, 2);
        let h = self.conv2.apply(h).max_pool2d(2, 2);
        // If it has no shape there is an error already.
        let shape = h.shape().unwrap_or_default();
        let batch = shape.first().copied().unwrap_or(0);
        let flat = shape.elements() / batch.max(1);
        let h = self.hidden.apply(h.reshape([batch, flat])).relu();
        self.output
            .apply(layers.dropout("dropout", h, self.dropout))
    }
}

/// A 5×5 convolution, SAME, with bias and ReLU.
#[derive(Clone, Copy, Debug)]
struct ConvRelu {
    kernel: Param,
    bias: Param,
}

impl ConvRelu {
    const SIZE: usize = 5;

    fn new<T: Real>(
        params: &mut Params<T>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        let (size, area) = (Self::SIZE, Self::SIZE * Self::SIZE);
        let kernel = glorot_uniform(area * inputs, area * outputs, rng);
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
        x.conv2d_bias_relu(kernel, bias, 1, Padding::Same)
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
