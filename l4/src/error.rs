//! What can go wrong. Every error leaves the parameters as they were.

use alloc::string::String;

/// Why a step was refused.
///
/// Parameters are untouched by every one of these, and so is the optimiser's state, with one
/// exception: [`StepError::Overflow`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Parameters and gradient differ in length.
    #[error(
        "{parameters} parameters but {gradients} gradient elements: \
         pass the gradient of the same flat parameter vector"
    )]
    GradientCount {
        /// Length of the parameter slice.
        parameters: usize,
        /// Length of the gradient slice.
        gradients: usize,
    },

    /// The optimiser holds moments for another number of parameters.
    #[error(
        "the optimiser holds moments for {expected} parameters, found {found}: \
         use one optimiser per parameter vector"
    )]
    ParameterCount {
        /// Length of the moments, set by the first step or by a restored state.
        expected: usize,
        /// Length of the parameter slice.
        found: usize,
    },

    /// Weight decays were given for another number of segments.
    #[error(
        "weight decays for {expected} segments, found {found} segments: pass one for each, in the \
         order of the segments"
    )]
    SegmentCount {
        /// Number of weight decays.
        expected: usize,
        /// Number of segments.
        found: usize,
    },

    /// The loss is NaN or infinite.
    #[error("the loss is {loss}, not a finite number: training has diverged")]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
    },

    /// A gradient element is NaN, infinite, or so large that its square is
    /// ([`Real::LARGEST`](crate::Real::LARGEST)).
    #[error(
        "gradient element {index} is {value}: it must be finite, and its square too; \
         training has diverged"
    )]
    UnusableGradient {
        /// The first such element, counted through all segments.
        index: usize,
        /// Its value.
        value: f64,
    },

    /// L4 was given a loss below zero.
    #[error(
        "the loss is {loss}, but L4 takes 0 for the least attainable loss: add a constant to the \
         loss that keeps it non-negative (its gradient stays the same; see section 2.3 of the \
         paper on affine invariance)"
    )]
    NegativeLoss {
        /// The loss.
        loss: f64,
    },

    /// The inner product g·v, the stepsize η or the gradient's norm overflowed, or a user's
    /// transform gave NaN. Moments, averages and Lmin may then have absorbed the gradient and the
    /// loss and the step may be counted, as if it had been taken with η = 0; with L4 they have.
    #[error("{quantity} is {value}, beyond the range of the number type: training has diverged")]
    Overflow {
        /// What overflowed.
        quantity: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Why a saved state does not fit the optimiser. The optimiser is untouched.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// An entry that the optimiser needs is not there.
    #[error("the saved state has no {kind} named `{name}`: it was saved by another optimiser")]
    Missing {
        /// `"scalar"` or `"vector"`; with candle and burn also `"tensor"` or `"count"`.
        kind: &'static str,
        /// The name looked for.
        name: String,
    },

    /// An entry that the optimiser does not know.
    #[error("the saved state holds `{name}`, unknown here: it was saved by another optimiser")]
    Unexpected {
        /// Its name.
        name: String,
    },

    /// Two vectors of one state differ in length.
    #[error("the saved vector `{name}` has {found} elements, expected {expected}")]
    Length {
        /// The vector.
        name: String,
        /// Length of the vectors before it.
        expected: usize,
        /// Its own length.
        found: usize,
    },

    /// A value that no optimiser can have saved.
    #[error("the saved `{name}` holds {value}, expected {expected}: the file is damaged")]
    Value {
        /// The scalar or vector.
        name: String,
        /// What it may hold.
        expected: &'static str,
        /// What it holds.
        value: f64,
    },

    /// The state belongs to an optimiser with another setting.
    #[error(
        "the saved state was made with {name} = {found}, the optimiser here has {expected}: build \
         it with the setting that the state was saved with"
    )]
    Setting {
        /// The hyperparameter.
        name: String,
        /// Its value here.
        expected: f64,
        /// Its value in the state.
        found: f64,
    },
}

/// A saved hyperparameter outside its range.
impl From<ConfigError> for StateError {
    fn from(error: ConfigError) -> Self {
        StateError::Value {
            name: error.name.into(),
            expected: error.expected,
            value: error.found,
        }
    }
}

/// A hyperparameter outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} must be {expected}, found {found}")]
pub struct ConfigError {
    /// The hyperparameter.
    pub name: &'static str,
    /// Its range, in words.
    pub expected: &'static str,
    /// The value given.
    pub found: f64,
}
