//! Shapes, and walks over strided data.

use std::fmt;
use std::ops::Deref;

/// Largest number of axes of a tensor.
pub const MAX_RANK: usize = 6;

/// The extent of each axis of a dense row-major tensor; `[]` is a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    // Invariant: extents from `rank` on are zero, so that `==` compares shapes.
    extents: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The shape with these extents, or `None` beyond [`MAX_RANK`] axes.
    pub fn new(extents: &[usize]) -> Option<Self> {
        let mut shape = Self {
            rank: extents.len(),
            ..Self::default()
        };
        shape
            .extents
            .get_mut(..extents.len())?
            .copy_from_slice(extents);
        Some(shape)
    }

    /// Number of elements; 1 for a scalar. The largest `usize` if there are more.
    pub fn elements(&self) -> usize {
        if self.contains(&0) {
            return 0;
        }
        self.iter().fold(1, |n, &extent| n.saturating_mul(extent))
    }

    /// Number of elements, if an array of `T` can have so many. The axes of extent 0 do
    /// not help: then no product of extents, of whichever axes, overflows.
    pub(crate) fn elements_in_memory<T>(&self) -> Option<usize> {
        let mut extents = self.iter().filter(|&&extent| extent != 0);
        let most = extents.try_fold(1_usize, |n, &extent| n.checked_mul(extent))?;
        (most <= isize::MAX as usize / size_of::<T>()).then(|| self.elements())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Distance in memory between neighbours along each axis, row-major.
    pub(crate) fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut stride = 1_usize;
        for axis in (0..self.rank).rev() {
            strides[axis] = stride;
            stride = stride.saturating_mul(self.extents[axis]);
        }
        strides
    }

    /// This shape with `axis` set to `extent`.
    pub(crate) fn with(mut self, axis: usize, extent: usize) -> Self {
        self.extents[axis] = extent;
        self
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Self {
        const { assert!(N <= MAX_RANK, "a tensor has at most MAX_RANK axes") };
        Self::new(&extents).expect("checked at compile time")
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.extents[..self.rank]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The shape that two operands broadcast to: axes are aligned at the last one,
/// and an extent of 1 (or a missing axis) stretches. `None` if they disagree.
pub(crate) fn broadcast(a: Shape, b: Shape) -> Option<Shape> {
    let rank = a.rank.max(b.rank);
    let mut out = Shape {
        rank,
        ..Shape::default()
    };
    for axis in 0..rank {
        out.extents[axis] = match (aligned(&a, axis, rank), aligned(&b, axis, rank)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return None,
        };
    }
    Some(out)
}

fn aligned(shape: &Shape, axis: usize, rank: usize) -> usize {
    let missing = rank - shape.rank;
    if axis < missing {
        1
    } else {
        shape.extents[axis - missing]
    }
}

/// Strides for reading `from` as if it had been stretched to `to`: 0 where it
/// stretches.
pub(crate) fn stretched_strides(from: Shape, to: Shape) -> [usize; MAX_RANK] {
    let missing = to.rank - from.rank;
    let own = from.strides();
    let mut strides = [0; MAX_RANK];
    for axis in missing..to.rank {
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

impl<const N: usize> Walk<N> {
    /// A walk over `shape`, each operand with its own strides.
    pub(crate) fn new(shape: Shape, strides: [[usize; MAX_RANK]; N]) -> Self {
        let mut walk = Self {
            extents: [1; MAX_RANK],
            strides: [[0; MAX_RANK]; N],
            rank: 0,
        };
        for axis in 0..shape.rank {
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
    pub(crate) fn row(&self) -> (usize, [usize; N]) {
        match self.rank.checked_sub(1) {
            Some(last) => (self.extents[last], self.strides.map(|s| s[last])),
            None => (1, [1; N]),
        }
    }

    /// Calls `f` with each operand's offset at the start of every row.
    #[inline(always)]
    pub(crate) fn rows(&self, mut f: impl FnMut([usize; N])) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_the_last_axes() {
        let case = |a: &[usize], b: &[usize]| {
            broadcast(Shape::new(a).unwrap(), Shape::new(b).unwrap()).map(|s| s.to_vec())
        };
        assert_eq!(case(&[64, 10], &[10]), Some(vec![64, 10]));
        assert_eq!(case(&[3, 1, 5], &[4, 1]), Some(vec![3, 4, 5]));
        assert_eq!(case(&[], &[2, 3]), Some(vec![2, 3]));
        assert_eq!(case(&[2], &[3]), None);
    }

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

    #[test]
    fn too_many_axes_are_no_shape() {
        assert_eq!(Shape::new(&[1; MAX_RANK + 1]), None);
    }
}
