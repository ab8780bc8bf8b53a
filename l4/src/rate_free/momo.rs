//! MoMo.

use crate::config::{decay, finite, positive};
use crate::optimizer::require_finite;
use crate::simd::{descend, walk};
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// MoMo (Schaipp, Ohana, Eickenberg, Defazio and Gower, *MoMo: momentum models for adaptive
/// learning rates*, ICML 2024), as in its authors' `momo/momo.py` without bias correction: averages
/// of gradients, losses and products ⟨∇L, θ⟩ make a model of the loss that is cut off at its lower
/// bound, and the step goes to where the model and a proximity term are least.
///
/// ```text
/// d ← β·d + (1 − β)·∇L; f ← β·f + (1 − β)·L; γ ← β·γ + (1 − β)·⟨∇L, θ⟩
/// τ = min(lr, max(f − f* + ⟨d, θ⟩ − γ, 0)/‖d‖²); θ ← θ − τ·d       lr = 1, β = 0.9, f* = 0
/// ```
///
/// d, f and γ start at the values of the first step. τ = 0 where d = 0.
#[derive(Clone, Debug)]
pub struct Momo<T> {
    rate: f64,
    beta: f64,
    lower_bound: f64,
    step: u64,
    /// f.
    mean_loss: f64,
    /// γ.
    mean_product: f64,
    /// d.
    mean_gradient: MomentBuffer<T>,
}

impl<T: Real> Default for Momo<T> {
    fn default() -> Self {
        Momo::new()
    }
}

impl<T: Real> Momo<T> {
    /// MoMo with the constants above.
    pub fn new() -> Self {
        Momo {
            rate: 1.0,
            beta: 0.9,
            lower_bound: 0.0,
            step: 0,
            mean_loss: 0.0,
            mean_product: 0.0,
            mean_gradient: MomentBuffer::new(),
        }
    }

    /// Sets lr, the largest step, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn rate(mut self, rate: f64) -> Result<Self, ConfigError> {
        self.rate = positive("rate", rate)?;
        Ok(self)
    }

    /// Sets β, at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn beta(mut self, beta: f64) -> Result<Self, ConfigError> {
        self.beta = decay("beta", beta)?;
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

    /// Takes the gradient into d; returns ⟨∇L, θ⟩, ⟨d, θ⟩ and ‖d‖².
    fn average(&mut self, segments: &mut [Segment<'_, T>]) -> [f64; 3] {
        let (beta, rest) = (T::of(self.beta), T::of(1.0 - self.beta));
        let is_first = self.step == 0;
        let mut totals = [0.0; 3];
        for (range, params, grads) in with_ranges(segments) {
            let d = &mut self.mean_gradient[range];
            if is_first {
                d.copy_from_slice(grads);
            }
            let sums = walk(
                [d],
                [params, grads],
                #[inline(always)]
                |[d], [theta, g]| {
                    let d = (beta * d + rest * g).flushed();
                    let (wide, theta) = (d.as_f64(), theta.as_f64());
                    ([d], [g.as_f64() * theta, wide * theta, wide * wide])
                },
            );
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        totals
    }

    /// Takes `loss` and ⟨∇L, θ⟩ into their averages.
    fn average_scalars(&mut self, loss: f64, product: f64) {
        if self.step == 0 {
            (self.mean_loss, self.mean_product) = (loss, product);
        }
        let (beta, rest) = (self.beta, 1.0 - self.beta);
        self.mean_loss = beta * self.mean_loss + rest * loss;
        self.mean_product = beta * self.mean_product + rest * product;
    }

    fn tau(&self, d_theta: f64, d_squared: f64) -> (f64, Outcome) {
        let gap = self.mean_loss - self.lower_bound + d_theta - self.mean_product;
        if d_squared == 0.0 {
            return (0.0, Outcome::NoDescent);
        }
        if gap <= 0.0 {
            return (0.0, Outcome::TargetReached);
        }
        ((gap / d_squared).min(self.rate), Outcome::Updated)
    }
}

impl<T: Real> Optimizer<T> for Momo<T> {
    fn name(&self) -> &'static str {
        "MoMo"
    }

    fn settings(&self) -> Settings {
        Settings::of("MoMo")
            .with_number("rate", self.rate)
            .with_number("beta", self.beta)
            .with_number("lower_bound", self.lower_bound)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        fit_moments(&mut self.mean_gradient, T::zero(), self.step, count)?;
        let [product, d_theta, d_squared] = self.average(segments);
        self.average_scalars(loss.as_f64(), product);
        self.step += 1;
        require_finite("⟨d, θ⟩ − γ", d_theta - self.mean_product)?;
        let (tau, outcome) = self.tau(d_theta, d_squared);
        let tau = T::of(tau);
        if outcome == Outcome::Updated {
            for (range, params, _) in with_ranges(segments) {
                descend(tau, params, &self.mean_gradient[range]);
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
            .with_vector("mean_gradient", self.mean_gradient.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let mean_loss = reader.scalar("mean_loss")?;
        let mean_product = reader.scalar("mean_product")?;
        let mean_gradient = reader.vector("mean_gradient")?;
        reader.finish()?;
        (self.step, self.mean_gradient) = (step, mean_gradient.into());
        (self.mean_loss, self.mean_product) = (mean_loss, mean_product);
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.mean_gradient.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut optimizer = Momo::<f64>::new().beta(0.5).unwrap();
        let mut theta = [2.0];
        // d = 4, f = 3, γ = 8: 3 + 8 − 8 = 3 of ‖d‖² = 16
        let step = optimizer.step(3.0, &mut theta, &mut [4.0]).unwrap();
        assert_eq!((step.learning_rate, theta), (3.0 / 16.0, [1.25]));
        // d = (4 + 2)/2 = 3, f = (3 + 1)/2 = 2, γ = (8 + 2.5)/2 = 5.25: 2 + 3.75 − 5.25 = 0.5 of 9
        let step = optimizer.step(1.0, &mut theta, &mut [2.0]).unwrap();
        assert_eq!(step.learning_rate, 0.5 / 9.0);
        assert_eq!(theta, [1.25 - 0.5 / 9.0 * 3.0]);
    }

    #[test]
    fn the_step_is_bounded_and_never_negative() {
        let step = |optimizer: Momo<f64>, loss: f64, gradient: f64| {
            let (mut optimizer, mut theta) = (optimizer, [2.0]);
            let step = optimizer.step(loss, &mut theta, &mut [gradient]);
            (step.unwrap().outcome, theta[0])
        };
        // 9/0.25 = 36, at most 1
        assert_eq!(step(Momo::new(), 9.0, 0.5), (Outcome::Updated, 1.5));
        let longer = Momo::new().rate(2.0).unwrap();
        assert_eq!(step(longer, 9.0, 0.5), (Outcome::Updated, 1.0));
        assert_eq!(step(Momo::new(), -9.0, 0.5), (Outcome::TargetReached, 2.0));
        assert_eq!(step(Momo::new(), 9.0, 0.0), (Outcome::NoDescent, 2.0));
        let bounded = Momo::new().lower_bound(8.9375).unwrap();
        // (9 − 8.9375)/0.25 = 0.25
        assert_eq!(step(bounded, 9.0, 0.5), (Outcome::Updated, 1.875));
    }
}
