//! Tables, claims and captions as Markdown, as GitHub renders it.

use crate::{
    caption, number,
    results::{Cell, Claim, Column, Entry, Figure, Parsed, ResultFile, Table},
};

/// What stands in a cell that does not apply.
const NOTHING: &str = "–";

/// A table or the claims, with what is to be known about them below; `None` for a figure, which is not text.
pub fn document(file: &Parsed) -> Option<String> {
    let header = file.header();
    let grid = match file {
        Parsed::Figure(_) => return None,
        Parsed::Table(table) => self::table(table),
        Parsed::Claims(claims) => self::claims(&claims.claims),
    };
    let paper = header
        .paper
        .as_ref()
        .map(|paper| format!("The paper: {}.", stated(paper)));
    let below: Vec<String> = paper
        .into_iter()
        .chain(caption::footer(header))
        .map(|s| escaped(&s))
        .collect();
    Some(format!(
        "**{}**\n\n{grid}\n{}\n",
        escaped(&header.title),
        below.join("\n\n")
    ))
}

/// A link to a figure's files, which are at `stem` plus `.png` and `.svg`, and its caption.
pub fn figure(figure: &Figure, stem: &str) -> String {
    let stem = stem
        .replace(' ', "%20")
        .replace('(', "%28")
        .replace(')', "%29");
    let caption = escaped(&caption::figure(figure));
    format!(
        "[![{}]({stem}.png)]({stem}.svg)\n\n{caption}\n",
        escaped(&figure.header.title)
    )
}

fn table(table: &Table) -> String {
    let heading = |c: &Column| match c.unit.as_deref() {
        Some(unit) if !unit.is_empty() => format!("{} ({unit})", c.title),
        _ => c.title.clone(),
    };
    let headings: Vec<String> = table.columns.iter().map(heading).collect();
    let rows = table
        .rows
        .iter()
        .map(|row| {
            let entries = table.columns.iter().map(|column| row.get(&column.key));
            entries
                .map(|entry| self::entry(entry, table.header.protocol.seeds.len()))
                .collect()
        })
        .collect();
    let is_text = |column: &Column| {
        let mut entries = table.rows.iter().filter_map(|row| row.get(&column.key));
        entries.any(|entry| matches!(entry, Entry::Text(_)))
    };
    let right: Vec<bool> = table.columns.iter().map(|c| !is_text(c)).collect();
    grid(&headings, &right, rows)
}

fn claims(claims: &[Claim]) -> String {
    let row = |c: &Claim| {
        vec![
            c.id.clone(),
            c.claim.clone(),
            c.verdict.to_string(),
            c.evidence.clone(),
        ]
    };
    let headings = ["id", "claim", "verdict", "evidence"].map(str::to_owned);
    grid(&headings, &[false; 4], claims.iter().map(row).collect())
}

/// A Markdown table; `right` says which columns hold numbers.
fn grid(headings: &[String], right: &[bool], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| escaped(c)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<&str> = right
        .iter()
        .map(|&right| if right { "---:" } else { "---" })
        .collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}| {} |\n{body}", line(headings), rule.join(" | "))
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
fn cell(m: &Cell, seeds: usize) -> String {
    let (diverged, not_reached) = (m.diverged.len(), m.not_reached.len());
    let runs = m.n + diverged + not_reached;
    let mut remarks = Vec::new();
    if seeds != m.n {
        remarks.push(format!("n = {}", m.n));
    }
    for (count, what) in [(not_reached, "not reached"), (diverged, "diverged")] {
        if count > 0 {
            remarks.push(format!("{count}/{runs} {what}"));
        }
    }
    let mean = m
        .mean
        .map_or(NOTHING.to_owned(), |mean| number::mean_std(mean, m.std));
    if remarks.is_empty() {
        mean
    } else {
        format!("{mean} ({})", remarks.join("; "))
    }
}

/// What the paper states, whichever form it has in the file, as `name: value` pairs.
fn stated(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let pairs: Vec<String> = fields
                .iter()
                .map(|(name, v)| format!("{name}: {}", nested(v)))
                .collect();
            pairs.join("; ")
        }
        Value::Array(items) => items.iter().map(nested).collect::<Vec<_>>().join(", "),
        Value::Number(n) => n.as_f64().map_or(n.to_string(), number::exact),
        other => other.to_string(),
    }
}

fn nested(value: &serde_json::Value) -> String {
    if value.is_object() {
        format!("({})", stated(value))
    } else {
        stated(value)
    }
}

/// `text` on one line, with every character that Markdown would act on made to stand for itself: `L4Adam*` in two
/// places is no emphasis, and no text can end the generated block or the table's row.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '*' | '|' | '`' | '[' | ']' | '~' | '$' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
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

    #[test]
    fn text_cannot_act_as_markdown() {
        assert_eq!(
            escaped("L4Adam* | `x` <!-- /generated -->\nb"),
            "L4Adam\\* \\| \\`x\\` &lt;!-- /generated --> b"
        );
    }

    #[test]
    fn the_papers_statement_is_readable_in_any_form() {
        let value = serde_json::json!({"LMA*": {"96": 12, "192": null}, "note": "about"});
        assert_eq!(stated(&value), "LMA*: (96: 12; 192: null); note: about");
    }
}
