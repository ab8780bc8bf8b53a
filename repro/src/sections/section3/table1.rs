//! Table 1, the best settings, and how the final loss depends on them: from the committed searches.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::judge::words::{list, number};
use crate::methods::{Kind, Knob};
use crate::numbers::Numbers;
use crate::report::Report;
use crate::results::{
    Axes, Axis, Cell, CellOfRuns, Column, Entry, Figure, Header, Measured, Series, Style, Table,
};
use crate::searched::{RULE, Searched, knob_in_words, score, tried};
use crate::sections::{self, Section, Task};

/// The searched methods of Table 1, in its order.
const METHODS: [Kind; 4] = [Kind::Momentum, Kind::Adam, Kind::L4Adam, Kind::L4Mom];

/// A section's search.
pub struct TaskSearch {
    section: &'static Section,
    searched: Searched,
}

/// What is committed of the searches on the tasks of sections 3.1 to 3.5.
///
/// # Errors
/// If a file is damaged.
pub fn searches(root: &Path) -> Result<Vec<TaskSearch>> {
    sections::searched()
        .iter()
        .map(|section| {
            Ok(TaskSearch {
                section,
                searched: Searched::open(root, section.number)?,
            })
        })
        .collect()
}

/// The rule of the searches, for the protocol.
#[must_use]
pub fn search_rule() -> Map<String, Value> {
    Map::from_iter([("rule".to_owned(), json!(RULE))])
}

impl TaskSearch {
    /// Of which methods the search was a reduced one, or not all of it at the length that decided.
    pub fn reduced(&self) -> Vec<String> {
        let task = self.task().name();
        let reduced = |kind: Kind| {
            let found = self.searched.how_found(kind);
            found.map(move |how| format!("The setting of {} on {task} is {how}.", kind.name()))
        };
        METHODS.into_iter().flat_map(reduced).collect()
    }

    /// Which of the best settings are at an end of what was tried.
    pub fn edges(&self) -> Vec<String> {
        let edge = |kind: Kind| {
            let (best, end) = self.searched.best_at_an_end(kind)?;
            let (name, knob, task) = (kind.name(), knob_in_words(kind), self.task().name());
            Some(format!(
                "The best {knob} of {name} on {task}, {best}, is the {end} that was tried to the end of a run."
            ))
        };
        METHODS.into_iter().filter_map(edge).collect()
    }

    /// After what the losses in its row of Table 1 are, where that is not the same for all methods, in words as `"on MNIST those of mSGD
    /// and Adam after 30 epochs and those of L4Adam after 10 epochs"`.
    fn lengths(&self) -> Option<String> {
        let mut by_length: IndexMap<String, Vec<&str>> = IndexMap::new();
        for kind in METHODS {
            if let Some((numbers, _)) = self.searched.deciding(kind) {
                let length = format!("{} {}", numbers.length, numbers.unit);
                by_length.entry(length).or_default().push(kind.name());
            }
        }
        let those = by_length
            .iter()
            .map(|(length, kinds)| format!("those of {} after {length}", list(kinds)));
        let those: Vec<String> = those.collect();
        (those.len() > 1).then(|| format!("on {} {}", self.task().name(), list(&those)))
    }

    fn task(&self) -> Task {
        self.section.parts[0].task
    }

    fn architecture(&self) -> &'static str {
        match self.section.number {
            "3.1" => "2-layer linear network",
            "3.2" => "3-layer perceptron",
            "3.3" => "ResNet-32",
            "3.4" => "DNC",
            _ => "ConvNet",
        }
    }

    fn batch(&self) -> Option<u64> {
        match self.task() {
            Task::Regression => None,
            Task::Images { batch, .. } | Task::RepeatCopy { batch } => Some(batch as u64),
        }
    }

    /// What the paper's Table 1 has of the methods on this task.
    fn published_settings(&self) -> Map<String, Value> {
        let settings = METHODS.into_iter().map(|kind| {
            let setting = self.section.published(kind);
            (kind.name().to_owned(), json!(setting))
        });
        settings.collect()
    }

    /// The task's row: the best setting of each method that was searched, and the losses there.
    fn row(&self) -> IndexMap<String, Entry> {
        let mut row: IndexMap<String, Entry> = IndexMap::new();
        row.insert("data_set".to_owned(), self.task().name().name().into());
        row.insert("architecture".to_owned(), self.architecture().into());
        if let Some(batch) = self.batch() {
            row.insert("batch".to_owned(), batch.into());
        }
        for kind in METHODS {
            let name = kind.name();
            let Some(best) = self.searched.best(kind) else {
                continue;
            };
            row.insert(format!("best_{name}"), best.into());
            if let Some(losses) = self.losses(kind, best) {
                row.insert(format!("loss_{name}"), losses.into());
            }
        }
        row
    }

    /// The scores, as losses, of a setting's runs at the length that decides.
    fn losses(&self, kind: Kind, setting: f64) -> Option<Cell> {
        let (_, tried) = self.searched.deciding(kind)?;
        let (_, arm, _) = tried.iter().find(|(tried, _, _)| *tried == setting)?;
        let runs = arm.runs.iter().map(|run| {
            let measured = match run.diverged_at {
                Some(step) => Measured::Diverged(step),
                None => Measured::Value(10_f64.powf(score(run, self.task().name()))),
            };
            (run.seed, measured)
        });
        Some(Cell::from_runs(runs))
    }
}

/// Table 1: a row a task, with what the searches found and the losses there.
#[must_use]
pub fn table1(searches: &[TaskSearch], report: &Report) -> Table {
    let published = searches.iter().map(|search| {
        let settings = search.published_settings();
        (search.task().name().to_string(), Value::Object(settings))
    });
    let lengths = searches.iter().filter_map(TaskSearch::lengths);
    let lengths = lengths.map(|those| format!("; {those}, which do not compare"));
    let title = format!(
        "The settings of the methods that did best in our searches, each with its loss there: the final training loss (mean over the last \
         tenth of the run), on the DNC the geometric mean over the run, cut at the floor of its clipped logits; mean and standard \
         deviation over the seeds, whose geometric mean decided (see the searches){}",
        lengths.collect::<String>()
    );
    Table {
        header: Header {
            paper: Some(json!({"best settings": published.collect::<Map<_, _>>()})),
            ..report.header("table1", &title)
        },
        columns: columns(),
        rows: searches.iter().map(TaskSearch::row).collect(),
    }
}

fn columns() -> Vec<Column> {
    let task = [
        Column::new("data_set", "Data set"),
        Column::new("architecture", "Architecture"),
        Column::new("batch", "Batch"),
    ];
    let found = METHODS.into_iter().flat_map(|kind| {
        let name = kind.name();
        let knob = knob_in_words(kind);
        [
            Column::new(&format!("best_{name}"), &format!("Best {knob} of {name}")),
            Column::new(&format!("loss_{name}"), &format!("Loss of {name} there")),
        ]
    });
    task.into_iter().chain(found).collect()
}

/// What the searches tried: a row a task, method and length of a run, which is what a best setting rests on.
#[must_use]
pub fn searched(searches: &[TaskSearch], report: &Report) -> Table {
    let columns = vec![
        Column::new("data_set", "Data set"),
        Column::new("method", "Method"),
        Column::new("tried", "Rates, or α, and the losses there"),
        Column::new("length", "Length of a run"),
        Column::new("seeds", "Seeds"),
        Column::new("commit", "Commit"),
    ];
    let mut rows = Vec::new();
    for search in searches {
        for numbers in search.searched.by_length() {
            let made = Kind::ALL
                .iter()
                .filter_map(|kind| row_of_search(numbers, *kind));
            rows.extend(made);
        }
    }
    let title = "The searches: each setting with the geometric mean of its losses over the seeds, which no section uses; the measure is that of \
                 Table 1";
    Table {
        header: report.header("searches", title),
        columns,
        rows,
    }
}

fn row_of_search(numbers: &Numbers, kind: Kind) -> Option<IndexMap<String, Entry>> {
    let tried = tried(numbers, kind);
    let runs = || tried.iter().flat_map(|(_, arm, _)| &arm.runs);
    runs().next()?;
    let listed: Vec<String> = tried
        .iter()
        .map(|(setting, _, score)| match score.is_finite() {
            true => format!("{setting}: {}", number(10_f64.powf(*score))),
            false => format!("{setting}: diverged"),
        })
        .collect();
    let seeds: BTreeSet<String> = runs().map(|run| run.seed.to_string()).collect();
    let commits: BTreeSet<&str> = runs()
        .map(|run| run.git_commit.get(..10).unwrap_or(&run.git_commit))
        .collect();
    let seeds: Vec<String> = seeds.into_iter().collect();
    let commits: Vec<&str> = commits.into_iter().collect();
    let length = format!("{} {}", numbers.length, numbers.unit);
    let row = [
        ("data_set", numbers.task.name()),
        ("method", kind.name()),
        ("tried", &listed.join("; ")),
        ("length", &length),
        ("seeds", &seeds.join(", ")),
        ("commit", &commits.join(", ")),
    ];
    Some(
        row.into_iter()
            .map(|(key, text)| (key.to_owned(), text.into()))
            .collect(),
    )
}

/// Loss against rate and against α, a panel each for every task that has been searched; `None` if none has.
#[must_use]
pub fn sensitivity(searches: &[TaskSearch], report: &Report) -> Option<Figure> {
    let (mut axes, mut series) = (Vec::new(), Vec::new());
    for search in searches {
        for knob in [Knob::Rate, Knob::Alpha] {
            let letter = char::from(b'a' + axes.len() as u8).to_string();
            let curves: Vec<Series> = Kind::ALL
                .iter()
                .filter(|kind| kind.knob() == Some(knob))
                .filter_map(|&kind| curve(search, kind, &letter))
                .collect();
            if curves.is_empty() {
                continue;
            }
            series.extend(curves);
            let (name, x) = match knob {
                Knob::Rate => ("constant rate", Axis::log("learning rate")),
                Knob::Alpha => ("α of L4", Axis::linear("α")),
            };
            axes.push(Axes {
                panel: letter,
                title: format!("{}: {name}", search.task().name()),
                x,
                y: Axis::log("loss"),
            });
        }
    }
    let title = "How the loss depends on the one setting of each method: geometric mean and range over the restarts; the final training \
                 loss, on the DNC the geometric mean over the run; where settings were tried in runs of several lengths, at the length of most \
                 of them. Lines mark the published rates and L4's default α; rings, settings at which a run diverged";
    (!series.is_empty()).then(|| Figure {
        header: report.header("figure_sensitivity", title),
        axes,
        series,
    })
}

fn curve(search: &TaskSearch, kind: Kind, letter: &str) -> Option<Series> {
    let tried = search.searched.tried(kind);
    let restarts = tried.first()?.1.runs.len();
    let mut series = Series::computed(letter, kind.name(), Style::Markers, &[]);
    series.n = restarts;
    series.band = crate::results::BandKind::Range;
    for (setting, arm, mean) in tried {
        if !mean.is_finite() {
            series.infinite.push(setting);
            continue;
        }
        let scores = arm.runs.iter().map(|run| score(run, search.task().name()));
        let (low, high) = crate::stats::range(&scores.collect::<Vec<_>>())?;
        series.x.push(setting);
        series.mean.push(10_f64.powf(mean));
        series.low.push(10_f64.powf(low));
        series.high.push(10_f64.powf(high));
    }
    let default =
        crate::methods::Method::default_alpha(kind).map(|alpha| (alpha, "default α".to_owned()));
    let published = search
        .section
        .published(kind)
        .map(|rate| (rate, format!("published rate of {}", kind.name())));
    Some(match default.or(published) {
        Some((x, text)) => series.marked(x, &text),
        None => series,
    })
}
