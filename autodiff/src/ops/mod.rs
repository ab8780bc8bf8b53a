//! The operations. Each file holds one, or a family that shares its loops: what it computes, its derivative with the
//! formula beside it, the method of [`Var`](crate::Var) that records it, and its
//! test against central differences and a value worked out by hand.
//!
//! To add an operation, add a file. [`squared_error`] is a short complete
//! example; [`Op`](crate::Op) has one that stands on its own.

mod affine;
mod batch_norm;
mod binary;
mod concat;
mod conv2d;
mod conv2d_max_pool;
mod cross_entropy;
mod dropout;
mod extreme;
mod gather;
mod half_squared_norm;
mod layer_norm;
mod log_softmax;
mod matmul;
mod max_pool;
mod product_squared_error;
mod reduce;
mod residual_block;
mod select;
mod sigmoid_cross_entropy;
mod slice;
mod softmax;
mod softmax_cross_entropy;
mod softplus;
mod squared_error;
mod stop_gradient;
mod transpose;
mod unary;

pub use batch_norm::{BatchNorm, BatchNormConfig, BatchNormMode};
pub use conv2d::Padding;
pub use dropout::Dropout;
pub use residual_block::{Preactivation, ResidualBlock};

use crate::{Real, Shape};

/// The extents, if there are exactly N of them.
fn axes<const N: usize>(shape: Shape) -> Result<[usize; N], String> {
    (*shape)
        .try_into()
        .map_err(|_| format!("expected {N} axes, found {}", shape.rank()))
}

/// A derivative by a logit, or 0 where it is below the least normal number over ε, 2⁻¹⁰³ in f32.
///
/// A confident right answer's are. What the backward pass makes of them, products with weights and
/// activations, would be subnormal, and each operation on a subnormal number costs Intel's
/// processors over a hundred cycles (Agner Fog, *Microarchitecture*); beside the derivatives of the
/// batch's other samples it all rounds to nothing.
#[inline(always)]
fn negligible_as_zero<T: Real>(derivative: T) -> T {
    match derivative.abs() < T::min_positive_value() / T::epsilon() {
        true => T::zero(),
        false => derivative,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::value_and_gradient;

    /// e⁻⁶⁶⁰ is 2⁻⁹⁵², e⁻⁶⁹⁰ 2⁻⁹⁹⁵; the least normal number over ε is 2⁻⁹⁷⁰ in f64.
    #[test]
    fn the_derivative_of_a_confident_right_answer_is_0_before_its_products_are_subnormal() {
        for (logit, negligible) in [(-660.0, false), (-690.0, true)] {
            let x: (&[usize], &[f64]) = (&[1, 2], &[0.0, logit]);
            let label: (&[usize], &[f64]) = (&[1, 2], &[1.0, 0.0]);
            let (_, hard) = value_and_gradient(&[x], |v| {
                v[0].cross_entropy(v[0].graph().indices([1], 2)).sum()
            });
            let (_, soft) = value_and_gradient(&[x, label], |v| v[0].softmax_cross_entropy(v[1]));
            let (_, binary) =
                value_and_gradient(&[x, label], |v| v[0].sigmoid_cross_entropy(v[1]).sum());
            for gradient in [hard, soft, binary] {
                assert_eq!(gradient[1] == 0.0, negligible, "{logit}: {gradient:?}");
            }
        }
    }
}
