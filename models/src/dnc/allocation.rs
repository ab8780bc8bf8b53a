//! Dynamic memory allocation: which slots are in use, and where there is room.

use super::content::EPSILON;
use super::layout::{Interface, Sizes, expect};
use super::pack::{
    Kept, Pack, Packs, at, at_mut, each, gradients, operands, packs, packs_mut, product_of_rests,
    zeros,
};
use autodiff::kernels::dispatch;
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The usage of the slots; operands: u, w, ξ, r (the read weightings w^r, not the words), all but ξ
/// of the step before. v below is no write vector: it is how far each slot was written to.
///
/// A write adds to a slot's usage, a read whose free gate f is open takes it away:
///
/// ```text
/// v  = 1 − Π_h (1 − w_h)        over the write heads
/// ψ  = Π_r (1 − f_r r_r)        over the read heads
/// u′ = (u + (1 − u) ∘ v) ∘ ψ
/// ```
///
/// Backward; as in DeepMind's code no gradient flows into w:
///
/// ```text
/// du   += du′ ∘ ψ ∘ (1 − v)
/// dψ    = du′ ∘ (u + (1 − u) ∘ v)
/// df_r += −⟨dψ ∘ Π_{s≠r} (1 − f_s r_s), r_r⟩
/// dr_r += −f_r dψ ∘ Π_{s≠r} (1 − f_s r_s)
/// ```
pub(super) struct Usage {
    sizes: Sizes,
    interface: Interface,
}

impl Usage {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
        }
    }
}

/// v of slot i, from the weightings of the write heads.
#[inline(always)]
fn written<T: Real>(w: &Packs<T>, i: usize, n: usize) -> Pack<T> {
    let weights = w.chunks_exact(n).map(
        #[inline(always)]
        |w| (Pack::one(), Pack(w[i])),
    );
    Pack::one() - product_of_rests(weights, None)
}

/// ψ of slot i, without the factor of the read head that is `left_out`.
#[inline(always)]
fn retention<T: Real>(
    gates: &Packs<T>,
    r: &Packs<T>,
    (i, n): (usize, usize),
    left_out: Option<usize>,
) -> Pack<T> {
    let heads = gates.iter().zip(r.chunks_exact(n));
    let factors = heads.map(
        #[inline(always)]
        |(&f, r)| (Pack(f), Pack(r[i])),
    );
    product_of_rests(factors, left_out)
}

impl<T: Real> Op<T> for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let sizes = self.sizes;
        let shapes = [
            sizes.usage(),
            sizes.write_weights(),
            sizes.interface(),
            sizes.read_weights(),
        ];
        expect(inputs, &shapes)?;
        Ok(sizes.usage())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([u, w, xi, r], y) = (operands(x), packs_mut(y));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, writes, reads) = (sizes.n, sizes.writes, sizes.reads);
        dispatch(
            #[inline(always)]
            || {
                for block in 0..sizes.blocks() {
                    let (u, w) = (at(u, block, n), at(w, block, writes * n));
                    let gates = interface.free_gates.of(at(xi, block, interface.len));
                    let r = at(r, block, reads * n);
                    for (i, y) in at_mut(y, block, n).iter_mut().enumerate() {
                        let (u, v) = (Pack(u[i]), written(w, i, n));
                        let psi = retention(gates, r, (i, n), None);
                        *y = ((u + (Pack::one() - u) * v) * psi).0;
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([u, w, xi, r], dy) = (operands(x), packs(dy));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, writes, reads) = (sizes.n, sizes.writes, sizes.reads);
        let [d_usage, d_xi, d_reads] = gradients(dx, [0, 2, 3]);
        dispatch(
            #[inline(always)]
            || {
                for block in 0..sizes.blocks() {
                    let (u, w, dy) = (at(u, block, n), at(w, block, writes * n), at(dy, block, n));
                    let gates = interface.free_gates.of(at(xi, block, interface.len));
                    let r = at(r, block, reads * n);
                    let d_usage = at_mut(d_usage, block, n);
                    let d_xi = at_mut(d_xi, block, interface.len);
                    let d_gates = interface.free_gates.of_mut(d_xi);
                    let d_reads = at_mut(d_reads, block, reads * n);
                    for i in each(n) {
                        let (u, v, dy) = (Pack(u[i]), written(w, i, n), Pack(dy[i]));
                        let psi = retention(gates, r, (i, n), None);
                        d_usage[i] += dy * psi * (Pack::one() - v);
                        let d_psi = dy * (u + (Pack::one() - u) * v);
                        for head in 0..reads {
                            let d = -d_psi * retention(gates, r, (i, n), Some(head));
                            d_gates[head] += d * Pack(r[head * n + i]);
                            d_reads[head * n + i] += d * Pack(gates[head]);
                        }
                    }
                }
            },
        );
    }
}

/// The allocation weighting of each write head; operands: u, ξ.
///
/// The less a slot is used, the more of the write it gets. With u′ = ε + (1 − ε)u and
/// the slots in the order of u′,
///
/// ```text
/// aᵢ = (1 − u′ᵢ) Pᵢ    Pᵢ = Π u′ⱼ over the slots j before i
/// ```
///
/// Graves et al. sort to find that order. But aᵢ only asks which slots are before i, for
/// which N comparisons do; N² of them in all are no more than what a step of the
/// linkage takes, and sixteen sequences make them at once. As in DeepMind's code it is
/// 1 − u′, as rounded, that is compared, and of equals the first is before. The products are of u′ itself, where
/// that code has 1 − (1 − u′): in float32 an empty slot counts as 1e-6 here, as 1.013e-6 there.
///
/// A second write head finds the slots of the first in use as far as it will write to them,
/// in DeepMind's code:
///
/// ```text
/// u ← u + (1 − u) g a    g = g^a g^w
/// ```
///
/// Backward, where the order is held fixed:
///
/// ```text
/// du′ⱼ = (Σ aᵢdaᵢ over the slots i after j)/u′ⱼ − Pⱼdaⱼ    duⱼ += (1 − ε) du′ⱼ
/// ```
///
/// (u′ⱼ ≥ ε), and through the second equation da += (1 − u) g du, dg += ⟨du, (1 − u) a⟩,
/// du ← (1 − g a) du.
pub(super) struct Allocation<T> {
    sizes: Sizes,
    interface: Interface,
    /// What forward leaves for backward: u as each write head finds it, u′, 1 − u′ and P:
    /// [blocks, heads, N].
    usages: Kept<T>,
    stretched: Kept<T>,
    free: Kept<T>,
    products: Kept<T>,
    /// Of one block: du as the heads found it.
    d_found: Kept<T>,
    /// Of one head: da, and aᵢdaᵢ.
    d_a: Kept<T>,
    terms: Kept<T>,
}

impl<T: Real> Allocation<T> {
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            interface: Interface::new(sizes),
            usages: zeros(0),
            stretched: zeros(0),
            free: zeros(0),
            products: zeros(0),
            d_found: zeros(0),
            d_a: zeros(0),
            terms: zeros(0),
        }
    }
}

impl<T: Real> Op<T> for Allocation<T> {
    fn name(&self) -> &'static str {
        "allocation weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let sizes = self.sizes;
        expect(inputs, &[sizes.usage(), sizes.interface()])?;
        let of_heads = sizes.blocks() * sizes.writes * sizes.n;
        self.usages = zeros(of_heads);
        self.stretched = zeros(of_heads);
        self.free = zeros(of_heads);
        self.products = zeros(of_heads);
        self.d_found = zeros(sizes.n);
        self.d_a = zeros(sizes.n);
        self.terms = zeros(sizes.n);
        Ok(sizes.write_weights())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([u, xi], y) = (operands(x), packs_mut(y));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, writes) = (sizes.n, sizes.writes);
        let epsilon = Pack::splat(T::nearest(EPSILON));
        dispatch(
            #[inline(always)]
            || {
                for head in 0..sizes.blocks() * writes {
                    let (block, h) = (head / writes, head % writes);
                    let xi = at(xi, block, interface.len);
                    if h == 0 {
                        at_mut(&mut self.usages, head, n).copy_from_slice(at(u, block, n));
                    }
                    let (found, left) = self.usages[head * n..].split_at_mut(n);
                    let stretched = at_mut(&mut self.stretched, head, n);
                    let free = at_mut(&mut self.free, head, n);
                    for i in each(n) {
                        let u = epsilon + (Pack::one() - epsilon) * Pack(found[i]);
                        stretched[i] = u.0;
                        free[i] = (Pack::one() - u).0;
                    }
                    let a = at_mut(y, head, n);
                    for i in each(n) {
                        let mut product = Pack::one();
                        for j in each(n).filter(|&j| j != i) {
                            let keys = (Pack(free[j]), Pack(free[i]));
                            product *= Pack(stretched[j]).where_greater(keys, j < i, Pack::one());
                        }
                        self.products[head * n + i] = product.0;
                        a[i] = (Pack(free[i]) * product).0;
                    }
                    if h + 1 < writes {
                        let gate = Pack(interface.allocation_gates.of(xi)[h])
                            * Pack(interface.write_gates.of(xi)[h]);
                        for i in each(n) {
                            let u = Pack(found[i]);
                            left[i] = (u + (Pack::one() - u) * gate * Pack(a[i])).0;
                        }
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([_, xi], y, dy) = (operands(x), packs(y), packs(dy));
        let (sizes, interface) = (self.sizes, self.interface);
        let (n, writes) = (sizes.n, sizes.writes);
        let slope = Pack::splat(T::one() - T::nearest(EPSILON));
        let [d_usage, d_xi] = gradients(dx, [0, 1]);
        dispatch(
            #[inline(always)]
            || {
                for head in (0..sizes.blocks() * writes).rev() {
                    let (block, h) = (head / writes, head % writes);
                    let xi = at(xi, block, interface.len);
                    let allocation_gate = Pack(interface.allocation_gates.of(xi)[h]);
                    let write_gate = Pack(interface.write_gates.of(xi)[h]);
                    let gate = allocation_gate * write_gate;
                    let (a, da) = (at(y, head, n), at(dy, head, n));
                    let usage = at(&self.usages, head, n);
                    let d_found = &mut self.d_found;
                    if h + 1 == writes {
                        // What the last head leaves is nobody's.
                        d_found.fill(Pack::zero().0);
                    }
                    let mut d_gate = Pack::zero();
                    for i in each(n) {
                        let (a, du) = (Pack(a[i]), Pack(d_found[i]));
                        let of_left = du * (Pack::one() - Pack(usage[i]));
                        let d_a = Pack(da[i]) + of_left * gate;
                        d_gate += of_left * a;
                        d_found[i] = (du * (Pack::one() - gate * a)).0;
                        self.d_a[i] = d_a.0;
                        self.terms[i] = (a * d_a).0;
                    }
                    let d_xi = at_mut(d_xi, block, interface.len);
                    interface.allocation_gates.of_mut(d_xi)[h] += d_gate * write_gate;
                    interface.write_gates.of_mut(d_xi)[h] += d_gate * allocation_gate;

                    let free = at(&self.free, head, n);
                    let stretched = at(&self.stretched, head, n);
                    let products = at(&self.products, head, n);
                    for j in each(n) {
                        let mut sum = Pack::zero();
                        for i in each(n).filter(|&i| i != j) {
                            let keys = (Pack(free[j]), Pack(free[i]));
                            sum += Pack(self.terms[i]).where_greater(keys, j < i, Pack::zero());
                        }
                        let of_a = Pack(products[j]) * Pack(self.d_a[j]);
                        d_found[j] += slope * (sum / Pack(stretched[j]) - of_a);
                    }
                    if h == 0 {
                        let d_usage = at_mut(d_usage, block, n);
                        for i in each(n) {
                            d_usage[i] += Pack(d_found[i]);
                        }
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Segment;
    use super::super::testing::{SIZES, assert_close, assert_gradients, constant, numbers, run};
    use super::*;

    /// One sequence, four slots.
    const FOUR: Sizes = Sizes {
        batch: 1,
        n: 4,
        w: 1,
        reads: 1,
        writes: 1,
    };

    /// An interface vector of zeros but for some segments.
    fn xi(sizes: Sizes, segments: &[(Segment, f64)]) -> Vec<f64> {
        let mut xi = vec![0.0; Interface::new(sizes).len];
        for (segment, value) in segments {
            segment.of_mut(&mut xi).fill(*value);
        }
        xi
    }

    fn allocation(sizes: Sizes, usage: &[f64], gate: f64) -> Vec<f64> {
        let interface = Interface::new(sizes);
        let gates = [
            (interface.allocation_gates, gate),
            (interface.write_gates, 1.0),
        ];
        run(|g| {
            let usage = constant(g, sizes.usage(), usage);
            let xi = constant(g, sizes.interface(), &xi(sizes, &gates));
            g.apply(Allocation::new(sizes), &[usage, xi])
        })
    }

    #[test]
    fn allocation_by_hand() {
        // In order of usage: slots 1, 3 (as much used, but later), 0, 2.
        let a = allocation(FOUR, &[0.5, 0.2, 0.9, 0.2], 1.0);
        let products = [0.2 * 0.2, 1.0, 0.2 * 0.2 * 0.5, 0.2];
        let by_hand = [0.5 * products[0], 0.8, 0.1 * products[2], 0.8 * products[3]];
        assert_close(&a, &by_hand, 2e-6);
        // An empty memory is filled from its first slot on.
        assert_close(
            &allocation(FOUR, &[0.0; 4], 1.0),
            &[1.0, 0.0, 0.0, 0.0],
            2e-6,
        );
        // A full one has no room.
        assert_close(&allocation(FOUR, &[1.0; 4], 1.0), &[0.0; 4], 2e-6);
    }

    #[test]
    fn a_second_head_finds_the_slots_of_the_first_in_use() {
        let two = Sizes { writes: 2, ..FOUR };
        let a = allocation(two, &[0.0, 0.1, 0.7, 0.8], 1.0);
        assert_close(&a[..4], &[1.0, 0.0, 0.0, 0.0], 2e-6);
        let of_second = [0.0, 0.9, 0.3 * 0.1, 0.2 * 0.1 * 0.7];
        assert_close(&a[4..], &of_second, 1e-5);
        // With a gate half open, half of slot 0 is left.
        let a = allocation(two, &[0.0, 0.7, 0.8, 0.9], 0.5);
        assert_close(&a[..4], &[1.0, 0.0, 0.0, 0.0], 2e-6);
        let of_second = [0.5, 0.3 * 0.5, 0.2 * 0.5 * 0.7, 0.1 * 0.5 * 0.7 * 0.8];
        assert_close(&a[4..], &of_second, 1e-5);
    }

    #[test]
    fn allocation_by_sorting() {
        let sizes = Sizes { n: 9, ..FOUR };
        let usage = numbers(9, 0.0, 1.0);
        let mut order: Vec<usize> = (0..9).collect();
        order.sort_by(|&i, &j| usage[i].total_cmp(&usage[j]));
        let (mut expected, mut product) = (vec![0.0; 9], 1.0);
        for i in order {
            let u = EPSILON + (1.0 - EPSILON) * usage[i];
            expected[i] = (1.0 - u) * product;
            product *= u;
        }
        assert_close(&allocation(sizes, &usage, 1.0), &expected, 1e-15);
    }

    #[test]
    fn gradient_of_allocation() {
        for writes in [1, 2, 3] {
            let sizes = Sizes {
                writes,
                n: 5,
                ..SIZES
            };
            let operands = [(sizes.usage(), 0.1, 0.9), (sizes.interface(), 0.1, 0.9)];
            assert_gradients(&operands, |v| {
                v[0].graph().apply(Allocation::new(sizes), &[v[0], v[1]])
            });
        }
    }

    /// Usage after slot 1 was written and slot 2 was read.
    fn usage(before: &[f64], free_gate: f64) -> Vec<f64> {
        let free_gates = Interface::new(FOUR).free_gates;
        run(|g| {
            let operands = [
                constant(g, FOUR.usage(), before),
                constant(g, FOUR.write_weights(), &[0.0, 0.5, 0.0, 0.0]),
                constant(g, FOUR.interface(), &xi(FOUR, &[(free_gates, free_gate)])),
                constant(g, FOUR.read_weights(), &[0.0, 0.0, 1.0, 0.0]),
            ];
            g.apply(Usage::new(FOUR), &operands)
        })
    }

    #[test]
    fn writes_use_slots_and_free_gates_empty_them() {
        let before = [0.3, 0.4, 0.8, 1.0];
        assert_close(&usage(&before, 0.0), &[0.3, 0.7, 0.8, 1.0], 1e-15);
        assert_close(&usage(&before, 0.75), &[0.3, 0.7, 0.2, 1.0], 1e-15);
        assert_close(&usage(&before, 1.0), &[0.3, 0.7, 0.0, 1.0], 1e-15);
    }

    #[test]
    fn gradient_of_usage() {
        let operands = [
            (SIZES.usage(), 0.1, 0.9),
            (SIZES.interface(), 0.1, 0.9),
            (SIZES.read_weights(), 0.1, 0.9),
        ];
        assert_gradients(&operands, |v| {
            let weights = numbers(SIZES.write_weights().elements(), 0.0, 0.5);
            let g = v[0].graph();
            // A constant: no gradient flows into it.
            let weights = g.constant(SIZES.write_weights(), &weights);
            g.apply(Usage::new(SIZES), &[v[0], weights, v[1], v[2]])
        });
    }
}
