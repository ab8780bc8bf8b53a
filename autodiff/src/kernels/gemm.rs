//! Matrix products, `C = A·B` and `C += A·B`, each operand plain or transposed.
//!
//! Goto & van de Geijn, *Anatomy of High-Performance Matrix Multiplication*
//! (2008), cut down to the shapes of training steps: tens of rows, at most a few
//! thousand columns. The loops, from the outside in, with Goto's names:
//!
//! ```text
//! for p in 0..k by KC            loop 4: a block of the inner dimension
//!   for j in 0..n by NC          loop 5: of B, KC × NC is packed: stays in L2
//!     for j in NC by NR          loop 2: a panel of it, KC × NR: stays in L1
//!       for i in 0..m by MR      loop 1: a strip of A, MR × KC, read in place
//!         tile                   MR × NR of C in registers, KC rank-1 updates
//! ```
//!
//! Five departures from the paper, each measured:
//! * **A is not packed.** A rank-1 update broadcasts MR single elements of A; a
//!   broadcast from memory costs a load port either way, and the MR rows (or,
//!   transposed, one row) stay in L1 for the whole strip.
//! * **Loop 5 is inside loop 4**, so that packing streams along whole rows of B,
//!   which the hardware prefetches.
//! * **B is packed only when it is read again**, that is for at least
//!   [`PACK_FROM`] strips of A, or when it is transposed. The regression task
//!   (10×6 by 6×1000) reads B twice: packing would cost as much as the product.
//! * **Long dot products have a kernel of their own.** Where A is plain, B is
//!   transposed and C is small (weight gradients of the regression task: 10×1000
//!   by 1000×6) both operands are contiguous along k, and vectors run along k.
//! * **Zeros are skipped** where half of A or more is exactly 0, as in images of digits and
//!   behind a ReLU: [`sparse`].
//!
//! Without SIMD the product goes to `matrixmultiply`, whose portable kernel the
//! compiler vectorises for the baseline of the target.

mod sparse;

use super::Term;
use super::lanes::{Kernel, Lanes};
use crate::Real;
use crate::memory::Buffer;
use std::ops::Range;

/// Most rows of a block of B: a packed panel of KC × 3 registers, 30 KiB, is of the
/// size of L1, and the next one arrives while it is used.
const KC: usize = 160;
/// Registers across a tile.
const NV: usize = 3;
/// Size of a packed block of B: half of a 1 MiB L2.
const NC_BYTES: usize = 512 << 10;
/// Strips of A from which on packing a panel of B pays.
const PACK_FROM: usize = 3;
/// Shortest inner dimension for the dot-product kernel.
const DOT_FROM: usize = 64;
/// Largest C, in elements, for the dot-product kernel.
const DOT_UP_TO: usize = 256;

/// A row-major matrix operand, taken as it lies or transposed.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    transposed: bool,
}

impl<'a, T> Matrix<'a, T> {
    /// The matrix as stored.
    pub fn plain(data: &'a [T]) -> Self {
        Self {
            data,
            transposed: false,
        }
    }

    /// The transpose of what is stored.
    pub fn transposed(data: &'a [T]) -> Self {
        Self {
            data,
            transposed: true,
        }
    }

    /// Plain or transposed, as `transposed` says.
    pub fn new(data: &'a [T], transposed: bool) -> Self {
        Self { data, transposed }
    }

    /// (row stride, column stride) of this operand as a `rows × columns` matrix.
    fn strides(&self, rows: usize, columns: usize) -> (usize, usize) {
        if self.transposed {
            (1, rows)
        } else {
            (columns, 1)
        }
    }
}

/// `c = a·b` or `c += a·b`, with a: m×k, b: k×n, c: m×n row-major.
///
/// # Panics
/// If a slice's length is not that of its matrix.
pub fn gemm<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    c: &mut [T],
    term: Term,
) {
    let product = Gemm::new(m, k, n, a, b, c, term);
    if m > 0 && n > 0 {
        T::run_gemm(product);
    }
}

/// As [`gemm`], by `matrixmultiply`: what [`gemm`] does without SIMD, and what it is
/// measured against.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_by_matrixmultiply<T: Real>(
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    c: &mut [T],
    term: Term,
) {
    Gemm::new(m, k, n, a, b, c, term).portable();
}

/// A product with its operands, checked.
pub struct Gemm<'a, T> {
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    c: &'a mut [T],
    term: Term,
}

impl<T: Real> Kernel<T> for Gemm<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if L::WIDTH == 1 {
            self.portable();
        } else if !self.a.transposed
            && self.b.transposed
            && self.k >= DOT_FROM
            && self.m * self.n <= DOT_UP_TO
        {
            self.dots(lanes);
        } else if self.mostly_zeros() {
            self.skipping_zeros(lanes);
        } else {
            self.dense(lanes);
        }
    }
}

impl<'a, T: Real> Gemm<'a, T> {
    fn new(
        m: usize,
        k: usize,
        n: usize,
        a: Matrix<'a, T>,
        b: Matrix<'a, T>,
        c: &'a mut [T],
        term: Term,
    ) -> Self {
        assert_eq!(a.data.len(), m * k, "gemm: length of a ({m}×{k})");
        assert_eq!(b.data.len(), k * n, "gemm: length of b ({k}×{n})");
        assert_eq!(c.len(), m * n, "gemm: length of c ({m}×{n})");
        Self {
            m,
            k,
            n,
            a,
            b,
            c,
            term,
        }
    }

    fn portable(self) {
        let (rsa, csa) = self.a.strides(self.m, self.k);
        let (rsb, csb) = self.b.strides(self.k, self.n);
        let beta = if self.term == Term::Further {
            T::one()
        } else {
            T::zero()
        };
        // SAFETY: `new` checked the lengths that these sizes and strides reach;
        // `c` is borrowed mutably, so it overlaps neither operand.
        unsafe {
            T::matrixmultiply(
                self.m,
                self.k,
                self.n,
                (self.a.data.as_ptr(), rsa as isize, csa as isize),
                (self.b.data.as_ptr(), rsb as isize, csb as isize),
                beta,
                (self.c.as_mut_ptr(), self.n as isize, 1),
            );
        }
    }

    /// The product by all elements of A, in the register tiles of the instruction set.
    #[inline(always)]
    fn dense<L: Lanes<T>>(self, lanes: L) {
        match (L::REGISTERS >= 32, L::WIDTH) {
            (true, 16) => self.blocks::<L, 8, 48>(lanes),
            (true, _) => self.blocks::<L, 8, 24>(lanes),
            (false, 8) => self.blocks::<L, 4, 24>(lanes),
            (false, _) => self.blocks::<L, 4, 12>(lanes),
        }
    }

    /// Loops 4 to 1 of the module's drawing, B packed or, where it is read too seldom
    /// for that to pay, in place.
    #[inline(always)]
    fn blocks<L: Lanes<T>, const MR: usize, const NR: usize>(mut self, lanes: L) {
        debug_assert_eq!(NR, NV * L::WIDTH);
        if self.b.transposed || self.m.div_ceil(MR) >= PACK_FROM {
            return self.packed::<L, MR, NR, false>(lanes);
        }
        for j in (0..self.n).step_by(NR) {
            let panel = Panel {
                // Not sliced: with k = 0 there is no row to point into.
                start: self.b.data.as_ptr().wrapping_add(j),
                stride: self.n,
                columns: j..self.n.min(j + NR),
                inner: 0..self.k,
            };
            self.strips::<L, MR>(lanes, &panel);
        }
    }

    #[inline(always)]
    fn packed<L: Lanes<T>, const MR: usize, const NR: usize, const SKIP_ZEROS: bool>(
        mut self,
        lanes: L,
    ) {
        T::with_scratch(
            #[inline(always)]
            |scratch| self.packed_in::<L, MR, NR, SKIP_ZEROS>(lanes, scratch),
        );
    }

    #[inline(always)]
    fn packed_in<L: Lanes<T>, const MR: usize, const NR: usize, const SKIP_ZEROS: bool>(
        &mut self,
        lanes: L,
        scratch: &mut Buffer<T>,
    ) {
        let (k, n) = (self.k, self.n);
        let nc = (NC_BYTES / (KC * size_of::<T>()) / NR * NR).min(n.next_multiple_of(NR));
        let block = blocks(k).map(|inner| inner.len()).max().unwrap_or(0);
        if scratch.len() < block * nc {
            scratch.resize(block * nc, T::zero());
        }
        for inner in blocks(k) {
            let kc = inner.len();
            for j in (0..n).step_by(nc) {
                let columns = j..n.min(j + nc);
                pack::<T, NR>(
                    &mut scratch[..kc * nc],
                    &self.b,
                    (k, n),
                    inner.clone(),
                    columns.clone(),
                );
                for (i, panel) in (0..columns.len()).step_by(NR).enumerate() {
                    let panel = Panel {
                        start: scratch[i * kc * NR..].as_ptr(),
                        stride: NR,
                        columns: j + panel..columns.end.min(j + panel + NR),
                        inner: inner.clone(),
                    };
                    if SKIP_ZEROS {
                        self.sparse_strips(lanes, &panel);
                    } else {
                        self.strips::<L, MR>(lanes, &panel);
                    }
                }
            }
            self.term = Term::Further;
        }
    }

    /// Loop 1: all strips of A against one panel of B.
    #[inline(always)]
    fn strips<L: Lanes<T>, const MR: usize>(&mut self, lanes: L, panel: &Panel<T>) {
        let rows_of_strip = self.m.div_ceil(self.m.div_ceil(MR));
        for i in (0..self.m).step_by(rows_of_strip) {
            let rows = rows_of_strip.min(self.m - i);
            // SAFETY: the tile's rows i.., the panel's columns and its inner range lie inside
            // the matrices whose lengths `new` checked; a packed panel holds a row of NR
            // elements for each inner index.
            unsafe { self.tile(panel, i).product(lanes, rows) }
        }
    }

    /// The tile of C at row i and the panel's columns.
    #[inline(always)]
    fn tile(&mut self, panel: &Panel<T>, i: usize) -> Tile<T> {
        let (rsa, csa) = self.a.strides(self.m, self.k);
        let a = self.a.data.as_ptr();
        Tile {
            k: panel.inner.len(),
            // Not sliced: with k = 0 there is no column to point into.
            a: a.wrapping_add(i * rsa + panel.inner.start * csa),
            row_stride_a: rsa,
            column_stride_a: csa,
            b: panel.start,
            row_stride_b: panel.stride,
            c: self.c[i * self.n + panel.columns.start..].as_mut_ptr(),
            row_stride_c: self.n,
            columns: panel.columns.len(),
            term: self.term,
        }
    }

    /// Vectors along k: every element of C is a dot product of two rows.
    #[inline(always)]
    fn dots<L: Lanes<T>>(self, lanes: L) {
        const ROWS: usize = 5;
        const COLUMNS: usize = 3;
        let Gemm {
            m,
            k,
            n,
            a,
            b,
            c,
            term,
        } = self;
        for i in (0..m).step_by(ROWS) {
            for j in (0..n).step_by(COLUMNS) {
                let dots = Dots {
                    k,
                    a: a.data[i * k..].as_ptr(),
                    b: b.data[j * k..].as_ptr(),
                    c: c[i * n + j..].as_mut_ptr(),
                    row_stride_c: n,
                    term,
                };
                // SAFETY: rows i.. of a and j.. of b (stored as n×k) exist, each of
                // length k: `new` checked both lengths.
                unsafe { dots.product(lanes, ROWS.min(m - i), COLUMNS.min(n - j)) }
            }
        }
    }
}

/// The inner dimension in blocks of equal size, lest the last be a sliver; one of them, empty,
/// if k = 0.
#[inline(always)]
fn blocks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let block = k.div_ceil(k.div_ceil(KC).max(1)).max(1);
    (0..k.max(1))
        .step_by(block)
        .map(move |p| p..k.min(p + block))
}

/// NR columns of B, in place or packed.
struct Panel<T> {
    start: *const T,
    /// From one row to the next.
    stride: usize,
    /// Which columns of B, at most NR.
    columns: Range<usize>,
    /// Which rows of B.
    inner: Range<usize>,
}

/// Packs a block of B, `inner` × `columns`, into panels of NR columns, row after row; the
/// last panel is padded to NR columns, with whatever was there.
#[inline(always)]
fn pack<T: Real, const NR: usize>(
    panels: &mut [T],
    b: &Matrix<T>,
    (k, n): (usize, usize),
    inner: Range<usize>,
    columns: Range<usize>,
) {
    let kc = inner.len();
    if b.transposed {
        for (j, column) in columns.enumerate() {
            let panel = &mut panels[j / NR * NR * kc..];
            let column = &b.data[column * k..][inner.clone()];
            for (row, &x) in panel.chunks_exact_mut(NR).zip(column) {
                row[j % NR] = x;
            }
        }
        return;
    }
    for (row, p) in inner.enumerate() {
        let (whole, rest) = b.data[p * n..][columns.clone()].as_chunks::<NR>();
        for (panel, elements) in panels.chunks_exact_mut(NR * kc).zip(whole) {
            panel[row * NR..][..NR].copy_from_slice(elements);
        }
        if let Some(last) = panels.chunks_exact_mut(NR * kc).nth(whole.len()) {
            last[row * NR..][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// One register tile of C and the strips of A and B that it is the product of.
#[derive(Clone, Copy)]
struct Tile<T> {
    k: usize,
    a: *const T,
    row_stride_a: usize,
    column_stride_a: usize,
    b: *const T,
    row_stride_b: usize,
    c: *mut T,
    row_stride_c: usize,
    columns: usize,
    term: Term,
}

impl<T: Real> Tile<T> {
    /// Runs the kernel compiled for this number of rows and registers.
    ///
    /// # Safety
    /// `a` is readable at `i·row_stride_a + p·column_stride_a` for i < `rows`,
    /// p < k; `b` at `p·row_stride_b + j` and `c` writable at
    /// `i·row_stride_c + j` for j < columns; 1 <= rows <= 8 and
    /// 1 <= columns <= NV registers.
    #[inline(always)]
    unsafe fn product<L: Lanes<T>>(self, lanes: L, rows: usize) {
        macro_rules! pick {
            ($($m:literal)*) => {
                match (rows, self.columns.div_ceil(L::WIDTH)) {
                    $(($m, 1) => lanes.call(Product::<T, $m, 1>(self)),
                      ($m, 2) => lanes.call(Product::<T, $m, 2>(self)),
                      ($m, _) => lanes.call(Product::<T, $m, NV>(self)),)*
                    _ => unreachable!("a strip has 1 to 8 rows"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8)
    }

    /// Terms the registers of a tile, or adds them to what is there.
    ///
    /// # Safety
    /// `c` is writable at `i·row_stride_c + j` for i < M and j < columns, which are more than
    /// V − 1 registers and at most V.
    #[inline(always)]
    unsafe fn store<L: Lanes<T>, const M: usize, const V: usize>(
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
struct Product<T, const M: usize, const V: usize>(Tile<T>);

impl<T: Real, const M: usize, const V: usize> Kernel<T> for Product<T, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let tile = self.0;
        let tail = lanes.first(tile.columns - (V - 1) * L::WIDTH);
        let mut c = [[lanes.splat(T::zero()); V]; M];
        let (mut a, mut b) = (tile.a, tile.b);
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
                let x = lanes.splat(unsafe { *a.add(i * tile.row_stride_a) });
                for v in 0..V {
                    sums[v] = lanes.mul_add(x, row[v], sums[v]);
                }
            }
            a = a.wrapping_add(tile.column_stride_a);
            b = b.wrapping_add(tile.row_stride_b);
        }
        // SAFETY: the caller's: M rows of c and the tile's columns.
        unsafe { tile.store(lanes, c) }
    }
}

/// A small tile of C whose elements are dot products of rows of A and of Bᵀ.
#[derive(Clone, Copy)]
struct Dots<T> {
    k: usize,
    a: *const T,
    b: *const T,
    c: *mut T,
    row_stride_c: usize,
    term: Term,
}

impl<T: Real> Dots<T> {
    /// Runs the kernel compiled for this number of rows and columns.
    ///
    /// # Safety
    /// `a` is readable at `i·k + p` for i < `rows`, `b` at `j·k + p` for
    /// j < `columns`, p < k; `c` is writable at `i·row_stride_c + j`;
    /// 1 <= rows <= 5 and 1 <= columns <= 3.
    #[inline(always)]
    unsafe fn product<L: Lanes<T>>(self, lanes: L, rows: usize, columns: usize) {
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
struct DotProducts<T, const M: usize, const N: usize>(Dots<T>);

impl<T: Real, const M: usize, const N: usize> Kernel<T> for DotProducts<T, M, N> {
    type Output = ();

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lanes::testing::on_every_level;

    /// Integers, so that every order of summation gives the same result.
    fn integers<T: Real>(n: usize, seed: usize) -> Vec<T> {
        (0..n)
            .map(|i| T::of(((i + seed) * 7919 % 13) as f64 - 6.0))
            .collect()
    }

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

    /// Sizes around every edge: tiles, registers, blocks of k, the dot kernel.
    const SIZES: [(usize, usize, usize); 20] = [
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
                            level.run(Gemm {
                                m,
                                k,
                                n,
                                a,
                                b,
                                c: &mut c,
                                term,
                            });
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
            level.run(Gemm {
                m,
                k,
                n,
                a: Matrix::plain(&a),
                b: Matrix::plain(&b),
                c,
                term: Term::First,
            });
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
}
