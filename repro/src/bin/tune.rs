//! Grid searches for the best constant rates of the baselines, and for L4's best α.

use std::process::ExitCode;

use clap::Parser;
use repro::{cli, tune};

fn main() -> ExitCode {
    cli::main(|| tune::run(&tune::Arguments::try_parse()?))
}
