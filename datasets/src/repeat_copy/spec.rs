//! What examples are drawn from.

use thiserror::Error;

/// The ranges that examples are drawn from. The default is the paper's, which is the repository's:
/// 4 bits, lengths and repetitions 1 to 2, batches of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatCopySpec {
    /// Bits of one step of a pattern.
    pub bits: usize,
    /// Fewest steps of a pattern.
    pub min_length: usize,
    /// Most steps of a pattern; each length from the fewest to the most is equally likely.
    pub max_length: usize,
    /// Fewest repetitions.
    pub min_repeats: usize,
    /// Most repetitions; each number from the fewest to the most is equally likely.
    pub max_repeats: usize,
    /// Examples in a batch.
    pub batch: usize,
}

impl Default for RepeatCopySpec {
    fn default() -> Self {
        Self {
            bits: 4,
            min_length: 1,
            max_length: 2,
            min_repeats: 1,
            max_repeats: 2,
            batch: 16,
        }
    }
}

impl RepeatCopySpec {
    /// Channels of an observation: the bits, the start flag, the number of repetitions.
    pub fn observation_channels(&self) -> usize {
        self.bits + 2
    }

    /// Channels of a target: the bits, the end flag.
    pub fn target_channels(&self) -> usize {
        self.bits + 1
    }

    pub(super) fn check(&self) -> Result<(), RepeatCopyError> {
        let sizes = [
            ("bits", self.bits),
            ("min_length", self.min_length),
            ("min_repeats", self.min_repeats),
            ("batch", self.batch),
        ];
        for (field, size) in sizes {
            if size == 0 {
                return Err(RepeatCopyError::Zero { field });
            }
        }
        let ranges = [
            ("length", self.min_length, self.max_length),
            ("repeats", self.min_repeats, self.max_repeats),
        ];
        for (range, min, max) in ranges {
            if min > max {
                return Err(RepeatCopyError::EmptyRange { range, min, max });
            }
        }
        self.observations_of_longest()
            .map(|_| ())
            .ok_or(RepeatCopyError::TooLarge { spec: *self })
    }

    /// Numbers in the observations of the largest batch, if memory can hold them.
    fn observations_of_longest(&self) -> Option<usize> {
        let copies = self.max_repeats.checked_add(1)?;
        let steps = self.max_length.checked_mul(copies)?.checked_add(3)?;
        let elements = steps
            .checked_mul(self.batch)?
            .checked_mul(self.bits.checked_add(2)?)?;
        (elements <= isize::MAX as usize / size_of::<f32>()).then_some(elements)
    }
}

/// A [`RepeatCopySpec`] from which nothing can be drawn.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RepeatCopyError {
    /// A number that has to be at least 1.
    #[error("repeat copy: `{field}` is 0, expected at least 1")]
    Zero {
        /// The field of [`RepeatCopySpec`].
        field: &'static str,
    },
    /// A range with no number in it.
    #[error(
        "repeat copy: `min_{range}` is {min} and `max_{range}` is {max}, expected a maximum of at least the minimum"
    )]
    EmptyRange {
        /// `length` or `repeats`.
        range: &'static str,
        /// The field `min_…`.
        min: usize,
        /// The field `max_…`.
        max: usize,
    },
    /// A batch would not fit into memory.
    #[error("repeat copy: a batch of the longest examples does not fit into memory: {spec:?}")]
    TooLarge {
        /// What was asked for.
        spec: RepeatCopySpec,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_specs_are_errors() {
        let base = RepeatCopySpec::default();
        let zero = |field| RepeatCopyError::Zero { field };
        let huge = RepeatCopySpec {
            max_length: usize::MAX,
            ..base
        };
        let cases = [
            (RepeatCopySpec { bits: 0, ..base }, zero("bits")),
            (RepeatCopySpec { batch: 0, ..base }, zero("batch")),
            (
                RepeatCopySpec {
                    min_length: 0,
                    ..base
                },
                zero("min_length"),
            ),
            (
                RepeatCopySpec {
                    min_repeats: 0,
                    ..base
                },
                zero("min_repeats"),
            ),
            (
                RepeatCopySpec {
                    min_length: 3,
                    ..base
                },
                RepeatCopyError::EmptyRange {
                    range: "length",
                    min: 3,
                    max: 2,
                },
            ),
            (
                RepeatCopySpec {
                    max_repeats: 0,
                    ..base
                },
                RepeatCopyError::EmptyRange {
                    range: "repeats",
                    min: 1,
                    max: 0,
                },
            ),
            (huge, RepeatCopyError::TooLarge { spec: huge }),
        ];
        for (spec, expected) in cases {
            assert_eq!(spec.check(), Err(expected), "{spec:?}");
        }
    }
}
