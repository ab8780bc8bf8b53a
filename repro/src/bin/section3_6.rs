//! Section 3.6 of the paper: sweeping over batch sizes.

use std::process::ExitCode;

use repro::sections::{self, section3_6};

fn main() -> ExitCode {
    sections::main(&section3_6::SECTION)
}
