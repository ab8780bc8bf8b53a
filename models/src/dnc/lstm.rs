//! The controller.

use super::affine::{
    add_affine, add_input_gradient, add_weight_gradients, clipped, set_bias, unless_clipped,
};
use super::layout::{Sizes, expect};
use super::pack::{
    Kept, LANES, Pack, at, at_mut, each, gradients, pack_rows, packs, packs_mut, unpack_rows, zeros,
};
use autodiff::kernels::{dispatch, sigmoid_in_place, tanh, tanh_in_place};
use autodiff::{Gradients, Inputs, Op, Real, Shape};

/// The LSTM controller at step t; operands: the observations of all steps, the words
/// read at t − 1, the state at t − 1, kernel, bias.
///
/// ```text
/// [i, g, f, o] = [x, r, h] · kernel + bias
/// c′ = σ(f + 1) c + σ(i) tanh g
/// h′ = σ(o) tanh c′
/// ```
///
/// The result is the state, h′ and then c′, both clipped. The gates are in the order of
/// DeepMind's Sonnet, whose forget gate starts open: f + 1.
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
    hidden: usize,
    /// Columns of x, r and h, whose weights are the rows of the kernel, one part below
    /// the other.
    widths: [usize; 3],
    /// [x, r, h]: [blocks, widths].
    input: Kept<T>,
    /// [i, g, f, o] and their gradients: [blocks, 4 hidden].
    gates: Kept<T>,
    d_gates: Kept<T>,
    /// tanh c′: [blocks, hidden].
    squashed: Kept<T>,
    d_observations: Kept<T>,
}

impl<T: Real> Lstm<T> {
    pub fn new(sizes: Sizes, step: usize, clip: T) -> Self {
        Self {
            sizes,
            step,
            clip,
            hidden: 0,
            widths: [0; 3],
            input: zeros(0),
            gates: zeros(0),
            d_gates: zeros(0),
            squashed: zeros(0),
            d_observations: zeros(0),
        }
    }
}

impl<T: Real> Op<T> for Lstm<T> {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let [observations, _, state, ..] = inputs else {
            return Err("expected five operands".to_owned());
        };
        let (&[steps, _, channels], &[_, _, hidden, _]) = (&**observations, &**state) else {
            return Err("expected [steps, batch, channels] and a state".into());
        };
        if self.step >= steps {
            return Err(format!("expected an observation of step {}", self.step));
        }
        let (blocks, read) = (self.sizes.blocks(), self.sizes.reads * self.sizes.w);
        self.widths = [channels, read, hidden];
        let (rows, columns) = (channels + read + hidden, 4 * hidden);
        let expected = [
            [steps, self.sizes.batch, channels].into(),
            self.sizes.words(),
            self.sizes.controller(hidden),
            [rows, columns].into(),
            [columns].into(),
        ];
        expect(inputs, &expected)?;
        self.hidden = hidden;
        self.input = zeros(blocks * rows);
        self.gates = zeros(blocks * columns);
        self.d_gates = zeros(blocks * columns);
        self.squashed = zeros(blocks * hidden);
        self.d_observations = zeros(blocks * channels);
        Ok(*state)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (Sizes { batch, .. }, hidden, clip) = (self.sizes, self.hidden, self.clip);
        let [channels, read, _] = self.widths;
        let width = channels + read + hidden;
        let observations = at(&x[0], self.step, batch * channels);
        pack_rows(&mut self.input, width, observations, channels);
        let (words, states) = (packs(&x[1]), packs(&x[2]));
        for (block, y) in packs_mut(y).chunks_exact_mut(2 * hidden).enumerate() {
            let (state, previous) = at(states, block, 2 * hidden).split_at(hidden);
            let input = at_mut(&mut self.input, block, width);
            input[channels..][..read].copy_from_slice(at(words, block, read));
            input[channels + read..].copy_from_slice(state);

            let gates = at_mut(&mut self.gates, block, 4 * hidden);
            set_bias(&x[4], gates);
            add_affine(input, &x[3], gates);
            let [i, g, f, o] = quarters_mut(gates);
            f.iter_mut().for_each(|f| *f += Pack::one());
            for gate in [i, f, o] {
                sigmoid_in_place(gate.as_flattened_mut());
            }
            tanh_in_place(g.as_flattened_mut());

            let [i, g, f, o] = quarters(gates);
            let (h, c) = y.split_at_mut(hidden);
            let squashed = at_mut(&mut self.squashed, block, hidden);
            dispatch(
                #[inline(always)]
                || {
                    for k in each(hidden) {
                        c[k] = (Pack(f[k]) * Pack(previous[k]) + Pack(i[k]) * Pack(g[k])).0;
                    }
                },
            );
            tanh(c.as_flattened(), squashed.as_flattened_mut());
            dispatch(
                #[inline(always)]
                || {
                    for k in each(hidden) {
                        h[k] = limited(Pack(o[k]) * Pack(squashed[k]), clip).0;
                        c[k] = limited(Pack(c[k]), clip).0;
                    }
                },
            );
        }
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (hidden, clip) = (self.hidden, self.clip);
        let (states, y, dy) = (packs(&x[2]), packs(y), packs(dy));
        let [channels, read, _] = self.widths;
        let (of_x, rest) = x[3].split_at(channels * 4 * hidden);
        let (of_r, of_h) = rest.split_at(read * 4 * hidden);
        let [d_words, d_states] = gradients(dx, [1, 2]);
        for (block, d_state) in d_states.chunks_exact_mut(2 * hidden).enumerate() {
            let (_, previous) = at(states, block, 2 * hidden).split_at(hidden);
            let (h, c) = at(y, block, 2 * hidden).split_at(hidden);
            let (dh, dc) = at(dy, block, 2 * hidden).split_at(hidden);
            let (d_h, d_c) = d_state.split_at_mut(hidden);
            let squashed = at(&self.squashed, block, hidden);
            let [i, g, f, o] = quarters(at(&self.gates, block, 4 * hidden));
            let d_gates = at_mut(&mut self.d_gates, block, 4 * hidden);
            let [di, dg, df, d_o] = quarters_mut(d_gates);
            dispatch(
                #[inline(always)]
                || {
                    for k in each(hidden) {
                        let [i, g, f, o] = [i[k], g[k], f[k], o[k]].map(Pack);
                        let (tau, one) = (Pack(squashed[k]), Pack::one());
                        let dh = unless_limited(Pack(dh[k]), Pack(h[k]), clip);
                        let dc = unless_limited(Pack(dc[k]), Pack(c[k]), clip);
                        let dc = dc + dh * o * (one - tau * tau);
                        di[k] = (dc * g * i * (one - i)).0;
                        dg[k] = (dc * i * (one - g * g)).0;
                        df[k] = (dc * Pack(previous[k]) * f * (one - f)).0;
                        d_o[k] = (dh * tau * o * (one - o)).0;
                        d_c[k] += dc * f;
                    }
                },
            );
            add_input_gradient(d_gates, of_r, at_mut(d_words, block, read));
            add_input_gradient(d_gates, of_h, d_h);
        }
        if let Some(d) = dx.of(0) {
            let d_observations = at_mut(d.zeroed(), self.step, self.sizes.batch * channels);
            self.d_observations.fill([T::zero(); LANES]);
            let blocks = self.d_observations.chunks_exact_mut(channels);
            for (d, d_gates) in blocks.zip(self.d_gates.chunks_exact(4 * hidden)) {
                add_input_gradient(d_gates, of_x, d);
            }
            unpack_rows(&self.d_observations, d_observations, channels);
        }
        let width = channels + read + hidden;
        let input = self.input.chunks_exact(width);
        add_weight_gradients(input.zip(self.d_gates.chunks_exact(4 * hidden)), dx, 3);
    }
}

/// [`clipped`], of each sequence.
#[inline(always)]
fn limited<T: Real>(x: Pack<T>, limit: T) -> Pack<T> {
    x.map(
        #[inline(always)]
        |x| clipped(x, limit),
    )
}

/// [`unless_clipped`], of each sequence.
#[inline(always)]
fn unless_limited<T: Real>(dy: Pack<T>, y: Pack<T>, limit: T) -> Pack<T> {
    dy.zip(
        y,
        #[inline(always)]
        |dy, y| unless_clipped(dy, y, limit),
    )
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
            (SIZES.controller(HIDDEN), -1.0, 1.0),
            ([rows, 4 * HIDDEN].into(), -1.0, 1.0),
            ([4 * HIDDEN].into(), -1.0, 1.0),
        ]
    }

    fn lstm<'g>(v: &[Var<'g, f64>], clip: f64) -> Var<'g, f64> {
        v[0].graph().apply(Lstm::new(SIZES, 1, clip), v)
    }

    /// The equations, in operations of autodiff, on rows: h and c of each sequence.
    fn composed_lstm<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let g = v[0].graph();
        let Sizes {
            batch, reads, w, ..
        } = SIZES;
        let x = v[0].slice(0, 1..2).reshape([batch, 2]);
        let state = rows(v[2], 2 * HIDDEN);
        let [h, c] = [0, 1].map(|k| state.slice(1, k * HIDDEN..(k + 1) * HIDDEN));
        let row = g.concat(1, &[x, rows(v[1], reads * w), h]);
        let gates = row.affine(v[3], v[4]);
        let gate = |k| gates.slice(1, k * HIDDEN..(k + 1) * HIDDEN);
        let c = (gate(2) + 1.0).sigmoid() * c + gate(0).sigmoid() * gate(1).tanh();
        g.concat(1, &[gate(3).sigmoid() * c.tanh(), c])
    }

    #[test]
    fn lstm_agrees_with_the_composed_operations() {
        let operands = lstm_operands();
        let fused = evaluate(&operands, |v| rows(lstm(v, 20.0), 2 * HIDDEN));
        assert_close(&fused, &evaluate(&operands, composed_lstm), 1e-14);
    }

    #[test]
    fn gradients_of_the_lstm() {
        for clip in [20.0, 0.4] {
            assert_gradients(&lstm_operands(), |v| lstm(v, clip));
        }
    }
}
