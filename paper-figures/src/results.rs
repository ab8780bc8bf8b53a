//! The result files, as read: the one place that knows their JSON shape.
//!
//! Invariants of a [`ResultFile`], established by [`parse`] and relied on everywhere else:
//!
//! - every number is finite and at most [`LARGEST`] in magnitude, so spans of two numbers do not overflow;
//! - a series' `x`, `mean`, `low` and `high` have the same length (0 where no run got anywhere); `x` never decreases; `low <= high`;
//! - every series belongs to a panel that has axes, and a method occurs once a panel;
//! - every table row has one cell a column, [`Cell::Empty`] where the file has none.
//!
//! Unknown fields are ignored, so that `repro` may add to its files. A missing or ill-typed field is an [`Invalid`].

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, MapAccess, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

/// The largest magnitude that a file may hold.
pub const LARGEST: f64 = 1e300;

/// A file's content does not follow the contract.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Invalid {
    /// The path to the value inside the file, such as `series[2].mean`; empty for the file itself.
    pub at: String,
    /// What was expected and what was found.
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" | "." => write!(f, "{}", self.problem),
            at => write!(f, "at `{at}`: {}", self.problem),
        }
    }
}

impl Invalid {
    fn new(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            problem: problem.into(),
        }
    }
}

/// One result file: what all kinds share, and its own content.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultFile {
    /// Identity, protocol and provenance.
    pub header: Header,
    /// The figure, table or claims.
    pub body: Body,
}

/// What a result file shows. The field that tells the kind is `series`, `rows` or `claims`.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Curves over shared axes.
    Figure(Figure),
    /// Rows of measured cells.
    Table(Table),
    /// The paper's claims with our verdicts.
    Claims(Vec<Claim>),
}

/// The fields that every result file has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Header {
    /// Identity inside the section, such as `figure2`.
    pub id: String,
    /// What is shown, as a sentence without its full stop.
    pub title: String,
    /// The section of the paper, such as `3.1`.
    pub section: String,
    /// Preset, seeds and hyperparameters, by method.
    pub protocol: Map<String, Value>,
    /// Every departure from the paper's protocol, as sentences.
    pub deviations: Vec<String>,
    /// What produced the numbers.
    pub provenance: Provenance,
    /// What the paper states for the same quantity, where known.
    pub paper: Option<Value>,
}

impl Header {
    /// How many seeds the protocol names, whether it lists them or counts them.
    pub fn seeds(&self) -> Option<u64> {
        match self.protocol.get("seeds")? {
            Value::Array(seeds) => Some(seeds.len() as u64),
            count => count.as_u64(),
        }
    }

    /// The protocol's preset, such as `paper` or `smoke`.
    pub fn preset(&self) -> Option<&str> {
        self.protocol.get("preset")?.as_str()
    }
}

/// What produced the numbers, so that they can be produced again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Provenance {
    /// Version of this project.
    pub project_version: String,
    /// Commit of this project, with `-dirty` where the code differed from it; `unknown` outside git.
    pub git_commit: String,
    /// Commits that computed some of the runs, where they differ.
    #[serde(default)]
    pub other_commits: Vec<String>,
    /// Compiler and its version.
    pub compiler: String,
    /// Processor model.
    pub cpu: String,
    /// SIMD level chosen at run time.
    pub simd: String,
    /// Runs computed at once.
    pub jobs: u64,
    /// Threads of each run.
    #[serde(default = "one")]
    pub threads: u64,
    /// The data set.
    pub data: Dataset,
    /// When the section began.
    pub started: String,
    /// How long it took, in seconds.
    pub wall_seconds: f64,
}

fn one() -> u64 {
    1
}

/// The data that a result was measured on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Dataset {
    /// Its name; synthetic stand-ins say so here.
    pub name: String,
    /// Its files; none for data that is generated from the seed.
    pub files: Vec<DataFile>,
}

/// A file of a data set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DataFile {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub sha256: String,
    /// Whether the digest is the known one.
    pub verified: bool,
}

/// A run that ended because its loss was no longer finite.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Diverged {
    /// The run's seed.
    pub seed: u64,
    /// The step at which it ended.
    pub step: u64,
}

/// Curves, in one or more panels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Figure {
    /// One entry a panel, in drawing order.
    pub axes: Vec<Axes>,
    /// One entry a curve.
    pub series: Vec<Series>,
}

/// A panel and its two axes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Axes {
    /// The panel's letter, which its series refer to.
    pub panel: String,
    /// What the panel shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
}

/// One axis.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Axis {
    /// The quantity, with its unit.
    pub name: String,
    /// How it is spaced.
    pub scale: ScaleKind,
}

/// The spacing of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleKind {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are equally far apart.
    Log,
}

/// One curve: the mean over runs and a band around it. `null` is a gap.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Series {
    /// The panel it is drawn in.
    pub panel: String,
    /// The method's display name, which decides its colour.
    pub method: String,
    /// Abscissae, never decreasing.
    pub x: Vec<f64>,
    /// The mean over the runs at each abscissa.
    pub mean: Vec<Option<f64>>,
    /// The band's lower edge.
    pub low: Vec<Option<f64>>,
    /// The band's upper edge.
    pub high: Vec<Option<f64>>,
    /// How many runs there were, those that diverged included: they count up to where they did.
    pub n: u64,
    /// What the band is, such as `range` or `std`.
    pub band: String,
    /// Runs that ended early.
    #[serde(default)]
    pub diverged: Vec<Diverged>,
}

/// A table of text, numbers and measured cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows, each with one cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// A table's column.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Column {
    /// The key under which each row holds the cell.
    pub key: String,
    /// The heading.
    pub title: String,
    /// The unit of its numbers.
    pub unit: Option<String>,
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// `null`, or no such key: does not apply.
    Empty,
    /// A name or a setting.
    Text(String),
    /// A number that was set or counted rather than measured over runs.
    Number(f64),
    /// A measurement over runs.
    Measured(Measured),
}

/// A measurement over runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Measured {
    /// The mean of `values`; null when there are none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub mean: Option<f64>,
    /// Their standard deviation; null when there are too few.
    #[serde(deserialize_with = "Option::deserialize")]
    pub std: Option<f64>,
    /// How many runs the mean is over.
    pub n: u64,
    /// The measurement of each run; null where it has none.
    pub values: Vec<Option<f64>>,
    /// Runs that ended early.
    #[serde(default)]
    pub diverged: Vec<Diverged>,
    /// Seeds of the runs that did not reach the threshold.
    #[serde(default)]
    pub not_reached: Vec<u64>,
}

/// A claim of the paper, and what became of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Claim {
    /// Its identity, such as `C3`.
    pub id: String,
    /// What the paper claims.
    pub claim: String,
    /// What we found.
    pub verdict: Verdict,
    /// The measurement behind the verdict, in words.
    pub evidence: String,
    /// The measurement behind the verdict, as numbers.
    pub measured: Map<String, Value>,
}

/// Whether a claim held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It held.
    Reproduced,
    /// It held in part.
    Partly,
    /// It did not hold.
    #[serde(rename = "not reproduced")]
    NotReproduced,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
        })
    }
}

/// Reads a result file's text.
///
/// # Errors
///
/// [`Invalid`] when the text is not JSON, is none of the three kinds, lacks a field, has one of the wrong type, or
/// breaks one of the [invariants](self).
pub fn parse(text: &str) -> Result<ResultFile, Invalid> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Invalid::new("", format!("expected JSON, found a syntax error: {e}")))?;
    if !value.is_object() {
        return Err(Invalid::new(
            "",
            "expected a JSON object, found another kind of value",
        ));
    }
    let header = read::<Header>(&value, "")?;
    let body = if value.get("series").is_some() {
        Body::Figure(read_figure(&value)?)
    } else if value.get("rows").is_some() {
        Body::Table(read_table(&value)?)
    } else if value.get("claims").is_some() {
        Body::Claims(read::<ClaimsField>(&value, "")?.claims)
    } else {
        return Err(Invalid::new(
            "",
            "expected `series` (a figure), `rows` (a table) or `claims`, found none of them",
        ));
    };
    Ok(ResultFile { header, body })
}

#[derive(Deserialize)]
struct ClaimsField {
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct TableFields {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
}

/// Reads a `T` out of `value`, which itself lies at `at` in the file.
fn read<T: DeserializeOwned>(value: &Value, at: &str) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let inner = e.path().to_string();
        let at = match (at, inner.as_str()) {
            (outer, ".") => outer.to_owned(),
            ("", inner) => inner.to_owned(),
            (outer, inner) => format!("{outer}.{inner}"),
        };
        Invalid::new(at, e.inner().to_string())
    })
}

fn read_figure(value: &Value) -> Result<Figure, Invalid> {
    let figure = read::<Figure>(value, "")?;
    if figure.axes.is_empty() {
        return Err(Invalid::new(
            "axes",
            "expected at least one panel, found none",
        ));
    }
    if figure.series.is_empty() {
        return Err(Invalid::new(
            "series",
            "expected at least one series, found none",
        ));
    }
    for (i, axes) in figure.axes.iter().enumerate() {
        if figure.axes[..i].iter().any(|a| a.panel == axes.panel) {
            let problem = format!("expected panels to differ, found `{}` twice", axes.panel);
            return Err(Invalid::new(format!("axes[{i}].panel"), problem));
        }
    }
    for (i, series) in figure.series.iter().enumerate() {
        let at = format!("series[{i}]");
        check_series(series, &at)?;
        if !figure.axes.iter().any(|a| a.panel == series.panel) {
            let known: Vec<_> = figure.axes.iter().map(|a| a.panel.as_str()).collect();
            let problem = format!(
                "expected a panel of `axes` ({}), found `{}`",
                known.join(", "),
                series.panel
            );
            return Err(Invalid::new(format!("{at}.panel"), problem));
        }
        let same = |s: &Series| s.panel == series.panel && s.method == series.method;
        if figure.series[..i].iter().any(same) {
            let problem = format!(
                "expected one series a method, found `{}` twice in panel `{}`",
                series.method, series.panel
            );
            return Err(Invalid::new(format!("{at}.method"), problem));
        }
    }
    Ok(figure)
}

fn check_series(series: &Series, at: &str) -> Result<(), Invalid> {
    let expected = series.x.len();
    for (name, values) in [
        ("mean", &series.mean),
        ("low", &series.low),
        ("high", &series.high),
    ] {
        if values.len() != expected {
            let problem = format!(
                "expected {expected} values, as many as `x` has, found {}",
                values.len()
            );
            return Err(Invalid::new(format!("{at}.{name}"), problem));
        }
        for (i, v) in values.iter().enumerate() {
            check_size(v.unwrap_or(0.0), || format!("{at}.{name}[{i}]"))?;
        }
    }
    for (i, &x) in series.x.iter().enumerate() {
        check_size(x, || format!("{at}.x[{i}]"))?;
        if i > 0 && x < series.x[i - 1] {
            let problem = format!(
                "expected x never to decrease, found {x} after {}",
                series.x[i - 1]
            );
            return Err(Invalid::new(format!("{at}.x[{i}]"), problem));
        }
    }
    for (i, (low, high)) in series.low.iter().zip(&series.high).enumerate() {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let problem = format!("expected at most `high` ({high}), found {low}");
            return Err(Invalid::new(format!("{at}.low[{i}]"), problem));
        }
    }
    Ok(())
}

fn check_size(v: f64, at: impl FnOnce() -> String) -> Result<(), Invalid> {
    if v.abs() <= LARGEST {
        return Ok(());
    }
    Err(Invalid::new(
        at(),
        format!("expected a magnitude of at most {LARGEST:e}, found {v:e}"),
    ))
}

fn read_table(value: &Value) -> Result<Table, Invalid> {
    let TableFields { columns, rows } = read(value, "")?;
    if columns.is_empty() {
        return Err(Invalid::new(
            "columns",
            "expected at least one column, found none",
        ));
    }
    let rows = rows
        .iter()
        .enumerate()
        .map(|(i, row)| read_row(&columns, row, i))
        .collect::<Result<_, _>>()?;
    Ok(Table { columns, rows })
}

fn read_row(columns: &[Column], row: &Map<String, Value>, i: usize) -> Result<Vec<Cell>, Invalid> {
    let cell = |column: &Column| match row.get(&column.key) {
        Some(value) => read::<Cell>(value, &format!("rows[{i}].{}", column.key)),
        None => Ok(Cell::Empty),
    };
    columns.iter().map(cell).collect()
}

/// By hand, because serde's untagged enums forget what was wrong inside a cell.
impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, null, or an object with mean, std, n and values")
            }
            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::Empty)
            }
            fn visit_str<E>(self, v: &str) -> Result<Cell, E> {
                Ok(Cell::Text(v.to_owned()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Cell, E> {
                Ok(Cell::Number(v))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Cell, E> {
                Ok(Cell::Number(v as f64))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Cell, E> {
                Ok(Cell::Number(v as f64))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
                Measured::deserialize(MapAccessDeserializer::new(map)).map(Cell::Measured)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
