//! DoG.

use num_traits::Float;

use super::start_at;
use crate::config::positive;
use crate::optimizer::require_finite;
use crate::simd::{sum_of_squares, walk};
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Segment, Settings, State, StateError, Step,
    StepError, check_inputs, fit_moments, with_ranges,
};

/// Distance over gradients (Ivgi, Hinder and Carmon, *DoG is SGD's best friend: a parameter-free
/// dynamic step size schedule*, ICML 2023), as in its authors' `src/dog/dog.py`:
///
/// ```text
/// r ← max(r, ‖θ − θ₀‖); G ← G + ‖∇L‖²; θ ← θ − r/√G·∇L
/// x ← (1 − w)·x + w·θ        w = 9/(8 + t), t = 1, 2, …
/// ```
///
/// with r = r_eps·(1 + ‖θ₀‖) and G = 1e-8 before the first step, r_eps = 1e-6. Its authors advise
/// r_eps = 1e-4 for networks with batch normalisation. To be evaluated at the average x:
/// [`evaluation_point`](Optimizer::evaluation_point).
#[derive(Clone, Debug)]
pub struct Dog<T> {
    r_eps: f64,
    step: u64,
    /// r.
    distance: f64,
    /// G.
    squares: f64,
    /// θ₀.
    start: MomentBuffer<T, 256>,
    /// x.
    average: MomentBuffer<T, 512>,
}

impl<T: Real> Default for Dog<T> {
    fn default() -> Self {
        Dog::new()
    }
}

impl<T: Real> Dog<T> {
    /// DoG with r_eps = 1e-6.
    pub fn new() -> Self {
        Dog {
            r_eps: 1e-6,
            step: 0,
            distance: 0.0,
            squares: 1e-8,
            start: MomentBuffer::new(),
            average: MomentBuffer::new(),
        }
    }

    /// Sets the first distance relative to 1 + ‖θ₀‖, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn r_eps(mut self, r_eps: f64) -> Result<Self, ConfigError> {
        self.r_eps = positive("r_eps", r_eps)?;
        Ok(self)
    }

    /// The first r, or how far `segments` are from the start.
    fn distance_of(&self, segments: &mut [Segment<'_, T>]) -> f64 {
        if self.step == 0 {
            return self.r_eps * (1.0 + Float::sqrt(sum_of_squares(&self.start)));
        }
        let mut squares = 0.0;
        for (range, params, _) in with_ranges(segments) {
            let [sum] = walk(
                [],
                [params, &self.start[range]],
                #[inline(always)]
                |[], [theta, start]| {
                    let moved = theta.as_f64() - start.as_f64();
                    ([], [moved * moved])
                },
            );
            squares += sum;
        }
        Float::sqrt(squares)
    }
}

impl<T: Real> Optimizer<T> for Dog<T> {
    fn name(&self) -> &'static str {
        "DoG"
    }

    fn settings(&self) -> Settings {
        Settings::of("DoG").with_number("r_eps", self.r_eps)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        start_at(&mut self.start, segments, self.step, count)?;
        fit_moments(&mut self.average, T::zero(), self.step, count)?;
        let gradient = segments.iter().map(|(_, grads)| sum_of_squares(grads));
        let squares = self.squares + gradient.sum::<f64>();
        let distance = self.distance.max(self.distance_of(segments));
        let eta = distance / Float::sqrt(squares);
        require_finite("the stepsize r/√G", eta + squares)?;
        self.step += 1;
        (self.distance, self.squares) = (distance, squares);
        let weight = 9.0 / (8.0 + self.step as f64);
        let (eta, weight, rest) = (T::of(eta), T::of(weight), T::of(1.0 - weight));
        for (range, params, grads) in with_ranges(segments) {
            walk(
                [params, &mut self.average[range]],
                [grads],
                #[inline(always)]
                |[theta, x], [g]| {
                    let theta = theta - eta * g;
                    ([theta, rest * x + weight * theta], [])
                },
            );
        }
        Ok(Step::at_rate(eta))
    }

    fn evaluation_point(&self) -> Option<&[T]> {
        (self.step > 0).then_some(&self.average)
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_scalar("distance", self.distance)
            .with_scalar("squares", self.squares)
            .with_vector("start", self.start.to_vec())
            .with_vector("average", self.average.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let distance = reader.non_negative_scalar("distance")?;
        let squares = reader.positive_scalar("squares")?;
        let (start, average) = (reader.vector("start")?, reader.vector("average")?);
        reader.finish()?;
        (self.step, self.distance, self.squares) = (step, distance, squares);
        (self.start, self.average) = (start.into(), average.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.start.bytes() + self.average.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut optimizer = Dog::<f64>::new().r_eps(0.5).unwrap();
        assert!(optimizer.evaluation_point().is_none());
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        };
        let (mut a, mut b) = ([3.0], [4.0]);
        // r = 0.5·(1 + 5) = 3, G = 25 + 1e-8
        let eta = 3.0 / (25.0f64 + 1e-8).sqrt();
        optimizer
            .step_segments(1.0, &mut [(&mut a, &mut [0.0]), (&mut b, &mut [5.0])])
            .unwrap();
        close(b[0], 4.0 - 5.0 * eta);
        // w = 1
        assert_eq!(optimizer.evaluation_point(), Some(&[a[0], b[0]][..]));
        // r stays 3 where ‖θ − θ₀‖ = 5·η = 3 − 6e-10, G = 50 + 1e-8
        let (before, eta) = (b[0], 3.0 / (50.0f64 + 1e-8).sqrt());
        optimizer
            .step_segments(1.0, &mut [(&mut a, &mut [0.0]), (&mut b, &mut [5.0])])
            .unwrap();
        close(b[0], before - 5.0 * eta);
        // w = 9/10
        close(
            optimizer.evaluation_point().unwrap()[1],
            0.1 * before + 0.9 * b[0],
        );
        // ‖θ − θ₀‖ is larger now; no gradient, no step.
        let moved = 4.0 - b[0];
        assert!(moved > 3.0);
        let step = optimizer
            .step_segments(1.0, &mut [(&mut a, &mut [0.0]), (&mut b, &mut [0.0])])
            .unwrap();
        close(step.learning_rate, moved / (50.0f64 + 1e-8).sqrt());
    }
}
