//! How runs are computed and kept, whatever they train.
//!
//! A run is an [`Experiment`](experiment::Experiment) with a [specification](run::RunSpec); the [`runner`] computes many in
//! parallel, keeps them, and goes on after any interruption. What is on disk after a crash, and what makes results
//! reproducible to the bit, is said there; what is committed of them, in [`reference`](mod@reference).

pub mod checkpoint;
pub mod conformance;
mod drive;
pub mod experiment;
mod failure;
pub mod files;
pub mod interrupt;
pub(crate) mod json;
pub(crate) mod lock;
pub mod metrics;
mod options;
mod parallel;
mod planned;
mod progress;
pub mod provenance;
pub mod reference;
pub mod run;
pub mod runner;
mod shard;
mod store;
pub mod streams;
mod tensorboard;

pub use lock::LockError;
pub use progress::tell;
pub use store::RunDirectoryError;
