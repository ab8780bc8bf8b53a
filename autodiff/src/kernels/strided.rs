//! Loops over operands of one shape that lie in memory in different orders, or are stretched.

use super::simd::dispatched;
use super::{Real, Term, sum};
use crate::parallel::{PART, chunks_of, for_each, threads};
use crate::{MAX_RANK, Shape};

/// Strides for reading `from` as if it had been stretched to `to`: 0 where it
/// stretches.
pub(crate) fn stretched_strides(from: Shape, to: Shape) -> [usize; MAX_RANK] {
    let missing = to.rank() - from.rank();
    let own = from.strides();
    let mut strides = [0; MAX_RANK];
    for axis in missing..to.rank() {
        if from[axis - missing] == to[axis] {
            strides[axis] = own[axis - missing];
        }
    }
    strides
}

/// A walk over N strided operands of one common shape, row by row.
///
/// Axes that are contiguous in all operands are merged, so that the rows are as
/// long as they can be: an elementwise operation on equal shapes is one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<const N: usize> {
    extents: [usize; MAX_RANK],
    strides: [[usize; MAX_RANK]; N],
    rank: usize,
}

/// A walk over one element.
impl<const N: usize> Default for Walk<N> {
    fn default() -> Self {
        Self::new(Shape::default(), [[0; MAX_RANK]; N])
    }
}

impl<const N: usize> Walk<N> {
    /// A walk over `shape`, each operand with its own strides.
    pub(crate) fn new(shape: Shape, strides: [[usize; MAX_RANK]; N]) -> Self {
        let mut walk = Self {
            extents: [1; MAX_RANK],
            strides: [[0; MAX_RANK]; N],
            rank: 0,
        };
        for axis in 0..shape.rank() {
            walk.push(shape[axis], strides.map(|s| s[axis]));
        }
        walk
    }

    fn push(&mut self, extent: usize, stride: [usize; N]) {
        if extent == 1 {
            return;
        }
        let merges = |last: usize| {
            (0..N).all(|i| Some(self.strides[i][last]) == extent.checked_mul(stride[i]))
        };
        if let Some(last) = self.rank.checked_sub(1).filter(|&last| merges(last)) {
            self.extents[last] = self.extents[last].saturating_mul(extent);
            for (strides, stride) in self.strides.iter_mut().zip(stride) {
                strides[last] = stride;
            }
            return;
        }
        self.extents[self.rank] = extent;
        for (strides, stride) in self.strides.iter_mut().zip(stride) {
            strides[self.rank] = stride;
        }
        self.rank += 1;
    }

    /// Length of a row and each operand's stride along it.
    fn row(&self) -> (usize, [usize; N]) {
        match self.rank.checked_sub(1) {
            Some(last) => (self.extents[last], self.strides.map(|s| s[last])),
            None => (1, [1; N]),
        }
    }

    /// Cuts the walk along its first axis in parts for threads: calls `work` with the walk over
    /// each, the offsets of the operands there, and the part of `elements`, which are those of
    /// operand `which`. All at once if that one is stretched along the axis.
    fn in_parts<T: Send>(
        &self,
        which: usize,
        elements: &mut [T],
        work: impl Fn(&Self, [usize; N], &mut [T]) + Sync,
    ) {
        let (extent, step) = (self.extents[0], self.strides[which][0]);
        if threads() == 1 || step == 0 || elements.len() <= PART {
            return work(self, [0; N], elements);
        }
        let per = PART.div_ceil(step);
        let parts = chunks_of(elements, per * step);
        for_each(extent.div_ceil(per), parts, |i, elements| {
            let mut walk = *self;
            walk.extents[0] = elements.len() / step;
            let offsets = self.strides.map(|strides| i * per * strides[0]);
            work(&walk, offsets, elements);
        });
    }

    /// Calls `f` with each operand's offset at the start of every row.
    #[inline(always)]
    fn rows(&self, mut f: impl FnMut([usize; N])) {
        let outer = self.rank.saturating_sub(1);
        if self.extents.contains(&0) {
            return;
        }
        let mut index = [0; MAX_RANK];
        let mut offsets = [0; N];
        loop {
            f(offsets);
            let mut axis = outer;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                    *offset += strides[axis];
                }
                if index[axis] < self.extents[axis] {
                    break;
                }
                for (offset, strides) in offsets.iter_mut().zip(&self.strides) {
                    *offset -= strides[axis] * self.extents[axis];
                }
                index[axis] = 0;
            }
        }
    }
}

/// y = f(a, b) on operands of a walk over y, a and b.
pub(crate) fn broadcast<T: Real>(
    walk: &Walk<3>,
    [a, b]: [&[T]; 2],
    y: &mut [T],
    f: impl Fn(T, T) -> T + Sync,
) {
    walk.in_parts(0, y, |walk, [_, a_at, b_at], y| {
        broadcast_part(walk, [&a[a_at..], &b[b_at..]], y, &f);
    });
}

fn broadcast_part<T: Real>(walk: &Walk<3>, [a, b]: [&[T]; 2], y: &mut [T], f: impl Fn(T, T) -> T) {
    let (len, [_, by_a, by_b]) = walk.row();
    dispatched!(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |[y_at, a_at, b_at]| {
                    let y = &mut y[y_at..][..len];
                    with_constant_strides!(by_a, by_b, |A, B| {
                        let (a, b) = (row::<A, T>(a, a_at, len), row::<B, T>(b, b_at, len));
                        for (i, y) in y.iter_mut().enumerate() {
                            *y = f(a[i * A], b[i * B]);
                        }
                    })
                },
            )
        },
    );
}

/// Runs `$body` with the strides along a row as constants, for the compiler to
/// vectorise. They are 0 (stretched) or 1: all axes after a row's have extent 1.
macro_rules! with_constant_strides {
    ($by_a:expr, $by_b:expr, |$A:ident, $B:ident| $body:block) => {
        with_constant_strides! { ($by_a, $by_b), $A, $B, $body, (0, 0) (0, 1) (1, 0) (1, 1) }
    };
    ($strides:expr, $A:ident, $B:ident, $body:block, $(($a:literal, $b:literal))*) => {
        match $strides {
            $(($a, $b) => {
                const $A: usize = $a;
                const $B: usize = $b;
                $body
            })*
            _ => unreachable!("a stride along a row is 0 or 1"),
        }
    };
}
use with_constant_strides;

/// The elements of an operand in one row: one if it is stretched along it.
#[inline(always)]
fn row<const STRIDE: usize, T>(x: &[T], at: usize, len: usize) -> &[T] {
    &x[at..][..if STRIDE == 0 { 1 } else { len }]
}

/// Adds dy · derivative(a, b) to the gradient of operand `which` of the walk.
pub(crate) fn broadcast_gradient<T: Real>(
    walk: &Walk<3>,
    which: usize,
    (g, term): (&mut [T], Term),
    dy: &[T],
    (a, b): (&[T], &[T]),
    derivative: impl Fn(T, T) -> T + Sync,
) {
    // An operand that is not stretched gets one term for each element.
    let overwrite = g.len() == dy.len() && term == Term::First;
    if term == Term::First && !overwrite {
        g.fill(T::zero());
    }
    walk.in_parts(which, g, |walk, [y_at, a_at, b_at], g| {
        let operands = (&a[a_at..], &b[b_at..]);
        gradient_part(
            walk,
            which,
            (g, overwrite),
            &dy[y_at..],
            operands,
            &derivative,
        );
    });
}

fn gradient_part<T: Real>(
    walk: &Walk<3>,
    which: usize,
    (g, overwrite): (&mut [T], bool),
    dy: &[T],
    (a, b): (&[T], &[T]),
    derivative: impl Fn(T, T) -> T,
) {
    let (len, strides @ [_, by_a, by_b]) = walk.row();
    dispatched!(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |at @ [y_at, a_at, b_at]| {
                    let dy = &dy[y_at..][..len];
                    with_constant_strides!(by_a, by_b, |A, B| {
                        let (a, b) = (row::<A, T>(a, a_at, len), row::<B, T>(b, b_at, len));
                        let terms = dy.iter().enumerate().map(
                            #[inline(always)]
                            |(i, &dy)| dy * derivative(a[i * A], b[i * B]),
                        );
                        if strides[which] == 0 {
                            g[at[which]] += sum_of(terms);
                            return;
                        }
                        let g = g[at[which]..][..len].iter_mut().zip(terms);
                        if overwrite {
                            g.for_each(|(g, term)| *g = term);
                        } else {
                            g.for_each(|(g, term)| *g += term);
                        }
                    })
                },
            )
        },
    );
}

/// y = Σ x over what a walk over x and y stretches y along.
pub(crate) fn reduce<T: Real>(walk: &Walk<2>, x: &[T], y: &mut [T]) {
    let (len, [_, along]) = walk.row();
    y.fill(T::zero());
    dispatched!(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |[x_at, y_at]| {
                    let row = &x[x_at..][..len];
                    if along == 0 {
                        y[y_at] += sum(row);
                    } else {
                        for (y, &x) in y[y_at..].iter_mut().zip(row) {
                            *y += x;
                        }
                    }
                },
            )
        },
    );
}

/// dx += scale·dy, for a walk over x and y as in [`reduce`].
pub(crate) fn add_stretched<T: Real>(walk: &Walk<2>, scale: T, dy: &[T], dx: &mut [T]) {
    let (len, [_, along]) = walk.row();
    dispatched!(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |[x_at, y_at]| {
                    let row = dx[x_at..][..len].iter_mut();
                    if along == 0 {
                        let dy = scale * dy[y_at];
                        row.for_each(|dx| *dx += dy);
                    } else {
                        row.zip(&dy[y_at..]).for_each(|(dx, &dy)| *dx += scale * dy);
                    }
                },
            )
        },
    );
}

/// Whether a maximum moves on to `x`: it is larger, or the first NaN.
#[inline(always)]
pub(crate) fn exceeds<T: Real>(x: T, best: T) -> bool {
    (x > best) | (x.is_nan() & !best.is_nan())
}

/// By element of y, for a walk over x and y as in [`reduce`]: where in x the first element is
/// that no other `exceeds`.
pub(crate) fn extremes<T: Real>(
    walk: &Walk<2>,
    x: &[T],
    places: &mut [usize],
    exceeds: impl Fn(T, T) -> bool,
) {
    const NONE: usize = usize::MAX;
    let (len, [_, along]) = walk.row();
    places.fill(NONE);
    walk.rows(|[x_at, y_at]| {
        for i in 0..len {
            let place = &mut places[y_at + i * along];
            if *place == NONE || exceeds(x[x_at + i], x[*place]) {
                *place = x_at + i;
            }
        }
    });
}

/// y = x, for a walk over x and y in the order of y.
pub(crate) fn gather<T: Real>(walk: &Walk<2>, x: &[T], y: &mut [T]) {
    let (len, [step, _]) = walk.row();
    walk.rows(|[x_at, y_at]| {
        let y = &mut y[y_at..][..len];
        if step == 1 {
            y.copy_from_slice(&x[x_at..][..len]);
            return;
        }
        for (i, y) in y.iter_mut().enumerate() {
            *y = x[x_at + i * step];
        }
    });
}

/// x += y, for a walk as in [`gather`].
pub(crate) fn scatter_add<T: Real>(walk: &Walk<2>, y: &[T], x: &mut [T]) {
    let (len, [step, _]) = walk.row();
    walk.rows(|[x_at, y_at]| {
        let y = &y[y_at..][..len];
        if step == 1 {
            let x = x[x_at..][..len].iter_mut();
            x.zip(y).for_each(|(x, &y)| *x += y);
            return;
        }
        for (i, &y) in y.iter().enumerate() {
            x[x_at + i * step] += y;
        }
    });
}

/// Σ terms, through blocks that the compiler vectorises, in an order fixed by
/// their number alone.
#[inline(always)]
fn sum_of<T: Real>(mut terms: impl ExactSizeIterator<Item = T>) -> T {
    let mut total = T::zero();
    let mut block = [T::zero(); 64];
    while terms.len() > 0 {
        let n = terms.len().min(block.len());
        for (place, term) in block.iter_mut().zip(terms.by_ref().take(n)) {
            *place = term;
        }
        total += sum(&block[..n]);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_merges_contiguous_axes() {
        let shape = Shape::from([4, 5, 6]);
        let equal = Walk::new(shape, [shape.strides(), shape.strides()]);
        assert_eq!(equal.row(), (120, [1, 1]));
        let bias = stretched_strides(Shape::from([6]), shape);
        let biased = Walk::new(shape, [shape.strides(), bias]);
        assert_eq!(biased.row(), (6, [1, 1]));
        let mut starts = Vec::new();
        biased.rows(|at| starts.push(at));
        assert_eq!(starts, (0..20).map(|row| [6 * row, 0]).collect::<Vec<_>>());
    }

    #[test]
    fn a_walk_over_nothing_visits_nothing() {
        let shape = Shape::from([3, 0, 2]);
        Walk::new(shape, [shape.strides()]).rows(|_| panic!("visited"));
    }
}
