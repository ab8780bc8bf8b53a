//! Every kernel against naive loops.

use super::*;
use crate::kernels::simd::testing::{integers, on_every_level};

fn naive<T: Real>(m: usize, k: usize, n: usize, a: &Matrix<T>, b: &Matrix<T>, c: &mut [T]) {
    let ((rsa, csa), (rsb, csb)) = (a.strides(m, k), b.strides(k, n));
    for i in 0..m {
        for j in 0..n {
            for p in 0..k {
                c[i * n + j] += a.data[i * rsa + p * csa] * b.data[p * rsb + j * csb];
            }
        }
    }
}

/// Sizes around every edge: tiles, registers, blocks of k and of columns, a narrow B, the dot kernel; rows of B that compete.
const SIZES: [(usize, usize, usize); 24] = [
    (1, 1, 1),
    (2, 3, 4),
    (5, 7, 3),
    (6, 6, 100),
    (10, 6, 101),
    (10, 1000, 6),
    (6, 131, 6),
    (7, 64, 11),
    (8, 128, 48),
    (9, 129, 49),
    (17, 257, 97),
    (64, 10, 100),
    (33, 65, 16),
    (3, 0, 5),
    (0, 4, 5),
    (4, 5, 0),
    (31, 300, 10),
    (24, 161, 48),
    (25, 320, 96),
    (26, 3, 1200),
    (38, 170, 7),
    (47, 5, 4),
    (26, 3, 2048),
    (26, 170, 900),
];

fn check<T: Real>() {
    on_every_level(|name, level| {
        for (m, k, n) in SIZES {
            let (a, b): (Vec<T>, Vec<T>) = (integers(m * k, 1), integers(k * n, 2));
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let (a, b) = (Matrix::new(&a, ta), Matrix::new(&b, tb));
                for term in [Term::First, Term::Further] {
                    let old: Vec<T> = integers(m * n, 3);
                    let mut expected = if term == Term::Further {
                        old.clone()
                    } else {
                        vec![T::zero(); m * n]
                    };
                    naive(m, k, n, &a, &b, &mut expected);
                    let mut c = old;
                    if m > 0 && n > 0 {
                        level.run(Gemm::new(m, k, n, a, b, &mut c, term));
                    }
                    assert!(c == expected, "{name}, {m}×{k}×{n}, {ta} {tb} {term:?}");
                }
            }
        }
    });
}

#[test]
fn every_instruction_set_agrees_with_naive_loops_in_f32() {
    check::<f32>();
}

#[test]
fn every_instruction_set_agrees_with_naive_loops_in_f64() {
    check::<f64>();
}

#[test]
fn nothing_outside_the_matrices_is_touched() {
    on_every_level(|name, level| {
        let (m, k, n) = (3, 5, 19);
        let (a, b) = (integers::<f32>(m * k, 1), integers::<f32>(k * n, 2));
        let mut guarded = vec![f32::NAN; m * n + 64];
        let c = &mut guarded[32..32 + m * n];
        let (a, b) = (Matrix::plain(&a), Matrix::plain(&b));
        level.run(Gemm::new(m, k, n, a, b, c, Term::First));
        let untouched = guarded.iter().filter(|x| x.is_nan()).count();
        assert_eq!(untouched, 64, "{name}");
    });
}

#[test]
#[should_panic(expected = "length of a")]
fn a_slice_of_the_wrong_length_is_refused() {
    let mut c = [0.0; 4];
    gemm(
        2,
        2,
        2,
        Matrix::plain(&[0.0; 3]),
        Matrix::plain(&[0.0; 4]),
        &mut c,
        Term::First,
    );
}

/// 2⁶³·2 wraps around to 0, the length of an empty slice.
#[test]
#[should_panic(expected = "gemm: length of a")]
fn sizes_whose_product_wraps_around_are_refused() {
    let (a, b) = (Matrix::plain(&[]), Matrix::plain(&[1.0_f32; 4]));
    gemm(1 << 63, 2, 2, a, b, &mut [], Term::First);
}
