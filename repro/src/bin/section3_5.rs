//! Section 3.5 of the paper: a convolutional network on Fashion-MNIST.

use std::process::ExitCode;

use repro::sections::{self, section3_5};

fn main() -> ExitCode {
    sections::main(&section3_5::SECTION)
}
