//! Training and evaluating a [`Dnc`] on sequences of any length.

use super::Dnc;
use autodiff::{Error, Params, Real, Slot, Tape, record};

/// A batch of sequences side by side, time the outermost axis.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a, T> {
    /// What the network sees: [steps, batch, inputs].
    pub observations: &'a [T],
    /// What it has to say, probabilities: [steps, batch, outputs].
    pub targets: &'a [T],
    /// The weight of each step of each sequence in the loss: [steps, batch].
    pub mask: &'a [T],
}

/// A [`Dnc`] with its loss on top, ready to train, for one batch size and any number of
/// steps: an [`Unrolled`] for each.
///
/// The loss is that of DeepMind's code, in nats: the cross-entropy between the targets and
/// σ of the logits, summed over outputs and, weighted by the mask, over steps; averaged over
/// the batch.
///
/// A number of steps that comes up for the first time is recorded; from its second time on
/// nothing is allocated.
///
/// ```
/// use autodiff::Params;
/// use models::{Dnc, DncConfig, DncTrainer, Sequences};
/// use rand::SeedableRng;
///
/// let mut params = Params::<f32>::new();
/// let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let dnc = Dnc::new(&mut params, DncConfig::PAPER, rng)?;
/// let mut trainer = DncTrainer::new(&dnc, 2);
///
/// let sequences = Sequences {
///     observations: &[0.5; 3 * 2 * 6],
///     targets: &[1.0; 3 * 2 * 5],
///     mask: &[1.0; 3 * 2],
/// };
/// let batch = trainer.unroll(&sequences)?;
/// let mut grads = params.zeros_like();
/// let loss = batch.loss_and_gradient(&params, &mut grads)?;
/// let logits = batch.logits(&params)?;
/// assert_eq!(logits.len(), sequences.targets.len());
/// # assert!(loss > 0.0);
/// # Ok::<(), autodiff::Error>(())
/// ```
pub struct DncTrainer<T> {
    dnc: Dnc,
    batch: usize,
    /// One for each number of steps that has come up.
    unrolled: Vec<Unrolled<T>>,
}

/// The recording of a [`Dnc`] and its loss for one number of steps, with the sequences that
/// [`DncTrainer::unroll`] was given.
pub struct Unrolled<T> {
    steps: usize,
    tape: Tape<T>,
    observations: Slot,
    targets: Slot,
    mask: Slot,
    logits: Slot,
}

impl<T: Real> DncTrainer<T> {
    /// For batches of `batch` sequences.
    pub fn new(dnc: &Dnc, batch: usize) -> Self {
        Self {
            dnc: *dnc,
            batch,
            unrolled: Vec::new(),
        }
    }

    /// The network over as many steps as these sequences have, and with them as its inputs.
    ///
    /// # Errors
    /// If a slice does not have the length that it should have, or a size of the network
    /// is 0.
    pub fn unroll(&mut self, sequences: &Sequences<T>) -> Result<&mut Unrolled<T>, Error> {
        let steps = sequences.mask.len() / self.batch.max(1);
        let known = self.unrolled.iter().position(|u| u.steps == steps);
        let index = match known {
            Some(index) => index,
            None => {
                self.unrolled
                    .push(Unrolled::new(&self.dnc, steps, self.batch)?);
                self.unrolled.len() - 1
            }
        };
        let unrolled = &mut self.unrolled[index];
        unrolled.set(sequences)?;
        Ok(unrolled)
    }
}

impl<T: Real> Unrolled<T> {
    fn new(dnc: &Dnc, steps: usize, batch: usize) -> Result<Self, Error> {
        let config = dnc.config();
        let (mut tape, [observations, targets, mask, logits, _]) = record(|g| {
            let observations = g.input([steps, batch, config.inputs]);
            let targets = g.input([steps, batch, config.outputs]);
            let mask = g.input([steps, batch]);
            let logits = dnc.logits(observations);
            let cross_entropy = logits.sigmoid_cross_entropy(targets);
            let total = (cross_entropy.sum_over(&[2]) * mask).sum();
            let loss = total / T::nearest(batch as f64);
            Ok([observations, targets, mask, logits, loss])
        })?;
        tape.share_gradients();
        Ok(Self {
            steps,
            tape,
            observations,
            targets,
            mask,
            logits,
        })
    }

    fn set(&mut self, sequences: &Sequences<T>) -> Result<(), Error> {
        self.tape.set(self.observations, sequences.observations)?;
        self.tape.set(self.targets, sequences.targets)?;
        self.tape.set(self.mask, sequences.mask)
    }

    /// The loss of the batch; writes its gradient to `grads`.
    ///
    /// # Errors
    /// If `params` is not the network's, or `grads` not of its length.
    pub fn loss_and_gradient(&mut self, params: &Params<T>, grads: &mut [T]) -> Result<T, Error> {
        let mut pass = self.tape.forward(params)?;
        pass.backward(grads)?;
        pass.loss()
    }

    /// The loss of the batch.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn loss(&mut self, params: &Params<T>) -> Result<T, Error> {
        self.tape.forward(params)?.loss()
    }

    /// The logits of the batch, row-major, [steps, batch, outputs].
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn logits<'a>(&'a mut self, params: &'a Params<T>) -> Result<&'a [T], Error> {
        self.tape.forward(params)?.into_value(self.logits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::numbers;
    use super::*;
    use crate::DncConfig;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const BATCH: usize = 3;

    fn trainer() -> (DncTrainer<f64>, Params<f64>) {
        let mut params = Params::new();
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let dnc = Dnc::new(&mut params, DncConfig::PAPER, rng).unwrap();
        (DncTrainer::new(&dnc, BATCH), params)
    }

    /// Owned observations, targets and mask.
    fn sequences(steps: usize) -> [Vec<f64>; 3] {
        let bits = |n| numbers(n, 0.0, 2.0).into_iter().map(f64::floor).collect();
        [
            bits(steps * BATCH * 6),
            bits(steps * BATCH * 5),
            bits(steps * BATCH),
        ]
    }

    fn view([observations, targets, mask]: &[Vec<f64>; 3]) -> Sequences<'_, f64> {
        Sequences {
            observations,
            targets,
            mask,
        }
    }

    #[test]
    fn the_loss_is_the_masked_cross_entropy_of_the_outputs() {
        let (mut trainer, params) = trainer();
        let data = sequences(4);
        let batch = trainer.unroll(&view(&data)).unwrap();
        let logits = batch.logits(&params).unwrap().to_vec();
        let [_, targets, mask] = &data;
        let mut expected = 0.0;
        for (k, (x, t)) in logits.iter().zip(targets).enumerate() {
            let p = 1.0 / (1.0 + (-x).exp());
            let of_target = if *t == 1.0 { p } else { 1.0 - p };
            expected -= mask[k / 5] * of_target.ln() / BATCH as f64;
        }
        let loss = batch.loss(&params).unwrap();
        assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
    }

    #[test]
    fn steps_that_are_masked_out_at_the_end_change_nothing() {
        let (mut trainer, params) = trainer();
        let short = sequences(4);
        let mut long = short.clone();
        for (data, width) in long.iter_mut().zip([6, 5, 1]) {
            data.resize(6 * BATCH * width, 0.0);
        }
        let mut grads = [params.zeros_like(), params.zeros_like()];
        let losses = [&short, &long].map(|data| {
            let grads = &mut grads[usize::from(data[2].len() > 4 * BATCH)];
            let batch = trainer.unroll(&view(data)).unwrap();
            batch.loss_and_gradient(&params, grads).unwrap()
        });
        assert!((losses[0] - losses[1]).abs() < 1e-14);
        let [short, long] = &grads;
        let pairs = short.iter().zip(long.iter());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-14));
        assert!(short.iter().any(|&g| g != 0.0));
    }

    /// Gradient descent on one batch, with the norm of a step bounded.
    #[test]
    fn steps_along_the_gradient_lower_the_loss() {
        let (mut trainer, mut params) = trainer();
        let data = sequences(5);
        let mut grads = params.zeros_like();
        let mut losses = Vec::new();
        for _ in 0..60 {
            let batch = trainer.unroll(&view(&data)).unwrap();
            let loss = batch.loss_and_gradient(&params, &mut grads);
            losses.push(loss.unwrap());
            let norm = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
            let values = params.values_mut().iter_mut();
            values
                .zip(grads.iter())
                .for_each(|(w, g)| *w -= 0.3 * g / norm.max(1.0));
        }
        assert!(losses[59] < 0.5 * losses[0], "{losses:?}");
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let (mut trainer, _) = trainer();
        let right = sequences(4);
        for k in 0..3 {
            let mut wrong = right.clone();
            wrong[k].pop();
            assert!(trainer.unroll(&view(&wrong)).is_err(), "part {k}");
        }
        assert!(trainer.unroll(&view(&sequences(0))).is_err());
        assert!(trainer.unroll(&view(&right)).is_ok());
    }
}
