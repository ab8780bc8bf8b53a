//! Run-time SIMD for elementwise loops and sums.
//!
//! The loops of this crate are plain Rust that the compiler vectorises. [`dispatch`] compiles
//! them once per instruction set and picks the best at run time. Results have the same bits at
//! every level, for two reasons that every loop here keeps to:
//!
//! - no fused multiply-add (`mul_add`): it would round differently where the hardware lacks it;
//! - sums run over [`LANES`] accumulators of fixed meaning, whatever the width of a register.

use crate::Real;

/// Accumulators of a sum: element `i` goes to accumulator `i mod LANES`. Two or more registers at
/// every SIMD level, so that additions overlap.
pub(crate) const LANES: usize = 32;

/// Elements summed in `T` before the total is carried on in `f64`: 32 additions per accumulator,
/// few enough to keep the rounding error of an `f32` sum near that of its elements. A multiple of
/// [`LANES`].
pub(crate) const BLOCK: usize = 64 * LANES;

/// Runs `body`, which must be `#[inline(always)]` all the way down, compiled for the best
/// instruction set of this machine.
#[inline(always)]
pub(crate) fn dispatch<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// The accumulators' sum, added pairwise by halves.
#[inline(always)]
pub(crate) fn sum_lanes<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `Σ x²` in `f64`.
pub(crate) fn sum_of_squares<T: Real>(values: &[T]) -> f64 {
    dispatch(
        #[inline(always)]
        || {
            let (chunks, rest) = values.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                add_squares(&mut lanes, chunk);
            }
            add_squares(&mut lanes, rest);
            sum_lanes(lanes)
        },
    )
}

#[inline(always)]
fn add_squares<T: Real>(lanes: &mut [f64; LANES], values: &[T]) {
    for (lane, x) in lanes.iter_mut().zip(values) {
        *lane += x.as_f64() * x.as_f64();
    }
}

/// The first index whose value is NaN or beyond [`Real::LARGEST`] in magnitude.
pub(crate) fn first_unusable<T: Real>(values: &[T]) -> Option<usize> {
    let all_usable = dispatch(
        #[inline(always)]
        || values.chunks(BLOCK).all(all_usable),
    );
    if all_usable {
        return None;
    }
    values.iter().position(|x| !is_usable(*x))
}

#[inline(always)]
fn is_usable<T: Real>(x: T) -> bool {
    // False for NaN too.
    x.abs() <= T::LARGEST
}

#[inline(always)]
fn all_usable<T: Real>(block: &[T]) -> bool {
    // No early exit inside a block: that is what lets the loop vectorise.
    block.iter().fold(true, |usable, &x| usable & is_usable(x))
}
