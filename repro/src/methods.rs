//! The methods that the paper compares, at a setting each; their settings in results, and their state in checkpoints.
//!
//! A new optimiser is a file in `l4` and a line in [`methods!`](Kind).

use l4::rate_free::{
    AliG, DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW, ScheduleFreePlus,
    SpsMax,
};
use l4::{
    Adam, ClipByGlobalNorm, ConfigError, L4Adam, L4Mom, Momentum, Nesterov, Optimizer, RmsProp,
    Schedule, Setting, Settings, Sgd, State,
};
use serde_json::{Map, Value, json};

use crate::engine::checkpoint::{Checkpoint, CheckpointError, Element};
use crate::numbers::Base;

/// What the one number is that the paper varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// A constant learning rate.
    Rate,
    /// L4's α, the fraction of the step to the linearised minimum.
    Alpha,
}

impl Knob {
    /// Its name among a method's settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Knob::Rate => "rate",
            Knob::Alpha => "alpha",
        }
    }
}

/// A line a method: its name in legends, the base method that it is or is over, what is varied if anything, and how it is built
/// from that, in any precision.
macro_rules! methods {
    ($($variant:ident: $name:literal, $base:ident $(, $knob:ident $x:ident)? => $build:expr;)*) => {
        /// A first-order method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "named as the paper names them")]
        pub enum Kind { $($variant),* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// As the paper's legends call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name),* }
            }

            /// The method that it is, or whose update direction it takes or adapts.
            #[must_use]
            pub const fn base(self) -> Base {
                match self { $(Kind::$variant => Base::$base),* }
            }

            /// What is varied; `None` of a method that runs as its authors leave it.
            #[must_use]
            pub const fn knob(self) -> Option<Knob> {
                let knobs: &[Knob] = match self { $(Kind::$variant => &[$(Knob::$knob)?]),* };
                knobs.first().copied()
            }

            fn build<T: l4::Real>(self, setting: T) -> Result<Box<dyn Optimizer<T>>, ConfigError> {
                Ok(match self { $(Kind::$variant => { $(let $x = setting;)? Box::new($build) })* })
            }
        }
    };
}

methods! {
    Sgd: "SGD", Sgd, Rate rate => Sgd::new(Schedule::constant(rate)?);
    Momentum: "mSGD", Momentum, Rate rate => Momentum::new(Schedule::constant(rate)?);
    Nesterov: "Nesterov", Momentum, Rate rate => Nesterov::new(Schedule::constant(rate)?);
    Adam: "Adam", Adam, Rate rate => Adam::new(Schedule::constant(rate)?);
    RmsProp: "RMSProp", RmsProp, Rate rate => RmsProp::new(Schedule::constant(rate)?);
    L4Adam: "L4Adam", Adam, Alpha alpha => L4Adam::new().alpha(alpha)?;
    L4Mom: "L4Mom", Momentum, Alpha alpha => L4Mom::new().alpha(alpha)?;
    SpsMax: "SPS_max", Sgd => SpsMax::new();
    AliG: "ALI-G", Momentum => AliG::new();
    Momo: "MoMo", Momentum => Momo::new();
    MomoAdam: "MoMo-Adam", Adam => MomoAdam::new();
    DAdaptAdam: "D-Adaptation", Adam => DAdaptAdam::new();
    Prodigy: "Prodigy", Adam => Prodigy::new();
    Dog: "DoG", Sgd => Dog::new();
    ScheduleFreeAdamW: "schedule-free AdamW", Adam => ScheduleFreeAdamW::new();
    ScheduleFreePlus: "ScheduleFree+", Adam => ScheduleFreePlus::new();
    Mechanic: "Mechanic", Adam => Mechanic::new(Adam::new(Schedule::constant(T::one())?));
}

/// After which of the paper's epochs the default policy's rate drops tenfold,
pub const DROPS: [u64; 3] = [100, 150, 200];
/// of so many.
pub const EPOCHS: u64 = 250;
/// A heavy ball's steady step is its rate times 1/(1 − 0.9) times the gradient, that of L4Mom's averaged gradient its rate
/// times the gradient.
pub const HEAVY_BALL: f64 = 10.0;

/// A method at its setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// The method.
    pub kind: Kind,
    /// What is varied: its rate or its α. Without meaning for a method that has no [knob](Kind::knob).
    pub setting: f64,
    /// Clips gradients to this global norm first.
    pub max_norm: Option<f64>,
    /// Divides the rate of a heavy ball by ten after each of these steps, counted from 0.
    pub drops: Option<[u64; 3]>,
}

impl Method {
    /// Without clipping, at a constant setting.
    #[must_use]
    pub const fn new(kind: Kind, setting: f64) -> Self {
        Self {
            kind,
            setting,
            max_norm: None,
            drops: None,
        }
    }

    /// The α that L4 has unless it is told another; `None` of a method with a rate.
    #[must_use]
    pub fn default_alpha(kind: Kind) -> Option<f64> {
        let default: Box<dyn Optimizer<f64>> = match kind {
            Kind::L4Adam => Box::new(L4Adam::new()),
            Kind::L4Mom => Box::new(L4Mom::new()),
            _ => return None,
        };
        match default.settings().get("alpha") {
            Some(&Setting::Number(alpha)) => Some(alpha),
            _ => None,
        }
    }

    /// The method as it is unless it is told otherwise: L4 at its default α, a rate-free method; `None` of one whose rate has
    /// to be chosen.
    #[must_use]
    pub fn untuned(kind: Kind) -> Option<Self> {
        match kind.knob() {
            Some(Knob::Rate) => None,
            Some(Knob::Alpha) => Self::default_alpha(kind).map(|alpha| Self::new(kind, alpha)),
            None => Some(Self::new(kind, 0.0)),
        }
    }

    /// The optimiser, before its first step.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn optimizer<T: l4::Real>(self) -> Result<Box<dyn Optimizer<T>>, ConfigError> {
        let optimizer = match self.drops {
            Some(drops) => {
                let rates = [1.0, 0.1, 0.01, 0.001].map(|factor| T::of(self.setting * factor));
                let schedule = Schedule::piecewise_constant(drops.into(), rates.into())?;
                Box::new(Momentum::new(schedule))
            }
            None => self.kind.build(T::of(self.setting))?,
        };
        Ok(match self.max_norm {
            Some(norm) => Box::new(ClipByGlobalNorm::new(optimizer, T::of(norm))?),
            None => optimizer,
        })
    }

    /// Every setting of the optimiser by the paper's name for it, as the optimiser itself tells them.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn settings(self) -> Result<Map<String, Value>, ConfigError> {
        Ok(to_json(&self.optimizer::<f64>()?.settings()))
    }
}

/// An optimiser's settings, in its order.
#[must_use]
pub fn to_json(settings: &Settings) -> Map<String, Value> {
    let value = |setting: &Setting| match setting {
        Setting::Number(number) => json!(number),
        Setting::Text(text) => json!(text),
        Setting::List(numbers) => json!(numbers),
    };
    let named = settings.iter();
    named
        .map(|(name, setting)| (name.to_owned(), value(setting)))
        .collect()
}

/// Stores an optimiser's state under `optimizer/…`.
pub fn save_state<T: Element + l4::Real>(checkpoint: &mut Checkpoint, state: &State<T>) {
    checkpoint.put_scalar("optimizer/step", state.step);
    for (name, &value) in &state.scalars {
        checkpoint.put_scalar(format!("optimizer/scalar/{name}"), value);
    }
    for (name, values) in &state.vectors {
        checkpoint.put(format!("optimizer/vector/{name}"), &[values.len()], values);
    }
}

/// The state that [`save_state`] stored.
///
/// # Errors
/// If an array is of another type than `T`.
pub fn load_state<T: Element + l4::Real + Default>(
    checkpoint: &Checkpoint,
) -> Result<State<T>, CheckpointError> {
    let mut state = State::new(checkpoint.scalar("optimizer/step")?);
    for (name, _) in checkpoint.arrays() {
        if let Some(scalar) = name.strip_prefix("optimizer/scalar/") {
            state = state.with_scalar(scalar, checkpoint.scalar(name)?);
        } else if let Some(vector) = name.strip_prefix("optimizer/vector/") {
            state = state.with_vector(vector, checkpoint.values(name)?.to_vec());
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every method, one with clipping and the default policy.
    fn methods() -> Vec<Method> {
        let plain = Kind::ALL.iter().map(|&kind| Method::new(kind, 0.15));
        let momentum = Method::new(Kind::Momentum, 0.1);
        let clipped = Method {
            max_norm: Some(0.5),
            ..momentum
        };
        let policy = Method {
            drops: Some([0, 1, 2]),
            ..momentum
        };
        plain.chain([clipped, policy]).collect()
    }

    #[test]
    fn a_stored_optimiser_goes_on_bit_for_bit() {
        for method in methods() {
            let mut optimizer = method.optimizer::<f32>().unwrap();
            let mut theta = [1.0, -2.0, 0.5];
            let step = |optimizer: &mut dyn Optimizer<f32>, theta: &mut [f32]| {
                let loss = theta.iter().map(|x| x * x).sum();
                let mut gradient: Vec<f32> = theta.iter().map(|x| 2.0 * x).collect();
                optimizer.step(loss, theta, &mut gradient).unwrap();
            };
            step(&mut *optimizer, &mut theta);
            let mut checkpoint = Checkpoint::default();
            save_state(&mut checkpoint, &optimizer.state());
            let mut other = method.optimizer::<f32>().unwrap();
            other.restore(load_state(&checkpoint).unwrap()).unwrap();
            let mut theta_of_other = theta;
            step(&mut *optimizer, &mut theta);
            step(&mut *other, &mut theta_of_other);
            assert_eq!(theta, theta_of_other, "{method:?}");
        }
    }

    #[test]
    fn the_settings_tell_methods_apart() {
        let settings: Vec<_> = methods().iter().map(|m| m.settings().unwrap()).collect();
        for (index, one) in settings.iter().enumerate() {
            assert!(
                settings[..index].iter().all(|other| other != one),
                "{one:?}"
            );
        }
        assert_eq!(
            settings[0],
            Method::new(Kind::Sgd, 0.15).settings().unwrap()
        );
        assert!(Method::new(Kind::Adam, f64::NAN).settings().is_err());
        assert_eq!(Method::default_alpha(Kind::L4Mom), Some(0.15));
    }
}
