//! AVX-512, and AVX2 with FMA.
//!
//! Arithmetic is that of pulp: the same instructions as by intrinsics, to the last one in a
//! register tile, and safe, since its tokens prove the instruction set. Intrinsics are left
//! where it has no operation (the bits of a mask, powers of two) and for masked loads and
//! stores, where pulp jumps through a table of functions in inline assembly: two jumps for an
//! instruction of an inner loop.

use super::transcendental::Format;
use super::{Kernel, Lanes, scale_in_two_steps};
use pulp::x86::{V3, V4};
use pulp::{Simd, cast};
use std::arch::x86_64::*;

impl super::sealed::Sealed for V4 {}
impl super::sealed::Sealed for V3 {}

/// The mask of the first n of 8 (4) lanes: n ones, then zeros, read at an
/// offset from this table.
static ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// What pulp names by the element; then, as expressions, what is done by intrinsics, with the
/// vectors that these take.
macro_rules! lanes {
    ($simd:ty, f32, $($rest:tt)*) => {
        lanes! {
            f32, f32s, $simd,
            [splat_f32s, mul_add_f32s, add_f32s, sub_f32s, mul_f32s, div_f32s, min_f32s,
             max_f32s, less_than_f32s, select_f32s, and_f32s, or_f32s, abs_f32s, reduce_sum_f32s],
            $($rest)*
        }
    };
    ($simd:ty, f64, $($rest:tt)*) => {
        lanes! {
            f64, f64s, $simd,
            [splat_f64s, mul_add_f64s, add_f64s, sub_f64s, mul_f64s, div_f64s, min_f64s,
             max_f64s, less_than_f64s, select_f64s, and_f64s, or_f64s, abs_f64s, reduce_sum_f64s],
            $($rest)*
        }
    };
    ($t:ty, $register:ident, $simd:ty,
     [$splat:ident, $mul_add:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $min:ident,
      $max:ident, $less:ident, $select:ident, $and:ident, $or:ident, $abs:ident, $sum:ident],
     $call:ident, $vector:ty, $mask:ty,
     [$load_masked:ident, $store_masked:ident],
     first: |$n:ident| $first:expr,
     nonzeros: |$y:ident| $nonzeros:expr,
     interleave: |$one:ident, $other:ident| $interleave:expr,
     power_of_two: |$e:ident| $power_of_two:expr,
     scale: |$lanes:ident, $m:ident, $f:ident| $scale:expr) => {
        impl Lanes<$t> for $simd {
            type Register = <Self as Simd>::$register;
            type Mask = $mask;
            const WIDTH: usize = size_of::<$vector>() / size_of::<$t>();
            const REGISTERS: usize = Self::REGISTER_COUNT;

            #[inline(always)]
            fn splat(self, x: $t) -> Self::Register {
                self.$splat(x)
            }
            lanes! {
                mul_add $mul_add(a, b, c); add $add(a, b); sub $sub(a, b); mul $mul(a, b);
                div $div(a, b); min $min(a, b); max $max(a, b)
            }
            #[inline(always)]
            fn sum(self, a: Self::Register) -> $t {
                self.$sum(a)
            }
            #[inline(always)]
            fn copysign(self, a: Self::Register, b: Self::Register) -> Self::Register {
                self.$or(self.$abs(a), self.$and(b, self.$splat(-0.0)))
            }
            #[inline(always)]
            fn select_less(
                self,
                a: Self::Register,
                b: Self::Register,
                x: Self::Register,
                y: Self::Register,
            ) -> Self::Register {
                self.$select(self.$less(a, b), x, y)
            }
            #[inline(always)]
            fn interleave(self, a: Self::Register, b: Self::Register) -> [Self::Register; 2] {
                let ($one, $other): ($vector, $vector) = (cast(a), cast(b));
                // SAFETY: `self` proves the instruction set.
                let halves: [$vector; 2] = unsafe { $interleave };
                halves.map(cast)
            }
            #[inline(always)]
            fn power_of_two(self, n: Self::Register) -> Self::Register {
                let $e: $vector = cast(n);
                // SAFETY: `self` proves the instruction set.
                cast(unsafe { $power_of_two })
            }
            #[inline(always)]
            fn scale(self, x: Self::Register, n: Self::Register) -> Self::Register {
                let ($lanes, $m, $f) = (self, x, n);
                $scale
            }
            #[inline(always)]
            fn nonzeros(self, a: Self::Register) -> u64 {
                let $y: $vector = cast(a);
                // SAFETY: `self` proves the instruction set.
                unsafe { $nonzeros }
            }
            #[inline(always)]
            fn first(self, $n: usize) -> $mask {
                // `load_masked` reads what the mask says, so no mask may say more.
                let $n = $n.min(<Self as Lanes<$t>>::WIDTH);
                $first
            }
            #[inline(always)]
            fn call<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                // SAFETY: `self` proves the instruction set.
                unsafe { kernel.$call(self) }
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::Register {
                // SAFETY: the caller's.
                unsafe { p.cast::<Self::Register>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn load_masked(self, mask: $mask, p: *const $t) -> Self::Register {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                cast(unsafe { $load_masked(mask, p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, x: Self::Register) {
                // SAFETY: the caller's.
                unsafe { p.cast::<Self::Register>().write_unaligned(x) }
            }
            #[inline(always)]
            unsafe fn store_masked(self, mask: $mask, p: *mut $t, x: Self::Register) {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                unsafe { $store_masked(p, mask, cast(x)) }
            }
        }
    };
    ($($name:ident $operation:ident($($a:ident),*));*) => {$(
        #[inline(always)]
        fn $name(self, $($a: Self::Register),*) -> Self::Register {
            self.$operation($($a),*)
        }
    )*};
}

#[inline(always)]
unsafe fn load_ps(mask: __mmask16, p: *const f32) -> __m512 {
    // SAFETY: the caller's.
    unsafe { _mm512_maskz_loadu_ps(mask, p) }
}
#[inline(always)]
unsafe fn load_pd(mask: __mmask8, p: *const f64) -> __m512d {
    // SAFETY: the caller's.
    unsafe { _mm512_maskz_loadu_pd(mask, p) }
}
#[inline(always)]
unsafe fn load_ps_256(mask: __m256i, p: *const f32) -> __m256 {
    // SAFETY: the caller's.
    unsafe { _mm256_maskload_ps(p, mask) }
}
#[inline(always)]
unsafe fn load_pd_256(mask: __m256i, p: *const f64) -> __m256d {
    // SAFETY: the caller's.
    unsafe { _mm256_maskload_pd(p, mask) }
}

lanes!(V4, f32, on_avx512, __m512, __mmask16, [load_ps, _mm512_mask_storeu_ps],
    first: |n| ((1u32 << n) - 1) as __mmask16,
    nonzeros: |x| _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps()).into(),
    interleave: |a, b| [
        _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b),
        _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b),
    ],
    power_of_two: |n| _mm512_scalef_ps(_mm512_set1_ps(1.0), n),
    // SAFETY: `lanes` proves the instruction set.
    scale: |_lanes, x, n| cast(unsafe { _mm512_scalef_ps(cast(x), cast(n)) }));
lanes!(V4, f64, on_avx512, __m512d, __mmask8, [load_pd, _mm512_mask_storeu_pd],
    first: |n| ((1u32 << n) - 1) as __mmask8,
    nonzeros: |x| _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_pd()).into(),
    interleave: |a, b| [
        _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b),
        _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b),
    ],
    power_of_two: |n| _mm512_scalef_pd(_mm512_set1_pd(1.0), n),
    // SAFETY: `lanes` proves the instruction set.
    scale: |_lanes, x, n| cast(unsafe { _mm512_scalef_pd(cast(x), cast(n)) }));
lanes!(V3, f32, on_avx2, __m256, __m256i, [load_ps_256, _mm256_maskstore_ps],
// SAFETY: 8 of the 16 entries from 8 - n on; `self` proves the instruction set.
first: |n| unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) },
nonzeros: |x| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(x, _mm256_setzero_ps())) as u64,
interleave: |a, b| {
    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
},
power_of_two: |n| {
    let biased = _mm256_add_ps(n, _mm256_set1_ps(<f32 as Format>::ROUND + 127.0));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(biased)))
},
scale: |lanes, x, n| scale_in_two_steps::<f32, Self>(lanes, x, n));
lanes!(V3, f64, on_avx2, __m256d, __m256i, [load_pd_256, _mm256_maskstore_pd],
// SAFETY: 8 of the 16 entries from 8 - 2n on: two i32 are one lane; `self`
// proves the instruction set.
first: |n| unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - 2 * n).cast()) },
nonzeros: |x| _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NEQ_UQ>(x, _mm256_setzero_pd())) as u64,
interleave: |a, b| {
    let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    [_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high)]
},
power_of_two: |n| {
    let biased = _mm256_add_pd(n, _mm256_set1_pd(<f64 as Format>::ROUND + 1023.0));
    _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(biased)))
},
scale: |lanes, x, n| scale_in_two_steps::<f64, Self>(lanes, x, n));
