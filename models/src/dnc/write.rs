//! Writing: where to, and the memory afterwards.

use super::layout::{Interface, Sizes, expect};
use super::pack::{
    Kept, Pack, Packs, add_product, at, at_mut, dot, each, gradients, matrix, operands, packs,
    packs_mut, product_of_rests, zeros,
};
use autodiff::kernels::dispatch;
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The write weighting of each write head, of its allocation weighting a and its content
/// weighting c; operands: ξ, a, c.
///
/// ```text
/// w = g^w (g^a a + (1 − g^a) c)
/// ```
///
/// Backward:
///
/// ```text
/// dg^w += ⟨dw, g^a a + (1 − g^a) c⟩    da += g^w g^a dw
/// dg^a += g^w ⟨dw, a − c⟩              dc += g^w (1 − g^a) dw
/// ```
pub(super) struct WriteWeights {
    sizes: Sizes,
    interface: Interface,
}

impl WriteWeights {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
        }
    }

    /// g^a and g^w of a head, counted through all blocks.
    #[inline(always)]
    fn gates<T: Real>(&self, xi: &Packs<T>, head: usize) -> [Pack<T>; 2] {
        let (interface, writes) = (self.interface, self.sizes.writes);
        let xi = at(xi, head / writes, interface.len);
        [interface.allocation_gates, interface.write_gates].map(
            #[inline(always)]
            |gates| Pack(gates.of(xi)[head % writes]),
        )
    }
}

impl<T: Real> Op<T> for WriteWeights {
    fn name(&self) -> &'static str {
        "write weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let weights = self.sizes.write_weights();
        expect(inputs, &[self.sizes.interface(), weights, weights])?;
        Ok(weights)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([xi, a, c], y) = (operands(x), packs_mut(y));
        let n = self.sizes.n;
        dispatch(
            #[inline(always)]
            || {
                for (head, y) in y.chunks_exact_mut(n).enumerate() {
                    let [g_a, g_w] = self.gates(xi, head);
                    let (a, c) = (at(a, head, n), at(c, head, n));
                    for i in each(n) {
                        let chosen = g_a * Pack(a[i]) + (Pack::one() - g_a) * Pack(c[i]);
                        y[i] = (g_w * chosen).0;
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([xi, a, c], dy) = (operands(x), packs(dy));
        let (interface, n, writes) = (self.interface, self.sizes.n, self.sizes.writes);
        let [d_xi, d_allocation, d_content] = gradients(dx, [0, 1, 2]);
        dispatch(
            #[inline(always)]
            || {
                for (head, dy) in dy.chunks_exact(n).enumerate() {
                    let [g_a, g_w] = self.gates(xi, head);
                    let (of_a, of_c) = (dot(dy, at(a, head, n)), dot(dy, at(c, head, n)));
                    let g_c = Pack::one() - g_a;
                    let d_xi = at_mut(d_xi, head / writes, interface.len);
                    interface.write_gates.of_mut(d_xi)[head % writes] += g_a * of_a + g_c * of_c;
                    interface.allocation_gates.of_mut(d_xi)[head % writes] += g_w * (of_a - of_c);
                    let d_allocation = at_mut(d_allocation, head, n);
                    let d_content = at_mut(d_content, head, n);
                    for i in each(n) {
                        d_allocation[i] += g_w * g_a * Pack(dy[i]);
                        d_content[i] += g_w * g_c * Pack(dy[i]);
                    }
                }
            },
        );
    }
}

/// The memory after erasing and writing; operands: M, w, ξ.
///
/// ```text
/// M′ᵢ = Mᵢ ∘ Π_h (1 − w_hᵢ e_h) + Σ_h w_hᵢ v_h    for each slot i
/// ```
///
/// Backward, with P_h = 1 − w_hᵢ e_h:
///
/// ```text
/// dMᵢ   += dM′ᵢ ∘ Π_h P_h
/// dP_h   = dM′ᵢ ∘ Mᵢ ∘ Π_{g≠h} P_g
/// dw_hᵢ += ⟨dM′ᵢ, v_h⟩ − ⟨dP_h, e_h⟩
/// de_h  += −Σᵢ w_hᵢ dP_h
/// dv_h  += Σᵢ w_hᵢ dM′ᵢ
/// ```
pub(super) struct Memory<T> {
    sizes: Sizes,
    interface: Interface,
    /// Of one head: −dP, [N, W].
    d_kept: Kept<T>,
}

impl<T: Real> Memory<T> {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
            d_kept: zeros(0),
        }
    }
}

/// Π (1 − w_hᵢ e_hⱼ) over the write heads, all but `left_out`.
#[inline(always)]
fn kept<T: Real>(
    (weights, i, n): (&Packs<T>, usize, usize),
    (vectors, j, w): (&Packs<T>, usize, usize),
    left_out: Option<usize>,
) -> Pack<T> {
    let heads = weights.chunks_exact(n).zip(vectors.chunks_exact(w));
    let factors = heads.map(
        #[inline(always)]
        |(weights, e)| (Pack(weights[i]), Pack(e[j])),
    );
    product_of_rests(factors, left_out)
}

impl<T: Real> Op<T> for Memory<T> {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let sizes = self.sizes;
        let shapes = [sizes.memory(), sizes.write_weights(), sizes.interface()];
        expect(inputs, &shapes)?;
        self.d_kept = zeros(sizes.n * sizes.w);
        Ok(sizes.memory())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([memory, weights, xi], y) = (operands(x), packs_mut(y));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, w, writes) = (sizes.n, sizes.w, sizes.writes);
        dispatch(
            #[inline(always)]
            || {
                for block in 0..sizes.blocks() {
                    let weights = at(weights, block, writes * n);
                    let xi = at(xi, block, interface.len);
                    let (e, v) = (
                        interface.erase_vectors.of(xi),
                        interface.write_vectors.of(xi),
                    );
                    let memory = at(memory, block, n * w);
                    let y = at_mut(y, block, n * w);
                    for i in each(n) {
                        let (slot, y) = (at(memory, i, w), at_mut(y, i, w));
                        for j in each(w) {
                            let mut m = Pack(slot[j]) * kept((weights, i, n), (e, j, w), None);
                            for h in 0..writes {
                                m += Pack(weights[h * n + i]) * Pack(v[h * w + j]);
                            }
                            y[j] = m.0;
                        }
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([memory, weights, xi], dy) = (operands(x), packs(dy));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, w, writes) = (sizes.n, sizes.w, sizes.writes);
        let [d_memory, d_weights, d_xi] = gradients(dx, [0, 1, 2]);
        for block in 0..sizes.blocks() {
            let weights = at(weights, block, writes * n);
            let xi = at(xi, block, interface.len);
            let e = interface.erase_vectors.of(xi);
            let v = interface.write_vectors.of(xi);
            let (memory, dy) = (at(memory, block, n * w), at(dy, block, n * w));
            let d_memory = at_mut(d_memory, block, n * w);
            let d_weights = at_mut(d_weights, block, writes * n);
            let d_xi = at_mut(d_xi, block, interface.len);
            for h in 0..writes {
                let d_kept = &mut self.d_kept;
                dispatch(
                    #[inline(always)]
                    || {
                        for i in each(n) {
                            let (slot, dy) = (at(memory, i, w), at(dy, i, w));
                            let d_kept = at_mut(d_kept, i, w);
                            for j in each(w) {
                                let others = kept((weights, i, n), (e, j, w), Some(h));
                                d_kept[j] = (-Pack(dy[j]) * Pack(slot[j]) * others).0;
                            }
                        }
                    },
                );
                let weight = matrix(at(weights, h, n), n);
                let d_kept = matrix(d_kept, w);
                let d_erase = at_mut(interface.erase_vectors.of_mut(d_xi), h, w);
                add_product([1, n, w], weight, d_kept, d_erase);
                let e = matrix(at(e, h, w), w);
                add_product([1, w, n], e, d_kept.transposed(), at_mut(d_weights, h, n));
            }
            dispatch(
                #[inline(always)]
                || {
                    for i in each(n) {
                        let (dy, d_slot) = (at(dy, i, w), at_mut(d_memory, i, w));
                        for j in each(w) {
                            d_slot[j] += Pack(dy[j]) * kept((weights, i, n), (e, j, w), None);
                        }
                    }
                },
            );
            let (weights, dy) = (matrix(weights, n), matrix(dy, w));
            add_product([writes, w, n], matrix(v, w), dy.transposed(), d_weights);
            let d_write = interface.write_vectors.of_mut(d_xi);
            add_product([writes, n, w], weights, dy, d_write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Content;
    use super::super::layout::Segment;
    use super::super::pack::LANES;
    use super::super::read::Read;
    use super::super::testing::{SIZES, assert_close, assert_gradients, constant, evaluate, run};
    use super::*;
    use autodiff::Var;

    const ONE: Sizes = Sizes {
        batch: 1,
        n: 3,
        w: 2,
        reads: 1,
        writes: 1,
    };

    fn xi(segments: &[(Segment, &[f64])]) -> Vec<f64> {
        let mut xi = vec![0.0; Interface::new(ONE).len];
        for (segment, values) in segments {
            segment.of_mut(&mut xi).copy_from_slice(values);
        }
        xi
    }

    #[test]
    fn gates_choose_between_allocation_and_content() {
        let interface = Interface::new(ONE);
        let weights = |allocation_gate: f64, write_gate: f64| {
            let xi = xi(&[
                (interface.allocation_gates, &[allocation_gate]),
                (interface.write_gates, &[write_gate]),
            ]);
            run(|g| {
                let weights = |w: &[f64; 3]| constant(g, ONE.write_weights(), w);
                let (a, c) = (weights(&[1.0, 0.0, 0.0]), weights(&[0.0, 0.5, 0.5]));
                let xi = constant(g, ONE.interface(), &xi);
                g.apply(WriteWeights::new(ONE), &[xi, a, c])
            })
        };
        assert_close(&weights(1.0, 1.0), &[1.0, 0.0, 0.0], 0.0);
        assert_close(&weights(0.0, 1.0), &[0.0, 0.5, 0.5], 0.0);
        assert_close(&weights(0.5, 0.5), &[0.25, 0.125, 0.125], 0.0);
        assert_close(&weights(0.3, 0.0), &[0.0; 3], 0.0);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let interface = Interface::new(ONE);
        let xi = xi(&[
            (interface.erase_vectors, &[1.0, 1.0]),
            (interface.write_vectors, &[3.0, -4.0]),
            // Nearly the direction of what was written, and a strong wish for it.
            (interface.read_keys, &[1.0, -1.2]),
            (interface.read_strengths, &[60.0]),
        ]);
        let word = run(|g| {
            let memory = constant(g, ONE.memory(), &[9.0, 9.0, 7.0, 7.0, 1.0, 5.0]);
            let weights = constant(g, ONE.write_weights(), &[0.0, 1.0, 0.0]);
            let xi = constant(g, ONE.interface(), &xi);
            let memory = g.apply(Memory::new(ONE), &[memory, weights, xi]);
            let weights = g.apply(Content::of_reads(ONE), &[xi, memory]);
            g.apply(Read::new(ONE), &[weights, memory])
        });
        assert_close(&word, &[3.0, -4.0], 1e-12);
    }

    fn operands(sizes: Sizes) -> [(Shape, f64, f64); 3] {
        [
            (sizes.memory(), -1.0, 1.0),
            (sizes.write_weights(), 0.0, 1.0),
            (sizes.interface(), 0.0, 1.0),
        ]
    }

    /// The equation, in operations of autodiff, for one block with two heads.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let (n, w, interface) = (sizes.n, sizes.w, Interface::new(sizes));
        let weights = v[1].reshape([2, n, 1, LANES]);
        let vectors = |s: Segment| {
            let part = v[2].slice(1, s.start..s.start + s.len);
            part.reshape([2, 1, w, LANES])
        };
        let kept = 1.0 - weights * vectors(interface.erase_vectors);
        let kept = kept.slice(0, 0..1) * kept.slice(0, 1..2);
        let written = (weights * vectors(interface.write_vectors)).sum_over(&[0]);
        v[0] * kept + written
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let sizes = Sizes { batch: 1, ..SIZES };
        let operands = operands(sizes);
        let fused = evaluate(&operands, |v| v[0].graph().apply(Memory::new(sizes), v));
        assert_close(&fused, &evaluate(&operands, |v| composed(v, sizes)), 1e-15);
    }

    #[test]
    fn gradients_of_memory() {
        assert_gradients(&operands(SIZES), |v| {
            v[0].graph().apply(Memory::new(SIZES), v)
        });
    }

    #[test]
    fn gradients_of_weights() {
        let weights = SIZES.write_weights();
        let operands = [
            (SIZES.interface(), 0.0, 1.0),
            (weights, 0.0, 1.0),
            (weights, 0.0, 1.0),
        ];
        assert_gradients(&operands, |v| {
            v[0].graph().apply(WriteWeights::new(SIZES), v)
        });
    }
}
