//! Prodigy.

use num_traits::Float;

use super::start_at;
use crate::config::{growth_factor, positive};
use crate::optimizer::require_finite;
use crate::simd::walk;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// Prodigy (Mishchenko and Defazio, *Prodigy: an expeditiously adaptive parameter-free learner*,
/// ICML 2024), as in its authors' `prodigyopt/prodigy.py`: D-Adaptation with the distance from the
/// start in the place of a bound of it, and larger weights for later gradients.
///
/// ```text
/// num ← √β2·num + d²/d0·⟨∇L, θ₀ − θ⟩; s ← √β2·s + d²/d0·∇L
/// m ← β1·m + (1 − β1)·d·∇L; v ← β2·v + (1 − β2)·d²·∇L²
/// d̂ = d_coef·num/‖s‖₁; dmax ← max(dmax, d̂); d' = min(dmax, growth·d); θ ← θ − d·m/(√v + d'·ε)
/// d0 = 1e-6, β1 = 0.9, β2 = 0.999, ε = 1e-8, d_coef = 1, growth = ∞
/// ```
///
/// While d = d0, growth counts from d̂ where that is larger. Where s = 0 the third line waits.
#[derive(Clone, Debug)]
pub struct Prodigy<T> {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    d0: f64,
    d_coef: f64,
    growth: f64,
    step: u64,
    /// d and dmax; `None` before the first step.
    distances: Option<[f64; 2]>,
    numerator: f64,
    /// θ₀.
    start: MomentBuffer<T, 256>,
    first_moment: MomentBuffer<T, 512>,
    second_moment: MomentBuffer<T, 1024>,
    /// s.
    weighted_sum: MomentBuffer<T, 2048>,
}

impl<T: Real> Default for Prodigy<T> {
    fn default() -> Self {
        Prodigy::new()
    }
}

impl<T: Real> Prodigy<T> {
    /// Prodigy with the constants above.
    pub fn new() -> Self {
        Prodigy {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            d0: 1e-6,
            d_coef: 1.0,
            growth: f64::INFINITY,
            step: 0,
            distances: None,
            numerator: 0.0,
            start: MomentBuffer::new(),
            first_moment: MomentBuffer::new(),
            second_moment: MomentBuffer::new(),
            weighted_sum: MomentBuffer::new(),
        }
    }

    /// Sets the first d, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn d0(mut self, d0: f64) -> Result<Self, ConfigError> {
        self.d0 = positive("d0", d0)?;
        Ok(self)
    }

    /// Sets the factor on the estimate of d, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn d_coef(mut self, d_coef: f64) -> Result<Self, ConfigError> {
        self.d_coef = positive("d_coef", d_coef)?;
        Ok(self)
    }

    /// Sets the largest factor by which d grows in one step, at least 1; infinity for any.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn growth(mut self, growth: f64) -> Result<Self, ConfigError> {
        self.growth = growth_factor("growth", growth)?;
        Ok(self)
    }

    fn fit(&mut self, segments: &[Segment<'_, T>], count: usize) -> Result<(), StepError> {
        let (zero, steps) = (T::zero(), self.step);
        start_at(&mut self.start, segments, steps, count)?;
        fit_moments(&mut self.first_moment, zero, steps, count)?;
        fit_moments(&mut self.second_moment, zero, steps, count)?;
        fit_moments(&mut self.weighted_sum, zero, steps, count)
    }

    /// Takes the gradient into m, v and s; returns ⟨∇L, θ₀ − θ⟩ and ‖s‖₁.
    fn average(&mut self, d: f64, segments: &mut [Segment<'_, T>]) -> [f64; 2] {
        let (beta1, beta2) = (T::of(self.beta1), T::of(self.beta2));
        let beta3 = T::of(Float::sqrt(self.beta2));
        let for_m = T::of((1.0 - self.beta1) * d);
        let for_v = T::of((1.0 - self.beta2) * d * d);
        let for_s = T::of(d / self.d0 * d);
        let mut totals = [0.0; 2];
        for (range, params, grads) in with_ranges(segments) {
            let [correlation, norm] = walk(
                [
                    &mut self.first_moment[range.clone()],
                    &mut self.second_moment[range.clone()],
                    &mut self.weighted_sum[range.clone()],
                ],
                [grads, params, &self.start[range]],
                #[inline(always)]
                |[m, v, s], [g, theta, start]| {
                    let s = (beta3 * s + for_s * g).flushed();
                    let m = (beta1 * m + for_m * g).flushed();
                    let v = (beta2 * v + for_v * g.squarable() * g).flushed();
                    let correlation = g.as_f64() * (start.as_f64() - theta.as_f64());
                    ([m, v, s], [correlation, s.abs().as_f64()])
                },
            );
            totals = [totals[0] + correlation, totals[1] + norm];
        }
        totals
    }

    /// d' and dmax from the estimate d̂.
    fn adapt(&self, [d, d_max]: [f64; 2], estimate: f64) -> [f64; 2] {
        let from = match d == self.d0 {
            true => d.max(estimate),
            false => d,
        };
        let d_max = d_max.max(estimate);
        [d_max.min(from * self.growth), d_max]
    }
}

impl<T: Real> Optimizer<T> for Prodigy<T> {
    fn name(&self) -> &'static str {
        "Prodigy"
    }

    fn settings(&self) -> Settings {
        let settings = Settings::of("Prodigy")
            .with_number("beta1", self.beta1)
            .with_number("beta2", self.beta2)
            .with_number("epsilon", self.epsilon)
            .with_number("d0", self.d0)
            .with_number("d_coef", self.d_coef);
        super::with_growth(settings, self.growth)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        self.fit(segments, count)?;
        self.step += 1;
        let distances = self.distances.unwrap_or([self.d0; 2]);
        self.distances = Some(distances);
        let old = distances[0];
        let [correlation, norm] = self.average(old, segments);
        require_finite("⟨∇L, θ₀ − θ⟩", correlation)?;
        let beta3 = Float::sqrt(self.beta2);
        self.numerator = beta3 * self.numerator + old / self.d0 * old * correlation;
        if norm == 0.0 {
            return Ok(Step {
                outcome: Outcome::NoDescent,
                ..Step::at_rate(T::zero())
            });
        }
        let adapted = self.adapt(distances, self.d_coef * self.numerator / norm);
        self.distances = Some(adapted);
        let (rate, epsilon) = (T::of(old), T::of(adapted[0] * self.epsilon));
        for (range, params, _) in with_ranges(segments) {
            walk(
                [params],
                [
                    &self.first_moment[range.clone()],
                    &self.second_moment[range],
                ],
                #[inline(always)]
                |[theta], [m, v]| ([theta - rate * m / (v.sqrt() + epsilon)], []),
            );
        }
        Ok(Step::at_rate(rate))
    }

    fn state(&self) -> State<T> {
        let [d, d_max] = self.distances.unwrap_or([self.d0; 2]);
        State::new(self.step)
            .with_scalar("d", d)
            .with_scalar("d_max", d_max)
            .with_scalar("numerator", self.numerator)
            .with_vector("start", self.start.to_vec())
            .with_vector("first_moment", self.first_moment.to_vec())
            .with_vector("second_moment", self.second_moment.to_vec())
            .with_vector("weighted_sum", self.weighted_sum.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let d = reader.positive_scalar("d")?;
        let d_max = reader.positive_scalar("d_max")?;
        let numerator = reader.scalar("numerator")?;
        let start = reader.vector("start")?;
        let first_moment = reader.vector("first_moment")?;
        let second_moment = reader.squares("second_moment")?;
        let weighted_sum = reader.vector("weighted_sum")?;
        reader.finish()?;
        (self.step, self.distances, self.numerator) = (step, Some([d, d_max]), numerator);
        (self.start, self.weighted_sum) = (start.into(), weighted_sum.into());
        (self.first_moment, self.second_moment) = (first_moment.into(), second_moment.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let moments = self.first_moment.bytes() + self.second_moment.bytes();
        self.start.bytes() + moments + self.weighted_sum.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// d after the gradient 1 twice. The first step finds θ = θ₀ and moves θ by
    /// d·m/√v = 1e-6·0.1/√0.001, so that the second's d̂ is d²/d0 times that, by ‖s‖₁.
    fn d_after_two_steps(optimizer: Prodigy<f64>) -> f64 {
        let (mut optimizer, mut theta) = (optimizer, [3.0]);
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        assert_eq!(optimizer.distances, Some([1e-6; 2]));
        assert!((3.0 - theta[0] - 1e-7 / (0.001f64.sqrt() + 1e-8)).abs() < 1e-15);
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        optimizer.state().scalars["d"]
    }

    fn estimate_of_the_second_step() -> f64 {
        let moved = 1e-7 / (0.001f64.sqrt() + 1e-8);
        moved / (0.999f64.sqrt() + 1.0)
    }

    /// Here d̂ = 1.6e-6: d starts from it, not from d0.
    #[test]
    fn by_hand() {
        let expected = estimate_of_the_second_step();
        let close = |found: f64| assert!((found / expected - 1.0).abs() < 1e-8, "{found}");
        close(d_after_two_steps(Prodigy::new()));
        close(d_after_two_steps(Prodigy::new().growth(1.0).unwrap()));
        close(d_after_two_steps(Prodigy::new().d_coef(3.0).unwrap()) / 3.0);
    }

    /// The gradient 1 twice from θ₀, with ε = 1 to see which d stands before it, and d_coef for d to
    /// grow all the same.
    #[test]
    fn the_step_has_the_old_d_and_epsilon_the_new_one() {
        let mut optimizer = Prodigy::<f64>::new().d_coef(100.0).unwrap();
        optimizer.epsilon = 1.0;
        let mut theta = [0.0];
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        let moved = 1e-7 / (1e-6 * 0.001f64.sqrt() + 1e-6);
        assert!((theta[0] + moved * 1e-6).abs() < 1e-15);
        let before = theta[0];
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        let d = optimizer.state().scalars["d"];
        assert!(d > 4e-6);
        // m = 0.19·d0, v = 0.001999·d0²
        let update = 1e-6 * 0.19e-6 / (1e-6 * 0.001999f64.sqrt() + d);
        assert!((before - theta[0] - update).abs() < 1e-6 * update);
    }

    #[test]
    fn later_growth_is_bounded_by_the_old_d() {
        let optimizer = Prodigy::<f64>::new().growth(2.0).unwrap();
        assert_eq!(optimizer.adapt([3e-6, 4e-6], 9e-6), [6e-6, 9e-6]);
        // dmax is remembered: d catches up with it even where d̂ has fallen.
        assert_eq!(optimizer.adapt([6e-6, 9e-6], 1e-6), [9e-6, 9e-6]);
        assert_eq!(optimizer.adapt([9e-6, 9e-6], -1.0), [9e-6, 9e-6]);
    }

    #[test]
    fn it_waits_for_a_gradient() {
        let (mut optimizer, mut theta) = (Prodigy::<f64>::new(), [1.0]);
        let step = optimizer.step(1.0, &mut theta, &mut [0.0]).unwrap();
        assert_eq!((step.outcome, theta), (Outcome::NoDescent, [1.0]));
    }
}
