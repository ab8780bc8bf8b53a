//! Examples as the numbers that a network sees and has to say.

use std::fmt::Write;

use rand::{Rng, RngExt};

use super::{Example, RepeatCopySpec};

/// What the number of repetitions is divided by in its channel.
const REPEATS_SCALE: f32 = 10.0;

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

    /// See [`RepeatCopy::draw`](super::RepeatCopy::draw).
    pub(super) fn draw(&mut self, spec: &RepeatCopySpec, rng: &mut (impl Rng + ?Sized)) {
        self.bits = spec.bits;
        self.examples.clear();
        self.examples.extend((0..spec.batch).map(|_| Example {
            length: rng.random_range(spec.min_length..=spec.max_length),
            repeats: 0,
        }));
        for example in &mut self.examples {
            example.repeats = rng.random_range(spec.min_repeats..=spec.max_repeats);
        }
        self.steps = 0;
        for buffer in [&mut self.observations, &mut self.targets, &mut self.mask] {
            buffer.clear();
        }
        let longest = self.examples.iter().map(Example::steps).max();
        self.pad_to(longest.unwrap_or(0));
        for index in 0..spec.batch {
            self.write(index, rng);
        }
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
    use crate::repeat_copy::tests::draw;

    fn spec(length: usize, repeats: usize) -> RepeatCopySpec {
        RepeatCopySpec {
            min_length: length,
            max_length: length,
            min_repeats: repeats,
            max_repeats: repeats,
            ..RepeatCopySpec::default()
        }
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
}
