//! The residual block with full preactivation (He et al. 2016, *Identity mappings in deep
//! residual networks*) as one node: batch normalisation, ReLU and convolution, twice, plus a
//! short cut.
//!
//! ```text
//! h₁ = relu(norm₁(x))        c = h₁ ∗ k₁        h₂ = relu(norm₂(c))
//! y  = h₂ ∗ k₂ + x           or, with a projection p,   y = h₂ ∗ k₂ + h₁ ∗ p
//! ```
//!
//! The derivatives are those of [`batch_norm`](super::batch_norm) and [`conv2d`](super::conv2d)
//! one after the other: with ∗ᵀ for the input gradient of a convolution and norm′ for that of
//! batch normalisation and ReLU,
//!
//! ```text
//! dh₂ = dy ∗ᵀ k₂             dc = norm₂′(c, dh₂)
//! dh₁ = dc ∗ᵀ k₁ (+ dy ∗ᵀ p)
//! dx += norm₁′(x, dh₁) (+ dy without a projection)
//! ```
//!
//! What the node saves is memory, and passes through it. Of the four tensors in between only c is
//! kept: h₁, h₂ and dc are computed from x, c and dh₂ while a convolution copies an image amid
//! its zeros, and the sums of batch normalisation are taken of each image that a convolution has
//! made, while it is in cache.

use super::batch_norm::{BatchNorm, BatchNormConfig};
use super::conv2d::{Padding, add_up, geometry};
use crate::kernels::{
    CHUNKS, Convolution, Epilogue, Normalised, NormalisedGradient, Term, Wanted, image,
};
use crate::memory::{Buffer, Workspace, empty, zeros_of};
use crate::parallel::{chunks_of, for_each};
use crate::{Gradient, Gradients, Inputs, Op, Real, Shape, Var};

/// The parameters of half a residual block: batch normalisation of its input, ReLU, convolution.
#[derive(Clone, Copy, Debug)]
pub struct Preactivation<'g, T: Real> {
    /// Of batch normalisation: \[channels\].
    pub scale: Var<'g, T>,
    /// Of batch normalisation: \[channels\].
    pub shift: Var<'g, T>,
    /// \[kh, kw, channels, output channels\], of odd extents.
    pub kernel: Var<'g, T>,
}

/// The operation that [`Var::residual_block`] records. [`Tape::op_mut`](crate::Tape::op_mut)
/// reaches it, to save and restore the running statistics.
pub struct ResidualBlock<T> {
    stride: usize,
    winograd: bool,
    norms: [BatchNorm<T>; 2],
    /// By k₁, by k₂, and by p if there is one.
    convolutions: [Convolution<T>; 2],
    projection: Option<Convolution<T>>,
    c: Buffer<T>,
    /// For dh₂ and dh₁, which nobody reads once `backward` has returned.
    workspace: Workspace<T>,
}

/// Places among the operands.
const X: usize = 0;
const SCALES: [usize; 2] = [1, 4];
const SHIFTS: [usize; 2] = [2, 5];
const KERNELS: [usize; 2] = [3, 6];
const PROJECTION: usize = 7;

/// As many zeros as keep the extents of an image under a kernel of odd extents.
fn padding(kernel: Shape) -> Result<Padding, String> {
    let [rows, columns, _, _] = super::axes(kernel)?;
    if rows % 2 == 0 || columns % 2 == 0 {
        return Err(format!("expected a kernel of odd extents, found {kernel}"));
    }
    let [rows, columns] = [rows / 2, columns / 2];
    Ok(Padding::Explicit {
        top: rows,
        bottom: rows,
        left: columns,
        right: columns,
    })
}

fn convolution<T: Real>(
    [x, kernel]: [Shape; 2],
    stride: usize,
    winograd: bool,
) -> Result<(Convolution<T>, Shape), String> {
    let (conv, y) = geometry(x, kernel, stride, padding(kernel)?, winograd)?;
    Ok((Convolution::new(conv)?, y))
}

impl<T: Real> ResidualBlock<T> {
    /// Both batch normalisations, in the order of x's way through them.
    pub fn norms(&self) -> &[BatchNorm<T>; 2] {
        &self.norms
    }

    /// As [`norms`](Self::norms), to restore their running statistics.
    pub fn norms_mut(&mut self) -> &mut [BatchNorm<T>; 2] {
        &mut self.norms
    }
}

impl<T: Real> Op<T> for ResidualBlock<T> {
    fn name(&self) -> &'static str {
        "residual_block"
    }

    fn set_training(&mut self, training: bool) {
        for norm in &mut self.norms {
            norm.set_training(training);
        }
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[X];
        let (first, c) = convolution([x, inputs[KERNELS[0]]], self.stride, self.winograd)?;
        let (second, y) = convolution([c, inputs[KERNELS[1]]], 1, self.winograd)?;
        for (i, (norm, shape)) in self.norms.iter_mut().zip([x, c]).enumerate() {
            norm.prepare([shape, inputs[SCALES[i]], inputs[SHIFTS[i]]], CHUNKS)?;
        }
        let short_cut = match inputs.get(PROJECTION) {
            Some(&kernel) => {
                let (conv, shape) = convolution([x, kernel], self.stride, self.winograd)?;
                self.projection = Some(conv);
                shape
            }
            None => x,
        };
        if short_cut != y {
            return Err(format!(
                "the short cut is {short_cut}, and what it is added to {y}"
            ));
        }
        self.convolutions = [first, second];
        self.c = zeros_of(c).ok_or("memory cannot hold what is between the convolutions")?;
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let [norm1, norm2] = &mut self.norms;
        let [conv1, conv2] = &mut self.convolutions;
        norm1.measure(&x[X], [&x[SCALES[0]], &x[SHIFTS[0]]]);
        let h1 = Normalised {
            x: &x[X],
            by: norm1.normaliser(),
        };
        let (layout, reads_moments) = (norm2.layout(), norm2.reads_moments());
        let (chunks, per_chunk) = (conv1.chunks(), conv1.per_chunk());
        let moments = norm2.moments(chunks);
        let (c, store) = (&mut self.c[..], Epilogue::Store(Term::First));
        conv1.forward_from(&h1, &x[KERNELS[0]], store, c, &[], moments, |n, c, sums| {
            if reads_moments {
                let rows = c.len() / layout.channels;
                layout.moments(c, n % per_chunk * rows, sums);
            }
        });
        let rows = layout.rows / conv1.batch();
        norm2.settle(per_chunk * rows, [&x[SCALES[1]], &x[SHIFTS[1]]]);
        let h2 = Normalised {
            x: &self.c,
            by: norm2.normaliser(),
        };
        let k2 = &x[KERNELS[1]];
        match &mut self.projection {
            Some(p) => {
                p.forward_from(&h1, &x[PROJECTION], store, y, &[], (), |_, _, ()| {});
                let add = Epilogue::Store(Term::Further);
                conv2.forward_from(&h2, k2, add, y, &[], (), |_, _, ()| {});
            }
            None => conv2.forward_from(&h2, k2, store, y, &x[X], (), |n, y, ()| {
                let x = image(&x[X], y.len(), n);
                Term::Further.write(y, x.iter().copied());
            }),
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let workspace = self.workspace.clone();
        workspace.with([self.c.len(), x[X].len()], |[dh2, dh1]| {
            self.backward_to_c(x, dy, dh2, dx);
            self.backward_to_x(x, dy, dh2, dh1, dx);
        });
    }
}

impl<T: Real> ResidualBlock<T> {
    /// dh₂, and the gradients of k₂ and of batch normalisation of c.
    fn backward_to_c(&mut self, x: &Inputs<T>, dy: &[T], dh2: &mut [T], dx: &mut Gradients<T>) {
        let (norm, conv, c) = (&mut self.norms[1], &mut self.convolutions[1], &self.c[..]);
        let wanted = wanted(dx.wants(KERNELS[1]));
        let (normaliser, sums) = norm.gradient_sums(conv.chunks());
        let h2 = Normalised {
            x: c,
            by: normaliser,
        };
        let dh2 = Some((dh2, Term::First));
        conv.backward_from(
            &h2,
            &x[KERNELS[1]],
            &dy,
            dh2,
            wanted,
            sums,
            |n, dh2, sums| {
                normaliser.add_gradient_sums(image(c, dh2.len(), n), dh2, sums);
            },
        );
        add_kernel_gradient(dx.of(KERNELS[1]), conv);
        norm.settle_gradients(dx, [SCALES[1], SHIFTS[1]]);
    }

    /// dx from dh₂, and the gradients of k₁, p and of batch normalisation of x.
    fn backward_to_x(
        &mut self,
        x: &Inputs<T>,
        dy: &[T],
        dh2: &[T],
        dh1: &mut [T],
        dx: &mut Gradients<T>,
    ) {
        let [norm1, norm2] = &mut self.norms;
        let conv = &mut self.convolutions[0];
        let images = &x[X];
        let (normaliser, sums) = norm1.gradient_sums(conv.chunks());
        let h1 = Normalised {
            x: images,
            by: normaliser,
        };
        let mut term = Term::First;
        if let Some(p) = &mut self.projection {
            let wanted = wanted(dx.wants(PROJECTION));
            let first = Some((&mut *dh1, term));
            p.backward_from(&h1, &x[PROJECTION], &dy, first, wanted, (), |_, _, ()| {});
            add_kernel_gradient(dx.of(PROJECTION), p);
            term = Term::Further;
        }
        let dc = NormalisedGradient {
            x: &self.c,
            dy: dh2,
            of: norm2.normaliser(),
            by: norm2.gradients(),
        };
        let wanted = wanted(dx.wants(KERNELS[0]));
        let last = Some((&mut *dh1, term));
        conv.backward_from(
            &h1,
            &x[KERNELS[0]],
            &dc,
            last,
            wanted,
            sums,
            |n, dh1, sums| {
                normaliser.add_gradient_sums(image(images, dh1.len(), n), dh1, sums);
            },
        );
        add_kernel_gradient(dx.of(KERNELS[0]), conv);
        norm1.settle_gradients(dx, [SCALES[0], SHIFTS[0]]);

        let Some(dx) = dx.of(X) else { return };
        let (norm, layout, identity) = (&*norm1, norm1.layout(), self.projection.is_none());
        let (dh1, (dx, term)) = (&*dh1, dx.parts());
        for_each(
            layout.chunks(),
            chunks_of(dx, layout.chunk()),
            |chunk, dx| {
                let mut at = layout.range(chunk).start;
                for dx in dx.chunks_mut(layout.block) {
                    let block = at..at + dx.len();
                    let mut term = term;
                    if identity {
                        term.write(dx, dy[block.clone()].iter().copied());
                        term = Term::Further;
                    }
                    norm.write_gradient(&images[block.clone()], &dh1[block.clone()], dx, term);
                    at = block.end;
                }
            },
        );
    }
}

fn wanted(kernel: bool) -> Wanted {
    Wanted {
        kernel,
        bias: false,
    }
}

fn add_kernel_gradient<T: Real>(gradient: Option<Gradient<T>>, conv: &Convolution<T>) {
    add_up(gradient, conv.sums().map(|(kernel, _)| kernel));
}

impl<'g, T: Real> Var<'g, T> {
    /// A residual block of images \[n, h, w, channels\]: batch normalisation, ReLU and
    /// convolution, twice, plus the images, or plus the convolution of what the first ReLU gives
    /// with the kernel `projection`. The first convolution and the projection have this stride,
    /// and all are padded by half the kernel on each side.
    ///
    /// [`ResidualBlock`] keeps the running statistics.
    #[track_caller]
    pub fn residual_block(
        self,
        halves: [Preactivation<'g, T>; 2],
        projection: Option<Self>,
        stride: usize,
        config: BatchNormConfig,
    ) -> Self {
        let op = ResidualBlock {
            stride,
            winograd: self.graph().winograd(),
            norms: [0, 1].map(|_| BatchNorm::new(config, true)),
            convolutions: Default::default(),
            projection: None,
            c: empty(),
            workspace: self.graph().workspace(),
        };
        let mut operands = vec![self];
        operands.extend(
            halves
                .iter()
                .flat_map(|half| [half.scale, half.shift, half.kernel]),
        );
        operands.extend(projection);
        self.graph().apply(op, &operands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value_and_gradient;
    use crate::testing::{Operand, assert_close, assert_gradients, error_of, evaluate, numbers};
    use crate::{BatchNormMode, Params, Tape, record};

    const TRAINING: BatchNormConfig = BatchNormConfig {
        mode: BatchNormMode::Training,
        decay: 0.9,
        epsilon: 0.25,
    };
    const INFERENCE: BatchNormConfig = BatchNormConfig {
        mode: BatchNormMode::Inference,
        ..TRAINING
    };

    /// x: [batch, height, width, inputs], the extent of the kernels, the output channels, and the
    /// stride; with a projection where the extents ask for one.
    type Case = ([usize; 4], usize, usize, usize);

    /// Direct convolutions and tiled ones, odd extents, strides, more and fewer images than chunks.
    const CASES: [Case; 6] = [
        ([2, 3, 4, 2], 3, 2, 1),
        ([1, 5, 3, 3], 1, 3, 1),
        ([3, 5, 4, 2], 3, 3, 2),
        ([9, 3, 3, 1], 3, 2, 1),
        ([2, 7, 5, 16], 3, 16, 1),
        ([1, 7, 6, 16], 5, 17, 1),
    ];

    fn shapes(case: Case) -> Vec<Vec<usize>> {
        let ([n, h, w, ci], size, co, stride) = case;
        let mut shapes = vec![
            vec![n, h, w, ci],
            vec![ci],
            vec![ci],
            vec![size, size, ci, co],
            vec![co],
            vec![co],
            vec![size, size, co, co],
        ];
        if ci != co || stride > 1 {
            shapes.push(vec![1, 1, ci, co]);
        }
        shapes
    }

    fn each(case: Case, f: impl FnOnce(&[Operand])) {
        let shapes = shapes(case);
        let lengths: Vec<usize> = shapes.iter().map(|s| s.iter().product()).collect();
        let all = numbers(lengths.iter().sum());
        let mut rest = &all[..];
        let operands: Vec<Operand> = shapes
            .iter()
            .zip(&lengths)
            .map(|(shape, &len)| {
                let (data, others) = rest.split_at(len);
                rest = others;
                (&shape[..], data)
            })
            .collect();
        f(&operands);
    }

    fn halves<'g, T>(v: &[Var<'g, T>]) -> [Preactivation<'g, T>; 2]
    where
        T: Real,
    {
        [1, 4].map(|i| Preactivation {
            scale: v[i],
            shift: v[i + 1],
            kernel: v[i + 2],
        })
    }

    fn fused<'g, T: Real>(v: &[Var<'g, T>], stride: usize, config: BatchNormConfig) -> Var<'g, T> {
        v[0].residual_block(halves(v), v.get(7).copied(), stride, config)
    }

    fn composed<'g>(v: &[Var<'g, f64>], stride: usize, config: BatchNormConfig) -> Var<'g, f64> {
        let [first, second] = halves(v);
        let padded = |kernel: Var<f64>| padding(kernel.recorded_shape()).unwrap();
        let h = v[0].batch_norm_relu(first.scale, first.shift, config);
        let c = h.conv2d(first.kernel, stride, padded(first.kernel));
        let c = c.batch_norm_relu(second.scale, second.shift, config);
        let y = c.conv2d(second.kernel, 1, padded(second.kernel));
        match v.get(7) {
            Some(&p) => y + h.conv2d(p, stride, padded(p)),
            None => y + v[0],
        }
    }

    fn squares<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let squares = v.iter().map(|v| v.square().sum());
        squares.reduce(|a, b| a + b).unwrap()
    }

    /// To 1e-10, relative to the larger of a gradient and 1: the sums are taken in another order.
    #[test]
    fn agrees_with_the_operations_that_it_is_made_of() {
        for case in CASES {
            let stride = case.3;
            each(case, |operands| {
                for config in [TRAINING, INFERENCE] {
                    let found = evaluate(operands, |v| fused(v, stride, config));
                    let expected = evaluate(operands, |v| composed(v, stride, config));
                    assert_close(&found, &expected, 1e-11, &format!("y of {case:?}"));
                    // The squares' gradients are there when the block's are added.
                    let (_, found) = value_and_gradient(operands, |v| {
                        fused(v, stride, config).tanh().sum() + squares(v)
                    });
                    let (_, expected) = value_and_gradient(operands, |v| {
                        composed(v, stride, config).tanh().sum() + squares(v)
                    });
                    assert_close(&found, &expected, 1e-10, &format!("gradients of {case:?}"));
                }
            });
        }
    }

    #[test]
    fn gradients() {
        for case in &CASES[..4] {
            each(*case, |operands| {
                assert_gradients(operands, |v| fused(v, case.3, TRAINING));
            });
        }
        each(CASES[0], |operands| {
            assert_gradients(operands, |v| fused(v, 1, INFERENCE));
        });
    }

    /// Two blocks, so that the second finds in the workspace what the first one's needs.
    #[test]
    fn blocks_share_their_workspace() {
        each(CASES[0], |operands| {
            assert_gradients(operands, |v| {
                let mut again = v.to_vec();
                again[0] = fused(v, 1, TRAINING);
                fused(&again, 1, TRAINING)
            });
        });
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        for case in [([11, 6, 5, 16], 3, 16, 1), ([9, 5, 6, 3], 3, 18, 2)] {
            let mut params = Params::<f32>::new();
            for (i, shape) in shapes(case).iter().enumerate() {
                let shape = Shape::new(shape).unwrap();
                let mut data = numbers(shape.elements()).into_iter();
                let next = || data.next().unwrap() as f32;
                params.add(format!("{i}"), shape, next).unwrap();
            }
            let everything = |threads| {
                let (mut tape, [y, _]) = record(|g| {
                    let v: Vec<_> = params.iter().map(|(_, p)| g.param(p)).collect();
                    let y = fused(&v, case.3, TRAINING);
                    Ok([y, y.square().sum()])
                })
                .unwrap();
                tape.set_threads(&crate::Threads::new(threads).unwrap());
                let mut grads = params.zeros_like();
                let mut pass = tape.forward(&params).unwrap();
                pass.backward(&mut grads).unwrap();
                let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect();
                let all: [Vec<u32>; 2] = [bits(pass.value(y).unwrap()), bits(&grads)];
                all
            };
            let alone = everything(1);
            for threads in [2, 3, 4] {
                assert_eq!(everything(threads), alone, "{threads} threads");
            }
        }
    }

    #[test]
    fn running_statistics_are_those_of_batch_normalisation() {
        let case = CASES[0];
        let data = numbers(case.0.iter().product());
        let (mut tape, [x, y, other]) = record(|g| {
            let mut v = vec![g.input(case.0)];
            for shape in &shapes(case)[1..] {
                let shape = Shape::new(shape).unwrap();
                v.push(g.constant(shape, &numbers(shape.elements())));
            }
            let y = fused(&v, 1, TRAINING);
            let [first, _] = halves(&v);
            Ok([
                v[0],
                y,
                v[0].batch_norm_relu(first.scale, first.shift, TRAINING),
            ])
        })
        .unwrap();
        tape.set(x, &data).unwrap();
        tape.forward(&Params::new()).unwrap();
        let [first, second] = tape.op::<ResidualBlock<f64>>(y).unwrap().norms();
        let alone = tape.op::<BatchNorm<f64>>(other).unwrap();
        assert_eq!(first.running_mean(), alone.running_mean());
        assert_eq!(first.running_variance(), alone.running_variance());
        assert!(second.running_mean().iter().all(|&mean| mean != 0.0));
    }

    /// What was recorded for training normalises by the running statistics once it is told to, and
    /// moves them no more.
    #[test]
    fn one_recording_trains_and_evaluates() {
        let case = CASES[2];
        let network = |config| {
            record(|g| {
                let v: Vec<_> = shapes(case)
                    .iter()
                    .map(|shape| {
                        let shape = Shape::new(shape).unwrap();
                        g.constant(shape, &numbers(shape.elements()))
                    })
                    .collect();
                Ok([fused(&v, case.3, config)])
            })
            .unwrap()
        };
        let (mut tape, [y]) = network(TRAINING);
        let none = Params::new();
        let values =
            |tape: &mut Tape<f64>, y| tape.forward(&none).unwrap().value(y).unwrap().to_vec();
        let trained = values(&mut tape, y);
        tape.set_training(false);
        let evaluated = values(&mut tape, y);
        assert_ne!(evaluated, trained);
        assert_eq!(values(&mut tape, y), evaluated, "statistics that move");

        let (mut other, [z]) = network(INFERENCE);
        let norms = tape.op::<ResidualBlock<f64>>(y).unwrap().norms();
        let restored = other.op_mut::<ResidualBlock<f64>>(z).unwrap().norms_mut();
        for (to, from) in restored.iter_mut().zip(norms) {
            to.set_running(from.running_mean(), from.running_variance())
                .unwrap();
        }
        assert_eq!(values(&mut other, z), evaluated);
        tape.set_training(true);
        assert_eq!(values(&mut tape, y), trained);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let message = |kernel: [usize; 4], projects: bool| {
            error_of(|g| {
                let [ci, co] = [kernel[2], kernel[3]];
                let v = [
                    g.input([1, 4, 4, 2]),
                    g.input([ci]),
                    g.input([ci]),
                    g.input(kernel),
                    g.input([co]),
                    g.input([co]),
                    g.input([3, 3, co, co]),
                ];
                let p = projects.then(|| g.input([1, 1, 2, 3]));
                v[0].residual_block(halves(&v), p, 1, TRAINING)
            })
        };
        let even = message([2, 3, 2, 2], false);
        assert!(even.contains("odd extents"), "{even}");
        for projects in [false, true] {
            let channels = message([3, 3, 2, 5], projects);
            assert!(channels.contains("the short cut is"), "{channels}");
        }
    }
}
