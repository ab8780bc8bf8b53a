//! Section 3.4 of the paper: the differentiable neural computer.

use std::process::ExitCode;

use repro::cli;
use repro::experiments::section3_4;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, options) = cli::parse(&section3_4::SECTION)?;
        section3_4::run(&common, options)
    })
}
