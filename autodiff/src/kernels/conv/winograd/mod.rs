//! Convolutions of stride 1 by fewer multiplications: Winograd's minimal filtering.
//!
//! A polynomial of m coefficients times one of r has m + r − 1, and is fixed by its values at as
//! many points: so many multiplications instead of m·r. With one of the two given that is a linear
//! map; m outputs of a filter of r taps are its transpose, which takes as many. In two
//! dimensions, with tiles of m×m pixels of y, patches d of (m + r − 1)² pixels of x, and a kernel g
//! of r×r taps,
//!
//! ```text
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A              summed over the input channels within [ ]
//! ```
//!
//! The points here are 0, ±1, ±2 and ∞: patches are 6×6, for m = 4 and r = 3 as well as for
//! m = 2 and r = 5. That is 36 multiplications instead of 144, or 100. With all tiles of some
//! images, ⊙ and the sum over channels are 36 matrix products, and these are what the
//! direct kernels make of a 1×1 convolution:
//!
//! ```text
//! for group of images in chunk                  36 tiles × channels, twice: stays in L2
//!   for image in group
//!     pad, Bᵀ d B for its tiles  → u[36][tile][ci]
//!   for point in 36                             panel of G g Gᵀ: ci × co
//!     u[point] · panel[point]    → p[36][tile][co]
//!   for image in group
//!     Aᵀ p A                     → y
//! ```
//!
//! While the products are made, the images of the next group are fetched, and the lines of y that this
//! one is written to.
//!
//! **The gradients** are those of this formula. The input's is the same convolution again, of
//! dy with the flipped kernel. The kernel's is dg = Gᵀ [ Σ (A dY Aᵀ) ⊙ (Bᵀ d B) ] G, summed over
//! the tiles: 36 products u[point]ᵀ · z[point], once more by the direct kernel.
//!
//! **What it costs** is additions, and accuracy. A transform makes 12 operations of 6
//! numbers, six times along each axis, and a tile is written and read once more; with fewer than
//! 16 channels that outweighs what is saved. And G divides by 24 where A multiplies by 8: rounding
//! errors are six times those of the direct sums, in f32 some 5e-6 of a typical output, and thirty
//! times, 1.6e-4, where terms a hundred times as large as the output cancel (which tests bound).
//!
//! S. Winograd, *Arithmetic Complexity of Computations* (SIAM 1980); A. Lavin & S. Gray, *Fast
//! Algorithms for Convolutional Neural Networks* (CVPR 2016), whose F(4×4, 3×3) has these points.

mod grid;
mod passes;
mod transforms;

pub use transforms::Transform;

use super::PANEL;
use super::geometry::{Axis, Conv, Span};
use super::tiles::strip;
use crate::kernels::Real;
use grid::Tiled;

/// Extent of a patch: the number of points, with ∞.
const EDGE: usize = 6;
/// The finite points.
const POINTS: [f64; EDGE - 1] = [0.0, 1.0, -1.0, 2.0, -2.0];
/// For each of them, 1/Π (it − another).
const SCALES: [f64; EDGE - 1] = [1.0 / 4.0, -1.0 / 6.0, -1.0 / 6.0, 1.0 / 24.0, 1.0 / 24.0];
/// Fewest channels, of input and output, for which the transforms pay.
const CHANNELS: usize = 16;
/// What a group of images holds between the transforms: half of a 1 MiB L2.
const GROUP_BYTES: usize = 512 << 10;

/// G: row i has the values at point i of the polynomials xᵃ, a < R, scaled.
fn kernel_transform<T: Real, const R: usize>() -> [[T; R]; EDGE] {
    std::array::from_fn(|i| {
        std::array::from_fn(|a| match (POINTS.get(i), SCALES.get(i)) {
            (Some(&point), Some(&scale)) => T::nearest(scale * point.powi(a as i32)),
            _ => T::nearest(f64::from(a + 1 == R)),
        })
    })
}

impl Conv {
    /// m, if tiles of m×m outputs are worth their transforms.
    pub(super) fn tile(&self) -> Option<usize> {
        let Self {
            rows,
            columns,
            ci,
            co,
            winograd,
            ..
        } = *self;
        let m = match (rows.kernel, columns.kernel) {
            (3, 3) => 4,
            (5, 5) => 2,
            _ => return None,
        };
        let suits = |axis: Axis| {
            axis.stride == 1 && axis.before < axis.kernel && axis.output >= m && axis.input >= m
        };
        let enough = ci >= CHANNELS && co >= CHANNELS;
        (winograd && suits(rows) && suits(columns) && enough).then_some(m)
    }

    /// Elements of all transformed weights in panels, for either pass.
    pub(super) fn transformed(&self) -> usize {
        let forward = self.ci * self.co.next_multiple_of(PANEL);
        let backward = self.co * self.ci.next_multiple_of(PANEL);
        EDGE * EDGE * forward.max(backward)
    }

    fn tiled_x(&self, m: usize) -> Tiled {
        let span = |axis: Axis| Span {
            image: axis.input,
            before: axis.before,
            padded: axis.output.next_multiple_of(m) + axis.kernel - 1,
        };
        Tiled::new(m, self, span, |axis| axis.output, self.ci)
    }

    /// dy with as many zeros as the input gradient reads, and as whole tiles of it have.
    fn tiled_dy(&self, m: usize) -> Tiled {
        let span = |axis: Axis| {
            let before = axis.kernel - 1 - axis.before;
            let reads = axis.input.next_multiple_of(m) + axis.kernel - 1;
            Span {
                image: axis.output,
                before,
                padded: reads.max(before + axis.output.next_multiple_of(m)),
            }
        };
        Tiled::new(m, self, span, |axis| axis.input, self.co)
    }

    /// Images of a group.
    fn group<T>(&self, m: usize) -> usize {
        let bytes = EDGE * EDGE * self.most_tiles(m) * (self.ci + self.co) * size_of::<T>();
        strip(self.per_chunk(), (GROUP_BYTES / bytes).max(1))
    }

    /// Most tiles of an image, of x or of dy.
    fn most_tiles(&self, m: usize) -> usize {
        self.tiled_x(m).tiles().max(self.tiled_dy(m).tiles())
    }
}

#[cfg(test)]
mod tests;
