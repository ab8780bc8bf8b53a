//! The binary layout of CIFAR-10, after A. Krizhevsky's description of it on the CIFAR page.
//!
//! A file is a sequence of records and nothing else. A record is one byte of label, then 1024 bytes
//! each of red, green and blue, every plane row by row. The rest of this project keeps channels
//! last (NHWC), so pixels are transposed here.

use super::{FormatError, check_labels, check_length};

/// Rows and columns of an image.
pub const SIDE: usize = 32;
/// Red, green, blue.
pub const CHANNELS: usize = 3;

const PLANE: usize = SIDE * SIDE;
const IMAGE: usize = CHANNELS * PLANE;
const RECORD: usize = 1 + IMAGE;

/// Images (NHWC) and labels of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// `examples × 32 × 32 × 3`, row-major.
    pub images: Vec<u8>,
    /// One class per example.
    pub labels: Vec<u8>,
}

/// Bytes in a file of `examples` records.
pub(crate) fn file_size(examples: u32) -> u64 {
    u64::from(examples) * RECORD as u64
}

/// The records of a file that must hold exactly `examples` of them.
///
/// # Errors
/// Another length, or a label that is not below `classes`.
pub fn records(content: &[u8], examples: u32, classes: u8) -> Result<Records, FormatError> {
    check_length(content, file_size(examples))?;
    let labels: Vec<u8> = content.iter().step_by(RECORD).copied().collect();
    check_labels(&labels, classes)?;

    let mut images = vec![0; labels.len() * IMAGE];
    for (record, image) in content
        .chunks_exact(RECORD)
        .zip(images.chunks_exact_mut(IMAGE))
    {
        channels_last(&record[1..], image);
    }
    Ok(Records { images, labels })
}

fn channels_last(planes: &[u8], image: &mut [u8]) {
    for (channel, plane) in planes.chunks_exact(PLANE).enumerate() {
        for (pixel, &value) in image.chunks_exact_mut(CHANNELS).zip(plane) {
            pixel[channel] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(labels: &[u8]) -> Vec<u8> {
        let record = |(i, &label): (usize, &u8)| {
            let planes = (0..IMAGE).map(move |byte| (i * 7 + byte * 13 % 251) as u8);
            std::iter::once(label).chain(planes)
        };
        labels.iter().enumerate().flat_map(record).collect()
    }

    #[test]
    fn planes_become_channels_last() {
        let content = file(&[3, 9]);
        let found = records(&content, 2, 10).unwrap();
        assert_eq!(found.labels, [3, 9]);
        for example in 0..2 {
            for row in 0..32 {
                for column in 0..32 {
                    for channel in 0..3 {
                        let in_file =
                            content[example * 3073 + 1 + channel * 1024 + row * 32 + column];
                        let in_memory =
                            found.images[((example * 32 + row) * 32 + column) * 3 + channel];
                        assert_eq!(in_memory, in_file, "{example} {row} {column} {channel}");
                    }
                }
            }
        }
    }

    #[test]
    fn corrupt_files_are_named_errors() {
        let good = file(&[0, 1]);
        let truncated = |found| FormatError::Truncated {
            expected: 6146,
            found,
        };
        let cases = [
            ("empty", vec![], truncated(0)),
            ("cut in a record", good[..6145].to_vec(), truncated(6145)),
            ("a record missing", good[..3073].to_vec(), truncated(3073)),
            (
                "one byte too many",
                [&good[..], &[0]].concat(),
                FormatError::Oversized { expected: 6146 },
            ),
            (
                "label",
                file(&[9, 10]),
                FormatError::Label {
                    classes: 10,
                    found: 10,
                    example: 1,
                },
            ),
        ];
        for (name, content, expected) in cases {
            assert_eq!(records(&content, 2, 10), Err(expected), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            length in 0usize..2 * RECORD + 2,
            byte in any::<u8>(),
            examples in 0u32..4,
        ) {
            let _ = records(&vec![byte; length], examples, 10);
            let _ = records(&vec![byte; length], u32::MAX - examples, 10);
        }
    }
}
