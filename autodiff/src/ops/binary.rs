//! Elementwise operations on two operands that broadcast to one shape.
//!
//! y = f(a, b), so da += dy · ∂f/∂a, summed over the axes that `a` was stretched
//! along, and likewise for b.

use crate::kernels::dispatch;
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
                        match (by_a, by_b) {
                            (0, 0) => y.fill(F::value(a[a_at], b[b_at])),
                            (0, _) => {
                                for (y, &b) in y.iter_mut().zip(&b[b_at..]) {
                                    *y = F::value(a[a_at], b);
                                }
                            }
                            (_, 0) => {
                                for (y, &a) in y.iter_mut().zip(&a[a_at..]) {
                                    *y = F::value(a, b[b_at]);
                                }
                            }
                            _ => {
                                for ((y, &a), &b) in y.iter_mut().zip(&a[a_at..]).zip(&b[b_at..]) {
                                    *y = F::value(a, b);
                                }
                            }
                        }
                    },
                )
            },
        );
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let (a, b) = (&x[0], &x[1]);
        let walk = self.walk;
        if let Some(da) = dx.of(0) {
            accumulate(
                walk,
                da,
                1,
                dy,
                (a, b),
                #[inline(always)]
                |a, b| F::by_a(a, b),
            );
        }
        if let Some(db) = dx.of(1) {
            accumulate(
                walk,
                db,
                2,
                dy,
                (a, b),
                #[inline(always)]
                |a, b| F::by_b(a, b),
            );
        }
    }
}

/// Adds dy · derivative(a, b) to the gradient of operand `which`.
#[inline(always)]
fn accumulate<T: Real>(
    walk: Walk<3>,
    gradient: Gradient<T>,
    which: usize,
    dy: &[T],
    (a, b): (&[T], &[T]),
    derivative: impl Fn(T, T) -> T,
) {
    let (len, strides @ [_, by_a, by_b]) = walk.row();
    if strides == [1; 3] && len == dy.len() {
        let terms = a.iter().zip(b).zip(dy);
        return gradient.add(terms.map(
            #[inline(always)]
            |((&a, &b), &dy)| dy * derivative(a, b),
        ));
    }
    let g = gradient.zeroed();
    dispatch(
        #[inline(always)]
        || {
            walk.rows(
                #[inline(always)]
                |at| {
                    let [y_at, a_at, b_at] = at;
                    let term = |i: usize| {
                        dy[y_at + i] * derivative(a[a_at + i * by_a], b[b_at + i * by_b])
                    };
                    if strides[which] == 0 {
                        g[at[which]] += (0..len).map(term).sum();
                    } else {
                        for (i, g) in g[at[which]..][..len].iter_mut().enumerate() {
                            *g += term(i);
                        }
                    }
                },
            )
        },
    );
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
    use crate::testing::{assert_close, assert_gradients, evaluate};

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
    fn an_operand_used_twice_gets_both_gradients() {
        assert_gradients(&[A], |v| v[0] * v[0] / (v[0] + v[0] * v[0] + 10.0));
    }
}
