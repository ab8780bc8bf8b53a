//! The passive data that recording and running share: what is kept, and where.
//!
//! The words, here and everywhere in the crate:
//!
//! | word | meaning |
//! |---|---|
//! | graph | a computation while it is recorded; gone once it is a tape |
//! | tape | a recorded computation, to be run any number of times |
//! | node | an entry of the tape: an operation, the storages that it reads and the one that it writes |
//! | var | a value while it is recorded: a shape over a storage |
//! | slot | the handle of a var on the finished tape |
//! | storage | the elements of a value: data, a result, or a view of the parameters |
//! | param | a named view of the flat vector of parameters |
//! | buffer | memory: each storage but a parameter has one for its value |
//! | place | which part of which buffer holds a storage's gradient |

use crate::Shape;
use aligned_vec::{AVec, ConstAlign};
use num_traits::Zero;
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer whose start lies on a cache line, so that full vectors never
/// straddle two.
pub(crate) type Buffer<T> = AVec<T, ConstAlign<64>>;

/// No elements; allocates nothing.
pub(crate) fn empty<T>() -> Buffer<T> {
    Buffer::new(64)
}

pub(crate) fn zeros<T: Clone + Zero>(len: usize) -> Buffer<T> {
    AVec::from_iter(64, std::iter::repeat_n(T::zero(), len))
}

/// Zeros in a tensor of this shape, or `None` if memory cannot hold them.
pub(crate) fn zeros_of<T: Clone + Zero>(shape: Shape) -> Option<Buffer<T>> {
    let len = shape.elements_in_memory::<T>()?;
    let mut buffer = empty();
    buffer.try_reserve_exact(len).ok()?;
    buffer.resize(len, T::zero());
    Some(buffer)
}

/// Zeros for what an operation keeps beside its result.
pub(crate) fn scratch<T: Clone + Zero>(shape: impl Into<Shape>) -> Result<Buffer<T>, String> {
    zeros_of(shape.into()).ok_or_else(|| "memory cannot hold its scratch".to_owned())
}

/// Slices of a buffer, of these lengths and each at the start of a cache line; it grows if it is
/// too short.
pub(crate) fn split<T: Clone + Zero, const N: usize>(
    buffer: &mut Buffer<T>,
    lengths: [usize; N],
) -> [&mut [T]; N] {
    let places = lengths.map(|len| len.next_multiple_of(64));
    let len = places.iter().sum();
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
    let mut rest = &mut buffer[..];
    std::array::from_fn(|i| {
        let (slice, others) = std::mem::take(&mut rest).split_at_mut(places[i]);
        rest = others;
        &mut slice[..lengths[i]]
    })
}

/// Memory that the operations of one tape use one after another, each for as long as it runs.
#[derive(Clone)]
pub(crate) struct Workspace<T>(Arc<Mutex<Buffer<T>>>);

impl<T: Clone + Zero> Workspace<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(empty())))
    }

    /// Calls `f` with slices of these lengths, in which there is whatever was left.
    pub(crate) fn with<R, const N: usize>(
        &self,
        lengths: [usize; N],
        f: impl FnOnce([&mut [T]; N]) -> R,
    ) -> R {
        // An operation that panicked has left nothing that anybody reads.
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(split(&mut buffer, lengths))
    }
}

/// Where the elements of a variable are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Storage {
    /// A buffer of the tape's own that never changes.
    Constant,
    /// A buffer of the tape's own that is set from step to step.
    Input { differentiable: bool },
    /// A buffer of the tape's own: indices below this number, written as elements.
    Indices { below: usize },
    /// A buffer of the tape's own, written by one operation.
    Result { differentiable: bool },
    /// A view of the flat parameter vector, which begins with the parameter `first`.
    Param {
        first: u64,
        offset: usize,
        len: usize,
    },
}

impl Storage {
    /// Whether it has a gradient: whether it depends on a parameter, or on an input that has one.
    pub(crate) fn differentiable(&self) -> bool {
        match *self {
            Storage::Constant | Storage::Indices { .. } => false,
            Storage::Input { differentiable } | Storage::Result { differentiable } => {
                differentiable
            }
            Storage::Param { .. } => true,
        }
    }
}

/// A shape over a storage; a reshaped variable shares its storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    pub(crate) shape: Shape,
    pub(crate) storage: usize,
}

/// Where a gradient is kept: the first `len` elements of a buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) buffer: usize,
    pub(crate) len: usize,
}

/// The handle of a value on a [`Tape`](crate::Tape): to write data to it or to read
/// results from it. [`record`](crate::record) gives it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub(crate) recording: u64,
    /// `None` for a variable that could not be recorded: its graph has no tape.
    pub(crate) index: Option<usize>,
}
