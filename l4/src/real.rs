//! The two number types of the crate.

use alloc::string::ToString;
use core::fmt::{Debug, Display};

use num_traits::Float;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`: the type of losses, parameters and gradients.
pub trait Real: Float + Default + Debug + Display + Send + Sync + 'static + sealed::Sealed {
    /// The largest magnitude whose square is finite; gradient elements beyond it are refused, so
    /// that no second moment can overflow.
    const LARGEST: Self;

    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The same number, exactly.
    fn as_f64(self) -> f64;

    /// The shortest decimal that is read as this number, in `f64`: 0.1 for the `f32` nearest to it,
    /// where [`as_f64`](Self::as_f64) gives 0.10000000149.
    fn shortest(self) -> f64 {
        // `Display` writes the shortest decimal, and `f64` reads all that it writes.
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl Real for f32 {
    // (1 − 2⁻²⁴)·2⁶⁴, the float before 2⁶⁴ = √2¹²⁸.
    const LARGEST: f32 = f32::from_bits(0x5f7f_ffff);

    #[inline(always)]
    fn of(value: f64) -> f32 {
        value as f32
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    // (1 − 2⁻⁵³)·2⁵¹², the float before 2⁵¹² = √2¹⁰²⁴.
    const LARGEST: f64 = f64::from_bits(0x5fef_ffff_ffff_ffff);

    #[inline(always)]
    fn of(value: f64) -> f64 {
        value
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_is_the_last_number_with_a_finite_square() {
        assert!((f32::LARGEST * f32::LARGEST).is_finite());
        assert!(!(f32::LARGEST.next_up() * f32::LARGEST.next_up()).is_finite());
        assert!((f64::LARGEST * f64::LARGEST).is_finite());
        assert!(!(f64::LARGEST.next_up() * f64::LARGEST.next_up()).is_finite());
    }
}
