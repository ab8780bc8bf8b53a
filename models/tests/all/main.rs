//! All tests of the crate from outside, in one program: each would compile the operations anew.
#![forbid(unsafe_code)]

mod from_outside;
mod no_allocation;
