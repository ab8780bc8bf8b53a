//! Validation of hyperparameters.

use crate::{ConfigError, Real};

/// `value`, if `accept` holds for it (which NaN must not pass).
pub(crate) fn checked<T: Real>(
    name: &'static str,
    value: T,
    expected: &'static str,
    accept: bool,
) -> Result<T, ConfigError> {
    if accept {
        return Ok(value);
    }
    Err(ConfigError {
        name,
        expected,
        found: value.as_f64(),
    })
}

pub(crate) fn positive<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    let accept = value > T::zero() && value.is_finite();
    checked(name, value, "a positive number", accept)
}

pub(crate) fn non_negative<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    let accept = value >= T::zero() && value.is_finite();
    checked(name, value, "a number of at least 0", accept)
}

pub(crate) fn fraction<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    let accept = value >= T::zero() && value <= T::one();
    checked(name, value, "between 0 and 1", accept)
}

pub(crate) fn finite<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    checked(name, value, "a finite number", value.is_finite())
}

/// The largest factor by which something grows.
pub(crate) fn growth_factor<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    let accept = value >= T::one();
    checked(name, value, "at least 1, or infinity", accept)
}

/// A decay of an average: 1 itself would never forget, nor learn.
pub(crate) fn decay<T: Real>(name: &'static str, value: T) -> Result<T, ConfigError> {
    let accept = value >= T::zero() && value < T::one();
    checked(name, value, "at least 0 and below 1", accept)
}
