//! Section 3.4 of the paper: the differentiable neural computer.

use std::process::ExitCode;

use repro::sections::{self, section3_4};

fn main() -> ExitCode {
    sections::main(&section3_4::SECTION)
}
