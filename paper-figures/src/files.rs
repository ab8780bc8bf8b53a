//! Which files are results, reading them, and writing so that nothing is ever half-written.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    Error,
    results::{self, Parsed},
};

/// A result file with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Where it was read from.
    pub path: PathBuf,
    /// The folder's and the file's name without `.json`, such as `section3_1/table2`.
    pub key: String,
    /// What it says.
    pub file: Parsed,
}

/// Results that are neither figures nor tables of the paper.
const NAMES: [&str; 3] = ["claims", "running_time", "repeat_copy"];

/// The result files that `path` names: itself if it is a file; otherwise those in it and in its `section*` folders.
///
/// Other JSON files of a directory, such as a run's configuration, are not results and are passed over: a result is
/// named `figure*` or `table*`, or as one of [`NAMES`].
///
/// # Errors
///
/// [`Error::Read`] if it does not exist, [`Error::NoResults`] if there are none.
pub fn results_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        let metadata = fs::metadata(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        });
        return metadata.map(|_| vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in entries(path)? {
        if is_result(&entry) {
            found.push(entry);
        } else if entry.is_dir() && name(&entry).starts_with("section") {
            found.extend(
                entries(&entry)?
                    .into_iter()
                    .filter(|inner| is_result(inner)),
            );
        }
    }
    if found.is_empty() {
        Err(Error::NoResults {
            path: path.to_owned(),
        })
    } else {
        Ok(found)
    }
}

/// A directory's entries, in the order of their names.
fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut entries = read().map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn is_result(path: &Path) -> bool {
    let name = name(path);
    let Some(stem) = name.strip_suffix(".json") else {
        return false;
    };
    !path.is_dir()
        && (NAMES.contains(&stem) || stem.starts_with("figure") || stem.starts_with("table"))
}

/// Reads and checks one result file.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Invalid`].
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let unreadable = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let file = results::parse(&text).map_err(|source| Error::Invalid {
        path: path.to_owned(),
        source,
    })?;
    let full = path.canonicalize().map_err(unreadable)?;
    let folder = full.parent().map(name).unwrap_or_default();
    let stem = full
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Loaded {
        path: path.to_owned(),
        key: format!("{folder}/{stem}"),
        file,
    })
}

/// Writes `bytes` to a temporary file beside `path`, which then takes its place, permissions included.
///
/// # Errors
///
/// [`Error::Write`]; what stood at `path` is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let replace = || {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // A link is written through, not replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut builder = tempfile::Builder::new();
        if let Some(permissions) = permissions(&target) {
            builder.permissions(permissions);
        }
        let mut file = builder.tempfile_in(target.parent().unwrap_or(folder))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    };
    replace().map_err(|source: io::Error| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// The existing file's permissions, or a new file's usual ones, which a temporary file would not have.
fn permissions(path: &Path) -> Option<fs::Permissions> {
    #[cfg(unix)]
    let usual = Some(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    #[cfg(not(unix))]
    let usual = None;
    fs::metadata(path).map(|m| m.permissions()).ok().or(usual)
}
