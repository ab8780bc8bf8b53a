//! Where a result comes from: gathering what [`Provenance`] states.

use std::fs;
use std::time::SystemTime;

use autodiff::kernels::simd_level;
pub use paper_figures::results::{DataFile, DataSet, Provenance, RunsBy};

/// The commit that the program was built from, with `-dirty` if its code differs from the commit; `unknown` if it was
/// built outside git.
pub const GIT_COMMIT: &str = env!("REPRO_GIT_COMMIT");

/// Stands for the machine of a run of before that was recorded.
pub const NOT_RECORDED: &str = "not recorded";

/// What the program knows about itself and the machine; the rest is filled in by
/// [`Runner::provenance`](crate::engine::runner::Runner::provenance).
pub(crate) fn of_this_program(started: SystemTime, data: DataSet) -> Provenance {
    Provenance {
        project_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: GIT_COMMIT.to_owned(),
        compiler: env!("REPRO_COMPILER").to_owned(),
        cpu: this_cpu(),
        simd: simd_level().to_owned(),
        runs: Vec::new(),
        jobs: 1,
        threads: 1,
        data,
        started: timestamp(started),
        wall_seconds: 0.0,
        run_seconds: 0.0,
    }
}

/// The model name of this machine's processor; `unknown` where the system does not tell.
#[must_use]
pub fn this_cpu() -> String {
    cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// This machine's processor and the vector instructions that are used on it, as `AMD EPYC (AVX-512)`: on another of either, the bits of
/// a run may be others.
#[must_use]
pub fn this_machine() -> String {
    format!("{} ({})", this_cpu(), simd_level())
}

/// RFC 3339, UTC, whole seconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The model name in the text of `/proc/cpuinfo`; `unknown` where there is none.
fn cpu(cpuinfo: &str) -> String {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = fields.find(|(name, _)| name.trim() == "model name");
    model
        .map(|(_, model)| model.trim())
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
