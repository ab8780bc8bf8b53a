//! What the verdicts rest on: the numbers of a section, arm by arm and run by run, as its `numbers.json.gz` holds them.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::metrics::{Column, Milestone};

/// The arm of both variants with and without ε, on the regression.
pub const EPSILON: &str = "epsilon";
/// The arm that holds the differences of trajectories on L and on aL + b.
pub const AFFINE_INVARIANCE: &str = "affine invariance";

/// A line a task: its name in results and claims.
macro_rules! task_names {
    ($($(#[$doc:meta])+ $variant:ident: $name:literal,)*) => {
        /// What is learnt.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum TaskName { $($(#[$doc])+ #[serde(rename = $name)] $variant),* }

        impl TaskName {
            /// In results and claims.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(TaskName::$variant => $name),* }
            }
        }

        impl fmt::Display for TaskName {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

task_names! {
    /// Badly conditioned regression.
    #[default]
    Regression: "regression",
    /// Digits.
    Mnist: "MNIST",
    /// Colour photographs.
    Cifar10: "CIFAR-10",
    /// Repeat-copy, by the DNC.
    Dnc: "DNC",
    /// Clothes.
    FashionMnist: "Fashion-MNIST",
    /// Nothing: a few steps of each, timed.
    RunningTime: "running time",
}

/// All that a section measured and its claims are judged by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// The section of the paper, as `"3.2"`.
    pub section: String,
    /// What was learnt.
    pub task: TaskName,
    /// The preset that was run, as `"paper"`.
    pub preset: String,
    /// What a length counts, as `"epochs"`.
    pub unit: String,
    /// The length of a complete run here.
    pub length: u64,
    /// The length that the paper has, or that stands for it where it names none.
    pub paper_length: u64,
    /// How the data depart from the published ones, in a few words as `"re-encoded images"`; absent if they are those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_data: Option<String>,
    /// A synthetic stand-in was trained on: nothing is claimed from it.
    #[serde(default)]
    pub stand_in: bool,
    /// A method at its setting each.
    pub arms: Vec<ArmNumbers>,
}

/// A method at its setting, and what its runs measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmNumbers {
    /// What the section's results call it.
    pub name: String,
    /// What it is in a comparison.
    pub role: Role,
    /// What reduces the search that found its setting, in words as `"runs of 15 of 40 epochs"`; absent if nothing does, or its
    /// setting is of no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched_by: Option<String>,
    /// Every setting: of the optimiser and of the task, as `"rate"`, `"batch"`, `"dropout"`.
    pub settings: Map<String, Value>,
    /// Steps that make one unit of length: those of an epoch, or 1.
    pub steps_per_unit: u64,
    /// The time of a whole step in units of Adam's, pair by pair of blocks that alternate; empty where it was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step_times: Vec<f64>,
    /// A run for each seed, in their order.
    pub runs: Vec<RunNumbers>,
}

impl ArmNumbers {
    /// Something that was measured or checked without training.
    #[must_use]
    pub fn measurement(name: impl Into<String>, runs: Vec<RunNumbers>) -> Self {
        Self {
            name: name.into(),
            role: Role::Measurement,
            searched_by: None,
            settings: Map::new(),
            steps_per_unit: 1,
            step_times: Vec::new(),
            runs,
        }
    }
}

/// What an arm is in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// L4 over a base method.
    L4 {
        /// Whose update direction it takes.
        base: Base,
        /// At which α.
        alpha: Alpha,
    },
    /// A method at a constant rate.
    Constant {
        /// The method.
        base: Base,
        /// Which rate.
        rate: Rate,
    },
    /// One of today's methods that need no rate, as its authors leave it.
    RateFree,
    /// Heavy ball at the piecewise-constant rates of section 3.3.
    DefaultPolicy,
    /// Levenberg–Marquardt.
    LevenbergMarquardt,
    /// No training: something that was measured or checked once.
    Measurement,
}

/// A method that takes a learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Adam.
    Adam,
    /// Heavy ball, "mSGD".
    Momentum,
    /// Plain gradient descent.
    Sgd,
    /// RMSProp.
    RmsProp,
}

/// Which α.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alpha {
    /// 0.15.
    Default,
    /// The best on this task.
    Best,
}

/// Which constant rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// The best of our own search.
    Best,
    /// That of the paper's Table 1, or of the repository that the paper compares with.
    Published,
}

/// What one run measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunNumbers {
    /// The run's identity: see [`RunSpec::id`](crate::engine::run::RunSpec::id).
    pub id: String,
    /// Runs of one seed see the same data in the same order from the same first weights.
    pub seed: u64,
    /// The step at which it diverged, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged_at: Option<u64>,
    /// What it logged, by name.
    pub metrics: IndexMap<String, Column>,
    /// What it kept beside.
    pub summary: Map<String, Value>,
    /// Seconds of training.
    pub seconds: f64,
    /// When it passed which mark.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub milestones: IndexMap<String, Milestone>,
    /// The commit of the code that computed it.
    pub git_commit: String,
    /// The machine that computed it, as `AMD EPYC (AVX-512)`; absent of runs of before that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

impl Numbers {
    /// What the rules rely on, or what is not so.
    ///
    /// # Errors
    /// In words, the first thing that no section writes.
    pub fn check(&self) -> Result<(), String> {
        for arm in &self.arms {
            let whole = self.length.max(self.paper_length);
            if arm.steps_per_unit == 0 || whole.checked_mul(arm.steps_per_unit).is_none() {
                let (length, unit) = (self.length, &self.unit);
                let steps = arm.steps_per_unit;
                return Err(format!(
                    "`{}` has {length} {unit} of {steps} steps",
                    arm.name
                ));
            }
            let columns = arm.runs.iter().flat_map(|run| &run.metrics);
            for (name, Column { steps, values }) in columns {
                if steps.len() != values.len() || !steps.is_sorted_by(|one, next| one < next) {
                    return Err(format!(
                        "the steps of `{name}` in `{}` are not those of its values, in order",
                        arm.name
                    ));
                }
            }
        }
        Ok(())
    }
}

impl ArmNumbers {
    /// The step after so many units, as epochs.
    #[must_use]
    pub fn step_after(&self, units: u64) -> u64 {
        units.saturating_mul(self.steps_per_unit)
    }

    /// A setting that is a number.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<f64> {
        self.settings.get(name)?.as_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_by_its_name_and_no_other() {
        for task in [TaskName::Regression, TaskName::Dnc, TaskName::FashionMnist] {
            let read = serde_json::from_value(task.name().into());
            assert_eq!(read.ok(), Some(task));
        }
        let unknown = serde_json::from_value::<TaskName>("MINST".into()).unwrap_err();
        assert!(unknown.to_string().contains("MINST"), "{unknown}");
    }
}
