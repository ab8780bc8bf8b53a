//! Tape-based reverse-mode automatic differentiation on dense tensors.

mod error;
mod gradcheck;
mod graph;
pub mod kernels;
mod op;
mod ops;
mod params;
mod real;
mod shape;
mod tape;
#[cfg(test)]
mod testing;

pub use error::Error;
pub use gradcheck::{GradcheckError, gradcheck};
pub use graph::{Graph, Slot, Var};
pub use op::{Gradient, Gradients, Inputs, Op};
pub use params::{GradientVector, Param, Params};
pub use real::Real;
pub use shape::{MAX_RANK, Shape};
pub use tape::Tape;
