//! Section 3.3 of the paper: a residual network on CIFAR-10.

use std::process::ExitCode;

use repro::cli;
use repro::experiments::section3_3;

fn main() -> ExitCode {
    cli::main(|| {
        let (common, options) = cli::parse(&section3_3::SECTION)?;
        section3_3::run(&common, &options)
    })
}
