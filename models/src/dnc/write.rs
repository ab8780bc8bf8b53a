//! Writing: where to, and the memory afterwards.

use super::layout::{Interface, Sizes, expect};
use super::math::{add, add_scaled, add_to_segment, at, at_mut, dot, vectorised};
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
pub(super) struct WriteWeights<T> {
    sizes: Sizes,
    interface: Interface,
    d_allocation_gates: Vec<T>,
    d_write_gates: Vec<T>,
    d_allocation: Vec<T>,
    d_content: Vec<T>,
}

impl<T: Real> WriteWeights<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch, n, writes, ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            d_allocation_gates: zeros(batch * writes),
            d_write_gates: zeros(batch * writes),
            d_allocation: zeros(batch * writes * n),
            d_content: zeros(batch * writes * n),
        }
    }
}

impl<T: Real> Op<T> for WriteWeights<T> {
    fn name(&self) -> &'static str {
        "write weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let weights = self.sizes.write_weights();
        expect(inputs, &[self.sizes.interface(), weights, weights])?;
        Ok(weights)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                for head in 0..batch * writes {
                    let (b, h) = (head / writes, head % writes);
                    let xi = at(&x[0], b, interface.len);
                    let (a, c) = (at(&x[1], head, n), at(&x[2], head, n));
                    let allocation_gate = interface.allocation_gates.of(xi)[h];
                    let write_gate = interface.write_gates.of(xi)[h];
                    let y = at_mut(y, head, n);
                    for i in 0..n {
                        y[i] = write_gate
                            * (allocation_gate * a[i] + (T::one() - allocation_gate) * c[i]);
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                for head in 0..batch * writes {
                    let (b, h) = (head / writes, head % writes);
                    let xi = at(&x[0], b, interface.len);
                    let (a, c, dy) = (at(&x[1], head, n), at(&x[2], head, n), at(dy, head, n));
                    let allocation_gate = interface.allocation_gates.of(xi)[h];
                    let content_gate = T::one() - allocation_gate;
                    let write_gate = interface.write_gates.of(xi)[h];
                    let (of_allocation, of_content) = (dot(dy, a), dot(dy, c));
                    self.d_write_gates[head] =
                        allocation_gate * of_allocation + content_gate * of_content;
                    self.d_allocation_gates[head] = write_gate * (of_allocation - of_content);
                    let d_allocation = at_mut(&mut self.d_allocation, head, n);
                    let d_content = at_mut(&mut self.d_content, head, n);
                    for i in 0..n {
                        d_allocation[i] = write_gate * allocation_gate * dy[i];
                        d_content[i] = write_gate * content_gate * dy[i];
                    }
                }
            },
        );
        let Interface {
            len,
            allocation_gates,
            write_gates,
            ..
        } = interface;
        add_to_segment(dx.of(0), len, allocation_gates, &self.d_allocation_gates);
        add_to_segment(dx.of(0), len, write_gates, &self.d_write_gates);
        add(dx.of(1), &self.d_allocation);
        add(dx.of(2), &self.d_content);
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
    d_memory: Vec<T>,
    d_weights: Vec<T>,
    d_erase: Vec<T>,
    d_write: Vec<T>,
    /// dP_h of one slot.
    d_kept: Vec<T>,
}

impl<T: Real> Memory<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch,
            n,
            w,
            writes,
            ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            d_memory: zeros(batch * n * w),
            d_weights: zeros(batch * writes * n),
            d_erase: zeros(batch * writes * w),
            d_write: zeros(batch * writes * w),
            d_kept: zeros(w),
        }
    }
}

/// row ← row ∘ Π (1 − w_hᵢ e_h) over the write heads, all but `left_out`.
#[inline(always)]
fn erase<T: Real>(
    row: &mut [T],
    weights: &[T],
    (i, n): (usize, usize),
    vectors: &[T],
    left_out: Option<usize>,
) {
    for (h, vector) in vectors.chunks_exact(row.len()).enumerate() {
        if Some(h) != left_out {
            let weight = weights[h * n + i];
            for (row, &e) in row.iter_mut().zip(vector) {
                *row *= T::one() - weight * e;
            }
        }
    }
}

impl<T: Real> Op<T> for Memory<T> {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let sizes = self.sizes;
        let shapes = [sizes.memory(), sizes.write_weights(), sizes.interface()];
        expect(inputs, &shapes)?;
        Ok(sizes.memory())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                for b in 0..batch {
                    let weights = at(&x[1], b, writes * n);
                    let xi = at(&x[2], b, interface.len);
                    let y = at_mut(y, b, n * w);
                    y.copy_from_slice(at(&x[0], b, n * w));
                    for (i, slot) in y.chunks_exact_mut(w).enumerate() {
                        erase(slot, weights, (i, n), interface.erase_vectors.of(xi), None);
                        for h in 0..writes {
                            let vector = at(interface.write_vectors.of(xi), h, w);
                            add_scaled(slot, weights[h * n + i], vector);
                        }
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        self.d_erase.fill(T::zero());
        self.d_write.fill(T::zero());
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, w| {
                let d_kept = &mut self.d_kept[..w];
                for b in 0..batch {
                    let weights = at(&x[1], b, writes * n);
                    let xi = at(&x[2], b, interface.len);
                    let erase_vectors = interface.erase_vectors.of(xi);
                    let (memory, dy) = (at(&x[0], b, n * w), at(dy, b, n * w));
                    let d_memory = at_mut(&mut self.d_memory, b, n * w);
                    d_memory.copy_from_slice(dy);
                    for (i, d_slot) in d_memory.chunks_exact_mut(w).enumerate() {
                        erase(d_slot, weights, (i, n), erase_vectors, None);
                    }
                    for h in 0..writes {
                        let head = b * writes + h;
                        let d_weights = at_mut(&mut self.d_weights, head, n);
                        let d_erase = at_mut(&mut self.d_erase, head, w);
                        let d_write = at_mut(&mut self.d_write, head, w);
                        let e = at(erase_vectors, h, w);
                        let v = at(interface.write_vectors.of(xi), h, w);
                        let rows = memory.chunks_exact(w).zip(dy.chunks_exact(w));
                        for (i, (slot, dy)) in rows.enumerate() {
                            for ((d_kept, &m), &dy) in d_kept.iter_mut().zip(slot).zip(dy) {
                                *d_kept = m * dy;
                            }
                            erase(d_kept, weights, (i, n), erase_vectors, Some(h));
                            let weight = weights[h * n + i];
                            d_weights[i] = dot(dy, v) - dot(d_kept, e);
                            add_scaled(d_erase, -weight, d_kept);
                            add_scaled(d_write, weight, dy);
                        }
                    }
                }
            },
        );
        add(dx.of(0), &self.d_memory);
        add(dx.of(1), &self.d_weights);
        let Interface {
            len,
            erase_vectors,
            write_vectors,
            ..
        } = interface;
        add_to_segment(dx.of(2), len, erase_vectors, &self.d_erase);
        add_to_segment(dx.of(2), len, write_vectors, &self.d_write);
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::Content;
    use super::super::layout::Segment;
    use super::super::read::Read;
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate, run};
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
                let weights = |w: &[f64; 3]| g.constant(ONE.write_weights(), w);
                let (a, c) = (weights(&[1.0, 0.0, 0.0]), weights(&[0.0, 0.5, 0.5]));
                let xi = g.constant(ONE.interface(), &xi);
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
            let memory = g.constant(ONE.memory(), &[9.0, 9.0, 7.0, 7.0, 1.0, 5.0]);
            let weights = g.constant(ONE.write_weights(), &[0.0, 1.0, 0.0]);
            let xi = g.constant(ONE.interface(), &xi);
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

    /// The equation, in operations of autodiff, for one sequence with two heads.
    fn composed<'g>(v: &[Var<'g, f64>], sizes: Sizes) -> Var<'g, f64> {
        let (n, w, interface) = (sizes.n, sizes.w, Interface::new(sizes));
        let weights = v[1].reshape([2, n]);
        let heads = |s: Segment| v[2].slice(1, s.start..s.start + s.len).reshape([2, w]);
        let erased = (0..2).fold(v[0].reshape([n, w]), |memory, h| {
            let (weights, e) = (
                weights.slice(0, h..h + 1),
                heads(interface.erase_vectors).slice(0, h..h + 1),
            );
            memory * (1.0 - weights.matmul_tn(e))
        });
        erased + weights.matmul_tn(heads(interface.write_vectors))
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
