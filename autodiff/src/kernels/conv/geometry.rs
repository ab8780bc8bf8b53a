//! Where the elements of images, kernels and results lie.

use super::{CHUNKS, PANEL};
use crate::kernels::Real;
use crate::memory::{Buffer, empty};
use std::ops::Range;

/// One spatial axis of a convolution: output position o reads the input positions
/// `o·stride + tap − before` for tap < `kernel`; those outside 0..`input` are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the kernel, at least 1.
    pub kernel: usize,
    /// Extent of the output.
    pub output: usize,
    /// Input positions from one output position to the next, at least 1.
    pub stride: usize,
    /// Zeros before the input.
    pub before: usize,
}

/// No positions.
impl Default for Axis {
    fn default() -> Self {
        Self {
            input: 0,
            kernel: 1,
            output: 0,
            stride: 1,
            before: 0,
        }
    }
}

impl Axis {
    /// The same axis and the most positions that anything has along it, if no sum of its
    /// numbers wraps around. Where there is one output the stride steps to nothing; then it
    /// is no longer than what it steps over.
    fn checked(mut self) -> Option<(Self, usize)> {
        let reach = self.input.checked_add(self.before)?.max(self.kernel);
        if self.output <= 1 {
            self.stride = self.stride.min(reach);
        }
        let last = self.output.saturating_sub(1).checked_mul(self.stride)?;
        // Of the padded input, and of the padded output.
        let padded = [last, reach.max(self.output)];
        let [input, output] = padded.map(|extent| extent.checked_add(self.kernel));
        Some((self, input?.max(output?).max(self.stride)))
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
pub(crate) struct Span {
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
    /// Whether it may be made by fewer multiplications, with larger rounding errors.
    pub winograd: bool,
}

/// What the largest number of elements that the passes compute with is less than, in units of
/// the product of all extents: 36 points of tiles that round each axis of an image up to less
/// than its threefold, of both operands.
const SLACK: usize = 1024;

impl Conv {
    /// The same convolution, if no number of elements that the passes compute with wraps
    /// around, and memory can hold its padded images.
    pub(super) fn checked<T: Real>(mut self) -> Result<Self, String> {
        for (what, [rows, columns]) in [
            ("stride", [self.rows.stride, self.columns.stride]),
            ("kernel", [self.rows.kernel, self.columns.kernel]),
        ] {
            if rows == 0 || columns == 0 {
                return Err(format!("the {what} must be at least 1 along both axes"));
            }
        }
        let too_large = || "the padded image has more elements than memory can hold".to_owned();
        let axes = self.rows.checked().zip(self.columns.checked());
        let ((rows, most_rows), (columns, most_columns)) = axes.ok_or_else(too_large)?;
        (self.rows, self.columns) = (rows, columns);
        let extents = [
            Some(self.batch.max(CHUNKS)),
            Some(most_rows),
            Some(most_columns),
            self.ci.max(1).checked_next_multiple_of(PANEL),
            self.co.max(1).checked_next_multiple_of(PANEL),
        ];
        let most = isize::MAX as usize / size_of::<T>() / SLACK;
        extents
            .into_iter()
            .try_fold(1_usize, |product, extent| product.checked_mul(extent?))
            .filter(|&product| product <= most)
            .ok_or_else(too_large)?;
        let mut scratch: Buffer<T> = empty();
        scratch
            .try_reserve_exact(self.padded_x().elements() + self.padded_dy().elements())
            .map_err(|_| too_large())?;
        Ok(self)
    }

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
    pub(crate) fn per_chunk(&self) -> usize {
        self.batch.div_ceil(CHUNKS).max(1)
    }

    /// Number of chunks: at least one, whose sums are zeros if there is no image.
    pub(super) fn chunks(&self) -> usize {
        self.batch.div_ceil(self.per_chunk()).max(1)
    }

    /// The images of a chunk.
    pub(super) fn images(&self, chunk: usize) -> Range<usize> {
        let place = |chunk: usize| (chunk * self.per_chunk()).min(self.batch);
        place(chunk)..place(chunk + 1)
    }

    pub(super) fn padded_x(&self) -> Frame {
        Frame {
            rows: self.rows.padded_input(),
            columns: self.columns.padded_input(),
            channels: self.ci,
        }
    }

    /// dy without zeros.
    pub(super) fn plain_dy(&self) -> Frame {
        let plain = |axis: Axis| Span {
            image: axis.output,
            before: 0,
            padded: axis.output,
        };
        Frame {
            rows: plain(self.rows),
            columns: plain(self.columns),
            channels: self.co,
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
pub(crate) struct Frame {
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

    /// Elements of the image without its zeros.
    pub(super) fn image(&self) -> usize {
        self.rows.image * self.columns.image * self.channels
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
pub(crate) struct Image<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row: usize,
}

/// The n-th image, of `len` elements, of a tensor; nothing if there is none.
pub(crate) fn image<T>(tensor: &[T], len: usize, n: usize) -> &[T] {
    tensor.get(n * len..(n + 1) * len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Convolution, Term, Wanted};

    const EXTREME: [usize; 10] = [
        0,
        1,
        2,
        3,
        5,
        // More than any memory holds: what is accepted is small.
        1 << 40,
        1 << 62,
        usize::MAX / 2,
        usize::MAX - 1,
        usize::MAX,
    ];

    /// Elements of a product of extents, if a test can hold them.
    fn few(extents: &[usize]) -> Option<usize> {
        let product = extents.iter().try_fold(1_usize, |n, &e| n.checked_mul(e));
        product.filter(|&elements| elements <= 1 << 12)
    }

    /// Any sizes at all are refused, or computed with.
    #[test]
    fn no_sizes_wrap_around() {
        let mut state = 1_u64;
        let mut any = |small: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            let draw = (state >> 33) as usize;
            EXTREME[if draw.is_multiple_of(8) {
                draw / 8 % 10
            } else {
                draw % small
            }]
        };
        let (mut computed, mut refused) = (0, 0);
        for _ in 0..5000 {
            let mut axis = || Axis {
                input: any(5),
                kernel: any(5),
                output: any(5),
                stride: any(5),
                before: any(4),
            };
            let (rows, columns) = (axis(), axis());
            let conv = Conv {
                batch: any(3),
                rows,
                columns,
                ci: any(3),
                co: any(3),
                winograd: true,
            };
            let Ok(mut convolution) = Convolution::<f64>::new(conv) else {
                refused += 1;
                continue;
            };
            let x = few(&[conv.batch, rows.input, columns.input, conv.ci]);
            let kernel = few(&[rows.kernel, columns.kernel, conv.ci, conv.co]);
            let y = few(&[conv.batch, rows.output, columns.output, conv.co]);
            let padded = few(&[convolution.conv.padded_x().elements()])
                .zip(few(&[convolution.conv.padded_dy().elements()]));
            let (Some(x), Some(kernel), Some(y), Some(_)) = (x, kernel, y, padded) else {
                continue;
            };
            let [x, kernel, mut y] = [x, kernel, y].map(|elements| vec![1.0; elements]);
            let (dy, mut dx) = (y.clone(), x.clone());
            convolution.forward(&x, &kernel, None, &mut y);
            let wanted = Wanted {
                kernel: true,
                bias: true,
            };
            let to = Some((&mut dx[..], Term::First));
            convolution.backward(&x, &kernel, None, &dy, to, wanted);
            // Of ones: ⟨dy, y⟩ = ⟨dx, x⟩.
            let [over_y, over_x] = [&y, &dx].map(|ones| ones.iter().sum::<f64>());
            assert_eq!(over_y, over_x, "{conv:?}");
            computed += 1;
        }
        assert!(computed > 500 && refused > 500, "{computed} {refused}");
    }

    /// A stride that steps over everything gives what one that just does so gives.
    #[test]
    fn a_stride_beyond_the_image_is_one_output() {
        let along = |stride| Axis {
            input: 4,
            kernel: 3,
            output: 1,
            stride,
            before: 1,
        };
        let of = |stride| {
            let conv = Conv {
                batch: 1,
                rows: along(stride),
                columns: along(stride),
                ci: 1,
                co: 1,
                winograd: true,
            };
            let mut convolution = Convolution::<f64>::new(conv).unwrap();
            let x: Vec<f64> = (1..=16).map(f64::from).collect();
            let kernel: Vec<f64> = (1..=9).map(f64::from).collect();
            let (mut y, mut dx) = ([0.0], [0.0; 16]);
            convolution.forward(&x, &kernel, None, &mut y);
            let wanted = Wanted {
                kernel: false,
                bias: false,
            };
            let to = Some((&mut dx[..], Term::First));
            convolution.backward(&x, &kernel, None, &[1.0], to, wanted);
            (y, dx)
        };
        let expected = of(5);
        assert_eq!(expected.0, [5.0 * 1.0 + 6.0 * 2.0 + 8.0 * 5.0 + 9.0 * 6.0]);
        assert_eq!(of(usize::MAX), expected);
        assert_eq!(of(1 << 63), expected);
    }
}
