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
use super::math::{
    add, add_scaled, add_to_segment, at, at_mut, dot, softmax, softmax_gradient, vectorised,
};
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
    /// What forward leaves for backward: cos, [batch, heads, N]; |Mᵢ|, [batch, N]; |k|,
    /// [batch, heads].
    cosines: Vec<T>,
    slot_norms: Vec<T>,
    key_norms: Vec<T>,
    d_keys: Vec<T>,
    d_strengths: Vec<T>,
    d_memory: Vec<T>,
    /// dd and dq of one head.
    d_dots: Vec<T>,
    d_norms: Vec<T>,
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
        let Sizes { batch, n, w, .. } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            heads,
            keys,
            strengths,
            cosines: zeros(batch * heads * n),
            slot_norms: zeros(batch * n),
            key_norms: zeros(batch * heads),
            d_keys: zeros(batch * heads * w),
            d_strengths: zeros(batch * heads),
            d_memory: zeros(batch * n * w),
            d_dots: zeros(n),
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
        Ok(Shape::from([self.sizes.batch, self.heads, self.sizes.n]))
    }

    fn forward(&mut self, x: &Inputs<T>, c: &mut [T]) {
        let (heads, epsilon) = (self.heads, T::of(EPSILON));
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                for b in 0..self.sizes.batch {
                    let xi = at(&x[0], b, self.interface.len);
                    let memory = at(&x[1], b, n * w);
                    let slot_norms = at_mut(&mut self.slot_norms, b, n);
                    for (norm, slot) in slot_norms.iter_mut().zip(memory.chunks_exact(w)) {
                        *norm = (dot(slot, slot) + epsilon).sqrt();
                    }
                    for h in 0..heads {
                        let key = at(self.keys.of(xi), h, w);
                        let strength = self.strengths.of(xi)[h];
                        let cosines = at_mut(&mut self.cosines, b * heads + h, n);
                        let c = at_mut(c, b * heads + h, n);
                        let key_norm = (dot(key, key) + epsilon).sqrt();
                        self.key_norms[b * heads + h] = key_norm;
                        for (cosine, slot) in cosines.iter_mut().zip(memory.chunks_exact(w)) {
                            *cosine = dot(key, slot);
                        }
                        for ((c, cosine), &norm) in c.iter_mut().zip(cosines).zip(&*slot_norms) {
                            *cosine /= key_norm * norm + epsilon;
                            *c = strength * *cosine;
                        }
                        softmax(c);
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, c: &[T], dc: &[T], dx: &mut Gradients<T>) {
        let (heads, epsilon) = (self.heads, T::of(EPSILON));
        self.d_keys.fill(T::zero());
        self.d_memory.fill(T::zero());
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                let d_dots = &mut self.d_dots[..n];
                let d_norms = &mut self.d_norms[..n];
                for b in 0..self.sizes.batch {
                    let xi = at(&x[0], b, self.interface.len);
                    let memory = at(&x[1], b, n * w);
                    let slot_norms = at(&self.slot_norms, b, n);
                    let d_memory = at_mut(&mut self.d_memory, b, n * w);
                    for h in 0..heads {
                        let head = b * heads + h;
                        let key = at(self.keys.of(xi), h, w);
                        let strength = self.strengths.of(xi)[h];
                        let key_norm = self.key_norms[head];
                        let cosines = at(&self.cosines, head, n);
                        let d_key = at_mut(&mut self.d_keys, head, w);

                        softmax_gradient(at(c, head, n), at(dc, head, n), d_dots);
                        self.d_strengths[head] = dot(d_dots, cosines);
                        for i in 0..n {
                            d_dots[i] *= strength / (key_norm * slot_norms[i] + epsilon);
                            d_norms[i] = -d_dots[i] * cosines[i];
                        }
                        for (i, slot) in memory.chunks_exact(w).enumerate() {
                            add_scaled(d_key, d_dots[i], slot);
                        }
                        add_scaled(d_key, dot(d_norms, slot_norms) / key_norm, key);
                        let rows = d_memory.chunks_exact_mut(w).zip(memory.chunks_exact(w));
                        for (i, (d_slot, slot)) in rows.enumerate() {
                            add_scaled(d_slot, d_dots[i], key);
                            add_scaled(d_slot, d_norms[i] * key_norm / slot_norms[i], slot);
                        }
                    }
                }
            },
        );
        let row = self.interface.len;
        add_to_segment(dx.of(0), row, self.keys, &self.d_keys);
        add_to_segment(dx.of(0), row, self.strengths, &self.d_strengths);
        add(dx.of(1), &self.d_memory);
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

    /// The equations, in operations of autodiff, for one sequence.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let interface = Interface::new(sizes);
        let segment = |s: Segment, rows: usize| {
            let part = v[0].slice(1, s.start..s.start + s.len);
            part.reshape([rows, s.len / rows])
        };
        let (reads, n, w) = (sizes.reads, sizes.n, sizes.w);
        let (keys, memory) = (segment(interface.read_keys, reads), v[1].reshape([n, w]));
        let strengths = segment(interface.read_strengths, reads);
        let norms = |x: Var<'g, f64>| (x.square().sum_keep(&[1]) + EPSILON).sqrt();
        let products = norms(keys).matmul_nt(norms(memory)) + EPSILON;
        let cosines = keys.matmul_nt(memory) / products;
        (cosines * strengths).softmax().reshape([1, reads, n])
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
            let memory = g.constant(SIZES.memory(), &[0.0; 30]);
            g.apply(Content::of_reads(SIZES), &[v[0], memory])
        });
    }
}
