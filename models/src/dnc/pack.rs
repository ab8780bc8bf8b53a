//! Sixteen sequences at a time.
//!
//! A batch is cut into blocks of 16 sequences. In a tensor of the memory the block is the
//! first axis and the sequence within it the last: where an equation has a number, there
//! lie the numbers of 16 sequences, a [`Pack`], one register of the widest vectors in f32.
//! So the equations are written as for one sequence, whatever the sizes of the memory, and
//! nothing is ever summed across a register. In a block that is not full the other lanes
//! compute too, on zeros, and nobody reads what they find.

use super::layout::Segment;
use autodiff::{Gradient, Inputs, Real};
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// Sequences in a block.
pub(super) const LANES: usize = 16;

/// What a tensor is made of.
pub(super) type Packs<T> = [[T; LANES]];

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

/// The operands of an operation.
#[inline(always)]
pub(super) fn operands<'a, T: Real, const K: usize>(x: &'a Inputs<T>) -> [&'a Packs<T>; K] {
    std::array::from_fn(|i| packs(&x[i]))
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

/// A tensor of zeros.
pub(super) fn zeros<T: Real>(packs: usize) -> Vec<[T; LANES]> {
    vec![[T::zero(); LANES]; packs]
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

/// Σ aᵢbᵢ.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &Packs<T>, b: &Packs<T>) -> Pack<T> {
    let mut sum = Pack::zero();
    for (&a, &b) in a.iter().zip(b) {
        sum += Pack(a) * Pack(b);
    }
    sum
}

/// Σᵢ aᵢ Bᵢⱼ for a matrix B of rows of length n.
#[inline(always)]
pub(super) fn dot_column<T: Real>(a: &Packs<T>, b: &Packs<T>, j: usize, n: usize) -> Pack<T> {
    let mut sum = Pack::zero();
    for (&a, row) in a.iter().zip(b.chunks_exact(n)) {
        sum += Pack(a) * Pack(row[j]);
    }
    sum
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

/// Adds to a gradient that somebody asks for.
pub(super) fn add<T: Real>(gradient: Option<Gradient<T>>, terms: &Packs<T>) {
    if let Some(gradient) = gradient {
        gradient.add(terms.as_flattened().iter().copied());
    }
}

/// Adds to one segment of each block, `len` packs long, of a gradient.
pub(super) fn add_to_segment<T: Real>(
    gradient: Option<Gradient<T>>,
    len: usize,
    segment: Segment,
    terms: &Packs<T>,
) {
    let Some(gradient) = gradient else { return };
    let blocks = packs_mut(gradient.zeroed()).chunks_exact_mut(len);
    for (block, terms) in blocks.zip(terms.chunks_exact(segment.len)) {
        for (sum, &term) in segment.of_mut(block).iter_mut().zip(terms) {
            *sum = (Pack(*sum) + Pack(term)).0;
        }
    }
}

/// Lays columns `first`.. of rows, one for each sequence, out in packs, a block `len` long;
/// lanes without a sequence are zero.
pub(super) fn pack_rows<T: Real>(
    packs: &mut Packs<T>,
    len: usize,
    rows: &[T],
    (row, first): (usize, usize),
) {
    let blocks = packs.chunks_exact_mut(len).zip(rows.chunks(LANES * row));
    for (block, rows) in blocks {
        if rows.len() < LANES * row {
            block.fill([T::zero(); LANES]);
        }
        for (lane, row) in rows.chunks_exact(row).enumerate() {
            for (pack, &x) in block.iter_mut().zip(&row[first..]) {
                pack[lane] = x;
            }
        }
    }
}

/// Adds columns `first`.. of rows to packs: [`pack_rows`], with a sum.
pub(super) fn add_rows<T: Real>(
    packs: &mut Packs<T>,
    len: usize,
    rows: &[T],
    (row, first): (usize, usize),
) {
    let blocks = packs.chunks_exact_mut(len).zip(rows.chunks(LANES * row));
    for (block, rows) in blocks {
        for (lane, row) in rows.chunks_exact(row).enumerate() {
            for (pack, &x) in block.iter_mut().zip(&row[first..]) {
                pack[lane] += x;
            }
        }
    }
}

/// The way back from [`pack_rows`].
pub(super) fn unpack_rows<T: Real>(
    packs: &Packs<T>,
    len: usize,
    rows: &mut [T],
    (row, first): (usize, usize),
) {
    let blocks = packs.chunks_exact(len).zip(rows.chunks_mut(LANES * row));
    for (block, rows) in blocks {
        for (lane, row) in rows.chunks_exact_mut(row).enumerate() {
            for (x, pack) in row[first..].iter_mut().zip(block) {
                *x = pack[lane];
            }
        }
    }
}
