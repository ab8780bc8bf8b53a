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
//! # Training
//!
//! All parameters of a model lie in one flat vector, [`Params`], with a named view for
//! each; their gradients come in one flat vector of the same layout. So an optimiser
//! sees two slices. Plain gradient descent, on points of the line 2x + 1:
//!
//! ```
//! use autodiff::{Params, record};
//!
//! let mut params = Params::new();
//! let w = params.add("w", [1, 1], || 0.0)?;
//! let b = params.add("b", [1], || 0.0)?;
//!
//! let (mut tape, _) = record(|g| {
//!     let x = g.constant([4, 1], &[0.0, 1.0, 2.0, 3.0]);
//!     let targets = g.constant([4, 1], &[1.0, 3.0, 5.0, 7.0]);
//!     let y = x.affine(g.param(w), g.param(b));
//!     Ok([y.squared_error(targets) / 4.0])
//! })?;
//!
//! let mut grads = params.zeros_like();
//! for _ in 0..500 {
//!     tape.forward(&params)?.backward(&mut grads)?;
//!     for (theta, gradient) in params.values_mut().iter_mut().zip(grads.iter()) {
//!         *theta -= 0.1 * gradient;
//!     }
//! }
//! let [slope, intercept] = [params.view(w)[0], params.view(b)[0]];
//! assert!(f64::abs(slope - 2.0) < 1e-6 && f64::abs(intercept - 1.0) < 1e-6);
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! Data that change from step to step are [`Graph::input`]s, written by [`Tape::set`].
//! `cargo run -p autodiff --example xor` trains a network with a hidden layer.
//!
//! # The operations
//!
//! x, a, b are operands, y is the result, and each derivative is what is *added* to the
//! operand's gradient. `T` is [`f32`] or [`f64`]; c is a constant of that type.
//!
//! | method | y | derivative |
//! |---|---|---|
//! | `a + b`, `a - b` | broadcast | da = dy, db = ±dy |
//! | `a * b` | aᵢ·bᵢ, broadcast | da = dy·b, db = dy·a |
//! | `a / b` | aᵢ/bᵢ, broadcast | da = dy/b, db = −dy·a/b² |
//! | `x + c`, `x - c`, `c - x`, `-x` | ±x ± c | dx = ±dy |
//! | `x * c`, `x / c` | c·x, x/c | dx = c·dy, dy/c |
//! | [`exp`](Var::exp) | eˣ | dx = dy·y |
//! | [`ln`](Var::ln) | ln x | dx = dy/x |
//! | [`sqrt`](Var::sqrt) | √x | dx = dy/2y |
//! | [`square`](Var::square) | x² | dx = dy·2x |
//! | [`sigmoid`](Var::sigmoid) | 1/(1 + e⁻ˣ) | dx = dy·y(1 − y) |
//! | [`tanh`](Var::tanh) | tanh x | dx = dy·(1 − y²) |
//! | [`relu`](Var::relu) | max(x, 0) | dx = dy where x > 0 |
//! | [`softplus`](Var::softplus) | ln(1 + eˣ) | dx = dy/(1 + e⁻ˣ) |
//! | [`clamp`](Var::clamp) | min(max(x, low), high) | dx = dy in [low, high], bounds included |
//! | [`matmul`](Var::matmul), [`matmul_tn`](Var::matmul_tn), [`matmul_nt`](Var::matmul_nt), [`matmul_tt`](Var::matmul_tt) | A·B, Aᵀ·B, A·Bᵀ, Aᵀ·Bᵀ | dA = dY·Bᵀ, dB = Aᵀ·dY; transposed where A, B are |
//! | [`affine`](Var::affine) | x·W + b | dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ rows of dy |
//! | [`conv2d`](Var::conv2d) | x ∗ k, images in NHWC, kernels in HWIO | dx = dy ∗ kᵀ, dk = x ∗ dy |
//! | [`conv2d_bias_relu`](Var::conv2d_bias_relu) | max(x ∗ k + b, 0) | as `conv2d` where y > 0, db = Σ pixels of dy |
//! | [`sum`](Var::sum), [`sum_over`](Var::sum_over), [`sum_keep`](Var::sum_keep) | Σ x over axes | dx = dy, stretched |
//! | [`mean`](Var::mean), [`mean_over`](Var::mean_over), [`mean_keep`](Var::mean_keep) | Σ x / n over axes | dx = dy/n, stretched |
//! | [`max_pool2d`](Var::max_pool2d) | the largest of each window | dx = dy at the first of the largest |
//! | [`global_average_pool`](Var::global_average_pool) | Σ x / n over an image | dx = dy/n, stretched |
//! | [`batch_norm`](Var::batch_norm), [`batch_norm_relu`](Var::batch_norm_relu) | a·x̂ + b, x̂ = (x − μ)/√(σ² + ε) by channel | da = Σ dy·x̂, db = Σ dy, dx = a/√(σ² + ε)·(dy − (db + x̂·da)/n) |
//! | [`dropout`](Var::dropout) | m·x, m random | dx = m·dy |
//! | [`half_squared_norm`](Graph::half_squared_norm) | ½ Σ w² over several operands | dw = dy·w |
//! | [`softmax`](Var::softmax) | e^xᵢ / Σⱼ e^xⱼ over the last axis | dx = y·(dy − ⟨dy, y⟩) |
//! | [`softmax_cross_entropy`](Var::softmax_cross_entropy) | −1/n Σₙ Σᵢ tₙᵢ ln softmax(xₙ)ᵢ | dx = dy/n·(softmax(x)·Σᵢtᵢ − t), dt = −dy/n·ln softmax(x) |
//! | [`sigmoid_cross_entropy`](Var::sigmoid_cross_entropy) | −tᵢ ln σ(xᵢ) − (1 − tᵢ) ln(1 − σ(xᵢ)), σ the sigmoid | dx = dy·(σ(x) − t), dt = −dy·x |
//! | [`squared_error`](Var::squared_error) | Σᵢ (aᵢ − bᵢ)² | da = 2dy·(a − b), db = −da |
//! | [`reshape`](Var::reshape) | the same elements | dx = dy |
//! | [`transpose`](Var::transpose), [`permute`](Var::permute) | axes in another order | dx = dy in the old order |
//! | [`slice`](Var::slice) | a range of an axis | dx = dy inside, 0 outside |
//! | [`concat`](Graph::concat) | side by side along an axis | each its part of dy |
//!
//! *Broadcast* means: axes are aligned at the last one, and where one operand has
//! extent 1, or no axis, it is stretched; its gradient is summed over what it was
//! stretched along. Shapes that an operation is not defined for make
//! [`record`] fail with the operation, the shapes and the line of your source.
//!
//! # Adding an operation
//!
//! An operation is a type with a shape rule, a function and a derivative: the trait
//! [`Op`]. Here is the sine, complete, with the test that every operation gets:
//!
//! ```
//! use autodiff::{Gradients, Inputs, Op, Params, Real, Shape, Var, gradcheck};
//!
//! struct Sin;
//!
//! impl<T: Real> Op<T> for Sin {
//!     fn name(&self) -> &'static str {
//!         "sin"
//!     }
//!
//!     fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
//!         Ok(inputs[0])
//!     }
//!
//!     fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
//!         y.iter_mut().zip(&x[0]).for_each(|(y, x)| *y = x.sin());
//!     }
//!
//!     /// dx += dy · cos x
//!     fn backward(&mut self, x: &Inputs<T>, _y: &[T], dy: &[T], dx: &mut Gradients<T>) {
//!         let Some(dx) = dx.of(0) else { return };
//!         dx.add(x[0].iter().zip(dy).map(|(x, &dy)| dy * x.cos()));
//!     }
//! }
//!
//! fn sin<'g, T: Real>(x: Var<'g, T>) -> Var<'g, T> {
//!     x.graph().apply(Sin, &[x])
//! }
//!
//! let mut params = Params::new();
//! let x = params.add("x", [2, 3], || 0.7)?;
//! gradcheck(&params, |g| sin(g.param(x)))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To add it to this crate, put it in a file of `src/ops` with its method of [`Var`]
//! and a value worked out by hand. [`Op`] says where an operation keeps state: a mask,
//! running statistics, a random stream. `cargo run -p autodiff --example custom_op`
//! shows what [`gradcheck()`] says to a wrong derivative.
//!
//! # Where things are
//!
//! | file | holds |
//! |---|---|
//! | `graph.rs` | recording: [`record`], [`Graph`], [`Var`] |
//! | `tape/` | running: [`Tape`], [`Pass`], the two sweeps, where gradients live |
//! | `memory.rs` | what is kept and where; the words for it |
//! | `op.rs` | what an operation is: [`Op`], its [`Inputs`] and [`Gradients`] |
//! | `ops/` | the operations, one a file: function, derivative, test |
//! | `parallel.rs` | [`parallel`]: fixed chunks of work on the threads of a tape |
//! | `params.rs` | [`Params`]: the flat vector and its named views |
//! | `shape.rs` | [`Shape`], broadcasting, walks over strided data |
//! | `gradcheck.rs` | [`gradcheck()`]: derivatives against central differences |
//! | `kernels/` | SIMD loops and matrix products, the only unsafe code |
//! | `real.rs` | [`Real`]: `f32` and `f64` |
//!
//! # Convolution speed
//!
//! GFLOP/s in f32 on one core of an AMD EPYC (Zen 5, AVX-512) in a virtual machine, and what part
//! of its peak that is: multiply-adds on registers alone reach 249 GFLOP/s in the same
//! run, `cargo bench -p autodiff --bench conv -- --quick`. The layers are those of the ResNet
//! (batch 128) and of the ConvNet (batch 100). First layers have no input gradient, since
//! images are data. All count the operations of a direct convolution; those marked W make
//! fewer, by Winograd's minimal filtering, so that they can be above the peak.
//!
//! | x, kernel → channels | forward | input gradient | weight gradient |
//! |---|---|---|---|
//! | 32×32×3, 3×3 → 16 | 185 (74 %) | – | 179 (72 %) |
//! | 32×32×16, 3×3 → 16 (W) | 319 (128 %) | 300 (121 %) | 341 (137 %) |
//! | 32×32×16, 3×3 → 32, stride 2 | 230 (92 %) | 189 (76 %) | 206 (83 %) |
//! | 16×16×32, 3×3 → 32 (W) | 591 (237 %) | 596 (239 %) | 544 (219 %) |
//! | 16×16×32, 3×3 → 64, stride 2 | 239 (96 %) | 244 (98 %) | 221 (89 %) |
//! | 8×8×64, 3×3 → 64 (W) | 663 (266 %) | 630 (253 %) | 459 (184 %) |
//! | 32×32×16, 1×1 → 16 | 173 (69 %) | 174 (70 %) | 155 (62 %) |
//! | 32×32×16, 1×1 → 32, stride 2 | 187 (75 %) | 104 (42 %) | 208 (84 %) |
//! | 16×16×32, 1×1 → 64, stride 2 | 220 (88 %) | 170 (68 %) | 228 (91 %) |
//! | 28×28×1, 5×5 → 32 | 242 (97 %) | – | 226 (91 %) |
//! | 14×14×32, 5×5 → 64 (W) | 524 (211 %) | 504 (202 %) | 489 (196 %) |
//!
//! What the others are short of the peak has two reasons. Of 16 channels a tile is one register
//! wide, and takes 9 loads to 8 multiply-adds where two of each could start in a cycle. And
//! memory: the 1×1 convolution with stride 2 makes 5 multiply-adds of each number that it reads
//! or writes, the 5×5 one of 32 channels 500. Before Winograd's, the direct kernels did the layers
//! marked W at 71 to 99 % of the peak. How the loops are
//! nested, and why, is drawn at the top of `src/kernels/conv.rs`
//! and of `src/kernels/conv/winograd.rs`.
//!
//! # What you can rely on
//!
//! * **Determinism.** The same recording, parameters and inputs give the same bits, run
//!   after run, on one instruction set and with any number of [threads](Tape::set_threads):
//!   work is cut into chunks that depend on shapes only, and sums are in a fixed order.
//!   Another instruction set may round matrix products and exponentials differently.
//! * **Allocation.** Buffers of values are allocated while recording and those of
//!   gradients by the first backward pass. After that a step allocates nothing, which
//!   `tests/no_allocation.rs` counts. (On machines with neither AVX2 nor AVX-512,
//!   matrix products fall back to the `matrixmultiply` crate, which allocates.)
//! * **Speed.** Kernels use the best instruction set found at run time
//!   ([`kernels::simd_level`]); no build flag is needed. The first term of a gradient
//!   overwrites what the last step left, so most are never zeroed. The exponential and
//!   what is made of it are vectorised ([`kernels::exp`] says how exact they are); the
//!   logarithm is not. `cargo bench -p autodiff` measures products and elementwise
//!   operations.
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
mod shape;
mod tape;
#[cfg(test)]
mod testing;

pub use error::Error;
pub use gradcheck::{Gradcheck, GradcheckError, gradcheck};
pub use graph::{Graph, Var, record};
pub use kernels::Real;
pub use memory::Slot;
pub use op::{Gradient, Gradients, Inputs, Op};
pub use ops::{BatchNorm, BatchNormConfig, BatchNormMode, Dropout, Padding};
pub use params::{GradientVector, Param, Params};
pub use shape::{MAX_RANK, Shape};
pub use tape::{Pass, Tape};
