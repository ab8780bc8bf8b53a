//! The user's cache: one folder per data set, holding unpacked files under their own names.
//!
//! Invariant: a file under its own name was whole and verified when it was put there, as it is
//! renamed to that name only then. Whatever happens to it later is found out by hashing it again on
//! every use. Who writes holds the lock.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::{DataError, Event, Log};
use crate::catalog::Dataset;

pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The folder of `dataset` below `root`, by default below the user's cache directory. Nothing
    /// is created yet.
    pub(super) fn of(dataset: Dataset, root: Option<&Path>) -> Result<Self, DataError> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => etcetera::choose_base_strategy()
                .map_err(|_| DataError::NoCacheDirectory)?
                .cache_dir()
                .join("l4-datasets"),
        };
        let dir = root.join(dataset.id());
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the download of `name` grows until it is complete.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.part"))
    }

    /// Creates the folder and waits until no other process is writing to it. The lock goes with the
    /// returned file, or with the process, however it ends.
    pub(super) fn lock(&self, log: &mut Log<'_>) -> Result<File, DataError> {
        fs::create_dir_all(&self.dir)
            .map_err(|reason| DataError::io("create", &self.dir, reason))?;
        let path = self.dir.join("lock");
        let lock_error = |reason| DataError::io("lock", &path, reason);
        let file = File::create(&path).map_err(lock_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                (log.on_event)(Event::Waiting { cache: &self.dir });
                file.lock().map_err(lock_error)?;
            }
            Err(TryLockError::Error(source)) => return Err(lock_error(source)),
        }
        Ok(file)
    }

    /// Puts a whole, verified file at `path`; a crash leaves the old one or the new one.
    pub(super) fn store(&self, path: &Path, content: &[u8]) -> Result<(), DataError> {
        // The lock makes this process the only one with a temporary file of this name.
        let temporary = path.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()
        };
        let written = write().and_then(|()| fs::rename(&temporary, path));
        written.map_err(|reason| DataError::io("write", path, reason))
    }
}
