//! What is learnt: a task is data, a model and a loss. [`Training`] turns one into a run that is sliced, saved and resumed.
//!
//! | task | sections | type |
//! |---|---|---|
//! | badly conditioned regression | 3.1 | [`regression`] |
//! | images: perceptron, ConvNet, ResNet-32 | 3.2, 3.3, 3.5, 3.6 | [`images`] |
//! | repeat-copy, by the DNC | 3.4, 3.6 | [`repeat_copy`] |

pub mod images;
pub mod levenberg_marquardt;
pub mod marks;
pub mod regression;
pub mod repeat_copy;
pub mod training;
pub mod window;
pub mod workload;

use anyhow::Result;
use autodiff::{GradientVector, Params, Real, Threads};

use crate::engine::checkpoint::{Checkpoint, Element};

pub use training::Training;
pub use workload::Workload;

/// What a row of metrics says, by name.
pub type Row = Vec<(&'static str, f64)>;

/// What one run needs of a task: everything but the optimiser and the log.
///
/// A task draws its own minibatches, from streams of the run's seed, so that equal seeds give equal weights and equal
/// minibatches to all methods.
pub trait Problem: Send {
    /// The precision.
    type T: Real + l4::Real + Element + Default;

    /// The parameters θ.
    fn params(&self) -> &Params<Self::T>;

    /// The same, for the optimiser to move.
    fn params_mut(&mut self) -> &mut Params<Self::T>;

    /// Those that its steps are made on, with the same bits whatever their number.
    fn threads(&self) -> Threads {
        Threads::default()
    }

    /// Takes the next minibatch, and gives its loss at θ and the gradient.
    ///
    /// # Errors
    /// If the model cannot be evaluated. A loss that is not finite is no error here: the optimiser refuses it.
    fn loss_and_gradient(&mut self, gradient: &mut GradientVector<Self::T>) -> Result<Self::T>;

    /// The loss of that minibatch once more, at what θ is by then. Leaves nothing behind: the next minibatch and its dropout
    /// are what they would have been.
    ///
    /// # Errors
    /// If the model cannot be evaluated.
    fn loss_again(&mut self) -> Result<Self::T>;

    /// Measures what a stage of the run ends with, such as a test accuracy; `last` at the end of the run.
    ///
    /// # Errors
    /// If the model cannot be evaluated.
    fn evaluate(&mut self, last: bool, row: &mut Row) -> Result<()>;

    /// Stores all state but θ: where the data are, what layers keep.
    fn save(&self, to: &mut Checkpoint);

    /// Takes over what [`save`](Self::save) stored of a run that had made `steps` steps.
    ///
    /// # Errors
    /// If the checkpoint does not fit.
    fn load(&mut self, from: &Checkpoint, steps: u64) -> Result<()>;
}
