//! The inner loops, and, with the call of `matrixmultiply` in `real.rs` that they
//! make, the only `unsafe` code of the crate.
//!
//! Every kernel exists once: as a loop that the compiler vectorises or, where registers are laid out by hand, over
//! [`Lanes`]. Either is compiled for what `pulp` detects at run time (AVX-512, AVX2 + FMA); elsewhere it is portable code.
//!
//! Invariants:
//! * a kernel's result depends on its operands and the instruction set only,
//!   never on a thread count or on the alignment of a buffer;
//! * `unsafe` stays inside a kernel: the functions exported from here check
//!   every length before the first pointer is formed.
//!
//! # Convolution speed
//!
//! GFLOP/s in f32 at commit b3852f3, on one core of an AMD EPYC (Zen 5, AVX-512) in a virtual machine, and what part
//! of its peak that is: multiply-adds on registers alone reach 285 GFLOP/s in the same
//! run, `cargo bench -p autodiff --bench conv -- --quick`. The layers are those of the ResNet
//! (batch 128) and of the ConvNet (batch 100). First layers have no input gradient, since
//! images are data. All count the operations of a direct convolution; those marked W make
//! fewer, by Winograd's minimal filtering, so that they can be above the peak.
//!
//! | x, kernel → channels | forward | input gradient | weight gradient |
//! |---|---|---|---|
//! | 32×32×3, 3×3 → 16 | 186 (65 %) | – | 190 (67 %) |
//! | 32×32×16, 3×3 → 16 (W) | 418 (147 %) | 412 (144 %) | 430 (151 %) |
//! | 32×32×16, 3×3 → 32, stride 2 | 246 (86 %) | 211 (74 %) | 233 (82 %) |
//! | 16×16×32, 3×3 → 32 (W) | 667 (234 %) | 659 (231 %) | 601 (211 %) |
//! | 16×16×32, 3×3 → 64, stride 2 | 257 (90 %) | 263 (92 %) | 241 (84 %) |
//! | 8×8×64, 3×3 → 64 (W) | 746 (261 %) | 689 (241 %) | 514 (180 %) |
//! | 32×32×16, 1×1 → 16 | 176 (62 %) | 176 (62 %) | 175 (61 %) |
//! | 32×32×16, 1×1 → 32, stride 2 | 179 (63 %) | 111 (39 %) | 211 (74 %) |
//! | 16×16×32, 1×1 → 64, stride 2 | 223 (78 %) | 180 (63 %) | 230 (81 %) |
//! | 28×28×1, 5×5 → 32 | 251 (88 %) | – | 227 (79 %) |
//! | 14×14×32, 5×5 → 64 (W) | 556 (195 %) | 563 (197 %) | 517 (181 %) |
//!
//! What the others are short of the peak has two reasons. Of 16 channels a tile is one register
//! wide, and takes 9 loads to 8 multiply-adds where two of each could start in a cycle. And
//! memory: the input gradient of the 1×1 convolution of 16 channels with stride 2 makes 5
//! multiply-adds of each number that it reads or writes, that of the 5×5 one of 32 channels 500. With `winograd: false` the direct kernels do the layers
//! marked W at 71 to 99 % of the peak. How the loops are
//! nested, and why, is drawn at the top of `src/kernels/conv/mod.rs`
//! and of `src/kernels/conv/winograd/mod.rs`.

mod batch;
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

#[doc(hidden)]
pub use batch::BatchProduct;
pub use batch::{Batch, add_batch_product};
pub use conv::{Axis, Conv, Convolution, Wanted};
pub(crate) use conv::{CHUNKS, Epilogue, Normalised, NormalisedGradient, Unpooled, image};
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
#[doc(hidden)]
pub use reduce::RowSums;
pub use reduce::{add_row_sums, add_rows, squared_distance, squared_norm, subtract, sum};
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
