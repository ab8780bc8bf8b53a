//! Saved optimiser state.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

use crate::{Real, StateError};

/// The state of an optimiser as named arrays, ready to be written to any file format.
///
/// Hyperparameters that cannot change between steps are not in it: they belong to the configuration
/// that built the optimiser. [`L4`](crate::L4)'s can, and are.
/// Before the first step the vectors are empty, since the number of parameters is not yet known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<T> {
    /// Steps taken.
    pub step: u64,
    /// Single numbers, such as `l_min`; in `f64` since sums over all parameters are.
    pub scalars: BTreeMap<String, f64>,
    /// One number per parameter each, such as the moments. All of one length.
    pub vectors: BTreeMap<String, Vec<T>>,
}

/// A million steps a second for 290,000 years; adding to it does not overflow.
const MOST_STEPS: u64 = i64::MAX as u64;

impl<T: Real> State<T> {
    /// A state without entries, after `step` steps.
    pub fn new(step: u64) -> Self {
        State {
            step,
            ..State::default()
        }
    }

    /// Adds a scalar.
    pub fn with_scalar(mut self, name: &str, value: f64) -> Self {
        self.scalars.insert(name.into(), value);
        self
    }

    /// Adds a vector.
    pub fn with_vector(mut self, name: &str, values: Vec<T>) -> Self {
        self.vectors.insert(name.into(), values);
        self
    }

    /// Adds all of `inner` under names that begin with `prefix`: the counterpart of
    /// [`StateReader::inner`]. Its step count is left out.
    pub fn with_inner(mut self, prefix: &str, inner: State<T>) -> Self {
        for (name, value) in inner.scalars {
            self = self.with_scalar(&format!("{prefix}{name}"), value);
        }
        for (name, values) in inner.vectors {
            self = self.with_vector(&format!("{prefix}{name}"), values);
        }
        self
    }

    /// Starts reading the state back.
    ///
    /// # Errors
    ///
    /// [`StateError::Length`] where vectors differ in length, [`StateError::Value`] where an element
    /// is not finite or no run can have taken so many steps.
    pub fn into_reader(self) -> Result<StateReader<T>, StateError> {
        if self.step > MOST_STEPS {
            return Err(StateError::Value {
                name: "step".into(),
                expected: "at most 2⁶³ − 1",
                value: self.step as f64,
            });
        }
        let parameters = self.vectors.values().next().map_or(0, Vec::len);
        for (name, values) in &self.vectors {
            check_values(name, values, "finite numbers", T::is_finite)?;
            if values.len() != parameters {
                return Err(StateError::Length {
                    name: name.clone(),
                    expected: parameters,
                    found: values.len(),
                });
            }
        }
        Ok(StateReader {
            state: self,
            parameters,
        })
    }
}

/// Takes the entries of a [`State`] one by one, and notices any that are left.
#[derive(Debug)]
pub struct StateReader<T> {
    state: State<T>,
    parameters: usize,
}

impl<T: Real> StateReader<T> {
    /// Steps taken.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// The length of every vector; 0 where there is none.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Whether there is a scalar of that name, not yet taken.
    pub fn has_scalar(&self, name: &str) -> bool {
        self.state.scalars.contains_key(name)
    }

    /// Takes a scalar.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Value`] where it is not finite.
    pub fn scalar(&mut self, name: &str) -> Result<f64, StateError> {
        let value = self.scalar_or_infinity(name)?;
        check_values(name, &[value], "a finite number", f64::is_finite)?;
        Ok(value)
    }

    /// Takes a scalar that may be infinite.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Value`] where it is NaN.
    pub fn scalar_or_infinity(&mut self, name: &str) -> Result<f64, StateError> {
        let scalar = self.state.scalars.remove(name);
        let value = scalar.ok_or_else(|| missing("scalar", name))?;
        check_values(name, &[value], "a number", |x| !x.is_nan())?;
        Ok(value)
    }

    /// Takes a scalar that has to be `expected`: a setting that cannot change between steps.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Setting`] where it is another.
    pub fn same_scalar(&mut self, name: &str, expected: f64) -> Result<(), StateError> {
        let found = self.scalar_or_infinity(name)?;
        if found == expected {
            return Ok(());
        }
        Err(StateError::Setting {
            name: name.into(),
            expected,
            found,
        })
    }

    /// Takes a scalar above 0.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Value`] where it is not positive.
    pub fn positive_scalar(&mut self, name: &str) -> Result<f64, StateError> {
        let value = self.scalar(name)?;
        check_values(name, &[value], "a positive number", |x| x > 0.0)?;
        Ok(value)
    }

    /// Takes a scalar of at least 0.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Value`] where it is negative.
    pub fn non_negative_scalar(&mut self, name: &str) -> Result<f64, StateError> {
        let value = self.scalar(name)?;
        check_values(name, &[value], "a number of at least 0", |x| x >= 0.0)?;
        Ok(value)
    }

    /// Takes a vector.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`].
    pub fn vector(&mut self, name: &str) -> Result<Vec<T>, StateError> {
        self.state
            .vectors
            .remove(name)
            .ok_or_else(|| missing("vector", name))
    }

    /// Takes a vector of averaged squares.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], or [`StateError::Value`] where an element is negative.
    pub fn squares(&mut self, name: &str) -> Result<Vec<T>, StateError> {
        let values = self.vector(name)?;
        check_values(name, &values, "no negative number", |x| x >= T::zero())?;
        Ok(values)
    }

    /// Takes every entry whose name begins with `prefix`, as the state of an optimiser inside this
    /// one, after `step` steps.
    pub fn inner(&mut self, prefix: &str, step: u64) -> State<T> {
        State {
            step,
            scalars: take_prefixed(&mut self.state.scalars, prefix),
            vectors: take_prefixed(&mut self.state.vectors, prefix),
        }
    }

    /// Ends the reading. To be called before any of it is put to use.
    ///
    /// # Errors
    ///
    /// [`StateError::Unexpected`] where an entry was not taken.
    pub fn finish(self) -> Result<(), StateError> {
        let mut left = self
            .state
            .scalars
            .into_keys()
            .chain(self.state.vectors.into_keys());
        match left.next() {
            None => Ok(()),
            Some(name) => Err(StateError::Unexpected { name }),
        }
    }
}

fn take_prefixed<V>(entries: &mut BTreeMap<String, V>, prefix: &str) -> BTreeMap<String, V> {
    let (taken, left): (BTreeMap<_, _>, _) = take(entries)
        .into_iter()
        .partition(|(name, _)| name.starts_with(prefix));
    *entries = left;
    let without_prefix = |(name, value): (String, V)| (name[prefix.len()..].into(), value);
    taken.into_iter().map(without_prefix).collect()
}

fn missing(kind: &'static str, name: &str) -> StateError {
    StateError::Missing {
        kind,
        name: name.into(),
    }
}

fn check_values<T: Real>(
    name: &str,
    values: &[T],
    expected: &'static str,
    accept: impl Fn(T) -> bool,
) -> Result<(), StateError> {
    match values.iter().find(|&&x| !accept(x)) {
        None => Ok(()),
        Some(x) => Err(StateError::Value {
            name: name.into(),
            expected,
            value: x.as_f64(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> State<f32> {
        State::new(3)
            .with_scalar("l_min", 0.5)
            .with_vector("mean", vec![1.0, -2.0])
    }

    #[test]
    fn every_entry_is_read_once() {
        let mut reader = saved().into_reader().unwrap();
        assert_eq!(reader.step(), 3);
        assert_eq!(reader.scalar("l_min"), Ok(0.5));
        assert_eq!(reader.vector("mean"), Ok(vec![1.0, -2.0]));
        let again = StateError::Missing {
            kind: "vector",
            name: "mean".into(),
        };
        assert_eq!(reader.vector("mean"), Err(again));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn an_entry_left_over_is_an_error() {
        let mut reader = saved().into_reader().unwrap();
        reader.scalar("l_min").unwrap();
        let name = "mean".into();
        assert_eq!(reader.finish(), Err(StateError::Unexpected { name }));
    }

    #[test]
    fn vectors_have_one_length() {
        let error = saved().with_vector("square", vec![1.0]).into_reader();
        let expected = StateError::Length {
            name: "square".into(),
            expected: 2,
            found: 1,
        };
        assert_eq!(error.unwrap_err(), expected);
    }

    #[test]
    fn damaged_values_are_refused() {
        for value in [f64::NAN, f64::INFINITY] {
            let mut reader = saved().with_scalar("l_min", value).into_reader().unwrap();
            assert!(matches!(
                reader.scalar("l_min"),
                Err(StateError::Value { .. })
            ));
        }
        let endless = State {
            step: u64::MAX,
            ..saved()
        };
        assert!(matches!(
            endless.into_reader(),
            Err(StateError::Value { .. })
        ));
        assert!(matches!(
            saved()
                .with_vector("mean", vec![0.0, f32::INFINITY])
                .into_reader(),
            Err(StateError::Value { .. })
        ));
        let mut reader = saved().into_reader().unwrap();
        assert!(matches!(
            reader.squares("mean"),
            Err(StateError::Value { value: -2.0, .. })
        ));
    }
}
