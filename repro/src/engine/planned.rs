//! A run to be computed, and what computes it.

use std::collections::HashSet;

use serde_json::Value;

use crate::engine::experiment::Experiment;
use crate::engine::failure::RunnerError;
use crate::engine::json;
use crate::engine::run::RunSpec;

/// A run to be computed.
pub struct Planned<'a> {
    pub(super) spec: RunSpec,
    pub(super) set_up: Box<SetUp<'a>>,
    pub(super) here: bool,
    pub(super) alone: bool,
}

type SetUp<'a> = dyn Fn(&RunSpec) -> anyhow::Result<Box<dyn Experiment + 'a>> + Send + Sync + 'a;

impl<'a> Planned<'a> {
    /// `set_up` makes the experiment at its first step, on the thread that will compute it, and only if it is to be computed.
    pub fn new<E: Experiment + 'a>(
        spec: RunSpec,
        set_up: impl Fn(&RunSpec) -> anyhow::Result<E> + Send + Sync + 'a,
    ) -> Self {
        Self {
            spec,
            set_up: Box::new(move |spec| Ok(Box::new(set_up(spec)?))),
            here: false,
            alone: false,
        }
    }

    /// Never taken from a committed store: its times, or its final weights, are what matters.
    #[must_use]
    pub fn here(mut self) -> Self {
        self.here = true;
        self
    }

    /// Not while this process computes another run, which would slow it: for its times.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Another run of the same experiment, told apart by a setting that the experiment does not know.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: Value) -> Self {
        self.spec.settings.insert(name.to_owned(), value);
        self
    }

    /// Which run.
    #[must_use]
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }
}

/// The first of each run.
pub(super) fn distinct<'p, 'a>(
    planned: &'p [Planned<'a>],
) -> Result<Vec<&'p Planned<'a>>, RunnerError> {
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for planned in planned {
        if let Some(pointer) = json::find_null(&planned.spec.settings) {
            return Err(RunnerError::Setting {
                run: planned.spec.label(),
                pointer,
            });
        }
        if seen.insert(planned.spec.id()) {
            distinct.push(planned);
        }
    }
    Ok(distinct)
}
