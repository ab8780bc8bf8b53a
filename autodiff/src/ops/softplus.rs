//! Softplus: y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), which cannot overflow.
//!
//! dx += dy · 1/(1 + e⁻ˣ).

use crate::kernels;
use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct Softplus<T> {
    /// Where `backward` puts 1/(1 + e⁻ˣ).
    slope: Buffer<T>,
}

impl<T: Real> Op<T> for Softplus<T> {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        self.slope = scratch(inputs[0])?;
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        kernels::softplus(&x[0], y);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        kernels::sigmoid(&x[0], &mut self.slope);
        dx.add(self.slope.iter().zip(dy).map(|(&slope, &dy)| dy * slope));
    }
}

impl<T: Real> Var<'_, T> {
    /// y = ln(1 + eˣ), without overflow; y′ = 1/(1 + e⁻ˣ).
    #[track_caller]
    pub fn softplus(self) -> Self {
        self.graph().apply(Softplus { slope: empty() }, &[self])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[3], &[0.0, 3f64.ln(), -(3f64.ln())]);
        let y = evaluate(&[x], |v| v[0].softplus());
        let by_hand = [2f64.ln(), 4f64.ln(), (4.0 / 3.0f64).ln()];
        assert_close(&y, &by_hand, 1e-15, "ln(1 + 1), ln(1 + 3), ln(1 + 1/3)");
    }

    #[test]
    fn extreme_arguments_stay_finite() {
        let y = evaluate(&[(&[3], &[1e4, -1e4, -700.0])], |v| v[0].softplus());
        assert_eq!(y[..2], [1e4, 0.0]);
        assert!((y[2] / (-700f64).exp() - 1.0).abs() < 1e-15, "{y:?}");
    }

    #[test]
    fn gradients() {
        assert_gradients(&[(&[2, 9], &numbers(18))], |v| v[0].softplus());
    }
}
