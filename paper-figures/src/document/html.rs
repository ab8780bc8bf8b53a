//! HTML: one page that needs nothing beside it, neither file nor script.

use super::{Badge, Block, Grid, Line, Span, text};
use crate::{
    caption::sentence,
    draw::Pieces,
    escape::{link, xml as escaped},
    results::{Finding, Part, Verdict},
};

/// How the page looks, wide and narrow, light and dark.
const STYLE: &str = include_str!("style.css");

/// A whole page.
pub fn page(title: &str, blocks: &[Block]) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{}</main>\n</body>\n</html>\n",
        escaped(title),
        render(blocks)
    )
}

fn render(blocks: &[Block]) -> String {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", escaped(text)),
        Block::Text(spans) => format!("<p>{}</p>\n", line(spans)),
        Block::List(items) => list("notes", items.iter().map(|item| line(item))),
        Block::Table { title, grid } => table(title, grid),
        Block::Figure {
            title,
            caption,
            pieces,
            ..
        } => figure(title, caption, pieces),
        Block::Finding(claim) => finding(claim),
        Block::Details { summary, blocks } => format!(
            "<details>\n<summary>{}</summary>\n{}</details>\n",
            escaped(summary),
            render(blocks)
        ),
        Block::Part { anchor, blocks } => {
            format!(
                "<section id=\"{}\">\n{}</section>\n",
                escaped(anchor),
                render(blocks)
            )
        }
    }
}

fn list(class: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("<li>{item}</li>\n")).collect();
    format!("<ul class=\"{class}\">\n{items}</ul>\n")
}

/// The panels stand beside each other where there is room, and the legend below them is text of the page.
fn figure(title: &str, caption: &str, pieces: &Pieces) -> String {
    let panels = pieces.panels.concat();
    let entry = |(sample, text): &(String, String)| {
        format!("<li>{sample}<span>{}</span></li>\n", escaped(text))
    };
    let legend: String = pieces.legend.iter().map(entry).collect();
    format!(
        "<figure aria-label=\"{}\">\n<div class=\"panels\">\n{panels}</div>\n<ul class=\"legend\">\n{legend}</ul>\n\
         <figcaption>{}</figcaption>\n</figure>\n",
        escaped(title),
        escaped(caption)
    )
}

fn table(title: &str, grid: &Grid) -> String {
    let is_matrix = grid.spans().any(|span| matches!(span, Span::Badge(_)));
    let class = |i: usize| match grid.is_number.get(i) {
        Some(true) => " class=\"number\"",
        _ => "",
    };
    // Where there is no room for columns, a cell says itself of which it is.
    let label = |i: usize| match grid.headings.get(i) {
        Some(heading) if is_matrix && i > 1 => {
            format!(" data-label=\"{}\"", escaped(&text(heading)))
        }
        _ => String::new(),
    };
    let cells = |tag: &str, cells: &[Line]| -> String {
        let cell = |(i, cell): (usize, &Line)| {
            format!("<{tag}{}{}>{}</{tag}>", class(i), label(i), line(cell))
        };
        cells.iter().enumerate().map(cell).collect()
    };
    let head = cells("th", &grid.headings);
    let rows: String = grid
        .rows
        .iter()
        .map(|row| format!("<tr>{}</tr>\n", cells("td", row)))
        .collect();
    let kind = if is_matrix { "matrix" } else { "data" };
    format!(
        "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"{kind}\">\n<caption>{}</caption>\n<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</div>\n",
        escaped(title)
    )
}

fn finding(claim: &Finding) -> String {
    let parts = match claim.parts.as_slice() {
        [] => String::new(),
        parts => list("parts", parts.iter().map(part)),
    };
    format!(
        "<article class=\"finding\">\n<h3>{} {}</h3>\n<p>{}</p>\n{parts}<p class=\"evidence\">{}</p>\n</article>\n",
        escaped(&claim.id),
        badge(&Badge::of(claim)),
        escaped(&claim.claim),
        escaped(&claim.evidence)
    )
}

fn part(part: &Part) -> String {
    let evidence = match part.evidence.as_str() {
        "" => String::new(),
        evidence => format!(" <span class=\"evidence\">{}</span>", escaped(evidence)),
    };
    format!(
        "<b>{}:</b> {}{evidence}",
        part.state(),
        escaped(&sentence(&part.what))
    )
}

fn line(spans: &[Span]) -> String {
    spans.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Text(text) => escaped(text),
        Span::Strong(text) => format!("<b>{}</b>", escaped(text)),
        Span::Link { text, target } => {
            format!("<a href=\"{}\">{}</a>", link(target), escaped(text))
        }
        Span::Badge(shown) => badge(shown),
    }
}

/// Filled where the basis is full, outlined and with the word where it is reduced.
fn badge(badge: &Badge) -> String {
    let verdict = badge.verdict.name();
    let class = match badge.verdict {
        Verdict::Reproduced => "yes",
        Verdict::Partly => "partly",
        Verdict::NotReproduced => "no",
        Verdict::Untested => "untested",
    };
    let task = match (&badge.task, badge.is_short) {
        (None, _) => String::new(),
        (Some(task), true) => format!("<small>{}</small> ", escaped(task)),
        (Some(task), false) => format!("on {} ", escaped(task)),
    };
    match (badge.is_reduced(), badge.is_short) {
        (false, true) => format!("{task}<span class=\"badge {class}\">{verdict}</span>"),
        (false, false) => format!("<span class=\"badge {class}\">{verdict}</span> {task}"),
        (true, true) => format!(
            "{task}<span class=\"badge {class} reduced\" title=\"{}\">{verdict}<small>reduced</small></span>",
            escaped(badge.reduction())
        ),
        (true, false) => format!(
            "<span class=\"badge {class} reduced\">{verdict}<small>reduced</small></span> {task}<small>{}</small>",
            escaped(badge.reduction())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Basis;

    #[test]
    fn a_reduced_verdict_has_a_class_of_its_own_and_the_word() {
        let shown = |basis, is_short| {
            badge(&Badge {
                verdict: Verdict::Reproduced,
                basis: Some(basis),
                task: None,
                is_short,
            })
        };
        let reduced = || Basis::Reduced("1 <seed>".to_owned());
        assert_eq!(
            shown(Basis::Full, true),
            "<span class=\"badge yes\">reproduced</span>"
        );
        let short = shown(reduced(), true);
        assert!(
            short.contains("class=\"badge yes reduced\" title=\"1 &lt;seed&gt;\""),
            "{short}"
        );
        assert!(
            shown(reduced(), false)
                .contains("reduced</small></span> <small>1 &lt;seed&gt;</small>")
        );
    }

    #[test]
    fn a_page_asks_for_nothing_else() {
        let page = page("<t>", &[Block::Heading(1, "a & b".to_owned())]);
        assert!(page.contains("<title>&lt;t&gt;</title>") && page.contains("<h1>a &amp; b</h1>"));
        for external in ["src=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(external), "{external}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
