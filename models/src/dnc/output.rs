//! The output.

use super::affine::{
    add_affine, add_bias_gradient, add_input_gradient, add_kernel_gradient, clipped, set_bias,
    unless_clipped,
};
use super::layout::{Sizes, expect};
use super::pack::{Kept, Packs, at, at_mut, gradients, pack_rows, packs, unpack_rows, zeros};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The outputs of all steps, [steps, batch, outputs]; operands: the controller's states,
/// step by step, then the words read, step by step, kernel, bias.
///
/// ```text
/// y = [h, r] · kernel + bias, clipped
/// ```
///
/// Nothing in the cell waits for them, so they are one operation for the whole sequence.
/// Backward, where dy is zero if it was clipped:
///
/// ```text
/// [dh, dr] += dy · kernelᵀ    dkernel += [h, r]ᵀ · dy    dbias += Σ rows of dy
/// ```
pub(super) struct Outputs<T> {
    sizes: Sizes,
    clip: T,
    steps: usize,
    /// Numbers of h and of y.
    hidden: usize,
    outputs: usize,
    /// Of one step: y or its gradient, [blocks, outputs].
    packs: Kept<T>,
    /// Of one step: dy where y was not clipped, [batch, outputs].
    d_outputs: Vec<T>,
}

impl<T: Real> Outputs<T> {
    pub fn new(sizes: Sizes, clip: T) -> Self {
        Self {
            sizes,
            clip,
            steps: 0,
            hidden: 0,
            outputs: 0,
            packs: zeros(0),
            d_outputs: Vec::new(),
        }
    }

    /// h and r of a block at step t.
    fn operands<'a>(&self, x: &'a Inputs<T>, t: usize, block: usize) -> [&'a Packs<T>; 2] {
        let (states, words) = (packs(&x[t]), packs(&x[self.steps + t]));
        let h = &at(states, block, 2 * self.hidden)[..self.hidden];
        [h, at(words, block, self.sizes.reads * self.sizes.w)]
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
        let (&[_, _, hidden, _], &[outputs]) = (&**state, &**bias) else {
            return Err("expected the controller's states and a bias [outputs]".to_owned());
        };
        let (batch, read) = (self.sizes.batch, self.sizes.reads * self.sizes.w);
        let mut expected = vec![self.sizes.controller(hidden); steps];
        expected.resize(2 * steps, self.sizes.words());
        expected.push([hidden + read, outputs].into());
        expected.push([outputs].into());
        expect(inputs, &expected)?;
        (self.steps, self.hidden, self.outputs) = (steps, hidden, outputs);
        self.packs = zeros(self.sizes.blocks() * outputs);
        self.d_outputs = vec![T::zero(); batch * outputs];
        Ok(Shape::from([steps, batch, outputs]))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (steps, outputs) = (self.steps, self.outputs);
        let (of_h, of_r) = x[2 * steps].split_at(self.hidden * outputs);
        y.fill(T::zero());
        for (t, y) in y.chunks_exact_mut(self.sizes.batch * outputs).enumerate() {
            for block in 0..self.sizes.blocks() {
                let [h, r] = self.operands(x, t, block);
                let y = at_mut(&mut self.packs, block, outputs);
                set_bias(&x[2 * steps + 1], y);
                add_affine(h, of_h, y);
                add_affine(r, of_r, y);
            }
            unpack_rows(&self.packs, y, outputs);
        }
        y.iter_mut().for_each(|y| *y = clipped(*y, self.clip));
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (steps, hidden, outputs) = (self.steps, self.hidden, self.outputs);
        let (blocks, read) = (self.sizes.blocks(), self.sizes.reads * self.sizes.w);
        let (of_h, of_r) = x[2 * steps].split_at(hidden * outputs);
        let rows = self.sizes.batch * outputs;
        for (t, (dy, y)) in dy.chunks_exact(rows).zip(y.chunks_exact(rows)).enumerate() {
            for (d, (&dy, &y)) in self.d_outputs.iter_mut().zip(dy.iter().zip(y)) {
                *d = unless_clipped(dy, y, self.clip);
            }
            pack_rows(&mut self.packs, outputs, &self.d_outputs, outputs);
            let [d_states, d_words] = gradients(dx, [t, steps + t]);
            for (block, dy) in self.packs.chunks_exact(outputs).enumerate() {
                let d_state = at_mut(d_states, block, 2 * hidden);
                add_input_gradient(dy, of_h, &mut d_state[..hidden]);
                add_input_gradient(dy, of_r, at_mut(d_words, block, read));
            }
            if let Some(d) = dx.of(2 * steps) {
                let (d_of_h, d_of_r) = d.zeroed().split_at_mut(hidden * outputs);
                for block in 0..blocks {
                    let ([h, r], dy) =
                        (self.operands(x, t, block), at(&self.packs, block, outputs));
                    add_kernel_gradient(h, dy, d_of_h);
                    add_kernel_gradient(r, dy, d_of_r);
                }
            }
            if let Some(d) = dx.of(2 * steps + 1) {
                let d = d.zeroed();
                self.packs
                    .chunks_exact(outputs)
                    .for_each(|dy| add_bias_gradient(dy, d));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HIDDEN, SIZES, assert_close, assert_gradients, evaluate, rows};
    use super::*;

    /// Two steps.
    fn output_operands() -> [(Shape, f64, f64); 6] {
        let Sizes { reads, w, .. } = SIZES;
        let state = (SIZES.controller(HIDDEN), -1.0, 1.0);
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
                let h = rows(v[t], 2 * HIDDEN).slice(1, 0..HIDDEN);
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
