//! Work on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Does the work at each place, at most so many at once. Where the system gives no more threads, those that there are do it.
pub(crate) fn in_parallel(places: &[usize], jobs: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(place);
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(places.len()) {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

/// A thread that panicked has not left half of what any of the runner's locks guard.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
