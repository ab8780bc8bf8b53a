//! 2-D convolution (cross-correlation) of images in NHWC with kernels in HWIO, directly:
//! no matrix of patches is ever built.
//!
//! ```text
//! for image in batch                          chunks of images go to the threads
//!   pad                   x → scratch         a zero border; the image is in L2 now
//!   for panel of output channels              V registers wide: 32 channels, or 16
//!     for row, for strip of pixels in it      the tile: P pixels × V registers of y
//!       for kernel row
//!         for k in (kernel column, channel)   P × V multiply-adds:
//!           tile[p][v] += x[p·stride + k] · panel[k][v]
//! ```
//!
//! **The register tile.** Channels lie side by side in NHWC, so 16 output channels are one
//! AVX-512 register. P = 8 pixels × V = 2 registers are 16 independent sums; two multiply-adds
//! a cycle with a latency of 4 need 8. One step takes P broadcasts of x and V loads of
//! weights to P·V multiply-adds: 10 loads to 16, where two of each can start in a cycle. With
//! V = 1 it is 9 to 8, and the loads decide. (Longer tiles then gain nothing: neither two
//! rows of 8 pixels nor 11 of one row, whose addresses no longer fit the registers.)
//!
//! **Two loops are one.** In NHWC the pixels under one kernel row are neighbours, and so are
//! in HWIO the weights of that row: `k` runs through columns and channels together, over
//! contiguous memory. An image of one channel thus has an inner loop as long as its kernel is
//! wide, and the stride is no more than the distance between the P broadcasts.
//!
//! **What stays where.** Three rows of a padded 32×32×16 image and its 3×3×16×16 weights are
//! 7 + 9 KiB: both stay in L1. For 64 channels a panel of weights is 72 KiB and streams from
//! L2 for every tile, 8 bytes a cycle, which the prefetcher keeps up with. The padded image
//! (10 to 74 KiB) is in L2, because the copy has just been made; the scratch is
//! the thread's own, the same lines for every image and every layer.
//!
//! **What comes next is fetched now.** Large activations (8 MiB for 128 images of 32×32×16)
//! come from L3 or memory, and a copy that waits for them took a fifth of the time. So every
//! tile asks for a few cache lines of the image that is copied next.
//!
//! **Padding by a copy** takes every condition out of the inner loops. Where a
//! convolution needs no zeros (1×1, VALID) the image is read in place.
//!
//! **The input gradient is the same loops.** dx is dy, padded, convolved with the flipped kernel,
//! its channels exchanged; both are done while packing the weights. With stride s, pixels of dx
//! whose coordinates are congruent modulo s are reached by the same taps, every s-th of
//! the kernel: each of the s² phases is a convolution of stride 1, written to every s-th
//! pixel. No inserted zero is ever multiplied.
//!
//! **The weight gradient** exchanges the roles. A tile of M values of `k` × V registers
//! of output channels stays in registers while pixels go by:
//!
//! ```text
//! for image in chunk
//!   for block of rows                         of x and dy together ≤ 24 KiB: stays in L1
//!     for panel, for kernel row, for strip of k
//!       for pixel of the block                M × V multiply-adds:
//!         tile[m][v] += x[pixel·stride + k + m] · dy[pixel][v]
//! ```
//!
//! Each chunk of images sums into a buffer of its own; the buffers are added in order. Chunks
//! depend on the batch alone, so the bits do not depend on the number of threads.
//!
//! **Fewer multiplications.** With stride 1, a 3×3 or 5×5 kernel and at least 16 channels, tiles of
//! pixels are transformed first: `winograd.rs` has the formulas. What is left are
//! convolutions of 1×1, made by the kernels here.
//!
//! The direct form, its register tile and its treatment of the gradients: Georganas et al.,
//! *Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures* (SC 2018),
//! which oneDNN's direct kernels share. That the layouts alone make patches unnecessary: Zhang,
//! Franchetti & Low, *High Performance Zero-Memory Overhead Direct Convolutions* (ICML 2018).

mod winograd;

pub use winograd::Transform;

use super::Term;
use super::elementwise::dispatch;
use super::lanes::{Kernel, Lanes, line, prefetch};
use crate::Real;
use crate::memory::{Buffer, zeros};
use crate::parallel::{chunks_of, for_each};
use std::ops::Range;

/// Most pixels of a forward tile.
const PIXELS: usize = 8;
/// Most weights, per register of output channels, of a tile of the weight gradient.
const WEIGHTS: usize = 12;
/// Registers across a tile.
const NV: usize = 2;
/// Rows of x and dy that the weight gradient works on at a time: most of a 32 KiB L1.
const BLOCK_BYTES: usize = 24 << 10;
/// Weights that lie side by side in a panel: a whole number of registers of every instruction
/// set, so that packing need not know which one it is for.
const PANEL: usize = 16;
/// Chunks that a batch is cut into: the most threads that can share one convolution.
const CHUNKS: usize = 8;

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
    /// Most positions that the passes pad an image to along this axis.
    pub(crate) fn padded(self) -> usize {
        self.padded_input().padded.max(self.padded_output().padded)
    }

    /// The input with its zeros, as far as outputs read it.
    fn padded_input(self) -> Span {
        let last = self.output.saturating_sub(1) * self.stride;
        Span {
            image: self.input,
            before: self.before,
            padded: last + self.kernel,
        }
    }

    /// The output's gradient with the zeros that the input gradient reads.
    ///
    /// Input i is joined to output o by tap i + before − o·stride. With i + before =
    /// q·stride + r, the taps are r, r + stride, … and the outputs q, q − 1, …: none before
    /// −(⌈kernel/stride⌉ − 1), none after the last input's q. All of the output is kept.
    fn padded_output(self) -> Span {
        let before = self.kernel.div_ceil(self.stride) - 1;
        let last = (self.input + self.before).saturating_sub(1) / self.stride;
        Span {
            image: self.output,
            before,
            padded: before + self.output.max(last + 1),
        }
    }

    /// The inputs `first`, `first` + stride, …, which the same taps reach.
    fn phase(self, first: usize) -> Phase {
        let (q, residue) = (
            (first + self.before) / self.stride,
            (first + self.before) % self.stride,
        );
        let most = self.kernel.div_ceil(self.stride);
        let taps = self.kernel.saturating_sub(residue).div_ceil(self.stride);
        Phase {
            first,
            inputs: self.input.saturating_sub(first).div_ceil(self.stride),
            residue,
            taps,
            // Its first tap meets output q, its last one q − (taps − 1).
            start: q + most - taps,
        }
    }

    fn phases(self) -> impl Iterator<Item = Phase> + Clone {
        (0..self.stride.min(self.input)).map(move |first| self.phase(first))
    }
}

/// Every stride-th input along an axis: those reached by the same taps.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// The first of them.
    first: usize,
    /// How many there are.
    inputs: usize,
    /// The first tap that reaches them; the others follow a stride apart.
    residue: usize,
    /// How many taps do.
    taps: usize,
    /// The place in the padded output of what the last tap joins to the first input.
    start: usize,
}

/// An axis of an image amid zeros.
#[derive(Clone, Copy, Debug)]
struct Span {
    image: usize,
    before: usize,
    /// Extent with the zeros; it may cut the image short.
    padded: usize,
}

impl Span {
    /// The padded positions that hold the image.
    fn inside(self) -> Range<usize> {
        self.before.min(self.padded)..(self.before + self.image).min(self.padded)
    }

    fn has_zeros(self) -> bool {
        self.inside() != (0..self.padded)
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
    /// Elements of one image of x.
    fn x_image(&self) -> usize {
        self.rows.input * self.columns.input * self.ci
    }

    /// Elements of one image of y.
    fn y_image(&self) -> usize {
        self.rows.output * self.columns.output * self.co
    }

    fn kernel(&self) -> usize {
        self.rows.kernel * self.columns.kernel * self.ci * self.co
    }

    /// Images in a chunk.
    fn per_chunk(&self) -> usize {
        self.batch.div_ceil(CHUNKS).max(1)
    }

    /// Number of chunks: at least one, whose sums are zeros if there is no image.
    fn chunks(&self) -> usize {
        self.batch.div_ceil(self.per_chunk()).max(1)
    }

    fn padded_x(&self) -> Frame {
        Frame {
            rows: self.rows.padded_input(),
            columns: self.columns.padded_input(),
            channels: self.ci,
        }
    }

    fn padded_dy(&self) -> Frame {
        Frame {
            rows: self.rows.padded_output(),
            columns: self.columns.padded_output(),
            channels: self.co,
        }
    }
}

/// An image amid zeros.
#[derive(Clone, Copy, Debug)]
struct Frame {
    rows: Span,
    columns: Span,
    channels: usize,
}

impl Frame {
    fn elements(&self) -> usize {
        self.rows.padded * self.columns.padded * self.channels
    }

    fn row(&self) -> usize {
        self.columns.padded * self.channels
    }

    /// Where the image begins.
    fn origin(&self) -> usize {
        self.rows.before * self.row() + self.columns.before * self.channels
    }

    /// The image without its zeros.
    fn plain<'a, T>(&self, data: &'a [T]) -> Image<'a, T> {
        let row = self.columns.image * self.channels;
        Image { data, row }
    }

    fn has_zeros(&self) -> bool {
        self.rows.has_zeros() || self.columns.has_zeros()
    }

    /// Writes `padded`: zeros, and for each row of the image what `copy` puts into the slice
    /// it is given, the image's elements from the index it is given on.
    #[inline(always)]
    fn fill<T: Real>(&self, padded: &mut [T], mut copy: impl FnMut(&mut [T], usize)) {
        let columns = self.columns.inside();
        let columns = columns.start * self.channels..columns.end * self.channels;
        let inside = self.rows.inside();
        let image_row = self.columns.image * self.channels;
        for (i, row) in padded.chunks_exact_mut(self.row().max(1)).enumerate() {
            if !inside.contains(&i) || columns.is_empty() {
                row.fill(T::zero());
                continue;
            }
            row[..columns.start].fill(T::zero());
            row[columns.end..].fill(T::zero());
            copy(&mut row[columns.clone()], (i - inside.start) * image_row);
        }
    }
}

/// An image as the kernels read it: pixel (i, j) begins at `i·row + j·channels`.
#[derive(Clone, Copy)]
struct Image<'a, T> {
    data: &'a [T],
    row: usize,
}

/// The n-th image of a tensor; nothing if there is none.
fn image<T>(tensor: &[T], len: usize, n: usize) -> &[T] {
    tensor.get(n * len..(n + 1) * len).unwrap_or_default()
}

/// The image with the zeros of `frame`: in place if there are none, else copied to `scratch`.
fn pad<'a, T: Real>(image: &'a [T], frame: &Frame, scratch: &'a mut [T]) -> Image<'a, T> {
    if !frame.has_zeros() {
        return frame.plain(image);
    }
    let row = frame.row();
    frame.fill(scratch, |to, from| {
        to.copy_from_slice(&image[from..][..to.len()])
    });
    Image { data: scratch, row }
}

/// dy where y > 0, with the zeros of `frame`; its sum over the pixels is added to `dbias`.
fn pad_masked<'a, T: Real>(
    (y, dy): (&[T], &[T]),
    frame: &Frame,
    scratch: &'a mut [T],
    dbias: &mut [T],
) -> Image<'a, T> {
    dispatch(
        #[inline(always)]
        || {
            frame.fill(scratch, |to, from| {
                let source = y[from..][..to.len()].iter().zip(&dy[from..][..to.len()]);
                for (to, (&y, &dy)) in to.iter_mut().zip(source) {
                    *to = if y > T::zero() { dy } else { T::zero() };
                }
                add_pixels(to, dbias);
            });
        },
    );
    Image {
        data: scratch,
        row: frame.row(),
    }
}

/// sums += Σ over the pixels
#[inline(always)]
fn add_pixels<T: Real>(pixels: &[T], sums: &mut [T]) {
    for pixel in pixels.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &p)| *sum += p);
    }
}

/// Packs weights into panels: row k of them is `kernel[starts(k) + c·stride]` over the channels
/// c, in slices of [`PANEL`] channels, a slice of all rows after the other.
fn pack<T: Real>(
    panels: &mut [T],
    kernel: &[T],
    channels: usize,
    starts: impl Iterator<Item = usize> + Clone,
    stride: usize,
) {
    let slices = channels.div_ceil(PANEL).max(1);
    let panel_len = panels.len() / slices;
    for (slice, panel) in panels.chunks_exact_mut(panel_len.max(1)).enumerate() {
        let first = slice * PANEL;
        let width = PANEL.min(channels - first);
        for (row, start) in panel
            .as_chunks_mut::<PANEL>()
            .0
            .iter_mut()
            .zip(starts.clone())
        {
            for (c, w) in row[..width].iter_mut().enumerate() {
                *w = kernel[start + (first + c) * stride];
            }
        }
    }
}

/// A convolution with its scratch.
pub struct Convolution<T> {
    conv: Conv,
    /// Weights in panels, for the pass at hand.
    panels: Buffer<T>,
    /// By chunk: its share of the kernel's gradient, then of the bias's.
    sums: Buffer<T>,
}

/// The gradients that [`Convolution::backward`] finds besides the input's.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The kernel's.
    pub kernel: bool,
    /// The bias's.
    pub bias: bool,
}

impl<T: Real> Convolution<T> {
    /// Allocates the scratch, but for padded images, which are the thread's.
    pub fn new(conv: Conv) -> Self {
        let taps = conv.rows.kernel * conv.columns.kernel;
        let forward = taps * conv.ci * conv.co.next_multiple_of(PANEL);
        let gradient = taps * conv.co * conv.ci.next_multiple_of(PANEL);
        let transformed = conv.tile().map_or(0, |_| conv.transformed());
        Self {
            panels: zeros(forward.max(gradient).max(transformed)),
            sums: zeros(conv.chunks() * (conv.kernel() + conv.co)),
            conv,
        }
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
                    T::run_correlation(Correlation {
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
                    });
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
                        T::run_weight_gradient(WeightGradient {
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
                        });
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
    fn pack_transposed(&mut self, kernel: &[T]) {
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
    fn phases(self) -> impl Iterator<Item = [Phase; 2]> {
        let columns = self.columns.phases();
        let rows = self.rows.phases();
        rows.flat_map(move |i| columns.clone().map(move |j| [i, j]))
    }

    /// Elements of the panels of one phase.
    fn phase_panels(&self, [rows, columns]: [Phase; 2]) -> usize {
        rows.taps * columns.taps * self.co * self.ci.next_multiple_of(PANEL)
    }
}

/// dx of one image: a convolution of stride 1 for each phase, while `ahead` is fetched.
fn input_gradient<T: Real>(
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
        T::run_correlation(Correlation {
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
        });
    }
}

/// Buffers of the thread's own, of these lengths, with whatever was there.
fn with_scratch<T: Real, R, const N: usize>(
    lengths: [usize; N],
    f: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    T::with_scratch(|scratch| {
        let places = lengths.map(|len| len.next_multiple_of(64));
        let len = places.iter().sum();
        if scratch.len() < len {
            scratch.resize(len, T::zero());
        }
        let mut rest = &mut scratch[..];
        f(std::array::from_fn(|i| {
            let (buffer, others) = std::mem::take(&mut rest).split_at_mut(places[i]);
            rest = others;
            &mut buffer[..lengths[i]]
        }))
    })
}

/// Memory that is read next, brought into L2 a few cache lines at a time.
#[derive(Clone, Copy)]
struct Ahead<T> {
    next: *const T,
    /// Cache lines at a time.
    lines: usize,
}

impl<T> Ahead<T> {
    /// All of `memory` in so many times.
    fn of(memory: &[T], times: usize) -> Self {
        Self {
            next: memory.as_ptr(),
            lines: memory.len().div_ceil(line::<T>()).div_ceil(times.max(1)),
        }
    }

    const fn nothing() -> Self {
        Self {
            next: std::ptr::null(),
            lines: 0,
        }
    }

    /// What is left after so many times.
    fn after(self, times: usize) -> Self {
        let next = self.next.wrapping_add(times * self.lines * line::<T>());
        Self { next, ..self }
    }

    #[inline(always)]
    fn fetch(&mut self) {
        for _ in 0..self.lines {
            prefetch(self.next);
            self.next = self.next.wrapping_add(line::<T>());
        }
    }
}

/// One image's y[i, j] = Σ over kernel rows r and k < `inner` of
/// x[i·x_row + j·x_pixel + r·kernel_row + k] · panels[r·inner + k], a vector of `channels`.
pub struct Correlation<'a, T> {
    x: &'a [T],
    x_row: usize,
    x_pixel: usize,
    kernel_rows: usize,
    kernel_row: usize,
    inner: usize,
    panels: &'a [T],
    y: &'a mut [T],
    y_row: usize,
    y_pixel: usize,
    rows: usize,
    columns: usize,
    channels: usize,
    term: Term,
    /// A bias, to which the sums are added before what is negative becomes 0.
    bias_relu: Option<&'a [T]>,
    /// What is read next.
    ahead: &'a [T],
}

impl<T: Real> Correlation<'_, T> {
    fn check(&self) {
        let last = |row: usize, pixel: usize| (self.rows - 1) * row + (self.columns - 1) * pixel;
        assert!(self.rows > 0 && self.columns > 0, "conv: no pixels");
        let depth = self.kernel_rows * self.inner;
        if depth > 0 {
            let x = last(self.x_row, self.x_pixel) + (self.kernel_rows - 1) * self.kernel_row;
            assert!(x + self.inner <= self.x.len(), "conv: reads beyond x");
        }
        let y = last(self.y_row, self.y_pixel) + self.channels;
        assert!(y <= self.y.len(), "conv: writes beyond y");
        let panels = depth * self.channels.next_multiple_of(PANEL);
        assert!(panels <= self.panels.len(), "conv: reads beyond the panels");
        let bias = self.bias_relu.map_or(self.channels, |bias| bias.len());
        assert_eq!(bias, self.channels, "conv: length of the bias");
    }
}

impl<T: Real> Kernel<T> for Correlation<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        self.check();
        let y = self.y.as_mut_ptr();
        for channel in (0..self.channels).step_by(NV * L::WIDTH) {
            let channels = (NV * L::WIDTH).min(self.channels - channel);
            let registers = channels.div_ceil(L::WIDTH);
            let pixels = strip(self.columns, limit::<T, L>(PIXELS, registers));
            let whole = self.columns / pixels * pixels;
            let ahead = Ahead::of(self.ahead, self.rows * (whole / pixels));
            for (columns, pixels) in [
                (0..whole, pixels),
                (whole..self.columns, self.columns - whole),
            ] {
                if columns.is_empty() {
                    continue;
                }
                let tiles = Tiles {
                    x: self.x.as_ptr().wrapping_add(columns.start * self.x_pixel),
                    x_row: self.x_row,
                    x_pixel: self.x_pixel,
                    kernel_rows: self.kernel_rows,
                    kernel_row: self.kernel_row,
                    inner: self.inner,
                    panels: self.panels.as_ptr(),
                    y: y.wrapping_add(columns.start * self.y_pixel + channel),
                    y_row: self.y_row,
                    y_pixel: self.y_pixel,
                    rows: self.rows,
                    columns: columns.len(),
                    channel,
                    channels,
                    term: self.term,
                    bias: self.bias_relu.map(|bias| bias[channel..].as_ptr()),
                    ahead: if channel == 0 && columns.start == 0 {
                        ahead
                    } else {
                        Ahead::nothing()
                    },
                };
                // SAFETY: `check` has compared what rows, columns and channels reach with
                // the slices.
                unsafe { tiles.run(lanes, pixels, registers) }
            }
        }
    }
}

/// Rows of a register tile: at most `most`, and as many as leave registers for one row of
/// the other operand and a broadcast.
const fn limit<T, L: Lanes<T>>(most: usize, registers: usize) -> usize {
    let fit = (L::REGISTERS - registers - 1) / registers;
    if fit < most { fit } else { most }
}

/// Length of the strips of equal size, but for the last, that `n` is cut into.
fn strip(n: usize, limit: usize) -> usize {
    n.div_ceil(n.div_ceil(limit))
}

/// The tiles of some columns and channels of an image: as [`Correlation`], from the first of
/// these on.
#[derive(Clone, Copy)]
struct Tiles<T> {
    x: *const T,
    x_row: usize,
    x_pixel: usize,
    kernel_rows: usize,
    kernel_row: usize,
    inner: usize,
    panels: *const T,
    y: *mut T,
    y_row: usize,
    y_pixel: usize,
    rows: usize,
    columns: usize,
    channel: usize,
    channels: usize,
    term: Term,
    bias: Option<*const T>,
    /// Fetched once a tile.
    ahead: Ahead<T>,
}

impl<T: Real> Tiles<T> {
    /// Runs the kernel compiled for this number of pixels and registers.
    ///
    /// # Safety
    /// What [`Correlation`]'s formula reads and writes for these rows, columns and channels
    /// is readable and writable. `pixels` divides `columns` and is 1 to [`PIXELS`];
    /// `registers`, 1 or 2, hold the channels.
    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, lanes: L, pixels: usize, registers: usize) {
        macro_rules! pick {
            ($($p:literal)*) => {
                match (pixels, registers) {
                    $(($p, 1) => lanes.call(Pixels::<T, $p, 1>(self)),
                      ($p, _) => lanes.call(Pixels::<T, $p, NV>(self)),)*
                    _ => unreachable!("a tile has 1 to 8 pixels"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8)
    }
}

/// Tiles of P pixels by V registers of channels.
///
/// Built by [`Tiles::run`] only, whose contract `run` relies on.
struct Pixels<T, const P: usize, const V: usize>(Tiles<T>);

impl<T: Real, const P: usize, const V: usize> Kernel<T> for Pixels<T, P, V> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if const { P > limit::<T, L>(PIXELS, V) } {
            unreachable!("the tile does not fit the registers");
        }
        let job = self.0;
        let mut ahead = job.ahead;
        let zero = lanes.splat(T::zero());
        let depth = job.kernel_rows * job.inner;
        let pixels: [usize; P] = std::array::from_fn(|p| p * job.x_pixel);
        let panels: [*const T; V] = std::array::from_fn(|v| {
            let channel = job.channel + v * L::WIDTH;
            let start = channel / PANEL * depth * PANEL + channel % PANEL;
            job.panels.wrapping_add(start)
        });
        let full = lanes.first(L::WIDTH);
        let tail = lanes.first(job.channels - (V - 1) * L::WIDTH);
        let mask = |v| if v + 1 < V { full } else { tail };
        let mut start = [zero; V];
        if let Some(bias) = job.bias {
            for (v, start) in start.iter_mut().enumerate() {
                // SAFETY: the bias has the channels of the mask.
                *start = unsafe { lanes.load_masked(mask(v), bias.add(v * L::WIDTH)) };
            }
        }
        for i in 0..job.rows {
            for j in (0..job.columns).step_by(P) {
                ahead.fetch();
                let mut sums = [start; P];
                let x = job.x.wrapping_add(i * job.x_row + j * job.x_pixel);
                let mut weights = panels;
                for r in 0..job.kernel_rows {
                    let mut x = x.wrapping_add(r * job.kernel_row);
                    for _ in 0..job.inner {
                        let mut w = [zero; V];
                        for (w, weights) in w.iter_mut().zip(&mut weights) {
                            // SAFETY: row r·inner + k of the panels.
                            *w = unsafe { lanes.load(*weights) };
                            *weights = weights.wrapping_add(PANEL);
                        }
                        for (sums, &pixel) in sums.iter_mut().zip(&pixels) {
                            // SAFETY: element k under row r of the kernel, for this pixel.
                            let x = lanes.splat(unsafe { *x.add(pixel) });
                            for v in 0..V {
                                sums[v] = lanes.mul_add(x, w[v], sums[v]);
                            }
                        }
                        x = x.wrapping_add(1);
                    }
                }
                let y = job.y.wrapping_add(i * job.y_row + j * job.y_pixel);
                for (p, sums) in sums.into_iter().enumerate() {
                    for (v, mut sum) in sums.into_iter().enumerate() {
                        // SAFETY: the channels of the mask of pixel (i, j + p) of y.
                        unsafe {
                            let y = y.add(p * job.y_pixel + v * L::WIDTH);
                            if job.term == Term::Further {
                                sum = lanes.add(lanes.load_masked(mask(v), y), sum);
                            }
                            if job.bias.is_some() {
                                sum = lanes.max(zero, sum);
                            }
                            lanes.store_masked(mask(v), y, sum);
                        }
                    }
                }
            }
        }
    }
}

/// One image's dkernel\[r, k\] += Σ over pixels (i, j) of
/// x[i·x_row + j·x_pixel + r·kernel_row + k] · dy[i·dy_row + j·channels], a vector of
/// `channels`, for k < `inner`.
pub struct WeightGradient<'a, T> {
    x: &'a [T],
    x_row: usize,
    x_pixel: usize,
    kernel_rows: usize,
    kernel_row: usize,
    inner: usize,
    dy: &'a [T],
    dy_row: usize,
    rows: usize,
    columns: usize,
    channels: usize,
    dkernel: &'a mut [T],
    /// What is read next.
    ahead: &'a [T],
}

impl<T: Real> WeightGradient<'_, T> {
    fn check(&self) {
        assert!(self.rows > 0 && self.columns > 0, "conv: no pixels");
        let (i, j) = (self.rows - 1, self.columns - 1);
        let below = self.kernel_rows.saturating_sub(1) * self.kernel_row;
        let x = i * self.x_row + j * self.x_pixel + below;
        assert!(x + self.inner <= self.x.len(), "conv: reads beyond x");
        let dy = i * self.dy_row + j * self.channels + self.channels;
        assert!(dy <= self.dy.len(), "conv: reads beyond dy");
        let kernel = self.kernel_rows * self.inner * self.channels;
        assert_eq!(kernel, self.dkernel.len(), "conv: length of dkernel");
    }

    /// Rows of a block, so that what it reads of x and dy stays in L1.
    fn block(&self) -> usize {
        let above = self.kernel_rows.saturating_sub(1) * self.kernel_row;
        let room = (BLOCK_BYTES / size_of::<T>()).saturating_sub(above);
        strip(self.rows, (room / (self.x_row + self.dy_row)).max(1))
    }
}

impl<T: Real> Kernel<T> for WeightGradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        self.check();
        if self.inner == 0 {
            return;
        }
        let dkernel = self.dkernel.as_mut_ptr();
        let block = self.block();
        let panels = self.channels.div_ceil(NV * L::WIDTH);
        let strips = self.inner.div_ceil(limit::<T, L>(WEIGHTS, NV));
        let times = self.rows * panels * self.kernel_rows * strips;
        let mut ahead = Ahead::of(self.ahead, times);
        for i in (0..self.rows).step_by(block) {
            for channel in (0..self.channels).step_by(NV * L::WIDTH) {
                let channels = (NV * L::WIDTH).min(self.channels - channel);
                let registers = channels.div_ceil(L::WIDTH);
                let weights = strip(self.inner, limit::<T, L>(WEIGHTS, registers));
                let whole = self.inner / weights * weights;
                for r in 0..self.kernel_rows {
                    for (k, weights) in
                        [(0..whole, weights), (whole..self.inner, self.inner - whole)]
                    {
                        if k.is_empty() {
                            continue;
                        }
                        let x = i * self.x_row + r * self.kernel_row + k.start;
                        let row = (r * self.inner + k.start) * self.channels;
                        let tiles = OuterTiles {
                            x: self.x.as_ptr().wrapping_add(x),
                            x_row: self.x_row,
                            x_pixel: self.x_pixel,
                            inner: k.len(),
                            dy: self.dy.as_ptr().wrapping_add(i * self.dy_row + channel),
                            dy_row: self.dy_row,
                            dy_pixel: self.channels,
                            rows: block.min(self.rows - i),
                            columns: self.columns,
                            channels,
                            dkernel: dkernel.wrapping_add(row + channel),
                            ahead,
                        };
                        ahead = ahead.after(tiles.rows * k.len() / weights);
                        // SAFETY: `check` has compared what rows, columns, k and channels
                        // reach with the slices.
                        unsafe { tiles.run(lanes, weights, registers) }
                    }
                }
            }
        }
    }
}

/// The tiles of some rows of the image, one row of the kernel, some k and some channels: as
/// [`WeightGradient`], from the first of these on.
#[derive(Clone, Copy)]
struct OuterTiles<T> {
    x: *const T,
    x_row: usize,
    x_pixel: usize,
    inner: usize,
    dy: *const T,
    dy_row: usize,
    dy_pixel: usize,
    rows: usize,
    columns: usize,
    channels: usize,
    dkernel: *mut T,
    /// Fetched for every row of every tile.
    ahead: Ahead<T>,
}

impl<T: Real> OuterTiles<T> {
    /// Runs the kernel compiled for this number of weights and registers.
    ///
    /// # Safety
    /// What [`WeightGradient`]'s formula reads and writes for these rows, columns, k and
    /// channels is readable and writable. `weights` divides `inner` and is 1 to [`WEIGHTS`];
    /// `registers`, 1 or 2, hold the channels.
    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, lanes: L, weights: usize, registers: usize) {
        macro_rules! pick {
            ($($m:literal)*) => {
                match (weights, registers) {
                    $(($m, 1) => lanes.call(Weights::<T, $m, 1>(self)),
                      ($m, _) => lanes.call(Weights::<T, $m, NV>(self)),)*
                    _ => unreachable!("a tile has 1 to 12 weights"),
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// Tiles of M weights by V registers of channels.
///
/// Built by [`OuterTiles::run`] only, whose contract `run` relies on.
struct Weights<T, const M: usize, const V: usize>(OuterTiles<T>);

impl<T: Real, const M: usize, const V: usize> Kernel<T> for Weights<T, M, V> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if const { M > limit::<T, L>(WEIGHTS, V) } {
            unreachable!("the tile does not fit the registers");
        }
        let job = self.0;
        let mut ahead = job.ahead;
        let full = lanes.first(L::WIDTH);
        let tail = lanes.first(job.channels - (V - 1) * L::WIDTH);
        let mask = |v| if v + 1 < V { full } else { tail };
        for k in (0..job.inner).step_by(M) {
            let mut sums = [[lanes.splat(T::zero()); V]; M];
            for i in 0..job.rows {
                ahead.fetch();
                let mut x = job.x.wrapping_add(i * job.x_row + k);
                let mut dy = job.dy.wrapping_add(i * job.dy_row);
                for _ in 0..job.columns {
                    let mut pixel = [lanes.splat(T::zero()); V];
                    for (v, pixel) in pixel.iter_mut().enumerate() {
                        // SAFETY: the channels of the mask of a pixel of dy.
                        *pixel = unsafe { lanes.load_masked(mask(v), dy.add(v * L::WIDTH)) };
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: element k + m under the kernel's row, for this pixel.
                        let x = lanes.splat(unsafe { *x.add(m) });
                        for v in 0..V {
                            sums[v] = lanes.mul_add(x, pixel[v], sums[v]);
                        }
                    }
                    x = x.wrapping_add(job.x_pixel);
                    dy = dy.wrapping_add(job.dy_pixel);
                }
            }
            for (m, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    // SAFETY: the channels of the mask of weight k + m.
                    unsafe {
                        let row = (k + m) * job.dy_pixel + v * L::WIDTH;
                        let old = lanes.load_masked(mask(v), job.dkernel.add(row));
                        lanes.store_masked(mask(v), job.dkernel.add(row), lanes.add(old, sum));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lanes::testing::on_every_level;

    /// Integers, so that every order of summation gives the same result.
    fn integers<T: Real>(n: usize, seed: usize) -> Vec<T> {
        (0..n)
            .map(|i| T::of(((i + seed) * 7919 % 13) as f64 - 6.0))
            .collect()
    }

    /// Rows, columns, kernel rows, inner length, distance of pixels, channels: around every
    /// edge of tiles, registers and panels.
    const SIZES: [[usize; 6]; 12] = [
        [1, 1, 1, 1, 1, 1],
        [2, 3, 2, 5, 1, 3],
        [3, 7, 3, 9, 3, 16],
        [2, 8, 3, 48, 16, 17],
        [5, 9, 1, 13, 26, 31],
        [4, 16, 2, 12, 4, 32],
        [3, 33, 3, 11, 5, 33],
        [2, 15, 2, 25, 2, 48],
        [1, 6, 4, 1, 2, 64],
        [40, 5, 3, 64, 64, 8],
        [2, 4, 0, 3, 1, 5],
        [2, 4, 2, 0, 1, 5],
    ];

    fn correlations<T: Real>() {
        on_every_level(|name, level| {
            for [rows, columns, kernel_rows, inner, x_pixel, channels] in SIZES {
                let kernel_row = (columns - 1) * x_pixel + inner + 1;
                let x_row = 2 * kernel_row;
                let depth = kernel_rows * inner;
                let x: Vec<T> = integers((2 * rows + kernel_rows) * kernel_row, 1);
                let w: Vec<T> = integers(depth * channels, 2);
                let bias: Vec<T> = integers(channels, 3);
                let mut panels = vec![T::nan(); depth * channels.next_multiple_of(PANEL)];
                pack(
                    &mut panels,
                    &w,
                    channels,
                    (0..depth).map(|k| k * channels),
                    1,
                );
                let y_pixel = 2 * channels + 1;
                let y_row = columns * y_pixel;
                for (term, relu) in [
                    (Term::First, false),
                    (Term::Further, false),
                    (Term::First, true),
                ] {
                    let mut y: Vec<T> = integers(rows * y_row, 4);
                    let mut expected = y.clone();
                    for i in 0..rows {
                        for j in 0..columns {
                            for c in 0..channels {
                                let mut sum = if relu { bias[c] } else { T::zero() };
                                for r in 0..kernel_rows {
                                    for k in 0..inner {
                                        sum += x[i * x_row + j * x_pixel + r * kernel_row + k]
                                            * w[(r * inner + k) * channels + c];
                                    }
                                }
                                let y = &mut expected[i * y_row + j * y_pixel + c];
                                *y = match term {
                                    Term::Further => *y + sum,
                                    Term::First if relu => sum.max(T::zero()),
                                    Term::First => sum,
                                };
                            }
                        }
                    }
                    level.run(Correlation {
                        x: &x,
                        x_row,
                        x_pixel,
                        kernel_rows,
                        kernel_row,
                        inner,
                        panels: &panels,
                        y: &mut y,
                        y_row,
                        y_pixel,
                        rows,
                        columns,
                        channels,
                        term,
                        bias_relu: relu.then_some(&bias),
                        ahead: &x,
                    });
                    assert!(
                        y == expected,
                        "{name}, {rows}×{columns}, {channels}, {term:?}"
                    );
                }
            }
        });
    }

    #[test]
    fn correlations_agree_with_naive_loops() {
        correlations::<f32>();
        correlations::<f64>();
    }

    fn weight_gradients<T: Real>() {
        on_every_level(|name, level| {
            for [rows, columns, kernel_rows, inner, x_pixel, channels] in SIZES {
                let kernel_row = (columns - 1) * x_pixel + inner + 1;
                let x_row = 2 * kernel_row;
                let dy_row = (columns + 1) * channels;
                let x: Vec<T> = integers((2 * rows + kernel_rows) * kernel_row, 1);
                let dy: Vec<T> = integers(rows * dy_row, 2);
                let mut dkernel: Vec<T> = integers(kernel_rows * inner * channels, 3);
                let mut expected = dkernel.clone();
                for (index, dkernel) in expected.iter_mut().enumerate() {
                    let (k, c) = (index / channels, index % channels);
                    let (r, k) = (k / inner, k % inner);
                    for i in 0..rows {
                        for j in 0..columns {
                            *dkernel += x[i * x_row + j * x_pixel + r * kernel_row + k]
                                * dy[i * dy_row + j * channels + c];
                        }
                    }
                }
                level.run(WeightGradient {
                    x: &x,
                    x_row,
                    x_pixel,
                    kernel_rows,
                    kernel_row,
                    inner,
                    dy: &dy,
                    dy_row,
                    rows,
                    columns,
                    channels,
                    dkernel: &mut dkernel,
                    ahead: &dy,
                });
                assert!(dkernel == expected, "{name}, {rows}×{columns}, {channels}");
            }
        });
    }

    #[test]
    fn weight_gradients_agree_with_naive_loops() {
        weight_gradients::<f32>();
        weight_gradients::<f64>();
    }

    #[test]
    #[should_panic(expected = "beyond x")]
    fn what_reads_beyond_x_is_refused() {
        f32::run_correlation(Correlation {
            x: &[0.0; 7],
            x_row: 4,
            x_pixel: 1,
            kernel_rows: 1,
            kernel_row: 4,
            inner: 2,
            panels: &[0.0; 32],
            y: &mut [0.0; 6],
            y_row: 3,
            y_pixel: 1,
            rows: 2,
            columns: 3,
            channels: 1,
            term: Term::First,
            bias_relu: None,
            ahead: &[],
        });
    }

    /// y, dx and the gradients of kernel and bias of a layer with bias and ReLU.
    fn everything(conv: Conv) -> [Vec<f32>; 4] {
        let data =
            |n: usize, rate: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * rate).sin()).collect() };
        let x = data(conv.batch * conv.x_image(), 0.7);
        let (kernel, bias) = (data(conv.kernel(), 1.1), data(conv.co, 1.3));
        let mut y = vec![0.0; conv.batch * conv.y_image()];
        let dy = data(y.len(), 1.7);
        let (mut dx, mut dkernel) = (vec![0.0; x.len()], vec![0.0; kernel.len()]);
        let mut dbias = vec![0.0; conv.co];
        let mut convolution = Convolution::new(conv);
        convolution.forward(&x, &kernel, Some(&bias), &mut y);
        let wanted = Wanted {
            kernel: true,
            bias: true,
        };
        let term = Some((&mut dx[..], Term::First));
        convolution.backward(&x, &kernel, Some(&y), &dy, term, wanted);
        for (k, b) in convolution.sums() {
            dkernel.iter_mut().zip(k).for_each(|(sum, &x)| *sum += x);
            dbias.iter_mut().zip(b).for_each(|(sum, &x)| *sum += x);
        }
        [y, dx, dkernel, dbias]
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let axis = Axis {
            input: 9,
            kernel: 3,
            output: 5,
            stride: 2,
            before: 1,
        };
        let conv = Conv {
            batch: 19,
            rows: axis,
            columns: axis,
            ci: 5,
            co: 18,
        };
        let alone = everything(conv);
        for threads in [2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let shared = pool.build().unwrap().install(|| everything(conv));
            for (name, (s, a)) in ["y", "dx", "dkernel", "dbias"]
                .into_iter()
                .zip(shared.iter().zip(&alone))
            {
                assert_eq!(s, a, "{name}, {threads} threads");
            }
        }
    }
}
