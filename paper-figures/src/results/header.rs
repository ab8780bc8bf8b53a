//! What every file says first.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Invalid, Provenance};

/// What every file says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// The name of the file without `.json`, as `"figure2"`.
    #[schemars(regex(pattern = "^[a-z0-9_]+$"))]
    pub id: String,
    /// What it shows, as a sentence without its full stop.
    #[schemars(length(min = 1))]
    pub title: String,
    /// The section of the paper, as `"3.1"`; `"rate_free"` or `"train_step"` for what is beyond it.
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)*|rate_free|train_step)$"))]
    pub section: String,
    /// What was run.
    pub protocol: Protocol,
    /// How that departs from the paper, a sentence each.
    #[schemars(inner(length(min = 1)))]
    pub deviations: Vec<String>,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// What the paper states, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<Value>,
}

impl Header {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.provenance.check()
    }
}

/// What was run. A row or curve whose length, batch or seeds are not those given here has its own, there or under
/// `hyperparameters`; a length or a batch is absent here where they have none in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The preset's name, as `"paper"`.
    #[schemars(regex(pattern = "^[a-z]+$"))]
    pub preset: String,
    /// The seeds of each method's runs; none where nothing is drawn at random.
    pub seeds: Vec<u64>,
    /// Length of a run in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Length of a run in passes over the training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Length of a run in examples that a task generates, less those that do not fill a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Examples in a minibatch; absent where all examples are used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Every hyperparameter, by method.
    pub hyperparameters: IndexMap<String, Map<String, Value>>,
    /// How hyperparameters were searched for: the grid and the scores, by method.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub search: Map<String, Value>,
}
