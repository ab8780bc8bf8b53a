//! Tables: names, counts, numbers, and cells that several runs measured.

use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, value::MapAccessDeserializer},
};

use super::{Header, Invalid, finite};

/// A table of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The columns, from left to right.
    #[schemars(length(min = 1))]
    pub columns: Vec<Column>,
    /// The rows; each has entries under the keys of some or all columns.
    pub rows: Vec<IndexMap<String, Entry>>,
}

impl Table {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.columns.is_empty() {
            return Err(Invalid::new(
                "columns",
                "expected at least one column, found none",
            ));
        }
        for (i, column) in self.columns.iter().enumerate() {
            if self.columns[..i]
                .iter()
                .any(|other| other.key == column.key)
            {
                let problem = format!("expected keys to differ, found `{}` twice", column.key);
                return Err(Invalid::new(format!("columns[{i}].key"), problem));
            }
        }
        for (i, row) in self.rows.iter().enumerate() {
            for (key, entry) in row {
                let at = || format!("rows[{i}].{key}");
                if !self.columns.iter().any(|column| column.key == *key) {
                    let known: Vec<&str> = self.columns.iter().map(|c| c.key.as_str()).collect();
                    let problem = format!(
                        "expected the key of a column ({}), found `{key}`",
                        known.join(", ")
                    );
                    return Err(Invalid::new(at(), problem));
                }
                entry.check(at)?;
            }
        }
        Ok(())
    }
}

/// A column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The key of its entries in the rows.
    #[schemars(length(min = 1))]
    pub key: String,
    /// Its heading; may be empty.
    pub title: String,
    /// The unit of its numbers, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub unit: Option<String>,
}

impl Column {
    /// A column of numbers without a unit, or of text.
    #[must_use]
    pub fn new(key: &str, title: &str) -> Self {
        Self {
            key: key.to_owned(),
            title: title.to_owned(),
            unit: None,
        }
    }

    /// A column of numbers with a unit.
    #[must_use]
    pub fn with_unit(key: &str, title: &str, unit: &str) -> Self {
        Self {
            unit: Some(unit.to_owned()),
            ..Self::new(key, title)
        }
    }
}

/// What stands in a row under a column.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
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

impl Entry {
    fn check(&self, at: impl Fn() -> String) -> Result<(), Invalid> {
        match self {
            Self::Text(_) | Self::Integer(_) => Ok(()),
            Self::Number(value) => finite(*value, at),
            Self::Cell(cell) => cell.check(at),
        }
    }
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

/// By hand, because serde's untagged enums forget what was wrong inside a cell.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number, or an object with mean, std, n and values")
            }
            fn visit_str<E>(self, v: &str) -> Result<Entry, E> {
                Ok(Entry::Text(v.to_owned()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Entry, E> {
                Ok(Entry::Number(v))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Entry, E> {
                Ok(Entry::Integer(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Entry, E> {
                Ok(Entry::Number(v as f64))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Cell::deserialize(MapAccessDeserializer::new(map)).map(Entry::Cell)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What several runs measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = spread_needs_values)]
pub struct Cell {
    /// Mean of the values; null without any.
    #[serde(deserialize_with = "Option::deserialize")]
    pub mean: Option<f64>,
    /// Their sample standard deviation; null for fewer than two.
    #[serde(deserialize_with = "Option::deserialize")]
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

impl Cell {
    fn check(&self, at: impl Fn() -> String) -> Result<(), Invalid> {
        let wrong =
            |field: &str, problem: String| Err(Invalid::new(format!("{}.{field}", at()), problem));
        let count = self.values.len();
        if self.n != count {
            return wrong(
                "n",
                format!("expected {count}, the number of `values`, found {}", self.n),
            );
        }
        if self.mean.is_some() != (count > 0) {
            return wrong(
                "mean",
                "expected a number if there are values, else null".to_owned(),
            );
        }
        if self.std.is_some() != (count > 1) {
            return wrong(
                "std",
                "expected a number if there are two values, else null".to_owned(),
            );
        }
        for (name, value) in [("mean", self.mean), ("std", self.std)] {
            finite(value.unwrap_or(0.0), || format!("{}.{name}", at()))?;
        }
        for (i, value) in self.values.iter().enumerate() {
            finite(*value, || format!("{}.values[{i}]", at()))?;
        }
        Ok(())
    }
}

/// What JSON Schema has no word for in a type: that mean and spread are null exactly where too few values make one.
fn spread_needs_values(schema: &mut Schema) {
    let rule = json_schema!({
        "allOf": [
            {
                "if": {"properties": {"n": {"const": 0}}},
                "then": {"properties": {"mean": {"type": "null"}}},
                "else": {"properties": {"mean": {"type": "number"}}}
            },
            {
                "if": {"properties": {"n": {"maximum": 1}}},
                "then": {"properties": {"std": {"type": "null"}}},
                "else": {"properties": {"std": {"type": "number"}}}
            }
        ]
    });
    if let Some(all) = rule.get("allOf") {
        schema.insert("allOf".to_owned(), all.clone());
    }
}

/// A run that left the finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Its seed.
    pub seed: u64,
    /// The step at which it did.
    pub step: u64,
}
