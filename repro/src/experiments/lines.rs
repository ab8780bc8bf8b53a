//! Methods at their settings, and what came of their runs: what all comparisons of training curves have in common.

use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::methods::{L4_ADAM, L4_MOM, Method};
use crate::results::{Cell, CellOfRuns, Series, SeriesOfRuns, Verdict};
use crate::run::RunResult;
use crate::stats::{Curve, GridError, Spread};

/// A method at its setting: one curve of a section's figures.
#[derive(Clone)]
pub struct Line<S> {
    /// What the section's results call it.
    pub name: String,
    /// The method.
    pub method: Method,
    /// What it is run on.
    pub setting: S,
}

/// What was run and what came of it; each line has a result for every seed.
pub struct Runs<S>(pub Vec<(Line<S>, Vec<RunResult>)>);

/// How a setting's progress is measured.
pub trait Axis {
    /// Steps that make one unit of a figure's horizontal axis, as an epoch.
    fn steps_per_unit(&self) -> f64;
}

impl<S: Axis> Line<S> {
    /// A metric of a run, over the setting's axis.
    fn curve(&self, result: &RunResult, metric: &str) -> Curve {
        let steps_per_unit = self.setting.steps_per_unit();
        Curve::of(result, metric).over(|step| step / steps_per_unit)
    }

    /// A metric of all its runs, over the setting's axis.
    ///
    /// # Errors
    /// If they were not measured at the same steps.
    pub fn series(
        &self,
        panel: &str,
        results: &[RunResult],
        metric: &str,
    ) -> Result<Series, GridError> {
        let curves: Vec<Curve> = results.iter().map(|run| self.curve(run, metric)).collect();
        Series::over(panel, &self.name, &curves, Spread::Range)
    }
}

impl<S> Runs<S> {
    /// From results that come line by line, equally many for each.
    #[must_use]
    pub fn new(lines: Vec<Line<S>>, results: &[RunResult]) -> Self {
        let seeds = results.len() / lines.len().max(1);
        let chunks = results.chunks(seeds.max(1)).map(<[_]>::to_vec);
        Self(lines.into_iter().zip(chunks).collect())
    }

    /// A line and its results, if it was run.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<(&Line<S>, &[RunResult])> {
        let (line, results) = self.0.iter().find(|(line, _)| line.name == name)?;
        Some((line, results))
    }

    /// The results of a line, if it was run.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&[RunResult]> {
        self.line(name).map(|(_, results)| results)
    }

    /// Final training losses of a line.
    #[must_use]
    pub fn final_losses(&self, name: &str) -> Option<Cell> {
        self.of(name).map(Cell::final_losses)
    }

    /// C1 on this task; `task` says what the final losses are, `bases` which lines are L4Adam's and L4Mom's base methods at
    /// their best rates.
    #[must_use]
    pub fn lower_final_loss(&self, task: &str, bases: [&'static str; 2]) -> Option<Finding> {
        let cell = |name| Some((name, self.final_losses(name)?));
        let pair = |l4, base| Some([cell(l4)?, cell(base)?]);
        let pairs = [pair(L4_ADAM, bases[0])?, pair(L4_MOM, bases[1])?];
        Some(claims::lower_loss(task, pairs))
    }

    /// C6 on this task, for L4 at its default and the other L4 lines among `names`.
    #[must_use]
    pub fn rates_that_move(
        &self,
        task: &str,
        names: &[&'static str],
        periods: Periods,
    ) -> Option<Finding> {
        if [L4_ADAM, L4_MOM].iter().any(|name| self.of(name).is_none()) {
            return None;
        }
        let movements = names.iter().filter_map(|name| {
            let results = self.of(name)?.iter();
            Some((
                *name,
                results.map(|run| Movement::of(run, periods)).collect(),
            ))
        });
        let movements: Vec<_> = movements.collect();
        Some(moving_rates(task, periods, &movements))
    }
}

impl<S: Axis> Runs<S> {
    /// A metric of every line, over the setting's axis.
    ///
    /// # Errors
    /// If runs were not measured at the same steps.
    pub fn series(&self, panel: &str, metric: &str) -> Result<Vec<Series>, GridError> {
        let series = self.0.iter();
        series
            .map(|(line, results)| line.series(panel, results, metric))
            .collect()
    }

    /// The effective learning rates of the named lines, with their short-term range. One run of each, as a mean over runs
    /// would smooth away the very movements that they are to show.
    #[must_use]
    pub fn rates(&self, panel: &str, names: &[&str]) -> Vec<Series> {
        let lines = names.iter().filter_map(|name| self.line(name));
        lines
            .filter_map(|(line, results)| {
                let first = results.first()?;
                let metrics = ["learning_rate", "learning_rate_min", "learning_rate_max"];
                let curves = metrics.map(|metric| line.curve(first, metric));
                Some(Series::short_term(panel, &line.name, curves))
            })
            .collect()
    }
}

/// What a run logs of its rates and losses, in words and by name.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// What the rows of the metric `learning_rate` each stand for, in the plural.
    pub windows: &'static str,
    /// What the rows of `losses` each stand for.
    pub period: &'static str,
    /// A metric: mean losses of longer periods.
    pub losses: &'static str,
}

/// The values of a metric.
#[must_use]
pub fn values<'a>(result: &'a RunResult, metric: &str) -> &'a [f64] {
    let column = result.metrics.get(metric);
    column.map_or(&[], |column| &column.values)
}

/// How much the effective learning rate of a run moves within a window.
pub struct Movement {
    /// Windows without a step of rate 0.
    pub windows: usize,
    /// Of them, those in which the greatest rate is at least 100 times the least.
    pub wide: usize,
    /// Whether the run diverged or had a later period of higher loss than its first.
    pub unstable: bool,
}

impl Movement {
    /// From what the run logged.
    #[must_use]
    pub fn of(result: &RunResult, periods: Periods) -> Self {
        let low = values(result, "learning_rate_min");
        let high = values(result, "learning_rate_max");
        let moving = low.iter().zip(high).filter(|(low, _)| **low > 0.0);
        let losses = values(result, periods.losses);
        Self {
            windows: moving.clone().count(),
            wide: moving.filter(|(low, high)| *high / *low >= 100.0).count(),
            unstable: result.diverged_at().is_some() || losses.iter().any(|loss| *loss > losses[0]),
        }
    }
}

/// C6, from the movements of each method's runs.
fn moving_rates(task: &str, periods: Periods, movements: &[(&str, Vec<Movement>)]) -> Finding {
    let all = || movements.iter().flat_map(|(_, movements)| movements);
    let moves = |movement: &Movement| movement.wide > 0;
    let verdict = if all().all(|movement| moves(movement) && !movement.unstable) {
        Verdict::Reproduced
    } else if all().any(moves) {
        Verdict::Partly
    } else {
        Verdict::NotReproduced
    };
    let sum = |movements: &[Movement], count: fn(&Movement) -> usize| -> usize {
        movements.iter().map(count).sum()
    };
    let counts: Map<String, Value> = movements
        .iter()
        .map(|(name, movements)| {
            let counts = json!({
                "windows": sum(movements, |m| m.windows),
                "windows_of_two_orders": sum(movements, |m| m.wide),
                "runs_with_such_a_window": sum(movements, |m| usize::from(m.wide > 0)),
                "unstable_runs": sum(movements, |m| usize::from(m.unstable)),
                "runs": movements.len(),
            });
            ((*name).to_owned(), counts)
        })
        .collect();
    let parts = movements.iter().map(|(name, movements)| {
        let (wide, windows) = (sum(movements, |m| m.wide), sum(movements, |m| m.windows));
        let unstable = sum(movements, |m| usize::from(m.unstable));
        format!(
            "{name} in {wide} of {windows}, {unstable} of {} runs unstable",
            movements.len()
        )
    });
    let Periods {
        windows, period, ..
    } = periods;
    Finding {
        id: "C6",
        verdict,
        evidence: format!(
            "{task}. {windows} in which the greatest effective learning rate is at least 100 times the least (those \
             with a rate of 0 left out): {}. Reproduced would be some in every run, and no run unstable, which is to diverge or to \
             have a later {period} of higher loss than the first; partly, some in any run.",
            parts.collect::<Vec<_>>().join("; ")
        ),
        measured: Value::Object(counts),
    }
}
