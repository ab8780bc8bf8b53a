//! Maps of single elements: y = f(x), so dx += dy · f′(x).

use crate::op::fill;
use crate::{Gradients, Inputs, Op, Real, Shape, Var};
use std::ops::Neg;

/// A differentiable function of one number.
trait Function<T>: Send + 'static {
    const NAME: &'static str;
    fn value(&self, x: T) -> T;
    /// f′(x), given also y = f(x), through which it is often cheaper.
    fn derivative(&self, x: T, y: T) -> T;
}

struct Map<F>(F);

impl<T: Real, F: Function<T>> Op<T> for Map<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        fill(
            y,
            x[0].iter().map(
                #[inline(always)]
                |&x| self.0.value(x),
            ),
        );
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let terms = x[0].iter().zip(y).zip(dy);
        dx.add(terms.map(
            #[inline(always)]
            |((&x, &y), &dy)| dy * self.0.derivative(x, y),
        ));
    }
}

macro_rules! function {
    ($(#[$doc:meta])* $method:ident, $name:ident, |$x:ident| $value:expr, |$dx:ident, $y:ident| $derivative:expr) => {
        struct $name;

        impl<T: Real> Function<T> for $name {
            const NAME: &'static str = stringify!($method);

            #[inline(always)]
            fn value(&self, $x: T) -> T {
                $value
            }

            #[inline(always)]
            #[allow(unused_variables)]
            fn derivative(&self, $dx: T, $y: T) -> T {
                $derivative
            }
        }

        impl<T: Real> Var<'_, T> {
            $(#[$doc])*
            #[track_caller]
            pub fn $method(self) -> Self {
                self.graph().apply(Map($name), &[self])
            }
        }
    };
}

function! {
    /// y = eˣ; y′ = y.
    exp, Exp, |x| x.exp(), |x, y| y
}
function! {
    /// y = ln x; y′ = 1/x.
    ln, Ln, |x| x.ln(), |x, y| x.recip()
}
function! {
    /// y = √x; y′ = 1/(2y).
    sqrt, Sqrt, |x| x.sqrt(), |x, y| (y + y).recip()
}
function! {
    /// y = x²; y′ = 2x.
    square, Square, |x| x * x, |x, y| x + x
}
function! {
    /// y = 1/(1 + e⁻ˣ); y′ = y(1 − y).
    sigmoid, Sigmoid, |x| ((-x).exp() + T::one()).recip(), |x, y| y * (T::one() - y)
}
function! {
    /// y = tanh x; y′ = 1 − y².
    tanh, Tanh, |x| x.tanh(), |x, y| T::one() - y * y
}
function! {
    /// y = max(x, 0); y′ = 1 where x > 0, else 0. NaN stays NaN.
    relu, Relu,
    |x| if x < T::zero() { T::zero() } else { x },
    |x, y| if x > T::zero() { T::one() } else { T::zero() }
}
function! {
    /// y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), which cannot overflow;
    /// y′ = 1/(1 + e⁻ˣ).
    softplus, Softplus,
    |x| x.max(T::zero()) + (-x.abs()).exp().ln_1p(),
    |x, y| ((-x).exp() + T::one()).recip()
}

/// y = a·x + b with constants a and b; y′ = a.
struct Line<T> {
    slope: T,
    intercept: T,
}

impl<T: Real> Function<T> for Line<T> {
    const NAME: &'static str = "scale and shift";

    #[inline(always)]
    fn value(&self, x: T) -> T {
        self.slope * x + self.intercept
    }

    #[inline(always)]
    fn derivative(&self, _: T, _: T) -> T {
        self.slope
    }
}

impl<'g, T: Real> Var<'g, T> {
    #[track_caller]
    fn line(self, slope: T, intercept: T) -> Self {
        self.graph().apply(Map(Line { slope, intercept }), &[self])
    }
}

/// `x ∘ c` and `c ∘ x`, for a constant c, as the line that it is. The second has to
/// name the type: only its own crate may implement an operator for every `T`.
macro_rules! with_constant {
    ($trait:ident, $method:ident, |$x:ident, $c:ident| $right:expr $(, $left:expr)?) => {
        impl<T: Real> std::ops::$trait<T> for Var<'_, T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, $c: T) -> Self {
                let $x = self;
                $right
            }
        }
        $(with_constant! { f32: $trait, $method, |$x, $c| $left })?
        $(with_constant! { f64: $trait, $method, |$x, $c| $left })?
    };
    ($t:ident: $trait:ident, $method:ident, |$x:ident, $c:ident| $left:expr) => {
        impl<'g> std::ops::$trait<Var<'g, $t>> for $t {
            type Output = Var<'g, $t>;
            #[track_caller]
            fn $method(self, $x: Var<'g, $t>) -> Var<'g, $t> {
                let $c = self;
                $left
            }
        }
    };
}

with_constant! { Add, add, |x, c| x.line(T::one(), c), x + c }
with_constant! { Sub, sub, |x, c| x.line(T::one(), -c), x.line(-1.0, c) }
with_constant! { Mul, mul, |x, c| x.line(c, T::zero()), x * c }
with_constant! { Div, div, |x, c| x.line(c.recip(), T::zero()) }

impl<T: Real> Neg for Var<'_, T> {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.line(-T::one(), T::zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradients, evaluate};

    const X: [f64; 5] = [-1.5, -0.25, 0.5, 1.0, 2.0];

    type F = for<'g> fn(Var<'g, f64>) -> Var<'g, f64>;

    #[test]
    fn values() {
        let ln2 = std::f64::consts::LN_2;
        let cases: [(&str, F, f64, f64); 12] = [
            ("exp", |x| x.exp(), ln2, 2.0),
            ("ln", |x| x.ln(), 2.0, ln2),
            ("sqrt", |x| x.sqrt(), 6.25, 2.5),
            ("square", |x| x.square(), -3.0, 9.0),
            ("sigmoid", |x| x.sigmoid(), 3f64.ln(), 0.75),
            ("tanh", |x| x.tanh(), 3f64.ln(), 0.8),
            ("relu", |x| x.relu(), -2.0, 0.0),
            ("relu", |x| x.relu(), 2.0, 2.0),
            ("softplus", |x| x.softplus(), 0.0, ln2),
            ("scale", |x| -(x * 3.0 + 1.0), 2.0, -7.0),
            ("subtract", |x| 1.0 - (x - 5.0), 2.0, 4.0),
            ("from the left", |x| 0.5 + 3.0 * (x / 4.0), 2.0, 2.0),
        ];
        for (name, f, x, expected) in cases {
            assert_close(
                &evaluate(&[(&[1], &[x])], |v| f(v[0])),
                &[expected],
                1e-15,
                name,
            );
        }
    }

    #[test]
    fn gradients() {
        let everywhere: [F; 8] = [
            |x| x.exp(),
            |x| x.square(),
            |x| x.sigmoid(),
            |x| x.tanh(),
            |x| x.relu(),
            |x| x.softplus(),
            |x| x * -2.5 + 1.0,
            |x| x * x.sigmoid() + x,
        ];
        for f in everywhere {
            assert_gradients(&[(&[5], &X)], |v| f(v[0]));
        }
        let positive: [F; 2] = [|x| x.ln(), |x| x.sqrt()];
        for f in positive {
            assert_gradients(&[(&[3], &[0.1, 1.0, 3.0])], |v| f(v[0]));
        }
    }

    #[test]
    fn extreme_arguments_stay_finite() {
        let at = |f: F, x| evaluate(&[(&[1], &[x])], |v| f(v[0]))[0];
        assert_eq!(at(|x| x.sigmoid(), -1e4), 0.0);
        assert_eq!(at(|x| x.sigmoid(), 1e4), 1.0);
        assert_eq!(at(|x| x.softplus(), 1e4), 1e4);
        assert_eq!(at(|x| x.softplus(), -1e4), 0.0);
        assert!(at(|x| x.relu(), f64::NAN).is_nan());
    }
}
