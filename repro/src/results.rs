//! The files that a section writes: tables, figures, claims. `repro/schema/results.schema.json` describes them for other
//! programs.
//!
//! A number in them is finite. [`write()`] refuses NaN and infinities, and JSON's null appears in two places only: the
//! `mean` of a [`Cell`] without values and the `std` of a cell with fewer than two. A run that diverged or did not reach
//! what is measured is listed by its seed, never left out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::files::{self, Durability, FileError};
use crate::engine::json;
use crate::engine::provenance::Provenance;
use crate::engine::run::RunResult;
use crate::stats::{self, Curve, GridError, Spread};

/// What every file says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The name of the file without `.json`, as `"figure2"`.
    pub id: String,
    /// What the paper calls it.
    pub title: String,
    /// The section of the paper, as `"3.1"`.
    pub section: String,
    /// What was run.
    pub protocol: Protocol,
    /// How that departs from the paper, a sentence each.
    pub deviations: Vec<String>,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// What the paper states, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<Value>,
}

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The [`Preset`](crate::cli::Preset)'s name.
    pub preset: String,
    /// The seeds of each method's runs.
    pub seeds: Vec<u64>,
    /// Length of a run in steps. A run has at least one of `steps`, `epochs` and `examples`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Length of a run in passes over the training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Length of a run in examples that a task generates, less those that do not fill a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Examples in a minibatch; absent where all examples are used at once, or where it differs by method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Every hyperparameter, by method.
    pub hyperparameters: IndexMap<String, Map<String, Value>>,
    /// How hyperparameters were searched for: the grid and the scores, by method.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub search: Map<String, Value>,
}

/// A table of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The columns, from left to right.
    pub columns: Vec<Column>,
    /// The rows; each has entries under the keys of some or all columns.
    pub rows: Vec<IndexMap<String, Entry>>,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The key of its entries in the rows.
    pub key: String,
    /// Its heading.
    pub title: String,
    /// The unit of its numbers, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Column {
    /// A column of numbers without a unit, or of text.
    pub fn new(key: &str, title: &str) -> Self {
        Self {
            key: key.to_owned(),
            title: title.to_owned(),
            unit: None,
        }
    }

    /// A column of numbers with a unit.
    pub fn with_unit(key: &str, title: &str, unit: &str) -> Self {
        Self {
            unit: Some(unit.to_owned()),
            ..Self::new(key, title)
        }
    }
}

/// What stands in a row under a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A name.
    Text(String),
    /// A count or size.
    Integer(u64),
    /// A number that was not measured over several runs.
    Number(f64),
    /// What several runs measured.
    Cell(Cell),
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Entry::Text(text.to_owned())
    }
}

impl From<u64> for Entry {
    fn from(value: u64) -> Self {
        Entry::Integer(value)
    }
}

impl From<f64> for Entry {
    fn from(value: f64) -> Self {
        Entry::Number(value)
    }
}

impl From<Cell> for Entry {
    fn from(cell: Cell) -> Self {
        Entry::Cell(cell)
    }
}

/// What several runs measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Mean of the values; null without any.
    pub mean: Option<f64>,
    /// Their sample standard deviation; null for fewer than two.
    pub std: Option<f64>,
    /// Their number.
    pub n: usize,
    /// The values, in the order of the seeds.
    pub values: Vec<f64>,
    /// Runs that diverged, and so have no value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<Divergence>,
    /// Seeds of the runs that ended well but did not reach what is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<u64>,
}

/// A run that left the finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Its seed.
    pub seed: u64,
    /// The step at which it did.
    pub step: u64,
}

/// What a run contributes to a [`Cell`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// A value, which is finite.
    Value(f64),
    /// None, as the run diverged at this step.
    Diverged(u64),
    /// None, though the run ended well.
    NotReached,
}

impl Cell {
    /// From what each run measured, with its seed.
    pub fn from_runs(runs: impl IntoIterator<Item = (u64, Measured)>) -> Self {
        let mut cell = Cell::default();
        for (seed, measured) in runs {
            match measured {
                Measured::Value(value) => cell.values.push(value),
                Measured::Diverged(step) => cell.diverged.push(Divergence { seed, step }),
                Measured::NotReached => cell.not_reached.push(seed),
            }
        }
        cell.n = cell.values.len();
        cell.mean = stats::mean(&cell.values);
        cell.std = stats::sample_std(&cell.values);
        cell
    }

    /// From results. `measure` answers `None` where a run did not get to what is measured; whatever a run got to before it
    /// diverged counts.
    pub fn over<'a>(
        results: impl IntoIterator<Item = &'a RunResult>,
        measure: impl Fn(&RunResult) -> Option<f64>,
    ) -> Self {
        Self::from_runs(results.into_iter().map(|result| {
            let measured = match (measure(result), result.diverged_at()) {
                (Some(value), _) => Measured::Value(value),
                (None, Some(step)) => Measured::Diverged(step),
                (None, None) => Measured::NotReached,
            };
            (result.spec.seed, measured)
        }))
    }

    /// The training losses at the end.
    pub fn final_losses<'a>(results: impl IntoIterator<Item = &'a RunResult>) -> Self {
        Self::over(results, RunResult::final_loss)
    }

    /// The mean, for comparing what should be low: infinite if a run diverged or there is no value.
    #[must_use]
    pub fn height(&self) -> f64 {
        match self.mean {
            Some(mean) if self.diverged.is_empty() => mean,
            _ => f64::INFINITY,
        }
    }
}

/// A figure of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The panels.
    pub axes: Vec<Axes>,
    /// The curves, panel by panel.
    pub series: Vec<Series>,
}

/// A panel of a [`Figure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// Its letter, as `"a"`.
    pub panel: String,
    /// Its title.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
}

/// An axis of a panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it shows, with the unit if there is one.
    pub name: String,
    /// How.
    pub scale: Scale,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
}

impl Axis {
    /// An axis divided evenly.
    pub fn linear(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scale: Scale::Linear,
        }
    }

    /// An axis divided by powers of ten.
    pub fn log(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scale: Scale::Log,
        }
    }
}

/// A curve with a band around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The panel it belongs to.
    pub panel: String,
    /// The method, as in the paper's legend.
    pub method: String,
    /// Positions on the horizontal axis.
    pub x: Vec<f64>,
    /// Mean over the runs that got there.
    pub mean: Vec<f64>,
    /// Lower edge of the band.
    pub low: Vec<f64>,
    /// Upper edge of the band.
    pub high: Vec<f64>,
    /// Runs, with those that diverged.
    pub n: usize,
    /// What the band shows.
    pub band: BandKind,
    /// Runs that diverged: they count up to there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<Divergence>,
}

/// What the band of a [`Series`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BandKind {
    /// From the least to the greatest run.
    #[serde(rename = "range")]
    Range,
    /// One sample standard deviation to each side.
    #[serde(rename = "std")]
    Std,
    /// From the least to the greatest value within the few steps that a point stands for.
    #[serde(rename = "short-term range")]
    ShortTermRange,
}

impl Series {
    /// Mean and spread over runs.
    ///
    /// # Errors
    /// If the curves are not on one grid.
    pub fn over(
        panel: &str,
        method: &str,
        curves: &[Curve],
        spread: Spread,
    ) -> Result<Self, GridError> {
        let stats::Band { x, mean, low, high } = stats::band(curves, spread)?;
        let diverged = curves.iter().filter_map(|curve| {
            let step = curve.diverged?;
            Some(Divergence {
                seed: curve.seed,
                step,
            })
        });
        let band = match spread {
            Spread::Range => BandKind::Range,
            Spread::Std => BandKind::Std,
        };
        Ok(Self {
            panel: panel.to_owned(),
            method: method.to_owned(),
            x,
            mean,
            low,
            high,
            n: curves.len(),
            band,
            diverged: diverged.collect(),
        })
    }

    /// One run, point by point what a few steps amount to: a middle value, and the least and greatest.
    #[must_use]
    pub fn short_term(panel: &str, method: &str, [middle, low, high]: [Curve; 3]) -> Self {
        let seed = middle.seed;
        let diverged = middle.diverged.map(|step| Divergence { seed, step });
        Self {
            panel: panel.to_owned(),
            method: method.to_owned(),
            x: middle.x,
            mean: middle.y,
            low: low.y,
            high: high.y,
            n: 1,
            band: BandKind::ShortTermRange,
            diverged: diverged.into_iter().collect(),
        }
    }
}

impl Curve {
    /// A metric over the steps of a run; empty if the run never logged it.
    #[must_use]
    pub fn of(result: &RunResult, metric: &str) -> Self {
        let column = result.metrics.get(metric).cloned().unwrap_or_default();
        Self {
            seed: result.spec.seed,
            x: column.steps.iter().map(|&step| step as f64).collect(),
            y: column.values,
            diverged: result.diverged_at(),
        }
    }

    /// The same over another measure of progress, as epochs.
    #[must_use]
    pub fn over(mut self, x_of_step: impl Fn(f64) -> f64) -> Self {
        self.x.iter_mut().for_each(|x| *x = x_of_step(*x));
        self
    }
}

/// What became of the paper's claims: `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The claims that this section tests.
    pub claims: Vec<Claim>,
}

/// A claim of the paper, tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its number in the project's list, as `"C3"`.
    pub id: String,
    /// What the paper says.
    pub claim: String,
    /// Whether that was found here.
    pub verdict: Verdict,
    /// Why that verdict, in words.
    pub evidence: String,
    /// The numbers that the verdict rests on.
    pub measured: Map<String, Value>,
}

/// Whether a claim was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It holds here.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// A part of it holds here.
    #[serde(rename = "partly")]
    Partly,
    /// It does not hold here.
    #[serde(rename = "not reproduced")]
    NotReproduced,
}

/// A [`Table`], a [`Figure`] or [`Claims`].
pub trait ResultFile: Serialize {
    /// What the file says first.
    fn header(&self) -> &Header;

    /// What is inconsistent in it, if anything.
    fn defect(&self) -> Option<String>;
}

impl ResultFile for Table {
    fn header(&self) -> &Header {
        &self.header
    }

    fn defect(&self) -> Option<String> {
        let keys: HashSet<_> = self.columns.iter().map(|column| &column.key).collect();
        self.rows.iter().enumerate().find_map(|(index, row)| {
            let stray = row.keys().find(|key| !keys.contains(key))?;
            Some(format!("row {index} has `{stray}`, which is no column"))
        })
    }
}

impl ResultFile for Figure {
    fn header(&self) -> &Header {
        &self.header
    }

    fn defect(&self) -> Option<String> {
        self.series.iter().find_map(|series| {
            let Series { panel, method, x, mean, low, high, .. } = series;
            if !self.axes.iter().any(|axes| axes.panel == *panel) {
                return Some(format!("the series {method} is in panel `{panel}`, which has no axes"));
            }
            let lengths = [x.len(), mean.len(), low.len(), high.len()];
            let uneven = lengths.iter().any(|length| *length != lengths[0]);
            uneven.then(|| format!("the series {method} in panel {panel} has x, mean, low, high of {lengths:?} points"))
        })
    }
}

impl ResultFile for Claims {
    fn header(&self) -> &Header {
        &self.header
    }

    fn defect(&self) -> Option<String> {
        None
    }
}

/// A result that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It contradicts itself, or a number in it is not finite. An error of the section's author.
    #[error("{id}.json would be wrong and was not written: {defect}")]
    Defect {
        /// Which file.
        id: String,
        /// What is wrong.
        defect: String,
    },
}

/// Writes `<id>.json` into a directory and returns its path. The file is there as a whole or, on an error, as it was.
///
/// # Errors
/// If the system refuses, or the result contradicts itself or holds a number that is not finite.
pub fn write(directory: &Path, file: &impl ResultFile) -> Result<PathBuf, WriteError> {
    let id = &file.header().id;
    let wrong = |defect| WriteError::Defect {
        id: id.clone(),
        defect,
    };
    let value = serde_json::to_value(file).map_err(|error| wrong(error.to_string()))?;
    let null = value.as_object().and_then(json::find_null);
    let null = null.map(|pointer| format!("the number at {pointer} is missing or not finite"));
    if let Some(defect) = file.defect().or(null) {
        return Err(wrong(defect));
    }
    let path = directory.join(format!("{id}.json"));
    files::write(&path, json::pretty(&value).as_bytes(), Durability::Power)?;
    Ok(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    use crate::engine::provenance::DataSet;

    pub(crate) fn header(id: &str) -> Header {
        let data = DataSet::generated("regression, condition 1e5");
        Header {
            id: id.to_owned(),
            title: "A title".to_owned(),
            section: "3.1".to_owned(),
            protocol: Protocol {
                preset: "paper".to_owned(),
                steps: Some(100),
                ..Protocol::default()
            },
            deviations: Vec::new(),
            provenance: crate::engine::provenance::of_this_program("avx2", std::time::UNIX_EPOCH, data),
            paper: None,
        }
    }

    fn figure(mean: f64) -> Figure {
        let (x, y) = (Axis::linear("step"), Axis::log("loss"));
        let curve = |seed, y: f64| Curve {
            seed,
            x: vec![1.0],
            y: vec![y],
            diverged: None,
        };
        let curves = [curve(0, mean), curve(1, mean)];
        let series = vec![Series::over("a", "mSGD", &curves, Spread::Range).unwrap()];
        let axes = vec![Axes {
            panel: "a".into(),
            title: "Loss".into(),
            x,
            y,
        }];
        Figure {
            header: header("figure2"),
            axes,
            series,
        }
    }

    fn refusal(file: &impl ResultFile) -> String {
        let directory = tempfile::tempdir().unwrap();
        let error = write(directory.path(), file).unwrap_err();
        assert_eq!(
            directory.path().read_dir().unwrap().count(),
            0,
            "nothing is written"
        );
        error.to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let figure = figure(0.1);
        let path = write(directory.path(), &figure).unwrap();
        assert_eq!(path, directory.path().join("figure2.json"));
        let text = std::fs::read(path).unwrap();
        assert_eq!(serde_json::from_slice::<Figure>(&text).unwrap(), figure);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_wherever_it_is() {
        assert!(refusal(&figure(f64::NAN)).contains("/series/0/mean/0 "));
        let mut figure = figure(1.0);
        figure.header.provenance.wall_seconds = f64::INFINITY;
        assert!(refusal(&figure).contains("/provenance/wall_seconds "));

        let row = |entry| [("a".to_owned(), entry)].into();
        let nan = Cell::from_runs([(0, Measured::Value(f64::NAN)), (1, Measured::Value(1.0))]);
        let rows = vec![row(Cell::default().into()), row(nan.into())];
        let table = Table {
            header: header("table2"),
            columns: vec![Column::new("a", "A")],
            rows,
        };
        assert!(refusal(&table).contains("/rows/1/a/mean "));

        let measured = json!({"loss": f64::NAN}).as_object().unwrap().clone();
        let (id, claim, evidence) = ("C3".into(), "It holds.".into(), "It does not.".into());
        let claim = Claim {
            id,
            claim,
            verdict: Verdict::NotReproduced,
            evidence,
            measured,
        };
        let claims = Claims {
            header: header("claims"),
            claims: vec![claim],
        };
        assert!(refusal(&claims).contains("/claims/0/measured/loss "));
    }

    #[test]
    fn a_result_that_contradicts_itself_is_refused() {
        let mut stray = figure(1.0);
        stray.series[0].panel = "b".into();
        assert!(refusal(&stray).contains("the series mSGD is in panel `b`, which has no axes"));
        let mut uneven = figure(1.0);
        uneven.series[0].low.push(1.0);
        assert!(refusal(&uneven).contains("[1, 1, 2, 1] points"));
        let rows = vec![[("time".to_owned(), 1.0.into())].into()];
        let table = Table {
            header: header("table2"),
            columns: vec![Column::new("a", "A")],
            rows,
        };
        assert!(refusal(&table).contains("row 0 has `time`, which is no column"));
    }

    #[test]
    fn a_cell_counts_every_run() {
        use Measured::{Diverged, NotReached, Value};
        let cell = Cell::from_runs((10..).zip([Value(1.0), Diverged(7), NotReached, Value(4.0)]));
        let expected = json!({
            "mean": 2.5, "std": 4.5_f64.sqrt(), "n": 2, "values": [1.0, 4.0],
            "diverged": [{"seed": 11, "step": 7}], "not_reached": [12],
        });
        assert_eq!(serde_json::to_value(&cell).unwrap(), expected);
        let none = json!({"mean": null, "std": null, "n": 0, "values": []});
        assert_eq!(serde_json::to_value(Cell::default()).unwrap(), none);
    }
}
