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

use rand::{Rng, RngExt};
use std::fmt::Write;
use thiserror::Error;

/// What the number of repetitions is divided by in its channel.
const REPEATS_SCALE: f32 = 10.0;

/// The ranges that examples are drawn from. The default is the paper's, which is the repository's:
/// 4 bits, lengths and repetitions 1 to 2, batches of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatCopySpec {
    /// Bits of one step of a pattern.
    pub bits: usize,
    /// Fewest steps of a pattern.
    pub min_length: usize,
    /// Most steps of a pattern; each length from the fewest to the most is equally likely.
    pub max_length: usize,
    /// Fewest repetitions.
    pub min_repeats: usize,
    /// Most repetitions; each number from the fewest to the most is equally likely.
    pub max_repeats: usize,
    /// Examples in a batch.
    pub batch: usize,
}

impl Default for RepeatCopySpec {
    fn default() -> Self {
        Self {
            bits: 4,
            min_length: 1,
            max_length: 2,
            min_repeats: 1,
            max_repeats: 2,
            batch: 16,
        }
    }
}

impl RepeatCopySpec {
    /// Channels of an observation: the bits, the start flag, the number of repetitions.
    pub fn observation_channels(&self) -> usize {
        self.bits + 2
    }

    /// Channels of a target: the bits, the end flag.
    pub fn target_channels(&self) -> usize {
        self.bits + 1
    }

    fn check(&self) -> Result<(), RepeatCopyError> {
        let sizes = [
            ("bits", self.bits),
            ("min_length", self.min_length),
            ("min_repeats", self.min_repeats),
            ("batch", self.batch),
        ];
        for (field, size) in sizes {
            if size == 0 {
                return Err(RepeatCopyError::Zero { field });
            }
        }
        let ranges = [
            ("length", self.min_length, self.max_length),
            ("repeats", self.min_repeats, self.max_repeats),
        ];
        for (range, min, max) in ranges {
            if min > max {
                return Err(RepeatCopyError::EmptyRange { range, min, max });
            }
        }
        self.observations_of_longest()
            .map(|_| ())
            .ok_or(RepeatCopyError::TooLarge { spec: *self })
    }

    /// Numbers in the observations of the largest batch, if memory can hold them.
    fn observations_of_longest(&self) -> Option<usize> {
        let copies = self.max_repeats.checked_add(1)?;
        let steps = self.max_length.checked_mul(copies)?.checked_add(3)?;
        let elements = steps
            .checked_mul(self.batch)?
            .checked_mul(self.bits.checked_add(2)?)?;
        (elements <= isize::MAX as usize / size_of::<f32>()).then_some(elements)
    }
}

/// A [`RepeatCopySpec`] from which nothing can be drawn.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RepeatCopyError {
    /// A number that has to be at least 1.
    #[error("repeat copy: `{field}` is 0, expected at least 1")]
    Zero {
        /// The field of [`RepeatCopySpec`].
        field: &'static str,
    },
    /// A range with no number in it.
    #[error(
        "repeat copy: `min_{range}` is {min} and `max_{range}` is {max}, expected a maximum of at least the minimum"
    )]
    EmptyRange {
        /// `length` or `repeats`.
        range: &'static str,
        /// The field `min_…`.
        min: usize,
        /// The field `max_…`.
        max: usize,
    },
    /// A batch would not fit into memory.
    #[error("repeat copy: a batch of the longest examples does not fit into memory: {spec:?}")]
    TooLarge {
        /// What was asked for.
        spec: RepeatCopySpec,
    },
}

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

/// Examples side by side; time is the outermost axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    bits: usize,
    steps: usize,
    examples: Vec<Example>,
    observations: Vec<f32>,
    targets: Vec<f32>,
    mask: Vec<f32>,
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
        let spec = self.spec;
        batch.bits = spec.bits;
        batch.examples.clear();
        batch.examples.extend((0..spec.batch).map(|_| Example {
            length: rng.random_range(spec.min_length..=spec.max_length),
            repeats: 0,
        }));
        for example in &mut batch.examples {
            example.repeats = rng.random_range(spec.min_repeats..=spec.max_repeats);
        }
        batch.steps = 0;
        for buffer in [&mut batch.observations, &mut batch.targets, &mut batch.mask] {
            buffer.clear();
        }
        let longest = batch.examples.iter().map(Example::steps).max();
        batch.pad_to(longest.unwrap_or(0));
        for index in 0..spec.batch {
            batch.write(index, rng);
        }
    }
}

impl Batch {
    /// Steps of its longest example, or what it was padded to.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// What was drawn, example by example.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// What the network sees: [steps, examples, bits + 2].
    pub fn observations(&self) -> &[f32] {
        &self.observations
    }

    /// What it has to say: [steps, examples, bits + 1], zeros and ones.
    pub fn targets(&self) -> &[f32] {
        &self.targets
    }

    /// Where that counts: [steps, examples], zeros and ones.
    pub fn mask(&self) -> &[f32] {
        &self.mask
    }

    /// Adds steps of zeros, masked out, up to `steps` in all; does nothing if there are as many.
    pub fn pad_to(&mut self, steps: usize) {
        self.steps = self.steps.max(steps);
        let rows = self.steps * self.examples.len();
        self.observations.resize(rows * (self.bits + 2), 0.0);
        self.targets.resize(rows * (self.bits + 1), 0.0);
        self.mask.resize(rows, 0.0);
    }

    /// Writes one example over zeros, with a pattern from `rng`.
    fn write(&mut self, index: usize, rng: &mut (impl Rng + ?Sized)) {
        let bits = self.bits;
        let example = self.examples[index];
        self.observation_mut(0, index)[bits] = 1.0;
        for step in 0..example.length {
            for bit in 0..bits {
                let value = f32::from(u8::from(rng.random::<bool>()));
                self.observation_mut(1 + step, index)[bit] = value;
                for repeat in 0..example.repeats {
                    let at = example.observed_steps() + repeat * example.length + step;
                    self.target_mut(at, index)[bit] = value;
                }
            }
        }
        let repeats = example.repeats as f32 / REPEATS_SCALE;
        self.observation_mut(1 + example.length, index)[bits + 1] = repeats;
        self.target_mut(example.steps() - 1, index)[bits] = 1.0;
        for step in example.observed_steps()..example.steps() {
            let row = self.row(step, index);
            self.mask[row] = 1.0;
        }
    }

    fn row(&self, step: usize, index: usize) -> usize {
        step * self.examples.len() + index
    }

    fn observation_mut(&mut self, step: usize, index: usize) -> &mut [f32] {
        let channels = self.bits + 2;
        let row = self.row(step, index);
        &mut self.observations[row * channels..][..channels]
    }

    fn target_mut(&mut self, step: usize, index: usize) -> &mut [f32] {
        let channels = self.bits + 1;
        let row = self.row(step, index);
        &mut self.targets[row * channels..][..channels]
    }

    /// Whether a model that gave these logits, [steps, examples, bits + 1], has every bit of the
    /// example right where the mask counts it: a bit is 1 where its logit is positive.
    ///
    /// # Panics
    /// If there is no such example, or the logits are not as many as the targets.
    pub fn is_right(&self, index: usize, logits: &[f32]) -> bool {
        assert_eq!(
            logits.len(),
            self.targets.len(),
            "one logit for each target"
        );
        let channels = self.bits + 1;
        let example = self.examples[index];
        (example.observed_steps()..example.steps()).all(|step| {
            let start = self.row(step, index) * channels;
            let targets = &self.targets[start..][..channels];
            let mut pairs = targets.iter().zip(&logits[start..]);
            pairs.all(|(&target, &logit)| (logit > 0.0) == (target > 0.5))
        })
    }

    /// One example as text, in the manner of the repository's `to_human_readable`: a row for each
    /// channel, a column for each step, and what the model's `logits`, [steps, examples, bits + 1],
    /// come to beside the targets. A `-` stands where there is nothing to see or to say.
    ///
    /// # Panics
    /// If there is no such example, or the logits are not as many as the targets.
    pub fn readable(&self, index: usize, logits: Option<&[f32]>) -> String {
        let example = self.examples[index];
        let observed = 0..example.observed_steps();
        let answered = example.observed_steps()..example.steps();
        let mut text = String::from("Observations:\n");
        self.rows(&mut text, &self.observations, index, |step, channel, x| {
            let scale = if channel > self.bits {
                REPEATS_SCALE
            } else {
                1.0
            };
            observed.contains(&step).then_some((x * scale).round())
        });
        text.push_str("Targets:\n");
        self.rows(&mut text, &self.targets, index, |step, _, x| {
            answered.contains(&step).then_some(x)
        });
        if let Some(logits) = logits {
            assert_eq!(
                logits.len(),
                self.targets.len(),
                "one logit for each target"
            );
            text.push_str("Model output:\n");
            self.rows(&mut text, logits, index, |step, _, logit| {
                let bit = if logit > 0.0 { 1.0 } else { 0.0 };
                answered.contains(&step).then_some(bit)
            });
        }
        text
    }

    /// One line for each channel of `values`, [steps, examples, channels].
    fn rows(
        &self,
        text: &mut String,
        values: &[f32],
        index: usize,
        show: impl Fn(usize, usize, f32) -> Option<f32>,
    ) {
        let channels = values.len() / self.mask.len();
        for channel in 0..channels {
            text.push('+');
            for step in 0..self.steps {
                let value = values[self.row(step, index) * channels + channel];
                let separator = if step == 0 { "" } else { " " };
                let shown = show(step, channel, value).map_or("-".to_owned(), |x| x.to_string());
                // Writing to a string does not fail.
                let _ = write!(text, "{separator}{shown}");
            }
            text.push_str("+\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn spec(length: usize, repeats: usize) -> RepeatCopySpec {
        RepeatCopySpec {
            min_length: length,
            max_length: length,
            min_repeats: repeats,
            max_repeats: repeats,
            ..RepeatCopySpec::default()
        }
    }

    fn draw(spec: RepeatCopySpec, seed: u64) -> Batch {
        let mut batch = Batch::default();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        RepeatCopy::new(spec).unwrap().draw(&mut rng, &mut batch);
        batch
    }

    /// The rows of one example of [steps, examples, channels].
    fn rows(values: &[f32], batch: &Batch, index: usize) -> Vec<Vec<f32>> {
        let channels = values.len() / batch.mask.len();
        let row =
            |step| values[(step * batch.examples.len() + index) * channels..][..channels].to_vec();
        (0..batch.steps).map(row).collect()
    }

    #[test]
    fn an_example_by_hand() {
        let mut batch = draw(
            RepeatCopySpec {
                bits: 2,
                batch: 3,
                ..spec(2, 2)
            },
            1,
        );
        // Whatever was drawn, the example of the module's page is written over the second.
        let pattern = [1.0, 0.0, 1.0, 1.0];
        for (step, bits) in [
            (1, 0..2),
            (2, 2..4),
            (4, 0..2),
            (5, 2..4),
            (6, 0..2),
            (7, 2..4),
        ] {
            if step < 4 {
                batch.observation_mut(step, 1)[..2].copy_from_slice(&pattern[bits]);
            } else {
                batch.target_mut(step, 1)[..2].copy_from_slice(&pattern[bits]);
            }
        }
        let zeros = vec![0.0; 4];
        let mut observations = vec![zeros; 9];
        observations[0][2] = 1.0;
        observations[1][..2].copy_from_slice(&[1.0, 0.0]);
        observations[2][..2].copy_from_slice(&[1.0, 1.0]);
        observations[3][3] = 0.2;
        assert_eq!(rows(&batch.observations, &batch, 1), observations);
        let mask = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(rows(&batch.mask, &batch, 1).concat(), mask);
        assert_eq!(rows(&batch.targets, &batch, 1)[8], [0.0, 0.0, 1.0]);
        let logits: Vec<f32> = batch.targets.iter().map(|t| 2.0 * t - 1.0).collect();
        assert_eq!(
            batch.readable(1, Some(&logits)),
            "Observations:\n\
             +0 1 1 0 - - - - -+\n\
             +0 0 1 0 - - - - -+\n\
             +1 0 0 0 - - - - -+\n\
             +0 0 0 2 - - - - -+\n\
             Targets:\n\
             +- - - - 1 1 1 1 0+\n\
             +- - - - 0 1 0 1 0+\n\
             +- - - - 0 0 0 0 1+\n\
             Model output:\n\
             +- - - - 1 1 1 1 0+\n\
             +- - - - 0 1 0 1 0+\n\
             +- - - - 0 0 0 0 1+\n"
        );
    }

    #[test]
    fn targets_repeat_what_was_shown() {
        let spec = RepeatCopySpec {
            max_length: 5,
            max_repeats: 4,
            ..RepeatCopySpec::default()
        };
        let batch = draw(spec, 2);
        for (index, example) in batch.examples.iter().enumerate() {
            let shown = rows(&batch.observations, &batch, index);
            let targets = rows(&batch.targets, &batch, index);
            let mask = rows(&batch.mask, &batch, index).concat();
            let pattern: Vec<&[f32]> = (0..example.length).map(|s| &shown[1 + s][..4]).collect();
            for (k, target) in targets[example.observed_steps()..].iter().enumerate() {
                match pattern.get(k % example.length) {
                    Some(bits) if k + 1 < example.target_steps() => {
                        assert_eq!((&target[..4], target[4]), (*bits, 0.0));
                    }
                    _ => {
                        let end = if k + 1 == example.target_steps() {
                            1.0
                        } else {
                            0.0
                        };
                        assert_eq!(*target, [0.0, 0.0, 0.0, 0.0, end]);
                    }
                }
            }
            assert_eq!(mask.iter().sum::<f32>(), example.target_steps() as f32);
            assert_eq!(
                mask.iter().position(|&m| m == 1.0),
                Some(example.observed_steps())
            );
            assert!(
                shown[example.observed_steps()..]
                    .concat()
                    .iter()
                    .all(|&x| x == 0.0)
            );
            let repeats = shown[1 + example.length][5];
            assert_eq!(repeats, example.repeats as f32 / 10.0);
        }
        let longest = batch.examples.iter().map(Example::steps).max();
        assert_eq!(Some(batch.steps), longest);
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
                let count = batch.examples.iter().filter(|&&e| e == like).count() as f64;
                // Five standard deviations of a binomial count with p = 1/6.
                assert!(
                    (count - 2000.0).abs() < 5.0 * (2000.0f64 * 5.0 / 6.0).sqrt(),
                    "{like:?}: {count}"
                );
            }
        }
        let n = batch.examples.iter().map(|e| 4 * e.length).sum::<usize>() as f64;
        let ones: f32 = (1..=3)
            .flat_map(|step| {
                batch.observations[step * 12_000 * 6..][..12_000 * 6]
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
    fn padding_adds_steps_that_do_not_count() {
        let short = draw(spec(1, 1), 6);
        let mut long = short.clone();
        long.pad_to(9);
        long.pad_to(2);
        assert_eq!((short.steps(), long.steps()), (5, 9));
        assert_eq!(long.mask()[..5 * 16], *short.mask());
        assert!(long.mask()[5 * 16..].iter().all(|&m| m == 0.0));
        assert_eq!(long.observations().len(), 9 * 16 * 6);
        assert_eq!(
            short.readable(3, None).replace('+', ""),
            long.readable(3, None)
                .replace(" - - - -+", "")
                .replace('+', "")
        );
    }

    #[test]
    fn possible_steps_are_those_of_all_pairs() {
        let task = RepeatCopy::new(RepeatCopySpec::default()).unwrap();
        assert_eq!(task.possible_steps(), [5, 6, 7, 9]);
        assert_eq!(task.longest(), 9);
    }

    #[test]
    fn a_sequence_is_right_if_every_bit_that_counts_is() {
        let batch = draw(RepeatCopySpec::default(), 7);
        let mut logits: Vec<f32> = batch.targets.iter().map(|t| t - 0.5).collect();
        let right = |logits: &[f32]| (0..16).filter(|&i| batch.is_right(i, logits)).count();
        assert_eq!(right(&logits), 16);
        for (row, &mask) in batch.mask.iter().enumerate() {
            logits[row * 5 + 2] *= if mask == 0.0 { -1.0 } else { 1.0 };
        }
        assert_eq!(right(&logits), 16);
        let last_of_first = (batch.examples[0].steps() - 1) * 16 * 5 + 4;
        logits[last_of_first] = -0.1;
        assert_eq!(right(&logits), 15);
    }

    #[test]
    fn bad_specs_are_errors() {
        let base = RepeatCopySpec::default();
        let zero = |field| RepeatCopyError::Zero { field };
        let huge = RepeatCopySpec {
            max_length: usize::MAX,
            ..base
        };
        let cases = [
            (RepeatCopySpec { bits: 0, ..base }, zero("bits")),
            (RepeatCopySpec { batch: 0, ..base }, zero("batch")),
            (
                RepeatCopySpec {
                    min_length: 0,
                    ..base
                },
                zero("min_length"),
            ),
            (
                RepeatCopySpec {
                    min_repeats: 0,
                    ..base
                },
                zero("min_repeats"),
            ),
            (
                RepeatCopySpec {
                    min_length: 3,
                    ..base
                },
                RepeatCopyError::EmptyRange {
                    range: "length",
                    min: 3,
                    max: 2,
                },
            ),
            (
                RepeatCopySpec {
                    max_repeats: 0,
                    ..base
                },
                RepeatCopyError::EmptyRange {
                    range: "repeats",
                    min: 1,
                    max: 0,
                },
            ),
            (huge, RepeatCopyError::TooLarge { spec: huge }),
        ];
        for (spec, expected) in cases {
            assert_eq!(RepeatCopy::new(spec), Err(expected), "{spec:?}");
        }
    }
}
