//! The command line that all sections share.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValue;
use clap::{Args, Command, FromArgMatches, ValueEnum};

use crate::interrupt;
use crate::runner::{Options, RunnerError};

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

/// What the command line says about a section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The section of the paper, as `"3.1"`.
    pub number: &'static str,
    /// The binary's name and that of its output directory, as `"section3_1"`.
    pub binary: &'static str,
    /// What is run and what is written: the head of `--help`.
    pub about: &'static str,
    /// The presets that the section has.
    pub presets: &'static [Size],
    /// The preset that is run unless another is asked for.
    pub default_preset: Preset,
    /// The methods, as the paper's legends call them.
    pub methods: &'static [&'static str],
}

/// What a preset means in a section.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The preset.
    pub preset: Preset,
    /// Runs of each method.
    pub seeds: u64,
    /// Steps or epochs of a run.
    pub length: u64,
    /// The size in words, how it departs from the paper, how long it takes.
    pub about: &'static str,
}

impl Section {
    /// What a preset means here; `None` if the section does not have it.
    #[must_use]
    pub fn size(&self, preset: Preset) -> Option<&'static Size> {
        self.presets.iter().find(|size| size.preset == preset)
    }
}

/// The options of every section, as typed.
#[derive(Args)]
struct Arguments {
    /// How much to run
    #[arg(long)]
    preset: String,

    /// Independent runs of each method, with seeds 0 to N-1 [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,

    /// Methods to run, separated by commas [default: all]
    ///
    /// Quote a name with a star, a space or a parenthesis, of which the shell would make something else.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true)]
    methods: Vec<String>,

    #[command(flatten)]
    execution: Execution,
}

/// How runs are computed and where they are kept: options of every binary.
#[derive(Args, Clone, Debug)]
pub struct Execution {
    /// Directory for results and for what is needed to resume [default: repro/out/ and the section's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Runs to compute at once; results do not depend on it [default: the number of cores, divided by --threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Threads to split each step of a convolutional network among; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Compute everything again, instead of keeping finished runs and resuming the others
    #[arg(long)]
    fresh: bool,

    /// Write each finished run's metrics as a TensorBoard event file too, below tensorboard in that directory
    #[arg(long)]
    tensorboard: bool,
}

impl Execution {
    /// For [`Runner::open`](crate::runner::Runner::open). `name` is that of the directory below `repro/out`, unless another
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
            fresh: self.fresh,
            tensorboard: self.tensorboard,
            ..Options::new(out.unwrap_or_else(|| default_out(name.as_ref())))
        }
    }
}

/// The options of every section, checked and with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// How much to run.
    pub preset: Preset,
    /// Runs of each method, at least 1.
    pub seeds: u64,
    /// Steps or epochs of a run, as the preset has it.
    pub length: u64,
    /// Methods to run, in the section's order and spelling.
    pub methods: Vec<&'static str>,
    /// For [`Runner::open`](crate::runner::Runner::open).
    pub runner_options: Options,
}

/// For a section without options of its own.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMore {}

/// Reads the process's command line: the common options and the section's own, `A`.
///
/// # Errors
/// A [`clap::Error`] for wrong usage and for `--help`, which [`main`] turns into the exit code.
pub fn parse<A: Args>(section: &Section) -> Result<(Common, A), clap::Error> {
    parse_from(section, std::env::args_os())
}

/// As [`parse`], from given words; the first is the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<A: Args>(
    section: &Section,
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<(Common, A), clap::Error> {
    let matches = command::<A>(section).try_get_matches_from(words)?;
    let arguments = Arguments::from_arg_matches(&matches)?;
    Ok((common(section, arguments), A::from_arg_matches(&matches)?))
}

fn command<A: Args>(section: &Section) -> Command {
    let presets = section
        .presets
        .iter()
        .map(|size| PossibleValue::new(size.preset.name()).help(size.about));
    let presets: Vec<PossibleValue> = presets.collect();
    let default_preset = section.default_preset.name();
    // The section's description comes last, as a derived `Args` brings its own doc comment along.
    A::augment_args(Arguments::augment_args(Command::new(section.binary)))
        .about(section.about)
        .long_about(None)
        .version(concat!(
            env!("CARGO_PKG_VERSION"),
            " (",
            env!("REPRO_GIT_COMMIT"),
            ")"
        ))
        .mut_arg("preset", |arg| {
            arg.value_parser(presets)
                .default_value(default_preset)
                .required(false)
        })
        .mut_arg("methods", |arg| arg.value_parser(section.methods.to_vec()))
        .after_help(
            "Ctrl-C keeps every run's last step; the same command again resumes. \
             With other options it keeps the runs that still apply.",
        )
}

fn common(section: &Section, arguments: Arguments) -> Common {
    let Arguments {
        preset,
        seeds,
        methods,
        execution,
    } = arguments;
    let asked = |method: &&str| {
        methods.is_empty() || methods.iter().any(|name| name.eq_ignore_ascii_case(method))
    };
    let size = section
        .presets
        .iter()
        .find(|size| size.preset.name() == preset)
        .expect("clap has checked it");
    Common {
        preset: size.preset,
        seeds: seeds.unwrap_or(size.seeds),
        length: size.length,
        methods: section.methods.iter().copied().filter(asked).collect(),
        runner_options: execution.runner_options(section.binary),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// In the checkout that the program was built in, if that is still there; otherwise where one is.
fn default_out(name: &Path) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = if checkout.is_dir() {
        checkout
    } else {
        Path::new(".")
    };
    base.join("out").join(name)
}

/// The `main` of every binary.
pub fn main(body: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    ExitCode::from(report(body()))
}

/// Reports an error on standard error and gives the exit code: 2 for wrong usage, 130 if interrupted, 1 for a failure.
pub fn report(end: anyhow::Result<()>) -> u8 {
    let Err(error) = end else { return 0 };
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // A closed standard output is no reason to say more.
        let _ = usage.print();
        // 0 after `--help`.
        return usage.exit_code() as u8;
    }
    if let Some(interrupted @ RunnerError::Interrupted { .. }) = error.downcast_ref() {
        eprintln!("{interrupted}");
        return interrupt::EXIT_CODE;
    }
    eprintln!("error: {error:#}");
    1
}

/// Prints to standard output. A reader that has seen enough, such as `head`, is not an error.
///
/// # Errors
/// If standard output cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: Section = Section {
        number: "3.1",
        binary: "section3_1",
        about: "Badly conditioned regression.",
        presets: &[
            Size {
                preset: Preset::Smoke,
                seeds: 1,
                length: 10,
                about: "one short run each",
            },
            Size {
                preset: Preset::Paper,
                seeds: 5,
                length: 1000,
                about: "the whole",
            },
        ],
        default_preset: Preset::Paper,
        methods: &["mSGD", "L4Adam", "L4Adam*"],
    };

    #[derive(Args)]
    struct Sizes {
        #[arg(long, default_value_t = 96)]
        weights: usize,
    }

    fn parse(words: &str) -> Result<(Common, Sizes), clap::Error> {
        parse_from(
            &SECTION,
            ["section3_1"].into_iter().chain(words.split_whitespace()),
        )
    }

    fn refused(words: &str) -> String {
        let error = parse(words).err().expect("refused");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn without_options_all_is_run_as_the_section_has_it() {
        let (common, sizes) = parse("").unwrap();
        assert_eq!(
            (common.preset, common.seeds, common.length),
            (Preset::Paper, 5, 1000)
        );
        assert_eq!(common.methods, SECTION.methods);
        let options = common.runner_options;
        assert!(options.out.ends_with("repro/out/section3_1") && options.jobs >= 1);
        assert!(!options.fresh);
        assert_eq!(sizes.weights, 96);
    }

    #[test]
    fn options_are_taken_as_given() {
        let (common, sizes) =
            parse("--preset smoke --seeds 3 --methods l4adam*,MSGD --out x --jobs 2 --fresh --tensorboard --weights 192").unwrap();
        let expected = Common {
            preset: Preset::Smoke,
            seeds: 3,
            length: 10,
            methods: vec!["mSGD", "L4Adam*"],
            runner_options: Options {
                jobs: 2,
                fresh: true,
                tensorboard: true,
                ..Options::new("x")
            },
        };
        assert_eq!((common, sizes.weights), (expected, 192));
    }

    #[test]
    fn jobs_and_threads_share_the_cores() {
        let options = |words| parse(words).unwrap().0.runner_options;
        let many = options("--threads 1000");
        assert_eq!((many.jobs, many.threads), (1, 1000));
        let both = options("--threads 2 --jobs 3");
        assert_eq!((both.jobs, both.threads), (3, 2));
    }

    #[test]
    fn wrong_usage_is_refused_and_says_what_is_right() {
        assert!(refused("--seeds 0").contains("0 is not in 1.."));
        assert!(refused("--jobs 0").contains("0 is not in 1.."));
        assert!(refused("--methods mSGD,L5").contains("[possible values: mSGD, L4Adam, L4Adam*]"));
        assert!(refused("--preset quick").contains("[possible values: smoke, paper]"));
        refused("--seeds many");
        refused("--nonsense");
    }

    #[test]
    fn help_says_what_a_preset_means() {
        let help = command::<NoMore>(&SECTION).render_long_help().to_string();
        for text in [
            "Badly conditioned",
            "smoke: one short run each",
            "paper: the whole",
            "[default: paper]",
        ] {
            assert!(help.contains(text), "{text} in {help}");
        }
    }

    #[test]
    fn exit_codes_tell_usage_failure_and_interruption_apart() {
        assert_eq!(report(Ok(())), 0);
        assert_eq!(report(Err(parse("--seeds 0").err().unwrap().into())), 2);
        assert_eq!(report(Err(anyhow::anyhow!("x"))), 1);
        let interrupted = RunnerError::Interrupted {
            finished: 1,
            total: 2,
        };
        assert_eq!(report(Err(interrupted.into())), 130);
    }
}
