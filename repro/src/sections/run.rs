//! Running a section: from the command line to the files.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::builder::PossibleValue;
use clap::{Args, Command, FromArgMatches};
use datasets::ImageDataset;
use serde_json::json;

use super::part::{ArmOutcome, Outcome, Resolved};
use super::{Part, Section, Size, Task, Unit, arms};
use crate::cli::{self, Execution, Preset, reference_root, tell};
use crate::data::{self, DataOptions};
use crate::engine::provenance::DataSet;
use crate::engine::run::RunResult;
use crate::engine::runner::{Planned, Runner};
use crate::judge;
use crate::report::Report;
use crate::results::{Header, Protocol};
use crate::tasks::workload::repeated;
use crate::tune::Searched;

/// The options of every section.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// How much to run
    #[arg(long)]
    preset: String,

    /// Independent runs of each method, with seeds 0 to N-1 [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,

    /// Length of a run [default: as the preset has it]
    #[arg(long, value_name = "N", visible_aliases = ["epochs", "steps", "sequences"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    length: Option<u64>,

    /// Methods to run, separated by commas [default: all]
    ///
    /// Quote a name with a star, a space or a parenthesis, of which the shell would make something else.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true)]
    methods: Vec<String>,

    /// The part of the section to run [default: all]
    #[arg(long, value_name = "NAME", ignore_case = true)]
    part: Option<String>,

    /// How runs are computed.
    #[command(flatten)]
    execution: Execution,

    /// Where the data are.
    #[command(flatten)]
    data: DataOptions,
}

/// The `main` of a section's binary.
pub fn main(section: &'static Section) -> ExitCode {
    cli::main(|| run(section, &parse(section, std::env::args_os())?))
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// A [`clap::Error`] for wrong usage and for `--help`, which [`cli::main`] turns into the exit code.
pub fn parse(
    section: &Section,
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Arguments, clap::Error> {
    let matches = command(section).try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches)
}

fn command(section: &Section) -> Command {
    let sizes = section.parts[0].sizes.iter();
    let presets = sizes.map(|size| {
        let about = section
            .parts
            .iter()
            .filter_map(|part| part.size(size.preset).map(|size| (part, size)));
        let about: Vec<String> = about.map(|(part, size)| size.in_words(part.unit)).collect();
        PossibleValue::new(size.preset.name()).help(about.join(", and "))
    });
    let presets: Vec<PossibleValue> = presets.collect();
    let mut names: Vec<&str> = section
        .parts
        .iter()
        .flat_map(|part| part.arms.iter().map(|arm| arm.name))
        .collect();
    names.dedup();
    let parts: Vec<&str> = section.parts.iter().map(|part| part.name).collect();
    // The section's description comes last, as a derived `Args` brings its own doc comment along.
    Arguments::augment_args(Command::new(section.binary))
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
                .default_value(section.default.name())
                .required(false)
        })
        .mut_arg("methods", |arg| arg.value_parser(names))
        .mut_arg("part", |arg| arg.hide(parts.len() < 2).value_parser(parts))
        .after_help(
            "Ctrl-C keeps every run's last step; the same command again resumes. \
             With other options it keeps the runs that still apply.",
        )
}

impl Size {
    fn in_words(&self, unit: Unit) -> String {
        let runs = if self.seeds == 1 { "run" } else { "runs" };
        let (seeds, length, unit) = (self.seeds, self.length, unit.name());
        let data = match (self.preset, self.examples) {
            (Preset::Smoke, _) => ": seconds, and no results",
            (_, Some(_)) => " on the first training images",
            _ => "",
        };
        format!("{seeds} {runs} of {length} {unit}{data}")
    }
}

impl Arguments {
    fn preset(&self) -> Preset {
        let presets = [Preset::Smoke, Preset::Quick, Preset::Reduced, Preset::Paper];
        let named = presets
            .into_iter()
            .find(|preset| preset.name() == self.preset);
        named.unwrap_or(Preset::Paper)
    }

    fn size(&self, part: &Part) -> Result<Size> {
        let size = part.size(self.preset()).context("the preset is missing")?;
        Ok(Size {
            seeds: self.seeds.unwrap_or(size.seeds),
            length: self.length.unwrap_or(size.length),
            ..size
        })
    }

    fn wants(&self, part: &Part) -> bool {
        let asked = self.part.as_ref();
        asked.is_none_or(|name| name.eq_ignore_ascii_case(part.name))
    }

    fn wants_method(&self, name: &str) -> bool {
        let named = |asked: &String| asked.eq_ignore_ascii_case(name);
        self.methods.is_empty() || self.methods.iter().any(named)
    }
}

/// Runs a section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(section: &'static Section, arguments: &Arguments) -> Result<()> {
    let parts: Vec<&'static Part> = section
        .parts
        .iter()
        .filter(|part| arguments.wants(part))
        .collect();
    // Before the runner takes over Ctrl-C, so that a slow download can be stopped.
    let data = parts
        .iter()
        .map(|part| load(part, arguments))
        .collect::<Result<Vec<_>>>()?;
    let runner = Runner::open(arguments.execution.runner_options(section.binary))?;
    let mut deviations = Vec::new();
    let mut outcomes = parts
        .into_iter()
        .zip(&data)
        .map(|(part, data)| {
            let data = data.as_ref();
            prepare(section, part, data, arguments, &runner, &mut deviations)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut planned = Vec::new();
    for outcome in &outcomes {
        outcome.plan(&runner, &mut planned)?;
    }
    let mut results = runner.run(&planned)?.into_iter();
    for outcome in &mut outcomes {
        for arm in &mut outcome.arms {
            arm.take_results(outcome.size.seeds, &mut results);
        }
    }
    write(section, arguments, &runner, deviations, &outcomes)
}

fn load(part: &Part, arguments: &Arguments) -> Result<Option<ImageDataset>> {
    Ok(match part.task {
        Task::Images { data, .. } => Some(data::load(data, arguments.preset(), &arguments.data)?),
        _ => None,
    })
}

/// A part's arms at their settings, without results.
fn prepare<'d>(
    section: &'static Section,
    part: &'static Part,
    data: Option<&'d ImageDataset>,
    arguments: &Arguments,
    runner: &Runner,
    deviations: &mut Vec<String>,
) -> Result<Outcome<'d>> {
    let size = arguments.size(part)?;
    let searched = Searched::open(&reference_root(), section.number)?;
    deviations.extend(data.and_then(|data| arguments.data.deviation(data)));
    deviations.extend(part.deviations.iter().map(|text| (*text).to_owned()));
    deviations.extend(part.reductions(size));
    let mut arms = Vec::new();
    for arm in part
        .arms
        .iter()
        .filter(|arm| arguments.wants_method(arm.name))
    {
        match Resolved::new(arm, part, size, data, runner.threads(), &searched)? {
            Some(resolved) => arms.push(ArmOutcome { resolved, results: Vec::new() }),
            None => deviations.push(format!(
                "No search for the best setting of {} has been made on this task (`tune --section {}`): {} is left out.",
                arm.kind.name(), section.number, arm.name
            )),
        }
    }
    Ok(Outcome {
        section: section.number,
        part,
        size,
        data,
        arms,
    })
}

/// Times that a run is made where its times are measured.
const REPETITIONS: u64 = 3;

impl<'d> Outcome<'d> {
    /// Adds the part's runs to a list, and says on standard error how long those that are missing will take.
    fn plan(&self, runner: &Runner, planned: &mut Vec<Planned<'d>>) -> Result<()> {
        let mut time = Estimate::default();
        for arm in &self.arms {
            let runs = arm.resolved.runs(self.size.seeds)?;
            let places = runs.iter().zip(planned.len()..);
            let due = places.filter(|(run, place)| runner.is_due(*place, run)).count();
            if self.size.preset != Preset::Smoke && due > 0 {
                time.add(&arm.resolved, due)?;
            }
            planned.extend(runs);
        }
        time.tell(runner.jobs());
        Ok(())
    }
}

impl<'d> Resolved<'d> {
    /// The runs of all seeds; where times matter, each several times, and while no other is computed.
    fn runs(&self, seeds: u64) -> Result<Vec<Planned<'d>>> {
        let mut runs = Vec::new();
        for seed in 0..seeds {
            if !self.is_timed() {
                runs.push(self.plan(seed)?);
                continue;
            }
            for repetition in 0..REPETITIONS {
                runs.push(repeated(self.plan(seed)?, repetition).alone());
            }
        }
        Ok(runs)
    }

    fn is_timed(&self) -> bool {
        self.arm.until_converged.is_some()
    }
}

impl ArmOutcome<'_> {
    /// Takes the results of its runs, which come next.
    fn take_results(&mut self, seeds: u64, results: &mut impl Iterator<Item = RunResult>) {
        for _ in 0..seeds {
            let result = match self.resolved.is_timed() {
                true => with_repetitions(results.take(REPETITIONS as usize).collect()),
                false => results.next(),
            };
            self.results.extend(result);
        }
    }
}

/// The first of the repetitions of a run. What they have passed when is in its summary, as `repetitions_seconds`.
fn with_repetitions(results: Vec<RunResult>) -> Option<RunResult> {
    let mut first = results.first()?.clone();
    let marks = first.timing.milestones.keys().map(|mark| {
        let times = results
            .iter()
            .filter_map(|result| result.timing.milestones.get(mark));
        let seconds: Vec<f64> = times.map(|milestone| milestone.seconds).collect();
        (mark.clone(), json!(seconds))
    });
    let marks = serde_json::Value::Object(marks.collect());
    first.summary.insert("repetitions_seconds".to_owned(), marks);
    Some(first)
}

impl Part {
    /// How a size departs from the whole.
    fn reductions(&self, size: Size) -> Vec<String> {
        let mut reductions = Vec::new();
        let Some(whole) = self.size(Preset::Paper) else {
            return reductions;
        };
        let unit = self.unit.name();
        if (whole.seeds, whole.length) != (size.seeds, size.length) {
            reductions.push(format!(
                "Runs of each method: {} of {} {unit}; `--preset paper` makes the whole, {} of {}.",
                size.seeds, size.length, whole.seeds, whole.length
            ));
        }
        if let Some(examples) = size.examples {
            reductions.push(format!(
                "Trained on the first {examples} training images only."
            ));
        }
        let policy = self
            .arms
            .iter()
            .any(|arm| matches!(arm.choice, super::Choice::Policy(_)));
        if policy && whole.length != size.length {
            reductions.push(format!(
                "The default policy's drops, after {:?} of {} {unit} in the paper, are moved in proportion, to after {:?} of {}.",
                arms::DROPS, whole.length, arms::drops(size.length), size.length
            ));
        }
        reductions
    }
}

/// Steps that are made to tell how long a run will take.
const TRIAL_STEPS: u32 = 5;
/// Runs shorter than this are not worth a trial.
const LONG: Duration = Duration::from_secs(60);

/// How long runs will take, from a few steps of each.
#[derive(Default)]
struct Estimate {
    seconds: f64,
    runs: usize,
}

impl Estimate {
    /// Runs of an arm. What is timed is short, and its solver takes no steps of a method.
    fn add(&mut self, arm: &Resolved<'_>, runs: usize) -> Result<()> {
        let Some(method) = arm.method.filter(|_| !arm.is_timed()) else {
            return Ok(());
        };
        let mut step = arm.workload.stepper(method, 0)?;
        step()?;
        let start = Instant::now();
        // A method may diverge at once: its run then takes less.
        let made = (0..TRIAL_STEPS)
            .take_while(|_| step().is_ok())
            .count()
            .max(1);
        let per_step = start.elapsed().as_secs_f64() / made as f64;
        self.seconds += per_step * runs as f64 * arm.workload.course().steps as f64;
        self.runs += runs;
        Ok(())
    }

    /// Says so on standard error, if it is worth a word.
    fn tell(&self, jobs: usize) {
        let (runs, at_once) = (self.runs, jobs.min(self.runs.max(1)));
        let wall = self.seconds / at_once as f64;
        if wall > LONG.as_secs_f64() {
            let minutes = Duration::from_secs((wall / 60.0).ceil() as u64).saturating_mul(60);
            tell(&format!(
                "{runs} runs, {at_once} at a time: about {}, tests not counted",
                humantime::format_duration(minutes)
            ));
        }
    }
}

fn write(
    section: &'static Section,
    arguments: &Arguments,
    runner: &Runner,
    deviations: Vec<String>,
    outcomes: &[Outcome<'_>],
) -> Result<()> {
    let shared = Header {
        id: String::new(),
        title: String::new(),
        section: section.number.to_owned(),
        protocol: protocol(arguments, outcomes)?,
        deviations,
        provenance: runner.provenance(autodiff::kernels::simd_level(), provenance_of(outcomes)),
        paper: None,
    };
    let mut report = Report::new(runner.out().to_owned(), shared);
    for outcome in outcomes {
        for show in outcome.part.shows {
            show.write(outcome, &mut report)?;
        }
    }
    let mut numbers = Vec::new();
    for outcome in outcomes {
        let other_data = outcome
            .data
            .and_then(|data| arguments.data.other_data(data));
        numbers.push(outcome.numbers(other_data)?);
    }
    if let Some(extra) = section.extra {
        numbers.iter_mut().take(1).try_for_each(|numbers| {
            numbers.arms.extend(extra()?);
            anyhow::Ok(())
        })?;
    }
    let others = judge::committed(&reference_root(), section.number)?;
    let findings = judge::judge_section(&numbers, &others);
    report.claims(numbers, findings)?;
    report.finish()
}

fn protocol(arguments: &Arguments, outcomes: &[Outcome<'_>]) -> Result<Protocol> {
    let mut protocol = Protocol {
        preset: arguments.preset().name().to_owned(),
        ..Protocol::default()
    };
    let named = outcomes.len() > 1;
    for outcome in outcomes {
        let (seeds, length) = (outcome.size.seeds, Some(outcome.size.length));
        protocol.seeds = (0..seeds).collect();
        match outcome.part.unit {
            Unit::Steps => protocol.steps = length,
            Unit::Epochs => protocol.epochs = length,
            Unit::Sequences => protocol.examples = length,
        }
        for arm in &outcome.arms {
            let name = match named {
                true => format!("{}: {}", outcome.part.name, arm.name()),
                false => arm.name().to_owned(),
            };
            protocol
                .hyperparameters
                .insert(name, arm.resolved.settings()?);
        }
    }
    let mut batches: Vec<_> = protocol
        .hyperparameters
        .values()
        .map(|s| s.get("batch"))
        .collect();
    batches.dedup();
    protocol.batch = match batches[..] {
        [Some(batch)] => batch.as_u64(),
        _ => None,
    };
    Ok(protocol)
}

/// What was trained on, over all parts.
fn provenance_of(outcomes: &[Outcome<'_>]) -> DataSet {
    let sets = outcomes
        .iter()
        .map(|outcome| match (outcome.data, outcome.part.task) {
            (Some(data), _) => data::provenance(data),
            (None, Task::RepeatCopy { .. }) => {
                DataSet::generated("repeat-copy, drawn anew for each minibatch")
            }
            (None, _) => DataSet::generated(
                "badly conditioned regression: A, X and the first weights drawn anew for each seed",
            ),
        });
    let mut names: Vec<String> = Vec::new();
    let mut files = Vec::new();
    for set in sets {
        if !names.contains(&set.name) {
            names.push(set.name);
            files.extend(set.files);
        }
    }
    DataSet {
        name: names.join("; "),
        files,
    }
}
