//! The repeat-copy task of section 3.4 (Fig. 6), as in DeepMind's repository of the DNC (Graves et
//! al. 2016), drawn on the fly.
//!
//! An example shows a pattern of random bits once and tells how often to repeat it. After the last
//! of the observations the network has to write down the repetitions and an end flag. With bits *n*
//! = 2, length 2 and 2 repetitions, a column for each step:
//!
//! ```text
//! observations   0   1 0   0     0 0 0 0 0    bits of the pattern
//!                0   1 1   0     0 0 0 0 0
//!                1   0 0   0     0 0 0 0 0    channel n: start flag
//!                0   0 0   0.2   0 0 0 0 0    channel n + 1: repetitions / 10
//! targets        0   0 0   0     1 0 1 0 0    the pattern, repeated
//!                0   0 0   0     1 1 1 1 0
//!                0   0 0   0     0 0 0 0 1    channel n: end flag
//! mask           0   0 0   0     1 1 1 1 1    the steps that count
//! ```
//!
//! which are length · (repetitions + 1) + 3 steps. The shorter examples of a batch get zeros at
//! their end, where the mask is zero too.
//!
//! ```
//! use datasets::repeat_copy::{Batch, RepeatCopy, RepeatCopySpec};
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//!
//! let task = RepeatCopy::new(RepeatCopySpec::default())?;
//! let mut rng = ChaCha8Rng::seed_from_u64(1);
//! let mut batch = Batch::default();
//! for _ in 0..10 {
//!     task.draw(&mut rng, &mut batch);
//!     assert!(batch.steps() <= task.longest());
//! }
//! println!("{}", batch.readable(0, None));
//! # Ok::<(), datasets::repeat_copy::RepeatCopyError>(())
//! ```

use rand::Rng;

mod batch;
mod spec;

pub use batch::Batch;
pub use spec::{RepeatCopyError, RepeatCopySpec};

/// The task: draws batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatCopy {
    /// Invariant: passed `check`.
    spec: RepeatCopySpec,
}

/// One pattern and how often it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Steps of the pattern.
    pub length: usize,
    /// How often to repeat it.
    pub repeats: usize,
}

impl Example {
    /// Steps until the targets begin: start flag, pattern, number of repetitions.
    pub fn observed_steps(&self) -> usize {
        self.length + 2
    }

    /// Steps in which the targets count: the repetitions and the end flag.
    pub fn target_steps(&self) -> usize {
        self.length * self.repeats + 1
    }

    /// All its steps.
    pub fn steps(&self) -> usize {
        self.observed_steps() + self.target_steps()
    }
}

impl RepeatCopy {
    /// The task with these ranges.
    ///
    /// # Errors
    /// A size of 0, an empty range, or batches larger than memory.
    pub fn new(spec: RepeatCopySpec) -> Result<Self, RepeatCopyError> {
        spec.check()?;
        Ok(Self { spec })
    }

    /// What it draws from.
    pub fn spec(&self) -> RepeatCopySpec {
        self.spec
    }

    /// Steps of the longest example that can be drawn.
    pub fn longest(&self) -> usize {
        let longest = Example {
            length: self.spec.max_length,
            repeats: self.spec.max_repeats,
        };
        longest.steps()
    }

    /// Every number of steps that a batch can have, in increasing order.
    pub fn possible_steps(&self) -> Vec<usize> {
        let spec = self.spec;
        let mut steps: Vec<usize> = (spec.min_length..=spec.max_length)
            .flat_map(|length| {
                (spec.min_repeats..=spec.max_repeats)
                    .map(move |repeats| Example { length, repeats }.steps())
            })
            .collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// Draws a batch into `batch`, whose buffers are used again; as long as its longest example.
    ///
    /// From the generator are taken, in this order: all lengths, all numbers of repetitions, and
    /// the patterns, example after example, step after step.
    pub fn draw(&self, rng: &mut (impl Rng + ?Sized), batch: &mut Batch) {
        batch.draw(&self.spec, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    pub(super) fn draw(spec: RepeatCopySpec, seed: u64) -> Batch {
        let mut batch = Batch::default();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        RepeatCopy::new(spec).unwrap().draw(&mut rng, &mut batch);
        batch
    }

    #[test]
    fn every_length_and_number_of_repetitions_is_equally_likely() {
        let spec = RepeatCopySpec {
            max_length: 3,
            batch: 12_000,
            ..RepeatCopySpec::default()
        };
        let batch = draw(spec, 3);
        for length in 1..=3 {
            for repeats in 1..=2 {
                let like = Example { length, repeats };
                let count = batch.examples().iter().filter(|&&e| e == like).count() as f64;
                // Five standard deviations of a binomial count with p = 1/6.
                assert!(
                    (count - 2000.0).abs() < 5.0 * (2000.0f64 * 5.0 / 6.0).sqrt(),
                    "{like:?}: {count}"
                );
            }
        }
        let n = batch.examples().iter().map(|e| 4 * e.length).sum::<usize>() as f64;
        let ones: f32 = (1..=3)
            .flat_map(|step| {
                batch.observations()[step * 12_000 * 6..][..12_000 * 6]
                    .chunks_exact(6)
                    .map(|row| row[..4].iter().sum::<f32>())
            })
            .sum();
        assert!(
            (f64::from(ones) - n / 2.0).abs() < 2.5 * n.sqrt(),
            "{ones} of {n}"
        );
    }

    #[test]
    fn the_generator_alone_decides() {
        let spec = RepeatCopySpec::default();
        assert_eq!(draw(spec, 4), draw(spec, 4));
        assert_ne!(draw(spec, 4), draw(spec, 5));
        let task = RepeatCopy::new(spec).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut used_again = draw(RepeatCopySpec { bits: 7, ..spec }, 9);
        task.draw(&mut rng, &mut used_again);
        assert_eq!(used_again, draw(spec, 4));
    }

    #[test]
    fn possible_steps_are_those_of_all_pairs() {
        let task = RepeatCopy::new(RepeatCopySpec::default()).unwrap();
        assert_eq!(task.possible_steps(), [5, 6, 7, 9]);
        assert_eq!(task.longest(), 9);
    }
}
