//! Section 3.4, the differentiable neural computer on the repeat-copy task: Figure 6.

use anyhow::{Context, bail};
use clap::Args;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{self, Common, Preset, Section, Size};
use crate::experiments::dnc::{self, BATCH, BEYOND, Kind, Line, PERIODS, Runs, Setting, TRAINED};
use crate::experiments::lines::values;
use crate::methods::{
    ADAM, ALPHA, L4_ADAM, L4_MOM, M_SGD, M_SGD_TUNED, Method, RMS_PROP, RMS_PROP_TUNED,
};
use crate::results::{Axes, Axis, Cell, CellOfRuns, Column, Entry, Figure, Header, Table};
use crate::run::RunResult;
use crate::runner::Runner;
use crate::search::{Baseline, Origin};
use crate::stats::{self, Curve, Spread};

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.4",
    binary: "section3_4",
    about: "Section 3.4, the differentiable neural computer on repeat-copy: Figure 6 (training loss and effective learning rate), \
            a table of the sequences that trained networks reproduce without a bit error, and the claims they bear on. RMSProp \
            runs at the rate of DeepMind's code, Adam and mSGD at the best rates of Table 1, and RMSProp and mSGD, marked by a \
            star, at the best rates that `tune` finds; all of these with gradients clipped to a norm of 50. L4Adam and L4Mom run at the default \
            alpha 0.15 without clipping.",
    presets: &[
        Size {
            preset: Preset::Smoke,
            seeds: 2,
            length: 250,
            about: "2 runs of 250 steps: seconds, and no results",
        },
        Size {
            preset: Preset::Quick,
            seeds: 2,
            length: 10_000,
            about: "2 runs of 10,000 steps: about a minute on 2 cores",
        },
        Size {
            preset: Preset::Paper,
            seeds: 5,
            length: STEPS,
            about: "the whole: 5 runs of 40,000 steps: about 10 minutes on 2 cores",
        },
    ],
    default_preset: Preset::Quick,
    methods: &[
        RMS_PROP,
        RMS_PROP_TUNED,
        ADAM,
        M_SGD,
        M_SGD_TUNED,
        L4_ADAM,
        L4_MOM,
    ],
};

/// Steps of the whole section, and of the search for its rates: the best constant rate depends on how long a
/// run is.
pub const STEPS: u64 = 40_000;

/// Steps below which claims are not tested: the losses are still those of the start.
const SETTLING: u64 = 5_000;

/// The constant rate of DeepMind's code.
const REPOSITORY_RATE: f64 = 1e-4;
/// The best constant rates of RMSProp and mSGD that `tune --section 3.4` found.
const TUNED_RMS_PROP: f64 = 3.2e-3;
const TUNED_M_SGD: f64 = 0.3;

/// The methods whose best constant rates can be searched for.
pub const BASELINES: &[Baseline] = &[
    Baseline {
        name: RMS_PROP,
        rate: REPOSITORY_RATE,
        origin: Origin::Repository,
        powers: 0..=9,
        method: |rate| Method::RmsProp { rate },
    },
    Baseline {
        name: ADAM,
        rate: 0.01,
        origin: Origin::Paper,
        powers: -4..=2,
        method: |rate| Method::Adam { rate },
    },
    Baseline {
        name: M_SGD,
        rate: 1.2,
        origin: Origin::Paper,
        powers: -6..=1,
        method: |rate| Method::Momentum { rate },
    },
];

/// The baselines at their best rates, which claim C9 compares with.
const TUNED: [&str; 3] = [RMS_PROP_TUNED, ADAM, M_SGD_TUNED];

/// A method at its setting here.
fn method(name: &str) -> Option<Method> {
    Some(match name {
        RMS_PROP_TUNED => Method::RmsProp {
            rate: TUNED_RMS_PROP,
        },
        M_SGD_TUNED => Method::Momentum { rate: TUNED_M_SGD },
        L4_ADAM => Method::L4Adam { alpha: ALPHA },
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        _ => {
            let baseline = BASELINES.iter().find(|baseline| baseline.name == name)?;
            (baseline.method)(baseline.rate)
        }
    })
}

/// The section's own options.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Steps of each run [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,

    /// Show what a trained network makes of an example of each kind of sequences, instead of running the section
    ///
    /// The network is that of the run with seed 0 by L4Adam, or by the first of --methods; it is trained first unless that run
    /// is in the output directory already.
    #[arg(long)]
    pub show: bool,
}

/// Runs the section and writes its files, or shows a trained network at work.
///
/// # Errors
/// If a run fails or a file cannot be written.
pub fn run(common: &Common, options: Options) -> anyhow::Result<()> {
    let setting = Setting {
        batch: BATCH,
        steps: options.steps.unwrap_or(common.length),
    };
    if options.show {
        return show(common, setting);
    }
    let lines = common.methods.iter().filter_map(|name| {
        Some(Line {
            name: (*name).to_owned(),
            method: method(name)?,
            setting,
        })
    });
    let sequences = |steps| steps * BATCH as u64;
    let whole = SECTION.size(Preset::Paper);
    let comparison = dnc::Comparison {
        section: &SECTION,
        common,
        sequences: sequences(setting.steps),
        paper_sequences: whole.map_or(0, |whole| sequences(whole.length)),
        lines: lines.collect(),
        deviations: deviations(),
    };
    let (runs, mut report) = comparison.run()?;
    let title = "Training the DNC on repeat-copy, by windows of 100 steps: (a) the mean loss over all runs; (b) median and range \
                 of the effective learning rate in the run with seed 0";
    report.figure(&figure6(report.header("figure6", title), &runs)?)?;
    let title = format!(
        "Repeat-copy sequences that trained DNCs reproduce without a bit error, of {} each",
        dnc::TESTS
    );
    report.table(&sequences_table(
        report.header("repeat_copy", &title),
        &runs,
    ))?;
    report.claims(match setting.steps {
        SETTLING.. => claims(&runs),
        _ => Vec::new(),
    })?;
    report.print()
}

fn deviations() -> Vec<String> {
    vec![
        "The paper says neither for how many steps it trained nor, in the text that is left of it, which rate it tuned RMSProp \
         to: 40,000 steps, after which the best methods have reproduced every sequence for long, and the rate of RMSProp*, the \
         best of a search, are our choice."
            .to_owned(),
    ]
}

/// What a trained network makes of an example of each kind.
fn show(common: &Common, setting: Setting) -> anyhow::Result<()> {
    let name = common.methods.iter().find(|name| **name == L4_ADAM);
    let name = name.or(common.methods.first()).context("no method")?;
    let method = method(name).context("no such method")?;
    let runner = Runner::open(common.runner_options.clone())?;
    let planned = [setting.plan(SECTION.number, name, method, 0)];
    let results = runner.run(&planned)?;
    let [result] = &results[..] else {
        bail!("one run has {} results", results.len());
    };
    if let Some(step) = result.diverged_at() {
        bail!(
            "the run of {name} with seed 0 diverged at step {step}: there is no trained network to show"
        );
    }
    let mut training = dnc::Training::new(setting, method, 0)?;
    crate::experiment::Experiment::load(&mut training, &runner.final_checkpoint(&planned[0])?)?;
    let head = format!("{name}, seed 0, after {} steps\n\n", setting.steps);
    Ok(cli::print(&(head + &training.show()?))?)
}

fn figure6(header: Header, runs: &Runs) -> anyhow::Result<Figure> {
    let mut series = runs.series("a", "loss")?;
    series.extend(runs.rates("b", &[L4_ADAM, L4_MOM, ADAM]));
    let axes = |panel: &str, title: &str, y: &str| Axes {
        panel: panel.to_owned(),
        title: title.to_owned(),
        x: Axis::linear("step"),
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

fn sequences_table(header: Header, runs: &Runs) -> Table {
    let kinds = || [TRAINED].into_iter().chain(BEYOND);
    let percent = |kind: Kind| {
        let range = |[low, high]: [usize; 2]| format!("{low}–{high}");
        let (lengths, repeats) = (range(kind.lengths), range(kind.repeats));
        let title = format!("{}: lengths {lengths}, repeats {repeats}", kind.name);
        Column::with_unit(kind.metric, &title, "%")
    };
    let mut columns = vec![Column::new("method", "Method")];
    columns.extend(kinds().map(percent));
    columns.push(Column::new(
        "first_all_right",
        "First step with all as trained on right",
    ));
    columns.push(Column::new("final_loss", "Final training loss"));
    let row = |(line, results): &(Line, Vec<RunResult>)| {
        let mut row = IndexMap::from([("method".to_owned(), Entry::from(line.name.as_str()))]);
        for kind in kinds() {
            let last = |result: &RunResult| percent_at_end(result, kind);
            row.insert(kind.metric.to_owned(), Cell::over(results, last).into());
        }
        let first = Cell::over(results, first_all_right);
        row.insert("first_all_right".to_owned(), first.into());
        row.insert("final_loss".to_owned(), Cell::final_losses(results).into());
        row
    };
    Table {
        header,
        columns,
        rows: runs.0.iter().map(row).collect(),
    }
}

/// Of a run that got to its end.
fn percent_at_end(result: &RunResult, kind: Kind) -> Option<f64> {
    let finished = result.diverged_at().is_none();
    values(result, kind.metric)
        .last()
        .copied()
        .filter(|_| finished)
}

/// The first step at which every sequence tested on came out right; they are tested every tenth of the run.
fn first_all_right(result: &RunResult) -> Option<f64> {
    let column = result.metrics.get(TRAINED.metric)?;
    let index = column.values.iter().position(|right| *right == 100.0)?;
    column.steps.get(index).map(|step| *step as f64)
}

fn claims(runs: &Runs) -> Vec<Finding> {
    let steps = runs.0.first().map_or(0, |(line, _)| line.setting.steps);
    let task = format!("DNC, mean over the last tenth of {steps} steps");
    let findings = [
        runs.lower_final_loss(&task, [ADAM, M_SGD_TUNED]),
        runs.rates_that_move("DNC", &[L4_ADAM, L4_MOM], PERIODS),
        matches_and_is_stable(runs),
    ];
    findings.into_iter().flatten().collect()
}

/// A mean final loss up to so many times another's matches it: on Figure 6's axis, which spans powers of ten, they are hardly
/// told apart.
const MATCHES: f64 = 2.0;

/// How stable a method is, over its runs.
struct Stability {
    diverged: usize,
    /// Decades between the greatest and the least run, averaged over the windows: the height of the band in Figure 6.
    spread: f64,
}

impl Stability {
    fn of(results: &[RunResult]) -> anyhow::Result<Self> {
        let curves: Vec<Curve> = results.iter().map(|run| Curve::of(run, "loss")).collect();
        let band = stats::band(&curves, Spread::Range)?;
        let ratios = band
            .low
            .iter()
            .zip(&band.high)
            .filter(|(low, _)| **low > 0.0);
        let decades: Vec<f64> = ratios.map(|(low, high)| (high / low).log10()).collect();
        Ok(Self {
            diverged: results
                .iter()
                .filter(|run| run.diverged_at().is_some())
                .count(),
            spread: stats::mean(&decades).unwrap_or(0.0),
        })
    }

    /// By divergences first, then by the band.
    fn is_less_stable_than(&self, other: &Self) -> bool {
        (self.diverged, self.spread) > (other.diverged, other.spread)
    }
}

/// C9: both L4 methods against the tuned baselines, and L4Mom's stability against L4Adam's.
fn matches_and_is_stable(runs: &Runs) -> Option<Finding> {
    let losses = |names: &[&'static str]| -> Option<Vec<(&'static str, Cell)>> {
        let cells = names
            .iter()
            .map(|name| Some((*name, runs.final_losses(name)?)));
        cells.collect()
    };
    let baselines = losses(&TUNED)?;
    let ours = losses(&[L4_ADAM, L4_MOM])?;
    let best = baselines
        .iter()
        .map(|(_, cell)| cell.height())
        .fold(f64::INFINITY, f64::min);
    let matches = |cell: &Cell| cell.height() <= MATCHES * best && cell.height().is_finite();
    let [adam, momentum] = [L4_ADAM, L4_MOM].map(|name| Stability::of(runs.of(name)?).ok());
    let (adam, momentum) = (adam?, momentum?);
    let less_stable = momentum.is_less_stable_than(&adam);
    let parts = [matches(&ours[0].1), matches(&ours[1].1), less_stable];
    let named = || baselines.iter().chain(&ours);
    let words: Vec<String> = named()
        .map(|(name, cell)| format!("{name} {}", claims::mean(cell)))
        .collect();
    let measured: Map<String, Value> = named()
        .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
        .collect();
    let stability = |stability: &Stability| json!({"diverged": stability.diverged, "decades": stability.spread});
    Some(Finding {
        id: "C9",
        verdict: claims::verdict(parts),
        evidence: format!(
            "DNC. Mean final training loss: {}. The band from the least to the greatest run is, on average over the windows, \
             {:.2} decades high for L4Adam, with {} runs diverged, and {:.2} for L4Mom, with {}. Reproduced would be, without \
             clipping, a loss of each L4 method that is at most {MATCHES} times the lowest of the tuned baselines', and more \
             divergences or else a higher band for L4Mom; partly, some of the three.",
            words.join(", "),
            adam.spread,
            adam.diverged,
            momentum.spread,
            momentum.diverged
        ),
        measured: json!({
            "final_loss": measured,
            "stability": {L4_ADAM: stability(&adam), L4_MOM: stability(&momentum)},
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MetricLog, Timing};
    use crate::results::Verdict;
    use crate::run::{Outcome, RunSpec};

    /// A run with these losses, of which the last is the final one; diverged at the end if asked for.
    fn run(seed: u64, losses: &[f64], diverged: bool) -> RunResult {
        let mut log = MetricLog::default();
        for (loss, step) in losses.iter().zip(1..) {
            log.push(step, &[("loss", *loss), ("right", 100.0 * (1.0 - loss))])
                .unwrap();
        }
        let outcome = match diverged {
            true => Outcome::Diverged {
                step: 7,
                reason: "the loss is NaN".into(),
            },
            false => Outcome::Finished,
        };
        RunResult {
            spec: RunSpec {
                section: "3.4".into(),
                method: L4_ADAM.into(),
                hyperparameters: Map::new(),
                seed,
                steps: losses.len() as u64,
            },
            outcome,
            summary: Map::from_iter([("final_loss".to_owned(), json!(losses.last()))]),
            metrics: log.metrics().clone(),
            timing: Timing::default(),
            git_commit: "unknown".into(),
        }
    }

    /// A method whose runs keep these losses all along.
    fn steady<const N: usize>(losses: [f64; N]) -> Vec<RunResult> {
        (0..)
            .zip(losses)
            .map(|(seed, loss)| run(seed, &[loss; 2], false))
            .collect()
    }

    fn verdict(adam: Vec<RunResult>, momentum: Vec<RunResult>) -> Option<Verdict> {
        let baselines = TUNED.map(|name| (name, steady([1.0, 1.0])));
        let all = baselines
            .into_iter()
            .chain([(L4_ADAM, adam), (L4_MOM, momentum)]);
        let line = |name: &str| Line {
            name: name.to_owned(),
            method: Method::Sgd { rate: 0.1 },
            setting: Setting {
                batch: 16,
                steps: 2,
            },
        };
        let runs = crate::experiments::lines::Runs(
            all.map(|(name, results)| (line(name), results)).collect(),
        );
        matches_and_is_stable(&runs).map(|finding| finding.verdict)
    }

    #[test]
    fn matching_and_stability_are_judged_apart() {
        let narrow = || steady([1.0, 1.1]);
        let wide = || steady([0.1, 1.1]);
        let high = || steady([3.0, 30.0]);
        assert_eq!(verdict(narrow(), wide()), Some(Verdict::Reproduced));
        assert_eq!(verdict(wide(), narrow()), Some(Verdict::Partly));
        assert_eq!(verdict(narrow(), high()), Some(Verdict::Partly));
        assert_eq!(
            verdict(high(), steady([30.0, 30.0])),
            Some(Verdict::NotReproduced)
        );
    }

    #[test]
    fn a_divergence_is_no_match_and_less_stable_than_any_band() {
        let diverged = || vec![run(0, &[0.1, 0.1], false), run(1, &[0.1], true)];
        assert_eq!(
            verdict(steady([0.1, 1.0]), diverged()),
            Some(Verdict::Partly)
        );
        let [wide, unstable] =
            [steady([1e-6, 1.0]), diverged()].map(|runs| Stability::of(&runs).unwrap());
        assert!(unstable.is_less_stable_than(&wide) && !wide.is_less_stable_than(&unstable));
    }

    #[test]
    fn a_table_counts_what_diverged_and_what_was_not_reached() {
        let right = |losses: &[f64]| first_all_right(&run(0, losses, false));
        assert_eq!(right(&[0.5, 0.0, 0.0]), Some(2.0));
        assert_eq!(right(&[0.5, 0.1]), None);
        assert_eq!(
            percent_at_end(&run(0, &[0.5, 0.0], false), TRAINED),
            Some(100.0)
        );
        assert_eq!(percent_at_end(&run(0, &[0.5, 0.0], true), TRAINED), None);
    }

    #[test]
    fn every_method_has_a_setting() {
        assert!(SECTION.methods.iter().all(|name| method(name).is_some()));
    }

    #[test]
    fn show_needs_one_run_and_prints_from_its_weights() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().to_str().unwrap();
        let words = [
            "section3_4",
            "--preset",
            "smoke",
            "--steps",
            "3",
            "--show",
            "--out",
            out,
        ];
        let (common, options) = cli::parse_from(&SECTION, words).unwrap();
        super::run(&common, options).unwrap();
        assert_eq!(directory.path().join("runs").read_dir().unwrap().count(), 1);
        assert!(!directory.path().join("figure6.json").exists());
    }
}
