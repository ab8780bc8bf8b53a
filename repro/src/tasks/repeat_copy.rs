//! The differentiable neural computer on the repeat-copy task: sections 3.4 and 3.6.
//!
//! A window is 1,600 sequences, a stage a tenth of the run. A stage ends with `right`, the percentage of sequences like
//! those of the training without a bit error; the run with `right_longer` and so on, the same of sequences
//! [beyond](BEYOND) those of the training. Sequences are drawn on the fly, by the generator of the run; those that are tested
//! on by one of their own, which is the same for all runs.

use std::fmt::Write;

use anyhow::Result;
use autodiff::{GradientVector, Params};
use datasets::repeat_copy::{Batch, Example, RepeatCopy, RepeatCopySpec};
use models::{Dnc, DncConfig, DncTrainer, Sequences};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::training::{Course, Ticks};
use super::{Problem, Row};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::streams::{self, Purpose, stream};

/// Sequences between two rows of metrics: 100 steps of the paper's batches, and whole steps of all sizes of section 3.6.
pub const WINDOW: u64 = 1600;
/// Sequences of each kind that are tested on.
pub const TESTS: usize = 1024;
/// Sequences that are tested at once.
const TEST_BATCH: usize = 64;

/// Sequences to be tested on.
#[derive(Clone, Copy, Debug)]
pub struct SequenceKind {
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
pub const TRAINED: SequenceKind = SequenceKind {
    metric: "right",
    name: "As trained on",
    lengths: [1, 2],
    repeats: [1, 2],
};

/// Beyond training: longer patterns, more repeats, both.
pub const BEYOND: [SequenceKind; 3] = [
    SequenceKind {
        metric: "right_longer",
        name: "Longer",
        lengths: [3, 4],
        ..TRAINED
    },
    SequenceKind {
        metric: "right_more_repeats",
        name: "More repeats",
        repeats: [3, 4],
        ..TRAINED
    },
    SequenceKind {
        metric: "right_longer_more_repeats",
        name: "Longer, more repeats",
        lengths: [3, 4],
        repeats: [3, 4],
    },
];

impl SequenceKind {
    /// The generator of such sequences, in batches.
    fn task(self, batch: usize) -> Result<RepeatCopy> {
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

/// The task: everything about a run but the method and the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Sequences in a minibatch.
    pub batch: usize,
    /// Steps of a run.
    pub steps: u64,
    /// Pads every minibatch to the longest sequence that the task has: all steps then cost the same.
    pub padded: bool,
}

impl Setting {
    /// The task's settings, for a run's identity and for the results.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        let settings = json!({"task": "repeat-copy", "network": "DNC", "batch": self.batch});
        settings.as_object().cloned().unwrap_or_default()
    }

    /// How long a run is, and when it logs.
    #[must_use]
    pub fn course(&self) -> Course {
        Course {
            steps: self.steps,
            window: Ticks::Every(WINDOW.div_ceil(self.batch as u64)),
            stage: Ticks::TenIn(self.steps),
            marks: None,
        }
    }

    /// The network and the minibatches of the run with this seed.
    ///
    /// # Errors
    /// If the batch is empty.
    pub fn problem(&self, seed: u64) -> Result<Copying> {
        let mut params = Params::new();
        let init = &mut stream(seed, Purpose::Init);
        let dnc = Dnc::new(&mut params, DncConfig::PAPER, init)?;
        Ok(Copying {
            dnc,
            trainer: DncTrainer::new(&dnc, self.batch),
            tester: DncTrainer::new(&dnc, TEST_BATCH),
            params,
            task: TRAINED.task(self.batch)?,
            rng: stream(seed, Purpose::Batches),
            batch: Batch::default(),
            padded: self.padded,
        })
    }
}

/// What the network sees of a batch, and what it is to say.
fn sequences(batch: &Batch) -> Sequences<'_, f32> {
    Sequences {
        observations: batch.observations(),
        targets: batch.targets(),
        mask: batch.mask(),
    }
}

/// A DNC, and the sequences that it is to repeat.
pub struct Copying {
    dnc: Dnc,
    trainer: DncTrainer<f32>,
    tester: DncTrainer<f32>,
    params: Params<f32>,
    task: RepeatCopy,
    rng: ChaCha8Rng,
    batch: Batch,
    padded: bool,
}

impl Copying {
    /// How many of [`TESTS`] sequences come out without a bit error, in per cent.
    fn right(&mut self, kind: SequenceKind) -> Result<f64> {
        let task = kind.task(TEST_BATCH)?;
        let mut rng = stream(0, Purpose::Test);
        let mut batch = Batch::default();
        let mut right = 0;
        for _ in 0..TESTS / TEST_BATCH {
            task.draw(&mut rng, &mut batch);
            let logits = self
                .tester
                .unroll(&sequences(&batch))?
                .logits(&self.params)?;
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
    pub fn show(&self) -> Result<String> {
        let mut text = String::new();
        let mut tester = DncTrainer::new(&self.dnc, 1);
        let mut batch = Batch::default();
        for kind in [TRAINED].into_iter().chain(BEYOND) {
            // The longest of its kind shows most.
            let ([_, length], [_, repeats]) = (kind.lengths, kind.repeats);
            let longest = SequenceKind {
                lengths: [length; 2],
                repeats: [repeats; 2],
                ..kind
            };
            let mut rng = stream(0, Purpose::Test);
            longest.task(1)?.draw(&mut rng, &mut batch);
            let logits = tester.unroll(&sequences(&batch))?.logits(&self.params)?;
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

impl Problem for Copying {
    type T = f32;

    fn params(&self) -> &Params<f32> {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params<f32> {
        &mut self.params
    }

    fn loss_and_gradient(&mut self, gradient: &mut GradientVector<f32>) -> Result<f32> {
        self.task.draw(&mut self.rng, &mut self.batch);
        if self.padded {
            self.batch.pad_to(self.task.longest());
        }
        let batch = self.trainer.unroll(&sequences(&self.batch))?;
        Ok(batch.loss_and_gradient(&self.params, gradient)?)
    }

    fn loss_again(&mut self) -> Result<f32> {
        let batch = self.trainer.unroll(&sequences(&self.batch))?;
        Ok(batch.loss(&self.params)?)
    }

    fn evaluate(&mut self, last: bool, row: &mut Row) -> Result<()> {
        row.push((TRAINED.metric, self.right(TRAINED)?));
        if last {
            for kind in BEYOND {
                row.push((kind.metric, self.right(kind)?));
            }
        }
        Ok(())
    }

    fn save(&self, to: &mut Checkpoint) {
        streams::save(to, "batches", &self.rng);
    }

    fn load(&mut self, from: &Checkpoint, _: u64) -> Result<()> {
        self.rng = streams::load(from, "batches")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;
    use crate::engine::experiment::{Experiment, Stop};
    use crate::engine::metrics::{MetricLog, Metrics};
    use crate::methods::{Kind, Method};
    use crate::tasks::Training;

    const METHODS: [(Kind, f64); 3] = [
        (Kind::RmsProp, 1e-3),
        (Kind::Momentum, 0.1),
        (Kind::L4Adam, 0.15),
    ];

    /// Two windows and a little more.
    const SETTING: Setting = Setting {
        batch: 64,
        steps: 53,
        padded: false,
    };

    fn training((kind, value): (Kind, f64)) -> Result<Training<Copying>> {
        let method = Method {
            max_norm: (kind != Kind::L4Adam).then_some(50.0),
            ..Method::new(kind, value)
        };
        Training::new(SETTING.problem(3)?, method, SETTING.course())
    }

    fn metrics(method: (Kind, f64)) -> Metrics {
        let mut log = MetricLog::default();
        training(method)
            .unwrap()
            .advance(u64::MAX, &mut log)
            .unwrap();
        log.metrics().clone()
    }

    #[test]
    fn slicing_and_resuming_change_nothing() {
        for method in METHODS {
            conformance::check(|| training(method)).unwrap();
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
    }

    #[test]
    fn training_starts_at_chance_and_learns() {
        let metrics = metrics(METHODS[2]);
        let losses = &metrics.get("stage_loss").unwrap().values;
        assert!(losses[9] < 0.9 * losses[0], "{losses:?}");
    }

    #[test]
    fn tests_do_not_depend_on_the_run() {
        let right = |seed| {
            let mut problem = SETTING.problem(seed).unwrap();
            problem.params.values_mut().fill(0.01);
            problem.right(TRAINED).unwrap()
        };
        assert_eq!(right(1), right(2));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_a_divergence() {
        let mut run = training(METHODS[2]).unwrap();
        run.advance(4, &mut MetricLog::default()).unwrap();
        run.problem().params.values_mut()[0] = f32::NAN;
        let end = run.advance(1, &mut MetricLog::default());
        assert!(
            matches!(end, Err(Stop::Diverged { step: 4, .. })),
            "{end:?}"
        );
    }

    #[test]
    fn an_example_of_each_kind_is_shown() {
        let text = SETTING.problem(3).unwrap().show().unwrap();
        for words in [
            "As trained on: length 2, repeats 2",
            "Longer, more repeats: length 4, repeats 4",
            "Model output",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}
