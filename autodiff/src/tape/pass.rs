//! One forward pass, and the backward passes that follow it.

use super::Tape;
use crate::kernels::strided::exceeds;
use crate::memory::{Place, Slot, Storage};
use crate::{Error, Op, Params, Real, Shape};
use std::fmt;

/// A forward pass: the values that a tape has for its inputs and these parameters.
///
/// It borrows both, so that its values are always theirs: neither can change while it
/// lives, and no other parameters can take part in its backward pass.
///
/// ```compile_fail
/// # use autodiff::{Params, record};
/// let mut params = Params::new();
/// let w = params.add("w", [2], || 1.0)?;
/// let (mut tape, [y]) = record(|g| Ok([g.param(w).square().sum()]))?;
/// let pass = tape.forward(&params)?;
/// params.values_mut()[0] = 2.0;
/// println!("of which parameters? {:?}", pass.value(y)?);
/// # Ok::<(), autodiff::Error>(())
/// ```
pub struct Pass<'a, T> {
    pub(super) tape: &'a mut Tape<T>,
    pub(super) params: &'a Params<T>,
    /// Whether the gradients on the tape are those of this pass.
    pub(super) differentiated: bool,
}

impl<T: Real> fmt::Debug for Pass<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Pass").field(&self.tape).finish()
    }
}

impl<'a, T: Real> Pass<'a, T> {
    /// The elements of a value, row-major.
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn value(&self, slot: Slot) -> Result<&[T], Error> {
        let storage = self.tape.variable(slot)?.storage;
        Ok(self.tape.elements(storage, self.params.values()))
    }

    /// As [`value`](Pass::value), for as long as the tape and the parameters are
    /// borrowed.
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn into_value(self, slot: Slot) -> Result<&'a [T], Error> {
        let Self { tape, params, .. } = self;
        let storage = tape.variable(slot)?.storage;
        Ok(tape.elements(storage, params.values()))
    }

    /// Shape of a value.
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn shape(&self, slot: Slot) -> Result<Shape, Error> {
        self.tape.shape(slot)
    }

    /// The operation that computes `slot`, if it is an `O`.
    pub fn op<O: Op<T>>(&self, slot: Slot) -> Option<&O> {
        self.tape.op(slot)
    }

    /// The value of the root.
    ///
    /// # Errors
    /// [`Error::Root`] if it has more than one element, or none.
    pub fn loss(&self) -> Result<T, Error> {
        match self.value(self.tape.root)? {
            [loss] => Ok(*loss),
            _ => {
                let shape = self.tape.shape(self.tape.root)?;
                Err(Error::Root(format!("shape {shape}")))
            }
        }
    }

    /// For each row of a value along its last axis the index of the largest element, the first
    /// of equals; of the first NaN if there is one. The classes that logits predict.
    ///
    /// ```
    /// # let (mut tape, [x]) = autodiff::record::<f32, 1>(|g| Ok([g.input([2, 3])]))?;
    /// tape.set(x, &[0.1, 0.7, 0.2, 5.0, -1.0, 5.0])?;
    /// let no_params = autodiff::Params::new();
    /// let classes: Vec<usize> = tape.forward(&no_params)?.argmax(x)?.collect();
    /// assert_eq!(classes, [1, 0]);
    /// # Ok::<(), autodiff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn argmax(&self, slot: Slot) -> Result<impl ExactSizeIterator<Item = usize>, Error> {
        let extent = self.shape(slot)?.last().map_or(1, |&extent| extent.max(1));
        let rows = self.value(slot)?.chunks_exact(extent);
        Ok(rows.map(|row| {
            (0..row.len()).fold(
                0,
                |best, i| if exceeds(row[i], row[best]) { i } else { best },
            )
        }))
    }

    /// Writes the gradient of the root by the parameters to `grads`, in their layout.
    ///
    /// # Errors
    /// [`Error::Length`] if `grads` is not as long as the parameters, [`Error::Root`] if
    /// the root is no scalar that depends on a parameter or on an
    /// [input with a gradient](crate::Graph::input_with_gradient).
    pub fn backward(&mut self, grads: &mut [T]) -> Result<(), Error> {
        Error::check_length("gradients", self.params.len(), grads.len())?;
        self.tape.backward(self.params.values(), grads)?;
        self.differentiated = true;
        Ok(())
    }

    /// The gradient of the root by a result or by an
    /// [input with a gradient](crate::Graph::input_with_gradient), as
    /// [`backward`](Pass::backward) left it, in the shape of the value. `None` where it wrote
    /// none: before it ran, for values that the root does not depend on, for data that is
    /// not differentiated and what depends on nothing else, for parameters, whose gradients
    /// are in the flat vector, and for results where gradients
    /// [share memory](Tape::share_gradients).
    ///
    /// ```
    /// let (mut tape, [x, _]) = autodiff::record(|g| {
    ///     let x = g.input_with_gradient([3]);
    ///     Ok([x, x.square().sum()])
    /// })?;
    /// tape.set(x, &[1.0, 2.0, 3.0])?;
    /// let no_params = autodiff::Params::new();
    /// let mut pass = tape.forward(&no_params)?;
    /// pass.backward(&mut [])?;
    /// assert_eq!(pass.gradient(x)?.unwrap(), [2.0, 4.0, 6.0]);
    /// # Ok::<(), autodiff::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn gradient(&self, slot: Slot) -> Result<Option<&[T]>, Error> {
        let storage = self.tape.variable(slot)?.storage;
        Ok(self.gradient_of(storage))
    }

    pub(super) fn gradient_of(&self, storage: usize) -> Option<&[T]> {
        let tape = &*self.tape;
        let kept = match tape.storages[storage] {
            Storage::Result { .. } => !tape.sharing,
            // Its buffer is never handed on: no operation computes it.
            Storage::Input { .. } => true,
            _ => false,
        };
        if !kept || !self.differentiated || !tape.written[storage] {
            return None;
        }
        let Place { buffer, len } = tape.places[storage];
        Some(&tape.gradients[buffer][..len])
    }
}
