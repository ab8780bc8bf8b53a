//! All tests of the crate from outside, in one program: each would compile the optimisers anew.

mod affine_invariance;
mod by_hand;
mod edge_cases;
#[cfg(feature = "levenberg-marquardt")]
mod levenberg_marquardt;
mod rate_free;
mod segments;
mod settings;
mod state;
mod trouble;
