//! Section 3.1 of the paper: badly conditioned regression, and the comparison with Levenberg–Marquardt.

use std::process::ExitCode;

use repro::cli::{self, NoMore};
use repro::experiments::section3_1;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, NoMore {}) = cli::parse(&section3_1::SECTION)?;
        section3_1::run(&common)
    })
}
