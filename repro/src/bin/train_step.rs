//! Times training steps (forward, backward and update) and prints one JSON line.
//!
//! The data are random where the time of a step does not depend on them. That of the perceptron does, as zeros are
//! skipped: `mlp` has pixels none of which is zero, `mlp-mnist` those of MNIST. A step copies its minibatch into the
//! tape's input, as a training loop does.

use std::process::ExitCode;
use std::time::Instant;

use autodiff::Params;
use clap::{Parser, ValueEnum};
use datasets::Dataset;
use datasets::images::Split;
use datasets::regression::{RegressionProblem, RegressionSpec};
use datasets::repeat_copy::{Batch, RepeatCopy, RepeatCopySpec};
use l4::Optimizer;
use models::{
    Classifier, ConvNet, Dnc, DncConfig, DncTrainer, Mlp, Regression, ResNet, Sequences, Training,
    TwoLayerLinear, TwoLayerShape,
};
use rand::RngExt;
use repro::cli::Preset;
use repro::data::{self, DataOptions};
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

    /// Threads to split one step among; regression, mlp and dnc are too small for more than one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Steps to count [default: as many as take a few seconds]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    #[command(flatten)]
    data: DataOptions,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
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
        let threads = arguments.threads.into();
        let (default_steps, step) = match arguments.workload {
            Workload::Regression => (2000, regression(method)?),
            Workload::Mlp => (400, mlp(method, threads)?),
            Workload::MlpMnist => {
                let data = data::load(Dataset::Mnist, Preset::Paper, &arguments.data)?;
                (937, mlp_mnist(method, threads, data.train)?)
            }
            Workload::Convnet => (12, convnet(method, threads)?),
            Workload::Resnet32 => (6, resnet32(method, threads)?),
            Workload::Dnc => (400, dnc(method)?),
        };
        let steps = arguments.steps.unwrap_or(default_steps);
        let timing = Timing::measure(steps, step)?;
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

fn mlp(method: Method, threads: usize) -> anyhow::Result<Step> {
    let (params, classifier) = perceptron()?;
    classification(method, threads, params, classifier)
}

fn mlp_mnist(method: Method, threads: usize, train: Split) -> anyhow::Result<Step> {
    let (params, classifier) = perceptron()?;
    let batch = classifier.batch();
    let minibatches = mnist_minibatches(train, batch);
    training(method, threads, params, classifier, minibatches)
}

fn perceptron() -> anyhow::Result<(Params<f32>, Classifier<f32>)> {
    const BATCH: usize = 64;
    let mut params = Params::new();
    let network = Mlp::new(&mut params, &mut stream(0, Purpose::Init))?;
    let classifier = Classifier::new([BATCH, Mlp::INPUTS], |x| network.logits(x))?;
    Ok((params, classifier))
}

fn convnet(method: Method, threads: usize) -> anyhow::Result<Step> {
    let mut params = Params::new();
    let network = ConvNet::new(&mut params, 0.4, &mut stream(0, Purpose::Init))?;
    let input = [100, 28, 28, 1];
    let classifier = Classifier::training(input, &params, regime(0.0), |x, layers| {
        network.logits(x, layers)
    })?;
    classification(method, threads, params, classifier)
}

fn resnet32(method: Method, threads: usize) -> anyhow::Result<Step> {
    let mut params = Params::new();
    let network = ResNet::new(&mut params, 5, &mut stream(0, Purpose::Init))?;
    let input = [128, 32, 32, 3];
    let classifier = Classifier::training(input, &params, regime(2e-4), |x, layers| {
        network.logits(x, layers)
    })?;
    classification(method, threads, params, classifier)
}

fn regime(l2: f64) -> Training {
    let dropout_seed = stream(0, Purpose::Dropout).random();
    Training { dropout_seed, l2 }
}

/// Minibatches that the steps go round in.
const MINIBATCHES: usize = 8;
/// Of every task here.
const CLASSES: usize = 10;

/// Writes the inputs and the labels of the next minibatch.
type Minibatches = Box<dyn FnMut(&mut [f32], &mut [u8])>;

/// Every pixel is random and none is zero, but half of each is its class's: what can be learnt does not diverge.
fn random_minibatches(batch: usize, pixels: usize) -> Minibatches {
    let mut rng = stream(0, Purpose::Data);
    let patterns: Vec<f32> = (0..CLASSES * pixels).map(|_| rng.random()).collect();
    let labels: Vec<u8> = (0..MINIBATCHES * batch)
        .map(|_| rng.random_range(0..CLASSES as u8))
        .collect();
    let pattern = |&label: &u8| patterns[usize::from(label) * pixels..][..pixels].iter();
    let images: Vec<f32> = labels
        .iter()
        .flat_map(pattern)
        .map(|pattern| 0.5 * (pattern + rng.random::<f32>()))
        .collect();
    let mut indices = (0..MINIBATCHES).cycle();
    Box::new(move |inputs, classes| {
        let index = indices.next().unwrap_or(0);
        inputs.copy_from_slice(&images[index * batch * pixels..][..batch * pixels]);
        classes.copy_from_slice(&labels[index * batch..][..batch]);
    })
}

/// Epochs in the order of the file, which is not sorted. Bytes are scaled as they are copied, as section 3.2 does.
fn mnist_minibatches(train: Split, batch: usize) -> Minibatches {
    let all = train.len() / batch * batch;
    let mut firsts = (0..all).step_by(batch).cycle();
    Box::new(move |inputs, classes| {
        let first = firsts.next().unwrap_or(0);
        let examples: Vec<u32> = (first as u32..).take(batch).collect();
        train.scaled(&examples, inputs);
        train.classes(&examples, classes);
    })
}

fn classification(
    method: Method,
    threads: usize,
    params: Params<f32>,
    mut classifier: Classifier<f32>,
) -> anyhow::Result<Step> {
    let batch = classifier.batch();
    let minibatches = random_minibatches(batch, classifier.inputs_mut().len() / batch);
    training(method, threads, params, classifier, minibatches)
}

fn training(
    method: Method,
    threads: usize,
    mut params: Params<f32>,
    mut classifier: Classifier<f32>,
    mut minibatches: Minibatches,
) -> anyhow::Result<Step> {
    classifier.set_threads(threads)?;
    let mut labels = vec![0; classifier.batch()];
    let mut grads = params.zeros_like();
    let mut optimizer: Box<dyn Optimizer<f32>> = method.optimizer()?;
    Ok(Box::new(move || {
        minibatches(classifier.inputs_mut(), &mut labels);
        classifier.set_labels(&labels)?;
        let loss = classifier.loss_and_gradient(&params, &mut grads)?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        Ok(f64::from(loss))
    }))
}

fn dnc(method: Method) -> anyhow::Result<Step> {
    let spec = RepeatCopySpec::default();
    let task = RepeatCopy::new(spec)?;
    let mut rng = stream(0, Purpose::Data);
    let mut batches = vec![Batch::default(); MINIBATCHES];
    for batch in &mut batches {
        task.draw(&mut rng, batch);
        batch.pad_to(task.longest());
    }
    let mut params = Params::<f32>::new();
    let network = Dnc::new(&mut params, DncConfig::PAPER, &mut stream(0, Purpose::Init))?;
    let mut trainer = DncTrainer::new(&network, spec.batch);
    let mut grads = params.zeros_like();
    let mut optimizer: Box<dyn Optimizer<f32>> = method.optimizer()?;
    let mut minibatches = (0..MINIBATCHES).cycle();
    Ok(Box::new(move || {
        let batch = &batches[minibatches.next().unwrap_or(0)];
        let sequences = Sequences {
            observations: batch.observations(),
            targets: batch.targets(),
            mask: batch.mask(),
        };
        let loss = trainer.loss_and_gradient(&params, &sequences, &mut grads)?;
        optimizer.step(loss, params.values_mut(), &mut grads)?;
        Ok(f64::from(loss))
    }))
}
