//! ScheduleFree+.

use core::f64::consts::FRAC_PI_2;

use num_traits::Float;

use super::start_at;
use crate::config::positive;
use crate::optimizer::require_finite;
use crate::simd::walk;
use crate::transform::filled;
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Settings, State, StateError,
    Step, StepError, check_inputs, fit_moments, with_ranges,
};

/// ScheduleFree+, as in `adamc_schedulefree_plus_paper.py` of its authors' repository
/// `facebookresearch/schedule_free`, without weight decay: schedule-free Adam whose step comes from
/// the loss, as Polyak's and L4's do.
///
/// ```text
/// m ← β1·m + (1 − β1)·∇L; v ← β2·v + (1 − β2)·∇L²
/// η = lr·max(0, L + β·⟨∇L, z − x⟩)/(√(π/2)·‖∇L‖₁)
/// z ← z − η·m̂/(√v̂ + ε); x ← (1 − c)·x + c·z; y = β·x + (1 − β)·z
/// lr = 1, β1 = 0.9, β2 = 0.95, ε = 1e-8, β = 0.9
/// ```
///
/// m̂ and v̂ are corrected for their start at 0; c = w/Σw with w = (the largest η so far)². x, y and z
/// start at θ₀. η = 0 where ∇L = 0. The parameters trained, where loss and gradient are taken, are
/// y; x is to be evaluated: [`evaluation_point`](Optimizer::evaluation_point).
#[derive(Clone, Debug)]
pub struct ScheduleFreePlus<T> {
    rate: f64,
    beta1: f64,
    beta2: f64,
    beta: f64,
    epsilon: T,
    step: u64,
    largest_eta: f64,
    /// Σw.
    weights: f64,
    first_moment: MomentBuffer<T, 256>,
    second_moment: MomentBuffer<T, 512>,
    /// x.
    average: MomentBuffer<T, 1024>,
    /// z.
    iterate: MomentBuffer<T, 2048>,
}

impl<T: Real> Default for ScheduleFreePlus<T> {
    fn default() -> Self {
        ScheduleFreePlus::new()
    }
}

impl<T: Real> ScheduleFreePlus<T> {
    /// ScheduleFree+ with the constants above.
    pub fn new() -> Self {
        ScheduleFreePlus {
            rate: 1.0,
            beta1: 0.9,
            beta2: 0.95,
            beta: 0.9,
            epsilon: T::of(1e-8),
            step: 0,
            largest_eta: 0.0,
            weights: 0.0,
            first_moment: MomentBuffer::new(),
            second_moment: MomentBuffer::new(),
            average: MomentBuffer::new(),
            iterate: MomentBuffer::new(),
        }
    }

    /// Sets lr, the factor on η, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn rate(mut self, rate: f64) -> Result<Self, ConfigError> {
        self.rate = positive("rate", rate)?;
        Ok(self)
    }

    fn fit(&mut self, segments: &[Segment<'_, T>], count: usize) -> Result<(), StepError> {
        let (zero, steps) = (T::zero(), self.step);
        fit_moments(&mut self.first_moment, zero, steps, count)?;
        fit_moments(&mut self.second_moment, zero, steps, count)?;
        start_at(&mut self.average, segments, steps, count)?;
        start_at(&mut self.iterate, segments, steps, count)
    }

    /// Takes into z what y was moved by since the last step, and the gradient into m and v; returns
    /// ⟨∇L, z − x⟩ and ‖∇L‖₁.
    fn average(&mut self, segments: &mut [Segment<'_, T>]) -> [f64; 2] {
        let (beta1, rest1) = (T::of(self.beta1), T::of(1.0 - self.beta1));
        let (beta2, rest2) = (T::of(self.beta2), T::of(1.0 - self.beta2));
        let (beta, rest_of_beta) = (T::of(self.beta), T::of(1.0 - self.beta));
        let mut totals = [0.0; 2];
        for (range, params, grads) in with_ranges(segments) {
            let [correlation, norm] = walk(
                [
                    &mut self.first_moment[range.clone()],
                    &mut self.second_moment[range.clone()],
                    &mut self.iterate[range.clone()],
                ],
                [grads, params, &self.average[range]],
                #[inline(always)]
                |[m, v, z], [g, y, x]| {
                    let z = z + (y - (beta * x + rest_of_beta * z));
                    let m = (beta1 * m + rest1 * g).flushed();
                    let v = (beta2 * v + rest2 * g.squarable() * g).flushed();
                    let correlation = g.as_f64() * (z.as_f64() - x.as_f64());
                    ([m, v, z], [correlation, g.abs().as_f64()])
                },
            );
            totals = [totals[0] + correlation, totals[1] + norm];
        }
        totals
    }

    fn eta(&self, loss: f64, correlation: f64, norm: f64) -> (f64, Outcome) {
        if norm == 0.0 {
            return (0.0, Outcome::NoDescent);
        }
        let gap = loss + self.beta * correlation;
        if gap <= 0.0 {
            return (0.0, Outcome::TargetReached);
        }
        let eta = self.rate * gap / (Float::sqrt(FRAC_PI_2) * norm);
        (eta, Outcome::Updated)
    }

    /// c, the weight of z in x.
    fn weight(&mut self, eta: f64) -> f64 {
        self.largest_eta = self.largest_eta.max(eta);
        let weight = self.largest_eta * self.largest_eta;
        self.weights += weight;
        match self.weights == 0.0 {
            true => 0.0,
            false => weight / self.weights,
        }
    }

    /// z, x and y after η and c are known.
    fn move_points(&mut self, eta: f64, c: f64, segments: &mut [Segment<'_, T>]) {
        let corrected_eta = T::of(eta / filled(self.beta1, self.step));
        let correction = T::of(1.0 / filled(self.beta2, self.step));
        let (beta, rest_of_beta) = (T::of(self.beta), T::of(1.0 - self.beta));
        let (c, rest, epsilon) = (T::of(c), T::of(1.0 - c), self.epsilon);
        for (range, params, _) in with_ranges(segments) {
            walk(
                [
                    params,
                    &mut self.average[range.clone()],
                    &mut self.iterate[range.clone()],
                ],
                [
                    &self.first_moment[range.clone()],
                    &self.second_moment[range],
                ],
                #[inline(always)]
                |[_, x, z], [m, v]| {
                    let z = z - corrected_eta * m / ((v * correction).sqrt() + epsilon);
                    let x = rest * x + c * z;
                    ([beta * x + rest_of_beta * z, x, z], [])
                },
            );
        }
    }
}

impl<T: Real> Optimizer<T> for ScheduleFreePlus<T> {
    fn name(&self) -> &'static str {
        "ScheduleFree+"
    }

    fn settings(&self) -> Settings {
        Settings::of("ScheduleFree+")
            .with_number("rate", self.rate)
            .with_number("beta1", self.beta1)
            .with_number("beta2", self.beta2)
            .with_number("epsilon", self.epsilon)
            .with_number("beta", self.beta)
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        self.fit(segments, count)?;
        self.step += 1;
        let [correlation, norm] = self.average(segments);
        let (eta, outcome) = self.eta(loss.as_f64(), correlation, norm);
        require_finite("the stepsize η", T::of(eta))?;
        require_finite("⟨∇L, z − x⟩", correlation)?;
        let c = self.weight(eta);
        self.move_points(eta, c, segments);
        Ok(Step {
            outcome,
            ..Step::at_rate(T::of(eta))
        })
    }

    fn evaluation_point(&self) -> Option<&[T]> {
        (self.step > 0).then_some(&self.average)
    }

    fn state(&self) -> State<T> {
        State::new(self.step)
            .with_scalar("largest_eta", self.largest_eta)
            .with_scalar("weights", self.weights)
            .with_vector("first_moment", self.first_moment.to_vec())
            .with_vector("second_moment", self.second_moment.to_vec())
            .with_vector("x", self.average.to_vec())
            .with_vector("z", self.iterate.to_vec())
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let largest_eta = reader.non_negative_scalar("largest_eta")?;
        let weights = reader.non_negative_scalar("weights")?;
        let first_moment = reader.vector("first_moment")?;
        let second_moment = reader.squares("second_moment")?;
        let (x, z) = (reader.vector("x")?, reader.vector("z")?);
        reader.finish()?;
        (self.step, self.largest_eta, self.weights) = (step, largest_eta, weights);
        (self.first_moment, self.second_moment) = (first_moment.into(), second_moment.into());
        (self.average, self.iterate) = (x.into(), z.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let moments = self.first_moment.bytes() + self.second_moment.bytes();
        moments + self.average.bytes() + self.iterate.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }

    #[test]
    fn by_hand() {
        let mut optimizer = ScheduleFreePlus::<f64>::new();
        let (mut a, mut b) = ([2.0], [0.0]);
        // ‖∇L‖₁ = 6; m̂/√v̂ = sign(∇L); c = 1, so x = y = z
        let e = (0.5 * core::f64::consts::PI).sqrt();
        let eta1 = 3.0 / (e * 6.0);
        optimizer
            .step_segments(3.0, &mut [(&mut a, &mut [4.0]), (&mut b, &mut [-2.0])])
            .unwrap();
        close(a[0], 2.0 - eta1);
        close(b[0], eta1);
        // z = x: η = 1/(4·e) is smaller than before, so w is as before and c = 1/2.
        // m̂ = (0.9·0.4 + 0.4)/0.19 = 4, v̂ = 16; for b (−0.18)/0.19 by √(0.19/0.0975)
        let eta2 = 1.0 / (e * 4.0);
        let step = optimizer
            .step_segments(1.0, &mut [(&mut a, &mut [4.0]), (&mut b, &mut [0.0])])
            .unwrap();
        close(step.learning_rate, eta2);
        let direction = (-0.18 / 0.19) / (0.19f64 / 0.0975).sqrt();
        let (za, zb) = (2.0 - eta1 - eta2, eta1 - eta2 * direction);
        let (xa, xb) = (0.5 * (2.0 - eta1 + za), 0.5 * (eta1 + zb));
        close(optimizer.evaluation_point().unwrap()[0], xa);
        close(optimizer.evaluation_point().unwrap()[1], xb);
        close(a[0], 0.9 * xa + 0.1 * za);
        close(b[0], 0.9 * xb + 0.1 * zb);
        // η = (1 + 0.9·⟨∇L, z − x⟩)/e/2 for ∇L = (0, 2)
        let eta3 = (1.0 + 0.9 * 2.0 * (zb - xb)) / (e * 2.0);
        let step = optimizer
            .step_segments(1.0, &mut [(&mut a, &mut [0.0]), (&mut b, &mut [2.0])])
            .unwrap();
        close(step.learning_rate, eta3);
    }

    #[test]
    fn it_rests_without_a_gradient_or_below_the_bound() {
        for (loss, gradient, outcome) in [
            (1.0, 0.0, Outcome::NoDescent),
            (0.0, 1.0, Outcome::TargetReached),
            (-1.0, 1.0, Outcome::TargetReached),
        ] {
            let (mut optimizer, mut theta) = (ScheduleFreePlus::<f64>::new(), [1.0]);
            let step = optimizer.step(loss, &mut theta, &mut [gradient]).unwrap();
            assert_eq!((step.outcome, theta), (outcome, [1.0]));
            assert_eq!(optimizer.evaluation_point(), Some(&[1.0][..]));
        }
    }
}
