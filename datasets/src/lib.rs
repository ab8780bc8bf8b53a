//! The data sets of the L4 paper: loaders, verification, synthetic tasks, batching.
#![forbid(unsafe_code)]

pub mod augment;
pub mod batching;
mod catalog;
mod digest;
pub mod fetch;
pub mod formats;
pub mod images;
mod random;
pub mod regression;
pub mod synthetic;

pub use catalog::Dataset;
pub use digest::Sha256;
pub use fetch::load;
pub use images::ImageDataset;
pub use random::Seed;
