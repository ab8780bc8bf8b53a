//! A part of a section with everything filled in: arms at their settings, runs with their results.

use anyhow::{Context, Result};
use datasets::ImageDataset;
use models::TwoLayerShape;
use serde_json::{Map, Value, json};

use super::{Arm, Choice, Network, Part, Size, Task, Unit};
use crate::cli::Preset;
use crate::data::{self, DataOptions};
use crate::engine::run::RunResult;
use crate::engine::runner::Planned;
use crate::methods::Method;
use crate::numbers::{ArmNumbers, Numbers, RunNumbers};
use crate::searched::Searched;
use crate::tasks::levenberg_marquardt::LevenbergMarquardtRun;
use crate::tasks::training::Until;
use crate::tasks::workload::{plan_levenberg_marquardt, repeated};
use crate::tasks::{Workload, images, regression, repeat_copy};

/// Dropout of the ConvNet's source.
const DROPOUT: f64 = 0.4;
/// Timings of each run whose claim is about times.
const REPETITIONS: usize = 3;
/// Attempts of Levenberg–Marquardt after which it is given up.
const SOLVER_STEPS: u64 = 1000;

/// An arm at its setting, in runs of a length.
pub struct Resolved<'d> {
    /// The arm.
    pub arm: &'static Arm,
    /// The method; `None` for Levenberg–Marquardt.
    pub method: Option<Method>,
    /// What it trains.
    pub workload: Workload<'d>,
    /// How long its runs are, in the part's unit.
    pub length: u64,
    /// Steps that make one unit of the part's length, or 1.
    pub steps_per_unit: u64,
    /// What reduces the search that found its setting, in words.
    pub searched_by: Option<String>,
}

impl<'d> Resolved<'d> {
    /// An arm of a part at this size; `None` if its setting is one of a search that has not been made.
    ///
    /// # Errors
    /// If the data are missing or the lengths do not fit a run.
    pub fn new(
        arm: &'static Arm,
        part: &Part,
        size: Size,
        data: Option<&'d ImageDataset>,
        threads: usize,
        searched: &Searched,
    ) -> Result<Option<Self>> {
        let length = arm.length(part, size);
        let workload = part.workload(arm, size, length, data, threads)?;
        let steps = workload.course().steps;
        let setting = match arm.choice {
            Choice::Solver => None,
            Choice::Default => Some(
                Method::untuned(arm.kind)
                    .context("its rate has to be chosen")?
                    .setting,
            ),
            Choice::At(rate) | Choice::Policy(rate) => Some(rate),
            Choice::Searched => match searched.best(arm.kind) {
                Some(best) => Some(best),
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            arm,
            method: setting.map(|setting| arm.method(setting, steps)),
            workload,
            length,
            searched_by: match arm.choice {
                Choice::Searched => searched.reduced(arm.kind),
                _ => None,
            },
            steps_per_unit: match (part.unit, workload) {
                (Unit::Epochs, Workload::Images(task)) => task.steps_per_epoch(),
                _ => 1,
            },
        }))
    }

    /// The run with this seed.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn plan(&self, seed: u64) -> Result<Planned<'d>> {
        match (self.method, self.workload) {
            (Some(method), workload) => workload.plan(method, seed),
            (None, Workload::Regression(task)) => plan_levenberg_marquardt(task, seed),
            (None, _) => anyhow::bail!("Levenberg–Marquardt is run on regression only"),
        }
    }

    /// Every setting, of the optimiser and of the task.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn settings(&self) -> Result<Map<String, Value>> {
        let mut settings = match (self.method, self.workload) {
            (Some(method), _) => method.settings()?,
            (None, Workload::Regression(task)) => LevenbergMarquardtRun::new(task, 0)?.settings(),
            (None, _) => Map::new(),
        };
        settings.extend(self.workload.settings());
        if self.arm.until_converged.is_some() {
            settings.insert("weights_comparison".to_owned(), true.into());
        }
        Ok(settings)
    }

    /// The runs of a seed: one, or several where times matter, and while no other is computed.
    pub(super) fn runs(&self, seed: u64) -> Result<Vec<Planned<'d>>> {
        if !self.is_timed() {
            return Ok(vec![self.plan(seed)?]);
        }
        let run = |repetition| Ok(repeated(self.plan(seed)?, repetition).alone());
        (0..REPETITIONS as u64).map(run).collect()
    }

    /// Whether its claim is about times.
    pub(super) fn is_timed(&self) -> bool {
        self.arm.until_converged.is_some()
    }
}

impl Arm {
    /// The length of its runs: the part's, or its own in the whole.
    fn length(&self, part: &Part, size: Size) -> u64 {
        if self.choice == Choice::Solver {
            return SOLVER_STEPS;
        }
        let whole = part.size(Preset::Paper);
        match self.extended {
            Some(length) if whole.is_some_and(|whole| whole.length <= size.length) => {
                length.max(size.length)
            }
            _ => size.length,
        }
    }
}

impl Part {
    /// The images, if it trains on any.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn load(&self, preset: Preset, options: &DataOptions) -> Result<Option<ImageDataset>> {
        match self.task {
            Task::Images { data, .. } => Ok(Some(data::load(data, preset, options)?)),
            _ => Ok(None),
        }
    }

    /// What an arm trains.
    ///
    /// # Errors
    /// If the data are missing.
    pub fn workload<'d>(
        &self,
        arm: &Arm,
        size: Size,
        length: u64,
        data: Option<&'d ImageDataset>,
        threads: usize,
    ) -> Result<Workload<'d>> {
        Ok(match self.task {
            Task::Regression => Workload::Regression(regression::Setting {
                shape: arm.until_converged.unwrap_or(TwoLayerShape::PAPER),
                steps: length,
                until: match arm.until_converged {
                    Some(_) => Until::Converged,
                    None => Until::Steps,
                },
            }),
            Task::RepeatCopy { batch } => {
                let own = arm.batch.unwrap_or(batch);
                Workload::RepeatCopy(repeat_copy::Setting {
                    batch: own,
                    steps: match self.unit {
                        Unit::Sequences => (length / own as u64).max(1),
                        _ => length,
                    },
                    padded: false,
                })
            }
            Task::Images { network, batch, .. } => {
                let data = data.context("the images are not loaded")?;
                Workload::Images(images::Setting {
                    data,
                    network: match network {
                        Network::Mlp => images::Network::Mlp,
                        Network::ConvNet => images::Network::ConvNet {
                            dropout: arm.dropout.unwrap_or(DROPOUT),
                        },
                        Network::ResNet => images::Network::ResNet,
                    },
                    batch: arm.batch.unwrap_or(batch),
                    examples: size.examples.unwrap_or(data.train.len()),
                    epochs: length,
                    threads,
                })
            }
        })
    }
}

/// An arm and what came of it: a result for every seed.
pub struct ArmOutcome<'d> {
    /// The arm at its setting.
    pub resolved: Resolved<'d>,
    /// In the order of the seeds.
    pub results: Vec<RunResult>,
}

impl ArmOutcome<'_> {
    /// Takes the results of its runs, which come next.
    pub(super) fn take_results(
        &mut self,
        seeds: u64,
        results: &mut impl Iterator<Item = RunResult>,
    ) {
        for _ in 0..seeds {
            let result = match self.resolved.is_timed() {
                true => with_repetitions(results.take(REPETITIONS).collect()),
                false => results.next(),
            };
            self.results.extend(result);
        }
    }

    /// What the section's results call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.resolved.arm.name
    }

    fn numbers(&self) -> Result<ArmNumbers> {
        Ok(ArmNumbers {
            name: self.name().to_owned(),
            role: self.resolved.arm.role(),
            searched_by: self.resolved.searched_by.clone(),
            settings: self.resolved.settings()?,
            steps_per_unit: self.resolved.steps_per_unit,
            step_times: Vec::new(),
            runs: self.results.iter().map(RunNumbers::of).collect(),
        })
    }
}

/// The first of the repetitions of a run. What they have passed when is in its summary, as `repetitions_seconds`.
fn with_repetitions(results: Vec<RunResult>) -> Option<RunResult> {
    let mut first = results.first()?.clone();
    let marks = first.timing.milestones.keys().map(|mark| {
        let times = results
            .iter()
            .filter_map(|result| result.timing.milestones.get(mark));
        let seconds: Vec<f64> = times.map(|milestone| milestone.seconds).collect();
        (mark.clone(), json!(seconds))
    });
    let marks = Value::Object(marks.collect());
    first
        .summary
        .insert("repetitions_seconds".to_owned(), marks);
    Some(first)
}

/// A part and what came of it.
pub struct Outcome<'d> {
    /// The section's number.
    pub section: &'static str,
    /// The part.
    pub part: &'static Part,
    /// What was run.
    pub size: Size,
    /// The images, if there are any.
    pub data: Option<&'d ImageDataset>,
    /// Those that were run, in the part's order.
    pub arms: Vec<ArmOutcome<'d>>,
}

impl Outcome<'_> {
    /// Whether a stand-in was trained on, from which nothing follows.
    #[must_use]
    pub fn stand_in(&self) -> bool {
        self.data.is_some_and(data::is_synthetic)
    }

    /// What the claims are judged by.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn numbers(&self) -> Result<Numbers> {
        let whole = self.part.size(Preset::Paper);
        Ok(Numbers {
            section: self.section.to_owned(),
            task: self.part.task.name(),
            preset: self.size.preset.name().to_owned(),
            unit: self.part.unit.name().to_owned(),
            length: self.size.length,
            paper_length: whole.map_or(self.size.length, |whole| whole.length),
            other_data: self.data.and_then(data::other_data),
            stand_in: self.stand_in(),
            arms: self
                .arms
                .iter()
                .map(ArmOutcome::numbers)
                .collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use models::TwoLayerShape;
    use serde_json::Map;

    use super::*;
    use crate::cli::Preset;
    use crate::engine::metrics::{Metrics, Milestone, Timing};
    use crate::engine::run::{Outcome as End, RunSpec};
    use crate::sections::arms::LMA;
    use crate::sections::section3_1::SECTION;

    static TIMED: Arm = LMA.until_converged(TwoLayerShape::PAPER);

    #[test]
    fn a_timed_arm_takes_its_repetitions_and_keeps_all_their_times() {
        let result = |(seed, seconds): (u64, f64)| {
            let mut timing = Timing::default();
            let milestone = Milestone { step: 7, seconds };
            timing.milestones.insert("1e-10".to_owned(), milestone);
            RunResult {
                spec: RunSpec::new(Map::new(), seed, 7),
                outcome: End::Finished,
                summary: Map::new(),
                metrics: Metrics::default(),
                timing,
                git_commit: String::new(),
                machine: None,
            }
        };
        let part = &SECTION.parts[0];
        let size = part.size(Preset::Smoke).unwrap();
        let resolved = Resolved::new(&TIMED, part, size, None, 1, &Searched::default());
        let mut arm = ArmOutcome {
            resolved: resolved.unwrap().unwrap(),
            results: Vec::new(),
        };
        let of_first = [(0, 1.0), (0, 2.0), (0, 3.0)];
        let of_second = [(1, 5.0), (1, 4.0), (1, 6.0)];
        let all = [&of_first[..], &of_second, &[(9, 0.0)]].concat();
        let mut results = all.into_iter().map(result);
        arm.take_results(2, &mut results);
        let seeds: Vec<u64> = arm.results.iter().map(|result| result.spec.seed).collect();
        assert_eq!(seeds, [0, 1]);
        let times = &arm.results[1].summary["repetitions_seconds"];
        assert_eq!(*times, json!({"1e-10": [5.0, 4.0, 6.0]}));
        assert_eq!(results.next().unwrap().spec.seed, 9, "the next arm's");
    }
}
