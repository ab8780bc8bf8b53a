//! Maxima and minima over any axes.
//!
//! y = x at the first of the largest, or of the smallest; dx += dy there.

use super::reduce::reduced;
use crate::kernels::strided::{Walk, exceeds, extremes};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct Extreme {
    name: &'static str,
    axes: Vec<usize>,
    keep: bool,
    smallest: bool,
    // Operands: x, y.
    walk: Walk<2>,
    /// By element of y: the index in x of the element that it is.
    places: Vec<usize>,
}

impl<T: Real> Op<T> for Extreme {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (walk, count, y) = reduced(inputs[0], &self.axes, self.keep)?;
        if count == 0 {
            return Err("there is no largest or smallest of nothing".to_owned());
        }
        self.walk = walk;
        self.places = vec![0; y.elements()];
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let x = &x[0];
        match self.smallest {
            false => extremes(&self.walk, x, &mut self.places, exceeds),
            true => extremes(&self.walk, x, &mut self.places, |a: T, b| exceeds(-a, -b)),
        }
        let pairs = y.iter_mut().zip(&self.places);
        pairs.for_each(|(y, &place)| *y = x[place]);
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let dx = dx.zeroed();
        let pairs = dy.iter().zip(&self.places);
        pairs.for_each(|(&dy, &place)| dx[place] += dy);
    }
}

macro_rules! extreme {
    ($($(#[$doc:meta])* $name:ident, smallest: $smallest:literal, keep: $keep:literal;)*) => {
        impl<T: Real> Var<'_, T> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, axes: &[usize]) -> Self {
                self.extreme(stringify!($name), axes, $smallest, $keep)
            }
        )*}
    };
}

extreme! {
    /// The largest over these axes, which disappear; its gradient goes to the first of equals.
    /// A NaN is larger than any number.
    max_over, smallest: false, keep: false;
    /// As [`max_over`](Var::max_over); each axis stays with extent 1, so that the result
    /// broadcasts against the operand.
    max_keep, smallest: false, keep: true;
    /// The smallest over these axes, which disappear; its gradient goes to the first of equals.
    /// A NaN is smaller than any number.
    min_over, smallest: true, keep: false;
    /// As [`min_over`](Var::min_over); each axis stays with extent 1.
    min_keep, smallest: true, keep: true;
}

impl<T: Real> Var<'_, T> {
    #[track_caller]
    fn extreme(self, name: &'static str, axes: &[usize], smallest: bool, keep: bool) -> Self {
        let op = Extreme {
            name,
            axes: axes.to_vec(),
            keep,
            smallest,
            walk: Walk::default(),
            places: Vec::new(),
        };
        self.graph().apply(op, &[self])
    }

    /// The largest of all elements, a scalar, as [`max_over`](Var::max_over).
    #[track_caller]
    pub fn max(self) -> Self {
        self.extreme("max", &self.all_axes(), false, false)
    }

    /// The smallest of all elements, a scalar, as [`min_over`](Var::min_over).
    #[track_caller]
    pub fn min(self) -> Self {
        self.extreme("min", &self.all_axes(), true, false)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_gradients, error_of, evaluate, numbers, value_and_gradient};

    const NAN: f64 = f64::NAN;

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 3], &[1.0, 5.0, 5.0, -1.0, -7.0, 2.0]);
        assert_eq!(evaluate(&[x], |v| v[0].max()), [5.0]);
        assert_eq!(evaluate(&[x], |v| v[0].min()), [-7.0]);
        assert_eq!(evaluate(&[x], |v| v[0].max_over(&[0])), [1.0, 5.0, 5.0]);
        assert_eq!(evaluate(&[x], |v| v[0].min_over(&[1])), [1.0, -7.0]);
        assert_eq!(evaluate(&[x], |v| v[0].max_over(&[])), x.1);
        let (_, gradient) = value_and_gradient(&[x], |v| v[0].max_over(&[1]).sum());
        assert_eq!(
            gradient,
            [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            "the first of equals"
        );
        let at: (&[usize], &[f64]) = (&[4], &[1.0, NAN, 7.0, NAN]);
        for of_nan in [
            value_and_gradient(&[at], |v| v[0].max()),
            value_and_gradient(&[at], |v| v[0].min()),
        ] {
            assert!(of_nan.0.is_nan());
            assert_eq!(of_nan.1, [0.0, 1.0, 0.0, 0.0], "the first NaN");
        }
    }

    #[test]
    fn gradients_over_any_axes() {
        let x = numbers(24);
        let all: [&[usize]; 8] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[2, 1], &[0, 1, 2]];
        for axes in all {
            assert_gradients(&[(&[2, 3, 4], &x)], |v| v[0].max_over(axes));
            assert_gradients(&[(&[2, 3, 4], &x)], |v| v[0] - v[0].min_keep(axes));
            let smallest = evaluate(&[(&[2, 3, 4], &x)], |v| v[0].min_over(axes));
            let largest = evaluate(&[(&[2, 3, 4], &x)], |v| -(-v[0]).max_keep(axes));
            assert_eq!(smallest, largest, "{axes:?}");
        }
    }

    #[test]
    fn there_is_no_largest_of_nothing() {
        let error = error_of(|g| g.input([0, 3]).max_over(&[0]));
        assert!(error.contains("of nothing"), "{error}");
        let none = evaluate(&[(&[0, 3], &[])], |v| v[0].max_over(&[1]));
        assert!(none.is_empty());
        let error = error_of(|g| g.input([2, 3]).min_over(&[2]));
        assert!(
            error.starts_with("min_over of [2, 3]: there is no axis 2"),
            "{error}"
        );
    }
}
