//! Any of the tasks at its setting: what a run is of, whoever asks for it.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::levenberg_marquardt::LevenbergMarquardtRun;
use super::training::Course;
use super::{Problem, Training, images, regression, repeat_copy};
use crate::engine::experiment::Stop;
use crate::engine::run::RunSpec;
use crate::engine::runner::Planned;
use crate::methods::Method;

/// A task at its setting.
#[derive(Clone, Copy)]
pub enum Workload<'d> {
    /// Section 3.1.
    Regression(regression::Setting),
    /// Sections 3.2, 3.3, 3.5, 3.6.
    Images(images::Setting<'d>),
    /// Sections 3.4, 3.6.
    RepeatCopy(repeat_copy::Setting),
}

/// A training step that is ready to be made, which gives its loss.
pub type Step<'d> = Box<dyn FnMut() -> Result<f64> + 'd>;

impl<'d> Workload<'d> {
    /// The task's settings, for a run's identity and for the results.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        match self {
            Workload::Regression(setting) => setting.settings(),
            Workload::Images(setting) => setting.settings(),
            Workload::RepeatCopy(setting) => setting.settings(),
        }
    }

    /// How long a run is, and when it logs.
    #[must_use]
    pub fn course(&self) -> Course {
        match self {
            Workload::Regression(setting) => setting.course(),
            Workload::Images(setting) => setting.course(),
            Workload::RepeatCopy(setting) => setting.course(),
        }
    }

    /// The run of a method with a seed.
    ///
    /// # Errors
    /// If the method's settings are out of range.
    pub fn plan(self, method: Method, seed: u64) -> Result<Planned<'d>> {
        let mut settings = method.settings()?;
        settings.extend(self.settings());
        let course = self.course();
        let spec = RunSpec::new(settings, seed, course.steps);
        Ok(match self {
            Workload::Regression(task) => Planned::new(spec, move |_| {
                Training::new(task.problem(seed)?, method, course)
            }),
            Workload::Images(task) => Planned::new(spec, move |_| {
                Training::new(task.problem(seed)?, method, course)
            }),
            Workload::RepeatCopy(task) => Planned::new(spec, move |_| {
                Training::new(task.problem(seed)?, method, course)
            }),
        })
    }

    /// Steps of a method one by one, for their time: what a run does, without the log.
    ///
    /// # Errors
    /// If the task cannot be set up.
    pub fn stepper(self, method: Method, seed: u64) -> Result<Step<'d>> {
        fn steps<'d, P: Problem + 'd>(mut training: Training<P>) -> Step<'d> {
            Box::new(move || match training.step() {
                Ok((loss, _)) => Ok(loss),
                Err(Stop::Failed(error)) => Err(error),
                Err(Stop::Diverged { step, reason }) => {
                    Err(anyhow!("the training diverged at step {step}: {reason}"))
                }
            })
        }
        let course = self.course();
        Ok(match self {
            Workload::Regression(task) => {
                steps(Training::new(task.problem(seed)?, method, course)?)
            }
            Workload::Images(task) => steps(Training::new(task.problem(seed)?, method, course)?),
            Workload::RepeatCopy(task) => {
                steps(Training::new(task.problem(seed)?, method, course)?)
            }
        })
    }
}

/// The run of Levenberg–Marquardt on regression with a seed.
///
/// # Errors
/// If the problem cannot be drawn.
pub fn plan_levenberg_marquardt<'d>(task: regression::Setting, seed: u64) -> Result<Planned<'d>> {
    let mut settings = LevenbergMarquardtRun::new(task, seed)?.settings();
    settings.extend(task.settings());
    let spec = RunSpec::new(settings, seed, task.steps);
    Ok(Planned::new(spec, move |_| {
        LevenbergMarquardtRun::new(task, seed)
    }))
}

/// The run `planned` once more: equal but for its number, so that its time can be measured again.
#[must_use]
pub fn repeated(planned: Planned<'_>, repetition: u64) -> Planned<'_> {
    planned.with_setting("repetition", json!(repetition)).here()
}
