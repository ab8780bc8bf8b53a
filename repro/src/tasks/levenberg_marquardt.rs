//! Regression by Levenberg–Marquardt, section 3.1.1: no gradient method, so a run of its own.

use anyhow::{Context, Result};
use l4::{LeastSquares, LevenbergMarquardt, LevenbergMarquardtOutcome};
use models::Regression;
use serde_json::{Map, Value, json};

use super::marks::Marks;
use super::regression::Setting;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::experiment::{Advance, Experiment, Stop};
use crate::engine::metrics::MetricLog;
use crate::methods::{self, load_state, save_state};

/// [`Regression`] as the least-squares problem that Levenberg–Marquardt solves.
struct Residuals {
    regression: Regression<f64>,
    parameters: usize,
}

impl LeastSquares for Residuals {
    fn residual_count(&self) -> usize {
        self.regression.residual_count()
    }

    fn parameter_count(&self) -> usize {
        self.parameters
    }

    fn residuals(&mut self, x: &[f64], r: &mut [f64]) {
        self.regression.residuals(x, r);
    }

    fn jacobian(&mut self, x: &[f64], j: &mut [f64]) {
        self.regression.jacobian(x, j);
    }
}

/// A run of Levenberg–Marquardt until it converges. A step is one attempt to solve the linear system, taken or not.
pub struct LevenbergMarquardtRun {
    solver: LevenbergMarquardt<Residuals>,
    weights: Vec<f64>,
    position: u64,
    total: u64,
    marks: Marks,
    loss: f64,
}

impl LevenbergMarquardtRun {
    /// The run with this seed, before its first step: the same problem and start as those of the other methods.
    ///
    /// # Errors
    /// If the problem cannot be drawn.
    pub fn new(setting: Setting, seed: u64) -> Result<Self> {
        let problem = setting.problem(seed)?;
        let weights = problem.params.values().to_vec();
        let mut residuals = Residuals {
            regression: problem.regression,
            parameters: weights.len(),
        };
        let mut at_start = vec![0.0; residuals.residual_count()];
        residuals.residuals(&weights, &mut at_start);
        Ok(Self {
            solver: LevenbergMarquardt::new(residuals),
            weights,
            position: 0,
            total: setting.steps,
            marks: Marks::default(),
            loss: at_start.iter().map(|r| r * r).sum(),
        })
    }

    /// Its settings, as the solver tells them, for a run's identity and for the results.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        methods::to_json(&self.solver.settings())
    }

    /// The loss at the current weights.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    fn observe(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        log.push(self.position, &[("loss", self.loss)])?;
        self.marks.observe(self.position, self.loss, log);
        Ok(())
    }

    fn finished(&self) -> bool {
        self.position == self.total || self.marks.complete()
    }
}

impl Experiment for LevenbergMarquardtRun {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        if self.marks.first_loss().is_none() {
            self.observe(log)?;
        }
        for _ in 0..max_steps {
            if self.finished() {
                break;
            }
            let step = self.solver.step(&mut self.weights)?;
            self.loss = 2.0 * step.loss_after;
            self.position += 1;
            if step.outcome == LevenbergMarquardtOutcome::Stationary {
                self.total = self.position;
            }
            self.observe(log)?;
        }
        Ok(Advance::of(self.finished()))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put("params", &[self.weights.len()], &self.weights);
        checkpoint.put_scalar("position", self.position);
        checkpoint.put_scalar("total", self.total);
        checkpoint.put_scalar("loss", self.loss);
        self.marks.save(&mut checkpoint);
        save_state(&mut checkpoint, &self.solver.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.read_into("params", &mut self.weights)?;
        self.position = checkpoint.scalar("position")?;
        self.total = checkpoint.scalar("total")?;
        self.loss = checkpoint.scalar("loss")?;
        self.marks = Marks::load(checkpoint)?;
        self.solver
            .restore(load_state(checkpoint)?)
            .context("the solver's state")
    }

    fn summary(&self) -> Map<String, Value> {
        let summary = json!({"final_loss": self.loss, "first_loss": self.marks.first_loss()});
        summary.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;
    use crate::tasks::training::Until;
    use models::TwoLayerShape;

    #[test]
    fn slicing_and_resuming_change_nothing() {
        let setting = Setting {
            shape: TwoLayerShape {
                inputs: 3,
                hidden: 3,
                outputs: 4,
            },
            steps: 12,
            until: Until::Converged,
        };
        conformance::check(|| LevenbergMarquardtRun::new(setting, 1)).unwrap();
    }
}
