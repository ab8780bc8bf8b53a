//! The command line of [`paper_figures`].

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use paper_figures::{Error, Report};

/// Draws the paper's figures, tables and claims from the JSON files that `repro` writes.
///
/// Each figure becomes an SVG and a PNG (300 dots per inch), each table and each claims file a Markdown file, beside the
/// JSON file or under --out. Exit code 1 if anything failed; what could be drawn is drawn all the same.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Result directories or single JSON files [default: repro/out if it holds results, else repro/reference; with
    /// --readme always repro/reference]
    paths: Vec<PathBuf>,

    /// Write to DIR/section3_1/… instead of beside each JSON file
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Also bring this Markdown file up to date: the text between `<!-- generated: section3_1/table2 -->` and
    /// `<!-- /generated -->`
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,

    /// Write nothing; fail if the Markdown file is out of date
    #[arg(long, requires = "readme")]
    check: bool,

    /// Print the JSON Schema of the result files, and do nothing else
    #[arg(long, exclusive = true)]
    schema: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.schema {
        say(&format!(
            "{:#}",
            paper_figures::results::schema().as_value()
        ));
        return ExitCode::SUCCESS;
    }
    let paths = if arguments.paths.is_empty() {
        default_paths(arguments.readme.is_some())
    } else {
        arguments.paths
    };
    let (report, mut errors) = Report::read(&paths, arguments.out);
    if !arguments.check {
        for drawn in report.draw() {
            match drawn {
                Ok(path) => say(&format!("wrote {}", path.display())),
                Err(error) => errors.push(error),
            }
        }
    }
    if let Some(readme) = &arguments.readme
        && let Err(error) = bring_up_to_date(&report, readme, arguments.check)
    {
        errors.push(error);
    }
    for error in &errors {
        // Nothing is left to be done when even this cannot be written.
        let _ = writeln!(io::stderr(), "error: {error}");
    }
    if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn bring_up_to_date(report: &Report, readme: &Path, check: bool) -> Result<(), Error> {
    if check {
        report.check(readme)?;
        say(&format!("{} is up to date", readme.display()));
    } else if report.update(readme)? {
        say(&format!("updated {}", readme.display()));
    } else {
        say(&format!("{} was up to date", readme.display()));
    }
    Ok(())
}

/// Our own results, or else the committed ones; for a README only the latter, since it links to what it shows.
fn default_paths(for_readme: bool) -> Vec<PathBuf> {
    let repro = repro_folder();
    let (out, reference) = (repro.join("out"), repro.join("reference"));
    let chosen = if !for_readme && paper_figures::has_results(&out) {
        out
    } else {
        reference
    };
    say(&format!("reading {}", chosen.display()));
    vec![chosen]
}

/// The `repro` folder of the workspace that the current directory is in, as a relative path where possible.
fn repro_folder() -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let root = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file() && folder.join("repro").is_dir());
    match root {
        Some(root) if root != here => root.join("repro"),
        _ => PathBuf::from("repro"),
    }
}

/// To standard output, whose reader may have gone.
fn say(message: &str) {
    let _ = writeln!(io::stdout(), "{message}");
}
