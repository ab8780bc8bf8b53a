//! The forward pass, and both gradients.

use super::PANEL;
use super::correlation::{Correlation, Repeats};
use super::geometry::{Conv, Image, Phase};
use super::pack::{add_pixels, pack};
use super::source::{Passed, Source, images_of};
use super::tiles::with_scratch;
use super::weight_gradient::WeightGradient;
use crate::Shape;
use crate::kernels::{Job, Real, Term};
use crate::memory::{Buffer, empty, zeros_of};
use crate::parallel::{Chunks, chunks_of, for_each};
use std::ops::Range;

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

/// What is done with the sums of a pixel of y.
#[derive(Clone, Copy)]
pub(crate) enum Epilogue<'a, T> {
    /// They are stored as this term of y.
    Store(Term),
    /// A bias is added, and what is negative becomes 0, before they are stored.
    BiasRelu(&'a [T]),
}

/// Where the images of y of a chunk go.
pub(super) struct Results<'a, T> {
    pub(super) epilogue: Epilogue<'a, T>,
    y: &'a mut [T],
    /// What is read along with y, image by image; nothing if it is empty.
    beside: &'a [T],
    /// Elements of an image.
    len: usize,
    /// The chunk's first image.
    first: usize,
    kept: bool,
}

impl<T> Results<'_, T> {
    /// Elements of the scratch that [`image`](Self::image) needs.
    pub(super) fn scratch(&self) -> usize {
        if self.kept { 0 } else { self.len }
    }

    /// These images of y, as far as they are kept, and what is read along with them.
    pub(super) fn memory(&self, images: Range<usize>) -> [&[T]; 2] {
        let of_chunk = images.start - self.first..images.end - self.first;
        [
            images_of(self.y, self.len, of_chunk),
            images_of(self.beside, self.len, images),
        ]
    }

    /// [`image`](Self::image), and [`memory`](Self::memory) of the one after it if there is one.
    fn image_and_next<'a>(
        &'a mut self,
        n: usize,
        next: Range<usize>,
        scratch: &'a mut [T],
    ) -> (&'a mut [T], [&'a [T]; 2]) {
        let beside = images_of(self.beside, self.len, next.clone());
        if !self.kept {
            return (scratch, [&[], beside]);
        }
        let start = (n - self.first) * self.len;
        let (image, rest) = self.y[start..].split_at_mut(self.len);
        (image, [images_of(rest, self.len, 0..next.len()), beside])
    }

    /// The place of the n-th image: in y, or in the scratch.
    pub(super) fn image<'a>(&'a mut self, n: usize, scratch: &'a mut [T]) -> &'a mut [T] {
        match self.kept {
            true => &mut self.y[(n - self.first) * self.len..][..self.len],
            false => scratch,
        }
    }
}

/// Where the gradients of a chunk go.
pub(super) struct Gradients<'a, T> {
    dx: &'a mut [T],
    /// None if dx is not wanted.
    pub(super) dx_term: Option<Term>,
    /// The chunk's first image.
    first: usize,
    pub(super) dkernel: Option<&'a mut [T]>,
    pub(super) dbias: Option<&'a mut [T]>,
}

impl<T> Gradients<'_, T> {
    /// dx of some images of so many elements.
    pub(super) fn memory(&self, len: usize, images: Range<usize>) -> &[T] {
        &self.dx[(images.start - self.first) * len..(images.end - self.first) * len]
    }

    /// dx of the n-th image, of so many elements.
    pub(super) fn dx(&mut self, n: usize, len: usize) -> &mut [T] {
        &mut self.dx[(n - self.first) * len..][..len]
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
        let y_len = self.conv.batch * self.conv.y_image();
        assert_eq!(y.len(), y_len, "conv: length of y");
        let epilogue = bias_relu.map_or(Epilogue::Store(Term::First), Epilogue::BiasRelu);
        self.forward_from(&x, kernel, epilogue, y, &[], (), |_, _, _| {});
    }

    /// [`forward`](Self::forward) of any images. Each image of y, with its number and what `others`
    /// has for its chunk, is given to `then` while it is in cache; what `then` reads `beside`,
    /// image by image, is fetched ahead of time. If y has no elements its images are kept no longer
    /// than that.
    ///
    /// # Panics
    /// If the length of a slice is not that of its tensor.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn forward_from<C: Chunks>(
        &mut self,
        x: &impl Source<T>,
        kernel: &[T],
        epilogue: Epilogue<T>,
        y: &mut [T],
        beside: &[T],
        others: C,
        then: impl Fn(usize, &mut [T], &mut C::Item) + Sync,
    ) {
        let conv = self.conv;
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let y_len = conv.batch * y_image;
        assert!(x.is(conv.batch, x_image), "conv: length of x");
        assert_eq!(kernel.len(), conv.kernel(), "conv: length of the kernel");
        let kept = !y.is_empty();
        assert!(!kept || y.len() == y_len, "conv: length of y");
        if y_len == 0 {
            return;
        }
        self.pack_forward(kernel);
        let (panels, per) = (&self.panels[..], conv.per_chunk());
        let chunks = (chunks_of(y, per * y_image), others);
        for_each(conv.chunks(), chunks, |chunk, (y, mut others)| {
            let results = Results {
                epilogue,
                y,
                beside,
                len: y_image,
                first: chunk * per,
                kept,
            };
            let images = conv.images(chunk);
            let then = |n, y: &mut [T]| then(n, y, &mut others);
            match conv.tile() {
                Some(m) => conv.forward_in_tiles(m, x, panels, images, results, then),
                None => conv.forward_directly(x, panels, images, results, then),
            }
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
        match y {
            Some(y) => {
                let dy = Passed { y, dy };
                self.backward_from(&x, kernel, &dy, dx, wanted, (), |_, _, _| {});
            }
            None => self.backward_from(&x, kernel, &dy, dx, wanted, (), |_, _, _| {}),
        }
    }

    /// [`backward`](Self::backward) of any images. Each image of dx, with its number and what
    /// `others` has for its chunk, is given to `then` while it is in cache.
    ///
    /// # Panics
    /// If the length of a slice is not that of its tensor.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward_from<C: Chunks>(
        &mut self,
        x: &impl Source<T>,
        kernel: &[T],
        dy: &impl Source<T>,
        dx: Option<(&mut [T], Term)>,
        wanted: Wanted,
        others: C,
        then: impl Fn(usize, &mut [T], &mut C::Item) + Sync,
    ) {
        let conv = self.conv;
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let dx_term = dx.as_ref().map(|(_, term)| *term);
        let dx = dx.map_or(&mut [][..], |(dx, _)| dx);
        assert!(x.is(conv.batch, x_image), "conv: length of x");
        assert_eq!(kernel.len(), conv.kernel(), "conv: length of the kernel");
        assert!(dy.is(conv.batch, y_image), "conv: length of dy");
        let whole = dx.len() == conv.batch * x_image;
        assert!(dx_term.is_none() || whole, "conv: length of dx");
        if dx_term.is_some() {
            self.pack_backward(kernel);
        }
        let (panels, per) = (&self.panels[..], conv.per_chunk());
        let sums = chunks_of(&mut self.sums[..], conv.kernel() + conv.co);
        let chunks = ((chunks_of(dx, per * x_image), sums), others);
        for_each(conv.chunks(), chunks, |chunk, ((dx, sums), mut others)| {
            sums.fill(T::zero());
            let (dkernel, dbias) = sums.split_at_mut(conv.kernel());
            let gradients = Gradients {
                dx,
                dx_term,
                first: chunk * per,
                dkernel: wanted.kernel.then_some(dkernel),
                dbias: wanted.bias.then_some(dbias),
            };
            let images = conv.images(chunk);
            let then = |n, dx: &mut [T]| then(n, dx, &mut others);
            match conv.tile() {
                Some(m) => conv.backward_in_tiles(m, (x, dy), panels, images, gradients, then),
                None => conv.backward_directly((x, dy), panels, images, gradients, then),
            }
        });
    }

    /// Images.
    pub(crate) fn batch(&self) -> usize {
        self.conv.batch
    }

    /// Chunks of images that the passes work on.
    pub(crate) fn chunks(&self) -> usize {
        self.conv.chunks()
    }

    /// Images of a chunk.
    pub(crate) fn per_chunk(&self) -> usize {
        self.conv.per_chunk()
    }

    fn pack_forward(&mut self, kernel: &[T]) {
        let conv = self.conv;
        match conv.tile() {
            Some(_) => conv.transform_forward(&mut self.panels, kernel),
            None => {
                let depth = conv.rows.kernel * conv.columns.kernel * conv.ci;
                let panels = &mut self.panels[..depth * conv.co.next_multiple_of(PANEL)];
                pack(panels, kernel, conv.co, (0..depth).map(|k| k * conv.co), 1);
            }
        }
    }

    fn pack_backward(&mut self, kernel: &[T]) {
        match self.conv.tile() {
            Some(_) => self.conv.transform_backward(&mut self.panels, kernel),
            None => self.pack_transposed(kernel),
        }
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
    /// y of some images.
    fn forward_directly<T: Real>(
        &self,
        x: &impl Source<T>,
        panels: &[T],
        images: Range<usize>,
        mut results: Results<T>,
        mut then: impl FnMut(usize, &mut [T]),
    ) {
        let frame = self.padded_x();
        let lengths = [frame.elements(), results.scratch()];
        with_scratch(lengths, |[padded, y_scratch]| {
            let (term, bias_relu) = match results.epilogue {
                Epilogue::Store(term) => (term, None),
                Epilogue::BiasRelu(bias) => (Term::First, Some(bias)),
            };
            for n in images.clone() {
                let padded = x.padded(n, &frame, padded);
                let next = n + 1..images.end.min(n + 2);
                let [next_x, other] = x.memory(self.x_image(), next.clone());
                let (y, [next_y, beside]) = results.image_and_next(n, next, y_scratch);
                T::run(Job::Correlation(Correlation {
                    x: padded.data,
                    x_row: self.rows.stride * padded.row,
                    x_pixel: self.columns.stride * self.ci,
                    kernel_rows: self.rows.kernel,
                    kernel_row: padded.row,
                    inner: self.columns.kernel * self.ci,
                    panels,
                    y: &mut *y,
                    y_row: self.columns.output * self.co,
                    y_pixel: self.co,
                    rows: self.rows.output,
                    columns: self.columns.output,
                    channels: self.co,
                    term,
                    bias_relu,
                    repeats: Repeats::NONE,
                    ahead: [next_x, other, beside, next_y],
                }));
                then(n, y);
            }
        });
    }

    /// The gradients of some images.
    fn backward_directly<T: Real>(
        &self,
        (x, dy): (&impl Source<T>, &impl Source<T>),
        panels: &[T],
        images: Range<usize>,
        mut gradients: Gradients<T>,
        mut then: impl FnMut(usize, &mut [T]),
    ) {
        let (x_image, y_image) = (self.x_image(), self.y_image());
        let x_frame = self.padded_x();
        let dy_frame = match gradients.dx_term {
            Some(_) => self.padded_dy(),
            None => self.plain_dy(),
        };
        let lengths = [dy_frame.elements(), x_frame.elements()];
        with_scratch(lengths, |[dy_scratch, x_scratch]| {
            for n in images {
                let padded_dy = dy.padded(n, &dy_frame, dy_scratch);
                if let Some(dbias) = &mut gradients.dbias {
                    add_pixels(padded_dy, &dy_frame, dbias);
                }
                let [next_dy, other_dy] = dy.memory(y_image, n + 1..n + 2);
                if let Some(term) = gradients.dx_term {
                    let ahead = match gradients.dkernel {
                        Some(_) => x.memory(x_image, n..n + 1),
                        None => [next_dy, other_dy],
                    };
                    let dx = gradients.dx(n, x_image);
                    input_gradient(self, panels, padded_dy, (&mut *dx, term), ahead);
                    then(n, dx);
                }
                if let Some(dkernel) = &mut gradients.dkernel
                    && y_image > 0
                {
                    let x = x.padded(n, &x_frame, x_scratch);
                    T::run(Job::WeightGradient(WeightGradient {
                        x: x.data,
                        x_row: self.rows.stride * x.row,
                        x_pixel: self.columns.stride * self.ci,
                        kernel_rows: self.rows.kernel,
                        kernel_row: x.row,
                        inner: self.columns.kernel * self.ci,
                        dy: &padded_dy.data[dy_frame.origin()..],
                        dy_row: padded_dy.row,
                        rows: self.rows.output,
                        columns: self.columns.output,
                        channels: self.co,
                        dkernel,
                        repeats: Repeats::NONE,
                        ahead: [next_dy, other_dy, &[], &[]],
                    }));
                }
            }
        });
    }

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
    ahead: [&[T]; 2],
) {
    let (ci, co) = (conv.ci, conv.co);
    let dx_row = conv.columns.input * ci;
    let mut rest = panels;
    let mut ahead = Some(ahead);
    for phase in conv.phases() {
        let (panels, others) = rest.split_at(conv.phase_panels(phase));
        rest = others;
        let [rows, columns] = phase;
        if rows.inputs * columns.inputs * ci == 0 {
            continue;
        }
        let inner = columns.taps * co;
        let reads = rows.taps * inner > 0;
        let [one, other] = ahead.take().unwrap_or_default();
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
            repeats: Repeats::NONE,
            ahead: [one, other, &[], &[]],
        }));
    }
}
