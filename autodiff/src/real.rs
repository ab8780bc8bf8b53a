//! The element types.

use crate::kernels::{
    Correlation, Format, Gemm, Kernel, Lanes, Map, Transform, WeightGradient, lanes,
};
use crate::memory::{Buffer, zeros};
use num_traits::{Float, NumAssign};
use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::iter::Sum;

/// An element of a tensor: `f32` to train, `f64` to check gradients and to run
/// the badly conditioned regression of section 3.1.
///
/// Sealed: the kernels are written for these two types.
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
    fn of(x: f64) -> Self;

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

    /// Runs a matrix product. Not generic in the implementations, so that its kernels
    /// are compiled once, with this crate, and not again with every crate that uses it.
    #[doc(hidden)]
    fn run_gemm(product: Gemm<'_, Self>);

    /// Applies a function to a slice. Not generic, as `run_gemm`.
    #[doc(hidden)]
    fn run_map(map: Map<'_, Self>);

    /// Runs a convolution of one image. Not generic, as `run_gemm`.
    #[doc(hidden)]
    fn run_correlation(correlation: Correlation<'_, Self>);

    /// Adds the weight gradient of one image. Not generic, as `run_gemm`.
    #[doc(hidden)]
    fn run_weight_gradient(gradient: WeightGradient<'_, Self>);

    /// Transforms the tiles of one image. Not generic, as `run_gemm`.
    #[doc(hidden)]
    fn run_transform(transform: Transform<'_, Self>);

    /// `c = alpha·a·b + beta·c` on strided matrices, by `matrixmultiply`.
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

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! real {
    ($t:ident, $gemm:ident) => {
        impl Real for $t {
            const NAME: &'static str = stringify!($t);

            fn of(x: f64) -> Self {
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
                    static SCRATCH: RefCell<Buffer<$t>> = RefCell::new(zeros(0));
                }
                SCRATCH.with_borrow_mut(f)
            }

            fn run_gemm(product: Gemm<'_, Self>) {
                lanes::run(product);
            }

            fn run_map(map: Map<'_, Self>) {
                lanes::run(map);
            }

            fn run_correlation(correlation: Correlation<'_, Self>) {
                lanes::run(correlation);
            }

            fn run_weight_gradient(gradient: WeightGradient<'_, Self>) {
                lanes::run(gradient);
            }

            fn run_transform(transform: Transform<'_, Self>) {
                lanes::run(transform);
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
