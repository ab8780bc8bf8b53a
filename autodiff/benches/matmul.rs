//! Matrix products against the `matrixmultiply` crate, at the shapes of the training steps of sections 3.1 and 3.2
//! of the L4 paper. Of A a part is exactly 0, in runs as in images of digits, where the name says so: these are skipped.
//!
//! Throughput counts floating-point operations, 2·m·k·n for a product, as elements,
//! so Gelem/s reads as GFLOP/s.
#![forbid(unsafe_code)]

use autodiff::Real;
use autodiff::kernels::{Matrix, Term, gemm, gemm_by_matrixmultiply};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// C = op(A)·op(B), with C m×n and the inner dimension k.
#[derive(Clone, Copy)]
struct Product {
    what: &'static str,
    m: usize,
    k: usize,
    n: usize,
    transposed: [bool; 2],
    /// Per cent of A that are exactly 0.
    zeros: usize,
}

impl Product {
    const fn with_zeros(self, zeros: usize) -> Self {
        Self { zeros, ..self }
    }
}

const fn product(
    what: &'static str,
    [m, k, n]: [usize; 3],
    transposed_a: bool,
    transposed_b: bool,
) -> Product {
    let transposed = [transposed_a, transposed_b];
    Product {
        what,
        m,
        k,
        n,
        transposed,
        zeros: 0,
    }
}

/// Batch 64 of the MNIST MLP, and a cube.
const F32: [Product; 9] = [
    product("hidden1 forward", [64, 784, 300], false, false),
    product("hidden1 forward", [64, 784, 300], false, false).with_zeros(50),
    product("hidden1 forward", [64, 784, 300], false, false).with_zeros(80),
    product("hidden1 weight gradient", [784, 64, 300], true, false),
    product("hidden2 forward", [64, 300, 100], false, false),
    product("hidden2 weight gradient", [300, 64, 100], true, false),
    product("hidden2 input gradient", [64, 100, 300], false, true),
    product("output forward", [64, 100, 10], false, false),
    product("cube", [512, 512, 512], false, false),
];

/// All 1000 samples of the regression, and a cube.
const F64: [Product; 3] = [
    product("regression forward", [10, 6, 1000], false, false),
    product("regression weight gradient", [10, 1000, 6], false, true),
    product("cube", [512, 512, 512], false, false),
];

fn ours<T: Real>(p: Product, a: &[T], b: &[T], c: &mut [T]) {
    let [a, b] = [
        Matrix::new(a, p.transposed[0]),
        Matrix::new(b, p.transposed[1]),
    ];
    gemm(p.m, p.k, p.n, a, b, c, Term::First);
}

fn theirs<T: Real>(p: Product, a: &[T], b: &[T], c: &mut [T]) {
    let [a, b] = [
        Matrix::new(a, p.transposed[0]),
        Matrix::new(b, p.transposed[1]),
    ];
    gemm_by_matrixmultiply(p.m, p.k, p.n, a, b, c, Term::First);
}

type Multiply<T> = fn(Product, &[T], &[T], &mut [T]);

fn bench<T: Real>(criterion: &mut Criterion, products: &[Product]) {
    let engines: [(&str, Multiply<T>); 2] = [("autodiff", ours), ("matrixmultiply", theirs)];
    for &p in products {
        let Product {
            what,
            m,
            k,
            n,
            transposed: [ta, tb],
            zeros,
        } = p;
        let t = |transposed| if transposed { "ᵀ" } else { "" };
        let mut name = format!("{} {what} {m}×{k}{}·{k}×{n}{}", T::NAME, t(ta), t(tb));
        if zeros > 0 {
            name += &format!(", {zeros} % zeros");
        }
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        let fill = |len| {
            (0..len)
                .map(|i| T::nearest(f64::sin(i as f64)))
                .collect::<Vec<T>>()
        };
        let (mut a, b, mut c) = (fill(m * k), fill(k * n), fill(m * n));
        for run in a.chunks_mut(20) {
            let zeros = run.len() * zeros / 100;
            run[..zeros].fill(T::zero());
        }
        for (engine, multiply) in engines {
            group.bench_function(engine, |bencher| {
                bencher.iter(|| multiply(p, &a, &b, &mut c));
            });
        }
        group.finish();
    }
}

fn products(criterion: &mut Criterion) {
    bench::<f32>(criterion, &F32);
    bench::<f64>(criterion, &F64);
}

criterion_group!(benches, products);
criterion_main!(benches);
