//! What the kernels share: scratch, prefetching, and how many rows a register tile has.

use crate::kernels::Real;
use crate::kernels::simd::{Lanes, line, prefetch};
use crate::memory::split;

/// Buffers of the thread's own, of these lengths, with whatever was there.
pub(super) fn with_scratch<T: Real, R, const N: usize>(
    lengths: [usize; N],
    f: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    T::with_scratch(|scratch| f(split(scratch, lengths)))
}

/// Memory that is read or written next, in this order.
pub(super) type Stretches<'a, T> = [&'a [T]; 4];

/// [`Stretches`] that are brought into L2 a few cache lines at a time.
#[derive(Clone, Copy)]
pub(super) struct Ahead<T> {
    /// The stretch at hand, and those that follow: their starts and cache lines.
    stretches: [(*const T, usize); 4],
    /// Cache lines at a time.
    lines: usize,
}

impl<T> Ahead<T> {
    /// All of it in so many times.
    pub(super) fn of(memory: Stretches<T>, times: usize) -> Self {
        let stretches =
            memory.map(|stretch| (stretch.as_ptr(), stretch.len().div_ceil(line::<T>())));
        let lines: usize = stretches.iter().map(|(_, lines)| lines).sum();
        Self {
            stretches,
            lines: lines.div_ceil(times.max(1)),
        }
    }

    pub(super) const fn nothing() -> Self {
        Self {
            stretches: [(std::ptr::null(), 0); 4],
            lines: 0,
        }
    }

    /// What is left after so many times.
    pub(super) fn after(mut self, times: usize) -> Self {
        let mut skipped = times * self.lines;
        for (start, lines) in &mut self.stretches {
            let now = skipped.min(*lines);
            *start = start.wrapping_add(now * line::<T>());
            *lines -= now;
            skipped -= now;
        }
        self
    }

    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        let mut left = self.lines;
        for (start, lines) in &mut self.stretches {
            let now = left.min(*lines);
            for _ in 0..now {
                prefetch(*start);
                *start = start.wrapping_add(line::<T>());
            }
            *lines -= now;
            left -= now;
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
