//! Checking derivatives against central differences.

use crate::{Error, Graph, Params, Var, record};

/// A gradient that is not the derivative, or that could not be checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GradcheckError {
    /// The computation could not be recorded or run.
    #[error(transparent)]
    Recording(#[from] Error),
    /// There are no parameters.
    #[error("there is no parameter to check a gradient by")]
    NoParameters,
    /// One component disagrees.
    #[error(
        "gradient of {param}[{index}]: the tape says {gradient:e}, central differences say {difference:e}"
    )]
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

/// How derivatives are checked.
///
/// ```
/// use autodiff::{Gradcheck, Params};
///
/// let mut params = Params::new();
/// let x = params.add("x", [3], || 0.7)?;
/// let closely = Gradcheck { tolerance: 1e-9, ..Gradcheck::default() };
/// closely.check(&params, |g| g.param(x).tanh().square())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradcheck {
    /// h: by how much a parameter θ is moved, relative to |θ| or to 1 if that is larger.
    /// There must be no kink (relu at 0) within it.
    pub step: f64,
    /// Disagreement that passes, relative to the larger of gradient and difference.
    pub tolerance: f64,
}

impl Default for Gradcheck {
    fn default() -> Self {
        Self {
            step: 1e-4,
            tolerance: 1e-6,
        }
    }
}

/// Roundings that the terms of a function may carry, in units of ε.
const ROUNDINGS: f64 = 200.0;

impl Gradcheck {
    /// Compares the tape's gradient of `build` by every parameter with central
    /// differences D(h) = (f(θ + h) − f(θ − h))/2h in f64, extrapolated to h = 0 by
    /// Richardson's rule, (4·D(h/2) − D(h))/3, whose error is of order h⁴.
    ///
    /// `build` may return any shape: the check runs on f = Σ cᵢ·yᵢ with coefficients that
    /// are all different, so that an error in any one shows. A result without elements leaves nothing to
    /// check, and passes. Beside the tolerance only
    /// what rounding can do to the difference passes, some 200·ε·Σ|cᵢ·yᵢ|/h.
    ///
    /// # Errors
    /// [`GradcheckError::Mismatch`] at the first component that disagrees or is not finite; [`GradcheckError::Recording`] if
    /// `build` cannot be recorded or run, [`GradcheckError::NoParameters`] if there is nothing to check.
    pub fn check(
        self,
        params: &Params<f64>,
        build: impl for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>,
    ) -> Result<(), GradcheckError> {
        if params.is_empty() {
            return Err(GradcheckError::NoParameters);
        }
        let (mut tape, [terms, _]) = record(|g| {
            let y = build(g);
            let shape = y.shape()?;
            let coefficients: Vec<f64> = (1..=shape.elements())
                .map(|i| (i as f64 * 1.7).sin() + 1.5)
                .collect();
            let terms = y * g.constant(shape, &coefficients);
            Ok([terms, terms.sum()])
        })?;
        let mut theta = params.clone();
        let mut grads = params.zeros_like();
        let mut pass = tape.forward(&theta)?;
        pass.backward(&mut grads)?;
        let magnitude: f64 = pass.value(terms)?.iter().map(|term| term.abs()).sum();
        for (name, param) in params.iter() {
            for (index, i) in param.range().enumerate() {
                let x = params.values()[i];
                let h = self.step * x.abs().max(1.0);
                let mut difference = |h: f64| -> Result<f64, Error> {
                    let mut at = |x| {
                        theta.values_mut()[i] = x;
                        tape.forward(&theta)?.loss()
                    };
                    Ok((at(x + h)? - at(x - h)?) / (2.0 * h))
                };
                let difference = (4.0 * difference(h / 2.0)? - difference(h)?) / 3.0;
                theta.values_mut()[i] = x;
                let scale = difference.abs().max(grads[i].abs());
                let rounding = ROUNDINGS * f64::EPSILON * magnitude / h;
                let error = (grads[i] - difference).abs();
                let close = error <= self.tolerance * scale + rounding;
                if !(close && scale.is_finite()) {
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
}

/// [`Gradcheck::check`] with the default step and tolerance.
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
/// As [`Gradcheck::check`].
pub fn gradcheck(
    params: &Params<f64>,
    build: impl for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>,
) -> Result<(), GradcheckError> {
    Gradcheck::default().check(params, build)
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

    #[test]
    fn an_infinite_gradient_is_a_mismatch() {
        let mut params = Params::new();
        let x = params.add("x", [1], || 2.0).unwrap();
        for wrong in [f64::INFINITY, f64::NEG_INFINITY] {
            let error = gradcheck(&params, |g| g.apply(Cube { wrong }, &[g.param(x)]));
            assert!(matches!(error, Err(GradcheckError::Mismatch { .. })));
        }
    }

    #[test]
    fn what_checks_nothing_does_not_pass() {
        let params = Params::new();
        let constant = gradcheck(&params, |g| g.constant([1], &[1.0]));
        assert_eq!(constant, Err(GradcheckError::NoParameters));
        let mut params = Params::new();
        let x = params.add("x", [1], || 2.0).unwrap();
        let blind = Gradcheck {
            tolerance: f64::NAN,
            ..Gradcheck::default()
        };
        assert!(blind.check(&params, |g| g.param(x).square()).is_err());
    }

    /// c·x², and a derivative of 0.
    struct Flat(f64);

    impl Op<f64> for Flat {
        fn name(&self) -> &'static str {
            "flat"
        }
        fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
            Ok(inputs[0])
        }
        fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
            y.iter_mut()
                .zip(&x[0])
                .for_each(|(y, x)| *y = self.0 * x * x);
        }
        fn backward(&mut self, _: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
            let Some(dx) = dx.of(0) else { return };
            dx.add(dy.iter().map(|_| 0.0));
        }
    }

    #[test]
    fn small_gradients_are_checked_as_closely_as_large_ones() {
        let mut params = Params::new();
        let x = params.add("x", [2], || 0.7).unwrap();
        for c in [1.0, 1e-7, 1e-30] {
            let flat = gradcheck(&params, |g| g.apply(Flat(c), &[g.param(x)]));
            assert!(flat.is_err(), "{c}");
            assert_eq!(gradcheck(&params, |g| g.param(x).square() * c), Ok(()));
        }
        let hidden = gradcheck(&params, |g| g.apply(Flat(1e-7), &[g.param(x)]) + 1.0);
        assert!(hidden.is_err(), "beside a large constant");
    }

    #[test]
    fn strongly_curved_functions_pass() {
        let mut params = Params::new();
        let x = params.add("x", [2], || 0.7).unwrap();
        // h²·f‴/6 is 1.5e-6 of f′ here: plain central differences would be off by that.
        assert_eq!(gradcheck(&params, |g| (g.param(x) * 30.0).exp()), Ok(()));
    }
}
