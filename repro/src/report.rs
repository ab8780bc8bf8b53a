//! What a section leaves: its files, and a report on standard output.

use std::path::PathBuf;

use anyhow::{Context, Result};
use paper_figures::terminal;

use crate::cli;
use crate::engine::reference;
use crate::judge::Finding;
use crate::numbers::Numbers;
use crate::results::{self, Claims, Figure, Header, ResultFile, Table, WriteError};

/// Writes a section's files and says what is in them.
pub struct Report {
    out: PathBuf,
    /// What the files say first; each has an id and a title of its own.
    shared: Header,
    text: String,
    written: Vec<PathBuf>,
}

impl Report {
    /// A report into a directory. `shared` is what all its files say first, but for id and title.
    #[must_use]
    pub fn new(out: PathBuf, shared: Header) -> Self {
        Self {
            out,
            shared,
            text: String::new(),
            written: Vec::new(),
        }
    }

    /// The header of a file.
    #[must_use]
    pub fn header(&self, id: &str, title: &str) -> Header {
        Header {
            id: id.to_owned(),
            title: title.to_owned(),
            ..self.shared.clone()
        }
    }

    /// Writes a figure.
    ///
    /// # Errors
    /// See [`results::write()`].
    pub fn figure(&mut self, figure: &Figure) -> Result<(), WriteError> {
        self.write(figure)
    }

    /// Writes a table, and shows it.
    ///
    /// # Errors
    /// See [`results::write()`].
    pub fn table(&mut self, table: &Table) -> Result<(), WriteError> {
        self.text += &format!("{}\n\n{}\n", table.header.title, terminal::table(table));
        self.write(table)
    }

    /// Writes the numbers that all else rests on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn numbers(&mut self, numbers: Vec<Numbers>) -> Result<()> {
        self.written.push(reference::write(&self.out, numbers)?);
        Ok(())
    }

    /// Writes the numbers that the claims rest on, and `claims.json`, and shows the verdicts.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn claims(&mut self, numbers: Vec<Numbers>, findings: Vec<Finding>) -> Result<()> {
        self.numbers(numbers)?;
        let title = format!("Claims tested in section {}", self.shared.section);
        let claims = Claims {
            header: self.header("claims", &title),
            claims: findings,
        };
        self.text += &terminal::claims(&claims);
        Ok(self.write(&claims)?)
    }

    fn write(&mut self, file: &impl ResultFile) -> Result<(), WriteError> {
        self.written.push(results::write(&self.out, file)?);
        Ok(())
    }

    /// Prints what was shown and the deviations, draws what was written, and says where to look.
    ///
    /// # Errors
    /// If a picture cannot be written, or standard output.
    pub fn finish(self) -> Result<()> {
        let wrote = |paths: &[PathBuf]| -> String {
            let lines = paths
                .iter()
                .map(|path| format!("wrote {}\n", path.display()));
            lines.collect()
        };
        let mut text = self.text;
        for deviation in &self.shared.deviations {
            text += &format!("{deviation}\n");
        }
        // First, as drawing may fail for what others have left in the directory; and that nobody reads it is no reason not to draw.
        let printed = cli::print(&(text + &wrote(&self.written)));
        let pages = paper_figures::publish(&self.out)
            .with_context(|| format!("drawing what is in {}", self.out.display()))?;
        printed?;
        let mut text = wrote(&pages);
        if let Some(page) = pages.iter().find(|path| path.ends_with("report.html")) {
            text += &format!("\nTo see it all, open {}\n", page.display());
        }
        Ok(cli::print(&text)?)
    }
}
