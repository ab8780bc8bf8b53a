//! The tape: a list of operations over buffers, run forward and backward.
//!
//! Invariants:
//! * nodes are in the order of recording, so every operand of a node is an input,
//!   a parameter or the result of an earlier node;
//! * each node owns its result's buffer: forward never reads what it writes;
//! * after the first backward pass nothing is allocated, unless an operation panics;
//! * gradients that share a buffer are never live at the same time: that of a result
//!   lives from the backward step of its last user to that of its own operation;
//! * storages, buffers, places and what was written are indexed by storage; a node's operands have smaller
//!   indices than its result, and results grow along the nodes;
//! * an operation that panics leaves the values' buffers in place, for the next pass to write, and drops
//!   those of the gradients, which the next backward pass allocates anew.

mod draw;
mod pass;
mod plan;

pub use draw::Drawing;
pub use pass::Pass;

use crate::memory::{Buffer, Place, Slot, Storage, Variable, empty, zeros};
use crate::op::{Gradients, Inputs, Op};
use crate::params::{Param, Params};
use crate::{Error, Real, Shape, Threads};
use plan::{ParamUse, Plan};
use std::any::Any;
use std::fmt;
use std::mem;

/// One operation, the storages it reads and the storage it writes.
pub(crate) struct Node<T> {
    pub(crate) op: Box<dyn Op<T>>,
    pub(crate) operands: Box<[usize]>,
    pub(crate) output: usize,
}

impl<T> Node<T> {
    pub(crate) fn name(&self) -> &'static str
    where
        T: Real,
    {
        self.op.name()
    }
}

/// A recorded computation that runs as often as you like.
///
/// Reverse-mode differentiation in two sweeps over one list: [`forward`] runs the
/// operations in order and keeps every intermediate value; [`Pass::backward`] runs their
/// derivatives in reverse, carrying ∂root/∂(value) for each value.
///
/// [`forward`]: Tape::forward
///
/// # What you can rely on
///
/// * **Determinism.** The same recording, parameters and inputs give the same bits, run after
///   run, on one instruction set and with any number of [threads](Tape::set_threads): what a
///   thread computes does not depend on how many there are, and sums are in a fixed order.
///   Another instruction set may round matrix products, convolutions and exponentials
///   differently.
/// * **Allocation.** Buffers of values are allocated while recording and those of gradients by
///   the first backward pass. After that a step on one thread allocates nothing, which
///   `tests/all/no_allocation.rs` counts. (On machines with neither AVX2 nor AVX-512, matrix
///   products fall back to the `matrixmultiply` crate, which allocates.)
/// * **Speed.** Kernels use the best instruction set found at run time
///   ([`simd_level`](crate::kernels::simd_level)); no build flag is needed, but optimisation is:
///   a crate that depends on this one wants `opt-level = 3` for it in its own dev profile.
/// * **Errors.** Wrong shapes, lengths, slots and parameters are [`Error`]s that name what was
///   expected and found. A [`Pass`] borrows the tape and its parameters, so a value that is not
///   theirs does not compile.
pub struct Tape<T> {
    nodes: Vec<Node<T>>,
    vars: Vec<Variable>,
    storages: Vec<Storage>,
    /// By storage: its elements; empty for parameters.
    buffers: Vec<Buffer<T>>,
    /// The gradients of results and of inputs that have one; empty until the first backward pass.
    gradients: Vec<Buffer<T>>,
    /// By storage: where its gradient is among `gradients`.
    places: Vec<Place>,
    /// Whether gradients share buffers.
    sharing: bool,
    /// The threads that operations share their work out among, if more than one.
    threads: Threads,
    /// By storage: whether the last backward pass has written its gradient.
    written: Vec<bool>,
    root: Slot,
    /// The parameters that it was recorded with.
    params: Vec<Param>,
    views: ParamUse,
}

impl<T: Real> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let operations: Vec<_> = self.nodes.iter().map(Node::name).collect();
        f.debug_struct("Tape")
            .field("operations", &operations)
            .field("parameters", &self.params.len())
            .finish_non_exhaustive()
    }
}

impl<T: Real> Tape<T> {
    pub(crate) fn new(
        nodes: Vec<Node<T>>,
        vars: Vec<Variable>,
        storages: Vec<Storage>,
        buffers: Vec<Buffer<T>>,
        params: Vec<Param>,
        root: Slot,
    ) -> Self {
        Self {
            written: vec![false; storages.len()],
            views: ParamUse::of(&storages),
            gradients: Vec::new(),
            places: Vec::new(),
            sharing: false,
            threads: Threads::default(),
            nodes,
            vars,
            storages,
            buffers,
            root,
            params,
        }
    }

    /// Lets gradients of results share memory, as soon as one is no longer needed for
    /// another. [`Pass::gradient`] then has none of a result to show. A deep network needs
    /// about half the memory.
    pub fn share_gradients(&mut self) {
        self.sharing = true;
        self.gradients.clear();
    }

    /// Elements of the buffers that hold the gradients of results and of inputs that have one; 0
    /// before the first backward pass.
    pub fn gradient_elements(&self) -> usize {
        self.gradients.iter().map(|gradient| gradient.len()).sum()
    }

    /// Shares the work of convolutions (among 8 threads at most), matrix products, max pooling, batch
    /// normalisation and the maps of one or two operands (but softplus, dropout and losses) out among `threads`, where it is large enough to
    /// pay; the bits of the results stay the same. A new tape works on the thread that calls it.
    pub fn set_threads(&mut self, threads: &Threads) {
        self.threads = threads.clone();
    }

    /// Runs the operations that are not the same function in training and in use as in the
    /// one or the other: [`dropout`](crate::Var::dropout) is the identity if `training` is
    /// false, and [`batch_norm`](crate::Var::batch_norm) normalises by the running
    /// statistics and leaves them alone. Until this is called they are what they were
    /// recorded as.
    ///
    /// A batch of another size still needs [a recording of its own](crate::recipes).
    pub fn set_training(&mut self, training: bool) {
        for node in &mut self.nodes {
            node.op.set_training(training);
        }
    }

    /// Shape of a value.
    ///
    /// # Errors
    /// [`Error::OtherTape`].
    pub fn shape(&self, slot: Slot) -> Result<Shape, Error> {
        Ok(self.variable(slot)?.shape)
    }

    /// The elements of an input, to be written.
    ///
    /// # Errors
    /// [`Error::OtherTape`]; [`Error::NotAnInput`] if `slot` is anything else.
    pub fn input_mut(&mut self, slot: Slot) -> Result<&mut [T], Error> {
        let storage = self.variable(slot)?.storage;
        match self.storages[storage] {
            Storage::Input { .. } => Ok(&mut self.buffers[storage]),
            Storage::Constant => Err(Error::NotAnInput("a constant")),
            Storage::Indices { .. } => Err(Error::NotAnInput("indices, which set_indices writes")),
            Storage::Result { .. } => Err(Error::NotAnInput("a result")),
            Storage::Param { .. } => Err(Error::NotAnInput("a parameter")),
        }
    }

    /// Copies data into an input.
    ///
    /// # Errors
    /// As [`input_mut`](Tape::input_mut); [`Error::Length`] if `data` is not as long as
    /// the input.
    pub fn set(&mut self, slot: Slot, data: &[T]) -> Result<(), Error> {
        let input = self.input_mut(slot)?;
        Error::check_length("input", input.len(), data.len())?;
        input.copy_from_slice(data);
        Ok(())
    }

    /// Writes indices: the rows of a table, or the labels of a batch.
    ///
    /// # Errors
    /// [`Error::OtherTape`]; [`Error::NotAnInput`] if `slot` is anything else;
    /// [`Error::Length`]; [`Error::Label`] at the first index that is too large, after which
    /// the indices are those from before.
    pub fn set_indices(&mut self, slot: Slot, indices: &[usize]) -> Result<(), Error> {
        let storage = self.variable(slot)?.storage;
        let Storage::Indices { below } = self.storages[storage] else {
            return Err(Error::NotAnInput("something other than indices"));
        };
        let elements = &mut self.buffers[storage];
        Error::check_length("indices", elements.len(), indices.len())?;
        if let Some(&found) = indices.iter().find(|&&index| index >= below) {
            return Err(Error::Label {
                classes: below,
                found,
            });
        }
        let pairs = elements.iter_mut().zip(indices);
        pairs.for_each(|(element, &index)| *element = T::nearest(index as f64));
        Ok(())
    }

    /// Copies a value of the last forward pass into an input: the state that a recurrent
    /// network carries on.
    ///
    /// # Errors
    /// As [`set`](Tape::set); [`Error::NotAnInput`] too if `from` is a parameter.
    pub fn copy(&mut self, from: Slot, to: Slot) -> Result<(), Error> {
        let from = self.variable(from)?.storage;
        if let Storage::Param { .. } = self.storages[from] {
            return Err(Error::NotAnInput("a parameter to be copied"));
        }
        if self.variable(to)?.storage == from {
            return self.input_mut(to).map(|_| ());
        }
        let values = mem::replace(&mut self.buffers[from], empty());
        let result = self.set(to, &values);
        self.buffers[from] = values;
        result
    }

    /// The operation that computes `slot`, if it is an `O`: the way to what an
    /// operation keeps from step to step (see [`Op`]).
    pub fn op_mut<O: Op<T>>(&mut self, slot: Slot) -> Option<&mut O> {
        let node = self.node(slot)?;
        let op: &mut dyn Any = &mut *self.nodes[node].op;
        op.downcast_mut()
    }

    /// The operation that [`op_mut`](Tape::op_mut) gives, to be read.
    pub fn op<O: Op<T>>(&self, slot: Slot) -> Option<&O> {
        let op: &dyn Any = &*self.nodes[self.node(slot)?].op;
        op.downcast_ref()
    }

    fn node(&self, slot: Slot) -> Option<usize> {
        let storage = self.variable(slot).ok()?.storage;
        let node = self.nodes.binary_search_by_key(&storage, |n| n.output);
        node.ok()
    }

    fn variable(&self, slot: Slot) -> Result<Variable, Error> {
        match slot.index {
            Some(index) if slot.recording == self.root.recording => Ok(self.vars[index]),
            _ => Err(Error::OtherTape),
        }
    }

    fn elements<'a>(&'a self, storage: usize, params: &'a [T]) -> &'a [T] {
        match self.storages[storage] {
            Storage::Param { offset, len, .. } => &params[offset..offset + len],
            _ => &self.buffers[storage],
        }
    }

    /// Computes every value from the inputs and `params`.
    ///
    /// # Errors
    /// [`Error::OtherParams`] if a parameter that was recorded is not among them.
    pub fn forward<'a>(&'a mut self, params: &'a Params<T>) -> Result<Pass<'a, T>, Error> {
        if let Some(param) = self.params.iter().find(|p| !params.contains(**p)) {
            return Err(Error::OtherParams(param.shape));
        }
        let threads = self.threads.clone();
        threads.run(|| self.run_forward(params.values()));
        Ok(Pass {
            tape: self,
            params,
            differentiated: false,
        })
    }

    fn run_forward(&mut self, params: &[T]) {
        for node in &mut self.nodes {
            let (earlier, later) = self.buffers.split_at_mut(node.output);
            let x = Inputs {
                operands: &node.operands,
                storages: &self.storages,
                buffers: earlier,
                params,
            };
            node.op.forward(&x, &mut later[0]);
        }
    }

    fn backward(&mut self, params: &[T], grads: &mut [T]) -> Result<(), Error> {
        let root = self.root_storage()?;
        self.allocate_gradients(root);
        self.written.fill(false);
        if self.views.overlap {
            grads.fill(T::zero());
            for (written, storage) in self.written.iter_mut().zip(&self.storages) {
                *written = matches!(storage, Storage::Param { .. });
            }
        }
        self.gradients[self.places[root].buffer][0] = T::one();
        self.written[root] = true;
        let threads = self.threads.clone();
        threads.run(|| self.run_backward(params, grads));
        self.zero_unwritten(grads);
        Ok(())
    }

    fn run_backward(&mut self, params: &[T], grads: &mut [T]) {
        // Not on the tape while an operation has one of them: one that panics loses them
        // all, and the next pass allocates anew.
        let mut gradients = mem::take(&mut self.gradients);
        for node in self.nodes.iter_mut().rev() {
            if !self.written[node.output] {
                continue;
            }
            let Place { buffer, len } = self.places[node.output];
            let dy = mem::replace(&mut gradients[buffer], empty());
            let x = Inputs {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &self.buffers,
                params,
            };
            let mut dx = Gradients {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &mut gradients,
                places: &self.places,
                params: grads,
                written: &mut self.written,
            };
            let y = &self.buffers[node.output];
            node.op.backward(&x, y, &dy[..len], &mut dx);
            gradients[buffer] = dy;
        }
        self.gradients = gradients;
    }

    fn root_storage(&self) -> Result<usize, Error> {
        let Variable { shape, storage } = self.variable(self.root)?;
        if shape.elements() != 1 {
            return Err(Error::Root(format!("shape {shape}")));
        }
        if !self.storages[storage].differentiable() {
            return Err(Error::Root(
                "a value that depends on no parameter and no input_with_gradient".to_owned(),
            ));
        }
        Ok(storage)
    }

    fn allocate_gradients(&mut self, root: usize) {
        if self.gradients.is_empty() {
            let Plan { places, lens } = Plan::new(
                &self.nodes,
                &self.storages,
                &self.buffers,
                root,
                self.sharing,
            );
            self.gradients = lens.into_iter().map(zeros).collect();
            self.places = places;
        }
    }

    /// Gradients of parameters that the root does not depend on.
    fn zero_unwritten(&self, grads: &mut [T]) {
        if self.views.overlap {
            return;
        }
        let mut end = 0;
        for (range, storage) in &self.views.views {
            if self.written[*storage] {
                grads[end..range.start].fill(T::zero());
                end = range.end;
            }
        }
        grads[end..].fill(T::zero());
    }
}

#[cfg(test)]
mod tests;
