//! Tape-based reverse-mode automatic differentiation on dense tensors.
//!
//! A computation is recorded once and run many times. Expressions of [`Var`]s append an entry
//! for each operation to a [`Graph`]; nothing is computed yet. [`record`] turns the list into a
//! [`Tape`], which runs it in two sweeps:
//!
//! * [`Tape::forward`] computes the entries from first to last and keeps every value;
//! * [`Pass::backward`] walks from last to first. It carries dv = ∂L/∂v, the derivative of the
//!   final scalar L, for every value v. An entry y = f(x) turns dy into its share of dx by the
//!   chain rule, dx += dy · ∂f/∂x.
//!
//! One backward sweep gives the derivative of L by *every* value, for about twice the price of
//! the forward sweep: a product y = A·B costs two, dA = dy·Bᵀ and dB = Aᵀ·dy. That it is always a
//! small multiple (Griewank & Walther, *Evaluating Derivatives*, 2008) is why it is done in reverse.
//!
//! # One example by hand, and its training
//!
//! y = tanh(w·x + b) with the loss L = (y − t)². Since tanh(ln 3) = (9 − 1)/(9 + 1), the numbers
//! x = 2, w = ln 3, b = −ln 3, t = 1 can be followed on paper: down the second column, then up
//! the last.
//!
//! | entry | forward | its derivative | backward |
//! |---|---|---|---|
//! | p = w·x | 2 ln 3 | dw = dp·x | dp = −0.144, so dw = −0.288 |
//! | z = p + b | ln 3 | dp = dz, db = dz | dz = −0.144, so db = −0.144 |
//! | y = tanh z | 0.8 | dz = dy·(1 − y²) | dy = −0.4 |
//! | L = (y − t)² | 0.04 | dy = dL·2(y − t) | dL = 1 |
//!
//! ```
//! use autodiff::{Params, record};
//! use l4::{L4Adam, Optimizer};
//!
//! let ln3 = 3f64.ln();
//! let mut params = Params::new();
//! let (w, b) = (params.add("w", [], || ln3)?, params.add("b", [], || -ln3)?);
//! // The array names the values to be reached later; the last is the root L.
//! let (mut tape, [x, y, _]) = record(|g| {
//!     let (x, t) = (g.input([]), g.constant([], &[1.0]));
//!     let y = (g.param(w) * x + g.param(b)).tanh();
//!     Ok([x, y, (y - t).square()])
//! })?;
//! tape.set(x, &[2.0])?;
//! let mut grads = params.zeros_like();
//! let mut pass = tape.forward(&params)?;
//! pass.backward(&mut grads)?;
//! let found = [pass.value(y)?[0], pass.loss()?, pass.gradient(y)?.unwrap()[0], grads[0], grads[1]];
//! let on_paper = [0.8, 0.04, -0.4, -0.288, -0.144];
//! assert!(found.iter().zip(on_paper).all(|(found, paper)| (found - paper).abs() < 1e-15));
//!
//! // An optimiser, here the crate `l4`, sees two slices: parameters and gradients.
//! let mut optimizer = L4Adam::new();
//! for _ in 0..1000 {
//!     let mut pass = tape.forward(&params)?;
//!     pass.backward(&mut grads)?;
//!     let loss = pass.loss()?;
//!     optimizer.step(loss, params.values_mut(), &mut grads)?;
//! }
//! assert!(tape.forward(&params)?.loss()? < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! [dependencies]                   # in a workspace beside them
//! autodiff = { path = "../autodiff" }
//! l4 = { path = "../l4" }
//! [profile.dev.package.autodiff]   # or a dev build is tens of times slower
//! opt-level = 3
//! ```
//!
//! # Where to go on
//!
//! The tutorial is the examples, `cargo run -p autodiff --example 01_scalar_engine`: reverse mode
//! in a page and without this crate; `02_tensors`; `03_the_tape`, drawn; `04_own_operation` and
//! what checks it; `05_gradients_in_memory`; `06_matrix_product`, from three loops to the register
//! tile; `07_forward_mode` and the test ⟨dy, J·v⟩ = ⟨Jᵀ·dy, v⟩. [`Var`] has the table of
//! operations and derivatives, [`Tape`] what you can rely on, [`record()`] the words drawn, and
//! [`recipes`] what is asked for often. [`Op`] adds an operation, [`gradcheck()`] checks it, and
//! [`kernels`] holds the fast loops.
#![deny(unsafe_code)]

mod dense;
mod error;
mod gradcheck;
mod graph;
pub mod init;
#[allow(unsafe_code)]
pub mod kernels;
mod memory;
mod op;
mod ops;
pub mod parallel;
mod params;
pub mod recipes;
mod shape;
mod tape;
#[cfg(test)]
mod testing;
mod value_and_grad;

pub use dense::Dense;
pub use error::Error;
pub use gradcheck::{Gradcheck, GradcheckError, gradcheck};
pub use graph::{Graph, Indices, Var, record};
pub use kernels::Real;
pub use memory::Slot;
pub use op::{Gradient, Gradients, Inputs, Op};
pub use ops::{
    BatchNorm, BatchNormConfig, BatchNormMode, Dropout, Padding, Preactivation, ResidualBlock,
};
pub use parallel::Threads;
pub use params::{GradientVector, Param, Params};
pub use shape::{MAX_RANK, Shape};
pub use tape::{Drawing, Pass, Tape};
pub use value_and_grad::value_and_grad;
