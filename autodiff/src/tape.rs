//! The tape: a list of operations over buffers, run forward and backward.
//!
//! Invariants:
//! * nodes are in the order of recording, so every operand of a node is an input,
//!   a parameter or the result of an earlier node;
//! * each node owns its result's buffer: forward never reads what it writes;
//! * after the first backward pass nothing is allocated;
//! * gradients that share a buffer are never live at the same time: that of a result
//!   lives from the backward step of its last user to that of its own operation.

use crate::graph::{Slot, Variable};
use crate::op::{Gradients, Inputs, Op, Storage};
use crate::params::{Buffer, empty, zeros};
use crate::{Error, Real, Shape};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// One operation, the storages it reads and the storage it writes.
pub(crate) struct Node<T> {
    pub(crate) op: Box<dyn Op<T>>,
    pub(crate) operands: Box<[usize]>,
    pub(crate) output: usize,
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
    /// The gradients of results; empty until the first backward pass.
    gradients: Vec<Buffer<T>>,
    /// By storage: where its gradient is among `gradients`.
    places: Vec<Place>,
    /// Whether gradients share buffers.
    sharing: bool,
    /// The threads that operations share their work out among, if more than one.
    threads: Option<Arc<ThreadPool>>,
    /// By storage: whether the current backward pass has written its gradient.
    written: Vec<bool>,
    /// Whether the values are those of the inputs.
    fresh: bool,
    root: Slot,
    params: ParamUse,
}

/// Where a gradient is kept: the first `len` elements of a buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) buffer: usize,
    pub(crate) len: usize,
}

/// How the recording uses the flat parameter vector.
struct ParamUse {
    /// Least length of the flat vector.
    len: usize,
    /// Place and storage of every view, by place.
    views: Vec<(Range<usize>, usize)>,
    /// Whether two views overlap without being the same, so that neither may
    /// overwrite the gradient.
    overlap: bool,
}

impl ParamUse {
    fn of(storages: &[Storage]) -> Self {
        let view = |(storage, s): (usize, &Storage)| match *s {
            Storage::Param { offset, len } => Some((offset..offset + len, storage)),
            _ => None,
        };
        let mut views: Vec<_> = storages.iter().enumerate().filter_map(view).collect();
        views.sort_unstable_by_key(|(range, _)| (range.start, range.end));
        Self {
            len: views.iter().map(|(range, _)| range.end).max().unwrap_or(0),
            overlap: views.windows(2).any(|w| w[1].0.start < w[0].0.end),
            views,
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
            places: Vec::new(),
            sharing: false,
            threads: None,
            fresh: false,
            nodes,
            vars,
            storages,
            buffers,
            root,
        }
    }

    /// Lets gradients of results share memory, as soon as one is no longer needed for
    /// another. [`gradient`](Tape::gradient) then has none to show. A deep network
    /// needs about half the memory.
    pub fn share_gradients(&mut self) {
        self.sharing = true;
        self.gradients.clear();
        self.written.fill(false);
    }

    /// Shares the work of large operations out among `threads`; the bits of the
    /// results stay the same. A new tape works on the thread that calls it.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system does not start them.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), Error> {
        self.threads = None;
        if threads > 1 {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            self.threads = Some(Arc::new(
                pool.map_err(|why| Error::Threads(why.to_string()))?,
            ));
        }
        Ok(())
    }

    /// Shape of a value.
    ///
    /// # Panics
    /// If `slot` is of another tape.
    #[track_caller]
    pub fn shape(&self, slot: Slot) -> Shape {
        self.variable(slot).shape
    }

    /// The elements of an input, to be written.
    ///
    /// # Panics
    /// If `slot` is of another tape, or not an input.
    #[track_caller]
    pub fn input_mut(&mut self, slot: Slot) -> &mut [T] {
        match self.input(slot) {
            Ok(input) => input,
            Err(error) => panic!("{error}"),
        }
    }

    /// Copies data into an input.
    ///
    /// # Errors
    /// [`Error::NotAnInput`] if `slot` is anything else, [`Error::Length`] if
    /// `data` is not as long as the input.
    pub fn set(&mut self, slot: Slot, data: &[T]) -> Result<(), Error> {
        let input = self.input(slot)?;
        check("input", input.len(), data.len())?;
        input.copy_from_slice(data);
        Ok(())
    }

    fn input(&mut self, slot: Slot) -> Result<&mut [T], Error> {
        let Some(variable) = self.known(slot) else {
            return Err(Error::NotAnInput("a slot of another tape"));
        };
        let storage = variable.storage;
        match self.storages[storage] {
            Storage::Data { settable: true } => {}
            Storage::Data { settable: false } => return Err(Error::NotAnInput("a constant")),
            Storage::Result { .. } => return Err(Error::NotAnInput("a result")),
            Storage::Param { .. } => return Err(Error::NotAnInput("a parameter")),
        }
        self.fresh = false;
        Ok(&mut self.buffers[storage])
    }

    /// A value as the last forward pass left it, row-major. Empty for a
    /// parameter, whose value is in the flat vector.
    ///
    /// # Panics
    /// If `slot` is of another tape.
    #[track_caller]
    pub fn value(&self, slot: Slot) -> &[T] {
        &self.buffers[self.variable(slot).storage]
    }

    /// The gradient of the root by a result, as the last backward pass left it, in
    /// the result's shape. `None` where that pass wrote none: for values that the
    /// root does not depend on or that depend on no parameter, for parameters,
    /// whose gradients are in the flat vector, and where gradients
    /// [share memory](Tape::share_gradients).
    ///
    /// # Panics
    /// If `slot` is of another tape.
    #[track_caller]
    pub fn gradient(&self, slot: Slot) -> Option<&[T]> {
        let storage = self.variable(slot).storage;
        match self.storages[storage] {
            Storage::Result { .. } if self.written[storage] && !self.sharing => {
                let Place { buffer, len } = self.places[storage];
                Some(&self.gradients[buffer][..len])
            }
            _ => None,
        }
    }

    /// The operation that computes `slot`, if it is an `O`: the way to what an
    /// operation keeps from step to step (see [`Op`]).
    ///
    /// # Panics
    /// If `slot` is of another tape.
    #[track_caller]
    pub fn op_mut<O: Op<T>>(&mut self, slot: Slot) -> Option<&mut O> {
        let storage = self.variable(slot).storage;
        let node = self.nodes.binary_search_by_key(&storage, |n| n.output);
        let op: &mut dyn Any = &mut *self.nodes[node.ok()?].op;
        op.downcast_mut()
    }

    /// The operation that [`op_mut`](Tape::op_mut) gives, to be read.
    ///
    /// # Panics
    /// If `slot` is of another tape.
    #[track_caller]
    pub fn op<O: Op<T>>(&self, slot: Slot) -> Option<&O> {
        let storage = self.variable(slot).storage;
        let node = self.nodes.binary_search_by_key(&storage, |n| n.output);
        let op: &dyn Any = &*self.nodes[node.ok()?].op;
        op.downcast_ref()
    }

    fn known(&self, slot: Slot) -> Option<Variable> {
        let index = slot.index.filter(|_| slot.recording == self.root.recording);
        index.map(|i| self.vars[i])
    }

    #[track_caller]
    fn variable(&self, slot: Slot) -> Variable {
        self.known(slot).expect("the slot is of another tape")
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
        match self.threads.clone() {
            Some(threads) => threads.install(|| self.run_forward(params)),
            None => self.run_forward(params),
        }
        self.fresh = true;
        Ok(())
    }

    fn run_forward(&mut self, params: &[T]) {
        for node in &mut self.nodes {
            let mut y = mem::replace(&mut self.buffers[node.output], empty());
            let x = Inputs {
                operands: &node.operands,
                storages: &self.storages,
                buffers: &self.buffers,
                params,
            };
            node.op.forward(&x, &mut y);
            self.buffers[node.output] = y;
        }
    }

    /// Writes the gradient of the root by `params` to `grads`, for the values of
    /// the last [`forward`](Tape::forward) with the same `params`.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices are not as long as each other or too short,
    /// [`Error::Root`] if the root is no scalar that depends on a parameter,
    /// [`Error::Stale`] if an input was changed after the last forward pass.
    pub fn backward(&mut self, params: &[T], grads: &mut [T]) -> Result<(), Error> {
        self.check_params("parameters", params.len())?;
        check("gradients", params.len(), grads.len())?;
        let root = self.root_storage()?;
        if !self.fresh {
            return Err(Error::Stale);
        }
        self.allocate_gradients();
        self.written.fill(false);
        if self.params.overlap {
            grads.fill(T::zero());
            for (written, storage) in self.written.iter_mut().zip(&self.storages) {
                *written = matches!(storage, Storage::Param { .. });
            }
        }
        self.gradients[self.places[root].buffer][0] = T::one();
        self.written[root] = true;
        match self.threads.clone() {
            Some(threads) => threads.install(|| self.run_backward(params, grads)),
            None => self.run_backward(params, grads),
        }
        self.zero_unwritten(grads);
        Ok(())
    }

    fn run_backward(&mut self, params: &[T], grads: &mut [T]) {
        for node in self.nodes.iter_mut().rev() {
            if !self.written[node.output] {
                continue;
            }
            let Place { buffer, len } = self.places[node.output];
            let dy = mem::replace(&mut self.gradients[buffer], empty());
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
                places: &self.places,
                params: grads,
                written: &mut self.written,
            };
            let y = &self.buffers[node.output];
            node.op.backward(&x, y, &dy[..len], &mut dx);
            self.gradients[buffer] = dy;
        }
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
        let Variable { shape, storage } = self.variable(self.root);
        if shape.elements() != 1 {
            return Err(Error::Root(format!("shape {shape}")));
        }
        if !self.storages[storage].differentiable() {
            return Err(Error::Root(
                "a value that depends on no parameter".to_owned(),
            ));
        }
        Ok(storage)
    }

    fn allocate_gradients(&mut self) {
        if !self.gradients.is_empty() {
            return;
        }
        let mut plan = Plan::new(&self.storages, &self.buffers);
        plan.place(self.variable(self.root).storage);
        for node in self.nodes.iter().rev() {
            if plan.placed[node.output] {
                node.operands
                    .iter()
                    .for_each(|&operand| plan.place(operand));
                if self.sharing {
                    plan.free.push(plan.places[node.output].buffer);
                }
            }
        }
        self.gradients = plan.lens.into_iter().map(zeros).collect();
        self.places = plan.places;
    }

    /// Gradients of parameters that the root does not depend on.
    fn zero_unwritten(&self, grads: &mut [T]) {
        if self.params.overlap {
            return;
        }
        let mut end = 0;
        for (range, storage) in &self.params.views {
            if self.written[*storage] {
                grads[end..range.start].fill(T::zero());
                end = range.end;
            }
        }
        grads[end..].fill(T::zero());
    }
}

/// Which gradient goes to which buffer, found by going through the backward sweep.
struct Plan<'a, T> {
    storages: &'a [Storage],
    values: &'a [Buffer<T>],
    /// By storage.
    places: Vec<Place>,
    /// By storage: whether it has a place.
    placed: Vec<bool>,
    /// By buffer: its length.
    lens: Vec<usize>,
    /// Buffers whose gradients are no longer needed.
    free: Vec<usize>,
}

impl<'a, T: Real> Plan<'a, T> {
    fn new(storages: &'a [Storage], values: &'a [Buffer<T>]) -> Self {
        Self {
            storages,
            values,
            places: vec![Place::default(); storages.len()],
            placed: vec![false; storages.len()],
            lens: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Finds a place for the gradient of `storage`, if it has one and none was found.
    fn place(&mut self, storage: usize) {
        let differentiable = self.storages[storage].differentiable();
        let is_param = matches!(self.storages[storage], Storage::Param { .. });
        if is_param || !differentiable || self.placed[storage] {
            return;
        }
        let len = self.values[storage].len();
        let buffer = self.free_buffer(len).unwrap_or_else(|| {
            self.lens.push(0);
            self.lens.len() - 1
        });
        self.lens[buffer] = self.lens[buffer].max(len);
        self.places[storage] = Place { buffer, len };
        self.placed[storage] = true;
    }

    /// The smallest free buffer that is long enough, or else the longest.
    fn free_buffer(&mut self, len: usize) -> Option<usize> {
        let cost = |&i: &usize| {
            let found = self.lens[self.free[i]];
            (found < len, found.abs_diff(len))
        };
        let best = (0..self.free.len()).min_by_key(cost)?;
        Some(self.free.swap_remove(best))
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

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};
    use crate::{Error, Gradients, Graph, Inputs, Op, Param, Params, Shape, Tape, Var};

    /// Parameters a = [1, 2], b = [3, 4], c = [5, 6], laid out in this order.
    fn params() -> (Params<f64>, [Param; 3]) {
        let mut params = Params::new();
        let mut next = 0.0;
        let mut count = || {
            next += 1.0;
            next
        };
        let views = ["a", "b", "c"].map(|name| params.add(name, [2], &mut count).unwrap());
        (params, views)
    }

    fn record(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> Tape<f64> {
        let graph = Graph::new();
        let root = f(&graph).slot();
        graph.finish(root).unwrap()
    }

    /// The gradient of `tape`, written over rubbish.
    fn gradient(tape: &mut Tape<f64>, params: &Params<f64>) -> Vec<f64> {
        let mut grads = vec![f64::NAN; params.len()];
        tape.forward(params.values()).unwrap();
        tape.backward(params.values(), &mut grads).unwrap();
        grads
    }

    #[test]
    fn parameters_that_the_root_does_not_depend_on_get_zeros() {
        let (params, [a, b, c]) = params();
        let on_b = &mut record(|g| g.param(b).square().sum());
        assert_eq!(gradient(on_b, &params), [0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
        let dead_end = &mut record(|g| {
            let [a, b, c] = [a, b, c].map(|p| g.param(p));
            let _ = ((a - a) * b).ln();
            c.sum()
        });
        assert_eq!(gradient(dead_end, &params), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn gradients_of_results_can_be_read() {
        let (params, [a, b, _]) = params();
        let graph = Graph::new();
        let (x, a, b) = (graph.input([2]), graph.param(a), graph.param(b));
        let (product, dead_end) = (x + a * b, (a - b).exp());
        let root = product.square().sum();
        let slots = [a * b, dead_end, x, a].map(|v| v.slot());
        let (product, root) = (product.slot(), root.slot());
        let mut tape = graph.finish(root).unwrap();
        assert_eq!(tape.gradient(product), None, "before the first pass");
        gradient(&mut tape, &params);
        assert_eq!(tape.gradient(product), Some(&[6.0, 16.0][..]));
        assert_eq!(tape.gradient(root), Some(&[1.0][..]));
        for slot in slots {
            assert_eq!(tape.gradient(slot), None);
        }
    }

    /// Five layers of tanh(a·x + b), with a short cut from each to the sum.
    fn deep(sharing: bool) -> (Tape<f64>, Params<f64>) {
        let (params, [a, b, _]) = params();
        let mut tape = record(|g| {
            let (a, b) = (g.param(a), g.param(b));
            let layers: Vec<_> = std::iter::successors(Some(a * b), |x| Some((a * *x + b).tanh()))
                .take(6)
                .collect();
            let short_cuts = layers.into_iter().map(|x| x.sum() * 0.5);
            short_cuts.reduce(|sum, x| sum + x).unwrap()
        });
        if sharing {
            tape.share_gradients();
        }
        (tape, params)
    }

    #[test]
    fn gradients_that_share_memory_are_the_same() {
        let [(mut alone, params), (mut sharing, _)] = [false, true].map(deep);
        let expected = gradient(&mut alone, &params);
        for _ in 0..2 {
            assert_eq!(gradient(&mut sharing, &params), expected);
        }
        let elements = |tape: &Tape<f64>| tape.gradients.iter().map(|g| g.len()).sum::<usize>();
        assert!(elements(&sharing) * 2 < elements(&alone));
        assert_eq!(sharing.gradient(sharing.root), None);
        alone.share_gradients();
        assert_eq!(gradient(&mut alone, &params), expected, "asked for later");
    }

    /// 2x, in chunks of two elements, one of which waits for another thread.
    struct Together(std::sync::Barrier);

    impl Op<f64> for Together {
        fn name(&self) -> &'static str {
            "together"
        }
        fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
            Ok(inputs[0])
        }
        fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
            use crate::parallel::{chunks_of, for_each};
            for_each(2, chunks_of(y, 1), |i, y| {
                self.0.wait();
                y[0] = 2.0 * x[0][i];
            });
        }
        fn backward(&mut self, _: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
            let Some(dx) = dx.of(0) else { return };
            dx.add(dy.iter().map(|dy| 2.0 * dy));
        }
    }

    #[test]
    fn operations_have_the_threads_of_their_tape() {
        let (params, [a, ..]) = params();
        let together = Together(std::sync::Barrier::new(2));
        let graph = Graph::new();
        let y = graph.apply(together, &[graph.param(a)]);
        let (y, root) = (y.slot(), y.sum().slot());
        let mut tape = graph.finish(root).unwrap();
        tape.set_threads(2).unwrap();
        tape.forward(params.values()).unwrap();
        assert_eq!(tape.value(y), [2.0, 4.0]);
        tape.set_threads(1).unwrap();
        assert!(tape.threads.is_none());
    }

    #[test]
    fn overlapping_views_add_up() {
        let (params, [a, b, _]) = params();
        let penalised = &mut record(|g| {
            (g.param(a) * g.param(b)).sum() + g.all_params(&params).square().sum() * 0.5
        });
        assert_eq!(
            gradient(penalised, &params),
            [3.0 + 1.0, 4.0 + 2.0, 1.0 + 3.0, 2.0 + 4.0, 5.0, 6.0]
        );
    }

    #[test]
    fn every_use_of_a_parameter_counts() {
        let (params, [a, _, c]) = params();
        let thrice = &mut record(|g| {
            let column = g.param(a).reshape([2, 1]);
            (g.param(a) * column).sum() + (g.param(a) + g.param(c)).sum()
        });
        // (a₁ + a₂)² + a₁ + a₂ + c₁ + c₂
        assert_eq!(gradient(thrice, &params), [7.0, 7.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn passes_leave_nothing_behind() {
        let (mut params, [a, b, _]) = params();
        let graph = Graph::new();
        let x = graph.input([2]);
        let y = (x * graph.param(a)).tanh() * graph.param(b);
        let (x, root) = (x.slot(), y.sum().slot());
        let mut tape = graph.finish(root).unwrap();
        let mut at = |x_now: [f64; 2], params: &Params<f64>| {
            tape.set(x, &x_now).unwrap();
            gradient(&mut tape, params)
        };
        let first = at([0.1, -0.2], &params);
        let other_inputs = at([0.3, 0.4], &params);
        params.values_mut()[0] = 9.0;
        let other_params = at([0.1, -0.2], &params);
        params.values_mut()[0] = 1.0;
        assert_eq!(at([0.1, -0.2], &params), first);
        assert_ne!(first, other_inputs);
        assert_ne!(first, other_params);
        let mut again = vec![f64::NAN; 6];
        tape.backward(params.values(), &mut again).unwrap();
        assert_eq!(again, first, "backward twice after one forward");
    }

    #[test]
    fn two_tapes_share_parameters() {
        let (params, [a, _, c]) = params();
        let sum = &mut record(|g| g.param(a).sum());
        let squares = &mut record(|g| (g.param(a) * g.param(c)).sum());
        assert_eq!(gradient(sum, &params)[..2], [1.0, 1.0]);
        assert_eq!(gradient(squares, &params)[..2], [5.0, 6.0]);
        assert_eq!(gradient(sum, &params)[..2], [1.0, 1.0]);
    }

    #[test]
    fn a_root_that_cannot_be_differentiated_is_an_error() {
        let (params, [a, ..]) = params();
        type Build<'a> = &'a dyn for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>;
        let differentiate = |f: Build| {
            let graph = Graph::new();
            let root = f(&graph).slot();
            let mut tape = graph.finish(root)?;
            tape.forward(params.values())?;
            tape.backward(params.values(), &mut params.zeros_like())
        };
        let cases: [(Build, &str); 5] = [
            (&|g| g.param(a), "a parameter itself"),
            (&|g| g.param(a).reshape([2, 1]), "a parameter itself"),
            (&|g| g.param(a) * 2.0, "shape [2]"),
            (&|g| g.input([]), "a value that depends on no parameter"),
            (
                &|g| g.input([3]).sum(),
                "a value that depends on no parameter",
            ),
        ];
        for (build, found) in cases {
            assert_eq!(differentiate(build), Err(Error::Root(found.to_owned())));
        }
        let other = Graph::<f64>::new();
        let stranger = other.input([]).slot();
        let error = Graph::<f64>::new().finish(stranger).err().unwrap();
        assert!(error.to_string().ends_with("of another graph"), "{error}");
    }

    #[test]
    fn slices_of_the_wrong_length_are_errors() {
        let (params, [a, ..]) = params();
        let graph = Graph::new();
        let x = graph.input([2]);
        let root = (x * graph.param(a)).sum().slot();
        let x = x.slot();
        let mut tape = graph.finish(root).unwrap();
        let length = |what, expected, found| {
            Err(Error::Length {
                what,
                expected,
                found,
            })
        };
        assert_eq!(tape.set(x, &[1.0]), length("input", 2, 1));
        assert_eq!(tape.forward(&[1.0]), length("parameters", 2, 1));
        tape.forward(params.values()).unwrap();
        let grads = &mut [0.0; 2];
        assert_eq!(
            tape.backward(params.values(), grads),
            length("gradients", 6, 2)
        );
    }

    #[test]
    fn only_inputs_can_be_set() {
        let (_, [a, ..]) = params();
        let graph = Graph::new();
        let (x, one) = (graph.input([2]), graph.constant([2], &[1.0; 2]));
        let slots = [x, one, graph.param(a), x + one].map(|v| v.slot());
        let stranger = Graph::<f64>::new().input([2]).slot();
        let mut tape = graph.finish(slots[3]).unwrap();
        let mut set = |slot| tape.set(slot, &[0.0; 2]);
        assert_eq!(set(slots[0]), Ok(()));
        assert_eq!(set(slots[1]), Err(Error::NotAnInput("a constant")));
        assert_eq!(set(slots[2]), Err(Error::NotAnInput("a parameter")));
        assert_eq!(set(slots[3]), Err(Error::NotAnInput("a result")));
        assert_eq!(
            set(stranger),
            Err(Error::NotAnInput("a slot of another tape"))
        );
    }

    #[test]
    fn backward_wants_the_values_of_its_inputs() {
        let (params, [a, ..]) = params();
        let graph = Graph::new();
        let x = graph.input([2]);
        let root = (x * graph.param(a)).sum().slot();
        let x = x.slot();
        let mut tape = graph.finish(root).unwrap();
        let mut grads = params.zeros_like();
        let mut backward = |tape: &mut Tape<f64>| tape.backward(params.values(), &mut grads);
        assert_eq!(backward(&mut tape), Err(Error::Stale));
        tape.forward(params.values()).unwrap();
        assert_eq!(backward(&mut tape), Ok(()));
        tape.input_mut(x).fill(1.0);
        assert_eq!(backward(&mut tape), Err(Error::Stale));
    }

    /// Passes its operand on and counts its passes.
    struct Counter {
        passes: usize,
    }

    impl Op<f64> for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }
        fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
            Ok(inputs[0])
        }
        fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
            self.passes += 1;
            y.copy_from_slice(&x[0]);
        }
        fn backward(&mut self, _: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
            let Some(dx) = dx.of(0) else { return };
            dx.add(dy.iter().copied());
        }
    }

    #[test]
    fn the_state_of_an_operation_can_be_reached() {
        let graph = Graph::new();
        let x = graph.input([2]);
        let counted = graph.apply(Counter { passes: 5 }, &[x.exp()]);
        let root = counted.reshape([2, 1]).sum();
        let [x, counted, root] = [x, counted, root].map(|v| v.slot());
        let mut tape = graph.finish(root).unwrap();
        tape.forward(&[]).unwrap();
        tape.forward(&[]).unwrap();
        assert_eq!(tape.op_mut::<Counter>(counted).unwrap().passes, 7);
        assert_eq!(tape.op::<Counter>(counted).unwrap().passes, 7);
        assert!(tape.op_mut::<Counter>(root).is_none(), "another operation");
        assert!(tape.op_mut::<Counter>(x).is_none(), "no operation");
    }

    #[test]
    fn scalars_and_six_axes_work_throughout() {
        let six: &[usize] = &[2, 1, 3, 1, 2, 2];
        let data = numbers(24);
        assert_gradients(&[(six, &data), (&[], &[0.7])], |v| {
            let x = (v[0] * v[1]).permute(&[5, 0, 2, 1, 4, 3]);
            let x = x.slice(2, 1..3) - x.mean_keep(&[0, 2, 4]);
            x.graph().concat(4, &[x, x.tanh()]).softmax()
        });
        let tower = evaluate(&[(&[], &[3.0])], |v| {
            v[0].sum().mean().permute(&[]).square() / v[0]
        });
        assert_eq!(tower, [3.0]);
    }

    #[test]
    fn empty_tensors_flow_through() {
        let none: (&[usize], &[f64]) = (&[0, 3], &[]);
        let row: (&[usize], &[f64]) = (&[3], &[1.0, 2.0, 3.0]);
        assert_gradients(&[none, row], |v| {
            let y = (v[0] * v[1]).relu().transpose().slice(0, 1..3);
            y.graph()
                .concat(1, &[y, v[1].slice(0, 0..2).reshape([2, 1])])
        });
        let matrix: (&[usize], &[f64]) = (&[3, 2], &numbers(6));
        let bias: (&[usize], &[f64]) = (&[2], &[1.0, 2.0]);
        assert_gradients(&[none, matrix, bias], |v| {
            v[0].affine(v[1], v[2]).sum() + v[0].matmul_tn(v[0]).sum() + v[2].sum()
        });
        let sums = evaluate(&[none], |v| v[0].sum_over(&[0]));
        assert_close(&sums, &[0.0; 3], 0.0, "sums of nothing");
        let means = evaluate(&[(&[3, 0], &[])], |v| v[0].mean_over(&[0]));
        assert_eq!(means, [0.0; 0]);
    }

    #[test]
    fn a_tape_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Tape<f32>>();
    }
}
