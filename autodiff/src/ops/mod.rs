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

use crate::Shape;

/// The extents, if there are exactly N of them.
fn axes<const N: usize>(shape: Shape) -> Result<[usize; N], String> {
    (*shape)
        .try_into()
        .map_err(|_| format!("expected {N} axes, found {}", shape.rank()))
}
