//! 2-D convolution, and 2-D convolution + bias + ReLU as one node.
//!
//! With s the stride and p the zeros before each axis,
//!
//! ```text
//! y[n, i, j, o] = Σ x[n, i·s + a − p, j·s + b − p, c] · k[a, b, c, o]   over a, b, c
//! ```
//!
//! which is the cross-correlation that deep learning calls convolution. The derivatives
//! follow the same triples of x, k and y:
//!
//! ```text
//! dx[n, i·s + a − p, j·s + b − p, c] += dy[n, i, j, o] · k[a, b, c, o]
//! dk[a, b, c, o]                     += dy[n, i, j, o] · x[n, i·s + a − p, j·s + b − p, c]
//! ```
//!
//! Layouts are NHWC for images (number, height, width, channels) and HWIO for kernels (height, width, input channels, output
//! channels): the channels of a pixel are contiguous, and so are the output channels of a weight.

use super::axes;
use crate::kernels::{Axis, Conv, Convolution, Term, Wanted};
use crate::{Gradient, Gradients, Inputs, Op, Real, Shape, Var};

/// The zeros around an image that is convolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as give ⌈input / stride⌉ outputs; where their number is odd, the extra one
    /// comes after the image. This is TensorFlow's SAME.
    Same,
    /// None: outputs only where the whole kernel is inside the image.
    Valid,
    /// So many rows and columns.
    #[allow(missing_docs)]
    Explicit {
        top: usize,
        bottom: usize,
        left: usize,
        right: usize,
    },
}

impl Padding {
    /// Both axes of a convolution of an image with a kernel.
    fn axes(self, image: [usize; 2], kernel: [usize; 2], s: usize) -> Result<[Axis; 2], String> {
        let [rows, columns] = match self {
            Padding::Same => [0, 1].map(|i| same(image[i], kernel[i], s)),
            Padding::Valid => [(0, 0); 2],
            Padding::Explicit {
                top,
                bottom,
                left,
                right,
            } => [(top, bottom), (left, right)],
        };
        let mut axes = [
            axis(image[0], kernel[0], s, rows)?,
            axis(image[1], kernel[1], s, columns)?,
        ];
        if self == Padding::Same {
            // Zeros alone would give an axis without input one output.
            axes.iter_mut()
                .for_each(|axis| axis.output = axis.input.div_ceil(s));
        }
        Ok(axes)
    }
}

/// The zeros before and after an axis that give ⌈input / stride⌉ outputs.
fn same(input: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let last = input.div_ceil(stride).saturating_sub(1) * stride;
    let zeros = last.saturating_add(kernel).saturating_sub(input);
    (zeros / 2, zeros - zeros / 2)
}

fn axis(
    input: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
) -> Result<Axis, String> {
    let padded = input.checked_add(before).and_then(|n| n.checked_add(after));
    let padded = padded.ok_or("the padding is larger than memory can hold")?;
    let steps = padded.checked_sub(kernel).ok_or_else(|| {
        format!("a kernel of extent {kernel} does not fit an image that has {padded} with padding")
    })?;
    Ok(Axis {
        input,
        kernel,
        output: steps / stride + 1,
        stride,
        before,
    })
}

/// What follows the convolution in the same node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// + bias, the third operand, then ReLU.
    BiasRelu,
}

struct Conv2d<T> {
    stride: usize,
    padding: Padding,
    then: Then,
    winograd: bool,
    /// With the scratch; made by `infer`.
    convolution: Convolution<T>,
}

impl<T: Real> Op<T> for Conv2d<T> {
    fn name(&self) -> &'static str {
        match self.then {
            Then::Nothing => "conv2d",
            Then::BiasRelu => "conv2d_bias_relu",
        }
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (conv, y) = geometry(
            inputs[0],
            inputs[1],
            self.stride,
            self.padding,
            self.winograd,
        )?;
        if self.then == Then::BiasRelu && axes(inputs[2])? != [conv.co] {
            return Err(format!(
                "expected a bias of shape [{}], one for each output channel",
                conv.co
            ));
        }
        self.convolution = Convolution::new(conv)?;
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let bias = (self.then == Then::BiasRelu).then(|| &x[2]);
        self.convolution.forward(&x[0], &x[1], bias, y);
    }

    /// The two sums at the top of this file, where the ReLU let y through; db += Σ dy over
    /// the pixels.
    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let fused = self.then == Then::BiasRelu;
        let wanted = Wanted {
            kernel: dx.wants(1),
            bias: fused && dx.wants(2),
        };
        let y = fused.then_some(y);
        let dx_and_term = dx.of(0).map(Gradient::parts);
        self.convolution
            .backward(&x[0], &x[1], y, dy, dx_and_term, wanted);
        let sums = || self.convolution.sums();
        if wanted.kernel {
            add_up(dx.of(1), sums().map(|(kernel, _)| kernel));
        }
        if wanted.bias {
            add_up(dx.of(2), sums().map(|(_, bias)| bias));
        }
    }
}

/// Where the elements of a convolution lie, and the shape of its result.
pub(super) fn geometry(
    x: Shape,
    kernel: Shape,
    stride: usize,
    padding: Padding,
    winograd: bool,
) -> Result<(Conv, Shape), String> {
    let [batch, height, width, channels] = axes(x)?;
    let [kh, kw, ci, co] = axes(kernel)?;
    if stride == 0 {
        return Err("the stride must be at least 1".to_owned());
    }
    if kh == 0 || kw == 0 {
        return Err("the kernel must have at least one row and one column".to_owned());
    }
    if channels != ci {
        return Err(format!(
            "expected x: [n, h, w, ci], kernel: [kh, kw, ci, co]; \
             x has {channels} channels, the kernel takes {ci}"
        ));
    }
    let [rows, columns] = padding.axes([height, width], [kh, kw], stride)?;
    let y = Shape::from([batch, rows.output, columns.output, co]);
    let conv = Conv {
        batch,
        rows,
        columns,
        ci,
        co,
        winograd,
    };
    Ok((conv, y))
}

/// gradient += Σ shares, in their order.
pub(super) fn add_up<'a, T: Real>(
    gradient: Option<Gradient<T>>,
    shares: impl Iterator<Item = &'a [T]>,
) {
    let Some(gradient) = gradient else { return };
    let mut shares = shares.peekable();
    if shares.peek().is_none() {
        gradient.zeroed();
        return;
    }
    let (values, mut term) = gradient.parts();
    for share in shares {
        term.write(values, share.iter().copied());
        term = Term::Further;
    }
}

impl<T: Real> Var<'_, T> {
    #[track_caller]
    fn convolution(self, then: Then, operands: &[Self], stride: usize, padding: Padding) -> Self {
        let op = Conv2d {
            stride,
            padding,
            then,
            winograd: self.graph().winograd(),
            convolution: Convolution::default(),
        };
        self.graph().apply(op, operands)
    }

    /// The convolution (cross-correlation) of images \[n, h, w, ci\] with a kernel
    /// \[kh, kw, ci, co\]: \[n, oh, ow, co\]. `stride` is in pixels, along both axes.
    ///
    /// `oh` is ⌊(h + zeros − kh)/stride⌋ + 1 with the zeros that the padding adds to a column, and `ow` likewise.
    ///
    /// With stride 1, a 3×3 or 5×5 kernel, at least 16 channels in and out and an image and a result of at least 4 (3×3) or 2
    /// (5×5) pixels each way it is made by Winograd's minimal filtering, whose rounding errors are some six times those of the
    /// direct sums, and thirty times where large terms cancel; [`Graph::set_winograd`](crate::Graph::set_winograd) says more,
    /// and turns it off.
    #[track_caller]
    pub fn conv2d(self, kernel: Self, stride: usize, padding: Padding) -> Self {
        self.convolution(Then::Nothing, &[self, kernel], stride, padding)
    }

    /// max(`conv2d` + bias, 0) in one pass, for a bias \[co\].
    #[track_caller]
    pub fn conv2d_bias_relu(
        self,
        kernel: Self,
        bias: Self,
        stride: usize,
        padding: Padding,
    ) -> Self {
        self.convolution(Then::BiasRelu, &[self, kernel, bias], stride, padding)
    }
}

#[cfg(test)]
mod tests {
    use super::Padding;
    use crate::testing::{Operand, assert_close, assert_gradients, error_of, evaluate, numbers};
    use crate::{Var, record};

    const EXPLICIT: Padding = Padding::Explicit {
        top: 2,
        bottom: 0,
        left: 1,
        right: 3,
    };

    #[test]
    fn value() {
        // 1·10 + 2·20 + 4·30 + 5·40 and so on: the kernel is not flipped.
        let x: Operand = (&[1, 2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let kernel: Operand = (&[2, 2, 1, 1], &[10.0, 20.0, 30.0, 40.0]);
        let y = evaluate(&[x, kernel], |v| v[0].conv2d(v[1], 1, Padding::Valid));
        assert_close(&y, &[370.0, 470.0], 0.0, "x ∗ kernel");
        let bias: Operand = (&[1], &[-400.0]);
        let y = evaluate(&[x, kernel, bias], |v| {
            v[0].conv2d_bias_relu(v[1], v[2], 1, Padding::Valid)
        });
        assert_close(&y, &[0.0, 70.0], 0.0, "max(x ∗ kernel + b, 0)");
    }

    /// The extents of `x.conv2d(kernel)`, or what is wrong with it.
    fn shape(
        x: [usize; 4],
        kernel: [usize; 4],
        stride: usize,
        padding: Padding,
    ) -> Result<Vec<usize>, String> {
        let (tape, [y]) =
            record::<f64, 1>(|g| Ok([g.input(x).conv2d(g.input(kernel), stride, padding)]))
                .map_err(|error| error.to_string())?;
        Ok(tape.shape(y).unwrap().to_vec())
    }

    #[test]
    fn shapes() {
        use Padding::{Same, Valid};
        let cases = [
            ([2, 32, 32, 3], [3, 3, 3, 16], 1, Same, [2, 32, 32, 16]),
            ([2, 32, 32, 3], [3, 3, 3, 16], 2, Same, [2, 16, 16, 16]),
            ([2, 33, 31, 3], [1, 1, 3, 16], 2, Same, [2, 17, 16, 16]),
            ([2, 7, 9, 3], [3, 2, 3, 1], 3, Valid, [2, 2, 3, 1]),
            ([1, 3, 2, 1], [9, 9, 1, 1], 1, Same, [1, 3, 2, 1]),
            ([1, 5, 5, 1], [3, 3, 1, 1], 2, EXPLICIT, [1, 3, 4, 1]),
            ([0, 4, 4, 2], [3, 3, 2, 5], 1, Same, [0, 4, 4, 5]),
            ([1, 0, 4, 2], [3, 3, 2, 5], 2, Same, [1, 0, 2, 5]),
            ([1, 4, 4, 2], [3, 3, 2, 5], usize::MAX, Same, [1, 1, 1, 5]),
        ];
        for (x, kernel, stride, padding, expected) in cases {
            assert_eq!(
                shape(x, kernel, stride, padding).as_deref(),
                Ok(&expected[..]),
                "{x:?} {kernel:?}"
            );
        }
    }

    #[test]
    fn wrong_shapes_are_named() {
        use Padding::{Same, Valid};
        let huge = Padding::Explicit {
            top: usize::MAX,
            bottom: 1,
            left: 0,
            right: 0,
        };
        let square = Padding::Explicit {
            top: 1 << 40,
            bottom: 0,
            left: 1 << 40,
            right: 0,
        };
        let cases = [
            (
                [1, 4, 4, 2],
                [3, 3, 3, 5],
                1,
                Same,
                "x has 2 channels, the kernel takes 3",
            ),
            (
                [1, 4, 4, 2],
                [3, 3, 2, 5],
                0,
                Same,
                "stride must be at least 1",
            ),
            (
                [1, 4, 4, 2],
                [3, 0, 2, 5],
                1,
                Same,
                "at least one row and one column",
            ),
            (
                [1, 4, 4, 2],
                [3, 5, 2, 5],
                1,
                Valid,
                "extent 5 does not fit an image that has 4",
            ),
            ([1, 4, 4, 2], [3, 3, 2, 5], 1, huge, "larger than memory"),
            (
                [1, 4, 4, 2],
                [3, 3, 2, 5],
                1,
                square,
                "more elements than memory",
            ),
        ];
        for (x, kernel, stride, padding, expected) in cases {
            let error = shape(x, kernel, stride, padding).unwrap_err();
            assert!(error.starts_with("conv2d of ["), "{error}");
            assert!(error.contains(expected), "{error}");
        }
        let error = error_of(|g| {
            let (x, kernel) = (g.input([1, 4, 4, 2]), g.input([3, 3, 2, 5]));
            x.conv2d_bias_relu(kernel, g.input([4]), 1, Same)
        });
        assert!(error.contains("a bias of shape [5]"), "{error}");
    }

    type Case = ([usize; 4], [usize; 4], usize, Padding);

    const CASES: [Case; 11] = [
        ([2, 5, 4, 3], [3, 3, 3, 2], 1, Padding::Same),
        ([1, 5, 6, 2], [3, 3, 2, 3], 2, Padding::Same),
        ([2, 6, 5, 2], [2, 4, 2, 1], 1, Padding::Valid),
        ([1, 7, 8, 1], [3, 2, 1, 3], 3, Padding::Valid),
        ([1, 5, 4, 2], [3, 3, 2, 2], 2, EXPLICIT),
        ([2, 5, 5, 3], [1, 1, 3, 2], 2, Padding::Same),
        ([1, 3, 2, 1], [5, 5, 1, 2], 1, Padding::Same),
        ([1, 4, 5, 2], [2, 1, 2, 2], 3, EXPLICIT),
        // The last rows and columns of x are read by no output.
        ([2, 6, 4, 3], [1, 1, 3, 2], 2, Padding::Same),
        ([1, 8, 7, 2], [3, 2, 2, 2], 3, Padding::Valid),
        ([2, 5, 4, 2], [3, 3, 2, 2], usize::MAX, Padding::Same),
    ];

    /// Calls `f` with the operands x, kernel and bias of every case.
    fn each(f: impl Fn(&[Operand; 3], usize, Padding)) {
        for (x, kernel, stride, padding) in CASES {
            let data = numbers(500);
            let (nx, nk) = (x.iter().product::<usize>(), kernel.iter().product());
            let (data_x, rest) = data.split_at(nx);
            let (data_kernel, rest) = rest.split_at(nk);
            let co = [kernel[3]];
            f(
                &[
                    (&x, data_x),
                    (&kernel, data_kernel),
                    (&co, &rest[..kernel[3]]),
                ],
                stride,
                padding,
            );
        }
    }

    /// The convolution pixel by pixel of y, each the product of a patch of the zero-padded images and
    /// the kernel, put in its place: other operations only.
    fn composed<'g>(
        x: Var<'g, f64>,
        kernel: Var<'g, f64>,
        stride: usize,
        padding: Padding,
    ) -> Var<'g, f64> {
        let g = x.graph();
        let [n, h, w, ci] = (*x.recorded_shape()).try_into().unwrap();
        let [kh, kw, _, co] = (*kernel.recorded_shape()).try_into().unwrap();
        let [rows, columns] = padding.axes([h, w], [kh, kw], stride).unwrap();
        let zeros =
            |shape: [usize; 4]| g.constant(shape, &vec![0.0; shape.iter().product::<usize>()]);
        // More zeros after than any padding here has.
        let x = g.concat(
            1,
            &[zeros([n, rows.before, w, ci]), x, zeros([n, 9, w, ci])],
        );
        let h = h + rows.before + 9;
        let x = g.concat(
            2,
            &[zeros([n, h, columns.before, ci]), x, zeros([n, h, 9, ci])],
        );
        let mut y = zeros([n, rows.output, columns.output, co]);
        for i in 0..rows.output {
            for j in 0..columns.output {
                let patch = x
                    .slice(1, i * stride..i * stride + kh)
                    .slice(2, j * stride..j * stride + kw)
                    .reshape([n, kh * kw * ci]);
                let pixel = patch.matmul(kernel.reshape([kh * kw * ci, co]));
                let one_hot: Vec<f64> = (0..rows.output * columns.output)
                    .map(|at| f64::from(at == i * columns.output + j))
                    .collect();
                let place = g.constant([1, rows.output, columns.output, 1], &one_hot);
                y += place * pixel.reshape([n, 1, 1, co]);
            }
        }
        y
    }

    #[test]
    fn agrees_with_slices_and_products() {
        each(|operands, stride, padding| {
            let found = evaluate(operands, |v| v[0].conv2d(v[1], stride, padding));
            let expected = evaluate(operands, |v| composed(v[0], v[1], stride, padding));
            assert_close(&found, &expected, 1e-14, "conv2d");
            let found = evaluate(operands, |v| {
                v[0].conv2d_bias_relu(v[1], v[2], stride, padding)
            });
            let expected = evaluate(operands, |v| {
                (composed(v[0], v[1], stride, padding) + v[2]).relu()
            });
            assert_close(&found, &expected, 1e-14, "conv2d_bias_relu");
        });
    }

    #[test]
    fn gradients() {
        each(|operands, stride, padding| {
            assert_gradients(operands, |v| v[0].conv2d(v[1], stride, padding) + v[2]);
            assert_gradients(operands, |v| {
                v[0].conv2d_bias_relu(v[1], v[2], stride, padding)
            });
        });
    }

    #[test]
    fn gradients_are_added_to_what_is_there() {
        let (x, kernel, bias) = (numbers(50), numbers(9 * 4), numbers(2));
        let operands: [Operand; 3] = [(&[1, 5, 5, 2], &x), (&[3, 3, 2, 2], &kernel), (&[2], &bias)];
        assert_gradients(&operands, |v| {
            let y = v[0].conv2d(v[1], 1, Padding::Same).tanh();
            let y = y.conv2d_bias_relu(v[1], v[2], 1, Padding::Same);
            y + v[0] + v[2] + v[1].sum()
        });
    }

    /// A convolution in tiles rounds otherwise than one that is not allowed to be.
    #[test]
    fn winograd_can_be_turned_off() {
        let (x, kernel) = (numbers(6 * 6 * 16), numbers(9 * 16 * 16));
        let operands: [Operand; 2] = [(&[1, 6, 6, 16], &x), (&[3, 3, 16, 16], &kernel)];
        let y = |winograd| {
            evaluate(&operands, |v| {
                v[0].graph().set_winograd(winograd);
                v[0].conv2d(v[1], 1, Padding::Same)
            })
        };
        assert_close(&y(true), &y(false), 1e-12, "y");
        assert_ne!(y(true), y(false));
    }

    #[test]
    fn images_without_pixels_or_channels() {
        let none: &[f64] = &[];
        let (x, bias) = (numbers(18), numbers(2));
        for image in [[0, 3, 3, 2], [1, 0, 3, 2], [1, 3, 0, 2]] {
            let operands: [Operand; 3] = [(&image, none), (&[3, 1, 2, 2], &x[..12]), (&[2], &bias)];
            assert_gradients(&operands, |v| {
                v[0].conv2d_bias_relu(v[1], v[2], 1, Padding::Same).sum() + v[1].sum() + v[2].sum()
            });
        }
        let operands: [Operand; 3] = [(&[1, 3, 3, 0], none), (&[2, 2, 0, 2], none), (&[2], &bias)];
        let y = evaluate(&operands, |v| {
            v[0].conv2d_bias_relu(v[1], v[2], 1, Padding::Valid)
        });
        let relu = bias.iter().map(|b| b.max(0.0));
        assert_close(&y, &relu.collect::<Vec<_>>().repeat(4), 0.0, "relu(b)");
        let operands: [Operand; 2] = [(&[1, 3, 3, 2], &x), (&[2, 2, 2, 0], none)];
        let y = evaluate(&operands, |v| v[0].conv2d(v[1], 1, Padding::Valid));
        assert!(y.is_empty());
    }
}
