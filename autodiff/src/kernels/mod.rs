//! The inner loops, and, with the call of `matrixmultiply` in `real.rs` that they
//! make, the only `unsafe` code of the crate.
//!
//! Every kernel exists once, written over [`Lanes`], and is compiled for each
//! instruction set that `pulp` detects at run time (AVX-512, AVX2 + FMA, or
//! plain scalars), so one binary runs at full speed anywhere.
//!
//! Invariants:
//! * a kernel's result depends on its operands and the instruction set only,
//!   never on a thread count or on the alignment of a buffer;
//! * `unsafe` stays inside a kernel: the functions exported from here check
//!   every length before the first pointer is formed.

pub(crate) mod channels;
mod conv;
mod elementwise;
mod gemm;
mod map;
pub(crate) mod pool;
mod real;
mod reduce;
pub(crate) mod simd;
pub(crate) mod strided;

pub use conv::{Axis, Conv, Convolution, Wanted};
#[doc(hidden)]
pub use conv::{Correlation, Transform, WeightGradient};
pub use elementwise::Term;
pub(crate) use elementwise::fill;
#[doc(hidden)]
pub use gemm::Gemm;
pub use gemm::{Matrix, gemm, gemm_by_matrixmultiply};
#[doc(hidden)]
pub use map::Map;
pub use map::{
    exp, exp_in_place, sigmoid, sigmoid_in_place, softplus, softplus_in_place, tanh, tanh_in_place,
};
#[doc(hidden)]
pub use real::Job;
pub use real::Real;
pub use reduce::{add_rows, squared_distance, squared_norm, sum};
#[doc(hidden)]
pub use simd::transcendental::Format;
pub use simd::{Kernel, Lanes, dispatch, run};

/// Name of the instruction set that kernels use on this machine, for the
/// provenance of measurements.
pub fn simd_level() -> &'static str {
    match pulp::Arch::new() {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(_) => "AVX2+FMA",
        _ => "portable",
    }
}
