//! Recording: expressions of [`Var`]s append operations to a [`Graph`].

use crate::op::{Op, Storage};
use crate::params::{Buffer, Param, zeros};
use crate::tape::{Node, Tape};
use crate::{Error, Params, Real, Shape};
use std::cell::RefCell;
use std::panic::Location;

/// Records the operations of one computation.
///
/// Nothing is computed while recording: the result, a [`Tape`], runs as often as
/// there are steps. An operation on wrong shapes does not fail at once but makes
/// [`Graph::finish`] fail, with the first such operation, both shapes and the
/// line that recorded it; expressions stay readable.
pub struct Graph<T> {
    recording: RefCell<Recording<T>>,
}

struct Recording<T> {
    vars: Vec<Variable>,
    storages: Vec<Storage>,
    buffers: Vec<Buffer<T>>,
    nodes: Vec<Node<T>>,
    error: Option<Error>,
}

/// A shape over a storage; a reshaped variable shares its storage.
#[derive(Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) shape: Shape,
    pub(crate) storage: usize,
}

/// A value of the computation being recorded. Copy it freely.
pub struct Var<'g, T> {
    graph: &'g Graph<T>,
    /// `None` once an operation has failed; whatever is built on it fails too.
    index: Option<usize>,
}

impl<T> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Var<'_, T> {}

/// A place on a finished [`Tape`], to write data to or read results from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(crate) usize);

/// The slot of a variable that could not be recorded.
const NOWHERE: Slot = Slot(usize::MAX);

impl<T: Real> Default for Graph<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> Graph<T> {
    /// An empty recording.
    pub fn new() -> Self {
        let recording = Recording {
            vars: Vec::new(),
            storages: Vec::new(),
            buffers: Vec::new(),
            nodes: Vec::new(),
            error: None,
        };
        Self {
            recording: RefCell::new(recording),
        }
    }

    /// Data that changes from step to step: [`Tape::set`] it. Not differentiated.
    pub fn input(&self, shape: impl Into<Shape>) -> Var<'_, T> {
        let shape = shape.into();
        self.own(shape, zeros(shape.elements()))
    }

    /// Data that never changes. Not differentiated.
    #[track_caller]
    pub fn constant(&self, shape: impl Into<Shape>, data: &[T]) -> Var<'_, T> {
        let shape = shape.into();
        if data.len() != shape.elements() {
            let why = format!(
                "expected {} elements, found {}",
                shape.elements(),
                data.len()
            );
            return self.fail("constant", vec![shape], why);
        }
        self.own(shape, Buffer::from_slice(64, data))
    }

    /// A parameter: the tape reads it from the flat vector given to
    /// [`Tape::forward`] and writes its gradient to the flat vector given to
    /// [`Tape::backward`].
    pub fn param(&self, param: Param) -> Var<'_, T> {
        self.view_of_params(param.offset, param.shape)
    }

    /// All parameters as one flat variable, for penalties on all of them.
    pub fn all_params(&self, params: &Params<T>) -> Var<'_, T> {
        self.view_of_params(0, Shape::from([params.len()]))
    }

    /// Appends `op` applied to `inputs`: what every method of [`Var`] comes to,
    /// and the way to use an operation of your own.
    #[track_caller]
    pub fn apply<'g>(&'g self, mut op: impl Op<T> + 'static, inputs: &[Var<'g, T>]) -> Var<'g, T> {
        let Some(operands) = inputs.iter().map(|v| v.index).collect::<Option<Vec<_>>>() else {
            return Var {
                graph: self,
                index: None,
            };
        };
        let shapes: Vec<Shape> = inputs.iter().map(|v| v.shape()).collect();
        let shape = match op.infer(&shapes) {
            Ok(shape) => shape,
            Err(why) => return self.fail(op.name(), shapes, why),
        };
        let recording = &mut *self.recording.borrow_mut();
        let operands: Box<[usize]> = operands
            .iter()
            .map(|&v| recording.vars[v].storage)
            .collect();
        let differentiable = operands
            .iter()
            .any(|&s| recording.storages[s].differentiable());
        let output = recording.storages.len();
        recording.storages.push(Storage::Own {
            len: shape.elements(),
            differentiable,
        });
        recording.buffers.push(zeros(shape.elements()));
        recording.nodes.push(Node {
            op: Box::new(op),
            operands,
            output,
        });
        let index = recording.var(shape, output);
        Var { graph: self, index }
    }

    /// The tape that computes everything recorded, and differentiates `root`.
    ///
    /// # Errors
    /// The first operation that was applied to shapes it is not defined for.
    pub fn finish(self, root: Slot) -> Result<Tape<T>, Error> {
        let recording = self.recording.into_inner();
        match recording.error {
            Some(error) => Err(error),
            None => Ok(Tape::new(
                recording.nodes,
                recording.vars,
                recording.storages,
                recording.buffers,
                root,
            )),
        }
    }

    fn own(&self, shape: Shape, buffer: Buffer<T>) -> Var<'_, T> {
        let recording = &mut *self.recording.borrow_mut();
        let storage = recording.storages.len();
        recording.storages.push(Storage::Own {
            len: buffer.len(),
            differentiable: false,
        });
        recording.buffers.push(buffer);
        let index = recording.var(shape, storage);
        Var { graph: self, index }
    }

    /// Views of one range share one storage, so that their gradients add up.
    fn view_of_params(&self, offset: usize, shape: Shape) -> Var<'_, T> {
        let recording = &mut *self.recording.borrow_mut();
        let wanted = (offset, shape.elements());
        let known = recording
            .storages
            .iter()
            .position(|s| matches!(*s, Storage::Param { offset, len } if (offset, len) == wanted));
        let storage = known.unwrap_or_else(|| {
            recording.storages.push(Storage::Param {
                offset,
                len: shape.elements(),
            });
            recording.buffers.push(zeros(0));
            recording.storages.len() - 1
        });
        let index = recording.var(shape, storage);
        Var { graph: self, index }
    }

    #[track_caller]
    fn fail(&self, op: &'static str, shapes: Vec<Shape>, why: String) -> Var<'_, T> {
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

impl<T> Recording<T> {
    fn var(&mut self, shape: Shape, storage: usize) -> Option<usize> {
        self.vars.push(Variable { shape, storage });
        Some(self.vars.len() - 1)
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// Its shape; that of a scalar if an operation before it failed.
    pub fn shape(&self) -> Shape {
        let recording = self.graph.recording.borrow();
        self.index
            .map_or(Shape::default(), |i| recording.vars[i].shape)
    }

    /// Its place on the tape that the recording becomes.
    pub fn slot(&self) -> Slot {
        self.index.map_or(NOWHERE, Slot)
    }

    /// The recording it belongs to.
    pub fn graph(&self) -> &'g Graph<T> {
        self.graph
    }

    /// The same elements, row-major, in another shape. Costs nothing at run time.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let Some(index) = self.index else { return self };
        let from = self.shape();
        if from.elements() != shape.elements() {
            let why = "both need the same number of elements".to_owned();
            return self.graph.fail("reshape", vec![from, shape], why);
        }
        let recording = &mut *self.graph.recording.borrow_mut();
        let storage = recording.vars[index].storage;
        let index = recording.var(shape, storage);
        Var { index, ..self }
    }
}
