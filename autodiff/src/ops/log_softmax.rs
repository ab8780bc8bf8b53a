//! Logarithms of sums of exponentials over the last axis, which overflow nowhere:
//!
//! ```text
//! logsumexp(x) = max x + ln Σⱼ e^(xⱼ − max x)        dxᵢ += dy·e^(xᵢ − y)
//! log_softmax(x)ᵢ = xᵢ − logsumexp(x)                dxᵢ += dyᵢ − e^yᵢ·Σⱼ dyⱼ
//! ```

use super::softmax::softmax;
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

/// Which of the two.
#[derive(Clone, Copy, PartialEq)]
enum Function {
    LogSumExp,
    LogSoftmax,
}

struct LogSum<T> {
    function: Function,
    classes: usize,
    /// softmax(x), kept for the derivative.
    probabilities: Buffer<T>,
}

impl<T: Real> Op<T> for LogSum<T> {
    fn name(&self) -> &'static str {
        match self.function {
            Function::LogSumExp => "logsumexp",
            Function::LogSoftmax => "log_softmax",
        }
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[0];
        let (&classes, before) = x.split_last().ok_or("a scalar has no axis")?;
        if classes == 0 {
            return Err("the last axis is empty".to_owned());
        }
        self.classes = classes;
        self.probabilities = scratch(x)?;
        Ok(match self.function {
            Function::LogSumExp => Shape::new(before).expect("fewer axes than x"),
            Function::LogSoftmax => x,
        })
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (classes, function) = (self.classes, self.function);
        softmax(classes, &x[0], &mut self.probabilities, |i, (max, rest)| {
            if function == Function::LogSumExp {
                y[i] = max + rest;
                return;
            }
            let row = i * classes..(i + 1) * classes;
            for (y, &x) in y[row.clone()].iter_mut().zip(&x[0][row]) {
                *y = (x - max) - rest;
            }
        });
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let rows = dx.zeroed().chunks_exact_mut(self.classes);
        let rows = rows.zip(self.probabilities.chunks_exact(self.classes));
        for (i, (dx, p)) in rows.enumerate() {
            match self.function {
                Function::LogSumExp => {
                    dx.iter_mut().zip(p).for_each(|(dx, &p)| *dx += dy[i] * p);
                }
                Function::LogSoftmax => {
                    let dy = &dy[i * self.classes..][..self.classes];
                    let total: T = dy.iter().copied().sum();
                    for ((dx, &p), &dy) in dx.iter_mut().zip(p).zip(dy) {
                        *dx += dy - p * total;
                    }
                }
            }
        }
    }
}

impl<T: Real> Var<'_, T> {
    #[track_caller]
    fn log_sum(self, function: Function) -> Self {
        let op = LogSum {
            function,
            classes: 0,
            probabilities: empty(),
        };
        self.graph().apply(op, &[self])
    }

    /// ln Σⱼ e^xⱼ over the last axis, which disappears. An infinite xⱼ makes it what the limit is;
    /// the gradient by the largest xⱼ is NaN where that is infinite.
    #[track_caller]
    pub fn logsumexp(self) -> Self {
        self.log_sum(Function::LogSumExp)
    }

    /// ln softmax(x) over the last axis.
    #[track_caller]
    pub fn log_softmax(self) -> Self {
        self.log_sum(Function::LogSoftmax)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 2], &[0.0, 3f64.ln(), 1000.0, 1000.0]);
        let y = evaluate(&[x], |v| v[0].logsumexp());
        assert_close(&y, &[4f64.ln(), 1000.0 + 2f64.ln()], 1e-15, "logsumexp");
        let y = evaluate(&[x], |v| v[0].log_softmax());
        let half = -(2f64.ln());
        assert_close(
            &y,
            &[-(4f64.ln()), 0.75f64.ln(), half, half],
            1e-15,
            "log_softmax",
        );
        let far: (&[usize], &[f64]) = (&[2], &[0.0, -800.0]);
        assert_eq!(evaluate(&[far], |v| v[0].log_softmax()), [0.0, -800.0]);
    }

    #[test]
    fn infinite_terms_have_their_limit() {
        let inf = f64::INFINITY;
        let rows = [-inf, -inf, -inf, 2.0, inf, 1.0, inf, -inf];
        let y = evaluate(&[(&[4, 2], &rows)], |v| v[0].logsumexp());
        assert_eq!(y, [-inf, 2.0, inf, inf]);
    }

    #[test]
    fn gradients() {
        let x = numbers(30);
        assert_gradients(&[(&[2, 3, 5], &x)], |v| v[0].logsumexp());
        assert_gradients(&[(&[2, 3, 5], &x)], |v| v[0].log_softmax());
    }
}
