//! The transforms, on registers of channels.

use super::EDGE;
use super::grid::Grid;
use crate::kernels::Real;
use crate::kernels::Term;
use crate::kernels::simd::{Kernel, Lanes, own_name};

/// What is done with a pixel that has been computed.
#[derive(Clone, Copy)]
pub(super) enum Then<'a, T> {
    Write(Term),
    /// Bias added, then what is negative becomes 0.
    BiasRelu(&'a [T]),
}

/// A transform of all tiles of one image.
pub struct Transform<'a, T> {
    pub(super) grid: Grid,
    pub(super) work: Work<'a, T>,
}

/// What is transformed, and to where.
pub(super) enum Work<'a, T> {
    /// Bᵀ d B of the overlapping patches.
    Patches(&'a [T], &'a mut [T]),
    /// A dY Aᵀ of the tiles.
    Tiles(&'a [T], &'a mut [T]),
    /// Aᵀ p A to the tiles, of which the last may be cut short.
    Pixels(&'a [T], &'a mut [T], Then<'a, T>),
}

impl<T: Real> Kernel<T> for Transform<'_, T> {
    type Output = ();
    own_name! {}

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
    pub(super) fn tiles_of<L: Lanes<T>, const M: usize>(self, lanes: L) {
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
pub(super) struct Patches<T>(pub(super) Grid, pub(super) *const T, pub(super) *mut T);

impl<T: Real> Kernel<T> for Patches<T> {
    type Output = ();
    own_name! {}

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
pub(super) struct TilesOf<T, const M: usize>(
    pub(super) Grid,
    pub(super) *const T,
    pub(super) *mut T,
);

impl<T: Real, const M: usize> Kernel<T> for TilesOf<T, M> {
    type Output = ();
    own_name! {}

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
pub(super) struct PixelsOf<'a, T, const M: usize>(
    pub(super) Grid,
    pub(super) *const T,
    pub(super) *mut T,
    pub(super) Then<'a, T>,
);

impl<T: Real, const M: usize> Kernel<T> for PixelsOf<'_, T, M> {
    type Output = ();
    own_name! {}

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
pub(super) fn patch<T: Real, L: Lanes<T>>(lanes: L, d: [L::Register; EDGE]) -> [L::Register; EDGE] {
    let [four, minus_four, minus_five] = [4.0, -4.0, -5.0].map(|x| lanes.splat(T::nearest(x)));
    let [two, minus_two] = [2.0, -2.0].map(|x| lanes.splat(T::nearest(x)));
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
pub(super) fn tile<T: Real, L: Lanes<T>, const M: usize>(
    lanes: L,
    y: [L::Register; M],
) -> [L::Register; EDGE] {
    let [two, four, eight] = [2.0, 4.0, 8.0].map(|x| lanes.splat(T::nearest(x)));
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
pub(super) fn outputs<T: Real, L: Lanes<T>, const M: usize>(
    lanes: L,
    p: [L::Register; EDGE],
) -> [L::Register; M] {
    let [two, four, eight] = [2.0, 4.0, 8.0].map(|x| lanes.splat(T::nearest(x)));
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
