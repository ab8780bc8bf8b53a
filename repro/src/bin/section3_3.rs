//! Section 3.3 of the paper: a residual network on CIFAR-10.

use std::process::ExitCode;

use repro::sections::{self, section3_3};

fn main() -> ExitCode {
    sections::main(&section3_3::SECTION)
}
