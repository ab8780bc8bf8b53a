//! Section 3.3, a residual network on CIFAR-10: Figures 4 and 5.

use datasets::Dataset;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{Common, Preset, Section, Size};
use crate::data;
use crate::experiments::comparison::{Comparison, Line, Runs, TENTHS};
use crate::experiments::images::{ImageOptions, Network, Setting};
use crate::experiments::lines::Movement;
use crate::methods::{ADAM, ALPHA, DEFAULT_POLICY, L4_ADAM, L4_MOM, M_SGD, Method};
use crate::results::{Axes, Axis, CellOfRuns, Figure, Header, Series};
use crate::run::RunResult;
use crate::stats;

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.3",
    binary: "section3_3",
    about: "Section 3.3, ResNet-32 on CIFAR-10: Figure 4 (effective learning rates), Figure 5 (training loss and test accuracy), \
            and the claims they bear on. The default policy is the hand-made schedule of the network's authors; mSGD and Adam \
            run at the best rates of Table 1, L4Adam and L4Mom at the default alpha 0.15.",
    presets: &[
        Size {
            preset: Preset::Smoke,
            seeds: 1,
            length: 2,
            about: "1 run of 2 epochs on a synthetic stand-in for CIFAR-10: seconds, and no results",
        },
        Size {
            preset: Preset::Quick,
            seeds: 1,
            length: 2,
            about: "1 run of 2 epochs on 6,400 of the 50,000 images, which is too short for claim C8: about 2 minutes on 2 cores",
        },
        Size {
            preset: Preset::Reduced,
            seeds: 1,
            length: REDUCED,
            about: "1 run of 12 of the paper's 250 epochs, with the default policy's drops moved in proportion: about an hour on 2 cores",
        },
        Size {
            preset: Preset::Paper,
            seeds: 1,
            length: EPOCHS,
            about: "the whole: 1 run of 250 epochs: about 16 hours on 2 cores",
        },
    ],
    default_preset: Preset::Quick,
    methods: &[DEFAULT_POLICY, M_SGD, ADAM, L4_ADAM, L4_MOM],
};

const BATCH: usize = 128;
const EPOCHS: u64 = 250;
/// Epochs of the reduced preset. Runs that are shorter yet do not test claim C8.
const REDUCED: u64 = 12;
/// Training images of the quick preset: 50 batches.
const QUICK_EXAMPLES: usize = 50 * BATCH;

/// The default policy's first rate.
const POLICY_RATE: f64 = 0.1;
/// The epochs of the paper's 250 after which it drops tenfold.
const DROPS: [u64; 3] = [100, 150, 200];
/// A heavy ball's steady step is its rate times 1/(1 − 0.9) times the gradient, that of L4Mom's averaged gradient its rate
/// times the gradient.
const HEAVY_BALL: f64 = 10.0;

/// The default policy's drops, moved in proportion to a run of this many steps or epochs.
fn drops(length: u64) -> [u64; 3] {
    DROPS.map(|epoch| length * epoch / EPOCHS)
}

/// A method at its setting here, in a run of so many steps.
fn method(name: &str, steps: u64) -> Option<Method> {
    Some(match name {
        DEFAULT_POLICY => Method::DefaultPolicy {
            rate: POLICY_RATE,
            drops: drops(steps),
        },
        M_SGD => Method::Momentum { rate: 0.004 },
        ADAM => Method::Adam { rate: 0.0002 },
        L4_ADAM => Method::L4Adam { alpha: ALPHA },
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        _ => return None,
    })
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &ImageOptions) -> anyhow::Result<()> {
    let epochs = options.epochs.unwrap_or(common.length);
    let data = data::load(Dataset::Cifar10, common.preset, &options.data)?;
    let all = Setting::new(&data, Network::ResNet, BATCH, epochs);
    let setting = match common.preset {
        Preset::Quick => Setting {
            examples: QUICK_EXAMPLES,
            ..all
        },
        _ => all,
    };
    let lines = common.methods.iter().filter_map(|name| {
        Some(Line {
            name: (*name).to_owned(),
            method: method(name, setting.steps())?,
            setting,
        })
    });
    let comparison = Comparison {
        section: &SECTION,
        common,
        options,
        data: &data,
        lines: lines.collect(),
        deviations: deviations(epochs),
    };
    let (runs, mut report) = comparison.run()?;
    let title = "Effective learning rates of ResNet-32 on CIFAR-10 in the run with seed 0: median and range over tenths of an \
                 epoch. The default policy is a heavy ball's rate; ten times it (×10) is the rate at which an averaged gradient, \
                 as L4Mom's, makes steps of the same size";
    report.figure(&figure4(report.header("figure4", title), &runs))?;
    let title = "Training of ResNet-32 on CIFAR-10: (a) mean loss over tenths of an epoch, with the L2 penalty; (b) test \
                 accuracy after each epoch";
    report.figure(&figure5(report.header("figure5", title), &runs)?)?;
    report.claims(match data::is_synthetic(&data) {
        true => Vec::new(),
        false => claims(&runs),
    })?;
    report.print()
}

fn deviations(epochs: u64) -> Vec<String> {
    let mut deviations = vec![
        "The paper does not say how many runs it made here; 1 for the whole is our choice."
            .to_owned(),
    ];
    if epochs != EPOCHS {
        let drops = DROPS.map(|epoch| format!("{:.1}", (epochs * epoch) as f64 / EPOCHS as f64));
        deviations.push(format!(
            "The default policy's drops, after {DROPS:?} of {EPOCHS} epochs in the paper, are moved in proportion, to after [{}] of \
             {epochs}.",
            drops.join(", ")
        ));
    }
    deviations
}

fn figure4(header: Header, runs: &Runs<'_>) -> Figure {
    let mut series = runs.rates("a", &[L4_ADAM, L4_MOM, DEFAULT_POLICY]);
    let policy = series.iter().find(|series| series.method == DEFAULT_POLICY);
    series.extend(policy.map(as_of_averaged_gradient));
    Figure {
        header,
        axes: vec![Axes {
            panel: "a".to_owned(),
            title: "Effective learning rate".to_owned(),
            x: Axis::linear("epoch"),
            y: Axis::log("η"),
        }],
        series,
    }
}

/// A heavy ball's rates as those of an averaged gradient with the same steps.
fn as_of_averaged_gradient(series: &Series) -> Series {
    let mut series = series.clone();
    series.method += " (×10)";
    let rates = [&mut series.mean, &mut series.low, &mut series.high];
    rates
        .into_iter()
        .flatten()
        .for_each(|rate| *rate *= HEAVY_BALL);
    series
}

fn figure5(header: Header, runs: &Runs<'_>) -> anyhow::Result<Figure> {
    let mut series = runs.series("a", "loss")?;
    series.extend(runs.series("b", "test_accuracy")?);
    let axes = |panel: &str, title: &str, y| Axes {
        panel: panel.to_owned(),
        title: title.to_owned(),
        x: Axis::linear("epoch"),
        y,
    };
    Ok(Figure {
        header,
        axes: vec![
            axes("a", "Training loss", Axis::log("training loss")),
            axes("b", "Test accuracy", Axis::linear("test accuracy [%]")),
        ],
        series,
    })
}

fn claims(runs: &Runs<'_>) -> Vec<Finding> {
    let findings = [
        runs.lower_loss("CIFAR-10"),
        runs.moving_rates("CIFAR-10", &[L4_ADAM, L4_MOM]),
        residual_network(runs),
    ];
    findings.into_iter().flatten().collect()
}

/// Share of the tenths of an epoch in which a steady rate may move over two orders of magnitude. On MNIST, by the numbers
/// behind C6 in section 3.2, nine in ten do.
const STEADY: f64 = 0.1;
/// Factor within which one rate tracks another: nearer to equal than to ten times.
const TRACKS: f64 = 3.162;

/// C8: its four parts, of runs that are long enough for the schedule to matter.
fn residual_network(runs: &Runs<'_>) -> Option<Finding> {
    let all_run = SECTION.methods.iter().all(|name| runs.of(name).is_some());
    if runs.epochs() < REDUCED || !all_run {
        return None;
    }
    let parts = [steady(runs)?, tracks(runs)?, beats(runs)?, wins(runs)?];
    let evidence: Vec<&str> = parts.iter().map(|part| part.evidence.as_str()).collect();
    Some(Finding {
        id: "C8",
        verdict: claims::verdict(parts.each_ref().map(|part| part.holds)),
        evidence: format!(
            "CIFAR-10, {} of the paper's {EPOCHS} epochs. {} Reproduced would be all four, partly any.",
            runs.epochs(),
            evidence.join(" ")
        ),
        measured: parts
            .iter()
            .map(|part| {
                let mut measured = part.measured.clone();
                measured.insert("holds".to_owned(), part.holds.into());
                (part.name.to_owned(), Value::Object(measured))
            })
            .collect(),
    })
}

/// One of the statements that C8 is made of.
struct Part {
    name: &'static str,
    holds: bool,
    evidence: String,
    measured: Map<String, Value>,
}

impl Part {
    fn new(name: &'static str, holds: bool, evidence: String, measured: Value) -> Self {
        let measured = measured.as_object().cloned().unwrap_or_default();
        Self {
            name,
            holds,
            evidence,
            measured,
        }
    }
}

fn steady(runs: &Runs<'_>) -> Option<Part> {
    let share = |name| {
        let results = runs.of(name)?.iter();
        let movements = results.map(|run| Movement::of(run, TENTHS));
        let (wide, windows) = movements.fold((0, 0), |(wide, windows), movement| {
            (wide + movement.wide, windows + movement.windows)
        });
        (windows > 0).then(|| wide as f64 / windows as f64)
    };
    let [adam, momentum] = [share(L4_ADAM)?, share(L4_MOM)?];
    let evidence = format!(
        "(1) Steadier rates: in {:.0} % of the tenths of an epoch L4Adam's greatest rate was at least 100 times its least, in \
         {:.0} % L4Mom's; it holds if both are at most {:.0} % (in the MNIST results that this repository holds, over 90 % are).",
        100.0 * adam,
        100.0 * momentum,
        100.0 * STEADY
    );
    let measured = json!({L4_ADAM: adam, L4_MOM: momentum});
    Some(Part::new(
        "steady",
        adam <= STEADY && momentum <= STEADY,
        evidence,
        measured,
    ))
}

/// L4Mom's rate against the schedule's before the first drop and between it and the second.
fn tracks(runs: &Runs<'_>) -> Option<Part> {
    let (line, results) = runs.line(L4_MOM)?;
    let [first, second, _] = drops(line.setting.steps());
    let before = rate_ratio(results, 0..=first, POLICY_RATE)?;
    let between = rate_ratio(results, first + 1..=second, POLICY_RATE / 10.0)?;
    let near = |ratio: f64| (TRACKS.recip()..=TRACKS).contains(&ratio);
    let evidence = format!(
        "(2) L4Mom's median rates were, as a geometric mean, {} times the default policy's (heavy-ball) rate before its first \
         drop and {} times between the first and the second, that is {} and {} times the rate at which an averaged gradient \
         makes the policy's steps; it holds if both of the latter are within a factor of {TRACKS:.2} of 1.",
        crate::table::number(before),
        crate::table::number(between),
        crate::table::number(before / HEAVY_BALL),
        crate::table::number(between / HEAVY_BALL),
    );
    let measured = json!({"before_first_drop": before, "before_second_drop": between});
    let holds = near(before / HEAVY_BALL) && near(between / HEAVY_BALL);
    Some(Part::new("tracks_the_schedule", holds, evidence, measured))
}

/// The geometric mean of logged rates at these steps over a constant; of those above 0.
fn rate_ratio(
    results: &[RunResult],
    steps: std::ops::RangeInclusive<u64>,
    rate: f64,
) -> Option<f64> {
    let columns = results
        .iter()
        .filter_map(|result| result.metrics.get("learning_rate"));
    let logarithms: Vec<f64> = columns
        .flat_map(|column| column.steps.iter().zip(&column.values))
        .filter(|(step, rate)| steps.contains(step) && **rate > 0.0)
        .map(|(_, logged)| (logged / rate).ln())
        .collect();
    stats::mean(&logarithms).map(f64::exp)
}

/// L4 against the best constant rates, in training loss and in test accuracy.
fn beats(runs: &Runs<'_>) -> Option<Part> {
    let mut measured = Map::new();
    let mut sentences = Vec::new();
    let mut holds = true;
    for (l4, base) in [(L4_ADAM, ADAM), (L4_MOM, M_SGD)] {
        let losses = [runs.final_losses(l4)?, runs.final_losses(base)?];
        let accuracies = [l4, base].map(|name| runs.accuracy(name, runs.epochs()));
        let [Some(l4_accuracy), Some(base_accuracy)] = accuracies else {
            return None;
        };
        holds &= losses[0].height() < losses[1].height() && l4_accuracy.mean > base_accuracy.mean;
        sentences.push(format!(
            "{l4} {} and {} %, {base} {} and {} %",
            claims::mean(&losses[0]),
            claims::spread(&l4_accuracy),
            claims::mean(&losses[1]),
            claims::spread(&base_accuracy)
        ));
        let [l4_loss, base_loss] = losses;
        measured.insert(
            l4.to_owned(),
            json!({"final_loss": l4_loss, "accuracy": l4_accuracy}),
        );
        measured.insert(
            base.to_owned(),
            json!({"final_loss": base_loss, "accuracy": base_accuracy}),
        );
    }
    let evidence = format!(
        "(3) Final training loss and test accuracy: {}; it holds if each L4 method is better than its base method in both.",
        sentences.join("; ")
    );
    let measured = Value::Object(measured);
    Some(Part::new("beats_constant_rates", holds, evidence, measured))
}

/// Whether the default policy has the best test accuracy in the end, and since when for good.
fn wins(runs: &Runs<'_>) -> Option<Part> {
    let epochs = runs.epochs();
    let accuracy = |name: &str, epoch| runs.accuracy(name, epoch)?.mean;
    let leads = |epoch| {
        let policy = accuracy(DEFAULT_POLICY, epoch);
        let others = SECTION
            .methods
            .iter()
            .filter(|name| **name != DEFAULT_POLICY);
        policy.is_some()
            && others
                .into_iter()
                .all(|name| accuracy(name, epoch) < policy)
    };
    let lead = (1..=epochs).rev().take_while(|epoch| leads(*epoch)).last();
    let drop = (epochs * DROPS[0]) as f64 / EPOCHS as f64;
    let soon = drop + (epochs as f64 / 10.0).max(1.0);
    let right_after = lead.is_some_and(|epoch| epoch as f64 > drop && epoch as f64 <= soon);
    let finals = SECTION
        .methods
        .iter()
        .filter_map(|name| Some(format!("{name} {:.2}", accuracy(name, epochs)?)));
    let since = lead.map_or_else(
        || "it is not in the lead at the end".to_owned(),
        |epoch| format!("it is in the lead for good from epoch {epoch} on"),
    );
    let evidence = format!(
        "(4) Final test accuracies in per cent: {}. The default policy first drops after epoch {drop:.1}; {since}. It holds if \
         that is between this drop and epoch {soon:.1}.",
        finals.collect::<Vec<_>>().join(", ")
    );
    let measured =
        json!({"leads_from_epoch_or_0": lead.unwrap_or(0), "first_drop_after_epoch": drop});
    Some(Part::new(
        "default_policy_wins",
        right_after,
        evidence,
        measured,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::comparison::tests::{run, runs};
    use crate::results::Verdict;

    #[test]
    fn every_method_has_a_setting() {
        let methods = SECTION.methods.iter();
        assert!(methods.clone().all(|name| method(name, 1000).is_some()));
        for name in methods {
            let method = method(name, 8).unwrap();
            assert!(method.optimizer::<f32>().is_ok(), "{name} in a smoke run");
        }
    }

    #[test]
    fn the_policys_drops_are_those_of_the_protocol_or_in_proportion() {
        let of = |epochs: u64| method(DEFAULT_POLICY, 390 * epochs).unwrap();
        let policy = |drops| Method::DefaultPolicy { rate: 0.1, drops };
        assert_eq!(of(250), policy([39_000, 58_500, 78_000]));
        assert_eq!(of(12), policy([1872, 2808, 3744]));
        assert_eq!(deviations(250).len() + 1, deviations(12).len());
        assert!(deviations(12)[1].contains("[4.8, 7.2, 9.6] of 12"));
    }

    /// 20 epochs, with what is logged at the end of each; the policy drops after 8, 12 and 16.
    fn epochs(row: impl Fn(u64) -> [(&'static str, f64); 5]) -> [RunResult; 1] {
        let rows: Vec<_> = (1..=20).map(row).collect();
        let rows: Vec<&[_]> = rows.iter().map(|row| &row[..]).collect();
        [run(&rows)]
    }

    fn row(rate: f64, range: f64, loss: f64, accuracy: f64) -> [(&'static str, f64); 5] {
        [
            ("learning_rate", rate),
            ("learning_rate_min", rate),
            ("learning_rate_max", rate * range),
            ("epoch_loss", loss),
            ("test_accuracy", accuracy),
        ]
    }

    /// As the paper has it, but for what the arguments say: L4Mom's rate after the first drop, the range of L4Adam's rate, its
    /// loss, and from which epoch on the policy leads.
    fn verdict(rate: f64, range: f64, loss: f64, lead: u64) -> (Verdict, Map<String, Value>) {
        let base = epochs(|_| row(0.1, 1.0, 0.5, 80.0));
        let adam = epochs(|_| row(0.1, range, loss, 85.0));
        let mom = epochs(|epoch| row(if epoch <= 8 { 1.0 } else { rate }, 2.0, 0.3, 85.0));
        let policy = epochs(|epoch| {
            let accuracy = if epoch < lead { 70.0 } else { 90.0 };
            row(0.1, 1.0, 0.4, accuracy)
        });
        let lines = [
            (DEFAULT_POLICY, &policy[..]),
            (M_SGD, &base),
            (ADAM, &base),
            (L4_ADAM, &adam),
            (L4_MOM, &mom),
        ];
        let finding = residual_network(&runs(&lines, 20)).unwrap();
        let measured = finding.measured.as_object().unwrap().clone();
        (finding.verdict, measured)
    }

    #[test]
    fn c8_is_reproduced_if_all_parts_hold() {
        let (verdict, measured) = verdict(0.1, 50.0, 0.3, 9);
        assert_eq!(verdict, Verdict::Reproduced, "{measured:?}");
        assert_eq!(measured["default_policy_wins"]["leads_from_epoch_or_0"], 9);
    }

    #[test]
    fn each_part_of_c8_can_fail() {
        let failing = |rate, range, loss, lead| {
            let (verdict, measured) = verdict(rate, range, loss, lead);
            assert_eq!(verdict, Verdict::Partly);
            let failing = measured
                .into_iter()
                .filter(|(_, part)| part["holds"] == false);
            failing.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(failing(0.1, 100.0, 0.3, 9), "steady");
        assert_eq!(failing(0.4, 50.0, 0.3, 9), "tracks_the_schedule");
        assert_eq!(failing(0.1, 50.0, 0.6, 9), "beats_constant_rates");
        for lead in [8, 11, 21] {
            assert_eq!(
                failing(0.1, 50.0, 0.3, lead),
                "default_policy_wins",
                "{lead}"
            );
        }
    }

    #[test]
    fn short_runs_and_missing_methods_do_not_test_c8() {
        let one = epochs(|_| row(0.1, 1.0, 0.5, 80.0));
        let lines = SECTION.methods.iter().map(|name| (*name, &one[..]));
        let lines: Vec<_> = lines.collect();
        assert!(residual_network(&runs(&lines, REDUCED - 1)).is_none());
        assert!(residual_network(&runs(&lines[1..], 20)).is_none());
    }

    #[test]
    fn figure_4_has_the_policy_in_both_units() {
        let one = epochs(|_| row(0.1, 1.0, 0.5, 80.0));
        let lines = [(L4_MOM, &one[..]), (DEFAULT_POLICY, &one)];
        let header = crate::results::tests::header("figure4");
        let figure = figure4(header, &runs(&lines, 20));
        let means: Vec<_> = figure
            .series
            .iter()
            .map(|series| (series.method.as_str(), series.mean[0], series.x[19]))
            .collect();
        let expected = [
            (L4_MOM, 0.1, 20.0),
            (DEFAULT_POLICY, 0.1, 20.0),
            ("default policy (×10)", 1.0, 20.0),
        ];
        assert_eq!(means, expected);
    }
}
