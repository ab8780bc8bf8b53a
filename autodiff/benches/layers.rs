//! What the convolutional networks of sections 3.3 and 3.5 of the L4 paper do between convolutions,
//! forward and backward, at the sizes that they do it. Throughput is in bytes of x, of
//! which a machine moves so many a second and no more.
#![forbid(unsafe_code)]

use autodiff::{BatchNormConfig, BatchNormMode, Params, Tape, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH_NORM: BatchNormConfig = BatchNormConfig {
    mode: BatchNormMode::Training,
    decay: 0.997,
    epsilon: 1e-5,
};

type Record = for<'g> fn(Var<'g, f32>, [Var<'g, f32>; 2]) -> Var<'g, f32>;

/// Name, shape of x, operation on x and two rows of as many elements as x has channels.
const LAYERS: [(&str, [usize; 4], Record); 9] = [
    ("batch_norm_relu, stage 1", [128, 32, 32, 16], norm_relu),
    ("batch_norm_relu, stage 2", [128, 16, 16, 32], norm_relu),
    ("batch_norm_relu, stage 3", [128, 8, 8, 64], norm_relu),
    ("add, stage 1", [128, 32, 32, 16], |x, _| x + x),
    ("relu, stage 1", [128, 32, 32, 16], |x, _| x.relu()),
    ("global_average_pool", [128, 8, 8, 64], |x, _| {
        x.global_average_pool()
    }),
    ("max_pool2d, first", [100, 28, 28, 32], |x, _| {
        x.max_pool2d(2, 2)
    }),
    ("max_pool2d, second", [100, 14, 14, 64], |x, _| {
        x.max_pool2d(2, 2)
    }),
    ("dropout", [100, 1, 1, 1024], |x, _| x.dropout(0.4, [1; 32])),
];

fn norm_relu<'g>(x: Var<'g, f32>, [scale, shift]: [Var<'g, f32>; 2]) -> Var<'g, f32> {
    x.batch_norm_relu(scale, shift, BATCH_NORM)
}

/// The layer between parameters and a sum, so that it has a gradient to pass on.
fn record(shape: [usize; 4], layer: Record) -> (Params<f32>, Tape<f32>) {
    let (mut params, mut n) = (Params::new(), 0.0);
    let mut next = || {
        n += 1.0;
        f32::sin(n)
    };
    let channels = [shape[3]];
    let x = params.add("x", shape, &mut next).expect("new names");
    let rows = ["scale", "shift"].map(|name| params.add(name, channels, &mut next));
    let rows = rows.map(|row| row.expect("new names"));
    let recorded = autodiff::record(|g| {
        let rows = rows.map(|row| g.param(row));
        Ok([layer(g.param(x), rows).sum()])
    });
    (params, recorded.expect("right shapes").0)
}

fn bench(criterion: &mut Criterion) {
    for (name, shape, layer) in LAYERS {
        let mut group = criterion.benchmark_group(name);
        let bytes = size_of::<f32>() * shape.iter().product::<usize>();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(20);
        let (params, mut tape) = record(shape, layer);
        let mut grads = params.zeros_like();
        group.bench_function("forward", |bencher| {
            bencher.iter(|| tape.forward(&params).is_ok());
        });
        group.bench_function("backward", |bencher| {
            let mut pass = tape.forward(&params).expect("its own parameters");
            bencher.iter(|| pass.backward(&mut grads));
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
