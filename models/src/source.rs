//! Where the initial values of a network's kernels come from.

use autodiff::Real;
use autodiff::init::{self, Fill};
use rand::Rng;

/// The fills of `autodiff::init`, by whoever has what they need.
pub(crate) trait Source {
    fn standard_normal<T: Real>(&mut self) -> Fill<'_, T>;
    fn truncated_normal<T: Real>(&mut self, deviation: f64) -> Fill<'_, T>;
    fn glorot_uniform<T: Real>(&mut self, fan_in: usize, fan_out: usize) -> Fill<'_, T>;
}

/// A random generator, whose draws they are.
pub(crate) struct Drawn<'r, R>(pub &'r mut R);

impl<R: Rng> Source for Drawn<'_, R> {
    fn standard_normal<T: Real>(&mut self) -> Fill<'_, T> {
        init::standard_normal(self.0)
    }

    fn truncated_normal<T: Real>(&mut self, deviation: f64) -> Fill<'_, T> {
        init::truncated_normal(deviation, self.0)
    }

    fn glorot_uniform<T: Real>(&mut self, fan_in: usize, fan_out: usize) -> Fill<'_, T> {
        init::glorot_uniform(fan_in, fan_out, self.0)
    }
}

/// Nothing: zeros, for values that are known already to be written over.
pub(crate) struct Zeros;

impl Source for Zeros {
    fn standard_normal<T: Real>(&mut self) -> Fill<'_, T> {
        init::zeros()
    }

    fn truncated_normal<T: Real>(&mut self, _: f64) -> Fill<'_, T> {
        init::zeros()
    }

    fn glorot_uniform<T: Real>(&mut self, _: usize, _: usize) -> Fill<'_, T> {
        init::zeros()
    }
}
