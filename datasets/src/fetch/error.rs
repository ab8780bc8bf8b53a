//! Why a data set cannot be had, in words that say what to do next.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::DATA_DIR_VARIABLE;
use crate::catalog::Dataset;
use crate::digest::Sha256;
use crate::formats::{FormatError, ReadError};

/// Why a data set cannot be had. The message of each is whole: there is no source to print beside
/// it.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// As in `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The content of a file is not what the data set has there.
    #[error("{}: {reason}; replace the file", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: FormatError,
    },
    /// A file of the named directory is not the published one.
    #[error(
        "{}: SHA-256 (unpacked): expected {expected}, found {found}; \
         replace the file, or accept it with --allow-unverified, which every result then says",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Digest of the published file.
        expected: Sha256,
        /// Digest of this one.
        found: Sha256,
    },
    /// The named directory does not exist, or is a file.
    #[error(
        "data directory {}: expected a directory, found {}",
        path.display(),
        match path.exists() {
            true => "a file; unpack it, and name the folder with --data".to_owned(),
            false => format!("none; check --data or {DATA_DIR_VARIABLE}"),
        }
    )]
    NoDataDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The named directory has some of the files only.
    #[error(
        "data directory {}: expected all files of {dataset}, found no {}; put what is missing there, unpacked or as .gz",
        path.display(),
        missing.join(", ")
    )]
    Incomplete {
        /// The data set.
        dataset: Dataset,
        /// The directory.
        path: PathBuf,
        /// Names of the files that are not there.
        missing: Vec<&'static str>,
    },
    /// There is no directory to keep fetched files in.
    #[error(
        "there is no home directory, so none for a cache of fetched files: set HOME or XDG_CACHE_HOME, or name the directory that has \
         the files with --data or {DATA_DIR_VARIABLE}"
    )]
    NoCacheDirectory,
    /// No source has the data set.
    #[error("{}", not_found(*dataset, cache, missing, tried))]
    NotFound {
        /// The data set.
        dataset: Dataset,
        /// Where its files are kept, those that are there among them.
        cache: PathBuf,
        /// Names of the files that were found nowhere.
        missing: Vec<&'static str>,
        /// All that was tried, in order.
        tried: Vec<Tried>,
    },
}

/// A source that did not have what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Directory, address or command.
    pub source: String,
    /// Why it did not do.
    pub reason: String,
}

fn not_found(dataset: Dataset, cache: &Path, missing: &[&str], tried: &[Tried]) -> String {
    let tried: String = tried
        .iter()
        .map(|tried| format!("  - {}: {}\n", tried.source, tried.reason))
        .collect();
    format!(
        "{dataset} was not found. Tried:\n{tried}\
         Missing: {}.\n\
         What to do: connect to a network and try again; or get these files in another way, as with a browser or on another \
         machine, from one of the addresses above (each is there as ADDRESS/NAME.gz, or in the .tar.gz that is named), and put them \
         into {} (unpacked or as .gz each); or all files of the data set into a folder of your own, and name it with --data FOLDER \
         or {DATA_DIR_VARIABLE}=FOLDER.",
        missing.join(", "),
        cache.display()
    )
}

/// Why a source on the network did not supply a file.
#[derive(Debug)]
pub(super) enum Fault {
    /// The source's: the next one may do.
    Source(String),
    /// This machine's: no other source can help.
    Local(DataError),
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Self::Local(error)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Source(error.to_string())
    }
}

impl DataError {
    pub(super) fn io(action: &'static str, path: &Path, reason: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            reason,
        }
    }
}
