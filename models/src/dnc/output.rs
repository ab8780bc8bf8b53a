//! The output.

use super::affine::{add_columns, affine, clipped, unless_clipped, weight_gradients};
use super::layout::{Sizes, expect};
use super::pack::{add_rows, at, packs, packs_mut, unpack_rows};
use autodiff::kernels::{Matrix, Term, gemm};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The outputs of all steps, [steps, batch, outputs]; operands: the controller's states,
/// step by step, then the words read, step by step, kernel, bias.
///
/// ```text
/// y = [h, r] · kernel + bias, clipped
/// ```
///
/// Nothing in the cell waits for them, so they are one product for the whole sequence.
/// Backward, where dy is zero if it was clipped:
///
/// ```text
/// [dh, dr] += dy · kernelᵀ    dkernel += [h, r]ᵀ · dy    dbias += Σ rows of dy
/// ```
pub(super) struct Outputs<T> {
    sizes: Sizes,
    clip: T,
    steps: usize,
    batch: usize,
    /// Columns of h, of r and of y.
    hidden: usize,
    read: usize,
    outputs: usize,
    /// [h, r], side by side, and their gradient: [steps · batch, hidden + read].
    rows: Vec<T>,
    d_rows: Vec<T>,
    d_outputs: Vec<T>,
}

impl<T: Real> Outputs<T> {
    pub fn new(sizes: Sizes, clip: T) -> Self {
        Self {
            sizes,
            clip,
            steps: 0,
            batch: sizes.batch,
            hidden: 0,
            read: sizes.reads * sizes.w,
            outputs: 0,
            rows: Vec::new(),
            d_rows: Vec::new(),
            d_outputs: Vec::new(),
        }
    }
}

impl<T: Real> Op<T> for Outputs<T> {
    fn name(&self) -> &'static str {
        "output"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let steps = inputs.len().saturating_sub(2) / 2;
        let [state, .., bias] = inputs else {
            return Err("expected states, words, kernel and bias".to_owned());
        };
        let (&[_, _, hidden], &[outputs]) = (&**state, &**bias) else {
            return Err("expected states [2, batch, hidden] and a bias [outputs]".to_owned());
        };
        let (batch, read) = (self.batch, self.read);
        let mut expected = vec![[2, batch, hidden].into(); steps];
        expected.resize(2 * steps, self.sizes.words());
        expected.push([hidden + read, outputs].into());
        expected.push([outputs].into());
        expect(inputs, &expected)?;
        (self.steps, self.hidden, self.outputs) = (steps, hidden, outputs);
        self.rows = vec![T::zero(); steps * batch * (hidden + read)];
        self.d_rows = self.rows.clone();
        self.d_outputs = vec![T::zero(); steps * batch * outputs];
        Ok(Shape::from([steps, batch, outputs]))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (steps, hidden, read) = (self.steps, self.hidden, self.read);
        let rows = self.rows.chunks_exact_mut(self.batch * (hidden + read));
        for (t, rows) in rows.enumerate() {
            for (b, row) in rows.chunks_exact_mut(hidden + read).enumerate() {
                row[..hidden].copy_from_slice(at(&x[t], b, hidden));
            }
            unpack_rows(packs(&x[steps + t]), read, rows, (hidden + read, hidden));
        }
        affine(&self.rows, &x[2 * steps], &x[2 * steps + 1], y);
        y.iter_mut().for_each(|y| *y = clipped(*y, self.clip));
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (steps, hidden, read, outputs) = (self.steps, self.hidden, self.read, self.outputs);
        for (d, (&dy, &y)) in self.d_outputs.iter_mut().zip(dy.iter().zip(y)) {
            *d = unless_clipped(dy, y, self.clip);
        }
        let (d_outputs, kernel) = (
            Matrix::plain(&self.d_outputs),
            Matrix::transposed(&x[2 * steps]),
        );
        let rows = steps * self.batch;
        gemm(
            rows,
            outputs,
            hidden + read,
            d_outputs,
            kernel,
            &mut self.d_rows,
            Term::First,
        );
        let d_rows = self.d_rows.chunks_exact(self.batch * (hidden + read));
        for (t, d_rows) in d_rows.enumerate() {
            if let Some(d) = dx.of(t) {
                let state = &mut d.zeroed()[..self.batch * hidden];
                add_columns(state, d_rows, hidden + read, 0);
            }
            if let Some(d) = dx.of(steps + t) {
                let words = packs_mut(d.zeroed());
                add_rows(words, read, d_rows, (hidden + read, hidden));
            }
        }
        weight_gradients(&self.rows, &self.d_outputs, outputs, dx, 2 * steps);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HIDDEN, SIZES, assert_close, assert_gradients, evaluate, rows};
    use super::*;

    /// Two steps.
    fn output_operands() -> [(Shape, f64, f64); 6] {
        let Sizes {
            batch, reads, w, ..
        } = SIZES;
        let state = ([2, batch, HIDDEN].into(), -1.0, 1.0);
        let words = (SIZES.words(), -1.0, 1.0);
        let kernel = ([HIDDEN + reads * w, 2].into(), -1.0, 1.0);
        [state, state, words, words, kernel, ([2].into(), -1.0, 1.0)]
    }

    #[test]
    fn outputs_agree_with_the_composed_operations() {
        let operands = output_operands();
        let fused = evaluate(&operands, |v| {
            v[0].graph().apply(Outputs::new(SIZES, 20.0), v)
        });
        let composed = evaluate(&operands, |v| {
            let step = |t: usize| {
                let h = v[t].slice(0, 0..1).reshape([SIZES.batch, HIDDEN]);
                let row = v[0].graph().concat(1, &[h, rows(v[2 + t], 15)]);
                row.affine(v[4], v[5])
            };
            v[0].graph().concat(0, &[step(0), step(1)])
        });
        assert_close(&fused, &composed, 1e-14);
    }

    #[test]
    fn gradients_of_outputs() {
        for clip in [20.0, 0.8] {
            assert_gradients(&output_operands(), |v| {
                v[0].graph().apply(Outputs::new(SIZES, clip), v)
            });
        }
    }
}
