//! Running a section: from what is asked for to what came of it.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use datasets::ImageDataset;
use indexmap::{IndexMap, IndexSet};

use super::arguments::{Arguments, parse};
use super::estimate::TimeEstimate;
use super::made::Made;
use super::part::{ArmOutcome, Outcome, Resolved};
use super::{Arm, Choice, Part, Section, Size};
use crate::cli::{self, Preset, reference_root};
use crate::engine::runner::{Planned, Runner};
use crate::judge::{self, words};
use crate::methods::{DROPS, Kind};
use crate::searched::{Searched, knob_in_words};

/// The `main` of a section's binary.
pub fn main(section: &'static Section) -> ExitCode {
    cli::main(|| run(section, &parse(section, std::env::args_os())?))
}

/// Runs a section and writes its files, the verdicts on the paper's claims among them.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(section: &'static Section, arguments: &Arguments) -> Result<()> {
    // Of the other sections, for the claims that compare: what is damaged there is said before hours of training.
    let others = judge::committed(&reference_root(), section.number)?;
    make(section, arguments, |made| made.write_judged(&others))
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
        .map(|part| part.load(arguments.preset(), &arguments.data))
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
        "no seed is finished by all of the methods, in {} or among the committed runs that are taken: without --finished what is \
         missing is computed, and --methods names some of them",
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
    ensure!(
        !resolved.is_empty(),
        "there is nothing to run of {}: {}",
        part.name,
        missing.join(" ")
    );
    if arguments.finished {
        size.seeds = finished_seeds(&resolved, size, runner)?;
    }
    if size.seeds == 0 {
        return Ok(None);
    }
    deviations.extend(data.and_then(|data| arguments.data.deviation(data)));
    deviations.extend(part.deviations.iter().map(|text| (*text).to_owned()));
    deviations.extend(part.extensions(size, &resolved));
    let mut of_part = part.reductions(size);
    of_part.extend(missing);
    of_part.extend(starred(&resolved, searches, &searched));
    let task = match section.parts.len() {
        1 => String::new(),
        _ => format!("{}: ", part.name),
    };
    deviations.extend(of_part.into_iter().map(|sentence| task.clone() + &sentence));
    let arms = resolved.into_iter().map(|resolved| ArmOutcome {
        resolved,
        results: Vec::new(),
    });
    Ok(Some(Outcome {
        section: section.number,
        part,
        size,
        data,
        arms: arms.collect(),
    }))
}

/// How starred settings were found, the best of our own searches; which are not the published ones, and which are at an end of what was
/// tried.
fn starred(resolved: &[Resolved<'_>], section: &Section, searched: &Searched) -> Vec<String> {
    let starred = resolved
        .iter()
        .filter(|arm| arm.arm.choice == Choice::Searched);
    let starred: IndexMap<&str, Kind> = starred.map(|arm| (arm.arm.name, arm.arm.kind)).collect();
    let other = starred.iter().filter_map(|(name, kind)| {
        let (best, published) = (searched.best(*kind)?, section.published(*kind)?);
        (best != published).then(|| format!("{name} {best} ({published})"))
    });
    let other: Vec<String> = other.collect();
    let mut sentences = Vec::new();
    for (name, kind) in &starred {
        let found = searched.how_found(*kind);
        sentences.extend(found.map(|how| format!("The setting of {name} is {how}.")));
    }
    if !other.is_empty() {
        sentences.push(format!(
            "Starred rates and α are the best of our own searches; where the published one is another, it is in brackets: {}.",
            other.join(", ")
        ));
    }
    let ends = starred.iter().filter_map(|(name, kind)| {
        let (best, end) = searched.best_at_an_end(*kind)?;
        Some(format!(
            "The {} of {name}, {best}, is the {end} that was tried.",
            knob_in_words(*kind)
        ))
    });
    sentences.extend(ends);
    sentences
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
                "{}: {} is left out.",
                searched.without_best(arm.kind, searches),
                arm.name
            )),
        }
    }
    let unwanted = part.arms.iter().filter(|arm| !wanted(arm));
    let unwanted: IndexSet<&str> = unwanted.map(|arm| arm.name).collect();
    if !unwanted.is_empty() {
        let names: Vec<&str> = unwanted.into_iter().collect();
        missing.push(format!("Methods left out here: {}.", names.join(", ")));
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

impl<'d> Outcome<'d> {
    /// Adds the part's runs to a list, and says on standard error how long those that are missing will take.
    fn plan(&self, runner: &Runner, planned: &mut Vec<Planned<'d>>) -> Result<()> {
        let mut time = TimeEstimate::default();
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

impl Part {
    /// Which arms go on beyond the length of the others.
    fn extensions(&self, size: Size, arms: &[Resolved<'_>]) -> Option<String> {
        let longer = arms.iter().filter(|arm| arm.arm.extended.is_some());
        let longer: Vec<&Resolved<'_>> = longer.filter(|arm| arm.length > size.length).collect();
        let length = longer.first()?.length;
        let names: Vec<&str> = longer.iter().map(|arm| arm.arm.name).collect();
        let (name, unit) = (self.name, self.unit.name());
        Some(format!(
            "{name}: the runs of {} go on to {length} {unit}, for claim C5; all else is of the first {}.",
            words::list(&names),
            size.length
        ))
    }

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
            .any(|arm| matches!(arm.choice, Choice::Policy(_)));
        if policy && whole.length != size.length {
            reductions.push(format!(
                "The default policy's drops, after {DROPS:?} of {0} {unit} in the paper, are moved in proportion, to after {DROPS:?} {0}ths of {1}.",
                whole.length, size.length
            ));
        }
        reductions
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::numbers::{ArmNumbers, Numbers, RunNumbers};
    use crate::sections::section3_1::SECTION;

    /// A search that tried these settings of each method, of which this one is the best.
    fn searched(tried: &[(Kind, &[f64], f64)]) -> Searched {
        let arms = tried.iter().flat_map(|&(kind, settings, best)| {
            settings.iter().map(move |&setting| {
                let loss = if setting == best { 0.1 } else { 1.0 };
                let run = RunNumbers {
                    summary: Map::from_iter([("final_loss".to_owned(), json!(loss))]),
                    ..RunNumbers::default()
                };
                let knob = kind.knob().unwrap().name();
                ArmNumbers {
                    settings: Map::from_iter([(knob.to_owned(), json!(setting))]),
                    ..ArmNumbers::measurement(kind.name(), vec![run.clone(), run])
                }
            })
        });
        Searched::of(vec![Numbers {
            arms: arms.collect(),
            ..Numbers::default()
        }])
    }

    #[test]
    fn a_starred_setting_says_where_it_is_not_the_published_one_or_at_an_end() {
        let part = &SECTION.parts[0];
        let size = part.size(Preset::Smoke).unwrap();
        let said = |searched: &Searched| {
            let resolve = |arm| Resolved::new(arm, part, size, None, 1, searched).unwrap();
            let resolved: Vec<Resolved<'_>> = part.arms.iter().filter_map(resolve).collect();
            starred(&resolved, &SECTION, searched)
        };
        let found = searched(&[
            (Kind::Momentum, &[2.5e-4, 5e-4, 1e-3], 5e-4),
            (Kind::Adam, &[1e-3, 2e-3, 4e-3], 2e-3),
            (Kind::L4Adam, &[0.2, 0.25, 0.3], 0.25),
            (Kind::L4Mom, &[0.25, 0.3, 0.35], 0.35),
        ]);
        assert_eq!(
            said(&found),
            [
                "Starred rates and α are the best of our own searches; where the published one is another, it is in brackets: \
                 Adam* 0.002 (0.001), L4Mom* 0.35 (0.25).",
                "The α of L4Mom*, 0.35, is the greatest that was tried.",
            ]
        );
        let inside = searched(&[(Kind::L4Adam, &[0.2, 0.25, 0.3], 0.25)]);
        assert!(said(&inside).is_empty());
    }
}
