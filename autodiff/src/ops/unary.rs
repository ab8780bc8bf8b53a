//! Maps of single elements: y = f(x), so dx += dy · f′(x).

use crate::kernels;
use crate::kernels::fill;
use crate::parallel::in_parts;
use crate::{Gradients, Inputs, Op, Real, Shape, Var};
use std::ops::Neg;

/// A differentiable function of one number.
trait Function<T>: Send + Sync + 'static {
    const NAME: &'static str;
    /// What is wrong with the function's constants.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
    /// y = f(x), element by element.
    fn values(&self, x: &[T], y: &mut [T]);
    /// f′(x), given also y = f(x), through which it is often cheaper.
    fn derivative(&self, x: T, y: T) -> T;
    /// dy · f′(x).
    fn chain(&self, x: T, y: T, dy: T) -> T
    where
        T: Real,
    {
        dy * self.derivative(x, y)
    }
}

struct Map<F>(F);

impl<T: Real, F: Function<T>> Op<T> for Map<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        self.0.check()?;
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let (f, x) = (&self.0, &x[0]);
        in_parts(y, |at, y| f.values(&x[at], y));
    }

    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let (f, x) = (&self.0, &x[0]);
        let (dx, term) = dx.parts();
        in_parts(dx, |at, dx| {
            let terms = x[at.clone()].iter().zip(&y[at.clone()]).zip(&dy[at]);
            term.write(dx, terms.map(|((&x, &y), &dy)| f.chain(x, y, dy)));
        });
    }
}

/// y = f(x) by a loop over f.
fn each<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    fill(y, x.iter().map(move |&x| f(x)));
}

/// Functions without constants, their values either `each` by an expression or `all` by
/// a function of slices.
macro_rules! function {
    ($(#[$doc:meta])* $method:ident, $name:ident, each |$x:ident| $value:expr, |$dx:ident, $y:ident| $derivative:expr) => {
        function! {
            $(#[$doc])* $method, $name,
            all |x, y| each(
                x,
                y,
                |$x| $value,
            ),
            |$dx, $y| $derivative
        }
    };
    ($(#[$doc:meta])* $method:ident, $name:ident, all |$xs:ident, $ys:ident| $values:expr, |$dx:ident, $y:ident| $derivative:expr) => {
        struct $name;

        impl<T: Real> Function<T> for $name {
            const NAME: &'static str = stringify!($method);

            fn values(&self, $xs: &[T], $ys: &mut [T]) {
                $values
            }

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
    exp, Exp, all |x, y| kernels::exp(x, y), |x, y| y
}
function! {
    /// y = ln x; y′ = 1/x.
    ln, Ln, each |x| x.ln(), |x, y| x.recip()
}
function! {
    /// y = √x; y′ = 1/(2y).
    sqrt, Sqrt, each |x| x.sqrt(), |x, y| (y + y).recip()
}
function! {
    /// y = x²; y′ = 2x.
    square, Square, each |x| x * x, |x, y| x + x
}
function! {
    /// y = 1/(1 + e⁻ˣ); y′ = y(1 − y).
    sigmoid, Sigmoid, all |x, y| kernels::sigmoid(x, y), |x, y| y * (T::one() - y)
}
function! {
    /// y = tanh x; y′ = 1 − y².
    tanh, Tanh, all |x, y| kernels::tanh(x, y), |x, y| T::one() - y * y
}
function! {
    /// y = max(x, 0); y′ = 1 where x > 0, else 0. NaN stays NaN.
    relu, Relu,
    each |x| if x < T::zero() { T::zero() } else { x },
    |x, y| if x > T::zero() { T::one() } else { T::zero() }
}

function! {
    /// y = |x|; y′ = sign x, 0 at 0.
    abs, Abs,
    each |x| x.abs(),
    |x, y| if x.is_zero() { T::zero() } else { x.signum() }
}
function! {
    /// y = sin x; y′ = cos x.
    sin, Sin, each |x| x.sin(), |x, y| x.cos()
}
function! {
    /// y = cos x; y′ = −sin x.
    cos, Cos, each |x| x.cos(), |x, y| -x.sin()
}
function! {
    /// y = 1/x; y′ = −y².
    recip, Recip, each |x| x.recip(), |x, y| -(y * y)
}
function! {
    /// y = ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³): the Gaussian error linear unit in
    /// the approximation of Hendrycks & Gimpel (2016), which transformers use. It is computed as x·σ(2u), which is the same but
    /// cancels nothing; y′ = σ + 2x·σ(1 − σ)·u′. NaN at −∞.
    gelu, Gelu,
    each |x| x * logistic(gelu_argument(x)[0]),
    |x, y| {
        let [u, slope] = gelu_argument(x);
        let [p, q] = [logistic(u), logistic(-u)];
        // Far from 0 the slope of u may be infinite.
        let bend = p * q;
        let bent = if bend.is_zero() { bend } else { x * bend * slope };
        p + bent + bent
    }
}

/// σ(2u) = 1/(1 + e^−2u).
fn logistic<T: Real>(u: T) -> T {
    (T::one() + (-(u + u)).exp()).recip()
}

/// u of [`Var::gelu`], and u′.
fn gelu_argument<T: Real>(x: T) -> [T; 2] {
    let scale = T::nearest((2.0 / std::f64::consts::PI).sqrt());
    let cubic = T::nearest(0.044715);
    let square = x * x;
    [
        scale * (x + cubic * square * x),
        scale * (T::one() + T::nearest(3.0) * cubic * square),
    ]
}

/// y = x, but at least `low` and at most `high`.
struct Clamp<T> {
    low: T,
    high: T,
}

impl<T: Real> Function<T> for Clamp<T> {
    const NAME: &'static str = "clamp";

    fn check(&self) -> Result<(), String> {
        let Self { low, high } = *self;
        if low <= high {
            return Ok(());
        }
        Err(format!("{low} to {high} is no interval"))
    }

    fn values(&self, x: &[T], y: &mut [T]) {
        let Self { low, high } = *self;
        each(x, y, move |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        });
    }

    fn derivative(&self, x: T, y: T) -> T {
        if x == y { T::one() } else { T::zero() }
    }
}

impl<T: Real> Var<'_, T> {
    /// y = min(max(x, low), high); y′ = 1 in [low, high], the bounds included (as in
    /// TensorFlow), 0 outside. NaN stays NaN. `low` must not be above `high`.
    #[track_caller]
    pub fn clamp(self, low: T, high: T) -> Self {
        self.graph().apply(Map(Clamp { low, high }), &[self])
    }
}

/// Functions of x and a constant c.
macro_rules! function_with_constant {
    ($(#[$doc:meta])* $name:ident, $text:literal, |$x:ident, $c:ident| $value:expr, $derivative:expr $(, chain |$dy:ident| $chain:expr)?) => {
        $(#[$doc])*
        struct $name<T>(T);

        impl<T: Real> Function<T> for $name<T> {
            const NAME: &'static str = $text;

            fn values(&self, x: &[T], y: &mut [T]) {
                let $c = self.0;
                each(
                    x,
                    y,
                    move |$x| $value,
                );
            }

            #[allow(unused_variables)]
            fn derivative(&self, $x: T, _: T) -> T {
                let $c = self.0;
                $derivative
            }

            $(
                fn chain(&self, _: T, _: T, $dy: T) -> T {
                    let $c = self.0;
                    $chain
                }
            )?
        }
    };
}

function_with_constant! {
    /// y = x + c; y′ = 1.
    AddConstant, "x + c", |x, c| x + c, T::one()
}
function_with_constant! {
    /// y = x − c; y′ = 1.
    SubConstant, "x - c", |x, c| x - c, T::one()
}
function_with_constant! {
    /// y = c − x; y′ = −1.
    FromConstant, "c - x", |x, c| c - x, -T::one()
}
function_with_constant! {
    /// y = c·x; y′ = c.
    MulConstant, "c * x", |x, c| c * x, c
}
function_with_constant! {
    /// y = x/c; y′ = 1/c. A division both ways: 1/c may be infinite where x/c is not.
    DivConstant, "x / c", |x, c| x / c, c.recip(), chain |dy| dy / c
}

function_with_constant! {
    /// y = c/x; y′ = −(c/x)/x, which is there where x² is not.
    ConstantDiv, "c / x", |x, c| c / x, -(c / x) / x
}
function_with_constant! {
    /// y = xᶜ; y′ = c·xᶜ⁻¹, and 0 if c is 0, where x⁻¹ may be infinite.
    Power, "powf", |x, c| x.powf(c), if c.is_zero() { c } else { c * x.powf(c - T::one()) }
}

function! {
    /// −x.
    negated, Negated, each |x| -x, |x, y| -T::one()
}

/// `x ∘ c` and `c ∘ x`, for a constant c, as one operation. The second has to
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

with_constant! { Add, add, |x, c| x.map(AddConstant(c)), x + c }
with_constant! { Sub, sub, |x, c| x.map(SubConstant(c)), x.map(FromConstant(c)) }
with_constant! { Mul, mul, |x, c| x.map(MulConstant(c)), x * c }
with_constant! { Div, div, |x, c| x.map(DivConstant(c)), x.map(ConstantDiv(c)) }

macro_rules! assign {
    ($($trait:ident, $method:ident, $op:tt;)*) => {$(
        impl<T: Real> std::ops::$trait for Var<'_, T> {
            #[track_caller]
            fn $method(&mut self, other: Self) {
                *self = *self $op other;
            }
        }
    )*};
}

assign! { AddAssign, add_assign, +; SubAssign, sub_assign, -; MulAssign, mul_assign, *; DivAssign, div_assign, /; }

impl<T: Real> Var<'_, T> {
    #[track_caller]
    fn map(self, f: impl Function<T>) -> Self {
        self.graph().apply(Map(f), &[self])
    }

    /// y = xᶜ; y′ = c·xᶜ⁻¹.
    #[track_caller]
    pub fn powf(self, c: T) -> Self {
        self.map(Power(c))
    }

    /// y = c − x, as `c - x` for an element type that is not known.
    #[track_caller]
    pub fn rsub(self, c: T) -> Self {
        self.map(FromConstant(c))
    }

    /// y = c/x, as `c / x` for an element type that is not known.
    #[track_caller]
    pub fn rdiv(self, c: T) -> Self {
        self.map(ConstantDiv(c))
    }
}

impl<T: Real> Neg for Var<'_, T> {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.map(Negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, value_and_gradient};

    const X: [f64; 5] = [-1.5, -0.25, 0.5, 1.0, 2.0];

    type F = for<'g> fn(Var<'g, f64>) -> Var<'g, f64>;

    #[test]
    fn the_derivative_at_a_kink_is_0() {
        let x: (&[usize], &[f64]) = (&[4], &[0.0, -0.0, 2.0, -3.0]);
        let at = |f: F| value_and_gradient(&[x], |v| f(v[0]).sum()).1;
        assert_eq!(at(|x| x.relu()), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(at(|x| x.abs()), [0.0, 0.0, 1.0, -1.0]);
    }

    #[test]
    fn values() {
        use std::f64::consts::{FRAC_PI_3, FRAC_PI_6, LN_2 as ln2};
        // ½·(1 + tanh(√(2/π)·1.044715))
        let gelu_of_1 = 0.841_191_990_608_276_8;
        let cases: [(&str, F, f64, f64); 24] = [
            ("abs", |x| x.abs(), -3.0, 3.0),
            ("sin", |x| x.sin(), FRAC_PI_6, 0.5),
            ("cos", |x| x.cos(), FRAC_PI_3, 0.5),
            ("recip", |x| x.recip(), 4.0, 0.25),
            ("powf", |x| x.powf(1.5), 4.0, 8.0),
            ("c / x", |x| 3.0 / x, 4.0, 0.75),
            ("rsub", |x| x.rsub(1.0), 3.0, -2.0),
            ("rdiv", |x| x.rdiv(3.0), 4.0, 0.75),
            ("gelu", |x| x.gelu(), 1.0, gelu_of_1),
            ("exp", |x| x.exp(), ln2, 2.0),
            ("ln", |x| x.ln(), 2.0, ln2),
            ("sqrt", |x| x.sqrt(), 6.25, 2.5),
            ("square", |x| x.square(), -3.0, 9.0),
            ("sigmoid", |x| x.sigmoid(), 3f64.ln(), 0.75),
            ("tanh", |x| x.tanh(), 3f64.ln(), 0.8),
            ("relu", |x| x.relu(), -2.0, 0.0),
            ("relu", |x| x.relu(), 2.0, 2.0),
            ("clamp", |x| x.clamp(-1.0, 2.0), -1.5, -1.0),
            ("clamp", |x| x.clamp(-1.0, 2.0), 1.5, 1.5),
            ("clamp", |x| x.clamp(-1.0, 2.0), 2.5, 2.0),
            ("clamp", |x| x.clamp(2.0, 2.0), 2.5, 2.0),
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
        let everywhere: [F; 15] = [
            |x| -(x - 0.3) / 4.0,
            |x| x.exp(),
            |x| x.square(),
            |x| x.sigmoid(),
            |x| x.tanh(),
            |x| x.relu(),
            |x| x.clamp(-0.5, 1.5),
            |x| x * -2.5 + 1.0,
            |x| x * x.sigmoid() + x,
            |x| x.abs(),
            |x| x.sin() * x.cos(),
            |x| x.recip() - 2.0 / x + x.rdiv(0.3),
            |x| x.gelu(),
            |x| x.rsub(1.0),
            |x| {
                let mut y = x;
                y += x.square();
                y *= x;
                y -= x;
                y /= x.exp();
                y
            },
        ];
        for f in everywhere {
            assert_gradients(&[(&[5], &X)], |v| f(v[0]));
        }
        let positive: [F; 3] = [|x| x.ln(), |x| x.sqrt(), |x| x.powf(2.5)];
        for f in positive {
            assert_gradients(&[(&[3], &[0.1, 1.0, 3.0])], |v| f(v[0]));
        }
    }

    #[test]
    fn extreme_arguments_stay_finite() {
        let at = |f: F, x| evaluate(&[(&[1], &[x])], |v| f(v[0]))[0];
        assert_eq!(at(|x| x.sigmoid(), -1e4), 0.0);
        assert_eq!(at(|x| x.sigmoid(), 1e4), 1.0);
        assert!(at(|x| x.relu(), f64::NAN).is_nan());
        assert!(at(|x| x.clamp(-1.0, 1.0), f64::NAN).is_nan());
    }

    #[test]
    fn derivatives_whose_factors_overflow() {
        let at = |f: F, x: &[f64]| value_and_gradient(&[(&[x.len()], x)], |v| f(v[0]).sum()).1;
        assert_eq!(at(|x| x.powf(0.0), &[0.0, 2.0]), [0.0, 0.0]);
        assert_eq!(at(|x| x.powf(1.0), &[0.0, 2.0]), [1.0, 1.0]);
        assert_eq!(at(|x| x.gelu(), &[1e200, -1e200]), [1.0, 0.0]);
    }

    #[test]
    fn a_clamp_passes_the_gradient_at_its_bounds() {
        let x: (&[usize], &[f64]) = (&[5], &[-1.25, -1.0, 0.0, 1.5, 1.75]);
        let (_, gradient) = value_and_gradient(&[x], |v| v[0].clamp(-1.0, 1.5).sum());
        assert_eq!(gradient, [0.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn constants_are_divided_by_and_not_multiplied_by_their_reciprocal() {
        let x: (&[usize], &[f64]) = (&[2], &[49.0, 0.0]);
        assert_eq!(evaluate(&[x], |v| v[0] / 49.0), [1.0, 0.0]);
        assert_eq!(evaluate(&[x], |v| v[0] / 1e-310)[1], 0.0);
        let (_, gradient) =
            value_and_gradient(&[x], |v| (v[0] / 1e-310 * 0.0).slice(0, 1..2).sum());
        assert_eq!(gradient, [0.0, 0.0]);
    }

    #[test]
    fn the_sign_of_zero_is_kept() {
        let x: (&[usize], &[f64]) = (&[2], &[0.0, -0.0]);
        let signs = |f: F| {
            evaluate(&[x], |v| f(v[0]))
                .iter()
                .map(|y| y.is_sign_negative())
                .collect::<Vec<_>>()
        };
        assert_eq!(signs(|x| -x), [true, false]);
        assert_eq!(signs(|x| x * 2.0), [false, true]);
        assert_eq!(signs(|x| x / -2.0), [true, false]);
        assert_eq!(signs(|x| 0.0 - x), [false, false]);
    }

    #[test]
    fn a_clamp_needs_an_interval() {
        for (low, high) in [(1.0, 0.0), (f64::NAN, 0.0)] {
            let message = error_of(|g| g.input([2]).clamp(low, high));
            assert!(message.contains("is no interval"), "{message}");
        }
    }
}
