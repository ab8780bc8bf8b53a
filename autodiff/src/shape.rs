//! Shapes.

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
    fn too_many_axes_are_no_shape() {
        assert_eq!(Shape::new(&[1; MAX_RANK + 1]), None);
    }
}
