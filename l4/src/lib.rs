//! L4 stepsize adaptation (Rolínek and Martius, *L4: Practical loss-based stepsize adaptation for
//! deep learning*, NeurIPS 2018) and the optimisers that the paper compares it with.
//!
//! Everything works on flat slices of parameters and gradients, in `f32` or `f64`: one of each
//! ([`Optimizer::step`]), or one of each for every tensor ([`Optimizer::step_segments`]).
//!
//! ```
//! use l4::{L4Adam, Optimizer};
//!
//! // Minimise L(θ) = ½·(θ₀ − 3)² + 50·(θ₁ + 1)² without choosing a learning rate.
//! let mut optimizer = L4Adam::<f64>::new();
//! let mut theta = [0.0, 0.0];
//! for _ in 0..2000 {
//!     let (x, y) = (theta[0] - 3.0, theta[1] + 1.0);
//!     let loss = 0.5 * x * x + 50.0 * y * y;
//!     optimizer.step(loss, &mut theta, &mut [x, 100.0 * y])?;
//! }
//! assert!((theta[0] - 3.0).abs() < 1e-3 && (theta[1] + 1.0).abs() < 1e-3);
//! # Ok::<(), l4::StepError>(())
//! ```
//!
//! # With autodiff
//!
//! The gradient may come from anywhere. From `autodiff`, the crate beside this one, the whole of a
//! training:
//!
//! ```
//! use autodiff::{Params, record};
//! use l4::{L4Adam, Optimizer};
//!
//! let mut params = Params::new();
//! let w = params.add("w", [2], || 0.0)?;
//! let (mut tape, _) = record(|g| Ok([g.param(w).squared_error(g.constant([2], &[3.0, -1.0]))]))?;
//! let (mut optimizer, mut grads) = (L4Adam::<f64>::new(), params.zeros_like());
//! for _ in 0..2000 {
//!     let mut pass = tape.forward(&params)?;
//!     pass.backward(&mut grads)?;
//!     let loss = pass.loss()?;
//!     optimizer.step(loss, params.values_mut(), &mut grads)?;
//! }
//! assert!((params.view(w)[0] - 3.0).abs() < 1e-3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! [dependencies]                   # in a workspace beside them
//! autodiff = { path = "../autodiff" }
//! l4 = { path = "../l4" }
//! [profile.dev]                    # of the workspace: generic code is compiled where it is used,
//! opt-level = 3                    # and a dev build tens of times slower without
//! ```
//!
//! # The idea
//!
//! The gradient plays two roles. As the *estimate* g it says how the loss changes near θ; as the
//! *direction* v it says where to go. L4 keeps them apart. If Lmin is the least loss attainable,
//! the step along v that should reach it satisfies L(θ − η·v) = Lmin, Eq. (1). Linearised with g,
//! that is L − η·g·v = Lmin, so
//!
//! - η = (L − Lmin)/(g·v), Eq. (2): Newton's method for the root of a function of one variable
//! - η = **α**·(L − Lmin)/(g·v), Eq. (3): only the fraction α of it, since the model is linear, the
//!   loss is not, and a batch is not the data. This form does not change under L → a·L + b, Eq. (4)
//! - Lmin ← min(Lmin, L), at the first step **γ0**·L: the lowest loss seen (section 2.4). η is
//!   computed with it; only after the step Lmin ← (1 + 1/**τ**)·Lmin, Eq. (5): slowly forgotten
//! - η = α·(L − **γ**·Lmin)/(g·v + **ε**), Eq. (6): [`stepsize`]. Better than the lowest loss is
//!   taken to be attainable, and the division is safe
//! - g = EMA(∇L, 10); v = g, or v = g/(√EMA(∇L², 1000) + 1e-4), Eq. (7): [`L4Mom`] and [`L4Adam`]
//!
//! [`L4`] puts these together, Algorithm 1, and [`StepRule`] those of them that need no tensors. [`MovingAverage`] is EMA with bias correction,
//! Algorithm 2. Each is to be found by these names in the source.
//!
//! # Which to use
//!
//! | | state per parameter | use it |
//! |---|---|---|
//! | [`L4Adam`] | 2 | first, where the loss can come near 0; [`alpha`](L4::alpha) 0.15, or 0.25 on easy problems |
//! | [`L4Mom`] | 1 | where memory counts, or Adam's scaling hurts; the less stable of the two |
//! | [`Adam`], [`Momentum`], [`Nesterov`], [`RmsProp`], [`Sgd`] | 2, 1, 1, 1, 0 | with a tuned rate, as a baseline; or where the loss has no known lower bound |
//! | [`rate_free`] | 0 to 4 | ten of today's methods that need no rate, or read the loss as L4 does |
//! | [`WeightDecay`] | – | around any of them, for decoupled weight decay, by segment if need be |
//! | [`ClipByGlobalNorm`] | – | around a baseline whose gradients explode; L4 does without |
#![cfg_attr(
    feature = "levenberg-marquardt",
    doc = "| [`LevenbergMarquardt`] | J and JᵀJ | for least squares with few parameters, to the last digit |"
)]
//!
//! L4 over the tensors of candle and burn is behind the features `candle` and `burn`; for those of
//! any other framework there is [`StepRule`].
//!
//! L4 reads the loss's *value*, so the loss must be at least 0, and near 0 at the optimum: drop
//! additive constants ([`rate_free`]'s table says which of them read it too). The baselines have TensorFlow 1's semantics, with which the paper ran them;
//! each one's page says where that differs from the textbook.
//!
//! # Edge cases
//!
//! | what | L4 | baselines |
//! |---|---|---|
//! | first step | Lmin = γ0·L; averages are bias-corrected, so g and v are full-sized | Adam corrects too |
//! | zero loss | a fixed point: η = 0, θ unchanged bit for bit, [`Outcome::TargetReached`] | no special case |
//! | g·v ≤ 0 | no step, never an ascent: η = 0, θ unchanged bit for bit, [`Outcome::NoDescent`] | – |
//! | gradients 0 from the first step on | g·v = 0, as above; after others the averages go on | as the formula says |
//! | negative loss | [`StepError::NegativeLoss`], nothing changes | taken |
//! | loss NaN or infinite | [`StepError::NonFiniteLoss`], nothing changes | the same |
//! | gradient element NaN, infinite, or beyond [`Real::LARGEST`] | [`StepError::UnusableGradient`], nothing changes | the same |
//! | moments that become subnormal | 0 instead, as subnormal numbers are slow; over tensors of candle and burn they stay | 0 instead |
//! | gradient element below [`Real::SMALLEST`] | has no part in mean squares; such an element of g is 0 | has no part in mean squares |
//! | g·v or η overflows | [`StepError::Overflow`]: θ unchanged, the moments and Lmin have absorbed the gradient and the loss | – |
//! | θ − η·v overflows | θ is no longer finite; the next loss or gradient is refused | the same |
//! | slices of another length | [`StepError::GradientCount`], and where anything is remembered [`StepError::ParameterCount`], nothing changes | the same |
//! | no parameters | no error | no error |
//!
//! A refused step is an error and not a skipped step: whether a diverged run ends or goes on is
//! the caller's decision.
//!
//! What to do where users have reported trouble (losses with a constant offset, explosions, sparse
//! gradients, luck at the first step) is in the README.
//!
//! # Adding an optimiser
//!
//! For an L4 over another direction, write the direction for one parameter. Signed gradients, as
//! in Rprop, v = sign(g), which keeps g·v = Σ|g| ≥ 0:
//!
//! ```
//! use l4::{AveragedGradient, Direction, L4, Optimizer, Real, Transform};
//!
//! struct Sign;
//!
//! impl<T: Real> Transform<T> for Sign {
//!     type Moments = [T; 0]; // [T; 1] to remember one number per parameter, and so on
//!     const NAMES: &'static [&'static str] = &[]; // their names in a saved state
//! }
//!
//! impl<T: Real> Direction<T> for Sign {
//!     #[inline(always)]
//!     fn direction(&self, _gradient: T, g: T, _moments: &mut [T; 0]) -> T {
//!         if g == T::zero() { g } else { g.signum() }
//!     }
//! }
//!
//! let mut optimizer = L4::compose("L4Sign", AveragedGradient::default(), Sign);
//! let mut theta = [1.0f32, -2.0];
//! // g = v = (1, −1) and g·v = 2, so η = 0.15·(1 − 0.9·0.75)/2.
//! let step = optimizer.step(1.0, &mut theta, &mut [1.0, -1.0])?;
//! assert!((step.learning_rate - 0.15 * 0.325 / 2.0).abs() < 1e-6);
//! # Ok::<(), l4::StepError>(())
//! ```
//!
//! For any other method implement [`Optimizer`]: check, step, save, restore,
//! and say how it is set. AdaGrad in full:
//!
//! ```
//! use l4::{
//!     MomentBuffer, Optimizer, Real, Schedule, Segment, Settings, State, StateError, Step,
//!     StepError, check_inputs, fit_moments, with_ranges,
//! };
//!
//! /// s ← s + ∇L²; θ ← θ − lr·∇L/√s
//! struct AdaGrad<T> {
//!     schedule: Schedule<T>,
//!     step: u64,
//!     squares: MomentBuffer<T>,
//! }
//!
//! impl<T: Real> Optimizer<T> for AdaGrad<T> {
//!     fn name(&self) -> &'static str {
//!         "AdaGrad"
//!     }
//!
//!     fn settings(&self) -> Settings {
//!         self.schedule.add_to(Settings::of("AdaGrad"))
//!     }
//!
//!     fn step_segments(
//!         &mut self,
//!         loss: T,
//!         segments: &mut [Segment<'_, T>],
//!     ) -> Result<Step<T>, StepError> {
//!         // Everything that can fail comes before anything that changes.
//!         let count = check_inputs(loss, segments)?;
//!         fit_moments(&mut self.squares, T::of(0.1), self.step, count)?;
//!         let rate = self.schedule.rate(self.step);
//!         self.step += 1;
//!         for (range, theta, grads) in with_ranges(segments) {
//!             let squares = &mut self.squares[range];
//!             for ((theta, &mut grad), square) in theta.iter_mut().zip(grads).zip(squares) {
//!                 *square = *square + grad * grad;
//!                 *theta = *theta - rate * grad / square.sqrt();
//!             }
//!         }
//!         Ok(Step::at_rate(rate))
//!     }
//!
//!     fn state(&self) -> State<T> {
//!         State::new(self.step).with_vector("squares", self.squares.to_vec())
//!     }
//!
//!     fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
//!         let mut reader = state.into_reader()?;
//!         let (step, squares) = (reader.step(), reader.squares("squares")?);
//!         reader.finish()?;
//!         (self.step, self.squares) = (step, squares.into());
//!         Ok(())
//!     }
//!
//!     fn state_bytes(&self) -> usize {
//!         self.squares.bytes()
//!     }
//! }
//!
//! let schedule = Schedule::constant(0.5)?;
//! let mut optimizer = AdaGrad { schedule, step: 0, squares: MomentBuffer::new() };
//! let mut theta = [1.0];
//! // s = 0.1 + 0.8² = 0.74
//! optimizer.step(0.32, &mut theta, &mut [0.8])?;
//! assert!((theta[0] - (1.0 - 0.5 * 0.8 / 0.74f64.sqrt())).abs() < 1e-15);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Speed and determinism
//!
//! A step walks memory once to check the gradient, then once (the baselines) or twice (L4, whose
//! η depends on all of g·v). Loops are vectorised for the machine they run on; results have the same
//! bits whichever vector instructions it has, since no loop fuses multiply and add and sums have a fixed order.

#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod adam;
mod buffer;
#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "candle")]
pub mod candle;
mod clip;
mod config;
mod error;
mod l4;
#[cfg(feature = "levenberg-marquardt")]
mod levenberg_marquardt;
mod momentum;
mod optimizer;
mod parallel;
pub mod rate_free;
mod real;
mod rmsprop;
mod schedule;
mod settings;
mod sgd;
mod simd;
mod state;
mod step_rule;
mod stepsize;
#[cfg(any(feature = "burn", feature = "candle"))]
mod tensors;
mod transform;
mod weight_decay;

pub use adam::Adam;
pub use buffer::MomentBuffer;
pub use clip::ClipByGlobalNorm;
pub use error::{ConfigError, StateError, StepError};
pub use l4::{L4, L4Adam, L4Mom};
#[cfg(feature = "levenberg-marquardt")]
pub use levenberg_marquardt::{
    LeastSquares, LevenbergMarquardt, LevenbergMarquardtError, LevenbergMarquardtOutcome,
    LevenbergMarquardtStep,
};
pub use momentum::{Accumulated, Momentum, Nesterov};
pub use optimizer::{Optimizer, Outcome, Segment, Step, check_inputs, fit_moments, with_ranges};
pub use real::Real;
pub use rmsprop::RmsProp;
pub use schedule::Schedule;
pub use settings::{Setting, Settings};
pub use sgd::Sgd;
pub use state::{State, StateReader};
pub use step_rule::StepRule;
pub use stepsize::stepsize;
pub use transform::{
    AdamDirection, AlongEstimate, AveragedGradient, Direction, GradientEstimate, MEAN_SQUARE,
    Moments, MovingAverage, RawGradient, Transform,
};
pub use weight_decay::WeightDecay;
