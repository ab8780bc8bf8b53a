//! Rows of a table by their indices, and the cross-entropy of labels.
//!
//! yₙ = table[iₙ]: dtable[iₙ] += dyₙ. For logits x and labels i,
//!
//! ```text
//! yₙ = ln Σⱼ e^xₙⱼ − xₙᵢ        dxₙ += dyₙ·(softmax(xₙ) − eᵢ),   i = iₙ
//! ```

use super::softmax::softmax;
use crate::memory::{Buffer, zeros};
use crate::{Gradients, Indices, Inputs, Op, Real, Shape, Var};

/// The integer that [`Tape::set_indices`](crate::Tape::set_indices) wrote.
fn index<T: Real>(element: T) -> usize {
    element.in_f64() as usize
}

/// What is wrong with indices below `below` into `rows` rows.
fn check(below: usize, rows: usize) -> Result<(), String> {
    if below > rows {
        return Err(format!("indices are below {below}, but there are {rows}"));
    }
    Ok(())
}

struct Gather {
    below: usize,
    /// Elements of a row.
    row: usize,
}

impl<T: Real> Op<T> for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (table, indices) = (inputs[0], inputs[1]);
        let (&rows, row) = table.split_first().ok_or("a scalar has no rows")?;
        check(self.below, rows)?;
        self.row = row.iter().product();
        Shape::new(&[&indices, row].concat()).ok_or("too many axes".to_owned())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let rows = y.chunks_exact_mut(self.row.max(1));
        for (y, &i) in rows.zip(&x[1]) {
            y.copy_from_slice(&x[0][index(i) * self.row..][..self.row]);
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let dx = dx.zeroed();
        for (dy, &i) in dy.chunks_exact(self.row.max(1)).zip(&x[1]) {
            let dx = &mut dx[index(i) * self.row..][..self.row];
            dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
        }
    }
}

struct CrossEntropy<T> {
    below: usize,
    classes: usize,
    /// softmax(x), kept for the derivative.
    probabilities: Buffer<T>,
}

impl<T: Real> Op<T> for CrossEntropy<T> {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (x, labels) = (inputs[0], inputs[1]);
        let (&classes, before) = x.split_last().ok_or("a scalar has no axis of classes")?;
        if *labels != *before {
            return Err("expected logits [.., classes] and a label for each row".to_owned());
        }
        check(self.below, classes)?;
        self.classes = classes;
        self.probabilities = zeros(x.elements());
        Ok(labels)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let classes = self.classes;
        softmax(classes, &x[0], &mut self.probabilities, |n, (max, rest)| {
            // As softmax_cross_entropy: small losses are not rounded away.
            y[n] = rest - (x[0][n * classes + index(x[1][n])] - max);
        });
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let rows = dx.zeroed().chunks_exact_mut(self.classes);
        let rows = rows.zip(self.probabilities.chunks_exact(self.classes));
        for (n, (dx, p)) in rows.enumerate() {
            dx.iter_mut().zip(p).for_each(|(dx, &p)| *dx += dy[n] * p);
            dx[index(x[1][n])] -= dy[n];
        }
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// The rows of this table, \[rows, ..\], that the indices name, in their order: an
    /// embedding. The shape is that of the indices, then that of a row.
    #[track_caller]
    pub fn gather(self, indices: Indices<'g, T>) -> Self {
        let Indices { var, below } = indices;
        self.graph().apply(Gather { below, row: 0 }, &[self, var])
    }

    /// −ln softmax(x) of the label of each row, in nats, for logits x: \[.., classes\] and
    /// labels \[..\]: one loss for each, to be masked, summed or averaged.
    #[track_caller]
    pub fn cross_entropy(self, labels: Indices<'g, T>) -> Self {
        let Indices { var, below } = labels;
        let op = CrossEntropy {
            below,
            classes: 0,
            probabilities: zeros(0),
        };
        self.graph().apply(op, &[self, var])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, error_of, numbers};
    use crate::{Error, Gradcheck, Params, record};

    /// Checks values and gradient of both with these indices.
    #[test]
    fn rows_and_losses() {
        let mut params = Params::new();
        let mut data = numbers(12).into_iter();
        let table = params
            .add("table", [4, 3], || data.next().unwrap())
            .unwrap();
        let rows = [2, 0, 2, 1];
        let labels = [0, 2, 1, 1];
        let (mut tape, [i, l, taken, losses, _]) = record(|g| {
            let (i, l) = (g.indices([4], 4), g.indices([4], 3));
            let taken = g.param(table).gather(i);
            let losses = taken.cross_entropy(l);
            Ok([i.var(), l.var(), taken, losses, losses.square().sum()])
        })
        .unwrap();
        tape.set_indices(i, &rows).unwrap();
        tape.set_indices(l, &labels).unwrap();
        let mut grads = vec![777.0; 12];
        let mut pass = tape.forward(&params).unwrap();
        pass.backward(&mut grads).unwrap();
        let row = |r: usize| &params.values()[3 * r..][..3];
        for (n, (&r, &label)) in rows.iter().zip(&labels).enumerate() {
            assert_eq!(&pass.value(taken).unwrap()[3 * n..][..3], row(r));
            let total: f64 = row(r).iter().map(|x| x.exp()).sum();
            let expected = total.ln() - row(r)[label];
            assert_close(
                &pass.value(losses).unwrap()[n..=n],
                &[expected],
                1e-14,
                "loss",
            );
        }
        assert_eq!(grads[9..], [0.0; 3], "a row that nobody took");
        // By hand: Σ over the uses of a row, 2·loss·(softmax − e).
        let losses = pass.value(losses).unwrap().to_vec();
        let mut expected = [0.0; 12];
        for (n, (&r, &label)) in rows.iter().zip(&labels).enumerate() {
            let total: f64 = row(r).iter().map(|x| x.exp()).sum();
            for c in 0..3 {
                let target = f64::from(u8::from(c == label));
                expected[3 * r + c] += 2.0 * losses[n] * (row(r)[c].exp() / total - target);
            }
        }
        assert_close(&grads, &expected, 1e-13, "gradient");
    }

    /// All indices are 0 in a recording of [`Gradcheck`]'s own.
    #[test]
    fn gradients() {
        let mut params = Params::new();
        let mut data = numbers(12).into_iter();
        let x = params.add("x", [4, 3], || data.next().unwrap()).unwrap();
        let check = Gradcheck::default();
        let taken = check.check(&params, |g| g.param(x).gather(g.indices([2, 2], 4)));
        assert_eq!(taken, Ok(()));
        let losses = check.check(&params, |g| g.param(x).cross_entropy(g.indices([4], 3)));
        assert_eq!(losses, Ok(()));
    }

    #[test]
    fn what_is_no_index_is_an_error() {
        let error = error_of(|g| g.input([4, 3]).gather(g.indices([2], 5)));
        assert!(
            error.contains("indices are below 5, but there are 4"),
            "{error}"
        );
        let error = error_of(|g| g.input([4, 3]).cross_entropy(g.indices([3], 3)));
        assert!(error.contains("a label for each row"), "{error}");
        let large = record::<f32, 1>(|g| Ok([g.indices([2], 1 << 25).var()]));
        assert!(large.err().unwrap().to_string().contains("apart only"));
        let (mut tape, [i, _]) = record::<f64, 2>(|g| {
            let i = g.indices([2], 3);
            Ok([i.var(), g.input([3]).gather(i)])
        })
        .unwrap();
        let label = Error::Label {
            classes: 3,
            found: 3,
        };
        assert_eq!(tape.set_indices(i, &[1, 3]), Err(label));
        assert!(tape.set_indices(i, &[1]).is_err());
        assert!(matches!(
            tape.set(i, &[1.0, 2.0]),
            Err(Error::NotAnInput(_))
        ));
    }
}
