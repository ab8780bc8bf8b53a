//! The files that a section writes: how their [types](paper_figures::results) are filled from runs, and how they are
//! written.
//!
//! A number in them is finite. [`write()`] refuses NaN and infinities, and JSON's null appears in two places only: the
//! `mean` of a [`Cell`] without values and the `std` of a cell with fewer than two. A run that diverged or did not reach
//! what is measured is listed by its seed, never left out.

use std::path::{Path, PathBuf};

pub use paper_figures::results::{
    Axes, Axis, BandKind, Basis, Cell, Claims, Column, Divergence, Entry, Figure, Finding, Header,
    Mark, Part, Protocol, ResultFile, Scale, Series, Style, Table, Verdict,
};

use crate::engine::files::{self, Durability, FileError};
use crate::engine::json;
use crate::engine::run::RunResult;
use crate::stats::{self, Curve, GridError};

/// What a run contributes to a [`Cell`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measured {
    /// A value, which is finite.
    Value(f64),
    /// None, as the run diverged at this step.
    Diverged(u64),
    /// None, though the run ended well.
    NotReached,
}

/// A [`Cell`] from runs.
pub trait CellOfRuns: Sized {
    /// From what each run measured, with its seed.
    fn from_runs(runs: impl IntoIterator<Item = (u64, Measured)>) -> Self;

    /// From values that are of no seed, as times pair by pair.
    fn of_values(values: impl IntoIterator<Item = f64>) -> Self {
        Self::from_runs((0..).zip(values.into_iter().map(Measured::Value)))
    }

    /// From results. `measure` answers `None` where a run did not get to what is measured; whatever a run got to before it
    /// diverged counts.
    fn over<'a>(
        results: impl IntoIterator<Item = &'a RunResult>,
        measure: impl Fn(&RunResult) -> Option<f64>,
    ) -> Self {
        Self::from_runs(results.into_iter().map(|result| {
            let measured = match (measure(result), result.diverged_at()) {
                (Some(value), _) => Measured::Value(value),
                (None, Some(step)) => Measured::Diverged(step),
                (None, None) => Measured::NotReached,
            };
            (result.spec.seed, measured)
        }))
    }
}

impl CellOfRuns for Cell {
    fn from_runs(runs: impl IntoIterator<Item = (u64, Measured)>) -> Self {
        let mut cell = Cell::default();
        for (seed, measured) in runs {
            match measured {
                Measured::Value(value) => cell.values.push(value),
                Measured::Diverged(step) => cell.diverged.push(Divergence { seed, step }),
                Measured::NotReached => cell.not_reached.push(seed),
            }
        }
        cell.n = cell.values.len();
        cell.mean = stats::mean(&cell.values);
        cell.std = stats::sample_std(&cell.values);
        cell
    }
}

/// Mean over runs, and from the least to the greatest of them.
///
/// # Errors
/// If the curves are not on one grid.
pub fn series_over(panel: &str, method: &str, curves: &[Curve]) -> Result<Series, GridError> {
    let stats::Band { x, mean, low, high } = stats::band(curves)?;
    Ok(Series {
        x,
        mean,
        low,
        high,
        n: curves.len(),
        band: BandKind::Range,
        diverged: curves.iter().filter_map(Curve::divergence).collect(),
        ..Series::computed(panel, method, Style::Curve, &[])
    })
}

/// One run, point by point what a few steps amount to: a middle value, and the least and greatest.
#[must_use]
pub fn short_term(panel: &str, method: &str, [middle, low, high]: [Curve; 3]) -> Series {
    Series {
        diverged: middle.divergence().into_iter().collect(),
        x: middle.x,
        mean: middle.y,
        low: low.y,
        high: high.y,
        n: 1,
        band: BandKind::ShortTermRange,
        ..Series::computed(panel, method, Style::Curve, &[])
    }
}

impl Curve {
    fn divergence(&self) -> Option<Divergence> {
        let (seed, step) = (self.seed, self.diverged?);
        Some(Divergence { seed, step })
    }

    /// A metric over the steps of a run; empty if the run never logged it.
    #[must_use]
    pub fn of(result: &RunResult, metric: &str) -> Self {
        let column = result.metrics.get(metric).cloned().unwrap_or_default();
        Self {
            seed: result.spec.seed,
            x: column.steps.iter().map(|&step| step as f64).collect(),
            y: column.values,
            diverged: result.diverged_at(),
        }
    }

    /// The same over the steps up to one, of which a run is that diverges later.
    #[must_use]
    pub fn up_to(mut self, last: u64) -> Self {
        let kept = self.x.partition_point(|&step| step <= last as f64);
        self.x.truncate(kept);
        self.y.truncate(kept);
        self.diverged = self.diverged.filter(|step| *step <= last);
        self
    }

    /// The same with what is more than `ceiling` times its first value there.
    #[must_use]
    pub fn below(mut self, ceiling: Option<f64>) -> Self {
        if let (Some(ceiling), Some(&first)) = (ceiling, self.y.first()) {
            self.y.iter_mut().for_each(|y| *y = y.min(ceiling * first));
        }
        self
    }

    /// The same over another measure of progress, as epochs.
    #[must_use]
    pub fn over(mut self, x_of_step: impl Fn(f64) -> f64) -> Self {
        self.x.iter_mut().for_each(|x| *x = x_of_step(*x));
        self
    }
}

/// A result that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It contradicts itself, or a number in it is not finite. An error of the section's author.
    #[error("{id}.json would be wrong and was not written: {defect}")]
    Defect {
        /// Which file.
        id: String,
        /// What is wrong.
        defect: String,
    },
}

/// Writes `<id>.json` into a directory and returns its path. The file is there as a whole or, on an error, as it was.
///
/// # Errors
/// If the system refuses, or the result contradicts itself or holds a number that is not finite.
pub fn write(directory: &Path, file: &impl ResultFile) -> Result<PathBuf, WriteError> {
    let id = &file.header().id;
    let wrong = |defect| WriteError::Defect {
        id: id.clone(),
        defect,
    };
    let value = serde_json::to_value(file).map_err(|error| wrong(error.to_string()))?;
    file.check().map_err(|defect| wrong(defect.to_string()))?;
    if let Some(pointer) = value.as_object().and_then(json::find_null) {
        return Err(wrong(format!(
            "the number at {pointer} is missing or not finite"
        )));
    }
    let path = directory.join(format!("{id}.json"));
    files::write(&path, json::pretty(&value).as_bytes(), Durability::Power)?;
    Ok(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    use crate::engine::provenance::DataSet;

    pub(crate) fn header(id: &str) -> Header {
        let data = DataSet::generated("regression, condition 1e5");
        Header {
            id: id.to_owned(),
            title: "A title".to_owned(),
            section: "3.1".to_owned(),
            protocol: Protocol {
                preset: "paper".to_owned(),
                steps: Some(100),
                ..Protocol::default()
            },
            deviations: Vec::new(),
            provenance: crate::engine::provenance::of_this_program(std::time::UNIX_EPOCH, data),
            paper: None,
        }
    }

    fn figure(mean: f64) -> Figure {
        let (x, y) = (Axis::linear("step"), Axis::log("loss"));
        let curve = |seed, y: f64| Curve {
            seed,
            x: vec![1.0],
            y: vec![y],
            diverged: None,
        };
        let curves = [curve(0, mean), curve(1, mean)];
        let series = vec![series_over("a", "mSGD", &curves).unwrap()];
        let axes = vec![Axes {
            panel: "a".into(),
            title: "Loss".into(),
            x,
            y,
        }];
        Figure {
            header: header("figure2"),
            axes,
            series,
        }
    }

    fn refusal(file: &impl ResultFile) -> String {
        let directory = tempfile::tempdir().unwrap();
        let error = write(directory.path(), file).unwrap_err();
        assert_eq!(
            directory.path().read_dir().unwrap().count(),
            0,
            "nothing is written"
        );
        error.to_string()
    }

    #[test]
    fn an_explosion_is_cut_at_a_ceiling() {
        let curve = Curve {
            seed: 0,
            x: vec![1.0, 2.0, 3.0],
            y: vec![2.0, 19.0, 1e200],
            diverged: None,
        };
        assert_eq!(curve.clone().below(Some(10.0)).y, [2.0, 19.0, 20.0]);
        assert_eq!(curve.clone().below(None), curve);
    }

    #[test]
    fn a_divergence_after_what_is_shown_is_not_shown() {
        let curve = |diverged| Curve {
            seed: 0,
            x: vec![1.0, 2.0, 3.0],
            y: vec![0.5; 3],
            diverged,
        };
        assert_eq!(curve(Some(4)).up_to(3), curve(None));
        assert_eq!(curve(Some(3)).up_to(3), curve(Some(3)));
        assert_eq!(curve(None).up_to(2).x, [1.0, 2.0]);
        assert_eq!(curve(None).up_to(u64::MAX), curve(None));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let figure = figure(0.1);
        let path = write(directory.path(), &figure).unwrap();
        assert_eq!(path, directory.path().join("figure2.json"));
        let text = std::fs::read(path).unwrap();
        assert_eq!(serde_json::from_slice::<Figure>(&text).unwrap(), figure);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_wherever_it_is() {
        assert!(refusal(&figure(f64::NAN)).contains("at `series[0].mean[0]`: "));
        let mut figure = figure(1.0);
        figure.header.provenance.wall_seconds = f64::INFINITY;
        assert!(refusal(&figure).contains("at `provenance.wall_seconds`: "));

        let row = |entry| [("a".to_owned(), entry)].into();
        let nan = Cell::from_runs([(0, Measured::Value(f64::NAN)), (1, Measured::Value(1.0))]);
        let rows = vec![row(Cell::default().into()), row(nan.into())];
        let table = Table {
            header: header("table2"),
            columns: vec![Column::new("a", "A")],
            rows,
        };
        assert!(refusal(&table).contains("at `rows[1].a.mean`: "));

        let measured = json!({"loss": f64::NAN}).as_object().unwrap().clone();
        let (id, claim, evidence) = ("C3".into(), "It holds.".into(), "It does not.".into());
        let claim = Finding {
            id,
            claim,
            task: None,
            verdict: Verdict::NotReproduced,
            basis: Some(Basis::Full),
            parts: Vec::new(),
            evidence,
            measured,
        };
        let claims = Claims {
            header: header("claims"),
            claims: vec![claim],
        };
        assert!(refusal(&claims).contains("/claims/0/measured/loss "));
    }

    #[test]
    fn a_result_that_contradicts_itself_is_refused() {
        let mut stray = figure(1.0);
        stray.series[0].panel = "b".into();
        assert!(refusal(&stray).contains("expected a panel of `axes` (a), found `b`"));
        let mut uneven = figure(1.0);
        uneven.series[0].low.push(1.0);
        assert!(refusal(&uneven).contains("at `series[0].low`: expected 1 values"));
        let rows = vec![[("time".to_owned(), 1.0.into())].into()];
        let table = Table {
            header: header("table2"),
            columns: vec![Column::new("a", "A")],
            rows,
        };
        assert!(refusal(&table).contains("at `rows[0].time`: expected the key of a column (a)"));
    }

    #[test]
    fn a_cell_counts_every_run() {
        use Measured::{Diverged, NotReached, Value};
        let cell = Cell::from_runs((10..).zip([Value(1.0), Diverged(7), NotReached, Value(4.0)]));
        let expected = json!({
            "mean": 2.5, "std": 4.5_f64.sqrt(), "n": 2, "values": [1.0, 4.0],
            "diverged": [{"seed": 11, "step": 7}], "not_reached": [12],
        });
        assert_eq!(serde_json::to_value(&cell).unwrap(), expected);
        let none = json!({"mean": null, "std": null, "n": 0, "values": []});
        assert_eq!(serde_json::to_value(Cell::default()).unwrap(), none);
    }
}
