//! Where moments lie in memory.

use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// Moments, one entry per parameter, in memory that vector instructions read at full speed: the
/// start is a multiple of `ALIGN` bytes.
///
/// `ALIGN` is at least a cache line, 64, so that no full vector straddles two. Give each vector of
/// an optimiser an alignment of its own, 256, 512 and so on: large allocations start at a page
/// plus their alignment, and vectors whose entries lie a multiple of 4 KiB apart make the
/// processor take a load for one that depends on the store before it ("4K aliasing" in Agner
/// Fog's *Microarchitecture*). Both together measured as a factor of three on an Adam step.
pub struct MomentBuffer<M, const ALIGN: usize = 256> {
    /// Entries before the aligned one, unused, and then the moments.
    entries: Vec<M>,
    start: usize,
}

impl<M, const ALIGN: usize> MomentBuffer<M, ALIGN> {
    /// No entries.
    pub fn new() -> Self {
        MomentBuffer {
            entries: Vec::new(),
            start: 0,
        }
    }

    /// The bytes allocated for entries.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<M>()
    }
}

impl<M: Clone, const ALIGN: usize> MomentBuffer<M, ALIGN> {
    /// `len` entries: the present ones, cut off or filled up with `entry`.
    pub fn resize(&mut self, len: usize, entry: M) {
        if len > self.len() {
            let mut grown = MomentBuffer::with_room(len, entry.clone());
            grown.entries.extend_from_slice(self);
            *self = grown;
        }
        self.entries.resize(self.start + len, entry);
    }

    /// No moments, but room for `len` that start on their alignment; `entry` fills the gap.
    fn with_room(len: usize, entry: M) -> Self {
        // After so many entries their addresses modulo ALIGN come round again.
        let power_of_two = size_of::<M>().trailing_zeros().min(ALIGN.trailing_zeros());
        let longest_gap = ALIGN >> power_of_two;
        let mut entries = Vec::with_capacity(longest_gap + len);
        let address = entries.as_ptr() as usize;
        let is_aligned = |gap: &usize| (address + gap * size_of::<M>()).is_multiple_of(ALIGN);
        let start = (0..longest_gap).find(is_aligned).unwrap_or(0);
        entries.resize(start, entry);
        MomentBuffer { entries, start }
    }
}

impl<M: Clone, const ALIGN: usize> Clone for MomentBuffer<M, ALIGN> {
    fn clone(&self) -> Self {
        self.to_vec().into()
    }
}

impl<M, const ALIGN: usize> Default for MomentBuffer<M, ALIGN> {
    fn default() -> Self {
        MomentBuffer::new()
    }
}

impl<M: Clone, const ALIGN: usize> From<Vec<M>> for MomentBuffer<M, ALIGN> {
    fn from(moments: Vec<M>) -> Self {
        let Some(first) = moments.first().cloned() else {
            return MomentBuffer::new();
        };
        let mut buffer = MomentBuffer::with_room(moments.len(), first);
        buffer.entries.extend(moments);
        buffer
    }
}

impl<M, const ALIGN: usize> Deref for MomentBuffer<M, ALIGN> {
    type Target = [M];
    fn deref(&self) -> &[M] {
        &self.entries[self.start..]
    }
}

impl<M, const ALIGN: usize> DerefMut for MomentBuffer<M, ALIGN> {
    fn deref_mut(&mut self) -> &mut [M] {
        &mut self.entries[self.start..]
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
        let triples = MomentBuffer::<[f32; 3], 512>::from(vec![[1.0, 2.0, 3.0]; 1000]);
        // Copies elsewhere in memory have gaps of their own.
        let copies: Vec<_> = (0..20)
            .map(|_| (moments.clone(), triples.clone()))
            .collect();
        for (moments, triples) in &copies {
            assert_eq!((moments[0], moments.len()), (1.0, 1000));
            assert_eq!(moments.as_ptr() as usize % 512, 0);
            assert_eq!((triples[999], triples.len()), ([1.0, 2.0, 3.0], 1000));
            assert_eq!(triples.as_ptr() as usize % 512, 0);
        }
        moments.resize(2, 0.0);
        assert_eq!(moments[..], [1.0, 2.0]);
    }

    #[test]
    fn bytes_are_those_of_the_entries_and_one_gap() {
        let mut moments = MomentBuffer::<f32, 512>::new();
        assert_eq!(moments.bytes(), 0);
        moments.resize(1000, 0.0);
        assert_eq!(moments.bytes(), 4000 + 512);
    }

    #[test]
    fn entries_of_no_size_take_no_memory() {
        let mut moments = MomentBuffer::<[f32; 0]>::new();
        moments.resize(7, []);
        assert_eq!((moments.len(), moments.bytes()), (7, 0));
    }
}
