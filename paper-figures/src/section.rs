//! The results of one section, and the page that shows them.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    Error, about, caption,
    document::{self, Block, Grid, html, markdown, plain},
    draw,
    files::{self, Loaded},
    matrix::Column,
    reading,
    results::{Claims, Figure, Header, Parsed, ResultFile, Table},
};

/// The paper's sections, by the numbers that directories have, and what is beyond them.
const TITLES: [(&str, &str); 9] = [
    ("3", "Experiments"),
    ("3.1", "Badly conditioned regression"),
    ("3.2", "MNIST digit recognition"),
    ("3.3", "ResNets for CIFAR-10 image classification"),
    ("3.4", "Differential neural computer"),
    ("3.5", "Fashion MNIST"),
    ("3.6", "Sweeping over batch sizes"),
    ("rate free", "Beyond the paper: today's rate-free methods"),
    (
        "train step",
        "Beyond the paper: the time of a training step",
    ),
];

/// A file to be written: its path below the directory of what it shows, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it goes.
    pub path: PathBuf,
    /// Its content.
    pub content: String,
}

impl Output {
    pub fn new(path: impl Into<PathBuf>, content: String) -> Self {
        Self {
            path: path.into(),
            content,
        }
    }

    /// The same in `folder`.
    pub fn below(self, folder: &Path) -> Self {
        Self::new(folder.join(self.path), self.content)
    }

    /// Puts it on the disk, and says where.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn write(self) -> Result<PathBuf, Error> {
        files::write(&self.path, &self.content)?;
        Ok(self.path)
    }

    /// Whether the disk has something else, or nothing, in its place.
    pub fn is_stale(&self) -> bool {
        files::read(&self.path).map_or(true, |found| found != self.content)
    }
}

/// The results of one directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Where they were read from.
    pub folder: PathBuf,
    /// The directory's name, such as `section3_1`.
    pub name: String,
    results: Vec<Loaded>,
    /// What a person makes of them.
    reading: Vec<Block>,
    /// Whether all files in the directory could be read: a page of less would look as if there were no more.
    is_whole: bool,
}

impl Section {
    /// Reads the results directly in `folder`, and the reading beside them if there is one. A file that cannot be read is among the errors; the others are kept.
    pub fn read(folder: &Path) -> (Self, Vec<Error>) {
        let mut errors = Vec::new();
        let paths = files::results_of(folder).unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        let mut results = Vec::new();
        for loaded in paths.iter().map(|path| files::load(path)) {
            match loaded {
                Ok(loaded) => results.push(loaded),
                Err(error) => errors.push(error),
            }
        }
        let mut blocks = Vec::new();
        // What it refers to may be in a file that is not among the results.
        if errors.is_empty() {
            match reading(folder, &results) {
                Ok(read) => blocks = read,
                Err(error) => errors.push(error),
            }
        }
        let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let section = Self {
            folder: folder.to_owned(),
            name: files::name(&full),
            results,
            reading: blocks,
            is_whole: errors.is_empty(),
        };
        (section, errors)
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// A result by its file's name without `.json`.
    pub fn result(&self, stem: &str) -> Option<&Parsed> {
        let found = self.results.iter().find(|loaded| loaded.stem == stem);
        found.map(|loaded| &loaded.file)
    }

    /// The names of the results.
    pub fn stems(&self) -> impl Iterator<Item = &str> {
        self.results.iter().map(|loaded| loaded.stem.as_str())
    }

    /// The number of the paper's section, or the directory's name where it is named otherwise.
    pub fn number(&self) -> String {
        let number = self
            .name
            .strip_prefix("section")
            .map(|rest| rest.replace('_', "."));
        number.unwrap_or_else(|| self.name.replace('_', " "))
    }

    /// The heading of the page.
    pub fn title(&self) -> String {
        let number = self.number();
        match TITLES.iter().find(|(known, _)| *known == number) {
            Some((_, title)) if self.name.starts_with("section") => {
                format!("Section {number}: {title}")
            }
            Some((_, title)) => (*title).to_owned(),
            None => number,
        }
    }

    fn claims(&self) -> Option<&Claims> {
        self.results.iter().find_map(|loaded| match &loaded.file {
            Parsed::Claims(claims) => Some(claims),
            _ => None,
        })
    }

    /// The section's column of the matrix, if it has verdicts.
    pub fn column<'a>(&'a self, name: &'a str, page: &'a str) -> Option<Column<'a>> {
        let claims = self.claims()?;
        Some(Column { name, page, claims })
    }

    /// All that is made of the section: drawings and, if it is whole, pages.
    pub fn outputs(&self) -> Vec<Output> {
        let mut outputs: Vec<Output> = self.results.iter().filter_map(drawing).collect();
        if !self.is_whole {
            return outputs;
        }
        let blocks = self.page("");
        outputs.push(Output::new("README.md", markdown::render(&blocks)));
        outputs.push(Output::new(
            "report.html",
            html::page(&self.title(), &blocks),
        ));
        outputs
    }

    /// The page: figures, tables, their reading, verdicts, then what is to be known about them, once. Files of the section's
    /// directory are at `folder` from it, as `section3_1/`.
    pub fn page(&self, folder: &str) -> Vec<Block> {
        let mut blocks = vec![Block::Heading(1, self.title())];
        for loaded in &self.results {
            if let Parsed::Figure(figure) = &loaded.file {
                blocks.push(figure_block(figure, &format!("{}.svg", loaded.stem)));
            }
        }
        for loaded in &self.results {
            if let Parsed::Table(table) = &loaded.file {
                blocks.extend(table_blocks(table));
            }
        }
        if !self.reading.is_empty() {
            blocks.push(Block::Heading(2, "Reading".to_owned()));
            blocks.extend(document::linked_from(folder, &self.reading));
        }
        if let Some(claims) = self.claims() {
            blocks.push(Block::Heading(2, "The paper's claims".to_owned()));
            blocks.extend(claims.claims.iter().cloned().map(Block::Finding));
        }
        let headers: Vec<&Header> = self
            .results
            .iter()
            .map(|loaded| loaded.file.header())
            .collect();
        blocks.extend(about::blocks(&headers));
        blocks
    }
}

/// The blocks of the reading in `folder`; none if there is no such file.
fn reading(folder: &Path, results: &[Loaded]) -> Result<Vec<Block>, Error> {
    let path = folder.join(reading::FILE);
    let text = match files::read(&path) {
        Err(Error::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        read => read?,
    };
    reading::blocks(&text, results).map_err(|p| Error::Marker {
        path,
        line: p.line,
        problem: p.problem,
    })
}

/// What is made of one result, if it is more than a part of its section's page.
pub fn drawing(loaded: &Loaded) -> Option<Output> {
    match &loaded.file {
        Parsed::Figure(figure) => Some(Output::new(
            format!("{}.svg", loaded.stem),
            draw::sheet(figure),
        )),
        Parsed::Table(table) => {
            let text = markdown::render(&table_blocks(table));
            Some(Output::new(format!("{}.md", loaded.stem), text))
        }
        Parsed::Claims(_) => None,
    }
}

/// What stands for a result in a Markdown file from which the figure's SVG is at `path`.
pub fn excerpt(file: &Parsed, path: &str) -> Vec<Block> {
    match file {
        Parsed::Figure(figure) => vec![figure_block(figure, path)],
        Parsed::Table(table) => table_blocks(table),
        Parsed::Claims(claims) => claims.claims.iter().cloned().map(Block::Finding).collect(),
    }
}

fn figure_block(figure: &Figure, path: &str) -> Block {
    Block::Figure {
        title: figure.header.title.clone(),
        caption: caption::figure(figure),
        path: path.to_owned(),
        pieces: draw::pieces(figure),
    }
}

/// The table, and below it what the paper has in its place.
fn table_blocks(table: &Table) -> Vec<Block> {
    let mut blocks = vec![Block::Table {
        title: table.header.title.clone(),
        grid: Grid::of(table),
    }];
    if let Some(paper) = &table.header.paper {
        blocks.push(Block::Text(plain(format!(
            "The paper: {}.",
            about::stated(paper)
        ))));
    }
    blocks
}
