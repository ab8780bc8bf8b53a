//! Content-based addressing.
//!
//! For a key k with strength β, over the slots i of the memory M:
//!
//! ```text
//! cosᵢ = dᵢ/qᵢ    dᵢ = k·Mᵢ    qᵢ = |k||Mᵢ| + ε    |x| = √(Σ x² + ε)
//! C(M, k, β) = softmax(β cos)
//! ```
//!
//! Backward, from dC through a = β cos:
//!
//! ```text
//! da    = C ∘ (dC − ⟨dC, C⟩)
//! dβ   += ⟨da, cos⟩
//! ddᵢ   = β daᵢ/qᵢ
//! dqᵢ   = −ddᵢ cosᵢ
//! dk   += Σᵢ ddᵢ Mᵢ + (Σᵢ dqᵢ|Mᵢ|) k/|k|
//! dMᵢ  += ddᵢ k + dqᵢ|k| Mᵢ/|Mᵢ|
//! ```

use super::layout::{Interface, Segment, Sizes, expect};
use super::pack::{
    LANES, Pack, add, add_to_segment, at, at_mut, dot, dot_column, operands, packs, packs_mut,
    zeros,
};
use autodiff::kernels::{dispatch, exp_in_place};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The ε of norms and quotients.
pub(super) const EPSILON: f64 = 1e-6;

/// C(M, k, β) for each of the heads of one kind; operands: ξ, M.
pub(super) struct Content<T> {
    sizes: Sizes,
    interface: Interface,
    heads: usize,
    keys: Segment,
    strengths: Segment,
    /// What forward leaves for backward: cos and 1/q, [blocks, heads, N]; |Mᵢ|, [blocks, N];
    /// |k|, [blocks, heads].
    cosines: Vec<[T; LANES]>,
    scales: Vec<[T; LANES]>,
    slot_norms: Vec<[T; LANES]>,
    key_norms: Vec<[T; LANES]>,
    d_keys: Vec<[T; LANES]>,
    d_strengths: Vec<[T; LANES]>,
    d_memory: Vec<[T; LANES]>,
    /// Of one block: dd, [heads, N], and Σ dq|k| over the heads, [N].
    d_dots: Vec<[T; LANES]>,
    d_norms: Vec<[T; LANES]>,
}

impl<T: Real> Content<T> {
    /// The content weightings of the write heads.
    pub fn of_writes(sizes: Sizes) -> Self {
        let Interface {
            write_keys,
            write_strengths,
            ..
        } = Interface::new(sizes);
        Self::new(sizes, sizes.writes, write_keys, write_strengths)
    }

    /// The content weightings of the read heads.
    pub fn of_reads(sizes: Sizes) -> Self {
        let Interface {
            read_keys,
            read_strengths,
            ..
        } = Interface::new(sizes);
        Self::new(sizes, sizes.reads, read_keys, read_strengths)
    }

    fn new(sizes: Sizes, heads: usize, keys: Segment, strengths: Segment) -> Self {
        let (blocks, n, w) = (sizes.blocks(), sizes.n, sizes.w);
        Self {
            sizes,
            interface: Interface::new(sizes),
            heads,
            keys,
            strengths,
            cosines: zeros(blocks * heads * n),
            scales: zeros(blocks * heads * n),
            slot_norms: zeros(blocks * n),
            key_norms: zeros(blocks * heads),
            d_keys: zeros(blocks * heads * w),
            d_strengths: zeros(blocks * heads),
            d_memory: zeros(blocks * n * w),
            d_dots: zeros(heads * n),
            d_norms: zeros(n),
        }
    }
}

impl<T: Real> Op<T> for Content<T> {
    fn name(&self) -> &'static str {
        "content weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.interface(), self.sizes.memory()])?;
        let (blocks, n) = (self.sizes.blocks(), self.sizes.n);
        Ok(Shape::from([blocks, self.heads, n, LANES]))
    }

    fn forward(&mut self, x: &Inputs<T>, c: &mut [T]) {
        let [xi, memory] = operands(x);
        let (sizes, interface, heads) = (self.sizes, self.interface, self.heads);
        let (n, w) = (sizes.n, sizes.w);
        let epsilon = Pack::splat(T::nearest(EPSILON));
        dispatch(
            #[inline(always)]
            || {
                let c = packs_mut(c);
                for block in 0..sizes.blocks() {
                    let xi = at(xi, block, interface.len);
                    let memory = at(memory, block, n * w);
                    let slot_norms = at_mut(&mut self.slot_norms, block, n);
                    for (norm, slot) in slot_norms.iter_mut().zip(memory.chunks_exact(w)) {
                        *norm = (dot(slot, slot) + epsilon).sqrt().0;
                    }
                    for h in 0..heads {
                        let head = block * heads + h;
                        let (key, c) = (at(self.keys.of(xi), h, w), at_mut(c, head, n));
                        let key_norm = (dot(key, key) + epsilon).sqrt();
                        self.key_norms[head] = key_norm.0;
                        let strength = Pack(self.strengths.of(xi)[h]);
                        let mut largest = Pack::splat(T::neg_infinity());
                        for (i, slot) in memory.chunks_exact(w).enumerate() {
                            let scale = (key_norm * Pack(slot_norms[i]) + epsilon).recip();
                            let cosine = dot(key, slot) * scale;
                            self.scales[head * n + i] = scale.0;
                            self.cosines[head * n + i] = cosine.0;
                            let logit = strength * cosine;
                            largest = logit.max(largest);
                            c[i] = logit.0;
                        }
                        c.iter_mut().for_each(|c| *c = (Pack(*c) - largest).0);
                    }
                }
            },
        );
        exp_in_place(c);
        dispatch(
            #[inline(always)]
            || {
                for c in packs_mut(c).chunks_exact_mut(n) {
                    let mut total = Pack::zero();
                    c.iter().for_each(|&c| total += Pack(c));
                    let scale = total.recip();
                    c.iter_mut().for_each(|c| *c = (Pack(*c) * scale).0);
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, c: &[T], dc: &[T], dx: &mut Gradients<T>) {
        let ([xi, memory], c, dc) = (operands(x), packs(c), packs(dc));
        let (sizes, interface, heads) = (self.sizes, self.interface, self.heads);
        let (n, w) = (sizes.n, sizes.w);
        dispatch(
            #[inline(always)]
            || {
                let (d_dots, d_norms) = (&mut self.d_dots, &mut self.d_norms);
                for block in 0..sizes.blocks() {
                    let xi = at(xi, block, interface.len);
                    let memory = at(memory, block, n * w);
                    let keys = self.keys.of(xi);
                    let slot_norms = at(&self.slot_norms, block, n);
                    d_norms.fill(Pack::zero().0);
                    for h in 0..heads {
                        let head = block * heads + h;
                        let (c, dc) = (at(c, head, n), at(dc, head, n));
                        let strength = Pack(self.strengths.of(xi)[h]);
                        let key_norm = Pack(self.key_norms[head]);
                        let d_dots = at_mut(d_dots, h, n);
                        let inner = dot(c, dc);
                        let (mut d_strength, mut d_key_norm) = (Pack::zero(), Pack::zero());
                        for i in 0..n {
                            let cosine = Pack(self.cosines[head * n + i]);
                            let da = Pack(c[i]) * (Pack(dc[i]) - inner);
                            let dd = da * strength * Pack(self.scales[head * n + i]);
                            let dq = -dd * cosine;
                            d_strength += da * cosine;
                            d_key_norm += dq * Pack(slot_norms[i]);
                            d_norms[i] = (Pack(d_norms[i]) + dq * key_norm).0;
                            d_dots[i] = dd.0;
                        }
                        self.d_strengths[head] = d_strength.0;
                        let scale = d_key_norm / key_norm;
                        let (key, d_key) = (at(keys, h, w), at_mut(&mut self.d_keys, head, w));
                        for j in 0..w {
                            d_key[j] = (dot_column(d_dots, memory, j, w) + scale * Pack(key[j])).0;
                        }
                    }
                    let d_memory = at_mut(&mut self.d_memory, block, n * w);
                    for i in 0..n {
                        let scale = Pack(d_norms[i]) / Pack(slot_norms[i]);
                        let (slot, d_slot) = (at(memory, i, w), at_mut(d_memory, i, w));
                        for j in 0..w {
                            let mut d = scale * Pack(slot[j]);
                            for h in 0..heads {
                                d += Pack(d_dots[h * n + i]) * Pack(keys[h * w + j]);
                            }
                            d_slot[j] = d.0;
                        }
                    }
                }
            },
        );
        let row = interface.len;
        add_to_segment(dx.of(0), row, self.keys, &self.d_keys);
        add_to_segment(dx.of(0), row, self.strengths, &self.d_strengths);
        add(dx.of(1), &self.d_memory);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SIZES, assert_close, assert_gradients, constant, evaluate};
    use super::*;
    use autodiff::Var;

    const OPERANDS: fn(Sizes) -> [(Shape, f64, f64); 2] =
        |sizes| [(sizes.interface(), 0.2, 2.0), (sizes.memory(), -1.0, 1.0)];

    fn of_reads<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        v[0].graph().apply(Content::of_reads(sizes), v)
    }

    /// The equations, in operations of autodiff.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let interface = Interface::new(sizes);
        let (reads, n, w) = (sizes.reads, sizes.n, sizes.w);
        let segment = |s: Segment, len: usize| {
            let part = v[0].slice(1, s.start..s.start + s.len);
            part.reshape([reads, 1, len, LANES])
        };
        let memory = v[1].reshape([1, n, w, LANES]);
        let keys = segment(interface.read_keys, w);
        let strengths = segment(interface.read_strengths, 1);
        let norms = |x: Var<'g, f64>| (x.square().sum_keep(&[2]) + EPSILON).sqrt();
        let cosines = (keys * memory).sum_keep(&[2]) / (norms(keys) * norms(memory) + EPSILON);
        let c = (cosines * strengths).exp();
        c / c.sum_keep(&[1])
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let sizes = Sizes { batch: 1, ..SIZES };
        let operands = OPERANDS(sizes);
        let fused = evaluate(&operands, |v| of_reads(v, sizes));
        assert_close(&fused, &evaluate(&operands, |v| composed(v, sizes)), 1e-14);
    }

    #[test]
    fn gradients() {
        let operands = OPERANDS(SIZES);
        assert_gradients(&operands, |v| of_reads(v, SIZES));
        assert_gradients(&operands, |v| {
            v[0].graph().apply(Content::of_writes(SIZES), v)
        });
    }

    #[test]
    fn gradient_at_a_memory_of_zeros() {
        assert_gradients(&[(SIZES.interface(), 0.2, 2.0)], |v| {
            let g = v[0].graph();
            let memory = constant(g, SIZES.memory(), &[0.0; 30]);
            g.apply(Content::of_reads(SIZES), &[v[0], memory])
        });
    }
}
