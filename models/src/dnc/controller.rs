//! What lies around the memory: the controller, the interface vector that it emits, and
//! the output.

use super::layout::{Interface, Sizes, expect};
use super::pack::{
    LANES, Pack, Packs, add_rows, at, at_mut, dot, pack_rows, packs, packs_mut, unpack_rows, zeros,
};
use autodiff::kernels::{
    Matrix, Term, dispatch, exp_in_place, gemm, sigmoid, sigmoid_in_place, softplus_in_place, tanh,
    tanh_in_place,
};
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

/// The interface vector ξ; operands: the controller's state, kernel, bias, kernelᵀ as in
/// [`Lstm`].
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
    /// ξ̂ and its gradient, a row for each sequence.
    rows: Vec<T>,
    d_rows: Vec<T>,
    /// σ(ξ̂) of the strengths.
    slopes: Vec<[T; LANES]>,
    d_xi: Vec<[T; LANES]>,
}

impl<T: Real> Emission<T> {
    pub fn new(sizes: Sizes) -> Self {
        let interface = Interface::new(sizes);
        Self {
            sizes,
            interface,
            hidden: 0,
            rows: vec![T::zero(); sizes.batch * interface.len],
            d_rows: vec![T::zero(); sizes.batch * interface.len],
            slopes: zeros(sizes.blocks() * interface.strengths().len),
            d_xi: zeros(sizes.blocks() * interface.len),
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
            [len, self.hidden].into(),
        ];
        expect(inputs, &shapes)?;
        Ok(self.sizes.interface())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (Sizes { batch, writes, .. }, interface) = (self.sizes, self.interface);
        affine(&x[0][..batch * self.hidden], &x[1], &x[2], &mut self.rows);
        let y = packs_mut(y);
        pack_rows(y, interface.len, &self.rows, (interface.len, 0));
        let slopes = self.slopes.chunks_exact_mut(interface.strengths().len);
        for (xi, slopes) in y.chunks_exact_mut(interface.len).zip(slopes) {
            sigmoid_in_place(interface.gates().of_mut(xi).as_flattened_mut());
            let strengths = interface.strengths().of_mut(xi).as_flattened_mut();
            sigmoid(strengths, slopes.as_flattened_mut());
            softplus_in_place(strengths);
            let modes = interface.read_modes.of_mut(xi);
            modes
                .chunks_exact_mut(2 * writes + 1)
                .for_each(less_largest);
            exp_in_place(modes.as_flattened_mut());
            modes.chunks_exact_mut(2 * writes + 1).for_each(normalise);
        }
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (Sizes { batch, writes, .. }, interface) = (self.sizes, self.interface);
        let (y, dy) = (packs(y), packs(dy));
        let strengths = interface.strengths();
        dispatch(
            #[inline(always)]
            || {
                self.d_xi.copy_from_slice(dy);
                let blocks = self.d_xi.chunks_exact_mut(interface.len);
                for (block, (d, xi)) in blocks.zip(y.chunks_exact(interface.len)).enumerate() {
                    let gates = interface.gates().of(xi);
                    for (d, &y) in interface.gates().of_mut(d).iter_mut().zip(gates) {
                        *d = (Pack(*d) * Pack(y) * (Pack::one() - Pack(y))).0;
                    }
                    let slopes = at(&self.slopes, block, strengths.len);
                    for (d, &slope) in strengths.of_mut(d).iter_mut().zip(slopes) {
                        *d = (Pack(*d) * Pack(slope)).0;
                    }
                    let modes = interface.read_modes.of(xi).chunks_exact(2 * writes + 1);
                    let d_modes = interface.read_modes.of_mut(d);
                    for (d, y) in d_modes.chunks_exact_mut(2 * writes + 1).zip(modes) {
                        let inner = dot(d, y);
                        for (d, &y) in d.iter_mut().zip(y) {
                            *d = (Pack(y) * (Pack(*d) - inner)).0;
                        }
                    }
                }
            },
        );
        unpack_rows(
            &self.d_xi,
            interface.len,
            &mut self.d_rows,
            (interface.len, 0),
        );
        if let Some(d) = dx.of(0) {
            // Of h and c, which lie one after the other, only h has a part in ξ.
            let (d_rows, transposed) = (Matrix::plain(&self.d_rows), Matrix::plain(&x[3]));
            let state = &mut d.zeroed()[..batch * self.hidden];
            gemm(
                batch,
                interface.len,
                self.hidden,
                d_rows,
                transposed,
                state,
                Term::Further,
            );
        }
        weight_gradients(
            &x[0][..batch * self.hidden],
            &self.d_rows,
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

/// y = x · kernel + bias.
fn affine<T: Real>(x: &[T], kernel: &[T], bias: &[T], y: &mut [T]) {
    let outputs = bias.len();
    for row in y.chunks_exact_mut(outputs) {
        row.copy_from_slice(bias);
    }
    let (rows, inputs) = (y.len() / outputs, kernel.len() / outputs);
    let (x, kernel) = (Matrix::plain(x), Matrix::plain(kernel));
    gemm(rows, inputs, outputs, x, kernel, y, Term::Further);
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
        d.add_product([x.len() / rows, rows, outputs], x_matrix, dy);
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

/// xᵢ ← xᵢ − maxⱼ xⱼ, for e^x to overflow nowhere.
fn less_largest<T: Real>(x: &mut Packs<T>) {
    let largest = x
        .iter()
        .fold(Pack::splat(T::neg_infinity()), |m, &x| Pack(x).max(m));
    x.iter_mut().for_each(|x| *x = (Pack(*x) - largest).0);
}

/// xᵢ ← xᵢ / Σⱼ xⱼ.
fn normalise<T: Real>(x: &mut Packs<T>) {
    let mut total = Pack::zero();
    x.iter().for_each(|&x| total += Pack(x));
    let scale = total.recip();
    x.iter_mut().for_each(|x| *x = (Pack(*x) * scale).0);
}

/// Adds to d, row by row, the columns of `rows` from `first` on.
fn add_columns<T: Real>(d: &mut [T], rows: &[T], row: usize, first: usize) {
    let columns = d.len() * row / rows.len();
    dispatch(
        #[inline(always)]
        || {
            for (d, row) in d.chunks_exact_mut(columns).zip(rows.chunks_exact(row)) {
                d.iter_mut().zip(&row[first..]).for_each(|(d, &x)| *d += x);
            }
        },
    );
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
    use super::super::testing::{SIZES, assert_close, assert_gradients, evaluate};
    use super::*;
    use autodiff::{Params, Var, record};

    const HIDDEN: usize = 3;

    /// [batch, numbers] of packs [2 blocks, numbers].
    fn rows<'g>(packs: Var<'g, f64>, numbers: usize) -> Var<'g, f64> {
        let packs = packs.reshape([2, numbers, LANES]).permute(&[0, 2, 1]);
        packs.reshape([2 * LANES, numbers]).slice(0, 0..SIZES.batch)
    }

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
        let (mut tape, [xi]) = record(|g| {
            let state = g.constant([2, SIZES.batch, HIDDEN], &[0.0; 2 * 17 * HIDDEN]);
            let kernel = g.constant([HIDDEN, bias.len()], &vec![0.0; HIDDEN * bias.len()]);
            let bias = g.constant([bias.len()], &bias);
            let operands = [state, kernel, bias, kernel.transpose()];
            Ok([g.apply(Emission::new(SIZES), &operands)])
        })
        .unwrap();
        let none = Params::new();
        let pass = tape.forward(&none).unwrap();
        // The last of the sequences: the first lane of the second block.
        let packs = packs(pass.value(xi).unwrap())[interface.len..].iter();
        let row: Vec<f64> = packs.map(|pack| pack[0]).collect();
        let all = |segment: Segment, value: f64| {
            assert_close(segment.of(&row), &vec![value; segment.len], 1e-15);
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
            interface.read_modes.of(&row),
            &[thirteenths; 3].concat(),
            1e-15,
        );
    }

    #[test]
    fn gradients_of_the_interface_vector() {
        assert_gradients(&emission_operands(), |v| {
            let operands = [v[0], v[1], v[2], v[1].transpose()];
            v[0].graph().apply(Emission::new(SIZES), &operands)
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
