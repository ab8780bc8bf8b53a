//! Files of a data set: found in folders, read, told apart by their digests, put together.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Log;
use super::cache::Filling;
use super::error::{DataError, Fault};
use crate::catalog::{Content, Dataset, FileSpec, Part, Spec};
use crate::digest::Sha256;
use crate::formats::archive::{self, Wanted};
use crate::formats::{FormatError, ReadError, cifar10, idx, read_plain_or_gzip};
use crate::images::{FileProvenance, ImageDataset, Origin, Provenance, Split, Trust};

/// A file that has been read.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    content: Vec<u8>,
    pub(super) sha256: Sha256,
    pub(super) trust: Trust,
}

/// All files of a data set, in the order of its [`Spec`].
#[derive(Debug)]
pub(super) struct FoundAll {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) files: Vec<Found>,
}

impl FoundAll {
    pub(super) fn parse(self, spec: &Spec) -> Result<ImageDataset, DataError> {
        let [mut train, mut test] = [(vec![], vec![]), (vec![], vec![])];
        let mut provenance = Vec::with_capacity(spec.files.len());
        for (file, found) in spec.files.iter().zip(self.files) {
            let (images, labels) = match file.part {
                Part::Train => &mut train,
                Part::Test => &mut test,
            };
            parse(file, &found.content, images, labels).map_err(|reason| DataError::Format {
                path: found.path.clone(),
                reason,
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

/// The data set that has a file with this digest.
pub(super) fn owner(sha256: Sha256) -> Option<Dataset> {
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
pub(super) fn locate(dir: &Path, file: &FileSpec) -> Option<PathBuf> {
    let mut paths = file.names().into_iter().map(|name| dir.join(name));
    paths.find(|path| path.is_file())
}

pub(super) fn read(path: &Path, file: &FileSpec) -> Result<Vec<u8>, DataError> {
    let read_error = |reason| DataError::io("read", path, reason);
    let opened = File::open(path).map_err(read_error)?;
    read_plain_or_gzip(opened, file.size()).map_err(|error| match error {
        ReadError::Io(reason) => read_error(reason),
        ReadError::Format(reason) => DataError::Format {
            path: path.to_owned(),
            reason,
        },
    })
}

/// A file of a place that the caller has not named; else why it is passed over, which asks nothing
/// of the caller.
fn read_verified(path: PathBuf, file: &FileSpec) -> Result<Found, String> {
    let content = read(&path, file).map_err(|error| match error {
        DataError::Format { path, reason } => format!("{}: {reason}", path.display()),
        other => other.to_string(),
    })?;
    let found = Found::new(file, path, content);
    match found.trust {
        Trust::Verified => Ok(found),
        _ => Err(format!(
            "SHA-256 (unpacked) of {}: expected {}, found {}",
            found.path.display(),
            file.sha256,
            found.sha256
        )),
    }
}

impl Found {
    pub(super) fn new(file: &FileSpec, path: PathBuf, content: Vec<u8>) -> Self {
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
    pub(super) fn check_format(&self, file: &FileSpec) -> Result<(), DataError> {
        let parsed = parse(file, &self.content, &mut Vec::new(), &mut Vec::new());
        parsed.map_err(|reason| DataError::Format {
            path: self.path.clone(),
            reason,
        })
    }

    pub(super) fn mismatch(&self, file: &FileSpec) -> DataError {
        DataError::Mismatch {
            path: self.path.clone(),
            expected: file.sha256,
            found: self.sha256,
        }
    }
}

/// The verified files of a data set as they come together, from one place or several.
pub(super) struct Collection<'a> {
    pub(super) spec: &'a Spec,
    /// In the order of `spec.files`; all of [`Trust::Verified`].
    found: Vec<Option<Found>>,
}

impl<'a> Collection<'a> {
    pub(super) fn new(spec: &'a Spec) -> Self {
        let found = spec.files.iter().map(|_| None).collect();
        Self { spec, found }
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, &'a FileSpec)> {
        let pairs = self.spec.files.iter().zip(&self.found).enumerate();
        pairs.filter_map(|(index, (file, found))| found.is_none().then_some((index, file)))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Adds the missing files that lie in `dir` and have the known digest.
    pub(super) fn add_verified(&mut self, dir: &Path, log: &mut Log<'_>) {
        let place = dir.display().to_string();
        let missing: Vec<(usize, &FileSpec)> = self.missing().collect();
        let mut absent = Vec::new();
        for (index, file) in missing {
            match locate(dir, file).map(|path| read_verified(path, file)) {
                Some(Ok(found)) => self.found[index] = Some(found),
                Some(Err(reason)) => log.pass_over(&place, &reason),
                None => absent.push(file.name),
            }
        }
        if !absent.is_empty() {
            log.note(&place, &format!("no {}", absent.join(", ")));
        }
    }

    /// Adds a file that a source has supplied, to the cache as well.
    pub(super) fn add(
        &mut self,
        index: usize,
        content: Vec<u8>,
        cache: &Filling,
    ) -> Result<(), Fault> {
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
    pub(super) fn unpack(&mut self, archive: impl Read, cache: &Filling) -> Result<(), Fault> {
        let missing: Vec<(usize, &FileSpec)> = self.missing().collect();
        let wanted: Vec<Wanted<'_>> = missing
            .iter()
            .map(|(_, file)| Wanted {
                name: file.name,
                size: file.size(),
            })
            .collect();
        let known = self.spec.files.iter().map(FileSpec::size).sum();
        archive::unpack(archive, known, &wanted, |i, content| {
            self.add(missing[i].0, content, cache)
        })
    }

    /// Callers have checked that it is complete.
    pub(super) fn into_found(self, origin: Origin) -> FoundAll {
        FoundAll {
            name: self.spec.dataset.name().to_owned(),
            origin,
            files: self.found.into_iter().flatten().collect(),
        }
    }
}
