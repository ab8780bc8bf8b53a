//! Where a result comes from: code, compiler, machine, data, time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Invalid, finite};

/// Put into every result file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the project.
    #[schemars(length(min = 1))]
    pub project_version: String,
    /// The commit that the program that wrote the file was built from, with `-dirty` if its code differs from the commit; `unknown` if it was
    /// built outside git.
    #[schemars(regex(pattern = COMMIT))]
    pub git_commit: String,
    /// `rustc -V` of the build, and the profile that it was built with.
    #[schemars(length(min = 1))]
    pub compiler: String,
    /// Model name of the processor.
    #[schemars(length(min = 1))]
    pub cpu: String,
    /// The vector instructions used.
    #[schemars(length(min = 1))]
    pub simd: String,
    /// The runs that the results are of: those that this command computed and those that it found. None where nothing is trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunsBy>,
    /// Runs that this command computed at once, at most.
    #[schemars(range(min = 1))]
    pub jobs: usize,
    /// Threads of each run; 1 if absent.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub threads: usize,
    /// What was trained on.
    pub data: DataSet,
    /// When the command started: RFC 3339, UTC.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    pub started: String,
    /// How long the command took.
    #[schemars(range(min = 0))]
    pub wall_seconds: f64,
    /// Time spent training, summed over all runs, with the runs that this command found finished or begun.
    #[schemars(range(min = 0))]
    pub run_seconds: f64,
}

const COMMIT: &str = "^([0-9a-f]{40,64}(-dirty)?|unknown)$";

fn one() -> usize {
    1
}

impl Provenance {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        finite(self.wall_seconds, || "provenance.wall_seconds".to_owned())?;
        finite(self.run_seconds, || "provenance.run_seconds".to_owned())
    }
}

/// Runs that one code began on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunsBy {
    /// How many.
    #[schemars(range(min = 1))]
    pub count: usize,
    /// The commit of the code.
    #[schemars(regex(pattern = COMMIT))]
    pub commit: String,
    /// The processor, with the vector instructions that are used on it, as `AMD EPYC (AVX-512)`; absent of runs of before that was
    /// recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(length(min = 1)))]
    pub machine: Option<String>,
}

/// A data set, down to its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Its name; one that is generated says so here.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its files; none if it is generated.
    pub files: Vec<DataFile>,
}

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The file's name, without directories.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Of the bytes that were read, in hexadecimal.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Whether these are the bytes that the project knows under that name.
    pub verified: bool,
}

impl DataSet {
    /// A data set without files: it is computed from the seed.
    #[must_use]
    pub fn generated(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            files: Vec::new(),
        }
    }
}
