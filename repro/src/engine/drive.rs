//! A run being computed: in slices, with checkpoints between them.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::engine::experiment::{Advance, Experiment, Stop};
use crate::engine::files::Durability;
use crate::engine::interrupt;
use crate::engine::metrics::MetricLog;
use crate::engine::progress::RunProgress;
use crate::engine::run::{Outcome, RunResult};
use crate::engine::store::RunDirectory;

/// How long a slice should take: Ctrl-C is answered, and rows reach the disk, about this fast.
const SLICE: Duration = Duration::from_millis(50);

/// A run being computed.
pub(crate) struct Active<'a> {
    pub directory: RunDirectory,
    pub experiment: Box<dyn Experiment + 'a>,
    pub log: MetricLog,
    /// At least this long between two checkpoints.
    pub checkpoint_period: Duration,
    pub last_checkpoint: Instant,
    pub keep_final_checkpoint: bool,
    /// Whether it has been checkpointed before its end: then it is worth the wait for the disk.
    pub long: bool,
}

impl Active<'_> {
    /// Computes the run; `None` if it was interrupted before its end.
    pub fn drive(mut self, progress: &RunProgress<'_>) -> anyhow::Result<Option<RunResult>> {
        let mut steps = 1;
        loop {
            let before = self.experiment.position();
            let start = Instant::now();
            let advance = self.log.timed(|log| self.experiment.advance(steps, log));
            steps = next_slice(steps, start.elapsed());
            self.directory.append(&mut self.log)?;
            progress.at(self.experiment.position());
            match advance {
                Ok(Advance::Running) => {}
                Ok(Advance::Finished) => return self.finish(Outcome::Finished, progress).map(Some),
                Err(Stop::Diverged { step, reason }) => {
                    return self
                        .finish(Outcome::Diverged { step, reason }, progress)
                        .map(Some);
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
            ensure!(
                self.experiment.position() > before,
                "it made no step beyond {before} and yet is not finished"
            );
            let interrupted = interrupt::requested();
            if interrupted || self.last_checkpoint.elapsed() >= self.checkpoint_period {
                self.long = true;
                self.checkpoint()?;
            }
            if interrupted {
                return Ok(None);
            }
        }
    }

    /// Waiting for the disk is for runs that took long: a grid search has hundreds of short ones.
    fn durability(&self) -> Durability {
        if self.long {
            Durability::Power
        } else {
            Durability::Process
        }
    }

    fn checkpoint(&mut self) -> anyhow::Result<()> {
        let position = self.experiment.position();
        self.directory.checkpoint(
            &self.experiment.save(),
            position,
            self.log.timing(),
            self.durability(),
        )?;
        self.last_checkpoint = Instant::now();
        Ok(())
    }

    fn finish(mut self, outcome: Outcome, progress: &RunProgress<'_>) -> anyhow::Result<RunResult> {
        let keep = self.keep_final_checkpoint;
        // The state of a diverged run is no use to anyone; its last good one stays.
        if keep && outcome == Outcome::Finished {
            self.checkpoint()?;
        }
        let (summary, durability) = (self.experiment.summary(), self.durability());
        let result = self
            .directory
            .finish(outcome, summary, self.log, keep, durability)?;
        progress.end(&result.outcome);
        Ok(result)
    }
}

/// The number of steps that would have taken [`SLICE`], approached by at most doubling.
fn next_slice(steps: u64, took: Duration) -> u64 {
    let factor = SLICE.as_secs_f64() / took.as_secs_f64().max(1e-9);
    ((steps as f64 * factor.min(2.0)) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_approach_their_duration_from_below() {
        assert_eq!(next_slice(1, Duration::ZERO), 2);
        assert_eq!(next_slice(100, SLICE), 100);
        assert_eq!(next_slice(100, SLICE * 4), 25);
        assert_eq!(next_slice(1, SLICE * 1000), 1);
    }
}
