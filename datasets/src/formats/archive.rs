//! Picking known files out of a tar archive, in memory.
//!
//! Names in the archive are only compared, never used as paths, so no archive can write outside its
//! place.

use std::io::Read;
use std::path::Path;

use super::{ReadError, read_plain_or_gzip};

/// A file to pick: its name without folders, and the bytes it has at most after unpacking.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name in the archive, in any folder; there it may also end in `.gz`.
    pub name: &'a str,
    /// Most bytes that it may have.
    pub size: u64,
}

/// Room for what else an archive holds: headers, a readme, the sources of a package.
const OTHER_CONTENT: u64 = 4 << 20;

/// Hands each of the `wanted` files of a tar archive to `sink`, by its index in `wanted`, unpacking
/// those that are gzip streams. What is not wanted is skipped; what is missing is not an error
/// here. `known` bytes have the files that are known to be in it, wanted or not.
///
/// # Errors
/// A broken archive, or one far larger than what is known of it; a file above its size; an error
/// of `sink`.
pub fn unpack<E: From<ReadError>>(
    archive: impl Read,
    known: u64,
    wanted: &[Wanted<'_>],
    mut sink: impl FnMut(usize, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(archive.take(known.saturating_add(OTHER_CONTENT)));
    for entry in archive.entries().map_err(ReadError::from)? {
        let entry = entry.map_err(ReadError::from)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(ReadError::from)?.into_owned();
        if let Some(index) = wanted.iter().position(|file| is_named(&path, file.name)) {
            sink(index, read_plain_or_gzip(entry, wanted[index].size)?)?;
        }
    }
    Ok(())
}

fn is_named(path: &Path, name: &str) -> bool {
    let file_name = path.file_name().and_then(|file_name| file_name.to_str());
    file_name.is_some_and(|file_name| file_name.strip_suffix(".gz").unwrap_or(file_name) == name)
}

#[cfg(test)]
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[cfg(test)]
mod tests {
    use super::super::{FormatError, gzip};
    use super::*;
    use proptest::prelude::*;

    const WANTED: [Wanted<'_>; 2] = [
        Wanted {
            name: "one",
            size: 4,
        },
        Wanted {
            name: "two",
            size: 8,
        },
    ];

    fn unpacked(archive: &[u8]) -> Result<Vec<(usize, Vec<u8>)>, ReadError> {
        let mut files = Vec::new();
        unpack(archive, 12, &WANTED, |index, content| {
            files.push((index, content));
            Ok(())
        })
        .map(|()| files)
    }

    #[test]
    fn wanted_files_are_found_in_any_folder_plain_or_gzipped() {
        let zipped = gzip(b"second");
        let archive = tar(&[
            ("readme", b"hello"),
            ("a/b/two.gz", &zipped),
            ("a/one", b"1"),
            ("a/onerous", b"x"),
        ]);
        assert_eq!(
            unpacked(&archive).unwrap(),
            [(1, b"second".to_vec()), (0, b"1".to_vec())]
        );
    }

    #[test]
    fn a_file_above_its_size_is_an_error() {
        let bomb = gzip(&[0; 1000]);
        for content in [&b"12345"[..], &bomb] {
            let error = unpacked(&tar(&[("one", content)])).unwrap_err();
            assert!(
                matches!(
                    error,
                    ReadError::Format(FormatError::Oversized { expected: 4 })
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn an_endless_archive_ends() {
        let header = &tar(&[("other", &[])])[..512];
        let endless = std::iter::repeat_n(header, 20_000)
            .flatten()
            .copied()
            .collect::<Vec<u8>>();
        let archive = [&endless[..], &tar(&[("one", b"1")])].concat();
        assert!(!matches!(unpacked(&archive), Ok(files) if !files.is_empty()));
    }

    #[test]
    fn what_is_known_and_not_wanted_is_skipped_however_large() {
        let large = vec![0; OTHER_CONTENT as usize];
        let archive = tar(&[("two", &large), ("three", &large), ("one", b"1")]);
        let last = |known| {
            let mut files = 0;
            let count = |_, _| {
                files += 1;
                Ok::<(), ReadError>(())
            };
            unpack(&archive[..], known, &WANTED[..1], count).map(|()| files)
        };
        assert_eq!(last(2 * OTHER_CONTENT + 4).unwrap(), 1);
        assert!(last(4).is_err());
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let archive = tar(&[("one", b"1234")]);
        assert!(unpacked(&archive[..514]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0usize..600, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut archive = tar(&[("one", b"1234"), ("two.gz", &gzip(b"x"))]);
            let end = (at + bytes.len()).min(archive.len());
            archive[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = unpacked(&archive);
        }
    }
}
