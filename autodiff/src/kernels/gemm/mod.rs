//! Matrix products, `C = A·B` and `C += A·B`, each operand plain or transposed.
//!
//! Goto & van de Geijn, *Anatomy of High-Performance Matrix Multiplication*
//! (2008), cut down to the shapes of training steps: tens of rows, at most a few
//! thousand columns. The loops, from the outside in, as BLIS numbers them (Van Zee & van de Geijn, *BLIS: A
//! Framework for Rapidly Instantiating BLAS Functionality*, 2015); loop 3, over blocks of packed A, has no part here:
//!
//! ```text
//! for p in 0..k by KC            loop 4: a block of the inner dimension
//!   for NC columns of n          loop 5: packed at once, where B is packed; else all of them
//!     for j in them by NR        loop 2: of B, a panel, KC × NR: stays in L1
//!       for i in 0..m by MR      loop 1: a strip of A, MR × KC, read in place
//!         tile                   MR × NR of C in registers, KC rank-1 updates
//! ```
//!
//! Five departures from the papers:
//! * **A is not packed.** A rank-1 update broadcasts MR single elements of A; a
//!   broadcast from memory costs a load port either way, and the MR rows (or,
//!   transposed, MR neighbours in each of KC rows) stay in L1 for the whole strip.
//! * **B is packed only where it has to be**: when it is transposed, when its rows go to the
//!   same few sets of the cache ([`COMPETING`]), and for the wide panels of [`sparse`]. Elsewhere
//!   a panel is read as it lies: a row of it straddles one cache line more than it fills, for
//!   which the tile, with 11 loads to 24 multiply-adds, has load ports to spare. A B that is one
//!   register across is a packed panel as it lies, for taller tiles ([`TALL`]).
//! * **Loop 5, the columns that are packed at once, is inside loop 4**, so that packing streams
//!   along whole rows of B, which the hardware prefetches. KC × NC of them stay in L2.
//! * **Long dot products have a kernel of their own.** Where A is plain, B is
//!   transposed and C is small (weight gradients of the regression task: 10×1000
//!   by 1000×6) both operands are contiguous along k, and vectors run along k.
//! * **Zeros are skipped** where half of A or more is exactly 0, as in images of digits and
//!   behind a ReLU: [`sparse`].
//!
//! Threads of a tape take equal parts of the rows of C, each of which packs B for itself. An
//! element of C is the same sum whoever takes it.
//!
//! Where this crate has no kernels of its own (neither AVX-512 nor AVX2 with FMA) the product goes to
//! `matrixmultiply`, which has some for AVX and NEON, and a portable one elsewhere.

mod dots;
mod pack;
mod sparse;
mod tile;

use super::simd::{Kernel, Lanes, own_name};
use super::{Job, Term};
use crate::kernels::Real;
use crate::memory::Buffer;
use crate::parallel::{MULTIPLY_ADDS, chunks_of, for_each, threads};
use dots::Dots;
use pack::{Panel, blocks, pack};
use std::ops::Range;
use tile::Tile;

/// Most rows of a block of B: a panel of KC × 3 registers, 30 KiB, is of the
/// size of L1, and the next one arrives while it is used.
const KC: usize = 160;
/// Registers across a tile.
const NV: usize = 3;
/// Rows of a tile that is one register across, if there are 32 registers. It takes 13 loads to
/// 12 multiply-adds, of which two each could start in a cycle; the addresses of more rows than
/// these would not stay in registers.
const TALL: usize = 12;
/// Size of a packed block of B: half of a 1 MiB L2.
const NC_BYTES: usize = 512 << 10;
/// Of rows of B that are a multiple of so many bytes apart, a 1 MiB L2 holds 128 lines or fewer (1 MiB / 8 KiB)
/// for each line that a row of a panel has, whatever its ways: less than KC.
const COMPETING: usize = 8 << 10;
/// Strips of A from which on a block of B is read often enough to be kept in cache: loop 4 takes
/// it by KC rows, and packs it where its rows compete.
const PACK_FROM: usize = 3;
/// Shortest inner dimension for the dot-product kernel.
const DOT_FROM: usize = 64;
/// Largest C, in elements, for the dot-product kernel.
const DOT_UP_TO: usize = 256;
/// Fewest rows of C that pay for a thread of their own, which packs all of B.
const PART_ROWS_FROM: usize = 32;

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
/// Zeros of a may be skipped, as [`Var::matmul`](crate::Var::matmul) says: then 0·∞ in it is no NaN.
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
        T::run(Job::Gemm(product));
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
    /// These rows of C.
    rows: Range<usize>,
    c: &'a mut [T],
    term: Term,
}

impl<T: Real> Kernel<T> for Gemm<'_, T> {
    type Output = ();
    own_name! {}

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
        } else {
            let skip_zeros = self.mostly_zeros();
            self.in_parts(lanes, skip_zeros);
        }
    }
}

/// Rows of a product.
struct Rows<'a, T> {
    product: Gemm<'a, T>,
    skip_zeros: bool,
}

impl<T: Real> Kernel<T> for Rows<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if self.skip_zeros {
            self.product.skipping_zeros(lanes);
        } else {
            self.product.dense(lanes);
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
        // A product that wraps around would let the kernels reach beyond the slices.
        let is = |len: usize, rows: usize, columns: usize| Some(len) == rows.checked_mul(columns);
        assert!(is(a.data.len(), m, k), "gemm: length of a ({m}×{k})");
        assert!(is(b.data.len(), k, n), "gemm: length of b ({k}×{n})");
        assert!(is(c.len(), m, n), "gemm: length of c ({m}×{n})");
        Self {
            m,
            k,
            n,
            a,
            b,
            rows: 0..m,
            c,
            term,
        }
    }

    /// A part of the rows of C for each thread.
    fn in_parts<L: Lanes<T>>(self, lanes: L, skip_zeros: bool) {
        let Gemm { m, k, n, a, b, .. } = self;
        let multiply_adds = m.saturating_mul(k).saturating_mul(n);
        let parts = (multiply_adds / MULTIPLY_ADDS).min(m / PART_ROWS_FROM);
        // Even, since zeros are skipped by pairs of rows.
        let per = m.div_ceil(parts.clamp(1, threads())).next_multiple_of(2);
        for_each(m.div_ceil(per), chunks_of(self.c, per * n), |part, c| {
            let product = Gemm {
                rows: part * per..m.min((part + 1) * per),
                c,
                term: self.term,
                m,
                k,
                n,
                a,
                b,
            };
            lanes.call(Rows {
                product,
                skip_zeros,
            });
        });
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

    /// Loops 4, 2 and 1 of the module's drawing, B in place or, where it has to be, packed.
    #[inline(always)]
    fn blocks<L: Lanes<T>, const MR: usize, const NR: usize>(mut self, lanes: L) {
        debug_assert_eq!(NR, NV * L::WIDTH);
        let compete = (self.n * size_of::<T>()).is_multiple_of(COMPETING);
        let reread = self.m.div_ceil(MR) >= PACK_FROM;
        if self.b.transposed || (compete && reread) {
            return self.packed::<L, MR, NR, false>(lanes);
        }
        let narrow = reread && self.n <= L::WIDTH && L::REGISTERS >= 32;
        for inner in blocks(self.k, if reread { KC } else { usize::MAX }) {
            for j in (0..self.n).step_by(NR) {
                let panel = Panel {
                    // Not sliced: with k = 0 there is no row to point into.
                    start: self.b.data.as_ptr().wrapping_add(inner.start * self.n + j),
                    stride: self.n,
                    columns: j..self.n.min(j + NR),
                    inner: inner.clone(),
                };
                match narrow {
                    true => self.strips::<L, TALL>(lanes, &panel),
                    false => self.strips::<L, MR>(lanes, &panel),
                }
            }
            self.term = Term::Further;
        }
    }

    /// As [`blocks`](Self::blocks), with B packed in the thread's scratch; with `SKIP_ZEROS` by the
    /// nonzeros of A, two rows at a time.
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

    /// Loop 4, and in it loop 5: packs KC × NC of B. Then loop 2 over its panels, and loop 1. After
    /// the first block of loop 4 the tiles add to C.
    #[inline(always)]
    fn packed_in<L: Lanes<T>, const MR: usize, const NR: usize, const SKIP_ZEROS: bool>(
        &mut self,
        lanes: L,
        scratch: &mut Buffer<T>,
    ) {
        let (k, n) = (self.k, self.n);
        let nc = (NC_BYTES / (KC * size_of::<T>()) / NR * NR).min(n.next_multiple_of(NR));
        let block = blocks(k, KC).map(|inner| inner.len()).max().unwrap_or(0);
        if scratch.len() < block * nc {
            scratch.resize(block * nc, T::zero());
        }
        for inner in blocks(k, KC) {
            let kc = inner.len();
            for j in (0..n).step_by(nc) {
                let columns = j..n.min(j + nc);
                pack::<T, L, NR>(
                    lanes,
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
        let rows_of_strip = self.rows.len().div_ceil(self.rows.len().div_ceil(MR));
        for i in self.rows.clone().step_by(rows_of_strip) {
            let rows = rows_of_strip.min(self.rows.end - i);
            // SAFETY: the tile's rows i.., the panel's columns and its inner range lie inside
            // the matrices whose lengths `new` checked; a packed panel holds a row of NR
            // elements for each inner index. Rows are 1 to MR, which is 4 or 8, and the columns at most NR,
            // which is NV registers; or MR is TALL, where `blocks` has seen that n is one register at most.
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
            c: self.c[(i - self.rows.start) * self.n + panel.columns.start..].as_mut_ptr(),
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
            ..
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
                // SAFETY: rows i.. of a and j.. of b (stored as n×k) exist, each of length k, and so
                // does element (i, j) of c with those right of it and below: `new` checked all three
                // lengths. At least one row and column are left, and at most ROWS and COLUMNS are taken.
                unsafe { dots.product(lanes, ROWS.min(m - i), COLUMNS.min(n - j)) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
