//! Softmax classifiers, ready to train and to test.

use crate::layers::{Layers, State};
use autodiff::{Error, Params, Real, Shape, Slot, Tape, Threads, Var, record};

/// A network with the mean softmax cross-entropy of its logits on top, in nats a sample, recorded
/// for one batch size.
///
/// A network that is not the same function in training and in evaluation (dropout, batch
/// normalisation) is recorded once for each, by [`training`](Self::training) and
/// [`evaluation`](Self::evaluation). Before an evaluation give the one the running
/// statistics of the other:
///
/// ```
/// # use autodiff::Params;
/// # use models::{Classifier, ResNet, Training};
/// # use rand::SeedableRng;
/// # let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let mut params = Params::<f32>::new();
/// let network = ResNet::new(&mut params, 1, rng)?;
/// let setting = Training { dropout_seed: [0; 32], l2: 2e-4 };
/// let mut training = Classifier::training([2, 32, 32, 3], &params, setting, |x, layers| {
///     network.logits(x, layers)
/// })?;
/// let mut test = Classifier::evaluation([3, 32, 32, 3], |x, layers| network.logits(x, layers))?;
/// // After steps of training:
/// test.restore(&training.state())?;
/// let (right, loss) = test.evaluate(&params, &[0, 1, 2])?;
/// # let _ = (right, loss);
/// # let grads = &mut params.zeros_like();
/// # training.loss_and_gradient(&params, grads)?;
/// # Ok::<(), autodiff::Error>(())
/// ```
pub struct Classifier<T> {
    tape: Tape<T>,
    x: Slot,
    targets: Slot,
    logits: Slot,
    cross_entropy: Slot,
    penalty: Option<Slot>,
    layers: Layers,
    /// Samples, and logits of each.
    extents: [usize; 2],
    /// Of the last batch: cross-entropy and penalty.
    losses: [T; 2],
}

/// What training needs beside the network.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Start of the random stream of the dropout masks.
    pub dropout_seed: [u8; 32],
    /// λ of the penalty λ · ½‖w‖² on all parameters; 0 for none.
    pub l2: f64,
}

impl<T: Real> Classifier<T> {
    /// Records `network`, a function from inputs of shape `input` (the batch first)
    /// to logits [batch, classes] that is the same in training and in evaluation.
    ///
    /// # Errors
    /// If the shapes of the network do not fit.
    pub fn new(
        input: impl Into<Shape>,
        network: impl for<'g> FnOnce(Var<'g, T>) -> Var<'g, T>,
    ) -> Result<Self, Error> {
        Self::evaluation(input, |x, _| network(x))
    }

    /// Records `network` for training: the loss is the cross-entropy plus the L2
    /// penalty on `params`.
    ///
    /// # Errors
    /// If the shapes of the network do not fit.
    pub fn training(
        input: impl Into<Shape>,
        params: &Params<T>,
        training: Training,
        network: impl for<'g> FnOnce(Var<'g, T>, &mut Layers) -> Var<'g, T>,
    ) -> Result<Self, Error> {
        let Training { dropout_seed, l2 } = training;
        let penalty = (l2 != 0.0).then_some((l2, params));
        let layers = Layers::training(dropout_seed);
        Self::record(input.into(), layers, penalty, network)
    }

    /// Records `network` for evaluation: the loss is the cross-entropy alone.
    ///
    /// # Errors
    /// If the shapes of the network do not fit.
    pub fn evaluation(
        input: impl Into<Shape>,
        network: impl for<'g> FnOnce(Var<'g, T>, &mut Layers) -> Var<'g, T>,
    ) -> Result<Self, Error> {
        Self::record(input.into(), Layers::evaluation(), None, network)
    }

    fn record(
        input: Shape,
        mut layers: Layers,
        penalty: Option<(f64, &Params<T>)>,
        network: impl for<'g> FnOnce(Var<'g, T>, &mut Layers) -> Var<'g, T>,
    ) -> Result<Self, Error> {
        let mut with_penalty = None;
        let (mut tape, [x, logits, targets, cross_entropy, _]) = record(|g| {
            let x = g.input(input);
            let logits = network(x, &mut layers);
            let targets = g.input(logits.shape()?);
            let cross_entropy = logits.softmax_cross_entropy(targets);
            let penalty = penalty.map(|(l2, params)| {
                let all: Vec<_> = params.iter().map(|(_, p)| g.param(p)).collect();
                g.half_squared_norm(&all) * T::nearest(l2)
            });
            with_penalty = penalty.map(|v| v.slot());
            let loss = penalty.map_or(cross_entropy, |penalty| cross_entropy + penalty);
            Ok([x, logits, targets, cross_entropy, loss])
        })?;
        tape.share_gradients();
        let shape = tape.shape(logits)?;
        Ok(Self {
            // The cross-entropy takes no other shapes.
            extents: [shape[0], shape[1]],
            losses: [T::zero(); 2],
            tape,
            x,
            targets,
            logits,
            cross_entropy,
            penalty: with_penalty,
            layers,
        })
    }

    /// Shares the work of convolutions, matrix products and long elementwise loops out among `threads`; the bits of the results
    /// stay the same.
    pub fn set_threads(&mut self, threads: &Threads) {
        self.tape.set_threads(threads);
    }

    /// Samples in a batch.
    pub fn batch(&self) -> usize {
        self.extents[0]
    }

    /// The inputs of the next batch, to be written.
    pub fn inputs_mut(&mut self) -> &mut [T] {
        self.tape.input_mut(self.x).expect(RECORDED)
    }

    /// Sets the labels of the next batch. Before the first call all targets are 0, and with them the cross-entropy.
    ///
    /// # Errors
    /// If their number is not that of the batch, or a label is no class.
    pub fn set_labels(&mut self, labels: &[u8]) -> Result<(), Error> {
        let batch = self.batch();
        if labels.len() != batch {
            let found = labels.len();
            return Err(Error::Length {
                what: "labels",
                expected: batch,
                found,
            });
        }
        let classes = self.extents[1];
        let labels = labels.iter().map(|&label| usize::from(label));
        if let Some(found) = labels.clone().find(|&label| label >= classes) {
            return Err(Error::Label { classes, found });
        }
        let targets = self.tape.input_mut(self.targets)?;
        targets.fill(T::zero());
        for (row, label) in targets.chunks_exact_mut(classes).zip(labels) {
            row[label] = T::one();
        }
        Ok(())
    }

    /// The loss of the batch, penalty included; writes its gradient to `grads`.
    ///
    /// # Errors
    /// If `params` is not the network's, or `grads` not of its length.
    pub fn loss_and_gradient(&mut self, params: &Params<T>, grads: &mut [T]) -> Result<T, Error> {
        let mut pass = self.tape.forward(params)?;
        pass.backward(grads)?;
        let penalty = match self.penalty {
            Some(slot) => pass.value(slot)?[0],
            None => T::zero(),
        };
        self.losses = [pass.value(self.cross_entropy)?[0], penalty];
        pass.loss()
    }

    /// The loss of the batch, penalty included.
    /// On one recorded for training this is a pass of training: masks are drawn and running statistics move.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn loss(&mut self, params: &Params<T>) -> Result<T, Error> {
        self.tape.forward(params)?.loss()
    }

    /// Without the penalty, the loss of the last batch of `loss_and_gradient` or `evaluate`.
    pub fn cross_entropy(&self) -> T {
        self.losses[0]
    }

    /// The penalty on the parameters of the last step; zero if there is none.
    pub fn penalty(&self) -> T {
        self.losses[1]
    }

    /// How many of the batch's samples have their label's logit as the largest, and
    /// the batch's cross-entropy.
    /// On one recorded for training this is a pass of training: masks are drawn and running statistics move.
    ///
    /// # Errors
    /// If `params` is not the network's, and as [`set_labels`](Self::set_labels).
    pub fn evaluate(&mut self, params: &Params<T>, labels: &[u8]) -> Result<(usize, T), Error> {
        self.set_labels(labels)?;
        let pass = self.tape.forward(params)?;
        let classes = pass.argmax(self.logits)?.zip(labels);
        let right = classes.filter(|(class, label)| *class == usize::from(**label));
        let right = right.count();
        self.losses[0] = pass.value(self.cross_entropy)?[0];
        Ok((right, self.losses[0]))
    }

    /// The logits of the inputs, row-major, [batch, classes]. Labels play no part.
    /// On one recorded for training this is a pass of training: masks are drawn and running statistics move.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn logits<'a>(&'a mut self, params: &'a Params<T>) -> Result<&'a [T], Error> {
        self.tape.forward(params)?.into_value(self.logits)
    }

    /// The class of each sample: that of its largest logit, as [`argmax`](autodiff::Pass::argmax).
    /// On one recorded for training this is a pass of training: masks are drawn and running statistics move.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn predictions(&mut self, params: &Params<T>) -> Result<Vec<usize>, Error> {
        Ok(self.tape.forward(params)?.argmax(self.logits)?.collect())
    }

    /// What the layers keep from step to step.
    pub fn state(&self) -> State<T> {
        self.layers.state(&self.tape).expect(RECORDED)
    }

    /// Gives the layers what another recording of this network has kept: see
    /// [`Layers::restore`].
    ///
    /// # Errors
    /// [`Error::MissingState`] if a layer finds nothing under its name,
    /// [`Error::Length`] if that is of another number of channels, and as [`Layers::restore`].
    pub fn restore(&mut self, state: &State<T>) -> Result<(), Error> {
        self.layers.restore(&mut self.tape, state)
    }
}

const RECORDED: &str = "it was recorded on this tape";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConvNet, ResNet};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SETTING: Training = Training {
        dropout_seed: [3; 32],
        l2: 2e-4,
    };

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    /// Images of two kinds, light at the top or at the bottom.
    fn fill(classifier: &mut Classifier<f32>) {
        let labels: Vec<u8> = (0..classifier.batch()).map(|i| (i % 2) as u8).collect();
        let inputs = classifier.inputs_mut();
        let image = inputs.len() / labels.len();
        for (i, x) in inputs.iter_mut().enumerate() {
            let upper = i % image < image / 2;
            let light = upper == (i / image).is_multiple_of(2);
            *x = f32::from(u8::from(light)) + 0.1 * (i as f32).sin();
        }
        classifier.set_labels(&labels).unwrap();
    }

    /// Steps of gradient descent.
    fn train(classifier: &mut Classifier<f32>, params: &mut Params<f32>, steps: usize) -> Vec<f32> {
        let mut grads = params.zeros_like();
        let mut step = || {
            let loss = classifier.loss_and_gradient(params, &mut grads).unwrap();
            let weights = params.values_mut().iter_mut().zip(grads.iter());
            weights.for_each(|(w, g)| *w -= 0.05 * g);
            loss
        };
        (0..steps).map(|_| step()).collect()
    }

    fn resnet(batch: usize) -> (Classifier<f32>, Params<f32>, ResNet) {
        let mut params = Params::new();
        let network = ResNet::new(&mut params, 1, &mut rng()).unwrap();
        let input = [batch, 32, 32, 3];
        let classifier = Classifier::training(input, &params, SETTING, |x, layers| {
            network.logits(x, layers)
        });
        let mut classifier = classifier.unwrap();
        fill(&mut classifier);
        (classifier, params, network)
    }

    #[test]
    fn the_loss_is_cross_entropy_plus_penalty() {
        let (mut classifier, mut params, _) = resnet(2);
        let squares: f64 = params.values().iter().map(|&w| f64::from(w).powi(2)).sum();
        let loss = train(&mut classifier, &mut params, 1)[0];
        assert!((f64::from(classifier.penalty()) / (1e-4 * squares) - 1.0).abs() < 1e-6);
        assert!((classifier.cross_entropy() + classifier.penalty() - loss).abs() < 1e-6);
    }

    #[test]
    fn an_evaluation_uses_the_running_statistics_of_the_training() {
        let (mut training, mut params, network) = resnet(4);
        let losses = train(&mut training, &mut params, 30);
        assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
        let evaluation =
            Classifier::evaluation([2, 32, 32, 3], |x, layers| network.logits(x, layers));
        let mut evaluation = evaluation.unwrap();
        fill(&mut evaluation);
        let untrained = evaluation.evaluate(&params, &[0, 1]).unwrap();
        evaluation.restore(&training.state()).unwrap();
        assert_eq!(evaluation.state(), training.state());
        let trained = evaluation.evaluate(&params, &[0, 1]).unwrap();
        let predictions = evaluation.predictions(&params).unwrap();
        let right = predictions.iter().enumerate().filter(|(i, c)| i == *c);
        assert_eq!(right.count(), trained.0);
        assert_eq!(evaluation.logits(&params).unwrap().len(), 2 * 10);
        assert_ne!(trained, untrained);
        assert_eq!(
            evaluation.evaluate(&params, &[0, 1]).unwrap(),
            trained,
            "keeps nothing"
        );
        let names: Vec<_> = training
            .state()
            .statistics
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names.len(), 2 * 7);
        assert_eq!(names[0], "stage1/block1/norm1/moving_mean");
    }

    #[test]
    fn a_restored_training_goes_on_with_the_same_bits() {
        let record = || {
            let mut params = Params::new();
            let network = ConvNet::new(&mut params, 0.4, &mut rng()).unwrap();
            let setting = Training { l2: 0.0, ..SETTING };
            let classifier = Classifier::training([2, 28, 28, 1], &params, setting, |x, layers| {
                network.logits(x, layers)
            });
            let mut classifier = classifier.unwrap();
            fill(&mut classifier);
            (classifier, params)
        };
        let (mut classifier, mut params) = record();
        train(&mut classifier, &mut params, 2);
        let (state, saved) = (classifier.state(), params.clone());
        assert_eq!(state.positions, [("dropout/position".to_owned(), 2)]);
        let expected = train(&mut classifier, &mut params, 3);
        let resume = |state: Option<&State<f32>>| {
            let (mut classifier, mut params) = record();
            if let Some(state) = state {
                classifier.restore(state).unwrap();
            }
            params.values_mut().copy_from_slice(saved.values());
            let losses = train(&mut classifier, &mut params, 3);
            assert_eq!(classifier.penalty(), 0.0);
            losses
        };
        assert_eq!(resume(Some(&state)), expected);
        assert_ne!(resume(None), expected, "other masks");
    }

    #[test]
    fn state_that_is_not_there_is_named() {
        let (mut classifier, _, _) = resnet(1);
        let mut state = classifier.state();
        state.statistics.remove(0);
        let error = classifier.restore(&state).unwrap_err().to_string();
        assert!(error.contains("stage1/block1/norm1/moving_mean"), "{error}");
    }
}
