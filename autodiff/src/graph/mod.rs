//! Recording: expressions of [`Var`]s append operations to a [`Graph`].

#[cfg(test)]
mod tests;
mod var;

pub use var::{Indices, Var};

use crate::memory::{Buffer, Slot, Storage, Variable, Workspace, empty, zeros, zeros_of};
use crate::op::Op;
use crate::params::Param;
use crate::tape::{Node, Tape};
use crate::{Error, Params, Real, Shape};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records a computation: the tape that runs it, and the handles of the values that
/// `build` returns. The last of these is the root: what the tape differentiates.
///
/// ```
/// let (mut tape, [x, y]) = autodiff::record(|g| {
///     let x = g.input([3]);
///     Ok([x, x.square().sum()])
/// })?;
/// tape.set(x, &[1.0, 2.0, 3.0])?;
/// let no_params = autodiff::Params::new();
/// let pass = tape.forward(&no_params)?;
/// assert_eq!(pass.value(y)?, [14.0]);
/// # Ok::<(), autodiff::Error>(())
/// ```
///
/// # What is what
///
/// ```text
///  the model                            a recording            the tape, and each Pass
///
///  Params ───── add ─────▶ Param ─────▶ Var ──── record ─────▶ Slot
///  one flat vector         a range of   a value, to be         that value, computed:
///    │                     it, named    computed with          pass.value(slot)
///    │                        │                                pass.gradient(slot)
///    │                        ▼                                      ▲
///    │            grads[param.range()] ◀── pass.backward(&mut grads) │
///    └────────────────────▶ tape.forward(&params) ───────────────────┘
/// ```
///
/// A variable belongs to its recording. What is made of those of two does not compile as
/// a result of either, and is an error where it is no result:
///
/// ```compile_fail
/// # use autodiff::record;
/// let outer = record::<f64, 1>(|outer| {
///     let x = outer.input([2]);
///     record(|inner| Ok([inner.input([2]) + x]))?;
///     Ok([x])
/// });
/// ```
///
/// # Errors
/// [`Error::Shape`]: the first operation that was applied to shapes it is not defined
/// for, with the line that recorded it. [`Error::Root`] if the root is a parameter.
/// Whatever `build` returns.
pub fn record<T: Real, const N: usize>(
    build: impl for<'g> FnOnce(&'g Graph<T>) -> Result<[Var<'g, T>; N], Error>,
) -> Result<(Tape<T>, [Slot; N]), Error> {
    const { assert!(N > 0, "a recording returns at least its root") };
    let graph = Graph::new();
    let slots = build(&graph).map(|vars| vars.map(|var| var.slot()));
    // The first error is the reason for those that follow from it.
    if let Some(error) = graph.error() {
        return Err(error);
    }
    let slots = slots?;
    let tape = graph.finish(slots[N - 1])?;
    Ok((tape, slots))
}

/// A computation while [`record`] records it.
///
/// Nothing is computed: the result, a [`Tape`], runs as often as there are steps. An
/// operation on wrong shapes makes [`record`] fail, with the first such operation, its
/// shapes and the line of the call; until then expressions stay readable, and
/// [`Var::shape`] reports the error to who needs a shape.
pub struct Graph<T> {
    id: u64,
    recording: RefCell<Recording<T>>,
    workspace: Workspace<T>,
    winograd: Cell<bool>,
}

/// Tells recordings apart, so that a variable or slot of one is no key to another.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Recording<T> {
    vars: Vec<Variable>,
    storages: Vec<Storage>,
    buffers: Vec<Buffer<T>>,
    nodes: Vec<Node<T>>,
    /// Operations that wait to be recorded until their result is used as it is.
    deferred: Vec<Deferred<T>>,
    /// Every parameter that a storage views.
    params: Vec<Param>,
    error: Option<Error>,
}

struct Deferred<T> {
    /// The variable that it would compute, and the one it would compute it from.
    result: usize,
    operand: usize,
    op: Box<dyn Op<T>>,
}

impl<T: Real> fmt::Debug for Graph<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let recording = self.recording.borrow();
        let operations: Vec<_> = recording.nodes.iter().map(Node::name).collect();
        f.debug_struct("Graph")
            .field("operations", &operations)
            .field("error", &recording.error)
            .finish()
    }
}

impl<T: Real> Graph<T> {
    fn new() -> Self {
        let recording = Recording {
            vars: Vec::new(),
            storages: Vec::new(),
            buffers: Vec::new(),
            nodes: Vec::new(),
            deferred: Vec::new(),
            params: Vec::new(),
            error: None,
        };
        Self {
            id: next_id(),
            recording: RefCell::new(recording),
            workspace: Workspace::new(),
            winograd: Cell::new(true),
        }
    }

    /// Whether the convolutions that are recorded from here on may use Winograd's minimal filtering,
    /// where it is faster; at first they may.
    ///
    /// It takes a quarter (3×3) or 36 % (5×5) of the multiplications, and makes larger rounding errors: in
    /// f32 about 5e-6 of a typical result, where direct sums make 8e-7, and 1.6e-4 where they make
    /// 5e-6 if terms a hundred times as large as the result cancel (tests print and bound all of
    /// these). A ReLU whose operand is as near to zero as that may come out on its other side.
    pub fn set_winograd(&self, allowed: bool) {
        self.winograd.set(allowed);
    }

    pub(crate) fn winograd(&self) -> bool {
        self.winograd.get()
    }

    /// What all operations of the recording share for what they need only while they run.
    pub(crate) fn workspace(&self) -> Workspace<T> {
        self.workspace.clone()
    }

    /// The first operation on shapes that it is not defined for.
    fn error(&self) -> Option<Error> {
        self.recording.borrow().error.clone()
    }

    /// Data that changes from step to step: [`Tape::set`] it. Zero until then. Not
    /// differentiated.
    #[track_caller]
    pub fn input(&self, shape: impl Into<Shape>) -> Var<'_, T> {
        self.new_input(shape.into(), false)
    }

    /// As [`input`](Graph::input), and differentiated: after a backward pass
    /// [`Pass::gradient`](crate::Pass::gradient) of its slot is the gradient by the data.
    #[track_caller]
    pub fn input_with_gradient(&self, shape: impl Into<Shape>) -> Var<'_, T> {
        self.new_input(shape.into(), true)
    }

    #[track_caller]
    fn new_input(&self, shape: Shape, differentiable: bool) -> Var<'_, T> {
        match zeros_of(shape) {
            Some(buffer) => self.push(shape, Storage::Input { differentiable }, buffer),
            None => self.fail("input", vec![shape], TOO_LARGE.to_owned()),
        }
    }

    /// Indices below `below` that change from step to step: labels of classes, rows of a
    /// table. [`Tape::set_indices`] writes them; zero until then. They are kept as elements: recording
    /// fails if `below` is 0, or above 1/ε of the element type (2²³ in f32, 2⁵² in f64).
    #[track_caller]
    pub fn indices(&self, shape: impl Into<Shape>, below: usize) -> Indices<'_, T> {
        let shape = shape.into();
        // They are kept as elements: up to here each has a number of its own.
        let exact = T::one() / T::epsilon();
        let var = match zeros_of(shape) {
            None => self.fail("indices", vec![shape], TOO_LARGE.to_owned()),
            Some(_) if below == 0 => {
                let why = "there is no index below 0".to_owned();
                self.fail("indices", vec![shape], why)
            }
            Some(_) if T::nearest(below as f64) > exact => {
                let why = format!("{} tells indices below {exact} apart only", T::NAME);
                self.fail("indices", vec![shape], why)
            }
            Some(buffer) => self.push(shape, Storage::Indices { below }, buffer),
        };
        Indices { var, below }
    }

    /// Data that never changes, row-major: as many numbers as the shape has elements, or recording
    /// fails. Not differentiated.
    #[track_caller]
    pub fn constant(&self, shape: impl Into<Shape>, data: &[T]) -> Var<'_, T> {
        let shape = shape.into();
        if shape.elements_in_memory::<T>() != Some(data.len()) {
            let why = format!(
                "expected {} elements, found {}",
                shape.elements(),
                data.len()
            );
            return self.fail("constant", vec![shape], why);
        }
        self.push(shape, Storage::Constant, Buffer::from_slice(64, data))
    }

    /// A parameter: the tape reads it from the [`Params`] given to [`Tape::forward`]
    /// and writes its gradient to the flat vector given to
    /// [`Pass::backward`](crate::Pass::backward).
    pub fn param(&self, param: Param) -> Var<'_, T> {
        self.view_of_params(&[param], param.shape)
    }

    /// All parameters added so far as one flat variable, for penalties on all of
    /// them.
    pub fn all_params(&self, params: &Params<T>) -> Var<'_, T> {
        let all: Vec<Param> = params.iter().map(|(_, param)| param).collect();
        self.view_of_params(&all, Shape::from([params.len()]))
    }

    /// Appends `op` applied to `inputs`: what every method of [`Var`] comes to,
    /// and the way to use an operation of your own.
    #[track_caller]
    pub fn apply<'g>(&'g self, mut op: impl Op<T>, inputs: &[Var<'g, T>]) -> Var<'g, T> {
        let shapes: Vec<Shape> = inputs.iter().map(|v| v.recorded_shape()).collect();
        if let Some(i) = inputs.iter().position(|v| v.graph.id != self.id) {
            let why = format!("operand {i} belongs to another graph");
            return self.fail(op.name(), shapes, why);
        }
        inputs.iter().for_each(|v| self.settle(v));
        let Some(operands) = self.storages(inputs) else {
            return Var {
                graph: self,
                index: None,
            };
        };
        let shape = match op.infer(&shapes) {
            Ok(shape) => shape,
            Err(why) => return self.fail(op.name(), shapes, why),
        };
        let Some(buffer) = zeros_of(shape) else {
            return self.fail(op.name(), shapes, TOO_LARGE.to_owned());
        };
        let result = Storage::Result {
            differentiable: self.any_differentiable(&operands),
        };
        let y = self.push(shape, result, buffer);
        let recording = &mut *self.recording.borrow_mut();
        recording.nodes.push(Node {
            op: Box::new(op),
            operands,
            output: recording.storages.len() - 1,
        });
        y
    }

    /// The tape that computes everything recorded, and differentiates `root`.
    fn finish(self, root: Slot) -> Result<Tape<T>, Error> {
        let recording = self.recording.into_inner();
        let variable = match root.index {
            Some(index) if root.recording == self.id => recording.vars[index],
            _ => return Err(Error::OtherTape),
        };
        if let Storage::Param { .. } = recording.storages[variable.storage] {
            return Err(Error::Root("a parameter itself".to_owned()));
        }
        Ok(Tape::new(
            recording.nodes,
            recording.vars,
            recording.storages,
            recording.buffers,
            recording.params,
            root,
        ))
    }

    fn push(&self, shape: Shape, storage: Storage, buffer: Buffer<T>) -> Var<'_, T> {
        let recording = &mut *self.recording.borrow_mut();
        recording.storages.push(storage);
        recording.buffers.push(buffer);
        let index = recording.var(shape, recording.storages.len() - 1);
        Var { graph: self, index }
    }

    fn storages(&self, vars: &[Var<T>]) -> Option<Box<[usize]>> {
        let recording = self.recording.borrow();
        let storage = |v: &Var<T>| v.index.map(|i| recording.vars[i].storage);
        vars.iter().map(storage).collect()
    }

    fn any_differentiable(&self, storages: &[usize]) -> bool {
        let recording = self.recording.borrow();
        storages
            .iter()
            .any(|&s| recording.storages[s].differentiable())
    }

    /// As [`apply`](Graph::apply), but no gradient flows back through the result.
    #[track_caller]
    pub(crate) fn apply_constant<'g>(
        &'g self,
        op: impl Op<T>,
        operands: &[Var<'g, T>],
    ) -> Var<'g, T> {
        let y = self.apply(op, operands);
        let recording = &mut *self.recording.borrow_mut();
        if let Some(index) = y.index {
            let storage = recording.vars[index].storage;
            recording.storages[storage] = Storage::Result {
                differentiable: false,
            };
        }
        y
    }

    /// As [`apply`](Graph::apply) to one operand, but only once the result is used by other
    /// than [`Graph::deferred_operand`].
    #[track_caller]
    pub(crate) fn defer<'g>(&'g self, mut op: impl Op<T>, operand: Var<'g, T>) -> Var<'g, T> {
        let Some(index) = operand.index else {
            return operand;
        };
        let from = operand.recorded_shape();
        let shape = match op.infer(&[from]) {
            Ok(shape) => shape,
            Err(why) => return self.fail(op.name(), vec![from], why),
        };
        let recording = &mut *self.recording.borrow_mut();
        let result = recording.vars.len();
        recording.deferred.push(Deferred {
            result,
            operand: index,
            op: Box::new(op),
        });
        // No storage until settling gives it one. One that never settles stays among the vars: no slot names it.
        let index = recording.var(shape, usize::MAX);
        Var { graph: self, index }
    }

    /// What an operation of this graph that still waits would be applied to.
    pub(crate) fn deferred_operand<'g>(&'g self, var: Var<'g, T>) -> Option<Var<'g, T>> {
        if !std::ptr::eq(self, var.graph) {
            return None;
        }
        let recording = self.recording.borrow();
        let deferred = recording.deferred.iter();
        let waits = deferred.rev().find(|d| Some(d.result) == var.index)?;
        let index = Some(waits.operand);
        Some(Var { graph: self, index })
    }

    /// Records the operation that `var` has waited for, if it has.
    fn settle(&self, var: &Var<T>) {
        let mut waiting = self.recording.borrow_mut();
        let deferred = waiting.deferred.iter();
        let Some(at) = deferred.clone().position(|d| Some(d.result) == var.index) else {
            return;
        };
        let Deferred {
            result,
            operand,
            op,
        } = waiting.deferred.remove(at);
        drop(waiting);
        let operand = Var {
            graph: self,
            index: Some(operand),
        };
        self.settle(&operand);
        let recording = &mut *self.recording.borrow_mut();
        let storage = recording.vars[operand.index.expect("settled")].storage;
        let shape = recording.vars[result].shape;
        // As large as the operand, which is there.
        recording.buffers.push(zeros(shape.elements()));
        recording.storages.push(Storage::Result {
            differentiable: recording.storages[storage].differentiable(),
        });
        recording.vars[result].storage = recording.storages.len() - 1;
        recording.nodes.push(Node {
            op,
            operands: Box::new([storage]),
            output: recording.storages.len() - 1,
        });
    }

    /// Views of one range of the same parameters share one storage, so that their
    /// gradients add up.
    fn view_of_params(&self, params: &[Param], shape: Shape) -> Var<'_, T> {
        let recording = &mut *self.recording.borrow_mut();
        // The offset of no parameters at all does not matter: they have no elements.
        let (wanted, from) = params.first().map_or((u64::MAX, 0), |p| (p.id, p.offset));
        let elements = shape.elements();
        let known = recording.storages.iter().position(|s| {
            matches!(*s, Storage::Param { first, len, .. } if (first, len) == (wanted, elements))
        });
        let storage = known.unwrap_or_else(|| {
            recording.storages.push(Storage::Param {
                first: wanted,
                offset: from,
                len: elements,
            });
            recording.buffers.push(empty());
            recording.storages.len() - 1
        });
        for param in params {
            if !recording.params.contains(param) {
                recording.params.push(*param);
            }
        }
        let index = recording.var(shape, storage);
        Var { graph: self, index }
    }

    #[track_caller]
    pub(crate) fn fail(&self, op: &'static str, shapes: Vec<Shape>, why: String) -> Var<'_, T> {
        let location = Location::caller();
        let error = Error::Shape {
            op,
            shapes,
            why,
            location,
        };
        self.recording.borrow_mut().error.get_or_insert(error);
        Var {
            graph: self,
            index: None,
        }
    }
}

const TOO_LARGE: &str = "it has more elements than memory can hold";

impl<T> Recording<T> {
    fn var(&mut self, shape: Shape, storage: usize) -> Option<usize> {
        self.vars.push(Variable { shape, storage });
        Some(self.vars.len() - 1)
    }
}
