//! Products that skip the zeros of A.
//!
//! Four fifths of MNIST's pixels are exactly 0, in runs; so are half of the outputs of a ReLU,
//! anywhere. A strip of A is a pair of rows here: two images, or in a weight gradient two
//! neighbouring pixels. Where both are 0 the rank-1 update adds nothing and is left out. More
//! rows would use a register of B more often, but have more nonzeros between them: in a batch of
//! MNIST 29 % of the pixels in pairs of images (22 % of the pairs of neighbours), and 39 % (28 %)
//! in fours. With so few rows a tile is wide, and a panel of B stays in L2, which keeps up.
//!
//! The result has the bits of the dense product: fma(0, b, c) = c, and the blocks of the inner
//! dimension are the same. (A zero that comes of underflow may differ in sign.) Not so where B
//! is not finite: 0·∞ is NaN in the dense product and is skipped here. Training that diverges
//! shows all the same: a weight that meets only zeros has no part in the loss, and a gradient dy
//! that is not finite reaches the bias, which nothing multiplies.

use super::{Gemm, KC, Matrix, PACK_FROM, Panel, Tile};
use crate::kernels::Real;
use crate::kernels::simd::{Kernel, Lanes, own_name};
use std::ops::Range;

/// Rows of a strip of A.
const ROWS: usize = 2;
/// Fewest rows of A: from here on the dense product takes the inner dimension by blocks.
const ROWS_FROM: usize = 8 * PACK_FROM;
/// Fewest columns of B: counting zeros costs up to 1/n of the product.
const COLUMNS_FROM: usize = 64;
/// Rows of A whose zeros are found at once.
const GROUP: usize = 64;

impl<T: Real> Gemm<'_, T> {
    /// Whether skipping zeros pays: whether at least half of A is 0.
    #[inline(always)]
    pub(super) fn mostly_zeros(&self) -> bool {
        if self.n < COLUMNS_FROM || self.m < ROWS_FROM {
            return false;
        }
        let mut left = self.a.data.len() / 2;
        self.a.data.chunks(1024).all(
            #[inline(always)]
            |chunk| {
                let mut nonzeros = 0u32;
                for &x in chunk {
                    nonzeros += u32::from(x != T::zero());
                }
                let enough = left >= nonzeros as usize;
                left = left.saturating_sub(nonzeros as usize);
                enough
            },
        )
    }

    /// The product, by the nonzeros of each strip of A. A panel of B has 10 or 6 registers, and is
    /// packed: as it lies most of its registers straddle two cache lines, and the tile, with 12
    /// loads to 20 multiply-adds, has no load port to spare.
    #[inline(always)]
    pub(super) fn skipping_zeros<L: Lanes<T>>(self, lanes: L) {
        match (L::REGISTERS >= 32, L::WIDTH) {
            (true, 16) => self.packed::<L, ROWS, 160, true>(lanes),
            (true, _) => self.packed::<L, ROWS, 80, true>(lanes),
            (false, 8) => self.packed::<L, ROWS, 48, true>(lanes),
            (false, _) => self.packed::<L, ROWS, 24, true>(lanes),
        }
    }

    /// Loop 1: all strips of A against one packed panel of B.
    #[inline(always)]
    pub(super) fn sparse_strips<L: Lanes<T>>(&mut self, lanes: L, panel: &Panel<T>) {
        for group in self.rows.clone().step_by(GROUP) {
            let rows = group..self.rows.end.min(group + GROUP);
            let nonzeros = Nonzeros::find(lanes, &self.a, (self.m, self.k), &rows, &panel.inner);
            let pairs = rows.len() / ROWS * ROWS;
            for i in (0..pairs).step_by(ROWS) {
                self.sparse_strip::<L, ROWS>(lanes, panel, group + i, nonzeros.of::<ROWS>(i));
            }
            for i in pairs..rows.len() {
                self.sparse_strip::<L, 1>(lanes, panel, group + i, nonzeros.of::<1>(i));
            }
        }
    }

    #[inline(always)]
    fn sparse_strip<L: Lanes<T>, const M: usize>(
        &mut self,
        lanes: L,
        panel: &Panel<T>,
        i: usize,
        nonzeros: [u64; WORDS],
    ) {
        let tile = SparseTile {
            tile: self.tile(panel, i),
            nonzeros,
        };
        // SAFETY: as in `strips`, with M rows; the panels of `skipping_zeros` are 6 or 10 registers wide,
        // and the bits of `nonzeros` are inner indices of the panel.
        unsafe { tile.product::<L, M>(lanes) }
    }
}

/// Words that have a bit for each row of a block of B.
const WORDS: usize = KC.div_ceil(64);

/// Where the rows of a group are not 0: bit p of word w of row i says whether element
/// 64·w + p of that row's block is not.
struct Nonzeros([[u64; GROUP]; WORDS]);

impl Nonzeros {
    #[inline(always)]
    fn find<T: Real, L: Lanes<T>>(
        lanes: L,
        a: &Matrix<T>,
        (m, k): (usize, usize),
        rows: &Range<usize>,
        inner: &Range<usize>,
    ) -> Self {
        let mut words = [[0; GROUP]; WORDS];
        if a.transposed {
            let columns = a.data[inner.start * m..inner.end * m].chunks_exact(m);
            for (p, column) in columns.enumerate() {
                let bit = 1 << (p % 64);
                for (word, &x) in words[p / 64].iter_mut().zip(&column[rows.clone()]) {
                    *word |= if x != T::zero() { bit } else { 0 };
                }
            }
        } else {
            for (i, row) in rows.clone().enumerate() {
                let row = &a.data[row * k..][inner.clone()];
                for (word, elements) in words.iter_mut().zip(row.chunks(64)) {
                    word[i] = nonzero_bits(lanes, elements);
                }
            }
        }
        Self(words)
    }

    /// Where one of the rows i..i + M of the group is not 0.
    #[inline(always)]
    fn of<const M: usize>(&self, i: usize) -> [u64; WORDS] {
        let mut any = [0; WORDS];
        for (any, word) in any.iter_mut().zip(&self.0) {
            for row in &word[i..i + M] {
                *any |= row;
            }
        }
        any
    }
}

/// Which of up to 64 elements are not 0.
#[inline(always)]
fn nonzero_bits<T: Real, L: Lanes<T>>(lanes: L, elements: &[T]) -> u64 {
    let mut bits = 0;
    for p in (0..elements.len()).step_by(L::WIDTH) {
        let mask = lanes.first(L::WIDTH.min(elements.len() - p));
        // SAFETY: the elements from p on, masked to what is left of them.
        let x = unsafe { lanes.load_masked(mask, elements.as_ptr().add(p)) };
        bits |= lanes.nonzeros(x) << p;
    }
    bits
}

/// A register tile of C, and the inner indices that it is the product over: the set bits.
#[derive(Clone, Copy)]
struct SparseTile<T> {
    tile: Tile<T>,
    nonzeros: [u64; WORDS],
}

impl<T: Real> SparseTile<T> {
    /// Runs the kernel compiled for this number of registers.
    ///
    /// # Safety
    /// As for [`Tile::product`] with `rows` = M, for every p in `nonzeros`; 1 <= columns <= 10
    /// registers.
    #[inline(always)]
    unsafe fn product<L: Lanes<T>, const M: usize>(self, lanes: L) {
        macro_rules! pick {
            ($($v:literal)*) => {
                match self.tile.columns.div_ceil(L::WIDTH) {
                    $($v => lanes.call(SparseProduct::<T, M, $v>(self)),)*
                    _ => unreachable!("a tile is 1 to 10 registers wide"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10)
    }
}

/// A tile of M rows by V registers: a rank-1 update for each inner index of the set.
///
/// Built by [`SparseTile::product`] only, whose contract `run` relies on.
struct SparseProduct<T, const M: usize, const V: usize>(SparseTile<T>);

impl<T: Real, const M: usize, const V: usize> Kernel<T> for SparseProduct<T, M, V> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let SparseTile { tile, nonzeros } = self.0;
        let tail = lanes.first(tile.columns - (V - 1) * L::WIDTH);
        let mut c = [[lanes.splat(T::zero()); V]; M];
        for (w, mut bits) in nonzeros.into_iter().enumerate() {
            while bits != 0 {
                let p = 64 * w + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let a = tile.a.wrapping_add(p * tile.column_stride_a);
                let b = tile.b.wrapping_add(p * tile.row_stride_b);
                let mut x = [lanes.splat(T::zero()); M];
                for (i, x) in x.iter_mut().enumerate() {
                    // SAFETY: element (i, p) of a, i < M.
                    *x = lanes.splat(unsafe { *a.add(i * tile.row_stride_a) });
                }
                for v in 0..V {
                    // SAFETY: the columns of row p of b; the last register is masked to them.
                    let row = unsafe {
                        let b = b.add(v * L::WIDTH);
                        if v + 1 < V {
                            lanes.load(b)
                        } else {
                            lanes.load_masked(tail, b)
                        }
                    };
                    for (sums, &x) in c.iter_mut().zip(&x) {
                        sums[v] = lanes.mul_add(x, row, sums[v]);
                    }
                }
            }
        }
        // SAFETY: the caller's: M rows of c and the tile's columns.
        unsafe { tile.store(lanes, c) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Term;
    use crate::kernels::simd::testing::on_every_level;

    /// The product without skipping.
    struct Dense<'a, T>(Gemm<'a, T>);

    impl<T: Real> Kernel<T> for Dense<'_, T> {
        type Output = ();
        own_name! {}

        #[inline(always)]
        fn run<L: Lanes<T>>(self, lanes: L) {
            if L::WIDTH == 1 {
                self.0.portable();
            } else {
                self.0.dense(lanes);
            }
        }
    }

    /// Numbers whose sums round, `percent` of them not 0.
    fn numbers<T: Real>(n: usize, percent: usize) -> Vec<T> {
        let number = |i: usize| match i * 7919 % 100 < percent {
            true => T::nearest(f64::sin(i as f64)),
            false => T::zero(),
        };
        (0..n).map(number).collect()
    }

    /// Both layers of the perceptron, and sizes around every edge: pairs, groups, words,
    /// panels, blocks of k.
    const SIZES: [(usize, usize, usize); 9] = [
        (64, 784, 300),
        (784, 64, 300),
        (64, 300, 100),
        (24, 0, 64),
        (25, 1, 64),
        (65, 161, 97),
        (127, 63, 161),
        (129, 129, 480),
        (26, 170, 900),
    ];

    fn check<T: Real>() {
        on_every_level(|name, level| {
            for (m, k, n) in SIZES {
                for percent in [0, 20, 45] {
                    let (a, b) = (numbers::<T>(m * k, percent), numbers::<T>(k * n, 100));
                    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                        let (a, b) = (Matrix::new(&a, ta), Matrix::new(&b, tb));
                        for term in [Term::First, Term::Further] {
                            let mut dense = numbers::<T>(m * n, 100);
                            let mut sparse = dense.clone();
                            level.run(Dense(Gemm::new(m, k, n, a, b, &mut dense, term)));
                            let product = Gemm::new(m, k, n, a, b, &mut sparse, term);
                            assert!(product.mostly_zeros(), "{percent} %");
                            level.run(product);
                            assert!(
                                dense == sparse,
                                "{name}, {m}×{k}×{n}, {percent} %, {ta} {tb} {term:?}"
                            );
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn skipping_zeros_changes_no_bit_in_f32() {
        check::<f32>();
    }

    #[test]
    fn skipping_zeros_changes_no_bit_in_f64() {
        check::<f64>();
    }

    #[test]
    fn few_zeros_and_small_products_are_not_skipped() {
        let zeros = |m, n, percent| {
            let (a, b) = (numbers::<f32>(m * 40, percent), numbers(40 * n, 100));
            let mut c = vec![0.0; m * n];
            let (a, b) = (Matrix::plain(&a), Matrix::plain(&b));
            Gemm::new(m, 40, n, a, b, &mut c, Term::First).mostly_zeros()
        };
        assert!(zeros(60, 80, 45) && !zeros(60, 80, 55));
        assert!(!zeros(16, 80, 10) && !zeros(60, 40, 10));
    }

    #[test]
    fn what_meets_only_zeros_is_skipped_even_if_it_is_infinite() {
        let (mut a, mut b) = (numbers::<f32>(64 * 100, 20), numbers(100 * 64, 100));
        a.chunks_exact_mut(100).for_each(|row| row[1] = 0.0);
        b[64..128].fill(f32::INFINITY);
        let mut c = vec![0.0; 64 * 64];
        on_every_level(|name, level| {
            let (a, b) = (Matrix::plain(&a), Matrix::plain(&b));
            level.run(Gemm::new(64, 100, 64, a, b, &mut c, Term::First));
            let finite = c.iter().all(|x| x.is_finite());
            assert_eq!(finite, name != "portable", "{name}");
        });
    }
}
