//! What a run is: the identity under which its results are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::engine::json::hex;
use crate::engine::metrics::{Metrics, Timing};

/// Everything that determines a run's results, but for the instruction set. Two runs with equal specifications have
/// bit-identical results on one machine, and had them on two: all of section 3.1 on an AMD and on an Intel processor, both with
/// AVX-512. A change of any field makes another run, which starts anew in a directory of its
/// own. What a section calls a run is not among the fields: a corrected caption costs no training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Every setting of the optimiser, as it tells them itself, and of the task: rates, batch size, data set.
    pub settings: Map<String, Value>,
    /// Seed of the run's random streams.
    pub seed: u64,
    /// Steps of a complete run.
    pub steps: u64,
    /// The [`FINGERPRINT`] of the code that trains.
    pub code: String,
}

/// Fingerprint of the code that trains: the sources of autodiff, l4, models, datasets and of the tasks, without comments
/// and tests, and the versions of the libraries that they compute with. 12 hexadecimal digits.
pub const FINGERPRINT: &str = env!("REPRO_FINGERPRINT");

/// Longest readable part of a directory name; file systems allow 255 bytes in all.
const READABLE: usize = 100;

impl RunSpec {
    /// A run of this program.
    #[must_use]
    pub fn new(settings: Map<String, Value>, seed: u64, steps: u64) -> Self {
        let code = FINGERPRINT.to_owned();
        Self {
            settings,
            seed,
            steps,
            code,
        }
    }

    /// What is run, whatever the code: hash of the canonical JSON of settings, seed and steps. 12 hexadecimal digits.
    #[must_use]
    pub fn task_id(&self) -> String {
        let mut json = serde_json::json!([self.settings, self.seed, self.steps]);
        json.sort_all_objects();
        hex(&Sha256::digest(json.to_string())[..6])
    }

    /// The run's identity: [`task_id`](Self::task_id) and the code.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.task_id(), self.code)
    }

    /// A place that only the run's identity decides, for who has no list of runs.
    pub(crate) fn place(&self) -> usize {
        let digits = self.task_id();
        digits.bytes().fold(0, |place: usize, digit| {
            place.wrapping_mul(31).wrapping_add(usize::from(digit))
        })
    }

    /// The run in a few words, for people.
    #[must_use]
    pub fn label(&self) -> String {
        let told = [
            "optimizer",
            "rate",
            "alpha",
            "weights",
            "network",
            "dropout",
            "batch",
        ];
        let words = told
            .iter()
            .filter_map(|name| match self.settings.get(*name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(format!("{name}={number}")),
                _ => None,
            });
        let words: Vec<String> = words.chain([format!("seed={}", self.seed)]).collect();
        words.join(" ")
    }

    /// A name that is safe on every file system and tells the run apart from any other.
    #[must_use]
    pub fn directory_name(&self) -> String {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || "=.+-".contains(c) {
                c
            } else {
                '_'
            }
        };
        let readable: String = self.label().chars().map(safe).take(READABLE).collect();
        format!("{readable}-{}", self.id())
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Finished,
    /// Out of the finite numbers.
    Diverged {
        /// The step at which it did.
        step: u64,
        /// What was not finite.
        reason: String,
    },
}

/// A run that is over. All but the times is a function of the specification.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// Which run.
    pub spec: RunSpec,
    /// How it ended.
    pub outcome: Outcome,
    /// What the experiment's [`summary`](crate::engine::experiment::Experiment::summary) kept; a null is a value that is not finite.
    pub summary: Map<String, Value>,
    /// All that it logged; of a diverged run, up to there.
    pub metrics: Metrics,
    /// How long it took.
    pub timing: Timing,
    /// The commit that started it; [`GIT_COMMIT`](crate::engine::provenance::GIT_COMMIT) unless it was found finished or begun.
    pub git_commit: String,
    /// The machine that computed it, as [`this_machine`](crate::engine::provenance::this_machine) has it, or the machines, one then the
    /// other, where it was resumed on another; `None` of a run of before that was recorded.
    pub machine: Option<String>,
}

impl RunResult {
    /// The step at which the run diverged, if it did.
    #[must_use]
    pub fn diverged_at(&self) -> Option<u64> {
        if let Outcome::Diverged { step, .. } = self.outcome {
            Some(step)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(settings: Value) -> RunSpec {
        let Value::Object(settings) = settings else {
            unreachable!()
        };
        RunSpec {
            settings,
            seed: 3,
            steps: 100,
            code: "0123456789ab".into(),
        }
    }

    #[test]
    fn the_identity_ignores_order_and_nothing_else() {
        let reference = spec(json!({"alpha": 0.25, "sizes": {"m": 10, "n": 6}}));
        let reordered = spec(json!({"sizes": {"n": 6, "m": 10}, "alpha": 0.25}));
        assert_eq!(reference.id(), reordered.id());
        let same = reference.clone();
        let changed = [
            spec(json!({"alpha": 0.25, "sizes": {"m": 10, "n": 12}})),
            spec(json!({"alpha": 0.250_000_000_000_000_06, "sizes": {"m": 10, "n": 6}})),
            RunSpec {
                seed: 4,
                ..same.clone()
            },
            RunSpec {
                steps: 101,
                ..same.clone()
            },
            RunSpec {
                code: "ba9876543210".into(),
                ..same
            },
        ];
        for other in changed {
            assert_ne!(reference.id(), other.id(), "{other:?}");
        }
    }

    #[test]
    fn the_identity_stays_as_it_is_so_that_earlier_runs_are_found() {
        assert_eq!(
            spec(json!({"optimizer": "L4Adam", "alpha": 0.25})).directory_name(),
            "L4Adam_alpha=0.25_seed=3-5ee5cd85961f-0123456789ab"
        );
    }

    #[test]
    fn any_text_makes_a_safe_name() {
        let mut odd = spec(json!({"network": "../../etc/päss\0wd", "list": [1, 2]}));
        odd.settings
            .insert("optimizer".to_owned(), "CON/*?<>|:".repeat(100).into());
        let name = odd.directory_name();
        assert!(name.len() < 140, "{name}");
        let safe = |c: char| c.is_ascii_alphanumeric() || "=.+-_".contains(c);
        assert!(name.chars().all(safe), "{name}");
    }
}
