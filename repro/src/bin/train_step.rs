//! Times training steps (forward, backward and update) and prints one JSON line.
//!
//! The data are random: what is timed does not depend on what is learnt. A step copies its minibatch into the tape's
//! input, as a training loop does.

use std::process::ExitCode;
use std::time::Instant;

use autodiff::Params;
use clap::{Parser, ValueEnum};
use datasets::regression::{RegressionProblem, RegressionSpec};
use l4::Optimizer;
use models::{Classifier, Mlp, Regression, TwoLayerLinear, TwoLayerShape};
use rand::RngExt;
use repro::methods::{ALPHA, Method};
use repro::streams::{Purpose, stream};
use repro::{cli, provenance};
use serde_json::json;

/// Times the training steps of one workload: median, minimum and maximum over the counted steps, after a warm-up.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[arg(long)]
    workload: Workload,

    #[arg(long)]
    optimizer: OptimizerName,

    /// Threads to split one step among; these workloads are too small for more than one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1))]
    threads: u64,

    /// Steps to count [default: as many as take about a second]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    /// Section 3.1: 10×6 by 6×6 weights, 1000 samples, f64
    Regression,
    /// Section 3.2: 784-300-100-10, batch 64, f32
    Mlp,
}

#[derive(Clone, Copy, ValueEnum)]
enum OptimizerName {
    Adam,
    L4adam,
}

impl OptimizerName {
    fn method(self) -> Method {
        match self {
            OptimizerName::Adam => Method::Adam { rate: 1e-3 },
            OptimizerName::L4adam => Method::L4Adam { alpha: ALPHA },
        }
    }
}

fn main() -> ExitCode {
    cli::main(|| {
        let arguments = Arguments::try_parse()?;
        let method = arguments.optimizer.method();
        let (steps, times) = match arguments.workload {
            Workload::Regression => (arguments.steps.unwrap_or(2000), regression(method)?),
            Workload::Mlp => (arguments.steps.unwrap_or(400), mlp(method)?),
        };
        let timing = Timing::measure(steps, times)?;
        let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().map(|value| value.get_name().to_owned())
        };
        let line = json!({
            "engine": "autodiff",
            "workload": name(&|| arguments.workload.to_possible_value()),
            "optimizer": name(&|| arguments.optimizer.to_possible_value()),
            "threads": arguments.threads,
            "step_ms": timing.median,
            "min_ms": timing.least,
            "max_ms": timing.greatest,
            "steps": steps,
            "loss": timing.loss,
            "simd": autodiff::kernels::simd_level(),
            "git_commit": provenance::GIT_COMMIT,
        });
        Ok(cli::print(&format!("{line}\n"))?)
    })
}

/// A training step of a workload, which returns its loss.
type Step = Box<dyn FnMut() -> anyhow::Result<f64>>;

struct Timing {
    median: f64,
    least: f64,
    greatest: f64,
    loss: f64,
}

impl Timing {
    fn measure(steps: u64, mut step: Step) -> anyhow::Result<Self> {
        for _ in 0..(steps / 10).max(3) {
            step()?;
        }
        let mut times = Vec::new();
        let mut loss = f64::NAN;
        for _ in 0..steps {
            let start = Instant::now();
            loss = step()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let rounded = |ms: f64| (ms * 1e5).round() / 1e5;
        Ok(Self {
            median: rounded(times[times.len() / 2]),
            least: rounded(times[0]),
            greatest: rounded(times[times.len() - 1]),
            loss,
        })
    }
}

fn regression(method: Method) -> anyhow::Result<Step> {
    let spec = RegressionSpec::default();
    let problem = RegressionProblem::generate(spec, &mut stream(0, Purpose::Data))?;
    let mut params = Params::new();
    let shape = TwoLayerShape::PAPER;
    let network = TwoLayerLinear::new(&mut params, shape, &mut stream(0, Purpose::Init))?;
    let mut regression = Regression::new(network, shape, spec.samples, &problem.x, &problem.y)?;
    let mut grads = params.zeros_like();
    let mut optimizer = method.optimizer::<f64>()?;
    Ok(Box::new(move || {
        let loss = regression.loss_and_gradient(params.values(), &mut grads)?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        Ok(loss)
    }))
}

/// Minibatches that the steps go round in.
const MINIBATCHES: usize = 8;

fn mlp(method: Method) -> anyhow::Result<Step> {
    const BATCH: usize = 64;
    let mut rng = stream(0, Purpose::Data);
    // Every pixel is random and none is zero, but half of each is its class's: what can be learnt does not diverge.
    let patterns: Vec<f32> = (0..Mlp::CLASSES * Mlp::INPUTS)
        .map(|_| rng.random())
        .collect();
    let labels: Vec<u8> = (0..MINIBATCHES * BATCH)
        .map(|_| rng.random_range(0..Mlp::CLASSES as u8))
        .collect();
    let image = |&label: &u8| patterns[usize::from(label) * Mlp::INPUTS..][..Mlp::INPUTS].iter();
    let images: Vec<f32> = labels
        .iter()
        .flat_map(image)
        .map(|pattern| 0.5 * (pattern + rng.random::<f32>()))
        .collect();
    let mut params = Params::new();
    let network = Mlp::new(&mut params, &mut stream(0, Purpose::Init))?;
    let mut classifier = Classifier::new([BATCH, Mlp::INPUTS], |x| network.logits(x))?;
    let mut grads = params.zeros_like();
    let mut optimizer: Box<dyn Optimizer<f32>> = method.optimizer()?;
    let mut minibatches = (0..MINIBATCHES).cycle();
    Ok(Box::new(move || {
        let at = minibatches.next().unwrap_or(0) * BATCH;
        let pixels = &images[at * Mlp::INPUTS..][..BATCH * Mlp::INPUTS];
        classifier.inputs_mut().copy_from_slice(pixels);
        classifier.set_labels(&labels[at..][..BATCH])?;
        let loss = classifier.loss_and_gradient(&params, &mut grads)?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        Ok(f64::from(loss))
    }))
}
