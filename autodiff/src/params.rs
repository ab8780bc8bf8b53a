//! Parameters: one flat vector with named views.

use crate::memory::{Buffer, empty};
use crate::{Error, Real, Shape};
use aligned_vec::{AVec, ConstAlign};
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicU64, Ordering};

/// A flat vector of gradients, in the layout of the [`Params`] that it belongs to.
///
/// It starts on another alignment than the parameters. Large vectors of both would
/// otherwise often lie a multiple of 4 KiB apart, and an optimiser that walks them side
/// by side would have each load wait for an unrelated store ("4K aliasing" in Agner Fog's
/// *Microarchitecture*). Whether it helps is up to the allocator; with glibc's it does.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientVector<T>(AVec<T, ConstAlign<128>>);

impl<T> Deref for GradientVector<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for GradientVector<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// The handle of one parameter: its shape, and its range in the flat vector.
///
/// No two parameters are equal, even of different [`Params`]: a tape recorded with one
/// refuses to run with another that lies in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    pub(crate) id: u64,
    pub(crate) offset: usize,
    pub(crate) shape: Shape,
}

impl Param {
    fn new(offset: usize, shape: Shape) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, offset, shape }
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its range in the flat vector of parameters, and of gradients.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.elements()
    }
}

/// All parameters of a model in one flat vector.
///
/// An optimiser, a checkpoint or a norm sees one slice; a model sees named tensors.
/// Gradients come in a vector of the same layout. A clone holds the same parameters
/// with values of its own: what was recorded with the one runs with the other.
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
    /// [`Error::DuplicateName`]; [`Error::TooLarge`] if memory cannot hold it.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Shape>,
        mut fill: impl FnMut() -> T,
    ) -> Result<Param, Error> {
        let (name, shape) = (name.into(), shape.into());
        if self.get(&name).is_some() {
            return Err(Error::DuplicateName(name));
        }
        let elements = shape
            .elements_in_memory::<T>()
            .filter(|&elements| self.values.try_reserve(elements).is_ok());
        let Some(elements) = elements else {
            return Err(Error::TooLarge { name, shape });
        };
        let param = Param::new(self.values.len(), shape);
        for _ in 0..elements {
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
    /// If `param` is of other parameters.
    #[track_caller]
    pub fn view(&self, param: Param) -> &[T] {
        assert!(self.contains(param), "a parameter of other Params");
        &self.values[param.range()]
    }

    /// The elements of one parameter, to update.
    ///
    /// # Panics
    /// If `param` is of other parameters.
    #[track_caller]
    pub fn view_mut(&mut self, param: Param) -> &mut [T] {
        assert!(self.contains(param), "a parameter of other Params");
        &mut self.values[param.range()]
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<Param> {
        let (_, param) = self.entries.iter().find(|(n, _)| n == name)?;
        Some(*param)
    }

    /// Copies values, row-major, into the parameter of this name: one that was saved, or
    /// trained elsewhere. Its elements are `view(get(name)?)`.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Length`] if there is not one value for each element.
    pub fn set(&mut self, name: &str, values: &[T]) -> Result<(), Error> {
        let param = self.get(name);
        let param = param.ok_or_else(|| Error::UnknownName(name.to_owned()))?;
        let elements = &mut self.values[param.range()];
        Error::check_length("values of a parameter", elements.len(), values.len())?;
        elements.copy_from_slice(values);
        Ok(())
    }

    /// Name and place of every parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Param)> {
        self.entries
            .iter()
            .map(|(name, param)| (name.as_str(), *param))
    }

    /// A vector of zeros in the layout of the parameters, for their gradients.
    pub fn zeros_like(&self) -> GradientVector<T> {
        GradientVector(AVec::from_iter(
            128,
            std::iter::repeat_n(T::zero(), self.len()),
        ))
    }

    /// Whether `param` is one of these.
    pub(crate) fn contains(&self, param: Param) -> bool {
        // Ids grow with offsets: entries are appended only.
        let found = self.entries.binary_search_by_key(&param.id, |(_, p)| p.id);
        found.is_ok_and(|i| self.entries[i].1 == param)
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
        params.view_mut(b)[1] = -1.0;
        assert_eq!(params.values()[7], -1.0);
        assert_eq!(params.get("b"), Some(b));
        params.set("b", &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(params.view(b), [1.0, 2.0, 3.0]);
        let unknown = params.set("c", &[]).unwrap_err();
        assert_eq!(unknown, Error::UnknownName("c".to_owned()));
        assert!(matches!(
            params.set("b", &[1.0]),
            Err(Error::Length {
                expected: 3,
                found: 1,
                ..
            })
        ));
        assert_eq!(params.view(b), [1.0, 2.0, 3.0]);
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

    #[test]
    fn what_memory_cannot_hold_is_an_error_at_once() {
        let mut params = Params::<f64>::new();
        for shape in [Shape::from([1 << 46]), Shape::from([1 << 40, 1 << 40])] {
            let error = params.add("w", shape, || 0.0).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("\"w\"") && message.contains(&shape.to_string()),
                "{message}"
            );
        }
        assert!(params.is_empty());
    }

    #[test]
    #[should_panic(expected = "a parameter of other Params")]
    fn a_parameter_of_other_params_has_no_view_here() {
        let (mut a, mut b) = (Params::<f64>::new(), Params::<f64>::new());
        a.add("x", [2], || 0.0).unwrap();
        let x = b.add("x", [2], || 1.0).unwrap();
        a.view(x);
    }
}
