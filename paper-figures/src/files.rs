//! Which files are results, reading them, and writing so that nothing is ever half-written.

use std::{
    fs, io,
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
    /// The file's name without `.json`, such as `table2`.
    pub stem: String,
    /// What it says.
    pub file: Parsed,
}

/// JSON that a section's directory holds for programs: the numbers that verdicts are computed from.
const NOT_RESULTS: [&str; 1] = ["numbers"];

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

/// The directories in `folder` that have result files.
pub fn sections_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() && !results_of(&entry)?.is_empty() {
            found.push(entry);
        }
    }
    // `section3` before `section3_1`, and what is no section of the paper after them.
    found.sort_by_key(|path| (!name(path).starts_with("section"), natural(&name(path))));
    Ok(found)
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    read().map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
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
    let Some(stem) = name.strip_suffix(".json") else {
        return false;
    };
    !name.starts_with('.') && !NOT_RESULTS.contains(&stem) && !path.is_dir()
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

/// Reads and checks one result file.
///
/// # Errors
///
/// [`Error::Read`] or [`Error::Invalid`].
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = results::parse(&text).map_err(|source| Error::Invalid {
        path: path.to_owned(),
        source,
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

/// Replaces `path` by `content`, permissions kept: a temporary file beside it, then a rename. The temporary file has a fixed
/// name, so that one left behind by a killed run is overwritten by the next; two runs must not write one directory at once.
///
/// # Errors
///
/// [`Error::Write`]; what stood at `path` is then as it was, and no temporary file is left.
pub fn write(path: &Path, content: &str) -> Result<(), Error> {
    // A link is written through, not replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let temporary = temporary(&target);
    let replace = || {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = fs::File::create(&temporary)?;
        if let Ok(old) = fs::metadata(&target) {
            file.set_permissions(old.permissions())?;
        }
        io::Write::write_all(&mut &file, content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &target)
    };
    replace().map_err(|source: io::Error| {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::Write {
            path: path.to_owned(),
            source,
        }
    })
}

fn temporary(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.tmp", name(path)))
}

/// Removes what a killed run left in `folder`, so that it does not stay where the next run writes other files.
pub fn sweep(folder: &Path) {
    let is_ours = |name: &str| {
        let inner = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(".tmp"));
        inner.is_some_and(|name| {
            [".svg", ".md", ".html"]
                .iter()
                .any(|end| name.ends_with(end))
        })
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_ours(&entry.file_name().to_string_lossy())) {
        // One that cannot be removed is harmless.
        let _ = fs::remove_file(entry.path());
    }
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
    fn a_failed_write_leaves_the_directory_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("x.md");
        fs::create_dir(&taken).expect("a folder");
        fs::write(taken.join("inside"), "kept").expect("written");
        let error = write(&taken, "new").expect_err("a directory is in the way");
        assert!(
            error.to_string().contains("x.md: cannot write it"),
            "{error}"
        );
        assert_eq!(
            folder.path().read_dir().expect("readable").count(),
            1,
            "no temporary file"
        );
        assert_eq!(
            fs::read_to_string(taken.join("inside")).expect("there"),
            "kept"
        );
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = [
            ".figure2.svg.tmp",
            ".README.md.tmp",
            "figure2.json.tmp",
            "notes.tmp",
            "figure2.svg",
        ];
        for name in names {
            fs::write(folder.path().join(name), "").expect("written");
        }
        sweep(folder.path());
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, true, true, true]);
    }
}
