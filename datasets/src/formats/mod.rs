//! Parsers of the files that the data sets come in. None of them trusts a byte.
//!
//! Invariants, fuzzed in `repro/fuzz`: no input panics; no buffer is allocated from a count that
//! the input states; and no more than the caller's limit is unpacked, whatever a gzip stream or an
//! archive promises.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

pub mod archive;
pub mod cifar10;
pub mod idx;

/// What is wrong with the content of a file. The path is added by whoever opened it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// The file ends too early.
    #[error("truncated: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes that a whole file has.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file (unpacked, if it is compressed) goes on after its end.
    #[error("oversized: expected {expected} bytes, found more")]
    Oversized {
        /// Bytes that a whole file has.
        expected: u64,
    },
    /// The gzip stream is broken.
    #[error(
        "broken gzip stream: expected {expected} bytes after unpacking, found {found} before: {reason}"
    )]
    Gzip {
        /// Bytes that a whole file unpacks to.
        expected: u64,
        /// Bytes that were unpacked before the fault.
        found: u64,
        /// What the decoder says.
        reason: String,
    },
    /// The first four bytes are not those of the format.
    #[error("wrong magic number: expected {expected:#010x}, found {found:#010x}")]
    Magic {
        /// Magic number of the format.
        expected: u32,
        /// First four bytes of the file, big-endian.
        found: u32,
    },
    /// The header states another shape than the data set has.
    #[error("wrong shape: expected {expected:?}, found {found:?}")]
    Shape {
        /// Shape of the data set: examples, and for images rows and columns.
        expected: Vec<u32>,
        /// Shape that the header states.
        found: Vec<u32>,
    },
    /// A label is not a class of the data set.
    #[error("label out of range: expected 0 to {}, found {found} at example {example}", classes - 1)]
    Label {
        /// Classes of the data set, at least 1.
        classes: u8,
        /// The label.
        found: u8,
        /// Index of the example in the file, from 0.
        example: usize,
    },
}

/// A fault of the file's content, or of reading it.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The content is not what it should be.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The content could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a file of at most `size` bytes, unpacking it if it starts like a gzip stream (whatever its
/// name is).
///
/// At most `size + 1` bytes are ever unpacked, and memory grows only with the bytes that are really
/// there.
///
/// # Errors
/// More than `size` bytes, a broken gzip stream, or a failure of `reader`.
pub fn read_plain_or_gzip(mut reader: impl Read, size: u64) -> Result<Vec<u8>, ReadError> {
    const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

    let mut head = Vec::with_capacity(2);
    reader.by_ref().take(2).read_to_end(&mut head)?;
    let gzip = head == GZIP_MAGIC;
    let whole = Cursor::new(head).chain(reader);

    let mut content = Vec::new();
    if gzip {
        let unpacked = MultiGzDecoder::new(whole)
            .take(size.saturating_add(1))
            .read_to_end(&mut content);
        unpacked.map_err(|error| gzip_error(error, size, content.len() as u64))?;
    } else {
        whole
            .take(size.saturating_add(1))
            .read_to_end(&mut content)?;
    }
    if content.len() as u64 > size {
        return Err(FormatError::Oversized { expected: size }.into());
    }
    Ok(content)
}

/// The decoder reports a broken stream as one of three kinds of I/O error; any other comes from the
/// reader below it.
fn gzip_error(error: io::Error, expected: u64, found: u64) -> ReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            FormatError::Gzip {
                expected,
                found,
                reason: error.to_string(),
            }
            .into()
        }
        _ => error.into(),
    }
}

/// Errors unless `content` has exactly `expected` bytes.
fn check_length(content: &[u8], expected: u64) -> Result<(), FormatError> {
    let found = content.len() as u64;
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(FormatError::Truncated { expected, found }),
        std::cmp::Ordering::Greater => Err(FormatError::Oversized { expected }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// Errors at the first label that is not below `classes`.
fn check_labels(labels: &[u8], classes: u8) -> Result<(), FormatError> {
    match labels.iter().position(|&label| label >= classes) {
        Some(example) => Err(FormatError::Label {
            classes,
            found: labels[example],
            example,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format_error(result: Result<Vec<u8>, ReadError>) -> FormatError {
        match result {
            Err(ReadError::Format(error)) => error,
            other => panic!("expected a format error, found {other:?}"),
        }
    }

    #[test]
    fn plain_and_gzip_read_alike() {
        for content in [&b""[..], b"a", b"ab", b"abcdef"] {
            let size = content.len() as u64;
            assert_eq!(read_plain_or_gzip(content, size).unwrap(), content);
            assert_eq!(
                read_plain_or_gzip(&gzip(content)[..], size).unwrap(),
                content
            );
        }
    }

    #[test]
    fn a_gzip_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            format_error(read_plain_or_gzip(&bomb[..], 16)),
            FormatError::Oversized { expected: 16 }
        );
        assert_eq!(
            format_error(read_plain_or_gzip(&[0; 17][..], 16)),
            FormatError::Oversized { expected: 16 }
        );
    }

    #[test]
    fn broken_gzip_streams_are_errors() {
        let whole = gzip(b"some content");
        let truncated = &whole[..whole.len() - 9];
        let mut garbage_after = whole.clone();
        garbage_after.extend(b"garbage");
        let mut wrong_checksum = whole.clone();
        let checksum = whole.len() - 8;
        wrong_checksum[checksum] ^= 1;
        for broken in [truncated, &garbage_after, &wrong_checksum, &whole[..2]] {
            let error = format_error(read_plain_or_gzip(broken, 100));
            assert!(
                matches!(error, FormatError::Gzip { expected: 100, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_failing_reader_is_not_blamed_on_the_format() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let result = read_plain_or_gzip((&[0x1f, 0x8b][..]).chain(Failing), 100);
        assert!(matches!(result, Err(ReadError::Io(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            gzip in any::<bool>(),
            size in 0u64..50,
        ) {
            if gzip && bytes.len() > 3 {
                bytes[..3].copy_from_slice(&[0x1f, 0x8b, 8]);
            }
            if let Ok(content) = read_plain_or_gzip(&bytes[..], size) {
                prop_assert!(content.len() as u64 <= size);
            }
        }
    }
}
