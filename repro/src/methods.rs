//! The methods that the paper compares, with their settings, and their state in checkpoints.

use l4::{Adam, ConfigError, L4Adam, L4Mom, Momentum, Optimizer, RmsProp, Schedule, Sgd, State};
use serde_json::{Map, Value, json};

use crate::checkpoint::{Checkpoint, CheckpointError, Element};

/// A first-order method and the one setting that the paper varies; the others are as protocol and defaults have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Plain gradient descent.
    Sgd {
        /// Constant learning rate.
        rate: f64,
    },
    /// "mSGD": heavy ball, 0.9.
    Momentum {
        /// Constant learning rate.
        rate: f64,
    },
    /// Heavy ball, 0.9, at a rate that falls tenfold three times: the default policy of section 3.3.
    DefaultPolicy {
        /// The first rate.
        rate: f64,
        /// The last step of each rate but the last, counted from 0.
        drops: [u64; 3],
    },
    /// Adam with ε = 1e-4.
    Adam {
        /// Constant learning rate.
        rate: f64,
    },
    /// RMSProp as in TensorFlow.
    RmsProp {
        /// Constant learning rate.
        rate: f64,
    },
    /// L4 over Adam.
    L4Adam {
        /// α, the fraction of the step to the linearised minimum.
        alpha: f64,
    },
    /// L4 over momentum.
    L4Mom {
        /// α, the fraction of the step to the linearised minimum.
        alpha: f64,
    },
}

/// L4's default α.
pub const ALPHA: f64 = 0.15;

/// The best α on the regression task and on MNIST, according to Table 1.
pub const BEST_ALPHA: f64 = 0.25;

/// Plain gradient descent, in the paper's legends.
pub const SGD: &str = "SGD";
/// Heavy ball, in the paper's legends.
pub const M_SGD: &str = "mSGD";
/// Section 3.3's piecewise-constant rates, in the paper's legends.
pub const DEFAULT_POLICY: &str = "default policy";
/// Heavy ball at a rate of our own search, where the paper's does not do.
pub const M_SGD_TUNED: &str = "mSGD*";
/// Adam, in the paper's legends.
pub const ADAM: &str = "Adam";
/// RMSProp at the rate of the DNC's repository.
pub const RMS_PROP: &str = "RMSProp";
/// RMSProp at its best rate.
pub const RMS_PROP_TUNED: &str = "RMSProp*";
/// L4Adam at the default α, in the paper's legends.
pub const L4_ADAM: &str = "L4Adam";
/// L4Adam at the best α, in the paper's legends.
pub const L4_ADAM_BEST: &str = "L4Adam*";
/// L4Mom at the default α, in the paper's legends.
pub const L4_MOM: &str = "L4Mom";
/// L4Mom at the best α, in the paper's legends.
pub const L4_MOM_BEST: &str = "L4Mom*";

impl Method {
    /// Every setting, by the names of the paper, for a run's identity and for the results.
    #[must_use]
    pub fn hyperparameters(self) -> Map<String, Value> {
        let settings = match self {
            Method::Sgd { rate } => json!({"optimizer": "SGD", "rate": rate}),
            Method::Momentum { rate } => {
                json!({"optimizer": "heavy ball", "rate": rate, "momentum": 0.9})
            }
            Method::DefaultPolicy { rate, drops } => {
                json!({"optimizer": "heavy ball", "rate": rate, "momentum": 0.9, "tenfold_drops_after_steps": drops})
            }
            Method::Adam { rate } => {
                json!({"optimizer": "Adam", "rate": rate, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-4})
            }
            Method::RmsProp { rate } => {
                json!({"optimizer": "RMSProp", "rate": rate, "decay": 0.9, "epsilon": 1e-10})
            }
            Method::L4Adam { alpha } => l4_settings(
                "L4Adam",
                alpha,
                json!({"tau_m": 10, "tau_s": 1000, "delta": 1e-4}),
            ),
            Method::L4Mom { alpha } => l4_settings("L4Mom", alpha, json!({"tau_m": 10})),
        };
        match settings {
            Value::Object(map) => map,
            _ => unreachable!("written as an object above"),
        }
    }

    /// The optimiser, before its first step.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn optimizer<T: l4::Real>(self) -> Result<Box<dyn Optimizer<T>>, ConfigError> {
        let constant = |rate| Schedule::constant(T::of(rate));
        Ok(match self {
            Method::Sgd { rate } => Box::new(Sgd::new(constant(rate)?)),
            Method::Momentum { rate } => Box::new(Momentum::new(constant(rate)?)),
            Method::DefaultPolicy { rate, drops } => {
                let rates = [1.0, 0.1, 0.01, 0.001].map(|factor| T::of(rate * factor));
                let schedule = Schedule::piecewise_constant(drops.into(), rates.into())?;
                Box::new(Momentum::new(schedule))
            }
            Method::Adam { rate } => Box::new(Adam::new(constant(rate)?)),
            Method::RmsProp { rate } => Box::new(RmsProp::new(constant(rate)?)),
            Method::L4Adam { alpha } => Box::new(L4Adam::new().alpha(T::of(alpha))?),
            Method::L4Mom { alpha } => Box::new(L4Mom::new().alpha(T::of(alpha))?),
        })
    }
}

fn l4_settings(name: &str, alpha: f64, transform: Value) -> Value {
    let mut settings = json!({
        "optimizer": name, "alpha": alpha, "gamma": 0.9, "gamma0": 0.75, "tau": 1000, "epsilon": 1e-12,
    });
    if let (Value::Object(settings), Value::Object(transform)) = (&mut settings, transform) {
        settings.extend(transform);
    }
    settings
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

    const METHODS: [Method; 7] = [
        Method::RmsProp { rate: 0.1 },
        Method::DefaultPolicy {
            rate: 0.1,
            drops: [0, 1, 2],
        },
        Method::Sgd { rate: 0.1 },
        Method::Momentum { rate: 0.1 },
        Method::Adam { rate: 0.1 },
        Method::L4Adam { alpha: 0.25 },
        Method::L4Mom { alpha: 0.15 },
    ];

    #[test]
    fn a_stored_optimiser_goes_on_bit_for_bit() {
        for method in METHODS {
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
    fn the_settings_say_what_the_optimiser_is() {
        for method in METHODS {
            let settings = method.hyperparameters();
            assert!(
                settings.contains_key("rate") != settings.contains_key("alpha"),
                "{method:?}"
            );
        }
        assert!(Method::Adam { rate: f64::NAN }.optimizer::<f64>().is_err());
    }
}
