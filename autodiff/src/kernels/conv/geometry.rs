//! Where the elements of images, kernels and results lie.

use super::CHUNKS;
use crate::kernels::Real;
use std::ops::Range;

/// One spatial axis of a convolution: output position o reads the input positions
/// `o·stride + tap − before` for tap < `kernel`; those outside 0..`input` are zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the kernel.
    pub kernel: usize,
    /// Extent of the output.
    pub output: usize,
    /// Input positions from one output position to the next.
    pub stride: usize,
    /// Zeros before the input.
    pub before: usize,
}

impl Axis {
    /// Most positions that the passes pad an image to along this axis.
    pub(crate) fn padded(self) -> usize {
        self.padded_input().padded.max(self.padded_output().padded)
    }

    /// The input with its zeros, as far as outputs read it.
    pub(super) fn padded_input(self) -> Span {
        let last = self.output.saturating_sub(1) * self.stride;
        Span {
            image: self.input,
            before: self.before,
            padded: last + self.kernel,
        }
    }

    /// The output's gradient with the zeros that the input gradient reads.
    ///
    /// Input i is joined to output o by tap i + before − o·stride. With i + before =
    /// q·stride + r, the taps are r, r + stride, … and the outputs q, q − 1, …: none before
    /// −(⌈kernel/stride⌉ − 1), none after the last input's q. All of the output is kept.
    pub(super) fn padded_output(self) -> Span {
        let before = self.kernel.div_ceil(self.stride) - 1;
        let last = (self.input + self.before).saturating_sub(1) / self.stride;
        Span {
            image: self.output,
            before,
            padded: before + self.output.max(last + 1),
        }
    }

    /// The inputs `first`, `first` + stride, …, which the same taps reach.
    pub(super) fn phase(self, first: usize) -> Phase {
        let (q, residue) = (
            (first + self.before) / self.stride,
            (first + self.before) % self.stride,
        );
        let most = self.kernel.div_ceil(self.stride);
        let taps = self.kernel.saturating_sub(residue).div_ceil(self.stride);
        Phase {
            first,
            inputs: self.input.saturating_sub(first).div_ceil(self.stride),
            residue,
            taps,
            // Its first tap meets output q, its last one q − (taps − 1).
            start: q + most - taps,
        }
    }

    pub(super) fn phases(self) -> impl Iterator<Item = Phase> + Clone {
        (0..self.stride.min(self.input)).map(move |first| self.phase(first))
    }
}

/// Every stride-th input along an axis: those reached by the same taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    /// The first of them.
    pub(super) first: usize,
    /// How many there are.
    pub(super) inputs: usize,
    /// The first tap that reaches them; the others follow a stride apart.
    pub(super) residue: usize,
    /// How many taps do.
    pub(super) taps: usize,
    /// The place in the padded output of what the last tap joins to the first input.
    pub(super) start: usize,
}

/// An axis of an image amid zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) image: usize,
    pub(super) before: usize,
    /// Extent with the zeros; it may cut the image short.
    pub(super) padded: usize,
}

impl Span {
    /// The padded positions that hold the image.
    pub(super) fn inside(self) -> Range<usize> {
        self.before.min(self.padded)..(self.before + self.image).min(self.padded)
    }

    pub(super) fn has_zeros(self) -> bool {
        self.inside() != (0..self.padded)
    }
}

/// The extents of a convolution: x is \[batch, rows.input, columns.input, ci\], the kernel
/// \[rows.kernel, columns.kernel, ci, co\], y \[batch, rows.output, columns.output, co\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conv {
    /// Number of images.
    pub batch: usize,
    /// The vertical axis.
    pub rows: Axis,
    /// The horizontal axis.
    pub columns: Axis,
    /// Channels of the input.
    pub ci: usize,
    /// Channels of the output.
    pub co: usize,
}

impl Conv {
    /// Elements of one image of x.
    pub(super) fn x_image(&self) -> usize {
        self.rows.input * self.columns.input * self.ci
    }

    /// Elements of one image of y.
    pub(super) fn y_image(&self) -> usize {
        self.rows.output * self.columns.output * self.co
    }

    pub(super) fn kernel(&self) -> usize {
        self.rows.kernel * self.columns.kernel * self.ci * self.co
    }

    /// Images in a chunk.
    pub(super) fn per_chunk(&self) -> usize {
        self.batch.div_ceil(CHUNKS).max(1)
    }

    /// Number of chunks: at least one, whose sums are zeros if there is no image.
    pub(super) fn chunks(&self) -> usize {
        self.batch.div_ceil(self.per_chunk()).max(1)
    }

    pub(super) fn padded_x(&self) -> Frame {
        Frame {
            rows: self.rows.padded_input(),
            columns: self.columns.padded_input(),
            channels: self.ci,
        }
    }

    pub(super) fn padded_dy(&self) -> Frame {
        Frame {
            rows: self.rows.padded_output(),
            columns: self.columns.padded_output(),
            channels: self.co,
        }
    }
}

/// An image amid zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) rows: Span,
    pub(super) columns: Span,
    pub(super) channels: usize,
}

impl Frame {
    pub(super) fn elements(&self) -> usize {
        self.rows.padded * self.columns.padded * self.channels
    }

    pub(super) fn row(&self) -> usize {
        self.columns.padded * self.channels
    }

    /// Where the image begins.
    pub(super) fn origin(&self) -> usize {
        self.rows.before * self.row() + self.columns.before * self.channels
    }

    /// The image without its zeros.
    pub(super) fn plain<'a, T>(&self, data: &'a [T]) -> Image<'a, T> {
        let row = self.columns.image * self.channels;
        Image { data, row }
    }

    pub(super) fn has_zeros(&self) -> bool {
        self.rows.has_zeros() || self.columns.has_zeros()
    }

    /// Writes `padded`: zeros, and for each row of the image what `copy` puts into the slice
    /// it is given, the image's elements from the index it is given on.
    #[inline(always)]
    pub(super) fn fill<T: Real>(&self, padded: &mut [T], mut copy: impl FnMut(&mut [T], usize)) {
        let columns = self.columns.inside();
        let columns = columns.start * self.channels..columns.end * self.channels;
        let inside = self.rows.inside();
        let image_row = self.columns.image * self.channels;
        for (i, row) in padded.chunks_exact_mut(self.row().max(1)).enumerate() {
            if !inside.contains(&i) || columns.is_empty() {
                row.fill(T::zero());
                continue;
            }
            row[..columns.start].fill(T::zero());
            row[columns.end..].fill(T::zero());
            copy(&mut row[columns.clone()], (i - inside.start) * image_row);
        }
    }
}

/// An image as the kernels read it: pixel (i, j) begins at `i·row + j·channels`.
#[derive(Clone, Copy)]
pub(super) struct Image<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row: usize,
}

/// The n-th image of a tensor; nothing if there is none.
pub(super) fn image<T>(tensor: &[T], len: usize, n: usize) -> &[T] {
    tensor.get(n * len..(n + 1) * len).unwrap_or_default()
}
