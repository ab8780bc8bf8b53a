//! All tests of the crate from outside, in one program: linking takes longer than compiling a file.

mod cli;
mod fixtures;
mod parsing;
mod pictures;
mod reading;
mod schema;
