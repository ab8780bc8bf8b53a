//! After the first step, a step allocates nothing: the allocator counts.

use autodiff::kernels::simd_level;
use autodiff::{BatchNormConfig, BatchNormMode, Padding, Params, Preactivation, Real, Var};

/// Every operation but products, on data x and a parameter w, both 4×6.
fn operations<'g, T: Real>(x: Var<'g, T>, w: Var<'g, T>) -> Vec<Var<'g, T>> {
    let half = T::nearest(0.5);
    let positive = w.square() + half;
    let row = w.sum_over(&[0]);
    let batch_norm = BatchNormConfig {
        mode: BatchNormMode::Training,
        decay: 0.9,
        epsilon: 1e-5,
    };
    vec![
        // Elementwise, on equal and on broadcast shapes.
        x + w - x * w / positive + row - row * x / row.tanh().exp(),
        (-(w * half + half - half) / T::nearest(3.0)).sigmoid(),
        positive.ln() + positive.sqrt(),
        w.tanh() + w.relu() + w.softplus() + w.clamp(-half, half),
        w.gelu() + w.abs() + w.sin() + w.cos() + positive.recip() + positive.powf(half),
        w.rsub(half) + positive.rdiv(half),
        w.maximum(row) + x.minimum(w),
        x.less(w).select(w, x * w),
        // Reductions.
        w.sum() + w.mean(),
        w.mean_over(&[1]),
        x - w.sum_keep(&[0]) * w.mean_keep(&[1]),
        w.max() + w.min(),
        w.max_over(&[0]) - w.min_over(&[0]),
        w.max_keep(&[1]) * w.min_keep(&[0]),
        // Rearrangements.
        w.reshape([2, 2, 6]).permute(&[2, 0, 1]),
        w.transpose().slice(0, 1..5),
        w.graph().concat(1, &[w, x, w]),
        w.graph().stack(1, &[w, x]),
        w.slices(&[1..3, 2..5]),
        w.gather(w.graph().indices([3], 4)),
        // Layers that keep something.
        w.dropout(0.5, [1; 32]),
        w.batch_norm(row, x.sum_over(&[0]), batch_norm),
        w.batch_norm_relu(x.sum_over(&[0]), row, batch_norm),
        w.layer_norm(row, x.sum_over(&[0]), 1e-5),
        w.reshape([1, 4, 6, 1]).max_pool2d(2, 2),
        w.reshape([1, 4, 6, 1])
            .conv2d(w.reshape([2, 3, 1, 4]), 1, Padding::Same),
        x.reshape([2, 4, 3, 1]).conv2d_bias_relu(
            w.reshape([3, 2, 1, 4]),
            w.sum_over(&[1]),
            2,
            Padding::Valid,
        ),
        x.reshape([2, 4, 3, 1]).conv2d_bias_relu_max_pool(
            w.reshape([3, 2, 1, 4]),
            w.sum_over(&[1]),
            1,
            Padding::Same,
            2,
        ),
        residual_block(w, batch_norm),
        w.reshape([1, 4, 6, 1]).global_average_pool(),
        // Probabilities and losses.
        w.graph().half_squared_norm(&[w, row]),
        w.softmax(),
        w.log_softmax(),
        w.logsumexp(),
        w.cross_entropy(w.graph().indices([4], 6)),
        w.softmax_cross_entropy(x.softmax()),
        w.sigmoid_cross_entropy(x.sigmoid()),
        w.squared_error(x),
    ]
}

/// Of one channel, without a projection; and with one.
fn residual_block<'g, T: Real>(w: Var<'g, T>, config: BatchNormConfig) -> Var<'g, T> {
    let [scale, shift] = [1, 2].map(|row| w.slice(0, row..row + 1).slice(1, 0..1).reshape([1]));
    let kernel = w.slice(0, 0..3).slice(1, 1..4).reshape([3, 3, 1, 1]);
    let half = Preactivation {
        scale,
        shift,
        kernel,
    };
    let x = w.reshape([1, 4, 6, 1]);
    let y = x.residual_block([half; 2], None, 1, config);
    let projection = w.slice(0, 3..4).slice(1, 2..3).reshape([1, 1, 1, 1]);
    y.residual_block([half; 2], Some(projection), 2, config)
}

/// Products in all transpositions, and what is made of products.
fn products<'g, T: Real>(x: Var<'g, T>, w: Var<'g, T>) -> Vec<Var<'g, T>> {
    vec![
        x.matmul(w.transpose()),
        x.transpose().matmul(w),
        w.matmul(x.transpose()),
        w.transpose().matmul(x.transpose().transpose()),
        x.affine(w.transpose(), w.sum_over(&[1])),
        w.product_squared_error(x.transpose(), x.matmul(w.transpose())),
    ]
}

/// Counts the allocations of three steps of gradient descent on the sum of all
/// results, after one to warm up.
fn allocations<T: Real>(record: impl for<'g> Fn(Var<'g, T>, Var<'g, T>) -> Vec<Var<'g, T>>) -> u64 {
    let mut params = Params::<T>::new();
    let mut n = 0.0;
    let mut next = || {
        n += 1.0;
        T::nearest(f64::sin(n))
    };
    let w = params.add("w", [4, 6], &mut next).unwrap();
    let data: Vec<T> = std::iter::repeat_with(next).take(24).collect();
    let mut grads = params.zeros_like();

    let (mut tape, [x, _]) = autodiff::record(|g| {
        let x = g.input([4, 6]);
        let results = record(x, g.param(w));
        let root = results.into_iter().map(|y| y.sum()).reduce(|a, b| a + b);
        Ok([x, root.unwrap()])
    })
    .unwrap();

    let mut step = || {
        tape.set(x, &data).unwrap();
        let mut pass = tape.forward(&params).unwrap();
        assert!(pass.loss().unwrap().is_finite());
        pass.backward(&mut grads).unwrap();
        for (w, g) in params.values_mut().iter_mut().zip(grads.iter()) {
            *w -= T::nearest(1e-3) * *g;
        }
    };
    step();
    let counted = allocation_counter::measure(|| (0..3).for_each(|_| step())).count_total;
    assert!(
        grads.iter().all(|g| g.is_finite() && !g.is_zero()),
        "{grads:?}"
    );
    counted
}

#[test]
fn operations_allocate_nothing() {
    assert_eq!(allocations::<f32>(operations), 0);
    assert_eq!(allocations::<f64>(operations), 0);
}

/// Without SIMD kernels products are `matrixmultiply`'s, which allocates a buffer
/// for each.
#[test]
fn products_allocate_nothing_where_the_kernels_are_ours() {
    if simd_level() != "portable" {
        assert_eq!(allocations::<f32>(products), 0);
        assert_eq!(allocations::<f64>(products), 0);
    }
}

#[test]
fn the_allocator_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1; 8])));
    assert_eq!(counted.count_total, 1);
}
