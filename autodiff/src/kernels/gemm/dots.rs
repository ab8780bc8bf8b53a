//! Products along the inner dimension: each element of C is a dot product.

use crate::kernels::Real;
use crate::kernels::Term;
use crate::kernels::simd::{Kernel, Lanes, own_name};

/// A small tile of C whose elements are dot products of rows of A and of Bᵀ.
#[derive(Clone, Copy)]
pub(super) struct Dots<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    pub(super) b: *const T,
    pub(super) c: *mut T,
    pub(super) row_stride_c: usize,
    pub(super) term: Term,
}

impl<T: Real> Dots<T> {
    /// Runs the kernel compiled for this number of rows and columns.
    ///
    /// # Safety
    /// `a` is readable at `i·k + p` for i < `rows`, `b` at `j·k + p` for
    /// j < `columns`, p < k; `c` is writable at `i·row_stride_c + j`;
    /// 1 <= rows <= 5 and 1 <= columns <= 3.
    #[inline(always)]
    pub(super) unsafe fn product<L: Lanes<T>>(self, lanes: L, rows: usize, columns: usize) {
        macro_rules! pick {
            ($($m:literal)*) => {
                match (rows, columns) {
                    $(($m, 1) => lanes.call(DotProducts::<T, $m, 1>(self)),
                      ($m, 2) => lanes.call(DotProducts::<T, $m, 2>(self)),
                      ($m, _) => lanes.call(DotProducts::<T, $m, 3>(self)),)*
                    _ => unreachable!("a tile of dot products has 1 to 5 rows"),
                }
            };
        }
        pick!(1 2 3 4 5)
    }
}

/// M×N dot products of length k, vectors along k.
///
/// Built by [`Dots::product`] only, whose contract `run` relies on.
pub(super) struct DotProducts<T, const M: usize, const N: usize>(pub(super) Dots<T>);

impl<T: Real, const M: usize, const N: usize> Kernel<T> for DotProducts<T, M, N> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Dots {
            k,
            a,
            b,
            c,
            row_stride_c,
            term,
        } = self.0;
        let mut sums = [[lanes.splat(T::zero()); N]; M];
        for p in (0..k).step_by(L::WIDTH) {
            let mask = lanes.first(L::WIDTH.min(k - p));
            let mut rows = [lanes.splat(T::zero()); M];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: elements p.. of row i of a, masked to what is left of k.
                *row = unsafe { lanes.load_masked(mask, a.add(i * k + p)) };
            }
            for j in 0..N {
                // SAFETY: likewise of row j of b.
                let column = unsafe { lanes.load_masked(mask, b.add(j * k + p)) };
                for (sums, &row) in sums.iter_mut().zip(&rows) {
                    sums[j] = lanes.mul_add(row, column, sums[j]);
                }
            }
        }
        for (i, row) in sums.into_iter().enumerate() {
            for (j, sum) in row.into_iter().enumerate() {
                // SAFETY: element (i, j) of the tile of c.
                let c = unsafe { &mut *c.add(i * row_stride_c + j) };
                *c = if term == Term::Further {
                    *c + lanes.sum(sum)
                } else {
                    lanes.sum(sum)
                };
            }
        }
    }
}
