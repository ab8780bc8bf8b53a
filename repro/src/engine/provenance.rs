//! Where a result comes from: code, compiler, machine, data, time.

use std::fs;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The commit that the program was built from, with `-dirty` if its code differs from the commit; `unknown` if it was
/// built outside git.
pub const GIT_COMMIT: &str = env!("REPRO_GIT_COMMIT");

/// Put into every result file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the project.
    pub project_version: String,
    /// [`GIT_COMMIT`].
    pub git_commit: String,
    /// Commits by which runs were computed that this command found finished, where they differ from `git_commit`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_commits: Vec<String>,
    /// `rustc -V` of the build.
    pub compiler: String,
    /// Model name of the processor.
    pub cpu: String,
    /// The vector instructions used.
    pub simd: String,
    /// Runs computed at once.
    pub jobs: usize,
    /// Threads of each run.
    #[serde(default = "one")]
    pub threads: usize,
    /// What was trained on.
    pub data: DataSet,
    /// When the command started: RFC 3339, UTC.
    pub started: String,
    /// How long the command took.
    pub wall_seconds: f64,
    /// Time spent training, summed over all runs, with the runs that this command found finished or begun.
    pub run_seconds: f64,
}

impl Provenance {
    /// Of results that rest on what two successive parts of one command computed, on different data.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        let mut both = self.clone();
        let commits = later.other_commits.iter();
        let new: Vec<String> = commits
            .filter(|commit| !self.other_commits.contains(commit))
            .cloned()
            .collect();
        both.other_commits.extend(new);
        both.data.name = format!("{}; {}", self.data.name, later.data.name);
        both.data.files.extend(later.data.files.iter().cloned());
        both.wall_seconds += later.wall_seconds;
        both.run_seconds += later.run_seconds;
        both
    }
}

/// Files from before there was a choice do not say it.
fn one() -> usize {
    1
}

/// A data set, down to its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Its name; one that is generated says so here.
    pub name: String,
    /// Its files; none if it is generated.
    pub files: Vec<DataFile>,
}

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The file's name, without directories.
    pub name: String,
    /// Of the bytes that were read, in hexadecimal.
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

/// What the program knows about itself and the machine; the rest is filled in by
/// [`Runner::provenance`](crate::engine::runner::Runner::provenance).
pub(crate) fn of_this_program(simd: &str, started: SystemTime, data: DataSet) -> Provenance {
    Provenance {
        project_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: GIT_COMMIT.to_owned(),
        other_commits: Vec::new(),
        compiler: env!("REPRO_COMPILER").to_owned(),
        cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        simd: simd.to_owned(),
        jobs: 1,
        threads: 1,
        data,
        started: timestamp(started),
        wall_seconds: 0.0,
        run_seconds: 0.0,
    }
}

/// RFC 3339, UTC, whole seconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The model name in the text of `/proc/cpuinfo`; `unknown` where there is none.
fn cpu(cpuinfo: &str) -> String {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = fields
        .filter(|(name, _)| name.trim() == "model name")
        .map(|(_, model)| model.trim())
        .next();
    model
        .filter(|model| !model.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_build_is_known() {
        assert!(env!("REPRO_COMPILER").starts_with("rustc "));
        let commit = GIT_COMMIT.trim_end_matches("-dirty");
        assert!(commit == "unknown" || commit.len() >= 40, "{commit}");
    }

    #[test]
    fn the_processor_is_the_first_model_name() {
        let text = "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Some CPU @ 2.0GHz: fast\nmodel name\t: other\n";
        assert_eq!(cpu(text), "Some CPU @ 2.0GHz: fast");
        assert_eq!(cpu("processor : 0\nBogoMIPS : 50\n"), "unknown");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(
            timestamp(UNIX_EPOCH + Duration::from_millis(1_700_000_000_999)),
            "2023-11-14T22:13:20Z"
        );
    }
}
