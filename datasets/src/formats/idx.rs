//! The IDX format of MNIST and Fashion-MNIST, after Y. LeCun's description of it on the MNIST page.
//!
//! A file is a magic number (two zero bytes, the element type, the number of dimensions), the
//! dimensions, and the elements row by row. All integers are big-endian and 32 bits wide; the
//! elements here are unsigned bytes.

use byteorder::{BigEndian, ByteOrder};

use super::{FormatError, check_labels, check_length};

/// Unsigned bytes, three dimensions: examples, rows, columns.
const IMAGES_MAGIC: u32 = 0x0000_0803;
/// Unsigned bytes, one dimension: examples.
const LABELS_MAGIC: u32 = 0x0000_0801;

/// Bytes in a file of `shape`: a word for the magic number and for each dimension, then the
/// elements. A shape of more elements than 64 bits can count is one that no file has.
pub(crate) fn file_size(shape: &[u32]) -> u64 {
    let sizes = shape.iter().map(|&size| u64::from(size));
    let elements = sizes.fold(1, u64::saturating_mul);
    elements.saturating_add(header_size(shape) as u64)
}

fn header_size(shape: &[u32]) -> usize {
    4 * (1 + shape.len())
}

/// The pixels of an image file whose header must state `shape` (examples, rows, columns):
/// row-major, one byte each.
///
/// # Errors
/// Another magic number or shape, or a file that does not end exactly after the last pixel.
pub fn images(content: &[u8], shape: [u32; 3]) -> Result<&[u8], FormatError> {
    elements(content, IMAGES_MAGIC, &shape)
}

/// The labels of a label file whose header must state `examples`.
///
/// # Errors
/// Another magic number or count, a file that does not end exactly after the last label, or a label
/// that is not below `classes`.
pub fn labels(content: &[u8], examples: u32, classes: u8) -> Result<&[u8], FormatError> {
    let labels = elements(content, LABELS_MAGIC, &[examples])?;
    check_labels(labels, classes)?;
    Ok(labels)
}

fn elements<'a>(content: &'a [u8], magic: u32, shape: &[u32]) -> Result<&'a [u8], FormatError> {
    let Some((header, elements)) = content.split_at_checked(header_size(shape)) else {
        return Err(FormatError::Truncated {
            expected: file_size(shape),
            found: content.len() as u64,
        });
    };
    let mut words = header.chunks_exact(4).map(BigEndian::read_u32);
    let found = words.next().unwrap_or_default();
    if found != magic {
        return Err(FormatError::Magic {
            expected: magic,
            found,
        });
    }
    let found: Vec<u32> = words.collect();
    if found != shape {
        return Err(FormatError::Shape {
            expected: shape.to_vec(),
            found,
        });
    }
    check_length(content, file_size(shape))?;
    Ok(elements)
}

/// A file of `shape` and `elements`, as the parser reads it.
#[cfg(test)]
pub(crate) fn file(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let magic = 0x0000_0800 | shape.len() as u32;
    let words = std::iter::once(&magic).chain(shape);
    let mut file: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    file.extend(elements);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_files_are_read() {
        let pixels: Vec<u8> = (0..12).collect();
        assert_eq!(
            images(&file(&[2, 3, 2], &pixels), [2, 3, 2]),
            Ok(&pixels[..])
        );
        assert_eq!(
            labels(&file(&[4], &[0, 9, 3, 1]), 4, 10),
            Ok(&[0, 9, 3, 1][..])
        );
        // The official sizes of MNIST's four files.
        let official = [
            &[60_000, 28, 28][..],
            &[60_000],
            &[10_000, 28, 28],
            &[10_000],
        ]
        .map(file_size);
        assert_eq!(official, [47_040_016, 60_008, 7_840_016, 10_008]);
    }

    #[test]
    fn corrupt_files_are_named_errors() {
        let good = file(&[2, 1, 2], &[1, 2, 3, 4]);
        let truncated = |found| FormatError::Truncated {
            expected: 20,
            found,
        };
        let shape = |found: [u32; 3]| FormatError::Shape {
            expected: vec![2, 1, 2],
            found: found.to_vec(),
        };
        let cases: [(&str, Vec<u8>, FormatError); 8] = [
            ("empty", vec![], truncated(0)),
            ("cut in the header", good[..15].to_vec(), truncated(15)),
            ("cut in the pixels", good[..19].to_vec(), truncated(19)),
            (
                "one byte too many",
                [&good[..], &[0]].concat(),
                FormatError::Oversized { expected: 20 },
            ),
            (
                "labels for images",
                file(&[2], &[0; 16]),
                FormatError::Magic {
                    expected: 0x803,
                    found: 0x801,
                },
            ),
            (
                "fewer examples",
                file(&[1, 1, 2], &[1, 2]),
                shape([1, 1, 2]),
            ),
            (
                "transposed",
                file(&[2, 2, 1], &[1, 2, 3, 4]),
                shape([2, 2, 1]),
            ),
            (
                "a count to allocate",
                file(&[u32::MAX; 3], &[]),
                shape([u32::MAX; 3]),
            ),
        ];
        for (name, content, expected) in cases {
            assert_eq!(images(&content, [2, 1, 2]), Err(expected), "{name}");
        }
    }

    #[test]
    fn shapes_beyond_counting_are_errors() {
        let endless = [u32::MAX; 3];
        let truncated = |found| FormatError::Truncated {
            expected: u64::MAX,
            found,
        };
        assert_eq!(images(&[], endless), Err(truncated(0)));
        assert_eq!(images(&file(&endless, &[1]), endless), Err(truncated(17)));
    }

    #[test]
    fn labels_are_classes() {
        let expected = FormatError::Label {
            classes: 10,
            found: 10,
            example: 2,
        };
        assert_eq!(labels(&file(&[3], &[0, 9, 10]), 3, 10), Err(expected));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            examples in any::<u32>(),
        ) {
            let _ = images(&bytes, [examples, 28, 28]);
            let _ = labels(&bytes, examples, 10);
        }
    }
}
