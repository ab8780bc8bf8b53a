//! The largest element of each window of an image.

use super::simd::dispatched;
use super::strided::exceeds;
use super::{Real, Term};
use crate::Shape;

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
    /// Windows of the images x: \[batch, height, width, channels\], or what is wrong with them.
    /// `T` is to hold the number of an element in its window.
    pub(crate) fn of<T: Real>(x: Shape, window: usize, stride: usize) -> Result<Self, String> {
        let [batch, height, width, channels] = (*x)
            .try_into()
            .map_err(|_| format!("expected 4 axes, found {}", x.rank()))?;
        if window == 0 || stride == 0 {
            return Err(format!(
                "expected a window and a stride of at least 1, found {window} and {stride}"
            ));
        }
        if height < window || width < window {
            return Err(format!(
                "the {window}×{window} window is larger than the image"
            ));
        }
        let exact = T::one() / T::epsilon();
        if T::nearest((window as f64).powi(2)) > exact {
            return Err(format!(
                "{} tells {exact} elements of a window apart, but a {window}×{window} window has more: \
                 take a smaller one, or f64",
                T::NAME
            ));
        }
        let outputs = |extent: usize| (extent - window) / stride + 1;
        Ok(Self {
            window,
            stride,
            batch,
            input: Image {
                height,
                width,
                channels,
            },
            output: Image {
                height: outputs(height),
                width: outputs(width),
                channels,
            },
        })
    }

    /// The shape of y.
    pub(crate) fn shape(&self) -> Shape {
        let Image {
            height,
            width,
            channels,
        } = self.output;
        Shape::from([self.batch, height, width, channels])
    }

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
                                let larger = exceeds(x, *y);
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

    /// A row of dx of one image, as far as `dx` goes, where windows do not overlap: of each
    /// window the element `argmax` gets dy, and none where that is no element's number.
    #[inline(always)]
    pub(crate) fn unpool_row<T: Real>(&self, argmax: &[T], dy: &[T], row: usize, dx: &mut [T]) {
        let Self { window, output, .. } = *self;
        let channels = output.channels;
        let above = row / window;
        let pixels = dx.chunks_exact_mut(channels.max(1)).enumerate();
        for (column, dx) in pixels {
            let pixel = column / window;
            if above >= output.height || pixel >= output.width {
                dx.fill(T::zero());
                continue;
            }
            let number = T::nearest((row % window * window + column % window) as f64);
            let at = (above * output.width + pixel) * channels;
            let terms = argmax[at..][..channels].iter().zip(&dy[at..][..channels]);
            for (dx, (&argmax, &dy)) in dx.iter_mut().zip(terms) {
                *dx = if argmax == number { dy } else { T::zero() };
            }
        }
    }
}
