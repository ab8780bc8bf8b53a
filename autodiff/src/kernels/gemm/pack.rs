//! Blocks of B, packed into panels.

use super::Matrix;
use crate::kernels::Real;
use crate::kernels::simd::{Lanes, MOST_LANES, transposed};
use std::ops::Range;

/// The inner dimension in blocks of equal size, at most `most`, lest the last be a sliver; one of them, empty,
/// if k = 0.
#[inline(always)]
pub(super) fn blocks(k: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let block = k.div_ceil(k.div_ceil(most).max(1)).max(1);
    (0..k.max(1))
        .step_by(block)
        .map(move |p| p..k.min(p + block))
}

/// NR columns of B, in place or packed.
pub(super) struct Panel<T> {
    pub(super) start: *const T,
    /// From one row to the next.
    pub(super) stride: usize,
    /// Which columns of B, at most NR.
    pub(super) columns: Range<usize>,
    /// Which rows of B.
    pub(super) inner: Range<usize>,
}

/// Packs a block of B, `inner` × `columns`, into panels of NR columns, row after row; the
/// last panel is padded to NR columns, with whatever was there.
#[inline(always)]
pub(super) fn pack<T: Real, L: Lanes<T>, const NR: usize>(
    lanes: L,
    panels: &mut [T],
    b: &Matrix<T>,
    (k, n): (usize, usize),
    inner: Range<usize>,
    columns: Range<usize>,
) {
    let kc = inner.len();
    if b.transposed {
        for j in (0..columns.len()).step_by(L::WIDTH) {
            let panel = &mut panels[j / NR * NR * kc..][..NR * kc];
            let first = columns.start + j;
            let last = L::WIDTH.min(columns.end - first) - 1;
            for p in (0..kc).step_by(L::WIDTH) {
                let mask = lanes.first(kc - p);
                let start = b.data[first * k + inner.start + p..].as_ptr();
                let square: [_; MOST_LANES] = std::array::from_fn(
                    #[inline(always)]
                    // SAFETY: element p of a column of the panel, the last once more for those
                    // that are missing; the mask ends with the inner range.
                    |i| unsafe { lanes.load_masked(mask, start.add(i.min(last) * k)) },
                );
                let square = transposed(lanes, square);
                let rows = panel[p * NR..].chunks_exact_mut(NR).take(L::WIDTH);
                for (row, register) in rows.zip(square) {
                    let elements = &mut row[j % NR..][..L::WIDTH];
                    // SAFETY: a register is as long as these elements.
                    unsafe { lanes.store(elements.as_mut_ptr(), register) };
                }
            }
        }
        return;
    }
    for (row, p) in inner.enumerate() {
        let (whole, rest) = b.data[p * n..][columns.clone()].as_chunks::<NR>();
        for (panel, elements) in panels.chunks_exact_mut(NR * kc).zip(whole) {
            panel[row * NR..][..NR].copy_from_slice(elements);
        }
        if let Some(last) = panels.chunks_exact_mut(NR * kc).nth(whole.len()) {
            last[row * NR..][..rest.len()].copy_from_slice(rest);
        }
    }
}
