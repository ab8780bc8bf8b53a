//! Every kernel against naive loops.

use super::correlation::Repeats;
use super::pack::pack;
use super::*;
use crate::Threads;
use crate::kernels::Real;
use crate::kernels::simd::testing::{integers, on_every_level};
use crate::kernels::{Job, Term};

/// Rows, columns, kernel rows, inner length, distance of pixels, channels: around every
/// edge of tiles, registers and panels.
const SIZES: [[usize; 6]; 12] = [
    [1, 1, 1, 1, 1, 1],
    [2, 3, 2, 5, 1, 3],
    [3, 7, 3, 9, 3, 16],
    [2, 8, 3, 48, 16, 17],
    [5, 9, 1, 13, 26, 31],
    [4, 16, 2, 12, 4, 32],
    [3, 33, 3, 11, 5, 33],
    [2, 15, 2, 25, 2, 48],
    [1, 6, 4, 1, 2, 64],
    [40, 5, 3, 64, 64, 8],
    [2, 4, 0, 3, 1, 5],
    [2, 4, 2, 0, 1, 5],
];

fn correlations<T: Real>() {
    on_every_level(|name, level| {
        for [rows, columns, kernel_rows, inner, x_pixel, channels] in SIZES {
            let kernel_row = (columns - 1) * x_pixel + inner + 1;
            let x_row = 2 * kernel_row;
            let depth = kernel_rows * inner;
            let x: Vec<T> = integers((2 * rows + kernel_rows) * kernel_row, 1);
            let w: Vec<T> = integers(depth * channels, 2);
            let bias: Vec<T> = integers(channels, 3);
            let mut panels = vec![T::nan(); depth * channels.next_multiple_of(PANEL)];
            pack(
                &mut panels,
                &w,
                channels,
                (0..depth).map(|k| k * channels),
                1,
            );
            let y_pixel = 2 * channels + 1;
            let y_row = columns * y_pixel;
            for (term, relu) in [
                (Term::First, false),
                (Term::Further, false),
                (Term::First, true),
            ] {
                let mut y: Vec<T> = integers(rows * y_row, 4);
                let mut expected = y.clone();
                for i in 0..rows {
                    for j in 0..columns {
                        for c in 0..channels {
                            let mut sum = if relu { bias[c] } else { T::zero() };
                            for r in 0..kernel_rows {
                                for k in 0..inner {
                                    sum += x[i * x_row + j * x_pixel + r * kernel_row + k]
                                        * w[(r * inner + k) * channels + c];
                                }
                            }
                            let y = &mut expected[i * y_row + j * y_pixel + c];
                            *y = match term {
                                Term::Further => *y + sum,
                                Term::First if relu => sum.max(T::zero()),
                                Term::First => sum,
                            };
                        }
                    }
                }
                level.run(Correlation {
                    x: &x,
                    x_row,
                    x_pixel,
                    kernel_rows,
                    kernel_row,
                    inner,
                    panels: &panels,
                    y: &mut y,
                    y_row,
                    y_pixel,
                    rows,
                    columns,
                    channels,
                    term,
                    bias_relu: relu.then_some(&bias),
                    repeats: Repeats::NONE,
                    ahead: [&x, &bias, &[], &w],
                });
                assert!(
                    y == expected,
                    "{name}, {rows}×{columns}, {channels}, {term:?}"
                );
            }
        }
    });
}

#[test]
fn correlations_agree_with_naive_loops() {
    correlations::<f32>();
    correlations::<f64>();
}

fn weight_gradients<T: Real>() {
    on_every_level(|name, level| {
        for [rows, columns, kernel_rows, inner, x_pixel, channels] in SIZES {
            let kernel_row = (columns - 1) * x_pixel + inner + 1;
            let x_row = 2 * kernel_row;
            let dy_row = (columns + 1) * channels;
            let x: Vec<T> = integers((2 * rows + kernel_rows) * kernel_row, 1);
            let dy: Vec<T> = integers(rows * dy_row, 2);
            let mut dkernel: Vec<T> = integers(kernel_rows * inner * channels, 3);
            let mut expected = dkernel.clone();
            for (index, dkernel) in expected.iter_mut().enumerate() {
                let (k, c) = (index / channels, index % channels);
                let (r, k) = (k / inner, k % inner);
                for i in 0..rows {
                    for j in 0..columns {
                        *dkernel += x[i * x_row + j * x_pixel + r * kernel_row + k]
                            * dy[i * dy_row + j * channels + c];
                    }
                }
            }
            level.run(WeightGradient {
                x: &x,
                x_row,
                x_pixel,
                kernel_rows,
                kernel_row,
                inner,
                dy: &dy,
                dy_row,
                rows,
                columns,
                channels,
                dkernel: &mut dkernel,
                repeats: Repeats::NONE,
                ahead: [&dy, &[], &x, &[]],
            });
            assert!(dkernel == expected, "{name}, {rows}×{columns}, {channels}");
        }
    });
}

#[test]
fn weight_gradients_agree_with_naive_loops() {
    weight_gradients::<f32>();
    weight_gradients::<f64>();
}

#[test]
#[should_panic(expected = "beyond x")]
fn what_reads_beyond_x_is_refused() {
    f32::run(Job::Correlation(Correlation {
        x: &[0.0; 7],
        x_row: 4,
        x_pixel: 1,
        kernel_rows: 1,
        kernel_row: 4,
        inner: 2,
        panels: &[0.0; 32],
        y: &mut [0.0; 6],
        y_row: 3,
        y_pixel: 1,
        rows: 2,
        columns: 3,
        channels: 1,
        term: Term::First,
        bias_relu: None,
        repeats: Repeats::NONE,
        ahead: [&[]; 4],
    }));
}

/// y, dx and the gradients of kernel and bias of a layer with bias and ReLU.
fn everything(conv: Conv) -> [Vec<f32>; 4] {
    let data =
        |n: usize, rate: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * rate).sin()).collect() };
    let x = data(conv.batch * conv.x_image(), 0.7);
    let (kernel, bias) = (data(conv.kernel(), 1.1), data(conv.co, 1.3));
    let mut y = vec![0.0; conv.batch * conv.y_image()];
    let dy = data(y.len(), 1.7);
    let (mut dx, mut dkernel) = (vec![0.0; x.len()], vec![0.0; kernel.len()]);
    let mut dbias = vec![0.0; conv.co];
    let mut convolution = Convolution::new(conv).unwrap();
    convolution.forward(&x, &kernel, Some(&bias), &mut y);
    let wanted = Wanted {
        kernel: true,
        bias: true,
    };
    let term = Some((&mut dx[..], Term::First));
    convolution.backward(&x, &kernel, Some(&y), &dy, term, wanted);
    for (k, b) in convolution.sums() {
        dkernel.iter_mut().zip(k).for_each(|(sum, &x)| *sum += x);
        dbias.iter_mut().zip(b).for_each(|(sum, &x)| *sum += x);
    }
    [y, dx, dkernel, dbias]
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let conv = |stride, output, ci| {
        let axis = Axis {
            input: 9,
            kernel: 3,
            output,
            stride,
            before: 1,
        };
        Conv {
            batch: 19,
            rows: axis,
            columns: axis,
            ci,
            co: 18,
            winograd: true,
        }
    };
    let (direct, tiled) = (conv(2, 5, 5), conv(1, 9, 16));
    assert_eq!([direct.tile(), tiled.tile()], [None, Some(4)]);
    for conv in [direct, tiled] {
        let alone = everything(conv);
        for threads in [2, 3] {
            let shared = Threads::new(threads).unwrap().run(|| everything(conv));
            for (name, (s, a)) in ["y", "dx", "dkernel", "dbias"]
                .into_iter()
                .zip(shared.iter().zip(&alone))
            {
                assert_eq!(s, a, "{name}, {threads} threads, {conv:?}");
            }
        }
    }
}
