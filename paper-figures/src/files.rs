//! Which files are results, reading them, and writing so that nothing is ever half-written.

use std::{
    ffi::OsString,
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

/// The text of a regular file. Reading anything else, such as a pipe, could wait for ever.
///
/// # Errors
///
/// [`Error::Read`].
pub fn read(path: &Path) -> Result<String, Error> {
    let read = || match fs::metadata(path)?.is_file() {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("expected a regular file")),
    };
    read().map_err(|reason| Error::Read {
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

/// Replaces `path` by `content`, permissions kept: a temporary file beside it, then a rename. The temporary file has a fixed
/// name, so that one left behind by a killed run is removed by the next.
///
/// # Errors
///
/// [`Error::Write`]; what stood at `path` is then as it was, and no temporary file is left.
pub fn write(path: &Path, content: &str) -> Result<(), Error> {
    // A link is written through, not replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let temporary = temporary(&target);
    let folder = folder_of(&target);
    let replace = || {
        fs::create_dir_all(folder)?;
        let _lock = tidied(folder);
        remove(&temporary)?;
        let mut file = fs::File::create_new(&temporary)?;
        let replaced =
            fill(&mut file, content, &target).and_then(|()| fs::rename(&temporary, &target));
        if replaced.is_err() {
            // The first error is the one to report.
            let _ = remove(&temporary);
        }
        replaced
    };
    replace().map_err(|reason| Error::Write {
        path: path.to_owned(),
        reason,
    })
}

fn fill(file: &mut fs::File, content: &str, target: &Path) -> io::Result<()> {
    if let Ok(old) = fs::metadata(target) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn temporary(path: &Path) -> PathBuf {
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(".tmp");
    path.with_file_name(hidden)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what killed runs left beside `path`, where nothing is to be written.
pub fn tidy(path: &Path) {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    drop(tidied(folder_of(&target)));
}

/// Waits until no other process writes to `folder`, keeps others from it while the returned file lives, and removes what
/// killed processes left there. The lock is on the directory itself, so that no file for it lies among the results. Not every
/// system has such locks; without one nothing is removed, and two processes must not write one directory at once.
fn tidied(folder: &Path) -> Option<fs::File> {
    let directory = fs::File::open(folder).ok()?;
    directory.lock().ok()?;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_temporary(&entry.file_name().to_string_lossy())) {
        // One that cannot be removed is harmless.
        let _ = remove(&entry.path());
    }
    Some(directory)
}

fn is_temporary(name: &str) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"));
    inner.is_some_and(|name| {
        [".svg", ".md", ".html"]
            .iter()
            .any(|end| name.ends_with(end))
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
    #[cfg(unix)]
    fn a_link_is_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let [link, there] = ["x.md", "there.md"].map(|name| folder.path().join(name));
        fs::write(&there, "old").expect("written");
        std::os::unix::fs::symlink("there.md", &link).expect("linked");
        write(&link, "new").expect("written");
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&there).expect("there"), "new");
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
        let repeated = std::error::Error::source(&error);
        assert!(repeated.is_none(), "whoever prints causes prints it twice");
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
        tidy(&folder.path().join("README.md"));
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, true, true, true]);
    }

    #[test]
    fn several_write_to_one_place_by_turns() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.md");
        std::thread::scope(|scope| {
            for letter in ["a", "b", "c", "d"] {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write(path, &letter.repeat(100_000)).expect("written");
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("there");
        assert!(text == text[..1].repeat(100_000), "by one of them");
    }
}
