//! The largest element of each window of an image.

use super::simd::dispatched;
use super::{Real, Term};

/// Where the windows of a batch of images lie.
#[derive(Clone, Copy, Default)]
pub(crate) struct Windows {
    pub(crate) window: usize,
    pub(crate) stride: usize,
    pub(crate) batch: usize,
    pub(crate) input: Image,
    pub(crate) output: Image,
}

/// The extents of one image, channels innermost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Image {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Image {
    pub(crate) fn elements(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Windows {
    /// Calls `f` with the start of every pixel of y, and of its window in x.
    #[inline(always)]
    pub(crate) fn pixels(&self, mut f: impl FnMut(usize, usize)) {
        let Self {
            stride,
            input,
            output,
            ..
        } = *self;
        for i in 0..output.height {
            for j in 0..output.width {
                let pixel = i * output.width + j;
                let corner = i * stride * input.width + j * stride;
                f(pixel * input.channels, corner * input.channels);
            }
        }
    }

    /// Distance of the k-th element of a window from its first.
    #[inline(always)]
    pub(crate) fn offset(&self, k: usize) -> usize {
        (k / self.window * self.input.width + k % self.window) * self.input.channels
    }

    /// Whether every element of x is in exactly one window.
    #[inline(always)]
    pub(crate) fn tiles(&self) -> bool {
        let Self { window, input, .. } = *self;
        self.stride == window
            && input.height.is_multiple_of(window)
            && input.width.is_multiple_of(window)
    }

    /// y and argmax of one image.
    pub(crate) fn pool<T: Real>(&self, x: &[T], y: &mut [T], argmax: &mut [T]) {
        let channels = self.input.channels;
        dispatched!(
            #[inline(always)]
            || {
                self.pixels(
                    #[inline(always)]
                    |pixel, corner| {
                        let y = &mut y[pixel..][..channels];
                        let argmax = &mut argmax[pixel..][..channels];
                        y.copy_from_slice(&x[corner..][..channels]);
                        argmax.fill(T::zero());
                        for k in 1..self.window * self.window {
                            let number = T::nearest(k as f64);
                            let x = &x[corner + self.offset(k)..][..channels];
                            for ((y, argmax), &x) in y.iter_mut().zip(argmax.iter_mut()).zip(x) {
                                // The first NaN wins: nothing is larger than it.
                                let larger = (x > *y) | (x.is_nan() & !y.is_nan());
                                *y = if larger { x } else { *y };
                                *argmax = if larger { number } else { *argmax };
                            }
                        }
                    },
                )
            },
        );
    }

    /// dx of one image.
    pub(crate) fn unpool<T: Real>(&self, argmax: &[T], dy: &[T], dx: &mut [T], term: Term) {
        let channels = self.input.channels;
        let overwrite = term == Term::First && self.tiles();
        if term == Term::First && !overwrite {
            dx.fill(T::zero());
        }
        dispatched!(
            #[inline(always)]
            || {
                self.pixels(
                    #[inline(always)]
                    |pixel, corner| {
                        let (argmax, dy) = (&argmax[pixel..][..channels], &dy[pixel..][..channels]);
                        for k in 0..self.window * self.window {
                            let number = T::nearest(k as f64);
                            let dx = &mut dx[corner + self.offset(k)..][..channels];
                            for ((dx, &argmax), &dy) in dx.iter_mut().zip(argmax).zip(dy) {
                                let share = if argmax == number { dy } else { T::zero() };
                                *dx = if overwrite { share } else { *dx + share };
                            }
                        }
                    },
                )
            },
        );
    }
}
