//! Section 3.6 of the paper: sweeping over batch sizes.

use std::process::ExitCode;

use repro::cli;
use repro::experiments::section3_6;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, options) = cli::parse(&section3_6::SECTION)?;
        section3_6::run(&common, &options)
    })
}
