//! Where tiles and the numbers of their points lie.

use super::EDGE;
use super::transforms::{Then, Transform, Work};
use crate::kernels::conv::PANEL;
use crate::kernels::conv::correlation::{Correlation, Repeats};
use crate::kernels::conv::geometry::{Axis, Conv, Frame, Image, Span};
use crate::kernels::conv::tiles::Stretches;
use crate::kernels::conv::weight_gradient::WeightGradient;
use crate::kernels::simd::line;
use crate::kernels::{Job, Real, Term};

/// An image that is convolved in tiles.
#[derive(Clone, Copy)]
pub(super) struct Tiled {
    pub(super) m: usize,
    /// The image amid zeros.
    pub(super) frame: Frame,
    /// Extents of what comes of it.
    pub(super) outputs: [usize; 2],
}

impl Tiled {
    pub(super) fn new(
        m: usize,
        conv: &Conv,
        span: impl Fn(Axis) -> Span,
        outputs: impl Fn(Axis) -> usize,
        channels: usize,
    ) -> Self {
        Self {
            m,
            frame: Frame {
                rows: span(conv.rows),
                columns: span(conv.columns),
                channels,
            },
            outputs: [conv.rows, conv.columns].map(outputs),
        }
    }

    pub(super) fn grid(&self) -> [usize; 2] {
        self.outputs.map(|extent| extent.div_ceil(self.m))
    }

    pub(super) fn tiles(&self) -> usize {
        self.grid().iter().product()
    }
}

/// By point of 36: a number for each tile of a group and each channel.
pub(super) struct Points<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) tiles: usize,
    pub(super) channels: usize,
}

impl<'a, T> Points<'a, T> {
    /// One cache line more than there are numbers: a stride that is a power of two would put what
    /// a tile has at its 36 points into one set of L1.
    pub(super) fn stride(tiles: usize, channels: usize) -> usize {
        tiles * channels + line::<T>()
    }

    pub(super) fn len(tiles: usize, channels: usize) -> usize {
        EDGE * EDGE * Self::stride(tiles, channels)
    }

    pub(super) fn new(data: &'a mut [T], tiles: usize, channels: usize) -> Self {
        Self {
            data,
            tiles,
            channels,
        }
    }
}

impl<T: Real> Points<'_, T> {
    pub(super) fn grid(&self, m: usize, extents: [usize; 2], row: usize, first: usize) -> Grid {
        Grid {
            m,
            tiles: extents.map(|extent| extent.div_ceil(m)),
            row,
            extents,
            channels: self.channels,
            stride: Self::stride(self.tiles, self.channels),
            first,
        }
    }

    /// Bᵀ d B of the patches of an image; its tiles are the group's from `first` on.
    pub(super) fn take_patches(&mut self, tiled: &Tiled, padded: Image<T>, first: usize) {
        let grid = Grid {
            extents: [tiled.frame.rows.padded, tiled.frame.columns.padded],
            ..self.grid(tiled.m, tiled.outputs, padded.row, first)
        };
        let work = Work::Patches(padded.data, self.data);
        T::run(Job::Transform(Transform { grid, work }));
    }

    /// A dY Aᵀ of an image with zeros to whole tiles.
    pub(super) fn take_tiles(&mut self, tiled: &Tiled, padded: Image<T>, first: usize) {
        let extents = tiled.outputs.map(|extent| extent.next_multiple_of(tiled.m));
        let grid = self.grid(tiled.m, extents, padded.row, first);
        let work = Work::Tiles(padded.data, self.data);
        T::run(Job::Transform(Transform { grid, work }));
    }

    /// Aᵀ p A to the pixels of an image.
    pub(super) fn put_pixels(&self, tiled: &Tiled, y: &mut [T], first: usize, then: Then<T>) {
        let row = tiled.outputs[1] * self.channels;
        let grid = self.grid(tiled.m, tiled.outputs, row, first);
        let work = Work::Pixels(self.data, y, then);
        T::run(Job::Transform(Transform { grid, work }));
    }

    /// At each point, x · panel; `ahead` is fetched meanwhile.
    pub(super) fn multiply(&mut self, x: &Points<T>, panels: &[T], ahead: Stretches<T>) {
        let (tiles, channels) = (self.tiles, self.channels);
        T::run(Job::Correlation(Correlation {
            x: x.data,
            x_row: tiles * x.channels,
            x_pixel: x.channels,
            kernel_rows: 1,
            kernel_row: 0,
            inner: x.channels,
            panels,
            y: self.data,
            y_row: tiles * channels,
            y_pixel: channels,
            rows: 1,
            columns: tiles,
            channels,
            term: Term::First,
            bias_relu: None,
            repeats: Repeats {
                times: EDGE * EDGE,
                x: Self::stride(x.tiles, x.channels),
                weights: x.channels * channels.next_multiple_of(PANEL),
                y: Self::stride(tiles, channels),
            },
            ahead,
        }));
    }

    /// At each point, dkernel += xᵀ · self; `ahead` is fetched meanwhile.
    pub(super) fn add_products(&self, x: &Points<T>, dkernel: &mut [T], ahead: Stretches<T>) {
        T::run(Job::WeightGradient(WeightGradient {
            x: x.data,
            x_row: self.tiles * x.channels,
            x_pixel: x.channels,
            kernel_rows: 1,
            kernel_row: 0,
            inner: x.channels,
            dy: self.data,
            dy_row: self.tiles * self.channels,
            rows: 1,
            columns: self.tiles,
            channels: self.channels,
            dkernel,
            repeats: Repeats {
                times: EDGE * EDGE,
                x: Self::stride(x.tiles, x.channels),
                weights: x.channels * self.channels,
                y: Self::stride(self.tiles, self.channels),
            },
            ahead,
        }));
    }
}

/// The tiles of one image, and where their numbers lie. Tile (i, j) begins at pixel (i·m, j·m).
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) m: usize,
    pub(super) tiles: [usize; 2],
    /// From a pixel to that below it.
    pub(super) row: usize,
    /// Rows and columns of pixels that there are.
    pub(super) extents: [usize; 2],
    pub(super) channels: usize,
    /// From the numbers at a point to those at the next.
    pub(super) stride: usize,
    /// The image's first tile in its group.
    pub(super) first: usize,
}

impl Grid {
    pub(super) fn count(&self) -> usize {
        self.tiles.iter().product()
    }

    /// Refuses slices that are too short, and extents too small for `reach` pixels of each tile.
    pub(super) fn check(&self, pixels: usize, points: usize, reach: usize) {
        let [rows, columns] = self.extents;
        assert!(self.count() > 0 && self.channels > 0, "winograd: no tiles");
        let fits = |tiles: usize, extent: usize| (tiles - 1) * self.m + reach <= extent;
        assert!(
            fits(self.tiles[0], rows) && fits(self.tiles[1], columns),
            "winograd: tiles beyond the image"
        );
        assert!(
            columns * self.channels <= self.row,
            "winograd: rows overlap"
        );
        let last = (rows - 1) * self.row + columns * self.channels;
        assert!(last <= pixels, "winograd: beyond the pixels");
        let last = (EDGE * EDGE - 1) * self.stride + (self.first + self.count()) * self.channels;
        assert!(last <= points, "winograd: beyond the points");
    }
}
