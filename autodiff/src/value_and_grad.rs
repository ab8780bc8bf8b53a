//! The value and gradient of one function, without a tape in sight.

use crate::{Error, Params, Real, Shape, Var, record};

/// The function that computes f(x) and ∇f(x), for a scalar function f of one tensor.
///
/// f is recorded once; a call runs it on x, row-major, and returns the value and the gradient
/// in the layout of x.
///
/// ```
/// use autodiff::value_and_grad;
///
/// // Rosenbrock's function, (1 − x)² + 100·(y − x²)².
/// let mut rosenbrock = value_and_grad::<f64>([2], |v| {
///     let [x, y] = [0, 1].map(|i| v.slice(0, i..i + 1));
///     ((1.0 - x).square() + (y - x.square()).square() * 100.0).sum()
/// })?;
/// let (value, gradient) = rosenbrock(&[0.0, 2.0])?;
/// assert_eq!((value, &gradient[..]), (401.0, &[-2.0, 400.0][..]));
/// assert_eq!(rosenbrock(&[1.0, 1.0])?, (0.0, vec![0.0, 0.0]));
/// # Ok::<(), autodiff::Error>(())
/// ```
///
/// # Errors
/// As [`record`]. Of the function that is returned: [`Error::Length`] if x is not of the shape,
/// [`Error::Root`] if f is no scalar, or does not depend on x; [`Error::OtherParams`] if f takes a
/// parameter: there are none.
#[allow(clippy::type_complexity)] // it has no name
pub fn value_and_grad<T: Real>(
    shape: impl Into<Shape>,
    f: impl for<'g> FnOnce(Var<'g, T>) -> Var<'g, T>,
) -> Result<impl FnMut(&[T]) -> Result<(T, Vec<T>), Error>, Error> {
    let shape = shape.into();
    let (mut tape, [x, _]) = record(|g| {
        let x = g.input_with_gradient(shape);
        Ok([x, f(x)])
    })?;
    let none = Params::new();
    Ok(move |values: &[T]| {
        tape.set(x, values)?;
        let mut pass = tape.forward(&none)?;
        pass.backward(&mut [])?;
        let gradient = pass.gradient(x)?.map(<[T]>::to_vec);
        // Nothing reaches x where a stop_gradient is in the way.
        let gradient = gradient.unwrap_or_else(|| vec![T::zero(); values.len()]);
        Ok((pass.loss()?, gradient))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_gradient_of_every_call() {
        let mut f = value_and_grad::<f64>([2, 2], |x| x.matmul(x).sum()).unwrap();
        // Σ (x²)ᵢⱼ: the gradient at (i, j) is Σₖ xⱼₖ + Σₖ xₖᵢ.
        for _ in 0..2 {
            assert_eq!(
                f(&[1.0, 2.0, 3.0, 4.0]),
                Ok((54.0, vec![7.0, 11.0, 9.0, 13.0]))
            );
            assert_eq!(f(&[0.0; 4]), Ok((0.0, vec![0.0; 4])));
        }
        assert!(matches!(f(&[1.0]), Err(Error::Length { .. })));
    }

    #[test]
    fn what_is_no_scalar_of_x_is_an_error() {
        let mut vector = value_and_grad::<f64>([2], |x| x.square()).unwrap();
        assert_eq!(
            vector(&[1.0, 2.0]),
            Err(Error::Root("shape [2]".to_owned()))
        );
        let mut constant = value_and_grad::<f64>([2], |x| x.stop_gradient().sum()).unwrap();
        assert!(matches!(constant(&[1.0, 2.0]), Err(Error::Root(_))));
        let mismatch = value_and_grad::<f64>([2], |x| x.reshape([3]));
        assert!(mismatch.is_err());
    }

    #[test]
    fn a_path_that_carries_no_gradient_is_zero() {
        let mut f = value_and_grad::<f64>([1], |x| {
            let one = x.graph().input_with_gradient([1]);
            (x.stop_gradient() * one).sum()
        })
        .unwrap();
        assert_eq!(f(&[2.0]), Ok((0.0, vec![0.0])));
    }
}
