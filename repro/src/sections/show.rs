//! The files that show what came of a part: figures and tables, declared by what is on their axes and in their columns.

use anyhow::Result;
use serde_json::Value;

use super::part::{ArmOutcome, Outcome};
use super::{Arm, Unit};
use crate::engine::run::RunResult;
use crate::report::Report;
use crate::results::{
    Axes, Axis, Cell, CellOfRuns, Column, Entry, Figure, Series, Table, series_over, short_term,
};
use crate::stats::Curve;

/// A file that shows what came of a part.
#[derive(Clone, Copy, Debug)]
pub enum Show {
    /// Curves.
    Figure {
        /// The file's name, as `"figure3"`.
        id: &'static str,
        /// What it shows.
        title: &'static str,
        /// Its panels, from (a) on.
        panels: &'static [Panel],
    },
    /// A row for each arm.
    Table {
        /// The file's name, as `"table3"`.
        id: &'static str,
        /// What it shows.
        title: &'static str,
        /// What is in it beside the arms' names.
        columns: &'static [TableColumn],
    },
    /// What has a form of its own.
    Own(fn(&Outcome<'_>, &mut Report) -> Result<()>),
}

/// A panel of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// The metric on its vertical axis.
    pub metric: &'static str,
    /// The vertical axis's name.
    pub y: &'static str,
    /// Whether that is divided by powers of ten.
    pub log: bool,
    /// One run of each arm with its short-term range, as a mean over runs would smooth away the very movements that are to be
    /// shown; otherwise the mean over all.
    pub one_run: bool,
    /// What is more than so many times the first value of its run is drawn there, so that an explosion leaves room for the rest.
    pub ceiling: Option<f64>,
    /// The arms that are in it.
    pub of: fn(&Arm) -> bool,
}

/// Training losses of all arms.
pub const LOSS: Panel = Panel {
    title: "Training loss",
    metric: "loss",
    y: "training loss",
    log: true,
    one_run: false,
    ceiling: None,
    of: |arm| arm.until_converged.is_none(),
};

/// Effective learning rates of the arms that choose them.
pub const RATE: Panel = Panel {
    title: "Effective learning rate",
    metric: "learning_rate",
    y: "η",
    log: true,
    one_run: true,
    ceiling: None,
    of: |arm| arm.has_moving_rate() && arm.until_converged.is_none(),
};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct TableColumn {
    /// Its key in the file.
    pub key: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its unit.
    pub unit: Option<&'static str>,
    /// What is in it.
    pub what: What,
}

/// What is in a column.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A setting.
    Setting(&'static str),
    /// A metric after so many units; no column in shorter runs.
    After(u64, &'static str),
    /// A metric at the end.
    AtEnd(&'static str),
}

impl Show {
    /// Writes the file.
    ///
    /// # Errors
    /// If runs were not measured at the same steps, or the file cannot be written.
    pub fn write(&self, outcome: &Outcome<'_>, report: &mut Report) -> Result<()> {
        match *self {
            Show::Figure { id, title, panels } => {
                report.figure(&figure(id, title, panels, outcome, report)?)?;
            }
            Show::Table { id, title, columns } => {
                report.table(&table(id, title, columns, outcome, report))?;
            }
            Show::Own(write) => write(outcome, report)?,
        }
        Ok(())
    }
}

/// The letter of a panel.
fn letter(index: usize) -> String {
    char::from(b'a' + index as u8).to_string()
}

fn figure(
    id: &str,
    title: &str,
    panels: &[Panel],
    outcome: &Outcome<'_>,
    report: &Report,
) -> Result<Figure> {
    let mut series = Vec::new();
    let mut axes = Vec::new();
    for (index, panel) in panels.iter().enumerate() {
        let letter = letter(index);
        for arm in outcome
            .arms
            .iter()
            .filter(|arm| (panel.of)(arm.resolved.arm))
        {
            series.extend(outcome.series(arm, &letter, panel)?);
        }
        axes.push(Axes {
            panel: letter,
            title: panel.title.to_owned(),
            x: Axis::linear(outcome.part.unit.axis()),
            y: match panel.log {
                true => Axis::log(panel.y),
                false => Axis::linear(panel.y),
            },
        });
    }
    Ok(Figure {
        header: report.header(id, title),
        axes,
        series,
    })
}

impl ArmOutcome<'_> {
    /// What a step is on the horizontal axis.
    fn per_step(&self, unit: Unit) -> f64 {
        match (unit, self.resolved.workload) {
            (Unit::Sequences, crate::tasks::Workload::RepeatCopy(task)) => task.batch as f64,
            _ => 1.0 / self.resolved.steps_per_unit as f64,
        }
    }

    /// The last step that figures and tables show: an arm may go on for one claim.
    fn last_step(&self, outcome: &Outcome<'_>) -> u64 {
        match self.resolved.arm.extended {
            Some(_) => outcome.size.length * self.resolved.steps_per_unit,
            None => u64::MAX,
        }
    }
}

impl Outcome<'_> {
    fn curve(&self, arm: &ArmOutcome<'_>, result: &RunResult, metric: &str) -> Curve {
        let per_step = arm.per_step(self.part.unit);
        let curve = Curve::of(result, metric).up_to(arm.last_step(self));
        curve.over(|step| step * per_step)
    }

    /// An arm's curve in a panel.
    ///
    /// # Errors
    /// If runs were not measured at the same steps.
    pub fn series(
        &self,
        arm: &ArmOutcome<'_>,
        letter: &str,
        panel: &Panel,
    ) -> Result<Option<Series>> {
        if !panel.one_run {
            let results = arm.results.iter();
            let curves: Vec<Curve> = results
                .map(|result| self.curve(arm, result, panel.metric).below(panel.ceiling))
                .collect();
            return Ok(Some(series_over(letter, arm.name(), &curves)?));
        }
        Ok(arm.results.first().map(|first| {
            let names = ["", "_min", "_max"].map(|suffix| format!("{}{suffix}", panel.metric));
            let curves = names.map(|metric| self.curve(arm, first, &metric));
            short_term(letter, arm.name(), curves)
        }))
    }

    /// A metric of an arm's runs after so many units of length; at the end if there is no number.
    #[must_use]
    pub fn cell(&self, arm: &ArmOutcome<'_>, metric: &str, after: Option<u64>) -> Cell {
        let step = after.unwrap_or(self.size.length) * arm.resolved.steps_per_unit;
        let at_end = self.part.unit != Unit::Epochs && after.is_none();
        Cell::over(&arm.results, |result| {
            let column = result.metrics.get(metric)?;
            if at_end {
                let last = column.values.last().copied();
                return last.filter(|_| result.diverged_at().is_none());
            }
            let index = column.steps.binary_search(&step).ok()?;
            column.values.get(index).copied()
        })
    }
}

fn table(
    id: &str,
    title: &str,
    columns: &[TableColumn],
    outcome: &Outcome<'_>,
    report: &Report,
) -> Table {
    let fits = |column: &&TableColumn| match column.what {
        What::After(length, _) => length < outcome.size.length,
        What::Setting(_) | What::AtEnd(_) => true,
    };
    let columns: Vec<&TableColumn> = columns.iter().filter(fits).collect();
    let mut heads = vec![Column::new("method", "Method")];
    heads.extend(columns.iter().map(|column| {
        let length = format!("{} {}", outcome.size.length, outcome.part.unit.name());
        let title = column.title.replace("{length}", &length);
        Column {
            unit: column.unit.map(str::to_owned),
            ..Column::new(column.key, &title)
        }
    }));
    let row = |arm: &ArmOutcome<'_>| {
        // Settings that cannot be had have stopped the run long before.
        let settings = arm.resolved.settings().unwrap_or_default();
        let cell = |column: &&TableColumn| {
            let entry = match column.what {
                What::Setting(name) => match settings.get(name) {
                    Some(Value::Number(number)) => number.as_f64()?.into(),
                    Some(Value::String(text)) => text.as_str().into(),
                    _ => return None,
                },
                What::After(length, metric) => outcome.cell(arm, metric, Some(length)).into(),
                What::AtEnd(metric) => outcome.cell(arm, metric, None).into(),
            };
            Some((column.key.to_owned(), entry))
        };
        let method = ("method".to_owned(), Entry::from(arm.name()));
        [method]
            .into_iter()
            .chain(columns.iter().filter_map(cell))
            .collect()
    };
    let arms = outcome.arms.iter();
    Table {
        header: report.header(id, title),
        columns: heads,
        rows: arms
            .filter(|arm| arm.resolved.arm.until_converged.is_none())
            .map(row)
            .collect(),
    }
}
