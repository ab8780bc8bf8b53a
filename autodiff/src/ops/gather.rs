//! Rows of a table by their indices.
//!
//! yₙ = table[iₙ]: dtable[iₙ] += dyₙ.

use crate::{Gradients, Indices, Inputs, Op, Real, Shape, Var};

/// The integer that [`Tape::set_indices`](crate::Tape::set_indices) wrote.
pub(super) fn index<T: Real>(element: T) -> usize {
    element.in_f64() as usize
}

/// What is wrong with indices below `below` into `rows` rows.
pub(super) fn check(below: usize, rows: usize) -> Result<(), String> {
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

impl<'g, T: Real> Var<'g, T> {
    /// The rows of this table, \[rows, ..\], that the indices name, in their order: an
    /// embedding. The shape is that of the indices, then that of a row.
    #[track_caller]
    pub fn gather(self, indices: Indices<'g, T>) -> Self {
        let Indices { var, below } = indices;
        self.graph().apply(Gather { below, row: 0 }, &[self, var])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, numbers};
    use crate::{Error, Params, record};

    #[test]
    fn rows() {
        let mut params = Params::new();
        let mut data = numbers(12).into_iter();
        let table = params
            .add("table", [4, 3], || data.next().unwrap())
            .unwrap();
        let (mut tape, [i, taken, _]) = record(|g| {
            let i = g.indices([4], 4);
            let taken = g.param(table).gather(i);
            Ok([i.var(), taken, taken.square().sum()])
        })
        .unwrap();
        tape.set_indices(i, &[2, 0, 2, 1]).unwrap();
        let mut grads = vec![777.0; 12];
        let mut pass = tape.forward(&params).unwrap();
        pass.backward(&mut grads).unwrap();
        let rows: Vec<&[f64]> = params.values().chunks_exact(3).collect();
        let expected = [rows[2], rows[0], rows[2], rows[1]].concat();
        assert_eq!(pass.value(taken).unwrap(), expected);
        for (r, times) in [1.0, 1.0, 2.0, 0.0].into_iter().enumerate() {
            let expected: Vec<f64> = rows[r].iter().map(|x| times * 2.0 * x).collect();
            assert_close(&grads[3 * r..][..3], &expected, 1e-15, "gradient");
        }
    }

    /// All indices are 0 in a recording of [`gradcheck`](crate::gradcheck)'s own.
    #[test]
    fn gradients() {
        assert_gradients(&[(&[4, 3], &numbers(12))], |v| {
            v[0].gather(v[0].graph().indices([2, 2], 4))
        });
    }

    #[test]
    fn what_is_no_index_is_an_error() {
        let error = error_of(|g| g.input([4, 3]).gather(g.indices([2], 5)));
        assert!(
            error.contains("indices are below 5, but there are 4"),
            "{error}"
        );
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
