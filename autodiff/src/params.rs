//! Parameters: one flat vector with named views.

use crate::{Error, Real, Shape};
use aligned_vec::{AVec, ConstAlign};
use std::ops::Range;

/// A buffer whose start lies on a cache line, so that full vectors never
/// straddle two.
pub(crate) type Buffer<T> = AVec<T, ConstAlign<64>>;

/// No elements; allocates nothing.
pub(crate) fn empty<T: Real>() -> Buffer<T> {
    Buffer::new(64)
}

pub(crate) fn zeros<T: Real>(len: usize) -> Buffer<T> {
    AVec::from_iter(64, std::iter::repeat_n(T::zero(), len))
}

/// A flat vector of gradients.
///
/// Its alignment differs from that of the parameters, so that large vectors of both
/// do not lie a multiple of 4 KiB apart: an optimiser that walks them side by side
/// would have each load wait for an unrelated store ("4K aliasing" in Agner Fog's
/// *Microarchitecture*).
pub type GradientVector<T> = AVec<T, ConstAlign<128>>;

/// Where one parameter lies in the flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    pub(crate) offset: usize,
    pub(crate) shape: Shape,
}

impl Param {
    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its place in the flat vector of parameters, and of gradients.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.elements()
    }
}

/// All parameters of a model in one flat vector.
///
/// An optimiser, a checkpoint or a norm sees one slice; a model sees named
/// tensors. Gradients come in a vector of the same layout.
#[derive(Clone, Debug)]
pub struct Params<T> {
    values: Buffer<T>,
    // Invariant: offsets are consecutive, so that the entries tile `values`.
    entries: Vec<(String, Param)>,
}

impl<T: Real> Default for Params<T> {
    fn default() -> Self {
        Self {
            values: empty(),
            entries: Vec::new(),
        }
    }
}

impl<T: Real> Params<T> {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a parameter whose elements, in row-major order, come from `fill`.
    ///
    /// # Errors
    /// [`Error::DuplicateName`].
    pub fn add(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Shape>,
        mut fill: impl FnMut() -> T,
    ) -> Result<Param, Error> {
        let name = name.into();
        if self.get(&name).is_some() {
            return Err(Error::DuplicateName(name));
        }
        let param = Param {
            offset: self.values.len(),
            shape: shape.into(),
        };
        for _ in 0..param.shape.elements() {
            self.values.push(fill());
        }
        self.entries.push((name, param));
        Ok(param)
    }

    /// Number of scalars in all parameters together.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The flat vector.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The flat vector, to update.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The elements of one parameter, row-major.
    ///
    /// # Panics
    /// If `param` is of other parameters and reaches beyond the end of these.
    pub fn view(&self, param: Param) -> &[T] {
        &self.values[param.range()]
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<Param> {
        let (_, param) = self.entries.iter().find(|(n, _)| n == name)?;
        Some(*param)
    }

    /// Name and place of every parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Param)> {
        self.entries
            .iter()
            .map(|(name, param)| (name.as_str(), *param))
    }

    /// A vector of zeros in the layout of the parameters, for their gradients.
    pub fn zeros_like(&self) -> GradientVector<T> {
        AVec::from_iter(128, std::iter::repeat_n(T::zero(), self.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_tile_one_vector() {
        let mut params = Params::new();
        let mut next = 0.0;
        let mut count = || {
            next += 1.0;
            next
        };
        let w = params.add("w", [2, 3], &mut count).unwrap();
        let b = params.add("b", [3], &mut count).unwrap();
        assert_eq!((w.range(), b.range()), (0..6, 6..9));
        assert_eq!(params.view(b), [7.0, 8.0, 9.0]);
        assert_eq!(params.get("b"), Some(b));
        assert_eq!(params.values().as_ptr() as usize % 64, 0);
    }

    #[test]
    fn names_are_unique() {
        let mut params = Params::<f32>::new();
        params.add("w", [1], || 0.0).unwrap();
        let again = params.add("w", [2], || 0.0);
        assert_eq!(again, Err(Error::DuplicateName("w".to_owned())));
        assert_eq!(params.len(), 1);
    }
}
