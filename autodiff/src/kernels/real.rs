//! The element types.

use super::batch::BatchProduct;
use super::conv::{Correlation, Transform, WeightGradient};
use super::gemm::Gemm;
use super::map::Map;
use super::reduce::RowSums;
use super::simd::transcendental::Format;
use super::simd::{self, Kernel, Lanes};
use crate::memory::{Buffer, empty};
use num_traits::{Float, NumAssign};
use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::iter::Sum;

/// An element of a tensor: `f32` to train, `f64` to check gradients and to run
/// badly conditioned problems in.
///
/// Sealed: the kernels are written for these two types. It shares no method with the trait of
/// the same name in the crate `l4`, so that a training loop can be generic over both:
///
/// ```
/// use autodiff::{Params, Real};
/// use l4::Real as Steppable;
///
/// fn halve<T: Real + Steppable>(params: &mut Params<T>) {
///     params.values_mut().iter_mut().for_each(|w| *w *= T::nearest(0.5));
///     assert_eq!(T::nearest(0.1).in_f64(), T::of(0.1).as_f64());
/// }
///
/// let mut params = Params::new();
/// params.add("w", [2], || 3f32)?;
/// halve(&mut params);
/// assert_eq!(params.values(), [1.5, 1.5]);
/// # Ok::<(), autodiff::Error>(())
/// ```
pub trait Real:
    Float
    + NumAssign
    + Into<f64>
    + Sum
    + Debug
    + Display
    + Default
    + Send
    + Sync
    + Format
    + sealed::Sealed
    + 'static
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest value of this type.
    fn nearest(x: f64) -> Self;

    /// The same value, which every `f32` has in f64.
    fn in_f64(self) -> f64;

    /// [`Lanes::call`] for this element type: what lets code that is generic over
    /// it reach the instruction sets, which are not.
    #[doc(hidden)]
    fn lanes_call<I: Lanes<f32> + Lanes<f64>, K: Kernel<Self>>(
        instructions: I,
        kernel: K,
    ) -> K::Output;

    /// Calls `f` with a buffer that the thread keeps from call to call.
    #[doc(hidden)]
    fn with_scratch<R>(f: impl FnOnce(&mut Buffer<Self>) -> R) -> R;

    /// Runs a kernel. Not generic in the kernels, so that they are compiled once, with this
    /// crate, and not again with every crate that uses it.
    #[doc(hidden)]
    fn run(job: Job<'_, Self>);

    /// `c = a·b + beta·c`, a: m×k, b: k×n, by `matrixmultiply`; each matrix as its first element, row
    /// stride and column stride.
    ///
    /// # Safety
    /// As for `matrixmultiply::sgemm`: every element that the sizes and strides
    /// reach is valid, and `c` overlaps neither `a` nor `b`.
    #[doc(hidden)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn matrixmultiply(
        m: usize,
        k: usize,
        n: usize,
        a: (*const Self, isize, isize),
        b: (*const Self, isize, isize),
        beta: Self,
        c: (*mut Self, isize, isize),
    );
}

/// A kernel with its operands.
#[doc(hidden)]
pub enum Job<'a, T> {
    Gemm(Gemm<'a, T>),
    Map(Map<'a, T>),
    RowSums(RowSums<'a, T>),
    BatchProduct(BatchProduct<'a, T>),
    Correlation(Correlation<'a, T>),
    WeightGradient(WeightGradient<'a, T>),
    Transform(Transform<'a, T>),
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! real {
    ($t:ident, $gemm:ident) => {
        impl Real for $t {
            const NAME: &'static str = stringify!($t);

            fn nearest(x: f64) -> Self {
                x as $t
            }

            #[inline(always)]
            fn in_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn lanes_call<I: Lanes<f32> + Lanes<f64>, K: Kernel<Self>>(
                instructions: I,
                kernel: K,
            ) -> K::Output {
                Lanes::<$t>::call(instructions, kernel)
            }

            #[inline(always)]
            fn with_scratch<R>(f: impl FnOnce(&mut Buffer<Self>) -> R) -> R {
                thread_local! {
                    static SCRATCH: Cell<Buffer<$t>> = Cell::new(empty());
                }
                // Taken out: within a closure that `LocalKey` calls, `f` would not be inlined
                // into the function that has the instruction set, unless a build is optimised
                // across crates.
                let mut scratch = SCRATCH.replace(empty());
                let result = f(&mut scratch);
                SCRATCH.set(scratch);
                result
            }

            fn run(job: Job<'_, Self>) {
                match job {
                    Job::Gemm(product) => simd::run(product),
                    Job::Map(map) => simd::run(map),
                    Job::RowSums(sums) => simd::run(sums),
                    Job::BatchProduct(product) => simd::run(product),
                    Job::Correlation(correlation) => simd::run(correlation),
                    Job::WeightGradient(gradient) => simd::run(gradient),
                    Job::Transform(transform) => simd::run(transform),
                }
            }

            unsafe fn matrixmultiply(
                m: usize,
                k: usize,
                n: usize,
                (a, rsa, csa): (*const Self, isize, isize),
                (b, rsb, csb): (*const Self, isize, isize),
                beta: Self,
                (c, rsc, csc): (*mut Self, isize, isize),
            ) {
                // SAFETY: the caller's promise is the callee's requirement.
                unsafe {
                    matrixmultiply::$gemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc)
                }
            }
        }
    };
}

real!(f32, sgemm);
real!(f64, dgemm);
