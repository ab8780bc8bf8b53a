//! The command line of [`paper_figures`].

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use paper_figures::{Error, Targets};

/// Draws the paper's figures, tables and claims from the JSON files that `repro` writes.
///
/// Each figure becomes an SVG, each table a Markdown file, each section the pages README.md and report.html, beside the JSON
/// files or under --out. Exit code 1 if anything failed; what could be drawn is drawn all the same.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Directories of results, directories of such, or single JSON files [default: repro/out if it holds results, else
    /// repro/reference; with --readme always repro/reference]
    paths: Vec<PathBuf>,

    /// Write to DIR/section3_1/… instead of beside each JSON file
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write only DIR/report.html: one page of all sections in DIR, the matrix of claims first
    #[arg(long, value_name = "DIR", exclusive = true)]
    report: Option<PathBuf>,

    /// Also bring this Markdown file up to date: the text between `<!-- generated: section3_1/table2 -->` and
    /// `<!-- /generated -->`; `matrix` is the matrix of claims
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,

    /// Write nothing; fail if a drawing, a page or the Markdown file is out of date
    #[arg(long)]
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
    let errors = match &arguments.report {
        Some(folder) => match paper_figures::report(folder) {
            Ok(path) => {
                say(&format!("wrote {}", path.display()));
                Vec::new()
            }
            Err(error) => vec![error],
        },
        None => draw(arguments),
    };
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

fn draw(arguments: Arguments) -> Vec<Error> {
    let again = again(&arguments);
    let paths = if arguments.paths.is_empty() {
        default_paths(arguments.readme.is_some())
    } else {
        arguments.paths
    };
    let (targets, mut errors) = Targets::read(&paths, arguments.out);
    if arguments.check {
        errors.extend(targets.stale(&again));
    } else {
        for written in targets.write() {
            match written {
                Ok(path) => say(&format!("wrote {}", path.display())),
                Err(error) => errors.push(error),
            }
        }
    }
    if let Some(readme) = &arguments.readme {
        let done = match arguments.check {
            true => targets.check(readme, &again).map(|()| "is up to date"),
            false => targets.update(readme).map(|changed| match changed {
                true => "is brought up to date",
                false => "was up to date",
            }),
        };
        match done {
            Ok(state) => say(&format!("{} {state}", readme.display())),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// The arguments with which this command would write what it checks.
fn again(arguments: &Arguments) -> String {
    let paths = arguments
        .paths
        .iter()
        .map(|path| path.display().to_string());
    let out = arguments
        .out
        .iter()
        .map(|out| format!("--out {}", out.display()));
    let readme = arguments
        .readme
        .iter()
        .map(|file| format!("--readme {}", file.display()));
    paths.chain(out).chain(readme).collect::<Vec<_>>().join(" ")
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
    let is_root =
        |folder: &&Path| folder.join("Cargo.lock").is_file() && folder.join("repro").is_dir();
    match here.ancestors().find(is_root) {
        Some(root) if root != here => root.join("repro"),
        _ => PathBuf::from("repro"),
    }
}

/// To standard output, whose reader may have gone.
fn say(message: &str) {
    let _ = writeln!(io::stdout(), "{message}");
}
