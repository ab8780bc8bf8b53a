//! What an optimiser was set to, by the papers' names.

use alloc::vec;
use alloc::vec::Vec;

use crate::Real;

/// Every hyperparameter of an optimiser, in a fixed order, under the name that its paper gives it.
/// The first entry is `"optimizer"`, the method.
///
/// ```
/// use l4::{L4Mom, Optimizer, Setting};
///
/// let settings = L4Mom::<f32>::new().alpha(0.25)?.settings();
/// assert_eq!(settings.get("optimizer"), Some(&Setting::Text("L4Mom")));
/// assert_eq!(settings.get("alpha"), Some(&Setting::Number(0.25)));
/// let names: Vec<&str> = settings.iter().map(|(name, _)| name).collect();
/// assert_eq!(names.join(" "), "optimizer alpha gamma gamma0 tau epsilon tau_m");
/// # Ok::<(), l4::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(Vec<(&'static str, Setting)>);

/// The value of one hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number. Infinite where the hyperparameter may be.
    Number(f64),
    /// A word.
    Text(&'static str),
    /// Several numbers, such as the rates of a schedule.
    List(Vec<f64>),
}

impl Settings {
    /// Those of the method `optimizer`, with no hyperparameter yet.
    pub fn of(optimizer: &'static str) -> Self {
        Settings(vec![("optimizer", Setting::Text(optimizer))])
    }

    /// Adds a number, as the shortest decimal that gives `value`: an `f32` of 0.15 is reported as
    /// 0.15 and not as 0.15000000596.
    pub fn with_number<T: Real>(self, name: &'static str, value: T) -> Self {
        self.with(name, Setting::Number(value.shortest()))
    }

    /// Adds several numbers, each as [`with_number`](Self::with_number) does.
    pub fn with_numbers<T: Real>(self, name: &'static str, values: &[T]) -> Self {
        let values = values.iter().map(|value| value.shortest()).collect();
        self.with(name, Setting::List(values))
    }

    /// Adds a setting. A name given twice, as by a wrapper around a wrapper of its kind, is listed
    /// twice.
    pub fn with(mut self, name: &'static str, setting: Setting) -> Self {
        self.0.push((name, setting));
        self
    }

    /// The first setting named `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        let mut entries = self.iter();
        entries.find_map(|(found, setting)| (found == name).then_some(setting))
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        self.0.iter().map(|(name, setting)| (*name, setting))
    }
}

impl IntoIterator for Settings {
    type Item = (&'static str, Setting);
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
