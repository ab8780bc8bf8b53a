//! What lies around the memory: the controller, the interface vector that it emits, and
//! the output.

use super::layout::{Interface, Sizes, expect};
use super::math::{
    add, at, at_mut, dot, exp_in_place, sigmoid, sigmoid_in_place, softplus_in_place, tanh,
    tanh_in_place,
};
use autodiff::kernels::{Matrix, Store, dispatch, gemm};
use autodiff::{Gradient, Gradients, Inputs, Op, Real, Shape};

/// The LSTM controller at step t; operands: the observations of all steps, the words
/// read at t − 1, the state at t − 1, kernel, bias.
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
    step: usize,
    clip: T,
    batch: usize,
    hidden: usize,
    /// Columns of x, r and h, whose weights are the rows of the kernel, one part below
    /// the other.
    widths: [usize; 3],
    /// [x, r, h], side by side.
    rows: Vec<T>,
    /// [i, g, f, o] and their gradients: [batch, 4 hidden].
    gates: Vec<T>,
    d_gates: Vec<T>,
    /// tanh c′, and the gradient of c: [batch, hidden].
    squashed: Vec<T>,
    d_cell: Vec<T>,
}

impl<T: Real> Lstm<T> {
    pub fn new(step: usize, clip: T) -> Self {
        Self {
            step,
            clip,
            batch: 0,
            hidden: 0,
            widths: [0; 3],
            rows: Vec::new(),
            gates: Vec::new(),
            d_gates: Vec::new(),
            squashed: Vec::new(),
            d_cell: Vec::new(),
        }
    }

    /// d += dz · (rows of the kernel)ᵀ, for the rows of one part.
    fn propagate(&self, part: usize, kernel: &[T], d: &mut [T], into: Store) {
        let columns = 4 * self.hidden;
        let start: usize = self.widths[..part].iter().sum();
        let width = self.widths[part];
        let kernel = Matrix::transposed(&kernel[start * columns..][..width * columns]);
        let dz = Matrix::plain(&self.d_gates);
        gemm(self.batch, columns, width, dz, kernel, d, into);
    }
}

impl<T: Real> Op<T> for Lstm<T> {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let [observations, words, state, kernel, bias] = inputs else {
            return Err("expected five operands".to_owned());
        };
        let (&[steps, batch, channels], &[2, _, hidden]) = (&**observations, &**state) else {
            return Err("expected [steps, batch, channels] and a state [2, batch, hidden]".into());
        };
        let read = words.elements() / batch.max(1);
        if self.step >= steps || words.elements() != batch * read || state[1] != batch {
            return Err(format!("expected step {} of {batch} sequences", self.step));
        }
        self.widths = [channels, read, hidden];
        let rows = channels + read + hidden;
        let expected = [
            *observations,
            [rows, 4 * hidden].into(),
            [4 * hidden].into(),
        ];
        expect(&[*observations, *kernel, *bias], &expected)?;
        (self.batch, self.hidden) = (batch, hidden);
        self.rows = vec![T::zero(); batch * rows];
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
            let (observation, rest) = row.split_at_mut(channels);
            let (words, state) = rest.split_at_mut(read);
            observation.copy_from_slice(at(&x[0], self.step * batch + b, channels));
            words.copy_from_slice(at(&x[1], b, read));
            state.copy_from_slice(at(&x[2], b, hidden));
        }
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
        let [channels, ..] = self.widths;
        if let Some(d) = dx.of(0) {
            let d = at_mut(d.zeroed(), self.step, batch * channels);
            self.propagate(0, &x[3], d, Store::Add);
        }
        if let Some(d) = dx.of(1) {
            self.propagate(1, &x[3], d.values, d.into);
        }
        if let Some(Gradient { values, into }) = dx.of(2) {
            let (values, cell) = values.split_at_mut(batch * hidden);
            self.propagate(2, &x[3], values, into);
            let cell = Gradient { values: cell, into };
            add(Some(cell), &self.d_cell);
        }
        weight_gradients(&self.rows, &self.d_gates, 4 * hidden, dx, 3);
    }
}

/// The interface vector ξ; operands: the controller's state, kernel, bias.
///
/// ```text
/// ξ̂ = h · kernel + bias
/// ξ = σ(ξ̂) for gates and erase vectors, softplus(ξ̂) for strengths, softmax(ξ̂) for the
///     read modes of each head, ξ̂ for keys and write vectors
/// ```
///
/// Backward:
///
/// ```text
/// dξ̂ = dξ ∘ ξ(1 − ξ), dξ ∘ σ(ξ̂), ξ ∘ (dξ − ⟨dξ, ξ⟩), dξ
/// dh += dξ̂ · kernelᵀ    dkernel += hᵀ · dξ̂    dbias += Σ rows of dξ̂
/// ```
pub(super) struct Emission<T> {
    sizes: Sizes,
    interface: Interface,
    hidden: usize,
    /// σ(ξ̂) of the strengths.
    slopes: Vec<T>,
    d_xi: Vec<T>,
}

impl<T: Real> Emission<T> {
    pub fn new(sizes: Sizes) -> Self {
        let interface = Interface::new(sizes);
        Self {
            sizes,
            interface,
            hidden: 0,
            slopes: vec![T::zero(); sizes.batch * interface.strengths().len],
            d_xi: vec![T::zero(); sizes.batch * interface.len],
        }
    }
}

impl<T: Real> Op<T> for Emission<T> {
    fn name(&self) -> &'static str {
        "interface vector"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (batch, len) = (self.sizes.batch, self.interface.len);
        self.hidden = *inputs[0].last().ok_or("expected the controller's state")?;
        let shapes = [
            [2, batch, self.hidden].into(),
            [self.hidden, len].into(),
            [len].into(),
        ];
        expect(inputs, &shapes)?;
        Ok(self.sizes.interface())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        affine(&x[0][..batch * self.hidden], &x[1], &x[2], y);
        let slopes = self.slopes.chunks_exact_mut(interface.strengths().len);
        for (row, slopes) in y.chunks_exact_mut(interface.len).zip(slopes) {
            sigmoid_in_place(interface.gates().of_mut(row));
            let strengths = interface.strengths().of_mut(row);
            sigmoid(strengths, slopes);
            softplus_in_place(strengths);
            let modes = interface.read_modes.of_mut(row);
            for modes in modes.chunks_exact_mut(2 * writes + 1) {
                let largest = modes.iter().fold(T::neg_infinity(), |m, &x| m.max(x));
                modes.iter_mut().for_each(|x| *x -= largest);
            }
            exp_in_place(modes);
            for modes in modes.chunks_exact_mut(2 * writes + 1) {
                let scale = modes.iter().copied().sum::<T>().recip();
                modes.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Sizes { batch, writes, .. } = self.sizes;
        let interface = self.interface;
        let strengths = interface.strengths();
        let d_xi = &mut self.d_xi;
        d_xi.copy_from_slice(dy);
        let rows = d_xi.chunks_exact_mut(interface.len);
        for (b, (d, y)) in rows.zip(y.chunks_exact(interface.len)).enumerate() {
            let gates = interface.gates().of_mut(d).iter_mut();
            for (d, &y) in gates.zip(interface.gates().of(y)) {
                *d *= y * (T::one() - y);
            }
            let slopes = at(&self.slopes, b, strengths.len);
            for (d, &slope) in strengths.of_mut(d).iter_mut().zip(slopes) {
                *d *= slope;
            }
            let modes = interface.read_modes.of_mut(d);
            let modes = modes.chunks_exact_mut(2 * writes + 1);
            let y = interface.read_modes.of(y).chunks_exact(2 * writes + 1);
            for (d, y) in modes.zip(y) {
                let inner = dot(y, d);
                d.iter_mut()
                    .zip(y)
                    .for_each(|(d, &y)| *d = y * (*d - inner));
            }
        }
        if let Some(Gradient { values, into }) = dx.of(0) {
            let (values, cell) = values.split_at_mut(batch * self.hidden);
            if into == Store::Overwrite {
                cell.fill(T::zero());
            }
            let (d_xi, kernel) = (Matrix::plain(d_xi), Matrix::transposed(&x[1]));
            gemm(
                batch,
                interface.len,
                self.hidden,
                d_xi,
                kernel,
                values,
                into,
            );
        }
        weight_gradients(
            &x[0][..batch * self.hidden],
            &self.d_xi,
            interface.len,
            dx,
            1,
        );
    }
}

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
    pub fn new(clip: T) -> Self {
        Self {
            clip,
            steps: 0,
            batch: 0,
            hidden: 0,
            read: 0,
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
        let [state, .., kernel, bias] = inputs else {
            return Err("expected states, words, kernel and bias".to_owned());
        };
        let (&[2, batch, hidden], &[outputs]) = (&**state, &**bias) else {
            return Err("expected states [2, batch, hidden] and a bias [outputs]".to_owned());
        };
        let words = inputs[steps];
        let read = words.elements() / batch.max(1);
        let mut expected = vec![*state; steps];
        expected.resize(2 * steps, words);
        expected.extend([[hidden + read, outputs].into(), *bias]);
        expect(&inputs[..2 * steps], &expected[..2 * steps])?;
        expect(&[*kernel, *bias], &expected[2 * steps..])?;
        (self.steps, self.batch) = (steps, batch);
        (self.hidden, self.read, self.outputs) = (hidden, read, outputs);
        self.rows = vec![T::zero(); steps * batch * (hidden + read)];
        self.d_rows = self.rows.clone();
        self.d_outputs = vec![T::zero(); steps * batch * outputs];
        Ok(Shape::from([steps, batch, outputs]))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (steps, hidden, read) = (self.steps, self.hidden, self.read);
        for (k, row) in self.rows.chunks_exact_mut(hidden + read).enumerate() {
            let (t, b) = (k / self.batch, k % self.batch);
            let (h, words) = row.split_at_mut(hidden);
            h.copy_from_slice(at(&x[t], b, hidden));
            words.copy_from_slice(at(&x[steps + t], b, read));
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
            Store::Overwrite,
        );
        let d_rows = self.d_rows.chunks_exact(self.batch * (hidden + read));
        for (t, d_rows) in d_rows.enumerate() {
            let d_rows = d_rows.chunks_exact(hidden + read);
            if let Some(d) = dx.of(t) {
                let d = d.zeroed();
                for (d, row) in d.chunks_exact_mut(hidden).zip(d_rows.clone()) {
                    d.iter_mut().zip(row).for_each(|(d, &row)| *d += row);
                }
            }
            if let Some(d) = dx.of(steps + t) {
                let d = d.zeroed();
                for (d, row) in d.chunks_exact_mut(read).zip(d_rows) {
                    d.iter_mut()
                        .zip(&row[hidden..])
                        .for_each(|(d, &row)| *d += row);
                }
            }
        }
        weight_gradients(&self.rows, &self.d_outputs, outputs, dx, 2 * steps);
    }
}

/// y = x · kernel + bias.
fn affine<T: Real>(x: &[T], kernel: &[T], bias: &[T], y: &mut [T]) {
    let outputs = bias.len();
    for row in y.chunks_exact_mut(outputs) {
        row.copy_from_slice(bias);
    }
    let (rows, inputs) = (y.len() / outputs, kernel.len() / outputs);
    let (x, kernel) = (Matrix::plain(x), Matrix::plain(kernel));
    gemm(rows, inputs, outputs, x, kernel, y, Store::Add);
}

/// dkernel += xᵀ · dy and dbias += Σ rows of dy, for the operands `kernel` and the next.
fn weight_gradients<T: Real>(
    x: &[T],
    dy: &[T],
    outputs: usize,
    dx: &mut Gradients<T>,
    kernel: usize,
) {
    let rows = dy.len() / outputs;
    if let Some(d) = dx.of(kernel) {
        let (x_matrix, dy) = (Matrix::transposed(x), Matrix::plain(dy));
        gemm(
            x.len() / rows,
            rows,
            outputs,
            x_matrix,
            dy,
            d.values,
            d.into,
        );
    }
    if let Some(d) = dx.of(kernel + 1) {
        let d = d.zeroed();
        dispatch(
            #[inline(always)]
            || {
                for dy in dy.chunks_exact(outputs) {
                    d.iter_mut().zip(dy).for_each(|(d, &dy)| *d += dy);
                }
            },
        );
    }
}

/// x, or the nearer of ±`limit`; a NaN stays one.
#[inline(always)]
fn clipped<T: Real>(x: T, limit: T) -> T {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

/// dy, or 0 where y was clipped.
#[inline(always)]
fn unless_clipped<T: Real>(dy: T, y: T, limit: T) -> T {
    if y.abs() < limit { dy } else { T::zero() }
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
    use super::super::layout::Segment;
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate, run};
    use super::*;
    use autodiff::Var;

    const HIDDEN: usize = 3;

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

    /// The equations, in operations of autodiff.
    fn composed_lstm<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
        let g = v[0].graph();
        let Sizes {
            batch, reads, w, ..
        } = SIZES;
        let x = v[0].slice(0, 1..2).reshape([batch, 2]);
        let [h, c] = [0, 1].map(|k| v[2].slice(0, k..k + 1).reshape([batch, HIDDEN]));
        let row = g.concat(1, &[x, v[1].reshape([batch, reads * w]), h]);
        let gates = row.affine(v[3], v[4]);
        let gate = |k| gates.slice(1, k * HIDDEN..(k + 1) * HIDDEN);
        let c = (gate(2) + 1.0).sigmoid() * c + gate(0).sigmoid() * gate(1).tanh();
        g.concat(0, &[gate(3).sigmoid() * c.tanh(), c])
            .reshape([2, batch, HIDDEN])
    }

    #[test]
    fn lstm_agrees_with_the_composed_operations() {
        let operands = lstm_operands();
        let fused = evaluate(&operands, |v| v[0].graph().apply(Lstm::new(1, 20.0), v));
        assert_close(&fused, &evaluate(&operands, composed_lstm), 1e-14);
    }

    #[test]
    fn gradients_of_the_lstm() {
        for clip in [20.0, 0.4] {
            assert_gradients(&lstm_operands(), |v| {
                v[0].graph().apply(Lstm::new(1, clip), v)
            });
        }
    }

    #[test]
    fn values_beyond_the_limit_are_clipped_and_nan_is_kept() {
        let clip = |x: f64| clipped(x, 20.0);
        assert_eq!(
            [-30.0, -20.0, 5.0, 21.0].map(clip),
            [-20.0, -20.0, 5.0, 20.0]
        );
        assert!(clip(f64::NAN).is_nan());
        assert_eq!(
            [-20.0, 5.0, 20.0].map(|y| unless_clipped(2.0, y, 20.0)),
            [0.0, 2.0, 0.0]
        );
    }

    fn emission_operands() -> [(Shape, f64, f64); 3] {
        let len = Interface::new(SIZES).len;
        [
            ([2, SIZES.batch, HIDDEN].into(), -1.0, 1.0),
            ([HIDDEN, len].into(), -2.0, 2.0),
            ([len].into(), -1.0, 1.0),
        ]
    }

    #[test]
    fn activations_of_the_interface_vector() {
        let interface = Interface::new(SIZES);
        let ln3 = 3f64.ln();
        let mut bias = vec![ln3; interface.len];
        for modes in interface.read_modes.of_mut(&mut bias).chunks_exact_mut(5) {
            modes[4] = 0.0;
        }
        let xi = run(|g| {
            let state = g.constant([2, SIZES.batch, HIDDEN], &[0.0; 2 * 2 * HIDDEN]);
            let kernel = g.constant([HIDDEN, bias.len()], &vec![0.0; HIDDEN * bias.len()]);
            let bias = g.constant([bias.len()], &bias);
            g.apply(Emission::new(SIZES), &[state, kernel, bias])
        });
        let row = &xi[interface.len..];
        let all = |segment: Segment, value: f64| {
            assert_close(segment.of(row), &vec![value; segment.len], 1e-15);
        };
        all(interface.write_vectors, ln3);
        all(interface.write_keys, ln3);
        all(interface.read_keys, ln3);
        all(interface.erase_vectors, 0.75);
        all(interface.free_gates, 0.75);
        all(interface.allocation_gates, 0.75);
        all(interface.write_gates, 0.75);
        all(interface.write_strengths, 4f64.ln());
        all(interface.read_strengths, 4f64.ln());
        let thirteenths = [3.0, 3.0, 3.0, 3.0, 1.0].map(|x| x / 13.0);
        assert_close(
            interface.read_modes.of(row),
            &[thirteenths; 3].concat(),
            1e-15,
        );
    }

    #[test]
    fn gradients_of_the_interface_vector() {
        assert_gradients(&emission_operands(), |v| {
            v[0].graph().apply(Emission::new(SIZES), v)
        });
    }

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
        let fused = evaluate(&operands, |v| v[0].graph().apply(Outputs::new(20.0), v));
        let composed = evaluate(&operands, |v| {
            let step = |t: usize| {
                let h = v[t].slice(0, 0..1).reshape([2, HIDDEN]);
                let row = v[0].graph().concat(1, &[h, v[2 + t].reshape([2, 15])]);
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
                v[0].graph().apply(Outputs::new(clip), v)
            });
        }
    }
}
