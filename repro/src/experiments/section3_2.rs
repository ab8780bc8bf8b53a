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
            "2 runs of 6 epochs instead of 5 of 30, which is too short for claims C5 and C7: about a minute on 2 cores",
        ),
        (
            Preset::Paper,
            "the whole: 5 runs of 30 epochs: about 10 minutes on 2 cores",
        ),
    ],
    default_preset: Preset::Quick,
    methods: &[M_SGD, ADAM, L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST, SGD],
};

/// The paper's batch size.
pub const BATCH: usize = 64;
/// Runs of each method in the paper.
pub const RUNS: u64 = 5;
/// Epochs of a run in the paper.
pub const EPOCHS: u64 = 30;
/// The epochs after which Table 3 has the accuracy.
const TABLE3: [u64; 3] = [1, 10, 30];

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
        Preset::Paper => (RUNS, EPOCHS),
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
    if (seeds, epochs) != (RUNS, EPOCHS) {
        deviations.push(format!(
            "{seeds} runs of {epochs} epochs instead of {RUNS} of {EPOCHS}: `--preset paper` runs the whole."
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
    let figure = figure3(header("figure3", "Training on MNIST"), &runs)?;
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
            axes("a", "Mean over tenths of an epoch", "training loss"),
            axes(
                "b",
                "Median and range of tenths of an epoch, one run",
                "effective learning rate",
            ),
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

/// C5, which is about what happens within the paper's 30 epochs: shorter runs do not test it.
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
    if movements.is_empty() {
        return None;
    }
    let mut all = movements.iter().flat_map(|(_, movements)| movements);
    let moves = all.clone().all(|movement| movement.wide > 0);
    let stable = !all.any(|movement| movement.unstable);
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
        verdict: claims::verdict([moves, stable]),
        evidence: format!(
            "MNIST. Tenths of an epoch in which the greatest effective learning rate is at least 100 times the least (those \
             with a rate of 0 left out): {}. Reproduced would be some in every run, and no run unstable: diverged, or with a \
             later epoch of higher loss than its first.",
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
    if runs.epochs < EPOCHS || runs.l4().count() == 0 {
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
