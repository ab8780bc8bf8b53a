//! Minibatches of example indices whose order is a function of (seed, epoch) and nothing else.
//!
//! A run that stops is resumed from its [`Position`] alone: [`Batches::at`] goes on with the very
//! batches that an uninterrupted run would have seen. Nothing depends on the number of threads or
//! on what else draws random numbers.
//!
//! ```
//! use datasets::batching::{Batches, Shuffle};
//!
//! let shuffle = Shuffle::new([7; 32], 60_000, 64)?;
//! // The paper's epoch on MNIST: the remainder is dropped.
//! assert_eq!(shuffle.batches_per_epoch(), 937);
//!
//! let mut run = Batches::new(shuffle);
//! for _ in 0..1000 {
//!     run.next_batch();
//! }
//! let position = run.position(); // epoch 1, batch 63
//! let mut resumed = Batches::at(shuffle, position)?;
//! assert_eq!(resumed.next_batch(), run.next_batch());
//! # Ok::<(), datasets::batching::BatchError>(())
//! ```

use rand::seq::SliceRandom;
use thiserror::Error;

use crate::random::{Purpose, Seed, stream};

/// The order of all epochs of a run: a fresh uniform permutation of the examples for each, cut into
/// whole batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    seed: Seed,
    examples: u32,
    batch: u32,
}

/// A batch size that does not fit the data, or a position that no run can be at.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// The batch size is zero or larger than the data set, so that an epoch would have no batch.
    #[error("batch size is {batch}, expected 1 to {examples}, the number of examples")]
    Size {
        /// The batch size asked for.
        batch: usize,
        /// Examples in the data set.
        examples: usize,
    },
    /// More examples than a 32-bit index can tell apart.
    #[error("data set has {examples} examples, expected at most {}", u32::MAX)]
    TooManyExamples {
        /// Examples in the data set.
        examples: usize,
    },
    /// The position is past the end of its epoch.
    #[error(
        "position is at batch {batch}, expected one of the {batches_per_epoch} batches of an epoch"
    )]
    Position {
        /// The batch asked for.
        batch: u32,
        /// Batches in an epoch.
        batches_per_epoch: u32,
    },
}

impl Shuffle {
    /// Order of `examples` examples in batches of `batch`.
    ///
    /// # Errors
    /// A batch size of zero or above `examples`; more than `u32::MAX` examples.
    pub fn new(seed: Seed, examples: usize, batch: usize) -> Result<Self, BatchError> {
        if batch == 0 || batch > examples {
            return Err(BatchError::Size { batch, examples });
        }
        let narrow = |count: usize| {
            u32::try_from(count).map_err(|_| BatchError::TooManyExamples { examples })
        };
        Ok(Self {
            seed,
            examples: narrow(examples)?,
            batch: narrow(batch)?,
        })
    }

    /// Examples in a batch.
    pub fn batch(&self) -> usize {
        self.batch as usize
    }

    /// Whole batches in an epoch, at least 1; the examples that are left over are not seen in that
    /// epoch.
    pub fn batches_per_epoch(&self) -> u32 {
        self.examples / self.batch
    }

    /// The order of one epoch.
    pub fn epoch(&self, epoch: u32) -> EpochOrder {
        let mut order: Vec<u32> = (0..self.examples).collect();
        order.shuffle(&mut stream(self.seed, Purpose::Shuffle, epoch));
        EpochOrder {
            epoch,
            order,
            batch: self.batch(),
        }
    }
}

/// The examples of one epoch in their order, by batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOrder {
    epoch: u32,
    order: Vec<u32>,
    batch: usize,
}

impl EpochOrder {
    /// All the batches of the epoch, in order; each holds exactly the batch size.
    pub fn batches(&self) -> std::slice::ChunksExact<'_, u32> {
        self.order.chunks_exact(self.batch)
    }

    /// One batch; `None` past the last.
    pub fn batch(&self, index: u32) -> Option<&[u32]> {
        self.batches().nth(index as usize)
    }
}

/// Where a run stands: the next batch that it will see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Batch within the epoch, from 0; always less than [`Shuffle::batches_per_epoch`].
    pub batch: u32,
}

/// The endless stream of batches of a run.
///
/// Invariant: `position.batch < shuffle.batches_per_epoch()`; `order` is that of the batch handed
/// out last, and is renewed when an epoch's first batch is asked for.
#[derive(Clone, Debug)]
pub struct Batches {
    shuffle: Shuffle,
    position: Position,
    order: EpochOrder,
}

impl Batches {
    /// The stream from its start.
    pub fn new(shuffle: Shuffle) -> Self {
        Self {
            shuffle,
            position: Position::default(),
            order: shuffle.epoch(0),
        }
    }

    /// The stream from `position` on, as it would go on there had it been read from its start.
    ///
    /// # Errors
    /// A batch past the end of the epoch.
    pub fn at(shuffle: Shuffle, position: Position) -> Result<Self, BatchError> {
        let batches_per_epoch = shuffle.batches_per_epoch();
        if position.batch >= batches_per_epoch {
            return Err(BatchError::Position {
                batch: position.batch,
                batches_per_epoch,
            });
        }
        Ok(Self {
            shuffle,
            position,
            order: shuffle.epoch(position.epoch),
        })
    }

    /// The batch that comes next.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Indices of the examples of the next batch. At the end of an epoch the next one begins.
    pub fn next_batch(&mut self) -> &[u32] {
        let Position { epoch, batch } = self.position;
        if self.order.epoch != epoch {
            self.order = self.shuffle.epoch(epoch);
        }
        self.position = if batch + 1 < self.shuffle.batches_per_epoch() {
            Position {
                epoch,
                batch: batch + 1,
            }
        } else {
            Position {
                epoch: epoch.wrapping_add(1),
                batch: 0,
            }
        };
        let start = batch as usize * self.shuffle.batch();
        &self.order.order[start..start + self.shuffle.batch()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = [3; 32];

    fn shuffle(examples: usize, batch: usize) -> Shuffle {
        Shuffle::new(SEED, examples, batch).unwrap()
    }

    #[test]
    fn an_epoch_is_a_permutation_less_the_remainder() {
        let shuffle = shuffle(103, 10);
        assert_eq!(shuffle.batches_per_epoch(), 10);
        let order = shuffle.epoch(5);
        assert_eq!(order.batches().len(), 10);
        assert_eq!(order.batch(10), None);
        let mut seen: Vec<u32> = order.batches().flatten().copied().collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 100);
        assert!(seen.iter().all(|&index| index < 103));
    }

    #[test]
    fn the_order_is_a_function_of_seed_and_epoch() {
        let of = |seed, epoch| Shuffle::new(seed, 50, 5).unwrap().epoch(epoch).order;
        assert_eq!(of(SEED, 1), of(SEED, 1));
        assert_ne!(of(SEED, 1), of(SEED, 2));
        assert_ne!(of(SEED, 1), of([4; 32], 1));
    }

    /// A library update that changes this order changes every result; it must not pass unnoticed.
    #[test]
    fn the_order_does_not_change_between_versions() {
        assert_eq!(shuffle(8, 1).epoch(0).order, [4, 2, 3, 0, 7, 6, 5, 1]);
    }

    #[test]
    fn every_position_resumes_exactly() {
        let shuffle = shuffle(23, 5);
        let mut run = Batches::new(shuffle);
        for step in 0..13 {
            let position = run.position();
            assert_eq!(
                position,
                Position {
                    epoch: step / 4,
                    batch: step % 4
                }
            );
            let batch = run.next_batch().to_vec();
            assert_eq!(Batches::at(shuffle, position).unwrap().next_batch(), batch);
            assert_eq!(
                shuffle.epoch(position.epoch).batch(position.batch),
                Some(&batch[..])
            );
        }
    }

    #[test]
    fn bad_sizes_and_positions_are_errors() {
        assert_eq!(
            Shuffle::new(SEED, 9, 0),
            Err(BatchError::Size {
                batch: 0,
                examples: 9
            })
        );
        assert_eq!(
            Shuffle::new(SEED, 9, 10),
            Err(BatchError::Size {
                batch: 10,
                examples: 9
            })
        );
        assert!(Shuffle::new(SEED, 0, 1).is_err());
        let too_many = u32::MAX as usize + 1;
        assert_eq!(
            Shuffle::new(SEED, too_many, 1),
            Err(BatchError::TooManyExamples { examples: too_many })
        );
        let past = Batches::at(shuffle(9, 4), Position { epoch: 0, batch: 2 });
        assert_eq!(
            past.unwrap_err(),
            BatchError::Position {
                batch: 2,
                batches_per_epoch: 2
            }
        );
    }
}
