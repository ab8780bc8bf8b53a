//! What a section leaves: its files, and a report on standard output.

use std::path::PathBuf;

use anyhow::Context;
use autodiff::kernels::simd_level;

use crate::claims::{self, Finding};
use crate::cli;
use crate::provenance::DataSet;
use crate::results::{self, Claims, Figure, Header, Protocol, ResultFile, Table, WriteError};
use crate::runner::Runner;
use crate::table;

/// Writes a section's files and says what is in them.
pub struct Report {
    out: PathBuf,
    /// What the files say first; each has an id and a title of its own.
    shared: Header,
    text: String,
    written: Vec<PathBuf>,
}

impl Report {
    /// A report on the runs of `runner` so far.
    #[must_use]
    pub fn new(
        runner: &Runner,
        section: &str,
        protocol: Protocol,
        deviations: Vec<String>,
        data: DataSet,
    ) -> Self {
        Self {
            out: runner.out().to_owned(),
            shared: Header {
                id: String::new(),
                title: String::new(),
                section: section.to_owned(),
                protocol,
                deviations,
                provenance: runner.provenance(simd_level(), data),
                paper: None,
            },
            text: String::new(),
            written: Vec::new(),
        }
    }

    /// One report on the parts of a section that are there, with their names. What is written from now on is said of all of
    /// them: settings and deviations are under their part's name, unless there is only one.
    #[must_use]
    pub fn join(parts: Vec<(&str, Self)>) -> Self {
        let alone = parts.len() == 1;
        let named = parts.into_iter().map(|(name, report)| match alone {
            true => report,
            false => report.under(name),
        });
        named.reduce(Self::and).expect("a section has a part")
    }

    fn under(mut self, name: &str) -> Self {
        let protocol = &mut self.shared.protocol;
        let settings = std::mem::take(&mut protocol.hyperparameters).into_iter();
        protocol.hyperparameters = settings
            .map(|(method, settings)| (format!("{name}: {method}"), settings))
            .collect();
        for deviation in &mut self.shared.deviations {
            *deviation = format!("{name}: {deviation}");
        }
        self
    }

    fn and(mut self, other: Self) -> Self {
        let (shared, others) = (&mut self.shared, other.shared);
        let protocol = &mut shared.protocol;
        protocol.epochs = protocol.epochs.or(others.protocol.epochs);
        protocol.examples = protocol.examples.or(others.protocol.examples);
        // What is the same for all methods of one part need not be for all.
        (protocol.steps, protocol.batch) = (None, None);
        protocol
            .hyperparameters
            .extend(others.protocol.hyperparameters);
        shared.deviations.extend(others.deviations);
        shared.provenance = shared.provenance.and(&others.provenance);
        self.text += &other.text;
        self.written.extend(other.written);
        self
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
        self.text += &format!("{}\n\n{}\n", table.header.title, table::render(table));
        self.write(table)
    }

    /// Writes `claims.json`, and shows it.
    ///
    /// # Errors
    /// See [`results::write()`].
    pub fn claims(
        &mut self,
        findings: impl IntoIterator<Item = Finding>,
    ) -> Result<(), WriteError> {
        let title = format!("Claims tested in section {}", self.shared.section);
        let claims = Claims {
            header: self.header("claims", &title),
            claims: findings.into_iter().map(Finding::into_claim).collect(),
        };
        self.text += &claims::render(&claims);
        self.write(&claims)
    }

    /// Shows a line.
    pub fn note(&mut self, line: &str) {
        self.text += &format!("{line}\n");
    }

    fn write(&mut self, file: &impl ResultFile) -> Result<(), WriteError> {
        self.written.push(results::write(&self.out, file)?);
        Ok(())
    }

    /// Prints what was shown, the deviations and the files' names.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print(mut self) -> anyhow::Result<()> {
        for deviation in std::mem::take(&mut self.shared.deviations) {
            self.note(&deviation);
        }
        for path in std::mem::take(&mut self.written) {
            self.note(&format!("wrote {}", path.display()));
        }
        cli::print(&self.text).context("standard output")
    }
}
