//! What a command line says of how runs are computed and kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::shard::Shard;

/// How a [`Runner`](crate::engine::runner::Runner) works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The output directory. It is created if need be.
    pub out: PathBuf,
    /// Runs computed at once.
    pub jobs: usize,
    /// Threads of each run, for experiments that can use more than one.
    pub threads: usize,
    /// Only this part of the runs is computed, and no results are written.
    pub shard: Option<Shard>,
    /// Computes all runs anew, discarding what earlier commands left of them.
    pub fresh: bool,
    /// At least this long between two checkpoints of a run.
    pub checkpoint_period: Duration,
    /// Whether the final weights of a finished run stay on disk.
    pub keep_final_checkpoint: bool,
    /// A committed store: runs that are finished there are not computed again.
    pub reference: Option<PathBuf>,
    /// The folder in it that has these results: of runs by several other codes, those are taken.
    pub reference_folder: PathBuf,
    /// Takes runs from there that other code computed, too. Results say which.
    pub accept_other_code: bool,
    /// Whether each run's metrics are written as a TensorBoard event file too, below `tensorboard` in `out`, unless only a part
    /// of the runs is computed.
    pub tensorboard: bool,
}

impl Options {
    /// One job of one thread, a checkpoint every 30 s, final weights kept, no store.
    #[must_use]
    pub fn new(out: impl Into<PathBuf>) -> Self {
        let checkpoint_period = Duration::from_secs(30);
        Self {
            out: out.into(),
            jobs: 1,
            threads: 1,
            shard: None,
            fresh: false,
            checkpoint_period,
            keep_final_checkpoint: true,
            reference: None,
            reference_folder: PathBuf::new(),
            accept_other_code: false,
            tensorboard: false,
        }
    }
}
