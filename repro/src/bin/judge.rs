//! Judges the committed numbers by the rules of this program, rewrites every `claims.json` and page that is not up to date, and
//! prints the matrix of the twelve claims by section. Nothing is trained.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use repro::cli;
use repro::judge::judge_all;

/// Judges the committed numbers by the rules of this program, rewrites every claims.json and page that is not up to date, and
/// prints the matrix of claims by section. Nothing is trained.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder with a folder of numbers for each section [default: repro/reference, whose matrix the project's README shows too]
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,

    /// Change nothing, and fail if what is committed is not what the rules say
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    cli::main(|| {
        let arguments = Arguments::try_parse()?;
        let own = arguments.reference.is_none().then(cli::readme);
        let root = arguments.reference.unwrap_or_else(cli::reference_root);
        let matrix = judge_all(&root, own.as_deref(), arguments.check)?;
        Ok(cli::print(&matrix)?)
    })
}
