//! Reading: where from, and the words found there.

use super::layout::{Interface, Sizes, expect};
use super::pack::{
    Kept, Pack, add_product, at, at_mut, dot, each, gradients, matrix, operands, packs, packs_mut,
    zeros,
};
use autodiff::kernels::dispatch;
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
/// db_h    = π^b_h dr′           df_h    = π^f_h dr′
/// dr     += Σ_h L_h db_h + Σ_h L_hᵀ df_h
/// dL_h   += r db_hᵀ + df_h rᵀ
/// ```
pub(super) struct ReadWeights<T> {
    sizes: Sizes,
    interface: Interface,
    /// b and f: [blocks, writes, reads, N].
    backward: Kept<T>,
    forward: Kept<T>,
    /// Of one block: db and df, [writes, reads, N].
    d_backward: Kept<T>,
    d_forward: Kept<T>,
}

impl<T: Real> ReadWeights<T> {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
            backward: zeros(0),
            forward: zeros(0),
            d_backward: zeros(0),
            d_forward: zeros(0),
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
        let of_block = sizes.writes * sizes.reads * sizes.n;
        self.backward = zeros(sizes.blocks() * of_block);
        self.forward = zeros(sizes.blocks() * of_block);
        self.d_backward = zeros(of_block);
        self.d_forward = zeros(of_block);
        Ok(sizes.read_weights())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([xi, content, linkage, before], y) = (operands(x), packs_mut(y));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, reads, writes) = (sizes.n, sizes.reads, sizes.writes);
        for head in 0..sizes.blocks() * writes {
            let before = matrix(at(before, head / writes, reads * n), n);
            let link = matrix(&at(linkage, head, (n + 1) * n)[..n * n], n);
            let b = at_mut(&mut self.backward, head, reads * n);
            let f = at_mut(&mut self.forward, head, reads * n);
            b.fill(Pack::zero().0);
            f.fill(Pack::zero().0);
            add_product([reads, n, n], before, link, b);
            add_product([reads, n, n], before, link.transposed(), f);
        }
        dispatch(
            #[inline(always)]
            || {
                for head in 0..sizes.blocks() * reads {
                    let (block, r) = (head / reads, head % reads);
                    let modes = interface.read_modes.of(at(xi, block, interface.len));
                    let modes = at(modes, r, 2 * writes + 1);
                    let (content, y) = (at(content, head, n), at_mut(y, head, n));
                    for i in each(n) {
                        y[i] = (Pack(modes[2 * writes]) * Pack(content[i])).0;
                    }
                    for h in 0..writes {
                        let head = (block * writes + h) * reads + r;
                        let (b, f) = (at(&self.backward, head, n), at(&self.forward, head, n));
                        for i in each(n) {
                            y[i] +=
                                Pack(modes[h]) * Pack(b[i]) + Pack(modes[writes + h]) * Pack(f[i]);
                        }
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([xi, content, linkage, before], dy) = (operands(x), packs(dy));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, reads, writes) = (sizes.n, sizes.reads, sizes.writes);
        let [d_xi, d_content, d_linkage, d_reads] = gradients(dx, [0, 1, 2, 3]);
        for block in 0..sizes.blocks() {
            let d_xi = at_mut(d_xi, block, interface.len);
            let d_reads = at_mut(d_reads, block, reads * n);
            dispatch(
                #[inline(always)]
                || {
                    let modes = interface.read_modes.of(at(xi, block, interface.len));
                    let d_modes = interface.read_modes.of_mut(d_xi);
                    for r in 0..reads {
                        let head = block * reads + r;
                        let (dy, content) = (at(dy, head, n), at(content, head, n));
                        let modes = at(modes, r, 2 * writes + 1);
                        let d_modes = at_mut(d_modes, r, 2 * writes + 1);
                        let d_content = at_mut(d_content, head, n);
                        d_modes[2 * writes] += dot(dy, content);
                        for i in each(n) {
                            d_content[i] += Pack(modes[2 * writes]) * Pack(dy[i]);
                        }
                        for h in 0..writes {
                            let head = (block * writes + h) * reads + r;
                            d_modes[h] += dot(dy, at(&self.backward, head, n));
                            d_modes[writes + h] += dot(dy, at(&self.forward, head, n));
                            let db = at_mut(&mut self.d_backward, h * reads + r, n);
                            let df = at_mut(&mut self.d_forward, h * reads + r, n);
                            for i in each(n) {
                                db[i] = (Pack(modes[h]) * Pack(dy[i])).0;
                                df[i] = (Pack(modes[writes + h]) * Pack(dy[i])).0;
                            }
                        }
                    }
                },
            );
            let before = matrix(at(before, block, reads * n), n);
            for h in 0..writes {
                let head = block * writes + h;
                let link = matrix(&at(linkage, head, (n + 1) * n)[..n * n], n);
                let d_link = &mut at_mut(d_linkage, head, (n + 1) * n)[..n * n];
                let db = matrix(at(&self.d_backward, h, reads * n), n);
                let df = matrix(at(&self.d_forward, h, reads * n), n);
                add_product([reads, n, n], db, link.transposed(), d_reads);
                add_product([reads, n, n], df, link, d_reads);
                add_product([n, reads, n], before.transposed(), db, d_link);
                add_product([n, reads, n], df.transposed(), before, d_link);
            }
        }
    }
}

/// The word that each read head reads, Σᵢ rᵢMᵢ, with its read weighting r (w^r on the
/// [module's](super) page, whose r is the result); operands: r, M.
///
/// Backward: drᵢ += ⟨dy, Mᵢ⟩, dMᵢ += rᵢ dy.
pub(super) struct Read {
    sizes: Sizes,
}

impl Read {
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes }
    }
}

impl<T: Real> Op<T> for Read {
    fn name(&self) -> &'static str {
        "read"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.read_weights(), self.sizes.memory()])?;
        Ok(self.sizes.words())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([r, memory], y) = (operands(x), packs_mut(y));
        let Sizes { n, w, reads, .. } = self.sizes;
        for (block, y) in y.chunks_exact_mut(reads * w).enumerate() {
            let (r, memory) = (at(r, block, reads * n), at(memory, block, n * w));
            y.fill(Pack::zero().0);
            add_product([reads, n, w], matrix(r, n), matrix(memory, w), y);
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([r, memory], dy) = (operands(x), packs(dy));
        let (sizes, reads) = (self.sizes, self.sizes.reads);
        let Sizes { n, w, .. } = sizes;
        let [d_weights, d_memory] = gradients(dx, [0, 1]);
        for block in 0..sizes.blocks() {
            let r = matrix(at(r, block, reads * n), n);
            let memory = matrix(at(memory, block, n * w), w);
            let dy = matrix(at(dy, block, reads * w), w);
            let d_weights = at_mut(d_weights, block, reads * n);
            add_product([reads, w, n], dy, memory.transposed(), d_weights);
            let d_memory = at_mut(d_memory, block, n * w);
            add_product([n, reads, w], r.transposed(), dy, d_memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Segment;
    use super::super::pack::LANES;
    use super::super::testing::{SIZES, assert_close, assert_gradients, constant, evaluate, run};
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
                constant(g, sizes.interface(), &xi),
                constant(g, sizes.read_weights(), &[0.0, 0.0, 0.0, 1.0]),
                constant(g, sizes.linkage(), &linkage),
                constant(g, sizes.read_weights(), &[0.0, 0.0, 1.0, 0.0]),
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

    /// The equations, in operations of autodiff, for one block with two write heads.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let (reads, n) = (sizes.reads, sizes.n);
        let Segment { start, len } = Interface::new(sizes).read_modes;
        let modes = v[0].slice(1, start..start + len).reshape([reads, 5, LANES]);
        let mode = |k| modes.slice(1, k..k + 1);
        let content = v[1].reshape([reads, n, LANES]);
        let linkages = v[2].reshape([2 * (n + 1), n, LANES]);
        let link = |h| linkages.slice(0, h * (n + 1)..h * (n + 1) + n);
        (0..2).fold(mode(4) * content, |sum, h| {
            let column = v[3].reshape([reads, n, 1, LANES]);
            let row = v[3].reshape([reads, 1, n, LANES]);
            let backward = (column * link(h)).sum_over(&[1]);
            let forward = (row * link(h)).sum_over(&[2]);
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
            let (r, memory) = (
                v[0].reshape([3, 3, 1, LANES]),
                v[1].reshape([1, 3, 5, LANES]),
            );
            (r * memory).sum_over(&[1])
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
