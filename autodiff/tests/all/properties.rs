//! Operations that walk over shapes, against loops over every index, on random
//! shapes of any rank, empty and stretched ones included.

use autodiff::{Graph, MAX_RANK, Params, Shape, Var, record};
use proptest::prelude::*;

/// Irregular numbers that are not zero.
fn numbers(n: usize, seed: f64) -> Vec<f64> {
    let number = |i| 0.5 + (i as f64 * 1.7 + seed).sin().abs();
    (0..n).map(number).collect()
}

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    let extent = prop_oneof![9 => 1..4_usize, 1 => Just(0)];
    prop::collection::vec(extent, 0..=MAX_RANK)
}

/// The index of each element of a tensor, in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &extent in shape {
        let longer = |index: Vec<usize>| (0..extent).map(move |i| [&index[..], &[i]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// Where `index` lies in a tensor of this shape: axes aligned at the last one,
/// extents of 1 stretched.
fn position(shape: &[usize], index: &[usize]) -> usize {
    let aligned = &index[index.len() - shape.len()..];
    let axes = shape.iter().zip(aligned);
    axes.fold(0, |at, (&extent, &i)| at * extent + i.min(extent - 1))
}

/// Value of `f` on operands of these shapes, and the gradients of Σᵢ cᵢ·yᵢ.
fn run(
    operands: &[(&[usize], &[f64])],
    c: &[f64],
    f: impl for<'g> Fn(&'g Graph<f64>, &[Var<'g, f64>]) -> Var<'g, f64>,
) -> (Vec<usize>, Vec<f64>, Vec<f64>) {
    let mut params = Params::new();
    for (i, (shape, data)) in operands.iter().enumerate() {
        let mut data = data.iter().copied();
        let shape = Shape::new(shape).unwrap();
        let next = || data.next().unwrap();
        params.add(i.to_string(), shape, next).unwrap();
    }
    let (mut tape, [y, _]) = record(|g| {
        let vars: Vec<_> = params.iter().map(|(_, p)| g.param(p)).collect();
        let y = f(g, &vars);
        Ok([y, (y * g.constant(y.shape()?, c)).sum()])
    })
    .unwrap();
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(&params).unwrap();
    pass.backward(&mut grads).unwrap();
    let shape = pass.shape(y).unwrap().to_vec();
    (shape, pass.value(y).unwrap().to_vec(), grads.to_vec())
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f - e).abs() <= 1e-12 * e.abs().max(1.0),
            "{found:?} {expected:?}"
        );
    }
}

/// A result's shape and two operands that broadcast to it.
fn broadcasting() -> impl Strategy<Value = [Vec<usize>; 3]> {
    let stretched = prop::array::uniform2(prop::array::uniform6(any::<bool>()));
    let missing = prop::array::uniform2(0..=MAX_RANK);
    (shapes(), stretched, missing).prop_map(|(mut y, stretched, missing)| {
        let mut operands = [0, 1].map(|o| {
            let extent = |axis: usize| if stretched[o][axis] { 1 } else { y[axis] };
            (0..y.len()).map(extent).collect::<Vec<_>>()
        });
        for (axis, extent) in y.iter_mut().enumerate() {
            // What both operands stretch is not there to stretch to.
            *extent = match (operands[0][axis], operands[1][axis]) {
                (1, b) => b,
                (a, _) => a,
            };
        }
        // One operand keeps all axes, so that the result has them.
        let [short, long] = [missing[1] % 2, 1 - missing[1] % 2];
        let gone = missing[0].min(y.len());
        operands[short].drain(..gone);
        y[..gone].copy_from_slice(&operands[long][..gone]);
        let [a, b] = operands;
        [y, a, b]
    })
}

type Function = for<'g> fn(Var<'g, f64>, Var<'g, f64>) -> Var<'g, f64>;

/// An operation, its value and its derivatives by both operands.
type Binary = (
    Function,
    fn(f64, f64) -> f64,
    fn(f64, f64) -> f64,
    fn(f64, f64) -> f64,
);

const BINARY: [Binary; 4] = [
    (|a, b| a + b, |a, b| a + b, |_, _| 1.0, |_, _| 1.0),
    (|a, b| a - b, |a, b| a - b, |_, _| 1.0, |_, _| -1.0),
    (|a, b| a * b, |a, b| a * b, |_, b| b, |a, _| a),
    (
        |a, b| a / b,
        |a, b| a / b,
        |_, b| 1.0 / b,
        |a, b| -a / (b * b),
    ),
];

proptest! {
    #[test]
    fn broadcasting_is_a_loop_over_every_index([y, a, b] in broadcasting()) {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let (a_data, b_data) = (numbers(elements(&a), 1.0), numbers(elements(&b), 2.0));
        let c = numbers(elements(&y), 3.0);
        for (op, value, by_a, by_b) in BINARY {
            let mut expected = Vec::new();
            let mut grads = vec![0.0; a_data.len() + b_data.len()];
            for (index, c) in indices(&y).iter().zip(&c) {
                let (i, j) = (position(&a, index), position(&b, index));
                expected.push(value(a_data[i], b_data[j]));
                grads[i] += c * by_a(a_data[i], b_data[j]);
                grads[a_data.len() + j] += c * by_b(a_data[i], b_data[j]);
            }
            let found = run(&[(&a, &a_data), (&b, &b_data)], &c, |_, v| op(v[0], v[1]));
            assert_eq!(found.0, y);
            assert_close(&found.1, &expected);
            assert_close(&found.2, &grads);
        }
    }

    #[test]
    fn sums_are_loops_over_every_index(x in shapes(), reduced: [bool; MAX_RANK]) {
        let axes: Vec<usize> = (0..x.len()).filter(|&axis| reduced[axis]).collect();
        let extent = |axis: usize| if reduced[axis] { 1 } else { x[axis] };
        let y: Vec<usize> = (0..x.len()).map(extent).collect();
        let count: usize = axes.iter().map(|&axis| x[axis]).product();
        let data = numbers(x.iter().product(), 1.0);
        let c = numbers(y.iter().product(), 2.0);
        let mut sums = vec![0.0; c.len()];
        let mut grads = Vec::new();
        for (index, x) in indices(&x).iter().zip(&data) {
            sums[position(&y, index)] += x;
            grads.push(c[position(&y, index)]);
        }
        let sum = run(&[(&x, &data)], &c, |_, v| v[0].sum_keep(&axes));
        assert_eq!(&sum.0, &y);
        assert_close(&sum.1, &sums);
        assert_close(&sum.2, &grads);
        let without = run(&[(&x, &data)], &c, |_, v| v[0].sum_over(&axes));
        assert_eq!(without.0.len(), x.len() - axes.len());
        assert_eq!((without.1, without.2), (sum.1, sum.2));
        if count > 0 {
            let over_count = |v: &[f64]| v.iter().map(|x| x / count as f64).collect::<Vec<_>>();
            let mean = run(&[(&x, &data)], &c, |_, v| v[0].mean_keep(&axes));
            assert_close(&mean.1, &over_count(&sums));
            assert_close(&mean.2, &over_count(&grads));
        }
    }

    #[test]
    fn rearrangements_move_every_index(
        (x, order) in shapes().prop_flat_map(|x| {
            let order: Vec<usize> = (0..x.len()).collect();
            (Just(x), Just(order).prop_shuffle())
        }),
        cut in prop::array::uniform3(0..4_usize),
    ) {
        let data = numbers(x.iter().product(), 1.0);
        let permuted: Vec<usize> = order.iter().map(|&axis| x[axis]).collect();
        let c = numbers(data.len(), 2.0);
        let mut expected = Vec::new();
        let mut grads = vec![0.0; data.len()];
        for (index, c) in indices(&permuted).iter().zip(&c) {
            let mut source = vec![0; x.len()];
            order.iter().zip(index).for_each(|(&axis, &i)| source[axis] = i);
            expected.push(data[position(&x, &source)]);
            grads[position(&x, &source)] = *c;
        }
        // Cutting an axis in three and joining the parts changes nothing.
        let found = run(&[(&x, &data)], &c, |g, v| {
            let y = v[0].permute(&order);
            let Some(axis) = x.len().checked_sub(1).map(|last| cut[2] % (last + 1)) else {
                return y;
            };
            let extent = permuted[axis];
            let (i, j) = (cut[0].min(extent), cut[1].min(extent));
            let (i, j) = (i.min(j), i.max(j));
            g.concat(axis, &[0..i, i..j, j..extent].map(|range| y.slice(axis, range)))
        });
        assert_eq!(found, (permuted, expected, grads));
    }
}
