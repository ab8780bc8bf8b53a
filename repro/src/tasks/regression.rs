//! The badly conditioned regression of section 3.1, Eq. (8): the mean over the samples of ‖W1·W2·x − y‖².

use anyhow::Result;
use autodiff::{GradientVector, Params};
use datasets::regression::{RegressionError, RegressionProblem, RegressionSpec};
use models::{Regression, TwoLayerLinear, TwoLayerShape};
use nalgebra::DMatrix;
use serde_json::{Map, Value, json};

use super::training::{Course, Ticks, Until};
use super::{Problem, Row};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::streams::{Purpose, stream};

/// Samples drawn once per run.
const SAMPLES: usize = 1000;
/// Condition number of A's row scales.
const CONDITION: f64 = 1e5;

/// The task at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Of the two matrices.
    pub shape: TwoLayerShape,
    /// Steps of a run.
    pub steps: u64,
    /// When it ends.
    pub until: Until,
}

/// Steps between two rows of metrics.
const WINDOW: u64 = 100;

impl Setting {
    /// The task's settings, for a run's identity and for the results.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        let TwoLayerShape {
            inputs,
            hidden,
            outputs,
        } = self.shape;
        Map::from_iter([
            ("task".to_owned(), json!("regression")),
            ("weights".to_owned(), json!(self.shape.weights())),
            ("inputs".to_owned(), json!(inputs)),
            ("hidden".to_owned(), json!(hidden)),
            ("outputs".to_owned(), json!(outputs)),
            ("samples".to_owned(), json!(SAMPLES)),
            ("condition".to_owned(), json!(CONDITION)),
            (
                "until".to_owned(),
                match self.until {
                    Until::Steps => json!("all steps are done"),
                    Until::Converged => json!("converged"),
                },
            ),
        ])
    }

    /// How long a run is, and when it logs.
    #[must_use]
    pub fn course(&self) -> Course {
        Course {
            steps: self.steps,
            window: Ticks::Every(WINDOW.min(self.steps.div_ceil(10))),
            stage: Ticks::TenIn(self.steps),
            marks: Some(self.until),
        }
    }

    fn draw(&self, seed: u64) -> Result<RegressionProblem, RegressionError> {
        let spec = RegressionSpec {
            inputs: self.shape.inputs,
            outputs: self.shape.outputs,
            samples: SAMPLES,
            condition: CONDITION,
        };
        RegressionProblem::generate(spec, &mut stream(seed, Purpose::Data))
    }

    /// The problem and the start of the run with this seed: A, X and the weights are drawn anew for each.
    ///
    /// # Errors
    /// If the problem cannot be drawn.
    pub fn problem(&self, seed: u64) -> Result<LeastSquares> {
        let problem = self.draw(seed)?;
        let mut params = Params::new();
        let init = &mut stream(seed, Purpose::Init);
        let network = TwoLayerLinear::new(&mut params, self.shape, init)?;
        Ok(LeastSquares {
            regression: Regression::new(network, self.shape, SAMPLES, &problem.x, &problem.y)?,
            params,
        })
    }

    /// The condition number of the A of the run with this seed: its largest singular value over its smallest.
    ///
    /// # Errors
    /// If the problem cannot be drawn.
    pub fn condition_of_a(&self, seed: u64) -> Result<f64> {
        let problem = self.draw(seed)?;
        let a = DMatrix::from_row_slice(self.shape.outputs, self.shape.inputs, &problem.a);
        let singular_values = a.singular_values();
        Ok(singular_values.max() / singular_values.min())
    }
}

/// One problem, with the weights that are to solve it. Every step is on all samples.
pub struct LeastSquares {
    /// The loss and its derivatives.
    pub regression: Regression<f64>,
    /// W1 and W2.
    pub params: Params<f64>,
}

impl Problem for LeastSquares {
    type T = f64;

    fn params(&self) -> &Params<f64> {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params<f64> {
        &mut self.params
    }

    fn loss_and_gradient(&mut self, gradient: &mut GradientVector<f64>) -> Result<f64> {
        Ok(self.regression.loss_and_gradient(&self.params, gradient)?)
    }

    fn loss_again(&mut self) -> Result<f64> {
        Ok(self.regression.loss(&self.params)?)
    }

    fn evaluate(&mut self, _: bool, _: &mut Row) -> Result<()> {
        Ok(())
    }

    fn save(&self, _: &mut Checkpoint) {}

    fn load(&mut self, _: &Checkpoint, _: u64) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;
    use crate::engine::experiment::{Experiment, Stop};
    use crate::engine::metrics::MetricLog;
    use crate::methods::{Kind, Method};
    use crate::tasks::Training;
    use crate::tasks::levenberg_marquardt::LevenbergMarquardtRun;

    const SMALL: Setting = Setting {
        shape: TwoLayerShape {
            inputs: 3,
            hidden: 3,
            outputs: 4,
        },
        steps: 50,
        until: Until::Steps,
    };

    fn training(setting: Setting, method: Method, seed: u64) -> Result<Training<LeastSquares>> {
        Training::new(setting.problem(seed)?, method, setting.course())
    }

    #[test]
    fn slicing_and_resuming_change_nothing() {
        for (kind, setting) in [
            (Kind::L4Adam, 0.25),
            (Kind::Momentum, 5e-4),
            (Kind::Adam, 1e-3),
        ] {
            for until in [Until::Steps, Until::Converged] {
                let task = Setting { until, ..SMALL };
                conformance::check(|| training(task, Method::new(kind, setting), 1)).unwrap();
            }
        }
    }

    #[test]
    fn a_rate_that_is_far_too_large_diverges() {
        let mut run = training(SMALL, Method::new(Kind::Sgd, 10.0), 0).unwrap();
        let end = run.advance(2000, &mut MetricLog::default());
        assert!(matches!(end, Err(Stop::Diverged { .. })), "{end:?}");
    }

    #[test]
    fn every_method_starts_from_the_same_problem_and_weights() {
        let loss = |kind| {
            let mut run = training(SMALL, Method::new(kind, 1e-3), 4).unwrap();
            run.step().unwrap().0
        };
        let sgd = loss(Kind::Sgd);
        assert_eq!(sgd, loss(Kind::L4Mom));
        let lma = LevenbergMarquardtRun::new(SMALL, 4).unwrap().loss();
        assert!((lma - sgd).abs() < 1e-12 * sgd, "{lma} {sgd}");
    }

    #[test]
    fn a_run_ends_once_it_has_converged() {
        let task = Setting {
            until: Until::Converged,
            steps: 20_000,
            ..SMALL
        };
        let mut log = MetricLog::default();
        let mut run = training(task, Method::new(Kind::L4Mom, 0.25), 1).unwrap();
        run.advance(u64::MAX, &mut log).unwrap();
        assert!(run.position() < task.steps);
        let marks: Vec<_> = log.timing().milestones.keys().cloned().collect();
        assert_eq!(marks, ["1e-6", "1e-10", "1e-14"]);
    }
}
