//! Heavy-ball momentum.

use crate::config::decay;
use crate::simd::dispatch;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Schedule, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// Gradient descent with heavy-ball momentum, as TensorFlow has it and the paper calls mSGD:
/// `a ← 0.9·a + ∇L; θ ← θ − lr·a`.
///
/// `a` is a sum, not an average: in a steady gradient it grows to 10·∇L. Where an averaged
/// gradient ([`AveragedGradient`](crate::AveragedGradient), L4Mom's direction) takes the rate η,
/// the heavy ball takes η/10 for the same steady-state step.
#[derive(Clone, Debug)]
pub struct Momentum<T> {
    schedule: Schedule<T>,
    momentum: T,
    step: u64,
    accumulator: MomentBuffer<T>,
}

impl<T: Real> Momentum<T> {
    /// A heavy ball with momentum 0.9 at the rates of `schedule`.
    pub fn new(schedule: Schedule<T>) -> Self {
        Momentum {
            schedule,
            momentum: T::of(0.9),
            step: 0,
            accumulator: MomentBuffer::new(),
        }
    }

    /// Sets the factor on the accumulator, at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn momentum(mut self, momentum: T) -> Result<Self, ConfigError> {
        self.momentum = decay("momentum", momentum)?;
        Ok(self)
    }
}

impl<T: Real> Optimizer<T> for Momentum<T> {
    fn name(&self) -> &'static str {
        "mSGD"
    }

    fn settings(&self) -> Settings {
        let settings = self.schedule.add_to(Settings::of("heavy ball"));
        settings.with_number("momentum", self.momentum)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.accumulator, T::zero(), self.step, count)?;
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        let momentum = self.momentum;
        for (range, params, grads) in with_ranges(segments) {
            let accumulator = &mut self.accumulator[range];
            dispatch(
                #[inline(always)]
                || update(momentum, rate, accumulator, params, grads),
            );
        }
        Ok(Step::at_rate(rate))
    }

    fn state(&self) -> State<T> {
        State::new(self.step).with_vector("accumulator", self.accumulator.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let (step, accumulator) = (reader.step(), reader.vector("accumulator")?);
        reader.finish()?;
        (self.step, self.accumulator) = (step, accumulator.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.accumulator.bytes()
    }
}

#[inline(always)]
fn update<T: Real>(momentum: T, rate: T, accumulator: &mut [T], params: &mut [T], grads: &[T]) {
    for ((param, &grad), a) in params.iter_mut().zip(grads).zip(accumulator) {
        *a = momentum * *a + grad;
        *param = *param - rate * *a;
    }
}
