//! Grid searches for the constant rates of a section's baselines: what the paper calls their best rates.
//!
//! `tune` runs every rate of a grid around Table 1's with several seeds and writes every score. A section takes part by a
//! function that makes its `Task`, and an arm in `search`.

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use datasets::{Dataset, ImageDataset};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::cli::{Execution, Preset};
use crate::data::{self, DataOptions};
use crate::experiments::images::{self, Network, Setting};
use crate::experiments::{dnc, section3_1, section3_2, section3_4};
use crate::methods::{ADAM, M_SGD, Method, RMS_PROP, SGD};
use crate::provenance::DataSet;
use crate::report::Report;
use crate::results::{Column, Entry, Header, Protocol, Table};
use crate::runner::{Planned, Runner};
use crate::search::{Baseline, FIRST_SEED, Origin, RateGrid, Search};

/// Searches a grid of constant learning rates for each baseline of a section, with restarts.
///
/// Every score goes to search.json: the mean training loss at the end of each run. The best rate is the one with the
/// lowest mean over the restarts. The seeds are not those of the sections' own runs.
///
/// Ctrl-C keeps every run's last step; the same command again resumes. With other options it keeps the runs that still
/// apply.
#[derive(Parser, Clone, Debug)]
#[command(name = "tune", version)]
pub struct Arguments {
    /// Section of the paper whose task is trained on
    #[arg(long, value_parser = ["3.1", "3.2", "3.4"])]
    section: String,

    /// How long each run is, as smoke, quick and paper: on 3.1 300, 10,000 and 30,000 steps; on 3.2 1 epoch of synthetic
    /// data, 3 and 30 epochs of MNIST; on 3.4 250, 3,000 and 40,000 steps
    #[arg(long, default_value = "quick", value_parser = preset())]
    preset: Preset,

    /// Methods whose rate is searched for, separated by commas [default: all baselines of the section]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', ignore_case = true, value_parser = [M_SGD, ADAM, SGD, RMS_PROP])]
    methods: Vec<String>,

    /// Rates to try with each method, separated by commas [default: powers of two times Table 1's rate, or for RMSProp its repository's]
    #[arg(long, value_name = "RATES", value_delimiter = ',', value_parser = rate)]
    rates: Vec<f64>,

    /// Runs for each rate, with seeds of their own [default: 3, or 1 for smoke and quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    restarts: Option<u64>,

    #[command(flatten)]
    data: DataOptions,

    #[command(flatten)]
    execution: Execution,
}

/// The presets of a search.
fn preset() -> impl TypedValueParser<Value = Preset> {
    let presets = [Preset::Smoke, Preset::Quick, Preset::Paper];
    let names = PossibleValuesParser::new(presets.map(Preset::name));
    names.try_map(|name| Preset::from_str(&name, false))
}

fn rate(word: &str) -> Result<f64, String> {
    let rate: f64 = word.parse().map_err(|_| "expected a number".to_owned())?;
    if rate > 0.0 && rate.is_finite() {
        Ok(rate)
    } else {
        Err("expected a number above 0".to_owned())
    }
}

type Plan<'d> = dyn Fn(&'static str, Method, u64) -> Planned<'d> + 'd;

/// What rates are searched for on.
struct Task<'d> {
    baselines: &'static [Baseline],
    /// The run of a method with a seed; its summary holds `final_loss`.
    plan: Box<Plan<'d>>,
    /// Steps, epochs, batch: what results say of a run's length.
    protocol: Protocol,
    deviations: Vec<String>,
    data: DataSet,
}

/// Section 3.1: the regression task at the paper's size, for as long as the section runs it.
fn regression(preset: Preset) -> anyhow::Result<Task<'static>> {
    let size = section3_1::SECTION
        .size(preset)
        .context("section 3.1 has no such preset")?;
    let steps = size.length;
    Ok(Task {
        baselines: section3_1::BASELINES,
        plan: Box::new(move |name, method, seed| {
            section3_1::plan_first_order(name, method, seed, steps, 100)
        }),
        protocol: Protocol {
            steps: Some(steps),
            ..Protocol::default()
        },
        deviations: Vec::new(),
        data: DataSet::generated("badly conditioned regression, drawn anew for each seed"),
    })
}

/// Section 3.2: MNIST.
fn mnist<'d>(arguments: &Arguments, data: &'d ImageDataset) -> Task<'d> {
    let epochs = match arguments.preset {
        Preset::Smoke => 1,
        Preset::Quick => 3,
        Preset::Reduced | Preset::Paper => section3_2::EPOCHS,
    };
    let setting = Setting::new(data, Network::Mlp, section3_2::BATCH, epochs);
    Task {
        baselines: section3_2::BASELINES,
        plan: Box::new(move |name, method, seed| {
            setting.plan(section3_2::SECTION.number, name, method, seed)
        }),
        protocol: Protocol {
            epochs: Some(epochs),
            batch: Some(setting.batch as u64),
            ..Protocol::default()
        },
        deviations: images::deviations(data, &arguments.data),
        data: data::provenance(data),
    }
}

/// Section 3.4: the DNC on repeat-copy.
fn repeat_copy(preset: Preset) -> Task<'static> {
    let setting = dnc::Setting {
        batch: dnc::BATCH,
        steps: match preset {
            Preset::Smoke => 250,
            Preset::Quick => 3_000,
            Preset::Reduced | Preset::Paper => section3_4::STEPS,
        },
    };
    Task {
        baselines: section3_4::BASELINES,
        plan: Box::new(move |name, method, seed| {
            setting.plan(section3_4::SECTION.number, name, method, seed)
        }),
        protocol: Protocol {
            steps: Some(setting.steps),
            batch: Some(setting.batch as u64),
            ..Protocol::default()
        },
        deviations: Vec::new(),
        data: dnc::data(),
    }
}

/// Searches as the command line says, writes `search.json` and prints it as a table.
///
/// # Errors
/// If the section has no such method, the data cannot be had, a run fails or the file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    search(arguments)?.print()
}

fn search(arguments: &Arguments) -> anyhow::Result<Report> {
    let preset = arguments.preset;
    match arguments.section.as_str() {
        "3.2" => {
            let data = data::load(Dataset::Mnist, preset, &arguments.data)?;
            search_on(mnist(arguments, &data), "3.2", arguments)
        }
        "3.4" => search_on(repeat_copy(preset), "3.4", arguments),
        _ => search_on(regression(preset)?, "3.1", arguments),
    }
}

fn search_on(task: Task<'_>, section: &str, arguments: &Arguments) -> anyhow::Result<Report> {
    let restarts = arguments.restarts.unwrap_or(match arguments.preset {
        Preset::Paper => 3,
        _ => 1,
    });
    let baselines = selected(task.baselines, &arguments.methods)
        .with_context(|| format!("section {section} has no such method"))?;
    let directory = format!("tune/section{}", section.replace('.', "_"));
    let runner = Runner::open(arguments.execution.runner_options(directory))?;
    let mut searches: Searches = IndexMap::new();
    for baseline in baselines {
        let rates = match arguments.rates.as_slice() {
            [] => baseline.rates(),
            rates => rates.to_vec(),
        };
        let search = RateGrid::new(rates, restarts).search(&runner, |rate, seed| {
            (task.plan)(baseline.name, (baseline.method)(rate), seed)
        })?;
        searches.insert(baseline.name, (baseline, search));
    }
    let protocol = Protocol {
        preset: arguments.preset.name().to_owned(),
        seeds: (FIRST_SEED..FIRST_SEED + restarts).collect(),
        hyperparameters: searches
            .iter()
            .map(|(name, searched)| ((*name).to_owned(), hyperparameters(searched)))
            .collect(),
        search: searches
            .iter()
            .map(|(name, (_, search))| ((*name).to_owned(), search.to_json()))
            .collect(),
        ..task.protocol
    };
    let mut report = Report::new(&runner, section, protocol, task.deviations, task.data);
    let title = format!("Grid search for constant rates, section {section}");
    let header = Header {
        paper: Some(json!({"best_rates": paper_rates(&searches)})),
        ..report.header("search", &title)
    };
    report.table(&scores(header, &searches))?;
    Ok(report)
}

/// The searches, by method.
type Searches = IndexMap<&'static str, (&'static Baseline, Search)>;

/// The baselines of these names, or all if none is named; none if the section lacks one.
fn selected(baselines: &'static [Baseline], names: &[String]) -> Option<Vec<&'static Baseline>> {
    let find = |name: &String| {
        baselines
            .iter()
            .find(|baseline| baseline.name.eq_ignore_ascii_case(name))
    };
    match names {
        [] => Some(baselines.iter().collect()),
        names => names.iter().map(find).collect(),
    }
}

/// A method's settings, with all the rates that were tried.
fn hyperparameters((baseline, search): &(&Baseline, Search)) -> Map<String, Value> {
    let mut settings = (baseline.method)(baseline.rate).hyperparameters();
    let rates: Vec<f64> = search.scores().map(|(rate, _)| rate).collect();
    settings.insert("rate".to_owned(), json!(rates));
    settings
}

fn paper_rates(searches: &Searches) -> Map<String, Value> {
    let of_paper = |(baseline, _): &&(&Baseline, Search)| baseline.origin == Origin::Paper;
    searches
        .values()
        .filter(of_paper)
        .map(|(baseline, _)| (baseline.name.to_owned(), json!(baseline.rate)))
        .collect()
}

/// A row for each method and rate.
fn scores(header: Header, searches: &Searches) -> Table {
    let columns = vec![
        Column::new("method", "Method"),
        Column::new("rate", "Rate"),
        Column::new("final_loss", "Final training loss"),
        Column::new("note", ""),
    ];
    let rows = searches.values().flat_map(|(baseline, search)| {
        search.scores().map(|(rate, cell)| {
            let mut notes = Vec::new();
            if rate == search.best() {
                notes.push(if search.at_edge() {
                    "best, at the edge"
                } else {
                    "best"
                });
            }
            if rate == baseline.rate {
                notes.push(match baseline.origin {
                    Origin::Paper => "the paper's",
                    Origin::Repository => "the repository's",
                });
            }
            IndexMap::from([
                ("method".to_owned(), Entry::from(baseline.name)),
                ("rate".to_owned(), rate.into()),
                ("final_loss".to_owned(), cell.clone().into()),
                ("note".to_owned(), notes.join("; ").as_str().into()),
            ])
        })
    });
    Table {
        rows: rows.collect(),
        header,
        columns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["tune"].into_iter().chain(words.split_whitespace()))
    }

    #[test]
    fn the_default_grid_holds_the_papers_rate_exactly() {
        for baseline in [
            section3_1::BASELINES,
            section3_2::BASELINES,
            section3_4::BASELINES,
        ]
        .concat()
        {
            let rates = baseline.rates();
            assert!(rates.contains(&baseline.rate), "{}", baseline.name);
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for words in [
            "",
            "--section 9.9",
            "--section 3.1 --rates 0.1,-1",
            "--section 3.1 --rates inf",
            "--section 3.1 --restarts 0",
            "--section 3.2 --methods L4Adam",
        ] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words}");
        }
    }

    #[test]
    fn a_search_is_written_with_every_score_and_is_not_computed_twice() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        let words = format!(
            "--section 3.1 --preset smoke --methods msgd --rates 1e-4,1e3 --restarts 2 --out {}",
            out.display()
        );
        let arguments = parse(&words).unwrap();
        let read = || -> Table {
            search(&arguments).unwrap();
            serde_json::from_slice(&std::fs::read(out.join("search.json")).unwrap()).unwrap()
        };
        let first = read();
        let search = &first.header.protocol.search[M_SGD];
        assert_eq!(search["best"], 1e-4);
        // At the second rate both restarts diverge, which is a score too.
        let diverged = search["scores"][1]["final_loss"]["diverged"].as_array();
        assert_eq!(diverged.map(Vec::len), Some(2));
        assert_eq!(first.rows, read().rows);
        let runs = out.join("runs").read_dir().unwrap().count();
        assert_eq!(runs, 4);
    }

    #[test]
    fn a_method_that_the_section_lacks_is_an_error() {
        let arguments = parse("--section 3.1 --methods SGD").unwrap();
        let error = search(&arguments).err().unwrap();
        assert!(error.to_string().contains("no such method"), "{error}");
    }
}
