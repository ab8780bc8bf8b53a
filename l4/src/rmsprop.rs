//! RMSProp.

use crate::config::{decay, positive};
use crate::simd::dispatch;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Schedule, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// RMSProp (Tieleman and Hinton, 2012), as TensorFlow has it:
/// `ms ← 0.9·ms + 0.1·∇L²; θ ← θ − lr·∇L/√(ms + 1e-10)`, with ms = 1 at the start.
///
/// Elsewhere ms starts at 0 and ε is added to the root. From ms = 1 a small gradient's first steps
/// are about lr·∇L, not lr·sign(∇L)/√0.1.
#[derive(Clone, Debug)]
pub struct RmsProp<T> {
    schedule: Schedule<T>,
    decay: f64,
    epsilon: T,
    step: u64,
    mean_square: MomentBuffer<T>,
}

impl<T: Real> RmsProp<T> {
    /// RMSProp with the constants above at the rates of `schedule`.
    pub fn new(schedule: Schedule<T>) -> Self {
        RmsProp {
            schedule,
            decay: 0.9,
            epsilon: T::of(1e-10),
            step: 0,
            mean_square: MomentBuffer::new(),
        }
    }

    /// Sets the decay of the mean square, at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn decay(mut self, value: f64) -> Result<Self, ConfigError> {
        self.decay = decay("decay", value)?;
        Ok(self)
    }

    /// Sets the number added to the mean square under the root, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn epsilon(mut self, epsilon: T) -> Result<Self, ConfigError> {
        self.epsilon = positive("epsilon", epsilon)?;
        Ok(self)
    }
}

impl<T: Real> Optimizer<T> for RmsProp<T> {
    fn name(&self) -> &'static str {
        "RMSProp"
    }

    fn settings(&self) -> Settings {
        let settings = self.schedule.add_to(Settings::of("RMSProp"));
        settings
            .with_number("decay", self.decay)
            .with_number("epsilon", self.epsilon)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.mean_square, T::one(), self.step, count)?;
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        let (decay, rest) = (T::of(self.decay), T::of(1.0 - self.decay));
        let epsilon = self.epsilon;
        for (range, params, grads) in with_ranges(segments) {
            let mean_square = &mut self.mean_square[range];
            dispatch(
                #[inline(always)]
                || {
                    for ((param, &grad), ms) in params.iter_mut().zip(&*grads).zip(mean_square) {
                        *ms = (decay * *ms + rest * grad.squarable() * grad).flushed();
                        *param = *param - rate * grad / (*ms + epsilon).sqrt();
                    }
                },
            );
        }
        Ok(Step::at_rate(rate))
    }

    fn state(&self) -> State<T> {
        State::new(self.step).with_vector("mean_square", self.mean_square.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let (step, mean_square) = (reader.step(), reader.squares("mean_square")?);
        reader.finish()?;
        (self.step, self.mean_square) = (step, mean_square.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.mean_square.bytes()
    }
}
