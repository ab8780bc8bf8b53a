//! Files that a reader finds as they were or as they are to be, never in part.
//!
//! - A new content is a temporary file beside the old one first, `.NAME.tmp`, and takes its name when it is whole.
//! - Who writes into a folder holds the lock on the folder itself, so that no file for it lies among the results; several processes
//!   do so by turns, and each sweeps out what a killed one has left. Not every system has such locks; without one nothing is swept,
//!   and two processes must not write one file at once.
//! - Only regular files are opened: a pipe in the place of one would be waited for without end.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Ends of the names of files that are written here, and swept.
const WRITTEN: [&str; 7] = [
    ".svg",
    ".md",
    ".html",
    ".json",
    ".gz",
    ".safetensors",
    ".metrics",
];

/// What a new file has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. Costs no wait for the disk.
    Process,
    /// A power cut: content and name are on the disk on return.
    Power,
}

/// Replaces `path` by `content`, permissions kept. A link is written through, not replaced.
///
/// # Errors
///
/// If the system refuses any step. `path` is then as it was, and no temporary file is left; unless it was the last that was
/// refused, to have a new name on the disk for good.
pub fn replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let temporary = temporary(&target);
    let folder = folder_of(&target);
    let _lock = swept(folder);
    remove(&temporary)?;
    let replaced = fill(&temporary, content, &target, durability)
        .and_then(|()| fs::rename(&temporary, &target));
    if replaced.is_err() {
        // The first error is the one to report.
        let _ = remove(&temporary);
        return replaced;
    }
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => sync_folder(folder),
    }
}

fn fill(path: &Path, content: &[u8], target: &Path, durability: Durability) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    if let Ok(old) = fs::metadata(target) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => file.sync_all(),
    }
}

/// A rename is on the disk once its folder is. Only Unix lets one open a folder to ask for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
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

/// Removes a file, if it is there.
///
/// # Errors
///
/// If the system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a file, but nothing else that may be there under its name.
///
/// # Errors
///
/// If the system refuses, or what is there is no regular file.
pub fn open(path: &Path, how: &OpenOptions) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("expected a regular file")),
        _ => how.open(path),
    }
}

/// Removes what killed processes left beside `path`, where nothing is to be written.
pub fn sweep(path: &Path) {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    drop(swept(folder_of(&target)));
}

/// Waits until no other process writes to `folder`, keeps others from it while the returned file lives, and removes what
/// killed processes left there.
fn swept(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    lock.lock().ok()?;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_temporary(&entry.file_name().to_string_lossy())) {
        // One that cannot be removed is harmless.
        let _ = remove(&entry.path());
    }
    Some(lock)
}

fn is_temporary(name: &str) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"));
    inner.is_some_and(|name| WRITTEN.iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &str) -> io::Result<()> {
        replace(path, content.as_bytes(), Durability::Power)
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
    fn a_failed_write_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("x.md");
        fs::create_dir(&taken).expect("a folder");
        fs::write(taken.join("inside"), "kept").expect("written");
        write(&taken, "new").expect_err("a folder is in the way");
        let there = folder.path().read_dir().expect("readable");
        assert_eq!(there.count(), 1, "no temporary file");
        let inside = fs::read_to_string(taken.join("inside"));
        assert_eq!(inside.expect("there"), "kept");
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = [
            ".figure2.svg.tmp",
            ".numbers.json.gz.tmp",
            ".checkpoint.safetensors.tmp",
            ".of_another_program.tmp",
            "figure2.json.tmp",
            "notes.tmp",
            "figure2.svg",
        ];
        for name in names {
            fs::write(folder.path().join(name), "").expect("written");
        }
        sweep(&folder.path().join("README.md"));
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, false, false, true, true, true, true]);
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

    /// A socket, as a pipe would take another process to make: one that is born while a lock is held holds it a moment too.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_neither_opened_nor_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, half] = ["result.json", ".result.json.tmp"].map(|name| folder.path().join(name));
        let socket = |path: &Path| std::os::unix::net::UnixListener::bind(path).expect("bound");
        let _sockets = [&path, &half].map(|path| socket(path));
        let error = open(&path, OpenOptions::new().read(true)).expect_err("a socket");
        assert_eq!(error.to_string(), "expected a regular file");
        write(&path, "whole").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
    }
}
