//! The user's cache: one folder per data set, holding unpacked files under their own names.
//!
//! Invariants: a file under its own name was whole and verified when it was put there, as it is
//! renamed to that name only then. Whatever happens to it later is found out by hashing it again on
//! every use. Who writes holds the lock, and is the only one who can: see [`Filling`].

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::{DataError, Event, Fault, Log};
use crate::catalog::Dataset;

/// The folder that a registry's client works in.
const CLIENT: &str = "client";
/// The file that is not yet whole.
const NEW: &str = "new";
/// Ends the name of a download that can be continued.
const PART: &str = "part";

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

    /// Creates the folder and waits until no other process is writing to it.
    pub(super) fn lock(&self, log: &mut Log<'_>) -> Result<Filling, DataError> {
        fs::create_dir_all(&self.dir)
            .map_err(|reason| DataError::io("create", &self.dir, reason))?;
        let path = self.dir.join("lock");
        let lock_error = |reason| DataError::io("lock", &path, reason);
        let file = open_lock(&path).map_err(lock_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                (log.on_event)(Event::Waiting { cache: &self.dir });
                file.lock().map_err(lock_error)?;
            }
            Err(TryLockError::Error(source)) => return Err(lock_error(source)),
        }
        Ok(Filling::new(&self.dir, file))
    }

    /// Removes what processes that were killed have left beside the files, which are all there.
    /// Where nothing was left, nothing is written: a cache may be shared and read-only.
    pub(super) fn tidy(&self) {
        if !has_leftovers(&self.dir) {
            return;
        }
        // What cannot be removed now, or is in use, is harmless.
        if let Ok(file) = open_lock(&self.dir.join("lock"))
            && file.try_lock().is_ok()
        {
            Filling::new(&self.dir, file).remove_parts();
        }
    }
}

/// Whatever else goes by the lock's name could keep the process waiting for ever.
fn open_lock(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("expected a regular file")),
        _ => File::create(path),
    }
}

fn has_leftovers(dir: &Path) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| is_unfinished(&entry.path()) || is_part(&entry.path()))
}

fn is_unfinished(path: &Path) -> bool {
    path.ends_with(CLIENT) || path.ends_with(NEW)
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PART)
}

/// The cache while this process alone writes to it. The lock goes with this value, or with the
/// process, however it ends; what a process that was killed could not remove, the next one does.
pub(super) struct Filling {
    dir: PathBuf,
    _lock: File,
}

impl Filling {
    fn new(dir: &Path, lock: File) -> Self {
        let dir = dir.to_owned();
        let filling = Self { dir, _lock: lock };
        filling.remove_unfinished();
        // What is no file cannot be continued, and opening it could wait for ever.
        filling.remove(|path| is_part(path) && !path.is_file());
        filling
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the download of `name` grows until it is complete.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.{PART}"))
    }

    /// Puts a whole, verified file at `path`; a crash leaves the old one or the new one.
    pub(super) fn store(&self, path: &Path, content: &[u8]) -> Result<(), DataError> {
        let temporary = self.dir.join(NEW);
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()
        };
        let written = write().and_then(|()| fs::rename(&temporary, path));
        written.map_err(|reason| {
            self.remove_unfinished();
            DataError::io("write", path, reason)
        })
    }

    /// An empty folder for a registry's client, which `work` has for as long as it takes.
    pub(super) fn in_client_folder<T>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // A client that was killed as the lock was taken may have written on for a moment.
        self.remove_unfinished();
        let folder = self.dir.join(CLIENT);
        fs::create_dir(&folder).map_err(|reason| DataError::io("create", &folder, reason))?;
        let done = work(&folder);
        self.remove_unfinished();
        done
    }

    /// Removes downloads that need not be continued.
    pub(super) fn remove_parts(&self) {
        self.remove(is_part);
    }

    fn remove_unfinished(&self) {
        self.remove(is_unfinished);
    }

    /// Where removing fails, writing to the same name says why.
    fn remove(&self, is_leftover: impl Fn(&Path) -> bool) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for path in entries
            .map(|entry| entry.path())
            .filter(|path| is_leftover(path))
        {
            let _ = match path.is_dir() && !path.is_symlink() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }
}
