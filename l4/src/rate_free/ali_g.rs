//! ALI-G.

use crate::config::{decay, positive};
use crate::optimizer::require_finite;
use crate::simd::{sum_of_squares, walk};
use crate::{
    ConfigError, MomentBuffer, Optimizer, Real, Segment, Settings, State, StateError, Step,
    StepError, check_inputs, fit_moments, with_ranges,
};

/// ALI-G (Berrada, Zisserman and Kumar, *Training neural networks for and by interpolation*, ICML
/// 2020), as in its authors' `alig/th/alig.py` with their settings for CIFAR:
///
/// ```text
/// η = min(η_max, L/(‖∇L‖² + 1e-5))                        η_max = 0.1, μ = 0.9
/// θ ← θ − η·∇L; a ← μ·a − η·∇L; θ ← θ + μ·a
/// ```
///
/// A loss below 0 counts as 0: the gradient then adds nothing, the momentum goes on. (In the authors' code it steps uphill; without
/// their settings μ = 0 and there is no η_max.)
#[derive(Clone, Debug)]
pub struct AliG<T> {
    eta_max: f64,
    momentum: T,
    epsilon: f64,
    step: u64,
    accumulator: MomentBuffer<T>,
}

impl<T: Real> Default for AliG<T> {
    fn default() -> Self {
        AliG::new()
    }
}

impl<T: Real> AliG<T> {
    /// ALI-G with the constants above.
    pub fn new() -> Self {
        AliG {
            eta_max: 0.1,
            momentum: T::of(0.9),
            epsilon: 1e-5,
            step: 0,
            accumulator: MomentBuffer::new(),
        }
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

    /// Sets μ, at least 0 and below 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn momentum(mut self, momentum: T) -> Result<Self, ConfigError> {
        self.momentum = decay("momentum", momentum)?;
        Ok(self)
    }
}

impl<T: Real> Optimizer<T> for AliG<T> {
    fn name(&self) -> &'static str {
        "ALI-G"
    }

    fn settings(&self) -> Settings {
        Settings::of("ALI-G")
            .with_number("eta_max", self.eta_max)
            .with_number("momentum", self.momentum)
            .with_number("epsilon", self.epsilon)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        let squares: f64 = segments
            .iter()
            .map(|(_, grads)| sum_of_squares(grads))
            .sum();
        require_finite("the gradient's squared norm", squares)?;
        fit_moments(&mut self.accumulator, T::zero(), self.step, count)?;
        self.step += 1;
        let polyak = loss.as_f64().max(0.0) / (squares + self.epsilon);
        let (eta, mu) = (T::of(polyak.min(self.eta_max)), self.momentum);
        for (range, params, grads) in with_ranges(segments) {
            walk(
                [params, &mut self.accumulator[range]],
                [grads],
                #[inline(always)]
                |[theta, a], [g]| {
                    let a = (mu * a - eta * g).flushed();
                    ([theta - eta * g + mu * a, a], [])
                },
            );
        }
        Ok(Step::at_rate(eta))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut optimizer = AliG::<f64>::new().eta_max(0.5).unwrap();
        let optimizer = &mut optimizer;
        let mut theta = [1.0];
        // 1/(4 + 1e-5) < 0.5: a = −η·2; θ = 1 − η·2 + 0.9·a
        let eta = 1.0 / (4.0 + 1e-5);
        let step = optimizer.step(1.0, &mut theta, &mut [2.0]).unwrap();
        let (a, at) = (-2.0 * eta, 1.0 - 2.0 * eta * 1.9);
        assert_eq!(step.learning_rate, eta);
        assert!((theta[0] - at).abs() < 1e-15);
        // 9/(1 + 1e-5) > 0.5: a = 0.9·a − 0.5; θ = θ − 0.5 + 0.9·a
        optimizer.step(9.0, &mut theta, &mut [1.0]).unwrap();
        let a = 0.9 * a - 0.5;
        let at = at - 0.5 + 0.9 * a;
        assert!((theta[0] - at).abs() < 1e-15);
        // Below 0 only the momentum moves θ: a = 0.9·a; θ = θ + 0.9·a
        let step = optimizer.step(-9.0, &mut theta, &mut [1.0]).unwrap();
        assert_eq!(step.learning_rate, 0.0);
        assert!((theta[0] - (at + 0.9 * 0.9 * a)).abs() < 1e-15);
    }

    #[test]
    fn the_default_bound_is_a_tenth() {
        let mut optimizer = AliG::<f64>::new().momentum(0.0).unwrap();
        let mut theta = [0.0];
        optimizer.step(9.0, &mut theta, &mut [1.0]).unwrap();
        assert_eq!(theta, [-0.1]);
    }
}
