//! Mechanic.

use alloc::format;

use num_traits::Float;

use super::start_at;
use crate::config::{non_negative, positive};
use crate::optimizer::require_finite;
use crate::simd::{sum_of_squares, walk};
use crate::{
    ConfigError, MomentBuffer, Optimizer, Outcome, Real, Segment, Setting, Settings, State,
    StateError, StateReader, Step, StepError, check_inputs, with_ranges,
};

/// The decays of the six parallel tuners.
const BETAS: [f64; 6] = [0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
const EPSILON: f64 = 1e-8;

/// Mechanic (Cutkosky, Defazio and Mehta, *Mechanic: a learning rate tuner*, NeurIPS 2023), as in
/// its authors' `mechanic.py`: a factor on all that a base optimiser has moved.
///
/// ```text
/// θ' = the base's step from θ; Δ = (θ − θ₀)/(S + ε), with S = Σs
/// h = ⟨Δ, ∇L + λ·θ'·S·‖∇L‖/(‖θ'‖ + ε)⟩; Δ ← Δ + θ' − θ
/// for each β:  m ← max(β·m, |h|); v ← β²·v + h²; r ← max(0, β·r − s·h)
///              s ← (m·s_init/6 + r)/(√v + ε)
/// θ ← θ₀ + Δ·S        s_init = 1e-8, λ = 0.01, ε = 1e-8, β = 0.9, 0.99, …, 0.999999
/// ```
///
/// m starts at 1e-6, v, r and s at 0; the last line has the new S. The base's rate is to be 1, with a
/// schedule its largest rate; the rate reported is the base's times S.
#[derive(Clone, Debug)]
pub struct Mechanic<O, T> {
    base: O,
    s_init: f64,
    lambda: f64,
    step: u64,
    tuners: [Tuner; 6],
    /// θ₀.
    start: MomentBuffer<T, 256>,
    /// θ, while the base moves the parameters: scratch, not state.
    before: MomentBuffer<T, 512>,
}

/// One decay's m, v, r and s.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tuner {
    m: f64,
    v: f64,
    r: f64,
    s: f64,
}

impl Tuner {
    const START: Tuner = Tuner {
        m: 1e-6,
        v: 0.0,
        r: 0.0,
        s: 0.0,
    };

    fn update(&mut self, beta: f64, h: f64, s_init: f64) {
        self.m = (beta * self.m).max(h.abs());
        self.v = beta * beta * self.v + h * h;
        self.r = (beta * self.r - self.s * h).max(0.0);
        let wealth = self.m * s_init / BETAS.len() as f64 + self.r;
        self.s = wealth / (Float::sqrt(self.v) + EPSILON);
    }

    fn read<T: Real>(reader: &mut StateReader<T>, k: usize) -> Result<Self, StateError> {
        let mut scalar = |name| reader.non_negative_scalar(&format!("{name}{k}"));
        Ok(Tuner {
            m: scalar("m")?,
            v: scalar("v")?,
            r: scalar("r")?,
            s: scalar("s")?,
        })
    }
}

/// What h is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// ⟨θ − θ₀, ∇L⟩.
    moved_gradient: f64,
    /// ‖∇L‖².
    gradient: f64,
    /// ⟨θ − θ₀, θ'⟩.
    moved_proposal: f64,
    /// ‖θ'‖².
    proposal: f64,
}

impl<O: Optimizer<T>, T: Real> Mechanic<O, T> {
    /// Mechanic around `base`, with the constants above.
    pub fn new(base: O) -> Self {
        Mechanic {
            base,
            s_init: 1e-8,
            lambda: 0.01,
            step: 0,
            tuners: [Tuner::START; 6],
            start: MomentBuffer::new(),
            before: MomentBuffer::new(),
        }
    }

    /// Sets s_init, above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn s_init(mut self, s_init: f64) -> Result<Self, ConfigError> {
        self.s_init = positive("s_init", s_init)?;
        Ok(self)
    }

    /// Sets λ, at least 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn lambda(mut self, lambda: f64) -> Result<Self, ConfigError> {
        self.lambda = non_negative("lambda", lambda)?;
        Ok(self)
    }

    /// S.
    fn scale(&self) -> f64 {
        self.tuners.iter().map(|tuner| tuner.s).sum()
    }

    /// Keeps θ and makes the sums that need the gradient, which the base may overwrite.
    fn before_the_base(&mut self, segments: &mut [Segment<'_, T>]) -> Sums {
        let mut sums = Sums::default();
        for (range, params, grads) in with_ranges(segments) {
            self.before[range.clone()].copy_from_slice(params);
            let [moved_gradient] = walk(
                [],
                [params, &self.start[range], grads],
                #[inline(always)]
                |[], [theta, start, g]| {
                    let moved = theta.as_f64() - start.as_f64();
                    ([], [moved * g.as_f64()])
                },
            );
            sums.moved_gradient += moved_gradient;
            sums.gradient += sum_of_squares(grads);
        }
        sums
    }

    /// The sums that need the base's proposal θ', now in the parameters.
    fn after_the_base(&self, sums: &mut Sums, segments: &mut [Segment<'_, T>]) {
        for (range, params, _) in with_ranges(segments) {
            let [moved_proposal] = walk(
                [],
                [params, &self.start[range.clone()], &self.before[range]],
                #[inline(always)]
                |[], [proposal, start, theta]| {
                    let moved = theta.as_f64() - start.as_f64();
                    ([], [moved * proposal.as_f64()])
                },
            );
            sums.moved_proposal += moved_proposal;
            sums.proposal += sum_of_squares(params);
        }
    }

    fn h(&self, scale: f64, sums: Sums) -> f64 {
        let decay = self.lambda * scale * Float::sqrt(sums.gradient)
            / (Float::sqrt(sums.proposal) + EPSILON);
        (sums.moved_gradient + decay * sums.moved_proposal) / (scale + EPSILON)
    }

    /// `θ ← θ₀ + Δ·S`.
    fn rescale(&self, old_scale: f64, new_scale: f64, segments: &mut [Segment<'_, T>]) {
        let inverse = T::of(1.0 / (old_scale + EPSILON));
        let scale = T::of(new_scale.max(0.0));
        for (range, params, _) in with_ranges(segments) {
            walk(
                [params],
                [&self.start[range.clone()], &self.before[range]],
                #[inline(always)]
                |[proposal], [start, theta]| {
                    let delta = (theta - start) * inverse + (proposal - theta);
                    ([start + delta * scale], [])
                },
            );
        }
    }

    /// θ₀ is where the first step that is taken starts.
    fn forget_untaken_start(&mut self) {
        if self.step == 0 {
            self.start = MomentBuffer::new();
        }
    }

    /// Puts θ back.
    fn undo(&self, segments: &mut [Segment<'_, T>]) {
        for (range, params, _) in with_ranges(segments) {
            params.copy_from_slice(&self.before[range]);
        }
    }
}

impl<O: Optimizer<T>, T: Real> Optimizer<T> for Mechanic<O, T> {
    fn name(&self) -> &'static str {
        "Mechanic"
    }

    /// The base's settings after Mechanic's own; its name is `base`.
    fn settings(&self) -> Settings {
        let mut settings = Settings::of("Mechanic")
            .with_number("s_init", self.s_init)
            .with_number("lambda", self.lambda)
            .with_number("mechanic_epsilon", EPSILON)
            .with_numbers("mechanic_betas", &BETAS)
            .with("base", Setting::Text(self.base.name()));
        for (name, setting) in self.base.settings() {
            if name != "optimizer" {
                settings = settings.with(name, setting);
            }
        }
        settings
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        let count = check_inputs(loss, segments)?;
        start_at(&mut self.start, segments, self.step, count)?;
        if self.before.len() != count {
            self.before.resize(count, T::zero());
        }
        let mut sums = self.before_the_base(segments);
        let proposed = self.base.step_segments(loss, segments);
        let proposed = proposed.inspect_err(|_| self.forget_untaken_start())?;
        self.after_the_base(&mut sums, segments);
        let old_scale = self.scale();
        let h = self.h(old_scale, sums);
        if let Err(error) = require_finite("h", h) {
            self.undo(segments);
            return Err(error);
        }
        for (tuner, beta) in self.tuners.iter_mut().zip(BETAS) {
            tuner.update(beta, h, self.s_init);
        }
        self.step += 1;
        let scale = self.scale();
        self.rescale(old_scale, scale, segments);
        Ok(Step {
            outcome: Outcome::Updated,
            ..Step::at_rate(T::of(proposed.learning_rate.as_f64() * scale))
        })
    }

    fn state(&self) -> State<T> {
        let base = self.base.state();
        let mut state = State::new(self.step)
            .with_scalar("base_step", base.step as f64)
            .with_vector("start", self.start.to_vec());
        for (k, tuner) in self.tuners.iter().enumerate() {
            for (name, value) in [
                ("m", tuner.m),
                ("v", tuner.v),
                ("r", tuner.r),
                ("s", tuner.s),
            ] {
                state = state.with_scalar(&format!("{name}{k}"), value);
            }
        }
        state.with_inner("base.", base)
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let mut tuners = [Tuner::START; 6];
        for (k, tuner) in tuners.iter_mut().enumerate() {
            *tuner = Tuner::read(&mut reader, k)?;
        }
        let start = reader.vector("start")?;
        let base_step = reader.non_negative_scalar("base_step")?;
        let base = reader.inner("base.", base_step as u64);
        reader.finish()?;
        self.base.restore(base)?;
        (self.step, self.tuners, self.start) = (step, tuners, start.into());
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.base.state_bytes() + self.start.bytes() + self.before.bytes()
    }
}

#[cfg(test)]
mod tests {
    use core::array::from_fn;

    use super::*;
    use crate::{L4Mom, Momentum, Schedule, Sgd};

    fn sgd() -> Sgd<f64> {
        Sgd::new(Schedule::constant(1.0).unwrap())
    }

    fn close(found: f64, expected: f64) {
        let error = (found - expected).abs();
        assert!(error <= 1e-12 * expected.abs(), "{found} {expected}");
    }

    /// Sums and norms run over both tensors, which the check vector does not show.
    #[test]
    fn by_hand() {
        let mut mechanic = Mechanic::new(sgd()).s_init(0.75).unwrap();
        let mechanic = &mut mechanic;
        let (mut a, mut b) = ([3.0], [4.0]);
        // θ = θ₀, so h = 0: m = 1e-6·β, v = r = 0, s = β·1e-6·0.125/1e-8 = 12.5·β
        let sum_of_betas: f64 = BETAS.iter().sum();
        let scale = 12.5 * sum_of_betas;
        mechanic
            .step_segments(1.0, &mut [(&mut a, &mut [2.0]), (&mut b, &mut [-1.0])])
            .unwrap();
        close(mechanic.scale(), scale);
        close(a[0], 3.0 - 2.0 * scale);
        close(b[0], 4.0 + scale);
        // Δ = (−2, 1)·S/(S + ε), ∇L = (1, 2)·1e-3, θ' = θ − ∇L
        let (gradient, norm) = ([1e-3, 2e-3], 5f64.sqrt() * 1e-3);
        let proposal = [a[0] - 1e-3, b[0] - 2e-3];
        let pull = 0.01 * scale * norm / (proposal[0].hypot(proposal[1]) + 1e-8);
        let delta = [-2.0, 1.0].map(|u| u * scale / (scale + 1e-8));
        let h = delta[0] * (gradient[0] + pull * proposal[0])
            + delta[1] * (gradient[1] + pull * proposal[1]);
        let new_scale: f64 = BETAS
            .iter()
            .map(|beta| {
                let m = (beta * beta * 1e-6).max(h.abs());
                let r = (-12.5 * beta * h).max(0.0);
                (m * 0.125 + r) / (h.abs() + 1e-8)
            })
            .sum();
        let [mut by_a, mut by_b] = gradient.map(|g| [g]);
        let step = mechanic
            .step_segments(1.0, &mut [(&mut a, &mut by_a), (&mut b, &mut by_b)])
            .unwrap();
        close(step.learning_rate, new_scale);
        close(a[0], 3.0 + (delta[0] - 1e-3) * new_scale);
        close(b[0], 4.0 + (delta[1] - 2e-3) * new_scale);
    }

    /// r would fall below 0 where all that was moved turns out wrong.
    #[test]
    fn wealth_is_not_negative() {
        let mut tuner = Tuner::START;
        tuner.update(0.5, -2.0, 0.6);
        // m = 2, v = 4, r = 0, s = (2·0.1)/2
        let s = (2.0 * 0.6 / 6.0) / (2.0 + 1e-8);
        assert_eq!((tuner.m, tuner.v, tuner.r, tuner.s), (2.0, 4.0, 0.0, s));
        tuner.update(0.5, -1.0, 0.6);
        // m = max(1, 1), v = 0.25·4 + 1, r = 0 + s
        let next = (0.1 + s) / (2f64.sqrt() + 1e-8);
        close(tuner.s, next);
        tuner.update(0.5, 9.0, 0.6);
        assert_eq!(tuner.r, 0.0);
    }

    #[test]
    fn lambda_0_leaves_the_proposal_out() {
        let with = |lambda| {
            let mechanic = Mechanic::new(sgd()).lambda(lambda).unwrap();
            let sums = Sums {
                moved_gradient: 3.0,
                gradient: 4.0,
                moved_proposal: 5.0,
                proposal: 9.0,
            };
            mechanic.h(2.0, sums)
        };
        close(with(0.0), 3.0 / (2.0 + 1e-8));
        close(
            with(0.5),
            (3.0 + 0.5 * 2.0 * 2.0 / (3.0 + 1e-8) * 5.0) / (2.0 + 1e-8),
        );
    }

    #[test]
    fn what_the_base_refuses_is_refused() {
        let mut mechanic = Mechanic::new(L4Mom::<f64>::new());
        let mut theta = [1.0];
        assert!(mechanic.step(-1.0, &mut theta, &mut [1.0]).is_err());
        assert_eq!((theta, mechanic.step), ([1.0], 0));
        assert_eq!(mechanic.state(), Mechanic::new(L4Mom::new()).state());
    }

    #[test]
    fn the_base_goes_on_too() {
        let base = || Momentum::<f64>::new(Schedule::constant(1.0).unwrap());
        let (mut mechanic, mut theta) = (Mechanic::new(base()), [1.0, 2.0]);
        mechanic.step(1.0, &mut theta, &mut [0.5, 1.0]).unwrap();
        let state = mechanic.state();
        assert_eq!(state.vectors["base.accumulator"], [0.5, 1.0]);
        let mut restored = Mechanic::new(base());
        restored.restore(state.clone()).unwrap();
        assert_eq!(restored.state(), state);
        let other = Mechanic::new(sgd()).restore(state);
        assert!(matches!(other, Err(StateError::Unexpected { .. })));
    }

    #[test]
    fn the_settings_hold_the_base() {
        let settings = Mechanic::new(sgd()).settings();
        let names: [&str; 7] = from_fn(|k| settings.iter().nth(k).unwrap().0);
        assert_eq!(
            names.join(" "),
            "optimizer s_init lambda mechanic_epsilon mechanic_betas base rate"
        );
        assert_eq!(settings.get("base"), Some(&Setting::Text("SGD")));
    }
}
