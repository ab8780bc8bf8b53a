//! One process at a time works on an output directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::engine::files::FileError;
use crate::engine::provenance::timestamp;

/// Holds the lock while it lives. The lock is the system's, so that it ends with the process however that dies; the
/// file's content only tells others who holds it, and stays behind.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by {holder}. Wait for it, stop it, or give another directory with --out",
        directory.display()
    )]
    Held {
        /// The output directory.
        directory: PathBuf,
        /// Process id and since when.
        holder: String,
    },
    /// The lock file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl DirectoryLock {
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(".lock");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(FileError::on("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    directory: directory.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(FileError::on("lock", &path)(error).into());
            }
        }
        sign(&mut file).map_err(FileError::on("write", &path))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(
        file,
        "process {} since {}",
        std::process::id(),
        timestamp(SystemTime::now())
    )
}

/// The holder may not have signed yet, and some systems keep others from reading a locked file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(length) if length > 0 => text,
        _ => "another process".to_owned(),
    }
}
