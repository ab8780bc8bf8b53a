//! Section 3.2, digit recognition on MNIST: Figure 3, Table 3.

use anyhow::Context;
use autodiff::kernels::simd_level;
use datasets::Dataset;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{self, Common, Preset, Section};
use crate::data;
use crate::experiments::mnist::{self, MnistOptions, Setting};
use crate::methods::{
    ADAM, ALPHA, BEST_ALPHA, L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST, M_SGD, Method, SGD,
};
use crate::results::{
    self, Axes, Axis, Cell, Claims, Column, Entry, Figure, Header, Protocol, Series, Table, Verdict,
};
use crate::run::RunResult;
use crate::runner::{Planned, Runner};
use crate::stats::{Curve, Spread};
use crate::table;

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.2",
    binary: "section3_2",
    about: "Section 3.2, digit recognition on MNIST: Figure 3 (training loss and effective learning rate), Table 3 (test \
            accuracy), and the claims they bear on. L4Adam and L4Mom run at the default alpha 0.15 and, marked by a star, \
            at 0.25; mSGD, Adam and SGD at the best rates of Table 1.",
    presets: &[
        (
            Preset::Smoke,
            "2 runs of 2 epochs on a synthetic stand-in for MNIST: seconds, and no results",
        ),
        (
            Preset::Quick,
            "2 runs of 6 epochs, which is too short for Table 3's later rows and for claims C5 and C7: about a minute on 2 cores",
        ),
        (
            Preset::Paper,
            "the whole: 5 runs of 50 epochs, 20 beyond Table 3, as a loss of exactly 0 comes late: about 15 minutes on 2 cores",
        ),
    ],
    default_preset: Preset::Quick,
    methods: &[M_SGD, ADAM, L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST, SGD],
};

/// The paper's batch size.
pub const BATCH: usize = 64;
/// The epochs at which the paper's Table 3 ends.
pub const EPOCHS: u64 = 30;
/// The epochs after which Table 3 has the accuracy.
const TABLE3: [u64; 3] = [1, 10, EPOCHS];

/// A method at the setting that Table 1 has for MNIST; the rate of SGD is from the same search, but not in the table.
#[must_use]
pub fn method(name: &str) -> Option<Method> {
    Some(match name {
        SGD => Method::Sgd { rate: 0.7 },
        M_SGD => Method::Momentum { rate: 0.05 },
        ADAM => Method::Adam { rate: 0.001 },
        L4_ADAM => Method::L4Adam { alpha: ALPHA },
        L4_ADAM_BEST => Method::L4Adam { alpha: BEST_ALPHA },
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        L4_MOM_BEST => Method::L4Mom { alpha: BEST_ALPHA },
        _ => return None,
    })
}

/// Seeds and epochs of a preset.
fn size(preset: Preset) -> (u64, u64) {
    match preset {
        Preset::Smoke => (2, 2),
        Preset::Quick => (2, 6),
        // Beyond Table 3: to where L4Adam* finds a loss of exactly 0 on every batch.
        Preset::Paper => (5, 50),
    }
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &MnistOptions) -> anyhow::Result<()> {
    let (seeds, epochs) = size(common.preset);
    let (seeds, epochs) = (
        common.seeds.unwrap_or(seeds),
        options.epochs.unwrap_or(epochs),
    );
    let data = data::load(Dataset::Mnist, common.preset, &options.data)?;
    let setting = Setting {
        data: &data,
        batch: BATCH,
        epochs,
    };
    let runner = Runner::open(common.runner_options())?;
    let methods = common
        .methods
        .iter()
        .filter_map(|&name| Some((name, method(name)?)));
    let methods: Vec<_> = methods.collect();
    let planned: Vec<Planned> = methods
        .iter()
        .flat_map(|&(name, method)| (0..seeds).map(move |seed| (name, method, seed)))
        .map(|(name, method, seed)| setting.plan(SECTION.number, name, method, seed))
        .collect();
    let results = runner.run(&planned)?;
    let runs = Runs {
        epochs,
        steps_per_epoch: setting.steps_per_epoch(),
        by_method: methods
            .iter()
            .map(|(name, _)| *name)
            .zip(results.chunks(seeds as usize))
            .collect(),
    };

    let mut deviations = mnist::deviations(&data);
    let whole = size(Preset::Paper);
    if (seeds, epochs) != whole {
        deviations.push(format!(
            "Runs of each method: {seeds} of {epochs} epochs; `--preset paper` makes the whole, {} of {}.",
            whole.0, whole.1
        ));
    }
    let hyperparameters: IndexMap<String, Map<String, Value>> = methods
        .iter()
        .map(|&(name, method)| (name.to_owned(), setting.hyperparameters(method)))
        .collect();
    let header = |id: &str, title: &str| Header {
        id: id.to_owned(),
        title: title.to_owned(),
        section: SECTION.number.to_owned(),
        protocol: Protocol {
            preset: common.preset.name().to_owned(),
            seeds: (0..seeds).collect(),
            epochs: Some(epochs),
            steps: Some(epochs * setting.steps_per_epoch()),
            batch: Some(BATCH as u64),
            hyperparameters: hyperparameters.clone(),
            ..Protocol::default()
        },
        deviations: deviations.clone(),
        provenance: runner.provenance(simd_level(), data::provenance(&data)),
        paper: None,
    };
    let title = "Training on MNIST, by tenths of an epoch: (a) the mean loss over all runs; (b) median and range of the \
                 effective learning rate in the run with seed 0";
    let figure = figure3(header("figure3", title), &runs)?;
    let table = table3(header("table3", "Test accuracy on MNIST"), &runs);
    let claims = Claims {
        header: header("claims", "Claims tested in section 3.2"),
        claims: match data::is_synthetic(&data) {
            true => Vec::new(),
            false => claims(&runs),
        },
    };
    let written = [
        results::write(runner.out(), &figure)?,
        results::write(runner.out(), &table)?,
        results::write(runner.out(), &claims)?,
    ];
    let files = written.map(|path| format!("wrote {}\n", path.display()));
    let notes: String = deviations.iter().map(|note| format!("{note}\n")).collect();
    let text = format!(
        "{}\n\n{}\n{}{notes}{}",
        table.header.title,
        table::render(&table),
        claims::render(&claims),
        files.concat()
    );
    cli::print(&text).context("standard output")
}

/// What was run and what came of it.
struct Runs<'a> {
    epochs: u64,
    steps_per_epoch: u64,
    /// In the section's order; each method has the same seeds.
    by_method: IndexMap<&'static str, &'a [RunResult]>,
}

impl Runs<'_> {
    fn of(&self, name: &str) -> Option<&[RunResult]> {
        self.by_method.get(name).copied()
    }

    /// The L4 methods that were run.
    fn l4(&self) -> impl Iterator<Item = (&'static str, &[RunResult])> {
        let names = [L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST];
        names
            .into_iter()
            .filter_map(|name| Some((name, self.of(name)?)))
    }

    fn curve(&self, result: &RunResult, metric: &str) -> Curve {
        Curve::of(result, metric).over(|step| step / self.steps_per_epoch as f64)
    }

    /// Test accuracies after so many epochs, in per cent.
    fn accuracy(&self, results: &[RunResult], epochs: u64) -> Cell {
        let step = epochs * self.steps_per_epoch;
        Cell::over(results, |result| {
            let column = result.metrics.get("test_accuracy")?;
            let index = column.steps.binary_search(&step).ok()?;
            column.values.get(index).copied()
        })
    }
}

fn figure3(header: Header, runs: &Runs<'_>) -> anyhow::Result<Figure> {
    let losses = runs.by_method.iter().map(|(name, results)| {
        let curves: Vec<Curve> = results.iter().map(|run| runs.curve(run, "loss")).collect();
        Series::over("a", name, &curves, Spread::Range)
    });
    let mut series = losses.collect::<Result<Vec<_>, _>>()?;
    // One run, as a mean over runs would smooth away the very movements that the panel shows.
    series.extend(runs.l4().filter_map(|(name, results)| {
        let first = results.first()?;
        let metrics = ["learning_rate", "learning_rate_min", "learning_rate_max"];
        let curves = metrics.map(|metric| runs.curve(first, metric));
        Some(Series::short_term("b", name, curves))
    }));
    let axes = |panel: &str, title: &str, y: &str| Axes {
        panel: panel.to_owned(),
        title: title.to_owned(),
        x: Axis::linear("epoch"),
        y: Axis::log(y),
    };
    Ok(Figure {
        header,
        axes: vec![
            axes("a", "Training loss", "training loss"),
            axes("b", "Effective learning rate", "η"),
        ],
        series,
    })
}

fn table3(header: Header, runs: &Runs<'_>) -> Table {
    let mut epochs: Vec<u64> = TABLE3.into_iter().filter(|&n| n < runs.epochs).collect();
    epochs.push(runs.epochs);
    let key = |epochs: u64| format!("epochs_{epochs}");
    let title = |epochs: u64| match epochs {
        1 => "1 epoch".to_owned(),
        _ => format!("{epochs} epochs"),
    };
    let mut columns = vec![Column::new("method", "Method")];
    columns.extend(
        epochs
            .iter()
            .map(|&n| Column::with_unit(&key(n), &title(n), "%")),
    );
    let row = |(name, results): (&&str, &&[RunResult])| {
        let method = ("method".to_owned(), Entry::from(*name));
        let cells = epochs
            .iter()
            .map(|&n| (key(n), runs.accuracy(results, n).into()));
        [method].into_iter().chain(cells).collect()
    };
    Table {
        header,
        columns,
        rows: runs.by_method.iter().map(row).collect(),
    }
}

fn claims(runs: &Runs<'_>) -> Vec<results::Claim> {
    let findings = [
        lower_loss(runs),
        zero_loss(runs),
        moving_rates(runs),
        accuracies(runs),
    ];
    findings
        .into_iter()
        .flatten()
        .map(Finding::into_claim)
        .collect()
}

/// C1 on this task.
fn lower_loss(runs: &Runs<'_>) -> Option<Finding> {
    let pair = |l4, base| Some([(l4, runs.of(l4)?), (base, runs.of(base)?)]);
    let pairs = [pair(L4_ADAM, ADAM)?, pair(L4_MOM, M_SGD)?];
    let task = format!("MNIST, mean over the batches of epoch {}", runs.epochs);
    Some(claims::lower_loss(&task, pairs))
}

/// The values of a metric that is logged every epoch.
fn epochs<'a>(result: &'a RunResult, metric: &str) -> &'a [f64] {
    let column = result.metrics.get(metric);
    column.map_or(&[], |column| &column.values)
}

/// C5: the first epoch, from 1, in which the loss of every batch and the rate of every step was exactly 0.
fn first_zero_epoch(result: &RunResult, steps_per_epoch: u64) -> Option<u64> {
    let losses = epochs(result, "largest_batch_loss");
    let rates = epochs(result, "zero_rate_steps");
    let zero = |(loss, rates): (&f64, &f64)| *loss == 0.0 && *rates == steps_per_epoch as f64;
    let index = losses.iter().zip(rates).position(zero)?;
    Some(index as u64 + 1)
}

/// C5, which is about what happens within the paper's 30 epochs and beyond: shorter runs do not test it.
fn zero_loss(runs: &Runs<'_>) -> Option<Finding> {
    if runs.epochs < EPOCHS {
        return None;
    }
    let methods = [L4_ADAM, L4_ADAM_BEST];
    let mut measured = Map::new();
    let (mut zero, mut total, mut parts) = (0, 0, Vec::new());
    for name in methods {
        let results = runs.of(name)?;
        let first: Vec<_> = results
            .iter()
            .map(|run| first_zero_epoch(run, runs.steps_per_epoch))
            .collect();
        let last: Vec<_> = results
            .iter()
            .map(|run| {
                json!({
                    "largest_batch_loss": epochs(run, "largest_batch_loss").last(),
                    "zero_loss_batches": epochs(run, "zero_loss_batches").last(),
                    "zero_rate_steps": epochs(run, "zero_rate_steps").last(),
                })
            })
            .collect();
        let reached: Vec<String> = first.iter().flatten().map(u64::to_string).collect();
        parts.push(match reached.len() {
            0 => format!("{name} in 0 of {} runs", first.len()),
            count => format!(
                "{name} in {count} of {} runs, first in epoch {}",
                first.len(),
                reached.join(", ")
            ),
        });
        zero += reached.len();
        total += first.len();
        let first: Vec<_> = first
            .into_iter()
            .map(|epoch| json!(epoch.unwrap_or(0)))
            .collect();
        measured.insert(
            name.to_owned(),
            json!({"first_zero_epoch_or_0": first, "last_epoch": last}),
        );
    }
    let verdict = match zero {
        0 => Verdict::NotReproduced,
        zero if zero == total => Verdict::Reproduced,
        _ => Verdict::Partly,
    };
    Some(Finding {
        id: "C5",
        verdict,
        evidence: format!(
            "An epoch of {} batches on which every loss and every effective learning rate was exactly 0, within {} epochs: {}. \
             Reproduced would be every run of both, partly some runs.",
            runs.steps_per_epoch,
            runs.epochs,
            parts.join("; "),
        ),
        measured: Value::Object(measured),
    })
}

/// How much the effective learning rate moves within a tenth of an epoch.
struct Movement {
    /// Windows without a step of rate 0.
    windows: usize,
    /// Of them, those in which the greatest rate is at least 100 times the least.
    wide: usize,
    /// Whether the run diverged or had a later epoch of higher loss than its first.
    unstable: bool,
}

impl Movement {
    fn of(result: &RunResult) -> Self {
        let low = epochs(result, "learning_rate_min");
        let high = epochs(result, "learning_rate_max");
        let moving = low.iter().zip(high).filter(|(low, _)| **low > 0.0);
        let losses = epochs(result, "epoch_loss");
        Self {
            windows: moving.clone().count(),
            wide: moving.filter(|(low, high)| *high / *low >= 100.0).count(),
            unstable: result.diverged_at().is_some() || losses.iter().any(|loss| *loss > losses[0]),
        }
    }
}

/// C6.
fn moving_rates(runs: &Runs<'_>) -> Option<Finding> {
    let movements = runs.l4().map(|(name, results)| {
        let movements: Vec<Movement> = results.iter().map(Movement::of).collect();
        (name, movements)
    });
    let movements: Vec<_> = movements.collect();
    if [L4_ADAM, L4_MOM].iter().any(|name| runs.of(name).is_none()) {
        return None;
    }
    let all = || movements.iter().flat_map(|(_, movements)| movements);
    let moves = |movement: &Movement| movement.wide > 0;
    let verdict = if all().all(|movement| moves(movement) && !movement.unstable) {
        Verdict::Reproduced
    } else if all().any(moves) {
        Verdict::Partly
    } else {
        Verdict::NotReproduced
    };
    let sum = |movements: &[Movement], count: fn(&Movement) -> usize| -> usize {
        movements.iter().map(count).sum()
    };
    let counts = movements.iter().map(|(name, movements)| {
        let counts = json!({
            "windows": sum(movements, |m| m.windows),
            "windows_of_two_orders": sum(movements, |m| m.wide),
            "runs_with_such_a_window": sum(movements, |m| usize::from(m.wide > 0)),
            "unstable_runs": sum(movements, |m| usize::from(m.unstable)),
            "runs": movements.len(),
        });
        ((*name).to_owned(), counts)
    });
    let parts = movements.iter().map(|(name, movements)| {
        let (wide, windows) = (sum(movements, |m| m.wide), sum(movements, |m| m.windows));
        let unstable = sum(movements, |m| usize::from(m.unstable));
        format!(
            "{name} in {wide} of {windows}, {unstable} of {} runs unstable",
            movements.len()
        )
    });
    Some(Finding {
        id: "C6",
        verdict,
        evidence: format!(
            "MNIST. Tenths of an epoch in which the greatest effective learning rate is at least 100 times the least (those \
             with a rate of 0 left out): {}. Reproduced would be some in every run, and no run unstable, which is to diverge or to \
             have a later epoch of higher loss than the first; partly, some in any run.",
            parts.collect::<Vec<_>>().join("; ")
        ),
        measured: counts.collect(),
    })
}

/// Percentage points within which accuracies count as comparable.
const COMPARABLE: f64 = 1.0;
/// Percentage points within which an accuracy counts as near the final one.
const NEAR: f64 = 0.3;

/// C7, which is about the paper's 30 epochs: shorter runs do not test it.
fn accuracies(runs: &Runs<'_>) -> Option<Finding> {
    let needed = [M_SGD, ADAM, L4_ADAM, L4_MOM];
    if runs.epochs < EPOCHS || needed.iter().any(|name| runs.of(name).is_none()) {
        return None;
    }
    let at = |results, epochs| runs.accuracy(results, epochs).mean;
    let finals: Option<Vec<f64>> = runs
        .by_method
        .values()
        .map(|results| at(results, runs.epochs))
        .collect();
    let (low, high) = crate::stats::range(&finals?)?;
    let gains: Option<Vec<(&str, f64)>> = runs
        .l4()
        .map(|(name, results)| Some((name, at(results, runs.epochs)? - at(results, 10)?)))
        .collect();
    let gains = gains?;
    let near = gains.iter().all(|(_, gain)| gain.abs() <= NEAR);
    let parts = gains
        .iter()
        .map(|(name, gain)| format!("{name} {gain:+.2}"));
    let measured: Map<String, Value> = gains
        .iter()
        .map(|(name, gain)| ((*name).to_owned(), json!(gain)))
        .collect();
    Some(Finding {
        id: "C7",
        verdict: claims::verdict([high - low <= COMPARABLE, near]),
        evidence: format!(
            "Mean test accuracies after {} epochs lie between {low:.2} and {high:.2} %. What L4 gained after epoch 10, in \
             percentage points: {}. Reproduced would be accuracies within {COMPARABLE} point of each other and gains within \
             {NEAR}.",
            runs.epochs,
            parts.collect::<Vec<_>>().join(", ")
        ),
        measured: json!({"lowest": low, "highest": high, "gain_after_epoch_10": measured}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MetricLog, Timing};
    use crate::run::{Outcome, RunSpec};

    /// Steps in an epoch.
    const STEPS: u64 = 4;

    /// A run that logs these rows, one at the end of each epoch.
    fn run(rows: &[&[(&str, f64)]]) -> RunResult {
        let mut log = MetricLog::default();
        for (row, epoch) in rows.iter().zip(1..) {
            log.push(epoch * STEPS, row).unwrap();
        }
        RunResult {
            spec: RunSpec {
                section: "3.2".into(),
                method: L4_ADAM.into(),
                hyperparameters: Map::new(),
                seed: 0,
                steps: STEPS * rows.len() as u64,
            },
            outcome: Outcome::Finished,
            summary: Map::new(),
            metrics: log.metrics().clone(),
            timing: Timing::default(),
            git_commit: "unknown".into(),
        }
    }

    fn runs<'a>(by_method: &[(&'static str, &'a [RunResult])], epochs: u64) -> Runs<'a> {
        Runs {
            epochs,
            steps_per_epoch: STEPS,
            by_method: by_method.iter().copied().collect(),
        }
    }

    /// A run that ends with `zeros` epochs of which every loss and rate is 0.
    fn ending_in_zeros(zeros: usize) -> RunResult {
        let moving = &[("largest_batch_loss", 0.1), ("zero_rate_steps", 3.0)][..];
        let still = &[("largest_batch_loss", 0.0), ("zero_rate_steps", 4.0)][..];
        let rows: Vec<_> = (0..30)
            .map(|epoch| if epoch + zeros < 30 { moving } else { still })
            .collect();
        run(&rows)
    }

    #[test]
    fn zero_loss_takes_every_run_of_both_and_the_papers_30_epochs() {
        let [never, late] = [0, 3].map(|zeros| [ending_in_zeros(zeros), ending_in_zeros(zeros)]);
        assert_eq!(first_zero_epoch(&late[0], STEPS), Some(28));
        assert_eq!(first_zero_epoch(&never[0], STEPS), None);
        let finding = |adam: &[RunResult], best: &[RunResult], epochs| {
            zero_loss(&runs(&[(L4_ADAM, adam), (L4_ADAM_BEST, best)], epochs))
                .map(|finding| finding.verdict)
        };
        assert_eq!(finding(&late, &late, 30), Some(Verdict::Reproduced));
        assert_eq!(finding(&never, &late, 30), Some(Verdict::Partly));
        assert_eq!(finding(&never, &never, 30), Some(Verdict::NotReproduced));
        assert_eq!(finding(&late, &late, 29), None);
    }

    #[test]
    fn an_epoch_without_loss_but_with_steps_does_not_count() {
        let row = &[("largest_batch_loss", 0.0), ("zero_rate_steps", 3.0)][..];
        assert_eq!(first_zero_epoch(&run(&[row]), STEPS), None);
    }

    fn moving(low: f64, high: f64, last_loss: f64) -> RunResult {
        let row = |loss| {
            [
                ("learning_rate_min", low),
                ("learning_rate_max", high),
                ("epoch_loss", loss),
            ]
        };
        run(&[&row(1.0), &row(last_loss)])
    }

    #[test]
    fn rates_move_if_every_run_has_a_wide_window_and_none_is_unstable() {
        let finding = |momentum: RunResult| {
            let [adam, momentum] = [[moving(1e-4, 1e-2, 0.5)], [momentum]];
            moving_rates(&runs(&[(L4_ADAM, &adam), (L4_MOM, &momentum)], 2)).map(|f| f.verdict)
        };
        assert_eq!(finding(moving(1.0, 100.0, 0.5)), Some(Verdict::Reproduced));
        assert_eq!(finding(moving(1.0, 99.0, 0.5)), Some(Verdict::Partly));
        assert_eq!(finding(moving(1.0, 100.0, 1.5)), Some(Verdict::Partly));
        let [adam, momentum] = [[moving(1.0, 99.0, 0.5)], [moving(1.0, 99.0, 0.5)]];
        let finding = moving_rates(&runs(&[(L4_ADAM, &adam), (L4_MOM, &momentum)], 2));
        assert_eq!(finding.map(|f| f.verdict), Some(Verdict::NotReproduced));
        let zero_is_no_movement = Movement::of(&moving(0.0, 100.0, 0.5));
        assert_eq!(
            (zero_is_no_movement.windows, zero_is_no_movement.wide),
            (0, 0)
        );
        assert!(moving_rates(&runs(&[(L4_ADAM, &[moving(1.0, 2.0, 0.5)])], 2)).is_none());
    }

    /// A run with this accuracy up to epoch 10, and that one from then on.
    fn accurate(early: f64, late: f64) -> RunResult {
        let [early, late] = [early, late].map(|accuracy| [("test_accuracy", accuracy)]);
        let rows: Vec<&[(&str, f64)]> = (1..=30)
            .map(|epoch| if epoch <= 10 { &early[..] } else { &late[..] })
            .collect();
        run(&rows)
    }

    #[test]
    fn accuracies_are_those_of_the_epoch_asked_for() {
        let results = [accurate(97.0, 98.0)];
        let runs = runs(&[(L4_ADAM, &results)], 30);
        let mean = |epochs| runs.accuracy(&results, epochs).mean;
        assert_eq!([mean(10), mean(11)], [Some(97.0), Some(98.0)]);
        assert_eq!(runs.accuracy(&results, 31).not_reached, [0]);
    }

    #[test]
    fn accuracies_are_compared_with_each_other_and_with_epoch_10() {
        let finding = |l4: RunResult, base: RunResult, epochs| {
            let [l4, base] = [[l4], [base]];
            let l4 = [(L4_ADAM, &l4[..]), (L4_MOM, &l4)];
            let all = [l4[0], l4[1], (ADAM, &base), (M_SGD, &base)];
            assert!(
                accuracies(&runs(&l4, epochs)).is_none(),
                "nothing to compare with"
            );
            accuracies(&runs(&all, epochs)).map(|f| f.verdict)
        };
        let near = || accurate(98.2, 98.4);
        let far = || accurate(97.0, 98.4);
        let base = || accurate(90.0, 98.0);
        assert_eq!(finding(near(), base(), 30), Some(Verdict::Reproduced));
        assert_eq!(finding(far(), base(), 30), Some(Verdict::Partly));
        assert_eq!(finding(far(), far(), 30), Some(Verdict::Partly));
        let worse = accurate(96.0, 96.0);
        assert_eq!(finding(far(), worse, 30), Some(Verdict::NotReproduced));
        assert_eq!(finding(near(), base(), 10), None);
    }

    #[test]
    fn every_method_has_a_setting() {
        assert!(SECTION.methods.iter().all(|name| method(name).is_some()));
    }

    #[test]
    fn the_table_has_the_papers_epochs_up_to_the_last() {
        let results = [accurate(97.0, 98.0)];
        let header = crate::results::tests::header("table3");
        let columns = |epochs| {
            let table = table3(header.clone(), &runs(&[(L4_ADAM, &results)], epochs));
            let keys = table.columns.into_iter().map(|column| column.key);
            keys.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(columns(30), "method epochs_1 epochs_10 epochs_30");
        assert_eq!(columns(1), "method epochs_1");
        assert_eq!(columns(12), "method epochs_1 epochs_10 epochs_12");
    }
}
