//! Learning rates that depend on the step alone.

use alloc::vec;
use alloc::vec::Vec;

use crate::config::non_negative;
use crate::{ConfigError, Real, Setting, Settings};

/// A learning-rate schedule for the baselines. Rates are finite and not negative.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule<T> {
    /// Ascending.
    boundaries: Vec<u64>,
    /// One more than boundaries.
    values: Vec<T>,
}

impl<T: Real> Schedule<T> {
    /// The same rate at every step.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the rate is negative or not finite.
    pub fn constant(rate: T) -> Result<Self, ConfigError> {
        Schedule::piecewise_constant(Vec::new(), vec![rate])
    }

    /// `tf.train.piecewise_constant`, with steps counted from 0: `values[0]` up to and including
    /// step `boundaries[0]`, then `values[1]` up to and including step `boundaries[1]`, and so on;
    /// the last value for ever after.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless boundaries ascend, there is one value more than boundaries, and all
    /// values are finite and not negative.
    pub fn piecewise_constant(boundaries: Vec<u64>, values: Vec<T>) -> Result<Self, ConfigError> {
        if values.len() != boundaries.len() + 1 {
            return Err(ConfigError {
                name: "the number of learning rates",
                expected: "one more than the number of boundaries",
                found: values.len() as f64,
            });
        }
        if let Some(pair) = boundaries.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(ConfigError {
                name: "a schedule's boundary",
                expected: "greater than the one before it",
                found: pair[1] as f64,
            });
        }
        for &rate in &values {
            non_negative("a learning rate", rate)?;
        }
        Ok(Schedule { boundaries, values })
    }

    /// The rate of step number `step`, counted from 0.
    pub fn rate(&self, step: u64) -> T {
        self.values[self.boundaries.partition_point(|&boundary| boundary < step)]
    }

    /// `settings` with `"rate"`, or with `"rates"` and the last step of each but the last,
    /// counted from 0, `"after_steps"`.
    pub fn add_to(&self, settings: Settings) -> Settings {
        if let [rate] = self.values[..] {
            return settings.with_number("rate", rate);
        }
        let after = self.boundaries.iter().map(|&step| step as f64).collect();
        settings
            .with_numbers("rates", &self.values)
            .with("after_steps", Setting::List(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_the_last_step_of_its_value() {
        let schedule = Schedule::piecewise_constant(vec![2, 5], vec![0.1, 0.01, 0.001]).unwrap();
        let rates: Vec<f64> = (0..8).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates, [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001]);
    }

    #[test]
    fn constant_is_constant() {
        let schedule = Schedule::constant(0.5f32).unwrap();
        assert_eq!([schedule.rate(0), schedule.rate(u64::MAX)], [0.5, 0.5]);
    }

    #[test]
    fn impossible_schedules_are_refused() {
        assert!(Schedule::constant(f32::NAN).is_err());
        assert!(Schedule::constant(-0.1).is_err());
        assert!(Schedule::piecewise_constant(vec![1], vec![0.1]).is_err());
        assert!(Schedule::piecewise_constant(vec![5, 5], vec![0.1, 0.2, 0.3]).is_err());
    }
}
