//! 2-D convolution (cross-correlation) of images in NHWC with kernels in HWIO, directly:
//! no matrix of patches is ever built.
//!
//! ```text
//! for image in batch                          chunks of images go to the threads
//!   pad                   x → scratch         a zero border; the image is in L2 now
//!   for panel of output channels              V registers wide: 32 channels, or 16
//!     for row, for strip of pixels in it      the tile: P pixels × V registers of y
//!       for kernel row
//!         for k in (kernel column, channel)   P × V multiply-adds:
//!           tile[p][v] += x[p·stride + k] · panel[k][v]
//! ```
//!
//! **The register tile.** Channels lie side by side in NHWC, so 16 output channels are one
//! AVX-512 register. P = 8 pixels × V = 2 registers are 16 independent sums; two multiply-adds
//! a cycle with a latency of 4 need 8. One step takes P broadcasts of x and V loads of
//! weights to P·V multiply-adds: 10 loads to 16, where two of each can start in a cycle. With
//! V = 1 it is 9 to 8, and the loads decide. (Longer tiles then gain nothing: neither two
//! rows of 8 pixels nor 11 of one row, whose addresses no longer fit the registers.)
//!
//! **Two loops are one.** In NHWC the pixels under one kernel row are neighbours, and so are
//! in HWIO the weights of that row: `k` runs through columns and channels together, over
//! contiguous memory. An image of one channel thus has an inner loop as long as its kernel is
//! wide, and the stride is no more than the distance between the P broadcasts.
//!
//! **What stays where.** Three rows of a padded 32×32×16 image and its 3×3×16×16 weights are
//! 6.4 + 9 KiB: both stay in L1. For 64 channels a panel of weights is 72 KiB and streams from
//! L2 for every tile, 16 bytes a cycle, which the prefetcher keeps up with. The padded image
//! (4 to 72 KiB) is in L2, because the copy has just been made; the scratch is
//! the thread's own, the same lines for every image and every layer.
//!
//! **What comes next is fetched now.** Large activations (8 MiB for 128 images of 32×32×16)
//! come from L3 or memory, and a copy that waits for them took a fifth of the time. So every
//! whole tile of the first panel of channels (in the weight gradient, every row of a tile) asks for a
//! few cache lines of the image that is copied next, and of what is written next: a store
//! whose line is not there waits for it as a load does, and so do all stores behind it.
//!
//! **Images that are never written.** What is copied amid zeros may be computed on the way: the
//! normalised x, its gradient, what a ReLU or a pooling lets through (`source.rs`). And each image of the
//! result is shown to the caller while it is in cache, who adds to it, pools it, or takes its sums.
//!
//! **Padding by a copy** takes every condition out of the inner loops. Where a
//! convolution needs no zeros (1×1, VALID) the image is read in place.
//!
//! **The input gradient is the same loops.** dx is dy, padded, convolved with the flipped kernel,
//! its channels exchanged; both are done while packing the weights. With stride s, pixels of dx
//! whose coordinates are congruent modulo s are reached by the same taps, every s-th of
//! the kernel: each of the s² phases is a convolution of stride 1, written to every s-th
//! pixel. No inserted zero is ever multiplied.
//!
//! **The weight gradient** exchanges the roles. A tile of M values of `k` × V registers
//! of output channels stays in registers while pixels go by:
//!
//! ```text
//! for image in chunk
//!   for block of rows                         of x and dy together ≤ 24 KiB: stays in L1
//!     for panel, for kernel row, for strip of k
//!       for pixel of the block                M × V multiply-adds:
//!         tile[m][v] += x[pixel·stride + k + m] · dy[pixel][v]
//! ```
//!
//! Each chunk of images sums into a buffer of its own; the buffers are added in order. Chunks
//! depend on the batch alone, so the bits do not depend on the number of threads.
//!
//! **Fewer multiplications.** With stride 1, a 3×3 or 5×5 kernel and at least 16 channels, tiles of
//! pixels are transformed first: `winograd/mod.rs` has the formulas. What is left are
//! convolutions of 1×1, made by the kernels here.
//!
//! The direct form, its register tile and its treatment of the gradients: Georganas et al.,
//! *Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures* (SC 2018),
//! which oneDNN's direct kernels share. That the layouts alone make patches unnecessary: Zhang,
//! Franchetti & Low, *High Performance Zero-Memory Overhead Direct Convolutions* (ICML 2018).

mod correlation;
mod geometry;
mod pack;
mod passes;
mod source;
mod tiles;
mod weight_gradient;
mod winograd;

pub use correlation::Correlation;
pub(crate) use geometry::image;
pub use geometry::{Axis, Conv};
pub(crate) use passes::Epilogue;
pub use passes::{Convolution, Wanted};
pub(crate) use source::{Normalised, NormalisedGradient, Unpooled};
pub use weight_gradient::WeightGradient;
pub use winograd::Transform;

/// Weights that lie side by side in a panel: a whole number of registers of every instruction
/// set, so that packing need not know which one it is for.
const PANEL: usize = 16;
/// Chunks that a batch is cut into: the most threads that can share one convolution.
pub(crate) const CHUNKS: usize = 8;

#[cfg(test)]
mod tests;
