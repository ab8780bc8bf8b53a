//! The kernel of the weight gradient.

use super::correlation::{NV, Repeats};
use super::tiles::{Ahead, Stretches, limit, strip};
use crate::kernels::Real;
use crate::kernels::simd::{Kernel, Lanes, own_name};

/// Most weights, per register of output channels, of a tile of the weight gradient.
const WEIGHTS: usize = 12;
/// Rows of x and dy that the weight gradient works on at a time: most of a 32 KiB L1.
const BLOCK_BYTES: usize = 24 << 10;

/// One image's dkernel\[r, k\] += Σ over pixels (i, j) of
/// x[i·x_row + j·x_pixel + r·kernel_row + k] · dy[i·dy_row + j·channels], a vector of
/// `channels`, for k < `inner`.
pub struct WeightGradient<'a, T> {
    pub(super) x: &'a [T],
    pub(super) x_row: usize,
    pub(super) x_pixel: usize,
    pub(super) kernel_rows: usize,
    pub(super) kernel_row: usize,
    pub(super) inner: usize,
    pub(super) dy: &'a [T],
    pub(super) dy_row: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    pub(super) dkernel: &'a mut [T],
    /// x and y are those of x and of dy, the weights those of dkernel.
    pub(super) repeats: Repeats,
    /// What is read or written next.
    pub(super) ahead: Stretches<'a, T>,
}

impl<T: Real> WeightGradient<'_, T> {
    pub(super) fn check(&self) {
        assert!(self.rows > 0 && self.columns > 0, "conv: no pixels");
        let (i, j) = (self.rows - 1, self.columns - 1);
        let below = self.kernel_rows.saturating_sub(1) * self.kernel_row;
        let repeats = self.repeats;
        assert!(repeats.times > 0, "conv: nothing to do");
        let x = i * self.x_row + j * self.x_pixel + below + repeats.reach(repeats.x);
        assert!(x + self.inner <= self.x.len(), "conv: reads beyond x");
        let dy = i * self.dy_row + j * self.channels + self.channels;
        let dy = dy + repeats.reach(repeats.y);
        assert!(dy <= self.dy.len(), "conv: reads beyond dy");
        let kernel = self.kernel_rows * self.inner * self.channels;
        let kernel = kernel + repeats.reach(repeats.weights);
        assert_eq!(kernel, self.dkernel.len(), "conv: length of dkernel");
    }

    /// Rows of a block, so that what it reads of x and dy stays in L1.
    pub(super) fn block(&self) -> usize {
        let above = self.kernel_rows.saturating_sub(1) * self.kernel_row;
        let room = (BLOCK_BYTES / size_of::<T>()).saturating_sub(above);
        strip(self.rows, (room / (self.x_row + self.dy_row)).max(1))
    }
}

impl<T: Real> Kernel<T> for WeightGradient<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        self.check();
        if self.inner == 0 {
            return;
        }
        let dkernel = self.dkernel.as_mut_ptr();
        let block = self.block();
        let panels = self.channels.div_ceil(NV * L::WIDTH);
        let strips = self.inner.div_ceil(limit::<T, L>(WEIGHTS, NV));
        let times = self.repeats.times * self.rows * panels * self.kernel_rows * strips;
        let mut ahead = Ahead::of(self.ahead, times);
        let blocks = (0..self.rows).step_by(block);
        let repeats = (0..self.repeats.times).flat_map(|n| blocks.clone().map(move |i| (n, i)));
        for (repeat, i) in repeats {
            for channel in (0..self.channels).step_by(NV * L::WIDTH) {
                let channels = (NV * L::WIDTH).min(self.channels - channel);
                let registers = channels.div_ceil(L::WIDTH);
                let weights = strip(self.inner, limit::<T, L>(WEIGHTS, registers));
                let whole = self.inner / weights * weights;
                for r in 0..self.kernel_rows {
                    for (k, weights) in
                        [(0..whole, weights), (whole..self.inner, self.inner - whole)]
                    {
                        if k.is_empty() {
                            continue;
                        }
                        let x = i * self.x_row + r * self.kernel_row + k.start;
                        let x = x + repeat * self.repeats.x;
                        let dy = i * self.dy_row + channel + repeat * self.repeats.y;
                        let row = (r * self.inner + k.start) * self.channels;
                        let row = row + repeat * self.repeats.weights;
                        let tiles = OuterTiles {
                            x: self.x.as_ptr().wrapping_add(x),
                            x_row: self.x_row,
                            x_pixel: self.x_pixel,
                            inner: k.len(),
                            dy: self.dy.as_ptr().wrapping_add(dy),
                            dy_row: self.dy_row,
                            dy_pixel: self.channels,
                            rows: block.min(self.rows - i),
                            columns: self.columns,
                            channels,
                            dkernel: dkernel.wrapping_add(row + channel),
                            ahead,
                        };
                        ahead = ahead.after(tiles.rows * k.len() / weights);
                        // SAFETY: `check` has compared what rows, columns, k and channels
                        // reach with the slices. `weights` divides k, or is all of it, and `limit` bounds it;
                        // at most NV registers of channels are taken.
                        unsafe { tiles.run(lanes, weights, registers) }
                    }
                }
            }
        }
    }
}

/// The tiles of some rows of the image, one row of the kernel, some k and some channels: as
/// [`WeightGradient`], from the first of these on.
#[derive(Clone, Copy)]
pub(super) struct OuterTiles<T> {
    pub(super) x: *const T,
    pub(super) x_row: usize,
    pub(super) x_pixel: usize,
    pub(super) inner: usize,
    pub(super) dy: *const T,
    pub(super) dy_row: usize,
    pub(super) dy_pixel: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    pub(super) dkernel: *mut T,
    /// Fetched for every row of every tile.
    pub(super) ahead: Ahead<T>,
}

impl<T: Real> OuterTiles<T> {
    /// Runs the kernel compiled for this number of weights and registers.
    ///
    /// # Safety
    /// What [`WeightGradient`]'s formula reads and writes for these rows, columns, k and
    /// channels is readable and writable. `weights` divides `inner` and is 1 to [`WEIGHTS`];
    /// `registers`, 1 or 2, hold the channels, the last of them at least one.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes<T>>(self, lanes: L, weights: usize, registers: usize) {
        macro_rules! pick {
            ($($m:literal)*) => {
                match (weights, registers) {
                    $(($m, 1) => lanes.call(Weights::<T, $m, 1>(self)),
                      ($m, _) => lanes.call(Weights::<T, $m, NV>(self)),)*
                    _ => unreachable!("a tile has 1 to 12 weights"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// Tiles of M weights by V registers of channels.
///
/// Built by [`OuterTiles::run`] only, whose contract `run` relies on.
pub(super) struct Weights<T, const M: usize, const V: usize>(pub(super) OuterTiles<T>);

impl<T: Real, const M: usize, const V: usize> Kernel<T> for Weights<T, M, V> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if const { M > limit::<T, L>(WEIGHTS, V) } {
            unreachable!("the tile does not fit the registers");
        }
        let job = self.0;
        let mut ahead = job.ahead;
        let full = lanes.first(L::WIDTH);
        let tail = lanes.first(job.channels - (V - 1) * L::WIDTH);
        let mask = |v| if v + 1 < V { full } else { tail };
        for k in (0..job.inner).step_by(M) {
            let mut sums = [[lanes.splat(T::zero()); V]; M];
            for i in 0..job.rows {
                ahead.fetch();
                let mut x = job.x.wrapping_add(i * job.x_row + k);
                let mut dy = job.dy.wrapping_add(i * job.dy_row);
                for _ in 0..job.columns {
                    let mut pixel = [lanes.splat(T::zero()); V];
                    for (v, pixel) in pixel.iter_mut().enumerate() {
                        // SAFETY: the channels of the mask of a pixel of dy.
                        *pixel = unsafe { lanes.load_masked(mask(v), dy.add(v * L::WIDTH)) };
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: element k + m under the kernel's row, for this pixel.
                        let x = lanes.splat(unsafe { *x.add(m) });
                        for v in 0..V {
                            sums[v] = lanes.mul_add(x, pixel[v], sums[v]);
                        }
                    }
                    x = x.wrapping_add(job.x_pixel);
                    dy = dy.wrapping_add(job.dy_pixel);
                }
            }
            for (m, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    // SAFETY: the channels of the mask of weight k + m.
                    unsafe {
                        let row = (k + m) * job.dy_pixel + v * L::WIDTH;
                        let old = lanes.load_masked(mask(v), job.dkernel.add(row));
                        lanes.store_masked(mask(v), job.dkernel.add(row), lanes.add(old, sum));
                    }
                }
            }
        }
    }
}
