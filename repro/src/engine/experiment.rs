//! What the runner asks of an experiment.

use crate::engine::checkpoint::Checkpoint;
use crate::engine::metrics::MetricLog;

/// One run of one method with one seed, driven in slices.
///
/// The runner decides when to stop for a while, when to checkpoint and when to give up; an experiment only ever trains.
/// Three promises make a run's results independent of all that (checked by
/// [`conformance::check`](crate::engine::conformance::check)):
///
/// - **Slicing is invisible**: `advance(3)` then `advance(4)` does and logs what `advance(7)` does, bit by bit.
/// - **Saving is complete**: a new experiment of the same specification, given [`save`](Self::save)'s checkpoint, goes on
///   as the old one would have.
/// - **Nothing else enters**: no clock, no thread count, no global state; random numbers only from
///   [`streams`](crate::engine::streams) of the run's own seed.
pub trait Experiment {
    /// Does at most `max_steps` (at least 1) further steps and logs them. Once a run is complete, in this life or in the
    /// one whose checkpoint it took over, there is nothing to do or log but to say so.
    ///
    /// # Errors
    /// [`Stop::Diverged`] ends this run with a result, [`Stop::Failed`] without one.
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop>;

    /// Steps done.
    fn position(&self) -> u64;

    /// Everything that [`load`](Self::load) needs.
    fn save(&self) -> Checkpoint;

    /// Takes over a checkpoint of the same run. Called at most once, before the first step.
    ///
    /// # Errors
    /// If the checkpoint does not fit. The experiment is then dropped.
    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()>;

    /// What to keep of a run beside its metrics, asked for once, at its end. Deterministic, as the metrics are: no times.
    /// JSON has no NaN and no infinity, so such a value is a null here.
    fn summary(&self) -> serde_json::Map<String, serde_json::Value>;
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// There are steps left.
    Running,
    /// The run is complete, be it by its number of steps or by a criterion of its own.
    Finished,
}

impl Advance {
    /// Of a run that is over or not.
    #[must_use]
    pub fn of(finished: bool) -> Self {
        match finished {
            true => Advance::Finished,
            false => Advance::Running,
        }
    }
}

/// Why a run ended before its time.
///
/// Any error turns into [`Stop::Failed`] by `?`.
#[derive(Debug)]
pub enum Stop {
    /// Training left the finite numbers. That is a result, and counted as one.
    Diverged {
        /// The step whose loss, gradient or parameters were not finite.
        step: u64,
        /// Which of them, and what it was.
        reason: String,
    },
    /// The run could not be carried out.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}
