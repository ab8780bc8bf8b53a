//! Sigmoid cross-entropy of logits x and probabilities t, element by element:
//!
//! y = −t ln σ(x) − (1 − t) ln(1 − σ(x)) = w·|x| + ln(1 + e^−|x|)
//!
//! with σ(x) = 1/(1 + e⁻ˣ) and w the probability of what x speaks against: t where x < 0, 1 − t elsewhere.
//! dx += dy · (σ(x) − t), dt −= dy · x.
//!
//! The second form cannot overflow, and keeps the small loss of a confident right answer, for which w is 0.

use super::negligible_as_zero;
use crate::kernels;
use crate::kernels::fill;
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct SigmoidCrossEntropy<T> {
    /// Where `forward` puts ln(1 + e^−|x|) and `backward` σ(x).
    scratch: Buffer<T>,
}

impl<T: Real> Op<T> for SigmoidCrossEntropy<T> {
    fn name(&self) -> &'static str {
        "sigmoid_cross_entropy"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        if inputs[0] != inputs[1] {
            return Err("expected logits and targets of one shape".to_owned());
        }
        self.scratch = scratch(inputs[0])?;
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        fill(&mut self.scratch, x[0].iter().map(|x| -x.abs()));
        kernels::softplus_in_place(&mut self.scratch);
        let terms = x[0].iter().zip(&x[1]).zip(self.scratch.iter());
        fill(
            y,
            terms.map(|((&x, &t), &rest)| {
                let wrong = if x < T::zero() { t } else { T::one() - t };
                // Also of an infinite x, of which the product with 0 is NaN.
                let lost = if wrong.is_zero() {
                    wrong
                } else {
                    wrong * x.abs()
                };
                lost + rest
            }),
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (logits, targets) = (&x[0], &x[1]);
        if let Some(dx) = dx.of(0) {
            kernels::sigmoid(logits, &mut self.scratch);
            dx.add(
                self.scratch
                    .iter()
                    .zip(targets)
                    .zip(dy)
                    .map(|((&p, &t), &dy)| negligible_as_zero(dy * (p - t))),
            );
        }
        if let Some(dt) = dx.of(1) {
            dt.add(logits.iter().zip(dy).map(|(&x, &dy)| -dy * x));
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// Cross-entropy, in nats, between σ of these logits and `targets`, probabilities of
    /// the same shape: one loss for each element, to be masked, summed or averaged.
    #[track_caller]
    pub fn sigmoid_cross_entropy(self, targets: Self) -> Self {
        let op = SigmoidCrossEntropy { scratch: empty() };
        self.graph().apply(op, &[self, targets])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn values() {
        let ln3 = 3f64.ln();
        let x: (&[usize], &[f64]) = (&[4], &[ln3, ln3, -ln3, 0.0]);
        let t: (&[usize], &[f64]) = (&[4], &[1.0, 0.0, 1.0, 0.25]);
        let loss = evaluate(&[x, t], |v| v[0].sigmoid_cross_entropy(v[1]));
        // σ(ln 3) = 3/4
        let by_hand = [(4.0 / 3.0f64).ln(), 4f64.ln(), 4f64.ln(), 2f64.ln()];
        assert_close(&loss, &by_hand, 1e-15, "sigmoid_cross_entropy");
    }

    #[test]
    fn small_losses_are_not_rounded_away_and_large_ones_stay_finite() {
        let x: (&[usize], &[f64]) = (&[4], &[40.0, -40.0, 1e4, -1e4]);
        let t: (&[usize], &[f64]) = (&[4], &[1.0, 0.0, 0.0, 1.0]);
        let loss = evaluate(&[x, t], |v| v[0].sigmoid_cross_entropy(v[1]));
        let small = (-40f64).exp();
        assert_close(
            &[loss[0] / small, loss[1] / small],
            &[1.0; 2],
            1e-15,
            "e⁻⁴⁰",
        );
        assert_eq!(loss[2..], [1e4, 1e4]);
        let inf = f64::INFINITY;
        let x: (&[usize], &[f64]) = (&[4], &[inf, -inf, inf, -inf]);
        let loss = evaluate(&[x, t], |v| v[0].sigmoid_cross_entropy(v[1]));
        assert_eq!(loss, [0.0, 0.0, inf, inf]);
    }

    #[test]
    fn gradients_by_logits_and_targets() {
        let (x, t) = (numbers(18), numbers(36).split_off(18));
        assert_gradients(&[(&[3, 6], &x), (&[3, 6], &t)], |v| {
            v[0].sigmoid_cross_entropy(v[1])
        });
    }

    #[test]
    fn shapes_must_be_equal() {
        let error = error_of(|g| g.input([2, 3]).sigmoid_cross_entropy(g.input([3])));
        assert!(error.contains("of one shape"), "{error}");
    }
}
