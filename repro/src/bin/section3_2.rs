//! Section 3.2 of the paper: digit recognition on MNIST.

use std::process::ExitCode;

use repro::sections::{self, section3_2};

fn main() -> ExitCode {
    sections::main(&section3_2::SECTION)
}
