//! What became of the paper's claims, at a glance: a row a claim, a column a section.

use crate::{
    document::{Badge, Grid, Line, Span, plain, terminal},
    results::{CLAIMS, Claims, Finding, Verdict},
};

/// What the signs of a Markdown page mean, for a reader who sees nothing else.
pub const LEGEND_OF_SIGNS: &str = "● reproduced, ◐ partly, ○ not reproduced, – untested or only reported; no sign: the section does not bear on \
                                   the claim. In italics and with the word “reduced”: less was run than the paper did, in \
                                   length, seeds or data.";

/// What the frames of an HTML page mean.
pub const LEGEND_OF_WORDS: &str =
    "Dashed, with the word “reduced”: less was run than the paper did, in length, seeds or data.";

/// The verdicts of one section.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its number, or another short name.
    pub name: &'a str,
    /// Where its page is; empty where there is none.
    pub page: &'a str,
    /// Its verdicts.
    pub claims: &'a Claims,
}

/// The matrix.
pub fn grid(columns: &[Column<'_>]) -> Grid {
    let mut rows: Vec<(&str, &str)> = CLAIMS.to_vec();
    for claim in columns.iter().flat_map(|column| &column.claims.claims) {
        if !rows.iter().any(|(id, _)| *id == claim.id) {
            rows.push((&claim.id, &claim.claim));
        }
    }
    let headings = ["", "Claim"].map(plain).into_iter();
    let headings = headings.chain(columns.iter().map(heading)).collect();
    Grid {
        headings,
        is_number: vec![false; 2 + columns.len()],
        rows: rows.iter().map(|row| self::row(*row, columns)).collect(),
    }
}

fn heading(column: &Column<'_>) -> Line {
    let text = column.name.to_owned();
    match column.page {
        "" => vec![Span::Text(text)],
        page => vec![Span::Link {
            text,
            target: page.to_owned(),
        }],
    }
}

fn row((id, text): (&str, &str), columns: &[Column<'_>]) -> Vec<Line> {
    let cells = columns.iter().map(|column| {
        let own = column.claims.claims.iter().filter(|claim| claim.id == id);
        cell(&own.collect::<Vec<_>>())
    });
    [plain(id), plain(text)].into_iter().chain(cells).collect()
}

/// The verdicts on one claim in one section; each names its task only where there are several.
fn cell(claims: &[&Finding]) -> Line {
    let badge = |claim: &&Finding| {
        Span::Badge(Badge {
            task: claim.task.clone().filter(|_| claims.len() > 1),
            is_short: true,
            ..Badge::of(claim)
        })
    };
    let mut line = Line::new();
    for claim in claims {
        if !line.is_empty() {
            line.push(Span::Text(", ".to_owned()));
        }
        line.push(badge(claim));
    }
    line
}

/// The matrix as text for a terminal, of sections by their names.
#[must_use]
pub fn terminal(sections: &[(&str, &Claims)]) -> String {
    let column = |&(name, claims)| Column {
        name,
        page: "",
        claims,
    };
    let columns: Vec<Column<'_>> = sections.iter().map(column).collect();
    let mut grid = grid(&columns);
    // The claims' sentences are too long to stand beside the verdicts.
    grid.headings.remove(1);
    grid.is_number.remove(1);
    for row in &mut grid.rows {
        row.remove(1);
    }
    terminal::grid(&grid)
}

/// How many of the verdicts are what, in words.
pub fn summary(columns: &[Column<'_>]) -> String {
    let all: Vec<Badge> = columns
        .iter()
        .flat_map(|c| c.claims.claims.iter().map(Badge::of))
        .collect();
    let count = |verdict: Verdict| all.iter().filter(|badge| badge.verdict == verdict).count();
    let reduced = all.iter().filter(|badge| badge.is_reduced()).count();
    let verdicts = [
        Verdict::Reproduced,
        Verdict::Partly,
        Verdict::NotReproduced,
        Verdict::Untested,
    ];
    let counts: Vec<String> = verdicts
        .iter()
        .map(|v| format!("{} {v}", count(*v)))
        .collect();
    format!(
        "{} verdicts: {}; {reduced} of them on a reduced basis.",
        all.len(),
        counts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{document::markdown, results::Basis};

    fn claims(of: &[(&str, Option<&str>, Verdict, bool)]) -> Claims {
        let claim =
            |&(id, task, verdict, is_reduced): &(&str, Option<&str>, Verdict, bool)| Finding {
                id: id.to_owned(),
                task: task.map(str::to_owned),
                claim: "It holds.".to_owned(),
                verdict,
                basis: Some(match is_reduced {
                    true => Basis::Reduced("1 seed".to_owned()),
                    false => Basis::Full,
                }),
                parts: Vec::new(),
                evidence: "x".to_owned(),
                measured: serde_json::Map::new(),
            };
        let header = serde_json::json!({
            "id": "claims", "title": "x", "section": "3.1",
            "protocol": {"preset": "paper", "seeds": [], "hyperparameters": {}}, "deviations": [],
            "provenance": {
                "project_version": "0", "git_commit": "unknown", "compiler": "rustc", "cpu": "CPU", "simd": "AVX2",
                "jobs": 1, "data": {"name": "x", "files": []}, "started": "then", "wall_seconds": 1.0, "run_seconds": 1.0
            }
        });
        Claims {
            header: serde_json::from_value(header).expect("a header"),
            claims: of.iter().map(claim).collect(),
        }
    }

    fn sections() -> [Claims; 2] {
        use Verdict::{NotReproduced, Partly, Reproduced, Untested};
        [
            claims(&[
                ("C1", Some("regression"), Reproduced, false),
                ("C12", None, NotReproduced, false),
            ]),
            claims(&[
                ("C1", Some("MNIST"), Partly, true),
                ("C11", Some("MNIST"), Untested, false),
                ("C11", Some("DNC"), Reproduced, true),
            ]),
        ]
    }

    fn columns(sections: &[Claims; 2]) -> [Column<'_>; 2] {
        let column = |name, page, claims| Column { name, page, claims };
        [
            column("3.1", "a/README.md", &sections[0]),
            column("3.6", "b/README.md", &sections[1]),
        ]
    }

    #[test]
    fn every_claim_has_a_row_and_every_section_a_column() {
        let sections = sections();
        let text = markdown::table(&grid(&columns(&sections)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 12);
        assert_eq!(
            lines[0],
            "|  | Claim | [3.1](a/README.md) | [3.6](b/README.md) |"
        );
        assert!(
            lines[2].ends_with("base method. | ● | *◐\u{a0}reduced* |"),
            "{}",
            lines[2]
        );
        assert!(
            lines[3].starts_with("| C2 |") && lines[3].ends_with("|  |  |"),
            "{}",
            lines[3]
        );
        assert!(
            lines[12].ends_with("limit. |  | MNIST –, DNC *●\u{a0}reduced* |"),
            "{}",
            lines[12]
        );
        assert!(lines[13].ends_with("| ○ |  |"), "{}", lines[13]);
    }

    #[test]
    fn a_terminal_gets_words() {
        let sections = sections();
        let text = terminal(&[("3.1", &sections[0]), ("3.6", &sections[1])]);
        let line = |id: &str| {
            text.lines()
                .find(|line| line.starts_with(id))
                .unwrap_or_default()
        };
        assert_eq!(line("C1 "), "C1   reproduced      partly (reduced)");
        assert_eq!(line("C12"), "C12  not reproduced");
    }

    #[test]
    fn the_summary_counts_all() {
        let sections = sections();
        assert_eq!(
            summary(&columns(&sections)),
            "5 verdicts: 2 reproduced, 1 partly, 1 not reproduced, 1 untested; 2 of them on a reduced basis."
        );
    }
}
