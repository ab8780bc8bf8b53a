//! SPS_max.

use num_traits::Float;

use crate::config::positive;
use crate::optimizer::require_finite;
use crate::simd::{descend, sum_of_squares};
use crate::{
    ConfigError, Optimizer, Outcome, Real, Segment, Settings, State, StateError, Step, StepError,
    check_inputs,
};

/// The stochastic Polyak step with a bound, SPS_max (Loizou, Vaswani, Laradji and Lacoste-Julien,
/// *Stochastic Polyak step-size for SGD*, AISTATS 2021), as in its authors' `sps/sps.py` with the
/// flag `constant`:
///
/// ```text
/// η = min(η_max, L/(c·‖∇L‖² + 1e-8)); θ ← θ − η·∇L        c = 0.5, η_max = 1
/// ```
///
/// The code's own defaults are another rule, `smooth_iter`, and no η_max.
/// η = 0 where ‖∇L‖ < 1e-8 or L < 0. Without η_max it is the step of Eq. (6) along the raw gradient
/// with Lmin = 0 and α = 1/c.
#[derive(Clone, Debug)]
pub struct SpsMax {
    c: f64,
    eta_max: f64,
    epsilon: f64,
    step: u64,
}

impl Default for SpsMax {
    fn default() -> Self {
        SpsMax::new()
    }
}

impl SpsMax {
    /// SPS_max with the constants above.
    pub fn new() -> Self {
        SpsMax {
            c: 0.5,
            eta_max: 1.0,
            epsilon: 1e-8,
            step: 0,
        }
    }

    /// Sets c, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn c(mut self, c: f64) -> Result<Self, ConfigError> {
        self.c = positive("c", c)?;
        Ok(self)
    }

    /// Sets the largest step η_max, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn eta_max(mut self, eta_max: f64) -> Result<Self, ConfigError> {
        self.eta_max = positive("eta_max", eta_max)?;
        Ok(self)
    }

    fn eta(&self, loss: f64, squares: f64) -> (f64, Outcome) {
        if loss <= 0.0 {
            return (0.0, Outcome::TargetReached);
        }
        if Float::sqrt(squares) < 1e-8 {
            return (0.0, Outcome::NoDescent);
        }
        let polyak = loss / (self.c * squares + self.epsilon);
        (polyak.min(self.eta_max), Outcome::Updated)
    }
}

impl<T: Real> Optimizer<T> for SpsMax {
    fn name(&self) -> &'static str {
        "SPS_max"
    }

    fn settings(&self) -> Settings {
        Settings::of("SPS_max")
            .with_number("c", self.c)
            .with_number("eta_max", self.eta_max)
            .with_number("epsilon", self.epsilon)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        check_inputs(loss, segments)?;
        let squares = segments.iter().map(|(_, grads)| sum_of_squares(grads));
        let squares: f64 = squares.sum();
        require_finite("the gradient's squared norm", squares)?;
        self.step += 1;
        let (eta, outcome) = self.eta(loss.as_f64(), squares);
        let eta = T::of(eta);
        if outcome == Outcome::Updated {
            for (params, grads) in segments {
                descend(eta, params, grads);
            }
        }
        Ok(Step {
            outcome,
            ..Step::at_rate(eta)
        })
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let reader = state.into_reader()?;
        let step = reader.step();
        reader.finish()?;
        self.step = step;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(optimizer: SpsMax, loss: f64, gradient: f64) -> (f64, Step<f64>) {
        let (mut optimizer, mut theta) = (optimizer, [1.0]);
        let step = optimizer.step(loss, &mut theta, &mut [gradient]).unwrap();
        (theta[0], step)
    }

    #[test]
    fn by_hand() {
        // η = 2/(0.5·16 + 1e-8)
        let eta = 2.0 / (8.0 + 1e-8);
        let (theta, step_) = step(SpsMax::new(), 2.0, 4.0);
        assert_eq!((theta, step_.learning_rate), (1.0 - eta * 4.0, eta));
        // With c = 2: η = 2/(32 + 1e-8)
        let (theta, _) = step(SpsMax::new().c(2.0).unwrap(), 2.0, 4.0);
        assert_eq!(theta, 1.0 - 2.0 / (32.0 + 1e-8) * 4.0);
    }

    #[test]
    fn the_step_is_bounded() {
        // 3/(0.5·0.25) = 24
        assert_eq!(step(SpsMax::new(), 3.0, 0.5).0, 1.0 - 0.5);
        let larger = SpsMax::new().eta_max(10.0).unwrap();
        assert_eq!(step(larger, 3.0, 0.5).0, 1.0 - 10.0 * 0.5);
    }

    #[test]
    fn it_rests_without_a_gradient_or_below_the_bound() {
        for (loss, gradient, outcome) in [
            (1.0, 9e-9, Outcome::NoDescent),
            (0.0, 1.0, Outcome::TargetReached),
            (-1.0, 1.0, Outcome::TargetReached),
        ] {
            let (theta, step) = step(SpsMax::new(), loss, gradient);
            assert_eq!((theta, step.outcome), (1.0, outcome));
            assert_eq!(step.learning_rate, 0.0);
        }
        assert_eq!(step(SpsMax::new(), 1.0, 1.1e-8).0, 1.0 - 1.1e-8);
    }
}
