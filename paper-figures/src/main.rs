//! The command line of [`paper_figures`].

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use paper_figures::{Error, Targets, shell::quoted};

/// Draws the paper's figures, tables and claims from the JSON files that `repro` writes.
///
/// Each figure becomes an SVG, each table a Markdown file, each section the pages README.md and report.html, beside the JSON
/// files or under --out. Exit code 1 if anything failed; what could be drawn is drawn all the same, but pages that would lack
/// something are left as they are.
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) if usage.use_stderr() => {
            // There is nobody to tell.
            let _ = usage.print();
            return ExitCode::from(2);
        }
        Err(help) => return ended(Vec::new(), help.print()),
    };
    let mut said = String::new();
    let errors = if arguments.schema {
        said = format!("{:#}\n", paper_figures::results::schema().as_value());
        Vec::new()
    } else if let Some(folder) = &arguments.report {
        match paper_figures::report(folder) {
            Ok(path) => {
                said = format!("wrote {}\n", path.display());
                Vec::new()
            }
            Err(error) => vec![error],
        }
    } else {
        draw(arguments, &mut said)
    };
    ended(errors, io::stdout().write_all(said.as_bytes()))
}

/// Complains on standard error, which may be closed or full, and gives the exit code. A reader of standard output that has
/// seen enough, such as `head`, is no failure.
fn ended(mut errors: Vec<Error>, printed: io::Result<()>) -> ExitCode {
    if let Err(reason) = printed.and_then(|()| io::stdout().flush())
        && reason.kind() != io::ErrorKind::BrokenPipe
    {
        let path = PathBuf::from("standard output");
        errors.push(Error::Write { path, reason });
    }
    for error in &errors {
        let _ = writeln!(io::stderr(), "error: {error}");
    }
    match errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Draws or checks what the arguments name; appends to `said` what was done.
fn draw(arguments: Arguments, said: &mut String) -> Vec<Error> {
    let again = again(&arguments);
    let paths = if arguments.paths.is_empty() {
        let path = default_path(arguments.readme.is_some());
        said.push_str(&format!("reading {}\n", path.display()));
        vec![path]
    } else {
        arguments.paths
    };
    let (targets, mut errors) = Targets::read(&paths, arguments.out);
    let are_whole = errors.is_empty();
    if arguments.check {
        errors.extend(targets.stale(&again));
    } else {
        for written in targets.write() {
            match written {
                Ok(path) => said.push_str(&format!("wrote {}\n", path.display())),
                Err(error) => errors.push(error),
            }
        }
    }
    if let Some(readme) = &arguments.readme {
        if !are_whole {
            let state = "is left as it is, for what could not be read may belong into it";
            said.push_str(&format!("{} {state}\n", readme.display()));
            return errors;
        }
        let done = match arguments.check {
            true => targets.check(readme, &again).map(|()| "is up to date"),
            false => targets.update(readme).map(|changed| match changed {
                true => "is brought up to date",
                false => "was up to date",
            }),
        };
        match done {
            Ok(state) => said.push_str(&format!("{} {state}\n", readme.display())),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// The arguments with which this command would write what it checks.
fn again(arguments: &Arguments) -> String {
    let word = |path: &PathBuf| quoted(path.as_os_str());
    let option = |name: &str, path: &Option<PathBuf>| {
        let path = path.as_ref().map(word);
        path.map(|path| format!("--{name} {path}"))
    };
    let paths = arguments.paths.iter().map(word);
    let options = [
        option("out", &arguments.out),
        option("readme", &arguments.readme),
    ];
    let words = paths.chain(options.into_iter().flatten());
    words.collect::<Vec<_>>().join(" ")
}

/// Our own results, or else the committed ones; for a README only the latter, since it links to what it shows.
fn default_path(for_readme: bool) -> PathBuf {
    let repro = repro_folder();
    let (out, reference) = (repro.join("out"), repro.join("reference"));
    if !for_readme && paper_figures::has_results(&out) {
        out
    } else {
        reference
    }
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
