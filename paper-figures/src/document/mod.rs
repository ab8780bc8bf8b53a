//! A page or a part of one, before it is known whether it becomes Markdown, HTML or text for a terminal.
//!
//! What a table's cell says is decided once, in [`grid`]; the three outputs differ in how they set it.

pub mod grid;
pub mod html;
pub mod markdown;
pub mod terminal;

use crate::{
    draw::Pieces,
    results::{Basis, Finding, Verdict},
};
pub use grid::Grid;

/// A stretch of text.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// Plain text.
    Text(String),
    /// Text that stands out.
    Strong(String),
    /// A link.
    Link {
        /// What is shown.
        text: String,
        /// Where it leads, relative to the page.
        target: String,
    },
    /// A verdict.
    Badge(Badge),
}

/// What stands on one line, or in one cell.
pub type Line = Vec<Span>;

/// `text`, plain.
pub fn plain(text: impl Into<String>) -> Line {
    vec![Span::Text(text.into())]
}

/// What is said, without how it is set.
pub fn text(spans: &[Span]) -> String {
    let plain = |span: &Span| match span {
        Span::Text(text) | Span::Strong(text) | Span::Link { text, .. } => text.clone(),
        Span::Badge(badge) => badge.verdict.name().to_owned(),
    };
    spans.iter().map(plain).collect()
}

/// The blocks on a page from which what their links lead to is in `folder`, as `section3_1/`. Only text and lists have links
/// to files.
pub fn linked_from(folder: &str, blocks: &[Block]) -> Vec<Block> {
    let mut blocks = blocks.to_vec();
    let lines = blocks.iter_mut().flat_map(|block| match block {
        Block::Text(line) => std::slice::from_mut(line),
        Block::List(lines) => lines,
        _ => &mut [],
    });
    for span in lines.flatten() {
        if let Span::Link { target, .. } = span
            && !target.contains("://")
            && !target.starts_with(['#', '/'])
        {
            target.insert_str(0, folder);
        }
    }
    blocks
}

/// A verdict as it is shown: one that rests on less than the paper's experiment looks different.
#[derive(Clone, Debug, PartialEq)]
pub struct Badge {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub basis: Option<Basis>,
    /// The task it is about, where that has to be said.
    pub task: Option<String>,
    /// Whether a sign has to do, for want of room.
    pub is_short: bool,
}

impl Badge {
    /// The verdict on a claim, in full.
    pub fn of(claim: &Finding) -> Self {
        Self {
            verdict: claim.verdict,
            basis: claim.basis.clone(),
            task: claim.task.clone(),
            is_short: false,
        }
    }

    /// Whether less was run than the paper did.
    pub fn is_reduced(&self) -> bool {
        matches!(self.basis, Some(Basis::Reduced(_)))
    }

    /// What was reduced; empty if nothing was.
    pub fn reduction(&self) -> &str {
        match &self.basis {
            Some(Basis::Reduced(what)) => what,
            _ => "",
        }
    }

    /// A character for it.
    pub fn sign(&self) -> &'static str {
        match self.verdict {
            Verdict::Reproduced => "●",
            Verdict::Partly => "◐",
            Verdict::NotReproduced => "○",
            Verdict::Untested => "–",
        }
    }
}

/// A paragraph, a table, a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A heading: 1 for the page's.
    Heading(u8, String),
    /// A paragraph.
    Text(Line),
    /// Paragraphs with bullets.
    List(Vec<Line>),
    /// A table with its title.
    Table {
        /// What it shows.
        title: String,
        /// The table.
        grid: Grid,
    },
    /// A figure with its caption.
    Figure {
        /// What it shows.
        title: String,
        /// How to read it.
        caption: String,
        /// The SVG's path, relative to the page.
        path: String,
        /// What a page shows that has it inside itself.
        pieces: Pieces,
    },
    /// A claim with its verdict, its parts and the evidence.
    Finding(Finding),
    /// What is shown when it is asked for.
    Details {
        /// What it is.
        summary: String,
        /// It.
        blocks: Vec<Block>,
    },
    /// A place that links of the page lead to, with what stands there.
    Part {
        /// Its name in links.
        anchor: String,
        /// It.
        blocks: Vec<Block>,
    },
}
