//! The forward pass, and both gradients.

use super::PANEL;
use super::correlation::Correlation;
use super::geometry::{Conv, Image, Phase, image};
use super::pack::{add_pixels, pack, pad, pad_masked};
use super::tiles::with_scratch;
use super::weight_gradient::WeightGradient;
use crate::Shape;
use crate::kernels::{Job, Real, Term};
use crate::memory::{Buffer, empty, zeros_of};
use crate::parallel::{chunks_of, for_each};

/// A convolution with its scratch.
pub struct Convolution<T> {
    pub(super) conv: Conv,
    /// Weights in panels, for the pass at hand.
    pub(super) panels: Buffer<T>,
    /// By chunk: its share of the kernel's gradient, then of the bias's.
    pub(super) sums: Buffer<T>,
}

/// The gradients that [`Convolution::backward`] finds besides the input's.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The kernel's.
    pub kernel: bool,
    /// The bias's.
    pub bias: bool,
}

/// A convolution of no images.
impl<T> Default for Convolution<T> {
    fn default() -> Self {
        Self {
            conv: Conv::default(),
            panels: empty(),
            sums: empty(),
        }
    }
}

impl<T: Real> Convolution<T> {
    /// Allocates the scratch, but for padded images, which are the thread's.
    ///
    /// # Errors
    /// What is wrong with the sizes: a stride or a kernel of 0, or more elements than memory
    /// can hold.
    pub fn new(conv: Conv) -> Result<Self, String> {
        let conv = conv.checked::<T>()?;
        let taps = conv.rows.kernel * conv.columns.kernel;
        let forward = taps * conv.ci * conv.co.next_multiple_of(PANEL);
        let gradient = taps * conv.co * conv.ci.next_multiple_of(PANEL);
        let transformed = conv.tile().map_or(0, |_| conv.transformed());
        let scratch = |elements| {
            zeros_of(Shape::from([elements])).ok_or("memory cannot hold the scratch of the kernel")
        };
        Ok(Self {
            panels: scratch(forward.max(gradient).max(transformed))?,
            sums: scratch(conv.chunks() * (conv.kernel() + conv.co))?,
            conv,
        })
    }

    /// y = x ∗ kernel; with a bias, y = max(x ∗ kernel + bias, 0).
    ///
    /// # Panics
    /// If the length of a slice is not that of its tensor.
    pub fn forward(&mut self, x: &[T], kernel: &[T], bias_relu: Option<&[T]>, y: &mut [T]) {
        let conv = self.conv;
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        assert_eq!(x.len(), conv.batch * x_image, "conv: length of x");
        assert_eq!(kernel.len(), conv.kernel(), "conv: length of the kernel");
        assert_eq!(y.len(), conv.batch * y_image, "conv: length of y");
        if y.is_empty() {
            return;
        }
        if let Some(m) = conv.tile() {
            return self.forward_in_tiles(m, x, kernel, bias_relu, y);
        }
        let inner = conv.columns.kernel * conv.ci;
        let depth = conv.rows.kernel * inner;
        let panels = &mut self.panels[..depth * conv.co.next_multiple_of(PANEL)];
        pack(panels, kernel, conv.co, (0..depth).map(|k| k * conv.co), 1);
        let panels = &*panels;
        let frame = conv.padded_x();
        let per = conv.per_chunk();
        for_each(conv.chunks(), chunks_of(y, per * y_image), |chunk, y| {
            with_scratch([frame.elements()], |[scratch]| {
                for (n, y) in y.chunks_exact_mut(y_image).enumerate() {
                    let padded = pad(image(x, x_image, chunk * per + n), &frame, scratch);
                    T::run(Job::Correlation(Correlation {
                        x: padded.data,
                        x_row: conv.rows.stride * padded.row,
                        x_pixel: conv.columns.stride * conv.ci,
                        kernel_rows: conv.rows.kernel,
                        kernel_row: padded.row,
                        inner,
                        panels,
                        y,
                        y_row: conv.columns.output * conv.co,
                        y_pixel: conv.co,
                        rows: conv.rows.output,
                        columns: conv.columns.output,
                        channels: conv.co,
                        term: Term::First,
                        bias_relu,
                        ahead: image(x, x_image, chunk * per + n + 1),
                    }));
                }
            });
        });
    }

    /// dx from dy, and what else is `wanted` into sums that [`Convolution::sums`] hands out.
    /// With `y`, the result of a ReLU, dy counts only where y > 0.
    ///
    /// # Panics
    /// If the length of a slice is not that of its tensor.
    pub fn backward(
        &mut self,
        x: &[T],
        kernel: &[T],
        y: Option<&[T]>,
        dy: &[T],
        dx: Option<(&mut [T], Term)>,
        wanted: Wanted,
    ) {
        let conv = self.conv;
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let (wants_dx, term) = dx
            .as_ref()
            .map_or((false, Term::Further), |(_, term)| (true, *term));
        let dx = dx.map_or(&mut [][..], |(dx, _)| dx);
        assert_eq!(x.len(), conv.batch * x_image, "conv: length of x");
        assert_eq!(kernel.len(), conv.kernel(), "conv: length of the kernel");
        assert_eq!(dy.len(), conv.batch * y_image, "conv: length of dy");
        assert!(y.is_none_or(|y| y.len() == dy.len()), "conv: length of y");
        assert!(!wants_dx || dx.len() == x.len(), "conv: length of dx");
        if let Some(m) = conv.tile() {
            let term = wants_dx.then_some(term);
            return self.backward_in_tiles(m, x, kernel, y, dy, dx, term, wanted);
        }
        if wants_dx {
            self.pack_transposed(kernel);
        }
        let (x_frame, dy_frame) = (conv.padded_x(), conv.padded_dy());
        let scratch = [dy_frame.elements(), x_frame.elements()];
        let per = conv.per_chunk();
        let panels = &self.panels[..];
        let chunks = (
            chunks_of(dx, per * x_image),
            chunks_of(&mut self.sums[..], conv.kernel() + conv.co),
        );
        for_each(conv.chunks(), chunks, |chunk, (dx, sums)| {
            let images = (chunk * per).min(conv.batch)..((chunk + 1) * per).min(conv.batch);
            sums.fill(T::zero());
            let (dkernel, dbias) = sums.split_at_mut(conv.kernel());
            with_scratch(scratch, |[dy_scratch, x_scratch]| {
                for (i, n) in images.enumerate() {
                    let dy_plain = image(dy, y_image, n);
                    let (dy_image, origin) = match y {
                        Some(y) => {
                            let masked = (image(y, y_image, n), dy_plain);
                            let padded = pad_masked(masked, &dy_frame, dy_scratch, dbias);
                            (padded, dy_frame.origin())
                        }
                        None if wants_dx => {
                            (pad(dy_plain, &dy_frame, dy_scratch), dy_frame.origin())
                        }
                        None => (dy_frame.plain(dy_plain), 0),
                    };
                    if y.is_none() && wanted.bias {
                        add_pixels(dy_plain, dbias);
                    }
                    let x = image(x, x_image, n);
                    let next_dy = image(dy, y_image, n + 1);
                    if wants_dx {
                        let ahead = if wanted.kernel { x } else { next_dy };
                        let dx = &mut dx[i * x_image..][..x_image];
                        input_gradient(&conv, panels, dy_image, (dx, term), ahead);
                    }
                    if wanted.kernel && y_image > 0 {
                        let x = pad(x, &x_frame, x_scratch);
                        T::run(Job::WeightGradient(WeightGradient {
                            x: x.data,
                            x_row: conv.rows.stride * x.row,
                            x_pixel: conv.columns.stride * conv.ci,
                            kernel_rows: conv.rows.kernel,
                            kernel_row: x.row,
                            inner: conv.columns.kernel * conv.ci,
                            dy: &dy_image.data[origin..],
                            dy_row: dy_image.row,
                            rows: conv.rows.output,
                            columns: conv.columns.output,
                            channels: conv.co,
                            dkernel,
                            ahead: next_dy,
                        }));
                    }
                }
            });
        });
    }

    /// The gradients of the kernel and of the bias, by chunk of images: to be added up in
    /// this order.
    pub fn sums(&self) -> impl Iterator<Item = (&[T], &[T])> {
        let (kernel, co) = (self.conv.kernel(), self.conv.co);
        let sums = self.sums.chunks_exact((kernel + co).max(1));
        sums.map(move |sums| sums.split_at(kernel))
    }

    /// The panels of each phase of the input gradient, phase after phase: kernels flipped, with
    /// their channels exchanged.
    pub(super) fn pack_transposed(&mut self, kernel: &[T]) {
        let conv = self.conv;
        let mut rest = &mut self.panels[..];
        for phase in conv.phases() {
            let (panels, others) = rest.split_at_mut(conv.phase_panels(phase));
            rest = others;
            let [rows, columns] = phase;
            let starts = (0..rows.taps).rev().flat_map(move |i| {
                (0..columns.taps).rev().flat_map(move |j| {
                    let row = rows.residue + i * conv.rows.stride;
                    let column = columns.residue + j * conv.columns.stride;
                    let start = (row * conv.columns.kernel + column) * conv.ci * conv.co;
                    start..start + conv.co
                })
            });
            pack(panels, kernel, conv.ci, starts, conv.co);
        }
    }
}

impl Conv {
    /// The phases of the input gradient: pairs of one of the rows and one of the columns.
    pub(super) fn phases(self) -> impl Iterator<Item = [Phase; 2]> {
        let columns = self.columns.phases();
        let rows = self.rows.phases();
        rows.flat_map(move |i| columns.clone().map(move |j| [i, j]))
    }

    /// Elements of the panels of one phase.
    pub(super) fn phase_panels(&self, [rows, columns]: [Phase; 2]) -> usize {
        rows.taps * columns.taps * self.co * self.ci.next_multiple_of(PANEL)
    }
}

/// dx of one image: a convolution of stride 1 for each phase, while `ahead` is fetched.
pub(super) fn input_gradient<T: Real>(
    conv: &Conv,
    panels: &[T],
    dy: Image<T>,
    (dx, term): (&mut [T], Term),
    mut ahead: &[T],
) {
    let (ci, co) = (conv.ci, conv.co);
    let dx_row = conv.columns.input * ci;
    let mut rest = panels;
    for phase in conv.phases() {
        let (panels, others) = rest.split_at(conv.phase_panels(phase));
        rest = others;
        let [rows, columns] = phase;
        if rows.inputs * columns.inputs * ci == 0 {
            continue;
        }
        let inner = columns.taps * co;
        let reads = rows.taps * inner > 0;
        let start = rows.start * dy.row + columns.start * co;
        T::run(Job::Correlation(Correlation {
            x: if reads { &dy.data[start..] } else { &[] },
            x_row: dy.row,
            x_pixel: co,
            kernel_rows: if reads { rows.taps } else { 0 },
            kernel_row: dy.row,
            inner,
            panels,
            y: &mut dx[rows.first * dx_row + columns.first * ci..],
            y_row: conv.rows.stride * dx_row,
            y_pixel: conv.columns.stride * ci,
            rows: rows.inputs,
            columns: columns.inputs,
            channels: ci,
            term,
            bias_relu: None,
            ahead: std::mem::take(&mut ahead),
        }));
    }
}
