//! The tape: a list of operations over buffers, run forward and backward.
//!
//! Invariants:
//! * nodes are in the order of recording, so every operand of a node is an input,
//!   a parameter or the result of an earlier node;
//! * each node owns its result's buffer: forward never reads what it writes;
//! * after the first backward pass nothing is allocated.

use crate::graph::{Slot, Variable};
use crate::op::{Gradients, Inputs, Op, Storage};
use crate::params::{Buffer, zeros};
use crate::{Error, Real, Shape};
use std::mem;

/// One operation, the storages it reads and the storage it writes.
pub(crate) struct Node<T> {
    pub(crate) op: Box<dyn Op<T>>,
    pub(crate) operands: Box<[usize]>,
    pub(crate) output: usize,
}

impl Storage {
    pub(crate) fn differentiable(&self) -> bool {
        match *self {
            Storage::Own { differentiable, .. } => differentiable,
            Storage::Param { .. } => true,
        }
    }
}

/// A recorded computation that runs as often as you like.
///
/// Reverse-mode differentiation in two sweeps over one list: [`forward`] runs the
/// operations in order and keeps every intermediate value; [`backward`] runs their
/// derivatives in reverse, carrying ∂root/∂(value) for each value.
///
/// [`forward`]: Tape::forward
/// [`backward`]: Tape::backward
pub struct Tape<T> {
    nodes: Vec<Node<T>>,
    vars: Vec<Variable>,
    storages: Vec<Storage>,
    /// By storage: its elements; empty for parameters.
    buffers: Vec<Buffer<T>>,
    /// By storage: its gradient; empty until the first backward pass.
    gradients: Vec<Buffer<T>>,
    /// By storage: whether the current backward pass has written its gradient.
    written: Vec<bool>,
    root: Slot,
    params: ParamUse,
}

/// How the recording uses the flat parameter vector.
struct ParamUse {
    /// Least length of the flat vector.
    len: usize,
    /// Whether two views overlap without being the same, so that neither may
    /// overwrite the gradient.
    overlap: bool,
}

impl ParamUse {
    fn of(storages: &[Storage]) -> Self {
        let mut ranges: Vec<_> = storages
            .iter()
            .filter_map(|s| match *s {
                Storage::Param { offset, len } => Some((offset, offset + len)),
                Storage::Own { .. } => None,
            })
            .collect();
        ranges.sort_unstable();
        Self {
            len: ranges.iter().map(|r| r.1).max().unwrap_or(0),
            overlap: ranges.windows(2).any(|w| w[1].0 < w[0].1),
        }
    }
}

impl<T: Real> Tape<T> {
    pub(crate) fn new(
        nodes: Vec<Node<T>>,
        vars: Vec<Variable>,
        storages: Vec<Storage>,
        buffers: Vec<Buffer<T>>,
        root: Slot,
    ) -> Self {
        Self {
            written: vec![false; storages.len()],
            params: ParamUse::of(&storages),
            gradients: Vec::new(),
            nodes,
            vars,
            storages,
            buffers,
            root,
        }
    }

    /// Shape of a value.
    ///
    /// # Panics
    /// If `slot` is of another tape and out of range here.
    pub fn shape(&self, slot: Slot) -> Shape {
        self.vars[slot.0].shape
    }

    /// The elements of an input, to be written.
    ///
    /// # Panics
    /// If `slot` is of another tape and out of range here.
    pub fn input_mut(&mut self, slot: Slot) -> &mut [T] {
        &mut self.buffers[self.vars[slot.0].storage]
    }

    /// Copies data into an input.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` is not as long as the input.
    ///
    /// # Panics
    /// If `slot` is of another tape and out of range here.
    pub fn set(&mut self, slot: Slot, data: &[T]) -> Result<(), Error> {
        let input = self.input_mut(slot);
        check("input", input.len(), data.len())?;
        input.copy_from_slice(data);
        Ok(())
    }

    /// A value as the last forward pass left it, row-major. Empty for a
    /// parameter, whose value is in the flat vector.
    ///
    /// # Panics
    /// If `slot` is of another tape and out of range here.
    pub fn value(&self, slot: Slot) -> &[T] {
        &self.buffers[self.vars[slot.0].storage]
    }

    /// The root's value, if it has one element; its first element otherwise.
    ///
    /// # Panics
    /// If the root has no elements.
    pub fn root_value(&self) -> T {
        self.value(self.root)[0]
    }

    /// Computes every value from the inputs and `params`, the flat vector of all
    /// parameters.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is too short.
    pub fn forward(&mut self, params: &[T]) -> Result<(), Error> {
        self.check_params("parameters", params.len())?;
        for node in &mut self.nodes {
            let mut y = mem::replace(&mut self.buffers[node.output], zeros(0));
            let x = Inputs {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &self.buffers,
                params,
            };
            node.op.forward(&x, &mut y);
            self.buffers[node.output] = y;
        }
        Ok(())
    }

    /// Writes the gradient of the root by `params` to `grads`, for the values of
    /// the last [`forward`](Tape::forward) with the same `params`.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices are not as long as each other or too short,
    /// [`Error::Root`] if the root is no scalar that depends on a parameter.
    pub fn backward(&mut self, params: &[T], grads: &mut [T]) -> Result<(), Error> {
        self.check_params("parameters", params.len())?;
        check("gradients", params.len(), grads.len())?;
        let root = self.root_storage()?;
        self.allocate_gradients();
        self.written.fill(false);
        if self.params.overlap {
            grads.fill(T::zero());
            for (written, storage) in self.written.iter_mut().zip(&self.storages) {
                *written = matches!(storage, Storage::Param { .. });
            }
        }
        self.gradients[root].fill(T::one());
        self.written[root] = true;
        for node in self.nodes.iter_mut().rev() {
            if !self.written[node.output] {
                continue;
            }
            let dy = mem::replace(&mut self.gradients[node.output], zeros(0));
            let x = Inputs {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &self.buffers,
                params,
            };
            let mut dx = Gradients {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &mut self.gradients,
                params: grads,
                written: &mut self.written,
            };
            node.op
                .backward(&x, &self.buffers[node.output], &dy, &mut dx);
            self.gradients[node.output] = dy;
        }
        self.zero_unwritten(grads);
        Ok(())
    }

    fn check_params(&self, what: &'static str, found: usize) -> Result<(), Error> {
        let expected = self.params.len;
        if found < expected {
            return Err(Error::Length {
                what,
                expected,
                found,
            });
        }
        Ok(())
    }

    fn root_storage(&self) -> Result<usize, Error> {
        let var = self.vars.get(self.root.0);
        let var = var.ok_or_else(|| Error::Root("a variable of another recording".to_owned()))?;
        match self.storages[var.storage] {
            _ if var.shape.elements() != 1 => Err(Error::Root(format!("shape {}", var.shape))),
            Storage::Param { .. } => Err(Error::Root("a parameter itself".to_owned())),
            Storage::Own {
                differentiable: false,
                ..
            } => Err(Error::Root(
                "a value that depends on no parameter".to_owned(),
            )),
            Storage::Own { .. } => Ok(var.storage),
        }
    }

    fn allocate_gradients(&mut self) {
        if !self.gradients.is_empty() {
            return;
        }
        let len = |storage: &Storage| match *storage {
            Storage::Own {
                len,
                differentiable: true,
            } => len,
            _ => 0,
        };
        self.gradients = self.storages.iter().map(|s| zeros(len(s))).collect();
    }

    /// Gradients of parameters that the root does not depend on.
    fn zero_unwritten(&self, grads: &mut [T]) {
        if self.params.overlap {
            return;
        }
        let mut end = 0;
        while let Some((start, stop)) = self.next_written(end) {
            grads[end..start].fill(T::zero());
            end = stop;
        }
        grads[end..].fill(T::zero());
    }

    /// The first written view of the parameters at or after `from`.
    fn next_written(&self, from: usize) -> Option<(usize, usize)> {
        let views = self
            .storages
            .iter()
            .zip(&self.written)
            .filter_map(|(s, w)| match *s {
                Storage::Param { offset, len } if *w && len > 0 && offset >= from => {
                    Some((offset, offset + len))
                }
                _ => None,
            });
        views.min()
    }
}

fn check(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Length {
        what,
        expected,
        found,
    })
}
