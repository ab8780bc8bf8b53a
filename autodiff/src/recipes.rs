//! Recipes: what is asked for often, each complete and run as a test. A step of an optimiser is
//! on the [front page](crate).
//!
//! # A causal mask
//!
//! Attention in which no position sees a later one adds −10⁹ to what it must not see.
//! Weights are \[in, out\], so a layer is `x.affine(w, b)`, on two axes or more. A helper is a
//! generic `fn`, as here; a closure has to be told the type of its argument, `|x: Var<'_, f64>|`.
//!
//! ```
//! use autodiff::{Error, Params, Var, record};
//!
//! /// softmax(Q·Kᵀ/√d + mask)·V for [batch, time, d].
//! #[track_caller] // an error names the caller's line
//! fn attention<'g>(q: Var<'g, f64>, k: Var<'g, f64>, v: Var<'g, f64>) -> Result<Var<'g, f64>, Error> {
//!     let [_, time, d] = q.shape()?[..] else { panic!("[batch, time, d]") };
//!     let mask: Vec<f64> = (0..time * time)
//!         .map(|at| if at % time > at / time { -1e9 } else { 0.0 })
//!         .collect();
//!     let mask = q.graph().constant([time, time], &mask);
//!     let scores = q.matmul(k.transpose()) / (d as f64).sqrt() + mask;
//!     Ok(scores.softmax().matmul(v))
//! }
//!
//! let mut params = Params::new();
//! let mut next = (0..6).map(f64::from);
//! let x = params.add("x", [1, 3, 2], || next.next().unwrap_or(0.0))?;
//! let (mut tape, [y]) = record(|g| {
//!     let x = g.param(x);
//!     Ok([attention(x, x, x)?])
//! })?;
//! // The first position sees itself alone.
//! assert_eq!(tape.forward(&params)?.value(y)?[..2], [0.0, 1.0]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # State that is carried on
//!
//! A recurrent network recorded for one chunk of a sequence begins the next where the last
//! one ended: [`Tape::copy`](crate::Tape::copy). No gradient flows over the cut.
//!
//! ```
//! use autodiff::{Params, record};
//!
//! let mut params = Params::new();
//! let w = params.add("w", [1], || 0.5)?;
//! let (mut tape, [before, after]) = record(|g| {
//!     let before = g.input([1]);
//!     Ok([before, before * g.param(w) + 1.0])
//! })?;
//! for expected in [1.0, 1.5, 1.75] {
//!     assert_eq!(tape.forward(&params)?.value(after)?, [expected]);
//!     tape.copy(after, before)?;
//! }
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! # A last batch of another size
//!
//! A tape has one batch size. Record a second one with the same parameters; they share
//! nothing else, so that one can train while the other samples or evaluates.
//!
//! ```
//! use autodiff::{Error, Params, Slot, Tape, record};
//!
//! let mut params = Params::new();
//! let w = params.add("w", [2, 1], || 2.0)?;
//! let network = |batch| record(|g| {
//!     let x = g.input([batch, 2]);
//!     Ok([x, x.matmul(g.param(w))])
//! });
//! let [(mut whole, [x, y]), (mut rest, [x_rest, y_rest])] = [network(3)?, network(1)?];
//! whole.set(x, &[1.0; 6])?;
//! rest.set(x_rest, &[1.0; 2])?;
//! assert_eq!(whole.forward(&params)?.value(y)?, [4.0; 3]);
//! assert_eq!(rest.forward(&params)?.value(y_rest)?, [4.0]);
//! # Ok::<(), Error>(())
//! ```
//!
//! # The gradient by an input, and of what is no scalar
//!
//! An input is differentiated if it is recorded as one. For a root y of any shape, Jᵀ·dy is
//! the gradient of ⟨dy, y⟩. For one function of one tensor there is
//! [`value_and_grad`](crate::value_and_grad()).
//!
//! ```
//! use autodiff::{Params, record};
//!
//! let (mut tape, [x, dy, _]) = record(|g| {
//!     let (x, dy) = (g.input_with_gradient([3]), g.input([3]));
//!     Ok([x, dy, (x.square() * dy).sum()])
//! })?;
//! tape.set(x, &[2.0; 3])?;
//! tape.set(dy, &[1.0, 0.0, 10.0])?;
//! let no_params = Params::new();
//! let mut pass = tape.forward(&no_params)?;
//! pass.backward(&mut [])?;
//! assert_eq!(pass.gradient(x)?.unwrap(), [4.0, 0.0, 40.0]);
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! # Training and evaluation with one recording
//!
//! Dropout and batch normalisation are other functions in use than in training.
//! [`Tape::set_training`](crate::Tape::set_training) switches all of a tape; a batch of another
//! size takes a tape of its own, as above.
//!
//! ```
//! use autodiff::{Params, record};
//!
//! let mut params = Params::new();
//! let w = params.add("w", [4], || 1.0)?;
//! let (mut tape, [y]) = record(|g| Ok([g.param(w).dropout(0.5, [7; 32])]))?;
//! assert!(tape.forward(&params)?.value(y)?.iter().all(|&y| y == 0.0 || y == 2.0));
//! tape.set_training(false);
//! assert_eq!(tape.forward(&params)?.value(y)?, [1.0; 4]);
//! # Ok::<(), autodiff::Error>(())
//! ```
