//! One run: a task, an optimiser, and what is logged of them.
//!
//! | metric | logged | what it is |
//! |---|---|---|
//! | `loss`, `learning_rate`, `…_min`, `…_max` | every window | see [`window`](super::window) |
//! | `stage_loss` | every stage | mean training loss of its minibatches |
//! | `largest_batch_loss`, `zero_loss_batches` | every stage | greatest loss; minibatches whose loss is exactly 0 |
//! | `zero_rate_steps` | every stage | steps with an effective learning rate of exactly 0 |
//! | `test_accuracy`, `reestimated_test_accuracy` and others | every stage | what the task [evaluates](Problem::evaluate) |
//!
//! Training losses are those of the steps themselves, each at the weights that its step found, with the dropout and the
//! penalty that the step had. A method that is to be [evaluated](Optimizer::evaluation_point) elsewhere than where its gradient
//! is taken has the losses of the same minibatches there, with dropout masks of their own, and is tested there.

use anyhow::Context;
use autodiff::{GradientVector, Threads};
use l4::{Optimizer, StepError};
use serde_json::{Map, Value, json};

use super::marks::Marks;
use super::window::Window;
use super::{Problem, Row};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::experiment::{Advance, Experiment, Stop};
use crate::engine::metrics::MetricLog;
use crate::methods::{Method, load_state, save_state};

/// How long a run is, and when it logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Steps of a complete run.
    pub steps: u64,
    /// Between two rows of losses and rates.
    pub window: Ticks,
    /// Between two evaluations.
    pub stage: Ticks,
    /// Notes how far the loss has come below the first, and ends the run when that is far enough.
    pub marks: Option<Until>,
}

/// Moments of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    /// After every so many steps.
    Every(u64),
    /// Ten in every so many steps, each rounded up to whole steps, so that the last falls on their end.
    TenIn(u64),
}

impl Ticks {
    /// Whether one falls on the end of this step, counted from 1.
    fn falls_on(self, step: u64) -> bool {
        match self {
            Ticks::Every(steps) => step.is_multiple_of(steps),
            Ticks::TenIn(steps) => {
                let tenths = |step: u64| u128::from(step) * 10 / u128::from(steps);
                tenths(step) > tenths(step - 1)
            }
        }
    }
}

/// When a run that notes [`Marks`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After all its steps.
    Steps,
    /// As soon as the last of the marks is passed.
    Converged,
}

/// The training of one model by one method.
pub struct Training<P: Problem> {
    course: Course,
    problem: P,
    threads: Threads,
    optimizer: Box<dyn Optimizer<P::T>>,
    gradient: GradientVector<P::T>,
    /// Keeps θ while something is measured elsewhere.
    theta: Vec<P::T>,
    position: u64,
    window: Window,
    stage: Stage,
    /// The last tenth of the run, whose mean loss is the final loss.
    last_tenth: Mean,
    marks: Marks,
}

/// A running mean.
#[derive(Default)]
struct Mean {
    count: u64,
    sum: f64,
}

impl Mean {
    fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
    }

    /// NaN of nothing.
    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn save(&self, name: &str, checkpoint: &mut Checkpoint) {
        checkpoint.put_scalar(format!("{name}/count"), self.count);
        checkpoint.put_scalar(format!("{name}/sum"), self.sum);
    }

    fn load(name: &str, checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            count: checkpoint.scalar(&format!("{name}/count"))?,
            sum: checkpoint.scalar(&format!("{name}/sum"))?,
        })
    }
}

/// The steps since the last evaluation.
#[derive(Default)]
struct Stage {
    loss: Mean,
    largest_loss: f64,
    zero_losses: u64,
    zero_rates: u64,
}

impl Stage {
    fn observe(&mut self, loss: f64, rate: f64) {
        self.loss.observe(loss);
        self.largest_loss = self.largest_loss.max(loss);
        self.zero_losses += u64::from(loss == 0.0);
        self.zero_rates += u64::from(rate == 0.0);
    }

    fn row(&self) -> Row {
        vec![
            ("stage_loss", self.loss.value()),
            ("largest_batch_loss", self.largest_loss),
            ("zero_loss_batches", self.zero_losses as f64),
            ("zero_rate_steps", self.zero_rates as f64),
        ]
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.loss.save("stage/loss", checkpoint);
        checkpoint.put_scalar("stage/largest_loss", self.largest_loss);
        checkpoint.put_scalar("stage/zero_losses", self.zero_losses);
        checkpoint.put_scalar("stage/zero_rates", self.zero_rates);
    }

    fn load(checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            loss: Mean::load("stage/loss", checkpoint)?,
            largest_loss: checkpoint.scalar("stage/largest_loss")?,
            zero_losses: checkpoint.scalar("stage/zero_losses")?,
            zero_rates: checkpoint.scalar("stage/zero_rates")?,
        })
    }
}

impl<P: Problem> Training<P> {
    /// A run before its first step.
    ///
    /// # Errors
    /// If the method's settings are out of range.
    pub fn new(problem: P, method: Method, course: Course) -> anyhow::Result<Self> {
        Ok(Self {
            course,
            optimizer: method.optimizer()?,
            gradient: problem.params().zeros_like(),
            theta: Vec::new(),
            threads: problem.threads(),
            problem,
            position: 0,
            window: Window::default(),
            stage: Stage::default(),
            last_tenth: Mean::default(),
            marks: Marks::default(),
        })
    }

    /// What is trained.
    pub fn problem(&mut self) -> &mut P {
        &mut self.problem
    }

    /// One step: forward, backward, update. Gives the loss at the weights before it and the effective learning rate.
    ///
    /// # Errors
    /// [`Stop::Diverged`] if loss, gradient or weights are not finite.
    pub fn step(&mut self) -> Result<(f64, f64), Stop> {
        self.on_threads(|training| {
            let loss = training.problem.loss_and_gradient(&mut training.gradient)?;
            let rate = training.update(loss)?;
            Ok((l4::Real::as_f64(loss), rate))
        })
    }

    /// Does it all on the problem's threads: to hand each operation to them and wait takes longer.
    fn on_threads<R: Send>(&mut self, work: impl FnOnce(&mut Self) -> R + Send) -> R {
        let threads = self.threads.clone();
        threads.install(|| work(self))
    }

    /// The update of a step, whose gradient is there.
    fn update(&mut self, loss: P::T) -> Result<f64, Stop> {
        let params = self.problem.params_mut().values_mut();
        let step = self
            .optimizer
            .step(loss, params, &mut self.gradient)
            .map_err(|error| stop(error, self.position))?;
        Ok(l4::Real::as_f64(step.learning_rate))
    }

    /// Measures at the parameters that the method is to be evaluated at.
    fn where_evaluated<R>(
        &mut self,
        measure: impl FnOnce(&mut P) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let Some(point) = self.optimizer.evaluation_point() else {
            return measure(&mut self.problem);
        };
        let params = self.problem.params_mut().values_mut();
        self.theta.clear();
        self.theta.extend_from_slice(params);
        params.copy_from_slice(point);
        let measured = measure(&mut self.problem);
        let params = self.problem.params_mut().values_mut();
        params.copy_from_slice(&self.theta);
        measured
    }

    fn logged_step(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        let trained = self.problem.loss_and_gradient(&mut self.gradient)?;
        let loss = match self.optimizer.evaluation_point() {
            Some(_) => self.where_evaluated(P::loss_again)?,
            None => trained,
        };
        let rate = self.update(trained)?;
        let loss = l4::Real::as_f64(loss);
        if self.course.marks.is_some() {
            self.marks.observe(self.position, loss, log);
        }
        self.position += 1;
        self.window.observe(loss, rate);
        self.stage.observe(loss, rate);
        if self.position > self.course.steps - self.course.steps.div_ceil(10) {
            self.last_tenth.observe(loss);
        }
        if self.course.window.falls_on(self.position) {
            self.window.log(self.position, log)?;
        }
        if self.course.stage.falls_on(self.position) {
            let mut row = self.stage.row();
            let last = self.position == self.course.steps;
            self.where_evaluated(|problem| problem.evaluate(last, &mut row))?;
            log.push(self.position, &row)?;
            self.stage = Stage::default();
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        let converged = self.course.marks == Some(Until::Converged) && self.marks.complete();
        converged || self.position == self.course.steps
    }
}

impl<P: Problem> Experiment for Training<P> {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        self.on_threads(|training| {
            for _ in 0..max_steps {
                if training.finished() {
                    break;
                }
                training.logged_step(log)?;
            }
            Ok(Advance::of(training.finished()))
        })
    }

    fn position(&self) -> u64 {
        self.position
    }

    /// The weights are there under their own names, `hidden1/kernel` and so on.
    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        let params = self.problem.params();
        for (name, param) in params.iter() {
            checkpoint.put(name, &param.shape(), params.view(param));
        }
        self.problem.save(&mut checkpoint);
        checkpoint.put_scalar("position", self.position);
        self.window.save(&mut checkpoint);
        self.stage.save(&mut checkpoint);
        self.last_tenth.save("last_tenth", &mut checkpoint);
        self.marks.save(&mut checkpoint);
        save_state(&mut checkpoint, &self.optimizer.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let params = self.problem.params_mut();
        let places: Vec<_> = params
            .iter()
            .map(|(name, param)| (name.to_owned(), param.range()))
            .collect();
        for (name, range) in places {
            checkpoint.read_into(&name, &mut params.values_mut()[range])?;
        }
        self.position = checkpoint.scalar("position")?;
        self.problem.load(checkpoint, self.position)?;
        self.window = Window::load(checkpoint)?;
        self.stage = Stage::load(checkpoint)?;
        self.last_tenth = Mean::load("last_tenth", checkpoint)?;
        self.marks = Marks::load(checkpoint)?;
        self.optimizer
            .restore(load_state(checkpoint)?)
            .context("the optimiser's state")
    }

    /// The final loss is the mean over the last tenth of the run.
    fn summary(&self) -> Map<String, Value> {
        let mut summary =
            Map::from_iter([("final_loss".to_owned(), json!(self.last_tenth.value()))]);
        if let Some(first) = self.marks.first_loss() {
            summary.insert("first_loss".to_owned(), json!(first));
        }
        summary
    }
}

/// What a refused step means for the run.
fn stop(error: StepError, step: u64) -> Stop {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Kind;
    use crate::tasks::regression::{LeastSquares, Setting};
    use models::TwoLayerShape;

    const SETTING: Setting = Setting {
        shape: TwoLayerShape {
            inputs: 3,
            hidden: 3,
            outputs: 4,
        },
        steps: 10,
        until: Until::Steps,
    };

    fn training(kind: Kind) -> Training<LeastSquares> {
        let method = Method::untuned(kind).unwrap();
        Training::new(SETTING.problem(1).unwrap(), method, SETTING.course()).unwrap()
    }

    /// The losses of a run's steps where the gradient is taken, and where the method is to be evaluated.
    fn losses(kind: Kind) -> [Vec<f64>; 2] {
        let mut problem = SETTING.problem(1).unwrap();
        let mut optimizer: Box<dyn Optimizer<f64>> =
            Method::untuned(kind).unwrap().optimizer().unwrap();
        let mut losses = [Vec::new(), Vec::new()];
        for _ in 0..SETTING.steps {
            let mut gradient = problem.params().zeros_like();
            let loss = problem.loss_and_gradient(&mut gradient).unwrap();
            losses[0].push(loss);
            let mut elsewhere = SETTING.problem(1).unwrap();
            let point = optimizer
                .evaluation_point()
                .unwrap_or(problem.params().values());
            elsewhere.params_mut().values_mut().copy_from_slice(point);
            let evaluated = elsewhere.loss_and_gradient(&mut gradient.clone()).unwrap();
            losses[1].push(evaluated);
            optimizer
                .step(loss, problem.params_mut().values_mut(), &mut gradient)
                .unwrap();
        }
        losses
    }

    #[test]
    fn losses_are_those_of_where_a_method_is_to_be_evaluated() {
        for (kind, is_elsewhere) in [
            (Kind::ScheduleFreePlus, true),
            (Kind::Dog, true),
            (Kind::MomoAdam, false),
        ] {
            let mut log = MetricLog::default();
            training(kind).advance(u64::MAX, &mut log).unwrap();
            let logged = &log.metrics().get("loss").unwrap().values;
            let [trained, evaluated] = losses(kind);
            assert_eq!(*logged, evaluated, "{kind:?}");
            assert_eq!(trained != evaluated, is_elsewhere, "{kind:?}");
        }
    }

    #[test]
    fn an_evaluation_leaves_the_run_as_it_was() {
        let mut logged = training(Kind::ScheduleFreeAdamW);
        logged.advance(8, &mut MetricLog::default()).unwrap();
        let mut stepped = training(Kind::ScheduleFreeAdamW);
        for _ in 0..8 {
            stepped.step().unwrap();
        }
        assert_eq!(
            logged.problem().params().values(),
            stepped.problem().params().values()
        );
    }

    #[test]
    fn a_stage_counts_losses_and_rates_of_exactly_0() {
        let mut stage = Stage::default();
        for (loss, rate) in [(0.0, 0.5), (f64::MIN_POSITIVE, 0.0), (3.0, 0.0), (0.0, 0.0)] {
            stage.observe(loss, rate);
        }
        let expected = [
            ("stage_loss", 0.75),
            ("largest_batch_loss", 3.0),
            ("zero_loss_batches", 2.0),
            ("zero_rate_steps", 3.0),
        ];
        assert_eq!(stage.row(), expected);
    }
}
