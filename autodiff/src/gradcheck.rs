//! Checking derivatives against central differences.

use crate::{Error, Graph, Params, Var};
use std::fmt;

/// Relative disagreement that is put down to rounding: central differences in
/// f64 with the step below are good to about 1e-9 on smooth functions of
/// moderate size.
const TOLERANCE: f64 = 1e-6;

/// A gradient that is not the derivative.
#[derive(Debug, Clone, PartialEq)]
pub enum GradcheckError {
    /// The computation could not be recorded or run.
    Recording(Error),
    /// One component disagrees.
    Mismatch {
        /// Name of the parameter.
        param: String,
        /// Index into it, row-major.
        index: usize,
        /// What the tape computed.
        gradient: f64,
        /// What the central difference says.
        difference: f64,
    },
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Recording(error) => error.fmt(f),
            Self::Mismatch {
                param,
                index,
                gradient,
                difference,
            } => write!(
                f,
                "gradient of {param}[{index}]: the tape says {gradient:e}, central differences say {difference:e}"
            ),
        }
    }
}

impl std::error::Error for GradcheckError {}

impl From<Error> for GradcheckError {
    fn from(error: Error) -> Self {
        Self::Recording(error)
    }
}

/// Compares the tape's gradient of `build` by every parameter with the central
/// difference (f(θ + h) − f(θ − h)) / 2h, in f64.
///
/// `build` may return any shape: the check runs on a fixed combination of its
/// elements, with coefficients that are all different, so that an error in any
/// one shows. Keep parameters away from kinks (relu at 0), where the derivative
/// does not exist, and gradients near 1 in size: a difference of 1e-6, relative to
/// the gradient or to 1 if that is larger, passes as rounding.
///
/// ```
/// use autodiff::{Params, gradcheck};
///
/// let mut params = Params::new();
/// let x = params.add("x", [3], || 0.7)?;
/// gradcheck(&params, |g| g.param(x).tanh().square())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`GradcheckError::Mismatch`] at the first component that disagrees.
pub fn gradcheck(
    params: &Params<f64>,
    build: impl for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>,
) -> Result<(), GradcheckError> {
    let graph = Graph::new();
    let y = build(&graph);
    let coefficients: Vec<f64> = (1..=y.shape().elements())
        .map(|i| (i as f64 * 1.7).sin() + 1.5)
        .collect();
    let root = (y * graph.constant(y.shape(), &coefficients)).sum().slot();
    let mut tape = graph.finish(root)?;

    let mut theta = params.values().to_vec();
    let mut grads = params.zeros_like();
    tape.forward(&theta)?;
    tape.backward(&theta, &mut grads)?;
    for (name, param) in params.iter() {
        for (index, i) in param.range().enumerate() {
            let x = theta[i];
            let h = 1e-5 * x.abs().max(1.0);
            let mut at = |x| -> Result<f64, Error> {
                theta[i] = x;
                tape.forward(&theta)?;
                Ok(tape.root_value())
            };
            let difference = (at(x + h)? - at(x - h)?) / (2.0 * h);
            theta[i] = x;
            let scale = 1f64.max(difference.abs()).max(grads[i].abs());
            let error = (grads[i] - difference).abs();
            if error.is_nan() || error > TOLERANCE * scale {
                return Err(GradcheckError::Mismatch {
                    param: name.to_owned(),
                    index,
                    gradient: grads[i],
                    difference,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gradients, Inputs, Op, Shape};

    struct Cube {
        wrong: f64,
    }

    impl Op<f64> for Cube {
        fn name(&self) -> &'static str {
            "cube"
        }
        fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
            Ok(inputs[0])
        }
        fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
            y.iter_mut().zip(&x[0]).for_each(|(y, x)| *y = x * x * x);
        }
        fn backward(&mut self, x: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
            let slope = |x: f64| {
                if x > 1.0 {
                    self.wrong * x * x
                } else {
                    3.0 * x * x
                }
            };
            let Some(dx) = dx.of(0) else { return };
            dx.add(x[0].iter().zip(dy).map(|(&x, dy)| dy * slope(x)));
        }
    }

    #[test]
    fn a_wrong_derivative_is_found_where_it_is_wrong() {
        let mut params = Params::new();
        let mut values = [0.5, 0.25, 2.0, 0.75].into_iter();
        let x = params.add("x", [4], || values.next().unwrap()).unwrap();
        assert_eq!(
            gradcheck(&params, |g| g.apply(Cube { wrong: 3.0 }, &[g.param(x)])),
            Ok(())
        );
        let error =
            gradcheck(&params, |g| g.apply(Cube { wrong: 3.001 }, &[g.param(x)])).unwrap_err();
        assert!(
            matches!(error, GradcheckError::Mismatch { index: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_gradient_that_is_not_a_number_is_a_mismatch() {
        let mut params = Params::new();
        let x = params.add("x", [1], || 0.0).unwrap();
        let error = gradcheck(&params, |g| g.param(x).sqrt()).unwrap_err();
        assert!(matches!(error, GradcheckError::Mismatch { .. }), "{error}");
    }
}
