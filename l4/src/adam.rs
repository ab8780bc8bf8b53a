//! Adam.

use num_traits::Float;

use crate::config::{decay, non_negative};
use crate::simd::dispatch;
use crate::transform::filled;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Schedule, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// Adam (Kingma and Ba, 2015) with TensorFlow's placement of ε and the paper's ε = 1e-4:
///
/// ```text
/// m ← β1·m + (1 − β1)·∇L
/// v ← β2·v + (1 − β2)·∇L²
/// θ ← θ − lr·√(1 − β2ᵗ)/(1 − β1ᵗ)·m/(√v + ε)        β1 = 0.9, β2 = 0.999, t = 1, 2, …
/// ```
///
/// ε is added to the uncorrected √v ("ε hat" of Adam's section 2), so in the first steps it
/// weighs more than the δ of [`AdamDirection`](crate::AdamDirection), which corrects v first.
#[derive(Clone, Debug)]
pub struct Adam<T> {
    schedule: Schedule<T>,
    beta1: f64,
    beta2: f64,
    epsilon: T,
    step: u64,
    first_moment: MomentBuffer<T, 256>,
    second_moment: MomentBuffer<T, 512>,
}

impl<T: Real> Adam<T> {
    /// Adam with the constants above at the rates of `schedule`.
    pub fn new(schedule: Schedule<T>) -> Self {
        Adam {
            schedule,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: T::of(1e-4),
            step: 0,
            first_moment: MomentBuffer::new(),
            second_moment: MomentBuffer::new(),
        }
    }

    /// Sets β1 and β2, each at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Result<Self, ConfigError> {
        (self.beta1, self.beta2) = (decay("beta1", beta1)?, decay("beta2", beta2)?);
        Ok(self)
    }

    /// Sets ε, at least 0. With 0 a parameter whose gradients have all been 0 becomes NaN, 0/0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn epsilon(mut self, epsilon: T) -> Result<Self, ConfigError> {
        self.epsilon = non_negative("epsilon", epsilon)?;
        Ok(self)
    }

    /// The constants of step `t` (from 1) at learning rate `rate`.
    fn coefficients(&self, t: u64, rate: T) -> Coefficients<T> {
        let correction = Float::sqrt(filled(self.beta2, t)) / filled(self.beta1, t);
        Coefficients {
            beta1: T::of(self.beta1),
            one_minus_beta1: T::of(1.0 - self.beta1),
            beta2: T::of(self.beta2),
            one_minus_beta2: T::of(1.0 - self.beta2),
            epsilon: self.epsilon,
            rate: T::of(rate.as_f64() * correction),
        }
    }
}

struct Coefficients<T> {
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    epsilon: T,
    /// lr·√(1 − β2ᵗ)/(1 − β1ᵗ).
    rate: T,
}

impl<T: Real> Optimizer<T> for Adam<T> {
    fn name(&self) -> &'static str {
        "Adam"
    }

    fn settings(&self) -> Settings {
        let settings = self.schedule.add_to(Settings::of("Adam"));
        settings
            .with_number("beta1", self.beta1)
            .with_number("beta2", self.beta2)
            .with_number("epsilon", self.epsilon)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.first_moment, T::zero(), self.step, count)?;
        fit_moments(&mut self.second_moment, T::zero(), self.step, count)?;
        let rate = self.schedule.rate(self.step);
        self.step += 1;
        let coefficients = self.coefficients(self.step, rate);
        for (range, params, grads) in with_ranges(segments) {
            let m = &mut self.first_moment[range.clone()];
            let v = &mut self.second_moment[range];
            dispatch(
                #[inline(always)]
                || update(&coefficients, m, v, params, grads),
            );
        }
        Ok(Step::at_rate(rate))
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_vector("first_moment", self.first_moment.to_vec())
            .with_vector("second_moment", self.second_moment.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let first_moment = reader.vector("first_moment")?;
        let second_moment = reader.squares("second_moment")?;
        reader.finish()?;
        self.step = step;
        (self.first_moment, self.second_moment) = (first_moment.into(), second_moment.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.first_moment.bytes() + self.second_moment.bytes()
    }
}

#[inline(always)]
fn update<T: Real>(
    c: &Coefficients<T>,
    first_moment: &mut [T],
    second_moment: &mut [T],
    params: &mut [T],
    grads: &[T],
) {
    let moments = first_moment.iter_mut().zip(second_moment);
    for ((param, &grad), (m, v)) in params.iter_mut().zip(grads).zip(moments) {
        *m = (c.beta1 * *m + c.one_minus_beta1 * grad).flushed();
        *v = (c.beta2 * *v + c.one_minus_beta2 * grad.squarable() * grad).flushed();
        *param = *param - c.rate * *m / (v.sqrt() + c.epsilon);
    }
}
