//! Computes runs in parallel, keeps what they did, and goes on after any interruption.
//!
//! ```text
//! OUT/.lock                              held by the process that will write the results
//! OUT/runs/L4Adam_..._seed=0-<id>/         one run: see below
//! OUT/figure2.json ...                   the section's results, written by the section
//! OUT/tensorboard/                       if asked for: each run's metrics once more, for TensorBoard
//! ```
//!
//! # What holds at any moment
//!
//! - A run's directory is named after the hash of its whole specification ([`RunSpec`]). A
//!   changed specification is another directory; an equal one is the same run.
//! - A finished run is never computed again. An unfinished one goes on from its last checkpoint, and its final metrics,
//!   result and weights are bit-identical to those of a run that was never interrupted. What is in a run's directory after
//!   a crash at any instant is written at the head of `store.rs`.
//! - Runs share nothing: a run that diverges, fails or finds its directory damaged leaves the others as they are.
//! - A run is computed by one process at a time, and each that computes it goes on where the last one stopped. So several
//!   processes may share the runs of a command ([`Shard`]), on one machine or on many. Each passes over a run that another
//!   computes; a process that is to write the results waits for it.
//!
//! # What makes runs deterministic
//!
//! A run is one [`Experiment`](crate::engine::experiment::Experiment), which keeps the three promises made there. The runner
//! adds no choice that a run could see: how long its slices are, when it checkpoints, which thread or process it is on.
//! Results come back in the order in which the runs were given. So nothing but times depends on `jobs`, on the machine's speed,
//! on interruptions or on who shares the work.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, ensure};

use crate::engine::checkpoint::Checkpoint;
use crate::engine::drive::Active;
pub use crate::engine::failure::RunnerError;
use crate::engine::files::FileError;
use crate::engine::interrupt;
use crate::engine::lock::Lock;
pub use crate::engine::options::Options;
use crate::engine::parallel::{in_parallel, lock};
pub use crate::engine::planned::Planned;
use crate::engine::planned::distinct;
use crate::engine::progress::{Progress, tell};
use crate::engine::provenance::{self, DataSet, Provenance, RunsBy};
use crate::engine::reference::Reference;
use crate::engine::run::{RunResult, RunSpec};
pub use crate::engine::shard::Shard;
use crate::engine::store::{self, Resume, RunDirectory, Stored};
use crate::engine::tensorboard;

/// How often a run that another process computes is looked at again.
const POLL: Duration = Duration::from_millis(500);

/// How far a run came.
enum End {
    Result(Box<RunResult>),
    /// A signal asked to stop, and it keeps its last step.
    Interrupted,
    /// Another process computes it: which.
    Held(String),
}

/// What to do about a run that another process computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfHeld {
    PassOver,
    Wait,
}

/// An output directory, and the means to compute runs in it.
#[derive(Debug)]
pub struct Runner {
    options: Options,
    started: SystemTime,
    clock: Instant,
    reference: Reference,
    /// Directories that `fresh` has emptied already: a second call for the same run finds the result of the first.
    discarded: Mutex<HashSet<String>>,
    account: Mutex<Account>,
    /// The places in the first list of runs that was asked for, by identity: what parts go by.
    places: OnceLock<HashMap<String, usize>>,
    /// Of the results, which a part of the runs does not have.
    _lock: Option<Lock>,
}

/// What went into the results so far.
#[derive(Debug, Default)]
struct Account {
    runs: HashSet<String>,
    seconds: f64,
    by: Vec<RunsBy>,
    /// All runs that were asked for of a part, by identity; for those that are not finished, what they are and who computes
    /// them.
    shared: BTreeMap<String, Option<(String, String)>>,
}

impl Runner {
    /// Creates the output directory and, unless only a part of the runs is to be computed, sees to it that no other process
    /// writes results there.
    ///
    /// # Errors
    /// If the directory cannot be written or another process is to write results there.
    pub fn open(options: Options) -> Result<Self, RunnerError> {
        let runs = options.out.join("runs");
        if options.fresh && options.shard.is_some() {
            return Err(RunnerError::Usage(
                "--fresh would discard what this part has computed each time that it is started again. Without it, give a new \
                 directory with --out"
                    .to_owned(),
            ));
        }
        fs::create_dir_all(&runs).map_err(FileError::on("create", &runs))?;
        let lock = match options.shard {
            None => Some(Lock::of_results(&options.out)?),
            Some(shard) => {
                tell(&shard.to_string());
                None
            }
        };
        let store = options.reference.as_deref().filter(|_| !options.fresh);
        let folder = &options.reference_folder;
        let reference = store.map(|root| Reference::open(root, folder, options.accept_other_code));
        Ok(Self {
            options,
            started: SystemTime::now(),
            clock: Instant::now(),
            reference: reference.transpose()?.unwrap_or_default(),
            discarded: Mutex::default(),
            account: Mutex::default(),
            places: OnceLock::new(),
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
    /// specifications are computed once. From here on, and not before, there is something to keep when a signal comes: Ctrl-C
    /// is taken over.
    ///
    /// # Errors
    /// If a run fails, after the others are finished; if a signal asks to stop, after all runs are checkpointed; and when a
    /// part of the runs is done, where only that was asked for.
    pub fn run(&self, planned: &[Planned<'_>]) -> Result<Vec<RunResult>, RunnerError> {
        match self.options.shard {
            None => self.all(planned),
            Some(shard) => {
                self.part(shard, planned)?;
                Err(self.part_done(shard))
            }
        }
    }

    /// As [`run`](Self::run), for one who has more runs to ask for: `None` where only a part of the runs was computed, and the
    /// others are not all there. [`end`](Self::end) then says so.
    ///
    /// # Errors
    /// If a run fails, or a signal asks to stop.
    pub fn try_run(&self, planned: &[Planned<'_>]) -> Result<Option<Vec<RunResult>>, RunnerError> {
        match self.options.shard {
            Some(shard) if !self.part(shard, planned)? => Ok(None),
            _ => self.all(planned).map(Some),
        }
    }

    /// To be asked before results of [`try_run`](Self::try_run) are written, and after the last.
    ///
    /// # Errors
    /// If only a part of the runs was asked for.
    pub fn end(&self) -> Result<(), RunnerError> {
        match self.options.shard {
            None => Ok(()),
            Some(shard) => Err(self.part_done(shard)),
        }
    }

    /// Whether this process will compute the run at this place of its first list, counted from 0: it is not finished, and in its part.
    #[must_use]
    pub fn is_due(&self, place: usize, planned: &Planned<'_>) -> bool {
        self.options.shard.is_none_or(|shard| shard.has(place)) && !self.is_finished(planned)
    }

    fn all(&self, planned: &[Planned<'_>]) -> Result<Vec<RunResult>, RunnerError> {
        let distinct = distinct(planned)?;
        let _listening = interrupt::listen().map_err(RunnerError::Signal)?;
        if self.options.fresh {
            self.discard(&distinct)?;
        }
        let ends = self.compute_all(&distinct, IfHeld::Wait);
        let results = self.collect(&distinct, ends)?;
        let ids = distinct.iter().map(|planned| planned.spec.id());
        let by_id: HashMap<String, RunResult> = ids.zip(results).collect();
        let asked = planned.iter().map(|planned| planned.spec.id());
        Ok(asked.map(|id| by_id[&id].clone()).collect())
    }

    /// Discards what there is of all these runs before the first is computed, so that after an interruption whatever is there
    /// is new. What another process computes is discarded when its turn comes.
    fn discard(&self, planned: &[&Planned<'_>]) -> Result<(), RunnerError> {
        let mut discarded = lock(&self.discarded);
        for planned in planned {
            let name = planned.spec.directory_name();
            if !discarded.contains(&name) && store::discard(&self.directory_of(planned))? {
                discarded.insert(name);
            }
        }
        Ok(())
    }

    /// Computes a part of the runs, but for those that other processes are at, and says whether all runs are finished.
    fn part(&self, shard: Shard, planned: &[Planned<'_>]) -> Result<bool, RunnerError> {
        let distinct = distinct(planned)?;
        let _listening = interrupt::listen().map_err(RunnerError::Signal)?;
        let places = self.places.get_or_init(|| {
            let ids = distinct.iter().map(|planned| planned.spec.id());
            ids.zip(0..).collect()
        });
        let place = |spec: &RunSpec| places.get(&spec.id()).copied().unwrap_or(spec.place());
        let mine = distinct.iter().copied();
        let mine: Vec<&Planned> = mine
            .filter(|planned| shard.has(place(&planned.spec)))
            .collect();
        let ends = self.compute_all(&mine, IfHeld::PassOver);
        let held: HashMap<String, String> = mine
            .iter()
            .zip(&ends)
            .filter_map(|(planned, end)| match end {
                Ok(End::Held(holder)) => Some((planned.spec.id(), holder.clone())),
                _ => None,
            })
            .collect();
        self.collect(&mine, ends)?;
        let mut account = self.account();
        for planned in &distinct {
            let id = planned.spec.id();
            let who = held.get(&id).map_or("of another part", String::as_str);
            let left = (!self.is_finished(planned)).then(|| (planned.spec.label(), who.to_owned()));
            account.shared.insert(id, left);
        }
        Ok(account.shared.values().all(Option::is_none))
    }

    fn part_done(&self, shard: Shard) -> RunnerError {
        let account = self.account();
        RunnerError::Shard {
            shard,
            total: account.shared.len(),
            remaining: account.shared.values().flatten().cloned().collect(),
        }
    }

    /// The ends of runs that differ, in their order.
    fn compute_all(&self, planned: &[&Planned<'_>], held: IfHeld) -> Vec<anyhow::Result<End>> {
        let steps = planned.iter().fold(0, |sum: u64, planned| {
            sum.saturating_add(planned.spec.steps)
        });
        let progress = Progress::new(planned.len(), steps, self.options.jobs);
        let ends: Vec<Mutex<Option<anyhow::Result<End>>>> =
            planned.iter().map(|_| Mutex::default()).collect();
        let pass = |places: &[usize], jobs, held| {
            in_parallel(places, jobs, |place| {
                let end = self.compute_guarded(planned[place], &progress, held);
                *lock(&ends[place]) = Some(end);
            });
        };
        let (alone, together): (Vec<usize>, _) =
            (0..planned.len()).partition(|&place| planned[place].alone);
        for (places, jobs) in [(together, self.options.jobs), (alone, 1)] {
            pass(&places, jobs, IfHeld::PassOver);
            if held == IfHeld::Wait {
                let is_held =
                    |&place: &usize| matches!(&*lock(&ends[place]), Some(Ok(End::Held(_))));
                let passed_over: Vec<usize> = places.into_iter().filter(is_held).collect();
                pass(&passed_over, jobs, IfHeld::Wait);
            }
        }
        progress.end();
        let ends = ends.into_iter().map(Mutex::into_inner);
        let ends = ends.map(|end| end.unwrap_or_else(PoisonError::into_inner));
        ends.map(|end| end.expect("every place is one of the two passes'"))
            .collect()
    }

    /// Where the results of all runs so far come from.
    #[must_use]
    pub fn provenance(&self, data: DataSet) -> Provenance {
        let account = self.account();
        Provenance {
            jobs: self.options.jobs,
            threads: self.options.threads,
            wall_seconds: self.clock.elapsed().as_secs_f64(),
            run_seconds: account.seconds,
            runs: account.by.clone(),
            ..provenance::of_this_program(self.started, data)
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
        let committed = || !planned.here && self.reference.has(&planned.spec);
        !self.options.fresh && (committed() || stored())
    }

    fn committed(&self, planned: &Planned<'_>) -> Option<RunResult> {
        self.reference.find(&planned.spec).filter(|_| !planned.here)
    }

    fn runs(&self) -> PathBuf {
        self.out().join("runs")
    }

    fn directory_of(&self, planned: &Planned<'_>) -> PathBuf {
        self.runs().join(planned.spec.directory_name())
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }

    fn collect(
        &self,
        planned: &[&Planned<'_>],
        ends: Vec<anyhow::Result<End>>,
    ) -> Result<Vec<RunResult>, RunnerError> {
        let total = planned.len();
        let mut results = Vec::with_capacity(total);
        let mut failures = Vec::new();
        let mut interrupted = false;
        for (planned, end) in planned.iter().zip(ends) {
            match end {
                Ok(End::Result(result)) => results.push(*result),
                Ok(End::Interrupted) => interrupted = true,
                Ok(End::Held(_)) => {}
                Err(error) => failures.push((planned.spec.clone(), error)),
            }
        }
        let mut account = self.account();
        results.iter().for_each(|result| account.add(result));
        if !failures.is_empty() {
            return Err(RunnerError::Failed {
                failures,
                total,
                out: self.options.out.clone(),
            });
        }
        if interrupted {
            return Err(RunnerError::Interrupted {
                finished: results.len(),
                total,
            });
        }
        Ok(results)
    }

    /// A panic is a defect of one experiment, and no reason to lose the others.
    fn compute_guarded(
        &self,
        planned: &Planned<'_>,
        progress: &Progress,
        held: IfHeld,
    ) -> anyhow::Result<End> {
        let end = catch_unwind(AssertUnwindSafe(|| self.compute(planned, progress, held)));
        let end = end
            .unwrap_or_else(|_| Err(anyhow!("it panicked (see above): a defect of the program")))?;
        if let End::Result(result) = &end
            && self.options.tensorboard
            && self.options.shard.is_none()
        {
            tensorboard::write(self.out(), result)?;
        }
        Ok(end)
    }

    fn compute(
        &self,
        planned: &Planned<'_>,
        progress: &Progress,
        held: IfHeld,
    ) -> anyhow::Result<End> {
        let spec = &planned.spec;
        let mut told = false;
        let (directory, resume) = loop {
            if interrupt::requested() {
                return Ok(End::Interrupted);
            }
            match self.open_run(planned)? {
                Stored::Unfinished(directory, resume) => break (directory, resume),
                Stored::Finished(result) => {
                    progress.found(spec, &result.spec.code);
                    return Ok(End::Result(Box::new(result)));
                }
                Stored::Held(holder) => {
                    if !told {
                        progress.held(spec, &holder, held == IfHeld::Wait);
                        told = true;
                    }
                    if held == IfHeld::PassOver {
                        return Ok(End::Held(holder));
                    }
                    thread::sleep(POLL);
                }
            }
        };
        let active = self.resume(planned, directory, resume)?;
        let progress = progress.begin(spec, active.experiment.position());
        let result = active.drive(&progress)?;
        Ok(result.map_or(End::Interrupted, |result| End::Result(Box::new(result))))
    }

    fn open_run(&self, planned: &Planned<'_>) -> anyhow::Result<Stored> {
        let spec = &planned.spec;
        let stored = store::is_finished(&self.directory_of(planned));
        if let Some(result) = self.committed(planned).filter(|_| !stored) {
            return Ok(Stored::Finished(result));
        }
        let name = spec.directory_name();
        let discard = self.options.fresh && !lock(&self.discarded).contains(&name);
        let found = store::open(&self.runs(), spec, discard)?;
        if !matches!(found, Stored::Held(_)) {
            lock(&self.discarded).insert(name);
        }
        Ok(found)
    }

    fn resume<'a>(
        &self,
        planned: &Planned<'a>,
        directory: RunDirectory,
        resume: Resume,
    ) -> anyhow::Result<Active<'a>> {
        let mut experiment = (planned.set_up)(&planned.spec)?;
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
        Ok(Active {
            directory,
            experiment,
            log: resume.log,
            checkpoint_period: self.options.checkpoint_period,
            last_checkpoint: Instant::now(),
            keep_final_checkpoint: self.options.keep_final_checkpoint,
            long: resume.checkpoint.is_some(),
        })
    }
}

impl Account {
    fn add(&mut self, result: &RunResult) {
        if !self.runs.insert(result.spec.id()) {
            return;
        }
        self.seconds += result.timing.wall_seconds;
        let by = self
            .by
            .iter_mut()
            .find(|by| by.commit == result.git_commit && by.machine == result.machine);
        match by {
            Some(by) => by.count += 1,
            None => self.by.push(RunsBy {
                count: 1,
                commit: result.git_commit.clone(),
                machine: result.machine.clone(),
            }),
        }
    }
}
