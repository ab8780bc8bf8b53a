//! Vector registers, generic over the element type and the instruction set.
//!
//! A kernel is written once over [`Lanes`] and compiled for AVX-512, AVX2 + FMA
//! and plain scalars; [`run`] picks at run time. pulp makes its tokens V4 and V3 only
//! after detection: holding one is the proof that its instructions exist, which every
//! intrinsic in `x86.rs` relies on.
//!
//! Each kernel is compiled as a function of its own name, which is what a profile shows:
//! `<autodiff::kernels::gemm::tile::Product<_, _, _> as Kernel<T>>::on_avx512`, and of plain
//! loops `autodiff::kernels::reduce::add_rows::on_avx512`.

mod dispatch;
mod portable;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(super) mod transcendental;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use dispatch::dispatch;
pub(super) use dispatch::{dispatched, own_name};
pub use portable::Portable;

use crate::kernels::Real;
use pulp::Arch;

/// An instruction set seen through registers of `WIDTH` elements of `T`.
///
/// Sealed: kernels rely on what it says of widths and masks.
pub trait Lanes<T>: Copy + Send + Sync + sealed::Sealed {
    /// One vector register.
    type Register: Copy;
    /// Which lanes of a register a partial load or store touches.
    type Mask: Copy;
    /// Elements in a register.
    const WIDTH: usize;
    /// Vector registers that the instruction set has; bounds the register tile.
    const REGISTERS: usize;

    /// All lanes equal to `x`.
    fn splat(self, x: T) -> Self::Register;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;
    /// `a + b`.
    fn add(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// `a - b`.
    fn sub(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// `a * b`.
    fn mul(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// `a / b`.
    fn div(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// The smaller; `b` if either is NaN.
    fn min(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// The larger; `b` if either is NaN.
    fn max(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// `|a|` with the sign of `b`.
    fn copysign(self, a: Self::Register, b: Self::Register) -> Self::Register;
    /// `x` where `a < b`, else `y`.
    fn select_less(
        self,
        a: Self::Register,
        b: Self::Register,
        x: Self::Register,
        y: Self::Register,
    ) -> Self::Register;
    /// The lanes of `a` and `b` in turn: those of their first halves, those of their second.
    fn interleave(self, a: Self::Register, b: Self::Register) -> [Self::Register; 2];
    /// 2ⁿ for integers n of which 2ⁿ is a normal number.
    fn power_of_two(self, n: Self::Register) -> Self::Register;
    /// `x`·2ⁿ, rounded once, for 1/2 <= |x| < 2 and integers n down to where that is 0
    /// and up to where it is infinite.
    fn scale(self, x: Self::Register, n: Self::Register) -> Self::Register;
    /// Sum of the lanes, by halves.
    fn sum(self, a: Self::Register) -> T;
    /// A bit for each lane, the first lowest: whether it is not 0.
    fn nonzeros(self, a: Self::Register) -> u64;
    /// Mask of the first `n` lanes; of all if there are fewer.
    fn first(self, n: usize) -> Self::Mask;
    /// Runs `kernel` as a function of its own, compiled for this instruction set.
    fn call<K: Kernel<T>>(self, kernel: K) -> K::Output;

    /// Loads `WIDTH` elements.
    ///
    /// # Safety
    /// `p` is valid for reading `WIDTH` elements; no alignment is required.
    unsafe fn load(self, p: *const T) -> Self::Register;
    /// Loads the lanes of `mask`; the others are zero and not touched.
    ///
    /// # Safety
    /// `p` is valid for reading the elements of `mask`.
    unsafe fn load_masked(self, mask: Self::Mask, p: *const T) -> Self::Register;
    /// Stores `WIDTH` elements.
    ///
    /// # Safety
    /// `p` is valid for writing `WIDTH` elements; no alignment is required.
    unsafe fn store(self, p: *mut T, x: Self::Register);
    /// Stores the lanes of `mask`; the others are not touched.
    ///
    /// # Safety
    /// `p` is valid for writing the elements of `mask`.
    unsafe fn store_masked(self, mask: Self::Mask, p: *mut T, x: Self::Register);
}

mod sealed {
    pub trait Sealed {}
}

/// A computation to compile for every instruction set.
pub trait Kernel<T> {
    /// What the kernel returns.
    type Output;
    /// The kernel. Mark the implementation `#[inline(always)]`: its body is
    /// compiled with the target features of its caller.
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output;

    own_name! {}
}

/// Runs `kernel` on the best instruction set of the machine.
#[inline]
pub fn run<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    match Arch::new() {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(lanes) => T::lanes_call(lanes, kernel),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(lanes) => T::lanes_call(lanes, kernel),
        _ => kernel.run(Portable),
    }
}

/// Most lanes of a register.
pub(super) const MOST_LANES: usize = 16;

/// Transposes the square of the first `WIDTH` registers, by perfect shuffles: each rotates the
/// bits of an element's place by one.
#[inline(always)]
pub(super) fn transposed<T, L: Lanes<T>>(
    lanes: L,
    mut rows: [L::Register; MOST_LANES],
) -> [L::Register; MOST_LANES] {
    let half = L::WIDTH / 2;
    for _ in 0..L::WIDTH.ilog2() {
        let before = rows;
        for i in 0..half {
            let [first, second] = lanes.interleave(before[i], before[i + half]);
            (rows[2 * i], rows[2 * i + 1]) = (first, second);
        }
    }
    rows
}

/// `x`·2ⁿ where only normal powers of two can be made: in two factors, the first of which
/// leaves a normal number, so that only the second rounds.
#[inline(always)]
fn scale_in_two_steps<T: Real, L: Lanes<T>>(
    lanes: L,
    x: L::Register,
    n: L::Register,
) -> L::Register {
    let round = lanes.splat(T::ROUND);
    let half = lanes.sub(lanes.mul_add(n, lanes.splat(T::nearest(0.5)), round), round);
    let x = lanes.mul(x, lanes.power_of_two(half));
    lanes.mul(x, lanes.power_of_two(lanes.sub(n, half)))
}

/// Elements of a cache line.
pub const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// Asks for the cache line at `p` to be brought into L2. A hint, so any address will do.
#[inline(always)]
pub fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}
