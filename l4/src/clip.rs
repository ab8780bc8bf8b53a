//! Gradient clipping by global norm.

use num_traits::Float;

use crate::config::positive;
use crate::optimizer::require_finite;
use crate::simd::{dispatch, sum_of_squares};
use crate::{
    ConfigError, Optimizer, Real, Segment, Settings, State, StateError, Step, StepError,
    check_inputs,
};

/// Clips the gradient to a Euclidean norm of at most c before the inner optimiser sees it, as
/// `tf.clip_by_global_norm`: `∇L ← ∇L·c/max(c, ‖∇L‖)`.
///
/// The norm runs over all parameters. A gradient within the bound is passed on unchanged, bit for
/// bit. The state is the inner optimiser's.
#[derive(Clone, Debug)]
pub struct ClipByGlobalNorm<O, T = f32> {
    inner: O,
    max_norm: T,
}

impl<O: Optimizer<T>, T: Real> ClipByGlobalNorm<O, T> {
    /// Clips to `max_norm`, above 0, in front of `inner`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `max_norm` is not positive and finite.
    pub fn new(inner: O, max_norm: T) -> Result<Self, ConfigError> {
        let max_norm = positive("the maximal gradient norm", max_norm)?;
        Ok(ClipByGlobalNorm { inner, max_norm })
    }
}

impl<O: Optimizer<T>, T: Real> Optimizer<T> for ClipByGlobalNorm<O, T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn settings(&self) -> Settings {
        let settings = self.inner.settings();
        settings.with_number("max_gradient_norm", self.max_norm)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        check_inputs(loss, segments)?;
        clip(segments, self.max_norm)?;
        self.inner.step_segments(loss, segments)
    }

    fn evaluation_point(&self) -> Option<&[T]> {
        self.inner.evaluation_point()
    }

    fn state(&self) -> State<T> {
        self.inner.state()
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        self.inner.restore(state)
    }

    fn state_bytes(&self) -> usize {
        self.inner.state_bytes()
    }
}

fn clip<T: Real>(segments: &mut [Segment<'_, T>], max_norm: T) -> Result<(), StepError> {
    let squares = segments.iter().map(|(_, grads)| sum_of_squares(grads));
    let norm = Float::sqrt(squares.sum::<f64>());
    require_finite("the gradient's norm", norm)?;
    let max_norm = max_norm.as_f64();
    if norm <= max_norm {
        return Ok(());
    }
    let scale = T::of(max_norm / norm);
    for (_, grads) in segments {
        dispatch(
            #[inline(always)]
            || {
                for grad in grads.iter_mut() {
                    *grad = *grad * scale;
                }
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Schedule, Sgd};

    fn clipped_sgd<T: Real>(max_norm: f64) -> ClipByGlobalNorm<Sgd<T>, T> {
        let sgd = Sgd::new(Schedule::constant(T::one()).unwrap());
        ClipByGlobalNorm::new(sgd, T::of(max_norm)).unwrap()
    }

    #[test]
    fn by_hand() {
        // ‖(3, −4)‖ = 5, clipped to 4: (3, −4)·4/5 = (2.4, −3.2).
        let mut params = [0.0, 0.0];
        clipped_sgd(4.0)
            .step(1.0, &mut params, &mut [3.0, -4.0])
            .unwrap();
        assert_eq!(params, [-3.0 * 0.8, 4.0 * 0.8]);
        // ‖(3, −4)‖ = 5 is within 5.
        let mut params = [0.0, 0.0];
        clipped_sgd(5.0)
            .step(1.0, &mut params, &mut [3.0, -4.0])
            .unwrap();
        assert_eq!(params, [-3.0, 4.0]);
    }

    #[test]
    fn the_norm_of_a_gradient_at_the_end_of_the_range_does_not_overflow() {
        let largest = f32::LARGEST;
        let mut params = [0.0f32; 4];
        clipped_sgd(2.0)
            .step(1.0, &mut params, &mut [largest; 4])
            .unwrap();
        for param in params {
            assert!((param + 1.0).abs() < 1e-6, "{param}");
        }
    }

    #[test]
    fn an_overflowing_norm_is_refused() {
        let mut params = [7.0; 4];
        let error = clipped_sgd(2.0).step(1.0, &mut params, &mut [f64::LARGEST; 4]);
        assert!(matches!(error, Err(StepError::Overflow { .. })));
        assert_eq!(params, [7.0; 4]);
    }

    #[test]
    fn bad_input_is_refused_before_the_gradient_changes() {
        let mut grads = [30.0, f64::NAN];
        let error = clipped_sgd(2.0).step(1.0, &mut [0.0; 2], &mut grads);
        assert!(matches!(
            error,
            Err(StepError::UnusableGradient { index: 1, .. })
        ));
        assert_eq!(grads[0], 30.0);
    }

    #[test]
    fn the_bound_is_positive() {
        let sgd = || Sgd::new(Schedule::constant(1.0).unwrap());
        for max_norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(ClipByGlobalNorm::new(sgd(), max_norm).is_err());
        }
    }

    proptest! {
        #[test]
        fn never_longer_than_the_bound_and_never_turned(
            mut grads in prop::collection::vec(-1e3..1e3f32, 1..200),
            max_norm in 0.1..100.0f32,
        ) {
            let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let original = grads.clone();
            clip(&mut [(&mut [], &mut grads)], max_norm).unwrap();
            prop_assert!(norm(&grads) <= f64::from(max_norm) * (1.0 + 1e-6));
            let scale = (f64::from(max_norm) / norm(&original)).min(1.0);
            for (clipped, original) in grads.iter().zip(original) {
                let expected = scale * f64::from(original);
                prop_assert!((f64::from(*clipped) - expected).abs() <= 1e-6 * expected.abs());
            }
        }
    }
}
