//! The squared error of a matrix product as one node, a scalar: L = Σᵢⱼ rᵢⱼ², R = A·B − C.
//!
//! ```text
//! dA += 2·dL · R·Bᵀ        dB += 2·dL · Aᵀ·R        dC −= 2·dL · R
//! ```
//!
//! The factor is applied to the products, so that ∂L/∂R, as large as R, is never written.

use super::axes;
use crate::kernels::{Matrix, Term, gemm, subtract};
use crate::memory::{Buffer, empty, zeros_of};
use crate::{Gradient, Gradients, Inputs, Op, Real, Shape, Var};

struct ProductSquaredError<T> {
    m: usize,
    k: usize,
    n: usize,
    /// R.
    residual: Buffer<T>,
    /// R·Bᵀ or Aᵀ·R, as long as it takes to add it.
    product: Buffer<T>,
}

impl<T: Real> Op<T> for ProductSquaredError<T> {
    fn name(&self) -> &'static str {
        "product_squared_error"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let ([m, k], [rows, n]) = (axes(inputs[0])?, axes(inputs[1])?);
        if k != rows || axes(inputs[2])? != [m, n] {
            return Err("expected A: [m, k], B: [k, n], C: [m, n]".to_owned());
        }
        (self.m, self.k, self.n) = (m, k, n);
        self.residual = zeros_of(inputs[2]).ok_or("memory cannot hold A·B")?;
        Ok(Shape::default())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (a, b) = (Matrix::plain(&x[0]), Matrix::plain(&x[1]));
        let residual = &mut self.residual;
        gemm(self.m, self.k, self.n, a, b, residual, Term::First);
        y[0] = subtract(residual, &x[2]);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Self { m, k, n, .. } = *self;
        let scale = T::nearest(2.0) * dy[0];
        let residual = Matrix::plain(&self.residual);
        let mut add = |gradient: Gradient<T>, rows, inner, columns, a, b| {
            self.product.resize(rows * columns, T::zero());
            gemm(rows, inner, columns, a, b, &mut self.product, Term::First);
            gradient.add(self.product.iter().map(|&p| scale * p));
        };
        if let Some(da) = dx.of(0) {
            add(da, m, n, k, residual, Matrix::transposed(&x[1]));
        }
        if let Some(db) = dx.of(1) {
            add(db, k, m, n, Matrix::transposed(&x[0]), residual);
        }
        if let Some(dc) = dx.of(2) {
            dc.add(self.residual.iter().map(|&r| -scale * r));
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// Σ (A·B − C)² over all elements, for `self` = A: \[m, k\], B: \[k, n\], C: \[m, n\]: linear
    /// least squares in either factor. Zeros of A may be skipped, as [`matmul`](Var::matmul) says.
    #[track_caller]
    pub fn product_squared_error(self, b: Self, c: Self) -> Self {
        let op = ProductSquaredError {
            m: 0,
            k: 0,
            n: 0,
            residual: empty(),
            product: empty(),
        };
        self.graph().apply(op, &[self, b, c])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn value() {
        let a: (&[usize], &[f64]) = (&[2, 1], &[1.0, 2.0]);
        let b: (&[usize], &[f64]) = (&[1, 2], &[3.0, 4.0]);
        let c: (&[usize], &[f64]) = (&[2, 2], &[3.0, 3.0, 4.0, 5.0]);
        let error = evaluate(&[a, b, c], |v| v[0].product_squared_error(v[1], v[2]));
        assert_close(&error, &[14.0], 0.0, "0 + 1 + 4 + 9");
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let (a, b, c) = (numbers(21), numbers(700), numbers(300));
        let operands: [(&[usize], &[f64]); 3] = [(&[3, 7], &a), (&[7, 100], &b), (&[3, 100], &c)];
        let fused = evaluate(&operands, |v| v[0].product_squared_error(v[1], v[2]));
        let composed = evaluate(&operands, |v| v[0].matmul(v[1]).squared_error(v[2]));
        assert_close(&fused, &composed, 0.0, "the same sums");
    }

    #[test]
    fn gradients() {
        let (a, b, c) = (numbers(21), numbers(35), numbers(15));
        let operands: [(&[usize], &[f64]); 3] = [(&[3, 7], &a), (&[7, 5], &b), (&[3, 5], &c)];
        assert_gradients(&operands, |v| v[0].product_squared_error(v[1], v[2]) * 0.1);
        let no_columns: [(&[usize], &[f64]); 3] = [(&[3, 7], &a), (&[7, 0], &[]), (&[3, 0], &[])];
        assert_gradients(&no_columns, |v| v[0].product_squared_error(v[1], v[2]));
        assert_gradients(&[(&[3, 3], &a[..9])], |v| {
            v[0].product_squared_error(v[0], v[0])
        });
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let message = error_of(|g| {
            let (a, b, c) = (g.input([2, 3]), g.input([3, 4]), g.input([2, 5]));
            a.product_squared_error(b, c)
        });
        assert!(message.contains("C: [m, n]"), "{message}");
    }
}
