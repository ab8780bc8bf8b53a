//! The places on the network: public mirrors, and packages that carry the same bytes.

use std::fmt;
use std::fs::{self, File};
use std::io::Seek;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::cache::Filling;
use super::error::{DataError, Fault};
use super::files::Collection;
use super::packages::Package;
use super::{Event, Log, http};
use crate::catalog::{FileSpec, Mirror};
use crate::digest::Sha256;
use crate::formats::{ReadError, read_plain_or_gzip};

/// A place on the network.
pub(super) enum Source<'a> {
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
    pub(super) fn supply(
        &self,
        files: &mut Collection<'_>,
        cache: &Filling,
        client: &http::Client,
        log: &mut Log<'_>,
    ) -> Result<(), Fault> {
        match self {
            Self::Mirror(Mirror::Files { base }) => from_files(base, files, cache, client, log),
            Self::Mirror(Mirror::Archive { url, sha256 }) => {
                from_archive(url, *sha256, files, cache, client, log)
            }
            Self::Package(package) => cache.in_client_folder(|folder| {
                package.open(folder, |archive| files.unpack(archive, cache))
            }),
        }
    }
}

fn from_files(
    base: &str,
    files: &mut Collection<'_>,
    cache: &Filling,
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
    cache: &Filling,
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
            (log.on_event)(Event::Received { bytes, total });
        })?;
        let opened = File::open(part).map_err(|reason| DataError::io("read", part, reason))?;
        let accepted = accept(opened);
        if matches!(accepted, Err(Fault::Local(_))) {
            return accepted;
        }
        fs::remove_file(part).map_err(|reason| DataError::io("remove", part, reason))?;
        if accepted.is_ok() || !resumed {
            return accepted;
        }
        resumed = false;
    }
}
