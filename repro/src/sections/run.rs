//! Running a section: from the command line to the files.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::builder::PossibleValue;
use clap::{Args, Command, FromArgMatches};
use datasets::ImageDataset;
use serde_json::{Value, json};

use super::made::Made;
use super::part::{ArmOutcome, Outcome, Resolved};
use super::{Arm, Choice, Part, Section, Size, Task, Unit, arms};
use crate::cli::{self, Execution, Preset, reference_root};
use crate::data::{self, DataOptions};
use crate::engine::run::RunResult;
use crate::engine::runner::{Planned, Runner};
use crate::judge::c8::DROPS;
use crate::searched::Searched;
use crate::tasks::workload::repeated;

/// The options of every section.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// How much to run
    #[arg(long)]
    preset: String,

    /// Independent runs of each method, with seeds 0 to N-1 [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,

    /// Length of a run [default: as the preset has it]
    #[arg(long, value_name = "N", visible_aliases = ["epochs", "steps", "sequences"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    length: Option<u64>,

    /// Methods to run, separated by commas [default: all]
    ///
    /// Quote a name with a star, a space or a parenthesis, of which the shell would make something else.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true)]
    methods: Vec<String>,

    /// Parts of the section to run, separated by commas [default: all that the preset has]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        visible_alias = "task",
        ignore_case = true
    )]
    part: Vec<String>,

    /// Show what is finished, with the seeds that all methods have, and compute no run
    #[arg(long)]
    finished: bool,

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
    /// Where the data are.
    #[must_use]
    pub fn data(&self) -> &DataOptions {
        &self.data
    }

    /// How much was asked for.
    #[must_use]
    pub fn preset(&self) -> Preset {
        let presets = [Preset::Smoke, Preset::Quick, Preset::Reduced, Preset::Paper];
        let named = presets
            .into_iter()
            .find(|preset| preset.name() == self.preset);
        named.unwrap_or(Preset::Paper)
    }

    fn size(&self, part: &Part) -> Result<Size> {
        let size = part.size(self.preset()).with_context(|| {
            let name = self.preset().name();
            format!(
                "{} has no preset {name}: choose another, or another part",
                part.name
            )
        })?;
        Ok(Size {
            seeds: self.seeds.unwrap_or(size.seeds),
            length: self.length.unwrap_or(size.length),
            ..size
        })
    }

    fn wants(&self, part: &Part) -> bool {
        let named = |asked: &String| asked.eq_ignore_ascii_case(part.name);
        match self.part.is_empty() {
            true => part.size(self.preset()).is_some(),
            false => self.part.iter().any(named),
        }
    }

    fn wants_method(&self, name: &str) -> bool {
        let named = |asked: &String| asked.eq_ignore_ascii_case(name);
        self.methods.is_empty() || self.methods.iter().any(named)
    }
}

/// Runs a section and writes its files, the verdicts on the paper's claims among them.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(section: &'static Section, arguments: &Arguments) -> Result<()> {
    make(section, arguments, |made| made.write_judged())
}

/// Runs a section, and hands what came of it to `write`.
///
/// # Errors
/// If the data cannot be had, a run fails, or `write` does.
pub fn make(
    section: &'static Section,
    arguments: &Arguments,
    write: impl FnOnce(Made<'_, '_>) -> Result<()>,
) -> Result<()> {
    let (parts, mut others): (Vec<&'static Part>, Vec<&'static Part>) =
        section.parts.iter().partition(|part| arguments.wants(part));
    // Before the runner takes over Ctrl-C, so that a slow download can be stopped.
    let data = parts
        .iter()
        .map(|part| load(part, arguments))
        .collect::<Result<Vec<_>>>()?;
    let runner = Runner::open(arguments.execution.runner_options(section.binary))?;
    let mut deviations = Vec::new();
    let mut outcomes = Vec::new();
    for (part, data) in parts.into_iter().zip(&data) {
        let data = data.as_ref();
        match prepare(section, part, data, arguments, &runner, &mut deviations)? {
            Some(outcome) => outcomes.push(outcome),
            None => others.push(part),
        }
    }
    ensure!(
        !outcomes.is_empty(),
        "no run is finished in {}",
        runner.out().display()
    );
    deviations.extend(left_out(&others));
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
    write(Made {
        section,
        arguments,
        runner: &runner,
        deviations,
        outcomes,
    })
}

/// Says which parts are not there.
fn left_out(parts: &[&Part]) -> Vec<String> {
    let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
    match names.is_empty() {
        true => Vec::new(),
        false => vec![format!("Not run here: {}.", names.join(", "))],
    }
}

fn load(part: &Part, arguments: &Arguments) -> Result<Option<ImageDataset>> {
    Ok(match part.task {
        Task::Images { data, .. } => Some(data::load(data, arguments.preset(), &arguments.data)?),
        _ => None,
    })
}

/// A part's arms at their settings, without results. `None` if only what is finished is asked for, and nothing is.
fn prepare<'d>(
    section: &'static Section,
    part: &'static Part,
    data: Option<&'d ImageDataset>,
    arguments: &Arguments,
    runner: &Runner,
    deviations: &mut Vec<String>,
) -> Result<Option<Outcome<'d>>> {
    let mut size = arguments.size(part)?;
    let searches = Section::of_task(part.task).unwrap_or(section);
    let searched = Searched::open(&reference_root(), searches.number)?;
    let search = (searches.number, &searched);
    let (resolved, missing) = resolve(part, size, data, arguments, runner.threads(), search)?;
    let is_searched = |arm: &Resolved<'_>| matches!(arm.arm.choice, Choice::Searched);
    let searched_by = (searched.reduced()).filter(|_| resolved.iter().any(is_searched));
    if arguments.finished {
        size.seeds = finished_seeds(&resolved, size, runner)?;
    }
    if size.seeds == 0 {
        return Ok(None);
    }
    deviations.extend(data.and_then(|data| arguments.data.deviation(data)));
    deviations.extend(part.deviations.iter().map(|text| (*text).to_owned()));
    deviations.extend(part.reductions(size));
    deviations.extend(missing);
    deviations.extend(searched_by.as_ref().map(|length| {
        format!("The best settings, marked by a star, were searched with runs of {length}, and the best of these alone is run at full length: \
             that it is the best there too is not tested.")
    }));
    let arms = resolved.into_iter().map(|resolved| ArmOutcome {
        resolved,
        results: Vec::new(),
    });
    Ok(Some(Outcome {
        section: section.number,
        part,
        size,
        data,
        searched_by,
        arms: arms.collect(),
    }))
}

/// The arms that are asked for at their settings, and what is said of those whose search has not been made.
fn resolve<'d>(
    part: &'static Part,
    size: Size,
    data: Option<&'d ImageDataset>,
    arguments: &Arguments,
    threads: usize,
    (searches, searched): (&str, &Searched),
) -> Result<(Vec<Resolved<'d>>, Vec<String>)> {
    let (mut resolved, mut missing) = (Vec::new(), Vec::new());
    let wanted = |arm: &&Arm| arguments.wants_method(arm.name);
    for arm in part.arms.iter().filter(wanted) {
        match Resolved::new(arm, part, size, data, threads, searched)? {
            Some(arm) => resolved.push(arm),
            None => missing.push(format!(
                "No search for the best setting of {} has been made on this task (`tune --section {}`): {} is left out.",
                arm.kind.name(), searches, arm.name
            )),
        }
    }
    let mut unwanted: Vec<&str> = (part.arms.iter().filter(|arm| !wanted(arm)))
        .map(|arm| arm.name)
        .collect();
    unwanted.dedup();
    if !unwanted.is_empty() {
        missing.push(format!("Methods left out here: {}.", unwanted.join(", ")));
    }
    Ok((resolved, missing))
}

/// How many seeds, from the first on, all arms have finished.
fn finished_seeds(arms: &[Resolved<'_>], size: Size, runner: &Runner) -> Result<u64> {
    for seed in 0..size.seeds {
        for arm in arms {
            if !arm.runs(seed)?.iter().all(|run| runner.is_finished(run)) {
                return Ok(seed);
            }
        }
    }
    Ok(size.seeds)
}

/// Times that a run is made where its times are measured.
const REPETITIONS: u64 = 3;

impl<'d> Outcome<'d> {
    /// Adds the part's runs to a list, and says on standard error how long those that are missing will take.
    fn plan(&self, runner: &Runner, planned: &mut Vec<Planned<'d>>) -> Result<()> {
        let mut time = Estimate::default();
        let mut known: HashSet<String> = planned.iter().map(|run| run.spec().id()).collect();
        for arm in &self.arms {
            let mut runs = Vec::new();
            for seed in 0..self.size.seeds {
                runs.extend(arm.resolved.runs(seed)?);
            }
            let is_due = |run: &&Planned<'_>| {
                known.insert(run.spec().id()) && runner.is_due(known.len() - 1, run)
            };
            let due = runs.iter().filter(is_due).count();
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
    /// The runs of a seed: one, or several where times matter, and while no other is computed.
    fn runs(&self, seed: u64) -> Result<Vec<Planned<'d>>> {
        if !self.is_timed() {
            return Ok(vec![self.plan(seed)?]);
        }
        let run = |repetition| Ok(repeated(self.plan(seed)?, repetition).alone());
        (0..REPETITIONS).map(run).collect()
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
    let marks = Value::Object(marks.collect());
    first
        .summary
        .insert("repetitions_seconds".to_owned(), marks);
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
                DROPS, whole.length, arms::drops(size.length), size.length
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
            cli::tell(&format!(
                "{runs} runs, {at_once} at a time: about {}, tests not counted",
                humantime::format_duration(minutes)
            ));
        }
    }
}
