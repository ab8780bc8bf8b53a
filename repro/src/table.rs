//! Tables for the terminal, as aligned Markdown.

use crate::results::{Cell, Column, Entry, Table};

/// The table as text, a line per row.
#[must_use]
pub fn render(table: &Table) -> String {
    let headings = table.columns.iter().map(heading).collect();
    let rule = table.columns.iter().map(|_| String::new()).collect();
    let entry = |row: &indexmap::IndexMap<_, _>, column: &Column| {
        row.get(&column.key).map(entry).unwrap_or_default()
    };
    let rows = table.rows.iter().map(|row| {
        table
            .columns
            .iter()
            .map(|column| entry(row, column))
            .collect()
    });
    let lines: Vec<Vec<String>> = [headings, rule].into_iter().chain(rows).collect();
    let width = |index: usize| {
        lines
            .iter()
            .map(|line| line[index].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();

    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let fill = if index == 1 { '-' } else { ' ' };
        for (entry, width) in line.iter().zip(&widths) {
            let padding = fill.to_string().repeat(width - entry.chars().count());
            text += &format!("| {entry}{padding} ");
        }
        text += "|\n";
    }
    text
}

fn heading(column: &Column) -> String {
    match &column.unit {
        Some(unit) => format!("{} [{unit}]", column.title),
        None => column.title.clone(),
    }
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Text(text) => text.clone(),
        Entry::Integer(value) => value.to_string(),
        Entry::Number(value) => number(*value),
        Entry::Cell(value) => cell(value),
    }
}

fn cell(cell: &Cell) -> String {
    let Cell {
        mean,
        std,
        n,
        diverged,
        not_reached,
        ..
    } = cell;
    let mut parts = Vec::new();
    match (mean, std) {
        (Some(mean), Some(std)) => {
            parts.push(format!("{} ± {} (n={n})", number(*mean), number(*std)))
        }
        (Some(mean), None) => parts.push(format!("{} (n={n})", number(*mean))),
        (None, _) => {}
    }
    for (count, what) in [
        (diverged.len(), "diverged"),
        (not_reached.len(), "not reached"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

/// Four significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    let exponent = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    match exponent {
        -4..=2 => format!("{value:.*}", (3 - exponent) as usize),
        3..=5 => format!("{value:.0}"),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CellOfRuns, Measured};

    #[test]
    fn numbers_have_four_digits() {
        let shown = [
            0.0,
            1.0,
            -12.345,
            999.99,
            123_456.7,
            1e6,
            0.000_123_45,
            1.5e-12,
            0.25,
        ]
        .map(number);
        assert_eq!(
            shown,
            [
                "0.000",
                "1.000",
                "-12.35",
                "1000.0",
                "123457",
                "1.000e6",
                "0.0001234",
                "1.500e-12",
                "0.2500"
            ]
        );
    }

    #[test]
    fn a_cell_says_what_became_of_every_run() {
        let cell = |runs: &[Measured]| cell(&Cell::from_runs((0..).zip(runs.iter().copied())));
        use Measured::{Diverged, NotReached, Value};
        assert_eq!(cell(&[Value(1.0), Value(3.0)]), "2.000 ± 1.414 (n=2)");
        assert_eq!(
            cell(&[Value(1.0), Diverged(7), NotReached]),
            "1.000 (n=1), 1 diverged, 1 not reached"
        );
        assert_eq!(cell(&[Diverged(7), Diverged(8)]), "2 diverged");
    }

    #[test]
    fn columns_are_aligned() {
        let header = crate::results::tests::header("table2");
        let columns = vec![
            Column::new("method", "Method"),
            Column::with_unit("time", "Time", "s"),
        ];
        let row = |method: &str, time: f64| {
            [
                ("method".into(), method.into()),
                ("time".into(), time.into()),
            ]
            .into()
        };
        let table = Table {
            header,
            columns,
            rows: vec![row("LMA±", 0.5), row("L4Adam*", 12.0)],
        };
        assert_eq!(
            render(&table),
            "| Method  | Time [s] |\n| ------- | -------- |\n| LMA±    | 0.5000   |\n| L4Adam* | 12.00    |\n"
        );
    }
}
