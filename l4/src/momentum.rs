//! Momentum: the heavy ball, and Nesterov's.

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
/// the heavy ball takes η/10 for the same steady-state step. The rate multiplies the whole sum: a drop
/// of the schedule scales past gradients too, unlike the form with the rate inside the velocity.
pub type Momentum<T> = Accumulated<T, false>;

/// Gradient descent with Nesterov's accelerated gradient, as TensorFlow has it
/// (`tf.train.MomentumOptimizer` with `use_nesterov`):
/// `a ← 0.9·a + ∇L; θ ← θ − lr·(∇L + 0.9·a)`.
///
/// This is the form of Sutskever, Martens, Dahl and Hinton (*On the importance of initialization
/// and momentum in deep learning*, ICML 2013, Eq. 3 and 4) in the variable θ + 0.9·velocity, where
/// they take the gradient: so the gradient is always the one at the parameters held.
pub type Nesterov<T> = Accumulated<T, true>;

/// [`Momentum`] and [`Nesterov`].
#[derive(Clone, Debug)]
pub struct Accumulated<T, const NESTEROV: bool> {
    schedule: Schedule<T>,
    momentum: T,
    step: u64,
    accumulator: MomentBuffer<T>,
}

impl<T: Real, const NESTEROV: bool> Accumulated<T, NESTEROV> {
    /// Momentum of 0.9 at the rates of `schedule`.
    pub fn new(schedule: Schedule<T>) -> Self {
        Accumulated {
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

impl<T: Real, const NESTEROV: bool> Optimizer<T> for Accumulated<T, NESTEROV> {
    fn name(&self) -> &'static str {
        if NESTEROV { "Nesterov" } else { "mSGD" }
    }

    fn settings(&self) -> Settings {
        let name = if NESTEROV { "Nesterov" } else { "heavy ball" };
        let settings = self.schedule.add_to(Settings::of(name));
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
                || update::<T, NESTEROV>(momentum, rate, accumulator, params, grads),
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
fn update<T: Real, const NESTEROV: bool>(
    momentum: T,
    rate: T,
    accumulator: &mut [T],
    params: &mut [T],
    grads: &[T],
) {
    for ((param, &grad), a) in params.iter_mut().zip(grads).zip(accumulator) {
        *a = (momentum * *a + grad).flushed();
        let v = if NESTEROV { grad + momentum * *a } else { *a };
        *param = *param - rate * v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut optimizer = Nesterov::new(Schedule::constant(0.01).unwrap());
        let mut theta = [0.0f64, 0.0];
        let mut step = |mut gradient: [f64; 2]| {
            let before = theta;
            optimizer.step(1.0, &mut theta, &mut gradient).unwrap();
            [before[0] - theta[0], before[1] - theta[1]]
        };
        let close = |found: [f64; 2], expected: [f64; 2]| {
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-15, "{found} {expected}");
            }
        };
        // a = (1, −2); ∇L + 0.9·a = (1.9, −3.8)
        close(step([1.0, -2.0]), [0.01 * 1.9, 0.01 * -3.8]);
        // a = (1.4, −1.8); ∇L + 0.9·a = (0.5 + 1.26, −1.62)
        close(step([0.5, 0.0]), [0.01 * 1.76, 0.01 * -1.62]);
        // a = (0.26, −0.62); ∇L + 0.9·a = (−1 + 0.234, 1 − 0.558)
        close(step([-1.0, 1.0]), [0.01 * -0.766, 0.01 * 0.442]);
    }

    /// Sutskever's own form: the gradient at θ + μ·v, v ← μ·v − lr·∇L, θ ← θ + v. Ours is at
    /// θ + μ·v throughout.
    #[test]
    fn the_look_ahead_form_is_the_same() {
        let (mu, rate) = (0.8, 0.05);
        let gradient = |x: f64| 3.0 * x;
        let mut optimizer = Nesterov::new(Schedule::constant(rate).unwrap())
            .momentum(mu)
            .unwrap();
        let (mut ours, mut theta, mut velocity) = ([2.0f64], 2.0, 0.0);
        for _ in 0..20 {
            let ahead = theta + mu * velocity;
            assert!((ours[0] - ahead).abs() < 1e-14);
            let mut at_ours = [gradient(ours[0])];
            optimizer.step(1.0, &mut ours, &mut at_ours).unwrap();
            velocity = mu * velocity - rate * gradient(ahead);
            theta += velocity;
        }
    }
}
