//! Times of training steps: the five workloads of the paper, at its batch sizes, and how a step is timed.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use autodiff::GradientVector;
use clap::ValueEnum;
use datasets::{Dataset, ImageDataset, synthetic};
use l4::Optimizer;
use models::TwoLayerShape;

use crate::cli::Preset;
use crate::data::{self, DataOptions};
use crate::methods::{Kind, Method};
use crate::tasks::training::Until;
use crate::tasks::{Problem, Workload, images, regression, repeat_copy};

/// A task of the paper at its own size, to be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Timed {
    /// Section 3.1: 10×6 by 6×6 weights, 1000 samples, f64
    Regression,
    /// Section 3.2: 784-300-100-10, batch 64, f32, pixels none of which is zero
    Mlp,
    /// The same on MNIST, of whose pixels four fifths are zero
    MlpMnist,
    /// Section 3.5: two convolutions and two dense layers with dropout, batch 100, f32
    Convnet,
    /// Section 3.3: ResNet-32 with its L2 penalty, batch 128, f32
    Resnet32,
    /// Section 3.4: DNC, 9 steps of the repeat-copy task, the most it has, batch 16, f32
    Dnc,
}

/// The workloads of claim C2, one a task of the paper.
pub const WORKLOADS: [Timed; 5] = [
    Timed::Regression,
    Timed::Mlp,
    Timed::Convnet,
    Timed::Resnet32,
    Timed::Dnc,
];

/// Minibatches that the steps go round in.
const MINIBATCHES: usize = 8;

impl Timed {
    /// Its name on the command line and in results.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The images that it is on, if any: a stand-in where the time of a step does not depend on them.
    ///
    /// # Errors
    /// If MNIST cannot be had.
    pub fn data(self, options: &DataOptions) -> Result<Option<ImageDataset>> {
        let stand_in = |dataset, batch| {
            Some(synthetic::stand_in(
                dataset,
                MINIBATCHES * batch,
                100,
                [0; 32],
            ))
        };
        Ok(match self {
            Timed::Regression | Timed::Dnc => None,
            Timed::Mlp => stand_in(Dataset::Mnist, 64),
            Timed::MlpMnist => Some(data::load(Dataset::Mnist, Preset::Paper, options)?),
            Timed::Convnet => stand_in(Dataset::FashionMnist, 100),
            Timed::Resnet32 => stand_in(Dataset::Cifar10, 128),
        })
    }

    /// The workload on its [data](Self::data).
    ///
    /// # Errors
    /// If it needs some and is given none.
    pub fn workload(self, data: Option<&ImageDataset>, threads: usize) -> Result<Workload<'_>> {
        let classify = |network, batch| {
            let data = data.with_context(|| format!("{} is given no images", self.name()))?;
            Ok(Workload::Images(images::Setting {
                data,
                network,
                batch,
                examples: data.train.len(),
                epochs: u64::from(u32::MAX),
                threads,
            }))
        };
        match self {
            Timed::Regression => Ok(Workload::Regression(regression::Setting {
                shape: TwoLayerShape::PAPER,
                steps: u64::MAX,
                until: Until::Steps,
            })),
            Timed::Mlp | Timed::MlpMnist => classify(images::Network::Mlp, 64),
            Timed::Convnet => classify(images::Network::ConvNet { dropout: 0.4 }, 100),
            Timed::Resnet32 => classify(images::Network::ResNet, 128),
            Timed::Dnc => Ok(Workload::RepeatCopy(repeat_copy::Setting {
                batch: 16,
                steps: u64::MAX,
                padded: true,
            })),
        }
    }
}

/// Makes a training step from the same weights as every time before, and gives its seconds.
pub type TimedStep<'d> = Box<dyn FnMut() -> Result<f64> + 'd>;

/// Sets up the steps of a method, in memory of their own.
pub type TimedSteps<'d> = Box<dyn Fn(Method) -> Result<TimedStep<'d>> + 'd>;

/// Steps of methods from the same weights, whatever they made of them the time before: those of seed 0 after [`BEFORE`] steps. What a
/// step costs depends on where it is made: products leave out zeros, of which networks have more or fewer as they train. So methods
/// are compared at the same weights; putting them back is not timed. A method that does not bear that for long, as one whose estimate
/// of a distance only grows, begins again.
///
/// # Errors
/// If the task cannot be set up.
pub fn timed_steps<'d>(workload: Workload<'d>) -> Result<TimedSteps<'d>> {
    match workload {
        Workload::Regression(task) => from_one_start(move || task.problem(0)),
        Workload::Images(task) => from_one_start(move || task.problem(0)),
        Workload::RepeatCopy(task) => from_one_start(move || task.problem(0)),
    }
}

fn from_one_start<'d, P: Problem + 'd>(
    set_up: impl Fn() -> Result<P> + 'd,
) -> Result<TimedSteps<'d>> {
    let mut problem = set_up()?;
    begin(&mut problem)?;
    let start = problem.params().values().to_vec();
    Ok(Box::new(move |method| {
        timed(set_up()?, start.clone(), method)
    }))
}

/// Steps of Adam at a usual rate after which steps are timed.
pub const BEFORE: u32 = 20;

/// Leaves the initial weights, among which are output layers of 0: these hand no gradient back, and a step costs less than ever after.
fn begin<P: Problem>(problem: &mut P) -> Result<()> {
    let mut gradient = problem.params().zeros_like();
    let mut adam: Box<dyn Optimizer<P::T>> = Method::new(Kind::Adam, 1e-3).optimizer()?;
    for _ in 0..BEFORE {
        let loss = problem.loss_and_gradient(&mut gradient)?;
        adam.step(loss, problem.params_mut().values_mut(), &mut gradient)?;
    }
    Ok(())
}

fn timed<'d, P: Problem + 'd>(
    mut problem: P,
    start: Vec<P::T>,
    method: Method,
) -> Result<TimedStep<'d>> {
    let threads = problem.threads();
    let mut gradient = problem.params().zeros_like();
    // The first takes memory, which the steps after it use again.
    problem.loss_and_gradient(&mut gradient)?;
    let mut optimizer: Box<dyn Optimizer<P::T>> = method.optimizer()?;
    let mut step = move |optimizer: &mut dyn Optimizer<P::T>| -> Result<f64> {
        problem.params_mut().values_mut().copy_from_slice(&start);
        let began = Instant::now();
        threads.install(|| -> Result<()> {
            let loss = problem.loss_and_gradient(&mut gradient)?;
            optimizer.step(loss, problem.params_mut().values_mut(), &mut gradient)?;
            Ok(())
        })?;
        Ok(began.elapsed().as_secs_f64())
    };
    Ok(Box::new(move || {
        if let Ok(seconds) = step(&mut *optimizer) {
            return Ok(seconds);
        }
        optimizer = method.optimizer()?;
        // A first step takes memory for the state.
        step(&mut *optimizer)?;
        step(&mut *optimizer)
    }))
}

/// Seconds of `steps` steps.
fn total(step: &mut TimedStep<'_>, steps: u32) -> Result<f64> {
    (0..steps).map(|_| step()).sum()
}

/// How many steps to time at once, so that what disturbs one does not count: as many as take some milliseconds.
fn block(step: &mut TimedStep<'_>) -> Result<u32> {
    const ENOUGH: Duration = Duration::from_millis(10);
    let mut steps = 1;
    while total(step, steps)? < ENOUGH.as_secs_f64() {
        steps *= 2;
    }
    Ok(steps)
}

/// The ratio of the first's time to the second's, pair by pair of blocks that alternate in one process. Which goes first alternates
/// too, so that a drift of the machine's speed favours neither.
///
/// # Errors
/// If a step fails.
pub fn paired_ratios(
    one: &mut TimedStep<'_>,
    other: &mut TimedStep<'_>,
    pairs: u32,
) -> Result<Vec<f64>> {
    let steps = block(one)?.max(block(other)?);
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        let ratio = if pair % 2 == 0 {
            let first = total(one, steps)?;
            first / total(other, steps)?
        } else {
            let first = total(other, steps)?;
            total(one, steps)? / first
        };
        ratios.push(ratio);
    }
    Ok(ratios)
}

/// What an optimiser alone takes.
#[derive(Clone, Copy, Debug)]
pub struct OptimizerCost {
    /// Median seconds of its part of a step.
    pub seconds: f64,
    /// Bytes of its state, over the number of parameters.
    pub state_bytes_per_parameter: f64,
}

/// What a method's optimiser takes on a workload: its steps alone, on one gradient.
///
/// # Errors
/// If a step fails.
pub fn optimizer_cost(workload: Workload<'_>, method: Method, steps: u32) -> Result<OptimizerCost> {
    fn cost<P: Problem>(mut problem: P, method: Method, steps: u32) -> Result<OptimizerCost> {
        let mut optimizer: Box<dyn Optimizer<P::T>> = method.optimizer()?;
        let mut gradient: GradientVector<P::T> = problem.params().zeros_like();
        let loss = problem.loss_and_gradient(&mut gradient)?;
        let mut theta = problem.params().values().to_vec();
        let mut scratch = gradient.clone();
        let mut times = Vec::new();
        for _ in 0..steps {
            scratch.copy_from_slice(&gradient);
            let start = Instant::now();
            optimizer.step(loss, &mut theta, &mut scratch)?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(OptimizerCost {
            seconds: crate::stats::median(&times).unwrap_or(f64::NAN),
            state_bytes_per_parameter: optimizer.state_bytes() as f64 / theta.len() as f64,
        })
    }
    match workload {
        Workload::Regression(task) => cost(task.problem(0)?, method, steps),
        Workload::Images(task) => cost(task.problem(0)?, method, steps),
        Workload::RepeatCopy(task) => cost(task.problem(0)?, method, steps),
    }
}

/// The most memory that this process has held, in bytes; `None` where the system does not tell.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Kind;

    #[test]
    fn every_workload_can_be_stepped() {
        for workload in [Timed::Regression, Timed::Mlp, Timed::Dnc] {
            let data = workload.data(&DataOptions::default()).unwrap();
            let task = workload.workload(data.as_ref(), 1).unwrap();
            let mut step = task.stepper(Method::new(Kind::L4Adam, 0.15), 0).unwrap();
            assert!(step().unwrap().is_finite(), "{workload:?}");
        }
        assert!(Timed::Convnet.workload(None, 1).is_err());
    }

    #[test]
    fn ratios_are_those_of_the_times() {
        let taking = |seconds| -> TimedStep<'static> { Box::new(move || Ok(seconds)) };
        let ratios = paired_ratios(&mut taking(4e-3), &mut taking(2e-3), 4).unwrap();
        assert_eq!(ratios, [2.0; 4]);
    }

    #[test]
    fn steps_are_timed_where_hidden_layers_have_gradients() {
        let data = Timed::Mlp.data(&DataOptions::default()).unwrap();
        let Ok(Workload::Images(task)) = Timed::Mlp.workload(data.as_ref(), 1) else {
            panic!("it is on images");
        };
        let mut problem = task.problem(0).unwrap();
        let mut gradient = problem.params().zeros_like();
        let mut zeros = || {
            problem.loss_and_gradient(&mut gradient).unwrap();
            let zeros = gradient.iter().filter(|g| **g == 0.0).count();
            let all = gradient.len();
            begin(&mut problem).unwrap();
            zeros as f64 / all as f64
        };
        assert!(zeros() > 0.9);
        assert!(zeros() < 0.6);
    }

    #[test]
    fn a_step_is_timed_at_the_same_weights_each_time() {
        let workload = Timed::Regression.workload(None, 1).unwrap();
        // A rate at which the third step would diverge, were it made from where the second led.
        let steps = timed_steps(workload).unwrap();
        let mut step = steps(Method::new(Kind::Sgd, 1e305)).unwrap();
        for _ in 0..5 {
            assert!(step().unwrap() > 0.0);
        }
    }

    #[test]
    fn a_method_that_cannot_bear_a_fixed_gradient_begins_again() {
        let workload = Timed::Regression.workload(None, 1).unwrap();
        let steps = timed_steps(workload).unwrap();
        let mut step = steps(Method::new(Kind::DAdaptAdam, 1.0)).unwrap();
        for _ in 0..20_000 {
            step().unwrap();
        }
    }

    #[test]
    fn l4_keeps_no_more_state_than_its_base() {
        let workload = Timed::Regression.workload(None, 1).unwrap();
        let cost = |kind| optimizer_cost(workload, Method::new(kind, 1e-3), 3).unwrap();
        let per_weight = |kind| cost(kind).state_bytes_per_parameter;
        assert_eq!(per_weight(Kind::L4Adam), per_weight(Kind::Adam));
        assert_eq!(per_weight(Kind::L4Mom), per_weight(Kind::Momentum));
    }
}
