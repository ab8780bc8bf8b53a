//! Tests of the two sweeps.

use crate::testing::{assert_close, assert_gradients, evaluate, numbers};
use crate::{
    BatchNormConfig, BatchNormMode, Dropout, Error, Gradients, Graph, Inputs, Op, Param, Params,
    Shape, Tape, Threads, Var, record,
};

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

fn tape(f: impl for<'g> FnOnce(&'g Graph<f64>) -> Var<'g, f64>) -> Tape<f64> {
    record(|g| Ok([f(g)])).unwrap().0
}

/// The gradient of `tape`, written over rubbish.
fn gradient(tape: &mut Tape<f64>, params: &Params<f64>) -> Vec<f64> {
    let mut grads = vec![777.0; params.len()];
    let mut pass = tape.forward(params).unwrap();
    pass.backward(&mut grads).unwrap();
    grads
}

#[test]
fn parameters_that_the_root_does_not_depend_on_get_zeros() {
    let (params, [a, b, c]) = params();
    let on_b = &mut tape(|g| g.param(b).square().sum());
    assert_eq!(gradient(on_b, &params), [0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
    let dead_end = &mut tape(|g| {
        let [a, b, c] = [a, b, c].map(|p| g.param(p));
        let _ = ((a - a) * b).ln();
        c.sum()
    });
    assert_eq!(gradient(dead_end, &params), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn gradients_of_results_can_be_read() {
    let (params, [a, b, _]) = params();
    let (mut tape, [product, dead_end, other_product, x, of_a, root]) = record(|g| {
        let (x, a, b) = (g.input([2]), g.param(a), g.param(b));
        let product = x + a * b;
        let root = product.square().sum();
        Ok([product, (a - b).exp(), a * b, x, a, root])
    })
    .unwrap();
    let mut pass = tape.forward(&params).unwrap();
    assert_eq!(pass.gradient(product), Ok(None), "before a backward pass");
    pass.backward(&mut params.zeros_like()).unwrap();
    assert_eq!(pass.gradient(product), Ok(Some(&[6.0, 16.0][..])));
    assert_eq!(pass.gradient(root), Ok(Some(&[1.0][..])));
    for slot in [dead_end, other_product, x, of_a] {
        assert_eq!(pass.gradient(slot), Ok(None));
    }
    let pass = tape.forward(&params).unwrap();
    assert_eq!(pass.gradient(product), Ok(None), "of the pass before");
}

/// Five layers of tanh(a·x + b), with a short cut from each to the sum.
fn deep([a, b, _]: [Param; 3], sharing: bool) -> Tape<f64> {
    let mut tape = tape(|g| {
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
    tape
}

#[test]
fn gradients_that_share_memory_are_the_same() {
    let (params, views) = params();
    let [mut alone, mut sharing] = [false, true].map(|sharing| deep(views, sharing));
    let expected = gradient(&mut alone, &params);
    for _ in 0..2 {
        assert_eq!(gradient(&mut sharing, &params), expected);
    }
    assert!(sharing.gradient_elements() * 2 < alone.gradient_elements());
    let root = sharing.root;
    let mut pass = sharing.forward(&params).unwrap();
    pass.backward(&mut params.zeros_like()).unwrap();
    assert_eq!(pass.gradient(root), Ok(None));
    alone.share_gradients();
    assert_eq!(gradient(&mut alone, &params), expected, "asked for later");
}

/// By an input that every layer reads, with layers between that share memory.
#[test]
fn the_gradient_by_an_input_is_that_by_a_parameter() {
    let (params, [a, b, _]) = params();
    fn loss<'g>(x: Var<'g, f64>, a: Var<'g, f64>) -> Var<'g, f64> {
        let layers = std::iter::successors(Some(x * a), |y| Some((*y * x + a).tanh()));
        layers
            .take(5)
            .map(|y| y.sum())
            .reduce(|sum, y| sum + y)
            .unwrap()
    }
    let mut expected = vec![777.0; 6];
    let (mut by_param, _) = record(|g| Ok([loss(g.param(b), g.param(a))])).unwrap();
    by_param
        .forward(&params)
        .unwrap()
        .backward(&mut expected)
        .unwrap();
    for sharing in [false, true] {
        let (mut tape, [x, unused, plain, _]) = record(|g| {
            let [x, unused] = [(); 2].map(|()| g.input_with_gradient([2]));
            let plain = g.input([2]);
            Ok([
                x,
                unused,
                plain,
                loss(x.reshape([2, 1]).reshape([2]), g.param(a)) + plain.sum(),
            ])
        })
        .unwrap();
        if sharing {
            tape.share_gradients();
        }
        tape.set(x, params.view(b)).unwrap();
        let mut grads = vec![777.0; 6];
        let mut pass = tape.forward(&params).unwrap();
        assert_eq!(pass.gradient(x), Ok(None), "before a backward pass");
        for _ in 0..2 {
            pass.backward(&mut grads).unwrap();
            assert_eq!(pass.gradient(x).unwrap().unwrap(), &expected[b.range()]);
            assert_eq!(grads[a.range()], expected[a.range()]);
        }
        assert_eq!(pass.gradient(unused), Ok(None));
        assert_eq!(pass.gradient(plain), Ok(None));
    }
}

/// One recording, in training and in use.
#[test]
fn one_recording_trains_and_evaluates() {
    let (params, [a, ..]) = params();
    let config = |mode| BatchNormConfig {
        mode,
        decay: 0.5,
        epsilon: 0.1,
    };
    let network = |mode| {
        record(|g| {
            let x = g.input([4, 2]);
            let (scale, shift) = (g.param(a), g.constant([2], &[0.0, 1.0]));
            Ok([
                x,
                x.batch_norm(scale, shift, config(mode))
                    .dropout(0.5, [3; 32]),
            ])
        })
        .unwrap()
    };
    let (mut tape, [x, y]) = network(BatchNormMode::Training);
    let values = |tape: &mut Tape<f64>| tape.forward(&params).unwrap().value(y).unwrap().to_vec();
    tape.set(x, &numbers(8)).unwrap();
    let trained = values(&mut tape);
    tape.set_training(false);
    let masks_drawn = |tape: &Tape<f64>| {
        let dropped: &Dropout<f64> = tape.op(y).unwrap();
        dropped.position()
    };
    let (mut once, mut twice) = (values(&mut tape), values(&mut tape));
    assert_eq!(once, twice, "nothing random, nothing that moves");
    assert_eq!(masks_drawn(&tape), 1);
    // By hand: the running statistics after one batch, from mean 0 and variance 1.
    for (i, found) in once.iter_mut().enumerate() {
        let column: Vec<f64> = numbers(8)[i % 2..].iter().step_by(2).copied().collect();
        let mean = column.iter().sum::<f64>() / 4.0;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0;
        let normal = (numbers(8)[i] - 0.5 * mean) / (0.5 + 0.5 * variance + 0.1).sqrt();
        let expected = normal * params.view(a)[i % 2] + [0.0, 1.0][i % 2];
        assert!((*found - expected).abs() < 1e-14, "{found} {expected}");
    }
    tape.set_training(true);
    twice = values(&mut tape);
    assert_ne!(twice, once);
    assert_eq!(masks_drawn(&tape), 2);
    assert!(trained.contains(&0.0) && twice.contains(&0.0), "dropped");
}

/// 2x, in two chunks of one element, each of which waits until another thread has the other.
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
    let (mut tape, [y, _]) = record(|g| {
        let y = g.apply(together, &[g.param(a)]);
        Ok([y, y.sum()])
    })
    .unwrap();
    tape.set_threads(&Threads::new(2).unwrap());
    let pass = tape.forward(&params).unwrap();
    assert_eq!(pass.value(y).unwrap(), [2.0, 4.0]);
}

/// Writes how many threads it has.
struct Count;

impl Op<f64> for Count {
    fn name(&self) -> &'static str {
        "threads"
    }
    fn infer(&mut self, _: &[Shape]) -> Result<Shape, String> {
        Ok(Shape::default())
    }
    fn forward(&mut self, _: &Inputs<f64>, y: &mut [f64]) {
        y[0] = crate::parallel::threads() as f64;
    }
    fn backward(&mut self, _: &Inputs<f64>, _: &[f64], _: &[f64], _: &mut Gradients<f64>) {}
}

#[test]
fn a_tape_of_one_thread_does_not_use_the_pool_that_it_is_called_in() {
    let mut tape = tape(|g| g.apply(Count, &[]));
    let mut count = |threads| {
        tape.set_threads(&Threads::new(threads).unwrap());
        let none = Params::new();
        let pass = tape.forward(&none).unwrap();
        pass.loss().unwrap()
    };
    Threads::new(2).unwrap().install(|| {
        assert_eq!(count(1), 1.0);
        assert_eq!(count(3), 3.0);
        assert_eq!(count(1), 1.0);
    });
}

#[test]
fn overlapping_views_add_up() {
    let (params, [a, b, _]) = params();
    let penalised =
        &mut tape(|g| (g.param(a) * g.param(b)).sum() + g.all_params(&params).square().sum() * 0.5);
    assert_eq!(
        gradient(penalised, &params),
        [3.0 + 1.0, 4.0 + 2.0, 1.0 + 3.0, 2.0 + 4.0, 5.0, 6.0]
    );
}

#[test]
fn every_use_of_a_parameter_counts() {
    let (params, [a, _, c]) = params();
    let thrice = &mut tape(|g| {
        let column = g.param(a).reshape([2, 1]);
        (g.param(a) * column).sum() + (g.param(a) + g.param(c)).sum()
    });
    // (a₁ + a₂)² + a₁ + a₂ + c₁ + c₂
    assert_eq!(gradient(thrice, &params), [7.0, 7.0, 0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn passes_leave_nothing_behind() {
    let (mut params, [a, b, _]) = params();
    let (mut tape, [x, _]) = record(|g| {
        let x = g.input([2]);
        Ok([x, ((x * g.param(a)).tanh() * g.param(b)).sum()])
    })
    .unwrap();
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
    let mut pass = tape.forward(&params).unwrap();
    for _ in 0..2 {
        let mut again = vec![f64::NAN; 6];
        pass.backward(&mut again).unwrap();
        assert_eq!(again, first, "backward twice after one forward");
    }
}

#[test]
fn two_tapes_share_parameters() {
    let (params, [a, _, c]) = params();
    let sum = &mut tape(|g| g.param(a).sum());
    let squares = &mut tape(|g| (g.param(a) * g.param(c)).sum());
    assert_eq!(gradient(sum, &params)[..2], [1.0, 1.0]);
    assert_eq!(gradient(squares, &params)[..2], [5.0, 6.0]);
    assert_eq!(gradient(sum, &params)[..2], [1.0, 1.0]);
}

#[test]
fn a_root_that_cannot_be_differentiated_is_an_error() {
    let (params, [a, ..]) = params();
    const NEITHER: &str = "a value that depends on no parameter and no input_with_gradient";
    type Build<'a> = &'a dyn for<'g> Fn(&'g Graph<f64>) -> Var<'g, f64>;
    let differentiate = |f: Build| {
        let (mut tape, _) = record(|g| Ok([f(g)]))?;
        let mut pass = tape.forward(&params)?;
        pass.backward(&mut params.zeros_like())
    };
    let cases: [(Build, &str); 5] = [
        (&|g| g.param(a), "a parameter itself"),
        (&|g| g.param(a).reshape([2, 1]), "a parameter itself"),
        (&|g| g.param(a) * 2.0, "shape [2]"),
        (&|g| g.input([]), NEITHER),
        (&|g| g.input([3]).sum(), NEITHER),
    ];
    for (build, found) in cases {
        assert_eq!(differentiate(build), Err(Error::Root(found.to_owned())));
    }
}

#[test]
fn a_loss_is_one_number() {
    let none = Params::<f64>::new();
    for (shape, loss) in [
        (Shape::from([]), Ok(0.0)),
        (Shape::from([1, 1]), Ok(0.0)),
        (Shape::from([2]), Err(Error::Root("shape [2]".to_owned()))),
        (Shape::from([0]), Err(Error::Root("shape [0]".to_owned()))),
    ] {
        let mut tape = tape(|g| g.input(shape));
        assert_eq!(tape.forward(&none).unwrap().loss(), loss);
    }
}

#[test]
fn slices_of_the_wrong_length_are_errors() {
    let (params, [a, ..]) = params();
    let (mut tape, [x, _]) = record(|g| {
        let x = g.input([2]);
        Ok([x, (x * g.param(a)).sum()])
    })
    .unwrap();
    let length = |what, expected, found| {
        Err(Error::Length {
            what,
            expected,
            found,
        })
    };
    assert_eq!(tape.set(x, &[1.0]), length("input", 2, 1));
    let mut pass = tape.forward(&params).unwrap();
    assert_eq!(pass.backward(&mut [0.0; 2]), length("gradients", 6, 2));
}

#[test]
fn only_inputs_can_be_set() {
    let (_, [a, ..]) = params();
    let (mut tape, slots) = record(|g| {
        let (x, one) = (g.input([2]), g.constant([2], &[1.0; 2]));
        Ok([x, one, g.param(a), x + one])
    })
    .unwrap();
    let mut set = |slot| tape.set(slot, &[0.0; 2]);
    assert_eq!(set(slots[0]), Ok(()));
    assert_eq!(set(slots[1]), Err(Error::NotAnInput("a constant")));
    assert_eq!(set(slots[2]), Err(Error::NotAnInput("a parameter")));
    assert_eq!(set(slots[3]), Err(Error::NotAnInput("a result")));
    let mut copy = |from: usize, to: usize| tape.copy(slots[from], slots[to]);
    assert_eq!(copy(1, 0), Ok(()));
    assert_eq!(copy(0, 0), Ok(()), "onto itself");
    assert_eq!(copy(3, 3), Err(Error::NotAnInput("a result")));
    assert_eq!(tape.input_mut(slots[0]).unwrap(), [1.0; 2]);
}

#[test]
fn a_slot_of_another_tape_is_an_error_everywhere() {
    let (params, [a, ..]) = params();
    let record = || record(|g| Ok([g.input([2]), g.param(a).sum()])).unwrap();
    let ((mut tape, _), (_, [stranger, _])) = (record(), record());
    let other = Error::OtherTape;
    assert_eq!(tape.set(stranger, &[0.0; 2]), Err(other.clone()));
    assert_eq!(tape.input_mut(stranger), Err(other.clone()));
    assert_eq!(tape.shape(stranger), Err(other.clone()));
    assert!(tape.op::<Counter>(stranger).is_none());
    assert!(tape.op_mut::<Counter>(stranger).is_none());
    let pass = tape.forward(&params).unwrap();
    assert_eq!(pass.value(stranger), Err(other.clone()));
    assert_eq!(pass.gradient(stranger), Err(other.clone()));
    assert_eq!(pass.shape(stranger), Err(other.clone()));
    assert_eq!(pass.into_value(stranger), Err(other));
}

#[test]
fn the_value_of_a_parameter_is_that_of_the_pass() {
    let (mut params, [a, b, _]) = params();
    let (mut tape, [of_b, view, _]) = record(|g| {
        let (a, b) = (g.param(a), g.param(b));
        Ok([b, b.reshape([2, 1]), (a * b).sum()])
    })
    .unwrap();
    assert_eq!(
        tape.forward(&params).unwrap().value(of_b),
        Ok(&[3.0, 4.0][..])
    );
    params.view_mut(b).fill(7.0);
    let pass = tape.forward(&params).unwrap();
    assert_eq!(pass.into_value(view), Ok(&[7.0, 7.0][..]));
}

#[test]
fn a_tape_runs_with_its_own_parameters_only() {
    let (params, [a, ..]) = params();
    let mut tape = tape(|g| g.param(a).square().sum());
    // Same names, offsets and shapes.
    let (others, _) = self::params();
    for others in [&others, &Params::new()] {
        let error = tape.forward(others).err();
        assert_eq!(error, Some(Error::OtherParams(Shape::from([2]))));
    }
    let mut clone = params.clone();
    clone.values_mut()[0] = 5.0;
    assert_eq!(gradient(&mut tape, &clone), [10.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(gradient(&mut tape, &params), [2.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn parameters_of_two_sets_are_never_taken_for_one() {
    let (mut first, mut second) = (Params::new(), Params::new());
    let a = first.add("a", [1], || 1.0).unwrap();
    let b = second.add("b", [1], || 5.0).unwrap();
    let mut both = tape(|g| (g.param(a) * g.param(b)).sum());
    for params in [&first, &second] {
        let error = both.forward(params).err();
        assert_eq!(error, Some(Error::OtherParams(Shape::from([1]))));
    }
    let mut all = tape(|g| (g.all_params(&first) * g.all_params(&second)).sum());
    assert!(all.forward(&first).is_err());
    // Clones that have gone separate ways are two sets.
    let (mut left, mut right) = (first.clone(), first.clone());
    let c = left.add("c", [1], || 2.0).unwrap();
    right.add("c", [1], || 3.0).unwrap();
    let mut tape = tape(|g| (g.param(a) * g.param(c)).sum());
    assert_eq!(tape.forward(&left).unwrap().loss(), Ok(2.0));
    assert!(tape.forward(&right).is_err());
}

#[test]
fn a_parameter_without_elements_is_a_parameter() {
    let mut params = Params::<f64>::new();
    let nothing = params.add("nothing", [0, 3], || 0.0).unwrap();
    let w = params.add("w", [2], || 3.0).unwrap();
    let both = &mut tape(|g| g.param(nothing).sum() + g.param(w).square().sum());
    assert_eq!(gradient(both, &params), [6.0, 6.0]);
}

#[test]
fn no_gradient_flows_through_what_stops_it() {
    let (params, [a, b, _]) = params();
    let stopped = &mut tape(|g| (g.param(a).stop_gradient() * g.param(b)).sum());
    assert_eq!(gradient(stopped, &params), [0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
}

/// Takes the gradient of its operand and does nothing with it.
struct Forgetful;

impl Op<f64> for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }
    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }
    fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
        y.copy_from_slice(&x[0]);
    }
    fn backward(&mut self, _: &Inputs<f64>, _: &[f64], _: &[f64], dx: &mut Gradients<f64>) {
        let _unused = dx.of(0);
    }
}

#[test]
fn a_gradient_that_is_taken_and_not_written_is_zero() {
    let (params, [a, b, _]) = params();
    let direct = &mut tape(|g| g.apply(Forgetful, &[g.param(a)]).sum());
    assert_eq!(gradient(direct, &params), [0.0; 6]);
    let through = &mut tape(|g| {
        let y = g.apply(Forgetful, &[(g.param(a) * g.param(b)).exp()]);
        y.sum() + g.param(b).sum()
    });
    assert_eq!(gradient(through, &params), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

/// Passes its operand on; panics where a number says so.
struct Panics;

impl Op<f64> for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }
    fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
        assert!(x[1][0] != 1.0, "forward, as told");
        y.copy_from_slice(&x[0]);
    }
    fn backward(&mut self, x: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
        assert!(x[1][0] != 2.0, "backward, as told");
        let Some(dx) = dx.of(0) else { return };
        dx.add(dy.iter().copied());
    }
}

#[test]
fn a_caught_panic_leaves_a_tape_that_works() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let (params, [a, ..]) = params();
    let (mut tape, [when, _]) = record(|g| {
        let when = g.input([1]);
        let x = g.param(a).exp();
        Ok([when, g.apply(Panics, &[x, when]).square().sum()])
    })
    .unwrap();
    let expected = gradient(&mut tape, &params);
    for told in [1.0, 2.0] {
        tape.set(when, &[told]).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| gradient(&mut tape, &params)));
        assert!(caught.is_err());
        tape.set(when, &[0.0]).unwrap();
        assert_eq!(gradient(&mut tape, &params), expected);
    }
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
    let none = Params::new();
    let (mut tape, [x, counted, root]) = record(|g| {
        let x = g.input([2]);
        let counted = g.apply(Counter { passes: 5 }, &[x.exp()]);
        Ok([x, counted, counted.reshape([2, 1]).sum()])
    })
    .unwrap();
    tape.forward(&none).unwrap();
    let pass = tape.forward(&none).unwrap();
    assert_eq!(pass.op::<Counter>(counted).unwrap().passes, 7);
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
        v[0].affine(v[1], v[2]).sum() + v[0].transpose().matmul(v[0]).sum() + v[2].sum()
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
