//! 2-D convolution + bias + ReLU + max pooling by windows that do not overlap, as one node:
//!
//! ```text
//! y[n, i, j, o] = max over a, b < window of z[n, i·window + a, j·window + b, o]
//! z = max(x ∗ k + bias, 0)
//! ```
//!
//! dz is dy at the first of a window's largest elements if that is above 0, and 0 elsewhere;
//! from there on it is [`conv2d`](super::conv2d).
//!
//! An image of z is pooled while it is in cache and then forgotten, and of dz one is made while a
//! convolution copies it amid its zeros. Neither tensor is ever written, and they are window² times
//! as large as y.

use super::axes;
use super::conv2d::{Padding, add_up, geometry};
use crate::kernels::pool::Windows;
use crate::kernels::{Convolution, Epilogue, Unpooled, Wanted};
use crate::memory::{Buffer, empty, zeros_of};
use crate::parallel::chunks_of;
use crate::{Gradient, Gradients, Inputs, Op, Real, Shape, Var};

struct Conv2dMaxPool<T> {
    stride: usize,
    padding: Padding,
    winograd: bool,
    convolution: Convolution<T>,
    windows: Windows,
    /// By element of y: which of its window's elements it is; −1 where the ReLU stops dy.
    argmax: Buffer<T>,
}

impl<T: Real> Op<T> for Conv2dMaxPool<T> {
    fn name(&self) -> &'static str {
        "conv2d_bias_relu_max_pool"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (conv, z) = geometry(
            inputs[0],
            inputs[1],
            self.stride,
            self.padding,
            self.winograd,
        )?;
        if axes(inputs[2])? != [conv.co] {
            let channels = conv.co;
            return Err(format!(
                "expected a bias of shape [{channels}], one for each output channel"
            ));
        }
        self.convolution = Convolution::new(conv)?;
        self.windows = Windows::of::<T>(z, self.windows.window, self.windows.window)?;
        let y = self.windows.shape();
        self.argmax = zeros_of(y).ok_or("memory cannot hold the places of the largest elements")?;
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (windows, per) = (self.windows, self.convolution.per_chunk());
        let len = windows.output.elements();
        let pooled = (
            chunks_of(y, per * len),
            chunks_of(&mut self.argmax, per * len),
        );
        let bias = Epilogue::BiasRelu(&x[2]);
        self.convolution.forward_from(
            &&x[0],
            &x[1],
            bias,
            &mut [],
            &[],
            pooled,
            |n, z, (y, argmax)| {
                let at = n % per * len;
                let (y, argmax) = (&mut y[at..][..len], &mut argmax[at..][..len]);
                windows.pool(z, y, argmax);
                for (argmax, &y) in argmax.iter_mut().zip(&*y) {
                    *argmax = if y > T::zero() { *argmax } else { -T::one() };
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let wanted = Wanted {
            kernel: dx.wants(1),
            bias: dx.wants(2),
        };
        let dz = Unpooled {
            windows: &self.windows,
            argmax: &self.argmax,
            dy,
        };
        let dx_and_term = dx.of(0).map(Gradient::parts);
        self.convolution
            .backward_from(&&x[0], &x[1], &dz, dx_and_term, wanted, (), |_, _, ()| {});
        let sums = || self.convolution.sums();
        if wanted.kernel {
            add_up(dx.of(1), sums().map(|(kernel, _)| kernel));
        }
        if wanted.bias {
            add_up(dx.of(2), sums().map(|(_, bias)| bias));
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// [`conv2d_bias_relu`](Self::conv2d_bias_relu) and then
    /// [`max_pool2d(window, window)`](Self::max_pool2d) without keeping what is between the two.
    #[track_caller]
    pub fn conv2d_bias_relu_max_pool(
        self,
        kernel: Self,
        bias: Self,
        stride: usize,
        padding: Padding,
        window: usize,
    ) -> Self {
        let op = Conv2dMaxPool {
            stride,
            padding,
            winograd: self.graph().winograd(),
            convolution: Convolution::default(),
            windows: Windows {
                window,
                ..Windows::default()
            },
            argmax: empty(),
        };
        self.graph().apply(op, &[self, kernel, bias])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{
        Operand, assert_close, assert_gradients, error_of, evaluate, numbers, value_and_gradient,
    };
    use crate::{Padding, Var};

    /// x, the kernel's extent, output channels, stride and window: direct and in tiles, pixels
    /// that no window takes, more and fewer images than chunks.
    type Case = ([usize; 4], usize, usize, usize, usize);
    const CASES: [Case; 5] = [
        ([2, 4, 4, 1], 3, 2, 1, 2),
        ([1, 5, 7, 2], 5, 3, 1, 2),
        ([9, 7, 6, 1], 3, 2, 2, 3),
        ([2, 7, 5, 16], 3, 17, 1, 2),
        ([1, 6, 7, 16], 5, 16, 1, 3),
    ];

    fn each(case: Case, f: impl FnOnce(&[Operand])) {
        let (x, size, co, ..) = case;
        let kernel = [size, size, x[3], co];
        let all = numbers(x.iter().product::<usize>() + kernel.iter().product::<usize>() + co);
        let (x_data, rest) = all.split_at(x.iter().product());
        let (kernel_data, bias) = rest.split_at(kernel.iter().product());
        f(&[(&x, x_data), (&kernel, kernel_data), (&[co], bias)]);
    }

    fn fused<'g>(v: &[Var<'g, f64>], (.., stride, window): Case) -> Var<'g, f64> {
        v[0].conv2d_bias_relu_max_pool(v[1], v[2], stride, Padding::Same, window)
    }

    fn composed<'g>(v: &[Var<'g, f64>], (.., stride, window): Case) -> Var<'g, f64> {
        let z = v[0].conv2d_bias_relu(v[1], v[2], stride, Padding::Same);
        z.max_pool2d(window, window)
    }

    #[test]
    fn agrees_with_the_operations_that_it_is_made_of() {
        let mut stopped = 0;
        for case in CASES {
            each(case, |operands| {
                let found = evaluate(operands, |v| fused(v, case));
                let expected = evaluate(operands, |v| composed(v, case));
                assert_close(&found, &expected, 0.0, &format!("y of {case:?}"));
                stopped += found.iter().filter(|&&y| y == 0.0).count();
                let (_, found) = value_and_gradient(operands, |v| {
                    fused(v, case).square().sum() + v[0].sum() + v[2].sum()
                });
                let (_, expected) = value_and_gradient(operands, |v| {
                    composed(v, case).square().sum() + v[0].sum() + v[2].sum()
                });
                assert_close(&found, &expected, 1e-12, &format!("gradients of {case:?}"));
            });
        }
        assert!(stopped > 0, "no ReLU stopped dy");
    }

    #[test]
    fn gradients() {
        for case in &CASES[..3] {
            each(*case, |operands| {
                assert_gradients(operands, |v| fused(v, *case))
            });
        }
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |bias: usize, window| {
            error_of(|g| {
                let [x, kernel] = [[1, 4, 4, 2], [3, 3, 2, 5]].map(|shape| g.input(shape));
                x.conv2d_bias_relu_max_pool(kernel, g.input([bias]), 1, Padding::Same, window)
            })
        };
        assert!(message(4, 2).contains("expected a bias of shape [5]"));
        assert!(message(5, 5).contains("larger than the image"));
        assert!(message(5, 0).contains("at least 1"));
    }
}
