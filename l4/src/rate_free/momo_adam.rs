//! MoMo-Adam.

use num_traits::Float;

use crate::config::{finite, positive};
use crate::optimizer::require_finite;
use crate::simd::walk;
use crate::transform::filled;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// MoMo in Adam's metric (Schaipp et al., as for [`Momo`](super::Momo)), as in its authors'
/// `momo/momo_adam.py`: L4Adam's closest relative.
///
/// ```text
/// m ← β1·m + (1 − β1)·∇L; v ← β2·v + (1 − β2)·∇L²; D = √(v/(1 − β2ᵏ)) + ε
/// f ← β1·f + (1 − β1)·L; γ ← β1·γ + (1 − β1)·⟨∇L, θ⟩; ρ = 1 − β1ᵏ
/// τ = min(lr/ρ, max(f − ρ·f* + ⟨m, θ⟩ − γ, 0)/Σ m²/D); θ ← θ − τ·m/D
/// lr = 0.01, β1 = 0.9, β2 = 0.999, ε = 1e-8, f* = 0, k = 1, 2, …
/// ```
///
/// All averages start at 0. τ = 0 where m = 0.
#[derive(Clone, Debug)]
pub struct MomoAdam<T> {
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: T,
    lower_bound: f64,
    step: u64,
    /// f.
    mean_loss: f64,
    /// γ.
    mean_product: f64,
    first_moment: MomentBuffer<T, 256>,
    second_moment: MomentBuffer<T, 512>,
}

impl<T: Real> Default for MomoAdam<T> {
    fn default() -> Self {
        MomoAdam::new()
    }
}

impl<T: Real> MomoAdam<T> {
    /// MoMo-Adam with the constants above.
    pub fn new() -> Self {
        MomoAdam {
            rate: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: T::of(1e-8),
            lower_bound: 0.0,
            step: 0,
            mean_loss: 0.0,
            mean_product: 0.0,
            first_moment: MomentBuffer::new(),
            second_moment: MomentBuffer::new(),
        }
    }

    /// Sets lr, above 0: the largest step along the corrected average m/ρ. τ, the rate reported, is
    /// at most lr/ρ, ten times lr at the first step.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn rate(mut self, rate: f64) -> Result<Self, ConfigError> {
        self.rate = positive("rate", rate)?;
        Ok(self)
    }

    /// Sets f*, the lower bound of the loss.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when not finite.
    pub fn lower_bound(mut self, lower_bound: f64) -> Result<Self, ConfigError> {
        self.lower_bound = finite("lower_bound", lower_bound)?;
        Ok(self)
    }

    /// D of one parameter from its v, at the present step.
    fn metric(&self) -> impl Fn(T) -> T + use<T> {
        let (correction, epsilon) = (T::of(1.0 / filled(self.beta2, self.step)), self.epsilon);
        #[inline(always)]
        move |v: T| (v * correction).sqrt() + epsilon
    }

    /// Takes the gradient into m and v; returns ⟨∇L, θ⟩, ⟨m, θ⟩ and Σ m²/D.
    fn average(&mut self, segments: &mut [Segment<'_, T>]) -> [f64; 3] {
        let metric = self.metric();
        let (beta1, rest1) = (T::of(self.beta1), T::of(1.0 - self.beta1));
        let (beta2, rest2) = (T::of(self.beta2), T::of(1.0 - self.beta2));
        let mut totals = [0.0; 3];
        for (range, params, grads) in with_ranges(segments) {
            let m = &mut self.first_moment[range.clone()];
            let v = &mut self.second_moment[range];
            let sums = walk(
                [m, v],
                [params, grads],
                #[inline(always)]
                |[m, v], [theta, g]| {
                    let m = (beta1 * m + rest1 * g).flushed();
                    let v = (beta2 * v + rest2 * g.squarable() * g).flushed();
                    let (wide, theta) = (m.as_f64(), theta.as_f64());
                    let scaled = wide * (m / metric(v)).as_f64();
                    ([m, v], [g.as_f64() * theta, wide * theta, scaled])
                },
            );
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        totals
    }

    fn tau(&self, m_theta: f64, m_scaled: f64) -> (f64, Outcome) {
        let rho = filled(self.beta1, self.step);
        let gap = self.mean_loss - rho * self.lower_bound + m_theta - self.mean_product;
        if m_scaled == 0.0 {
            return (0.0, Outcome::NoDescent);
        }
        if gap <= 0.0 {
            return (0.0, Outcome::TargetReached);
        }
        (
            Float::min(gap / m_scaled, self.rate / rho),
            Outcome::Updated,
        )
    }
}

impl<T: Real> Optimizer<T> for MomoAdam<T> {
    fn name(&self) -> &'static str {
        "MoMo-Adam"
    }

    fn settings(&self) -> Settings {
        Settings::of("MoMo-Adam")
            .with_number("rate", self.rate)
            .with_number("beta1", self.beta1)
            .with_number("beta2", self.beta2)
            .with_number("epsilon", self.epsilon)
            .with_number("lower_bound", self.lower_bound)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.first_moment, T::zero(), self.step, count)?;
        fit_moments(&mut self.second_moment, T::zero(), self.step, count)?;
        self.step += 1;
        let [product, m_theta, m_scaled] = self.average(segments);
        let (beta, rest) = (self.beta1, 1.0 - self.beta1);
        self.mean_loss = beta * self.mean_loss + rest * loss.as_f64();
        self.mean_product = beta * self.mean_product + rest * product;
        require_finite("⟨m, θ⟩ − γ", m_theta - self.mean_product)?;
        let (tau, outcome) = self.tau(m_theta, m_scaled);
        let (tau, metric) = (T::of(tau), self.metric());
        if outcome == Outcome::Updated {
            for (range, params, _) in with_ranges(segments) {
                walk(
                    [params],
                    [
                        &self.first_moment[range.clone()],
                        &self.second_moment[range],
                    ],
                    #[inline(always)]
                    |[theta], [m, v]| ([theta - tau * m / metric(v)], []),
                );
            }
        }
        Ok(Step {
            outcome,
            ..Step::at_rate(tau)
        })
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_scalar("mean_loss", self.mean_loss)
            .with_scalar("mean_product", self.mean_product)
            .with_vector("first_moment", self.first_moment.to_vec())
            .with_vector("second_moment", self.second_moment.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let mean_loss = reader.scalar("mean_loss")?;
        let mean_product = reader.scalar("mean_product")?;
        let first_moment = reader.vector("first_moment")?;
        let second_moment = reader.squares("second_moment")?;
        reader.finish()?;
        (self.mean_loss, self.mean_product) = (mean_loss, mean_product);
        (self.first_moment, self.second_moment) = (first_moment.into(), second_moment.into());
        self.step = step;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.first_moment.bytes() + self.second_moment.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(optimizer: MomoAdam<f64>, loss: f64, gradient: f64) -> (Step<f64>, f64) {
        let (mut optimizer, mut theta) = (optimizer, [2.0]);
        let step = optimizer.step(loss, &mut theta, &mut [gradient]).unwrap();
        (step, theta[0])
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-14, "{found} {expected}");
    }

    /// The first step: m = 0.1·g, D = |g|, f = 0.1·L, ⟨m, θ⟩ = γ, ρ = 0.1. So
    /// τ = min(lr/0.1, 0.1·(L − f*)/(0.01·|g|)), and θ moves by τ·0.1·sign(g).
    #[test]
    fn by_hand() {
        let (found, theta) = step(MomoAdam::new().rate(10.0).unwrap(), 3.0, -4.0);
        close(found.learning_rate, 0.3 / (0.16 / (4.0 + 1e-8)));
        close(theta, 2.0 + found.learning_rate * 0.4 / (4.0 + 1e-8));
        let bounded = MomoAdam::new().rate(10.0).unwrap();
        let (found, _) = step(bounded.lower_bound(1.0).unwrap(), 3.0, -4.0);
        close(found.learning_rate, 0.2 / (0.16 / (4.0 + 1e-8)));
    }

    #[test]
    fn the_step_is_bounded_and_never_negative() {
        let (found, _) = step(MomoAdam::new(), 3.0, -4.0);
        close(found.learning_rate, 0.01 / 0.1);
        let (found, theta) = step(MomoAdam::new(), -3.0, -4.0);
        assert_eq!((found.outcome, theta), (Outcome::TargetReached, 2.0));
        let (found, theta) = step(MomoAdam::new(), 3.0, 0.0);
        assert_eq!((found.outcome, theta), (Outcome::NoDescent, 2.0));
    }
}
