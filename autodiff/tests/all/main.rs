//! All tests of the crate from outside, in one program: each would compile the operations anew.
#![forbid(unsafe_code)]

mod conv2d;
mod examples;
mod extremes;
mod no_allocation;
mod properties;
mod threads;
