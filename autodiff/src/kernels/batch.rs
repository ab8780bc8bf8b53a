//! Products of many small matrices at once.
//!
//! Where a matrix has a number there lie the numbers of all matrices of a batch, side by side,
//! so that a register holds one element of many and nothing is summed across it. A tile is a
//! few rows and columns of the product: each element of A and B that it loads takes part in
//! as many products as it has columns or rows. (BLAS libraries call this layout compact.)

use super::Job;
use super::simd::{Kernel, Lanes, MOST_LANES, own_name};
use crate::kernels::Real;

/// Rows, and columns, of a tile.
const SIDE: usize = 4;

/// Matrices side by side, each as it lies or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    data: &'a [T],
    /// Elements from one row to the next, and from one column to the next.
    row: usize,
    column: usize,
}

impl<'a, T> Batch<'a, T> {
    /// `data` is row-major with the matrices as the last axis; a row begins every `row` elements of
    /// one matrix, `row` times the number of matrices in `data`.
    pub fn rows(data: &'a [T], row: usize) -> Self {
        let column = 1;
        Self { data, row, column }
    }

    /// The transposed matrices.
    pub fn transposed(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// Whether there are so many rows and columns of `count` matrices, at least one of each.
    fn holds(&self, rows: usize, columns: usize, count: usize) -> bool {
        let elements = || {
            let [row, column] = [(rows, self.row), (columns, self.column)]
                .map(|(extent, stride)| (extent - 1).checked_mul(stride));
            let last = row?.checked_add(column?)?;
            last.checked_add(1)?.checked_mul(count)
        };
        elements().is_some_and(|elements| elements <= self.data.len())
    }
}

/// C += A·B for each of `count` matrices, with A: m×k, B: k×n and C: m×n, whose rows begin
/// every `row` elements.
///
/// # Panics
/// If a slice is too short, or `count` not a multiple of 16.
pub fn add_batch_product<T: Real>(
    [m, k, n]: [usize; 3],
    count: usize,
    a: Batch<T>,
    b: Batch<T>,
    (c, row): (&mut [T], usize),
) {
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    let fits =
        a.holds(m, k, count) && b.holds(k, n, count) && Batch::rows(&*c, row).holds(m, n, count);
    assert!(
        fits && count.is_multiple_of(MOST_LANES),
        "add_batch_product: lengths"
    );
    T::run(Job::BatchProduct(BatchProduct {
        sizes: [m, k, n],
        count,
        a,
        b,
        c,
        row,
    }));
}

/// A product with its operands, checked.
pub struct BatchProduct<'a, T> {
    sizes: [usize; 3],
    count: usize,
    a: Batch<'a, T>,
    b: Batch<'a, T>,
    c: &'a mut [T],
    row: usize,
}

impl<T: Real> Kernel<T> for BatchProduct<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        let [m, _, n] = self.sizes;
        let side = |rest: usize| if rest < SIDE { 1 } else { SIDE };
        for first in (0..self.count).step_by(L::WIDTH) {
            let mut i = 0;
            while i < m {
                let mut j = 0;
                while j < n {
                    let place = [i, j, first];
                    // SAFETY: as many rows and columns are left, and WIDTH matrices from
                    // `first` on, since their number is a multiple of it.
                    unsafe {
                        match (side(m - i), side(n - j)) {
                            (1, 1) => self.tile::<L, 1, 1>(lanes, place),
                            (1, _) => self.tile::<L, 1, SIDE>(lanes, place),
                            (_, 1) => self.tile::<L, SIDE, 1>(lanes, place),
                            _ => self.tile::<L, SIDE, SIDE>(lanes, place),
                        }
                    }
                    j += side(n - j);
                }
                i += side(m - i);
            }
        }
    }
}

impl<T: Real> BatchProduct<'_, T> {
    /// Rows i.. and columns j.. of C, of a register of matrices from `first` on.
    ///
    /// # Safety
    /// C has M rows from i on, N columns from j on and WIDTH matrices from `first` on.
    #[inline(always)]
    unsafe fn tile<L: Lanes<T>, const M: usize, const N: usize>(
        &mut self,
        lanes: L,
        [i, j, first]: [usize; 3],
    ) {
        let (a, b, count) = (self.a, self.b, self.count);
        let mut sums = [[lanes.splat(T::zero()); N]; M];
        for p in 0..self.sizes[1] {
            let row: [_; N] = std::array::from_fn(
                #[inline(always)]
                |column| {
                    let element = p * b.row + (j + column) * b.column;
                    // SAFETY: element (p, j + column) of B, which `add_batch_product` measured.
                    unsafe { lanes.load(b.data.as_ptr().add(element * count + first)) }
                },
            );
            for (x, sums) in sums.iter_mut().enumerate() {
                let element = (i + x) * a.row + p * a.column;
                // SAFETY: element (i + x, p) of A, likewise.
                let x = unsafe { lanes.load(a.data.as_ptr().add(element * count + first)) };
                for (sum, &y) in sums.iter_mut().zip(&row) {
                    *sum = lanes.mul_add(x, y, *sum);
                }
            }
        }
        for (x, sums) in sums.into_iter().enumerate() {
            for (y, sum) in sums.into_iter().enumerate() {
                let element = (i + x) * self.row + j + y;
                // SAFETY: element (i + x, j + y) of C, likewise.
                unsafe {
                    let c = self.c.as_mut_ptr().add(element * count + first);
                    lanes.store(c, lanes.add(lanes.load(c), sum));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::testing::{integers, on_every_level};

    fn check<T: Real>() {
        for ([m, k, n], count) in [
            ([1, 1, 1], 16),
            ([4, 3, 8], 16),
            ([5, 7, 6], 32),
            ([2, 4, 3], 16),
            ([9, 1, 13], 48),
        ] {
            // Rows of C are longer than those of the product.
            let row = n + 2;
            for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
                let a: Vec<T> = integers(m * k * count, 1);
                let b: Vec<T> = integers(k * n * count, 2);
                let old: Vec<T> = integers(m * row * count, 3);
                let batch = |data, [rows, columns]: [usize; 2], transposed| match transposed {
                    false => Batch::rows(data, columns),
                    true => Batch::rows(data, rows).transposed(),
                };
                let a = batch(&a, [m, k], a_transposed);
                let b = batch(&b, [k, n], b_transposed);
                let mut expected = old.clone();
                for (i, j, p) in (0..m * n * k).map(|x| (x / n / k, x / k % n, x % k)) {
                    for lane in 0..count {
                        let x = a.data[(i * a.row + p * a.column) * count + lane];
                        let y = b.data[(p * b.row + j * b.column) * count + lane];
                        expected[(i * row + j) * count + lane] += x * y;
                    }
                }
                on_every_level(|name, level| {
                    let mut c = old.clone();
                    level.run(BatchProduct {
                        sizes: [m, k, n],
                        count,
                        a,
                        b,
                        c: &mut c,
                        row,
                    });
                    assert!(c == expected, "{name}, {m}×{k}×{n}, {count}");
                });
            }
        }
    }

    #[test]
    fn every_instruction_set_agrees_with_naive_loops() {
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn a_stride_that_wraps_around_is_refused() {
        let data = [0.0; 4 * MOST_LANES];
        let plain = Batch::rows(&data, 1);
        // Twice 2⁶³ is 0 in 64 bits.
        let wraps = Batch::rows(&data, 1 << (usize::BITS - 1));
        let refused = |a, b, row| {
            let mut c = data;
            let product = || add_batch_product([3, 1, 1], MOST_LANES, a, b, (&mut c, row));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(product)).is_err()
        };
        assert!(!refused(plain, plain, 1));
        assert!(refused(wraps, plain, 1));
        assert!(refused(plain, plain, wraps.row));
    }

    #[test]
    #[should_panic(expected = "add_batch_product: lengths")]
    fn a_slice_that_is_too_short_is_refused() {
        let (a, b) = ([0.0; 2 * 16], [0.0; 16]);
        let b = Batch::rows(&b, 1);
        add_batch_product([2, 2, 1], 16, Batch::rows(&a, 1), b, (&mut [0.0; 32], 1));
    }
}
