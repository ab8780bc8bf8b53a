//! Loops over whole buffers: the compiler vectorises them, [`dispatch`](super::dispatch) lets it
//! use what the machine has.

use super::simd::dispatched;
use crate::kernels::Real;

/// Which term of a sum a kernel computes: what becomes of the destination's old content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The first, or only one: it overwrites what was there.
    First,
    /// A further one: it is added.
    Further,
}

impl Term {
    /// Writes or adds one term to each element of `sums`.
    ///
    /// # Panics
    /// If there are more or fewer terms than elements.
    #[inline(always)]
    pub(crate) fn write<T: Real>(self, sums: &mut [T], terms: impl ExactSizeIterator<Item = T>) {
        assert_eq!(terms.len(), sums.len(), "one term for each element");
        match self {
            Term::First => fill(sums, terms),
            Term::Further => dispatched!(once
                #[inline(always)]
                || sums.iter_mut().zip(terms).for_each(|(sum, t)| *sum += t)
            ),
        }
    }
}

/// Writes one value to each element of `y`.
#[inline(always)]
pub(crate) fn fill<T: Real>(y: &mut [T], values: impl ExactSizeIterator<Item = T>) {
    debug_assert_eq!(values.len(), y.len());
    dispatched!(once
        #[inline(always)]
        || y.iter_mut().zip(values).for_each(|(y, v)| *y = v)
    );
}
