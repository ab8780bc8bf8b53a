//! The transforms against their matrices, the passes against naive loops.

use super::grid::Grid;
use super::transforms::{Then, Work};
use super::*;
use crate::kernels::conv::{Convolution, Wanted};
use crate::kernels::simd::testing::{integers, on_every_level};
use crate::kernels::{Job, Term};

fn numbers<T: Real>(n: usize, seed: usize) -> Vec<T> {
    let of = |i: usize| ((i + seed) * 7919 % 4001) as f64 / 2000.0 - 1.0;
    (0..n).map(|i| T::nearest(of(i))).collect()
}

fn axis(input: usize, kernel: usize, [before, after]: [usize; 2]) -> Axis {
    Axis {
        input,
        kernel,
        output: before + input + after + 1 - kernel,
        stride: 1,
        before,
    }
}

fn conv(batch: usize, axes: [Axis; 2], [ci, co]: [usize; 2]) -> Conv {
    let [rows, columns] = axes;
    Conv {
        batch,
        rows,
        columns,
        ci,
        co,
        winograd: true,
    }
}

/// Whole tiles and parts of them, more and fewer images than chunks, channels that fill
/// registers and that do not, as much padding as there can be, and none.
fn cases() -> [Conv; 5] {
    [
        conv(9, [axis(8, 3, [1, 1]), axis(4, 3, [1, 1])], [16, 32]),
        conv(2, [axis(7, 3, [2, 0]), axis(5, 3, [0, 2])], [17, 19]),
        conv(3, [axis(6, 3, [0, 0]), axis(10, 3, [0, 0])], [33, 16]),
        conv(17, [axis(4, 5, [2, 2]), axis(7, 5, [2, 2])], [16, 16]),
        conv(1, [axis(9, 5, [4, 0]), axis(6, 5, [0, 0])], [20, 40]),
    ]
}

/// Calls `f` with the places in x, the kernel and y of every product.
fn products(conv: &Conv, mut f: impl FnMut([usize; 3])) {
    let Conv {
        rows,
        columns,
        ci,
        co,
        ..
    } = *conv;
    let all = |n: usize, m: usize| (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)));
    for n in 0..conv.batch {
        for (i, j) in all(rows.output, columns.output) {
            for (a, b) in all(rows.kernel, columns.kernel) {
                let (row, column) = (i + a, j + b);
                let inside =
                    |axis: Axis, at: usize| at >= axis.before && at < axis.before + axis.input;
                if !inside(rows, row) || !inside(columns, column) {
                    continue;
                }
                let (row, column) = (row - rows.before, column - columns.before);
                for (k, c) in all(ci, co) {
                    f([
                        ((n * rows.input + row) * columns.input + column) * ci + k,
                        ((a * columns.kernel + b) * ci + k) * co + c,
                        ((n * rows.output + i) * columns.output + j) * co + c,
                    ]);
                }
            }
        }
    }
}

fn assert_near<T: Real>(actual: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let most = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (i, (&a, e)) in actual.iter().zip(expected).enumerate() {
        let error = (a.in_f64() - e).abs();
        assert!(error <= tolerance * most, "{what}[{i}]: {a} for {e}");
    }
}

fn agrees_with_naive_loops<T: Real>(tolerance: f64) {
    for conv in cases() {
        assert!(conv.tile().is_some(), "{conv:?}");
        let x: Vec<T> = numbers(conv.batch * conv.x_image(), 1);
        let kernel: Vec<T> = numbers(conv.kernel(), 2);
        let bias: Vec<T> = numbers(conv.co, 3);
        let dy: Vec<T> = numbers(conv.batch * conv.y_image(), 4);
        for relu in [false, true] {
            let what = |name| format!("{name} of {conv:?}, ReLU: {relu}");
            let mut y = vec![0.0; dy.len()];
            products(&conv, |[i, j, k]| y[k] += (x[i] * kernel[j]).in_f64());
            if relu {
                for (i, y) in y.iter_mut().enumerate() {
                    *y = (*y + bias[i % conv.co].in_f64()).max(0.0);
                }
            }
            let mut convolution = Convolution::new(conv).unwrap();
            let mut actual = vec![T::nan(); y.len()];
            convolution.forward(&x, &kernel, relu.then_some(&bias), &mut actual);
            assert_near(&actual, &y, tolerance, &what("y"));

            let passed = |k: usize| match relu && actual[k] <= T::zero() {
                true => 0.0,
                false => dy[k].in_f64(),
            };
            let before: Vec<T> = numbers(x.len(), 5);
            let mut dx: Vec<f64> = before.iter().map(|x| x.in_f64()).collect();
            let (mut dkernel, mut dbias) = (vec![0.0; kernel.len()], vec![0.0; conv.co]);
            products(&conv, |[i, j, k]| {
                dx[i] += kernel[j].in_f64() * passed(k);
                dkernel[j] += x[i].in_f64() * passed(k);
            });
            (0..dy.len()).for_each(|k| dbias[k % conv.co] += passed(k));
            let mut actual_dx = before;
            let wanted = Wanted {
                kernel: true,
                bias: true,
            };
            convolution.backward(
                &x,
                &kernel,
                relu.then_some(&actual),
                &dy,
                Some((&mut actual_dx, Term::Further)),
                wanted,
            );
            assert_near(&actual_dx, &dx, tolerance, &what("dx"));
            let mut sums = [vec![T::zero(); kernel.len()], vec![T::zero(); conv.co]];
            for (k, b) in convolution.sums() {
                sums[0].iter_mut().zip(k).for_each(|(sum, &x)| *sum += x);
                sums[1].iter_mut().zip(b).for_each(|(sum, &x)| *sum += x);
            }
            assert_near(&sums[0], &dkernel, tolerance, &what("dkernel"));
            assert_near(&sums[1], &dbias, tolerance, &what("dbias"));
        }
    }
}

#[test]
fn tiles_agree_with_naive_loops() {
    agrees_with_naive_loops::<f64>(1e-13);
    agrees_with_naive_loops::<f32>(2e-5);
}

/// √(Σ (a − b)² / Σ b²)
fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let squares = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f(a.into(), b).powi(2)).sum()
    };
    (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
}

/// Relative errors in f32 of y in tiles and summed directly, by one tap after another.
fn errors(conv: Conv, x: &[f32], kernel: &[f32]) -> [f64; 2] {
    let mut exact = vec![0.0; conv.y_image()];
    products(&conv, |[i, j, k]| {
        exact[k] += f64::from(x[i]) * f64::from(kernel[j]);
    });
    [true, false].map(|winograd| {
        let mut y = vec![0.0; exact.len()];
        let conv = Conv { winograd, ..conv };
        let mut convolution = Convolution::new(conv).unwrap();
        convolution.forward(x, kernel, None, &mut y);
        relative_error(&y, &exact)
    })
}

fn layer_with(taps: usize) -> Conv {
    let same = axis(8, taps, [taps / 2; 2]);
    conv(1, [same, same], [64, 64])
}

#[test]
fn errors_are_bounded() {
    for taps in [3, 5] {
        let conv = layer_with(taps);
        let (x, kernel) = (numbers(conv.x_image(), 1), numbers(conv.kernel(), 2));
        let [tiled, direct] = errors(conv, &x, &kernel);
        println!("{taps} taps: {tiled:e} in tiles, {direct:e} directly");
        assert!(tiled < 8e-6 && direct < 2e-6, "{tiled:e}, {direct:e}");
    }
}

/// Pairs of channels that hardly differ, under weights that look for their difference: y is what is
/// left of terms a hundred times as large that cancel, and the errors are relative to it.
#[test]
fn errors_on_hard_inputs_are_bounded() {
    for taps in [3, 5] {
        let conv = layer_with(taps);
        let (mut x, noise) = (
            numbers(conv.x_image(), 1),
            numbers::<f32>(conv.x_image(), 5),
        );
        for (pair, noise) in x.chunks_exact_mut(2).zip(noise) {
            pair[1] = pair[0] + 0.01 * noise;
        }
        let mut kernel = numbers(conv.kernel(), 2);
        for of_pair in kernel.chunks_exact_mut(2 * conv.co) {
            let (one, other) = of_pair.split_at_mut(conv.co);
            one.iter()
                .zip(other)
                .for_each(|(one, other): (&f32, _)| *other = -one);
        }
        let [tiled, direct] = errors(conv, &x, &kernel);
        println!("{taps} taps, hard: {tiled:e} in tiles, {direct:e} directly");
        assert!(tiled < 3.5e-4 && direct < 1e-5, "{tiled:e}, {direct:e}");
    }
}

#[test]
fn each_gradient_can_be_left_out() {
    let conv = cases()[0];
    let x: Vec<f64> = numbers(conv.batch * conv.x_image(), 1);
    let kernel: Vec<f64> = numbers(conv.kernel(), 2);
    let dy: Vec<f64> = numbers(conv.batch * conv.y_image(), 4);
    let gradients = |wants_x: bool, kernel_too: bool| {
        let mut dx = vec![0.0; x.len()];
        let term = wants_x.then_some((&mut dx[..], Term::First));
        let wanted = Wanted {
            kernel: kernel_too,
            bias: false,
        };
        let mut convolution = Convolution::new(conv).unwrap();
        convolution.backward(&x, &kernel, None, &dy, term, wanted);
        let sums: Vec<f64> = convolution.sums().flat_map(|(k, _)| k.to_vec()).collect();
        (dx, sums)
    };
    let (dx, dkernel) = gradients(true, true);
    assert_eq!(gradients(true, false).0, dx);
    assert_eq!(gradients(false, true).1, dkernel);
    assert!(gradients(true, false).1.iter().all(|&sum| sum == 0.0));
}

#[test]
fn what_does_not_suit_is_left_to_the_direct_kernels() {
    let suits = |rows, columns, channels| conv(1, [rows, columns], channels).tile();
    let same = axis(8, 3, [1, 1]);
    assert_eq!(suits(same, same, [16, 16]), Some(4));
    assert_eq!(suits(same, same, [15, 16]), None);
    assert_eq!(suits(same, same, [16, 15]), None);
    assert_eq!(suits(same, Axis { stride: 2, ..same }, [16, 16]), None);
    assert_eq!(suits(same, axis(8, 5, [2, 2]), [16, 16]), None);
    assert_eq!(suits(same, axis(8, 3, [3, 1]), [16, 16]), None);
    assert_eq!(suits(same, axis(5, 3, [0, 0]), [16, 16]), None, "3 columns");
    let same = axis(8, 5, [2, 2]);
    assert_eq!(suits(same, same, [16, 16]), Some(2));
    let off = Conv {
        winograd: false,
        ..conv(1, [same, same], [16, 16])
    };
    assert_eq!(off.tile(), None);
}

/// Values of polynomials at the points, with ∞ as the leading coefficient, by the definition.
fn values(coefficients: &[f64]) -> [f64; EDGE] {
    std::array::from_fn(|i| match POINTS.get(i) {
        Some(point) => coefficients
            .iter()
            .rev()
            .fold(0.0, |sum, c| sum * point + c),
        None => coefficients[coefficients.len() - 1],
    })
}

/// The matrix whose columns are what the unit vectors become.
fn matrix<const N: usize>(of: impl Fn([f64; N]) -> [f64; EDGE]) -> [[f64; N]; EDGE] {
    let unit = |k| std::array::from_fn(|i| f64::from(i == k));
    let columns: [[f64; EDGE]; N] = std::array::from_fn(|k| of(unit(k)));
    std::array::from_fn(|i| std::array::from_fn(|k| columns[k][i]))
}

/// On integers, of which all transforms but G's are exact.
fn transforms<T: Real, const M: usize>() {
    let a = matrix(|y: [f64; M]| values(&y));
    // Bᵀ is the transposed inverse of the values of polynomials of degree 5, unscaled.
    let b_transposed: [[f64; EDGE]; EDGE] = [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ];
    on_every_level(|name, level| {
        for channels in [1, 16, 19] {
            let (tiles, first, total) = ([2, 3], 2, 9);
            let stride = total * channels + 3;
            let extents = [2 * M + EDGE - M, 3 * M + EDGE - M];
            let row = extents[1] * channels + 2;
            let image: Vec<T> = integers(extents[0] * row, 0);
            let numbers: Vec<T> = integers(EDGE * EDGE * stride, 0);
            let grid = Grid {
                m: M,
                tiles,
                row,
                extents,
                channels,
                stride,
                first,
            };
            let (mut patches, mut of_tiles) = (numbers.clone(), numbers.clone());
            let work = Work::Patches(&image, &mut patches);
            level.run(Transform { grid, work });
            let work = Work::Tiles(&image, &mut of_tiles);
            level.run(Transform { grid, work });
            let cut = Grid {
                extents: [2 * M - 1, 3 * M],
                ..grid
            };
            let mut pixels = image.clone();
            let then = Then::Write(Term::Further);
            let work = Work::Pixels(&numbers, &mut pixels, then);
            level.run(Transform { grid: cut, work });

            let mut expected = [numbers.clone(), numbers.clone(), image.clone()];
            let all = |n, m| (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)));
            for ((i, j), c) in
                all(tiles[0], tiles[1]).flat_map(|tile| (0..channels).map(move |c| (tile, c)))
            {
                let pixel = |x: usize, y: usize| (i * M + x) * row + (j * M + y) * channels + c;
                let number = |u: usize, v: usize| {
                    (u * EDGE + v) * stride + (first + i * tiles[1] + j) * channels + c
                };
                for (u, v) in all(EDGE, EDGE) {
                    let sum = |f: &dyn Fn(usize, usize) -> f64, n| {
                        T::nearest(all(n, n).map(|(x, y)| f(x, y)).sum())
                    };
                    let at = |x, y| image[pixel(x, y)].in_f64();
                    expected[0][number(u, v)] = sum(
                        &|x, y| b_transposed[u][x] * b_transposed[v][y] * at(x, y),
                        EDGE,
                    );
                    expected[1][number(u, v)] = sum(&|x, y| a[u][x] * a[v][y] * at(x, y), M);
                }
                for (x, y) in all(M, M).filter(|(x, _)| i * M + x < 2 * M - 1) {
                    let terms = all(EDGE, EDGE)
                        .map(|(u, v)| a[u][x] * a[v][y] * numbers[number(u, v)].in_f64());
                    expected[2][pixel(x, y)] += T::nearest(terms.sum());
                }
            }
            let actual = [patches, of_tiles, pixels];
            for (what, (a, e)) in ["Bᵀ d B", "A dY Aᵀ", "Aᵀ p A"]
                .into_iter()
                .zip(actual.iter().zip(&expected))
            {
                assert!(a == e, "{what} with {channels} channels on {name}");
            }
        }
    });
}

#[test]
fn transforms_agree_with_their_matrices() {
    transforms::<f32, 4>();
    transforms::<f32, 2>();
    transforms::<f64, 4>();
    transforms::<f64, 2>();
}

#[test]
#[should_panic(expected = "beyond the image")]
fn tiles_beyond_the_image_are_refused() {
    let grid = Grid {
        m: 4,
        tiles: [1, 2],
        row: 9,
        extents: [6, 9],
        channels: 1,
        stride: 2,
        first: 0,
    };
    let work = Work::Patches(&[0.0; 54], &mut [0.0; 72]);
    f32::run(Job::Transform(Transform { grid, work }));
}
