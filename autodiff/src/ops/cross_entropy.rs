//! The cross-entropy of labels, a loss for each row. For logits x and labels i,
//!
//! ```text
//! yₙ = ln Σⱼ e^xₙⱼ − xₙᵢ        dxₙ += dyₙ·(softmax(xₙ) − eᵢ),   i = iₙ
//! ```

use super::gather::{check, index};
use super::negligible_as_zero;
use super::softmax::softmax;
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Indices, Inputs, Op, Real, Shape, Var};

struct CrossEntropy<T> {
    below: usize,
    classes: usize,
    /// softmax(x), kept for the derivative.
    probabilities: Buffer<T>,
}

impl<T: Real> Op<T> for CrossEntropy<T> {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (x, labels) = (inputs[0], inputs[1]);
        let (&classes, before) = x.split_last().ok_or("a scalar has no axis of classes")?;
        if *labels != *before {
            return Err("expected logits [.., classes] and a label for each row".to_owned());
        }
        check(self.below, classes)?;
        self.classes = classes;
        self.probabilities = scratch(x)?;
        Ok(labels)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let classes = self.classes;
        softmax(classes, &x[0], &mut self.probabilities, |n, (max, rest)| {
            // As softmax_cross_entropy: small losses are not rounded away.
            y[n] = rest - (x[0][n * classes + index(x[1][n])] - max);
        });
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let rows = dx.zeroed().chunks_exact_mut(self.classes);
        let rows = rows.zip(self.probabilities.chunks_exact(self.classes));
        for (n, (dx, p)) in rows.enumerate() {
            dx.iter_mut()
                .zip(p)
                .for_each(|(dx, &p)| *dx += negligible_as_zero(dy[n] * p));
            dx[index(x[1][n])] -= dy[n];
        }
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// −ln softmax(x) of the label of each row, in nats, for logits x: \[.., classes\] and
    /// labels \[..\]: one loss for each, to be masked, summed or averaged.
    #[track_caller]
    pub fn cross_entropy(self, labels: Indices<'g, T>) -> Self {
        let Indices { var, below } = labels;
        let op = CrossEntropy {
            below,
            classes: 0,
            probabilities: empty(),
        };
        self.graph().apply(op, &[self, var])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, numbers};
    use crate::{Params, record};

    #[test]
    fn losses() {
        let mut params = Params::new();
        let mut data = numbers(12).into_iter();
        let x = params.add("x", [4, 3], || data.next().unwrap()).unwrap();
        let labels = [0, 2, 1, 1];
        let (mut tape, [l, losses, _]) = record(|g| {
            let l = g.indices([4], 3);
            let losses = g.param(x).cross_entropy(l);
            Ok([l.var(), losses, losses.square().sum()])
        })
        .unwrap();
        tape.set_indices(l, &labels).unwrap();
        let mut grads = vec![777.0; 12];
        let mut pass = tape.forward(&params).unwrap();
        pass.backward(&mut grads).unwrap();
        let losses = pass.value(losses).unwrap();
        for (n, (x, label)) in params.values().chunks_exact(3).zip(labels).enumerate() {
            let total: f64 = x.iter().map(|x| x.exp()).sum();
            assert_close(&losses[n..=n], &[total.ln() - x[label]], 1e-14, "loss");
            for c in 0..3 {
                let target = f64::from(u8::from(c == label));
                let expected = 2.0 * losses[n] * (x[c].exp() / total - target);
                assert_close(&grads[3 * n + c..][..1], &[expected], 1e-13, "gradient");
            }
        }
    }

    /// All labels are 0 in a recording of [`gradcheck`](crate::gradcheck)'s own.
    #[test]
    fn gradients() {
        assert_gradients(&[(&[4, 3], &numbers(12))], |v| {
            v[0].cross_entropy(v[0].graph().indices([4], 3))
        });
    }

    #[test]
    fn other_than_a_label_for_each_row_is_an_error() {
        let error = error_of(|g| g.input([4, 3]).cross_entropy(g.indices([3], 3)));
        assert!(error.contains("a label for each row"), "{error}");
        let error = error_of(|g| g.input([4, 3]).cross_entropy(g.indices([4], 4)));
        assert!(error.contains("indices are below 4"), "{error}");
    }
}
