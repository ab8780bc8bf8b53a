//! Runs a kernel on every instruction set that the machine has, on numbers that it sums exactly.

use super::*;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// Calls `check` with the name of each instruction set and a way to run
/// kernels on it.
pub(crate) fn on_every_level(mut check: impl FnMut(&str, Level)) {
    check("portable", Level::Portable);
    #[cfg(target_arch = "x86_64")]
    match Arch::new() {
        Arch::V4(lanes) => {
            check("AVX2", Level::Avx2(*lanes));
            check("AVX-512", Level::Avx512(lanes));
        }
        Arch::V3(lanes) => check("AVX2", Level::Avx2(lanes)),
        _ => {}
    }
}

/// One of the machine's instruction sets.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
}

impl Level {
    /// Runs `kernel` on this instruction set.
    pub(crate) fn run<T: Real, K: Kernel<T>>(self, kernel: K) -> K::Output {
        match self {
            Level::Portable => kernel.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(lanes) => T::lanes_call(lanes, kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(lanes) => T::lanes_call(lanes, kernel),
        }
    }
}

/// Integers from -6 to 6 without a period, so that every order of summation gives the same result and no row is like another.
pub(crate) fn integers<T: Real>(n: usize, seed: usize) -> Vec<T> {
    let scattered = |i: usize| ((i + seed) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    (0..n)
        .map(|i| T::nearest((scattered(i) % 13) as f64 - 6.0))
        .collect()
}
