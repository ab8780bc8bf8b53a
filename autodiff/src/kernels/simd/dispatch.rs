//! Functions compiled for the best instruction set of the machine.

/// The two methods of a [`Kernel`](super::Kernel) that are its
/// [`run`](super::Kernel::run), compiled for an instruction set. The trait has them for
/// kernels of other crates; in an implementation they bear its name in a profile.
macro_rules! own_name {
    () => {
        /// # Safety
        /// None beyond the instruction set, which `lanes` proves.
        #[doc(hidden)]
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
        unsafe fn on_avx512(self, lanes: pulp::x86::V4) -> Self::Output
        where
            Self: Sized,
            pulp::x86::V4: $crate::kernels::simd::Lanes<T>,
        {
            self.run(lanes)
        }

        /// # Safety
        /// None beyond the instruction set, which `lanes` proves.
        #[doc(hidden)]
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn on_avx2(self, lanes: pulp::x86::V3) -> Self::Output
        where
            Self: Sized,
            pulp::x86::V3: $crate::kernels::simd::Lanes<T>,
        {
            self.run(lanes)
        }
    };
}

pub(in crate::kernels) use own_name;

/// Calls a closure as [`dispatch`] does, in functions that bear the name of the one it is in.
/// `once` is for closures that consume what they capture.
///
/// The others are called as `FnMut`: the compiler calls a closure that could be called again
/// as `FnOnce` through a function that it inlines or not as it sees fit, and what is not
/// inlined runs on the oldest instruction set.
macro_rules! dispatched {
    (once $f:expr $(,)?) => {
        dispatched! { @ FnOnce, [] f, $f }
    };
    (@ $closure:ident, [$($mut:tt)?] $call:ident, $f:expr) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn on_avx512<R>($($mut)? $call: impl $closure() -> R) -> R {
            $call()
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn on_avx2<R>($($mut)? $call: impl $closure() -> R) -> R {
            $call()
        }
        fn portable<R>($($mut)? $call: impl $closure() -> R) -> R {
            $call()
        }
        match pulp::Arch::new() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has what pulp's V4 stands for, of which this is a part.
            pulp::Arch::V4(_) => unsafe { on_avx512($f) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the same of V3.
            pulp::Arch::V3(_) => unsafe { on_avx2($f) },
            _ => portable($f),
        }
    }};
    ($f:expr $(,)?) => {
        dispatched! { @ FnMut, [mut] f, $f }
    };
}
pub(in crate::kernels) use dispatched;

/// Calls `f`, once, compiled for the best instruction set of the machine.
///
/// Only what is inlined into `f` profits. Never use `mul_add` inside: without
/// FMA it becomes a library call. Plain multiplications and additions give the
/// same bits on every instruction set.
#[inline(always)]
pub fn dispatch<R>(f: impl FnMut() -> R) -> R {
    dispatched!(f)
}
