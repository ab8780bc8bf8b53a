//! The exponential function and its relatives, on registers.
//!
//! All four come from one reduction (Muller, *Elementary Functions: Algorithms and
//! Implementation*, 3rd ed., chapters 3 and 11):
//!
//! ```text
//! eˣ = 2ⁿ·e^r,   n = round(x / ln 2),   r = x − n·ln 2,   |r| <= ln 2 / 2
//! ```
//!
//! where ln 2 is the sum of two numbers, the first with so few digits that n times it is
//! exact (Cody and Waite, *Software Manual for the Elementary Functions*, 1980). Then
//! e^r − 1 = r + r²·q(r), with a polynomial q. With t = e^−|x|, which cannot overflow:
//!
//! ```text
//! sigmoid x  = 1/(1 + t)  for x >= 0,  t/(1 + t)  for x < 0
//! softplus x = max(x, 0) + ln(1 + t)
//! tanh a     = a + (u − 2a − a·u)/(u + 2)  where it is less than 1/2,
//!              1 − 2/(u + 2)               elsewhere,   u = e^2a − 1, a = |x|
//! ```
//!
//! Both lines of tanh are u/(u + 2), as a first approximation and a small correction, so
//! that the rounding of the quotient hardly counts.
//!
//! The logarithm is that of Sun's fdlibm: 1 + t = 2ᵏ(1 + f) with √½ <= 1 + f <= √2, and with
//! s = f/(2 + f), ln(1 + f) = f − f²/2 + s·(f²/2 + s²·p(s²)), a polynomial p.
//!
//! The coefficients of p in `f64` are fdlibm's. The others minimise the largest relative error, of e^r − 1
//! and of ln(1 + f), on these intervals, by Remez's algorithm. The tests of `map.rs` measure the whole.

use super::Lanes;
use crate::kernels::Real;

/// What the functions need to know about the format of an element.
pub trait Format: Sized + 'static {
    /// 1.5·2ᵐ for m bits of mantissa: adding it rounds a small number to an integer, which
    /// then is in the low bits; subtracting it again gives the integer.
    const ROUND: Self;
    /// 1/ln 2.
    const LOG2_E: Self;
    /// ln 2 in two parts; the first times an exponent is exact.
    const LN_2: [Self; 2];
    /// Outside of these numbers eˣ is 0 or infinite.
    const EXP: [Self; 2];
    /// From here on tanh rounds to 1.
    const TANH: Self;
    /// Of q, lowest power first.
    const EXP_COEFFICIENTS: &'static [Self];
    /// Of p, lowest power first.
    const LN_COEFFICIENTS: &'static [Self];

    /// 2ⁿ for integers n of which 2ⁿ is a normal number.
    fn power_of_two(n: Self) -> Self;
}

impl Format for f32 {
    const ROUND: Self = 12_582_912.0;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const LN_2: [Self; 2] = [0.693_359_4, -2.121_944_4e-4];
    const EXP: [Self; 2] = [-104.0, 89.0];
    const TANH: Self = 10.0;
    const EXP_COEFFICIENTS: &'static [Self] = &[
        0.5,
        0.166_666_66,
        0.041_666_36,
        0.008_333_39,
        0.001_394_066_8,
        0.000_198_458_82,
    ];
    const LN_COEFFICIENTS: &'static [Self] = &[0.666_667_77, 0.399_775_2, 0.298_723_75];

    #[inline(always)]
    fn power_of_two(n: Self) -> Self {
        Self::from_bits((n + (Self::ROUND + 127.0)).to_bits() << 23)
    }
}

impl Format for f64 {
    const ROUND: Self = 6_755_399_441_055_744.0;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const LN_2: [Self; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    const EXP: [Self; 2] = [-746.0, 710.0];
    const TANH: Self = 20.0;
    const EXP_COEFFICIENTS: &'static [Self] = &[
        0.5,
        1.666_666_666_666_667_7e-1,
        4.166_666_666_666_650_8e-2,
        8.333_333_333_321_654e-3,
        1.388_888_888_896_260_5e-3,
        1.984_126_988_607_34e-4,
        2.480_158_717_223_090_2e-5,
        2.755_724_425_422_74e-6,
        2.755_740_277_415_17e-7,
        2.510_902_446_532_157_7e-8,
        2.087_532_954_492_173_8e-9,
    ];
    const LN_COEFFICIENTS: &'static [Self] = &[
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];

    #[inline(always)]
    fn power_of_two(n: Self) -> Self {
        Self::from_bits((n + (Self::ROUND + 1023.0)).to_bits() << 52)
    }
}

/// Σᵢ cᵢ·xⁱ, by Horner's rule.
#[inline(always)]
fn polynomial<T: Real, L: Lanes<T>>(lanes: L, x: L::Register, coefficients: &[T]) -> L::Register {
    let zero = lanes.splat(T::zero());
    let terms = coefficients.iter().rev().map(|&c| lanes.splat(c));
    terms
        .reduce(
            #[inline(always)]
            |sum, c| lanes.mul_add(sum, x, c),
        )
        .unwrap_or(zero)
}

/// (e^r − 1, n), for which eˣ = 2ⁿ·e^r.
#[inline(always)]
fn reduced_exp<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> (L::Register, L::Register) {
    let round = lanes.splat(T::ROUND);
    let n = lanes.sub(lanes.mul_add(x, lanes.splat(T::LOG2_E), round), round);
    let [high, low] = T::LN_2;
    let r = lanes.mul_add(n, lanes.splat(-high), x);
    let r = lanes.mul_add(n, lanes.splat(-low), r);
    let q = polynomial(lanes, r, T::EXP_COEFFICIENTS);
    (lanes.mul_add(lanes.mul(r, r), q, r), n)
}

/// eˣ.
#[inline(always)]
pub(in crate::kernels) fn exp<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> L::Register {
    let [lowest, highest] = T::EXP.map(|x| lanes.splat(x));
    let x = lanes.min(highest, lanes.max(lowest, x));
    let (m, n) = reduced_exp(lanes, x);
    lanes.scale(lanes.add(lanes.splat(T::one()), m), n)
}

/// e^−|x|.
#[inline(always)]
fn exp_neg_abs<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> L::Register {
    exp(lanes, lanes.copysign(x, lanes.splat(-T::one())))
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(in crate::kernels) fn sigmoid<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> L::Register {
    let (zero, one) = (lanes.splat(T::zero()), lanes.splat(T::one()));
    let t = exp_neg_abs(lanes, x);
    lanes.div(lanes.select_less(x, zero, t, one), lanes.add(one, t))
}

/// tanh x.
#[inline(always)]
pub(in crate::kernels) fn tanh<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> L::Register {
    let (one, two) = (lanes.splat(T::one()), lanes.splat(T::nearest(2.0)));
    let minus_two = lanes.splat(T::nearest(-2.0));
    let a = lanes.min(lanes.splat(T::TANH), lanes.copysign(x, one));
    let (m, n) = reduced_exp(lanes, lanes.add(a, a));
    let power = lanes.power_of_two(n);
    let u = lanes.mul_add(power, m, lanes.sub(power, one));
    let near = lanes.sub(lanes.mul_add(minus_two, a, u), lanes.mul(a, u));
    let numerator = lanes.select_less(u, two, near, minus_two);
    let quotient = lanes.div(numerator, lanes.add(u, two));
    let y = lanes.add(lanes.select_less(u, two, a, one), quotient);
    lanes.copysign(y, x)
}

/// ln(1 + t) for 0 <= t <= 1.
#[inline(always)]
fn ln_1p<T: Real, L: Lanes<T>>(lanes: L, t: L::Register) -> L::Register {
    let (zero, half) = (lanes.splat(T::zero()), lanes.splat(T::nearest(0.5)));
    let two = lanes.splat(T::nearest(2.0));
    // k is 0 as long as 1 + t <= √2, then 1.
    let edge = lanes.splat(T::nearest(std::f64::consts::SQRT_2 - 1.0));
    let [high, low] = T::LN_2.map(|part| lanes.select_less(edge, t, lanes.splat(part), zero));
    let f = lanes.select_less(
        edge,
        t,
        lanes.mul_add(t, half, lanes.splat(T::nearest(-0.5))),
        t,
    );
    let s = lanes.div(f, lanes.add(two, f));
    let z = lanes.mul(s, s);
    let p = lanes.mul(z, polynomial(lanes, z, T::LN_COEFFICIENTS));
    let half_square = lanes.mul(half, lanes.mul(f, f));
    let correction = lanes.mul_add(s, lanes.add(half_square, p), low);
    // The terms from small to large.
    lanes.add(high, lanes.sub(f, lanes.sub(half_square, correction)))
}

/// ln(1 + eˣ).
#[inline(always)]
pub(in crate::kernels) fn softplus<T: Real, L: Lanes<T>>(lanes: L, x: L::Register) -> L::Register {
    let positive = lanes.max(lanes.splat(T::zero()), x);
    lanes.add(positive, ln_1p(lanes, exp_neg_abs(lanes, x)))
}
