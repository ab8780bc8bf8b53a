//! The state of a run as named arrays, stored as a [safetensors](https://huggingface.co/docs/safetensors) file.
//!
//! PyTorch reads the weights back by name: `safetensors.torch.load_file("checkpoint.safetensors")["w1"]`.
//!
//! Every value keeps its bits. The file carries a SHA-256 of all that it holds, so that one which was cut short or altered
//! is refused and never trained on.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::json::hex;

/// All that a run needs to go on: weights, optimiser state, random streams, position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    arrays: BTreeMap<String, Array>,
}

/// An array of any rank; rank 0 is a scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

/// The elements of an array, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Counters and the words of random streams.
    U64(Vec<u64>),
}

/// The element types of a checkpoint: `f32`, `f64` and `u64`.
///
/// `u64` is stored as `I64`, bit by bit, as that is the widest integer which every version of PyTorch loads.
pub trait Element: sealed::Element {}

mod sealed {
    use super::Data;

    pub trait Element: Copy {
        const NAME: &str;
        fn wrap(values: Vec<Self>) -> Data;
        fn unwrap(data: &Data) -> Option<&[Self]>;
    }
}

macro_rules! element {
    ($type:ident, $variant:ident) => {
        impl Element for $type {}
        impl sealed::Element for $type {
            const NAME: &str = stringify!($type);
            fn wrap(values: Vec<Self>) -> Data {
                Data::$variant(values)
            }
            fn unwrap(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(values) = data {
                    Some(values)
                } else {
                    None
                }
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(u64, U64);

/// A checkpoint that does not hold what the experiment expects of it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No array of that name.
    #[error("the checkpoint has no `{name}`; it has {present}")]
    Missing {
        /// The array asked for.
        name: String,
        /// The names that are there.
        present: String,
    },
    /// Another element type.
    #[error("`{name}` in the checkpoint is {found}, not {expected}")]
    Type {
        /// The array asked for.
        name: String,
        /// The type asked for.
        expected: &'static str,
        /// The type that is there.
        found: &'static str,
    },
    /// Another number of elements.
    #[error("`{name}` in the checkpoint has {found} elements, not {expected}")]
    Length {
        /// The array asked for.
        name: String,
        /// The number asked for.
        expected: usize,
        /// The number that is there.
        found: usize,
    },
}

impl Checkpoint {
    /// Stores `values` under `name`.
    ///
    /// # Panics
    /// If the shape does not hold that many values, or the name is taken: errors of the experiment's author.
    pub fn put<T: Element>(&mut self, name: impl Into<String>, shape: &[usize], values: &[T]) {
        let name = name.into();
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "shape {shape:?} of `{name}`"
        );
        let array = Array {
            shape: shape.to_vec(),
            data: T::wrap(values.to_vec()),
        };
        assert!(!self.arrays.contains_key(&name), "`{name}` is stored twice");
        self.arrays.insert(name, array);
    }

    /// Stores one value under `name`, as an array of rank 0.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn put_scalar<T: Element>(&mut self, name: impl Into<String>, value: T) {
        self.put(name, &[], &[value]);
    }

    /// The elements of an array, in row-major order.
    ///
    /// # Errors
    /// If there is no such array, or its elements are of another type.
    pub fn values<T: Element>(&self, name: &str) -> Result<&[T], CheckpointError> {
        let array = self
            .arrays
            .get(name)
            .ok_or_else(|| CheckpointError::Missing {
                name: name.to_owned(),
                present: self.arrays.keys().cloned().collect::<Vec<_>>().join(", "),
            })?;
        T::unwrap(&array.data).ok_or_else(|| CheckpointError::Type {
            name: name.to_owned(),
            expected: T::NAME,
            found: array.data.type_name(),
        })
    }

    /// Copies an array into `target`.
    ///
    /// # Errors
    /// As [`values`](Self::values), and if the lengths differ.
    pub fn read_into<T: Element>(
        &self,
        name: &str,
        target: &mut [T],
    ) -> Result<(), CheckpointError> {
        let values = self.values(name)?;
        if values.len() != target.len() {
            let (expected, found) = (target.len(), values.len());
            return Err(CheckpointError::Length {
                name: name.to_owned(),
                expected,
                found,
            });
        }
        target.copy_from_slice(values);
        Ok(())
    }

    /// A value that was stored by [`put_scalar`](Self::put_scalar).
    ///
    /// # Errors
    /// As [`values`](Self::values), and if there is not exactly one.
    pub fn scalar<T: Element + Default>(&self, name: &str) -> Result<T, CheckpointError> {
        let mut value = [T::default()];
        self.read_into(name, &mut value)?;
        Ok(value[0])
    }

    /// The names and arrays, sorted by name.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays
            .iter()
            .map(|(name, array)| (name.as_str(), array))
    }

    fn digest(&self, header: &Header) -> String {
        let mut digest = Sha256::new();
        digest.update(format!("{header:?}"));
        for (name, array) in &self.arrays {
            digest.update(format!(
                "{name:?} {} {:?}",
                array.data.type_name(),
                array.shape
            ));
            digest.update(View::data(&array));
        }
        hex(&digest.finalize())
    }
}

impl Array {
    /// The size along each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl Data {
    fn type_name(&self) -> &'static str {
        match self {
            Data::F32(_) => "f32",
            Data::F64(_) => "f64",
            Data::U64(_) => "u64",
        }
    }
}

impl View for &Array {
    fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::U64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.data {
            Data::F32(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Data::F64(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Data::U64(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    fn data_len(&self) -> usize {
        let width = if let Data::F32(_) = self.data { 4 } else { 8 };
        width * self.shape.iter().product::<usize>()
    }
}

/// What the runner adds to an experiment's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Version of the layout of this header.
    pub format: u32,
    /// [`RunSpec::id`](crate::engine::run::RunSpec::id) of the run it belongs to.
    pub run: String,
    /// Steps done.
    pub position: u64,
    /// Length of `metrics.jsonl` at this position.
    pub metrics_bytes: u64,
    /// The SHA-256 of as much of it.
    pub metrics_sha256: String,
}

/// The one entry of the file's metadata, as JSON. One entry, because safetensors writes several in random order.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(flatten)]
    header: Header,
    sha256: String,
}

const METADATA_KEY: &str = "run";

/// Bytes that are not a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(transparent)]
    SafeTensors(#[from] SafeTensorError),
    #[error("metadata: {0}")]
    Header(#[from] serde_json::Error),
    #[error("no metadata `{METADATA_KEY}`: not a checkpoint of a run")]
    NoHeader,
    #[error("`{0}` has elements of type {1}")]
    Dtype(String, Dtype),
    #[error("its content has the SHA-256 {found}, but was written with {expected}")]
    Digest { expected: String, found: String },
}

pub(crate) fn to_bytes(checkpoint: &Checkpoint, header: &Header) -> Result<Vec<u8>, FormatError> {
    let envelope = Envelope {
        header: header.clone(),
        sha256: checkpoint.digest(header),
    };
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), serde_json::to_string(&envelope)?)]);
    Ok(safetensors::serialize(&checkpoint.arrays, Some(metadata))?)
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<(Checkpoint, Header), FormatError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let metadata = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(METADATA_KEY));
    let envelope: Envelope = serde_json::from_str(metadata.ok_or(FormatError::NoHeader)?)?;

    let mut checkpoint = Checkpoint::default();
    for (name, view) in tensors.iter() {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(elements(bytes, f32::from_le_bytes)),
            Dtype::F64 => Data::F64(elements(bytes, f64::from_le_bytes)),
            Dtype::I64 => Data::U64(elements(bytes, u64::from_le_bytes)),
            other => return Err(FormatError::Dtype(name.to_owned(), other)),
        };
        checkpoint.arrays.insert(
            name.to_owned(),
            Array {
                shape: view.shape().to_vec(),
                data,
            },
        );
    }
    let found = checkpoint.digest(&envelope.header);
    if found != envelope.sha256 {
        return Err(FormatError::Digest {
            expected: envelope.sha256,
            found,
        });
    }
    Ok((checkpoint, envelope.header))
}

fn elements<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| from(*chunk))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Checkpoint, Header) {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put(
            "w1",
            &[2, 3],
            &[
                1.5_f32,
                -0.0,
                f32::MIN_POSITIVE / 2.0,
                f32::INFINITY,
                0.1,
                7.0,
            ],
        );
        checkpoint.put("adam.v", &[2], &[0.1_f64, f64::EPSILON]);
        checkpoint.put_scalar("lmin", f64::NEG_INFINITY);
        checkpoint.put_scalar("step", u64::MAX);
        checkpoint.put::<f32>("empty", &[0, 4], &[]);
        let header = Header {
            format: 1,
            run: "a1b2".into(),
            position: 7,
            metrics_bytes: 99,
            metrics_sha256: "c3d4".into(),
        };
        (checkpoint, header)
    }

    #[test]
    fn a_checkpoint_comes_back_bit_by_bit() {
        let (checkpoint, header) = sample();
        let bytes = to_bytes(&checkpoint, &header).unwrap();
        assert_eq!(
            bytes,
            to_bytes(&checkpoint, &header).unwrap(),
            "the file is a function of the state"
        );

        let (read, read_header) = from_bytes(&bytes).unwrap();
        assert_eq!((&read, read_header), (&checkpoint, header));
        assert!(read.values::<f32>("w1").unwrap()[1].is_sign_negative());
        assert_eq!(read.scalar::<u64>("step").unwrap(), u64::MAX);
        assert_eq!(read.scalar::<f64>("lmin").unwrap(), f64::NEG_INFINITY);
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_the_damage_is() {
        let (checkpoint, header) = sample();
        let bytes = to_bytes(&checkpoint, &header).unwrap();
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "cut to {length}");
        }
        for position in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[position] ^= 1;
            let unseen =
                from_bytes(&bytes).is_ok_and(|read| read != (checkpoint.clone(), header.clone()));
            assert!(!unseen, "a flipped bit in byte {position} went unseen");
        }
    }

    #[test]
    fn an_array_that_does_not_fit_is_named() {
        let (checkpoint, _) = sample();
        let says =
            |error: CheckpointError, text| assert!(error.to_string().contains(text), "{error}");
        says(
            checkpoint.values::<f32>("w2").unwrap_err(),
            "no `w2`; it has adam.v, empty, lmin, step, w1",
        );
        says(
            checkpoint.values::<f64>("w1").unwrap_err(),
            "`w1` in the checkpoint is f32, not f64",
        );
        says(
            checkpoint.read_into("w1", &mut [0_f32; 5]).unwrap_err(),
            "`w1` in the checkpoint has 6 elements, not 5",
        );
    }
}
