//! A table as rows of short lines: what each cell says, for all outputs.

use super::{Line, Span, plain};
use crate::{
    number,
    results::{Cell, Column, Entry, Table},
};

/// What stands in a cell that does not apply.
const NOTHING: &str = "–";

/// A table, ready to be set.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Grid {
    /// The headings of the columns.
    pub headings: Vec<Line>,
    /// Which columns hold numbers, and so are aligned on the right.
    pub is_number: Vec<bool>,
    /// The rows, each with a cell a column.
    pub rows: Vec<Vec<Line>>,
}

impl Grid {
    /// A table of text.
    pub fn of_text(headings: &[&str], rows: Vec<Vec<Line>>) -> Self {
        Self {
            headings: headings.iter().map(|text| plain(*text)).collect(),
            is_number: vec![false; headings.len()],
            rows,
        }
    }

    /// A result's table.
    pub fn of(table: &Table) -> Self {
        let seeds = table.header.protocol.seeds.len();
        let row = |row: &indexmap::IndexMap<String, Entry>| {
            let entries = table.columns.iter().map(|column| row.get(&column.key));
            entries.map(|e| plain(entry(e, seeds))).collect()
        };
        let is_text = |column: &Column| {
            let mut entries = table.rows.iter().filter_map(|row| row.get(&column.key));
            entries.any(|entry| matches!(entry, Entry::Text(_)))
        };
        Self {
            headings: table.columns.iter().map(|c| plain(heading(c))).collect(),
            is_number: table.columns.iter().map(|c| !is_text(c)).collect(),
            rows: table.rows.iter().map(row).collect(),
        }
    }

    /// The spans of a table's cells, headings included.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.headings
            .iter()
            .chain(self.rows.iter().flatten())
            .flatten()
    }
}

fn heading(column: &Column) -> String {
    match column.unit.as_deref() {
        Some(unit) if !unit.is_empty() => format!("{} ({unit})", column.title),
        _ => column.title.clone(),
    }
}

fn entry(entry: Option<&Entry>, seeds: usize) -> String {
    match entry {
        None => NOTHING.to_owned(),
        Some(Entry::Text(text)) => text.clone(),
        Some(Entry::Integer(n)) => number::exact(*n as f64),
        Some(Entry::Number(v)) => number::exact(*v),
        Some(Entry::Cell(cell)) => self::cell(cell, seeds),
    }
}

/// `mean ± std`, then in brackets whatever keeps the mean from being over all seeds.
fn cell(cell: &Cell, seeds: usize) -> String {
    let (diverged, not_reached) = (cell.diverged.len(), cell.not_reached.len());
    let runs = cell.n + diverged + not_reached;
    let mut remarks = Vec::new();
    if seeds != cell.n {
        remarks.push(format!("n = {}", cell.n));
    }
    for (count, what) in [(not_reached, "not reached"), (diverged, "diverged")] {
        if count > 0 {
            remarks.push(format!("{count}/{runs} {what}"));
        }
    }
    let mean = cell
        .mean
        .map_or(NOTHING.to_owned(), |mean| number::mean_std(mean, cell.std));
    if remarks.is_empty() {
        mean
    } else {
        format!("{mean} ({})", remarks.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Divergence;

    fn measured(
        mean: Option<f64>,
        n: usize,
        not_reached: &[u64],
        diverged: usize,
    ) -> Option<Entry> {
        Some(Entry::Cell(Cell {
            mean,
            std: mean.filter(|_| n > 1).map(|m| m / 10.0),
            n,
            values: vec![],
            diverged: vec![Divergence { seed: 1, step: 2 }; diverged],
            not_reached: not_reached.to_vec(),
        }))
    }

    #[test]
    fn cells_say_what_is_missing_from_their_mean() {
        for (value, expected) in [
            (None, "–"),
            (Some("L4Adam*".into()), "L4Adam*"),
            (Some(192_u64.into()), "192"),
            (Some(0.0005.into()), "0.0005"),
            (measured(Some(1200.0), 5, &[], 0), "1,200 ± 120"),
            (
                measured(Some(1200.0), 3, &[1, 4], 0),
                "1,200 ± 120 (n = 3; 2/5 not reached)",
            ),
            (
                measured(Some(1200.0), 1, &[1, 4], 2),
                "1,200 (n = 1; 2/5 not reached; 2/5 diverged)",
            ),
            (
                measured(None, 0, &[0, 1, 2, 3, 4], 0),
                "– (n = 0; 5/5 not reached)",
            ),
            (measured(Some(1200.0), 3, &[], 0), "1,200 ± 120 (n = 3)"),
        ] {
            assert_eq!(entry(value.as_ref(), 5), expected);
        }
    }
}
