//! Recording: expressions of [`Var`]s append operations to a [`Graph`].

use crate::memory::{Buffer, Slot, Storage, Variable, empty, zeros, zeros_of};
use crate::op::{Gradients, Inputs, Op};
use crate::params::Param;
use crate::tape::{Node, Tape};
use crate::{Error, Params, Real, Shape};
use std::cell::RefCell;
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

/// A value of the computation being recorded. Copy it freely.
///
/// # The operations
///
/// x, a, b are operands, y is the result, and each derivative is what is *added* to the
/// operand's gradient. `T` is [`f32`] or [`f64`]; c is a constant of that type.
///
/// | method | y | derivative |
/// |---|---|---|
/// | `a + b`, `a - b` | broadcast | da = dy, db = ±dy |
/// | `a * b` | aᵢ·bᵢ, broadcast | da = dy·b, db = dy·a |
/// | `a / b` | aᵢ/bᵢ, broadcast | da = dy/b, db = −dy·a/b² |
/// | `x + c`, `x - c`, `c - x`, `-x` | ±x ± c | dx = ±dy |
/// | `x * c`, `x / c` | c·x, x/c | dx = c·dy, dy/c |
/// | [`exp`](Var::exp) | eˣ | dx = dy·y |
/// | [`ln`](Var::ln) | ln x | dx = dy/x |
/// | [`sqrt`](Var::sqrt) | √x | dx = dy/2y |
/// | [`square`](Var::square) | x² | dx = dy·2x |
/// | [`sigmoid`](Var::sigmoid) | 1/(1 + e⁻ˣ) | dx = dy·y(1 − y) |
/// | [`tanh`](Var::tanh) | tanh x | dx = dy·(1 − y²) |
/// | [`relu`](Var::relu) | max(x, 0) | dx = dy where x > 0 |
/// | [`softplus`](Var::softplus) | ln(1 + eˣ) | dx = dy/(1 + e⁻ˣ) |
/// | [`clamp`](Var::clamp) | min(max(x, low), high) | dx = dy in [low, high], bounds included |
/// | [`matmul`](Var::matmul) | A·B | dA = dY·Bᵀ, dB = Aᵀ·dY |
/// | [`affine`](Var::affine) | x·W + b | dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ rows of dy |
/// | [`conv2d`](Var::conv2d) | x ∗ k, images in NHWC, kernels in HWIO | dx = dy ∗ kᵀ, dk = x ∗ dy |
/// | [`conv2d_bias_relu`](Var::conv2d_bias_relu) | max(x ∗ k + b, 0) | as `conv2d` where y > 0, db = Σ pixels of dy |
/// | [`sum`](Var::sum), [`sum_over`](Var::sum_over), [`sum_keep`](Var::sum_keep) | Σ x over axes | dx = dy, stretched |
/// | [`mean`](Var::mean), [`mean_over`](Var::mean_over), [`mean_keep`](Var::mean_keep) | Σ x / n over axes | dx = dy/n, stretched |
/// | [`max_pool2d`](Var::max_pool2d) | the largest of each window | dx = dy at the first of the largest |
/// | [`global_average_pool`](Var::global_average_pool) | Σ x / n over an image | dx = dy/n, stretched |
/// | [`batch_norm`](Var::batch_norm), [`batch_norm_relu`](Var::batch_norm_relu) | a·x̂ + b, x̂ = (x − μ)/√(σ² + ε) by channel | da = Σ dy·x̂, db = Σ dy, dx = a/√(σ² + ε)·(dy − (db + x̂·da)/n) |
/// | [`dropout`](Var::dropout) | m·x, m random | dx = m·dy |
/// | [`half_squared_norm`](Graph::half_squared_norm) | ½ Σ w² over several operands | dw = dy·w |
/// | [`softmax`](Var::softmax) | e^xᵢ / Σⱼ e^xⱼ over the last axis | dx = y·(dy − ⟨dy, y⟩) |
/// | [`softmax_cross_entropy`](Var::softmax_cross_entropy) | −1/n Σₙ Σᵢ tₙᵢ ln softmax(xₙ)ᵢ | dx = dy/n·(softmax(x)·Σᵢtᵢ − t), dt = −dy/n·ln softmax(x) |
/// | [`sigmoid_cross_entropy`](Var::sigmoid_cross_entropy) | −tᵢ ln σ(xᵢ) − (1 − tᵢ) ln(1 − σ(xᵢ)), σ the sigmoid | dx = dy·(σ(x) − t), dt = −dy·x |
/// | [`squared_error`](Var::squared_error) | Σᵢ (aᵢ − bᵢ)² | da = 2dy·(a − b), db = −da |
/// | [`reshape`](Var::reshape) | the same elements | dx = dy |
/// | [`transpose`](Var::transpose), [`permute`](Var::permute) | axes in another order | dx = dy in the old order |
/// | [`slice`](Var::slice) | a range of an axis | dx = dy inside, 0 outside |
/// | [`concat`](Graph::concat) | side by side along an axis | each its part of dy |
///
/// *Broadcast* means: axes are aligned at the last one, and where one operand has
/// extent 1, or no axis, it is stretched; its gradient is summed over what it was
/// stretched along. Shapes that an operation is not defined for make
/// [`record`] fail with the operation, the shapes and the line of your source.
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

impl<T: Real> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.shape() {
            Ok(shape) => write!(f, "Var of shape {shape}"),
            Err(error) => write!(f, "Var that failed: {error}"),
        }
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
        }
    }

    /// The first operation on shapes that it is not defined for.
    fn error(&self) -> Option<Error> {
        self.recording.borrow().error.clone()
    }

    /// Data that changes from step to step: [`Tape::set`] it. Zero until then. Not
    /// differentiated.
    #[track_caller]
    pub fn input(&self, shape: impl Into<Shape>) -> Var<'_, T> {
        let shape = shape.into();
        let Some(buffer) = zeros_of(shape) else {
            return self.fail("input", vec![shape], TOO_LARGE.to_owned());
        };
        self.push(shape, Storage::Data { settable: true }, buffer)
    }

    /// Data that never changes. Not differentiated.
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
        let constant = Storage::Data { settable: false };
        self.push(shape, constant, Buffer::from_slice(64, data))
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
        let index = recording.var(shape, usize::MAX);
        Var { graph: self, index }
    }

    /// What an operation that still waits would be applied to.
    pub(crate) fn deferred_operand<'g>(&'g self, var: Var<'g, T>) -> Option<Var<'g, T>> {
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

const TOO_LARGE: &str = "it has more elements than memory can hold";

impl<T> Recording<T> {
    fn var(&mut self, shape: Shape, storage: usize) -> Option<usize> {
        self.vars.push(Variable { shape, storage });
        Some(self.vars.len() - 1)
    }
}

struct Identity;

impl<T: Real> Op<T> for Identity {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        y.copy_from_slice(&x[0]);
    }

    /// Never called: nothing asks for the gradient of its result.
    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        dx.add(dy.iter().copied());
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// Its shape.
    ///
    /// # Errors
    /// The error of the recording, once an operation on wrong shapes has failed: a value
    /// that comes of it has no shape.
    pub fn shape(&self) -> Result<Shape, Error> {
        match (self.index, self.graph.error()) {
            (None, Some(error)) => Err(error),
            _ => Ok(self.recorded_shape()),
        }
    }

    /// Its shape; that of a scalar if an operation before it failed.
    pub(crate) fn recorded_shape(&self) -> Shape {
        let recording = self.graph.recording.borrow();
        self.index
            .map_or(Shape::default(), |i| recording.vars[i].shape)
    }

    /// Its handle on the tape that the recording becomes: for those that the array which
    /// [`record`] returns has no room for.
    pub fn slot(&self) -> Slot {
        self.graph.settle(self);
        Slot {
            recording: self.graph.id,
            index: self.index,
        }
    }

    /// The same value, through which no gradient flows.
    #[track_caller]
    pub fn stop_gradient(self) -> Self {
        let y = self.graph.apply(Identity, &[self]);
        let recording = &mut *self.graph.recording.borrow_mut();
        if let Some(index) = y.index {
            let storage = recording.vars[index].storage;
            recording.storages[storage] = Storage::Result {
                differentiable: false,
            };
        }
        y
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
        let from = self.recorded_shape();
        if shape.elements_in_memory::<T>() != Some(from.elements()) {
            let why = "both need the same number of elements".to_owned();
            return self.graph.fail("reshape", vec![from, shape], why);
        }
        self.graph.settle(&self);
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
        let recorded = record(|g| Ok([f(g)]));
        recorded.err().expect("an error").to_string()
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
    fn who_needs_the_shape_of_what_failed_gets_the_reason() {
        let line = line!() + 2;
        let recorded = record::<f64, 1>(|g| {
            let y = g.input([2, 3]).matmul(g.input([4, 5]));
            let columns = y.shape()?[1];
            Ok([y.reshape([columns])])
        });
        let message = recorded.err().expect("3 is not 4").to_string();
        assert!(
            message.starts_with("matmul of [2, 3] and [4, 5]"),
            "{message}"
        );
        assert!(
            message.contains(&format!("{}:{line}:", file!())),
            "{message}"
        );
    }

    #[test]
    fn an_error_of_the_callers_comes_through() {
        let mut params = Params::<f64>::new();
        let recorded = record::<f64, 1>(|g| {
            let w = params.add("w", [2], || 0.0)?;
            params.add("w", [2], || 0.0)?;
            Ok([g.param(w).sum()])
        });
        assert_eq!(recorded.err(), Some(Error::DuplicateName("w".to_owned())));
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
        let recorded = record::<f64, 1>(|outer| {
            let stranger = outer.input([2]);
            let inner = record(|g| {
                let _mixed = g.input([2]) + stranger;
                Ok([g.input([2])])
            });
            let message = inner.err().expect("two graphs").to_string();
            assert!(
                message.contains("operand 1 belongs to another graph"),
                "{message}"
            );
            Ok([stranger.sum()])
        });
        assert!(recorded.is_ok());
    }

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        let huge = 1 << 40;
        for result in [
            message(|g| g.input([huge, huge])),
            message(|g| g.input([1 << 50])),
            message(|g| g.input([huge, huge, 0]).sum_over(&[2])),
            message(|g| g.input([huge, 0]).matmul(g.input([0, huge]))),
            message(|g| g.input([huge, 0]).reshape([0, huge, huge])),
            message(|g| g.constant([huge, 0, huge], &[])),
            message(|g| {
                let column = g.input([0, huge]);
                g.concat(1, &[column; 1 << 10]).transpose().sum_over(&[1])
            }),
        ] {
            let told = ["more elements than memory", "elements"];
            assert!(told.iter().any(|what| result.contains(what)), "{result}");
        }
    }
}
