//! One run on the badly conditioned regression of section 3.1, by a first-order method or by Levenberg–Marquardt.

use anyhow::Context;
use autodiff::{GradientVector, Params};
use datasets::regression::{RegressionError, RegressionProblem, RegressionSpec};
use l4::{LeastSquares, LevenbergMarquardt, LevenbergMarquardtOutcome, Optimizer, StepError};
use models::{Regression, TwoLayerLinear, TwoLayerShape};
use nalgebra::DMatrix;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::experiment::{Advance, Experiment, Stop};
use crate::methods::{Method, load_state, save_state};
use crate::metrics::MetricLog;
use crate::streams::{Purpose, stream};

/// Samples drawn once per run.
const SAMPLES: usize = 1000;

/// Condition number of A's row scales.
const CONDITION: f64 = 1e5;

/// Losses, relative to the first, whose first passing is noted.
pub const TOLERANCES: [(&str, f64); 3] = [("1e-6", 1e-6), ("1e-10", 1e-10), ("1e-14", 1e-14)];

/// The task's size, for a run's identity.
#[must_use]
pub fn size(shape: TwoLayerShape) -> Map<String, Value> {
    let TwoLayerShape {
        inputs,
        hidden,
        outputs,
    } = shape;
    let size = json!({"inputs": inputs, "hidden": hidden, "outputs": outputs, "samples": SAMPLES, "condition": CONDITION});
    size.as_object().cloned().unwrap_or_default()
}

fn problem(seed: u64, shape: TwoLayerShape) -> Result<RegressionProblem, RegressionError> {
    let spec = RegressionSpec {
        inputs: shape.inputs,
        outputs: shape.outputs,
        samples: SAMPLES,
        condition: CONDITION,
    };
    RegressionProblem::generate(spec, &mut stream(seed, Purpose::Data))
}

/// The problem and the start of the run with this seed: A, X and the weights are drawn anew for each.
fn draw(seed: u64, shape: TwoLayerShape) -> anyhow::Result<(Regression<f64>, Params<f64>)> {
    let problem = problem(seed, shape)?;
    let mut params = Params::new();
    let network = TwoLayerLinear::new(&mut params, shape, &mut stream(seed, Purpose::Init))?;
    Ok((
        Regression::new(network, shape, SAMPLES, &problem.x, &problem.y)?,
        params,
    ))
}

/// The condition number of the A of the run with this seed: its largest singular value over its smallest.
///
/// # Errors
/// If the problem cannot be drawn.
pub fn condition_of_a(seed: u64, shape: TwoLayerShape) -> anyhow::Result<f64> {
    let problem = problem(seed, shape)?;
    let a = DMatrix::from_row_slice(shape.outputs, shape.inputs, &problem.a);
    let singular_values = a.singular_values();
    Ok(singular_values.max() / singular_values.min())
}

/// Notes which tolerances a run has passed.
#[derive(Default)]
struct Convergence {
    first_loss: Option<f64>,
    passed: usize,
}

impl Convergence {
    /// Takes the loss after `step` updates.
    fn observe(&mut self, step: u64, loss: f64, log: &mut MetricLog) {
        let first = *self.first_loss.get_or_insert(loss);
        while let Some((name, _)) = TOLERANCES
            .get(self.passed)
            .filter(|(_, t)| loss <= t * first)
        {
            log.milestone(step, name);
            self.passed += 1;
        }
    }

    fn complete(&self) -> bool {
        self.passed == TOLERANCES.len()
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put(
            "first_loss",
            &[usize::from(self.first_loss.is_some())],
            self.first_loss.as_slice(),
        );
        checkpoint.put_scalar("tolerances_passed", self.passed as u64);
    }

    fn load(checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            first_loss: checkpoint.values("first_loss")?.first().copied(),
            passed: checkpoint.scalar::<u64>("tolerances_passed")?.try_into()?,
        })
    }
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// For all its steps, logging every so many.
    Steps {
        /// Steps between two logged losses.
        log_every: u64,
    },
    /// Until the last of [`TOLERANCES`] is passed, or all its steps are done.
    Converged,
}

/// A run of a first-order method.
pub struct FirstOrder {
    regression: Regression<f64>,
    params: Params<f64>,
    grads: GradientVector<f64>,
    optimizer: Box<dyn Optimizer<f64>>,
    position: u64,
    total: u64,
    until: Until,
    convergence: Convergence,
    last_loss: f64,
}

impl FirstOrder {
    /// The run with this seed, before its first step.
    ///
    /// # Errors
    /// If the method's settings are out of range.
    pub fn new(
        seed: u64,
        shape: TwoLayerShape,
        method: Method,
        total: u64,
        until: Until,
    ) -> anyhow::Result<Self> {
        let (regression, params) = draw(seed, shape)?;
        Ok(Self {
            grads: params.zeros_like(),
            regression,
            params,
            optimizer: method.optimizer()?,
            position: 0,
            total,
            until,
            convergence: Convergence::default(),
            last_loss: f64::NAN,
        })
    }

    /// Evaluates the loss and gradient at the current weights, for the log and for the next step.
    fn observe(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        let step = self.position;
        self.last_loss = self.evaluate()?;
        if let Until::Steps { log_every } = self.until
            && (step == self.total || step.is_multiple_of(log_every))
        {
            log.push(step, &[("loss", self.last_loss)])?;
        }
        self.convergence.observe(step, self.last_loss, log);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<f64, autodiff::Error> {
        self.regression
            .loss_and_gradient(self.params.values(), &mut self.grads)
    }

    fn finished(&self) -> bool {
        let converged = self.until == Until::Converged && self.convergence.complete();
        converged || self.position == self.total
    }
}

impl Experiment for FirstOrder {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        if self.convergence.first_loss.is_none() {
            self.observe(log)?;
        }
        for _ in 0..max_steps {
            if self.finished() {
                break;
            }
            let step =
                self.optimizer
                    .step(self.last_loss, self.params.values_mut(), &mut self.grads);
            step.map_err(|error| stop(error, self.position))?;
            self.position += 1;
            self.observe(log)?;
        }
        Ok(advance(self.finished()))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put("params", &[self.params.len()], self.params.values());
        checkpoint.put_scalar("position", self.position);
        checkpoint.put_scalar("last_loss", self.last_loss);
        self.convergence.save(&mut checkpoint);
        save_state(&mut checkpoint, &self.optimizer.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        checkpoint.read_into("params", self.params.values_mut())?;
        self.position = checkpoint.scalar("position")?;
        self.last_loss = checkpoint.scalar("last_loss")?;
        self.convergence = Convergence::load(checkpoint)?;
        self.optimizer
            .restore(load_state(checkpoint)?)
            .context("the optimiser's state")?;
        if self.convergence.first_loss.is_some() {
            self.evaluate()?;
        }
        Ok(())
    }

    fn summary(&self) -> Map<String, Value> {
        summary(self.last_loss, &self.convergence)
    }
}

/// What a slice answers.
fn advance(finished: bool) -> Advance {
    if finished {
        Advance::Finished
    } else {
        Advance::Running
    }
}

/// What a refused step means for the run.
pub(crate) fn stop(error: StepError, step: u64) -> Stop {
    match error {
        StepError::NonFiniteLoss { .. }
        | StepError::UnusableGradient { .. }
        | StepError::Overflow { .. } => Stop::Diverged {
            step,
            reason: error.to_string(),
        },
        other => Stop::Failed(other.into()),
    }
}

fn summary(last_loss: f64, convergence: &Convergence) -> Map<String, Value> {
    let summary = json!({"final_loss": last_loss, "first_loss": convergence.first_loss});
    summary.as_object().cloned().unwrap_or_default()
}

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

/// A run of Levenberg–Marquardt. A step is one attempt to solve the linear system, taken or not.
pub struct Lma {
    solver: LevenbergMarquardt<Residuals>,
    weights: Vec<f64>,
    position: u64,
    total: u64,
    convergence: Convergence,
    last_loss: f64,
}

impl Lma {
    /// The run with this seed, before its first step: the same problem and start as [`FirstOrder`]'s.
    ///
    /// # Errors
    /// If the problem cannot be drawn.
    pub fn new(seed: u64, shape: TwoLayerShape, total: u64) -> anyhow::Result<Self> {
        let (regression, params) = draw(seed, shape)?;
        let weights = params.values().to_vec();
        let mut residuals = Residuals {
            regression,
            parameters: weights.len(),
        };
        let mut at_start = vec![0.0; residuals.residual_count()];
        residuals.residuals(&weights, &mut at_start);
        Ok(Self {
            solver: LevenbergMarquardt::new(residuals),
            weights,
            position: 0,
            total,
            convergence: Convergence::default(),
            last_loss: at_start.iter().map(|r| r * r).sum(),
        })
    }
}

impl Lma {
    fn observe(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        log.push(self.position, &[("loss", self.last_loss)])?;
        self.convergence.observe(self.position, self.last_loss, log);
        Ok(())
    }

    fn finished(&self) -> bool {
        self.position == self.total || self.convergence.complete()
    }
}

impl Experiment for Lma {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        if self.convergence.first_loss.is_none() {
            self.observe(log)?;
        }
        for _ in 0..max_steps {
            if self.finished() {
                break;
            }
            let step = self.solver.step(&mut self.weights)?;
            self.last_loss = 2.0 * step.loss_after;
            self.position += 1;
            if step.outcome == LevenbergMarquardtOutcome::Stationary {
                self.total = self.position;
            }
            self.observe(log)?;
        }
        Ok(advance(self.finished()))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put("params", &[self.weights.len()], &self.weights);
        checkpoint.put_scalar("position", self.position);
        checkpoint.put_scalar("total", self.total);
        checkpoint.put_scalar("last_loss", self.last_loss);
        self.convergence.save(&mut checkpoint);
        save_state(&mut checkpoint, &self.solver.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        checkpoint.read_into("params", &mut self.weights)?;
        self.position = checkpoint.scalar("position")?;
        self.total = checkpoint.scalar("total")?;
        self.last_loss = checkpoint.scalar("last_loss")?;
        self.convergence = Convergence::load(checkpoint)?;
        self.solver
            .restore(load_state(checkpoint)?)
            .context("the solver's state")
    }

    fn summary(&self) -> Map<String, Value> {
        summary(self.last_loss, &self.convergence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    const SMALL: TwoLayerShape = TwoLayerShape {
        inputs: 3,
        hidden: 3,
        outputs: 4,
    };

    #[test]
    fn slicing_and_resuming_change_nothing() {
        for method in [
            Method::L4Adam { alpha: 0.25 },
            Method::Momentum { rate: 5e-4 },
            Method::Adam { rate: 1e-3 },
        ] {
            for until in [Until::Steps { log_every: 3 }, Until::Converged] {
                conformance::check(|| FirstOrder::new(1, SMALL, method, 50, until)).unwrap();
            }
        }
        conformance::check(|| Lma::new(1, SMALL, 12)).unwrap();
    }

    #[test]
    fn a_rate_that_is_far_too_large_diverges() {
        let mut run =
            FirstOrder::new(0, SMALL, Method::Sgd { rate: 10.0 }, 1000, Until::Converged).unwrap();
        let end = run.advance(2000, &mut MetricLog::default());
        assert!(matches!(end, Err(Stop::Diverged { .. })), "{end:?}");
    }

    #[test]
    fn every_method_starts_from_the_same_problem_and_weights() {
        let loss = |method| {
            let mut run = FirstOrder::new(4, SMALL, method, 1, Until::Converged).unwrap();
            run.observe(&mut MetricLog::default()).unwrap();
            run.last_loss
        };
        let sgd = loss(Method::Sgd { rate: 1e-3 });
        assert_eq!(sgd, loss(Method::L4Mom { alpha: 0.15 }));
        let lma = Lma::new(4, SMALL, 1).unwrap().last_loss;
        assert!((lma - sgd).abs() < 1e-12 * sgd, "{lma} {sgd}");
    }
}
