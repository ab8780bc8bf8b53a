//! Max pooling: y is the largest element of each window × window patch of an image,
//! channel by channel, with no padding (VALID in TensorFlow).
//!
//! dx += dy at the first of the window's largest elements, in row-major order.

use crate::kernels::pool::Windows;
use crate::memory::{Buffer, empty, scratch};
use crate::parallel::{chunks_of, for_each};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct MaxPool<T> {
    windows: Windows,
    /// By element of y: which of the window's elements it is, for the derivative. A
    /// number of the type of y, so that both are compared and moved in step.
    argmax: Buffer<T>,
}

impl<T: Real> Op<T> for MaxPool<T> {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let Windows { window, stride, .. } = self.windows;
        self.windows = Windows::of::<T>(inputs[0], window, stride)?;
        let Windows { batch, output, .. } = self.windows;
        self.argmax = scratch([batch * output.elements()])?;
        Ok(self.windows.shape())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (x, windows) = (&x[0], self.windows);
        let (from, to) = (windows.input.elements(), windows.output.elements());
        let images = (chunks_of(y, to), chunks_of(&mut self.argmax, to));
        for_each(windows.batch, images, |image, (y, argmax)| {
            windows.pool(&x[image * from..][..from], y, argmax);
        });
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let windows = self.windows;
        let (from, to) = (windows.input.elements(), windows.output.elements());
        let (values, term) = dx.parts();
        for_each(windows.batch, chunks_of(values, from), |image, values| {
            let of_image = image * to..(image + 1) * to;
            let (argmax, dy) = (&self.argmax[of_image.clone()], &dy[of_image]);
            windows.unpool(argmax, dy, values, term);
        });
    }
}

impl<T: Real> Var<'_, T> {
    /// The largest element of each `window` × `window` patch of the images x:
    /// \[batch, height, width, channels\], for patches `stride` apart:
    /// \[batch, ⌊(height − window)/stride⌋ + 1, ⌊(width − window)/stride⌋ + 1, channels\]. There is no padding: rows and columns that fill no window are left out. A patch with a NaN
    /// in it gives NaN, and the first of them gets the gradient.
    #[track_caller]
    pub fn max_pool2d(self, window: usize, stride: usize) -> Self {
        let windows = Windows {
            window,
            stride,
            ..Windows::default()
        };
        let argmax = empty();
        self.graph().apply(MaxPool { windows, argmax }, &[self])
    }

    /// The mean of each channel over the whole image: \[batch, height, width,
    /// channels\] to \[batch, channels\].
    #[track_caller]
    pub fn global_average_pool(self) -> Self {
        self.mean_over(&[1, 2])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{
        assert_close, assert_gradients, error_of, evaluate, numbers, value_and_gradient,
    };

    #[test]
    fn value() {
        // Two channels: the second is the first, negated.
        let row = |a: [f64; 3]| a.map(|x| [x, -x]).concat();
        let x = [
            row([1.0, 5.0, 2.0]),
            row([7.0, 3.0, 4.0]),
            row([0.0, 6.0, 8.0]),
        ]
        .concat();
        let x: (&[usize], &[f64]) = (&[1, 3, 3, 2], &x);
        let overlapping = evaluate(&[x], |v| v[0].max_pool2d(2, 1));
        let expected = [7.0, -1.0, 5.0, -2.0, 7.0, 0.0, 8.0, -3.0];
        assert_close(&overlapping, &expected, 0.0, "stride 1");
        let apart = evaluate(&[x], |v| v[0].max_pool2d(2, 2));
        assert_close(&apart, &[7.0, -1.0], 0.0, "stride 2");
        let mean = evaluate(&[x], |v| v[0].global_average_pool());
        assert_close(&mean, &[4.0, -4.0], 0.0, "mean");
    }

    #[test]
    fn gradients() {
        // Tiles, overlaps, gaps, and rows and columns that are left out.
        for (window, stride) in [(2, 2), (3, 3), (2, 1), (3, 2), (1, 2)] {
            for [height, width, channels] in [[6, 6, 3], [5, 7, 1], [4, 4, 18]] {
                let x = numbers(2 * height * width * channels);
                let x: (&[usize], &[f64]) = (&[2, height, width, channels], &x);
                assert_gradients(&[x], |v| v[0].max_pool2d(window, stride));
                assert_gradients(&[x], |v| {
                    v[0].max_pool2d(window, stride).sum() + v[0].square().sum()
                });
                assert_gradients(&[x], |v| v[0].global_average_pool());
            }
        }
    }

    #[test]
    fn agrees_with_naive_loops() {
        for (window, stride) in [(2, 2), (3, 3), (2, 1), (3, 2), (1, 2)] {
            for [h, w, channels] in [[6, 6, 3], [5, 7, 1], [4, 4, 18]] {
                let x = numbers(2 * h * w * channels);
                let y = evaluate(&[(&[2, h, w, channels], &x)], |v| {
                    v[0].max_pool2d(window, stride)
                });
                let [rows, columns] = [h, w].map(|extent| (extent - window) / stride + 1);
                let of_window = |at: usize| {
                    let (c, j) = (at % channels, at / channels % columns);
                    let (i, n) = (
                        at / channels / columns % rows,
                        at / channels / columns / rows,
                    );
                    let pixel = |k: usize| {
                        let (a, b) = (i * stride + k / window, j * stride + k % window);
                        x[((n * h + a) * w + b) * channels + c]
                    };
                    let pixels = (0..window * window).map(pixel);
                    pixels.fold(f64::NEG_INFINITY, f64::max)
                };
                let expected: Vec<f64> =
                    (0..2 * rows * columns * channels).map(of_window).collect();
                assert_eq!(y, expected, "{window} {stride} of {h}×{w}×{channels}");
            }
        }
    }

    /// The gradients of a sum of maxima.
    fn gradient(shape: [usize; 4], x: &[f64], window: usize) -> Vec<f64> {
        value_and_gradient(&[(&shape, x)], |v| v[0].max_pool2d(window, window).sum()).1
    }

    #[test]
    fn the_first_of_equals_gets_the_gradient() {
        let grads = gradient([1, 2, 4, 1], &[0.0, 3.0, 1.0, 1.0, 3.0, 3.0, 1.0, 1.0], 2);
        assert_eq!(grads, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradient([1, 3, 3, 1], &[1.0; 9], 2)[..3], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_number_that_is_none_stays_none() {
        let x = [1.0, f64::NAN, 5.0, 2.0];
        let y = evaluate(&[(&[1, 2, 2, 1], &x)], |v| v[0].max_pool2d(2, 2));
        assert!(y[0].is_nan());
    }

    #[test]
    fn the_first_of_several_nans_gets_the_gradient() {
        let x = [1.0, f64::NAN, f64::NAN, f64::INFINITY];
        assert_eq!(gradient([1, 2, 2, 1], &x, 2), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn windows_that_do_not_fit_are_errors() {
        for (window, stride) in [(0, 1), (2, 0), (4, 1)] {
            let error = error_of(|g| g.input([1, 3, 20, 2]).max_pool2d(window, stride));
            assert!(error.starts_with("max_pool2d of [1, 3, 20, 2]"), "{error}");
        }
    }

    /// Of no channel, so that an image that large takes no memory.
    #[test]
    fn windows_whose_elements_f32_does_not_number_are_errors() {
        let record = |window| {
            crate::record::<f32, 1>(|g| {
                Ok([g.input([1, 3000, 3000, 0]).max_pool2d(window, window)])
            })
        };
        assert!(record(2896).is_ok());
        let error = record(2897).unwrap_err().to_string();
        assert!(
            error.contains("f32 tells 8388608 elements of a window apart"),
            "{error}"
        );
    }
}
