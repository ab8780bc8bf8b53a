//! Softmax cross-entropy, averaged over the batch:
//!
//! L = 1/n Σₙ Σᵢ tₙᵢ · (ln Σⱼ e^xₙⱼ − xₙᵢ)
//!
//! dx += dL/n · (softmax(x)·Σᵢtᵢ − t), dt += dL/n · (ln Σⱼ e^xⱼ − x).
//!
//! As TensorFlow computes it, the logarithm is taken of a sum in which the largest
//! term is exactly 1. Once the other terms vanish beside it, the loss of a sample
//! whose label has the largest logit is exactly zero.

use super::softmax::softmax;
use super::{axes, negligible_as_zero};
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct SoftmaxCrossEntropy<T> {
    classes: usize,
    /// softmax(x), kept for the derivative.
    probabilities: Buffer<T>,
    /// For each sample, ln Σⱼ e^xⱼ as (max x, the rest).
    log_sums: Vec<(T, T)>,
}

impl<T: Real> Op<T> for SoftmaxCrossEntropy<T> {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let [batch, classes]: [usize; 2] = axes(inputs[0])?;
        if inputs[1] != inputs[0] || batch * classes == 0 {
            return Err(
                "expected logits and targets, both [batch, classes] and not empty".to_owned(),
            );
        }
        self.classes = classes;
        self.probabilities = scratch([batch * classes])?;
        self.log_sums = vec![(T::zero(), T::zero()); batch];
        Ok(Shape::default())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let classes = self.classes;
        let log_sums = &mut self.log_sums;
        softmax(classes, &x[0], &mut self.probabilities, |i, parts| {
            log_sums[i] = parts
        });
        // In f64: in f32 the sum over a batch would lose a digit.
        let mut loss = 0.0;
        let rows = x[0].chunks_exact(classes).zip(x[1].chunks_exact(classes));
        for ((x, t), &(max, rest)) in rows.zip(self.log_sums.iter()) {
            for (&x, &t) in x.iter().zip(t) {
                if !t.is_zero() {
                    loss += (t * (rest - (x - max))).into();
                }
            }
        }
        y[0] = T::nearest(loss / self.log_sums.len() as f64);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let classes = self.classes;
        let scale = dy[0] / T::nearest(self.log_sums.len() as f64);
        if let Some(dx) = dx.of(0) {
            let dx = dx.zeroed();
            let rows = self
                .probabilities
                .chunks_exact(classes)
                .zip(x[1].chunks_exact(classes));
            for ((p, t), dx) in rows.zip(dx.chunks_exact_mut(classes)) {
                let total: T = t.iter().copied().sum();
                for ((dx, &p), &t) in dx.iter_mut().zip(p).zip(t) {
                    *dx += negligible_as_zero(scale * (p * total - t));
                }
            }
        }
        if let Some(dt) = dx.of(1) {
            let dt = dt.zeroed();
            let rows = x[0].chunks_exact(classes).zip(&self.log_sums);
            for ((x, &(max, rest)), dt) in rows.zip(dt.chunks_exact_mut(classes)) {
                for (dt, &x) in dt.iter_mut().zip(x) {
                    *dt += scale * (rest - (x - max));
                }
            }
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// Mean over the batch of the cross-entropy, in nats, between the softmax of
    /// these logits and `targets`, both \[batch, classes\] and not empty. The targets are
    /// probabilities: one-hot rows for labels.
    #[track_caller]
    pub fn softmax_cross_entropy(self, targets: Self) -> Self {
        let op = SoftmaxCrossEntropy {
            classes: 0,
            probabilities: empty(),
            log_sums: Vec::new(),
        };
        self.graph().apply(op, &[self, targets])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers, value_and_gradient};

    #[test]
    fn value() {
        let logits: (&[usize], &[f64]) = (&[2, 2], &[0.0, 3f64.ln(), 5.0, 5.0]);
        let targets: (&[usize], &[f64]) = (&[2, 2], &[0.0, 1.0, 1.0, 0.0]);
        let loss = evaluate(&[logits, targets], |v| v[0].softmax_cross_entropy(v[1]));
        let by_hand = ((4.0f64 / 3.0).ln() + 2f64.ln()) / 2.0;
        assert_close(&loss, &[by_hand], 1e-15, "mean of -ln 3/4 and -ln 1/2");
    }

    #[test]
    fn a_confident_right_answer_costs_exactly_nothing() {
        let logits: (&[usize], &[f64]) = (&[1, 3], &[60.0, 0.0, -3.0]);
        let loss = evaluate(&[logits, (&[1, 3], &[1.0, 0.0, 0.0])], |v| {
            v[0].softmax_cross_entropy(v[1])
        });
        assert_eq!(loss, [0.0]);
    }

    /// ln(1 + e⁻³⁵) beside logits of 100, to which adding it would change nothing.
    #[test]
    fn large_logits_do_not_round_a_small_loss_away() {
        let logits: (&[usize], &[f64]) = (&[1, 2], &[100.0, 65.0]);
        let loss = evaluate(&[logits, (&[1, 2], &[1.0, 0.0])], |v| {
            v[0].softmax_cross_entropy(v[1])
        });
        assert!(loss[0] > 0.0 && loss[0] < 1e-15, "{loss:?}");
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let logits: (&[usize], &[f64]) = (&[1, 2], &[-1e300, 1e300]);
        let loss = evaluate(&[logits, (&[1, 2], &[1.0, 0.0])], |v| {
            v[0].softmax_cross_entropy(v[1])
        });
        assert_eq!(loss, [2e300]);
    }

    #[test]
    fn what_is_impossible_and_not_asked_for_costs_nothing() {
        let x: (&[usize], &[f64]) = (&[1, 3], &[0.0, f64::NEG_INFINITY, 0.0]);
        let t: (&[usize], &[f64]) = (&[1, 3], &[1.0, 0.0, 0.0]);
        let (loss, gradient) = value_and_gradient(&[x, t], |v| v[0].softmax_cross_entropy(v[1]));
        assert_close(&[loss], &[2f64.ln()], 1e-15, "-ln 1/2");
        assert_close(&gradient[..3], &[-0.5, 0.0, 0.5], 1e-15, "softmax(x) - t");
    }

    #[test]
    fn gradients_by_logits_and_targets() {
        let (x, t) = (
            numbers(20),
            [
                0.1, 0.2, 0.3, 0.4, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.25, 0.25,
            ],
        );
        let t: Vec<f64> = t
            .iter()
            .copied()
            .chain([0.7, 0.1, 0.0, 0.0, 0.0, 0.2])
            .collect();
        assert_gradients(&[(&[5, 4], &x), (&[5, 4], &t)], |v| {
            v[0].softmax_cross_entropy(v[1])
        });
    }
}
