//! What can go wrong, said once, with the path, the expected and the found.

use std::{io, path::PathBuf};

use crate::results::Invalid;

/// A failure that concerns one file; the others are still processed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or directory could not be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file was read, but is not a result file of the contract.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// The offending file.
        path: PathBuf,
        /// Where in the file, what was expected, and what was found.
        source: Invalid,
    },
    /// A directory held no result file, neither itself nor in its `section*` folders.
    #[error(
        "{}: expected result files (figure*.json, table*.json, running_time.json, repeat_copy.json, claims.json) here or in \
         section* folders, found none; write them with `cargo run -p repro --bin section3_1`",
        path.display()
    )]
    NoResults {
        /// The directory that was searched.
        path: PathBuf,
    },
    /// Two files would answer to the same `section/name` key.
    #[error("`{key}` is ambiguous: {} and {}; name only one of them", first.display(), second.display())]
    Ambiguous {
        /// The key, such as `section3_1/table2`.
        key: String,
        /// The file seen first.
        first: PathBuf,
        /// The file seen second.
        second: PathBuf,
    },
    /// The picture could not be drawn or encoded.
    #[error("{}: cannot draw it: {reason}", path.display())]
    Draw {
        /// The figure file.
        path: PathBuf,
        /// What the drawing library says.
        reason: String,
    },
    /// The output could not be written; what stood there before is untouched.
    #[error("{}: cannot write it: {source}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A marker in the Markdown file cannot be followed.
    #[error("{}:{line}: {problem}", path.display())]
    Marker {
        /// The Markdown file.
        path: PathBuf,
        /// The marker's line, counted from 1.
        line: usize,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// `--check` found generated text that the results no longer support.
    #[error(
        "{}: out of date with the results; run `cargo run -p paper-figures -- --readme {}`",
        path.display(), path.display()
    )]
    Stale {
        /// The Markdown file.
        path: PathBuf,
    },
    /// The Markdown file links to a picture that does not exist.
    #[error("{}: links to {}, which does not exist; draw it by running without --check", path.display(), image.display())]
    NoImage {
        /// The Markdown file.
        path: PathBuf,
        /// The missing picture.
        image: PathBuf,
    },
}
