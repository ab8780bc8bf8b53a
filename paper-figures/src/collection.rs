//! The sections of one directory together: the matrix, and a page of all.

use std::path::{Path, PathBuf};

use crate::{
    Error,
    document::{Block, Span, html, markdown, plain},
    files,
    matrix::{self, Column},
    section::{Output, Section},
};

const TITLE: &str = "L4, reproduced: what became of the paper's claims";

/// Sections with results, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// The directory that holds the sections' directories.
    pub folder: PathBuf,
    /// The sections, in the paper's order.
    pub sections: Vec<Section>,
    /// Whether all that is in the directory could be read: a matrix of less would look as if there were no more.
    pub is_whole: bool,
}

impl Collection {
    /// Reads the sections in `folder`. A file that cannot be read is among the errors; the others are kept.
    pub fn read(folder: &Path) -> (Self, Vec<Error>) {
        let (folders, mut errors) = files::sections_of(folder);
        let mut sections = Vec::new();
        for folder in &folders {
            let (section, problems) = Section::read(folder);
            sections.push(section);
            errors.extend(problems);
        }
        let collection = Self {
            folder: folder.to_owned(),
            sections,
            is_whole: errors.is_empty(),
        };
        (collection, errors)
    }

    /// The matrix with its legend, for a page from which the sections' pages are at `page` of their names.
    pub fn matrix(&self, page: impl Fn(&Section) -> String, legend: &str) -> Vec<Block> {
        let named: Vec<(String, String)> = self
            .sections
            .iter()
            .map(|s| (s.number(), page(s)))
            .collect();
        let columns: Vec<Column<'_>> = self
            .sections
            .iter()
            .zip(&named)
            .filter_map(|(section, (name, page))| section.column(name, page))
            .collect();
        vec![
            Block::Table {
                title: "The paper's claims, by section".to_owned(),
                grid: matrix::grid(&columns),
            },
            Block::Text(plain(format!("{} {legend}", matrix::summary(&columns)))),
        ]
    }

    /// The directory's `README.md`, which leads to the sections' pages.
    pub fn index(&self) -> Output {
        let page = |section: &Section| format!("{}/README.md", section.name);
        let mut blocks = vec![Block::Heading(1, TITLE.to_owned())];
        blocks.extend(self.matrix(page, matrix::LEGEND_OF_SIGNS));
        blocks.push(Block::Heading(2, "Pages".to_owned()));
        let link = |section: &Section| {
            vec![Span::Link {
                text: section.title(),
                target: page(section),
            }]
        };
        blocks.push(Block::List(self.sections.iter().map(link).collect()));
        Output::new("README.md", markdown::render(&blocks))
    }

    /// One page of everything, the matrix first.
    pub fn report(&self) -> Output {
        let mut blocks = vec![Block::Heading(1, TITLE.to_owned())];
        blocks.extend(self.matrix(
            |section| format!("#{}", section.name),
            matrix::LEGEND_OF_WORDS,
        ));
        blocks.extend(self.sections.iter().map(|section| Block::Part {
            anchor: section.name.clone(),
            blocks: section.page(&format!("{}/", section.name)),
        }));
        Output::new("report.html", html::page(TITLE, &blocks))
    }
}
