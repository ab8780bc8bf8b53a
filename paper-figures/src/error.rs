//! What can go wrong, said once, with the path, the expected and the found.

use std::{io, path::PathBuf};

use crate::results::Invalid;

/// A failure that concerns one file. The program goes on with the others. The message of each is whole: there is no source
/// to print beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or directory could not be read.
    #[error("{}: cannot read it: {reason}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's reason.
        reason: io::Error,
    },
    /// The file was read, but is not a result file of the contract.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The offending file.
        path: PathBuf,
        /// Where in the file, what was expected, and what was found.
        reason: Invalid,
    },
    /// A directory held no result file, neither itself nor in its folders.
    #[error(
        "{}: expected result files (such as figure2.json, table2.json, claims.json) here or in folders here, found none; \
         write them with `cargo run -p repro --bin section3_1`",
        path.display()
    )]
    NoResults {
        /// The directory that was searched.
        path: PathBuf,
    },
    /// Two files would answer to the same `section/name` key, or two directories would have their pages in one place.
    #[error("`{key}` is ambiguous: {} and {}; name only one of them", first.display(), second.display())]
    Ambiguous {
        /// The key, such as `section3_1/table2`, or the page, such as `out/section3_1/README.md`.
        key: String,
        /// The file or directory seen first.
        first: PathBuf,
        /// The one seen second.
        second: PathBuf,
    },
    /// The output could not be written; what stood there before is untouched.
    #[error("{}: cannot write it: {reason}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's reason.
        reason: io::Error,
    },
    /// A marker, a reference or other markup in a Markdown file cannot be followed.
    #[error("{}:{line}: {problem}", path.display())]
    Marker {
        /// The Markdown file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// `--check` found a file that is not what the results give.
    #[error("{}: out of date with the results; run `cargo run -p paper-figures -- {arguments}`", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
        /// How to bring it up to date.
        arguments: String,
    },
}
