//! A matrix product in five measured steps, from three loops to the register tile.
//!
//! ```text
//! cargo run -p autodiff --release --example 06_matrix_product
//! ```
//!
//! C = A·B for n×n matrices, 2n³ operations. Each step says what it mends; all of them
//! compute the same sums, so each is checked against the first.

use autodiff::kernels::{Matrix, Term, dispatch, gemm};
use std::time::Instant;

/// 1. Three loops, the dot product inside. B is read along columns: each step of the inner
///    loop is on another cache line.
fn three_loops(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..n {
        for j in 0..n {
            c[i * n + j] = (0..n).map(|p| a[i * n + p] * b[p * n + j]).sum();
        }
    }
}

/// 2. The same loops in another order. Now the inner one goes along rows of B and C, and the
///    compiler makes vectors of it; but C is read and written once for each p.
#[inline(always)]
fn along_rows(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    c.fill(0.0);
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            c.iter_mut().zip(b).for_each(|(c, &b)| *c += a * b);
        }
    }
}

/// 3. The same, compiled for what this machine has instead of for the oldest x86-64.
fn instruction_set(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    dispatch(
        #[inline(always)]
        || along_rows(n, a, b, c),
    );
}

/// Rows and columns of a tile of C.
const TILE: [usize; 2] = [4, 32];

/// 4. A tile of C is summed over the whole inner dimension before it is stored: a row of B that
///    has been loaded serves four rows of A, and C is written once. The tile stays in registers
///    where there are those of AVX-512; it would fill all 16 of AVX2, so that there a part of it
///    does not.
fn register_tile(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let [rows, columns] = TILE;
    assert!(
        n.is_multiple_of(rows) && n.is_multiple_of(columns),
        "whole tiles"
    );
    dispatch(
        #[inline(always)]
        || {
            for i in (0..n).step_by(rows) {
                for j in (0..n).step_by(columns) {
                    let mut tile = [[0.0; TILE[1]]; TILE[0]];
                    for p in 0..n {
                        let b = &b[p * n + j..][..columns];
                        for (k, tile) in tile.iter_mut().enumerate() {
                            let a = a[(i + k) * n + p];
                            tile.iter_mut().zip(b).for_each(|(c, &b)| *c += a * b);
                        }
                    }
                    for (k, tile) in tile.iter().enumerate() {
                        c[(i + k) * n + j..][..columns].copy_from_slice(tile);
                    }
                }
            }
        },
    );
}

/// 5. The kernel of this crate: fused multiply-adds, a tile as large as the registers allow, and
///    blocks of rows of B whose panels stay in cache. They are packed only where they have to be,
///    which is not here (`src/kernels/gemm/mod.rs`).
fn kernel(n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    gemm(n, n, n, Matrix::plain(a), Matrix::plain(b), c, Term::First);
}

type Step = (&'static str, fn(usize, &[f32], &[f32], &mut [f32]));

/// Prints the speed of each step.
pub fn main() {
    let n = 256;
    // Small integers, whose sums are exact in every order.
    let numbers = |seed| (0..n * n).map(move |i| ((i * 7 + seed) % 5) as f32 - 2.0);
    let (a, b): (Vec<f32>, Vec<f32>) = (numbers(1).collect(), numbers(3).collect());
    let (mut first, mut c) = (vec![0.0; n * n], vec![0.0; n * n]);
    three_loops(n, &a, &b, &mut first);
    let steps: [Step; 5] = [
        ("1 three loops", three_loops),
        ("2 along rows", along_rows),
        ("3 instruction set", instruction_set),
        ("4 register tile", register_tile),
        ("5 kernel", kernel),
    ];
    println!("{n}×{n}×{n}         GFLOP/s");
    for (name, product) in steps {
        let seconds = (0..5).map(|_| {
            let start = Instant::now();
            product(n, &a, &b, &mut c);
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        println!("{name:<18} {:>9.2}", 2.0 * (n * n * n) as f64 / best / 1e9);
        assert!(c == first, "{name} is not the product");
    }
}
