//! The squared error L = Σᵢ (aᵢ − bᵢ)², a scalar.
//!
//! da += 2·dL·(a − b), db −= 2·dL·(a − b).

use crate::kernels::squared_distance;
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct SquaredError;

impl<T: Real> Op<T> for SquaredError {
    fn name(&self) -> &'static str {
        "squared_error"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        if inputs[0] != inputs[1] {
            return Err("the shapes must be equal".to_owned());
        }
        Ok(Shape::default())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        y[0] = squared_distance(&x[0], &x[1]);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let scale = T::nearest(2.0) * dy[0];
        let differences = || x[0].iter().zip(&x[1]);
        if let Some(da) = dx.of(0) {
            da.add(differences().map(|(&a, &b)| scale * (a - b)));
        }
        if let Some(db) = dx.of(1) {
            db.add(differences().map(|(&a, &b)| scale * (b - a)));
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// Σ (self − other)² over all elements, for operands of one shape.
    #[track_caller]
    pub fn squared_error(self, other: Self) -> Self {
        self.graph().apply(SquaredError, &[self, other])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    #[test]
    fn value() {
        let (a, b): ((&[usize], &[f64]), _) =
            ((&[3], &[1.0, 2.0, 3.0]), (&[3][..], &[1.0, 0.0, 6.0][..]));
        assert_close(
            &evaluate(&[a, b], |v| v[0].squared_error(v[1])),
            &[13.0],
            0.0,
            "0 + 4 + 9",
        );
    }

    #[test]
    fn gradients() {
        let (a, b) = (numbers(70), numbers(140).split_off(70));
        assert_gradients(&[(&[7, 10], &a), (&[7, 10], &b)], |v| {
            v[0].squared_error(v[1]) * 0.1
        });
    }
}
