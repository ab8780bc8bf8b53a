//! The search, on a data set of a few images, in temporary folders and against servers on the
//! loopback interface.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{DataError, Dataset, ImageDataset, Options, Origin, Spec, Unverified, find, http};
use crate::Sha256;
use crate::catalog::{Content, FileSpec, Mirror, Part};
use crate::formats::idx;
use crate::images::Trust;

mod cache;
mod data_dir;
mod mirrors;
mod server;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

fn pixels(examples: usize) -> Vec<u8> {
    (0..examples * 784).map(|i| (i * i % 251) as u8).collect()
}

/// The four files of a data set of 20 + 10 images: name and content.
fn small_files() -> [(&'static str, Vec<u8>); 4] {
    let labels = |examples: u8| (0..examples).map(|i| i % 10).collect::<Vec<u8>>();
    [
        (TRAIN_IMAGES, idx::file(&[20, 28, 28], &pixels(20))),
        (TRAIN_LABELS, idx::file(&[20], &labels(20))),
        (TEST_IMAGES, idx::file(&[10, 28, 28], &pixels(10))),
        (TEST_LABELS, idx::file(&[10], &labels(10))),
    ]
}

/// The catalogue's entry for that data set.
fn small_spec(mirrors: Vec<Mirror>) -> Spec {
    let contents = [
        (
            Part::Train,
            Content::IdxImages {
                shape: [20, 28, 28],
            },
        ),
        (Part::Train, Content::IdxLabels { examples: 20 }),
        (
            Part::Test,
            Content::IdxImages {
                shape: [10, 28, 28],
            },
        ),
        (Part::Test, Content::IdxLabels { examples: 10 }),
    ];
    let file = |((name, bytes), (part, content)): ((&'static str, Vec<u8>), _)| FileSpec {
        name,
        part,
        content,
        sha256: Sha256::of(&bytes),
    };
    Spec {
        dataset: Dataset::Mnist,
        files: small_files().into_iter().zip(contents).map(file).collect(),
        system_dirs: vec![],
        sub_dirs: vec!["MNIST/raw"],
        mirrors,
        package: None,
    }
}

/// Folders that go with the test.
struct Folders {
    root: TempDir,
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { root }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn write_all(&self, folder: &str) {
        for (name, content) in small_files() {
            self.write(&format!("{folder}/{name}"), &content);
        }
    }

    /// Looks in `data`, if the test has made it, and keeps files in `cache`.
    fn options(&self, unverified: Unverified) -> Options {
        let data = self.path("data");
        Options {
            data_dir: data.exists().then_some(data),
            cache_dir: Some(self.path("cache")),
            unverified,
        }
    }

    fn find(&self, spec: &Spec) -> Result<ImageDataset, DataError> {
        self.find_with(spec, Unverified::Refuse)
    }

    fn find_with(&self, spec: &Spec, unverified: Unverified) -> Result<ImageDataset, DataError> {
        let client = http::Client::with_pause(Duration::from_millis(1));
        find(spec, &self.options(unverified), &client, &mut |_| {})?.parse(spec)
    }
}

fn assert_is_small_data(data: &ImageDataset) {
    assert_eq!((data.train.len(), data.test.len()), (20, 10));
    assert_eq!(data.train.image(19), &pixels(20)[19 * 784..]);
    assert_eq!(data.test.image(0), &pixels(1));
    assert_eq!(data.train.labels()[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(data.provenance.trust(), Trust::Verified);
    assert_eq!(data.name(), "MNIST");
}

fn cached(folders: &Folders) -> Vec<String> {
    let entries = fs::read_dir(folders.path("cache/mnist")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const ALL_CACHED: [&str; 5] = ["lock", TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS];
