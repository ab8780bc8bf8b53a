//! Convolutions of the ResNet of section 3.3 (batch 128) and the ConvNet of section 3.5 of the L4 paper
//! (batch 100), on one thread: forward, input gradient, weight gradient.
//!
//! Throughput counts floating-point operations as elements, so Gelem/s reads as GFLOP/s. The
//! first line, multiply-adds on registers alone, is the peak to compare with. The first layers
//! have no input gradient, since images are data.
#![forbid(unsafe_code)]

use autodiff::kernels::{Axis, Conv, Convolution, Kernel, Lanes, Term, Wanted, run};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Multiply-adds that wait for nothing but their own latency.
struct MultiplyAdds {
    rounds: usize,
}

/// Independent sums: more than latency (4 cycles) × throughput (2 a cycle).
const SUMS: usize = 12;

impl Kernel<f32> for MultiplyAdds {
    /// A sum that depends on all of them, and their number.
    type Output = (f32, usize);

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> (f32, usize) {
        let (x, y) = (lanes.splat(black_box(0.999)), lanes.splat(black_box(0.001)));
        let mut sums = [lanes.splat(1.0); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = lanes.mul_add(*sum, x, y);
            }
        }
        let total = sums.into_iter().reduce(|a, b| lanes.add(a, b));
        let total = total.expect("there are sums");
        (lanes.sum(total), self.rounds * SUMS * L::WIDTH)
    }
}

/// A layer on square images, with TensorFlow's SAME padding.
#[derive(Clone, Copy)]
struct Layer {
    batch: usize,
    extent: usize,
    kernel: usize,
    stride: usize,
    channels: [usize; 2],
}

const fn layer(
    batch: usize,
    extent: usize,
    kernel: usize,
    stride: usize,
    channels: [usize; 2],
) -> Layer {
    Layer {
        batch,
        extent,
        kernel,
        stride,
        channels,
    }
}

const LAYERS: [Layer; 11] = [
    layer(128, 32, 3, 1, [3, 16]),
    layer(128, 32, 3, 1, [16, 16]),
    layer(128, 32, 3, 2, [16, 32]),
    layer(128, 16, 3, 1, [32, 32]),
    layer(128, 16, 3, 2, [32, 64]),
    layer(128, 8, 3, 1, [64, 64]),
    layer(128, 32, 1, 1, [16, 16]),
    layer(128, 32, 1, 2, [16, 32]),
    layer(128, 16, 1, 2, [32, 64]),
    layer(100, 28, 5, 1, [1, 32]),
    layer(100, 14, 5, 1, [32, 64]),
];

impl Layer {
    fn conv(self) -> Conv {
        let output = self.extent.div_ceil(self.stride);
        let zeros = ((output - 1) * self.stride + self.kernel).saturating_sub(self.extent);
        let axis = Axis {
            input: self.extent,
            kernel: self.kernel,
            output,
            stride: self.stride,
            before: zeros / 2,
        };
        let [ci, co] = self.channels;
        Conv {
            batch: self.batch,
            rows: axis,
            columns: axis,
            ci,
            co,
            winograd: true,
        }
    }

    fn name(self) -> String {
        let Self {
            batch,
            extent,
            kernel,
            stride,
            channels: [ci, co],
        } = self;
        format!("{batch}×{extent}×{extent}×{ci} {kernel}×{kernel}→{co} stride {stride}")
    }
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32).sin()).collect()
}

fn peak(criterion: &mut Criterion) {
    let rounds = 10_000;
    let (_, count) = run(MultiplyAdds { rounds });
    let mut group = criterion.benchmark_group("conv");
    group.throughput(Throughput::Elements(2 * count as u64));
    group.bench_function("peak: multiply-adds on registers", |bencher| {
        bencher.iter(|| run(MultiplyAdds { rounds }));
    });
    group.finish();
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv");
    for layer in LAYERS {
        let conv = layer.conv();
        let Conv { batch, ci, co, .. } = conv;
        let pixels = batch * conv.rows.output * conv.columns.output;
        let taps = conv.rows.kernel * conv.columns.kernel;
        group.throughput(Throughput::Elements((2 * pixels * taps * ci * co) as u64));
        let x = numbers(batch * layer.extent * layer.extent * ci);
        let (kernel, dy) = (numbers(taps * ci * co), numbers(pixels * co));
        let (mut y, mut dx) = (dy.clone(), x.clone());
        let mut convolution = Convolution::new(conv).unwrap();
        let id = |pass| BenchmarkId::new(pass, layer.name());
        group.bench_function(id("forward"), |bencher| {
            bencher.iter(|| convolution.forward(&x, &kernel, None, &mut y));
        });
        let wanted = |kernel| Wanted {
            kernel,
            bias: false,
        };
        if ci > 3 {
            group.bench_function(id("input gradient"), |bencher| {
                bencher.iter(|| {
                    let dx = Some((&mut dx[..], Term::First));
                    convolution.backward(&x, &kernel, None, &dy, dx, wanted(false));
                });
            });
        }
        group.bench_function(id("weight gradient"), |bencher| {
            bencher.iter(|| convolution.backward(&x, &kernel, None, &dy, None, wanted(true)));
        });
    }
    group.finish();
}

criterion_group!(benches, peak, layers);
criterion_main!(benches);
