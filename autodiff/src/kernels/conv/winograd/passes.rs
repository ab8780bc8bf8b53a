//! The passes of a convolution, by tiles.

use super::grid::{Points, images_of};
use super::transforms::Then;
use super::{EDGE, TAPS, kernel_transform};
use crate::kernels::Real;
use crate::kernels::Term;
use crate::kernels::conv::geometry::{Image, image};
use crate::kernels::conv::pack::{add_pixels, pad, pad_masked};
use crate::kernels::conv::tiles::with_scratch;
use crate::kernels::conv::{Convolution, PANEL, Wanted};
use crate::kernels::simd::dispatched;
use crate::parallel::{chunks_of, for_each};

impl<T: Real> Convolution<T> {
    /// [`Convolution::forward`] in tiles of m×m outputs.
    pub(in crate::kernels::conv) fn forward_in_tiles(
        &mut self,
        m: usize,
        x: &[T],
        kernel: &[T],
        bias_relu: Option<&[T]>,
        y: &mut [T],
    ) {
        let conv = self.conv;
        let (ci, co) = (conv.ci, conv.co);
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let taps = conv.rows.kernel;
        let panels = &mut self.panels[..];
        transform_kernel(panels, kernel, taps, [ci, co], |[a, b], k, c| {
            ((a * taps + b) * ci + k) * co + c
        });
        let (panels, tiled) = (&*panels, conv.tiled_x(m));
        let (per, group, tiles) = (conv.per_chunk(), conv.group::<T>(m), tiled.tiles());
        for_each(conv.chunks(), chunks_of(y, per * y_image), |chunk, y| {
            let lengths = [
                tiled.frame.elements(),
                Points::<T>::len(group * tiles, ci),
                Points::<T>::len(group * tiles, co),
            ];
            with_scratch(lengths, |[padded, u, p]| {
                for (i, y) in y.chunks_mut(group * y_image).enumerate() {
                    let images = y.len() / y_image;
                    let mut u = Points::new(u, images * tiles, ci);
                    for n in 0..images {
                        let x = image(x, x_image, chunk * per + i * group + n);
                        u.take_patches(&tiled, pad(x, &tiled.frame, padded), n * tiles);
                    }
                    let mut p = Points::new(p, images * tiles, co);
                    let next = chunk * per + (i + 1) * group;
                    p.multiply(&u, panels, images_of(x, x_image, next..next + group));
                    for (n, y) in y.chunks_exact_mut(y_image).enumerate() {
                        let then = match bias_relu {
                            Some(bias) => Then::BiasRelu(bias),
                            None => Then::Write(Term::First),
                        };
                        p.put_pixels(&tiled, y, n * tiles, then);
                    }
                }
            });
        });
    }

    /// [`Convolution::backward`] in tiles of m×m outputs.
    #[allow(clippy::too_many_arguments)]
    pub(in crate::kernels::conv) fn backward_in_tiles(
        &mut self,
        m: usize,
        x: &[T],
        kernel: &[T],
        y: Option<&[T]>,
        dy: &[T],
        dx: &mut [T],
        dx_term: Option<Term>,
        wanted: Wanted,
    ) {
        let conv = self.conv;
        let (ci, co) = (conv.ci, conv.co);
        let (x_image, y_image) = (conv.x_image(), conv.y_image());
        let taps = conv.rows.kernel;
        if dx_term.is_some() {
            let last = taps - 1;
            let panels = &mut self.panels[..];
            transform_kernel(panels, kernel, taps, [co, ci], |[a, b], k, c| {
                (((last - a) * taps + last - b) * ci + c) * co + k
            });
        }
        let panels = &self.panels[..];
        let (tiled_x, tiled_dy) = (conv.tiled_x(m), conv.tiled_dy(m));
        let (per, group) = (conv.per_chunk(), conv.group::<T>(m));
        let most = group * tiled_x.tiles().max(tiled_dy.tiles());
        let lengths = [
            tiled_dy.frame.elements(),
            tiled_x.frame.elements(),
            Points::<T>::len(most, co),
            Points::<T>::len(most, co),
            Points::<T>::len(most, ci),
            EDGE * EDGE * ci * co,
        ];
        let chunks = (
            chunks_of(dx, per * x_image),
            chunks_of(&mut self.sums[..], conv.kernel() + co),
        );
        for_each(conv.chunks(), chunks, |chunk, (dx, sums)| {
            sums.fill(T::zero());
            let (dkernel, dbias) = sums.split_at_mut(conv.kernel());
            let images = (chunk * per).min(conv.batch)..((chunk + 1) * per).min(conv.batch);
            with_scratch(lengths, |[dy_padded, x_padded, u, z, p, transformed]| {
                transformed.fill(T::zero());
                for start in images.clone().step_by(group) {
                    let images = start..(start + group).min(images.end);
                    let next = images_of(dy, y_image, images.end..images.end + group);
                    let tiles = tiled_dy.tiles();
                    let mut u = Points::new(u, images.len() * tiles, co);
                    let mut z = Points::new(z, images.len() * tiled_x.tiles(), co);
                    for (i, n) in images.clone().enumerate() {
                        let plain = image(dy, y_image, n);
                        let padded = match y {
                            Some(y) => {
                                let masked = (image(y, y_image, n), plain);
                                pad_masked(masked, &tiled_dy.frame, dy_padded, dbias)
                            }
                            None => pad(plain, &tiled_dy.frame, dy_padded),
                        };
                        if y.is_none() && wanted.bias {
                            add_pixels(plain, dbias);
                        }
                        if dx_term.is_some() {
                            u.take_patches(&tiled_dy, padded, i * tiles);
                        }
                        if wanted.kernel {
                            let origin = Image {
                                data: &padded.data[tiled_dy.frame.origin()..],
                                ..padded
                            };
                            let extents = [conv.rows.output, conv.columns.output];
                            z.take_tiles(m, extents, origin, i * tiled_x.tiles());
                        }
                    }
                    if let Some(term) = dx_term {
                        let mut p = Points::new(&mut *p, images.len() * tiles, ci);
                        let ahead = match wanted.kernel {
                            true => images_of(x, x_image, images.clone()),
                            false => next,
                        };
                        p.multiply(&u, panels, ahead);
                        for (i, n) in images.clone().enumerate() {
                            let dx = &mut dx[(n - chunk * per) * x_image..][..x_image];
                            p.put_pixels(&tiled_dy, dx, i * tiles, Then::Write(term));
                        }
                    }
                    if wanted.kernel {
                        let tiles = tiled_x.tiles();
                        let mut u = Points::new(&mut *p, images.len() * tiles, ci);
                        for (i, n) in images.enumerate() {
                            let x = pad(image(x, x_image, n), &tiled_x.frame, x_padded);
                            u.take_patches(&tiled_x, x, i * tiles);
                        }
                        z.add_products(&u, transformed, next);
                    }
                }
                if wanted.kernel {
                    add_kernel_gradient(dkernel, transformed, taps, [ci, co]);
                }
            });
        });
    }
}

/// Packs G g Gᵀ for every input and output channel into panels, those of a point after another's.
/// `index` says where in `kernel` a tap is, from the input channel k to the output channel c.
pub(super) fn transform_kernel<T: Real>(
    panels: &mut [T],
    kernel: &[T],
    taps: usize,
    [inner, channels]: [usize; 2],
    index: impl Fn([usize; 2], usize, usize) -> usize,
) {
    let g = kernel_transform::<T>(taps);
    let len = inner * channels.next_multiple_of(PANEL);
    dispatched!(
        #[inline(always)]
        || {
            for first in (0..channels).step_by(PANEL) {
                let width = PANEL.min(channels - first);
                for k in 0..inner {
                    let mut tap = [[[T::zero(); PANEL]; TAPS]; TAPS];
                    for a in 0..taps {
                        for b in 0..taps {
                            for (c, tap) in tap[a][b][..width].iter_mut().enumerate() {
                                *tap = kernel[index([a, b], k, first + c)];
                            }
                        }
                    }
                    for (i, by_row) in g.iter().enumerate() {
                        let half: [_; TAPS] = std::array::from_fn(
                            #[inline(always)]
                            |b| combine(by_row, taps, |a| &tap[a][b]),
                        );
                        for (j, by_column) in g.iter().enumerate() {
                            let point = i * EDGE + j;
                            let start = point * len + (first / PANEL * inner + k) * PANEL;
                            let values = combine(by_column, taps, |b| &half[b]);
                            panels[start..][..PANEL].copy_from_slice(&values);
                        }
                    }
                }
            }
        },
    );
}

/// Σ coefficient · vector over the first `terms`.
#[inline(always)]
pub(super) fn combine<'a, T: Real>(
    coefficients: &[T],
    terms: usize,
    vector: impl Fn(usize) -> &'a [T; PANEL],
) -> [T; PANEL] {
    let mut sum = [T::zero(); PANEL];
    for (i, &coefficient) in coefficients[..terms].iter().enumerate() {
        for (sum, &x) in sum.iter_mut().zip(vector(i)) {
            *sum += coefficient * x;
        }
    }
    sum
}

/// dkernel += Gᵀ D G, for D by point, then by input and output channel.
pub(super) fn add_kernel_gradient<T: Real>(
    dkernel: &mut [T],
    transformed: &[T],
    taps: usize,
    [ci, co]: [usize; 2],
) {
    let g = kernel_transform::<T>(taps);
    let transposed: [[T; EDGE]; TAPS] = std::array::from_fn(|a| std::array::from_fn(|i| g[i][a]));
    dispatched!(
        #[inline(always)]
        || {
            for start in (0..ci * co).step_by(PANEL) {
                let width = PANEL.min(ci * co - start);
                let mut points = [[[T::zero(); PANEL]; EDGE]; EDGE];
                for (i, row) in points.iter_mut().enumerate() {
                    for (j, point) in row.iter_mut().enumerate() {
                        let at = (i * EDGE + j) * ci * co + start;
                        point[..width].copy_from_slice(&transformed[at..][..width]);
                    }
                }
                for (a, by_row) in transposed[..taps].iter().enumerate() {
                    let half: [_; EDGE] = std::array::from_fn(
                        #[inline(always)]
                        |j| combine(by_row, EDGE, |i| &points[i][j]),
                    );
                    for (b, by_column) in transposed[..taps].iter().enumerate() {
                        let at = (a * taps + b) * ci * co + start;
                        let tap = combine(by_column, EDGE, |j| &half[j]);
                        let to = dkernel[at..][..width].iter_mut();
                        to.zip(&tap).for_each(|(to, &x)| *to += x);
                    }
                }
            }
        },
    );
}
