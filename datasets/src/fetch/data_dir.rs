//! The directory that the caller names, the only place whose files may be other than the published.

use std::path::{Path, PathBuf};

use super::files::{Found, FoundAll, locate, owner, read};
use super::{DataError, Log, Unverified};
use crate::catalog::{Dataset, Spec};
use crate::images::{Origin, Trust};

/// The files in the directory that the caller names; `None` if it has none of them.
pub(super) fn search(
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
    let mut holds_another = false;
    for place in places {
        let paths: Vec<Option<PathBuf>> =
            spec.files.iter().map(|file| locate(&place, file)).collect();
        if paths.iter().all(Option::is_none) {
            continue;
        }
        match read_all(spec, &place, paths, unverified)? {
            Contents::Wanted(found) => return Ok(Some(found)),
            Contents::Another(dataset) => {
                log.pass_over(&place.display().to_string(), &format!("holds {dataset}"));
                holds_another = true;
            }
        }
    }
    if !holds_another {
        let reason = format!("has no file of {}", spec.dataset);
        log.pass_over(&dir.display().to_string(), &reason);
    }
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
    let pairs = spec.files.iter().zip(&paths);
    let absent = pairs.filter(|(_, path)| path.is_none());
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
            if *unverified == Unverified::Refuse {
                return Err(found.mismatch(file));
            }
        }
        files.push(found);
    }
    let verified = files.iter().all(|found| found.trust == Trust::Verified);
    let name = match unverified {
        _ if verified => spec.dataset.name().to_owned(),
        // The published name alone is of the published bytes.
        Unverified::Accept { name: Some(name) } if name != spec.dataset.name() => name.clone(),
        _ => format!("{} (unverified)", spec.dataset),
    };
    let origin = Origin::DataDirectory(dir.to_owned());
    Ok(Contents::Wanted(FoundAll {
        name,
        origin,
        files,
    }))
}
