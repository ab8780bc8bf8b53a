//! One run of an image classifier: the perceptron of sections 3.2 and 3.6, the ResNet of 3.3, the ConvNet of 3.5.
//!
//! | metric | logged | what it is |
//! |---|---|---|
//! | `loss` | ten times an epoch | mean training loss of the batches since the last row |
//! | `learning_rate`, `…_min`, `…_max` | ten times an epoch | median and range of the effective learning rate since then |
//! | `epoch_loss` | every epoch | mean training loss of its batches |
//! | `largest_batch_loss`, `zero_loss_batches` | every epoch | greatest loss of a batch; batches whose loss is exactly 0 |
//! | `zero_rate_steps` | every epoch | steps with an effective learning rate of exactly 0 |
//! | `test_accuracy` | every epoch | percentage of the test images that are classified correctly |
//!
//! Training losses are those of the steps themselves, each at the weights that its step found, with the dropout and the
//! penalty that the step had. Tests are without dropout, by the running statistics.

use std::array;
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use autodiff::{GradientVector, Params, Shape, Var};
use clap::Args;
use datasets::augment::{self, Augmentation};
use datasets::batching::{Batches, Position, Shuffle};
use datasets::images::Split;
use datasets::{Dataset, ImageDataset};
use l4::Optimizer;
use models::{Classifier, ConvNet, Layers, Mlp, ResNet};
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::data::{self, DataOptions};
use crate::experiment::{Advance, Experiment, Stop};
use crate::experiments::regression::stop;
use crate::experiments::window::Window;
use crate::methods::{Method, load_state, save_state};
use crate::metrics::MetricLog;
use crate::run::RunSpec;
use crate::runner::Planned;
use crate::streams::{Purpose, stream};

/// Rows of metrics in an epoch that has at least as many steps.
pub const WINDOWS_PER_EPOCH: u64 = 10;

/// Images that are classified at once.
const TEST_BATCH: usize = 100;

/// The options of a section on images.
#[derive(Args, Clone, Debug)]
pub struct ImageOptions {
    /// Where the data are.
    #[command(flatten)]
    pub data: DataOptions,

    /// Epochs of each run [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
}

/// How training on these data departs from the paper's.
#[must_use]
pub fn deviations(data: &ImageDataset, options: &DataOptions) -> Vec<String> {
    let split = "Trained on all 60,000 training images. The authors' notebook drew from 55,000, as TensorFlow's loader held \
                 5,000 back, and still counted 937 steps of 64 as an epoch.";
    let published = data.dataset == Dataset::Mnist && !data::is_synthetic(data);
    let split = published.then(|| split.to_owned());
    split.into_iter().chain(options.deviation(data)).collect()
}

/// What is trained, and how images are prepared for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Network {
    /// 784–300–100–10, section 3.2, on pixels in [0, 1].
    Mlp,
    /// TensorFlow's official MNIST network, section 3.5, on pixels in [0, 1].
    ConvNet {
        /// Rate of the dropout before the last layer.
        dropout: f64,
    },
    /// ResNet-32 with an L2 penalty, section 3.3, on standardised images; those of the training are augmented first.
    ResNet,
}

/// λ of the ResNet's penalty λ · ½‖w‖², over all trainable variables.
const L2: f64 = 2e-4;
/// Blocks in each of the ResNet's stages, which make 32 layers.
const BLOCKS: usize = 5;

impl Network {
    /// Its settings beside those that its name implies, for a run's identity and for the results.
    fn hyperparameters(self) -> Map<String, Value> {
        let settings = match self {
            Network::Mlp => None,
            Network::ConvNet { dropout } => Some(("dropout", dropout)),
            Network::ResNet => Some(("l2", L2)),
        };
        let settings = settings.into_iter();
        settings
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect()
    }

    fn input(self, batch: usize) -> Shape {
        let image = |[height, width, channels]: [usize; 3]| [batch, height, width, channels].into();
        match self {
            Network::Mlp => [batch, Mlp::INPUTS].into(),
            Network::ConvNet { .. } => image(ConvNet::INPUT),
            Network::ResNet => image(ResNet::INPUT),
        }
    }

    /// Adds the parameters, and records the network for training and for tests.
    fn record(
        self,
        params: &mut Params<f32>,
        batch: usize,
        seed: u64,
    ) -> Result<[Classifier<f32>; 2], autodiff::Error> {
        let init = &mut stream(seed, Purpose::Init);
        match self {
            Network::Mlp => {
                let mlp = Mlp::new(params, init)?;
                self.classifiers(params, batch, seed, |x, _| mlp.logits(x))
            }
            Network::ConvNet { dropout } => {
                let net = ConvNet::new(params, dropout, init)?;
                self.classifiers(params, batch, seed, |x, layers| net.logits(x, layers))
            }
            Network::ResNet => {
                let net = ResNet::new(params, BLOCKS, init)?;
                self.classifiers(params, batch, seed, |x, layers| net.logits(x, layers))
            }
        }
    }

    fn classifiers(
        self,
        params: &Params<f32>,
        batch: usize,
        seed: u64,
        logits: impl for<'g> Fn(Var<'g, f32>, &mut Layers) -> Var<'g, f32>,
    ) -> Result<[Classifier<f32>; 2], autodiff::Error> {
        let regime = models::Training {
            dropout_seed: stream(seed, Purpose::Dropout).random(),
            l2: if self == Network::ResNet { L2 } else { 0.0 },
        };
        Ok([
            Classifier::training(self.input(batch), params, regime, &logits)?,
            Classifier::evaluation(self.input(TEST_BATCH), &logits)?,
        ])
    }

    fn pipeline(self, seed: u64) -> Pipeline {
        match self {
            Network::Mlp | Network::ConvNet { .. } => Pipeline::Scaled,
            Network::ResNet => {
                let seed = stream(seed, Purpose::Augment).random();
                Pipeline::Augmented(Augmentation::new(seed))
            }
        }
    }
}

/// How images become inputs.
#[derive(Clone, Copy)]
enum Pipeline {
    /// To [0, 1].
    Scaled,
    /// Standardised, those of the training after a random crop and flip.
    Augmented(Augmentation),
}

impl Pipeline {
    fn train(self, split: &Split, epoch: u32, examples: &[u32], inputs: &mut [f32]) {
        match self {
            Pipeline::Scaled => split.scaled(examples, inputs),
            Pipeline::Augmented(augmentation) => {
                augmentation.train(split, epoch, examples, inputs);
            }
        }
    }

    fn test(self, split: &Split, examples: &[u32], inputs: &mut [f32]) {
        match self {
            Pipeline::Scaled => split.scaled(examples, inputs),
            Pipeline::Augmented(_) => augment::test(split, examples, inputs),
        }
    }
}

/// Everything about a run but the method and the seed.
#[derive(Clone, Copy)]
pub struct Setting<'d> {
    /// The data set, or what stands in for it.
    pub data: &'d ImageDataset,
    /// What is trained.
    pub network: Network,
    /// Examples in a minibatch.
    pub batch: usize,
    /// Training examples that are used, from the first on.
    pub examples: usize,
    /// Passes over them, each less the examples that do not fill a batch.
    pub epochs: u64,
    /// Threads of a run, on which its results do not depend.
    pub threads: usize,
}

impl<'d> Setting<'d> {
    /// Training on all examples, on one thread.
    #[must_use]
    pub fn new(data: &'d ImageDataset, network: Network, batch: usize, epochs: u64) -> Self {
        Self {
            data,
            network,
            batch,
            examples: data.train.len(),
            epochs,
            threads: 1,
        }
    }

    /// Steps in an epoch: 937 in section 3.2.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        (self.examples / self.batch) as u64
    }

    /// Steps in a run.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.epochs * self.steps_per_epoch()
    }

    /// A method's settings with those of the task: all that is varied anywhere.
    #[must_use]
    pub fn hyperparameters(&self, method: Method) -> Map<String, Value> {
        let mut hyperparameters = method.hyperparameters();
        hyperparameters.extend(self.network.hyperparameters());
        hyperparameters.insert("batch".to_owned(), self.batch.into());
        if self.examples < self.data.train.len() {
            hyperparameters.insert("examples".to_owned(), self.examples.into());
        }
        hyperparameters.insert("data".to_owned(), data::identity(self.data));
        hyperparameters
    }

    /// The run of a method with a seed. `name` is what the section's results call it.
    #[must_use]
    pub fn plan(self, section: &str, name: &str, method: Method, seed: u64) -> Planned<'d> {
        let spec = RunSpec {
            section: section.to_owned(),
            method: name.to_owned(),
            hyperparameters: self.hyperparameters(method),
            seed,
            steps: self.steps(),
        };
        Planned::new(spec, move |_| Training::new(self, method, seed))
    }

    /// How many seconds an epoch takes on this machine, with the test at its end, from a few steps.
    ///
    /// # Errors
    /// As [`Training::new`]; or if a step fails, even by divergence.
    pub fn seconds_per_epoch(self, method: Method) -> anyhow::Result<f64> {
        const STEPS: u32 = 3;
        let mut training = Training::new(self, method, 0)?;
        let log = &mut MetricLog::default();
        let mut step = || match training.step(log) {
            Ok(()) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Diverged { reason, .. }) => Err(anyhow!(reason)),
        };
        step()?;
        let start = Instant::now();
        (0..STEPS).try_for_each(|_| step())?;
        let seconds_per_step = start.elapsed().as_secs_f64() / f64::from(STEPS);
        let start = Instant::now();
        training.test_batch(0)?;
        let tests = self.data.test.len() / TEST_BATCH;
        let testing = start.elapsed().as_secs_f64() * tests as f64;
        Ok(seconds_per_step * self.steps_per_epoch() as f64 + testing)
    }
}

/// The training of one network.
pub struct Training<'d> {
    setting: Setting<'d>,
    classifier: Classifier<f32>,
    test: Classifier<f32>,
    params: Params<f32>,
    grads: GradientVector<f32>,
    optimizer: Box<dyn Optimizer<f32>>,
    pipeline: Pipeline,
    shuffle: Shuffle,
    batches: Batches,
    labels: Vec<u8>,
    position: u64,
    window: Window,
    epoch: Epoch,
}

/// The steps of the current epoch, or of the last if the next has not begun.
#[derive(Default)]
struct Epoch {
    steps: u64,
    loss_sum: f64,
    largest_loss: f64,
    zero_losses: u64,
    zero_rates: u64,
}

impl<'d> Training<'d> {
    /// The run with this seed, before its first step. Equal seeds give equal weights and equal batches to all methods.
    ///
    /// # Errors
    /// If the method's settings are out of range, or the batch size does not fit the data.
    pub fn new(setting: Setting<'d>, method: Method, seed: u64) -> anyhow::Result<Self> {
        let Setting {
            data,
            network,
            batch,
            ..
        } = setting;
        let order = stream(seed, Purpose::Batches).random();
        let shuffle = Shuffle::new(order, setting.examples, batch)?;
        let tests = data.test.len();
        ensure!(
            tests > 0 && tests.is_multiple_of(TEST_BATCH),
            "{} has {tests} test images, expected a multiple of {TEST_BATCH}",
            data.name()
        );
        let mut params = Params::new();
        let [mut classifier, mut test] = network.record(&mut params, batch, seed)?;
        classifier.set_threads(setting.threads)?;
        test.set_threads(setting.threads)?;
        Ok(Self {
            setting,
            classifier,
            test,
            grads: params.zeros_like(),
            params,
            optimizer: method.optimizer()?,
            pipeline: network.pipeline(seed),
            shuffle,
            batches: Batches::new(shuffle),
            labels: vec![0; batch],
            position: 0,
            window: Window::default(),
            epoch: Epoch::default(),
        })
    }

    fn finished(&self) -> bool {
        self.position == self.setting.steps()
    }

    fn step(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        self.begin_periods();
        let train = &self.setting.data.train;
        let epoch = self.batches.position().epoch;
        let examples = self.batches.next_batch();
        let inputs = self.classifier.inputs_mut();
        self.pipeline.train(train, epoch, examples, inputs);
        train.classes(examples, &mut self.labels);
        self.classifier.set_labels(&self.labels)?;
        let loss = self
            .classifier
            .loss_and_gradient(&self.params, &mut self.grads)?;
        let step = self
            .optimizer
            .step(loss, self.params.values_mut(), &mut self.grads)
            .map_err(|error| stop(error, self.position))?;
        self.position += 1;
        self.window.observe(loss, step.learning_rate);
        self.epoch.observe(loss, step.learning_rate);
        self.log(log)
    }

    fn begin_periods(&mut self) {
        if self.at_end_of_window() {
            self.window = Window::default();
        }
        if self.at_end_of_epoch() {
            self.epoch = Epoch::default();
        }
    }

    fn at_end_of_epoch(&self) -> bool {
        self.position.is_multiple_of(self.setting.steps_per_epoch())
    }

    /// Windows are a tenth of an epoch each, rounded up to whole steps, so that every epoch ends with one.
    fn at_end_of_window(&self) -> bool {
        let tenths = |step: u64| step * WINDOWS_PER_EPOCH / self.setting.steps_per_epoch();
        self.position == 0 || tenths(self.position) > tenths(self.position - 1)
    }

    fn log(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        if self.at_end_of_window() {
            self.window.log(self.position, log)?;
        }
        if self.at_end_of_epoch() {
            let accuracy = self.test_accuracy()?;
            self.epoch.log(self.position, accuracy, log)?;
        }
        Ok(())
    }

    /// In per cent.
    fn test_accuracy(&mut self) -> Result<f64, autodiff::Error> {
        self.test.restore(&self.classifier.state())?;
        let tests = self.setting.data.test.len();
        let mut right = 0;
        for first in (0..tests).step_by(TEST_BATCH) {
            right += self.test_batch(first)?;
        }
        Ok(100.0 * right as f64 / tests as f64)
    }

    /// How many of the test images from `first` on are classified correctly.
    fn test_batch(&mut self, first: usize) -> Result<usize, autodiff::Error> {
        let test = &self.setting.data.test;
        let examples: [u32; TEST_BATCH] = array::from_fn(|i| (first + i) as u32);
        self.pipeline.test(test, &examples, self.test.inputs_mut());
        let labels = &test.labels()[first..][..TEST_BATCH];
        Ok(self.test.evaluate(&self.params, labels)?.0)
    }
}

impl Epoch {
    fn observe(&mut self, loss: f32, rate: f32) {
        let loss = f64::from(loss);
        self.steps += 1;
        self.loss_sum += loss;
        self.largest_loss = self.largest_loss.max(loss);
        self.zero_losses += u64::from(loss == 0.0);
        self.zero_rates += u64::from(rate == 0.0);
    }

    fn mean_loss(&self) -> f64 {
        self.loss_sum / self.steps as f64
    }

    fn log(&self, step: u64, test_accuracy: f64, log: &mut MetricLog) -> Result<(), Stop> {
        let row = [
            ("epoch_loss", self.mean_loss()),
            ("largest_batch_loss", self.largest_loss),
            ("zero_loss_batches", self.zero_losses as f64),
            ("zero_rate_steps", self.zero_rates as f64),
            ("test_accuracy", test_accuracy),
        ];
        log.push(step, &row)
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_scalar("epoch/steps", self.steps);
        checkpoint.put_scalar("epoch/loss_sum", self.loss_sum);
        checkpoint.put_scalar("epoch/largest_loss", self.largest_loss);
        checkpoint.put_scalar("epoch/zero_losses", self.zero_losses);
        checkpoint.put_scalar("epoch/zero_rates", self.zero_rates);
    }

    fn load(checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            steps: checkpoint.scalar("epoch/steps")?,
            loss_sum: checkpoint.scalar("epoch/loss_sum")?,
            largest_loss: checkpoint.scalar("epoch/largest_loss")?,
            zero_losses: checkpoint.scalar("epoch/zero_losses")?,
            zero_rates: checkpoint.scalar("epoch/zero_rates")?,
        })
    }
}

impl Experiment for Training<'_> {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        for _ in 0..max_steps {
            if self.finished() {
                break;
            }
            self.step(log)?;
        }
        Ok(match self.finished() {
            true => Advance::Finished,
            false => Advance::Running,
        })
    }

    fn position(&self) -> u64 {
        self.position
    }

    /// The weights are there under their own names, `hidden1/kernel` and so on, and so is what the layers keep from step to
    /// step.
    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        for (name, param) in self.params.iter() {
            checkpoint.put(name, &param.shape(), self.params.view(param));
        }
        let layers = self.classifier.state();
        for (name, values) in layers.statistics {
            checkpoint.put(name, &[values.len()], &values);
        }
        for (name, position) in layers.positions {
            checkpoint.put_scalar(name, position);
        }
        checkpoint.put_scalar("position", self.position);
        self.window.save(&mut checkpoint);
        self.epoch.save(&mut checkpoint);
        save_state(&mut checkpoint, &self.optimizer.state());
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let places: Vec<_> = self
            .params
            .iter()
            .map(|(name, param)| (name.to_owned(), param.range()))
            .collect();
        for (name, range) in places {
            checkpoint.read_into(&name, &mut self.params.values_mut()[range])?;
        }
        let mut layers = self.classifier.state();
        for (name, values) in &mut layers.statistics {
            checkpoint.read_into(name, values)?;
        }
        for (name, position) in &mut layers.positions {
            *position = checkpoint.scalar(name)?;
        }
        self.classifier.restore(&layers)?;
        self.position = checkpoint.scalar("position")?;
        let steps_per_epoch = self.setting.steps_per_epoch();
        let position = Position {
            epoch: (self.position / steps_per_epoch).try_into()?,
            batch: (self.position % steps_per_epoch).try_into()?,
        };
        self.batches = Batches::at(self.shuffle, position)?;
        self.window = Window::load(checkpoint)?;
        self.epoch = Epoch::load(checkpoint)?;
        self.optimizer
            .restore(load_state(checkpoint)?)
            .context("the optimiser's state")
    }

    fn summary(&self) -> Map<String, Value> {
        Map::from_iter([("final_loss".to_owned(), json!(self.epoch.mean_loss()))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use datasets::{Dataset, synthetic};

    const METHODS: [Method; 5] = [
        Method::Sgd { rate: 0.1 },
        Method::Momentum { rate: 0.05 },
        Method::Adam { rate: 1e-3 },
        Method::L4Adam { alpha: 0.15 },
        Method::L4Mom { alpha: 0.15 },
    ];

    #[test]
    fn a_part_of_the_examples_is_the_first_part() {
        let data = data();
        let part = Setting {
            examples: 16,
            ..setting(&data)
        };
        assert_eq!(part.steps_per_epoch(), 2);
        assert_eq!(part.hyperparameters(METHODS[0])["examples"], 16);
        let mut run = Training::new(part, METHODS[0], 3).unwrap();
        let mut seen: Vec<u32> = Vec::new();
        seen.extend(run.batches.next_batch());
        seen.extend(run.batches.next_batch());
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..16));
    }

    #[test]
    fn the_time_of_an_epoch_can_be_told_ahead() {
        let data = data();
        let seconds = setting(&data).seconds_per_epoch(METHODS[0]).unwrap();
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    }

    /// 12 steps in an epoch, with 4 examples left over.
    fn data() -> ImageDataset {
        synthetic::stand_in(Dataset::Mnist, 100, 100, [1; 32])
    }

    fn setting(data: &ImageDataset) -> Setting<'_> {
        Setting::new(data, Network::Mlp, 8, 2)
    }

    fn metrics(setting: Setting<'_>, method: Method) -> crate::metrics::Metrics {
        let mut log = MetricLog::default();
        let mut run = Training::new(setting, method, 3).unwrap();
        let end = run.advance(u64::MAX, &mut log);
        assert!(matches!(end, Ok(Advance::Finished)), "{end:?}");
        log.metrics().clone()
    }

    #[test]
    fn slicing_and_resuming_change_nothing() {
        let data = data();
        for method in METHODS {
            conformance::check(|| Training::new(setting(&data), method, 3)).unwrap();
        }
    }

    /// Networks with layers that keep something, on as few and as small batches as show it.
    fn small(data: &ImageDataset, network: Network) -> Setting<'_> {
        Setting {
            examples: 8,
            ..Setting::new(data, network, 2, 2)
        }
    }

    const CONV_NET: Network = Network::ConvNet { dropout: 0.4 };

    #[test]
    fn what_layers_keep_is_in_the_checkpoint() {
        let fashion = synthetic::stand_in(Dataset::FashionMnist, 8, 100, [1; 32]);
        let setting = small(&fashion, CONV_NET);
        conformance::check(|| Training::new(setting, METHODS[3], 3)).unwrap();
        let cifar = synthetic::stand_in(Dataset::Cifar10, 8, 100, [1; 32]);
        let setting = small(&cifar, Network::ResNet);
        conformance::check(|| Training::new(setting, METHODS[1], 3)).unwrap();
    }

    #[test]
    fn threads_change_nothing() {
        let data = synthetic::stand_in(Dataset::Cifar10, 8, 100, [1; 32]);
        let of_threads = |threads| {
            let setting = Setting {
                threads,
                ..small(&data, Network::ResNet)
            };
            metrics(setting, METHODS[3])
        };
        assert!(of_threads(1) == of_threads(2));
    }

    #[test]
    fn training_images_are_augmented_anew_in_every_epoch() {
        let data = synthetic::stand_in(Dataset::Cifar10, 8, 100, [1; 32]);
        let setting = small(&data, Network::ResNet);
        let mut run = Training::new(setting, METHODS[1], 3).unwrap();
        let mut expected = vec![0.0; setting.batch * data.shape().values()];
        for (epoch, steps) in [(0, 1), (1, setting.steps_per_epoch())] {
            run.advance(steps, &mut MetricLog::default()).unwrap();
            let order = run.shuffle.epoch(epoch);
            let examples = order.batch(0).unwrap();
            run.pipeline
                .train(&data.train, epoch, examples, &mut expected);
            assert_eq!(run.classifier.inputs_mut(), expected);
            augment::test(&data.train, examples, &mut expected);
            assert_ne!(run.classifier.inputs_mut(), expected);
        }
    }

    #[test]
    fn the_resnet_has_a_penalty_and_the_optimiser_sees_it() {
        let data = synthetic::stand_in(Dataset::Cifar10, 8, 100, [1; 32]);
        let mut run = Training::new(small(&data, Network::ResNet), METHODS[1], 3).unwrap();
        run.advance(1, &mut MetricLog::default()).unwrap();
        assert!(run.classifier.penalty() > 0.1);
        let total = run.classifier.cross_entropy() + run.classifier.penalty();
        assert!((run.window.loss_sum - f64::from(total)).abs() < 1e-5);
    }

    #[test]
    fn the_conv_net_draws_a_mask_for_every_step_and_has_no_penalty() {
        let data = synthetic::stand_in(Dataset::FashionMnist, 8, 100, [1; 32]);
        let mut run = Training::new(small(&data, CONV_NET), METHODS[1], 3).unwrap();
        run.advance(5, &mut MetricLog::default()).unwrap();
        let checkpoint = run.save();
        assert_eq!(checkpoint.scalar::<u64>("dropout/position").unwrap(), 5);
        assert_eq!(run.classifier.penalty(), 0.0);
    }

    #[test]
    fn windows_tile_every_epoch() {
        let data = data();
        let metrics = metrics(setting(&data), METHODS[3]);
        let windows = &metrics.get("loss").unwrap().steps;
        assert_eq!(windows[..10], [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]);
        assert_eq!(windows.len(), 20);
        assert_eq!(metrics.get("test_accuracy").unwrap().steps, [12, 24]);
    }

    #[test]
    fn what_is_logged_fits_together() {
        let data = data();
        let metrics = metrics(setting(&data), METHODS[3]);
        let column = |name| &metrics.get(name).unwrap().values;
        // Of the 12 steps, those of the windows that end at 2 and 8 are two each.
        let losses = &column("loss")[..10];
        let sum: f64 = losses.iter().sum::<f64>() + losses[0] + losses[5];
        assert!((sum / 12.0 - column("epoch_loss")[0]).abs() < 1e-9);
        assert!(column("largest_batch_loss")[0] > column("epoch_loss")[0]);
        let rates = ["learning_rate_min", "learning_rate", "learning_rate_max"].map(column);
        assert!((0..20).all(|i| rates[0][i] <= rates[1][i] && rates[1][i] <= rates[2][i]));
        assert_eq!(column("zero_loss_batches")[0], 0.0);
    }

    #[test]
    fn exact_zeros_are_counted_and_nothing_else() {
        let mut epoch = Epoch::default();
        for (loss, rate) in [(0.0, 0.0), (f32::MIN_POSITIVE / 8.0, 0.0), (2.0, 1e-30)] {
            epoch.observe(loss, rate);
        }
        assert_eq!((epoch.zero_losses, epoch.zero_rates), (1, 2));
        assert_eq!(epoch.largest_loss, 2.0);
    }

    #[test]
    fn a_stand_in_is_learned() {
        let data = data();
        let setting = Setting {
            epochs: 10,
            ..setting(&data)
        };
        for method in METHODS {
            let accuracy = *metrics(setting, method)
                .get("test_accuracy")
                .unwrap()
                .values
                .last()
                .unwrap();
            assert!(accuracy > 90.0, "{method:?}: {accuracy}");
        }
    }

    #[test]
    fn every_method_starts_at_the_same_weights_and_sees_the_same_batches() {
        let data = data();
        let first = |method| {
            let mut run = Training::new(setting(&data), method, 3).unwrap();
            run.advance(1, &mut MetricLog::default()).unwrap();
            (run.epoch.loss_sum, run.labels)
        };
        // The output weights start at zero, so every class has the probability 1/10.
        let (loss, labels) = first(METHODS[0]);
        assert!((loss - 10f64.ln()).abs() < 1e-6, "{loss}");
        for method in METHODS {
            assert_eq!(first(method), (loss, labels.clone()), "{method:?}");
        }
    }

    #[test]
    fn weights_are_stored_under_their_names() {
        let data = data();
        let run = Training::new(setting(&data), METHODS[4], 3).unwrap();
        let checkpoint = run.save();
        let shape = |name| {
            checkpoint
                .arrays()
                .find(|(other, _)| *other == name)
                .map(|(_, array)| array.shape().to_vec())
        };
        assert_eq!(shape("hidden1/kernel"), Some(vec![784, 300]));
        assert_eq!(shape("output/bias"), Some(vec![10]));
    }
}
