//! What a run is: the identity under which its results are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::checkpoint::hex;
use crate::metrics::{Metrics, Timing};

/// Everything that determines a run's results. Two runs with equal specifications have bit-identical results; a change of
/// any field makes a different run, which starts anew in a directory of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The section of the paper, as `"3.1"`.
    pub section: String,
    /// The optimiser as the paper's legends call it, as `"L4Adam*"`.
    pub method: String,
    /// Every number that the run depends on beside the seed: rates, batch size, dimensions, data set.
    pub hyperparameters: Map<String, Value>,
    /// Seed of the run's random streams.
    pub seed: u64,
    /// Steps of a complete run.
    pub steps: u64,
}

/// Longest readable part of a directory name; file systems allow 255 bytes in all.
const READABLE: usize = 100;

impl RunSpec {
    /// Hash of the canonical JSON of all fields: sorted keys, no white space. 12 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut json = serde_json::json!(self);
        json.sort_all_objects();
        hex(&Sha256::digest(json.to_string())[..6])
    }

    /// The run in a few words, for people.
    #[must_use]
    pub fn label(&self) -> String {
        let scalars = self
            .hyperparameters
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array());
        let settings: String = scalars
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        format!("{}{settings} seed={}", self.method, self.seed).replace('"', "")
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
        let readable: String = format!("{} {}", self.section, self.label())
            .chars()
            .map(safe)
            .take(READABLE)
            .collect();
        format!("{readable}-{}", self.hash())
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
    /// What the experiment's [`summary`](crate::experiment::Experiment::summary) kept; a null is a value that is not finite.
    pub summary: Map<String, Value>,
    /// All that it logged; of a diverged run, up to there.
    pub metrics: Metrics,
    /// How long it took.
    pub timing: Timing,
    /// The code that started it; [`GIT_COMMIT`](crate::provenance::GIT_COMMIT) unless it was found finished or begun.
    pub git_commit: String,
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

    /// The training loss at the end, which a diverged run does not have. The experiment's summary holds it.
    #[must_use]
    pub fn final_loss(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Finished => self.summary.get("final_loss")?.as_f64(),
            Outcome::Diverged { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(hyperparameters: Value) -> RunSpec {
        let Value::Object(hyperparameters) = hyperparameters else {
            unreachable!()
        };
        RunSpec {
            section: "3.1".into(),
            method: "L4Adam*".into(),
            hyperparameters,
            seed: 3,
            steps: 100,
        }
    }

    #[test]
    fn the_identity_ignores_order_and_nothing_else() {
        let reference = spec(json!({"alpha": 0.25, "sizes": {"m": 10, "n": 6}}));
        assert_eq!(
            reference.hash(),
            spec(json!({"sizes": {"n": 6, "m": 10}, "alpha": 0.25})).hash()
        );

        let changed = [
            spec(json!({"alpha": 0.25, "sizes": {"m": 10, "n": 12}})),
            spec(json!({"alpha": 0.250_000_000_000_000_06, "sizes": {"m": 10, "n": 6}})),
            RunSpec {
                section: "3.2".into(),
                ..reference.clone()
            },
            RunSpec {
                method: "L4Adam".into(),
                ..reference.clone()
            },
            RunSpec {
                seed: 4,
                ..reference.clone()
            },
            RunSpec {
                steps: 101,
                ..reference.clone()
            },
        ];
        for other in changed {
            assert_ne!(reference.hash(), other.hash(), "{other:?}");
        }
    }

    #[test]
    fn the_hash_stays_as_it_is_so_that_earlier_runs_are_found() {
        assert_eq!(
            spec(json!({"alpha": 0.25})).directory_name(),
            "3.1_L4Adam__alpha=0.25_seed=3-4cb97a36319c"
        );
    }

    #[test]
    fn any_text_makes_a_safe_name() {
        let mut odd = spec(json!({"data": "../../etc/päss\0wd", "list": [1, 2]}));
        odd.method = "CON/*?<>|:".repeat(100);
        let name = odd.directory_name();
        assert!(name.len() < 128, "{name}");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "=.+-_".contains(c)),
            "{name}"
        );
    }
}
