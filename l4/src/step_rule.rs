//! Algorithm 1 of the paper without its tensors: Lmin, the constants, and the stepsize.

use crate::config::{checked, fraction, non_negative, positive};
use crate::optimizer::require_finite;
use crate::{
    ConfigError, Outcome, Real, Settings, State, StateError, StateReader, Step, StepError, stepsize,
};

/// Algorithm 1's scalars: from a minibatch loss L and g·v to the stepsize η.
///
/// [`L4`](crate::L4) is this rule with its loops over parameters. The rule alone serves where the
/// tensors are another framework's: compute g, v and g·v there, over *all* parameters that one
/// loss trains, ask for η once a step, and move θ ← θ − η·v there.
///
/// ```
/// use l4::StepRule;
///
/// let mut rule = StepRule::<f64>::new();
/// let (mut theta, minimum) = ([0.0, 4.0], [3.0, -1.0]);
/// for _ in 0..2000 {
///     let gradient = [0, 1].map(|k| theta[k] - minimum[k]);
///     let square: f64 = gradient.iter().map(|g| g * g).sum();
///     let step = rule.step(0.5 * square, square)?; // g = v = ∇L
///     for (theta, g) in theta.iter_mut().zip(gradient) {
///         *theta -= step.learning_rate * g;
///     }
/// }
/// assert!((theta[0] - 3.0).abs() < 1e-3 && (theta[1] + 1.0).abs() < 1e-3);
/// # Ok::<(), l4::StepError>(())
/// ```
///
/// Each step, with the minibatch loss L at θ:
///
/// 1. (the caller's) update both transforms with the minibatch gradient, giving g and v
/// 2. at the first step `Lmin ← γ0·L`, later `Lmin ← min(Lmin, L)`
/// 3. `η ← α·(L − γ·Lmin)/(g·v + ε)`, Eq. (6): [`stepsize`]
/// 4. (the caller's) `θ ← θ − η·v`
/// 5. `Lmin ← (1 + 1/τ)·Lmin`, Eq. (5)
///
/// Defaults: α = 0.15, γ = 0.9, γ0 = 0.75, τ = 1000, ε = 1e-12. All of them may be changed between
/// steps. Where several workers share a batch, give each rule the same L and g·v, those of the
/// whole batch: the rules then stay equal.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRule<T = f32> {
    alpha: T,
    gamma: T,
    gamma0: T,
    tau: T,
    epsilon: T,
    steps: u64,
    /// After forgetting; `None` before the first step, unless it was set.
    l_min: Option<T>,
}

impl<T: Real> Default for StepRule<T> {
    fn default() -> Self {
        StepRule::new()
    }
}

impl<T: Real> StepRule<T> {
    /// The rule with the paper's constants, before its first step.
    pub fn new() -> Self {
        StepRule {
            alpha: T::of(0.15),
            gamma: T::of(0.9),
            gamma0: T::of(0.75),
            tau: T::of(1000.0),
            epsilon: T::of(1e-12),
            steps: 0,
            l_min: None,
        }
    }

    /// Sets α, the fraction of the linearised step to the minimum taken at each step: the main
    /// hyperparameter. Above 0; the paper finds values from 0.1 to 0.3 relevant.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when not positive and finite.
    pub fn set_alpha(&mut self, alpha: T) -> Result<(), ConfigError> {
        self.alpha = positive("alpha", alpha)?;
        Ok(())
    }

    /// Sets γ, the fraction of Lmin believed attainable, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn set_gamma(&mut self, gamma: T) -> Result<(), ConfigError> {
        self.gamma = fraction("gamma", gamma)?;
        Ok(())
    }

    /// Sets γ0, the fraction of the first loss that Lmin starts at, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn set_gamma0(&mut self, gamma0: T) -> Result<(), ConfigError> {
        self.gamma0 = fraction("gamma0", gamma0)?;
        Ok(())
    }

    /// Sets τ, the timescale in steps at which Lmin grows, above 0; infinity for never.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when not positive.
    pub fn set_tau(&mut self, tau: T) -> Result<(), ConfigError> {
        self.tau = checked("tau", tau, "a positive number or infinity", tau > T::zero())?;
        Ok(())
    }

    /// Sets ε, added to g·v in the denominator, at least 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when negative or not finite.
    pub fn set_epsilon(&mut self, epsilon: T) -> Result<(), ConfigError> {
        self.epsilon = non_negative("epsilon", epsilon)?;
        Ok(())
    }

    /// Sets Lmin as the next step will find it, at least 0. Set before the first step it takes the
    /// place of γ0·L: Lmin is then the smaller of it and the first loss.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when negative or not finite.
    pub fn set_l_min(&mut self, l_min: T) -> Result<(), ConfigError> {
        self.l_min = Some(non_negative("l_min", l_min)?);
        Ok(())
    }

    /// α.
    pub fn alpha(&self) -> T {
        self.alpha
    }

    /// Lmin as the next step will find it, after forgetting. `None` before the first step, unless it was set.
    pub fn l_min(&self) -> Option<T> {
        self.l_min
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps 2, 3 and 5 of the algorithm. Call it once for each minibatch, and move the parameters
    /// by −η·v, with η the answer's `learning_rate`: 0 where the
    /// [`outcome`](crate::Step::outcome) says that nothing should move.
    ///
    /// # Errors
    ///
    /// [`StepError::NegativeLoss`] or [`StepError::NonFiniteLoss`], with nothing changed;
    /// [`StepError::Overflow`] when g·v or η is not finite, with the loss absorbed.
    pub fn step(&mut self, loss: T, inner_product: T) -> Result<Step<T>, StepError> {
        check_loss(loss)?;
        self.steps += 1;
        let l_min = self.lowest_loss(loss);
        self.l_min = Some(self.forget(l_min));
        let (eta, outcome) = self.choose(loss, l_min, inner_product)?;
        Ok(Step {
            learning_rate: eta,
            l_min: Some(l_min),
            inner_product: Some(inner_product),
            outcome,
        })
    }

    /// Step 2 of the algorithm.
    fn lowest_loss(&self, loss: T) -> T {
        match self.l_min {
            None => self.gamma0 * loss,
            Some(l_min) => l_min.min(loss),
        }
    }

    /// Step 3 of the algorithm, with the cases that Eq. (6) does not cover.
    fn choose(&self, loss: T, l_min: T, inner_product: T) -> Result<(T, Outcome), StepError> {
        let target = self.gamma * l_min;
        require_finite("the inner product g·v", inner_product)?;
        if loss <= target {
            return Ok((T::zero(), Outcome::TargetReached));
        }
        if inner_product <= T::zero() {
            return Ok((T::zero(), Outcome::NoDescent));
        }
        let eta = stepsize(self.alpha, loss, target, inner_product, self.epsilon);
        require_finite("the stepsize η", eta)?;
        Ok((eta, Outcome::Updated))
    }

    /// Step 5 of the algorithm.
    fn forget(&self, l_min: T) -> T {
        // The bound matters only at losses near the end of the number range.
        ((T::one() + self.tau.recip()) * l_min).min(T::max_value())
    }

    /// `settings` with the five constants.
    pub fn add_to(&self, settings: Settings) -> Settings {
        settings
            .with_number("alpha", self.alpha)
            .with_number("gamma", self.gamma)
            .with_number("gamma0", self.gamma0)
            .with_number("tau", self.tau)
            .with_number("epsilon", self.epsilon)
    }

    /// The constants, the step count and Lmin: all that there is, since the constants may have
    /// changed while running.
    pub fn state(&self) -> State<T> {
        let state = State::new(self.steps)
            .with_scalar("alpha", self.alpha.as_f64())
            .with_scalar("gamma", self.gamma.as_f64())
            .with_scalar("gamma0", self.gamma0.as_f64())
            .with_scalar("tau", self.tau.as_f64())
            .with_scalar("epsilon", self.epsilon.as_f64());
        match self.l_min {
            None => state,
            Some(l_min) => state.with_scalar("l_min", l_min.as_f64()),
        }
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    ///
    /// [`StateError`], with the rule untouched, when the entries are not those of
    /// [`state`](Self::state) or outside their ranges.
    pub fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let rule = StepRule::read(&mut reader)?;
        reader.finish()?;
        *self = rule;
        Ok(())
    }

    /// Takes the entries of a rule.
    pub(crate) fn read(reader: &mut StateReader<T>) -> Result<Self, StateError> {
        let mut rule = StepRule::new();
        rule.set_alpha(T::of(reader.scalar("alpha")?))?;
        rule.set_gamma(T::of(reader.scalar("gamma")?))?;
        rule.set_gamma0(T::of(reader.scalar("gamma0")?))?;
        rule.set_tau(T::of(reader.scalar_or_infinity("tau")?))?;
        rule.set_epsilon(T::of(reader.scalar("epsilon")?))?;
        rule.steps = reader.step();
        if rule.steps > 0 || reader.has_scalar("l_min") {
            rule.set_l_min(T::of(reader.scalar("l_min")?))?;
        }
        Ok(rule)
    }
}

/// The losses that L4 takes: finite and not negative.
pub(crate) fn check_loss<T: Real>(loss: T) -> Result<(), StepError> {
    let value = loss.as_f64();
    if !value.is_finite() {
        return Err(StepError::NonFiniteLoss { loss: value });
    }
    if value < 0.0 {
        return Err(StepError::NegativeLoss { loss: value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut rule = StepRule::<f64>::new();
        // Lmin = 0.75·4 = 3
        let step = rule.step(4.0, 5.0).unwrap();
        assert_eq!(step.learning_rate, 0.15 * (4.0 - 0.9 * 3.0) / (5.0 + 1e-12));
        assert_eq!(step.l_min, Some(3.0));
        assert_eq!(rule.l_min(), Some(3.0 * (1.0 + 1.0 / 1000.0)));
        // Lmin = min(3.003, 2) = 2
        let step = rule.step(2.0, 1.0).unwrap();
        assert_eq!(step.learning_rate, 0.15 * (2.0 - 0.9 * 2.0) / (1.0 + 1e-12));
        assert_eq!(rule.steps(), 2);
    }

    #[test]
    fn constants_may_change_between_steps() {
        let mut rule = StepRule::<f64>::new();
        rule.step(4.0, 1.0).unwrap();
        rule.set_alpha(0.1).unwrap();
        rule.set_gamma(1.0).unwrap();
        rule.set_epsilon(1.0).unwrap();
        rule.set_tau(f64::INFINITY).unwrap();
        rule.set_l_min(1.0).unwrap();
        let step = rule.step(2.0, 1.0).unwrap();
        assert_eq!(step.learning_rate, 0.1 * (2.0 - 1.0) / (1.0 + 1.0));
        assert_eq!(rule.l_min(), Some(1.0));
        assert!(rule.set_alpha(0.0).is_err() && rule.alpha() == 0.1);
        assert!(rule.set_l_min(-1.0).is_err() && rule.l_min() == Some(1.0));
    }

    #[test]
    fn a_known_lmin_takes_the_place_of_the_first_guess() {
        let mut rule = StepRule::<f64>::new();
        rule.set_l_min(0.5).unwrap();
        rule.set_gamma0(0.25).unwrap();
        let mut restored = StepRule::new();
        restored.restore(rule.state()).unwrap();
        assert_eq!(restored, rule);
        assert_eq!(rule.step(4.0, 1.0).unwrap().l_min, Some(0.5));
    }

    #[test]
    fn a_refused_loss_changes_nothing() {
        let mut rule = StepRule::<f64>::new();
        rule.step(1.0, 1.0).unwrap();
        let before = rule.clone();
        assert!(matches!(
            rule.step(-1.0, 1.0),
            Err(StepError::NegativeLoss { .. })
        ));
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = rule.step(loss, 1.0);
            assert!(matches!(error, Err(StepError::NonFiniteLoss { .. })));
        }
        assert_eq!(rule, before);
    }

    #[test]
    fn a_restored_rule_is_the_saved_one() {
        let mut rule = StepRule::<f32>::new();
        rule.set_tau(f32::INFINITY).unwrap();
        rule.set_alpha(0.1).unwrap();
        rule.step(3.0, 2.0).unwrap();
        let mut restored = StepRule::new();
        restored.restore(rule.state()).unwrap();
        assert_eq!(restored, rule);
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let mut rule = StepRule::<f32>::new();
        rule.step(3.0, 2.0).unwrap();
        let (before, good) = (rule.clone(), rule.state());
        for (name, value) in [
            ("l_min", -1.0),
            ("l_min", f64::NAN),
            ("alpha", 0.0),
            ("alpha", f64::INFINITY),
            ("gamma", 1.5),
            ("gamma0", -0.5),
            ("tau", 0.0),
            ("epsilon", -1.0),
        ] {
            let error = rule.restore(good.clone().with_scalar(name, value));
            assert!(
                matches!(&error, Err(StateError::Value { name: found, .. }) if found == name),
                "{name}: {error:?}"
            );
        }
        let endless = State {
            step: u64::MAX,
            ..good.clone()
        };
        let error = rule.restore(endless);
        assert!(matches!(error, Err(StateError::Value { .. })), "{error:?}");
        let mut without = good;
        without.scalars.remove("l_min");
        let error = rule.restore(without);
        assert!(matches!(error, Err(StateError::Missing { .. })));
        assert_eq!(rule, before);
    }
}
