//! The multilayer perceptron of section 3.2.

use crate::source::{Drawn, Source, Zeros};
use autodiff::init::zeros;
use autodiff::{Dense, Error, Params, Real, Var};
use rand::Rng;

/// 784–300–100–10 with ReLU: logits = relu(relu(x·W1 + b1)·W2 + b2)·W3 + b3.
///
/// Hidden weights are [Glorot uniform](autodiff::init::glorot_uniform); output weights and
/// all biases start at zero. Kernels are \[inputs, outputs\]:
///
/// ```
/// let mut params = autodiff::Params::<f32>::new();
/// models::Mlp::zeros(&mut params)?;
/// let layout: Vec<_> = params.iter().map(|(name, p)| format!("{name} {}", p.shape())).collect();
/// assert_eq!(layout, [
///     "hidden1/kernel [784, 300]", "hidden1/bias [300]",
///     "hidden2/kernel [300, 100]", "hidden2/bias [100]",
///     "output/kernel [100, 10]", "output/bias [10]",
/// ]);
/// # Ok::<(), autodiff::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    layers: [Dense; 3],
}

impl Mlp {
    /// Pixels of an input.
    pub const INPUTS: usize = 28 * 28;
    /// Units of the two hidden layers.
    pub const HIDDEN: [usize; 2] = [300, 100];
    /// Logits.
    pub const CLASSES: usize = 10;

    /// Adds the network's parameters.
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(params: &mut Params<T>, rng: &mut impl Rng) -> Result<Self, Error> {
        Self::build(params, &mut Drawn(rng))
    }

    /// As [`new`](Self::new), without a random generator: every kernel is zero, to be
    /// written over with trained values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeros<T: Real>(params: &mut Params<T>) -> Result<Self, Error> {
        Self::build(params, &mut Zeros)
    }

    fn build<T: Real>(params: &mut Params<T>, source: &mut impl Source) -> Result<Self, Error> {
        let (inputs, [h1, h2], classes) = (Self::INPUTS, Self::HIDDEN, Self::CLASSES);
        let hidden1 = Dense::new(
            params,
            "hidden1",
            inputs,
            h1,
            source.glorot_uniform(inputs, h1),
        )?;
        let hidden2 = Dense::new(params, "hidden2", h1, h2, source.glorot_uniform(h1, h2))?;
        let output = Dense::new(params, "output", h2, classes, zeros())?;
        Ok(Self {
            layers: [hidden1, hidden2, output],
        })
    }

    /// Logits [batch, 10] for pixels x: [batch, 784].
    #[track_caller]
    pub fn logits<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        let [hidden1, hidden2, output] = &self.layers;
        let h1 = hidden1.apply(x).relu();
        let h2 = hidden2.apply(h1).relu();
        output.apply(h2)
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
        Mlp::new(&mut params, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        // (784 + 1)·300 + (300 + 1)·100 + (100 + 1)·10
        assert_eq!(params.len(), 266_610);
    }

    #[test]
    fn output_weights_start_at_zero_and_hidden_ones_do_not() {
        let mut params = Params::<f32>::new();
        Mlp::new(&mut params, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let all_zero = |name| {
            params
                .view(params.get(name).unwrap())
                .iter()
                .all(|&x| x == 0.0)
        };
        assert!(all_zero("output/kernel") && all_zero("hidden1/bias"));
        assert!(!all_zero("hidden1/kernel") && !all_zero("hidden2/kernel"));
    }
}
