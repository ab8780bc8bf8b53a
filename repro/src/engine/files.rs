//! The engine's files: [atomic writes](paper_figures::atomic), with errors that say what was being done to which path.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use paper_figures::atomic::Durability;
pub(crate) use paper_figures::atomic::{open, remove};

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

/// Replaces `path` by `content`, as [`paper_figures::atomic::replace`] does.
///
/// # Errors
/// If the system refuses any step.
pub fn write(path: &Path, content: &[u8], durability: Durability) -> Result<(), FileError> {
    paper_figures::atomic::replace(path, content, durability).map_err(FileError::on("write", path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_cause_once() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::from(FileError::on("read", Path::new("x"))(cause));
        let text = format!("{error:#}");
        assert_eq!(text.matches("denied").count(), 1, "{text}");
    }
}
