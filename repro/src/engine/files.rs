//! Writing files so that a reader sees the old content or the new, never a part of it. Only regular files are opened: a
//! pipe in the place of one would be waited for without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// An operation on a file or directory that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    // Not `source`: an error that both tells its cause and hands it on is told with it twice.
    cause: io::Error,
}

impl FileError {
    /// To be given to `map_err`: says what was being done to which path.
    pub(crate) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self {
            action,
            path,
            cause,
        }
    }
}

/// What a new file has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. Costs no wait for the disk.
    Process,
    /// A power cut: content and name are on the disk on return.
    Power,
}

/// Replaces `path` by `content`: a temporary file in the same directory, then a rename.
///
/// The temporary file has a fixed name, so that one left behind by a crash is overwritten by the next attempt. Hence two
/// processes must not write the same path at once; the locks of [`Runner`](crate::engine::runner::Runner) see to that.
///
/// # Errors
/// If the system refuses any step. `path` is then as it was before, and no temporary file is left.
pub fn write(path: &Path, content: &[u8], durability: Durability) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let replaced =
        write_all(&temporary, content, durability).and_then(|()| fs::rename(&temporary, path));
    if let Err(cause) = replaced {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::on("write", path)(cause));
    }
    if durability == Durability::Power {
        sync_directory(path.parent().unwrap_or(Path::new(".")))
            .map_err(FileError::on("write", path))?;
    }
    Ok(())
}

fn write_all(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    remove(path)?;
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Power => file.sync_all(),
    }
}

/// A rename is on the disk once its directory is. Only Unix lets one open a directory to ask for that.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()
    } else {
        Ok(())
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file's content, or `None` where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(path, OpenOptions::new().read(true))?.read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::on("read", path)(error)),
    }
}

/// Opens a file, but nothing else that may be there under its name.
pub(crate) fn open(path: &Path, how: &OpenOptions) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => how.open(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_directory_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "kept").unwrap();

        let error = write(&path, b"new", Durability::Power).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "kept");
        assert_eq!(
            directory.path().read_dir().unwrap().count(),
            1,
            "no temporary file"
        );
    }

    #[test]
    fn a_leftover_temporary_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.json");
        fs::write(
            directory.path().join("result.json.tmp"),
            "half of a longer fi",
        )
        .unwrap();
        write(&path, b"whole", Durability::Process).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"whole");
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    /// A socket, as a pipe would take another process to make: one that is born while a lock is held holds it a moment too.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.json");
        let socket = |path: &Path| std::os::unix::net::UnixListener::bind(path).unwrap();
        let _sockets = [&path, &directory.path().join("result.json.tmp")].map(|path| socket(path));
        let error = read(&path).unwrap_err().to_string();
        assert!(error.ends_with("it is not a regular file"), "{error}");
        write(&path, b"whole", Durability::Process).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"whole");
    }

    #[test]
    fn an_error_tells_its_cause_once() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::from(FileError::on("read", Path::new("x"))(cause));
        let text = format!("{error:#}");
        assert_eq!(text.matches("denied").count(), 1, "{text}");
    }
}
