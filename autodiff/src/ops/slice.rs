//! A range of one axis: y = x[.., from..to, ..].
//!
//! dx += dy inside the range, nothing outside.

use std::ops::Range;

use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct Slice {
    axis: usize,
    range: Range<usize>,
    /// Elements of x and of y for one step along the axes before `axis`.
    block_x: usize,
    block_y: usize,
    /// Where y's block starts in x's.
    start: usize,
}

impl<T: Real> Op<T> for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[0];
        let extent = *x
            .get(self.axis)
            .ok_or(format!("there is no axis {}", self.axis))?;
        let Range { start, end } = self.range;
        if start > end || end > extent {
            return Err(format!(
                "{start}..{end} is not inside 0..{extent} of axis {}",
                self.axis
            ));
        }
        let inner: usize = x[self.axis + 1..].iter().product();
        self.block_x = extent * inner;
        self.block_y = (end - start) * inner;
        self.start = start * inner;
        Ok(x.with(self.axis, end - start))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        if y.is_empty() {
            return;
        }
        let blocks = x[0]
            .chunks_exact(self.block_x)
            .zip(y.chunks_exact_mut(self.block_y));
        for (x, y) in blocks {
            y.copy_from_slice(&x[self.start..][..self.block_y]);
        }
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let dx = dx.zeroed();
        if dy.is_empty() {
            return;
        }
        let blocks = dx
            .chunks_exact_mut(self.block_x)
            .zip(dy.chunks_exact(self.block_y));
        for (dx, dy) in blocks {
            dx[self.start..]
                .iter_mut()
                .zip(dy)
                .for_each(|(dx, &dy)| *dx += dy);
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// The part of `axis` in `range`; the other axes whole.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        let op = Slice {
            axis,
            range,
            block_x: 0,
            block_y: 0,
            start: 0,
        };
        self.graph().apply(op, &[self])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let columns = evaluate(&[x], |v| v[0].slice(1, 1..3));
        assert_close(&columns, &[2.0, 3.0, 5.0, 6.0], 0.0, "columns");
        assert_close(
            &evaluate(&[x], |v| v[0].slice(0, 1..2)),
            &[4.0, 5.0, 6.0],
            0.0,
            "row",
        );
    }

    #[test]
    fn gradients() {
        let x = numbers(30);
        for (axis, range) in [(0, 1..2), (1, 0..2), (1, 2..3), (2, 1..4), (2, 0..5)] {
            assert_gradients(&[(&[2, 3, 5], &x)], |v| v[0].slice(axis, range.clone()));
        }
        assert_gradients(&[(&[2, 15], &x)], |v| {
            v[0].slice(1, 0..9) * v[0].slice(1, 6..15)
        });
    }

    #[test]
    fn out_of_range_is_an_error() {
        for (axis, range) in [(0, 1..3), (2, 0..1)] {
            let error = error_of(|g| g.input([2, 3]).slice(axis, range));
            assert!(error.starts_with("slice of [2, 3]"), "{error}");
        }
    }
}
