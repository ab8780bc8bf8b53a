//! Softmax classifiers, ready to train and to test.

use autodiff::{Error, Graph, Params, Real, Shape, Slot, Tape, Var};

/// A network with the mean softmax cross-entropy of its logits on top, recorded for
/// one batch size.
pub struct Classifier<T> {
    tape: Tape<T>,
    x: Slot,
    targets: Slot,
    logits: Slot,
    loss: Slot,
}

impl<T: Real> Classifier<T> {
    /// Records `network`, a function from inputs of shape `input` (the batch first)
    /// to logits [batch, classes].
    ///
    /// # Errors
    /// If the shapes of the network do not fit.
    pub fn new(
        input: impl Into<Shape>,
        network: impl for<'g> FnOnce(Var<'g, T>) -> Var<'g, T>,
    ) -> Result<Self, Error> {
        let graph = Graph::new();
        let x = graph.input(input);
        let logits = network(x);
        let targets = graph.input(logits.shape());
        let loss = logits.softmax_cross_entropy(targets);
        let [x, logits, targets, loss] = [x, logits, targets, loss].map(|v| v.slot());
        Ok(Self {
            tape: graph.finish(loss)?,
            x,
            targets,
            logits,
            loss,
        })
    }

    /// Samples in a batch.
    pub fn batch(&self) -> usize {
        self.tape.shape(self.logits)[0]
    }

    /// The inputs of the next batch, to be written.
    pub fn inputs_mut(&mut self) -> &mut [T] {
        self.tape.input_mut(self.x)
    }

    /// Sets the labels of the next batch.
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
        let targets = self.tape.input_mut(self.targets);
        let classes = targets.len() / batch;
        targets.fill(T::zero());
        for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
            let found = usize::from(label);
            let target = row.get_mut(found);
            *target.ok_or(Error::Label { classes, found })? = T::one();
        }
        Ok(())
    }

    /// The loss of the batch; writes its gradient to `grads`.
    ///
    /// # Errors
    /// If a slice does not have the parameters' length.
    pub fn loss_and_gradient(&mut self, params: &Params<T>, grads: &mut [T]) -> Result<T, Error> {
        self.tape.forward(params.values())?;
        self.tape.backward(params.values(), grads)?;
        Ok(self.tape.value(self.loss)[0])
    }

    /// How many of the batch's samples have their label's logit as the largest, and
    /// the batch's loss.
    ///
    /// # Errors
    /// If `params` is not the network's.
    pub fn evaluate(&mut self, params: &Params<T>, labels: &[u8]) -> Result<(usize, T), Error> {
        self.set_labels(labels)?;
        self.tape.forward(params.values())?;
        let logits = self.tape.value(self.logits);
        let rows = logits.chunks_exact(logits.len() / labels.len());
        let right = rows
            .zip(labels)
            .filter(|(row, label)| largest(row) == usize::from(**label));
        Ok((right.count(), self.tape.value(self.loss)[0]))
    }
}

/// Index of the largest element; the first of equals.
fn largest<T: Real>(row: &[T]) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}
