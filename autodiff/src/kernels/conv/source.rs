//! Where a pass takes its images from: a tensor as it is, or a function of tensors that is
//! computed while an image is copied amid its zeros, and never written as a whole.

use super::geometry::{Frame, Image, image};
use crate::kernels::channels::{Gradients, Normaliser};
use crate::kernels::pool::Windows;
use crate::kernels::simd::dispatched;
use crate::kernels::{Real, Term};
use std::ops::Range;

/// The images that a pass of a convolution reads.
pub trait Source<T>: Sync {
    /// Whether it has so many images of `len` elements.
    fn is(&self, images: usize, len: usize) -> bool;

    /// The n-th image with the zeros of `frame`, in place or in `scratch`.
    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T>;

    /// What is read for these images of `len` elements, to be fetched ahead of time; less if
    /// there are not so many.
    fn memory(&self, len: usize, images: Range<usize>) -> [&[T]; 2];
}

/// These images of `len` elements; fewer if there are not so many.
pub(super) fn images_of<T>(tensor: &[T], len: usize, images: Range<usize>) -> &[T] {
    let place = |n: usize| (n * len).min(tensor.len());
    &tensor[place(images.start)..place(images.end)]
}

/// A tensor.
impl<T: Real> Source<T> for &[T] {
    fn is(&self, images: usize, len: usize) -> bool {
        self.len() == images * len
    }

    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
        let image = image(self, frame.image(), n);
        if !frame.has_zeros() {
            return frame.plain(image);
        }
        let row = frame.row();
        frame.fill(scratch, |to, from| {
            to.copy_from_slice(&image[from..][..to.len()])
        });
        Image { data: scratch, row }
    }

    fn memory(&self, len: usize, images: Range<usize>) -> [&[T]; 2] {
        [images_of(self, len, images), &[]]
    }
}

/// dy where y > 0: what a ReLU whose result is y lets through.
pub(crate) struct Passed<'a, T> {
    pub(crate) y: &'a [T],
    pub(crate) dy: &'a [T],
}

impl<T: Real> Source<T> for Passed<'_, T> {
    fn is(&self, images: usize, len: usize) -> bool {
        self.y.is(images, len) && self.dy.is(images, len)
    }

    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
        let [y, dy] = [self.y, self.dy].map(|tensor| image(tensor, frame.image(), n));
        dispatched!(
            #[inline(always)]
            || {
                frame.fill(
                    scratch,
                    #[inline(always)]
                    |to, from| {
                        let source = y[from..][..to.len()].iter().zip(&dy[from..][..to.len()]);
                        for (to, (&y, &dy)) in to.iter_mut().zip(source) {
                            *to = if y > T::zero() { dy } else { T::zero() };
                        }
                    },
                );
            },
        );
        let row = frame.row();
        Image { data: scratch, row }
    }

    fn memory(&self, len: usize, images: Range<usize>) -> [&[T]; 2] {
        [self.y, self.dy].map(|tensor| images_of(tensor, len, images.clone()))
    }
}

/// What a normaliser makes of x.
pub(crate) struct Normalised<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) by: &'a Normaliser<T>,
}

impl<T: Real> Source<T> for Normalised<'_, T> {
    fn is(&self, images: usize, len: usize) -> bool {
        self.x.is(images, len)
    }

    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
        let x = image(self.x, frame.image(), n);
        dispatched!(
            #[inline(always)]
            || {
                frame.fill(
                    scratch,
                    #[inline(always)]
                    |to, from| self.by.write(&x[from..][..to.len()], to),
                );
            },
        );
        let row = frame.row();
        Image { data: scratch, row }
    }

    fn memory(&self, len: usize, images: Range<usize>) -> [&[T]; 2] {
        [images_of(self.x, len, images), &[]]
    }
}

/// The gradient of what was [`Normalised`], by x, for dy the gradient of the result.
pub(crate) struct NormalisedGradient<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) dy: &'a [T],
    pub(crate) of: &'a Normaliser<T>,
    pub(crate) by: &'a Gradients<T>,
}

impl<T: Real> Source<T> for NormalisedGradient<'_, T> {
    fn is(&self, images: usize, len: usize) -> bool {
        self.x.is(images, len) && self.dy.is(images, len)
    }

    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
        let [x, dy] = [self.x, self.dy].map(|tensor| image(tensor, frame.image(), n));
        dispatched!(
            #[inline(always)]
            || {
                frame.fill(
                    scratch,
                    #[inline(always)]
                    |to, from| {
                        let operands = [x, dy].map(|tensor| &tensor[from..][..to.len()]);
                        self.by.write(self.of, operands, to, Term::First);
                    },
                );
            },
        );
        let row = frame.row();
        Image { data: scratch, row }
    }

    fn memory(&self, len: usize, images: Range<usize>) -> [&[T]; 2] {
        [self.x, self.dy].map(|tensor| images_of(tensor, len, images.clone()))
    }
}

/// The gradient of what was [pooled](Windows::pool), for dy that of the result.
pub(crate) struct Unpooled<'a, T> {
    pub(crate) windows: &'a Windows,
    pub(crate) argmax: &'a [T],
    pub(crate) dy: &'a [T],
}

impl<T: Real> Source<T> for Unpooled<'_, T> {
    fn is(&self, images: usize, len: usize) -> bool {
        let Windows { input, output, .. } = self.windows;
        let pooled = output.elements();
        len == input.elements() && self.dy.is(images, pooled) && self.argmax.is(images, pooled)
    }

    fn padded<'a>(&'a self, n: usize, frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
        let pooled = self.windows.output.elements();
        let [argmax, dy] = [self.argmax, self.dy].map(|tensor| image(tensor, pooled, n));
        let row = frame.columns.image * frame.channels;
        dispatched!(
            #[inline(always)]
            || {
                frame.fill(
                    scratch,
                    #[inline(always)]
                    |to, from| self.windows.unpool_row(argmax, dy, from / row, to),
                );
            },
        );
        let row = frame.row();
        Image { data: scratch, row }
    }

    fn memory(&self, _: usize, images: Range<usize>) -> [&[T]; 2] {
        let len = self.windows.output.elements();
        [self.argmax, self.dy].map(|tensor| images_of(tensor, len, images.clone()))
    }
}
