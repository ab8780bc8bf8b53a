//! Grid searches for the best constant rates of the baselines, and for L4's best α.

use std::process::ExitCode;

use clap::Parser;
use repro::{cli, tune};

/// Searches for the best setting of a section's methods on the section's task, at the section's own length, with seeds of its
/// own; the grid of a rate is extended until the best is inside it.
#[derive(Parser)]
#[command(version)]
struct Words {
    #[command(flatten)]
    arguments: tune::Arguments,
}

fn main() -> ExitCode {
    cli::main(|| tune::run(&Words::try_parse()?.arguments))
}
