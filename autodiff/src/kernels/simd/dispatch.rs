//! Plain loops, compiled for the best instruction set of the machine.

use pulp::{Arch, NullaryFnOnce};

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
pub(crate) fn dispatch_once<F: NullaryFnOnce>(f: F) -> F::Output {
    Arch::new().dispatch(f)
}
