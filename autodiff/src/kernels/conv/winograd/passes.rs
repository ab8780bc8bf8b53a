//! The passes of a convolution, by tiles.

use super::grid::Points;
use super::transforms::Then;
use super::{EDGE, kernel_transform};
use crate::kernels::Real;
use crate::kernels::conv::PANEL;
use crate::kernels::conv::geometry::{Conv, Image};
use crate::kernels::conv::pack::add_pixels;
use crate::kernels::conv::passes::{Epilogue, Gradients, Results};
use crate::kernels::conv::source::Source;
use crate::kernels::conv::tiles::with_scratch;
use crate::kernels::simd::dispatched;
use std::ops::Range;

impl Conv {
    /// Packs G g Gᵀ for [`forward_in_tiles`](Self::forward_in_tiles).
    pub(in crate::kernels::conv) fn transform_forward<T: Real>(
        &self,
        panels: &mut [T],
        kernel: &[T],
    ) {
        let (taps, [ci, co]) = (self.rows.kernel, [self.ci, self.co]);
        transform_kernel(panels, taps, [ci, co], |[a, b], k, channel, to| {
            let start = ((a * taps + b) * ci + k) * co + channel;
            to.copy_from_slice(&kernel[start..][..to.len()]);
        });
    }

    /// Packs G g Gᵀ of the flipped kernel, its channels exchanged, for
    /// [`backward_in_tiles`](Self::backward_in_tiles).
    pub(in crate::kernels::conv) fn transform_backward<T: Real>(
        &self,
        panels: &mut [T],
        kernel: &[T],
    ) {
        let (taps, [ci, co]) = (self.rows.kernel, [self.ci, self.co]);
        let last = taps - 1;
        transform_kernel(panels, taps, [co, ci], |[a, b], k, channel, to| {
            let start = (((last - a) * taps + last - b) * ci + channel) * co + k;
            let weights = kernel[start..].iter().step_by(co);
            to.iter_mut().zip(weights).for_each(|(to, &w)| *to = w);
        });
    }

    /// y of some images in tiles of m×m outputs.
    pub(in crate::kernels::conv) fn forward_in_tiles<T: Real>(
        &self,
        m: usize,
        x: &impl Source<T>,
        panels: &[T],
        images: Range<usize>,
        mut results: Results<T>,
        mut then: impl FnMut(usize, &mut [T]),
    ) {
        let (tiled, group) = (self.tiled_x(m), self.group::<T>(m));
        let tiles = tiled.tiles();
        let lengths = [
            tiled.frame.elements(),
            Points::<T>::len(group * tiles, self.ci),
            Points::<T>::len(group * tiles, self.co),
            results.scratch(),
        ];
        with_scratch(lengths, |[padded, u, p, y_scratch]| {
            for (images, next) in groups(images, group) {
                let mut u = Points::new(u, images.len() * tiles, self.ci);
                for (i, n) in images.clone().enumerate() {
                    let padded = x.padded(n, &tiled.frame, padded);
                    u.take_patches(&tiled, padded, i * tiles);
                }
                let mut p = Points::new(p, images.len() * tiles, self.co);
                let [y, beside] = results.memory(images.clone());
                let [x, other] = x.memory(self.x_image(), next);
                p.multiply(&u, panels, [y, beside, x, other]);
                for (i, n) in images.enumerate() {
                    let put = match results.epilogue {
                        Epilogue::BiasRelu(bias) => Then::BiasRelu(bias),
                        Epilogue::Store(term) => Then::Write(term),
                    };
                    let y = results.image(n, y_scratch);
                    p.put_pixels(&tiled, y, i * tiles, put);
                    then(n, y);
                }
            }
        });
    }

    /// The gradients of some images in tiles of m×m outputs.
    pub(in crate::kernels::conv) fn backward_in_tiles<T: Real>(
        &self,
        m: usize,
        (x, dy): (&impl Source<T>, &impl Source<T>),
        panels: &[T],
        images: Range<usize>,
        mut gradients: Gradients<T>,
        mut then: impl FnMut(usize, &mut [T]),
    ) {
        let (ci, co) = (self.ci, self.co);
        let (x_image, y_image) = (self.x_image(), self.y_image());
        let (tiled_x, tiled_dy) = (self.tiled_x(m), self.tiled_dy(m));
        let [tiles_x, tiles_dy] = [tiled_x, tiled_dy].map(|tiled| tiled.tiles());
        let group = self.group::<T>(m);
        let most = group * self.most_tiles(m);
        let lengths = [
            tiled_dy.frame.elements(),
            tiled_x.frame.elements(),
            Points::<T>::len(most, co),
            Points::<T>::len(most, co),
            Points::<T>::len(most, ci),
            EDGE * EDGE * ci * co,
        ];
        with_scratch(lengths, |[dy_padded, x_padded, u, z, p, transformed]| {
            transformed.fill(T::zero());
            for (images, next) in groups(images, group) {
                let mut u = Points::new(u, images.len() * tiles_dy, co);
                let mut z = Points::new(z, images.len() * tiles_x, co);
                for (i, n) in images.clone().enumerate() {
                    let padded = dy.padded(n, &tiled_dy.frame, dy_padded);
                    if let Some(dbias) = &mut gradients.dbias {
                        add_pixels(padded, &tiled_dy.frame, dbias);
                    }
                    if gradients.dx_term.is_some() {
                        u.take_patches(&tiled_dy, padded, i * tiles_dy);
                    }
                    if gradients.dkernel.is_some() {
                        let data = &padded.data[tiled_dy.frame.origin()..];
                        z.take_tiles(&tiled_x, Image { data, ..padded }, i * tiles_x);
                    }
                }
                let [dy, other_dy] = dy.memory(y_image, next);
                if let Some(term) = gradients.dx_term {
                    let mut p = Points::new(&mut *p, images.len() * tiles_dy, ci);
                    let dx = gradients.memory(x_image, images.clone());
                    let ahead = match gradients.dkernel {
                        Some(_) => {
                            let [x, other_x] = x.memory(x_image, images.clone());
                            [dx, x, other_x, &[]]
                        }
                        None => [dx, dy, other_dy, &[]],
                    };
                    p.multiply(&u, panels, ahead);
                    for (i, n) in images.clone().enumerate() {
                        let dx = gradients.dx(n, x_image);
                        p.put_pixels(&tiled_dy, dx, i * tiles_dy, Then::Write(term));
                        then(n, dx);
                    }
                }
                if gradients.dkernel.is_some() {
                    let mut u = Points::new(&mut *p, images.len() * tiles_x, ci);
                    for (i, n) in images.enumerate() {
                        let padded = x.padded(n, &tiled_x.frame, x_padded);
                        u.take_patches(&tiled_x, padded, i * tiles_x);
                    }
                    z.add_products(&u, transformed, [dy, other_dy, &[], &[]]);
                }
            }
            if let Some(dkernel) = gradients.dkernel {
                add_kernel_gradient(dkernel, transformed, self.rows.kernel, ci * co);
            }
        });
    }
}

/// Groups of so many images, each with the one that comes next.
fn groups(
    images: Range<usize>,
    group: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let end = images.end;
    let from = move |first: usize| first.min(end)..end.min(first + group);
    let firsts = images.step_by(group);
    firsts.map(move |first| (from(first), from(first + group)))
}

/// Packs G g Gᵀ for every input and output channel into panels, those of a point after another's.
/// `weights` copies those of a tap and an input channel k, from an output channel on.
fn transform_kernel<T: Real>(
    panels: &mut [T],
    taps: usize,
    channels: [usize; 2],
    weights: impl Fn([usize; 2], usize, usize, &mut [T]),
) {
    dispatched!(
        #[inline(always)]
        || match taps {
            3 => transform_taps::<T, 3>(panels, channels, &weights),
            5 => transform_taps::<T, 5>(panels, channels, &weights),
            taps => unreachable!("kernels of {taps}×{taps}"),
        },
    );
}

#[inline(always)]
fn transform_taps<T: Real, const R: usize>(
    panels: &mut [T],
    [inner, channels]: [usize; 2],
    weights: &impl Fn([usize; 2], usize, usize, &mut [T]),
) {
    let g = kernel_transform::<T, R>();
    let len = inner * channels.next_multiple_of(PANEL);
    for first in (0..channels).step_by(PANEL) {
        let width = PANEL.min(channels - first);
        for k in 0..inner {
            let mut tap = [[[T::zero(); PANEL]; R]; R];
            for (a, row) in tap.iter_mut().enumerate() {
                for (b, tap) in row.iter_mut().enumerate() {
                    weights([a, b], k, first, &mut tap[..width]);
                }
            }
            for (i, by_row) in g.iter().enumerate() {
                let mut half = [[T::zero(); PANEL]; R];
                for (coefficient, row) in by_row.iter().zip(&tap) {
                    for (half, tap) in half.iter_mut().zip(row) {
                        add_scaled(half, *coefficient, tap);
                    }
                }
                for (j, by_column) in g.iter().enumerate() {
                    let mut values = [T::zero(); PANEL];
                    for (coefficient, half) in by_column.iter().zip(&half) {
                        add_scaled(&mut values, *coefficient, half);
                    }
                    let start = (i * EDGE + j) * len + (first / PANEL * inner + k) * PANEL;
                    panels[start..][..PANEL].copy_from_slice(&values);
                }
            }
        }
    }
}

/// sum += coefficient · x
#[inline(always)]
fn add_scaled<T: Real>(sum: &mut [T; PANEL], coefficient: T, x: &[T; PANEL]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum += coefficient * x;
    }
}

/// dkernel += Gᵀ D G, for D by point, then by input and output channel.
fn add_kernel_gradient<T: Real>(dkernel: &mut [T], transformed: &[T], taps: usize, pairs: usize) {
    dispatched!(
        #[inline(always)]
        || match taps {
            3 => add_gradient_of_taps::<T, 3>(dkernel, transformed, pairs),
            5 => add_gradient_of_taps::<T, 5>(dkernel, transformed, pairs),
            taps => unreachable!("kernels of {taps}×{taps}"),
        },
    );
}

#[inline(always)]
fn add_gradient_of_taps<T: Real, const R: usize>(
    dkernel: &mut [T],
    transformed: &[T],
    pairs: usize,
) {
    let g = kernel_transform::<T, R>();
    for start in (0..pairs).step_by(PANEL) {
        let width = PANEL.min(pairs - start);
        let mut halves = [[[T::zero(); PANEL]; EDGE]; R];
        for (i, by_row) in g.iter().enumerate() {
            for j in 0..EDGE {
                let mut point = [T::zero(); PANEL];
                let at = (i * EDGE + j) * pairs + start;
                point[..width].copy_from_slice(&transformed[at..][..width]);
                for (coefficient, half) in by_row.iter().zip(&mut halves) {
                    add_scaled(&mut half[j], *coefficient, &point);
                }
            }
        }
        for (a, half) in halves.iter().enumerate() {
            for b in 0..R {
                let mut tap = [T::zero(); PANEL];
                for (by_column, half) in g.iter().zip(half) {
                    add_scaled(&mut tap, by_column[b], half);
                }
                let to = dkernel[(a * R + b) * pairs + start..][..width].iter_mut();
                to.zip(&tap).for_each(|(to, &x)| *to += x);
            }
        }
    }
}
