//! The experiments of the L4 paper.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod cli;
pub mod conformance;
pub mod experiment;
pub mod files;
pub mod interrupt;
mod json;
mod lock;
pub mod metrics;
mod progress;
pub mod provenance;
pub mod results;
pub mod run;
mod run_directory;
pub mod runner;
pub mod stats;
pub mod streams;
pub mod table;

pub use lock::LockError;
pub use run_directory::RunDirectoryError;
