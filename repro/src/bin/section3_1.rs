//! Section 3.1 of the paper: badly conditioned regression, and the comparison with Levenberg–Marquardt.

use std::process::ExitCode;

use repro::sections::{self, section3_1};

fn main() -> ExitCode {
    sections::main(&section3_1::SECTION)
}
