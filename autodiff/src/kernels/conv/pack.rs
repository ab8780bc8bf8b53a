//! Images with their zeros, and weights in panels.

use super::PANEL;
use super::geometry::{Frame, Image};
use crate::kernels::Real;
use crate::kernels::simd::dispatched;

/// The image with the zeros of `frame`: in place if there are none, else copied to `scratch`.
pub(super) fn pad<'a, T: Real>(
    image: &'a [T],
    frame: &Frame,
    scratch: &'a mut [T],
) -> Image<'a, T> {
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
pub(super) fn pad_masked<'a, T: Real>(
    (y, dy): (&[T], &[T]),
    frame: &Frame,
    scratch: &'a mut [T],
    dbias: &mut [T],
) -> Image<'a, T> {
    dispatched!(
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
pub(super) fn add_pixels<T: Real>(pixels: &[T], sums: &mut [T]) {
    for pixel in pixels.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &p)| *sum += p);
    }
}

/// Packs weights into panels: row k of them is `kernel[starts(k) + c·stride]` over the channels
/// c, in slices of [`PANEL`] channels, a slice of all rows after the other.
pub(super) fn pack<T: Real>(
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
