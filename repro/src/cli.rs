//! What all command lines share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::engine::interrupt;
use crate::engine::runner::{Options, RunnerError, Shard};
pub use crate::engine::tell;

/// How much of an experiment to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Seconds: shows that everything works.
    Smoke,
    /// Minutes: enough to see the effects.
    Quick,
    /// Hours: the most that a machine with two cores gets through. Only where that is not the whole.
    Reduced,
    /// What the paper ran.
    Paper,
}

impl Preset {
    /// Its name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Preset::Smoke => "smoke",
            Preset::Quick => "quick",
            Preset::Reduced => "reduced",
            Preset::Paper => "paper",
        }
    }
}

impl ValueEnum for Preset {
    fn value_variants<'a>() -> &'a [Self] {
        &[Preset::Smoke, Preset::Quick, Preset::Reduced, Preset::Paper]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// How runs are computed and where they are kept: options of the binaries that train.
#[derive(Args, Clone, Debug)]
pub struct Execution {
    /// Directory for results and for what is needed to resume [default: repro/out/ and the section's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Runs to compute at once; results do not depend on it [default: the number of cores, divided by --threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,

    /// Threads to split each step of a convolutional network among; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Compute one part of the runs only, to share them among processes with the same --out: I/N is part I of N, counted from 1,
    /// `all` is the whole, and `auto` the part of this task of a Slurm array, or else the whole
    ///
    /// No part writes results or event files: the same command for the whole does, when the parts are done, and computes what is missing. In a
    /// Slurm array of N tasks M, M+S, M+2S..., task T has part (T-M)/S+1 of N, by SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT.
    #[arg(long, value_name = "I/N", default_value = "auto", value_parser = part)]
    shard: Part,

    /// Compute everything again, instead of keeping finished runs and resuming the others
    #[arg(long)]
    fresh: bool,

    /// Committed numbers to look for finished runs in [default: repro/reference]
    #[arg(long, value_name = "DIR", value_parser = folder)]
    reference: Option<PathBuf>,

    /// Compute runs that are committed, too; --reference is without effect then
    #[arg(long)]
    no_reference: bool,

    /// Take runs from there that earlier code computed, too; every result then says so
    #[arg(long)]
    accept_other_code: bool,

    /// Write each finished run's metrics as a TensorBoard event file too, below tensorboard in the output directory
    #[arg(long)]
    tensorboard: bool,
}

/// The part of the runs that a command line asks for, if it is not the whole.
#[derive(Clone, Copy, Debug)]
struct Part(Option<Shard>);

fn part(word: &str) -> Result<Part, String> {
    Ok(Part(match word {
        "all" => None,
        "auto" => Shard::of_slurm(|name| Some(std::env::var_os(name)?.to_string_lossy().into()))?,
        part => Some(part.parse()?),
    }))
}

impl Execution {
    /// For [`Runner::open`](crate::engine::runner::Runner::open). `name` is that of the directory below `repro/out`, unless another
    /// directory was asked for.
    #[must_use]
    pub fn runner_options(&self, name: impl AsRef<Path>) -> Options {
        let out = self.out.clone();
        let threads = usize::from(self.threads);
        Options {
            jobs: self
                .jobs
                .map_or_else(|| (cores() / threads).max(1), usize::from),
            threads,
            shard: self.shard.0,
            fresh: self.fresh,
            reference: self.reference(),
            reference_folder: name.as_ref().to_owned(),
            accept_other_code: self.accept_other_code,
            tensorboard: self.tensorboard,
            ..Options::new(out.unwrap_or_else(|| default_out(name.as_ref())))
        }
    }

    fn reference(&self) -> Option<PathBuf> {
        let root = || self.reference.clone().unwrap_or_else(reference_root);
        (!self.no_reference).then(root)
    }

    /// As [`runner_options`](Self::runner_options), where there are no runs to share.
    ///
    /// # Errors
    /// If only a part of the runs was asked for.
    pub fn whole(&self, name: impl AsRef<Path>) -> Result<Options, RunnerError> {
        let options = self.runner_options(name);
        match options.shard {
            None => Ok(options),
            Some(_) => Err(RunnerError::Usage(
                "there are no runs here to share: leave this to one process, with --shard all"
                    .to_owned(),
            )),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The crate in the checkout that the program was built in, if that is still there; otherwise in the one where one is.
fn base() -> &'static Path {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    if checkout.is_dir() {
        checkout
    } else {
        Path::new("repro")
    }
}

/// A folder that is there: a misspelt one would cost what is in the right one.
fn folder(path: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(path);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err("there is no such folder".to_owned()),
    }
}

/// The directory of a binary's results, unless another is asked for.
#[must_use]
pub fn default_out(name: &Path) -> PathBuf {
    base().join("out").join(name)
}

/// Where the committed numbers are.
#[must_use]
pub fn reference_root() -> PathBuf {
    base().join("reference")
}

/// The project's own page, which shows the matrix of the committed verdicts.
#[must_use]
pub fn readme() -> PathBuf {
    base().join("../README.md")
}

/// The `main` of every binary.
pub fn main(body: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    ExitCode::from(report(body()))
}

/// Reports an error on standard error and gives the exit code: 2 for wrong usage, 130 if interrupted, 1 for a failure. That a
/// part of the runs is done is no error, and goes to standard output, as help does.
pub fn report(end: anyhow::Result<()>) -> u8 {
    let Err(error) = end else { return 0 };
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        return match usage.exit_code() {
            // Help.
            0 => report(print(&usage.render().to_string()).map_err(Into::into)),
            code => {
                // A closed standard error is no reason to say more.
                let _ = usage.print();
                code as u8
            }
        };
    }
    match error.downcast_ref() {
        Some(done @ RunnerError::Shard { .. }) => {
            report(print(&format!("{done}\n")).map_err(Into::into))
        }
        Some(interrupted @ RunnerError::Interrupted { .. }) => {
            tell(&interrupted.to_string());
            interrupt::EXIT_CODE
        }
        Some(usage @ RunnerError::Usage(_)) => {
            tell(&format!("error: {usage}"));
            2
        }
        _ => {
            tell(&format!("error: {error:#}"));
            1
        }
    }
}

/// Standard output that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write standard output: {0}")]
pub struct PrintError(io::Error);

/// Prints to standard output. A reader that has seen enough, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written for another reason.
pub fn print(text: &str) -> Result<(), PrintError> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(PrintError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Words {
        #[command(flatten)]
        execution: Execution,
    }

    fn options(words: &str) -> Options {
        let words = ["x"].into_iter().chain(words.split_whitespace());
        let words = Words::try_parse_from(words).unwrap();
        words.execution.runner_options("section3_1")
    }

    #[test]
    fn without_options_runs_are_kept_below_repro_and_taken_from_the_reference() {
        let options = options("");
        assert!(options.out.ends_with("repro/out/section3_1") && options.jobs >= 1);
        assert!(!options.fresh && !options.accept_other_code);
        assert!(options.reference.unwrap().ends_with("repro/reference"));
    }

    #[test]
    fn jobs_and_threads_share_the_cores() {
        let many = options("--threads 256");
        assert_eq!((many.jobs, many.threads), (1, 256));
        let both = options("--threads 2 --jobs 3 --out x");
        assert_eq!((both.jobs, both.threads, both.out), (3, 2, "x".into()));
    }

    #[test]
    fn exit_codes_tell_usage_failure_and_interruption_apart() {
        assert_eq!(report(Ok(())), 0);
        let usage = |words: &[&str]| Words::try_parse_from(words).unwrap_err();
        assert_eq!(report(Err(usage(&["x", "--jobs", "0"]).into())), 2);
        assert_eq!(report(Err(usage(&["x", "--threads", "65535"]).into())), 2);
        assert_eq!(report(Err(anyhow::anyhow!("x"))), 1);
        let interrupted = RunnerError::Interrupted {
            finished: 1,
            total: 2,
        };
        assert_eq!(report(Err(interrupted.into())), 130);
    }
}
