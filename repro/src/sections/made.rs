//! What was run of a section, and the files that are written of it.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Arguments, Outcome, Section, Task, Unit};
use crate::cli::Preset;
use crate::data;
use crate::engine::provenance::DataSet;
use crate::engine::runner::Runner;
use crate::judge;
use crate::numbers::Numbers;
use crate::report::Report;
use crate::results::{Header, Protocol};

/// What was run of a section.
pub struct Made<'a, 'd> {
    /// The section.
    pub section: &'static Section,
    /// What was asked for.
    pub arguments: &'a Arguments,
    /// Who ran it.
    pub runner: &'a Runner,
    /// How that departs from the whole, a sentence each.
    pub deviations: Vec<String>,
    /// Its parts.
    pub outcomes: Vec<Outcome<'d>>,
}

impl Made<'_, '_> {
    /// How much was asked for.
    #[must_use]
    pub fn preset(&self) -> Preset {
        self.arguments.preset()
    }

    /// A report into the section's directory.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn report(&self) -> Result<Report> {
        let shared = Header {
            id: String::new(),
            title: String::new(),
            section: self.section.number.to_owned(),
            protocol: protocol(self.preset(), &self.outcomes)?,
            deviations: self.deviations.clone(),
            provenance: self.runner.provenance(provenance_of(&self.outcomes)),
            paper: None,
        };
        Ok(Report::new(self.runner.out().to_owned(), shared))
    }

    /// Writes the files that show each part.
    ///
    /// # Errors
    /// If runs were not measured at the same steps, or a file cannot be written.
    pub fn show(&self, report: &mut Report) -> Result<()> {
        for outcome in &self.outcomes {
            for show in outcome.part.shows {
                show.write(outcome, report)?;
            }
        }
        Ok(())
    }

    /// All that was measured, part by part.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn numbers(&self) -> Result<Vec<Numbers>> {
        self.outcomes.iter().map(Outcome::numbers).collect()
    }

    /// Writes all, with the verdicts on the paper's claims, for which `others` are the numbers of the other sections.
    ///
    /// # Errors
    /// If runs were not measured at the same steps, a setting is out of range or a file cannot be written.
    pub fn write_judged(self, others: &[Numbers]) -> Result<()> {
        let mut report = self.report()?;
        self.show(&mut report)?;
        let mut numbers = self.numbers()?;
        if let (Some(extra), Some(first)) = (self.section.extra, numbers.first_mut()) {
            first.arms.extend(extra()?);
        }
        let findings = judge::judge_section(&numbers, others);
        report.claims(numbers, findings)?;
        report.finish()
    }
}

fn protocol(preset: Preset, outcomes: &[Outcome<'_>]) -> Result<Protocol> {
    let seeds = outcomes.iter().map(|outcome| outcome.size.seeds).max();
    let seeds = seeds.unwrap_or(0);
    let lengths = outcomes
        .iter()
        .map(|outcome| (outcome.part.unit, outcome.size.length));
    let common = same(lengths);
    let length = |unit| common.and_then(|(of, length)| (of == unit).then_some(length));
    let mut protocol = Protocol {
        preset: preset.name().to_owned(),
        seeds: (0..seeds).collect(),
        steps: length(Unit::Steps),
        epochs: length(Unit::Epochs),
        examples: length(Unit::Sequences),
        ..Protocol::default()
    };
    let named = outcomes.len() > 1;
    for outcome in outcomes {
        let unit = outcome.part.unit;
        for arm in &outcome.arms {
            let name = match named {
                true => format!("{}: {}", outcome.part.name, arm.name()),
                false => arm.name().to_owned(),
            };
            let name = match arm.resolved.arm.until_converged {
                Some(shape) => format!("{name}, {} weights", shape.weights()),
                None => name,
            };
            let mut settings = arm.resolved.settings()?;
            if common != Some((unit, arm.resolved.length)) {
                settings.insert(length_key(unit).to_owned(), arm.resolved.length.into());
            }
            if outcome.size.seeds != seeds {
                let own: Vec<u64> = (0..outcome.size.seeds).collect();
                settings.insert("seeds".to_owned(), own.into());
            }
            let before = protocol.hyperparameters.insert(name.clone(), settings);
            ensure!(before.is_none(), "two arms are called {name}");
        }
    }
    let settings = protocol.hyperparameters.values();
    let batches = settings.map(|settings| settings.get("batch").and_then(Value::as_u64));
    protocol.batch = same(batches).flatten();
    Ok(protocol)
}

/// What a [`Protocol`] calls a length in this unit.
fn length_key(unit: Unit) -> &'static str {
    match unit {
        Unit::Steps => "steps",
        Unit::Epochs => "epochs",
        Unit::Sequences => "examples",
    }
}

/// What all of them are, if they are equal.
fn same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// What was trained on, over all parts.
fn provenance_of(outcomes: &[Outcome<'_>]) -> DataSet {
    let sets = outcomes
        .iter()
        .map(|outcome| match (outcome.data, outcome.part.task) {
            (Some(data), _) => data::provenance(data),
            (None, Task::RepeatCopy { .. }) => {
                DataSet::generated("repeat-copy, drawn anew for each minibatch")
            }
            (None, _) => DataSet::generated(
                "badly conditioned regression: A, X and the first weights drawn anew for each seed",
            ),
        });
    let mut names: Vec<String> = Vec::new();
    let mut files = Vec::new();
    for set in sets {
        if !names.contains(&set.name) {
            names.push(set.name);
            files.extend(set.files);
        }
    }
    DataSet {
        name: names.join("; "),
        files,
    }
}
