//! Grid search for a constant learning rate, with restarts: what the paper calls the best rate of a method.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::methods::Method;
use crate::results::{Cell, CellOfRuns};
use crate::runner::{Planned, Runner, RunnerError};

/// The first seed of a search's restarts, apart from those of the reported runs.
pub const FIRST_SEED: u64 = 1_000_000;

/// A method whose best constant rate is searched for.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The method, as the paper's legends call it.
    pub name: &'static str,
    /// The rate around which the default grid lies.
    pub rate: f64,
    /// Where that rate comes from.
    pub origin: Origin,
    /// By which powers of two the default grid multiplies it.
    pub powers: RangeInclusive<i32>,
    /// The method at a rate.
    pub method: fn(f64) -> Method,
}

/// Where a rate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The best rate according to the paper.
    Paper,
    /// The repository that the paper compares with, which is not to say that it is the best.
    Repository,
}

impl Baseline {
    /// The default grid, in increasing order.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        let powers = self.powers.clone();
        powers.map(|k| self.rate * 2f64.powi(k)).collect()
    }
}

/// Rates to try, and the seeds to try each with. Keep these seeds apart from those of the reported runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RateGrid {
    /// In increasing order; at least one.
    pub rates: Vec<f64>,
    /// A restart for each.
    pub seeds: Vec<u64>,
}

/// A grid and what was measured on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    grid: RateGrid,
    /// Final training losses, by rate.
    scores: Vec<Cell>,
}

impl RateGrid {
    /// A grid with this many restarts of each rate, from [`FIRST_SEED`] on.
    #[must_use]
    pub fn new(mut rates: Vec<f64>, restarts: u64) -> Self {
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        Self {
            rates,
            seeds: (FIRST_SEED..FIRST_SEED + restarts).collect(),
        }
    }

    /// Runs every rate with every seed. `plan` makes the run; its summary has to hold `final_loss`.
    ///
    /// # Errors
    /// If a run fails; divergence is no failure but a bad score.
    pub fn search<'a>(
        self,
        runner: &Runner,
        plan: impl Fn(f64, u64) -> Planned<'a>,
    ) -> Result<Search, RunnerError> {
        let pairs = self
            .rates
            .iter()
            .flat_map(|&rate| self.seeds.iter().map(move |&seed| (rate, seed)));
        let planned: Vec<Planned> = pairs.map(|(rate, seed)| plan(rate, seed)).collect();
        let results = runner.run(&planned)?;
        let scores = results.chunks(self.seeds.len().max(1));
        let scores = scores.map(Cell::final_losses);
        Ok(Search {
            scores: scores.collect(),
            grid: self,
        })
    }
}

impl Search {
    /// The rate with the lowest mean final training loss among those that never diverged; the lowest rate if all did.
    #[must_use]
    pub fn best(&self) -> f64 {
        let scored = self
            .grid
            .rates
            .iter()
            .zip(&self.scores)
            .map(|(&rate, cell)| (rate, cell.height()));
        scored
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map_or(f64::NAN, |(rate, _)| rate)
    }

    /// Every rate with its final losses.
    pub fn scores(&self) -> impl Iterator<Item = (f64, &Cell)> {
        self.grid.rates.iter().copied().zip(&self.scores)
    }

    /// The final losses at a rate of the grid.
    #[must_use]
    pub fn score(&self, rate: f64) -> Option<&Cell> {
        let index = self.grid.rates.iter().position(|other| *other == rate)?;
        self.scores.get(index)
    }

    /// Whether the best rate is the first or last of the grid, so that a better one may lie beyond.
    #[must_use]
    pub fn at_edge(&self) -> bool {
        let best = Some(self.best());
        best == self.grid.rates.first().copied() || best == self.grid.rates.last().copied()
    }

    /// The grid, every score and the rule, for the results.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let scores = self
            .grid
            .rates
            .iter()
            .zip(&self.scores)
            .map(|(rate, cell)| json!({"rate": rate, "final_loss": cell}));
        json!({
            "rule": "lowest mean final training loss over the restarts, among rates of which no restart diverged",
            "seeds": self.grid.seeds,
            "scores": scores.collect::<Vec<_>>(),
            "best": self.best(),
            "best_is_at_the_edge_of_the_grid": self.at_edge(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Measured;

    fn search(scores: [&[Measured]; 3]) -> Search {
        let grid = RateGrid {
            rates: vec![0.1, 0.2, 0.4],
            seeds: vec![7, 8],
        };
        let cell = |runs: &[Measured]| {
            Cell::from_runs(runs.iter().enumerate().map(|(i, &m)| (i as u64, m)))
        };
        Search {
            grid,
            scores: scores.map(cell).to_vec(),
        }
    }

    #[test]
    fn rates_are_tried_in_order_and_once() {
        let grid = RateGrid::new(vec![0.5, 1e-3, 0.5], 2);
        assert_eq!(grid.rates, [1e-3, 0.5]);
        assert_eq!(grid.seeds, [FIRST_SEED, FIRST_SEED + 1]);
    }

    #[test]
    fn the_best_rate_has_the_lowest_mean_and_never_diverged() {
        use Measured::{Diverged, Value};
        let better_but_unsafe = [Value(0.1), Diverged(5)];
        let found = search([
            &[Value(3.0), Value(2.0)],
            &[Value(1.0), Value(1.5)],
            &better_but_unsafe,
        ]);
        assert_eq!(found.best(), 0.2);
        let none = search([&[Diverged(1)], &[Diverged(1)], &[Diverged(1)]]);
        assert_eq!(none.best(), 0.1);
    }
}
