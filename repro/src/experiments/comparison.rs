//! Methods compared on images: what sections 3.2, 3.3, 3.5 and 3.6 have in common.

use std::time::Duration;

use datasets::ImageDataset;

use crate::claims::Finding;
use crate::cli::{Common, Preset, Section};
use crate::data;
use crate::experiments::images::{self, ImageOptions, Setting};
use crate::experiments::lines::{self, Axis, Periods};
use crate::methods::{ADAM, M_SGD, Method};
use crate::report::Report;
use crate::results::{Cell, CellOfRuns, Protocol};
use crate::runner::{Planned, Runner};

/// A method on images at its setting.
pub type Line<'d> = lines::Line<Setting<'d>>;

/// What was run on images, and what came of it.
pub type Runs<'d> = lines::Runs<Setting<'d>>;

/// A section's runs, before they are made.
pub struct Comparison<'d> {
    /// The section.
    pub section: &'static Section,
    /// The command line.
    pub common: &'d Common,
    /// The command line.
    pub options: &'d ImageOptions,
    /// What all lines are trained on.
    pub data: &'d ImageDataset,
    /// At least one; all of as many epochs.
    pub lines: Vec<Line<'d>>,
    /// How the section departs from the paper, beside the data and the number of runs and epochs.
    pub deviations: Vec<String>,
}

impl<'d> Comparison<'d> {
    /// Runs every line with every seed, and begins the report. An estimate of the time is told on standard error first.
    ///
    /// # Errors
    /// If a run fails.
    pub fn run(mut self) -> anyhow::Result<(Runs<'d>, Report)> {
        for line in &mut self.lines {
            line.setting.threads = self.common.runner_options.threads;
        }
        let runner = Runner::open(self.common.runner_options.clone())?;
        let seeds = 0..self.common.seeds;
        let number = self.section.number;
        let planned: Vec<Planned> = self
            .lines
            .iter()
            .flat_map(|line| seeds.clone().map(move |seed| (line, seed)))
            .map(|(line, seed)| line.setting.plan(number, &line.name, line.method, seed))
            .collect();
        self.tell_time(&runner, &planned)?;
        let results = runner.run(&planned)?;
        drop(planned);
        let report = Report::new(
            &runner,
            number,
            self.protocol(),
            self.all_deviations(),
            data::provenance(self.data),
        );
        Ok((Runs::new(self.lines, &results), report))
    }

    fn epochs(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.setting.epochs)
    }

    /// What is the same for all lines.
    fn common_to_all(&self, value: impl Fn(&Setting<'d>) -> u64) -> Option<u64> {
        let mut values = self.lines.iter().map(|line| value(&line.setting));
        let first = values.next()?;
        values.all(|other| other == first).then_some(first)
    }

    fn protocol(&self) -> Protocol {
        let hyperparameters = self.lines.iter().map(|line| {
            let hyperparameters = line.setting.hyperparameters(line.method);
            (line.name.clone(), hyperparameters)
        });
        Protocol {
            preset: self.common.preset.name().to_owned(),
            seeds: (0..self.common.seeds).collect(),
            epochs: Some(self.epochs()),
            steps: self.common_to_all(Setting::steps),
            batch: self.common_to_all(|setting| setting.batch as u64),
            hyperparameters: hyperparameters.collect(),
            ..Protocol::default()
        }
    }

    fn all_deviations(&self) -> Vec<String> {
        let mut deviations = images::deviations(self.data, &self.options.data);
        deviations.extend(self.deviations.iter().cloned());
        let used = self.common_to_all(|setting| setting.examples as u64);
        let all = self.data.train.len();
        if let Some(used) = used.filter(|used| *used < all as u64) {
            deviations.push(format!(
                "Trained on {used} of the {all} training images, the first ones, in every epoch."
            ));
        }
        let (seeds, epochs) = (self.common.seeds, self.epochs());
        match self.section.size(Preset::Paper) {
            Some(whole) if (whole.seeds, whole.length) != (seeds, epochs) => {
                deviations.push(format!(
                    "Runs of each method: {seeds} of {}; `--preset paper` makes the whole, {} of {}.",
                    in_words(epochs),
                    whole.seeds, whole.length
                ));
            }
            _ => {}
        }
        deviations
    }

    fn tell_time(&self, runner: &Runner, planned: &[Planned<'_>]) -> anyhow::Result<()> {
        if self.common.preset == Preset::Smoke {
            return Ok(());
        }
        let per_line = planned.chunks(self.common.seeds as usize);
        let left = per_line.map(|runs| runs.iter().filter(|run| !runner.is_finished(run)).count());
        let mut epochs = Epochs::default();
        let (mut runs, mut seconds) = (0, 0.0);
        for (line, left) in self.lines.iter().zip(left).filter(|(_, left)| *left > 0) {
            runs += left;
            seconds += left as f64 * epochs.seconds(line.setting, line.method)?;
        }
        if runs == 0 {
            return Ok(());
        }
        let at_once = |runs: usize| self.common.runner_options.jobs.min(runs);
        let per_epoch = seconds / (self.epochs() * runs as u64) as f64;
        eprintln!(
            "{} an epoch; {runs} runs of {}, {} at a time, from their start: {}",
            about(per_epoch),
            in_words(self.epochs()),
            at_once(runs),
            about(seconds / at_once(runs) as f64)
        );
        let whole = self.section.size(Preset::Paper);
        if let Some(whole) = whole.filter(|_| self.common.preset != Preset::Paper) {
            let mut seconds = 0.0;
            for line in &self.lines {
                let setting = Setting {
                    examples: self.data.train.len(),
                    epochs: whole.length,
                    ..line.setting
                };
                seconds += whole.seeds as f64 * epochs.seconds(setting, line.method)?;
            }
            let runs = self.lines.len() * whole.seeds as usize;
            eprintln!(
                "--preset paper, {runs} runs of {}, would take {} here",
                in_words(whole.length),
                about(seconds / at_once(runs) as f64)
            );
        }
        Ok(())
    }
}

/// What epochs take on this machine: measured once for those that are alike.
#[derive(Default)]
struct Epochs<'d>(Vec<(Setting<'d>, f64)>);

impl<'d> Epochs<'d> {
    /// All epochs of a run.
    fn seconds(&mut self, setting: Setting<'d>, method: Method) -> anyhow::Result<f64> {
        let alike = |(other, _): &&(Setting<'_>, f64)| {
            other.network == setting.network
                && other.batch == setting.batch
                && other.examples == setting.examples
        };
        let per_epoch = match self.0.iter().find(alike) {
            Some((_, seconds)) => *seconds,
            None => {
                let seconds = setting.seconds_per_epoch(method)?;
                self.0.push((setting, seconds));
                seconds
            }
        };
        Ok(per_epoch * setting.epochs as f64)
    }
}

fn in_words(epochs: u64) -> String {
    let plural = if epochs == 1 { "" } else { "s" };
    format!("{epochs} epoch{plural}")
}

/// A duration in words, of two or three digits.
fn about(seconds: f64) -> String {
    let unit = match seconds {
        ..10.0 => return format!("about {seconds:.1} s"),
        ..600.0 => 1.0,
        ..36_000.0 => 60.0,
        _ => 600.0,
    };
    let rounded = Duration::from_secs(((seconds / unit).round() * unit) as u64);
    format!("about {}", humantime::format_duration(rounded))
}

impl Axis for Setting<'_> {
    fn steps_per_unit(&self) -> f64 {
        self.steps_per_epoch() as f64
    }
}

impl Runs<'_> {
    /// The epochs of each run.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        self.0.first().map_or(0, |(line, _)| line.setting.epochs)
    }

    /// Test accuracies of a line after so many epochs, in per cent.
    #[must_use]
    pub fn accuracy(&self, name: &str, epochs: u64) -> Option<Cell> {
        let (line, results) = self.line(name)?;
        let step = epochs * line.setting.steps_per_epoch();
        Some(Cell::over(results, |result| {
            let column = result.metrics.get("test_accuracy")?;
            let index = column.steps.binary_search(&step).ok()?;
            column.values.get(index).copied()
        }))
    }

    /// C1 on this task.
    #[must_use]
    pub fn lower_loss(&self, task: &str) -> Option<Finding> {
        let task = format!("{task}, mean over the batches of epoch {}", self.epochs());
        self.lower_final_loss(&task, [ADAM, M_SGD])
    }

    /// C6 on this task, for L4 at its default and the other L4 lines among `names`.
    #[must_use]
    pub fn moving_rates(&self, task: &str, names: &[&'static str]) -> Option<Finding> {
        self.rates_that_move(task, names, TENTHS)
    }
}

/// What the rows of a run on images stand for.
pub const TENTHS: Periods = Periods {
    windows: "Tenths of an epoch",
    period: "epoch",
    losses: "epoch_loss",
};

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use serde_json::{Map, json};

    use super::*;
    use crate::experiments::images::Network;
    use crate::experiments::lines::Movement;
    use crate::methods::{L4_ADAM, L4_MOM, Method};
    use crate::metrics::{MetricLog, Timing};
    use crate::results::Verdict;
    use crate::run::{Outcome, RunResult, RunSpec};
    use datasets::{Dataset, synthetic};

    /// Steps in an epoch of [`run`] and [`runs`].
    pub const STEPS: u64 = 4;

    static DATA: LazyLock<ImageDataset> =
        LazyLock::new(|| synthetic::stand_in(Dataset::Mnist, 8, 100, [1; 32]));

    /// A run that logs these rows, one at the end of each epoch, and whose final loss is the last `epoch_loss`.
    pub fn run(rows: &[&[(&str, f64)]]) -> RunResult {
        let mut log = MetricLog::default();
        for (row, epoch) in rows.iter().zip(1..) {
            log.push(epoch * STEPS, row).unwrap();
        }
        let losses = log.metrics().get("epoch_loss");
        let last = losses.and_then(|column| column.values.last().copied());
        RunResult {
            spec: RunSpec {
                section: "3.2".into(),
                method: L4_ADAM.into(),
                hyperparameters: Map::new(),
                seed: 0,
                steps: STEPS * rows.len() as u64,
            },
            outcome: Outcome::Finished,
            summary: Map::from_iter([("final_loss".to_owned(), json!(last))]),
            metrics: log.metrics().clone(),
            timing: Timing::default(),
            git_commit: "unknown".into(),
        }
    }

    pub fn runs(by_method: &[(&str, &[RunResult])], epochs: u64) -> Runs<'static> {
        let setting = Setting::new(&DATA, Network::Mlp, 2, epochs);
        assert_eq!(setting.steps_per_epoch(), STEPS);
        let line = |name: &str| Line {
            name: name.to_owned(),
            method: Method::Sgd { rate: 0.1 },
            setting,
        };
        let by_method = by_method.iter();
        lines::Runs(
            by_method
                .map(|(name, results)| (line(name), results.to_vec()))
                .collect(),
        )
    }

    pub fn moving(low: f64, high: f64, last_loss: f64) -> RunResult {
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
        const NAMES: [&str; 2] = [L4_ADAM, L4_MOM];
        let finding = |momentum: RunResult| {
            let [adam, momentum] = [[moving(1e-4, 1e-2, 0.5)], [momentum]];
            let runs = runs(&[(L4_ADAM, &adam), (L4_MOM, &momentum)], 2);
            runs.moving_rates("A task", &NAMES).map(|f| f.verdict)
        };
        assert_eq!(finding(moving(1.0, 100.0, 0.5)), Some(Verdict::Reproduced));
        assert_eq!(finding(moving(1.0, 99.0, 0.5)), Some(Verdict::Partly));
        assert_eq!(finding(moving(1.0, 100.0, 1.5)), Some(Verdict::Partly));
        let [adam, momentum] = [[moving(1.0, 99.0, 0.5)], [moving(1.0, 99.0, 0.5)]];
        let still = runs(&[(L4_ADAM, &adam), (L4_MOM, &momentum)], 2);
        let finding = still.moving_rates("A task", &NAMES);
        assert_eq!(finding.map(|f| f.verdict), Some(Verdict::NotReproduced));
        let zero_is_no_movement = Movement::of(&moving(0.0, 100.0, 0.5), TENTHS);
        assert_eq!(
            (zero_is_no_movement.windows, zero_is_no_movement.wide),
            (0, 0)
        );
        let one = runs(&[(L4_ADAM, &[moving(1.0, 2.0, 0.5)])], 2);
        assert!(one.moving_rates("A task", &NAMES).is_none());
    }

    #[test]
    fn durations_are_rounded() {
        let words = [0.25, 59.6, 3661.0, 36_601.0].map(about);
        assert_eq!(
            words,
            ["about 0.2 s", "about 1m", "about 1h 1m", "about 10h 10m"]
        );
    }
}
