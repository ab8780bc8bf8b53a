//! Section 3.2, digit recognition on MNIST: Figure 3, Table 3.

use datasets::Dataset;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{Common, Preset, Section, Size};
use crate::data;
use crate::experiments::comparison::{Comparison, Line, Runs};
use crate::experiments::images::{ImageOptions, Network, Setting};
use crate::experiments::lines::values;
use crate::methods::{
    ADAM, ALPHA, BEST_ALPHA, L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST, M_SGD, Method, SGD,
};
use crate::results::{Axes, Axis, Column, Entry, Figure, Header, Table, Verdict};
use crate::run::RunResult;
use crate::search::{Baseline, Origin};
use crate::stats;

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.2",
    binary: "section3_2",
    about: "Section 3.2, digit recognition on MNIST: Figure 3 (training loss and effective learning rate), Table 3 (test \
            accuracy), and the claims they bear on. L4Adam and L4Mom run at the default alpha 0.15 and, marked by a star, \
            at 0.25; mSGD, Adam and SGD at the best rates of Table 1.",
    presets: &[
        Size {
            preset: Preset::Smoke,
            seeds: 2,
            length: 2,
            about: "2 runs of 2 epochs on a synthetic stand-in for MNIST: seconds, and no results",
        },
        Size {
            preset: Preset::Quick,
            seeds: 2,
            length: 6,
            about: "2 runs of 6 epochs, which is too short for Table 3's later rows and for claims C5 and C7: about a minute on \
                    2 cores",
        },
        // Beyond Table 3: to where L4Adam* finds a loss of exactly 0 on every batch.
        Size {
            preset: Preset::Paper,
            seeds: 5,
            length: 50,
            about: "the whole: 5 runs of 50 epochs, 20 beyond Table 3, as a loss of exactly 0 comes late: about 15 minutes on 2 \
                    cores",
        },
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

/// The baselines at their best rates: Table 1's, and for SGD that of the same search, which the table does not have.
pub const BASELINES: &[Baseline] = &[
    Baseline {
        name: M_SGD,
        rate: 0.05,
        origin: Origin::Paper,
        powers: -3..=3,
        method: |rate| Method::Momentum { rate },
    },
    Baseline {
        name: ADAM,
        rate: 0.001,
        origin: Origin::Paper,
        powers: -3..=3,
        method: |rate| Method::Adam { rate },
    },
    Baseline {
        name: SGD,
        rate: 0.7,
        origin: Origin::Paper,
        powers: -4..=1,
        method: |rate| Method::Sgd { rate },
    },
];

/// The lines of L4.
const L4: [&str; 4] = [L4_ADAM, L4_ADAM_BEST, L4_MOM, L4_MOM_BEST];

/// A method at its setting here.
fn method(name: &str) -> Option<Method> {
    Some(match name {
        L4_ADAM => Method::L4Adam { alpha: ALPHA },
        L4_ADAM_BEST => Method::L4Adam { alpha: BEST_ALPHA },
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        L4_MOM_BEST => Method::L4Mom { alpha: BEST_ALPHA },
        _ => {
            let baseline = BASELINES.iter().find(|baseline| baseline.name == name)?;
            (baseline.method)(baseline.rate)
        }
    })
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &ImageOptions) -> anyhow::Result<()> {
    let epochs = options.epochs.unwrap_or(common.length);
    let data = data::load(Dataset::Mnist, common.preset, &options.data)?;
    let setting = Setting::new(&data, Network::Mlp, BATCH, epochs);
    let lines = common.methods.iter().filter_map(|name| {
        Some(Line {
            name: (*name).to_owned(),
            method: method(name)?,
            setting,
        })
    });
    let comparison = Comparison {
        section: &SECTION,
        common,
        options,
        data: &data,
        lines: lines.collect(),
        deviations: Vec::new(),
    };
    let (runs, mut report) = comparison.run()?;
    let title = "Training on MNIST, by tenths of an epoch: (a) the mean loss over all runs; (b) median and range of the \
                 effective learning rate in the run with seed 0";
    report.figure(&figure3(report.header("figure3", title), &runs)?)?;
    report.table(&table3(
        report.header("table3", "Test accuracy on MNIST"),
        &runs,
    ))?;
    report.claims(match data::is_synthetic(&data) {
        true => Vec::new(),
        false => claims(&runs),
    })?;
    report.print()
}

fn figure3(header: Header, runs: &Runs<'_>) -> anyhow::Result<Figure> {
    let mut series = runs.series("a", "loss")?;
    series.extend(runs.rates("b", &L4));
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
    let mut epochs: Vec<u64> = TABLE3.into_iter().filter(|&n| n < runs.epochs()).collect();
    epochs.push(runs.epochs());
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
    let row = |(line, _): &(Line<'_>, _)| {
        let name = line.name.as_str();
        let cell = |&n| Some((key(n), runs.accuracy(name, n)?.into()));
        let method = ("method".to_owned(), Entry::from(name));
        let cells = epochs.iter().filter_map(cell);
        [method].into_iter().chain(cells).collect()
    };
    Table {
        header,
        columns,
        rows: runs.0.iter().map(row).collect(),
    }
}

fn claims(runs: &Runs<'_>) -> Vec<Finding> {
    let findings = [
        runs.lower_loss("MNIST"),
        zero_loss(runs),
        runs.moving_rates("MNIST", &L4),
        accuracies(runs),
    ];
    findings.into_iter().flatten().collect()
}

/// C5: the first epoch, from 1, in which the loss of every batch and the rate of every step was exactly 0.
fn first_zero_epoch(result: &RunResult, steps_per_epoch: u64) -> Option<u64> {
    let losses = values(result, "largest_batch_loss");
    let rates = values(result, "zero_rate_steps");
    let zero = |(loss, rates): (&f64, &f64)| *loss == 0.0 && *rates == steps_per_epoch as f64;
    let index = losses.iter().zip(rates).position(zero)?;
    Some(index as u64 + 1)
}

/// C5, which is about what happens within the paper's 30 epochs and beyond: shorter runs do not test it.
fn zero_loss(runs: &Runs<'_>) -> Option<Finding> {
    if runs.epochs() < EPOCHS {
        return None;
    }
    let methods = [L4_ADAM, L4_ADAM_BEST];
    let mut steps_per_epoch = 0;
    let mut measured = Map::new();
    let (mut zero, mut total, mut parts) = (0, 0, Vec::new());
    for name in methods {
        let (line, results) = runs.line(name)?;
        steps_per_epoch = line.setting.steps_per_epoch();
        let first: Vec<_> = results
            .iter()
            .map(|run| first_zero_epoch(run, steps_per_epoch))
            .collect();
        let last: Vec<_> = results
            .iter()
            .map(|run| {
                json!({
                    "largest_batch_loss": values(run, "largest_batch_loss").last(),
                    "zero_loss_batches": values(run, "zero_loss_batches").last(),
                    "zero_rate_steps": values(run, "zero_rate_steps").last(),
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
            "An epoch of {steps_per_epoch} batches on which every loss and every effective learning rate was exactly 0, within {} \
             epochs: {}. Reproduced would be every run of both, partly some runs.",
            runs.epochs(),
            parts.join("; "),
        ),
        measured: Value::Object(measured),
    })
}

/// Percentage points within which accuracies count as comparable.
const COMPARABLE: f64 = 1.0;
/// Percentage points within which an accuracy counts as near the final one.
const NEAR: f64 = 0.3;

/// C7, which is about the paper's 30 epochs: shorter runs do not test it.
fn accuracies(runs: &Runs<'_>) -> Option<Finding> {
    let needed = [M_SGD, ADAM, L4_ADAM, L4_MOM];
    if runs.epochs() < EPOCHS || needed.iter().any(|name| runs.of(name).is_none()) {
        return None;
    }
    let last = runs.epochs();
    let at = |name: &str, epochs| runs.accuracy(name, epochs)?.mean;
    let lines = runs.0.iter();
    let finals: Option<Vec<f64>> = lines.map(|(line, _)| at(&line.name, last)).collect();
    let (low, high) = stats::range(&finals?)?;
    let gains: Option<Vec<(&str, f64)>> = L4
        .into_iter()
        .filter(|name| runs.of(name).is_some())
        .map(|name| Some((name, at(name, last)? - at(name, 10)?)))
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
            runs.epochs(),
            parts.collect::<Vec<_>>().join(", ")
        ),
        measured: json!({"lowest": low, "highest": high, "gain_after_epoch_10": measured}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::comparison::tests::{STEPS, run, runs};

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
        let accuracy = |epochs| runs.accuracy(L4_ADAM, epochs).unwrap();
        let means = [10, 11].map(|epochs| accuracy(epochs).mean);
        assert_eq!(means, [Some(97.0), Some(98.0)]);
        assert_eq!(accuracy(31).not_reached, [0]);
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
