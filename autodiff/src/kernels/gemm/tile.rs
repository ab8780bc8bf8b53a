//! The register tile: rank-1 updates of a few rows and registers of C.

use super::{NV, TALL};
use crate::kernels::Real;
use crate::kernels::Term;
use crate::kernels::simd::{Kernel, Lanes, own_name};
use std::hint::black_box;

/// One register tile of C and the strips of A and B that it is the product of.
#[derive(Clone, Copy)]
pub(super) struct Tile<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    pub(super) row_stride_a: usize,
    pub(super) column_stride_a: usize,
    pub(super) b: *const T,
    pub(super) row_stride_b: usize,
    pub(super) c: *mut T,
    pub(super) row_stride_c: usize,
    pub(super) columns: usize,
    pub(super) term: Term,
}

impl<T: Real> Tile<T> {
    /// Runs the kernel compiled for this number of rows and registers.
    ///
    /// # Safety
    /// `a` is readable at `i·row_stride_a + p·column_stride_a` for i < `rows`,
    /// p < k; `b` at `p·row_stride_b + j` and `c` writable at
    /// `i·row_stride_c + j` for j < columns; 1 <= rows <= 8 and
    /// 1 <= columns <= NV registers, or rows <= TALL and columns one register.
    #[inline(always)]
    pub(super) unsafe fn product<L: Lanes<T>>(self, lanes: L, rows: usize) {
        macro_rules! pick {
            ($($m:literal)*; $($tall:literal)*) => {
                match (rows, self.columns.div_ceil(L::WIDTH)) {
                    $(($m, 1) => lanes.call(Product::<T, $m, 1>(self)),
                      ($m, 2) => lanes.call(Product::<T, $m, 2>(self)),
                      ($m, _) => lanes.call(Product::<T, $m, NV>(self)),)*
                    $(($tall, 1) => lanes.call(Product::<T, $tall, 1>(self)),)*
                    _ => unreachable!("a strip has 1 to 8 rows, or 12 of one register"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8; 9 10 11 12)
    }

    /// Stores the registers of a tile, or adds them to what is there.
    ///
    /// # Safety
    /// `c` is writable at `i·row_stride_c + j` for i < M and j < columns, which are more than
    /// V − 1 registers and at most V.
    #[inline(always)]
    pub(super) unsafe fn store<L: Lanes<T>, const M: usize, const V: usize>(
        self,
        lanes: L,
        c: [[L::Register; V]; M],
    ) {
        let full = lanes.first(L::WIDTH);
        let tail = lanes.first(self.columns - (V - 1) * L::WIDTH);
        for (i, sums) in c.into_iter().enumerate() {
            for (v, mut sum) in sums.into_iter().enumerate() {
                let mask = if v + 1 < V { full } else { tail };
                // SAFETY: row i of the tile of c, masked to its columns.
                unsafe {
                    let p = self.c.add(i * self.row_stride_c + v * L::WIDTH);
                    if self.term == Term::Further {
                        sum = lanes.add(lanes.load_masked(mask, p), sum);
                    }
                    lanes.store_masked(mask, p, sum);
                }
            }
        }
    }
}

/// A tile of M rows by V registers: k rank-1 updates held in registers.
///
/// Built by [`Tile::product`] only, whose contract `run` relies on.
pub(super) struct Product<T, const M: usize, const V: usize>(pub(super) Tile<T>);

impl<T: Real, const M: usize, const V: usize> Kernel<T> for Product<T, M, V> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let tile = self.0;
        let tail = lanes.first(tile.columns - (V - 1) * L::WIDTH);
        let mut c = [[lanes.splat(T::zero()); V]; M];
        // A pointer for every four rows: known to be of one matrix, they would all be found from
        // one by additions, one waiting for the other, that take longer than the products.
        let mut a: [_; TALL / 4] =
            std::array::from_fn(|i| black_box(tile.a.wrapping_add(4 * i * tile.row_stride_a)));
        let mut b = tile.b;
        for _ in 0..tile.k {
            let mut row = [lanes.splat(T::zero()); V];
            for (v, register) in row.iter_mut().enumerate() {
                // SAFETY: the columns of row p of b; the last register is masked to them.
                *register = unsafe {
                    let p = b.add(v * L::WIDTH);
                    if v + 1 < V {
                        lanes.load(p)
                    } else {
                        lanes.load_masked(tail, p)
                    }
                };
            }
            for (i, sums) in c.iter_mut().enumerate() {
                // SAFETY: element (i, p) of a, i < M.
                let x = lanes.splat(unsafe { *a[i / 4].add(i % 4 * tile.row_stride_a) });
                for v in 0..V {
                    sums[v] = lanes.mul_add(x, row[v], sums[v]);
                }
            }
            for a in &mut a[..M.div_ceil(4)] {
                *a = a.wrapping_add(tile.column_stride_a);
            }
            b = b.wrapping_add(tile.row_stride_b);
        }
        // SAFETY: the caller's: M rows of c and the tile's columns.
        unsafe { tile.store(lanes, c) }
    }
}
