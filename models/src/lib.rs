//! The networks of the L4 paper, on [`autodiff`].
//!
//! A network is a set of named parameters and a function that records its
//! equations; [`Regression`] and [`Classifier`] put a loss on top and turn the
//! recording into something that a training loop can drive: parameters in, loss
//! and flat gradient out.
//!
//! | model | section | type |
//! |---|---|---|
//! | two-layer linear network W1·W2 | 3.1 | [`TwoLayerLinear`], trained by [`Regression`] |
//! | 784–300–100–10 perceptron | 3.2 | [`Mlp`], trained by [`Classifier`] |
//! | residual network with preactivation | 3.3 | [`ResNet`], trained by [`Classifier`] |
//! | differentiable neural computer | 3.4 | [`Dnc`], trained by [`DncTrainer`] |
//! | convolutional network | 3.5 | [`ConvNet`], trained by [`Classifier`] |
//!
//! All randomness comes from the generator that the caller passes to a
//! constructor.
#![forbid(unsafe_code)]

mod classifier;
mod convnet;
mod dense;
pub mod dnc;
pub mod init;
mod layers;
mod mlp;
mod regression;
mod resnet;

pub use classifier::{Classifier, Training};
pub use convnet::ConvNet;
pub use dense::Dense;
pub use dnc::{Dnc, DncConfig, DncTrainer, Sequences};
pub use layers::{Layers, State};
pub use mlp::Mlp;
pub use regression::{Regression, TwoLayerLinear, TwoLayerShape};
pub use resnet::ResNet;
