//! Sums.

use super::simd::dispatched;
use crate::kernels::Real;

/// Partial sums kept side by side; four registers of the widest vectors. The same
/// number on every instruction set, so that sums have the same bits on each.
const LANES: usize = 64;

/// Σ terms, in an order fixed by their number alone. `term(lane, chunk of a,
/// chunk of b)` is called on equal chunks.
#[inline(always)]
fn sum_of<T: Real>(a: &[T], b: &[T], term: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += term(a, b);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += term(a, b);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// Σ aᵢ.
#[inline(always)]
pub fn sum<T: Real>(a: &[T]) -> T {
    sum_of(
        a,
        a,
        #[inline(always)]
        |a, _| a,
    )
}

/// sums += Σ over the rows, each as long as `sums`.
///
/// # Panics
/// If the last row is not whole.
pub fn add_rows<T: Real>(rows: &[T], sums: &mut [T]) {
    let len = sums.len().max(1);
    assert!(rows.len().is_multiple_of(len), "add_rows: whole rows");
    dispatched!(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(len) {
                sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
        },
    );
}

/// Σ (aᵢ − bᵢ)².
///
/// # Panics
/// If the slices differ in length.
pub fn squared_distance<T: Real>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "squared_distance: lengths");
    dispatched!(
        #[inline(always)]
        || {
            sum_of(
                a,
                b,
                #[inline(always)]
                |a, b| (a - b) * (a - b),
            )
        },
    )
}

/// Elements whose squares are summed as `T` before they are added to a sum in f64.
const BLOCK: usize = 4096;

/// Σ aᵢ², in f64: no rounding error grows with the length.
pub fn squared_norm<T: Real>(a: &[T]) -> f64 {
    let block = |a: &[T]| {
        dispatched!(
            #[inline(always)]
            || {
                sum_of(
                    a,
                    a,
                    #[inline(always)]
                    |a, _| a * a,
                )
            },
        )
    };
    a.chunks(BLOCK).map(|a| block(a).in_f64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_every_length() {
        for n in 0..200 {
            let a: Vec<f64> = (0..n).map(|i| f64::from(i) + 1.0).collect();
            let b = vec![1.0; a.len()];
            let n = f64::from(n);
            assert_eq!(sum(&a), n * (n + 1.0) / 2.0);
            assert_eq!(
                squared_distance(&a, &b),
                (n - 1.0) * n * (2.0 * n - 1.0) / 6.0
            );
            assert_eq!(squared_norm(&a), n * (n + 1.0) * (2.0 * n + 1.0) / 6.0);
        }
    }
}
