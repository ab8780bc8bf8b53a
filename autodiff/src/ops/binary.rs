//! Elementwise operations on two operands that broadcast to one shape.
//!
//! y = f(a, b), so da += dy · ∂f/∂a, summed over the axes that `a` was stretched
//! along, and likewise for b.

use crate::kernels::strided::{Walk, broadcast, broadcast_gradient, exceeds, stretched_strides};
use crate::shape;
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

/// A differentiable function of two numbers.
trait Function<T>: Send + 'static {
    const NAME: &'static str;
    fn value(a: T, b: T) -> T;
    /// ∂f/∂a
    fn by_a(a: T, b: T) -> T;
    /// ∂f/∂b
    fn by_b(a: T, b: T) -> T;
}

struct Broadcast<F> {
    // Operands: y, a, b.
    walk: Walk<3>,
    function: std::marker::PhantomData<F>,
}

impl<T: Real, F: Function<T>> Op<T> for Broadcast<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (a, b) = (inputs[0], inputs[1]);
        let y = shape::broadcast(a, b).ok_or("the shapes do not broadcast")?;
        self.walk = Walk::new(
            y,
            [
                y.strides(),
                stretched_strides(a, y),
                stretched_strides(b, y),
            ],
        );
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        broadcast(&self.walk, [&x[0], &x[1]], y, F::value);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let operands = (&x[0], &x[1]);
        if let Some(da) = dx.of(0) {
            broadcast_gradient(&self.walk, 1, da.parts(), dy, operands, F::by_a);
        }
        if let Some(db) = dx.of(1) {
            broadcast_gradient(&self.walk, 2, db.parts(), dy, operands, F::by_b);
        }
    }
}

impl<'g, T: Real> Var<'g, T> {
    #[track_caller]
    fn with<F: Function<T>>(self, _: F, other: Self) -> Self {
        let op = Broadcast::<F> {
            walk: Walk::default(),
            function: std::marker::PhantomData,
        };
        self.graph().apply(op, &[self, other])
    }

    /// The larger of a and b, broadcast; the gradient goes to the larger, at a tie to a. A NaN
    /// is larger than any number.
    #[track_caller]
    pub fn maximum(self, other: Self) -> Self {
        self.with(Maximum, other)
    }

    /// The smaller of a and b, broadcast; the gradient goes to the smaller, at a tie to a. A NaN
    /// is smaller than any number.
    #[track_caller]
    pub fn minimum(self, other: Self) -> Self {
        self.with(Minimum, other)
    }

    /// 1 where a < b, else 0, broadcast. Not differentiated.
    #[track_caller]
    pub fn less(self, other: Self) -> Self {
        self.with(Less, other).stop_gradient()
    }
}

macro_rules! function {
    ($trait:ident, |$a:ident, $b:ident| $text:literal, $value:expr, $by_a:expr, $by_b:expr) => {
        struct $trait;

        #[allow(unused_variables)]
        impl<T: Real> Function<T> for $trait {
            const NAME: &'static str = $text;
            fn value($a: T, $b: T) -> T {
                $value
            }
            fn by_a($a: T, $b: T) -> T {
                $by_a
            }
            fn by_b($a: T, $b: T) -> T {
                $by_b
            }
        }
    };
    ($(#[$doc:meta])* $trait:ident, $method:ident, |$a:ident, $b:ident| $value:expr, $by_a:expr, $by_b:expr) => {
        struct $trait;

        #[allow(unused_variables)]
        impl<T: Real> Function<T> for $trait {
            const NAME: &'static str = stringify!($method);
            fn value($a: T, $b: T) -> T {
                $value
            }
            fn by_a($a: T, $b: T) -> T {
                $by_a
            }
            fn by_b($a: T, $b: T) -> T {
                $by_b
            }
        }

        $(#[$doc])*
        impl<T: Real> std::ops::$trait for Var<'_, T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, other: Self) -> Self {
                self.with($trait, other)
            }
        }
    };
}

function! {
    /// y = a + b, broadcast; ∂y/∂a = ∂y/∂b = 1.
    Add, add, |a, b| a + b, T::one(), T::one()
}
function! {
    /// y = a − b, broadcast; ∂y/∂a = 1, ∂y/∂b = −1.
    Sub, sub, |a, b| a - b, T::one(), -T::one()
}
function! {
    /// y = a·b elementwise, broadcast; ∂y/∂a = b, ∂y/∂b = a.
    Mul, mul, |a, b| a * b, b, a
}
function! {
    /// y = a/b elementwise, broadcast; ∂y/∂a = 1/b, ∂y/∂b = −(a/b)/b, which is there where b² is not.
    Div, div, |a, b| a / b, b.recip(), -(a / b) / b
}

/// 1 or 0.
fn indicator<T: Real>(holds: bool) -> T {
    if holds { T::one() } else { T::zero() }
}

// y = max(a, b); ∂y/∂a = 1 where a is chosen and 0 elsewhere, ∂y/∂b = 1 − ∂y/∂a.
function! { Maximum, |a, b| "maximum", if exceeds(b, a) { b } else { a }, indicator(!exceeds(b, a)), indicator(exceeds(b, a)) }
// y = min(a, b), in the same way.
function! { Minimum, |a, b| "minimum", if exceeds(-b, -a) { b } else { a }, indicator(!exceeds(-b, -a)), indicator(exceeds(-b, -a)) }
// y = 1 where a < b and 0 elsewhere, which is constant but for a jump.
function! { Less, |a, b| "less", indicator(a < b), T::zero(), T::zero() }

#[cfg(test)]
mod tests {
    use crate::Var;
    use crate::testing::{
        Operand, assert_close, assert_gradients, evaluate, numbers, value_and_gradient,
    };

    const A: (&[usize], &[f64]) = (&[2, 3], &[1.0, -2.0, 3.0, 0.5, 4.0, -1.0]);
    const ROW: (&[usize], &[f64]) = (&[3], &[2.0, 4.0, -8.0]);
    const COLUMN: (&[usize], &[f64]) = (&[2, 1], &[2.0, -0.5]);

    type F = for<'g> fn(Var<'g, f64>, Var<'g, f64>) -> Var<'g, f64>;

    #[test]
    fn values() {
        let sum = evaluate(&[A, ROW], |v| v[0] + v[1]);
        assert_close(&sum, &[3.0, 2.0, -5.0, 2.5, 8.0, -9.0], 0.0, "a + row");
        let difference = evaluate(&[COLUMN, A], |v| v[0] - v[1]);
        assert_close(
            &difference,
            &[1.0, 4.0, -1.0, -1.0, -4.5, 0.5],
            0.0,
            "column - a",
        );
        let product = evaluate(&[COLUMN, ROW], |v| v[0] * v[1]);
        assert_close(
            &product,
            &[4.0, 8.0, -16.0, -1.0, -2.0, 4.0],
            0.0,
            "column * row",
        );
        let largest = evaluate(&[A, ROW], |v| v[0].maximum(v[1]));
        assert_eq!(largest, [2.0, 4.0, 3.0, 2.0, 4.0, -1.0]);
        let smallest = evaluate(&[A, ROW], |v| v[0].minimum(v[1]));
        assert_eq!(smallest, [1.0, -2.0, -8.0, 0.5, 4.0, -8.0]);
        let quotient = evaluate(&[A, ROW], |v| v[0] / v[1]);
        assert_close(
            &quotient,
            &[0.5, -0.5, -0.375, 0.25, 1.0, 0.125],
            0.0,
            "a / row",
        );
    }

    #[test]
    fn gradients() {
        let scalar: (&[usize], &[f64]) = (&[], &[1.5]);
        let cube: (&[usize], &[f64]) = (&[2, 1, 3], &[0.3, -0.7, 1.1, 2.0, 0.9, -1.3]);
        for (a, b) in [
            (A, A),
            (A, ROW),
            (ROW, A),
            (COLUMN, ROW),
            (A, scalar),
            (scalar, ROW),
            (cube, A),
        ] {
            assert_gradients(&[a, b], |v| v[0] + v[1]);
            assert_gradients(&[a, b], |v| v[0] - v[1]);
            assert_gradients(&[a, b], |v| v[0] * v[1]);
            assert_gradients(&[a, b], |v| v[0] / v[1]);
            assert_gradients(&[a, b], |v| v[0].maximum(v[1] * 0.37 + 0.01));
            assert_gradients(&[a, b], |v| v[0].minimum(v[1] * 0.37 + 0.01));
        }
        let less = evaluate(&[A, ROW], |v| v[0].less(v[1]));
        assert_eq!(less, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_nan_on_either_side_is_chosen_and_gets_the_gradient() {
        let nan = f64::NAN;
        let (a, b) = ([1.0, nan, nan, 2.0], [nan, 1.0, nan, 2.0]);
        let operands: [Operand; 2] = [(&[4], &a), (&[4], &b)];
        let functions: [F; 2] = [|a, b| a.maximum(b), |a, b| a.minimum(b)];
        for f in functions {
            let y = evaluate(&operands, |v| f(v[0], v[1]));
            assert!(y[..3].iter().all(|y| y.is_nan()) && y[3] == 2.0, "{y:?}");
            let (_, gradient) = value_and_gradient(&operands, |v| f(v[0], v[1]).sum());
            assert_eq!(gradient, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn the_square_of_a_divisor_may_underflow() {
        let operands: [Operand; 2] = [(&[1], &[1e-220]), (&[1], &[1e-200])];
        let (_, gradient) = value_and_gradient(&operands, |v| (v[0] / v[1]).sum());
        let relative = [gradient[0] / 1e200, gradient[1] / -1e180];
        assert_close(&relative, &[1.0, 1.0], 1e-15, "by a and by b");
        let (_, gradient) = value_and_gradient(&operands[1..], |v| (1e-220 / v[0]).sum());
        assert_close(&[gradient[0] / -1e180], &[1.0], 1e-15, "constant / x");
    }

    #[test]
    fn long_rows_are_summed_whole() {
        let (x, scalar) = (numbers(150), (&[][..], &[1.5][..]));
        assert_gradients(&[(&[150], &x), scalar], |v| v[0] * v[1]);
        assert_gradients(&[(&[2, 75], &x), (&[2, 1], &[0.5, 2.0])], |v| v[0] / v[1]);
    }

    #[test]
    fn an_operand_used_twice_gets_both_gradients() {
        assert_gradients(&[A], |v| v[0] * v[0] / (v[0] + v[0] * v[0] + 10.0));
    }
}
