//! Long loops over parameters in parts, shared out where threads are at hand.
//!
//! Invariant: **the bits of a result do not depend on the number of threads.** Where a slice is
//! cut depends on its length only, and the parts' sums are added in the order of that cutting.

use crate::simd::BLOCK;

/// Parameters whose passes are worth a thread of their own: some 0.07 ms of L4Adam's.
pub(crate) const PART: usize = 64 * BLOCK;

/// Where to cut a slice in two: near its middle, at the end of a part. `None` if it is one part.
pub(crate) fn middle(len: usize) -> Option<usize> {
    (len > PART).then(|| (len / 2).next_multiple_of(PART))
}

/// Does both, at once if this thread is one of a rayon pool. Elsewhere one after the other: to
/// use threads is the caller's decision, which rayon's global pool would take from it.
#[cfg(feature = "rayon")]
pub(crate) fn both<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if rayon::current_thread_index().is_some() {
        rayon::join(first, second)
    } else {
        (first(), second())
    }
}

/// Does one after the other.
#[cfg(not(feature = "rayon"))]
pub(crate) fn both<A, B>(first: impl FnOnce() -> A, second: impl FnOnce() -> B) -> (A, B) {
    (first(), second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_cut_between_parts() {
        assert_eq!(middle(PART), None);
        assert_eq!(middle(PART + 1), Some(PART));
        assert_eq!(middle(2 * PART), Some(PART));
        assert_eq!(middle(3 * PART), Some(2 * PART));
        assert_eq!(middle(5 * PART + 1), Some(3 * PART));
    }

    #[cfg(feature = "rayon")]
    #[test]
    fn both_run_at_once_in_a_pool() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let both_are_here = std::sync::Barrier::new(2);
        let wait = || both_are_here.wait();
        pool.unwrap().install(|| both(wait, wait));
    }

    #[cfg(feature = "rayon")]
    #[test]
    fn both_stay_on_a_thread_that_is_in_no_pool() {
        let here = || std::thread::current().id();
        assert_eq!(both(here, here), (here(), here()));
    }
}
