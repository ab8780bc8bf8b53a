//! The controller.

use super::affine::{add_columns, affine, clipped, unless_clipped, weight_gradients};
use super::layout::{Sizes, expect};
use super::pack::{add_rows, at, at_mut, packs, packs_mut, unpack_rows};
use autodiff::kernels::{Matrix, Term, dispatch, gemm, sigmoid_in_place, tanh, tanh_in_place};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The LSTM controller at step t; operands: the observations of all steps, the words
/// read at t − 1, the state at t − 1, kernel, bias, kernelᵀ. The last is the kernel again:
/// transposed once, it serves the backward passes of all steps, and has no gradient.
///
/// ```text
/// [i, g, f, o] = [x, r, h] · kernel + bias
/// c′ = σ(f + 1) c + σ(i) tanh g
/// h′ = σ(o) tanh c′
/// ```
///
/// The result is the state: the rows of h′, then the rows of c′, all clipped. The gates
/// are in the order of DeepMind's Sonnet, whose forget gate starts open: f + 1.
///
/// Backward, where dh′ and dc′ are zero if they were clipped; i, g, f, o now stand for
/// the gates after their σ or tanh, and τ for tanh c′:
///
/// ```text
/// dc′ += dh′ o (1 − τ²)
/// dz   = [dc′ g i(1 − i), dc′ i (1 − g²), dc′ c f(1 − f), dh′ τ o(1 − o)]
/// dc  += dc′ f    [dx, dr, dh] += dz · kernelᵀ
/// dkernel += [x, r, h]ᵀ · dz    dbias += Σ rows of dz
/// ```
pub(super) struct Lstm<T> {
    sizes: Sizes,
    step: usize,
    clip: T,
    batch: usize,
    hidden: usize,
    /// Columns of x, r and h, whose weights are the rows of the kernel, one part below
    /// the other.
    widths: [usize; 3],
    /// [x, r, h], side by side, and the gradient of that.
    rows: Vec<T>,
    d_rows: Vec<T>,
    /// [i, g, f, o] and their gradients: [batch, 4 hidden].
    gates: Vec<T>,
    d_gates: Vec<T>,
    /// tanh c′, and the gradient of c: [batch, hidden].
    squashed: Vec<T>,
    d_cell: Vec<T>,
}

impl<T: Real> Lstm<T> {
    pub fn new(sizes: Sizes, step: usize, clip: T) -> Self {
        Self {
            sizes,
            step,
            clip,
            batch: sizes.batch,
            hidden: 0,
            widths: [0; 3],
            rows: Vec::new(),
            d_rows: Vec::new(),
            gates: Vec::new(),
            d_gates: Vec::new(),
            squashed: Vec::new(),
            d_cell: Vec::new(),
        }
    }
}

impl<T: Real> Op<T> for Lstm<T> {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let [observations, _, state, ..] = inputs else {
            return Err("expected six operands".to_owned());
        };
        let (&[steps, _, channels], &[_, _, hidden]) = (&**observations, &**state) else {
            return Err("expected [steps, batch, channels] and a state [2, batch, hidden]".into());
        };
        if self.step >= steps {
            return Err(format!("expected an observation of step {}", self.step));
        }
        let (batch, read) = (self.batch, self.sizes.reads * self.sizes.w);
        self.widths = [channels, read, hidden];
        let rows = channels + read + hidden;
        let columns = 4 * hidden;
        let expected = [
            [steps, batch, channels].into(),
            self.sizes.words(),
            [2, batch, hidden].into(),
            [rows, columns].into(),
            [columns].into(),
            [columns, rows].into(),
        ];
        expect(inputs, &expected)?;
        self.hidden = hidden;
        self.rows = vec![T::zero(); batch * rows];
        self.d_rows = vec![T::zero(); batch * rows];
        self.gates = vec![T::zero(); batch * 4 * hidden];
        self.d_gates = vec![T::zero(); batch * 4 * hidden];
        self.squashed = vec![T::zero(); batch * hidden];
        self.d_cell = vec![T::zero(); batch * hidden];
        Ok(*state)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (batch, hidden, clip) = (self.batch, self.hidden, self.clip);
        let [channels, read, _] = self.widths;
        let width = channels + read + hidden;
        for (b, row) in self.rows.chunks_exact_mut(width).enumerate() {
            let observation = at(&x[0], self.step * batch + b, channels);
            row[..channels].copy_from_slice(observation);
            row[channels + read..].copy_from_slice(at(&x[2], b, hidden));
        }
        unpack_rows(packs(&x[1]), read, &mut self.rows, (width, channels));
        affine(&self.rows, &x[3], &x[4], &mut self.gates);
        for row in self.gates.chunks_exact_mut(4 * hidden) {
            let [i, g, f, o] = quarters_mut(row);
            sigmoid_in_place(i);
            tanh_in_place(g);
            f.iter_mut().for_each(|f| *f += T::one());
            sigmoid_in_place(f);
            sigmoid_in_place(o);
        }
        let (h, c) = y.split_at_mut(batch * hidden);
        let (gates, previous) = (&self.gates, &x[2][batch * hidden..]);
        dispatch(
            #[inline(always)]
            || {
                for b in 0..batch {
                    let [i, g, f, _] = quarters(at(gates, b, 4 * hidden));
                    let (previous, c) = (at(previous, b, hidden), at_mut(c, b, hidden));
                    for k in 0..hidden {
                        c[k] = f[k] * previous[k] + i[k] * g[k];
                    }
                }
            },
        );
        tanh(c, &mut self.squashed);
        let squashed = &self.squashed;
        dispatch(
            #[inline(always)]
            || {
                for b in 0..batch {
                    let [_, _, _, o] = quarters(at(gates, b, 4 * hidden));
                    let squashed = at(squashed, b, hidden);
                    let (h, c) = (at_mut(h, b, hidden), at_mut(c, b, hidden));
                    for k in 0..hidden {
                        h[k] = clipped(o[k] * squashed[k], clip);
                        c[k] = clipped(c[k], clip);
                    }
                }
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (batch, hidden, clip) = (self.batch, self.hidden, self.clip);
        let (gates, all_squashed) = (&self.gates, &self.squashed);
        let (d_gates, d_cells) = (&mut self.d_gates, &mut self.d_cell);
        dispatch(
            #[inline(always)]
            || {
                for b in 0..batch {
                    let [i, g, f, o] = quarters(at(gates, b, 4 * hidden));
                    let [di, dg, df, d_o] = quarters_mut(at_mut(d_gates, b, 4 * hidden));
                    let previous = at(&x[2], batch + b, hidden);
                    let squashed = at(all_squashed, b, hidden);
                    let (h, c) = (at(y, b, hidden), at(y, batch + b, hidden));
                    let (dh, dc) = (at(dy, b, hidden), at(dy, batch + b, hidden));
                    let d_cell = at_mut(d_cells, b, hidden);
                    for k in 0..hidden {
                        let dh = unless_clipped(dh[k], h[k], clip);
                        let t = squashed[k];
                        let dc = unless_clipped(dc[k], c[k], clip) + dh * o[k] * (T::one() - t * t);
                        di[k] = dc * g[k] * i[k] * (T::one() - i[k]);
                        dg[k] = dc * i[k] * (T::one() - g[k] * g[k]);
                        df[k] = dc * previous[k] * f[k] * (T::one() - f[k]);
                        d_o[k] = dh * t * o[k] * (T::one() - o[k]);
                        d_cell[k] = dc * f[k];
                    }
                }
            },
        );
        let [channels, read, _] = self.widths;
        let (rows, d_rows) = (channels + read + hidden, &mut self.d_rows);
        let (dz, transposed) = (Matrix::plain(&self.d_gates), Matrix::plain(&x[5]));
        gemm(batch, 4 * hidden, rows, dz, transposed, d_rows, Term::First);
        if let Some(d) = dx.of(0) {
            let d = at_mut(d.zeroed(), self.step, batch * channels);
            add_columns(d, d_rows, rows, 0);
        }
        if let Some(d) = dx.of(1) {
            add_rows(packs_mut(d.zeroed()), read, d_rows, (rows, channels));
        }
        if let Some(d) = dx.of(2) {
            let (state, cell) = d.zeroed().split_at_mut(batch * hidden);
            add_columns(state, d_rows, rows, channels + read);
            let pairs = cell.iter_mut().zip(&self.d_cell);
            pairs.for_each(|(d, &x)| *d += x);
        }
        weight_gradients(&self.rows, &self.d_gates, 4 * hidden, dx, 3);
    }
}

#[inline(always)]
fn quarters<T>(row: &[T]) -> [&[T]; 4] {
    let quarter = row.len() / 4;
    [0, 1, 2, 3].map(|k| at(row, k, quarter))
}

#[inline(always)]
fn quarters_mut<T>(row: &mut [T]) -> [&mut [T]; 4] {
    let (front, back) = row.split_at_mut(row.len() / 2);
    let (i, g) = front.split_at_mut(front.len() / 2);
    let (f, o) = back.split_at_mut(back.len() / 2);
    [i, g, f, o]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HIDDEN, SIZES, assert_close, assert_gradients, evaluate, rows};
    use super::*;
    use autodiff::Var;

    /// Observations of two steps, words, state, kernel, bias.
    fn lstm_operands() -> [(Shape, f64, f64); 5] {
        let Sizes {
            batch, reads, w, ..
        } = SIZES;
        let rows = 2 + reads * w + HIDDEN;
        [
            ([2, batch, 2].into(), -1.0, 1.0),
            (SIZES.words(), -1.0, 1.0),
            ([2, batch, HIDDEN].into(), -1.0, 1.0),
            ([rows, 4 * HIDDEN].into(), -1.0, 1.0),
            ([4 * HIDDEN].into(), -1.0, 1.0),
        ]
    }

    fn lstm<'g>(v: &[Var<'g, f64>], clip: f64) -> Var<'g, f64> {
        let operands = [v[0], v[1], v[2], v[3], v[4], v[3].transpose()];
        v[0].graph().apply(Lstm::new(SIZES, 1, clip), &operands)
    }

    /// The equations, in operations of autodiff.
    fn composed_lstm<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let g = v[0].graph();
        let Sizes {
            batch, reads, w, ..
        } = SIZES;
        let x = v[0].slice(0, 1..2).reshape([batch, 2]);
        let [h, c] = [0, 1].map(|k| v[2].slice(0, k..k + 1).reshape([batch, HIDDEN]));
        let row = g.concat(1, &[x, rows(v[1], reads * w), h]);
        let gates = row.affine(v[3], v[4]);
        let gate = |k| gates.slice(1, k * HIDDEN..(k + 1) * HIDDEN);
        let c = (gate(2) + 1.0).sigmoid() * c + gate(0).sigmoid() * gate(1).tanh();
        g.concat(0, &[gate(3).sigmoid() * c.tanh(), c])
            .reshape([2, batch, HIDDEN])
    }

    #[test]
    fn lstm_agrees_with_the_composed_operations() {
        let operands = lstm_operands();
        let fused = evaluate(&operands, |v| lstm(v, 20.0));
        assert_close(&fused, &evaluate(&operands, composed_lstm), 1e-14);
    }

    #[test]
    fn gradients_of_the_lstm() {
        for clip in [20.0, 0.4] {
            assert_gradients(&lstm_operands(), |v| lstm(v, clip));
        }
    }
}
