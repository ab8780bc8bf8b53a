//! A range of some axes: y = x[from..to, ..].
//!
//! dx += dy inside the ranges, nothing outside.

use crate::kernels::strided::{Walk, gather, scatter_add};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};
use std::ops::Range;

struct Slice {
    /// (axis, range); axes that are not named are whole.
    ranges: Vec<(usize, Range<usize>)>,
    // Operands: x, y.
    walk: Walk<2>,
    /// Where in x the walk starts.
    start: usize,
}

impl<T: Real> Op<T> for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (x, mut y) = (inputs[0], inputs[0]);
        let strides = x.strides();
        for (axis, Range { start, end }) in self.ranges.iter().cloned() {
            let extent = *x.get(axis).ok_or(format!("there is no axis {axis}"))?;
            if start > end || end > extent {
                return Err(format!(
                    "{start}..{end} is not inside 0..{extent} of axis {axis}"
                ));
            }
            y = y.with(axis, end - start);
            self.start += start * strides[axis];
        }
        self.walk = Walk::new(y, [strides, y.strides()]);
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        gather(&self.walk, &x[0][self.start.min(x[0].len())..], y);
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let dx = dx.zeroed();
        let start = self.start.min(dx.len());
        scatter_add(&self.walk, dy, &mut dx[start..]);
    }
}

impl<T: Real> Var<'_, T> {
    /// The part of `axis` in `range`; the other axes whole.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        self.sliced(vec![(axis, range)])
    }

    /// The part of the first axes in these ranges, one for each; the axes after them whole:
    /// `x.slices(&[0..2, 1..3])` is x\[0..2, 1..3, ..\].
    #[track_caller]
    pub fn slices(self, ranges: &[Range<usize>]) -> Self {
        self.sliced(ranges.iter().cloned().enumerate().collect())
    }

    #[track_caller]
    fn sliced(self, ranges: Vec<(usize, Range<usize>)>) -> Self {
        let op = Slice {
            ranges,
            walk: Walk::default(),
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
        assert_eq!(evaluate(&[x], |v| v[0].slices(&[1..2, 0..2])), [4.0, 5.0]);
        assert_eq!(evaluate(&[x], |v| v[0].slices(&[])), x.1);
        assert!(evaluate(&[x], |v| v[0].slices(&[2..2, 3..3])).is_empty());
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

    /// Several axes at once are one axis after the other.
    #[test]
    fn several_axes() {
        let x = numbers(60);
        let x: (&[usize], &[f64]) = (&[2, 3, 5, 2], &x);
        for ranges in [[1..2, 0..2, 1..4], [0..2, 1..3, 4..5], [0..2, 0..3, 2..4]] {
            let [a, b, c] = ranges.clone();
            let at_once = evaluate(&[x], |v| v[0].slices(&ranges));
            let in_turn = evaluate(&[x], |v| {
                v[0].slice(0, a.clone())
                    .slice(1, b.clone())
                    .slice(2, c.clone())
            });
            assert_eq!(at_once, in_turn);
            assert_gradients(&[x], |v| v[0].slices(&ranges));
        }
    }

    #[test]
    fn out_of_range_is_an_error() {
        for (axis, range) in [(0, 1..3), (2, 0..1)] {
            let error = error_of(|g| g.input([2, 3]).slice(axis, range));
            assert!(error.starts_with("slice of [2, 3]"), "{error}");
        }
        let error = error_of(|g| g.input([2, 3]).slices(&[0..2, 2..4]));
        assert!(
            error.contains("2..4 is not inside 0..3 of axis 1"),
            "{error}"
        );
        let error = error_of(|g| g.input([2, 3]).slices(&[0..2, 2..3, 0..1]));
        assert!(error.contains("there is no axis 2"), "{error}");
    }
}
