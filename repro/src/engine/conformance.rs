//! Checks that an experiment keeps the promises which [`Experiment`] makes, for the tests of experiments.

use anyhow::{Context, ensure};

use crate::engine::checkpoint::Checkpoint;
use crate::engine::experiment::{Advance, Experiment, Stop};
use crate::engine::metrics::{MetricLog, Metrics};

/// Slices of one experiment's life, chosen to be uneven.
const SLICES: [u64; 4] = [1, 7, 2, 13];

/// How a run went, as far as it is deterministic.
#[derive(PartialEq)]
struct Trajectory {
    metrics: Metrics,
    last: Checkpoint,
    summary: serde_json::Map<String, serde_json::Value>,
    end: End,
}

/// Compares a run in one piece with the same run in uneven slices, of which each is done by a new experiment that takes
/// over the checkpoint of the last. Their metrics, final states and summaries have to be equal, bit by bit; and whoever
/// takes over the last checkpoint has nothing left to do. `set_up` makes the same experiment at every call; let it be a
/// short one.
///
/// # Errors
/// Says what differs. Also if the experiment fails.
pub fn check<E: Experiment>(set_up: impl Fn() -> anyhow::Result<E>) -> anyhow::Result<()> {
    let whole = in_one_piece(set_up()?)?;
    let sliced = in_slices(&set_up)?;
    ensure!(
        whole.metrics == sliced.metrics,
        "the metrics depend on slicing, or the checkpoint is incomplete"
    );
    ensure!(
        whole.end == sliced.end,
        "divergence depends on slicing, or the checkpoint is incomplete"
    );
    // The state of a diverged run is not used.
    if whole.end != End::Finished {
        return Ok(());
    }
    let differing = whole
        .last
        .arrays()
        .zip(sliced.last.arrays())
        .find(|(a, b)| a != b);
    let name = differing.map_or("the set of arrays", |((name, _), _)| name);
    ensure!(
        whole.last == sliced.last,
        "the final state depends on slicing: {name} differs"
    );
    ensure!(
        whole.summary == sliced.summary,
        "the summary depends on slicing, or the checkpoint is incomplete"
    );
    stays_finished(set_up()?, &whole)
}

/// After a crash between the last checkpoint and the result.
fn stays_finished(mut experiment: impl Experiment, whole: &Trajectory) -> anyhow::Result<()> {
    experiment
        .load(&whole.last)
        .context("it does not take its own last checkpoint")?;
    let mut log = MetricLog::default();
    let end = advance(&mut experiment, 1, &mut log)?;
    ensure!(end == End::Finished, "it goes on from its last checkpoint");
    ensure!(
        *log.metrics() == Metrics::default(),
        "it logs something after its last step"
    );
    ensure!(
        experiment.save() == whole.last && experiment.summary() == whole.summary,
        "it changes after its last step"
    );
    Ok(())
}

fn in_one_piece(mut experiment: impl Experiment) -> anyhow::Result<Trajectory> {
    let mut log = MetricLog::default();
    let end = advance(&mut experiment, u64::MAX, &mut log)?;
    ensure!(
        end != End::Running,
        "advance(u64::MAX) did not finish the run"
    );
    Ok(trajectory(&experiment, &log, end))
}

fn in_slices<E: Experiment>(set_up: impl Fn() -> anyhow::Result<E>) -> anyhow::Result<Trajectory> {
    let mut log = MetricLog::default();
    let mut experiment = set_up()?;
    for steps in SLICES.into_iter().cycle() {
        let before = experiment.position();
        let end = advance(&mut experiment, steps, &mut log)?;
        if end != End::Running {
            return Ok(trajectory(&experiment, &log, end));
        }
        let done = experiment.position() - before;
        ensure!(
            0 < done && done <= steps,
            "advance({steps}) did {done} steps"
        );
        let mut next = set_up()?;
        next.load(&experiment.save())
            .context("it does not take its own checkpoint")?;
        ensure!(
            next.position() == experiment.position(),
            "the checkpoint loses the position"
        );
        experiment = next;
    }
    unreachable!("the slices go round for ever")
}

#[derive(PartialEq)]
enum End {
    Running,
    Finished,
    Diverged(u64, String),
}

fn advance(
    experiment: &mut impl Experiment,
    steps: u64,
    log: &mut MetricLog,
) -> anyhow::Result<End> {
    match experiment.advance(steps, log) {
        Ok(Advance::Running) => Ok(End::Running),
        Ok(Advance::Finished) => Ok(End::Finished),
        Err(Stop::Diverged { step, reason }) => Ok(End::Diverged(step, reason)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn trajectory(experiment: &impl Experiment, log: &MetricLog, end: End) -> Trajectory {
    Trajectory {
        metrics: log.metrics().clone(),
        last: experiment.save(),
        summary: experiment.summary(),
        end,
    }
}
