//! Dynamic memory allocation: which slots are in use, and where there is room.

use super::content::EPSILON;
use super::layout::{Interface, Sizes, expect};
use super::math::{add, add_to_segment, at, at_mut, dot, vectorised};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The usage of the slots; operands: u, w, ξ, r, all but ξ of the step before.
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
pub(super) struct Usage<T> {
    sizes: Sizes,
    interface: Interface,
    d_usage: Vec<T>,
    d_gates: Vec<T>,
    d_reads: Vec<T>,
    /// Of one sequence: 1 − v and dψ.
    unwritten: Vec<T>,
    d_psi: Vec<T>,
}

impl<T: Real> Usage<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch, n, reads, ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            d_usage: zeros(batch * n),
            d_gates: zeros(batch * reads),
            d_reads: zeros(batch * reads * n),
            unwritten: zeros(n),
            d_psi: zeros(n),
        }
    }
}

/// out ← Π (1 − gate·weighting) over the heads, all but `left_out`.
#[inline(always)]
fn retention<T: Real>(out: &mut [T], gates: &[T], weightings: &[T], left_out: Option<usize>) {
    out.fill(T::one());
    let heads = gates.iter().zip(weightings.chunks_exact(out.len()));
    for (head, (&gate, weighting)) in heads.enumerate() {
        if Some(head) != left_out {
            for (out, &weight) in out.iter_mut().zip(weighting) {
                *out *= T::one() - gate * weight;
            }
        }
    }
}

/// out ← Π (1 − w_h) over the write heads.
#[inline(always)]
fn product_of_rests<T: Real>(out: &mut [T], weightings: &[T]) {
    out.fill(T::one());
    for weighting in weightings.chunks_exact(out.len()) {
        for (out, &weight) in out.iter_mut().zip(weighting) {
            *out *= T::one() - weight;
        }
    }
}

impl<T: Real> Op<T> for Usage<T> {
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
        let Sizes {
            batch,
            reads,
            writes,
            ..
        } = self.sizes;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let unwritten = &mut self.unwritten[..n];
                for b in 0..batch {
                    let usage = at(&x[0], b, n);
                    let gates = self
                        .interface
                        .free_gates
                        .of(at(&x[2], b, self.interface.len));
                    let y = at_mut(y, b, n);
                    product_of_rests(unwritten, at(&x[1], b, writes * n));
                    retention(y, gates, at(&x[3], b, reads * n), None);
                    for i in 0..n {
                        y[i] *= usage[i] + (T::one() - usage[i]) * (T::one() - unwritten[i]);
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
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let unwritten = &mut self.unwritten[..n];
                let d_psi = &mut self.d_psi[..n];
                for b in 0..batch {
                    let (usage, dy) = (at(&x[0], b, n), at(dy, b, n));
                    let gates = self
                        .interface
                        .free_gates
                        .of(at(&x[2], b, self.interface.len));
                    let weightings = at(&x[3], b, reads * n);
                    let d_usage = at_mut(&mut self.d_usage, b, n);
                    product_of_rests(unwritten, at(&x[1], b, writes * n));
                    retention(d_usage, gates, weightings, None);
                    for i in 0..n {
                        d_usage[i] *= dy[i] * unwritten[i];
                        let written = T::one() - unwritten[i];
                        d_psi[i] = dy[i] * (usage[i] + (T::one() - usage[i]) * written);
                    }
                    for (r, &gate) in gates.iter().enumerate() {
                        let d_read = at_mut(&mut self.d_reads, b * reads + r, n);
                        retention(d_read, gates, weightings, Some(r));
                        for i in 0..n {
                            d_read[i] *= -d_psi[i];
                        }
                        self.d_gates[b * reads + r] = dot(d_read, at(weightings, r, n));
                        d_read.iter_mut().for_each(|d| *d *= gate);
                    }
                }
            },
        );
        add(dx.of(0), &self.d_usage);
        let Interface {
            len, free_gates, ..
        } = self.interface;
        add_to_segment(dx.of(2), len, free_gates, &self.d_gates);
        add(dx.of(3), &self.d_reads);
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
/// The paper sorts to find that order. But aᵢ only asks which slots are before i, for
/// which N comparisons do; N² of them in all are no more than what a step of the
/// linkage takes, and run on whole vectors. As in DeepMind's code it is 1 − u′, as rounded,
/// that is compared, and of equals the first is before.
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
    /// u as each write head finds it, [batch, heads, N].
    usages: Vec<T>,
    /// 0, 1, …, N − 1.
    places: Vec<T>,
    d_usage: Vec<T>,
    d_allocation_gates: Vec<T>,
    d_write_gates: Vec<T>,
    /// Of one head: u′, 1 − u′, P, Σ aᵢdaᵢ and da.
    stretched: Vec<T>,
    free: Vec<T>,
    products: Vec<T>,
    sums: Vec<T>,
    d_a: Vec<T>,
}

impl<T: Real> Allocation<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch, n, writes, ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        Self {
            sizes,
            interface: Interface::new(sizes),
            usages: zeros(batch * writes * n),
            places: (0..n).map(|i| T::of(i as f64)).collect(),
            d_usage: zeros(batch * n),
            d_allocation_gates: zeros(batch * writes),
            d_write_gates: zeros(batch * writes),
            stretched: zeros(n),
            free: zeros(n),
            products: zeros(n),
            sums: zeros(n),
            d_a: zeros(n),
        }
    }
}

/// u′ = ε + (1 − ε)u and 1 − u′.
#[inline(always)]
fn stretch<T: Real>(stretched: &mut [T], free: &mut [T], usage: &[T]) {
    let epsilon = T::of(EPSILON);
    for ((stretched, free), &u) in stretched.iter_mut().zip(free).zip(usage) {
        *stretched = epsilon + (T::one() - epsilon) * u;
        *free = T::one() - *stretched;
    }
}

/// Pᵢ ← Π u′ⱼ over the slots j before i.
#[inline(always)]
fn products_before<T: Real>(products: &mut [T], stretched: &[T], free: &[T], places: &[T]) {
    products.fill(T::one());
    for ((&factor, &freer), &place) in stretched.iter().zip(free).zip(places) {
        for ((product, &free), &at) in products.iter_mut().zip(free).zip(places) {
            let before = (freer > free) | ((freer == free) & (place < at));
            *product *= if before { factor } else { T::one() };
        }
    }
}

/// Sⱼ ← Σ tᵢ over the slots i after j.
#[inline(always)]
fn sums_after<T: Real>(sums: &mut [T], terms: &[T], free: &[T], places: &[T]) {
    sums.fill(T::zero());
    for ((&term, &fuller), &place) in terms.iter().zip(free).zip(places) {
        for ((sum, &free), &at) in sums.iter_mut().zip(free).zip(places) {
            let after = (fuller < free) | ((fuller == free) & (at < place));
            *sum += if after { term } else { T::zero() };
        }
    }
}

impl<T: Real> Op<T> for Allocation<T> {
    fn name(&self) -> &'static str {
        "allocation weighting"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.usage(), self.sizes.interface()])?;
        Ok(self.sizes.write_weights())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let places = &self.places[..n];
                let stretched = &mut self.stretched[..n];
                let free = &mut self.free[..n];
                let products = &mut self.products[..n];
                let usage = &mut self.d_a[..n];
                for b in 0..batch {
                    let xi = at(&x[1], b, interface.len);
                    usage.copy_from_slice(at(&x[0], b, n));
                    for h in 0..writes {
                        let a = at_mut(y, b * writes + h, n);
                        at_mut(&mut self.usages, b * writes + h, n).copy_from_slice(usage);
                        stretch(stretched, free, usage);
                        products_before(products, stretched, free, places);
                        let gate =
                            interface.allocation_gates.of(xi)[h] * interface.write_gates.of(xi)[h];
                        for i in 0..n {
                            a[i] = free[i] * products[i];
                            usage[i] += (T::one() - usage[i]) * gate * a[i];
                        }
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        self.d_usage.fill(T::zero());
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let places = &self.places[..n];
                let stretched = &mut self.stretched[..n];
                let free = &mut self.free[..n];
                let products = &mut self.products[..n];
                let sums = &mut self.sums[..n];
                let d_a = &mut self.d_a[..n];
                for b in 0..batch {
                    let xi = at(&x[1], b, interface.len);
                    let d_usage = at_mut(&mut self.d_usage, b, n);
                    for h in (0..writes).rev() {
                        let head = b * writes + h;
                        let (a, da) = (at(y, head, n), at(dy, head, n));
                        let usage = at(&self.usages, head, n);
                        let allocation_gate = interface.allocation_gates.of(xi)[h];
                        let write_gate = interface.write_gates.of(xi)[h];
                        let gate = allocation_gate * write_gate;
                        // The last head's usage is nobody's: d_usage is zero here.
                        for i in 0..n {
                            sums[i] = d_usage[i] * (T::one() - usage[i]);
                            d_a[i] = da[i] + sums[i] * gate;
                        }
                        let d_gate = dot(sums, a);
                        self.d_allocation_gates[head] = d_gate * write_gate;
                        self.d_write_gates[head] = d_gate * allocation_gate;

                        stretch(stretched, free, usage);
                        products_before(products, stretched, free, places);
                        for i in 0..n {
                            d_usage[i] *= T::one() - gate * a[i];
                            products[i] *= d_a[i];
                            d_a[i] *= a[i];
                        }
                        sums_after(sums, d_a, free, places);
                        let slope = T::one() - T::of(EPSILON);
                        for i in 0..n {
                            d_usage[i] += slope * (sums[i] / stretched[i] - products[i]);
                        }
                    }
                }
            },
        );
        add(dx.of(0), &self.d_usage);
        if writes > 1 {
            let Interface {
                len,
                allocation_gates,
                write_gates,
                ..
            } = interface;
            add_to_segment(dx.of(1), len, allocation_gates, &self.d_allocation_gates);
            add_to_segment(dx.of(1), len, write_gates, &self.d_write_gates);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Segment;
    use super::super::testing::{SIZES, assert_close, assert_gradients, numbers, run};
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
            let usage = g.constant(sizes.usage(), usage);
            let xi = g.constant(sizes.interface(), &xi(sizes, &gates));
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
                g.constant(FOUR.usage(), before),
                g.constant(FOUR.write_weights(), &[0.0, 0.5, 0.0, 0.0]),
                g.constant(FOUR.interface(), &xi(FOUR, &[(free_gates, free_gate)])),
                g.constant(FOUR.read_weights(), &[0.0, 0.0, 1.0, 0.0]),
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
            let weights = numbers(12, 0.0, 0.5);
            let g = v[0].graph();
            // A constant: no gradient flows into it.
            let weights = g.constant(SIZES.write_weights(), &weights);
            g.apply(Usage::new(SIZES), &[v[0], weights, v[1], v[2]])
        });
    }
}
