//! AVX-512, and AVX2 with FMA.

use super::transcendental::Format;
use super::{Kernel, Lanes, scale_in_two_steps};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, CD, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(pub(super) ());

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(pub(super) ());

impl super::sealed::Sealed for Avx512 {}
impl super::sealed::Sealed for Avx2 {}

#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
fn call_avx512<T, K: Kernel<T>>(lanes: Avx512, kernel: K) -> K::Output
where
    Avx512: Lanes<T>,
{
    kernel.run(lanes)
}

#[target_feature(enable = "avx2,fma")]
fn call_avx2<T, K: Kernel<T>>(lanes: Avx2, kernel: K) -> K::Output
where
    Avx2: Lanes<T>,
{
    kernel.run(lanes)
}

/// The mask of the first n of 8 (4) lanes: n ones, then zeros, read at an
/// offset from this table.
static ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The instructions that differ in their names only, in one list; then, as expressions,
/// what differs more.
macro_rules! lanes {
    ($token:ty, $t:ty, $call:ident, $register:ty, $mask:ty, $width:literal, $registers:literal,
     $splat:ident, $mul_add:ident,
     [$add:ident, $sub:ident, $mul:ident, $div:ident, $min:ident, $max:ident],
     $load:ident, $load_masked:ident, $store:ident, $store_masked:ident,
     first: |$n:ident| $first:expr,
     sum: |$x:ident| $sum:expr,
     nonzeros: |$y:ident| $nonzeros:expr,
     copysign: |$a:ident, $b:ident| $copysign:expr,
     select_less: |$l:ident, $r:ident, $p:ident, $q:ident| $select_less:expr,
     power_of_two: |$e:ident| $power_of_two:expr,
     scale: |$lanes:ident, $m:ident, $f:ident| $scale:expr) => {
        impl Lanes<$t> for $token {
            type Register = $register;
            type Mask = $mask;
            const WIDTH: usize = $width;
            const REGISTERS: usize = $registers;

            #[inline(always)]
            fn splat(self, x: $t) -> $register {
                // SAFETY: `self` proves the instruction set.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            fn mul_add(self, a: $register, b: $register, c: $register) -> $register {
                // SAFETY: `self` proves the instruction set.
                unsafe { $mul_add(a, b, c) }
            }
            lanes! { $register: add $add, sub $sub, mul $mul, div $div, min $min, max $max }
            #[inline(always)]
            fn sum(self, $x: $register) -> $t {
                // SAFETY: `self` proves the instruction set.
                unsafe { $sum }
            }
            #[inline(always)]
            fn copysign(self, $a: $register, $b: $register) -> $register {
                // SAFETY: `self` proves the instruction set.
                unsafe { $copysign }
            }
            #[inline(always)]
            fn select_less(
                self,
                $l: $register,
                $r: $register,
                $p: $register,
                $q: $register,
            ) -> $register {
                // SAFETY: `self` proves the instruction set.
                unsafe { $select_less }
            }
            #[inline(always)]
            fn power_of_two(self, $e: $register) -> $register {
                // SAFETY: `self` proves the instruction set.
                unsafe { $power_of_two }
            }
            #[inline(always)]
            fn scale(self, $m: $register, $f: $register) -> $register {
                let $lanes = self;
                $scale
            }
            #[inline(always)]
            fn nonzeros(self, $y: $register) -> u64 {
                // SAFETY: `self` proves the instruction set.
                unsafe { $nonzeros }
            }
            #[inline(always)]
            fn first(self, $n: usize) -> $mask {
                // `load_masked` reads what the mask says, so no mask may say more.
                let $n = if $n < $width { $n } else { $width };
                $first
            }
            #[inline(always)]
            fn call<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                // SAFETY: `self` proves the instruction set.
                unsafe { $call::<$t, K>(self, kernel) }
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> $register {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn load_masked(self, mask: $mask, p: *const $t) -> $register {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                unsafe { $load_masked(mask, p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, x: $register) {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                unsafe { $store(p, x) }
            }
            #[inline(always)]
            unsafe fn store_masked(self, mask: $mask, p: *mut $t, x: $register) {
                // SAFETY: `self` proves the instruction set, the caller the memory.
                unsafe { $store_masked(p, mask, x) }
            }
        }
    };
    ($register:ty: $($name:ident $instruction:ident),*) => {$(
        #[inline(always)]
        fn $name(self, a: $register, b: $register) -> $register {
            // SAFETY: `self` proves the instruction set.
            unsafe { $instruction(a, b) }
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

lanes!(Avx512, f32, call_avx512, __m512, __mmask16, 16, 32, _mm512_set1_ps, _mm512_fmadd_ps,
    [_mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, _mm512_min_ps, _mm512_max_ps],
    _mm512_loadu_ps, load_ps, _mm512_storeu_ps, _mm512_mask_storeu_ps,
    first: |n| ((1u32 << n) - 1) as __mmask16,
    sum: |x| _mm512_reduce_add_ps(x),
    nonzeros: |x| _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_ps()).into(),
    copysign: |a, b| _mm512_or_ps(_mm512_abs_ps(a), _mm512_and_ps(b, _mm512_set1_ps(-0.0))),
    select_less: |a, b, x, y| _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x),
    power_of_two: |n| _mm512_scalef_ps(_mm512_set1_ps(1.0), n),
    // SAFETY: `self` proves the instruction set.
    scale: |_lanes, x, n| unsafe { _mm512_scalef_ps(x, n) });
lanes!(Avx512, f64, call_avx512, __m512d, __mmask8, 8, 32, _mm512_set1_pd, _mm512_fmadd_pd,
    [_mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd, _mm512_min_pd, _mm512_max_pd],
    _mm512_loadu_pd, load_pd, _mm512_storeu_pd, _mm512_mask_storeu_pd,
    first: |n| ((1u32 << n) - 1) as __mmask8,
    sum: |x| _mm512_reduce_add_pd(x),
    nonzeros: |x| _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(x, _mm512_setzero_pd()).into(),
    copysign: |a, b| _mm512_or_pd(_mm512_abs_pd(a), _mm512_and_pd(b, _mm512_set1_pd(-0.0))),
    select_less: |a, b, x, y| _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b), y, x),
    power_of_two: |n| _mm512_scalef_pd(_mm512_set1_pd(1.0), n),
    // SAFETY: `self` proves the instruction set.
    scale: |_lanes, x, n| unsafe { _mm512_scalef_pd(x, n) });
lanes!(Avx2, f32, call_avx2, __m256, __m256i, 8, 16, _mm256_set1_ps, _mm256_fmadd_ps,
[_mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, _mm256_min_ps, _mm256_max_ps],
_mm256_loadu_ps, load_ps_256, _mm256_storeu_ps, _mm256_maskstore_ps,
// SAFETY: 8 of the 16 entries from 8 - n on; `self` proves the instruction set.
first: |n| unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) },
sum: |x| {
    let half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)))
},
nonzeros: |x| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(x, _mm256_setzero_ps())) as u64,
copysign: |a, b| {
    let sign = _mm256_set1_ps(-0.0);
    _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
},
select_less: |a, b, x, y| _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)),
power_of_two: |n| {
    let biased = _mm256_add_ps(n, _mm256_set1_ps(<f32 as Format>::ROUND + 127.0));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(biased)))
},
scale: |lanes, x, n| scale_in_two_steps::<f32, Self>(lanes, x, n));
lanes!(Avx2, f64, call_avx2, __m256d, __m256i, 4, 16, _mm256_set1_pd, _mm256_fmadd_pd,
[_mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd, _mm256_min_pd, _mm256_max_pd],
_mm256_loadu_pd, load_pd_256, _mm256_storeu_pd, _mm256_maskstore_pd,
// SAFETY: 8 of the 16 entries from 8 - 2n on: two i32 are one lane; `self`
// proves the instruction set.
first: |n| unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - 2 * n).cast()) },
sum: |x| {
    let half = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)))
},
nonzeros: |x| _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NEQ_UQ>(x, _mm256_setzero_pd())) as u64,
copysign: |a, b| {
    let sign = _mm256_set1_pd(-0.0);
    _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, b))
},
select_less: |a, b, x, y| _mm256_blendv_pd(y, x, _mm256_cmp_pd::<_CMP_LT_OQ>(a, b)),
power_of_two: |n| {
    let biased = _mm256_add_pd(n, _mm256_set1_pd(<f64 as Format>::ROUND + 1023.0));
    _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(biased)))
},
scale: |lanes, x, n| scale_in_two_steps::<f64, Self>(lanes, x, n));
