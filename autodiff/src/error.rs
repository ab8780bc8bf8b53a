//! What can go wrong.

use crate::Shape;
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
    /// A class label that is no class.
    #[error("label {found}, but the labels of {classes} classes are below {classes}")]
    Label {
        /// Number of classes.
        classes: usize,
        /// The label.
        found: usize,
    },
    /// Two parameters were given one name.
    #[error("there is a parameter named {0:?} already: give each its own name")]
    DuplicateName(String),
    /// Nothing of this name was given to restore.
    #[error("there is no state named {0:?} to restore")]
    MissingState(String),
    /// The root of the tape is not something to differentiate.
    #[error("the root has to be a scalar that operations compute from parameters, found {0}")]
    Root(String),
    /// Something other than an input was to be set.
    #[error("only inputs of this tape can be set, found {0}")]
    NotAnInput(&'static str),
    /// The values on the tape are not those of its inputs.
    #[error("backward follows forward: run forward first, and again after changing an input")]
    Stale,
    /// Threads could not be started.
    #[error("no threads to share the work of a step among: {0}; ask for fewer")]
    Threads(String),
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
