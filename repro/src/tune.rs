//! Grid search, with restarts, for the one setting of a method that the paper varies: its constant rate, or L4's α.
//!
//! A search is made at the section's own length, on seeds that the section does not use. Its numbers are kept as a section's
//! are, so that it goes on where it stopped; what is committed of them, [`searched`](crate::searched) reads. Where the whole grid is
//! out of reach at that length, it is searched at a reduced one, and the best few settings once more at the section's own
//! (`--values`), which then decides.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use datasets::ImageDataset;
use serde_json::{Map, Value, json};

use crate::cli::{Execution, Preset, reference_root};
use crate::data::{self, DataOptions};
use crate::engine::reference;
use crate::engine::run::RunResult;
use crate::engine::runner::{Planned, Runner, RunnerError};
use crate::methods::{Kind, Knob, Method};
use crate::numbers::{ArmNumbers, Numbers, RunNumbers, TaskName};
use crate::searched::{Searched, folder, mean_score};
use crate::sections::{Part, Search, Section, Size, arm, searched};
use crate::tasks::Workload;

/// The first seed of a search's restarts, apart from those of the reported runs.
const FIRST_SEED: u64 = 1_000_000;

/// The grid of a search for α.
const ALPHAS: [f64; 7] = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35];

/// Powers of two by which the grid of a search for a rate begins around the published one.
const POWERS: std::ops::RangeInclusive<i32> = -2..=2;

/// Powers of two beyond which a grid is not extended.
const LIMIT: i32 = 12;

/// Searches for the best setting of a section's methods on the section's task, at the section's own length, with seeds of its
/// own; the grid of a rate is extended until the best is inside it.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    /// Section on whose task to search, as 3.2
    #[arg(long)]
    section: String,

    /// Methods whose settings to search for, separated by commas [default: all that the section has]
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,

    /// Settings to try, separated by commas, in place of a grid that is extended until the best is inside
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    values: Vec<f64>,

    /// Size of the runs
    #[arg(long, value_enum, default_value_t = Preset::Paper)]
    preset: Preset,

    /// Runs of each setting
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    restarts: u64,

    /// How runs are computed.
    #[command(flatten)]
    execution: Execution,

    /// Where the data are.
    #[command(flatten)]
    data: DataOptions,
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .ok()
        .filter(|value: &f64| value.is_normal() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".to_owned())
}

/// Searches as the command line says, and writes `numbers.json.gz`; prints the scores.
///
/// # Errors
/// If the section has no such method, the data cannot be had, a run fails or the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let section = section(&arguments.section)?;
    let part = &section.parts[0];
    let searches = selected(part, section, &arguments.methods)?;
    let size = part.size(arguments.preset).ok_or_else(|| {
        let has = |preset: &&Preset| part.size(**preset).is_some();
        let presets = Preset::value_variants().iter().filter(has);
        let presets: Vec<_> = presets.map(|preset| preset.name()).collect();
        RunnerError::Usage(format!(
            "section {} has no preset {}: there are {}",
            section.number,
            arguments.preset.name(),
            presets.join(", ")
        ))
    })?;
    let data = part.load(arguments.preset, &arguments.data)?;
    let options = arguments
        .execution
        .runner_options(Path::new("tune").join(folder(section.number)));
    let (threads, store) = (options.threads, options.reference.clone());
    let plain = arm("", Kind::Sgd);
    let workload = part.workload(&plain, size, size.length, data.as_ref(), threads)?;
    let runner = Runner::open(options)?;
    let mut numbers = nothing_yet(section, size, data.as_ref(), arguments);
    let others = earlier(&mut numbers, runner.out(), store.as_deref())?;
    let grids: Vec<Grid> = searches
        .into_iter()
        .map(|search| Grid {
            search,
            values: &arguments.values,
            workload,
            restarts: arguments.restarts,
            task: part.task.name(),
        })
        .collect();
    // All that is known to be needed, at once. What else a search needs, its own runs tell.
    let mut planned = Vec::new();
    for grid in &grids {
        grid.plan(&grid.first(), &mut planned)?;
    }
    runner.try_run(&planned)?;
    let mut text = String::new();
    for grid in grids {
        let Some(found) = grid.search(&runner)? else {
            continue;
        };
        text += &render(grid.search, &found, grid.task);
        take(&mut numbers.arms, found, grid.search.kind.knob());
        if runner.end().is_ok() {
            let parts = std::iter::once(&numbers).chain(&others);
            reference::write(runner.out(), parts.cloned().collect())?;
        }
    }
    runner.end()?;
    let written = runner.out().join(reference::NUMBERS);
    let read = reference_root().join("tune").join(folder(section.number));
    let read = read.join(reference::NUMBERS);
    Ok(crate::cli::print(&format!(
        "{text}wrote {}; sections read it from {}: copy it there\n",
        written.display(),
        read.display()
    ))?)
}

/// The numbers of a search that has tried nothing.
fn nothing_yet(
    section: &Section,
    size: Size,
    data: Option<&ImageDataset>,
    arguments: &Arguments,
) -> Numbers {
    let part = &section.parts[0];
    Numbers {
        section: section.number.to_owned(),
        task: part.task.name(),
        preset: arguments.preset.name().to_owned(),
        unit: part.unit.name().to_owned(),
        length: size.length,
        paper_length: part.size(Preset::Paper).map_or(0, |whole| whole.length),
        stand_in: data.is_some_and(data::is_synthetic),
        other_data: data.and_then(data::other_data),
        arms: Vec::new(),
    }
}

fn section(number: &str) -> Result<&'static Section> {
    let searched = searched().iter();
    let numbers: Vec<_> = searched.clone().map(|section| section.number).collect();
    searched
        .copied()
        .find(|section| section.number == number)
        .ok_or_else(|| {
            let numbers = numbers.join(", ");
            let error = format!("no section {number} to search for: there are {numbers}");
            RunnerError::Usage(error).into()
        })
}

/// The searches of these methods, or all if none is named.
fn selected(part: &Part, section: &Section, names: &[String]) -> Result<Vec<Search>> {
    let all = part.searches();
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let mut searches = all.iter();
        let found = searches.find(|search| search.kind.name().eq_ignore_ascii_case(name));
        found.copied().ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|search| search.kind.name()).collect();
            let error = format!(
                "section {} has no method {name} to search for: there are {}",
                section.number,
                known.join(", ")
            );
            RunnerError::Usage(error).into()
        })
    };
    names.iter().map(find).collect()
}

/// Adds to `numbers` what the output directory has, or else the store of committed numbers, if that is asked, of searches like it, and
/// gives those of another kind, as at another length: a search leaves the rest as it is.
fn earlier(numbers: &mut Numbers, out: &Path, store: Option<&Path>) -> Result<Vec<Numbers>> {
    let parts = match (reference::read(out)?, store) {
        (Some(parts), _) => parts,
        (None, Some(store)) => {
            let committed = Searched::open(store, &numbers.section)?;
            committed.by_length().to_vec()
        }
        (None, None) => Vec::new(),
    };
    let kind = |of: &Numbers| {
        let data = (of.stand_in, of.other_data.clone());
        (of.preset.clone(), of.length, data)
    };
    let (alike, others): (Vec<_>, Vec<_>) = parts
        .into_iter()
        .partition(|part| kind(part) == kind(numbers));
    numbers.arms = alike.into_iter().flat_map(|part| part.arms).collect();
    Ok(others)
}

/// Adds what was found of a method by varying its knob. Of the values that were not tried this time those stay that have as many
/// runs, on the same data with the same other settings: means of more and of fewer are not ranked together, nor those of another task.
fn take(arms: &mut Vec<ArmNumbers>, found: Vec<ArmNumbers>, knob: Option<Knob>) {
    let knob = knob.map_or("", Knob::name);
    let without_knob = |arm: &ArmNumbers| {
        let settings = arm.settings.iter().filter(|(name, _)| *name != knob);
        settings
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>()
    };
    let replaced = |arm: &ArmNumbers| {
        let mut of_it = found.iter().filter(|other| other.name == arm.name);
        of_it.any(|other| {
            other.settings.get(knob) == arm.settings.get(knob)
                || other.runs.len() != arm.runs.len()
                || without_knob(other) != without_knob(arm)
        })
    };
    arms.retain(|arm| !replaced(arm));
    arms.extend(found);
}

/// The settings of one method on one task.
struct Grid<'d> {
    search: Search,
    /// If any, they are the grid.
    values: &'d [f64],
    workload: Workload<'d>,
    restarts: u64,
    task: TaskName,
}

impl<'d> Grid<'d> {
    /// The settings that are tried in any case.
    fn first(&self) -> Vec<f64> {
        match self.search.from {
            _ if !self.values.is_empty() => {
                let mut values = self.values.to_vec();
                values.sort_by(f64::total_cmp);
                values.dedup();
                values
            }
            None => ALPHAS.to_vec(),
            Some(from) => rates(from, *POWERS.start(), *POWERS.end()),
        }
    }

    /// Tries the grid, and extends a grid of rates until the best is inside; `None` where a part of the runs is computed, and
    /// others are missing.
    fn search(&self, runner: &Runner) -> Result<Option<Vec<ArmNumbers>>> {
        let Some(from) = self.search.from.filter(|_| self.values.is_empty()) else {
            return self.tried(runner, &self.first());
        };
        let (mut low, mut high) = (*POWERS.start(), *POWERS.end());
        loop {
            let rates = rates(from, low, high);
            let Some(tried) = self.tried(runner, &rates)? else {
                return Ok(None);
            };
            let scores: Vec<f64> = tried.iter().map(|arm| mean_score(arm, self.task)).collect();
            match edge(&scores) {
                Edge::None => return Ok(Some(tried)),
                Edge::Low => low -= 1,
                Edge::High => high += 1,
            }
            if low < -LIMIT || high > LIMIT {
                bail!(
                    "the best rate of {} is still at the edge of a grid from {} to {}: name others with --values, and the other \
                     methods with --methods",
                    self.search.kind.name(),
                    rates[0],
                    rates[rates.len() - 1]
                );
            }
        }
    }

    fn tried(&self, runner: &Runner, settings: &[f64]) -> Result<Option<Vec<ArmNumbers>>> {
        let mut planned = Vec::new();
        self.plan(settings, &mut planned)?;
        let Some(results) = runner.try_run(&planned)? else {
            return Ok(None);
        };
        let by_setting = results.chunks(self.restarts as usize);
        let arms = settings.iter().zip(by_setting);
        arms.map(|(&setting, results)| self.arm(setting, results))
            .collect::<Result<_>>()
            .map(Some)
    }

    fn plan(&self, settings: &[f64], planned: &mut Vec<Planned<'d>>) -> Result<()> {
        for &setting in settings {
            for restart in 0..self.restarts {
                let seed = FIRST_SEED + restart;
                planned.push(self.workload.plan(self.method(setting), seed)?);
            }
        }
        Ok(())
    }

    fn method(&self, setting: f64) -> Method {
        Method {
            max_norm: self.search.max_norm,
            ..Method::new(self.search.kind, setting)
        }
    }

    fn arm(&self, setting: f64, results: &[RunResult]) -> Result<ArmNumbers> {
        let kind = self.search.kind;
        let mut settings: Map<String, Value> = self.method(setting).settings()?;
        settings.extend(self.workload.settings());
        Ok(ArmNumbers {
            role: arm(kind.name(), kind).searched().role(),
            settings,
            ..ArmNumbers::measurement(kind.name(), results.iter().map(losses_only).collect())
        })
    }
}

/// What a search keeps of a run: what it is scored by.
fn losses_only(result: &RunResult) -> RunNumbers {
    let mut run = RunNumbers::of(result);
    run.metrics.retain(|name, _| name == "loss");
    run
}

fn rates(from: f64, low: i32, high: i32) -> Vec<f64> {
    (low..=high).map(|k| from * 2f64.powi(k)).collect()
}

/// Where the best of some scores lies.
#[derive(Debug, PartialEq, Eq)]
enum Edge {
    None,
    Low,
    High,
}

/// Of scores in the order of their rates. If all are infinite, lower rates have to be tried.
fn edge(scores: &[f64]) -> Edge {
    let indices = 0..scores.len();
    let best = indices.min_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    match best {
        Some(0) | None => Edge::Low,
        Some(index) if index + 1 == scores.len() => Edge::High,
        Some(_) => Edge::None,
    }
}

fn render(search: Search, tried: &[ArmNumbers], task: TaskName) -> String {
    let knob = search.kind.knob().map_or("", Knob::name);
    let scores = tried.iter().map(|arm| mean_score(arm, task));
    let best = scores.clone().fold(f64::INFINITY, f64::min);
    let mut text = format!("{}\n", search.kind.name());
    for (arm, score) in tried.iter().zip(scores) {
        let setting = arm.settings.get(knob).unwrap_or(&json!(null)).to_string();
        let score = match score.is_finite() {
            true if score == best => format!("10^{score:.3}  best"),
            true => format!("10^{score:.3}"),
            false => "diverged".to_owned(),
        };
        text += &format!("  {knob} {setting:<12} {score}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::searched::tried;

    fn parse(words: &str) -> Arguments {
        let words = ["tune"].into_iter().chain(words.split_whitespace());
        Arguments::try_parse_from(words).unwrap()
    }

    #[test]
    fn a_grid_is_extended_until_the_best_is_inside() {
        assert_eq!(edge(&[-3.0, -2.0, -1.0]), Edge::Low);
        assert_eq!(edge(&[-1.0, -2.0, -3.0]), Edge::High);
        assert_eq!(edge(&[-1.0, -2.0, f64::INFINITY]), Edge::None);
        assert_eq!(edge(&[f64::INFINITY, f64::INFINITY]), Edge::Low);
    }

    #[test]
    fn a_search_finds_a_rate_inside_its_grid_and_computes_nothing_twice() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path();
        let words = format!(
            "--section 3.1 --preset smoke --methods msgd --restarts 1 --reference {0} --out {0}",
            path.display()
        );
        run(&parse(&words)).unwrap();
        let found = Searched::of(reference::read(path).unwrap().unwrap());
        let tried = found.tried(Kind::Momentum);
        let best = found.best(Kind::Momentum).unwrap();
        assert!(tried.len() >= 5 && tried[0].0 < best && best < tried[tried.len() - 1].0);
        let runs = || path.join("runs").read_dir().unwrap().count();
        let before = runs();
        run(&parse(&words)).unwrap();
        assert_eq!(runs(), before);
    }

    #[test]
    fn what_was_tried_on_other_data_or_with_other_settings_goes() {
        let arm = |rate: f64, data: &str| ArmNumbers {
            settings: Map::from_iter([
                ("rate".to_owned(), rate.into()),
                ("data".to_owned(), data.into()),
            ]),
            ..ArmNumbers::measurement("mSGD", Vec::new())
        };
        let mut arms = vec![arm(0.1, "A"), arm(0.2, "A")];
        let rates = |arms: &[ArmNumbers]| -> Vec<f64> {
            arms.iter().filter_map(|arm| arm.setting("rate")).collect()
        };
        take(
            &mut arms,
            vec![arm(0.2, "A"), arm(0.4, "A")],
            Some(Knob::Rate),
        );
        assert_eq!(rates(&arms), [0.1, 0.2, 0.4]);
        take(&mut arms, vec![arm(0.8, "B")], Some(Knob::Rate));
        assert_eq!(rates(&arms), [0.8]);
    }

    #[test]
    fn a_search_leaves_what_others_found() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path();
        let search = |what: &str| {
            let place = path.display();
            run(&parse(&format!(
                "--section 3.1 --preset smoke --reference {place} --out {place} {what}"
            )))
            .unwrap();
            let parts = reference::read(path).unwrap().unwrap();
            let smoke = parts
                .into_iter()
                .find(|part| part.preset == "smoke")
                .unwrap();
            [Kind::Momentum, Kind::Adam].map(|kind| -> Vec<f64> {
                tried(&smoke, kind).iter().map(|(rate, ..)| *rate).collect()
            })
        };
        let [momentum, none] = search("--methods msgd --restarts 1 --values 0.001,0.002");
        assert_eq!((momentum, none.len()), (vec![0.001, 0.002], 0));
        let [momentum, adam] = search("--methods adam --restarts 1 --values 0.001");
        assert_eq!((momentum, adam), (vec![0.001, 0.002], vec![0.001]));
        let [momentum, _] = search("--methods msgd --restarts 1 --values 0.004");
        assert_eq!(momentum, [0.001, 0.002, 0.004], "other settings stay");
        let [momentum, _] = search("--methods msgd --restarts 1 --values 0.004,0.004");
        assert_eq!(momentum, [0.001, 0.002, 0.004], "a value is tried once");
        let [momentum, adam] = search("--methods msgd --values 0.004 --restarts 2");
        assert_eq!(
            (momentum, adam.len()),
            (vec![0.004], 1),
            "with as many runs"
        );
    }

    #[test]
    fn a_divergence_is_called_so_and_never_the_best() {
        let tried = |loss: Option<f64>| {
            let run = RunNumbers {
                diverged_at: loss.is_none().then_some(7),
                summary: Map::from_iter([("final_loss".to_owned(), json!(loss))]),
                ..RunNumbers::default()
            };
            ArmNumbers {
                settings: Map::from_iter([("rate".to_owned(), json!(0.5))]),
                ..ArmNumbers::measurement(Kind::Adam.name(), vec![run])
            }
        };
        let part = &section("3.1").unwrap().parts[0];
        let mut searches = part.searches().into_iter();
        let search = searches.find(|search| search.kind == Kind::Adam).unwrap();
        let text = |arms: &[ArmNumbers]| render(search, arms, TaskName::Regression);
        let some = text(&[tried(Some(0.1)), tried(None)]);
        assert!(
            some.contains("10^-1.000  best") && some.contains("diverged"),
            "{some}"
        );
        assert!(!text(&[tried(None)]).contains("best"));
    }

    #[test]
    fn searches_of_another_kind_stay_apart() {
        let numbers = |preset: &str, stand_in| Numbers {
            section: "3.3".to_owned(),
            preset: preset.to_owned(),
            length: 2,
            stand_in,
            arms: vec![ArmNumbers {
                role: arm("", Kind::Adam).searched().role(),
                ..ArmNumbers::measurement(preset, Vec::new())
            }],
            ..Numbers::default()
        };
        let out = tempfile::tempdir().unwrap();
        reference::write(
            out.path(),
            vec![numbers("smoke", true), numbers("quick", false)],
        )
        .unwrap();
        let mut quick = Numbers {
            arms: Vec::new(),
            ..numbers("quick", false)
        };
        let others = earlier(&mut quick, out.path(), None).unwrap();
        assert_eq!(quick, numbers("quick", false));
        assert_eq!(others, [numbers("smoke", true)]);
        assert!(
            Searched::of(others).by_length().is_empty(),
            "a stand-in tells nothing"
        );
    }

    #[test]
    fn what_a_section_lacks_is_said_with_what_it_has() {
        let error = |words| format!("{:#}", run(&parse(words)).unwrap_err());
        let method = error("--section 3.1 --methods RMSProp");
        assert!(
            method.contains("RMSProp") && method.contains("mSGD, Adam"),
            "{method}"
        );
        assert!(error("--section 3.6").contains("3.1, 3.2"));
    }
}
