//! A dense layer, y = x·W + b, as one node: the bias is copied into y and the product
//! added to it, so that the product needs no tensor of its own.

use super::axes;
use crate::kernels::{Matrix, Term, add_rows, gemm};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

#[derive(Default)]
struct Affine {
    batch: usize,
    inputs: usize,
    outputs: usize,
}

impl<T: Real> Op<T> for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (x, [rows, columns], [bias]) = (inputs[0], axes(inputs[1])?, axes(inputs[2])?);
        let last = x.rank().checked_sub(2).map(|before| before + 1);
        let Some(last) = last.filter(|&last| x[last] == rows && columns == bias) else {
            return Err("expected x: [.., inputs], W: [inputs, outputs], b: [outputs]".to_owned());
        };
        self.batch = x[..last].iter().product();
        (self.inputs, self.outputs) = (rows, columns);
        Ok(x.with(last, columns))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        for row in y.chunks_exact_mut(self.outputs.max(1)) {
            row.copy_from_slice(&x[2]);
        }
        let (input, w) = (Matrix::plain(&x[0]), Matrix::plain(&x[1]));
        gemm(
            self.batch,
            self.inputs,
            self.outputs,
            input,
            w,
            y,
            Term::Further,
        );
    }

    /// dx += dy·Wᵀ, dW += xᵀ·dy, db += Σ over the batch of dy.
    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Self {
            batch,
            inputs,
            outputs,
        } = *self;
        let dy_matrix = Matrix::plain(dy);
        if let Some(dx) = dx.of(0) {
            let w = Matrix::transposed(&x[1]);
            dx.add_product([batch, outputs, inputs], dy_matrix, w);
        }
        if let Some(dw) = dx.of(1) {
            let x = Matrix::transposed(&x[0]);
            dw.add_product([inputs, batch, outputs], x, dy_matrix);
        }
        if let Some(db) = dx.of(2) {
            add_rows(dy, db.zeroed());
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// x·W + b for x: \[.., inputs\], of two axes or more, W: \[inputs, outputs\], b: \[outputs\].
    /// Zeros of x may be skipped, as [`matmul`](Var::matmul) says.
    #[track_caller]
    pub fn affine(self, w: Self, b: Self) -> Self {
        self.graph().apply(Affine::default(), &[self, w, b])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    #[test]
    fn value() {
        let x: (&[usize], &[f64]) = (&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let w: (&[usize], &[f64]) = (&[2, 1], &[10.0, 1.0]);
        let y = evaluate(&[x, w, (&[1], &[0.5])], |v| v[0].affine(v[1], v[2]));
        assert_close(&y, &[12.5, 34.5], 0.0, "x·W + b");
    }

    #[test]
    fn agrees_with_the_composed_operations() {
        let (x, w, b) = (numbers(21), numbers(35), numbers(5));
        let operands: [(&[usize], &[f64]); 3] = [(&[3, 7], &x), (&[7, 5], &w), (&[5], &b)];
        let fused = evaluate(&operands, |v| v[0].affine(v[1], v[2]));
        let composed = evaluate(&operands, |v| v[0].matmul(v[1]) + v[2]);
        assert_close(&fused, &composed, 1e-14, "affine");
        assert_gradients(&operands, |v| v[0].affine(v[1], v[2]));
        let sequence: [(&[usize], &[f64]); 3] = [(&[3, 1, 7], &x), operands[1], operands[2]];
        let y = evaluate(&sequence, |v| v[0].affine(v[1], v[2]));
        assert_eq!(y, fused, "more axes");
        assert_gradients(&sequence, |v| v[0].affine(v[1], v[2]));
    }
}
