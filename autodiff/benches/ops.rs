//! The elementwise operations and reductions, forward and backward, on as many
//! elements as the largest activation of the MNIST MLP has (64 × 300, 75 KiB in
//! f32: they stream from L2). Throughput is in elements of one operand.
#![forbid(unsafe_code)]

use autodiff::{Params, Tape, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 64;
const UNITS: usize = 300;

type Record = for<'g> fn(Var<'g, f32>, Var<'g, f32>, Var<'g, f32>) -> Var<'g, f32>;

/// x and y are 64×300, the bias is 300.
const OPERATIONS: [(&str, Record); 22] = [
    ("add", |x, y, _| x + y),
    ("add bias", |x, _, b| x + b),
    ("sub", |x, y, _| x - y),
    ("mul", |x, y, _| x * y),
    ("div", |x, y, _| x / y),
    ("scale and shift", |x, _, _| x * 2.0),
    ("square", |x, _, _| x.square()),
    ("relu", |x, _, _| x.relu()),
    ("sqrt", |x, _, _| x.sqrt()),
    ("exp", |x, _, _| x.exp()),
    ("ln", |x, _, _| x.ln()),
    ("sigmoid", |x, _, _| x.sigmoid()),
    ("tanh", |x, _, _| x.tanh()),
    ("softplus", |x, _, _| x.softplus()),
    ("clamp", |x, _, _| x.clamp(1.0, 2.0)),
    ("sigmoid_cross_entropy", |x, y, _| {
        x.sigmoid_cross_entropy(y)
    }),
    ("softmax", |x, _, _| x.softmax()),
    ("transpose", |x, _, _| x.transpose()),
    ("sum", |x, _, _| x.sum()),
    ("sum over rows", |x, _, _| x.sum_over(&[0])),
    ("sum over columns", |x, _, _| x.sum_over(&[1])),
    ("squared_error", |x, y, _| x.squared_error(y)),
];

/// The operation between parameters and a sum, so that it has a gradient to pass on.
fn record(operation: Record) -> (Params<f32>, Tape<f32>) {
    let mut params = Params::new();
    let mut n = 0.0;
    let mut positive = || {
        n += 1.0;
        1.5 + f32::sin(n)
    };
    let mut add = |name, shape: &[usize]| {
        let shape = autodiff::Shape::new(shape).expect("few axes");
        params.add(name, shape, &mut positive).expect("new names")
    };
    let (x, y, b) = (
        add("x", &[BATCH, UNITS]),
        add("y", &[BATCH, UNITS]),
        add("b", &[UNITS]),
    );
    let recorded = autodiff::record(|g| Ok([operation(g.param(x), g.param(y), g.param(b)).sum()]));
    (params, recorded.expect("right shapes").0)
}

fn bench(criterion: &mut Criterion) {
    for pass in ["forward", "backward"] {
        let mut group = criterion.benchmark_group(pass);
        group.throughput(Throughput::Elements((BATCH * UNITS) as u64));
        for (name, operation) in OPERATIONS {
            let (params, mut tape) = record(operation);
            let mut grads = params.zeros_like();
            group.bench_function(name, |bencher| match pass {
                "forward" => bencher.iter(|| tape.forward(&params).is_ok()),
                _ => {
                    let mut pass = tape.forward(&params).expect("its own parameters");
                    bencher.iter(|| pass.backward(&mut grads));
                }
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
