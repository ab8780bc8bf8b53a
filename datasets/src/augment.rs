//! The input pipeline of CIFAR-10 (section 3.3), that of the TensorFlow official models' ResNet.
//!
//! Training images are padded by 4 zeros on every side, cropped back at random, flipped left to
//! right with probability ½ and standardised, in this order; so the mean and deviation are those of
//! the crop. Test images are standardised.
//!
//! What happens to an image is a function of (seed, epoch, index of the example) and nothing else:
//! not of the batch it is in, nor of the thread that prepares it, nor of where a run was resumed.

use rand::RngExt;

use crate::images::{ImageShape, Split};
use crate::random::{BLOCK_WORDS, Purpose, Seed, stream};

/// Zeros added on each side before cropping.
pub const PAD: usize = 4;

/// The random part of the training pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    seed: Seed,
}

/// What happens to one image in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draw {
    /// First row and column of the crop in the padded image, 0 to `2 · PAD`.
    top: usize,
    left: usize,
    flip: bool,
}

impl Augmentation {
    /// The pipeline of one run.
    pub fn new(seed: Seed) -> Self {
        Self { seed }
    }

    /// Writes the training images `examples` of `split` into `batch` (`examples × height × width ×
    /// channels`), as they look in `epoch`: padded, cropped, flipped, standardised.
    ///
    /// # Panics
    /// If `batch` has another length, or an example is not below `split.len()`.
    pub fn train(&self, split: &Split, epoch: u32, examples: &[u32], batch: &mut [f32]) {
        let shape = split.shape();
        let mut crop = vec![0; shape.values()];
        split.for_each_image(examples, batch, |example, image, out| {
            self.draw(epoch, example).apply(shape, image, &mut crop);
            standardize(&crop, out);
        });
    }

    fn draw(&self, epoch: u32, example: u32) -> Draw {
        let mut rng = stream(self.seed, Purpose::Augmentation, epoch);
        rng.set_word_pos(u128::from(example) * BLOCK_WORDS);
        let mut offset = || rng.random_range(0..=2 * PAD as u32) as usize;
        Draw {
            top: offset(),
            left: offset(),
            flip: rng.random(),
        }
    }
}

impl Draw {
    fn apply(self, shape: ImageShape, image: &[u8], crop: &mut [u8]) {
        let ImageShape {
            height,
            width,
            channels,
        } = shape;
        crop.fill(0);
        for (row, out_row) in crop.chunks_exact_mut(width * channels).enumerate() {
            let Some(source_row) = (self.top + row)
                .checked_sub(PAD)
                .filter(|&row| row < height)
            else {
                continue;
            };
            let in_row = &image[source_row * width * channels..][..width * channels];
            for (column, out) in out_row.chunks_exact_mut(channels).enumerate() {
                let column = if self.flip {
                    width - 1 - column
                } else {
                    column
                };
                let source = (self.left + column)
                    .checked_sub(PAD)
                    .filter(|&column| column < width);
                if let Some(source) = source {
                    out.copy_from_slice(&in_row[source * channels..][..channels]);
                }
            }
        }
    }
}

/// Writes the test images `examples` of `split` into `batch` (`examples × height × width ×
/// channels`): standardised.
///
/// # Panics
/// If `batch` has another length, or an example is not below `split.len()`.
pub fn test(split: &Split, examples: &[u32], batch: &mut [f32]) {
    split.for_each_image(examples, batch, |_, image, out| standardize(image, out));
}

/// Per-image standardisation, `(x − mean) / max(std, 1/√n)`, with the population deviation over all
/// n values.
///
/// The sums are exact integers, so the result does not depend on the order of summation.
fn standardize(image: &[u8], out: &mut [f32]) {
    let n = image.len() as u64;
    let sum: u64 = image.iter().map(|&value| u64::from(value)).sum();
    let sum_of_squares: u64 = image.iter().map(|&value| u64::from(value).pow(2)).sum();

    let n_squared = (n * n) as f64;
    let mean = sum as f64 / n as f64;
    let variance = (n * sum_of_squares - sum * sum) as f64 / n_squared;
    let scale = variance.sqrt().max((n as f64).sqrt().recip()).recip();
    for (out, &value) in out.iter_mut().zip(image) {
        *out = ((f64::from(value) - mean) * scale) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height: 32,
        width: 32,
        channels: 3,
    };
    const SEED: Seed = [9; 32];

    fn split(examples: usize) -> Split {
        let images = (0..examples * 3072)
            .map(|i| (i * i % 255) as u8 + 1)
            .collect();
        Split::new(SHAPE, images, vec![0; examples])
    }

    #[test]
    fn standardisation_is_that_of_the_definition() {
        let split = split(1);
        let mut found = vec![0.0; 3072];
        test(&split, &[0], &mut found);

        let image: Vec<f64> = split
            .image(0)
            .iter()
            .map(|&value| f64::from(value))
            .collect();
        let mean = image.iter().sum::<f64>() / 3072.0;
        let variance = image
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / 3072.0;
        for (found, value) in found.iter().zip(image) {
            let expected = (value - mean) / variance.sqrt();
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_nearly_constant_image_is_divided_by_the_floor() {
        let mut image = [100; 3072];
        let mut out = [f32::NAN; 3072];
        standardize(&image, &mut out);
        assert_eq!(out, [0.0; 3072]);
        // One value off by 1: std = √(1/3072 · (1 − 1/3072)) is just below the floor
        // 1/√3072.
        image[0] = 101;
        standardize(&image, &mut out);
        let expected = (1.0 - 1.0 / 3072.0) * 3072f64.sqrt();
        assert!(
            (f64::from(out[0]) - expected).abs() < 1e-5,
            "{} != {expected}",
            out[0]
        );
    }

    /// Pads, crops and flips by the definition, through a padded copy.
    fn naive(image: &[u8], draw: Draw) -> Vec<u8> {
        let mut padded = vec![0; 40 * 40 * 3];
        for row in 0..32 {
            for column in 0..32 {
                for channel in 0..3 {
                    padded[((row + 4) * 40 + column + 4) * 3 + channel] =
                        image[(row * 32 + column) * 3 + channel];
                }
            }
        }
        let mut out = vec![0; 3072];
        for row in 0..32 {
            for column in 0..32 {
                for channel in 0..3 {
                    let value = padded[((row + draw.top) * 40 + column + draw.left) * 3 + channel];
                    let column = if draw.flip { 31 - column } else { column };
                    out[(row * 32 + column) * 3 + channel] = value;
                }
            }
        }
        out
    }

    #[test]
    fn crops_and_flips_are_those_of_the_definition() {
        let split = split(1);
        let mut crop = vec![0; 3072];
        for top in [0, 1, 4, 8] {
            for left in [0, 3, 4, 8] {
                for flip in [false, true] {
                    let draw = Draw { top, left, flip };
                    draw.apply(SHAPE, split.image(0), &mut crop);
                    assert!(crop == naive(split.image(0), draw), "{draw:?}");
                }
            }
        }
        let centre = Draw {
            top: PAD,
            left: PAD,
            flip: false,
        };
        centre.apply(SHAPE, split.image(0), &mut crop);
        assert!(crop == split.image(0));
    }

    #[test]
    fn draws_are_uniform_and_independent() {
        let augmentation = Augmentation::new(SEED);
        let draws: Vec<Draw> = (0..9000)
            .map(|example| augmentation.draw(0, example))
            .collect();
        // Five standard deviations of a count of 9000 · p.
        let check = |name: &str, count: usize, p: f64| {
            let expected = 9000.0 * p;
            let tolerance = 5.0 * (expected * (1.0 - p)).sqrt();
            assert!(
                (count as f64 - expected).abs() < tolerance,
                "{name}: {count}, expected {expected}"
            );
        };
        for offset in 0..=8 {
            check(
                "top",
                draws.iter().filter(|draw| draw.top == offset).count(),
                1.0 / 9.0,
            );
            check(
                "left",
                draws.iter().filter(|draw| draw.left == offset).count(),
                1.0 / 9.0,
            );
        }
        check("flip", draws.iter().filter(|draw| draw.flip).count(), 0.5);
        check(
            "top = left",
            draws.iter().filter(|draw| draw.top == draw.left).count(),
            1.0 / 9.0,
        );
        let repeated = draws.windows(2).filter(|pair| pair[0] == pair[1]).count();
        check("same as the example before", repeated, 1.0 / 162.0);
        let same_next_epoch = (0..9000)
            .filter(|&i| augmentation.draw(1, i) == draws[i as usize])
            .count();
        check("same in the next epoch", same_next_epoch, 1.0 / 162.0);
    }

    #[test]
    fn an_image_looks_the_same_in_any_batch() {
        let split = split(4);
        let augmentation = Augmentation::new(SEED);
        let mut together = vec![0.0; 4 * 3072];
        augmentation.train(&split, 3, &[2, 0, 3, 1], &mut together);
        for (place, example) in [2, 0, 3, 1].into_iter().enumerate() {
            let mut alone = vec![0.0; 3072];
            augmentation.train(&split, 3, &[example], &mut alone);
            assert!(
                alone == together[place * 3072..][..3072],
                "example {example}"
            );

            let mut expected = vec![0.0; 3072];
            standardize(
                &naive(split.image(example as usize), augmentation.draw(3, example)),
                &mut expected,
            );
            assert!(alone == expected, "example {example}");
        }
    }

    /// A library update that changes these draws changes every result; it must not pass unnoticed.
    #[test]
    fn draws_do_not_change_between_versions() {
        let draws: Vec<Draw> = (0..2)
            .map(|example| Augmentation::new(SEED).draw(1, example))
            .collect();
        let expected = [
            Draw {
                top: 5,
                left: 1,
                flip: false,
            },
            Draw {
                top: 0,
                left: 5,
                flip: true,
            },
        ];
        assert_eq!(draws, expected);
    }
}
