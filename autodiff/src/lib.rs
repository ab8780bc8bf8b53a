//! Tape-based reverse-mode automatic differentiation on dense tensors.
//!
//! # What a tape is
//!
//! A computation is recorded once and run many times. Expressions of [`Var`]s record
//! it: each operation appends one entry to a [`Graph`], and nothing is computed yet.
//! [`record`] turns the list into a [`Tape`], which runs it in two sweeps:
//!
//! * [`Tape::forward`] computes the entries from first to last and keeps every value;
//! * [`Pass::backward`] walks from last to first. It carries dv = ∂L/∂v, the derivative
//!   of the final scalar L, for every value v. An entry y = f(x) turns dy into its
//!   share of dx by the chain rule, dx += dy · ∂f/∂x.
//!
//! One backward sweep gives the derivative of L by *every* value, for about twice the
//! price of the forward sweep. That is why it is done in reverse.
//!
//! # One example by hand
//!
//! y = tanh(w·x + b) with the loss L = (y − t)². Since tanh(ln 3) = (9 − 1)/(9 + 1),
//! the numbers x = 2, w = ln 3, b = −ln 3, t = 1 can be followed on paper: down the
//! second column, then up the last.
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
//!
//! let ln3 = 3f64.ln();
//! let mut params = Params::new();
//! let w = params.add("w", [], || ln3)?;
//! let b = params.add("b", [], || -ln3)?;
//!
//! // The array names the values to be reached later; the last is the root L.
//! let (mut tape, [x, p, z, y, loss]) = record(|g| {
//!     let (x, t) = (g.input([]), g.constant([], &[1.0]));
//!     let p = g.param(w) * x;
//!     let z = p + g.param(b);
//!     let y = z.tanh();
//!     Ok([x, p, z, y, (y - t).square()])
//! })?;
//!
//! tape.set(x, &[2.0])?;
//! let mut pass = tape.forward(&params)?;
//! let mut grads = params.zeros_like();
//! pass.backward(&mut grads)?;
//!
//! let close = |found: f64, on_paper: f64| assert!((found - on_paper).abs() < 1e-15);
//! for (slot, value, gradient) in [
//!     (p, 2.0 * ln3, -0.144),
//!     (z, ln3, -0.144),
//!     (y, 0.8, -0.4),
//!     (loss, 0.04, 1.0),
//! ] {
//!     close(pass.value(slot)?[0], value);
//!     close(pass.gradient(slot)?.unwrap()[0], gradient);
//! }
//! close(grads[w.range()][0], -0.288);
//! close(grads[b.range()][0], -0.144);
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! # Where to go on
//!
//! The tutorial is the examples, in order; `cargo run -p autodiff --example 01_scalar_engine`:
//!
//! | example | shows |
//! |---|---|
//! | `01_scalar_engine` | reverse mode complete in a page, without this crate |
//! | `02_tensors` | the same network on tensors, trained |
//! | `03_the_tape` | what was recorded, drawn with its values and gradients |
//! | `04_own_operation` | an operation of one's own, and what checks its derivative |
//! | `05_gradients_in_memory` | why nothing is zeroed, and how gradients share memory |
//! | `06_matrix_product` | from three loops to the register tile, in five measured steps |
//! | `07_forward_mode` | Jacobian-vector products, and the test ⟨dy, J·v⟩ = ⟨Jᵀ·dy, v⟩ |
//!
//! | in | is |
//! |---|---|
//! | [`Var`] | the table of operations and derivatives |
//! | [`Params`] | the parameters of a model in one flat vector, which an optimiser steps |
//! | [`record`], [`Tape`], [`Pass`] | recording (`graph.rs`), and running (`tape/`) |
//! | [`Op`] | what an operation is (`op.rs`), and how to add one (`ops/`) |
//! | [`gradcheck()`], [`Gradcheck`] | derivatives against differences |
//! | [`kernels`] | SIMD loops, products and convolutions, the only unsafe code; measured speeds |
//! | [`recipes`] | a step of an optimiser, a causal mask, carried state, another batch size, Jᵀ·dy |
//! | [`parallel`] | fixed chunks of work on the threads of a tape |
//! | `memory.rs` | what is kept and where, and the eight words for it |
//!
//! # What you can rely on
//!
//! * **Determinism.** The same recording, parameters and inputs give the same bits, run
//!   after run, on one instruction set and with any number of [threads](Tape::set_threads):
//!   work is cut into chunks that depend on shapes only, and sums are in a fixed order.
//!   Another instruction set may round matrix products and exponentials differently.
//! * **Allocation.** Buffers of values are allocated while recording and those of
//!   gradients by the first backward pass. After that a step allocates nothing, which
//!   `tests/all/no_allocation.rs` counts. (On machines with neither AVX2 nor AVX-512,
//!   matrix products fall back to the `matrixmultiply` crate, which allocates.)
//! * **Speed.** Kernels use the best instruction set found at run time
//!   ([`kernels::simd_level`]); no build flag is needed, but optimisation is: a crate that
//!   depends on this one wants `opt-level = 3` for it in its own dev profile.
//! * **Errors.** Wrong shapes, lengths, slots and parameters are [`Error`]s that name
//!   what was expected and found. A [`Pass`] borrows the tape and its parameters, so a
//!   value that is not theirs does not compile.
#![deny(unsafe_code)]

mod error;
mod gradcheck;
mod graph;
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

pub use error::Error;
pub use gradcheck::{Gradcheck, GradcheckError, gradcheck};
pub use graph::{Graph, Indices, Var, record};
pub use kernels::Real;
pub use memory::Slot;
pub use op::{Gradient, Gradients, Inputs, Op};
pub use ops::{BatchNorm, BatchNormConfig, BatchNormMode, Dropout, Padding};
pub use params::{GradientVector, Param, Params};
pub use shape::{MAX_RANK, Shape};
pub use tape::{Drawing, Pass, Tape};
