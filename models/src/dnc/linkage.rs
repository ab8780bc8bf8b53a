//! Temporal linkage: in which order the slots were written to.

use super::layout::{Sizes, expect};
use super::pack::{Pack, at, at_mut, each, gradients, operands, packs, packs_mut};
use autodiff::kernels::dispatch;
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// Link matrix L and precedence weighting p of each write head, in one tensor: N rows of
/// L, and p as one row more; operands: that of the step before, w.
///
/// Lᵢⱼ tells how far slot i was written to right after slot j, and pⱼ how far j was the
/// last slot that was written to:
///
/// ```text
/// L′ᵢⱼ = (1 − wᵢ − wⱼ) Lᵢⱼ + wᵢ pⱼ for i ≠ j    L′ᵢᵢ = 0
/// p′   = (1 − Σᵢ wᵢ) p + w
/// ```
///
/// Backward, where G is dL′ with a diagonal of zeros:
///
/// ```text
/// dLᵢⱼ += (1 − wᵢ − wⱼ) Gᵢⱼ
/// dw_k += Σⱼ Gₖⱼ (pⱼ − Lₖⱼ) − Σᵢ Gᵢₖ Lᵢₖ + dp′ₖ − ⟨dp′, p⟩
/// dpⱼ  += Σᵢ wᵢ Gᵢⱼ + (1 − Σᵢ wᵢ) dp′ⱼ
/// ```
pub(super) struct Linkage {
    sizes: Sizes,
}

impl Linkage {
    pub fn new(sizes: Sizes) -> Self {
        Self { sizes }
    }
}

impl<T: Real> Op<T> for Linkage {
    fn name(&self) -> &'static str {
        "temporal linkage"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.linkage(), self.sizes.write_weights()])?;
        Ok(self.sizes.linkage())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let ([linkage, w], y) = (operands(x), packs_mut(y));
        let (heads, n) = (self.sizes.blocks() * self.sizes.writes, self.sizes.n);
        dispatch(
            #[inline(always)]
            || {
                for head in 0..heads {
                    let (link, p) = at(linkage, head, (n + 1) * n).split_at(n * n);
                    let w = at(w, head, n);
                    let (y, next_p) = at_mut(y, head, (n + 1) * n).split_at_mut(n * n);
                    let mut rest = Pack::one();
                    for i in each(n) {
                        let w_i = Pack(w[i]);
                        let (link, y) = (at(link, i, n), at_mut(y, i, n));
                        for j in each(n) {
                            let kept = Pack::one() - w_i - Pack(w[j]);
                            y[j] = (kept * Pack(link[j]) + w_i * Pack(p[j])).0;
                        }
                        y[i] = Pack::zero().0;
                        rest -= w_i;
                    }
                    for j in each(n) {
                        next_p[j] = (rest * Pack(p[j]) + Pack(w[j])).0;
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let ([linkage, w], dy) = (operands(x), packs(dy));
        let (heads, n) = (self.sizes.blocks() * self.sizes.writes, self.sizes.n);
        let [d_linkage, d_weights] = gradients(dx, [0, 1]);
        dispatch(
            #[inline(always)]
            || {
                for head in 0..heads {
                    let (link, p) = at(linkage, head, (n + 1) * n).split_at(n * n);
                    let w = at(w, head, n);
                    let (g, dp) = at(dy, head, (n + 1) * n).split_at(n * n);
                    let d_linkage = at_mut(d_linkage, head, (n + 1) * n);
                    let (d_link, d_p) = d_linkage.split_at_mut(n * n);
                    let d_w = at_mut(d_weights, head, n);

                    let (mut rest, mut of_rest) = (Pack::one(), Pack::zero());
                    for j in each(n) {
                        rest -= Pack(w[j]);
                        of_rest += Pack(dp[j]) * Pack(p[j]);
                    }
                    for j in each(n) {
                        d_p[j] += rest * Pack(dp[j]);
                        d_w[j] += Pack(dp[j]) - of_rest;
                    }
                    for i in each(n) {
                        let (w_i, mut d_w_i) = (Pack(w[i]), Pack::zero());
                        let (link, g, d_link) = (at(link, i, n), at(g, i, n), at_mut(d_link, i, n));
                        for j in each(n).filter(|&j| j != i) {
                            let (g, link) = (Pack(g[j]), Pack(link[j]));
                            d_link[j] += (Pack::one() - w_i - Pack(w[j])) * g;
                            d_p[j] += w_i * g;
                            d_w[j] += -(g * link);
                            d_w_i += g * (Pack(p[j]) - link);
                        }
                        d_w[i] += d_w_i;
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::LANES;
    use super::super::testing::{
        SIZES, assert_close, assert_gradients, constant, evaluate, numbers, run,
    };
    use super::*;
    use autodiff::Var;

    const ONE: Sizes = Sizes {
        batch: 1,
        n: 3,
        w: 1,
        reads: 1,
        writes: 1,
    };

    /// The linkage after these write weightings, one after the other.
    fn after(writes: &[Vec<f64>]) -> Vec<f64> {
        run(|g| {
            let start = constant(g, ONE.linkage(), &[0.0; 12]);
            writes.iter().fold(start, |linkage, w| {
                let w = constant(g, ONE.write_weights(), w);
                g.apply(Linkage::new(ONE), &[linkage, w])
            })
        })
    }

    #[test]
    fn a_write_sequence_by_hand() {
        let slot = |i: usize| (0..3).map(|j| f64::from(u8::from(i == j))).collect();
        // Slot 0, then 2, then 1: L₂₀ = 1, L₁₂ = 1, and 1 was last.
        let linkage = after(&[slot(0), slot(2), slot(1)]);
        let by_hand = [
            [0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0],
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
        ];
        assert_close(&linkage, by_hand.as_flattened(), 0.0);
        // Slot 0 again: its links, to and from, are written anew.
        let linkage = after(&[slot(0), slot(2), slot(1), slot(0)]);
        let by_hand = [
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
        ];
        assert_close(&linkage, by_hand.as_flattened(), 0.0);
        // Half a write.
        let half = after(&[slot(0), vec![0.0, 0.5, 0.0]]);
        let by_hand = [
            [0.0, 0.0, 0.0],
            [0.5, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [0.5, 0.5, 0.0],
        ];
        assert_close(&half, by_hand.as_flattened(), 0.0);
    }

    #[test]
    fn rows_and_columns_sum_to_at_most_1_and_the_diagonal_is_zero() {
        let draws = numbers(60, 0.0, 1.0);
        let writes: Vec<Vec<f64>> = draws
            .chunks(3)
            .map(|w| {
                let total = w.iter().sum::<f64>().max(1.0);
                w.iter().map(|w| w / total).collect()
            })
            .collect();
        for steps in 1..=writes.len() {
            let linkage = after(&writes[..steps]);
            for i in 0..3 {
                let row: f64 = linkage[3 * i..3 * i + 3].iter().sum();
                let column: f64 = (0..3).map(|j| linkage[3 * j + i]).sum();
                assert!(row < 1.0 + 1e-12 && column < 1.0 + 1e-12, "{linkage:?}");
                assert_eq!(linkage[4 * i], 0.0);
            }
        }
    }

    /// The equations, in operations of autodiff, for one block and one head.
    fn composed<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let g = v[0].graph();
        let linkage = v[0].reshape([4, 3, LANES]);
        let (link, p) = (linkage.slice(0, 0..3), linkage.slice(0, 3..4));
        let (column, row) = (v[1].reshape([3, 1, LANES]), v[1].reshape([1, 3, LANES]));
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let off_diagonal = 1.0 - g.constant([3, 3, 1], &identity);
        let link = ((1.0 - column - row) * link + column * p) * off_diagonal;
        let p = (1.0 - row.sum_keep(&[1])) * p + row;
        g.concat(0, &[link, p])
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let operands = [(ONE.linkage(), 0.0, 1.0), (ONE.write_weights(), 0.0, 1.0)];
        let fused = evaluate(&operands, |v| v[0].graph().apply(Linkage::new(ONE), v));
        assert_close(&fused, &evaluate(&operands, composed), 1e-15);
    }

    #[test]
    fn gradients() {
        let operands = [
            (SIZES.linkage(), 0.0, 1.0),
            (SIZES.write_weights(), 0.0, 1.0),
        ];
        assert_gradients(&operands, |v| v[0].graph().apply(Linkage::new(SIZES), v));
    }
}
