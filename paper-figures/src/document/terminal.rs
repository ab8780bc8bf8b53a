//! Text for a terminal: aligned, without markup.

use super::{Badge, Grid, Line, Span};
use crate::{
    caption::sentence,
    results::{Claims, Part, Table},
};

/// A result's table, a line a row.
#[must_use]
pub fn table(table: &Table) -> String {
    grid(&Grid::of(table))
}

/// The verdicts on a section's claims, with the parts that they are made of and the evidence.
#[must_use]
pub fn claims(claims: &Claims) -> String {
    let mut text = String::new();
    for claim in &claims.claims {
        let verdict = badge(&Badge::of(claim));
        text += &format!("{} {verdict}: {}\n", claim.id, claim.claim);
        for part in &claim.parts {
            text += &format!("  {}\n", self::part(part));
        }
        text += &format!("  {}\n", claim.evidence);
    }
    text
}

fn part(part: &Part) -> String {
    let (state, what) = (part.state(), sentence(&part.what));
    let text = format!("{state}: {what} {}", part.evidence);
    text.trim_end().to_owned()
}

/// Aligned columns, with a rule below the headings.
#[must_use]
pub fn grid(grid: &Grid) -> String {
    let cells = |row: &[Line]| row.iter().map(|cell| line(cell)).collect::<Vec<_>>();
    let headings = cells(&grid.headings);
    let rows: Vec<Vec<String>> = grid.rows.iter().map(|row| cells(row)).collect();
    let width = |text: &String| text.chars().count();
    let widths: Vec<usize> = (0..headings.len())
        .map(|i| {
            rows.iter()
                .chain([&headings])
                .map(|row| width(&row[i]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let padded = |row: &[String]| {
        let cells = row.iter().zip(&widths).zip(&grid.is_number);
        let cells: Vec<String> = cells
            .map(|((text, width), is_number)| match is_number {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            })
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let body: String = rows.iter().map(|row| padded(row)).collect();
    format!("{}{}\n{body}", padded(&headings), rule.join("  "))
}

fn line(spans: &[Span]) -> String {
    spans
        .iter()
        .map(|span| match span {
            Span::Text(text) | Span::Strong(text) | Span::Link { text, .. } => text.clone(),
            Span::Badge(shown) => badge(shown),
        })
        .collect()
}

fn badge(badge: &Badge) -> String {
    let verdict = badge.verdict.name();
    let task = badge.task.as_deref();
    match (badge.is_short, badge.is_reduced()) {
        (true, reduced) => {
            let task = task.map_or(String::new(), |task| format!("{task} "));
            let note = if reduced { " (reduced)" } else { "" };
            format!("{task}{verdict}{note}")
        }
        (false, reduced) => {
            let task = task.map_or(String::new(), |task| format!(" on {task}"));
            let note = match reduced {
                true => format!(" (reduced: {})", badge.reduction()),
                false => String::new(),
            };
            format!("{verdict}{task}{note}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::plain,
        results::{Basis, Verdict},
    };

    #[test]
    fn columns_are_aligned() {
        let row = |method: &str, time: &str| vec![plain(method), plain(time)];
        let table = Grid {
            is_number: vec![false, true],
            ..Grid::of_text(
                &["Method", "Time (s)"],
                vec![row("LMA±", "0.5"), row("L4Adam*", "12")],
            )
        };
        assert_eq!(
            grid(&table),
            "Method   Time (s)\n-------  --------\nLMA±          0.5\nL4Adam*        12\n"
        );
    }

    #[test]
    fn a_reduced_verdict_says_so() {
        let shown = |is_short| {
            badge(&Badge {
                verdict: Verdict::Reproduced,
                basis: Some(Basis::Reduced("1 seed".to_owned())),
                task: None,
                is_short,
            })
        };
        assert_eq!(shown(true), "reproduced (reduced)");
        assert_eq!(shown(false), "reproduced (reduced: 1 seed)");
    }
}
