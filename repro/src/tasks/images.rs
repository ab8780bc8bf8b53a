//! Classifying images: the perceptron of sections 3.2 and 3.6, the ResNet of 3.3, the ConvNet of 3.5.
//!
//! A window is a tenth of an epoch, a stage an epoch. Tests are without dropout, by the running statistics; where the network
//! has any, once more by statistics that are estimated anew with the weights as they are, since running ones lag behind.

use std::array;

use anyhow::{Result, ensure};
use autodiff::{GradientVector, Params, Shape, Threads, Var};
use datasets::ImageDataset;
use datasets::augment::{self, Augmentation};
use datasets::batching::{Batches, Position, Shuffle};
use datasets::images::Split;
use models::{Classifier, ConvNet, Layers, Mlp, ResNet, State};
use rand::RngExt;
use serde_json::{Map, Value, json};

use super::training::{Course, Ticks};
use super::{Problem, Row};
use crate::data;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::streams::{Purpose, stream};

/// Images that are classified at once.
const TEST_BATCH: usize = 100;
/// Batches, the first ones of the training images, by which statistics are estimated anew.
const ESTIMATED_BY: usize = 20;

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
    /// Its name, and the settings that the name does not imply.
    fn settings(self) -> Map<String, Value> {
        let settings = match self {
            Network::Mlp => json!({"network": "perceptron 784-300-100-10"}),
            Network::ConvNet { dropout } => json!({"network": "ConvNet", "dropout": dropout}),
            Network::ResNet => json!({"network": "ResNet-32", "l2": L2}),
        };
        settings.as_object().cloned().unwrap_or_default()
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

/// The task: everything about a run but the method and the seed.
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
    /// Steps in an epoch: 937 in section 3.2.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        (self.examples / self.batch) as u64
    }

    /// The task's settings, for a run's identity and for the results.
    #[must_use]
    pub fn settings(&self) -> Map<String, Value> {
        let mut settings = self.network.settings();
        settings.insert("batch".to_owned(), self.batch.into());
        if self.examples < self.data.train.len() {
            settings.insert("examples".to_owned(), self.examples.into());
        }
        settings.insert("data".to_owned(), data::identity(self.data));
        settings
    }

    /// How long a run is, and when it logs.
    #[must_use]
    pub fn course(&self) -> Course {
        let epoch = self.steps_per_epoch();
        Course {
            steps: self.epochs * epoch,
            window: Ticks::TenIn(epoch),
            stage: Ticks::Every(epoch),
            marks: None,
        }
    }

    /// The network and the minibatches of the run with this seed.
    ///
    /// # Errors
    /// If the batch size does not fit the data, or the number of tests their batch.
    pub fn problem(self, seed: u64) -> Result<Classification<'d>> {
        let Setting {
            data,
            network,
            batch,
            ..
        } = self;
        let order = stream(seed, Purpose::Batches).random();
        let shuffle = Shuffle::new(order, self.examples, batch)?;
        let tests = data.test.len();
        ensure!(
            tests > 0 && tests.is_multiple_of(TEST_BATCH),
            "{} has {tests} test images, expected a multiple of {TEST_BATCH}",
            data.name()
        );
        let mut params = Params::new();
        let [mut classifier, mut test] = network.record(&mut params, batch, seed)?;
        let threads = Threads::new(self.threads)?;
        classifier.set_threads(&threads);
        test.set_threads(&threads);
        Ok(Classification {
            data,
            threads,
            classifier,
            test,
            params,
            pipeline: network.pipeline(seed),
            shuffle,
            batches: Batches::new(shuffle),
            labels: vec![0; batch],
        })
    }
}

/// A network, and the images that it is to classify.
pub struct Classification<'d> {
    data: &'d ImageDataset,
    threads: Threads,
    classifier: Classifier<f32>,
    test: Classifier<f32>,
    params: Params<f32>,
    pipeline: Pipeline,
    shuffle: Shuffle,
    batches: Batches,
    labels: Vec<u8>,
}

impl Classification<'_> {
    /// In per cent.
    fn test_accuracy(&mut self, layers: &State<f32>) -> Result<f64, autodiff::Error> {
        self.test.restore(layers)?;
        let tests = self.data.test.len();
        let mut right = 0;
        for first in (0..tests).step_by(TEST_BATCH) {
            right += self.test_batch(first)?;
        }
        Ok(100.0 * right as f64 / tests as f64)
    }

    /// What the layers would keep had all training been with the weights as they are: running statistics over a few batches,
    /// from 0 on, less the bias of that start.
    fn estimated_anew(&mut self) -> Result<State<f32>, autodiff::Error> {
        let kept = self.classifier.state();
        let mut layers = kept.clone();
        let statistics = layers.statistics.iter_mut();
        statistics.for_each(|(_, values)| values.fill(0.0));
        self.classifier.restore(&layers)?;
        let batches = ESTIMATED_BY.min(self.shuffle.batches_per_epoch() as usize);
        let epoch = self.batches.position().epoch;
        let examples: Vec<u32> = (0..).take(batches * self.labels.len()).collect();
        for examples in examples.chunks_exact(self.labels.len()) {
            let inputs = self.classifier.inputs_mut();
            self.pipeline
                .train(&self.data.train, epoch, examples, inputs);
            self.classifier.loss(&self.params)?;
        }
        layers = self.classifier.state();
        let unbiased = 1.0 / (1.0 - ResNet::BATCH_NORM_DECAY.powi(batches as i32));
        let statistics = layers.statistics.iter_mut();
        statistics
            .flat_map(|(_, values)| values)
            .for_each(|x| *x = (f64::from(*x) * unbiased) as f32);
        self.classifier.restore(&kept)?;
        Ok(layers)
    }

    /// How many of the test images from `first` on are classified correctly.
    fn test_batch(&mut self, first: usize) -> Result<usize, autodiff::Error> {
        let test = &self.data.test;
        let examples: [u32; TEST_BATCH] = array::from_fn(|i| (first + i) as u32);
        self.pipeline.test(test, &examples, self.test.inputs_mut());
        let labels = &test.labels()[first..][..TEST_BATCH];
        Ok(self.test.evaluate(&self.params, labels)?.0)
    }
}

impl Problem for Classification<'_> {
    type T = f32;

    fn params(&self) -> &Params<f32> {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params<f32> {
        &mut self.params
    }

    fn threads(&self) -> Threads {
        self.threads.clone()
    }

    fn loss_and_gradient(&mut self, gradient: &mut GradientVector<f32>) -> Result<f32> {
        let train = &self.data.train;
        let epoch = self.batches.position().epoch;
        let examples = self.batches.next_batch();
        let inputs = self.classifier.inputs_mut();
        self.pipeline.train(train, epoch, examples, inputs);
        train.classes(examples, &mut self.labels);
        self.classifier.set_labels(&self.labels)?;
        Ok(self.classifier.loss_and_gradient(&self.params, gradient)?)
    }

    fn loss_again(&mut self) -> Result<f32> {
        let layers = self.classifier.state();
        let loss = self.classifier.loss(&self.params)?;
        self.classifier.restore(&layers)?;
        Ok(loss)
    }

    fn evaluate(&mut self, _: bool, row: &mut Row) -> Result<()> {
        let layers = self.classifier.state();
        row.push(("test_accuracy", self.test_accuracy(&layers)?));
        if !layers.statistics.is_empty() {
            let layers = self.estimated_anew()?;
            row.push(("reestimated_test_accuracy", self.test_accuracy(&layers)?));
        }
        Ok(())
    }

    fn save(&self, to: &mut Checkpoint) {
        let layers = self.classifier.state();
        for (name, values) in layers.statistics {
            to.put(name, &[values.len()], &values);
        }
        for (name, position) in layers.positions {
            to.put_scalar(name, position);
        }
    }

    fn load(&mut self, from: &Checkpoint, steps: u64) -> Result<()> {
        let mut layers = self.classifier.state();
        for (name, values) in &mut layers.statistics {
            from.read_into(name, values)?;
        }
        for (name, position) in &mut layers.positions {
            *position = from.scalar(name)?;
        }
        self.classifier.restore(&layers)?;
        let epoch = u64::from(self.shuffle.batches_per_epoch());
        let position = Position {
            epoch: (steps / epoch).try_into()?,
            batch: (steps % epoch).try_into()?,
        };
        self.batches = Batches::at(self.shuffle, position)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;
    use crate::engine::experiment::Experiment;
    use crate::engine::metrics::{MetricLog, Metrics};
    use crate::methods::{Kind, Method};
    use crate::tasks::Training;
    use datasets::{Dataset, synthetic};

    const METHODS: [(Kind, f64); 5] = [
        (Kind::Sgd, 0.1),
        (Kind::Momentum, 0.05),
        (Kind::Adam, 1e-3),
        (Kind::L4Adam, 0.15),
        (Kind::L4Mom, 0.15),
    ];

    fn data() -> ImageDataset {
        synthetic::stand_in(Dataset::Mnist, 200, 100, [3; 32])
    }

    fn setting(data: &ImageDataset) -> Setting<'_> {
        Setting {
            data,
            network: Network::Mlp,
            batch: 16,
            examples: data.train.len(),
            epochs: 2,
            threads: 1,
        }
    }

    fn training<'d>(
        setting: Setting<'d>,
        (kind, value): (Kind, f64),
    ) -> Result<Training<Classification<'d>>> {
        Training::new(
            setting.problem(3)?,
            Method::new(kind, value),
            setting.course(),
        )
    }

    fn metrics(setting: Setting<'_>, method: (Kind, f64)) -> Metrics {
        let mut log = MetricLog::default();
        let mut run = training(setting, method).unwrap();
        run.advance(u64::MAX, &mut log).unwrap();
        log.metrics().clone()
    }

    #[test]
    fn slicing_and_resuming_change_nothing() {
        let data = data();
        let averaged = [Kind::Dog, Kind::ScheduleFreePlus, Kind::Mechanic].map(|kind| (kind, 0.0));
        for method in METHODS.into_iter().chain(averaged) {
            conformance::check(|| training(setting(&data), method)).unwrap();
        }
    }

    #[test]
    fn convolutional_networks_resume_with_what_their_layers_keep() {
        let fashion = synthetic::stand_in(Dataset::FashionMnist, 40, 100, [3; 32]);
        let cifar = synthetic::stand_in(Dataset::Cifar10, 16, 100, [3; 32]);
        let networks = [
            (&fashion, Network::ConvNet { dropout: 0.4 }),
            (&cifar, Network::ResNet),
        ];
        for (data, network) in networks {
            let setting = Setting {
                network,
                batch: 8,
                epochs: 1,
                ..setting(data)
            };
            conformance::check(|| training(setting, METHODS[3])).unwrap();
        }
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
        assert!((sum / 12.0 - column("stage_loss")[0]).abs() < 1e-9);
        assert!(column("largest_batch_loss")[0] > column("stage_loss")[0]);
        let rates = ["learning_rate_min", "learning_rate", "learning_rate_max"].map(column);
        assert!((0..20).all(|i| rates[0][i] <= rates[1][i] && rates[1][i] <= rates[2][i]));
        assert_eq!(column("zero_loss_batches")[0], 0.0);
    }

    #[test]
    fn a_stand_in_is_learned() {
        let data = data();
        let setting = Setting {
            epochs: 10,
            ..setting(&data)
        };
        for method in METHODS {
            let metrics = metrics(setting, method);
            let accuracy = *metrics.get("test_accuracy").unwrap().values.last().unwrap();
            assert!(accuracy > 90.0, "{method:?}: {accuracy}");
        }
    }

    #[test]
    fn every_method_starts_at_the_same_weights_and_sees_the_same_batches() {
        let data = data();
        let first = |method| {
            let mut run = training(setting(&data), method).unwrap();
            let (loss, _) = run.step().unwrap();
            (loss, run.problem().labels.clone())
        };
        // The output weights start at zero, so every class has the probability 1/10.
        let (loss, labels) = first(METHODS[0]);
        assert!((loss - 10f64.ln()).abs() < 1e-6, "{loss}");
        for method in METHODS {
            assert_eq!(first(method), (loss, labels.clone()), "{method:?}");
        }
    }

    #[test]
    fn a_method_is_tested_where_it_is_to_be_evaluated_and_dropout_goes_on() {
        let fashion = synthetic::stand_in(Dataset::FashionMnist, 40, 100, [3; 32]);
        let setting = Setting {
            network: Network::ConvNet { dropout: 0.4 },
            batch: 8,
            epochs: 1,
            ..setting(&fashion)
        };
        let method = Method::untuned(Kind::ScheduleFreeAdamW).unwrap();
        let run = || Training::new(setting.problem(3).unwrap(), method, setting.course()).unwrap();
        let (mut logged, mut stepped) = (run(), run());
        let mut log = MetricLog::default();
        logged.advance(u64::MAX, &mut log).unwrap();
        for _ in 0..5 {
            stepped.step().unwrap();
        }
        let theta = stepped.problem().params.values().to_vec();
        assert_eq!(logged.problem().params.values(), theta);

        let x = stepped.save();
        let x = x.values::<f32>("optimizer/vector/x").unwrap();
        assert_ne!(x, theta);
        let problem = stepped.problem();
        problem.params.values_mut().copy_from_slice(x);
        let layers = problem.classifier.state();
        let expected = problem.test_accuracy(&layers).unwrap();
        let logged = &log.metrics().get("test_accuracy").unwrap().values;
        assert_eq!(*logged, [expected]);
        problem.params.values_mut().copy_from_slice(&theta);
        assert_ne!(
            problem.test_accuracy(&layers).unwrap(),
            expected,
            "not at θ"
        );
    }

    #[test]
    fn statistics_that_are_estimated_anew_are_those_of_the_training_batches() {
        // One batch, so that its own statistics are the estimate.
        let cifar = synthetic::stand_in(Dataset::Cifar10, TEST_BATCH, 100, [3; 32]);
        let setting = Setting {
            network: Network::ResNet,
            batch: TEST_BATCH,
            epochs: 1,
            ..setting(&cifar)
        };
        let mut run = training(setting, METHODS[1]).unwrap();
        run.step().unwrap();
        let problem = run.problem();
        let kept = problem.classifier.state();
        let estimated = problem.estimated_anew().unwrap();
        assert_eq!(problem.classifier.state(), kept);

        let epoch = problem.batches.position().epoch;
        let examples: [u32; TEST_BATCH] = array::from_fn(|i| i as u32);
        let mut labels = [0; TEST_BATCH];
        cifar.train.classes(&examples, &mut labels);
        let inputs = problem.test.inputs_mut();
        (problem.pipeline).train(&cifar.train, epoch, &examples, inputs);
        let mut cross_entropy = |layers| {
            problem.test.restore(layers).unwrap();
            problem.test.evaluate(&problem.params, &labels).unwrap().1
        };
        let (by_estimated, by_running) = (cross_entropy(&estimated), cross_entropy(&kept));
        problem.classifier.set_labels(&labels).unwrap();
        let gradient = &mut problem.params.zeros_like();
        let training = &mut problem.classifier;
        training
            .loss_and_gradient(&problem.params, gradient)
            .unwrap();
        let expected = training.cross_entropy();
        assert!(
            (by_estimated - expected).abs() < 1e-3,
            "{by_estimated}, {expected}"
        );
        assert!(
            (by_running - expected).abs() > 0.05,
            "{by_running}, {expected}"
        );
    }

    #[test]
    fn weights_are_stored_under_their_names() {
        let data = data();
        let checkpoint = training(setting(&data), METHODS[4]).unwrap().save();
        let shape = |name| {
            let mut arrays = checkpoint.arrays();
            let (_, array) = arrays.find(|(other, _)| *other == name)?;
            Some(array.shape().to_vec())
        };
        assert_eq!(shape("hidden1/kernel"), Some(vec![784, 300]));
        assert_eq!(shape("output/bias"), Some(vec![10]));
    }
}
