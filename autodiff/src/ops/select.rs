//! Elements of one operand or the other, as a mask says, and maxima.
//!
//! y = a where the mask is not 0, else b: da += dy there, db += dy elsewhere. The maximum
//! over the last axis is the element that is larger than all before it: dx += dy there.

use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct Select;

impl<T: Real> Op<T> for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        if inputs[0] != inputs[1] || inputs[1] != inputs[2] {
            return Err("the mask and both operands must have one shape".to_owned());
        }
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let operands = x[0].iter().zip(&x[1]).zip(&x[2]);
        for (y, ((mask, &a), &b)) in y.iter_mut().zip(operands) {
            *y = if mask.is_zero() { b } else { a };
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let masked = |of_a: bool| {
            let terms = x[0].iter().zip(dy);
            terms.map(move |(mask, &dy)| {
                if mask.is_zero() != of_a {
                    dy
                } else {
                    T::zero()
                }
            })
        };
        if let Some(da) = dx.of(1) {
            da.add(masked(true));
        }
        if let Some(db) = dx.of(2) {
            db.add(masked(false));
        }
        // The mask has no derivative: a gradient that is not taken has got no term.
    }
}

struct Max {
    extent: usize,
    /// By element of y: which of the axis it is.
    argmax: Vec<usize>,
}

impl<T: Real> Op<T> for Max {
    fn name(&self) -> &'static str {
        "max"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (&extent, before) = inputs[0].split_last().ok_or("a scalar has no axis")?;
        if extent == 0 {
            return Err("the last axis is empty".to_owned());
        }
        self.extent = extent;
        self.argmax = vec![0; before.iter().product()];
        Ok(Shape::new(before).expect("fewer axes than x"))
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let rows = x[0].chunks_exact(self.extent);
        for ((y, argmax), row) in y.iter_mut().zip(&mut self.argmax).zip(rows) {
            *argmax = first_largest(row);
            *y = row[*argmax];
        }
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let rows = dx.zeroed().chunks_exact_mut(self.extent);
        for ((dx, &argmax), &dy) in rows.zip(&self.argmax).zip(dy) {
            dx[argmax] += dy;
        }
    }
}

/// Index of the largest element, the first of equals; of the first NaN if there is one.
pub(crate) fn first_largest<T: Real>(row: &[T]) -> usize {
    let larger =
        |best: usize, i: usize| row[i] > row[best] || (row[i].is_nan() && !row[best].is_nan());
    (0..row.len()).fold(0, |best, i| if larger(best, i) { i } else { best })
}

impl<T: Real> Var<'_, T> {
    /// `a` where this mask is not 0, else `b`; all of one shape. What is not chosen does not
    /// matter, be it NaN. [`less`](Var::less) makes masks.
    #[track_caller]
    pub fn select(self, a: Self, b: Self) -> Self {
        self.graph().apply(Select, &[self, a, b])
    }

    /// The largest element along the last axis, which disappears; its gradient goes to the
    /// first of equals. `-(-x).max()` is the smallest.
    #[track_caller]
    pub fn max(self) -> Self {
        let op = Max {
            extent: 0,
            argmax: Vec::new(),
        };
        self.graph().apply(op, &[self])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_gradients, evaluate, numbers, value_and_gradient};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 3], &[1.0, 5.0, 5.0, -1.0, f64::NAN, 7.0]);
        let y = evaluate(&[x], |v| v[0].max());
        assert!(y[0] == 5.0 && y[1].is_nan(), "{y:?}");
        let (_, gradient) = value_and_gradient(&[x], |v| v[0].max().sum());
        assert_eq!(gradient, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn what_is_not_chosen_does_not_matter() {
        let x: (&[usize], &[f64]) = (&[2], &[-1.0, 4.0]);
        let (value, gradient) = value_and_gradient(&[x], |v| {
            let zero = v[0] * 0.0;
            v[0].less(zero).select(zero, v[0].sqrt()).sum()
        });
        assert_eq!(value, 2.0);
        assert_eq!(gradient[1], 0.25);
    }

    #[test]
    fn gradients() {
        let (x, y) = (numbers(24), numbers(48).split_off(24));
        assert_gradients(&[(&[2, 3, 4], &x)], |v| v[0].max());
        assert_gradients(&[(&[4, 6], &x), (&[4, 6], &y)], |v| {
            v[0].less(v[1]).select(v[0] * v[1], v[1].exp())
        });
    }
}
