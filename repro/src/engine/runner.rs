//! Computes runs in parallel, keeps what they did, and goes on after any interruption.
//!
//! ```text
//! OUT/.lock                              held by the process that works here
//! OUT/runs/L4Adam_..._seed=0-<id>/         one run: see below
//! OUT/figure2.json ...                   the section's results, written by the section
//! OUT/tensorboard/                       if asked for: each run's metrics once more, for TensorBoard
//! ```
//!
//! # What holds at any moment
//!
//! - A run's directory is named after the hash of its whole specification ([`RunSpec`]). A changed specification is
//!   another directory; an equal one is the same run.
//! - A finished run is never computed again. An unfinished one goes on from its last checkpoint, and its final metrics,
//!   result and weights are bit-identical to those of a run that was never interrupted. What is in a run's directory after
//!   a crash at any instant is written at the head of `store.rs`.
//! - Runs share nothing: a run that diverges, fails or finds its directory damaged leaves the others as they are.
//!
//! # What makes runs deterministic
//!
//! A run is one [`Experiment`], which keeps the three promises made there. The runner adds no choice that a run could see:
//! how long its slices are, when it checkpoints, which thread it is on. Results come back in the order in which the runs
//! were given. So nothing but times depends on `jobs`, on the machine's speed or on interruptions.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::engine::checkpoint::Checkpoint;
use crate::engine::experiment::{Advance, Experiment, Stop};
use crate::engine::files::{Durability, FileError};
use crate::engine::interrupt;
use crate::engine::lock::{DirectoryLock, LockError};
use crate::engine::metrics::MetricLog;
use crate::engine::progress::{Progress, RunProgress};
use crate::engine::provenance::{self, DataSet, GIT_COMMIT, Provenance};
use crate::engine::reference::{NumbersError, Reference};
use crate::engine::run::{Outcome, RunResult, RunSpec};
use crate::engine::store::{self, RunDirectory, Stored};
use crate::engine::tensorboard;

/// How a [`Runner`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The output directory. It is created if need be.
    pub out: PathBuf,
    /// Runs computed at once.
    pub jobs: usize,
    /// Threads of each run, for experiments that can use more than one.
    pub threads: usize,
    /// Computes all runs anew, discarding what earlier commands left of them.
    pub fresh: bool,
    /// At least this long between two checkpoints of a run.
    pub checkpoint_period: Duration,
    /// Whether the final weights of a finished run stay on disk.
    pub keep_final_checkpoint: bool,
    /// A committed store: runs that are finished there are not computed again.
    pub reference: Option<PathBuf>,
    /// Takes runs from there that other code computed, too. Results say which.
    pub accept_other_code: bool,
    /// Whether each run's metrics are written as a TensorBoard event file too, below `tensorboard` in `out`.
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
            fresh: false,
            checkpoint_period,
            keep_final_checkpoint: true,
            reference: None,
            accept_other_code: false,
            tensorboard: false,
        }
    }
}

/// A run to be computed.
pub struct Planned<'a> {
    spec: RunSpec,
    set_up: Box<SetUp<'a>>,
    here: bool,
}

type SetUp<'a> = dyn Fn(&RunSpec) -> anyhow::Result<Box<dyn Experiment + 'a>> + Send + Sync + 'a;

impl<'a> Planned<'a> {
    /// `set_up` makes the experiment at its first step, on the thread that will compute it, and only if it is to be computed.
    pub fn new<E: Experiment + 'a>(
        spec: RunSpec,
        set_up: impl Fn(&RunSpec) -> anyhow::Result<E> + Send + Sync + 'a,
    ) -> Self {
        Self {
            spec,
            set_up: Box::new(move |spec| Ok(Box::new(set_up(spec)?))),
            here: false,
        }
    }

    /// Never taken from a committed store: its times, or its final weights, are what matters.
    #[must_use]
    pub fn here(mut self) -> Self {
        self.here = true;
        self
    }

    /// Another run of the same experiment, told apart by a setting that the experiment does not know.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: Value) -> Self {
        self.spec.settings.insert(name.to_owned(), value);
        self
    }

    /// Which run.
    #[must_use]
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }
}

/// Why there are no results to go on with.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The output directory is in use, or cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The output directory cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// Signals cannot be listened to.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signal(std::io::Error),
    /// The committed store cannot be read.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// A setting is null, which is what JSON makes of a NaN or an infinity. An error of the section's author.
    #[error("the setting {pointer} of the run `{run}` is null: it is missing or not finite")]
    Setting {
        /// The run.
        run: String,
        /// JSON pointer to the null.
        pointer: String,
    },
    /// A signal asked to stop.
    #[error(
        "interrupted with {finished} of {total} runs finished; the others keep their last step. To resume:\n  {}",
        command_line()
    )]
    Interrupted {
        /// Runs that are complete.
        finished: usize,
        /// Runs that were asked for.
        total: usize,
    },
    /// Some runs could not be carried out.
    #[error(
        "{} of {total} runs failed; the others are kept in {}{}",
        failures.len(), out.display(), list(failures)
    )]
    Failed {
        /// What failed and why.
        failures: Vec<(RunSpec, anyhow::Error)>,
        /// Runs that were asked for.
        total: usize,
        /// The output directory.
        out: PathBuf,
    },
}

/// This process's command line as one would type it to resume: `--fresh` would discard what was done.
fn command_line() -> String {
    let words = std::env::args().filter(|word| word != "--fresh");
    words
        .map(|word| quoted(&word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn list(failures: &[(RunSpec, anyhow::Error)]) -> String {
    failures
        .iter()
        .map(|(spec, error)| format!("\n  {}: {error:#}", spec.label()))
        .collect()
}

/// A result, or `None` if the run was interrupted before its end.
type End = anyhow::Result<Option<RunResult>>;

/// An output directory, and the means to compute runs in it. It belongs to this process until the runner is dropped.
#[derive(Debug)]
pub struct Runner {
    options: Options,
    started: SystemTime,
    clock: Instant,
    reference: Reference,
    /// Directories that `fresh` has emptied already: a second call for the same run finds the result of the first.
    discarded: Mutex<HashSet<String>>,
    account: Mutex<Account>,
    _lock: DirectoryLock,
}

/// What went into the results so far.
#[derive(Debug, Default)]
struct Account {
    runs: HashSet<String>,
    seconds: f64,
    other_commits: Vec<String>,
}

impl Runner {
    /// Creates and locks the output directory, and takes over Ctrl-C.
    ///
    /// # Errors
    /// If the directory cannot be written or another process works in it.
    pub fn open(options: Options) -> Result<Self, RunnerError> {
        let runs = options.out.join("runs");
        fs::create_dir_all(&runs).map_err(FileError::on("create", &runs))?;
        let lock = DirectoryLock::acquire(&options.out)?;
        let store = options.reference.as_deref().filter(|_| !options.fresh);
        let reference = store.map(|root| Reference::open(root, options.accept_other_code));
        interrupt::listen().map_err(RunnerError::Signal)?;
        Ok(Self {
            options,
            started: SystemTime::now(),
            clock: Instant::now(),
            reference: reference.transpose()?.unwrap_or_default(),
            discarded: Mutex::default(),
            account: Mutex::default(),
            _lock: lock,
        })
    }

    /// The output directory.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// Runs computed at once.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.options.jobs
    }

    /// Threads of each run.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.options.threads
    }

    /// Computes the runs, or reads back those that are finished. The results are in the order of `planned`; runs of equal
    /// specifications are computed once.
    ///
    /// # Errors
    /// If a run fails, after the others are finished; or if a signal asks to stop, after all runs are checkpointed.
    pub fn run(&self, planned: &[Planned<'_>]) -> Result<Vec<RunResult>, RunnerError> {
        self.run_at_once(planned, self.options.jobs)
    }

    /// As [`run`](Self::run), one run at a time, so that none slows another: for their times.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_one_by_one(&self, planned: &[Planned<'_>]) -> Result<Vec<RunResult>, RunnerError> {
        self.run_at_once(planned, 1)
    }

    fn run_at_once(
        &self,
        planned: &[Planned<'_>],
        jobs: usize,
    ) -> Result<Vec<RunResult>, RunnerError> {
        check(planned)?;
        let mut ids: Vec<String> = planned.iter().map(|planned| planned.spec.id()).collect();
        let mut seen = HashSet::new();
        let distinct: Vec<&Planned> = planned
            .iter()
            .filter(|planned| seen.insert(planned.spec.id()))
            .collect();
        let results = self.run_distinct(&distinct, jobs)?;
        let by_id: HashMap<String, &RunResult> = distinct
            .iter()
            .map(|planned| planned.spec.id())
            .zip(&results)
            .collect();
        Ok(ids.drain(..).map(|id| by_id[&id].clone()).collect())
    }

    fn run_distinct(
        &self,
        planned: &[&Planned<'_>],
        jobs: usize,
    ) -> Result<Vec<RunResult>, RunnerError> {
        let steps = planned.iter().fold(0, |sum: u64, planned| {
            sum.saturating_add(planned.spec.steps)
        });
        let progress = Progress::new(planned.len(), steps, jobs);
        let next = AtomicUsize::new(0);
        let ends: Vec<OnceLock<End>> = planned.iter().map(|_| OnceLock::new()).collect();
        let work = || {
            while let Some(index) = claim(&next, planned.len()) {
                let end = self.compute_guarded(planned[index], &progress);
                ends[index]
                    .set(end)
                    .unwrap_or_else(|_| unreachable!("an index is claimed once"));
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, planned.len().max(1)) {
                scope.spawn(work);
            }
        });
        progress.end();
        self.collect(planned, ends.into_iter().filter_map(OnceLock::into_inner))
    }

    /// Where the results of all runs so far come from. `simd` names the vector instructions used.
    #[must_use]
    pub fn provenance(&self, simd: &str, data: DataSet) -> Provenance {
        let account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        Provenance {
            jobs: self.options.jobs,
            threads: self.options.threads,
            wall_seconds: self.clock.elapsed().as_secs_f64(),
            run_seconds: account.seconds,
            other_commits: account.other_commits.clone(),
            ..provenance::of_this_program(simd, self.started, data)
        }
    }

    /// The final state of a finished run.
    ///
    /// # Errors
    /// If the run has no checkpoint, or a damaged one.
    pub fn final_checkpoint(&self, planned: &Planned<'_>) -> anyhow::Result<Checkpoint> {
        let directory = self.directory_of(planned);
        let checkpoint = store::last_checkpoint(&directory, &planned.spec)?;
        checkpoint.with_context(|| {
            format!(
                "{} has no checkpoint.safetensors: compute the run again, with --fresh",
                directory.display()
            )
        })
    }

    /// Whether this run's result is there already, and will be read back.
    #[must_use]
    pub fn is_finished(&self, planned: &Planned<'_>) -> bool {
        let stored = || store::is_finished(&self.directory_of(planned));
        let committed = || !planned.here && self.reference.find(&planned.spec).is_some();
        !self.options.fresh && (stored() || committed())
    }

    fn directory_of(&self, planned: &Planned<'_>) -> PathBuf {
        self.out().join("runs").join(planned.spec.directory_name())
    }

    fn collect(
        &self,
        planned: &[&Planned<'_>],
        ends: impl Iterator<Item = End>,
    ) -> Result<Vec<RunResult>, RunnerError> {
        let total = planned.len();
        let mut results = Vec::with_capacity(total);
        let mut failures = Vec::new();
        for (planned, end) in planned.iter().zip(ends) {
            match end {
                Ok(Some(result)) => results.push(result),
                Ok(None) => {}
                Err(error) => failures.push((planned.spec.clone(), error)),
            }
        }
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        results.iter().for_each(|result| account.add(result));
        if !failures.is_empty() {
            return Err(RunnerError::Failed {
                failures,
                total,
                out: self.options.out.clone(),
            });
        }
        if results.len() < total {
            return Err(RunnerError::Interrupted {
                finished: results.len(),
                total,
            });
        }
        Ok(results)
    }

    /// A panic is a defect of one experiment, and no reason to lose the others.
    fn compute_guarded(&self, planned: &Planned<'_>, progress: &Progress) -> End {
        let end = catch_unwind(AssertUnwindSafe(|| self.compute(planned, progress)));
        let result = end.unwrap_or_else(|_| {
            Err(anyhow::anyhow!(
                "it panicked (see above): a defect of the program"
            ))
        })?;
        if let Some(result) = result.as_ref().filter(|_| self.options.tensorboard) {
            tensorboard::write(self.out(), result)?;
        }
        Ok(result)
    }

    fn compute(&self, planned: &Planned<'_>, progress: &Progress) -> End {
        let spec = &planned.spec;
        if interrupt::requested() {
            return Ok(None);
        }
        let runs = self.options.out.join("runs");
        if self.options.fresh {
            self.discard(&runs, spec)?;
        }
        let stored = store::is_finished(&self.directory_of(planned));
        if let Some(result) = self
            .reference
            .find(spec)
            .filter(|_| !planned.here && !stored)
        {
            progress.found(spec, &result.git_commit);
            return Ok(Some(result));
        }
        let (directory, resume) = match store::open(&runs, spec)? {
            Stored::Finished(result) => {
                progress.found(spec, &result.git_commit);
                return Ok(Some(result));
            }
            Stored::Unfinished(directory, resume) => (directory, resume),
        };
        let mut experiment = (planned.set_up)(spec)?;
        if let Some((checkpoint, position)) = &resume.checkpoint {
            experiment
                .load(checkpoint)
                .context("cannot resume from its checkpoint")?;
            let found = experiment.position();
            ensure!(
                found == *position,
                "its checkpoint is of step {position}, but the experiment resumed at {found}"
            );
        }
        let progress = progress.begin(spec, experiment.position(), directory.git_commit());
        let active = Active {
            options: &self.options,
            directory,
            experiment,
            log: resume.log,
            last_checkpoint: Instant::now(),
            // What has been checkpointed before is long enough to be worth the wait for the disk.
            long: resume.checkpoint.is_some(),
        };
        active.drive(&progress)
    }

    fn discard(&self, runs: &Path, spec: &RunSpec) -> Result<(), FileError> {
        let name = spec.directory_name();
        let path = runs.join(&name);
        let first = self
            .discarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name);
        if first && path.exists() {
            fs::remove_dir_all(&path).map_err(FileError::on("discard", &path))?;
        }
        Ok(())
    }
}

impl Account {
    fn add(&mut self, result: &RunResult) {
        if !self.runs.insert(result.spec.id()) {
            return;
        }
        self.seconds += result.timing.wall_seconds;
        if result.git_commit != GIT_COMMIT && !self.other_commits.contains(&result.git_commit) {
            self.other_commits.push(result.git_commit.clone());
        }
    }
}

fn check(planned: &[Planned<'_>]) -> Result<(), RunnerError> {
    for Planned { spec, .. } in planned {
        if let Some(pointer) = crate::engine::json::find_null(&spec.settings) {
            return Err(RunnerError::Setting {
                run: spec.label(),
                pointer,
            });
        }
    }
    Ok(())
}

/// The next run that nobody works on.
fn claim(next: &AtomicUsize, total: usize) -> Option<usize> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < total).then_some(index)
}

/// A run being computed.
struct Active<'a> {
    options: &'a Options,
    directory: RunDirectory,
    experiment: Box<dyn Experiment + 'a>,
    log: MetricLog,
    last_checkpoint: Instant,
    long: bool,
}

/// How long a slice should take: Ctrl-C is answered, and rows reach the disk, about this fast.
const SLICE: Duration = Duration::from_millis(50);

impl Active<'_> {
    fn drive(mut self, progress: &RunProgress<'_>) -> End {
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
            if interrupted || self.last_checkpoint.elapsed() >= self.options.checkpoint_period {
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
        // The state of a diverged run is no use to anyone; its last good one stays.
        if self.options.keep_final_checkpoint && outcome == Outcome::Finished {
            self.checkpoint()?;
        }
        progress.end(&outcome);
        let (summary, durability) = (self.experiment.summary(), self.durability());
        let keep = self.options.keep_final_checkpoint;
        Ok(self
            .directory
            .finish(outcome, summary, self.log, keep, durability)?)
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
    fn a_command_can_be_pasted_back() {
        for word in ["--out", "a/b=c", "L4Adam,mSGD"] {
            assert_eq!(quoted(word), word);
        }
        assert_eq!(quoted("L4Adam*"), "'L4Adam*'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn slices_approach_their_duration_from_below() {
        assert_eq!(next_slice(1, Duration::ZERO), 2);
        assert_eq!(next_slice(100, SLICE), 100);
        assert_eq!(next_slice(100, SLICE * 4), 25);
        assert_eq!(next_slice(1, SLICE * 1000), 1);
    }
}
