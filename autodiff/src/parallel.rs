//! Work in fixed chunks, on the threads of a tape.
//!
//! An operation that is worth several threads cuts its work into chunks and hands
//! them to [`for_each`]. Within [`Tape::forward`](crate::Tape::forward) and
//! [`Pass::backward`](crate::Pass::backward) of a tape that
//! [has threads](crate::Tape::set_threads) they are shared out among [these](Threads);
//! anywhere else they run one after another.
//!
//! Invariant: **the bits of a result do not depend on the number of threads.** What a
//! chunk computes depends on its index only, the chunks' extents depend on shapes
//! only, and a sum over chunks is the caller's to take, in the order of their index,
//! after `for_each` has returned. Where no sum crosses a cut (elementwise loops, rows of a
//! product) it may be made anywhere, and depends on the number of threads.
//!
//! Nothing is allocated here; rayon's queue of jobs takes a block now and then.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Error;

/// Threads that tapes share the work of their operations out among. Clones are the same
/// threads.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// `None`: the thread that calls, alone.
    pool: Option<Arc<ThreadPool>>,
}

impl Threads {
    /// So many threads; 0 and 1 are the thread that calls.
    ///
    /// # Errors
    /// [`Error::Threads`] if the system does not start them.
    pub fn new(threads: usize) -> Result<Self, Error> {
        if threads <= 1 {
            return Ok(Self::default());
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|why| Error::Threads(why.to_string()))?;
        Ok(Self {
            pool: Some(Arc::new(pool)),
        })
    }

    /// Runs `work` on one of them. What it shares out by rayon, as the steps of `l4` with its
    /// feature `rayon`, is shared among all of them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Runs `work`, in which [`for_each`] uses them. A pool that somebody else called from is
    /// none of theirs: one thread is the thread that called, wherever that belongs.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let threads = self
            .pool
            .as_ref()
            .map_or(1, |pool| pool.current_num_threads());
        self.install(|| with_threads(threads, work))
    }
}

/// What can be cut into chunks that different threads may work on.
pub trait Chunks: Send + Sized {
    /// What the work on one chunk is given.
    type Item;

    /// The first `chunks` of them, and the rest.
    fn split_at(self, chunks: usize) -> (Self, Self);

    /// The one chunk that is left.
    fn only(self) -> Self::Item;

    /// Whether so many chunks are all of it.
    fn is_covered_by(&self, chunks: usize) -> bool;
}

/// A slice in chunks of `len` elements; the last may be shorter.
#[derive(Debug)]
pub struct ChunksOf<'a, T> {
    slice: &'a mut [T],
    len: usize,
}

/// Cuts a slice into chunks of `len` elements; the last may be shorter.
pub fn chunks_of<T>(slice: &mut [T], len: usize) -> ChunksOf<'_, T> {
    ChunksOf { slice, len }
}

impl<'a, T: Send> Chunks for ChunksOf<'a, T> {
    type Item = &'a mut [T];

    fn split_at(self, chunks: usize) -> (Self, Self) {
        let middle = (chunks * self.len).min(self.slice.len());
        let (first, rest) = self.slice.split_at_mut(middle);
        (chunks_of(first, self.len), chunks_of(rest, self.len))
    }

    fn only(self) -> &'a mut [T] {
        self.slice
    }

    fn is_covered_by(&self, chunks: usize) -> bool {
        self.slice.len() <= chunks * self.len
    }
}

/// No data: for work that needs the index only.
impl Chunks for () {
    type Item = ();

    fn split_at(self, _: usize) -> ((), ()) {
        ((), ())
    }

    fn only(self) {}

    fn is_covered_by(&self, _: usize) -> bool {
        true
    }
}

impl<A: Chunks, B: Chunks> Chunks for (A, B) {
    type Item = (A::Item, B::Item);

    fn split_at(self, chunks: usize) -> (Self, Self) {
        let ((a, a_rest), (b, b_rest)) = (self.0.split_at(chunks), self.1.split_at(chunks));
        ((a, b), (a_rest, b_rest))
    }

    fn only(self) -> Self::Item {
        (self.0.only(), self.1.only())
    }

    fn is_covered_by(&self, chunks: usize) -> bool {
        self.0.is_covered_by(chunks) && self.1.is_covered_by(chunks)
    }
}

/// Does `work(i, chunk i)` for the `count` chunks of `chunks`.
///
/// # Panics
/// If there are more chunks than `count`, which nobody would work on.
pub fn for_each<C: Chunks>(count: usize, chunks: C, work: impl Fn(usize, C::Item) + Sync) {
    for_each_if(true, count, chunks, work);
}

/// As [`for_each`], but one chunk after another if threads are not worth it.
pub(crate) fn for_each_if<C: Chunks>(
    worth: bool,
    count: usize,
    chunks: C,
    work: impl Fn(usize, C::Item) + Sync,
) {
    assert!(
        chunks.is_covered_by(count),
        "for_each: more than {count} chunks"
    );
    if worth && threads() > 1 {
        shared_out(0..count, chunks, &work);
    } else {
        in_turn(0..count, chunks, &work);
    }
}

/// Elements of a loop over memory, and multiply-adds of a product, that are worth a thread of
/// their own.
pub(crate) const PART: usize = 1 << 15;
pub(crate) const MULTIPLY_ADDS: usize = 1 << 20;

/// Does `work(range, part)` for parts of `slice` that make up all of it. For loops whose
/// elements do not depend on each other: only then may it be cut anywhere.
pub(crate) fn in_parts<T: Send>(slice: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let len = if threads() == 1 { slice.len() } else { PART };
    let count = slice.len().div_ceil(len.max(1));
    for_each(count, chunks_of(slice, len), |i, part| {
        work(i * len..i * len + part.len(), part)
    });
}

thread_local! {
    /// Threads of the tape that began its work on this thread, itself included; 1 on those that help.
    static THREADS: Cell<usize> = const { Cell::new(1) };
}

/// Threads that [`for_each`] would use if it were called here. Within a chunk that is 1 if another thread
/// has taken the chunk, and else those of the tape: cut nothing by it but what no sum crosses.
pub fn threads() -> usize {
    THREADS.get()
}

/// Runs `work`, in which [`for_each`] uses this many threads of the pool that this thread is
/// of.
fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            THREADS.set(self.0);
        }
    }
    let _before = Restore(THREADS.replace(threads));
    work()
}

fn in_turn<C: Chunks>(range: Range<usize>, mut chunks: C, work: &(impl Fn(usize, C::Item) + Sync)) {
    for i in range {
        let (first, rest) = chunks.split_at(1);
        work(i, first.only());
        chunks = rest;
    }
}

/// Halves the range until one chunk is left; an idle thread steals the other half.
fn shared_out<C: Chunks>(range: Range<usize>, chunks: C, work: &(impl Fn(usize, C::Item) + Sync)) {
    match range.len() {
        0 => {}
        1 => work(range.start, chunks.only()),
        n => {
            let middle = range.start + n.div_ceil(2);
            let (first, rest) = chunks.split_at(n.div_ceil(2));
            rayon::join(
                || shared_out(range.start..middle, first, work),
                || shared_out(middle..range.end, rest, work),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every chunk is given, written down by the chunk itself.
    fn trace() -> (Vec<usize>, Vec<usize>) {
        let (mut places, mut lengths) = (vec![0; 11], vec![0; 4]);
        let chunks = (chunks_of(&mut places, 3), chunks_of(&mut lengths, 1));
        for_each(4, chunks, |i, (places, length)| {
            length[0] = places.len();
            places.fill(i + 1);
        });
        (places, lengths)
    }

    #[test]
    fn chunks_tile_the_slices() {
        let alone = trace();
        assert_eq!(alone.0, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]);
        assert_eq!(alone.1, [3, 3, 3, 2]);
        for threads in [2, 3] {
            assert_eq!(Threads::new(threads).unwrap().run(trace), alone);
        }
    }

    #[test]
    fn no_chunks_no_work() {
        for_each(0, (), |_, ()| unreachable!());
    }

    #[test]
    #[should_panic(expected = "more than 3 chunks")]
    fn chunks_that_would_be_left_are_refused() {
        for_each(3, chunks_of(&mut [0; 11], 3), |_, chunk| chunk.fill(1));
    }

    #[test]
    fn work_is_shared_among_threads() {
        let both_are_here = std::sync::Barrier::new(2);
        let work = || {
            assert_eq!(threads(), 2);
            for_each(2, (), |_, ()| {
                both_are_here.wait();
            });
        };
        Threads::new(2).unwrap().run(work);
        assert_eq!(threads(), 1);
    }

    #[test]
    fn the_pool_of_somebody_else_is_left_alone() {
        Threads::new(2).unwrap().install(|| {
            assert_eq!(threads(), 1);
            let here = std::thread::current().id();
            for_each(64, (), |_, ()| {
                assert_eq!(std::thread::current().id(), here)
            });
        });
    }
}
