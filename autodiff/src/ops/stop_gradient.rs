//! The same value, through which no gradient flows: y = x, dx += 0.

use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct StopGradient;

impl<T: Real> Op<T> for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        y.copy_from_slice(&x[0]);
    }

    /// Never called: nothing asks for the gradient of its result.
    fn backward(&mut self, _: &Inputs<T>, _: &[T], _: &[T], _: &mut Gradients<T>) {}
}

impl<T: Real> Var<'_, T> {
    /// The same value, through which no gradient flows.
    #[track_caller]
    pub fn stop_gradient(self) -> Self {
        self.graph().apply_constant(StopGradient, &[self])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::value_and_gradient;

    #[test]
    fn what_was_stopped_counts_as_a_constant() {
        let x: (&[usize], &[f64]) = (&[2], &[3.0, -2.0]);
        let product = value_and_gradient(&[x], |v| (v[0] * v[0].stop_gradient()).sum());
        assert_eq!(product, (13.0, vec![3.0, -2.0]));
    }
}
