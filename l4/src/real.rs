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

    /// The smallest magnitude whose square is a normal number with the weight of a second moment,
    /// 1 − β₂ = 1/1000; what is below it has no part in squares.
    const SMALLEST: Self;

    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The same number, exactly.
    fn as_f64(self) -> f64;

    /// This number, or 0 in place of a subnormal one: for what is remembered from step to step.
    ///
    /// A moment m whose gradient has become 0 decays until it is subnormal and then stays so,
    /// since β·m rounds to m from some multiple of the least number on. Each operation on such a
    /// number, or that results in one, is left to microcode on Intel's processors, over a hundred
    /// cycles (Agner Fog, *Microarchitecture*, "Denormal floating point numbers"): without this
    /// L4Adam's step takes ten times as long once half of the gradients are 0.
    #[inline(always)]
    fn flushed(self) -> Self {
        self.or_zero_below(Self::min_positive_value())
    }

    /// This number, or 0 below [`SMALLEST`](Self::SMALLEST): a factor of squares and of g·v, which
    /// are slow, too, where they are subnormal.
    #[inline(always)]
    fn squarable(self) -> Self {
        self.or_zero_below(Self::SMALLEST)
    }

    /// This number, or 0 where its magnitude is below `least`.
    #[inline(always)]
    fn or_zero_below(self, least: Self) -> Self {
        match self.abs() < least {
            true => Self::zero(),
            false => self,
        }
    }

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
    // 2⁻⁵⁸: 2⁻¹¹⁶/1000 is just above 2⁻¹²⁶.
    const SMALLEST: f32 = f32::from_bits((127 - 58) << 23);

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
    // 2⁻⁵⁰⁶: 2⁻¹⁰¹²/1000 is just above 2⁻¹⁰²².
    const SMALLEST: f64 = f64::from_bits((1023 - 506) << 52);

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

    #[test]
    fn smallest_has_a_normal_square_with_the_weight_of_a_second_moment() {
        let (single, double) = (f32::SMALLEST, f64::SMALLEST);
        assert!((0.001 * single * single).is_normal() && (0.001 * (single * single)).is_normal());
        assert!((0.001 * double * double).is_normal() && (0.001 * (double * double)).is_normal());
        assert!(!(0.001 * (single / 2.0) * (single / 2.0)).is_normal());
        assert!(!(0.001 * (double / 2.0) * (double / 2.0)).is_normal());
    }

    #[test]
    fn what_counts_as_0_is_no_normal_number_and_has_no_part_in_squares() {
        let least = f32::MIN_POSITIVE;
        assert_eq!([least, -least].map(Real::flushed), [least, -least]);
        assert_eq!(
            [least.next_down(), -least.next_down()].map(Real::flushed),
            [0.0; 2]
        );
        assert!(f32::NAN.flushed().is_nan() && f32::NAN.squarable().is_nan());
        assert_eq!(f32::SMALLEST.squarable(), f32::SMALLEST);
        assert_eq!(f32::SMALLEST.next_down().squarable(), 0.0);
    }
}
