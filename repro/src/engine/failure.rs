//! Why a runner has no results, and the command that goes on from there.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use paper_figures::shell::quoted;

use crate::engine::files::FileError;
use crate::engine::lock::LockError;
use crate::engine::reference::NumbersError;
use crate::engine::run::RunSpec;
use crate::engine::shard::Shard;

/// Why there are no results to go on with.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The output directory is in use, or cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The output directory cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// Signals cannot be listened to.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signal(std::io::Error),
    /// The committed store cannot be read.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// A setting is null, which is what JSON makes of a NaN or an infinity. An error of the section's author.
    #[error("the setting {pointer} of the run `{run}` is null: it is missing or not finite")]
    Setting {
        /// The run.
        run: String,
        /// JSON pointer to the null.
        pointer: String,
    },
    /// A signal asked to stop.
    #[error(
        "interrupted with {finished} of {total} runs finished; the others keep their last step. To resume:\n  {}",
        command_line(true)
    )]
    Interrupted {
        /// Runs that are complete.
        finished: usize,
        /// Runs that were asked for.
        total: usize,
    },
    /// Some runs could not be carried out.
    #[error(
        "{} of {total} runs failed; the others are kept in {}{}\nTo go on when that is mended:\n  {}",
        failures.len(), out.display(), list(failures), command_line(true)
    )]
    Failed {
        /// What failed and why.
        failures: Vec<(RunSpec, anyhow::Error)>,
        /// Runs that were asked for.
        total: usize,
        /// The output directory.
        out: PathBuf,
    },
    /// Nothing went wrong: this process has done its part, and writes no results.
    #[error("{shard} is done. {}\n  {}", left(*total, remaining), command_line(false))]
    Shard {
        /// Its part.
        shard: Shard,
        /// Runs of all parts.
        total: usize,
        /// Those that are not finished, and who computes them.
        remaining: Vec<(String, String)>,
    },
}

/// Unfinished runs that are named.
const NAMED: usize = 10;

fn left(total: usize, remaining: &[(String, String)]) -> String {
    if remaining.is_empty() {
        return format!("All {total} runs are finished. To write the results:");
    }
    let count = remaining.len();
    let mut text = format!("Of {total} runs {} are finished; to do:", total - count);
    for (run, who) in remaining.iter().take(NAMED) {
        text += &format!("\n  {run} ({who})");
    }
    if count > NAMED {
        text += &format!("\n  and {} more", count - NAMED);
    }
    text + "\nTo write the results when the other parts are done, and compute what is missing then:"
}

fn list(failures: &[(RunSpec, anyhow::Error)]) -> String {
    failures
        .iter()
        .map(|(spec, error)| format!("\n  {}: {error:#}", spec.label()))
        .collect()
}

/// This process's command line as one would type it to go on; `sharded` keeps its `--shard`. In place of `--fresh`, which would
/// discard what was done, it leaves aside what is committed.
fn command_line(sharded: bool) -> String {
    resuming(env::args_os(), sharded)
}

fn resuming(mut words: impl Iterator<Item = OsString>, sharded: bool) -> String {
    let (mut kept, mut no_reference) = (Vec::new(), false);
    while let Some(word) = words.next() {
        match &*word.to_string_lossy() {
            "--fresh" | "--no-reference" => no_reference = true,
            "--shard" if !sharded => drop(words.next()),
            text if !sharded && text.starts_with("--shard=") => {}
            _ => kept.push(quoted(&word)),
        }
    }
    kept.extend(no_reference.then(|| "--no-reference".to_owned()));
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_after_a_fresh_start_takes_no_committed_run() {
        let resumed = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            resuming(words, false)
        };
        assert_eq!(
            resumed("x --fresh --shard 1/2 --out a"),
            "x --out a --no-reference"
        );
        assert_eq!(resumed("x --no-reference --shard=1/2"), "x --no-reference");
        assert_eq!(resumed("x --seeds 3"), "x --seeds 3");
    }

    #[test]
    fn what_is_left_is_named_up_to_a_number() {
        let remaining: Vec<_> = (0..12)
            .map(|seed| (format!("seed={seed}"), "another part".to_owned()))
            .collect();
        let text = left(20, &remaining);
        assert!(text.starts_with("Of 20 runs 8 are finished"), "{text}");
        assert!(
            text.contains("seed=9 (another part)") && text.contains("and 2 more"),
            "{text}"
        );
        assert!(left(20, &[]).starts_with("All 20 runs are finished"));
    }
}
