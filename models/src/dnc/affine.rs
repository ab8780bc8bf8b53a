//! What controller, interface and output share: linear maps of rows, one for each sequence,
//! and the limit on what comes of them.

use autodiff::kernels::{Matrix, Term, dispatch, gemm};
use autodiff::{Gradients, Real};

/// y = x · kernel + bias.
pub(super) fn affine<T: Real>(x: &[T], kernel: &[T], bias: &[T], y: &mut [T]) {
    let outputs = bias.len();
    for row in y.chunks_exact_mut(outputs) {
        row.copy_from_slice(bias);
    }
    let (rows, inputs) = (y.len() / outputs, kernel.len() / outputs);
    let (x, kernel) = (Matrix::plain(x), Matrix::plain(kernel));
    gemm(rows, inputs, outputs, x, kernel, y, Term::Further);
}

/// dkernel += xᵀ · dy and dbias += Σ rows of dy, for the operands `kernel` and the next.
pub(super) fn weight_gradients<T: Real>(
    x: &[T],
    dy: &[T],
    outputs: usize,
    dx: &mut Gradients<T>,
    kernel: usize,
) {
    let rows = dy.len() / outputs;
    if let Some(d) = dx.of(kernel) {
        let (x_matrix, dy) = (Matrix::transposed(x), Matrix::plain(dy));
        d.add_product([x.len() / rows, rows, outputs], x_matrix, dy);
    }
    if let Some(d) = dx.of(kernel + 1) {
        let d = d.zeroed();
        dispatch(
            #[inline(always)]
            || {
                for dy in dy.chunks_exact(outputs) {
                    d.iter_mut().zip(dy).for_each(|(d, &dy)| *d += dy);
                }
            },
        );
    }
}

/// Adds to d, row by row, the columns of `rows` from `first` on.
pub(super) fn add_columns<T: Real>(d: &mut [T], rows: &[T], row: usize, first: usize) {
    let columns = d.len() * row / rows.len();
    dispatch(
        #[inline(always)]
        || {
            for (d, row) in d.chunks_exact_mut(columns).zip(rows.chunks_exact(row)) {
                d.iter_mut().zip(&row[first..]).for_each(|(d, &x)| *d += x);
            }
        },
    );
}

/// x, or the nearer of ±`limit`; a NaN stays one.
#[inline(always)]
pub(super) fn clipped<T: Real>(x: T, limit: T) -> T {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

/// dy, or 0 where y was clipped.
#[inline(always)]
pub(super) fn unless_clipped<T: Real>(dy: T, y: T, limit: T) -> T {
    if y.abs() < limit { dy } else { T::zero() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_limit_are_clipped_and_nan_is_kept() {
        let clip = |x: f64| clipped(x, 20.0);
        assert_eq!(
            [-30.0, -20.0, 5.0, 21.0].map(clip),
            [-20.0, -20.0, 5.0, 20.0]
        );
        assert!(clip(f64::NAN).is_nan());
        assert_eq!(
            [-20.0, 5.0, 20.0].map(|y| unless_clipped(2.0, y, 20.0)),
            [0.0, 2.0, 0.0]
        );
    }
}
