//! Decoupled weight decay.

use alloc::vec;
use alloc::vec::Vec;

use crate::config::non_negative;
use crate::simd::dispatch;
use crate::{ConfigError, Optimizer, Real, Segment, Settings, State, StateError, Step, StepError};

/// Decoupled weight decay around any optimiser (Loshchilov and Hutter, *Decoupled weight decay
/// regularization*, ICLR 2019): after the inner optimiser's step with rate η, `θ ← θ − η·λ·θ`.
///
/// The inner optimiser, its averages and L4's g·v see the gradient of the loss alone. With L4 the
/// decay follows the η that the loss chose: at zero loss, where η = 0, the parameters rest.
///
/// That η has no upper bound: a step with η·λ > 1 turns the signs of the weights, and one with η·λ > 2 makes them grow. Choose λ far
/// below 1/η, of the rates that a short run shows.
///
/// λ may differ between segments, as parameter groups do elsewhere: none for biases, say.
///
/// ```
/// use l4::{L4Adam, Optimizer, WeightDecay};
///
/// let mut optimizer = WeightDecay::per_segment(L4Adam::<f32>::new(), vec![0.01, 0.0])?;
/// let (mut weights, mut bias) = ([1.0, -2.0], [0.5]);
/// optimizer.step_segments(1.0, &mut [(&mut weights, &mut [0.5, 1.0]), (&mut bias, &mut [0.1])])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeightDecay<O, T = f32> {
    inner: O,
    /// λ of all segments, or of each.
    decays: Vec<T>,
}

impl<O: Optimizer<T>, T: Real> WeightDecay<O, T> {
    /// The same λ, at least 0, for all parameters.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when λ is negative or not finite.
    pub fn new(inner: O, decay: T) -> Result<Self, ConfigError> {
        WeightDecay::per_segment(inner, vec![decay])
    }

    /// One λ, at least 0, for each segment in their order. A single one counts for all, as with [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is none, or one is negative or not finite.
    pub fn per_segment(inner: O, decays: Vec<T>) -> Result<Self, ConfigError> {
        if decays.is_empty() {
            return Err(ConfigError {
                name: "the number of weight decays",
                expected: "at least 1",
                found: 0.0,
            });
        }
        for &decay in &decays {
            non_negative("a weight decay", decay)?;
        }
        Ok(WeightDecay { inner, decays })
    }

    /// λ of segment number `index`.
    fn decay(&self, index: usize) -> T {
        match self.decays[..] {
            [decay] => decay,
            _ => self.decays[index],
        }
    }
}

impl<O: Optimizer<T>, T: Real> Optimizer<T> for WeightDecay<O, T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn settings(&self) -> Settings {
        let settings = self.inner.settings();
        match self.decays[..] {
            [decay] => settings.with_number("weight_decay", decay),
            _ => settings.with_numbers("weight_decay", &self.decays),
        }
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let (expected, found) = (self.decays.len(), segments.len());
        if expected != 1 && expected != found {
            return Err(StepError::SegmentCount { expected, found });
        }
        let step = self.inner.step_segments(loss, segments)?;
        for (index, (params, _)) in segments.iter_mut().enumerate() {
            shrink(step.learning_rate * self.decay(index), params);
        }
        Ok(step)
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

/// `θ ← θ − fraction·θ`.
fn shrink<T: Real>(fraction: T, params: &mut [T]) {
    if fraction == T::zero() {
        return;
    }
    dispatch(
        #[inline(always)]
        || {
            for param in params {
                *param = *param - fraction * *param;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{L4Mom, Outcome, Schedule, Sgd};

    fn sgd() -> Sgd<f64> {
        Sgd::new(Schedule::constant(0.5).unwrap())
    }

    #[test]
    fn by_hand() {
        let mut optimizer = WeightDecay::new(sgd(), 0.25).unwrap();
        let mut theta = [4.0, -2.0];
        optimizer.step(1.0, &mut theta, &mut [2.0, 0.0]).unwrap();
        // θ − 0.5·∇L = (3, −2), then 1 − 0.5·0.25 = 7/8 of it.
        assert_eq!(theta, [3.0 * 0.875, -2.0 * 0.875]);
    }

    #[test]
    fn each_segment_has_its_own() {
        let mut optimizer = WeightDecay::per_segment(sgd(), vec![0.25, 0.0]).unwrap();
        let (mut weights, mut bias) = ([4.0], [4.0]);
        optimizer
            .step_segments(
                1.0,
                &mut [(&mut weights, &mut [2.0]), (&mut bias, &mut [2.0])],
            )
            .unwrap();
        assert_eq!((weights, bias), ([3.0 * 0.875], [3.0]));
        let error = optimizer.step(1.0, &mut weights, &mut [2.0]);
        let (expected, found) = (2, 1);
        assert_eq!(error, Err(StepError::SegmentCount { expected, found }));
    }

    #[test]
    fn zero_loss_remains_a_fixed_point_of_l4() {
        let mut optimizer = WeightDecay::new(L4Mom::<f64>::new(), 0.25).unwrap();
        let mut theta = [-0.0, 3.0];
        let step = optimizer.step(0.0, &mut theta, &mut [1.0, 1.0]).unwrap();
        assert_eq!(step.outcome, Outcome::TargetReached);
        assert_eq!(theta.map(f64::to_bits), [-0.0f64, 3.0].map(f64::to_bits));
    }

    #[test]
    fn decays_are_numbers_of_at_least_0() {
        assert!(WeightDecay::new(sgd(), -0.1).is_err());
        assert!(WeightDecay::per_segment(sgd(), vec![0.1, f64::NAN]).is_err());
        assert!(WeightDecay::per_segment(sgd(), vec![]).is_err());
    }
}
