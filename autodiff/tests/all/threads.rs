//! The bits of values and gradients are the same with 1, 2, 3 and 4 threads, for operations
//! that are large enough to be shared out.

use autodiff::{BatchNormConfig, BatchNormMode, Padding, Params, Slot, Tape, Threads, Var, record};

/// Irregular numbers between -1.5 and 1.5, of which `zeros` in four are 0.
fn numbers(n: usize, zeros: usize) -> impl FnMut() -> f32 {
    let mut i = n;
    move || {
        i = i.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3);
        let (kept, digits) = ((i >> 40) % 4 >= zeros, (i >> 42) % 3001);
        if kept {
            digits as f32 / 1000.0 - 1.5
        } else {
            0.0
        }
    }
}

/// The bits of the root's value and of all gradients.
fn bits(tape: &mut Tape<f32>, root: Slot, params: &Params<f32>) -> Vec<u32> {
    let mut grads = vec![f32::NAN; params.len()];
    let mut pass = tape.forward(params).unwrap();
    let value = pass.value(root).unwrap().to_vec();
    pass.backward(&mut grads).unwrap();
    [value, grads]
        .concat()
        .iter()
        .map(|x| x.to_bits())
        .collect()
}

/// Checks what `f` makes of parameters of these shapes, `zeros` in four of the first one 0.
fn check(
    what: &str,
    shapes: &[&[usize]],
    zeros: usize,
    f: impl for<'g> Fn(&[Var<'g, f32>]) -> Var<'g, f32>,
) {
    let mut params = Params::new();
    for (i, shape) in shapes.iter().enumerate() {
        let fill = numbers(i + 1, if i == 0 { zeros } else { 0 });
        let shape = autodiff::Shape::new(shape).unwrap();
        params.add(i.to_string(), shape, fill).unwrap();
    }
    let (mut tape, [y, _]) = record(|g| {
        let vars: Vec<_> = params.iter().map(|(_, p)| g.param(p)).collect();
        let y = f(&vars);
        let elements = y.shape()?.elements();
        let weights: Vec<f32> = std::iter::repeat_with(numbers(77, 0))
            .take(elements)
            .collect();
        Ok([y, (y * g.constant(y.shape()?, &weights)).sum()])
    })
    .unwrap();
    let alone = bits(&mut tape, y, &params);
    for threads in [2, 3, 4] {
        tape.set_threads(&Threads::new(threads).unwrap());
        assert!(
            bits(&mut tape, y, &params) == alone,
            "{what}, {threads} threads"
        );
    }
}

#[test]
fn matrix_products() {
    for zeros in [0, 3] {
        check("A·B", &[&[139, 301], &[301, 133]], zeros, |v| {
            v[0].matmul(v[1])
        });
        check("Aᵀ·B", &[&[301, 139], &[301, 133]], zeros, |v| {
            v[0].transpose().matmul(v[1])
        });
        check("A·Bᵀ", &[&[139, 301], &[133, 301]], zeros, |v| {
            v[0].matmul(v[1].transpose())
        });
        check(
            "affine",
            &[&[2, 139, 301], &[301, 133], &[133]],
            zeros,
            |v| v[0].affine(v[1], v[2]),
        );
        check("batches", &[&[7, 70, 90], &[7, 90, 80]], zeros, |v| {
            v[0].matmul(v[1])
        });
        check("one for all", &[&[7, 70, 90], &[90, 80]], zeros, |v| {
            v[0].matmul(v[1])
        });
    }
}

/// Which zeros are skipped shows where they meet what is not finite.
#[test]
fn products_of_zeros_and_infinities() {
    let mut params = Params::new();
    let a = params.add("a", [141, 301], numbers(1, 3)).unwrap();
    let b = params.add("b", [301, 133], numbers(2, 0)).unwrap();
    for infinite in params.view_mut(b).iter_mut().step_by(997) {
        *infinite = f32::INFINITY;
    }
    let (mut tape, [y]) = record(|g| Ok([g.param(a).matmul(g.param(b))])).unwrap();
    let mut run = |threads| {
        tape.set_threads(&Threads::new(threads).unwrap());
        let pass = tape.forward(&params).unwrap();
        let y = pass.value(y).unwrap();
        y.iter()
            .map(|x| (x.is_nan(), if x.is_nan() { 0 } else { x.to_bits() }))
            .collect::<Vec<_>>()
    };
    let alone = run(1);
    let nans = alone.iter().filter(|(nan, _)| *nan).count();
    assert!(
        nans > 0 && nans < alone.len(),
        "some zeros met infinities: {nans}"
    );
    for threads in [2, 3, 4] {
        assert!(run(threads) == alone, "{threads} threads");
    }
}

#[test]
fn elementwise() {
    let long: &[usize] = &[100_003];
    check("unary", &[long], 0, |v| {
        v[0].tanh().exp() + v[0].square().sin()
    });
    check("constants", &[long], 2, |v| (v[0] * 3.0 - 1.0).relu() / 7.0);
    check("binary", &[long, long], 0, |v| {
        v[0] * v[1] + v[0] / (v[1] * v[1] + 1.0)
    });
    let (matrix, row, column): (&[usize], &[usize], &[usize]) = (&[401, 307], &[307], &[401, 1]);
    check("row", &[matrix, row], 0, |v| {
        v[0] * v[1] - v[1].maximum(v[0])
    });
    check("column", &[column, matrix], 0, |v| v[0] * v[1] + v[0]);
    check("both", &[column, row], 0, |v| v[0] * v[1]);
    check("scalar", &[matrix, &[]], 0, |v| v[0] * v[1]);
    check("middle", &[&[40, 61, 50], &[40, 1, 50]], 0, |v| {
        v[0] / (v[1] * v[1] + 1.0)
    });
}

#[test]
fn layers_of_images() {
    let config = BatchNormConfig {
        mode: BatchNormMode::Training,
        decay: 0.9,
        epsilon: 1e-3,
    };
    let norm: [&[usize]; 3] = [&[70_001, 3], &[3], &[3]];
    check("batch_norm", &norm, 0, |v| {
        v[0].batch_norm(v[1], v[2], config)
    });
    check("batch_norm_relu", &norm, 1, |v| {
        v[0].batch_norm_relu(v[1], v[2], config)
    });
    check("max_pool2d", &[&[7, 31, 33, 5]], 1, |v| {
        v[0].max_pool2d(3, 2)
    });
    // Directly, and in Winograd's tiles.
    for channels in [3, 16] {
        let layer: [&[usize]; 3] = [&[11, 12, 14, channels], &[5, 5, channels, 18], &[18]];
        check("conv2d_bias_relu_max_pool", &layer, 0, |v| {
            v[0].conv2d_bias_relu_max_pool(v[1], v[2], 1, Padding::Same, 2)
        });
    }
}
