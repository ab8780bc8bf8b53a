//! The data sets of the L4 paper: loaders, verification, synthetic tasks, batching.
#![forbid(unsafe_code)]

pub mod batching;
mod random;
pub mod regression;

pub use random::Seed;
