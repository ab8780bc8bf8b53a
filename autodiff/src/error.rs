//! What can go wrong.

use crate::{Real, Shape};
use std::fmt;
use std::panic::Location;

/// An error of recording or running a tape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An operation was applied to shapes that it is not defined for.
    #[error("{op} of {}: {why} (recorded at {location})", Shapes(.shapes))]
    Shape {
        /// Name of the operation.
        op: &'static str,
        /// Shapes of its operands, in order.
        shapes: Vec<Shape>,
        /// What the operation needs.
        why: String,
        /// Where in the caller's source the operation was recorded.
        location: &'static Location<'static>,
    },
    /// A slice does not have the length that its tensor has.
    #[error("{what}: expected {expected} elements, found {found}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements of the tensor.
        expected: usize,
        /// Elements of the slice.
        found: usize,
    },
    /// A number is not what it has to be.
    #[error("a {what} of {found}: expected {expected}")]
    Value {
        /// Of what.
        what: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// The number.
        found: f64,
    },
    /// A class label that is no class, or an index of a row that is not there.
    #[error("label or index {found}, but those of {classes} classes or rows are below {classes}")]
    Label {
        /// Number of classes, or of rows.
        classes: usize,
        /// The label.
        found: usize,
    },
    /// Two parameters were given one name.
    #[error("there is a parameter named {0:?} already: give each its own name")]
    DuplicateName(String),
    /// No parameter has this name.
    #[error("there is no parameter named {0:?}: Params::iter tells their names")]
    UnknownName(String),
    /// Nothing of this name was given to restore.
    #[error("there is no state named {0:?} to restore")]
    MissingState(String),
    /// The root of the tape is not something to differentiate.
    #[error(
        "the last value recorded has to be a scalar that operations compute from parameters, found {0}"
    )]
    Root(String),
    /// Something other than an input was to be set.
    #[error("only inputs can be set, found {0}")]
    NotAnInput(&'static str),
    /// A slot was used on a tape that it was not recorded on.
    #[error("the slot belongs to another tape: record gives each tape its own")]
    OtherTape,
    /// A tape was run with other parameters than it was recorded with.
    #[error(
        "the tape was recorded with a parameter {0} that is not among these: \
         run it with the Params that it was recorded with, or a clone"
    )]
    OtherParams(Shape),
    /// Memory cannot hold a parameter of this shape.
    #[error("memory cannot hold the parameter {name:?} of shape {shape}")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Shape,
    },
    /// Threads could not be started.
    #[error("no threads to share the work of a step among: {0}; ask for fewer")]
    Threads(String),
}

impl Error {
    /// [`Error::Length`], unless the lengths agree.
    pub(crate) fn check_length(
        what: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<(), Self> {
        if expected == found {
            return Ok(());
        }
        Err(Self::Length {
            what,
            expected,
            found,
        })
    }

    /// [`Error::Value`] of the first number that is not accepted.
    pub(crate) fn check_values<T: Real>(
        what: &'static str,
        expected: &'static str,
        values: &[T],
        accept: impl Fn(T) -> bool,
    ) -> Result<(), Self> {
        match values.iter().find(|value| !accept(**value)) {
            None => Ok(()),
            Some(found) => Err(Self::Value {
                what,
                expected,
                found: found.in_f64(),
            }),
        }
    }
}

struct Shapes<'a>(&'a [Shape]);

impl fmt::Display for Shapes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, shape) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { " and " };
            write!(f, "{separator}{shape}")?;
        }
        Ok(())
    }
}
