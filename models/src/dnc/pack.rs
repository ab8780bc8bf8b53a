//! Sixteen sequences at a time.
//!
//! A batch is cut into blocks of 16 sequences. In a tensor of the memory the block is the
//! first axis and the sequence within it the last: where an equation has a number, there
//! lie the numbers of 16 sequences, a [`Pack`], one register of the widest vectors in f32.
//! So the equations are written as for one sequence, whatever the sizes of the memory, and
//! nothing but the gradients of weights is summed across a register. In a block that is not
//! full the other lanes compute too, on observations of zeros, and nobody reads what they find.

use aligned_vec::{AVec, ConstAlign};
use autodiff::kernels::{Batch, add_batch_product};
use autodiff::{Gradients, Inputs, Real};
use std::hint::black_box;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// Sequences in a block.
pub(super) const LANES: usize = 16;

/// What a tensor is made of.
pub(super) type Packs<T> = [[T; LANES]];

/// What an operation keeps for itself: like a tensor, in whole cache lines.
pub(super) type Kept<T> = AVec<[T; LANES], ConstAlign<64>>;

/// One number of each of 16 sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pack<T>(pub [T; LANES]);

impl<T: Real> Pack<T> {
    #[inline(always)]
    pub fn splat(x: T) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    pub fn zero() -> Self {
        Self::splat(T::zero())
    }

    #[inline(always)]
    pub fn one() -> Self {
        Self::splat(T::one())
    }

    #[inline(always)]
    pub fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let Self(mut result) = self;
        for (a, b) in result.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(result)
    }

    #[inline(always)]
    pub fn map(self, f: impl Fn(T) -> T) -> Self {
        let Self(mut result) = self;
        result.iter_mut().for_each(|x| *x = f(*x));
        Self(result)
    }

    #[inline(always)]
    pub fn sqrt(self) -> Self {
        self.map(
            #[inline(always)]
            |x| x.sqrt(),
        )
    }

    #[inline(always)]
    pub fn recip(self) -> Self {
        Self::one() / self
    }

    /// The larger; `other` where one of them is NaN.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        self.zip(
            other,
            #[inline(always)]
            |a, b| if a > b { a } else { b },
        )
    }

    /// `self` where a > b, or a = b if `ties`; `other` elsewhere.
    #[inline(always)]
    pub fn where_greater(self, (a, b): (Self, Self), ties: bool, other: Self) -> Self {
        let Self(mut result) = other;
        let lanes = result.iter_mut().zip(self.0).zip(a.0.into_iter().zip(b.0));
        for ((result, x), (a, b)) in lanes {
            let greater = if ties { a >= b } else { a > b };
            *result = if greater { x } else { *result };
        }
        Self(result)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:tt;)*) => {$(
        impl<T: Real> $trait for Pack<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, #[inline(always)] |a, b| a $operator b)
            }
        }
    )*};
}

operators! {
    Add add +;
    Sub sub -;
    Mul mul *;
    Div div /;
}

impl<T: Real> Neg for Pack<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(
            #[inline(always)]
            |x| -x,
        )
    }
}

macro_rules! assigning_operators {
    ($($trait:ident $method:ident $operator:tt;)*) => {$(
        impl<T: Real> $trait for Pack<T> {
            #[inline(always)]
            fn $method(&mut self, other: Self) {
                *self = *self $operator other;
            }
        }
    )*};
}

assigning_operators! {
    AddAssign add_assign +;
    SubAssign sub_assign -;
    MulAssign mul_assign *;
}

impl<T: Real> AddAssign<Pack<T>> for [T; LANES] {
    #[inline(always)]
    fn add_assign(&mut self, other: Pack<T>) {
        *self = (Pack(*self) + other).0;
    }
}

/// The operands of an operation.
#[inline(always)]
pub(super) fn operands<'a, T: Real, const K: usize>(x: &'a Inputs<T>) -> [&'a Packs<T>; K] {
    std::array::from_fn(|i| packs(&x[i]))
}

/// The gradients of some operands, to be added to.
#[inline(always)]
pub(super) fn gradients<'a, T: Real, const K: usize>(
    dx: &'a mut Gradients<T>,
    operands: [usize; K],
) -> [&'a mut Packs<T>; K] {
    dx.zeroed(operands).map(packs_mut)
}

/// The packs that a tensor is made of.
#[inline(always)]
pub(super) fn packs<T>(x: &[T]) -> &Packs<T> {
    x.as_chunks().0
}

/// As [`packs`], to be written.
#[inline(always)]
pub(super) fn packs_mut<T>(x: &mut [T]) -> &mut Packs<T> {
    x.as_chunks_mut().0
}

/// Packs of zeros.
pub(super) fn zeros<T: Real>(packs: usize) -> Kept<T> {
    AVec::from_iter(64, std::iter::repeat_n([T::zero(); LANES], packs))
}

/// The k-th part of `x`, `len` long: a block of a tensor, a row of a block.
#[inline(always)]
pub(super) fn at<T>(x: &[T], k: usize, len: usize) -> &[T] {
    &x[k * len..][..len]
}

/// As [`at`], to be written.
#[inline(always)]
pub(super) fn at_mut<T>(x: &mut [T], k: usize, len: usize) -> &mut [T] {
    &mut x[k * len..][..len]
}

/// The numbers below n, for a loop over packs.
///
/// The compiler unrolls the sixteen lanes of such a loop, and would then make registers of
/// sixteen passes of it, gathered and scattered lane by lane. What keeps the passes apart is
/// no instruction.
#[inline(always)]
pub(super) fn each(n: usize) -> impl Iterator<Item = usize> {
    (0..n).inspect(
        #[inline(always)]
        |_| black_box(()),
    )
}

/// Σ aᵢbᵢ.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &Packs<T>, b: &Packs<T>) -> Pack<T> {
    let mut sum = Pack::zero();
    for i in each(a.len()) {
        sum += Pack(a[i]) * Pack(b[i]);
    }
    sum
}

/// A matrix of each sequence, in rows of length n.
#[inline(always)]
pub(super) fn matrix<T>(x: &Packs<T>, n: usize) -> Batch<'_, T> {
    Batch::rows(x.as_flattened(), n)
}

/// C += A·B for the matrices of each sequence, with A: m×k, B: k×n and C in rows of length n.
pub(super) fn add_product<T: Real>(sizes: [usize; 3], a: Batch<T>, b: Batch<T>, c: &mut Packs<T>) {
    let c = (c.as_flattened_mut(), sizes[2]);
    add_batch_product(sizes, LANES, a, b, c);
}

/// Π (1 − aᵢbᵢ) over the i that are not `left_out`.
#[inline(always)]
pub(super) fn product_of_rests<T: Real>(
    factors: impl Iterator<Item = (Pack<T>, Pack<T>)>,
    left_out: Option<usize>,
) -> Pack<T> {
    let mut product = Pack::one();
    for (i, (a, b)) in factors.enumerate() {
        if Some(i) != left_out {
            product *= Pack::one() - a * b;
        }
    }
    product
}

/// Lays rows of some numbers, one for each sequence, out in the first packs of blocks `len`
/// long; lanes without a sequence are zero.
pub(super) fn pack_rows<T: Real>(packs: &mut Packs<T>, len: usize, rows: &[T], numbers: usize) {
    let blocks = packs
        .chunks_exact_mut(len)
        .zip(rows.chunks(LANES * numbers));
    for (block, rows) in blocks {
        if rows.len() < LANES * numbers {
            block[..numbers].fill([T::zero(); LANES]);
        }
        for (lane, row) in rows.chunks_exact(numbers).enumerate() {
            for (pack, &x) in block.iter_mut().zip(row) {
                pack[lane] = x;
            }
        }
    }
}

/// Adds packs to rows of some numbers, one for each sequence.
pub(super) fn unpack_rows<T: Real>(packs: &Packs<T>, rows: &mut [T], numbers: usize) {
    let blocks = packs.chunks_exact(numbers);
    for (block, rows) in blocks.zip(rows.chunks_mut(LANES * numbers)) {
        for (lane, row) in rows.chunks_exact_mut(numbers).enumerate() {
            for (x, pack) in row.iter_mut().zip(block) {
                *x += pack[lane];
            }
        }
    }
}
