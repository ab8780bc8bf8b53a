//! Loops over whole buffers: the compiler vectorises them, [`dispatch`] lets it
//! use what the machine has.

use crate::Real;
use pulp::{Arch, NullaryFnOnce};

/// Partial sums kept side by side; four registers of the widest vectors. The same
/// number on every instruction set, so that sums have the same bits on each.
const LANES: usize = 64;

/// Calls `f`, once, compiled for the best instruction set of the machine.
///
/// Only what is inlined into `f` profits. Never use `mul_add` inside: without
/// FMA it becomes a library call. Plain multiplications and additions give the
/// same bits on every instruction set.
///
/// `f` is `FnMut` although it is called once: the compiler calls a closure that could
/// be called again as `FnOnce` through a function that it inlines or not as it sees
/// fit, and what is not inlined runs on the oldest instruction set. `dispatch_once` is
/// for closures that consume what they capture.
#[inline(always)]
pub fn dispatch<R>(f: impl FnMut() -> R) -> R {
    struct Call<F>(F);
    impl<R, F: FnMut() -> R> NullaryFnOnce for Call<F> {
        type Output = R;
        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Call(f))
}

/// [`dispatch`] for a closure that can only be called once.
#[inline(always)]
fn dispatch_once<F: NullaryFnOnce>(f: F) -> F::Output {
    Arch::new().dispatch(f)
}

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
            Term::Further => dispatch_once(
                #[inline(always)]
                || sums.iter_mut().zip(terms).for_each(|(sum, t)| *sum += t),
            ),
        }
    }
}

/// Writes one value to each element of `y`.
#[inline(always)]
pub(crate) fn fill<T: Real>(y: &mut [T], values: impl ExactSizeIterator<Item = T>) {
    debug_assert_eq!(values.len(), y.len());
    dispatch_once(
        #[inline(always)]
        || y.iter_mut().zip(values).for_each(|(y, v)| *y = v),
    );
}

/// Σ terms, in an order fixed by their number alone. `term(lane, chunk of a,
/// chunk of b)` is called on equal chunks.
#[inline(always)]
fn sum_of<T: Real>(a: &[T], b: &[T], term: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += term(a, b);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += term(a, b);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// Σ aᵢ.
#[inline(always)]
pub fn sum<T: Real>(a: &[T]) -> T {
    sum_of(
        a,
        a,
        #[inline(always)]
        |a, _| a,
    )
}

/// Σ (aᵢ − bᵢ)².
///
/// # Panics
/// If the slices differ in length.
pub fn squared_distance<T: Real>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "squared_distance: lengths");
    dispatch(
        #[inline(always)]
        || {
            sum_of(
                a,
                b,
                #[inline(always)]
                |a, b| (a - b) * (a - b),
            )
        },
    )
}

/// Elements whose squares are summed as `T` before they are added to a sum in f64.
const BLOCK: usize = 4096;

/// Σ aᵢ², in f64: no rounding error grows with the length.
pub fn squared_norm<T: Real>(a: &[T]) -> f64 {
    let block = |a: &[T]| {
        dispatch(
            #[inline(always)]
            || {
                sum_of(
                    a,
                    a,
                    #[inline(always)]
                    |a, _| a * a,
                )
            },
        )
    };
    a.chunks(BLOCK).map(|a| block(a).in_f64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_every_length() {
        for n in 0..200 {
            let a: Vec<f64> = (0..n).map(|i| f64::from(i) + 1.0).collect();
            let b = vec![1.0; a.len()];
            let n = f64::from(n);
            assert_eq!(sum(&a), n * (n + 1.0) / 2.0);
            assert_eq!(
                squared_distance(&a, &b),
                (n - 1.0) * n * (2.0 * n - 1.0) / 6.0
            );
            assert_eq!(squared_norm(&a), n * (n + 1.0) * (2.0 * n + 1.0) / 6.0);
        }
    }
}
