//! Labelled images in memory, with their provenance.
//!
//! Invariant, from construction on: a [`Split`] has one image of its shape per label, and every
//! label is below [`ImageDataset::CLASSES`].

use std::path::PathBuf;

use crate::catalog::Dataset;
use crate::digest::Sha256;

/// Rows, columns and channels of an image; in memory always in this order (NHWC), row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
}

impl ImageShape {
    /// Values in an image: `height · width · channels`.
    pub fn values(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// A data set with its training and test part.
#[derive(Clone, Debug)]
pub struct ImageDataset {
    /// Which one it is, or, if it is synthetic, stands in for.
    pub dataset: Dataset,
    /// Examples to learn from.
    pub train: Split,
    /// Examples to measure accuracy on.
    pub test: Split,
    /// Where the bytes come from. Belongs into every result.
    pub provenance: Provenance,
}

impl ImageDataset {
    /// Classes in each of the data sets here.
    pub const CLASSES: usize = 10;

    /// The name that results are to give to the data: see [`Provenance::name`].
    pub fn name(&self) -> &str {
        &self.provenance.name
    }

    /// Shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.dataset.shape()
    }
}

/// The training or the test part of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Split {
    /// Callers have checked the labels.
    pub(crate) fn new(shape: ImageShape, images: Vec<u8>, labels: Vec<u8>) -> Self {
        assert_eq!(
            images.len(),
            labels.len() * shape.values(),
            "one image per label"
        );
        Self {
            shape,
            images,
            labels,
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Bytes of one image, `height × width × channels`.
    ///
    /// # Panics
    /// If `example` is not below [`len`](Self::len).
    pub fn image(&self, example: usize) -> &[u8] {
        let values = self.shape.values();
        &self.images[example * values..][..values]
    }

    /// Classes of all examples, each below [`ImageDataset::CLASSES`].
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Writes the images of `examples` into `batch` (`examples × height × width × channels`),
    /// scaled to \[0, 1\].
    ///
    /// # Panics
    /// If `batch` has another length, or an example is not below [`len`](Self::len).
    pub fn scaled(&self, examples: &[u32], batch: &mut [f32]) {
        self.for_each_image(examples, batch, |_, image, out| {
            for (out, &value) in out.iter_mut().zip(image) {
                *out = f32::from(value) / 255.0;
            }
        });
    }

    /// Writes the classes of `examples` into `batch`, in any type that holds a byte.
    ///
    /// # Panics
    /// If `batch` has another length, or an example is not below [`len`](Self::len).
    pub fn classes<T: From<u8>>(&self, examples: &[u32], batch: &mut [T]) {
        assert_eq!(
            batch.len(),
            examples.len(),
            "a batch of one class per example"
        );
        for (class, &example) in batch.iter_mut().zip(examples) {
            *class = self.labels[example as usize].into();
        }
    }

    /// The images followed by the labels.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.images[..], &self.labels].concat()
    }

    /// Calls `write(example, image, its part of the batch)` for every example.
    pub(crate) fn for_each_image(
        &self,
        examples: &[u32],
        batch: &mut [f32],
        mut write: impl FnMut(u32, &[u8], &mut [f32]),
    ) {
        let values = self.shape.values();
        assert_eq!(
            batch.len(),
            examples.len() * values,
            "a batch of one image per example"
        );
        for (&example, out) in examples.iter().zip(batch.chunks_exact_mut(values)) {
            write(example, self.image(example as usize), out);
        }
    }
}

/// Whether the bytes are the published ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The SHA-256 is the known one.
    Verified,
    /// The SHA-256 is not the known one, and the caller has accepted that.
    Unverified,
    /// Generated here as a stand-in; no data set at all.
    Synthetic,
}

/// The place that the bytes were taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The directory that the caller named.
    DataDirectory(PathBuf),
    /// Files that the operating system keeps.
    System(PathBuf),
    /// The user's cache, filled by an earlier fetch.
    Cache(PathBuf),
    /// Fetched now, from this address or by this package manager's command.
    Fetched(String),
    /// Generated from this seed.
    Synthetic(crate::Seed),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DataDirectory(path) => write!(f, "data directory {}", path.display()),
            Self::System(path) => write!(f, "system directory {}", path.display()),
            Self::Cache(path) => write!(f, "cache {}", path.display()),
            Self::Fetched(source) => f.write_str(source),
            Self::Synthetic(_) => f.write_str("generated"),
        }
    }
}

/// One file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProvenance {
    /// Name of the unpacked file.
    pub name: String,
    /// Where it lies; `None` if it was generated.
    pub path: Option<PathBuf>,
    /// Digest of its content, unpacked.
    pub sha256: Sha256,
    /// What is known of that digest.
    pub trust: Trust,
}

/// Where a data set comes from and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Name for every result. It is the data set's own (as in `MNIST`) only for the published
    /// bytes. Other bytes go by the name that the caller gave them, or else as in `MNIST
    /// (unverified)`; stand-ins as in `synthetic MNIST`.
    pub name: String,
    /// The place that the bytes were taken from.
    pub origin: Origin,
    /// The files, in the order of the catalogue; at least one.
    pub files: Vec<FileProvenance>,
}

impl Provenance {
    /// The least trust in any of the files.
    pub fn trust(&self) -> Trust {
        let trusts = self.files.iter().map(|file| file.trust);
        trusts.max().unwrap_or(Trust::Unverified)
    }

    /// One digest for the whole data set: that of its list of files as `sha256sum` prints it (a
    /// line with the digest, two spaces and the name for each file, in order).
    pub fn sha256(&self) -> Sha256 {
        let lines = self
            .files
            .iter()
            .map(|file| format!("{}  {}\n", file.sha256, file.name));
        Sha256::of(lines.collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height: 1,
        width: 2,
        channels: 1,
    };

    fn split() -> Split {
        Split::new(SHAPE, vec![0, 51, 102, 153, 204, 255], vec![7, 8, 9])
    }

    #[test]
    fn batches_are_gathered_and_scaled() {
        let mut batch = [f32::NAN; 6];
        split().scaled(&[2, 0, 2], &mut batch);
        assert_eq!(batch, [0.8, 1.0, 0.0, 0.2, 0.8, 1.0]);
        let mut classes = [0usize; 3];
        split().classes(&[2, 0, 2], &mut classes);
        assert_eq!(classes, [9, 7, 9]);
    }

    #[test]
    #[should_panic(expected = "one image per example")]
    fn a_batch_of_another_size_is_a_mistake() {
        split().scaled(&[0], &mut [0.0; 3]);
    }

    #[test]
    fn the_whole_is_trusted_as_its_least_trusted_file() {
        let file = |name: &str, trust| FileProvenance {
            name: name.to_owned(),
            path: None,
            sha256: Sha256::of(name.as_bytes()),
            trust,
        };
        let mut provenance = Provenance {
            name: "x".to_owned(),
            origin: Origin::Fetched("nowhere".to_owned()),
            files: vec![file("a", Trust::Verified), file("b", Trust::Verified)],
        };
        assert_eq!(provenance.trust(), Trust::Verified);
        // (printf a > a; printf b > b; sha256sum a b | sha256sum)
        let expected = "cb13f400dcb618e400d0f7d54f7cdb330d37a07272cb99a1016cda5830a10556";
        assert_eq!(provenance.sha256().to_string(), expected);
        provenance.files[1].trust = Trust::Unverified;
        assert_eq!(provenance.trust(), Trust::Unverified);
    }
}
