//! Stand-ins with the shapes of the real data sets, for smoke runs where there is no data.
//!
//! Every image holds one bright blob on noise. Its height in the image, its width, and where there
//! is colour its hue tell the class, so that a network learns them in a few hundred steps, also
//! under the crops and flips of [`augment`](crate::augment). No pixel is 0, so that the time of a product, which skips zeros,
//! is that of dense inputs. Nothing measured on them says anything
//! about the paper, and so the name of the data begins with `synthetic`.

use rand::{Rng, RngExt};

use crate::catalog::Dataset;
use crate::digest::Sha256;
use crate::images::{FileProvenance, ImageDataset, ImageShape, Origin, Provenance, Split, Trust};
use crate::random::{Purpose, Seed, stream};

/// Brightest value of the noise.
const NOISE: u8 = 40;
/// Most rows and columns that a blob is moved by.
const JITTER: i32 = 1;

/// Classes on one level of height; the classes above take the same levels with a broader blob.
const LEVELS: usize = ImageDataset::CLASSES / 2;

/// A stand-in for `dataset` of `train` and `test` examples, with classes in equal parts, drawn from
/// `seed`.
pub fn stand_in(dataset: Dataset, train: usize, test: usize, seed: Seed) -> ImageDataset {
    let train = split(
        dataset.shape(),
        train,
        &mut stream(seed, Purpose::Synthetic, 0),
    );
    let test = split(
        dataset.shape(),
        test,
        &mut stream(seed, Purpose::Synthetic, 1),
    );
    let provenance = Provenance {
        name: format!("synthetic {dataset}"),
        origin: Origin::Synthetic(seed),
        files: vec![
            file("synthetic train", &train),
            file("synthetic test", &test),
        ],
    };
    ImageDataset {
        dataset,
        train,
        test,
        provenance,
    }
}

fn split(shape: ImageShape, examples: usize, rng: &mut impl Rng) -> Split {
    let mut images = vec![0; examples * shape.values()];
    let labels: Vec<u8> = (0..examples)
        .map(|i| (i % ImageDataset::CLASSES) as u8)
        .collect();
    for (image, &label) in images.chunks_exact_mut(shape.values()).zip(&labels) {
        draw(shape, usize::from(label), image, rng);
    }
    Split::new(shape, images, labels)
}

fn draw(shape: ImageShape, class: usize, image: &mut [u8], rng: &mut impl Rng) {
    let mut jitter = || f64::from(rng.random_range(-JITTER..=JITTER));
    let level = shape.height as f64 / LEVELS as f64;
    let row = (0.5 + (class % LEVELS) as f64) * level + jitter();
    let column = 0.5 * shape.width as f64 + jitter();
    let half_height = 0.6 * level;
    let half_width = if class < LEVELS { 1.0 } else { 2.5 } * level;

    for (i, pixel) in image.chunks_exact_mut(shape.channels).enumerate() {
        let (y, x) = (i / shape.width, i % shape.width);
        let dy = (y as f64 + 0.5 - row) / half_height;
        let dx = (x as f64 + 0.5 - column) / half_width;
        // A polynomial, not a Gaussian: the same bytes on every platform.
        let bump = (1.0 - dy * dy - dx * dx).max(0.0);
        for (channel, value) in pixel.iter_mut().enumerate() {
            // Three hues, so that neighbouring levels differ; a grey image has the first only.
            let hue = if shape.channels == 1 || class % 3 == channel {
                1.0
            } else {
                0.4
            };
            let blob = (f64::from(u8::MAX - NOISE) * hue * bump) as u8;
            *value = blob + rng.random_range(1..=NOISE);
        }
    }
}

/// The digest is that of the images followed by the labels.
fn file(name: &str, split: &Split) -> FileProvenance {
    FileProvenance {
        name: name.to_owned(),
        path: None,
        sha256: Sha256::of(&split.to_bytes()),
        trust: Trust::Synthetic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{self, Augmentation};

    const SEED: Seed = [5; 32];

    fn batch(values: usize, split: &Split, fill: impl Fn(&[u32], &mut [f32])) -> Vec<Vec<f32>> {
        let examples: Vec<u32> = (0..split.len() as u32).collect();
        let mut batch = vec![0.0; split.len() * values];
        fill(&examples, &mut batch);
        batch.chunks_exact(values).map(<[f32]>::to_vec).collect()
    }

    /// Accuracy on `test` of taking the class with the nearest mean over `train`.
    fn nearest_mean(train: &[Vec<f32>], test: &[Vec<f32>]) -> f64 {
        let values = train[0].len();
        let mut means = vec![vec![0.0; values]; 10];
        for (i, image) in train.iter().enumerate() {
            for (mean, value) in means[i % 10].iter_mut().zip(image) {
                *mean += value / (train.len() / 10) as f32;
            }
        }
        let distance = |mean: &[f32], image: &[f32]| {
            mean.iter()
                .zip(image)
                .map(|(m, v)| (m - v).powi(2))
                .sum::<f32>()
        };
        let nearest = |image: &[f32]| {
            let distances = means.iter().map(|mean| distance(mean, image));
            distances
                .enumerate()
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .unwrap()
                .0
        };
        let right = test
            .iter()
            .enumerate()
            .filter(|(i, image)| nearest(image) == i % 10)
            .count();
        right as f64 / test.len() as f64
    }

    #[test]
    fn classes_can_be_told_apart() {
        for dataset in Dataset::ALL {
            let data = stand_in(dataset, 300, 100, SEED);
            assert_eq!((data.train.len(), data.test.len()), (300, 100));
            assert!(
                data.train
                    .labels()
                    .iter()
                    .enumerate()
                    .all(|(i, &label)| usize::from(label) == i % 10)
            );
            let values = dataset.shape().values();
            let train = batch(values, &data.train, |examples, out| {
                data.train.scaled(examples, out)
            });
            let test = batch(values, &data.test, |examples, out| {
                data.test.scaled(examples, out)
            });
            assert!(nearest_mean(&train, &test) > 0.95, "{dataset}");
        }
    }

    #[test]
    fn classes_can_be_told_apart_after_crops_and_flips() {
        let data = stand_in(Dataset::Cifar10, 300, 100, SEED);
        let augmentation = Augmentation::new(SEED);
        let train = batch(3072, &data.train, |examples, out| {
            augmentation.train(&data.train, 0, examples, out)
        });
        let test = batch(3072, &data.test, |examples, out| {
            augment::test(&data.test, examples, out)
        });
        assert!(nearest_mean(&train, &test) > 0.9);
    }

    #[test]
    fn stand_ins_say_what_they_are() {
        let data = stand_in(Dataset::Mnist, 20, 10, SEED);
        assert_eq!(data.name(), "synthetic MNIST");
        assert_eq!(data.provenance.trust(), Trust::Synthetic);
    }

    #[test]
    fn the_seed_alone_decides() {
        let of = |seed| stand_in(Dataset::Mnist, 20, 10, seed);
        assert_eq!(of(SEED).train, of(SEED).train);
        assert_eq!(of(SEED).provenance, of(SEED).provenance);
        assert_ne!(
            of(SEED).provenance.sha256(),
            of([6; 32]).provenance.sha256()
        );
        assert_ne!(of(SEED).train.image(0), of(SEED).test.image(0));
    }
}
