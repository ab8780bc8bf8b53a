//! Section 3.5 of the paper: a convolutional network on Fashion-MNIST.

use std::process::ExitCode;

use repro::cli;
use repro::experiments::section3_5;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, options) = cli::parse(&section3_5::SECTION)?;
        section3_5::run(&common, &options)
    })
}
