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
    Kept, LANES, Pack, Packs, add_product, at, at_mut, dot, each, gradients, matrix, operands,
    packs, packs_mut, zeros,
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
    cosines: Kept<T>,
    scales: Kept<T>,
    slot_norms: Kept<T>,
    key_norms: Kept<T>,
    /// Of one block: dd, [heads, N], and Σ dq|k| over the heads, [N].
    d_dots: Kept<T>,
    d_norms: Kept<T>,
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
        Self {
            sizes,
            interface: Interface::new(sizes),
            heads,
            keys,
            strengths,
            cosines: zeros(0),
            scales: zeros(0),
            slot_norms: zeros(0),
            key_norms: zeros(0),
            d_dots: zeros(0),
            d_norms: zeros(0),
        }
    }
}

impl<T: Real> Op<T> for Content<T> {
    fn name(&self) -> &'static str {
        "content weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.interface(), self.sizes.memory()])?;
        let (blocks, heads, n) = (self.sizes.blocks(), self.heads, self.sizes.n);
        self.cosines = zeros(blocks * heads * n);
        self.scales = zeros(blocks * heads * n);
        self.slot_norms = zeros(blocks * n);
        self.key_norms = zeros(blocks * heads);
        self.d_dots = zeros(heads * n);
        self.d_norms = zeros(n);
        Ok(Shape::from([blocks, heads, n, LANES]))
    }

    fn forward(&mut self, x: &Inputs<T>, c: &mut [T]) {
        let ([xi, memory], c) = (operands(x), packs_mut(c));
        let (sizes, interface, heads) = (self.sizes, self.interface, self.heads);
        let (n, w) = (sizes.n, sizes.w);
        let epsilon = Pack::splat(T::nearest(EPSILON));
        c.fill(Pack::zero().0);
        for (block, dots) in c.chunks_exact_mut(heads * n).enumerate() {
            let keys = matrix(self.keys.of(at(xi, block, interface.len)), w);
            let memory = matrix(at(memory, block, n * w), w);
            add_product([heads, w, n], keys, memory.transposed(), dots);
        }
        dispatch(
            #[inline(always)]
            || {
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
                        for i in each(n) {
                            let scale = (key_norm * Pack(slot_norms[i]) + epsilon).recip();
                            let cosine = Pack(c[i]) * scale;
                            self.scales[head * n + i] = scale.0;
                            self.cosines[head * n + i] = cosine.0;
                            let logit = strength * cosine;
                            largest = logit.max(largest);
                            c[i] = logit.0;
                        }
                        for i in each(n) {
                            c[i] = (Pack(c[i]) - largest).0;
                        }
                    }
                }
            },
        );
        exp_in_place(c.as_flattened_mut());
        dispatch(
            #[inline(always)]
            || {
                for c in c.chunks_exact_mut(n) {
                    let mut total = Pack::zero();
                    for i in each(n) {
                        total += Pack(c[i]);
                    }
                    let scale = total.recip();
                    for i in each(n) {
                        c[i] = (Pack(c[i]) * scale).0;
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, c: &[T], dc: &[T], dx: &mut Gradients<T>) {
        let ([xi, memory], c, dc) = (operands(x), packs(c), packs(dc));
        let (sizes, interface, heads) = (self.sizes, self.interface, self.heads);
        let (n, w) = (sizes.n, sizes.w);
        let [d_xi, d_memory] = gradients(dx, [0, 1]);
        for block in 0..sizes.blocks() {
            let xi = at(xi, block, interface.len);
            let memory = at(memory, block, n * w);
            let keys = self.keys.of(xi);
            let d_xi = at_mut(d_xi, block, interface.len);
            let d_memory = at_mut(d_memory, block, n * w);
            let slot_norms = at(&self.slot_norms, block, n);
            let (d_dots, d_norms) = (&mut self.d_dots, &mut self.d_norms);
            dispatch(
                #[inline(always)]
                || {
                    d_norms.fill(Pack::zero().0);
                    for h in 0..heads {
                        let head = block * heads + h;
                        let (c, dc) = (at(c, head, n), at(dc, head, n));
                        let (cosines, scales) =
                            (at(&self.cosines, head, n), at(&self.scales, head, n));
                        let strength = Pack(self.strengths.of(xi)[h]);
                        let key_norm = Pack(self.key_norms[head]);
                        let d_dots = at_mut(d_dots, h, n);
                        let inner = dot(c, dc);
                        let (mut d_strength, mut d_key_norm) = (Pack::zero(), Pack::zero());
                        for i in each(n) {
                            let cosine = Pack(cosines[i]);
                            let da = Pack(c[i]) * (Pack(dc[i]) - inner);
                            let dd = da * strength * Pack(scales[i]);
                            let dq = -dd * cosine;
                            d_strength += da * cosine;
                            d_key_norm += dq * Pack(slot_norms[i]);
                            d_norms[i] += dq * key_norm;
                            d_dots[i] = dd.0;
                        }
                        self.strengths.of_mut(d_xi)[h] += d_strength;
                        add_scaled(
                            d_key_norm / key_norm,
                            at(keys, h, w),
                            at_mut(self.keys.of_mut(d_xi), h, w),
                        );
                    }
                    for i in each(n) {
                        let scale = Pack(d_norms[i]) / Pack(slot_norms[i]);
                        add_scaled(scale, at(memory, i, w), at_mut(d_memory, i, w));
                    }
                },
            );
            let (keys, memory, d_dots) = (matrix(keys, w), matrix(memory, w), matrix(d_dots, n));
            add_product([heads, n, w], d_dots, memory, self.keys.of_mut(d_xi));
            add_product([n, heads, w], d_dots.transposed(), keys, d_memory);
        }
    }
}

/// y += a x.
#[inline(always)]
fn add_scaled<T: Real>(a: Pack<T>, x: &Packs<T>, y: &mut Packs<T>) {
    for i in each(x.len()) {
        y[i] += a * Pack(x[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate};
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
            let memory = g.input_with_gradient(SIZES.memory());
            g.apply(Content::of_reads(SIZES), &[v[0], memory])
        });
    }
}
