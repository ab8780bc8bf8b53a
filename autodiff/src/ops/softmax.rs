//! Softmax over the last axis: yᵢ = e^(xᵢ − max x) / Σⱼ e^(xⱼ − max x).
//!
//! ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so dx += y ∘ (dy − ⟨dy, y⟩).

use crate::kernels;
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

#[derive(Default)]
struct Softmax {
    classes: usize,
}

impl<T: Real> Op<T> for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        self.classes = *inputs[0].last().ok_or("a scalar has no axis")?;
        if self.classes == 0 {
            return Err("the last axis is empty".to_owned());
        }
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        softmax(self.classes, &x[0], y, |_, _| {});
    }

    fn backward(&mut self, _: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let dx = dx.zeroed();
        let rows = y
            .chunks_exact(self.classes)
            .zip(dy.chunks_exact(self.classes));
        for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(self.classes)) {
            let inner: T = y.iter().zip(dy).map(|(&y, &dy)| y * dy).sum();
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx += y * (dy - inner);
            }
        }
    }
}

/// Writes the probabilities, row by row, and calls `log_sum` with each row's number and
/// ln Σⱼ e^xⱼ in two parts, (max x, ln Σⱼ e^(xⱼ − max x)). Where max x is infinite, both are: a row
/// of −∞ alone has no probabilities (they are NaN), but a sum of 0.
pub(super) fn softmax<T: Real>(
    classes: usize,
    x: &[T],
    y: &mut [T],
    mut log_sum: impl FnMut(usize, (T, T)),
) {
    let max = |x: &[T]| x.iter().copied().fold(T::neg_infinity(), T::max);
    for (x, y) in x.chunks_exact(classes).zip(y.chunks_exact_mut(classes)) {
        let max = max(x);
        let shift = if max.is_infinite() { T::zero() } else { max };
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - shift);
    }
    kernels::exp_in_place(y);
    let rows = x.chunks_exact(classes).zip(y.chunks_exact_mut(classes));
    for (i, (x, y)) in rows.enumerate() {
        let sum: T = y.iter().copied().sum();
        y.iter_mut().for_each(|y| *y /= sum);
        log_sum(i, (max(x), sum.ln()));
    }
}

impl<T: Real> Var<'_, T> {
    /// Probabilities over the last axis.
    #[track_caller]
    pub fn softmax(self) -> Self {
        self.graph().apply(Softmax::default(), &[self])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 2], &[0.0, 3f64.ln(), 1000.0, 1000.0]);
        let y = evaluate(&[x], |v| v[0].softmax());
        assert_close(&y, &[0.25, 0.75, 0.5, 0.5], 1e-15, "softmax");
    }

    #[test]
    fn gradients() {
        assert_gradients(&[(&[2, 3, 5], &numbers(30))], |v| v[0].softmax());
    }
}
