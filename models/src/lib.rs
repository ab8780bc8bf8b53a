//! The networks of the L4 paper, on [`autodiff`].
//!
//! | network | section | from | to |
//! |---|---|---|---|
//! | [`TwoLayerLinear`]: W1·W2·x | 3.1 | x \[6, samples\] | predictions \[10, samples\] |
//! | [`Mlp`]: a perceptron, 784–300–100–10 | 3.2 | pixels \[batch, 784\] | logits \[batch, 10\] |
//! | [`ResNet`]: 6n + 2 layers, with preactivation | 3.3 | images \[batch, 32, 32, 3\] | logits \[batch, 10\] |
//! | [`Dnc`]: a differentiable neural computer | 3.4 | observations \[steps, batch, 6\] | logits \[steps, batch, 5\] |
//! | [`ConvNet`]: two convolutions, two dense layers | 3.5 | images \[batch, 28, 28, 1\] | logits \[batch, 10\] |
//!
//! Sizes are the paper's; those of [`TwoLayerLinear`], [`Dnc`] and the blocks of [`ResNet`]
//! can be chosen. Tensors are row-major, images have their channels innermost.
//!
//! # Training one
//!
//! A network is a set of named parameters and a function that records its equations.
//! [`Regression`], [`Classifier`] and [`DncTrainer`] put the paper's loss on top; each has
//! `loss_and_gradient(&params, &mut grads)`, which is all that an optimiser needs:
//!
//! ```
//! use autodiff::Params;
//! use l4::{L4Adam, Optimizer};
//! use models::{Classifier, Mlp};
//! use rand::SeedableRng;
//!
//! let mut params = Params::<f32>::new();
//! let mlp = Mlp::new(&mut params, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0))?;
//! let mut classifier = Classifier::new([2, Mlp::INPUTS], |x| mlp.logits(x))?;
//! // An image whose upper half is white is a 7 here, one whose lower half is, a 1.
//! let (first, second) = classifier.inputs_mut().split_at_mut(Mlp::INPUTS);
//! first[..Mlp::INPUTS / 2].fill(1.0);
//! second[Mlp::INPUTS / 2..].fill(1.0);
//! classifier.set_labels(&[7, 1])?;
//!
//! let (mut optimizer, mut grads) = (L4Adam::new(), params.zeros_like());
//! for _ in 0..30 {
//!     let loss = classifier.loss_and_gradient(&params, &mut grads)?;
//!     optimizer.step(loss, params.values_mut(), &mut grads)?;
//! }
//! assert_eq!(classifier.predictions(&params)?, [7, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Such a program depends on `autodiff`, `models`, `l4` (any other optimiser of slices will
//! do), `rand` and a generator such as `rand_chacha`'s. Its own Cargo.toml decides how fast
//! autodiff is in its dev builds: see [`autodiff`].
//!
//! # Another loss, or a part of something larger
//!
//! Networks record themselves on any graph, for [`autodiff::record`]; [`Layers`] says what
//! becomes of dropout and batch normalisation:
//!
//! ```
//! use autodiff::{Params, record};
//! use models::Mlp;
//!
//! let mut params = Params::<f32>::new();
//! let mlp = Mlp::zeros(&mut params)?;
//! let (mut tape, [x, labels, each, _]) = record(|g| {
//!     let (x, labels) = (g.input([5, Mlp::INPUTS]), g.indices([5], Mlp::CLASSES));
//!     let each = mlp.logits(x).cross_entropy(labels);
//!     Ok([x, labels.var(), each, each.max()]) // the worst of the batch
//! })?;
//! tape.set(x, &[0.5; 5 * Mlp::INPUTS])?;
//! tape.set_indices(labels, &[0, 1, 2, 3, 9])?;
//! assert_eq!(tape.forward(&params)?.value(each)?, [10f32.ln(); 5]);
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! # Trained values
//!
//! First values come from the generator that the caller passes to `new`, dropout's masks from the seed in
//! [`Training`] or of [`Layers::training`]; `zeros` takes no generator, and its values are to be written over. The page of each network gives the names and
//! shapes of its parameters, whose elements [`Params`](autodiff::Params) has by name.
//! Beside these a network with dropout or batch normalisation keeps a [`State`].
//!
//! ```
//! # let trained = [0.0f32; 300];
//! # let mut params = autodiff::Params::new();
//! # models::Mlp::zeros(&mut params)?;
//! if let Some(bias) = params.get("hidden1/bias") {
//!     params.view_mut(bias).copy_from_slice(&trained);
//! }
//! # Ok::<(), autodiff::Error>(())
//! ```
//!
//! Two networks from outside the paper are written with autodiff's [`Dense`](autodiff::Dense) and [`init`](autodiff::init) alone:
//! `examples/character_gru.rs` and `examples/transformer_sort.rs`.
#![forbid(unsafe_code)]

mod classifier;
mod convnet;
pub mod dnc;
mod layers;
mod mlp;
mod regression;
mod resnet;
mod source;

pub use classifier::{Classifier, Training};
pub use convnet::ConvNet;
pub use dnc::{Dnc, DncConfig, DncTrainer, Sequences, Unrolled};
pub use layers::{Layers, State};
pub use mlp::Mlp;
pub use regression::{Regression, TwoLayerLinear, TwoLayerShape};
pub use resnet::ResNet;
