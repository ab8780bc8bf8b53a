//! Reading: where from, and the words found there.

use super::layout::{Interface, Sizes, expect};
use super::math::{add, add_scaled, add_to_segment, at, at_mut, dot, vectorised};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The read weighting of each read head; operands: ξ, c (its content weighting), the
/// linkage, r (the read weighting of the step before).
///
/// A head reads by content, or goes on to what was written after, or before, what it
/// read last; the read modes π say how much of each:
///
/// ```text
/// f_h = L_h r    b_h = L_hᵀ r    for the links of each write head h
/// r′  = Σ_h π^b_h b_h + Σ_h π^f_h f_h + π^c c
/// ```
///
/// Backward:
///
/// ```text
/// dπ^b_h += ⟨dr′, b_h⟩    dπ^f_h += ⟨dr′, f_h⟩    dπ^c += ⟨dr′, c⟩    dc += π^c dr′
/// dr     += Σ_h π^b_h L_h dr′ + Σ_h π^f_h L_hᵀ dr′
/// dL_h   += π^b_h r dr′ᵀ + π^f_h dr′ rᵀ
/// ```
pub(super) struct ReadWeights<T> {
    sizes: Sizes,
    interface: Interface,
    /// b and f of each write head, [batch, reads, writes, 2, N].
    directional: Vec<T>,
    d_modes: Vec<T>,
    d_content: Vec<T>,
    d_linkage: Vec<T>,
    d_reads: Vec<T>,
    /// π dr′ of one direction.
    scaled: Vec<T>,
}

impl<T: Real> ReadWeights<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch,
            n,
            reads,
            writes,
            ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            directional: zeros(batch * reads * writes * 2 * n),
            d_modes: zeros(batch * reads * (2 * writes + 1)),
            d_content: zeros(batch * reads * n),
            d_linkage: zeros(batch * writes * (n + 1) * n),
            d_reads: zeros(batch * reads * n),
            scaled: zeros(n),
        }
    }
}

impl<T: Real> Op<T> for ReadWeights<T> {
    fn name(&self) -> &'static str {
        "read weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let sizes = self.sizes;
        let shapes = [
            sizes.interface(),
            sizes.read_weights(),
            sizes.linkage(),
            sizes.read_weights(),
        ];
        expect(inputs, &shapes)?;
        Ok(sizes.read_weights())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes {
            batch,
            reads,
            writes,
            ..
        } = self.sizes;
        let interface = self.interface;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                for head in 0..batch * reads {
                    let (b, r) = (head / reads, head % reads);
                    let xi = at(&x[0], b, interface.len);
                    let modes = at(interface.read_modes.of(xi), r, 2 * writes + 1);
                    let previous = at(&x[3], head, n);
                    let y = at_mut(y, head, n);
                    for (y, &c) in y.iter_mut().zip(at(&x[1], head, n)) {
                        *y = modes[2 * writes] * c;
                    }
                    for h in 0..writes {
                        let link = at(&x[2], b * writes + h, (n + 1) * n);
                        let directional = at_mut(&mut self.directional, head * writes + h, 2 * n);
                        let (backward, forward) = directional.split_at_mut(n);
                        backward.fill(T::zero());
                        for i in 0..n {
                            let row = at(link, i, n);
                            forward[i] = dot(row, previous);
                            add_scaled(backward, previous[i], row);
                        }
                        add_scaled(y, modes[h], backward);
                        add_scaled(y, modes[writes + h], forward);
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes {
            batch,
            reads,
            writes,
            ..
        } = self.sizes;
        let interface = self.interface;
        self.d_linkage.fill(T::zero());
        self.d_reads.fill(T::zero());
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let scaled = &mut self.scaled[..n];
                for head in 0..batch * reads {
                    let (b, r) = (head / reads, head % reads);
                    let xi = at(&x[0], b, interface.len);
                    let modes = at(interface.read_modes.of(xi), r, 2 * writes + 1);
                    let previous = at(&x[3], head, n);
                    let dy = at(dy, head, n);
                    let d_modes = at_mut(&mut self.d_modes, head, 2 * writes + 1);
                    let d_read = at_mut(&mut self.d_reads, head, n);
                    d_modes[2 * writes] = dot(dy, at(&x[1], head, n));
                    let d_content = at_mut(&mut self.d_content, head, n);
                    for (dc, &dy) in d_content.iter_mut().zip(dy) {
                        *dc = modes[2 * writes] * dy;
                    }
                    for h in 0..writes {
                        let link = at(&x[2], b * writes + h, (n + 1) * n);
                        let d_link = at_mut(&mut self.d_linkage, b * writes + h, (n + 1) * n);
                        let directional = at(&self.directional, head * writes + h, 2 * n);
                        let (backward, forward) = directional.split_at(n);
                        d_modes[h] = dot(dy, &backward[..n]);
                        d_modes[writes + h] = dot(dy, &forward[..n]);
                        for (scaled, &dy) in scaled.iter_mut().zip(dy) {
                            *scaled = modes[h] * dy;
                        }
                        for i in 0..n {
                            let (row, d_row) = (at(link, i, n), at_mut(d_link, i, n));
                            let of_forward = modes[writes + h] * dy[i];
                            d_read[i] += dot(row, scaled);
                            add_scaled(d_read, of_forward, row);
                            add_scaled(d_row, previous[i], scaled);
                            add_scaled(d_row, of_forward, previous);
                        }
                    }
                }
            },
        );
        let Interface {
            len, read_modes, ..
        } = interface;
        add_to_segment(dx.of(0), len, read_modes, &self.d_modes);
        add(dx.of(1), &self.d_content);
        add(dx.of(2), &self.d_linkage);
        add(dx.of(3), &self.d_reads);
    }
}

/// The word that each read head reads, Σᵢ rᵢMᵢ; operands: r, M.
///
/// Backward: drᵢ += ⟨dy, Mᵢ⟩, dMᵢ += rᵢ dy.
pub(super) struct Read<T> {
    sizes: Sizes,
    d_weights: Vec<T>,
    d_memory: Vec<T>,
}

impl<T: Real> Read<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch, n, w, reads, ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            d_weights: zeros(batch * reads * n),
            d_memory: zeros(batch * n * w),
        }
    }
}

impl<T: Real> Op<T> for Read<T> {
    fn name(&self) -> &'static str {
        "read"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.read_weights(), self.sizes.memory()])?;
        Ok(self.sizes.words())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, reads, .. } = self.sizes;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                y.fill(T::zero());
                for head in 0..batch * reads {
                    let memory = at(&x[1], head / reads, n * w);
                    let y = at_mut(y, head, w);
                    for (&weight, slot) in at(&x[0], head, n).iter().zip(memory.chunks_exact(w)) {
                        add_scaled(y, weight, slot);
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, reads, .. } = self.sizes;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                self.d_memory.fill(T::zero());
                for head in 0..batch * reads {
                    let memory = at(&x[1], head / reads, n * w);
                    let d_memory = at_mut(&mut self.d_memory, head / reads, n * w);
                    let (weights, dy) = (at(&x[0], head, n), at(dy, head, w));
                    let d_weights = at_mut(&mut self.d_weights, head, n);
                    for i in 0..n {
                        d_weights[i] = dot(dy, at(memory, i, w));
                        add_scaled(at_mut(d_memory, i, w), weights[i], dy);
                    }
                }
            },
        );
        add(dx.of(0), &self.d_weights);
        add(dx.of(1), &self.d_memory);
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Segment;
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate, run};
    use super::*;
    use autodiff::Var;

    /// Read weighting of one head that last read slot 2, where slot 0 was written after it
    /// and slot 1 before it.
    fn weights(modes: [f64; 3]) -> Vec<f64> {
        let sizes = Sizes {
            batch: 1,
            n: 4,
            w: 1,
            reads: 1,
            writes: 1,
        };
        let interface = Interface::new(sizes);
        let mut xi = vec![0.0; interface.len];
        interface.read_modes.of_mut(&mut xi).copy_from_slice(&modes);
        let mut linkage = vec![0.0; 20];
        linkage[2] = 1.0; // L₀₂
        linkage[2 * 4 + 1] = 1.0; // L₂₁
        run(|g| {
            let operands = [
                g.constant(sizes.interface(), &xi),
                g.constant(sizes.read_weights(), &[0.0, 0.0, 0.0, 1.0]),
                g.constant(sizes.linkage(), &linkage),
                g.constant(sizes.read_weights(), &[0.0, 0.0, 1.0, 0.0]),
            ];
            g.apply(ReadWeights::new(sizes), &operands)
        })
    }

    #[test]
    fn modes_go_backward_forward_or_by_content() {
        assert_close(&weights([1.0, 0.0, 0.0]), &[0.0, 1.0, 0.0, 0.0], 0.0);
        assert_close(&weights([0.0, 1.0, 0.0]), &[1.0, 0.0, 0.0, 0.0], 0.0);
        assert_close(&weights([0.0, 0.0, 1.0]), &[0.0, 0.0, 0.0, 1.0], 0.0);
        assert_close(&weights([0.5, 0.25, 0.25]), &[0.25, 0.5, 0.0, 0.25], 0.0);
    }

    fn operands(sizes: Sizes) -> [(Shape, f64, f64); 4] {
        [
            (sizes.interface(), 0.0, 1.0),
            (sizes.read_weights(), 0.0, 1.0),
            (sizes.linkage(), 0.0, 1.0),
            (sizes.read_weights(), 0.0, 1.0),
        ]
    }

    /// The equations, in operations of autodiff, for one sequence with two write heads.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let (reads, n) = (sizes.reads, sizes.n);
        let Segment { start, len } = Interface::new(sizes).read_modes;
        let modes = v[0].slice(1, start..start + len).reshape([reads, 5]);
        let mode = |k| modes.slice(1, k..k + 1);
        let content = v[1].reshape([reads, n]);
        let linkages = v[2].reshape([2 * (n + 1), n]);
        let link = |h| linkages.slice(0, h * (n + 1)..h * (n + 1) + n);
        let previous = v[3].reshape([reads, n]);
        (0..2).fold(mode(4) * content, |sum, h| {
            let (backward, forward) = (previous.matmul(link(h)), previous.matmul_nt(link(h)));
            sum + mode(h) * backward + mode(2 + h) * forward
        })
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let sizes = Sizes { batch: 1, ..SIZES };
        let operands = operands(sizes);
        let fused = evaluate(&operands, |v| {
            v[0].graph().apply(ReadWeights::new(sizes), v)
        });
        assert_close(&fused, &evaluate(&operands, |v| composed(v, sizes)), 1e-14);
    }

    #[test]
    fn gradients_of_weights() {
        assert_gradients(&operands(SIZES), |v| {
            v[0].graph().apply(ReadWeights::new(SIZES), v)
        });
    }

    #[test]
    fn words_are_weighted_sums_of_slots() {
        let sizes = Sizes { batch: 1, ..SIZES };
        let operands = [
            (sizes.read_weights(), 0.0, 1.0),
            (sizes.memory(), -1.0, 1.0),
        ];
        let fused = evaluate(&operands, |v| v[0].graph().apply(Read::new(sizes), v));
        let composed = evaluate(&operands, |v| {
            v[0].reshape([3, 3]).matmul(v[1].reshape([3, 5]))
        });
        assert_close(&fused, &composed, 1e-15);
    }

    #[test]
    fn gradients_of_words() {
        let operands = [
            (SIZES.read_weights(), 0.0, 1.0),
            (SIZES.memory(), -1.0, 1.0),
        ];
        assert_gradients(&operands, |v| v[0].graph().apply(Read::new(SIZES), v));
    }
}
