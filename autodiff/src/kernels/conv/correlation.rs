//! The kernel of the forward pass and of the input gradient.

use super::PANEL;
use super::tiles::{Ahead, Stretches, limit, strip};
use crate::kernels::Real;
use crate::kernels::Term;
use crate::kernels::simd::{Kernel, Lanes, own_name};

/// Most pixels of a forward tile.
const PIXELS: usize = 8;
/// Registers across a tile.
pub(super) const NV: usize = 2;

/// One image's y[i, j] = Σ over kernel rows r and k < `inner` of
/// x[i·x_row + j·x_pixel + r·kernel_row + k] · panels[r·inner + k], a vector of `channels`.
pub struct Correlation<'a, T> {
    pub(super) x: &'a [T],
    pub(super) x_row: usize,
    pub(super) x_pixel: usize,
    pub(super) kernel_rows: usize,
    pub(super) kernel_row: usize,
    pub(super) inner: usize,
    pub(super) panels: &'a [T],
    pub(super) y: &'a mut [T],
    pub(super) y_row: usize,
    pub(super) y_pixel: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    pub(super) term: Term,
    /// A bias, to which the sums are added before what is negative becomes 0.
    pub(super) bias_relu: Option<&'a [T]>,
    pub(super) repeats: Repeats,
    /// What is read or written next.
    pub(super) ahead: Stretches<'a, T>,
}

/// The same sums of other numbers: how many times in all, and how far apart these lie.
#[derive(Clone, Copy)]
pub(super) struct Repeats {
    pub(super) times: usize,
    pub(super) x: usize,
    pub(super) weights: usize,
    pub(super) y: usize,
}

impl Repeats {
    pub(super) const NONE: Self = Self {
        times: 1,
        x: 0,
        weights: 0,
        y: 0,
    };

    /// Elements from the first to the last.
    pub(super) fn reach(&self, apart: usize) -> usize {
        (self.times - 1) * apart
    }
}

impl<T: Real> Correlation<'_, T> {
    pub(super) fn check(&self) {
        let last = |row: usize, pixel: usize| (self.rows - 1) * row + (self.columns - 1) * pixel;
        assert!(self.rows > 0 && self.columns > 0, "conv: no pixels");
        let repeats = self.repeats;
        assert!(repeats.times > 0, "conv: nothing to do");
        let depth = self.kernel_rows * self.inner;
        if depth > 0 {
            let x = last(self.x_row, self.x_pixel) + (self.kernel_rows - 1) * self.kernel_row;
            let x = x + repeats.reach(repeats.x);
            assert!(x + self.inner <= self.x.len(), "conv: reads beyond x");
        }
        let y = last(self.y_row, self.y_pixel) + self.channels + repeats.reach(repeats.y);
        assert!(y <= self.y.len(), "conv: writes beyond y");
        let panels = depth * self.channels.next_multiple_of(PANEL);
        let panels = panels + repeats.reach(repeats.weights);
        assert!(panels <= self.panels.len(), "conv: reads beyond the panels");
        let bias = self.bias_relu.map_or(self.channels, |bias| bias.len());
        assert_eq!(bias, self.channels, "conv: length of the bias");
    }
}

impl<T: Real> Kernel<T> for Correlation<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        self.check();
        let y = self.y.as_mut_ptr();
        let Repeats { times, .. } = self.repeats;
        // Of more channels than a panel has, one repeat's x is read for all while it is in L1.
        let (apart, at_once) = match self.channels <= NV * L::WIDTH {
            true => (1, times),
            false => (times, 1),
        };
        let shape = |channel| {
            let channels = (NV * L::WIDTH).min(self.channels - channel);
            let registers = channels.div_ceil(L::WIDTH);
            let pixels = strip(self.columns, limit::<T, L>(PIXELS, registers));
            (channels, registers, pixels, self.columns / pixels * pixels)
        };
        let (.., pixels, whole) = shape(0);
        let mut ahead = Ahead::of(self.ahead, times * self.rows * (whole / pixels));
        for repeat in 0..apart {
            for channel in (0..self.channels).step_by(NV * L::WIDTH) {
                let (channels, registers, pixels, whole) = shape(channel);
                for (columns, pixels) in [
                    (0..whole, pixels),
                    (whole..self.columns, self.columns - whole),
                ] {
                    if columns.is_empty() {
                        continue;
                    }
                    let first = channel == 0 && columns.start == 0;
                    let x = repeat * self.repeats.x + columns.start * self.x_pixel;
                    let to = repeat * self.repeats.y + columns.start * self.y_pixel + channel;
                    let weights = repeat * self.repeats.weights;
                    let tiles = Tiles {
                        x: self.x.as_ptr().wrapping_add(x),
                        x_row: self.x_row,
                        x_pixel: self.x_pixel,
                        kernel_rows: self.kernel_rows,
                        kernel_row: self.kernel_row,
                        inner: self.inner,
                        panels: self.panels.as_ptr().wrapping_add(weights),
                        y: y.wrapping_add(to),
                        y_row: self.y_row,
                        y_pixel: self.y_pixel,
                        rows: self.rows,
                        columns: columns.len(),
                        channel,
                        channels,
                        term: self.term,
                        bias: self.bias_relu.map(|bias| bias[channel..].as_ptr()),
                        repeats: Repeats {
                            times: at_once,
                            ..self.repeats
                        },
                        ahead: if first { ahead } else { Ahead::nothing() },
                    };
                    // SAFETY: `check` has compared what rows, columns, channels and repeats
                    // reach with the slices. `pixels` divides `whole`, or is all of what is left, and `limit`
                    // bounds it; `channel` is a multiple of NV registers, and PANEL one of a register.
                    unsafe { tiles.run(lanes, pixels, registers) }
                }
            }
            ahead = ahead.after(self.rows * (whole / pixels));
        }
    }
}

/// The tiles of some columns and channels of an image: as [`Correlation`], from the first of
/// these on.
#[derive(Clone, Copy)]
pub(super) struct Tiles<T> {
    pub(super) x: *const T,
    pub(super) x_row: usize,
    pub(super) x_pixel: usize,
    pub(super) kernel_rows: usize,
    pub(super) kernel_row: usize,
    pub(super) inner: usize,
    pub(super) panels: *const T,
    pub(super) y: *mut T,
    pub(super) y_row: usize,
    pub(super) y_pixel: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channel: usize,
    pub(super) channels: usize,
    pub(super) term: Term,
    pub(super) bias: Option<*const T>,
    pub(super) repeats: Repeats,
    /// Fetched once a tile.
    pub(super) ahead: Ahead<T>,
}

impl<T: Real> Tiles<T> {
    /// Runs the kernel compiled for this number of pixels and registers.
    ///
    /// # Safety
    /// What [`Correlation`]'s formula reads and writes for these rows, columns, channels and repeats
    /// is readable and writable. `pixels` divides `columns` and is 1 to [`PIXELS`];
    /// `registers`, 1 or 2, hold the channels, the last of them at least one. Where weights begin
    /// is a multiple of a register, which divides [`PANEL`]: a load lies within one row of a panel.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes<T>>(self, lanes: L, pixels: usize, registers: usize) {
        macro_rules! pick {
            ($($p:literal)*) => {
                match (pixels, registers) {
                    $(($p, 1) => lanes.call(Pixels::<T, $p, 1>(self)),
                      ($p, _) => lanes.call(Pixels::<T, $p, NV>(self)),)*
                    _ => unreachable!("a tile has 1 to 8 pixels"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8)
    }
}

/// Tiles of P pixels by V registers of channels.
///
/// Built by [`Tiles::run`] only, whose contract `run` relies on.
pub(super) struct Pixels<T, const P: usize, const V: usize>(pub(super) Tiles<T>);

impl<T: Real, const P: usize, const V: usize> Kernel<T> for Pixels<T, P, V> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if const { P > limit::<T, L>(PIXELS, V) } {
            unreachable!("the tile does not fit the registers");
        }
        let job = self.0;
        let mut ahead = job.ahead;
        let zero = lanes.splat(T::zero());
        let depth = job.kernel_rows * job.inner;
        let pixels: [usize; P] = std::array::from_fn(|p| p * job.x_pixel);
        let panels: [*const T; V] = std::array::from_fn(|v| {
            let channel = job.channel + v * L::WIDTH;
            let start = channel / PANEL * depth * PANEL + channel % PANEL;
            job.panels.wrapping_add(start)
        });
        let full = lanes.first(L::WIDTH);
        let tail = lanes.first(job.channels - (V - 1) * L::WIDTH);
        let mask = |v| if v + 1 < V { full } else { tail };
        let mut start = [zero; V];
        if let Some(bias) = job.bias {
            for (v, start) in start.iter_mut().enumerate() {
                // SAFETY: the bias has the channels of the mask.
                *start = unsafe { lanes.load_masked(mask(v), bias.add(v * L::WIDTH)) };
            }
        }
        for repeat in 0..job.repeats.times {
            let [from, row, to] =
                [job.repeats.x, job.repeats.weights, job.repeats.y].map(|apart| repeat * apart);
            for i in 0..job.rows {
                for j in (0..job.columns).step_by(P) {
                    ahead.fetch();
                    let mut sums = [start; P];
                    let x = job.x.wrapping_add(from + i * job.x_row + j * job.x_pixel);
                    let mut weights = panels.map(|panel| panel.wrapping_add(row));
                    for r in 0..job.kernel_rows {
                        let mut x = x.wrapping_add(r * job.kernel_row);
                        for _ in 0..job.inner {
                            let mut w = [zero; V];
                            for (w, weights) in w.iter_mut().zip(&mut weights) {
                                // SAFETY: row r·inner + k of the panels, PANEL elements, of which a register is a part.
                                *w = unsafe { lanes.load(*weights) };
                                *weights = weights.wrapping_add(PANEL);
                            }
                            for (sums, &pixel) in sums.iter_mut().zip(&pixels) {
                                // SAFETY: element k under row r of the kernel, for this pixel.
                                let x = lanes.splat(unsafe { *x.add(pixel) });
                                for v in 0..V {
                                    sums[v] = lanes.mul_add(x, w[v], sums[v]);
                                }
                            }
                            x = x.wrapping_add(1);
                        }
                    }
                    let y = job.y.wrapping_add(to + i * job.y_row + j * job.y_pixel);
                    for (p, sums) in sums.into_iter().enumerate() {
                        for (v, mut sum) in sums.into_iter().enumerate() {
                            // SAFETY: the channels of the mask of pixel (i, j + p) of y.
                            unsafe {
                                let y = y.add(p * job.y_pixel + v * L::WIDTH);
                                if job.term == Term::Further {
                                    sum = lanes.add(lanes.load_masked(mask(v), y), sum);
                                }
                                if job.bias.is_some() {
                                    sum = lanes.max(zero, sum);
                                }
                                lanes.store_masked(mask(v), y, sum);
                            }
                        }
                    }
                }
            }
        }
    }
}
