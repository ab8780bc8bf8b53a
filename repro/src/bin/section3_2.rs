//! Section 3.2 of the paper: digit recognition on MNIST.

use std::process::ExitCode;

use repro::cli;
use repro::experiments::section3_2;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, options) = cli::parse(&section3_2::SECTION)?;
        section3_2::run(&common, &options)
    })
}
