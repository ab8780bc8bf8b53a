//! A method at its setting: one curve of a section's figures.

use models::TwoLayerShape;

use crate::methods::{DROPS, EPOCHS, Kind, Knob, Method};
use crate::numbers::{Alpha, Rate, Role};

/// A method at its setting.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// What the section's results call it.
    pub name: &'static str,
    /// The method.
    pub kind: Kind,
    /// How its rate or α is chosen.
    pub choice: Choice,
    /// Dropout of the ConvNet, where it is not the network's own.
    pub dropout: Option<f64>,
    /// Examples in a minibatch, where that is not the task's.
    pub batch: Option<usize>,
    /// Clips gradients to this global norm.
    pub max_norm: Option<f64>,
    /// The size of the regression, and that it is run until it converges; `None` for the paper's for all steps.
    pub until_converged: Option<TwoLayerShape>,
    /// Goes on to this length, where the section's is shorter in its paper preset: for one claim.
    pub extended: Option<u64>,
}

/// How the one setting that is varied is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// As it is unless told otherwise: L4's default α, a rate-free method.
    Default,
    /// A published rate.
    At(f64),
    /// The best of the committed search.
    Searched,
    /// A heavy ball whose rate falls tenfold three times; the first rate.
    Policy(f64),
    /// None: Levenberg–Marquardt.
    Solver,
}

/// Stands for Levenberg–Marquardt among the methods.
pub const LMA: Arm = Arm {
    choice: Choice::Solver,
    ..arm("LMA*", Kind::Sgd)
};

/// A method as it is unless told otherwise.
#[must_use]
pub const fn arm(name: &'static str, kind: Kind) -> Arm {
    Arm {
        name,
        kind,
        choice: Choice::Default,
        dropout: None,
        batch: None,
        max_norm: None,
        until_converged: None,
        extended: None,
    }
}

impl Arm {
    /// At a published rate.
    #[must_use]
    pub const fn at(self, rate: f64) -> Self {
        Self {
            choice: Choice::At(rate),
            ..self
        }
    }

    /// At the best of the committed search.
    #[must_use]
    pub const fn searched(self) -> Self {
        Self {
            choice: Choice::Searched,
            ..self
        }
    }

    /// A heavy ball whose rate, at first this one, falls tenfold after 100, 150 and 200 of 250 parts of the run.
    #[must_use]
    pub const fn policy(self, rate: f64) -> Self {
        Self {
            choice: Choice::Policy(rate),
            ..self
        }
    }

    /// With this dropout.
    #[must_use]
    pub const fn dropout(self, rate: f64) -> Self {
        Self {
            dropout: Some(rate),
            ..self
        }
    }

    /// With minibatches of this size.
    #[must_use]
    pub const fn batch(self, examples: usize) -> Self {
        Self {
            batch: Some(examples),
            ..self
        }
    }

    /// With gradients clipped to this global norm.
    #[must_use]
    pub const fn clipped(self, norm: f64) -> Self {
        Self {
            max_norm: Some(norm),
            ..self
        }
    }

    /// On regression of this size, until it converges.
    #[must_use]
    pub const fn until_converged(self, shape: TwoLayerShape) -> Self {
        Self {
            until_converged: Some(shape),
            ..self
        }
    }

    /// Goes on to this length.
    #[must_use]
    pub const fn extended(self, length: u64) -> Self {
        Self {
            extended: Some(length),
            ..self
        }
    }

    /// Whether it is on the task as the part has it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.dropout.is_none() && self.batch.is_none() && self.until_converged.is_none()
    }

    /// What it is in a comparison.
    #[must_use]
    pub fn role(&self) -> Role {
        let base = self.kind.base();
        match (self.choice, self.kind.knob()) {
            (Choice::Solver, _) => Role::LevenbergMarquardt,
            (Choice::Policy(_), _) => Role::DefaultPolicy,
            (_, None) => Role::RateFree,
            (Choice::Default, _) => Role::L4 {
                base,
                alpha: Alpha::Default,
            },
            (_, Some(Knob::Alpha)) => Role::L4 {
                base,
                alpha: Alpha::Best,
            },
            (Choice::At(_), Some(Knob::Rate)) => Role::Constant {
                base,
                rate: Rate::Published,
            },
            (Choice::Searched, Some(Knob::Rate)) => Role::Constant {
                base,
                rate: Rate::Best,
            },
        }
    }

    /// Whether its effective rate moves, as L4's and the default policy's do.
    #[must_use]
    pub fn has_moving_rate(&self) -> bool {
        matches!(
            self.role(),
            Role::L4 { .. } | Role::DefaultPolicy | Role::RateFree
        )
    }

    /// The method at a setting, for a run of so many steps.
    #[must_use]
    pub fn method(&self, setting: f64, steps: u64) -> Method {
        Method {
            max_norm: self.max_norm,
            drops: matches!(self.choice, Choice::Policy(_)).then(|| drops(steps)),
            ..Method::new(self.kind, setting)
        }
    }
}

/// The default policy's drops, in proportion to a run of this many steps or epochs.
#[must_use]
pub fn drops(length: u64) -> [u64; 3] {
    DROPS.map(|epoch| (u128::from(length) * u128::from(epoch) / u128::from(EPOCHS)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_drops_in_proportion() {
        assert_eq!(drops(250), [100, 150, 200]);
        assert_eq!(drops(390 * 250), [39_000, 58_500, 78_000]);
        assert_eq!(drops(25), [10, 15, 20]);
    }

    #[test]
    fn how_a_setting_is_chosen_decides_what_an_arm_is() {
        use crate::numbers::Base;
        let constant = |base, rate| Role::Constant { base, rate };
        let l4 = |base, alpha| Role::L4 { base, alpha };
        for (arm, role) in [
            (
                arm("", Kind::Adam).at(0.1),
                constant(Base::Adam, Rate::Published),
            ),
            (
                arm("", Kind::Momentum).searched(),
                constant(Base::Momentum, Rate::Best),
            ),
            (arm("", Kind::L4Adam), l4(Base::Adam, Alpha::Default)),
            (
                arm("", Kind::L4Mom).searched(),
                l4(Base::Momentum, Alpha::Best),
            ),
            (arm("", Kind::Prodigy), Role::RateFree),
            (arm("", Kind::Momentum).policy(0.1), Role::DefaultPolicy),
            (
                LMA.until_converged(models::TwoLayerShape::PAPER),
                Role::LevenbergMarquardt,
            ),
        ] {
            assert_eq!(arm.role(), role, "{arm:?}");
        }
        let parts = crate::sections::ALL
            .iter()
            .flat_map(|section| section.parts);
        for arm in parts.flat_map(|part| part.arms) {
            let chosen = matches!(arm.choice, Choice::Searched | Choice::Solver);
            assert_eq!(arm.name.ends_with('*'), chosen, "{}", arm.name);
        }
    }
}
