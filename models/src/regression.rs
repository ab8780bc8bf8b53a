//! The two-layer linear network of section 3.1 and its least-squares problem.

use crate::source::{Drawn, Source, Zeros};
use autodiff::{Error, Graph, Param, Params, Real, Tape, Var, record};
use rand::Rng;

/// Sizes of a [`TwoLayerLinear`] network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoLayerShape {
    /// Length of x.
    pub inputs: usize,
    /// Length of W2·x.
    pub hidden: usize,
    /// Length of W1·W2·x.
    pub outputs: usize,
}

impl TwoLayerShape {
    /// The paper's: 6 → 6 → 10.
    pub const PAPER: Self = Self {
        inputs: 6,
        hidden: 6,
        outputs: 10,
    };

    /// Number of trainable weights: 96 in the paper.
    pub fn weights(self) -> usize {
        self.hidden * (self.inputs + self.outputs)
    }
}

/// x ↦ W1·W2·x, with W1 (outputs × hidden) and W2 (hidden × inputs) from N(0, 1): the
/// parameters `W1` and `W2`.
#[derive(Clone, Copy, Debug)]
pub struct TwoLayerLinear {
    w1: Param,
    w2: Param,
}

impl TwoLayerLinear {
    /// Adds the network's parameters.
    ///
    /// # Errors
    /// If `params` holds another network of this kind.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        shape: TwoLayerShape,
        rng: &mut impl Rng,
    ) -> Result<Self, Error> {
        Self::build(params, shape, &mut Drawn(rng))
    }

    /// As [`new`](Self::new), without a random generator: W1 and W2 are zero, to be
    /// written over.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn zeros<T: Real>(params: &mut Params<T>, shape: TwoLayerShape) -> Result<Self, Error> {
        Self::build(params, shape, &mut Zeros)
    }

    fn build<T: Real>(
        params: &mut Params<T>,
        shape: TwoLayerShape,
        source: &mut impl Source,
    ) -> Result<Self, Error> {
        let TwoLayerShape {
            inputs,
            hidden,
            outputs,
        } = shape;
        Ok(Self {
            w1: params.add("W1", [outputs, hidden], source.standard_normal())?,
            w2: params.add("W2", [hidden, inputs], source.standard_normal())?,
        })
    }

    /// Predictions, outputs × samples, for x, inputs × samples.
    ///
    /// (W1·W2)·x rather than W1·(W2·x): no layer in between is nonlinear, and with far more
    /// samples than weights this order takes fewer operations: at the paper's sizes 5/8 of them
    /// forward, about half with the backward pass.
    #[track_caller]
    pub fn predict<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        self.matrix(x.graph()).matmul(x)
    }

    /// W1·W2.
    fn matrix<'g, T: Real>(&self, g: &'g Graph<T>) -> Var<'g, T> {
        g.param(self.w1).matmul(g.param(self.w2))
    }
}

/// Full-batch regression with the loss of Eq. (8), the mean over samples of
/// ‖W1·W2·x − y‖².
pub struct Regression<T> {
    tape: Tape<T>,
    network: TwoLayerLinear,
    shape: TwoLayerShape,
    samples: usize,
    x: Vec<T>,
    y: Vec<T>,
}

impl<T: Real> Regression<T> {
    /// The problem with these samples, x: inputs × samples and y: outputs × samples.
    ///
    /// # Errors
    /// If there are no samples, the shape is not the network's, or x or y do not have `samples` columns of its lengths.
    pub fn new(
        network: TwoLayerLinear,
        shape: TwoLayerShape,
        samples: usize,
        x: &[T],
        y: &[T],
    ) -> Result<Self, Error> {
        let TwoLayerShape {
            inputs,
            hidden,
            outputs,
        } = shape;
        let (w1, w2) = (network.w1.range().len(), network.w2.range().len());
        for (what, expected, found) in [
            ("W1", w1, outputs * hidden),
            ("W2", w2, hidden * inputs),
            ("samples", samples.max(1), samples),
        ] {
            if expected != found {
                return Err(Error::Length {
                    what,
                    expected,
                    found,
                });
            }
        }
        let (tape, _) = record(|g| {
            let x = g.constant([shape.inputs, samples], x);
            let y = g.constant([shape.outputs, samples], y);
            let error = network.matrix(g).product_squared_error(x, y);
            Ok([error * T::nearest(1.0 / samples as f64)])
        })?;
        Ok(Self {
            tape,
            network,
            shape,
            samples,
            x: x.to_vec(),
            y: y.to_vec(),
        })
    }

    /// The loss; writes its gradient to `grads`.
    ///
    /// # Errors
    /// If `params` is not the network's, or `grads` not of its length.
    pub fn loss_and_gradient(&mut self, params: &Params<T>, grads: &mut [T]) -> Result<T, Error> {
        let mut pass = self.tape.forward(params)?;
        pass.backward(grads)?;
        pass.loss()
    }

    /// The loss.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn loss(&mut self, params: &Params<T>) -> Result<T, Error> {
        self.tape.forward(params)?.loss()
    }

    /// Number of residuals, outputs · samples.
    pub fn residual_count(&self) -> usize {
        self.y.len()
    }

    /// The residuals (W1·W2·x − y)/√samples, whose squares sum to the loss, sample
    /// after sample within each output.
    ///
    /// # Panics
    /// If `params` is shorter than the network's parameters, or `residuals` than their number.
    pub fn residuals(&self, params: &[T], residuals: &mut [T]) {
        let TwoLayerShape {
            inputs,
            hidden,
            outputs,
        } = self.shape;
        let (w1, w2) = (
            &params[self.network.w1.range()],
            &params[self.network.w2.range()],
        );
        let scale = self.scale();
        for o in 0..outputs {
            let row = &mut residuals[o * self.samples..][..self.samples];
            row.iter_mut()
                .zip(&self.y[o * self.samples..])
                .for_each(|(r, &y)| *r = -y * scale);
            for i in 0..inputs {
                let product: T = (0..hidden)
                    .map(|h| w1[o * hidden + h] * w2[h * inputs + i])
                    .sum();
                add_scaled(row, product * scale, &self.x[i * self.samples..]);
            }
        }
    }

    /// The Jacobian of [`residuals`](Self::residuals) in closed form, row-major,
    /// residuals × parameters:
    ///
    /// ∂r_os/∂W1_oh = (W2·x_s)_h/√samples, ∂r_os/∂W2_hi = W1_oh·x_is/√samples.
    ///
    /// ∂r_os/∂W1_ph is zero for p ≠ o, whatever the parameters, and not written: let
    /// `jacobian` be zeros at the first call.
    ///
    /// # Panics
    /// If `params` is shorter than the network's parameters, or `jacobian` than residuals × parameters.
    pub fn jacobian(&self, params: &[T], jacobian: &mut [T]) {
        let TwoLayerShape {
            inputs,
            hidden,
            outputs,
        } = self.shape;
        let (w1, w2) = (self.network.w1.range(), self.network.w2.range());
        let mut x = vec![T::zero(); inputs];
        let mut unit = vec![T::zero(); hidden];
        for sample in 0..self.samples {
            for (i, x) in x.iter_mut().enumerate() {
                *x = self.x[i * self.samples + sample] * self.scale();
            }
            for (unit, row) in unit.iter_mut().zip(params[w2.clone()].chunks_exact(inputs)) {
                *unit = row.iter().zip(&x).map(|(&w, &x)| w * x).sum();
            }
            for o in 0..outputs {
                let row =
                    &mut jacobian[(o * self.samples + sample) * params.len()..][..params.len()];
                row[w1.start + o * hidden..][..hidden].copy_from_slice(&unit);
                let weights = &params[w1.start + o * hidden..][..hidden];
                for (entries, &weight) in row[w2.clone()].chunks_exact_mut(inputs).zip(weights) {
                    entries
                        .iter_mut()
                        .zip(&x)
                        .for_each(|(entry, &x)| *entry = weight * x);
                }
            }
        }
    }

    fn scale(&self) -> T {
        T::nearest(1.0 / (self.samples as f64).sqrt())
    }
}

fn add_scaled<T: Real>(to: &mut [T], factor: T, x: &[T]) {
    to.iter_mut().zip(x).for_each(|(t, &x)| *t += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use autodiff::init::standard_normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SHAPE: TwoLayerShape = TwoLayerShape {
        inputs: 3,
        hidden: 2,
        outputs: 4,
    };
    const SAMPLES: usize = 5;

    fn problem() -> (Params<f64>, Regression<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut params = Params::new();
        let network = TwoLayerLinear::new(&mut params, SHAPE, &mut rng).unwrap();
        let mut normal = standard_normal(&mut rng);
        let x: Vec<f64> = (0..SHAPE.inputs * SAMPLES).map(|_| normal()).collect();
        let y: Vec<f64> = (0..SHAPE.outputs * SAMPLES).map(|_| normal()).collect();
        (
            params,
            Regression::new(network, SHAPE, SAMPLES, &x, &y).unwrap(),
        )
    }

    #[test]
    fn another_networks_shape_and_no_samples_are_refused() {
        let mut params = Params::<f64>::new();
        let network = TwoLayerLinear::zeros(&mut params, SHAPE).unwrap();
        let of = |shape: TwoLayerShape, samples| {
            let (x, y) = (
                vec![0.0; shape.inputs * samples],
                vec![0.0; shape.outputs * samples],
            );
            Regression::new(network, shape, samples, &x, &y).err()
        };
        assert_eq!(of(SHAPE, 1), None);
        let narrow = TwoLayerShape { hidden: 1, ..SHAPE };
        assert!(matches!(
            of(narrow, 1),
            Some(Error::Length { what: "W1", .. })
        ));
        assert!(matches!(
            of(SHAPE, 0),
            Some(Error::Length {
                what: "samples",
                ..
            })
        ));
    }

    #[test]
    fn the_paper_has_96_weights() {
        assert_eq!(TwoLayerShape::PAPER.weights(), 96);
        let mut params = Params::<f64>::new();
        TwoLayerLinear::new(
            &mut params,
            TwoLayerShape::PAPER,
            &mut ChaCha8Rng::seed_from_u64(0),
        )
        .unwrap();
        assert_eq!(params.len(), 96);
    }

    #[test]
    fn the_loss_is_the_sum_of_squared_residuals() {
        let (params, mut regression) = problem();
        let mut grads = params.zeros_like();
        let loss = regression.loss_and_gradient(&params, &mut grads).unwrap();
        let mut residuals = vec![0.0; regression.residual_count()];
        regression.residuals(params.values(), &mut residuals);
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        assert!((loss - squares).abs() < 1e-13 * loss, "{loss} {squares}");
    }

    #[test]
    fn the_gradient_is_twice_the_jacobian_transposed_times_the_residuals() {
        let (params, mut regression) = problem();
        let mut grads = params.zeros_like();
        regression.loss_and_gradient(&params, &mut grads).unwrap();
        let rows = regression.residual_count();
        let mut residuals = vec![0.0; rows];
        regression.residuals(params.values(), &mut residuals);
        let mut jacobian = vec![0.0; rows * params.len()];
        regression.jacobian(params.values(), &mut jacobian);
        for (i, gradient) in grads.iter().enumerate() {
            let column = jacobian.iter().skip(i).step_by(params.len());
            let product: f64 = column.zip(&residuals).map(|(j, r)| 2.0 * j * r).sum();
            assert!(
                (gradient - product).abs() < 1e-12 * gradient.abs().max(1.0),
                "{gradient} {product}"
            );
        }
    }
}
