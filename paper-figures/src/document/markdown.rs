//! Markdown, as GitHub renders it.

use super::{Badge, Block, Grid, Line, Span};
use crate::{
    caption::sentence,
    escape::{link, markdown as escaped},
    results::{Finding, Part},
};

/// The blocks, with an empty line between any two.
pub fn render(blocks: &[Block]) -> String {
    let all: Vec<String> = blocks.iter().map(block).collect();
    format!("{}\n", all.join("\n\n"))
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => {
            format!("{} {}", "#".repeat(usize::from(*level)), escaped(text))
        }
        Block::Text(spans) => line(spans),
        Block::List(items) => list(items.iter().map(|item| line(item))),
        Block::Table { title, grid } => format!("**{}**\n\n{}", escaped(title), table(grid)),
        Block::Figure {
            title,
            caption,
            path,
            ..
        } => {
            let path = link(path);
            // The caption below says the rest of the title too.
            let subject = title
                .split_once(':')
                .map_or(title.as_str(), |(subject, _)| subject);
            format!(
                "[![{}]({path})]({path})\n\n{}",
                escaped(subject),
                escaped(caption)
            )
        }
        Block::Finding(claim) => finding(claim),
        Block::Details { summary, blocks } => format!(
            "<details>\n<summary>{}</summary>\n\n{}\n\n</details>",
            escaped(summary),
            render(blocks).trim_end()
        ),
        Block::Part { blocks, .. } => render(blocks).trim_end().to_owned(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("- {item}")).collect();
    items.join("\n")
}

fn finding(claim: &Finding) -> String {
    let head = format!(
        "**{}** {}: {}",
        escaped(&claim.id),
        badge(&Badge::of(claim)),
        escaped(&claim.claim)
    );
    let parts = list(claim.parts.iter().map(part));
    let blocks = [head, parts, escaped(&claim.evidence)];
    let blocks: Vec<String> = blocks.into_iter().filter(|text| !text.is_empty()).collect();
    blocks.join("\n\n")
}

fn part(part: &Part) -> String {
    let evidence = match part.evidence.as_str() {
        "" => String::new(),
        evidence => format!(" {}", escaped(evidence)),
    };
    let what = escaped(&sentence(&part.what));
    format!("**{}:** {what}{evidence}", part.state())
}

/// A table; its cells are on one line each.
pub fn table(grid: &Grid) -> String {
    let row = |cells: &[Line]| {
        let cells: Vec<String> = cells.iter().map(|cell| line(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<&str> = grid
        .is_number
        .iter()
        .map(|&right| if right { "---:" } else { "---" })
        .collect();
    let body: String = grid.rows.iter().map(|cells| row(cells)).collect();
    let table = format!("{}| {} |\n{body}", row(&grid.headings), rule.join(" | "));
    table.trim_end().to_owned()
}

fn line(spans: &[Span]) -> String {
    spans.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Text(text) => escaped(text),
        Span::Strong(text) => format!("**{}**", escaped(text)),
        Span::Link { text, target } => format!("[{}]({})", escaped(text), link(target)),
        Span::Badge(shown) => badge(shown),
    }
}

/// In italics, and with the word, where the basis is reduced.
fn badge(badge: &Badge) -> String {
    let task = match (&badge.task, badge.is_short) {
        (None, _) => String::new(),
        (Some(task), true) => format!("{} ", escaped(task)),
        (Some(task), false) => format!(" on {}", escaped(task)),
    };
    if badge.is_short {
        let sign = badge.sign();
        return match badge.is_reduced() {
            true => format!("{task}*{sign}\u{a0}reduced*"),
            false => format!("{task}{sign}"),
        };
    }
    let verdict = badge.verdict.name();
    match badge.is_reduced() {
        true => format!(
            "*{verdict}{task} (reduced: {})*",
            escaped(badge.reduction())
        ),
        false => format!("{verdict}{task}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::plain,
        results::{Basis, Verdict},
    };

    fn shown(basis: Option<Basis>, is_short: bool) -> String {
        badge(&Badge {
            verdict: Verdict::Partly,
            basis,
            task: Some("MNIST".to_owned()),
            is_short,
        })
    }

    #[test]
    fn a_reduced_verdict_looks_different() {
        let reduced = || Some(Basis::Reduced("1 seed".to_owned()));
        assert_eq!(shown(Some(Basis::Full), false), "partly on MNIST");
        assert_eq!(
            shown(reduced(), false),
            "*partly on MNIST (reduced: 1 seed)*"
        );
        assert_eq!(shown(Some(Basis::Full), true), "MNIST ◐");
        assert_eq!(shown(reduced(), true), "MNIST *◐\u{a0}reduced*");
    }

    #[test]
    fn text_in_a_table_cannot_end_its_row() {
        let grid = Grid::of_text(&["a"], vec![vec![plain("b|c\nd")]]);
        assert_eq!(table(&grid), "| a |\n| --- |\n| b\\|c d |");
    }
}
