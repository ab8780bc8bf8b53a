//! Weights in panels, and sums over pixels.

use super::PANEL;
use super::geometry::{Frame, Image};
use crate::kernels::Real;
use crate::kernels::simd::dispatched;

/// sums += Σ over the pixels of an image amid the zeros of `frame`.
pub(super) fn add_pixels<T: Real>(padded: Image<T>, frame: &Frame, sums: &mut [T]) {
    let pixels = &padded.data[..frame.elements()];
    dispatched!(
        #[inline(always)]
        || {
            for pixel in pixels.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(pixel).for_each(|(sum, &p)| *sum += p);
            }
        },
    );
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
