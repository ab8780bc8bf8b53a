//! Recording: expressions of [`Var`]s append operations to a [`Graph`].

use crate::op::{Op, Storage};
use crate::params::{Buffer, Param, empty, zeros};
use crate::tape::{Node, Tape};
use crate::{Error, Params, Real, Shape};
use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records the operations of one computation.
///
/// Nothing is computed while recording: the result, a [`Tape`], runs as often as
/// there are steps. An operation on wrong shapes does not fail at once but makes
/// [`Graph::finish`] fail, with the first such operation, both shapes and the
/// line that recorded it; expressions stay readable.
pub struct Graph<T> {
    id: u64,
    recording: RefCell<Recording<T>>,
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
pub struct Slot {
    pub(crate) recording: u64,
    /// `None` for a variable that could not be recorded: its graph has no tape.
    pub(crate) index: Option<usize>,
}

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
            id: next_id(),
            recording: RefCell::new(recording),
        }
    }

    /// Data that changes from step to step: [`Tape::set`] it. Zero until then. Not
    /// differentiated.
    #[track_caller]
    pub fn input(&self, shape: impl Into<Shape>) -> Var<'_, T> {
        let shape = shape.into();
        if !fits_memory::<T>(shape) {
            return self.fail("input", vec![shape], TOO_LARGE.to_owned());
        }
        let input = Storage::Data { settable: true };
        self.push(shape, input, zeros(shape.elements()))
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
        let constant = Storage::Data { settable: false };
        self.push(shape, constant, Buffer::from_slice(64, data))
    }

    /// A parameter: the tape reads it from the flat vector given to
    /// [`Tape::forward`] and writes its gradient to the flat vector given to
    /// [`Tape::backward`].
    pub fn param(&self, param: Param) -> Var<'_, T> {
        self.view_of_params(param.offset, param.shape)
    }

    /// All parameters added so far as one flat variable, for penalties on all of
    /// them.
    pub fn all_params(&self, params: &Params<T>) -> Var<'_, T> {
        self.view_of_params(0, Shape::from([params.len()]))
    }

    /// Appends `op` applied to `inputs`: what every method of [`Var`] comes to,
    /// and the way to use an operation of your own.
    #[track_caller]
    pub fn apply<'g>(&'g self, mut op: impl Op<T>, inputs: &[Var<'g, T>]) -> Var<'g, T> {
        let shapes: Vec<Shape> = inputs.iter().map(|v| v.shape()).collect();
        if let Some(i) = inputs.iter().position(|v| v.graph.id != self.id) {
            let why = format!("operand {i} belongs to another graph");
            return self.fail(op.name(), shapes, why);
        }
        let Some(operands) = self.storages(inputs) else {
            return Var {
                graph: self,
                index: None,
            };
        };
        let shape = match op.infer(&shapes) {
            Ok(shape) if fits_memory::<T>(shape) => shape,
            Ok(_) => return self.fail(op.name(), shapes, TOO_LARGE.to_owned()),
            Err(why) => return self.fail(op.name(), shapes, why),
        };
        let result = Storage::Result {
            differentiable: self.any_differentiable(&operands),
        };
        let y = self.push(shape, result, zeros(shape.elements()));
        let recording = &mut *self.recording.borrow_mut();
        recording.nodes.push(Node {
            op: Box::new(op),
            operands,
            output: recording.storages.len() - 1,
        });
        y
    }

    /// The tape that computes everything recorded, and differentiates `root`.
    ///
    /// # Errors
    /// [`Error::Shape`]: the first operation that was applied to shapes it is not
    /// defined for. [`Error::Root`] if `root` is a parameter or of another graph.
    pub fn finish(self, root: Slot) -> Result<Tape<T>, Error> {
        let recording = self.recording.into_inner();
        if let Some(error) = recording.error {
            return Err(error);
        }
        let variable = match root.index {
            Some(index) if root.recording == self.id => recording.vars[index],
            _ => return Err(Error::Root("a variable of another graph".to_owned())),
        };
        if let Storage::Param { .. } = recording.storages[variable.storage] {
            return Err(Error::Root("a parameter itself".to_owned()));
        }
        Ok(Tape::new(
            recording.nodes,
            recording.vars,
            recording.storages,
            recording.buffers,
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
            recording.buffers.push(empty());
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

const TOO_LARGE: &str = "the result has more elements than memory can hold";

fn fits_memory<T>(shape: Shape) -> bool {
    shape.elements() <= isize::MAX as usize / size_of::<T>()
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
        Slot {
            recording: self.graph.id,
            index: self.index,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> String {
        let graph = Graph::new();
        let root = f(&graph).slot();
        graph.finish(root).err().expect("an error").to_string()
    }

    #[test]
    fn the_first_wrong_shape_is_named_with_its_line() {
        let line = line!() + 2;
        let message = message(|g| {
            let wrong = g.input([2, 3]) + g.input([2]);
            (wrong.matmul(g.input([7])) / 2.0).reshape([5]).sum()
        });
        assert_eq!(
            message,
            format!(
                "add of [2, 3] and [2]: the shapes do not broadcast (recorded at {}:{line}:25)",
                file!()
            )
        );
    }

    #[test]
    fn a_reshape_keeps_the_number_of_elements() {
        let message = message(|g| g.input([2, 3]).reshape([5]));
        assert!(
            message.starts_with("reshape of [2, 3] and [5]"),
            "{message}"
        );
    }

    #[test]
    fn a_constant_has_the_elements_of_its_shape() {
        let message = message(|g| g.constant([2, 2], &[1.0; 3]));
        assert!(
            message.contains("expected 4 elements, found 3"),
            "{message}"
        );
    }

    #[test]
    fn variables_of_two_graphs_do_not_mix() {
        let other = Graph::new();
        let stranger = other.input([2]);
        let graph = Graph::<f64>::new();
        let root = (graph.input([2]) + stranger).slot();
        let message = graph.finish(root).err().expect("two graphs").to_string();
        assert!(
            message.contains("operand 1 belongs to another graph"),
            "{message}"
        );
    }

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        let huge = 1 << 40;
        for result in [
            message(|g| g.input([huge, huge])),
            message(|g| g.input([huge, 0]).matmul(g.input([0, huge]))),
        ] {
            assert!(result.contains("more elements than memory"), "{result}");
        }
    }
}
