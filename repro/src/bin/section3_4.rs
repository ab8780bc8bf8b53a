//! Section 3.4 of the paper: the differentiable neural computer.

use std::process::ExitCode;

use clap::Parser;
use repro::cli;
use repro::sections::{self, section3_4};

/// Shows what a DNC trained by L4Adam makes of an example of each kind of sequences.
#[derive(Parser)]
struct Show {
    /// Instead of running the section
    #[arg(long, required = true)]
    show: bool,

    /// Steps of the training
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    steps: u64,

    #[command(flatten)]
    execution: cli::Execution,
}

fn main() -> ExitCode {
    if std::env::args_os().any(|word| word == "--show") {
        return cli::main(|| {
            let arguments = Show::try_parse()?;
            section3_4::show(&arguments.execution, arguments.steps)
        });
    }
    sections::main(&section3_4::SECTION)
}
