//! The result files: the one place that knows their JSON shape, for whoever writes them and whoever reads them.
//!
//! [`schema()`] describes the same to other programs; `schema/results.schema.json` is its committed copy. What
//! [`ResultFile::check`] passes, and so all that [`parse`] returns, has these properties beyond its types:
//!
//! - every number is finite and at most [`LARGEST`] in magnitude, so spans of two numbers do not overflow;
//! - a series' `x` and `mean` have the same length (0 where no run got anywhere), and so have `low` and `high` where there
//!   is a band; `x` never decreases along a curve; `low <= high`;
//! - every series belongs to a panel that has axes, and a method occurs once a panel;
//! - a table's row has entries under its columns' keys and no others, and a cell's mean and spread go with its values.
//!
//! A field that is missing, unknown or ill-typed is an [`Invalid`]: a misspelt one cannot pass for an absent one.

mod claims;
mod figure;
mod header;
mod provenance;
mod table;

use std::fmt;

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use claims::{Basis, CLAIMS, Claims, Finding, Part, Verdict};
pub use figure::{Axes, Axis, BandKind, Figure, Mark, Scale, Series, Style};
pub use header::{Header, Protocol};
pub use provenance::{DataFile, DataSet, Provenance, RunsBy};
pub use table::{Cell, Column, Divergence, Entry, Table};

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

/// That a number can stand in a file.
fn finite(value: f64, at: impl FnOnce() -> String) -> Result<(), Invalid> {
    if value.abs() <= LARGEST {
        return Ok(());
    }
    Err(Invalid::new(
        at(),
        format!("expected a magnitude of at most {LARGEST:e}, found {value:e}"),
    ))
}

/// A [`Table`], a [`Figure`] or [`Claims`].
pub trait ResultFile: Serialize {
    /// What the file says first.
    fn header(&self) -> &Header;

    /// That it does not contradict itself, and that its numbers are finite. Those under `paper`, `hyperparameters`, `search`
    /// and `measured` are JSON already, which has no others.
    ///
    /// # Errors
    /// The first place where it does, with the expected and the found.
    fn check(&self) -> Result<(), Invalid>;
}

macro_rules! result_file {
    ($($kind:ty),*) => {$(
        impl ResultFile for $kind {
            fn header(&self) -> &Header {
                &self.header
            }

            fn check(&self) -> Result<(), Invalid> {
                self.header.check()?;
                <$kind>::check(self)
            }
        }
    )*};
}

result_file!(Table, Figure, Claims);

/// A result file that was read. The field that tells the kind is `series`, `rows` or `claims`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Parsed {
    /// Curves over shared axes.
    Figure(Figure),
    /// Rows of measured cells.
    Table(Table),
    /// The paper's claims with our verdicts.
    Claims(Claims),
}

impl ResultFile for Parsed {
    fn header(&self) -> &Header {
        match self {
            Self::Figure(figure) => figure.header(),
            Self::Table(table) => table.header(),
            Self::Claims(claims) => claims.header(),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Figure(figure) => ResultFile::check(figure),
            Self::Table(table) => ResultFile::check(table),
            Self::Claims(claims) => ResultFile::check(claims),
        }
    }
}

/// Reads a result file's text.
///
/// # Errors
///
/// [`Invalid`] when the text is not JSON, is none of the three kinds, lacks a field, has an unknown one or one of the wrong
/// type, or [contradicts itself](self).
pub fn parse(text: &str) -> Result<Parsed, Invalid> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Invalid::new("", format!("expected JSON, found a syntax error: {e}")))?;
    let Some(fields) = value.as_object() else {
        return Err(Invalid::new(
            "",
            "expected a JSON object, found another kind of value",
        ));
    };
    // On its own first, because a flattened struct forgets where in it something was wrong.
    let header = read::<Header>(&value)?;
    let (parsed, own): (_, &[&str]) = if fields.contains_key("series") {
        (Parsed::Figure(read(&value)?), &["axes", "series"])
    } else if fields.contains_key("rows") {
        (Parsed::Table(read(&value)?), &["columns", "rows"])
    } else if fields.contains_key("claims") {
        (Parsed::Claims(read(&value)?), &["claims"])
    } else {
        return Err(Invalid::new(
            "",
            "expected `series` (a figure), `rows` (a table) or `claims`, found none of them",
        ));
    };
    let shared = serde_json::to_value(&header).map_err(|e| Invalid::new("", e.to_string()))?;
    let is_known = |key: &str| shared.get(key).is_some() || own.contains(&key);
    if let Some(stray) = fields.keys().find(|key| !is_known(key)) {
        return Err(Invalid::new("", format!("unknown field `{stray}`")));
    }
    parsed.check()?;
    Ok(parsed)
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value)
        .map_err(|e| Invalid::new(e.path().to_string(), e.inner().to_string()))
}

/// The JSON Schema of a result file, generated from these types.
#[must_use]
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Parsed>();
    for (key, value) in [
        ("$id", "urn:l4-reproduction:results"),
        ("title", "Results of the L4 reproduction"),
        (
            "description",
            "A table, a figure, or the verdicts on the paper's claims, as a section's binary writes them. Every number is \
             finite. A run that diverged or did not reach what is measured is listed by its seed.",
        ),
    ] {
        schema.insert(key.to_owned(), value.into());
    }
    RecursiveTransform(closed).transform(&mut schema);
    schema
}

/// An object has the fields that are named and no others. Rust's widths of integers, and its links in documentation, say
/// nothing to a reader of JSON.
fn closed(schema: &mut Schema) {
    schema.remove("format");
    let text = schema.get("description").and_then(Value::as_str);
    if let Some(text) = text.map(|t| t.replace("[`", "`").replace("`]", "`").replace('\n', " ")) {
        schema.insert("description".to_owned(), text.into());
    }
    if schema.get("properties").is_some() && schema.get("type").is_some() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}
