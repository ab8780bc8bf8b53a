//! Convolutions of stride 1 by fewer multiplications: Winograd's minimal filtering.
//!
//! m outputs of a filter of r taps are the coefficients of a product of polynomials, which is
//! fixed by its values at m + r − 1 points: so many multiplications instead of m·r. In two
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
//! While the products are made, the images of the next group are fetched.
//!
//! **The gradients** are those of this formula. The input's is the same convolution again, of
//! dy with the flipped kernel. The kernel's is dg = Gᵀ [ Σ (A dY Aᵀ) ⊙ (Bᵀ d B) ] G, summed over
//! the tiles: 36 products u[point]ᵀ · z[point], once more by the direct kernel.
//!
//! **What it costs** is additions, and accuracy. A transform makes 12 operations of 6
//! numbers, six times along each axis, and a tile is written and read once more; with fewer than
//! 16 channels that outweighs what is saved. And G divides by 24 where A multiplies by 8: rounding
//! errors are about five times those of the direct sums, in f32 some 3e-6 of a typical output
//! (which a test bounds).
//!
//! S. Winograd, *Arithmetic Complexity of Computations* (SIAM 1980); A. Lavin & S. Gray, *Fast
//! Algorithms for Convolutional Neural Networks* (CVPR 2016), whose F(4×4, 3×3) has these points.

use super::{
    Axis, Conv, Convolution, Correlation, Frame, Image, PANEL, Span, Wanted, WeightGradient,
    add_pixels, image, pad, pad_masked, strip, with_scratch,
};
use crate::Real;
use crate::kernels::Term;
use crate::kernels::elementwise::dispatch;
use crate::kernels::lanes::{Kernel, Lanes, line};
use crate::parallel::{chunks_of, for_each};
use std::ops::Range;

/// Extent of a patch: the number of points, with ∞.
const EDGE: usize = 6;
/// The finite points.
const POINTS: [f64; EDGE - 1] = [0.0, 1.0, -1.0, 2.0, -2.0];
/// For each of them, 1/Π (it − another).
const SCALES: [f64; EDGE - 1] = [1.0 / 4.0, -1.0 / 6.0, -1.0 / 6.0, 1.0 / 24.0, 1.0 / 24.0];
/// Longest filter.
const TAPS: usize = 5;
/// Fewest channels, of input and output, for which the transforms pay.
const CHANNELS: usize = 16;
/// What a group of images holds between the transforms: half of a 1 MiB L2.
const GROUP_BYTES: usize = 512 << 10;

/// G: row i has the values at point i of the polynomials xᵃ, a < `taps`, scaled.
fn kernel_transform<T: Real>(taps: usize) -> [[T; TAPS]; EDGE] {
    std::array::from_fn(|i| {
        std::array::from_fn(|a| match (POINTS.get(i), SCALES.get(i)) {
            (Some(&point), Some(&scale)) => T::of(scale * point.powi(a as i32)),
            _ => T::of(f64::from(a + 1 == taps)),
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
        (suits(rows) && suits(columns) && ci >= CHANNELS && co >= CHANNELS).then_some(m)
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
        let tiles = self.tiled_x(m).tiles().max(self.tiled_dy(m).tiles());
        let bytes = EDGE * EDGE * tiles * (self.ci + self.co) * size_of::<T>();
        strip(self.per_chunk(), (GROUP_BYTES / bytes).max(1))
    }
}

/// An image that is convolved in tiles.
#[derive(Clone, Copy)]
struct Tiled {
    m: usize,
    /// The image amid zeros.
    frame: Frame,
    /// Extents of what comes of it.
    outputs: [usize; 2],
}

impl Tiled {
    fn new(
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

    fn grid(&self) -> [usize; 2] {
        self.outputs.map(|extent| extent.div_ceil(self.m))
    }

    fn tiles(&self) -> usize {
        self.grid().iter().product()
    }
}

/// By point of 36: a number for each tile of a group and each channel.
struct Points<'a, T> {
    data: &'a mut [T],
    tiles: usize,
    channels: usize,
}

/// A slice in as many parts as there are points.
fn shares<T>(ahead: &[T]) -> impl Iterator<Item = &[T]> {
    let len = ahead.len().div_ceil(EDGE * EDGE);
    (0..EDGE * EDGE).map(move |i| {
        let range = (i * len).min(ahead.len())..((i + 1) * len).min(ahead.len());
        &ahead[range]
    })
}

/// The images of this range; fewer if there are not so many.
fn images_of<T>(tensor: &[T], len: usize, range: Range<usize>) -> &[T] {
    let place = |n: usize| (n * len).min(tensor.len());
    &tensor[place(range.start)..place(range.end)]
}

impl<'a, T> Points<'a, T> {
    /// One cache line more than there are numbers: a stride that is a power of two would put what
    /// a tile has at its 36 points into one set of L1.
    fn stride(tiles: usize, channels: usize) -> usize {
        tiles * channels + line::<T>()
    }

    fn len(tiles: usize, channels: usize) -> usize {
        EDGE * EDGE * Self::stride(tiles, channels)
    }

    fn new(data: &'a mut [T], tiles: usize, channels: usize) -> Self {
        Self {
            data,
            tiles,
            channels,
        }
    }

    /// The numbers at a point.
    fn at(&self, point: usize) -> &[T] {
        let start = point * Self::stride(self.tiles, self.channels);
        &self.data[start..][..self.tiles * self.channels]
    }

    fn at_mut(&mut self, point: usize) -> &mut [T] {
        let start = point * Self::stride(self.tiles, self.channels);
        &mut self.data[start..][..self.tiles * self.channels]
    }
}

impl<T: Real> Points<'_, T> {
    fn grid(&self, m: usize, extents: [usize; 2], row: usize, first: usize) -> Grid {
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
    fn take_patches(&mut self, tiled: &Tiled, padded: Image<T>, first: usize) {
        let grid = Grid {
            extents: [tiled.frame.rows.padded, tiled.frame.columns.padded],
            ..self.grid(tiled.m, tiled.outputs, padded.row, first)
        };
        let work = Work::Patches(padded.data, self.data);
        T::run_transform(Transform { grid, work });
    }

    /// A dY Aᵀ of an image of these extents, with zeros to whole tiles.
    fn take_tiles(&mut self, m: usize, extents: [usize; 2], padded: Image<T>, first: usize) {
        let extents = extents.map(|extent| extent.next_multiple_of(m));
        let grid = self.grid(m, extents, padded.row, first);
        let work = Work::Tiles(padded.data, self.data);
        T::run_transform(Transform { grid, work });
    }

    /// Aᵀ p A to the pixels of an image.
    fn put_pixels(&self, tiled: &Tiled, y: &mut [T], first: usize, then: Then<T>) {
        let row = tiled.outputs[1] * self.channels;
        let grid = self.grid(tiled.m, tiled.outputs, row, first);
        let work = Work::Pixels(self.data, y, then);
        T::run_transform(Transform { grid, work });
    }

    /// At each point, x · panel; `ahead` is fetched meanwhile.
    fn multiply(&mut self, x: &Points<T>, panels: &[T], ahead: &[T]) {
        let (tiles, channels) = (self.tiles, self.channels);
        let len = x.channels * channels.next_multiple_of(PANEL);
        for (point, ahead) in (0..EDGE * EDGE).zip(shares(ahead)) {
            T::run_correlation(Correlation {
                x: x.at(point),
                x_row: tiles * x.channels,
                x_pixel: x.channels,
                kernel_rows: 1,
                kernel_row: 0,
                inner: x.channels,
                panels: &panels[point * len..][..len],
                y: self.at_mut(point),
                y_row: tiles * channels,
                y_pixel: channels,
                rows: 1,
                columns: tiles,
                channels,
                term: Term::First,
                bias_relu: None,
                ahead,
            });
        }
    }

    /// At each point, dkernel += xᵀ · self; `ahead` is fetched meanwhile.
    fn add_products(&self, x: &Points<T>, dkernel: &mut [T], ahead: &[T]) {
        let len = x.channels * self.channels;
        let points = dkernel.chunks_exact_mut(len).enumerate();
        for ((point, dkernel), ahead) in points.zip(shares(ahead)) {
            T::run_weight_gradient(WeightGradient {
                x: x.at(point),
                x_row: self.tiles * x.channels,
                x_pixel: x.channels,
                kernel_rows: 1,
                kernel_row: 0,
                inner: x.channels,
                dy: self.at(point),
                dy_row: self.tiles * self.channels,
                rows: 1,
                columns: self.tiles,
                channels: self.channels,
                dkernel,
                ahead,
            });
        }
    }
}

impl<T: Real> Convolution<T> {
    /// [`Convolution::forward`] in tiles of m×m outputs.
    pub(super) fn forward_in_tiles(
        &mut self,
        m: usize,
        x: &[T],
        kernel: &[T],
        bias_relu: Option<&[T]>,
        y: &mut [T],
    ) {
        let conv = self.conv;
        let (ci, co) = (conv.ci, conv.co);
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let taps = conv.rows.kernel;
        let panels = &mut self.panels[..];
        transform_kernel(panels, kernel, taps, [ci, co], |[a, b], k, c| {
            ((a * taps + b) * ci + k) * co + c
        });
        let (panels, tiled) = (&*panels, conv.tiled_x(m));
        let (per, group, tiles) = (conv.per_chunk(), conv.group::<T>(m), tiled.tiles());
        for_each(conv.chunks(), chunks_of(y, per * y_image), |chunk, y| {
            let lengths = [
                tiled.frame.elements(),
                Points::<T>::len(group * tiles, ci),
                Points::<T>::len(group * tiles, co),
            ];
            with_scratch(lengths, |[padded, u, p]| {
                for (i, y) in y.chunks_mut(group * y_image).enumerate() {
                    let images = y.len() / y_image;
                    let mut u = Points::new(u, images * tiles, ci);
                    for n in 0..images {
                        let x = image(x, x_image, chunk * per + i * group + n);
                        u.take_patches(&tiled, pad(x, &tiled.frame, padded), n * tiles);
                    }
                    let mut p = Points::new(p, images * tiles, co);
                    let next = chunk * per + (i + 1) * group;
                    p.multiply(&u, panels, images_of(x, x_image, next..next + group));
                    for (n, y) in y.chunks_exact_mut(y_image).enumerate() {
                        let then = match bias_relu {
                            Some(bias) => Then::BiasRelu(bias),
                            None => Then::Write(Term::First),
                        };
                        p.put_pixels(&tiled, y, n * tiles, then);
                    }
                }
            });
        });
    }

    /// [`Convolution::backward`] in tiles of m×m outputs.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn backward_in_tiles(
        &mut self,
        m: usize,
        x: &[T],
        kernel: &[T],
        y: Option<&[T]>,
        dy: &[T],
        dx: &mut [T],
        dx_term: Option<Term>,
        wanted: Wanted,
    ) {
        let conv = self.conv;
        let (ci, co) = (conv.ci, conv.co);
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let taps = conv.rows.kernel;
        if dx_term.is_some() {
            let last = taps - 1;
            let panels = &mut self.panels[..];
            transform_kernel(panels, kernel, taps, [co, ci], |[a, b], k, c| {
                (((last - a) * taps + last - b) * ci + c) * co + k
            });
        }
        let panels = &self.panels[..];
        let (tiled_x, tiled_dy) = (conv.tiled_x(m), conv.tiled_dy(m));
        let (per, group) = (conv.per_chunk(), conv.group::<T>(m));
        let most = group * tiled_x.tiles().max(tiled_dy.tiles());
        let lengths = [
            tiled_dy.frame.elements(),
            tiled_x.frame.elements(),
            Points::<T>::len(most, co),
            Points::<T>::len(most, co),
            Points::<T>::len(most, ci),
            EDGE * EDGE * ci * co,
        ];
        let chunks = (
            chunks_of(dx, per * x_image),
            chunks_of(&mut self.sums[..], conv.kernel() + co),
        );
        for_each(conv.chunks(), chunks, |chunk, (dx, sums)| {
            sums.fill(T::zero());
            let (dkernel, dbias) = sums.split_at_mut(conv.kernel());
            let images = (chunk * per).min(conv.batch)..((chunk + 1) * per).min(conv.batch);
            with_scratch(lengths, |[dy_padded, x_padded, u, z, p, transformed]| {
                transformed.fill(T::zero());
                for start in images.clone().step_by(group) {
                    let images = start..(start + group).min(images.end);
                    let next = images_of(dy, y_image, images.end..images.end + group);
                    let tiles = tiled_dy.tiles();
                    let mut u = Points::new(u, images.len() * tiles, co);
                    let mut z = Points::new(z, images.len() * tiled_x.tiles(), co);
                    for (i, n) in images.clone().enumerate() {
                        let plain = image(dy, y_image, n);
                        let padded = match y {
                            Some(y) => {
                                let masked = (image(y, y_image, n), plain);
                                pad_masked(masked, &tiled_dy.frame, dy_padded, dbias)
                            }
                            None => pad(plain, &tiled_dy.frame, dy_padded),
                        };
                        if y.is_none() && wanted.bias {
                            add_pixels(plain, dbias);
                        }
                        if dx_term.is_some() {
                            u.take_patches(&tiled_dy, padded, i * tiles);
                        }
                        if wanted.kernel {
                            let origin = Image {
                                data: &padded.data[tiled_dy.frame.origin()..],
                                ..padded
                            };
                            let extents = [conv.rows.output, conv.columns.output];
                            z.take_tiles(m, extents, origin, i * tiled_x.tiles());
                        }
                    }
                    if let Some(term) = dx_term {
                        let mut p = Points::new(&mut *p, images.len() * tiles, ci);
                        let ahead = match wanted.kernel {
                            true => images_of(x, x_image, images.clone()),
                            false => next,
                        };
                        p.multiply(&u, panels, ahead);
                        for (i, n) in images.clone().enumerate() {
                            let dx = &mut dx[(n - chunk * per) * x_image..][..x_image];
                            p.put_pixels(&tiled_dy, dx, i * tiles, Then::Write(term));
                        }
                    }
                    if wanted.kernel {
                        let tiles = tiled_x.tiles();
                        let mut u = Points::new(&mut *p, images.len() * tiles, ci);
                        for (i, n) in images.enumerate() {
                            let x = pad(image(x, x_image, n), &tiled_x.frame, x_padded);
                            u.take_patches(&tiled_x, x, i * tiles);
                        }
                        z.add_products(&u, transformed, next);
                    }
                }
                if wanted.kernel {
                    add_kernel_gradient(dkernel, transformed, taps, [ci, co]);
                }
            });
        });
    }
}

/// Packs G g Gᵀ for every input and output channel into panels, those of a point after another's.
/// `index` says where in `kernel` a tap is, from the input channel k to the output channel c.
fn transform_kernel<T: Real>(
    panels: &mut [T],
    kernel: &[T],
    taps: usize,
    [inner, channels]: [usize; 2],
    index: impl Fn([usize; 2], usize, usize) -> usize,
) {
    let g = kernel_transform::<T>(taps);
    let len = inner * channels.next_multiple_of(PANEL);
    dispatch(
        #[inline(always)]
        || {
            for first in (0..channels).step_by(PANEL) {
                let width = PANEL.min(channels - first);
                for k in 0..inner {
                    let mut tap = [[[T::zero(); PANEL]; TAPS]; TAPS];
                    for a in 0..taps {
                        for b in 0..taps {
                            for (c, tap) in tap[a][b][..width].iter_mut().enumerate() {
                                *tap = kernel[index([a, b], k, first + c)];
                            }
                        }
                    }
                    for (i, by_row) in g.iter().enumerate() {
                        let half: [_; TAPS] = std::array::from_fn(
                            #[inline(always)]
                            |b| combine(by_row, taps, |a| &tap[a][b]),
                        );
                        for (j, by_column) in g.iter().enumerate() {
                            let point = i * EDGE + j;
                            let start = point * len + (first / PANEL * inner + k) * PANEL;
                            let values = combine(by_column, taps, |b| &half[b]);
                            panels[start..][..PANEL].copy_from_slice(&values);
                        }
                    }
                }
            }
        },
    );
}

/// Σ coefficient · vector over the first `terms`.
#[inline(always)]
fn combine<'a, T: Real>(
    coefficients: &[T],
    terms: usize,
    vector: impl Fn(usize) -> &'a [T; PANEL],
) -> [T; PANEL] {
    let mut sum = [T::zero(); PANEL];
    for (i, &coefficient) in coefficients[..terms].iter().enumerate() {
        for (sum, &x) in sum.iter_mut().zip(vector(i)) {
            *sum += coefficient * x;
        }
    }
    sum
}

/// dkernel += Gᵀ D G, for D by point, then by input and output channel.
fn add_kernel_gradient<T: Real>(
    dkernel: &mut [T],
    transformed: &[T],
    taps: usize,
    [ci, co]: [usize; 2],
) {
    let g = kernel_transform::<T>(taps);
    let transposed: [[T; EDGE]; TAPS] = std::array::from_fn(|a| std::array::from_fn(|i| g[i][a]));
    dispatch(
        #[inline(always)]
        || {
            for start in (0..ci * co).step_by(PANEL) {
                let width = PANEL.min(ci * co - start);
                let mut points = [[[T::zero(); PANEL]; EDGE]; EDGE];
                for (i, row) in points.iter_mut().enumerate() {
                    for (j, point) in row.iter_mut().enumerate() {
                        let at = (i * EDGE + j) * ci * co + start;
                        point[..width].copy_from_slice(&transformed[at..][..width]);
                    }
                }
                for (a, by_row) in transposed[..taps].iter().enumerate() {
                    let half: [_; EDGE] = std::array::from_fn(
                        #[inline(always)]
                        |j| combine(by_row, EDGE, |i| &points[i][j]),
                    );
                    for (b, by_column) in transposed[..taps].iter().enumerate() {
                        let at = (a * taps + b) * ci * co + start;
                        let tap = combine(by_column, EDGE, |j| &half[j]);
                        let to = dkernel[at..][..width].iter_mut();
                        to.zip(&tap).for_each(|(to, &x)| *to += x);
                    }
                }
            }
        },
    );
}

/// What is done with a pixel that has been computed.
#[derive(Clone, Copy)]
enum Then<'a, T> {
    Write(Term),
    /// Bias added, then what is negative becomes 0.
    BiasRelu(&'a [T]),
}

/// The tiles of one image, and where their numbers lie. Tile (i, j) begins at pixel (i·m, j·m).
#[derive(Clone, Copy)]
struct Grid {
    m: usize,
    tiles: [usize; 2],
    /// From a pixel to that below it.
    row: usize,
    /// Rows and columns of pixels that there are.
    extents: [usize; 2],
    channels: usize,
    /// From the numbers at a point to those at the next.
    stride: usize,
    /// The image's first tile in its group.
    first: usize,
}

impl Grid {
    fn count(&self) -> usize {
        self.tiles.iter().product()
    }

    /// Refuses slices that are too short, and extents too small for `reach` pixels of each tile.
    fn check(&self, pixels: usize, points: usize, reach: usize) {
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

/// A transform of all tiles of one image.
pub struct Transform<'a, T> {
    grid: Grid,
    work: Work<'a, T>,
}

/// What is transformed, and to where.
enum Work<'a, T> {
    /// Bᵀ d B of the overlapping patches.
    Patches(&'a [T], &'a mut [T]),
    /// A dY Aᵀ of the tiles.
    Tiles(&'a [T], &'a mut [T]),
    /// Aᵀ p A to the tiles, of which the last may be cut short.
    Pixels(&'a [T], &'a mut [T], Then<'a, T>),
}

impl<T: Real> Kernel<T> for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        match self.grid.m {
            4 => self.tiles_of::<L, 4>(lanes),
            2 => self.tiles_of::<L, 2>(lanes),
            m => unreachable!("tiles of {m}×{m}"),
        }
    }
}

impl<T: Real> Transform<'_, T> {
    #[inline(always)]
    fn tiles_of<L: Lanes<T>, const M: usize>(self, lanes: L) {
        let grid = self.grid;
        match self.work {
            Work::Patches(pixels, points) => {
                grid.check(pixels.len(), points.len(), EDGE);
                lanes.call(Patches(grid, pixels.as_ptr(), points.as_mut_ptr()));
            }
            Work::Tiles(pixels, points) => {
                grid.check(pixels.len(), points.len(), M);
                let (pixels, points) = (pixels.as_ptr(), points.as_mut_ptr());
                lanes.call(TilesOf::<T, M>(grid, pixels, points));
            }
            Work::Pixels(points, pixels, then) => {
                grid.check(pixels.len(), points.len(), 1);
                if let Then::BiasRelu(bias) = then {
                    assert_eq!(bias.len(), grid.channels, "winograd: length of the bias");
                }
                let (points, pixels) = (points.as_ptr(), pixels.as_mut_ptr());
                lanes.call(PixelsOf::<T, M>(grid, points, pixels, then));
            }
        }
    }
}

/// Calls `$body` for each register of channels of each tile, with the tile's place (i, j), the
/// first channel, the mask of the channels, and where its first pixel and its first number lie.
macro_rules! for_each_register {
    ($grid:expr, $lanes:expr, |[$i:ident, $j:ident], $channel:ident, $mask:ident, $pixel:ident, $point:ident| $body:block) => {
        for $i in 0..$grid.tiles[0] {
            for $j in 0..$grid.tiles[1] {
                let tile = $grid.first + $i * $grid.tiles[1] + $j;
                for $channel in (0..$grid.channels).step_by(L::WIDTH) {
                    let $mask = $lanes.first(L::WIDTH.min($grid.channels - $channel));
                    let $pixel = $grid.m * ($i * $grid.row + $j * $grid.channels) + $channel;
                    let $point = tile * $grid.channels + $channel;
                    $body
                }
            }
        }
    };
}

/// Built by [`Transform::tiles_of`] only, after [`Grid::check`] with patches.
struct Patches<T>(Grid, *const T, *mut T);

impl<T: Real> Kernel<T> for Patches<T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self(grid, pixels, points) = self;
        let zero = lanes.splat(T::zero());
        for_each_register!(grid, lanes, |[i, j], channel, mask, pixel, point| {
            let mut columns = [[zero; EDGE]; EDGE];
            for (b, column) in columns.iter_mut().enumerate() {
                for (a, d) in column.iter_mut().enumerate() {
                    // SAFETY: the channels of the mask of pixel (a, b) of the patch.
                    *d = unsafe {
                        let at = pixel + a * grid.row + b * grid.channels;
                        lanes.load_masked(mask, pixels.add(at))
                    };
                }
                *column = patch(lanes, *column);
            }
            for a in 0..EDGE {
                let mut row = [zero; EDGE];
                for (d, column) in row.iter_mut().zip(&columns) {
                    *d = column[a];
                }
                for (b, u) in patch(lanes, row).into_iter().enumerate() {
                    // SAFETY: the channels of the mask of this tile at point (a, b).
                    unsafe {
                        let at = point + (a * EDGE + b) * grid.stride;
                        lanes.store_masked(mask, points.add(at), u);
                    }
                }
            }
        });
    }
}

/// Built by [`Transform::tiles_of`] only, after [`Grid::check`] with tiles of M×M.
///
/// The loops are those of [`Patches`]: one kernel for both, generic over the transform, took 3 to 6 %
/// longer for the whole convolution.
struct TilesOf<T, const M: usize>(Grid, *const T, *mut T);

impl<T: Real, const M: usize> Kernel<T> for TilesOf<T, M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self(grid, pixels, points) = self;
        let zero = lanes.splat(T::zero());
        for_each_register!(grid, lanes, |[i, j], channel, mask, pixel, point| {
            let mut columns = [[zero; EDGE]; M];
            for (b, column) in columns.iter_mut().enumerate() {
                let mut y = [zero; M];
                for (a, y) in y.iter_mut().enumerate() {
                    // SAFETY: the channels of the mask of pixel (a, b) of the tile.
                    *y = unsafe {
                        let at = pixel + a * grid.row + b * grid.channels;
                        lanes.load_masked(mask, pixels.add(at))
                    };
                }
                *column = tile(lanes, y);
            }
            for a in 0..EDGE {
                let mut row = [zero; M];
                for (y, column) in row.iter_mut().zip(&columns) {
                    *y = column[a];
                }
                for (b, z) in tile(lanes, row).into_iter().enumerate() {
                    // SAFETY: the channels of the mask of this tile at point (a, b).
                    unsafe {
                        let at = point + (a * EDGE + b) * grid.stride;
                        lanes.store_masked(mask, points.add(at), z);
                    }
                }
            }
        });
    }
}

/// Built by [`Transform::tiles_of`] only, after [`Grid::check`] with first pixels.
struct PixelsOf<'a, T, const M: usize>(Grid, *const T, *mut T, Then<'a, T>);

impl<T: Real, const M: usize> Kernel<T> for PixelsOf<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self(grid, points, pixels, then) = self;
        let zero = lanes.splat(T::zero());
        for_each_register!(grid, lanes, |[i, j], channel, mask, pixel, point| {
            let mut columns = [[zero; M]; EDGE];
            for (b, column) in columns.iter_mut().enumerate() {
                let mut p = [zero; EDGE];
                for (a, p) in p.iter_mut().enumerate() {
                    // SAFETY: the channels of the mask of this tile at point (a, b).
                    *p = unsafe {
                        let at = point + (a * EDGE + b) * grid.stride;
                        lanes.load_masked(mask, points.add(at))
                    };
                }
                *column = outputs(lanes, p);
            }
            let bias = match then {
                // SAFETY: the channels of the mask, of as many as the bias has.
                Then::BiasRelu(bias) => unsafe {
                    lanes.load_masked(mask, bias.as_ptr().add(channel))
                },
                Then::Write(_) => zero,
            };
            for a in 0..M.min(grid.extents[0] - i * M) {
                let mut row = [zero; EDGE];
                for (p, column) in row.iter_mut().zip(&columns) {
                    *p = column[a];
                }
                let row: [_; M] = outputs(lanes, row);
                let there = M.min(grid.extents[1] - j * M);
                for (b, y) in row.into_iter().enumerate().take(there) {
                    // SAFETY: the channels of the mask of pixel (a, b) of the tile, which the image
                    // has.
                    unsafe {
                        let to = pixels.add(pixel + a * grid.row + b * grid.channels);
                        let y = match then {
                            Then::Write(Term::First) => y,
                            Then::Write(Term::Further) => lanes.add(lanes.load_masked(mask, to), y),
                            Then::BiasRelu(_) => lanes.max(zero, lanes.add(y, bias)),
                        };
                        lanes.store_masked(mask, to, y);
                    }
                }
            }
        });
    }
}

/// Bᵀ d.
#[inline(always)]
fn patch<T: Real, L: Lanes<T>>(lanes: L, d: [L::Register; EDGE]) -> [L::Register; EDGE] {
    let [four, minus_four, minus_five] = [4.0, -4.0, -5.0].map(|x| lanes.splat(T::of(x)));
    let [two, minus_two] = [2.0, -2.0].map(|x| lanes.splat(T::of(x)));
    let near = [
        lanes.mul_add(minus_four, d[2], d[4]),
        lanes.mul_add(minus_four, d[1], d[3]),
    ];
    let far = [lanes.sub(d[4], d[2]), lanes.sub(d[3], d[1])];
    [
        lanes.mul_add(four, d[0], lanes.mul_add(minus_five, d[2], d[4])),
        lanes.add(near[0], near[1]),
        lanes.sub(near[0], near[1]),
        lanes.mul_add(two, far[1], far[0]),
        lanes.mul_add(minus_two, far[1], far[0]),
        lanes.mul_add(four, d[1], lanes.mul_add(minus_five, d[3], d[5])),
    ]
}

/// A y: the values at the points of the polynomial with these coefficients.
#[inline(always)]
fn tile<T: Real, L: Lanes<T>, const M: usize>(
    lanes: L,
    y: [L::Register; M],
) -> [L::Register; EDGE] {
    let [two, four, eight] = [2.0, 4.0, 8.0].map(|x| lanes.splat(T::of(x)));
    let (mut near, mut far) = ([y[0], y[1]], [y[0], lanes.mul(two, y[1])]);
    if M == 4 {
        near = [lanes.add(near[0], y[2]), lanes.add(near[1], y[3])];
        far = [
            lanes.mul_add(four, y[2], far[0]),
            lanes.mul_add(eight, y[3], far[1]),
        ];
    }
    [
        y[0],
        lanes.add(near[0], near[1]),
        lanes.sub(near[0], near[1]),
        lanes.add(far[0], far[1]),
        lanes.sub(far[0], far[1]),
        y[M - 1],
    ]
}

/// Aᵀ p.
#[inline(always)]
fn outputs<T: Real, L: Lanes<T>, const M: usize>(
    lanes: L,
    p: [L::Register; EDGE],
) -> [L::Register; M] {
    let [two, four, eight] = [2.0, 4.0, 8.0].map(|x| lanes.splat(T::of(x)));
    let near = [lanes.add(p[1], p[2]), lanes.sub(p[1], p[2])];
    let far = [lanes.add(p[3], p[4]), lanes.sub(p[3], p[4])];
    let mut y = [lanes.add(p[0], lanes.add(near[0], far[0])); M];
    y[1] = lanes.mul_add(two, far[1], near[1]);
    if M == 4 {
        y[2] = lanes.mul_add(four, far[0], near[0]);
        y[3] = lanes.mul_add(eight, far[1], near[1]);
    }
    y[M - 1] = lanes.add(y[M - 1], p[EDGE - 1]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lanes::testing::on_every_level;

    fn numbers<T: Real>(n: usize, seed: usize) -> Vec<T> {
        let of = |i: usize| ((i + seed) * 7919 % 4001) as f64 / 2000.0 - 1.0;
        (0..n).map(|i| T::of(of(i))).collect()
    }

    fn axis(input: usize, kernel: usize, [before, after]: [usize; 2]) -> Axis {
        Axis {
            input,
            kernel,
            output: before + input + after + 1 - kernel,
            stride: 1,
            before,
        }
    }

    fn conv(batch: usize, axes: [Axis; 2], [ci, co]: [usize; 2]) -> Conv {
        let [rows, columns] = axes;
        Conv {
            batch,
            rows,
            columns,
            ci,
            co,
        }
    }

    /// Whole tiles and parts of them, more and fewer images than chunks, channels that fill
    /// registers and that do not, as much padding as there can be, and none.
    fn cases() -> [Conv; 5] {
        [
            conv(9, [axis(8, 3, [1, 1]), axis(4, 3, [1, 1])], [16, 32]),
            conv(2, [axis(7, 3, [2, 0]), axis(5, 3, [0, 2])], [17, 19]),
            conv(3, [axis(6, 3, [0, 0]), axis(10, 3, [0, 0])], [33, 16]),
            conv(17, [axis(4, 5, [2, 2]), axis(7, 5, [2, 2])], [16, 16]),
            conv(1, [axis(9, 5, [4, 0]), axis(6, 5, [0, 0])], [20, 40]),
        ]
    }

    /// Calls `f` with the places in x, the kernel and y of every product.
    fn products(conv: &Conv, mut f: impl FnMut([usize; 3])) {
        let Conv {
            rows,
            columns,
            ci,
            co,
            ..
        } = *conv;
        let all = |n: usize, m: usize| (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)));
        for n in 0..conv.batch {
            for (i, j) in all(rows.output, columns.output) {
                for (a, b) in all(rows.kernel, columns.kernel) {
                    let (row, column) = (i + a, j + b);
                    let inside =
                        |axis: Axis, at: usize| at >= axis.before && at < axis.before + axis.input;
                    if !inside(rows, row) || !inside(columns, column) {
                        continue;
                    }
                    let (row, column) = (row - rows.before, column - columns.before);
                    for (k, c) in all(ci, co) {
                        f([
                            ((n * rows.input + row) * columns.input + column) * ci + k,
                            ((a * columns.kernel + b) * ci + k) * co + c,
                            ((n * rows.output + i) * columns.output + j) * co + c,
                        ]);
                    }
                }
            }
        }
    }

    fn assert_near<T: Real>(actual: &[T], expected: &[f64], tolerance: f64, what: &str) {
        assert_eq!(actual.len(), expected.len(), "{what}");
        let most = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (i, (&a, e)) in actual.iter().zip(expected).enumerate() {
            let error = (a.in_f64() - e).abs();
            assert!(error <= tolerance * most, "{what}[{i}]: {a} for {e}");
        }
    }

    fn agrees_with_naive_loops<T: Real>(tolerance: f64) {
        for conv in cases() {
            assert!(conv.tile().is_some(), "{conv:?}");
            let x: Vec<T> = numbers(conv.batch * conv.x_image(), 1);
            let kernel: Vec<T> = numbers(conv.kernel(), 2);
            let bias: Vec<T> = numbers(conv.co, 3);
            let dy: Vec<T> = numbers(conv.batch * conv.y_image(), 4);
            for relu in [false, true] {
                let what = |name| format!("{name} of {conv:?}, ReLU: {relu}");
                let mut y = vec![0.0; dy.len()];
                products(&conv, |[i, j, k]| y[k] += (x[i] * kernel[j]).in_f64());
                if relu {
                    for (i, y) in y.iter_mut().enumerate() {
                        *y = (*y + bias[i % conv.co].in_f64()).max(0.0);
                    }
                }
                let mut convolution = Convolution::new(conv);
                let mut actual = vec![T::nan(); y.len()];
                convolution.forward(&x, &kernel, relu.then_some(&bias), &mut actual);
                assert_near(&actual, &y, tolerance, &what("y"));

                let passed = |k: usize| match relu && actual[k] <= T::zero() {
                    true => 0.0,
                    false => dy[k].in_f64(),
                };
                let before: Vec<T> = numbers(x.len(), 5);
                let mut dx: Vec<f64> = before.iter().map(|x| x.in_f64()).collect();
                let (mut dkernel, mut dbias) = (vec![0.0; kernel.len()], vec![0.0; conv.co]);
                products(&conv, |[i, j, k]| {
                    dx[i] += kernel[j].in_f64() * passed(k);
                    dkernel[j] += x[i].in_f64() * passed(k);
                });
                (0..dy.len()).for_each(|k| dbias[k % conv.co] += passed(k));
                let mut actual_dx = before;
                let wanted = Wanted {
                    kernel: true,
                    bias: true,
                };
                convolution.backward(
                    &x,
                    &kernel,
                    relu.then_some(&actual),
                    &dy,
                    Some((&mut actual_dx, Term::Further)),
                    wanted,
                );
                assert_near(&actual_dx, &dx, tolerance, &what("dx"));
                let mut sums = [vec![T::zero(); kernel.len()], vec![T::zero(); conv.co]];
                for (k, b) in convolution.sums() {
                    sums[0].iter_mut().zip(k).for_each(|(sum, &x)| *sum += x);
                    sums[1].iter_mut().zip(b).for_each(|(sum, &x)| *sum += x);
                }
                assert_near(&sums[0], &dkernel, tolerance, &what("dkernel"));
                assert_near(&sums[1], &dbias, tolerance, &what("dbias"));
            }
        }
    }

    #[test]
    fn tiles_agree_with_naive_loops() {
        agrees_with_naive_loops::<f64>(1e-13);
        agrees_with_naive_loops::<f32>(2e-5);
    }

    /// √(Σ (a − b)² / Σ b²)
    fn relative_error(a: &[f32], b: &[f64]) -> f64 {
        let squares = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f(a.into(), b).powi(2)).sum()
        };
        (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
    }

    #[test]
    fn errors_are_a_few_times_those_of_direct_sums() {
        for taps in [3, 5] {
            let same = axis(8, taps, [taps / 2; 2]);
            let conv = conv(1, [same, same], [64, 64]);
            let (x, kernel) = (numbers(conv.x_image(), 1), numbers(conv.kernel(), 2));
            let (mut exact, mut direct) = (vec![0.0; conv.y_image()], vec![0.0; conv.y_image()]);
            products(&conv, |[i, j, k]| {
                let product: f32 = x[i] * kernel[j];
                direct[k] += product;
                exact[k] += f64::from(x[i]) * f64::from(kernel[j]);
            });
            let mut tiled = direct.clone();
            Convolution::new(conv).forward(&x, &kernel, None, &mut tiled);
            let (tiled, direct) = (
                relative_error(&tiled, &exact),
                relative_error(&direct, &exact),
            );
            let what = format!("{taps} taps: {tiled:e} in tiles, {direct:e} directly");
            assert!(tiled < 8e-6 && tiled < 8.0 * direct, "{what}");
        }
    }

    #[test]
    fn each_gradient_can_be_left_out() {
        let conv = cases()[0];
        let x: Vec<f64> = numbers(conv.batch * conv.x_image(), 1);
        let kernel: Vec<f64> = numbers(conv.kernel(), 2);
        let dy: Vec<f64> = numbers(conv.batch * conv.y_image(), 4);
        let gradients = |wants_x: bool, kernel_too: bool| {
            let mut dx = vec![0.0; x.len()];
            let term = wants_x.then_some((&mut dx[..], Term::First));
            let wanted = Wanted {
                kernel: kernel_too,
                bias: false,
            };
            let mut convolution = Convolution::new(conv);
            convolution.backward(&x, &kernel, None, &dy, term, wanted);
            let sums: Vec<f64> = convolution.sums().flat_map(|(k, _)| k.to_vec()).collect();
            (dx, sums)
        };
        let (dx, dkernel) = gradients(true, true);
        assert_eq!(gradients(true, false).0, dx);
        assert_eq!(gradients(false, true).1, dkernel);
        assert!(gradients(true, false).1.iter().all(|&sum| sum == 0.0));
    }

    #[test]
    fn what_does_not_suit_is_left_to_the_direct_kernels() {
        let suits = |rows, columns, channels| conv(1, [rows, columns], channels).tile();
        let same = axis(8, 3, [1, 1]);
        assert_eq!(suits(same, same, [16, 16]), Some(4));
        assert_eq!(suits(same, same, [15, 16]), None);
        assert_eq!(suits(same, same, [16, 15]), None);
        assert_eq!(suits(same, Axis { stride: 2, ..same }, [16, 16]), None);
        assert_eq!(suits(same, axis(8, 5, [2, 2]), [16, 16]), None);
        assert_eq!(suits(same, axis(8, 3, [3, 1]), [16, 16]), None);
        assert_eq!(suits(same, axis(5, 3, [0, 0]), [16, 16]), None, "3 columns");
        let same = axis(8, 5, [2, 2]);
        assert_eq!(suits(same, same, [16, 16]), Some(2));
    }

    /// Values of polynomials at the points, with ∞ as the leading coefficient, by the definition.
    fn values(coefficients: &[f64]) -> [f64; EDGE] {
        std::array::from_fn(|i| match POINTS.get(i) {
            Some(point) => coefficients
                .iter()
                .rev()
                .fold(0.0, |sum, c| sum * point + c),
            None => coefficients[coefficients.len() - 1],
        })
    }

    /// The matrix whose columns are what the unit vectors become.
    fn matrix<const N: usize>(of: impl Fn([f64; N]) -> [f64; EDGE]) -> [[f64; N]; EDGE] {
        let unit = |k| std::array::from_fn(|i| f64::from(i == k));
        let columns: [[f64; EDGE]; N] = std::array::from_fn(|k| of(unit(k)));
        std::array::from_fn(|i| std::array::from_fn(|k| columns[k][i]))
    }

    /// On integers, of which all transforms but G's are exact.
    fn transforms<T: Real, const M: usize>() {
        let a = matrix(|y: [f64; M]| values(&y));
        // Bᵀ is the transposed inverse of the values of polynomials of degree 5, unscaled.
        let b_transposed: [[f64; EDGE]; EDGE] = [
            [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
            [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
            [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
            [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
            [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
            [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
        ];
        let integers = |n: usize| -> Vec<T> {
            (0..n)
                .map(|i| T::of((i * 7919 % 13) as f64 - 6.0))
                .collect()
        };
        on_every_level(|name, level| {
            for channels in [1, 16, 19] {
                let (tiles, first, total) = ([2, 3], 2, 9);
                let stride = total * channels + 3;
                let extents = [2 * M + EDGE - M, 3 * M + EDGE - M];
                let row = extents[1] * channels + 2;
                let image = integers(extents[0] * row);
                let numbers = integers(EDGE * EDGE * stride);
                let grid = Grid {
                    m: M,
                    tiles,
                    row,
                    extents,
                    channels,
                    stride,
                    first,
                };
                let (mut patches, mut of_tiles) = (numbers.clone(), numbers.clone());
                let work = Work::Patches(&image, &mut patches);
                level.run(Transform { grid, work });
                let work = Work::Tiles(&image, &mut of_tiles);
                level.run(Transform { grid, work });
                let cut = Grid {
                    extents: [2 * M - 1, 3 * M],
                    ..grid
                };
                let mut pixels = image.clone();
                let then = Then::Write(Term::Further);
                let work = Work::Pixels(&numbers, &mut pixels, then);
                level.run(Transform { grid: cut, work });

                let mut expected = [numbers.clone(), numbers.clone(), image.clone()];
                let all = |n, m| (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)));
                for ((i, j), c) in
                    all(tiles[0], tiles[1]).flat_map(|tile| (0..channels).map(move |c| (tile, c)))
                {
                    let pixel = |x: usize, y: usize| (i * M + x) * row + (j * M + y) * channels + c;
                    let number = |u: usize, v: usize| {
                        (u * EDGE + v) * stride + (first + i * tiles[1] + j) * channels + c
                    };
                    for (u, v) in all(EDGE, EDGE) {
                        let sum = |f: &dyn Fn(usize, usize) -> f64, n| {
                            T::of(all(n, n).map(|(x, y)| f(x, y)).sum())
                        };
                        let at = |x, y| image[pixel(x, y)].in_f64();
                        expected[0][number(u, v)] = sum(
                            &|x, y| b_transposed[u][x] * b_transposed[v][y] * at(x, y),
                            EDGE,
                        );
                        expected[1][number(u, v)] = sum(&|x, y| a[u][x] * a[v][y] * at(x, y), M);
                    }
                    for (x, y) in all(M, M).filter(|(x, _)| i * M + x < 2 * M - 1) {
                        let terms = all(EDGE, EDGE)
                            .map(|(u, v)| a[u][x] * a[v][y] * numbers[number(u, v)].in_f64());
                        expected[2][pixel(x, y)] += T::of(terms.sum());
                    }
                }
                let actual = [patches, of_tiles, pixels];
                for (what, (a, e)) in ["Bᵀ d B", "A dY Aᵀ", "Aᵀ p A"]
                    .into_iter()
                    .zip(actual.iter().zip(&expected))
                {
                    assert!(a == e, "{what} with {channels} channels on {name}");
                }
            }
        });
    }

    #[test]
    fn transforms_agree_with_their_matrices() {
        transforms::<f32, 4>();
        transforms::<f32, 2>();
        transforms::<f64, 4>();
        transforms::<f64, 2>();
    }

    #[test]
    #[should_panic(expected = "beyond the image")]
    fn tiles_beyond_the_image_are_refused() {
        let grid = Grid {
            m: 4,
            tiles: [1, 2],
            row: 9,
            extents: [6, 9],
            channels: 1,
            stride: 2,
            first: 0,
        };
        let work = Work::Patches(&[0.0; 54], &mut [0.0; 72]);
        f32::run_transform(Transform { grid, work });
    }
}
