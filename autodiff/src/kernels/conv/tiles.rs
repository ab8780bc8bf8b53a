//! What the kernels share: scratch, prefetching, and how many rows a register tile has.

use crate::kernels::Real;
use crate::kernels::simd::{Lanes, line, prefetch};

/// Buffers of the thread's own, of these lengths, with whatever was there.
pub(super) fn with_scratch<T: Real, R, const N: usize>(
    lengths: [usize; N],
    f: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    T::with_scratch(|scratch| {
        let places = lengths.map(|len| len.next_multiple_of(64));
        let len = places.iter().sum();
        if scratch.len() < len {
            scratch.resize(len, T::zero());
        }
        let mut rest = &mut scratch[..];
        f(std::array::from_fn(|i| {
            let (buffer, others) = std::mem::take(&mut rest).split_at_mut(places[i]);
            rest = others;
            &mut buffer[..lengths[i]]
        }))
    })
}

/// Memory that is read next, brought into L2 a few cache lines at a time.
#[derive(Clone, Copy)]
pub(super) struct Ahead<T> {
    pub(super) next: *const T,
    /// Cache lines at a time.
    pub(super) lines: usize,
}

impl<T> Ahead<T> {
    /// All of `memory` in so many times.
    pub(super) fn of(memory: &[T], times: usize) -> Self {
        Self {
            next: memory.as_ptr(),
            lines: memory.len().div_ceil(line::<T>()).div_ceil(times.max(1)),
        }
    }

    pub(super) const fn nothing() -> Self {
        Self {
            next: std::ptr::null(),
            lines: 0,
        }
    }

    /// What is left after so many times.
    pub(super) fn after(self, times: usize) -> Self {
        let next = self.next.wrapping_add(times * self.lines * line::<T>());
        Self { next, ..self }
    }

    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        for _ in 0..self.lines {
            prefetch(self.next);
            self.next = self.next.wrapping_add(line::<T>());
        }
    }
}

/// Rows of a register tile: at most `most`, and as many as leave registers for one row of
/// the other operand and a broadcast.
pub(super) const fn limit<T, L: Lanes<T>>(most: usize, registers: usize) -> usize {
    let fit = (L::REGISTERS - registers - 1) / registers;
    if fit < most { fit } else { most }
}

/// Length of the strips of equal size, but for the last, that `n` is cut into.
pub(super) fn strip(n: usize, limit: usize) -> usize {
    n.div_ceil(n.div_ceil(limit))
}
