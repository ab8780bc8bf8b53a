//! Temporal linkage: in which order the slots were written to.

use super::layout::{Sizes, expect};
use super::math::{add, add_scaled, at, at_mut, dot, vectorised};
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
pub(super) struct Linkage<T> {
    sizes: Sizes,
    /// 1 − the identity: [N, N].
    off_diagonal: Vec<T>,
    d_linkage: Vec<T>,
    d_weights: Vec<T>,
    /// One row of G.
    row: Vec<T>,
}

impl<T: Real> Linkage<T> {
    pub fn new(sizes: Sizes) -> Self {
        let Sizes {
            batch, n, writes, ..
        } = sizes;
        let zeros = |len| vec![T::zero(); len];
        let off_diagonal = |k| {
            if k % (n + 1) == 0 {
                T::zero()
            } else {
                T::one()
            }
        };
        Self {
            sizes,
            off_diagonal: (0..n * n).map(off_diagonal).collect(),
            d_linkage: zeros(batch * writes * (n + 1) * n),
            d_weights: zeros(batch * writes * n),
            row: zeros(n),
        }
    }
}

impl<T: Real> Op<T> for Linkage<T> {
    fn name(&self) -> &'static str {
        "temporal linkage"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        expect(inputs, &[self.sizes.linkage(), self.sizes.write_weights()])?;
        Ok(self.sizes.linkage())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, writes, .. } = self.sizes;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                for head in 0..batch * writes {
                    let (link, precedence) = at(&x[0], head, (n + 1) * n).split_at(n * n);
                    let weights = at(&x[1], head, n);
                    let (y, p) = at_mut(y, head, (n + 1) * n).split_at_mut(n * n);
                    let p = &mut p[..n];
                    for (i, &weight) in weights.iter().enumerate() {
                        let (link, y) = (at(link, i, n), at_mut(y, i, n));
                        let off_diagonal = at(&self.off_diagonal, i, n);
                        for j in 0..n {
                            let kept = (T::one() - weight - weights[j]) * link[j];
                            y[j] = (kept + weight * precedence[j]) * off_diagonal[j];
                        }
                    }
                    let rest = T::one() - weights.iter().copied().sum();
                    for j in 0..n {
                        p[j] = rest * precedence[j] + weights[j];
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, writes, .. } = self.sizes;
        vectorised(
            self.sizes.n,
            self.sizes.w,
            #[inline(always)]
            |n, _| {
                let g = &mut self.row[..n];
                for head in 0..batch * writes {
                    let (link, precedence) = at(&x[0], head, (n + 1) * n).split_at(n * n);
                    let weights = at(&x[1], head, n);
                    let (dy, dp) = at(dy, head, (n + 1) * n).split_at(n * n);
                    let (dp, precedence) = (&dp[..n], &precedence[..n]);
                    let d_linkage = at_mut(&mut self.d_linkage, head, (n + 1) * n);
                    let (d_link, d_precedence) = d_linkage.split_at_mut(n * n);
                    let d_precedence = &mut d_precedence[..n];
                    let d_weights = at_mut(&mut self.d_weights, head, n);

                    let rest = T::one() - weights.iter().copied().sum();
                    let of_rest = dot(dp, precedence);
                    for j in 0..n {
                        d_precedence[j] = rest * dp[j];
                        d_weights[j] = dp[j] - of_rest;
                    }
                    for (i, &weight) in weights.iter().enumerate() {
                        let (link, dy) = (at(link, i, n), at(dy, i, n));
                        let off_diagonal = at(&self.off_diagonal, i, n);
                        let d_link = at_mut(d_link, i, n);
                        for j in 0..n {
                            g[j] = dy[j] * off_diagonal[j];
                            d_link[j] = (T::one() - weight - weights[j]) * g[j];
                            d_weights[j] -= g[j] * link[j];
                        }
                        add_scaled(d_precedence, weight, g);
                        d_weights[i] += dot(g, precedence) - dot(g, link);
                    }
                }
            },
        );
        add(dx.of(0), &self.d_linkage);
        add(dx.of(1), &self.d_weights);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate, numbers, run};
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
            let start = g.constant(ONE.linkage(), &[0.0; 12]);
            writes.iter().fold(start, |linkage, w| {
                let w = g.constant(ONE.write_weights(), w);
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

    /// The equations, in operations of autodiff, for one sequence and one head.
    fn composed<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let g = v[0].graph();
        let linkage = v[0].reshape([4, 3]);
        let (link, p) = (linkage.slice(0, 0..3), linkage.slice(0, 3..4));
        let (column, row) = (v[1].reshape([3, 1]), v[1].reshape([1, 3]));
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let off_diagonal = 1.0 - g.constant([3, 3], &identity);
        let link = ((1.0 - column - row) * link + column * p) * off_diagonal;
        let p = (1.0 - row.sum()) * p + row;
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
