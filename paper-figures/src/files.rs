//! Which files are results, reading them, and writing what is made of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Error,
    atomic::{self, Durability},
    results::{self, Parsed},
};

/// A result file with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Where it was read from.
    pub path: PathBuf,
    /// The file's name without `.json`, such as `table2`.
    pub stem: String,
    /// What it says.
    pub file: Parsed,
}

/// The result files of a section's directory: all JSON directly in it, in the order of their names with numbers in them
/// counting as numbers, so that `figure10` comes after `figure9`.
pub fn results_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter(|path| is_result(path))
        .collect();
    found.sort_by_key(|path| natural(&name(path)));
    Ok(found)
}

/// The directories in `folder` that have result files. One that cannot be read is among the errors; the others are kept.
pub fn sections_of(folder: &Path) -> (Vec<PathBuf>, Vec<Error>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let entries = entries(folder).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    for entry in entries.into_iter().filter(|entry| entry.is_dir()) {
        match results_of(&entry) {
            Ok(results) if results.is_empty() => {}
            Ok(_) => found.push(entry),
            Err(error) => errors.push(error),
        }
    }
    // `section3` before `section3_1`, and what is no section of the paper after them.
    found.sort_by_key(|path| (!name(path).starts_with("section"), natural(&name(path))));
    (found, errors)
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    read().map_err(|reason| Error::Read {
        path: path.to_owned(),
        reason,
    })
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn is_result(path: &Path) -> bool {
    let name = name(path);
    name.ends_with(".json") && !name.starts_with('.') && !path.is_dir()
}

/// A name as text and numbers by turns, which compares as people count.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut in_number = false;
    for c in name.chars() {
        if let (Some(digit), Some(last)) = (c.to_digit(10), parts.last_mut()) {
            last.1 = last.1.saturating_mul(10).saturating_add(u64::from(digit));
            in_number = true;
            continue;
        }
        if in_number {
            parts.push((String::new(), 0));
            in_number = false;
        }
        if let Some(last) = parts.last_mut() {
            last.0.push(c);
        }
    }
    parts
}

/// The text of a regular file.
///
/// # Errors
///
/// [`Error::Read`].
pub fn read(path: &Path) -> Result<String, Error> {
    let file = atomic::open(path, fs::OpenOptions::new().read(true));
    file.and_then(io::read_to_string)
        .map_err(|reason| Error::Read {
            path: path.to_owned(),
            reason,
        })
}

/// Reads and checks one result file.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Invalid`].
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let file = results::parse(&read(path)?).map_err(|reason| Error::Invalid {
        path: path.to_owned(),
        reason,
    })?;
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Loaded {
        path: path.to_owned(),
        stem,
        file,
    })
}

/// Replaces `path` by `content`, as [`atomic::replace`] does; the folder is made if there is none.
///
/// # Errors
///
/// [`Error::Write`]; what stood at `path` is then as it was, and no temporary file is left.
pub fn write(path: &Path, content: &str) -> Result<(), Error> {
    let replace = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        atomic::replace(path, content.as_bytes(), Durability::Power)
    };
    replace().map_err(|reason| Error::Write {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_as_people_count() {
        let mut names = [
            "figure10",
            "section3_1",
            "figure9",
            "section3",
            "figure2",
            "claims",
        ];
        names.sort_by_key(|name| natural(name));
        assert_eq!(
            names,
            [
                "claims",
                "figure2",
                "figure9",
                "figure10",
                "section3",
                "section3_1"
            ]
        );
    }

    #[test]
    fn an_error_names_the_file_and_its_cause_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("x.md");
        fs::create_dir(&taken).expect("a folder");
        let error = write(&taken, "new").expect_err("a folder is in the way");
        assert!(
            error.to_string().contains("x.md: cannot write it"),
            "{error}"
        );
        let repeated = std::error::Error::source(&error);
        assert!(repeated.is_none(), "whoever prints causes prints it twice");
    }
}
