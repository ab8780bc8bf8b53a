//! One run of the differentiable neural computer on the repeat-copy task: sections 3.4 and 3.6.
//!
//! | metric | logged | what it is |
//! |---|---|---|
//! | `loss`, `learning_rate`, `…_min`, `…_max` | every 1,600 sequences | see [`window`](super::window) |
//! | `stage_loss` | every tenth of the run | mean training loss of its batches |
//! | `right` | every tenth of the run | percentage of sequences like those of the training without a bit error |
//! | `right_longer`, … | at the end | the same of sequences [`beyond`](BEYOND) those of the training |
//!
//! Training losses are those of the steps themselves, each at the weights that its step found. Sequences are drawn on the
//! fly, by the generator of the run; those that are tested on by one of their own, which is the same for all runs.

use std::fmt::Write;

use anyhow::Context;
use autodiff::{GradientVector, Params};
use datasets::repeat_copy::{Batch, Example, RepeatCopy, RepeatCopySpec};
use l4::{ClipByGlobalNorm, Optimizer};
use models::{Dnc, DncConfig, DncTrainer, Sequences};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::cli::{Common, Preset, Section};
use crate::experiment::{Advance, Experiment, Stop};
use crate::experiments::lines::{self, Axis, Periods};
use crate::experiments::regression::stop;
use crate::experiments::window::Window;
use crate::methods::{Method, load_state, save_state};
use crate::metrics::MetricLog;
use crate::provenance::DataSet;
use crate::report::Report;
use crate::results::Protocol;
use crate::run::RunSpec;
use crate::runner::{Planned, Runner};
use crate::streams::{self, Purpose, stream};

/// The paper's batch size.
pub const BATCH: usize = 16;
/// Sequences between two rows of metrics: 100 steps of the paper's batches, and whole steps of all sizes of section 3.6.
pub const WINDOW: u64 = 1600;
/// Parts of a run of which each has its mean loss.
const STAGES: u64 = 10;
/// Sequences of each kind that are tested on.
pub const TESTS: usize = 1024;
/// Sequences that are tested at once.
const TEST_BATCH: usize = 64;
/// The bound on the gradient's global norm for methods with a constant rate; DeepMind's code has it, and the paper.
const MAX_NORM: f64 = 50.0;

/// Sequences to be tested on.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The metric that says how many are right.
    pub metric: &'static str,
    /// Which they are.
    pub name: &'static str,
    /// Least and greatest length of the pattern.
    pub lengths: [usize; 2],
    /// Least and greatest number of repeats.
    pub repeats: [usize; 2],
}

/// As in training. There are 544 such sequences, and training comes across all of them.
pub const TRAINED: Kind = Kind {
    metric: "right",
    name: "As trained on",
    lengths: [1, 2],
    repeats: [1, 2],
};

/// Beyond training: longer patterns, more repeats, both.
pub const BEYOND: [Kind; 3] = [
    Kind {
        metric: "right_longer",
        name: "Longer",
        lengths: [3, 4],
        ..TRAINED
    },
    Kind {
        metric: "right_more_repeats",
        name: "More repeats",
        repeats: [3, 4],
        ..TRAINED
    },
    Kind {
        metric: "right_longer_more_repeats",
        name: "Longer, more repeats",
        lengths: [3, 4],
        repeats: [3, 4],
    },
];

impl Kind {
    /// The generator of such sequences, in batches.
    fn task(self, batch: usize) -> anyhow::Result<RepeatCopy> {
        let [min_length, max_length] = self.lengths;
        let [min_repeats, max_repeats] = self.repeats;
        Ok(RepeatCopy::new(RepeatCopySpec {
            min_length,
            max_length,
            min_repeats,
            max_repeats,
            batch,
            ..RepeatCopySpec::default()
        })?)
    }
}

/// The rows of a run, for claim C6.
pub const PERIODS: Periods = Periods {
    windows: "Windows of 1,600 sequences",
    period: "tenth of the run",
    losses: "stage_loss",
};

/// Everything about a run but the method and the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Sequences in a minibatch.
    pub batch: usize,
    /// Steps of a run.
    pub steps: u64,
}

/// The bound on the gradient's global norm: L4 does without.
fn max_norm(method: Method) -> Option<f64> {
    match method {
        Method::L4Adam { .. } | Method::L4Mom { .. } => None,
        _ => Some(MAX_NORM),
    }
}

impl Setting {
    /// Runs of so many sequences, or a batch less.
    #[must_use]
    pub fn of_sequences(batch: usize, sequences: u64) -> Self {
        let steps = (sequences / batch as u64).max(1);
        Self { batch, steps }
    }

    /// A method's settings with those of the task: all that is varied anywhere.
    #[must_use]
    pub fn hyperparameters(self, method: Method) -> Map<String, Value> {
        let mut hyperparameters = method.hyperparameters();
        if let Some(norm) = max_norm(method) {
            hyperparameters.insert("max_gradient_norm".to_owned(), json!(norm));
        }
        hyperparameters.insert("batch".to_owned(), self.batch.into());
        hyperparameters
    }

    /// The run of a method with a seed. `name` is what the section's results call it.
    #[must_use]
    pub fn plan(self, section: &str, name: &str, method: Method, seed: u64) -> Planned<'static> {
        let spec = RunSpec {
            section: section.to_owned(),
            method: name.to_owned(),
            hyperparameters: self.hyperparameters(method),
            seed,
            steps: self.steps,
        };
        Planned::new(spec, move |_| Training::new(self, method, seed))
    }

    fn window_steps(self) -> u64 {
        WINDOW.div_ceil(self.batch as u64)
    }
}

impl Axis for Setting {
    fn steps_per_unit(&self) -> f64 {
        1.0
    }
}

fn optimizer(method: Method) -> Result<Box<dyn Optimizer<f32>>, l4::ConfigError> {
    let optimizer = method.optimizer()?;
    Ok(match max_norm(method) {
        Some(norm) => Box::new(ClipByGlobalNorm::new(optimizer, norm as f32)?),
        None => optimizer,
    })
}

/// What the network sees of a batch, and what it is to say.
fn sequences(batch: &Batch) -> Sequences<'_, f32> {
    Sequences {
        observations: batch.observations(),
        targets: batch.targets(),
        mask: batch.mask(),
    }
}

/// The training of one DNC.
pub struct Training {
    setting: Setting,
    dnc: Dnc,
    trainer: DncTrainer<f32>,
    tester: DncTrainer<f32>,
    params: Params<f32>,
    grads: GradientVector<f32>,
    optimizer: Box<dyn Optimizer<f32>>,
    task: RepeatCopy,
    rng: ChaCha8Rng,
    batch: Batch,
    position: u64,
    window: Window,
    stage: Stage,
}

/// The steps of the current tenth of the run, or of the last if the next has not begun.
#[derive(Default)]
struct Stage {
    steps: u64,
    loss_sum: f64,
}

impl Stage {
    fn mean_loss(&self) -> f64 {
        self.loss_sum / self.steps as f64
    }
}

impl Training {
    /// The run with this seed, before its first step. Equal seeds give equal weights and equal batches to all methods.
    ///
    /// # Errors
    /// If the method's settings are out of range, or the batch is empty.
    pub fn new(setting: Setting, method: Method, seed: u64) -> anyhow::Result<Self> {
        let mut params = Params::new();
        let init = &mut stream(seed, Purpose::Init);
        let dnc = Dnc::new(&mut params, DncConfig::PAPER, init)?;
        Ok(Self {
            setting,
            dnc,
            trainer: DncTrainer::new(&dnc, setting.batch),
            tester: DncTrainer::new(&dnc, TEST_BATCH),
            grads: params.zeros_like(),
            params,
            optimizer: optimizer(method)?,
            task: TRAINED.task(setting.batch)?,
            rng: stream(seed, Purpose::Batches),
            batch: Batch::default(),
            position: 0,
            window: Window::default(),
            stage: Stage::default(),
        })
    }

    fn finished(&self) -> bool {
        self.position == self.setting.steps
    }

    fn step(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        self.begin_periods();
        self.task.draw(&mut self.rng, &mut self.batch);
        let sequences = sequences(&self.batch);
        let loss = self
            .trainer
            .loss_and_gradient(&self.params, &sequences, &mut self.grads)?;
        let step = self
            .optimizer
            .step(loss, self.params.values_mut(), &mut self.grads)
            .map_err(|error| stop(error, self.position))?;
        self.position += 1;
        self.window.observe(loss, step.learning_rate);
        self.stage.steps += 1;
        self.stage.loss_sum += f64::from(loss);
        self.log(log)
    }

    fn begin_periods(&mut self) {
        if self.at_end_of_window() {
            self.window = Window::default();
        }
        if self.at_end_of_stage() {
            self.stage = Stage::default();
        }
    }

    fn at_end_of_window(&self) -> bool {
        self.position.is_multiple_of(self.setting.window_steps())
    }

    /// Stages are a tenth of the run each, rounded up to whole steps, so that the run ends with one.
    fn at_end_of_stage(&self) -> bool {
        let stages = |step: u64| step * STAGES / self.setting.steps;
        self.position == 0 || stages(self.position) > stages(self.position - 1)
    }

    fn log(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        if self.at_end_of_window() {
            self.window.log(self.position, log)?;
        }
        if self.at_end_of_stage() {
            let right = self.right(TRAINED)?;
            let row = [
                ("stage_loss", self.stage.mean_loss()),
                (TRAINED.metric, right),
            ];
            log.push(self.position, &row)?;
        }
        if self.finished() {
            for kind in BEYOND {
                let right = self.right(kind)?;
                log.push(self.position, &[(kind.metric, right)])?;
            }
        }
        Ok(())
    }

    /// How many of [`TESTS`] sequences come out without a bit error, in per cent.
    fn right(&mut self, kind: Kind) -> anyhow::Result<f64> {
        let task = kind.task(TEST_BATCH)?;
        let mut rng = stream(0, Purpose::Test);
        let mut batch = Batch::default();
        let mut right = 0;
        for _ in 0..TESTS / TEST_BATCH {
            task.draw(&mut rng, &mut batch);
            let logits = self.tester.outputs(&self.params, &sequences(&batch))?;
            right += (0..TEST_BATCH)
                .filter(|&index| batch.is_right(index, logits))
                .count();
        }
        Ok(100.0 * right as f64 / TESTS as f64)
    }

    /// For each kind of sequences an example as text, with what the network made of it.
    ///
    /// # Errors
    /// If the network cannot be evaluated.
    pub fn show(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut tester = DncTrainer::new(&self.dnc, 1);
        let mut batch = Batch::default();
        for kind in [TRAINED].into_iter().chain(BEYOND) {
            // The longest of its kind shows most.
            let ([_, length], [_, repeats]) = (kind.lengths, kind.repeats);
            let longest = Kind {
                lengths: [length; 2],
                repeats: [repeats; 2],
                ..kind
            };
            let mut rng = stream(0, Purpose::Test);
            longest.task(1)?.draw(&mut rng, &mut batch);
            let logits = tester.outputs(&self.params, &sequences(&batch))?;
            let verdict = match batch.is_right(0, logits) {
                true => "every bit right",
                false => "not every bit right",
            };
            let [Example { length, repeats }] = batch.examples() else {
                continue;
            };
            writeln!(
                text,
                "{}: length {length}, repeats {repeats}: {verdict}\n{}",
                kind.name,
                batch.readable(0, Some(logits))
            )?;
        }
        Ok(text)
    }
}

impl Experiment for Training {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        for _ in 0..max_steps {
            if self.finished() {
                break;
            }
            self.step(log)?;
        }
        Ok(match self.finished() {
            true => Advance::Finished,
            false => Advance::Running,
        })
    }

    fn position(&self) -> u64 {
        self.position
    }

    /// The weights are there under their own names, `lstm/kernel` and so on.
    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        for (name, param) in self.params.iter() {
            checkpoint.put(name, &param.shape(), self.params.view(param));
        }
        checkpoint.put_scalar("position", self.position);
        checkpoint.put_scalar("stage/steps", self.stage.steps);
        checkpoint.put_scalar("stage/loss_sum", self.stage.loss_sum);
        self.window.save(&mut checkpoint);
        streams::save(&mut checkpoint, "batches", &self.rng);
        save_state(&mut checkpoint, &self.optimizer.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let places: Vec<_> = self
            .params
            .iter()
            .map(|(name, param)| (name.to_owned(), param.range()))
            .collect();
        for (name, range) in places {
            checkpoint.read_into(&name, &mut self.params.values_mut()[range])?;
        }
        self.position = checkpoint.scalar("position")?;
        self.stage = Stage {
            steps: checkpoint.scalar("stage/steps")?,
            loss_sum: checkpoint.scalar("stage/loss_sum")?,
        };
        self.window = Window::load(checkpoint)?;
        self.rng = streams::load(checkpoint, "batches")?;
        self.optimizer
            .restore(load_state(checkpoint)?)
            .context("the optimiser's state")
    }

    /// The final loss is the mean over the last tenth of the run.
    fn summary(&self) -> Map<String, Value> {
        Map::from_iter([("final_loss".to_owned(), json!(self.stage.mean_loss()))])
    }
}

/// A method on repeat-copy at its setting.
pub type Line = lines::Line<Setting>;
/// What was run on repeat-copy, and what came of it.
pub type Runs = lines::Runs<Setting>;

/// A section's runs on repeat-copy, before they are made.
pub struct Comparison<'c> {
    /// The section.
    pub section: &'static Section,
    /// The command line.
    pub common: &'c Common,
    /// Sequences of each run, the last batch aside.
    pub sequences: u64,
    /// Those of the whole.
    pub paper_sequences: u64,
    /// At least one.
    pub lines: Vec<Line>,
    /// How the section departs from the paper, beside the number of runs and their length.
    pub deviations: Vec<String>,
}

impl Comparison<'_> {
    /// Runs every line with every seed, and begins the report.
    ///
    /// # Errors
    /// If a run fails.
    pub fn run(self) -> anyhow::Result<(Runs, Report)> {
        let runner = Runner::open(self.common.runner_options.clone())?;
        let number = self.section.number;
        let mut planned = Vec::new();
        for line in &self.lines {
            let plan = |seed| line.setting.plan(number, &line.name, line.method, seed);
            planned.extend((0..self.common.seeds).map(plan));
        }
        let results = runner.run(&planned)?;
        let report = Report::new(
            &runner,
            number,
            self.protocol(),
            self.all_deviations(),
            data(),
        );
        Ok((Runs::new(self.lines, &results), report))
    }

    fn protocol(&self) -> Protocol {
        let hyperparameters = self.lines.iter().map(|line| {
            let hyperparameters = line.setting.hyperparameters(line.method);
            (line.name.clone(), hyperparameters)
        });
        let first = self.lines.first().map(|line| line.setting);
        let same = first.filter(|first| self.lines.iter().all(|line| line.setting == *first));
        Protocol {
            preset: self.common.preset.name().to_owned(),
            seeds: (0..self.common.seeds).collect(),
            examples: Some(self.sequences),
            steps: same.map(|setting| setting.steps),
            batch: same.map(|setting| setting.batch as u64),
            hyperparameters: hyperparameters.collect(),
            ..Protocol::default()
        }
    }

    fn all_deviations(&self) -> Vec<String> {
        let mut deviations = self.deviations.clone();
        let (seeds, sequences) = (self.common.seeds, self.sequences);
        match self.section.size(Preset::Paper) {
            Some(whole) if (whole.seeds, self.paper_sequences) != (seeds, sequences) => {
                deviations.push(format!(
                    "Runs of each method: {seeds} of {sequences} sequences; `--preset paper` makes the whole, {} of {}.",
                    whole.seeds, self.paper_sequences
                ));
            }
            _ => {}
        }
        deviations
    }
}

/// For the provenance of results.
#[must_use]
pub fn data() -> DataSet {
    DataSet::generated("repeat-copy, drawn anew for each batch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use crate::metrics::Metrics;

    const METHODS: [Method; 3] = [
        Method::RmsProp { rate: 1e-3 },
        Method::Momentum { rate: 0.1 },
        Method::L4Adam { alpha: 0.15 },
    ];

    /// Two windows and a little more.
    const SETTING: Setting = Setting {
        batch: 64,
        steps: 53,
    };

    fn metrics(method: Method) -> Metrics {
        let mut log = MetricLog::default();
        let mut run = Training::new(SETTING, method, 3).unwrap();
        let end = run.advance(u64::MAX, &mut log);
        assert!(matches!(end, Ok(Advance::Finished)), "{end:?}");
        log.metrics().clone()
    }

    #[test]
    fn slicing_and_resuming_change_nothing() {
        for method in METHODS {
            conformance::check(|| Training::new(SETTING, method, 3)).unwrap();
        }
    }

    #[test]
    fn windows_have_as_many_sequences_and_stages_tile_the_run() {
        let metrics = metrics(METHODS[2]);
        let steps = |name| metrics.get(name).unwrap().steps.clone();
        assert_eq!(steps("loss"), [25, 50]);
        let stages = [6, 11, 16, 22, 27, 32, 38, 43, 48, 53];
        assert_eq!(steps("stage_loss"), stages);
        assert_eq!(steps("right"), stages);
        assert_eq!(steps("right_longer_more_repeats"), [53]);
        let batches = [8, 16, 32, 64].map(|batch| Setting { batch, steps: 1 });
        assert_eq!(batches.map(Setting::window_steps), [200, 100, 50, 25]);
    }

    #[test]
    fn training_starts_at_chance_and_learns() {
        let losses = metrics(METHODS[2])
            .get("stage_loss")
            .unwrap()
            .values
            .clone();
        // 5 bits in 2 to 5 steps that count, each at first as good as unknown: 5 · 3.25 · ln 2 on average.
        let chance = 5.0 * 3.25 * std::f64::consts::LN_2;
        assert!((losses[0] / chance - 1.0).abs() < 0.2, "{losses:?}");
        assert!(losses[9] < 0.8 * losses[0], "{losses:?}");
    }

    #[test]
    fn every_method_starts_at_the_same_weights_and_sees_the_same_batches() {
        let first = |method| {
            let mut run = Training::new(SETTING, method, 3).unwrap();
            run.advance(1, &mut MetricLog::default()).unwrap();
            (run.stage.loss_sum, run.batch)
        };
        for method in METHODS {
            assert!(first(method) == first(METHODS[0]), "{method:?}");
        }
    }

    #[test]
    fn baselines_are_clipped_and_l4_is_not() {
        let bound = |method| {
            SETTING
                .hyperparameters(method)
                .get("max_gradient_norm")
                .cloned()
        };
        assert_eq!(bound(METHODS[0]), Some(json!(50.0)));
        assert_eq!(bound(METHODS[2]), None);
        let mut params = [0.0f32; 2];
        let mut clipped = optimizer(Method::Sgd { rate: 1.0 }).unwrap();
        clipped.step(1.0, &mut params, &mut [60.0, 80.0]).unwrap();
        assert_eq!(params, [-30.0, -40.0]);
    }

    #[test]
    fn a_network_without_weights_gets_no_sequence_right() {
        let mut run = Training::new(SETTING, METHODS[0], 3).unwrap();
        run.params.values_mut().fill(0.0);
        // Logits of zero are bits of zero, and the end flag is a one.
        assert_eq!(run.right(TRAINED).unwrap(), 0.0);
        let bias = run.params.get("output/bias").unwrap().range();
        run.params.values_mut()[bias].copy_from_slice(&[1.0; 5]);
        assert_eq!(run.right(TRAINED).unwrap(), 0.0);
    }

    #[test]
    fn tests_are_the_same_for_every_run_and_depend_on_the_weights_only() {
        let right = |seed| {
            let mut run = Training::new(SETTING, METHODS[0], seed).unwrap();
            run.params.values_mut().fill(0.01);
            run.rng = stream(seed, Purpose::Dropout);
            run.right(TRAINED).unwrap()
        };
        assert_eq!(right(1), right(2));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_a_divergence() {
        let mut run = Training::new(SETTING, METHODS[2], 3).unwrap();
        run.advance(4, &mut MetricLog::default()).unwrap();
        run.params.values_mut()[0] = f32::NAN;
        let end = run.advance(1, &mut MetricLog::default());
        assert!(
            matches!(end, Err(Stop::Diverged { step: 4, .. })),
            "{end:?}"
        );
    }

    #[test]
    fn an_example_of_each_kind_is_shown() {
        let text = Training::new(SETTING, METHODS[0], 3)
            .unwrap()
            .show()
            .unwrap();
        for words in [
            "As trained on: length 2, repeats 2",
            "Longer, more repeats: length 4, repeats 4",
            "Model output",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}
