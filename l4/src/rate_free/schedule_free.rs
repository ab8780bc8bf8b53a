//! Schedule-free AdamW.

use crate::config::{decay, positive};
use crate::simd::walk;
use crate::transform::filled;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Segment, Settings, State, StateError, Step,
    StepError, check_inputs, fit_moments, with_ranges,
};

use super::start_at;

/// Schedule-free AdamW (Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky, *The road less
/// scheduled*, NeurIPS 2024), as in its authors' `adamw_schedulefree_reference.py` without warm-up
/// and weight decay. No schedule, but still a rate:
///
/// ```text
/// v ← β2·v + (1 − β2)·∇L²; z ← z − lr·∇L/(√(v/(1 − β2ᵏ)) + ε)
/// x ← (1 − 1/k)·x + z/k; y = β1·x + (1 − β1)·z
/// lr = 0.0025, β1 = 0.9, β2 = 0.999, ε = 1e-8, k = 1, 2, …
/// ```
///
/// x, y and z start at θ₀. The parameters trained, where the gradient is taken, are y; x is to be
/// evaluated: [`evaluation_point`](Optimizer::evaluation_point). Statistics of batch normalisation
/// have to be estimated anew at x. By what y was moved between two steps, as weight decay moves
/// it, z moves too, at the next step. With [`WeightDecay`](crate::WeightDecay) that is nearly the authors' `z − lr·λ·y`, which
/// they take from z in the same step, without moving the y where the gradient is taken.
#[derive(Clone, Debug)]
pub struct ScheduleFreeAdamW<T> {
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: T,
    step: u64,
    second_moment: MomentBuffer<T, 256>,
    /// x.
    average: MomentBuffer<T, 512>,
    /// z.
    iterate: MomentBuffer<T, 1024>,
}

impl<T: Real> Default for ScheduleFreeAdamW<T> {
    fn default() -> Self {
        ScheduleFreeAdamW::new()
    }
}

impl<T: Real> ScheduleFreeAdamW<T> {
    /// Schedule-free AdamW with the constants above.
    pub fn new() -> Self {
        ScheduleFreeAdamW {
            rate: 0.0025,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: T::of(1e-8),
            step: 0,
            second_moment: MomentBuffer::new(),
            average: MomentBuffer::new(),
            iterate: MomentBuffer::new(),
        }
    }

    /// Sets lr, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn rate(mut self, rate: f64) -> Result<Self, ConfigError> {
        self.rate = positive("rate", rate)?;
        Ok(self)
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
}

impl<T: Real> Optimizer<T> for ScheduleFreeAdamW<T> {
    fn name(&self) -> &'static str {
        "schedule-free AdamW"
    }

    fn settings(&self) -> Settings {
        Settings::of("schedule-free AdamW")
            .with_number("rate", self.rate)
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
        fit_moments(&mut self.second_moment, T::zero(), self.step, count)?;
        start_at(&mut self.average, segments, self.step, count)?;
        start_at(&mut self.iterate, segments, self.step, count)?;
        self.step += 1;
        let (rate, epsilon) = (T::of(self.rate), self.epsilon);
        let (beta1, rest1) = (T::of(self.beta1), T::of(1.0 - self.beta1));
        let (beta2, rest2) = (T::of(self.beta2), T::of(1.0 - self.beta2));
        let correction = T::of(1.0 / filled(self.beta2, self.step));
        let weight = 1.0 / self.step as f64;
        let (weight, rest) = (T::of(weight), T::of(1.0 - weight));
        for (range, params, grads) in with_ranges(segments) {
            walk(
                [
                    params,
                    &mut self.second_moment[range.clone()],
                    &mut self.average[range.clone()],
                    &mut self.iterate[range],
                ],
                [grads],
                #[inline(always)]
                |[y, v, x, z], [g]| {
                    let z = z + (y - (beta1 * x + rest1 * z));
                    let v = (beta2 * v + rest2 * g.squarable() * g).flushed();
                    let z = z - rate * g / ((v * correction).sqrt() + epsilon);
                    let x = rest * x + weight * z;
                    ([beta1 * x + rest1 * z, v, x, z], [])
                },
            );
        }
        Ok(Step::at_rate(rate))
    }

    fn evaluation_point(&self) -> Option<&[T]> {
        (self.step > 0).then_some(&self.average)
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_vector("second_moment", self.second_moment.to_vec())
            .with_vector("x", self.average.to_vec())
            .with_vector("z", self.iterate.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let second_moment = reader.squares("second_moment")?;
        let (x, z) = (reader.vector("x")?, reader.vector("z")?);
        reader.finish()?;
        (self.step, self.second_moment) = (step, second_moment.into());
        (self.average, self.iterate) = (x.into(), z.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.second_moment.bytes() + self.average.bytes() + self.iterate.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightDecay;

    #[test]
    fn by_hand() {
        let mut optimizer = ScheduleFreeAdamW::<f64>::new()
            .rate(0.5)
            .and_then(|it| it.betas(0.75, 0.5))
            .unwrap();
        assert!(optimizer.evaluation_point().is_none());
        let mut y = [2.0];
        // v = 0.5·16, corrected 16; z = 2 − 0.5·4/4; x = z
        optimizer.step(1.0, &mut y, &mut [4.0]).unwrap();
        assert!((y[0] - 1.5).abs() < 1e-8);
        // v = 0.5·8 + 0.5·1 = 4.5, by 1 − 0.25: 6; z = 1.5 − 0.5/√6; x = (1.5 + z)/2
        optimizer.step(1.0, &mut y, &mut [1.0]).unwrap();
        let z = 1.5 - 0.5 / 6f64.sqrt();
        let x = 0.5 * (1.5 + z);
        assert!((optimizer.evaluation_point().unwrap()[0] - x).abs() < 1e-8);
        assert!((y[0] - (0.75 * x + 0.25 * z)).abs() < 1e-8);
    }

    #[test]
    fn weight_decay_moves_z_and_so_x() {
        let optimizer = ScheduleFreeAdamW::<f64>::new()
            .rate(0.5)
            .and_then(|it| it.betas(0.75, 0.5))
            .unwrap();
        let mut optimizer = WeightDecay::new(optimizer, 0.25).unwrap();
        let mut y = [8.0];
        // No gradient: x = z = 8, and y = 8 − 0.5·0.25·8.
        optimizer.step(1.0, &mut y, &mut [0.0]).unwrap();
        assert_eq!(y, [7.0]);
        // z = 7, x = (8 + 7)/2, y = 0.75·7.5 + 0.25·7 less an eighth.
        optimizer.step(1.0, &mut y, &mut [0.0]).unwrap();
        assert_eq!(optimizer.evaluation_point().unwrap(), [7.5]);
        assert_eq!(y, [7.375 * 0.875]);
    }
}
