//! All tests of the crate from outside, in one program: each would compile the optimisers anew.

mod affine_invariance;
#[cfg(feature = "burn-flex")]
mod burn;
mod by_hand;
#[cfg(feature = "candle")]
mod candle;
mod edge_cases;
#[cfg(feature = "levenberg-marquardt")]
mod levenberg_marquardt;
mod rate_free;
mod readme;
mod segments;
mod settings;
mod state;
#[cfg(feature = "rayon")]
mod threads;
mod trajectories;
mod trouble;
