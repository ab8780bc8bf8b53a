//! Elements of one operand or the other, as a mask says.
//!
//! y = a where the mask is not 0, else b: da += dy there, db += dy elsewhere.

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

impl<T: Real> Var<'_, T> {
    /// `a` where this mask is not 0, else `b`; all of one shape. [`less`](Var::less) makes masks.
    ///
    /// What is not chosen does not matter to the value, be it NaN. It does to the gradient: its
    /// dy of 0 times a derivative that is NaN or infinite is NaN. Replace the operand of such an
    /// operation by a harmless one before it, not its result after it.
    #[track_caller]
    pub fn select(self, a: Self, b: Self) -> Self {
        self.graph().apply(Select, &[self, a, b])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_gradients, numbers, value_and_gradient};

    #[test]
    fn what_is_not_chosen_does_not_matter_to_the_value() {
        let x: (&[usize], &[f64]) = (&[2], &[-1.0, 4.0]);
        let roots = |harmless: bool| {
            value_and_gradient(&[x], |v| {
                let zero = v[0] * 0.0;
                let negative = v[0].less(zero);
                let operand = if harmless {
                    negative.select(zero + 1.0, v[0])
                } else {
                    v[0]
                };
                negative.select(zero, operand.sqrt()).sum()
            })
        };
        assert_eq!(roots(true), (2.0, vec![0.0, 0.25]));
        let (value, gradient) = roots(false);
        assert_eq!((value, gradient[1]), (2.0, 0.25));
        assert!(gradient[0].is_nan(), "0 · NaN");
    }

    #[test]
    fn gradients() {
        let (x, y) = (numbers(24), numbers(48).split_off(24));
        assert_gradients(&[(&[4, 6], &x), (&[4, 6], &y)], |v| {
            v[0].less(v[1]).select(v[0] * v[1], v[1].exp())
        });
    }
}
