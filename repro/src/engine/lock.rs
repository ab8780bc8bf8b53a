//! Locks: one process at a time computes a run, and one writes the results of an output directory.
//!
//! They are the system's locks on open files (`flock`, and what stands for it elsewhere). Such a lock ends with the process
//! that holds it, however that dies, so none is ever left to block the next. The file's content only tells others who holds
//! it; it stays behind, and no program removes the file: a lock on a removed file would be seen by no one.
//!
//! On NFS, Linux turns them into locks of the whole file at the server, so that they hold between machines; the locks of a
//! machine that went down end when its lease at the server does (NFS 4), or when it is up again (NFS 3).
//! `repro/cluster/README.md` says how to try it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::engine::files::{self, FileError};
use crate::engine::provenance::timestamp;

/// Why the lock of an output directory could not be taken.
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
        /// Process id, machine and since when.
        holder: String,
    },
    /// The lock file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A lock, held while it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory without waiting for it. If another has it: who.
    pub fn take(directory: &Path) -> Result<Result<Self, String>, FileError> {
        let path = directory.join(".lock");
        let mut how = OpenOptions::new();
        how.create(true).read(true).write(true).truncate(false);
        let mut file = files::open(&path, &how).map_err(FileError::on("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(FileError::on("lock", &path)(error)),
        }
        sign(&mut file).map_err(FileError::on("write", &path))?;
        Ok(Ok(Self { _file: file }))
    }

    /// Takes the lock of an output directory.
    pub fn of_results(directory: &Path) -> Result<Self, LockError> {
        Self::take(directory)?.map_err(|holder| LockError::Held {
            directory: directory.to_owned(),
            holder,
        })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (process, since) = (std::process::id(), timestamp(SystemTime::now()));
    file.set_len(0)?;
    file.rewind()?;
    match machine.trim() {
        "" => write!(file, "process {process} since {since}"),
        machine => write!(file, "process {process} on {machine} since {since}"),
    }
}

/// The holder may not have signed yet, and some systems keep others from reading a locked file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(length) if length > 0 => text,
        _ => "another process".to_owned(),
    }
}
