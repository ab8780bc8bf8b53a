//! 2-D convolution (cross-correlation) of images in NHWC with kernels in HWIO.

use super::elementwise::dispatch;
use crate::Real;

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
    /// The taps of output position `o` that hit the input, each with what it hits.
    #[inline(always)]
    fn taps(self, o: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = o * self.stride;
        (0..self.kernel).filter_map(move |tap| {
            let input = (first + tap).checked_sub(self.before)?;
            (input < self.input).then_some((tap, input))
        })
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
    /// Calls `f` with the start of every pair of pixels of x and y that a tap joins, and of
    /// that tap's matrix \[ci, co\].
    #[inline(always)]
    fn joined(&self, mut f: impl FnMut(usize, usize, usize)) {
        let Self {
            batch,
            rows,
            columns,
            ci,
            co,
        } = *self;
        for n in 0..batch {
            for oy in 0..rows.output {
                for ox in 0..columns.output {
                    let y = ((n * rows.output + oy) * columns.output + ox) * co;
                    for (ky, iy) in rows.taps(oy) {
                        for (kx, ix) in columns.taps(ox) {
                            let x = ((n * rows.input + iy) * columns.input + ix) * ci;
                            f(x, y, (ky * columns.kernel + kx) * ci * co);
                        }
                    }
                }
            }
        }
    }

    /// y += x ∗ kernel
    pub fn forward<T: Real>(&self, x: &[T], kernel: &[T], y: &mut [T]) {
        let (ci, co) = (self.ci, self.co);
        dispatch(
            #[inline(always)]
            || {
                self.joined(
                    #[inline(always)]
                    |i, o, k| {
                        let y = &mut y[o..][..co];
                        let weights = kernel[k..][..ci * co].chunks_exact(co.max(1));
                        for (&x, w) in x[i..][..ci].iter().zip(weights) {
                            y.iter_mut().zip(w).for_each(|(y, &w)| *y += x * w);
                        }
                    },
                );
            },
        );
    }

    /// dx += dy ∗ the kernel's transpose
    pub fn input_gradient<T: Real>(&self, kernel: &[T], dy: &[T], dx: &mut [T]) {
        let (ci, co) = (self.ci, self.co);
        self.joined(|i, o, k| {
            let dy = &dy[o..][..co];
            let weights = kernel[k..][..ci * co].chunks_exact(co.max(1));
            for (dx, w) in dx[i..][..ci].iter_mut().zip(weights) {
                *dx += dy.iter().zip(w).map(|(&dy, &w)| dy * w).sum();
            }
        });
    }

    /// dkernel += x ∗ dy
    pub fn weight_gradient<T: Real>(&self, x: &[T], dy: &[T], dkernel: &mut [T]) {
        let (ci, co) = (self.ci, self.co);
        dispatch(
            #[inline(always)]
            || {
                self.joined(
                    #[inline(always)]
                    |i, o, k| {
                        let dy = &dy[o..][..co];
                        let dw = dkernel[k..][..ci * co].chunks_exact_mut(co.max(1));
                        for (&x, dw) in x[i..][..ci].iter().zip(dw) {
                            dw.iter_mut().zip(dy).for_each(|(dw, &dy)| *dw += x * dy);
                        }
                    },
                );
            },
        );
    }
}
