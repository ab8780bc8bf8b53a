//! What controller, interface and output share: linear maps of a block of sequences, and the
//! limit on what comes of them.

use super::pack::{LANES, Packs};
use autodiff::kernels::{Matrix, Term, add_row_sums, gemm};
use autodiff::{Gradients, Real};

/// y = bias.
pub(super) fn set_bias<T: Real>(bias: &[T], y: &mut Packs<T>) {
    for (y, &bias) in y.iter_mut().zip(bias) {
        *y = [bias; LANES];
    }
}

/// y += x · kernel, where x is what these rows of a kernel are the weights of.
pub(super) fn add_affine<T: Real>(x: &Packs<T>, kernel: &[T], y: &mut Packs<T>) {
    let (inputs, outputs, y) = (x.len(), y.len(), y.as_flattened_mut());
    let (kernel, x) = (Matrix::transposed(kernel), Matrix::plain(x.as_flattened()));
    gemm(outputs, inputs, LANES, kernel, x, y, Term::Further);
}

/// dx += dy · kernelᵀ.
pub(super) fn add_input_gradient<T: Real>(dy: &Packs<T>, kernel: &[T], dx: &mut Packs<T>) {
    let (inputs, outputs, dx) = (dx.len(), dy.len(), dx.as_flattened_mut());
    let (kernel, dy) = (Matrix::plain(kernel), Matrix::plain(dy.as_flattened()));
    gemm(inputs, outputs, LANES, kernel, dy, dx, Term::Further);
}

/// dkernel += xᵀ · dy.
pub(super) fn add_kernel_gradient<T: Real>(x: &Packs<T>, dy: &Packs<T>, d_kernel: &mut [T]) {
    let (inputs, outputs) = (x.len(), dy.len());
    let (x, dy) = (x.as_flattened(), dy.as_flattened());
    let (x, dy) = (Matrix::plain(x), Matrix::transposed(dy));
    gemm(inputs, LANES, outputs, x, dy, d_kernel, Term::Further);
}

/// dbias += Σ dy over the sequences.
pub(super) fn add_bias_gradient<T: Real>(dy: &Packs<T>, d_bias: &mut [T]) {
    add_row_sums(dy.as_flattened(), d_bias);
}

/// The gradients of a kernel and a bias, operands `kernel` and the next, from the x and the dy
/// of each block.
pub(super) fn add_weight_gradients<'a, T: Real>(
    blocks: impl Iterator<Item = (&'a Packs<T>, &'a Packs<T>)> + Clone,
    dx: &mut Gradients<T>,
    kernel: usize,
) {
    if let Some(d) = dx.of(kernel) {
        let d = d.zeroed();
        blocks
            .clone()
            .for_each(|(x, dy)| add_kernel_gradient(x, dy, d));
    }
    if let Some(d) = dx.of(kernel + 1) {
        let d = d.zeroed();
        blocks.for_each(|(_, dy)| add_bias_gradient(dy, d));
    }
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
