//! All tests of the crate from outside but those against independent implementations, in one program: linking takes longer than
//! compiling a file.

mod fingerprint;
mod readme;
mod runner;
mod schema;
mod support;
#[cfg(unix)]
mod survival;
