//! D-Adaptation, in its form for Adam.

use num_traits::Float;

use crate::config::{growth_factor, positive};
use crate::optimizer::require_finite;
use crate::simd::walk;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// D-Adaptation for Adam (Defazio and Mishchenko, *Learning-rate-free learning by D-Adaptation*,
/// ICML 2023), as in its authors' `dadapt_adam.py`: d grows towards the distance from the start to
/// the solution.
///
/// ```text
/// num ← √β2·num + (1 − √β2)·d·⟨∇L, s/(√v + ε)⟩
/// m ← β1·m + (1 − β1)·d·∇L; v ← β2·v + (1 − β2)·∇L²; s ← √β2·s + (1 − √β2)·d·∇L
/// d ← max(d, min(num/((1 − √β2)·‖s‖₁), growth·d)); θ ← θ − m/(√v + ε)
/// d = 1e-6 at the start, β1 = 0.9, β2 = 0.999, ε = 1e-8, growth = ∞
/// ```
///
/// The first line takes s and v, the first two lines d, as they were before the step. Where s = 0 the
/// third line and num wait.
///
/// d can come out several times too large in the first steps, from which a network of ReLUs may
/// not recover: so may the perceptron of MNIST stay at chance, by the authors' code too, of which
/// `repro/tests/independent/authors.py --mnist` counts the runs.
#[derive(Clone, Debug)]
pub struct DAdaptAdam<T> {
    beta1: f64,
    beta2: f64,
    epsilon: T,
    d0: f64,
    growth: f64,
    step: u64,
    /// `None` before the first step.
    d: Option<f64>,
    numerator: f64,
    first_moment: MomentBuffer<T, 256>,
    second_moment: MomentBuffer<T, 512>,
    /// s.
    weighted_sum: MomentBuffer<T, 1024>,
}

impl<T: Real> Default for DAdaptAdam<T> {
    fn default() -> Self {
        DAdaptAdam::new()
    }
}

impl<T: Real> DAdaptAdam<T> {
    /// D-Adaptation with the constants above.
    pub fn new() -> Self {
        DAdaptAdam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: T::of(1e-8),
            d0: 1e-6,
            growth: f64::INFINITY,
            step: 0,
            d: None,
            numerator: 0.0,
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

    /// Sets the largest factor by which d grows in one step, at least 1; infinity for any.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn growth(mut self, growth: f64) -> Result<Self, ConfigError> {
        self.growth = growth_factor("growth", growth)?;
        Ok(self)
    }

    /// Takes the gradient into m, v and s; returns ⟨∇L, s/(√v + ε)⟩ with the old s and v, and ‖s‖₁.
    fn average(&mut self, d: f64, segments: &mut [Segment<'_, T>]) -> [f64; 2] {
        let root = Float::sqrt(self.beta2);
        let (beta1, beta2, root_beta2) = (T::of(self.beta1), T::of(self.beta2), T::of(root));
        let for_m = T::of((1.0 - self.beta1) * d);
        let for_v = T::of(1.0 - self.beta2);
        let for_s = T::of((1.0 - root) * d);
        let epsilon = self.epsilon;
        let mut totals = [0.0; 2];
        for (range, _, grads) in with_ranges(segments) {
            let [correlation, norm] = walk(
                [
                    &mut self.first_moment[range.clone()],
                    &mut self.second_moment[range.clone()],
                    &mut self.weighted_sum[range],
                ],
                [grads],
                #[inline(always)]
                |[m, v, s], [g]| {
                    let correlation = g.as_f64() * (s / (v.sqrt() + epsilon)).as_f64();
                    let s = (root_beta2 * s + for_s * g).flushed();
                    let m = (beta1 * m + for_m * g).flushed();
                    let v = (beta2 * v + for_v * g.squarable() * g).flushed();
                    ([m, v, s], [correlation, s.abs().as_f64()])
                },
            );
            totals = [totals[0] + correlation, totals[1] + norm];
        }
        totals
    }
}

impl<T: Real> Optimizer<T> for DAdaptAdam<T> {
    fn name(&self) -> &'static str {
        "D-Adaptation"
    }

    fn settings(&self) -> Settings {
        let settings = Settings::of("D-Adaptation Adam")
            .with_number("beta1", self.beta1)
            .with_number("beta2", self.beta2)
            .with_number("epsilon", self.epsilon)
            .with_number("d0", self.d0);
        super::with_growth(settings, self.growth)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.first_moment, T::zero(), self.step, count)?;
        fit_moments(&mut self.second_moment, T::zero(), self.step, count)?;
        fit_moments(&mut self.weighted_sum, T::zero(), self.step, count)?;
        self.step += 1;
        let old = self.d.unwrap_or(self.d0);
        self.d = Some(old);
        let [correlation, norm] = self.average(old, segments);
        require_finite("⟨∇L, s/(√v + ε)⟩", correlation)?;
        if norm == 0.0 {
            return Ok(Step {
                outcome: Outcome::NoDescent,
                ..Step::at_rate(T::zero())
            });
        }
        let root = Float::sqrt(self.beta2);
        self.numerator = root * self.numerator + (1.0 - root) * old * correlation;
        let estimate = self.numerator / ((1.0 - root) * norm);
        self.d = Some(old.max(estimate.min(old * self.growth)));
        let epsilon = self.epsilon;
        for (range, params, _) in with_ranges(segments) {
            walk(
                [params],
                [
                    &self.first_moment[range.clone()],
                    &self.second_moment[range],
                ],
                #[inline(always)]
                |[theta], [m, v]| ([theta - m / (v.sqrt() + epsilon)], []),
            );
        }
        Ok(Step::at_rate(T::of(old)))
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_scalar("d", self.d.unwrap_or(self.d0))
            .with_scalar("numerator", self.numerator)
            .with_vector("first_moment", self.first_moment.to_vec())
            .with_vector("second_moment", self.second_moment.to_vec())
            .with_vector("weighted_sum", self.weighted_sum.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let d = reader.positive_scalar("d")?;
        let numerator = reader.scalar("numerator")?;
        let first_moment = reader.vector("first_moment")?;
        let second_moment = reader.squares("second_moment")?;
        let weighted_sum = reader.vector("weighted_sum")?;
        reader.finish()?;
        (self.step, self.d, self.numerator) = (step, Some(d), numerator);
        (self.first_moment, self.second_moment) = (first_moment.into(), second_moment.into());
        self.weighted_sum = weighted_sum.into();
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.first_moment.bytes() + self.second_moment.bytes() + self.weighted_sum.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one parameter and the gradient 1 twice: the first step leaves s = (1 − √β2)·d and v =
    /// 0.001. In the second the product is s/(√v + ε), from which d̂ follows.
    fn estimate_of_the_second_step() -> f64 {
        let root = 0.999f64.sqrt();
        let s = (1.0 - root) * 1e-6;
        let numerator = (1.0 - root) * 1e-6 * s / (0.001f64.sqrt() + 1e-8);
        numerator / ((1.0 - root) * (root * s + s))
    }

    fn d_after_two_steps(optimizer: DAdaptAdam<f64>) -> f64 {
        let (mut optimizer, mut theta) = (optimizer, [0.0]);
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        let update = 0.1 * 1e-6 / (0.001f64.sqrt() + 1e-8);
        assert!((theta[0] + update).abs() < 1e-18);
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        optimizer.state().scalars["d"]
    }

    #[test]
    fn by_hand() {
        let expected = estimate_of_the_second_step();
        assert!(expected > 5e-6);
        let found = d_after_two_steps(DAdaptAdam::new());
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn growth_is_bounded() {
        let found = d_after_two_steps(DAdaptAdam::new().growth(2.0).unwrap());
        assert_eq!(found, 2e-6);
    }

    #[test]
    fn d_does_not_shrink() {
        let (mut optimizer, mut theta) = (DAdaptAdam::<f64>::new(), [0.0]);
        optimizer.step(1.0, &mut theta, &mut [1.0]).unwrap();
        optimizer.step(1.0, &mut theta, &mut [-1.0]).unwrap();
        assert!(optimizer.numerator < 0.0);
        assert_eq!(optimizer.d, Some(1e-6));
    }

    #[test]
    fn it_waits_for_a_gradient() {
        let (mut optimizer, mut theta) = (DAdaptAdam::<f64>::new(), [1.0]);
        let step = optimizer.step(1.0, &mut theta, &mut [0.0]).unwrap();
        assert_eq!((step.outcome, theta), (Outcome::NoDescent, [1.0]));
    }
}
