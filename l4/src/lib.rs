//! L4.
#![forbid(unsafe_code)]
mod adam;
mod clip;
mod config;
mod error;
mod l4;
mod momentum;
mod optimizer;
mod real;
mod rmsprop;
mod schedule;
mod sgd;
mod simd;
mod state;
mod stepsize;
mod transform;

pub use adam::Adam;
pub use clip::ClipByGlobalNorm;
pub use error::{ConfigError, StateError, StepError};
pub use l4::{L4, L4Adam, L4Mom};
pub use momentum::Momentum;
pub use optimizer::{Optimizer, Outcome, Step, check_inputs, fit_moments};
pub use real::Real;
pub use rmsprop::RmsProp;
pub use schedule::Schedule;
pub use sgd::Sgd;
pub use state::{State, StateReader};
pub use stepsize::stepsize;
pub use transform::{
    AdamDirection, AlongEstimate, AveragedGradient, Direction, GradientEstimate, Moments,
    MovingAverage, RawGradient, Transform,
};
