//! Elementwise operations on two operands that broadcast to one shape.
//!
//! y = f(a, b), so da += dy · ∂f/∂a, summed over the axes that `a` was stretched
//! along, and likewise for b.

use crate::kernels::{Term, dispatch, sum};
use crate::op::Gradient;
use crate::shape::{Walk, broadcast, stretched_strides};
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
        let y = broadcast(a, b).ok_or("the shapes do not broadcast")?;
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
        let (a, b) = (&x[0], &x[1]);
        let (len, [_, by_a, by_b]) = self.walk.row();
        dispatch(
            #[inline(always)]
            || {
                self.walk.rows(
                    #[inline(always)]
                    |[y_at, a_at, b_at]| {
                        let y = &mut y[y_at..][..len];
                        with_constant_strides!(by_a, by_b, |A, B| {
                            let (a, b) = (row::<A, T>(a, a_at, len), row::<B, T>(b, b_at, len));
                            for (i, y) in y.iter_mut().enumerate() {
                                *y = F::value(a[i * A], b[i * B]);
                            }
                        })
                    },
                )
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let operands = (&x[0], &x[1]);
        if let Some(da) = dx.of(0) {
            accumulate(&self.walk, 1, da, dy, operands, F::by_a);
        }
        if let Some(db) = dx.of(1) {
            accumulate(&self.walk, 2, db, dy, operands, F::by_b);
        }
    }
}

/// Runs `$body` with the strides along a row as constants, for the compiler to
/// vectorise. They are 0 (stretched) or 1: all axes after a row's have extent 1.
macro_rules! with_constant_strides {
    ($by_a:expr, $by_b:expr, |$A:ident, $B:ident| $body:block) => {
        with_constant_strides! { ($by_a, $by_b), $A, $B, $body, (0, 0) (0, 1) (1, 0) (1, 1) }
    };
    ($strides:expr, $A:ident, $B:ident, $body:block, $(($a:literal, $b:literal))*) => {
        match $strides {
            $(($a, $b) => {
                const $A: usize = $a;
                const $B: usize = $b;
                $body
            })*
            _ => unreachable!("a stride along a row is 0 or 1"),
        }
    };
}
use with_constant_strides;

/// The elements of an operand in one row: one if it is stretched along it.
#[inline(always)]
fn row<const STRIDE: usize, T>(x: &[T], at: usize, len: usize) -> &[T] {
    &x[at..][..if STRIDE == 0 { 1 } else { len }]
}

/// Adds dy · derivative(a, b) to the gradient of operand `which` of the walk.
#[inline(always)]
fn accumulate<T: Real>(
    walk: &Walk<3>,
    which: usize,
    gradient: Gradient<T>,
    dy: &[T],
    (a, b): (&[T], &[T]),
    derivative: impl Fn(T, T) -> T,
) {
    let (len, strides @ [_, by_a, by_b]) = walk.row();
    // An operand that is not stretched gets one term for each element.
    let (g, term) = gradient.parts();
    let overwrite = g.len() == dy.len() && term == Term::First;
    if term == Term::First && !overwrite {
        g.fill(T::zero());
    }
    dispatch(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |at @ [y_at, a_at, b_at]| {
                    let dy = &dy[y_at..][..len];
                    with_constant_strides!(by_a, by_b, |A, B| {
                        let (a, b) = (row::<A, T>(a, a_at, len), row::<B, T>(b, b_at, len));
                        let terms = dy.iter().enumerate().map(
                            #[inline(always)]
                            |(i, &dy)| dy * derivative(a[i * A], b[i * B]),
                        );
                        if strides[which] == 0 {
                            g[at[which]] += sum_of(terms);
                            return;
                        }
                        let g = g[at[which]..][..len].iter_mut().zip(terms);
                        if overwrite {
                            g.for_each(|(g, term)| *g = term);
                        } else {
                            g.for_each(|(g, term)| *g += term);
                        }
                    })
                },
            )
        },
    );
}

/// Σ terms, through blocks that the compiler vectorises, in an order fixed by
/// their number alone.
#[inline(always)]
fn sum_of<T: Real>(mut terms: impl ExactSizeIterator<Item = T>) -> T {
    let mut total = T::zero();
    let mut block = [T::zero(); 64];
    while terms.len() > 0 {
        let n = terms.len().min(block.len());
        for (place, term) in block.iter_mut().zip(terms.by_ref().take(n)) {
            *place = term;
        }
        total += sum(&block[..n]);
    }
    total
}

macro_rules! function {
    ($(#[$doc:meta])* $trait:ident, $method:ident, |$a:ident, $b:ident| $value:expr, $by_a:expr, $by_b:expr) => {
        struct $trait;

        #[allow(unused_variables)]
        impl<T: Real> Function<T> for $trait {
            const NAME: &'static str = stringify!($method);
            #[inline(always)]
            fn value($a: T, $b: T) -> T {
                $value
            }
            #[inline(always)]
            fn by_a($a: T, $b: T) -> T {
                $by_a
            }
            #[inline(always)]
            fn by_b($a: T, $b: T) -> T {
                $by_b
            }
        }

        $(#[$doc])*
        impl<T: Real> std::ops::$trait for Var<'_, T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, other: Self) -> Self {
                let op = Broadcast::<$trait> {
                    walk: Walk::new(Shape::default(), [[0; crate::MAX_RANK]; 3]),
                    function: std::marker::PhantomData,
                };
                self.graph().apply(op, &[self, other])
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
    /// y = a/b elementwise, broadcast; ∂y/∂a = 1/b, ∂y/∂b = −a/b².
    Div, div, |a, b| a / b, b.recip(), -a / (b * b)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};

    const A: (&[usize], &[f64]) = (&[2, 3], &[1.0, -2.0, 3.0, 0.5, 4.0, -1.0]);
    const ROW: (&[usize], &[f64]) = (&[3], &[2.0, 4.0, -8.0]);
    const COLUMN: (&[usize], &[f64]) = (&[2, 1], &[2.0, -0.5]);

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
        }
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
