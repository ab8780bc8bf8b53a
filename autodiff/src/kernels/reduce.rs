//! Sums.

use super::Job;
use super::simd::{Kernel, Lanes, MOST_LANES, dispatched, own_name};
use crate::kernels::Real;

/// Partial sums kept side by side; four registers of the widest vectors. The same
/// number on every instruction set, so that sums have the same bits on each.
const LANES: usize = 64;

/// Σ term(aᵢ, bᵢ), in an order fixed by their number alone.
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
    by_halves(lanes)
}

/// Σ lanesᵢ.
#[inline(always)]
fn by_halves<T: Real>(mut lanes: [T; LANES]) -> T {
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

/// sums += Σ of each row, of which there is one for each of `sums`.
///
/// # Panics
/// If the last row is not whole, or no sum is there for elements that are.
pub fn add_row_sums<T: Real>(rows: &[T], sums: &mut [T]) {
    let whole = rows.len().is_multiple_of(sums.len());
    assert!(whole, "add_row_sums: whole rows");
    if !rows.is_empty() {
        T::run(Job::RowSums(RowSums { rows, sums }));
    }
}

/// The sums of rows, of as many at once as a register has lanes.
pub struct RowSums<'a, T> {
    rows: &'a [T],
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for RowSums<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let len = self.rows.len() / self.sums.len();
        let groups = self.rows.chunks(len * L::WIDTH);
        for (sums, rows) in self.sums.chunks_mut(L::WIDTH).zip(groups) {
            // Of each row a register of partial sums; then of two registers, interleaved, one.
            let mut partial = [lanes.splat(T::zero()); MOST_LANES];
            for (partial, row) in partial.iter_mut().zip(rows.chunks_exact(len)) {
                for some in row.chunks(L::WIDTH) {
                    let mask = lanes.first(some.len());
                    // SAFETY: the mask has no more lanes than there are elements.
                    let some = unsafe { lanes.load_masked(mask, some.as_ptr()) };
                    *partial = lanes.add(*partial, some);
                }
            }
            let mut half = L::WIDTH / 2;
            while half > 0 {
                for i in 0..half {
                    let [a, b] = lanes.interleave(partial[i], partial[i + half]);
                    partial[i] = lanes.add(a, b);
                }
                half /= 2;
            }
            let (mask, p) = (lanes.first(sums.len()), sums.as_mut_ptr());
            // SAFETY: the mask has no more lanes than there are sums.
            unsafe {
                let sum = lanes.add(lanes.load_masked(mask, p), partial[0]);
                lanes.store_masked(mask, p, sum);
            }
        }
    }
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

/// a ← a − b, and then Σ aᵢ², in the order of [`squared_distance`].
///
/// # Panics
/// If the slices differ in length.
pub fn subtract<T: Real>(a: &mut [T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "subtract: lengths");
    dispatched!(
        #[inline(always)]
        || {
            let mut lanes = [T::zero(); LANES];
            let (a_chunks, a_rest) = a.as_chunks_mut::<LANES>();
            let (b_chunks, b_rest) = b.as_chunks::<LANES>();
            for (a, b) in a_chunks.iter_mut().zip(b_chunks) {
                subtract_chunk(a, b, &mut lanes);
            }
            subtract_chunk(a_rest, b_rest, &mut lanes);
            by_halves(lanes)
        },
    )
}

#[inline(always)]
fn subtract_chunk<T: Real>(a: &mut [T], b: &[T], lanes: &mut [T; LANES]) {
    for ((lane, a), &b) in lanes.iter_mut().zip(a).zip(b) {
        *a -= b;
        *lane += *a * *a;
    }
}

/// Elements whose squares are summed as `T` before they are added to a sum in f64.
const BLOCK: usize = 4096;

/// Σ aᵢ²: in `T` within blocks of 4096 elements, and over the blocks in f64, so that the rounding
/// errors of `T` do not grow with the length.
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
    use crate::kernels::simd::testing::on_every_level;

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
            let mut differences = a.clone();
            assert_eq!(subtract(&mut differences, &b), squared_distance(&a, &b));
            assert!(differences.iter().zip(&a).all(|(d, a)| *d == a - 1.0));
            assert_eq!(squared_norm(&a), n * (n + 1.0) * (2.0 * n + 1.0) / 6.0);
        }
    }

    fn row_sums<T: Real>() {
        on_every_level(|name, level| {
            for (count, len) in [(1, 1), (3, 16), (16, 5), (17, 16), (37, 33)] {
                let rows: Vec<T> = (0..count * len).map(|i| T::nearest(i as f64)).collect();
                let mut sums = vec![T::one(); count];
                level.run(RowSums {
                    rows: &rows,
                    sums: &mut sums,
                });
                for (sum, row) in sums.iter().zip(rows.chunks_exact(len)) {
                    let expected = row.iter().fold(T::one(), |sum, &x| sum + x);
                    assert_eq!(*sum, expected, "{name}, {count} of {len}");
                }
            }
        });
    }

    #[test]
    fn sums_of_rows_on_every_instruction_set() {
        row_sums::<f32>();
        row_sums::<f64>();
    }

    #[test]
    #[should_panic(expected = "add_row_sums: whole rows")]
    fn a_row_that_is_not_whole_is_refused() {
        add_row_sums(&[0.0; 5], &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "add_row_sums: whole rows")]
    fn elements_of_no_row_are_refused() {
        add_row_sums(&[0.0; 5], &mut []);
    }

    #[test]
    fn no_rows_have_no_sums() {
        add_row_sums::<f32>(&[], &mut []);
    }
}
