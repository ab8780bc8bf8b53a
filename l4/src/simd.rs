//! Run-time SIMD for elementwise loops and sums.
//!
//! The loops of this crate are plain Rust that the compiler vectorises. [`dispatch`] compiles
//! them once per instruction set and picks the best at run time. Results have the same bits at
//! every level, for two reasons that every loop here keeps to:
//!
//! - no fused multiply-add (`mul_add`): it would round differently where the hardware lacks it;
//! - sums run over [`LANES`] accumulators of fixed meaning, whatever the width of a register.

use core::array::from_fn;

use crate::Real;
use crate::parallel::{both, middle};

/// Accumulators of a sum: element `i` goes to accumulator `i mod LANES`. Two or more registers at
/// every SIMD level, so that additions overlap.
pub(crate) const LANES: usize = 32;

/// Elements summed in `T` before the total is carried on in `f64`: 64 additions per accumulator,
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

/// `θ ← θ − η·v`.
pub(crate) fn descend<T: Real>(eta: T, params: &mut [T], direction: &[T]) {
    if let Some(middle) = middle(params.len()) {
        let (params, params_rest) = params.split_at_mut(middle);
        let (direction, direction_rest) = direction.split_at(middle);
        both(
            || descend(eta, params, direction),
            || descend(eta, params_rest, direction_rest),
        );
        return;
    }
    dispatch(
        #[inline(always)]
        || {
            for (param, &v) in params.iter_mut().zip(direction) {
                *param = *param - eta * v;
            }
        },
    );
}

/// Goes through slices of one length side by side: `f` gets an element of each, and gives the new
/// elements of `write` and the terms of S sums, which are returned. Mark it `#[inline(always)]`.
pub(crate) fn walk<T: Real, const W: usize, const R: usize, const S: usize>(
    write: [&mut [T]; W],
    read: [&[T]; R],
    f: impl Fn([T; W], [T; R]) -> ([T; W], [f64; S]),
) -> [f64; S] {
    dispatch(
        #[inline(always)]
        || {
            let mut sums = [[0.0; LANES]; S];
            let write = write.map(|slice| slice.as_chunks_mut::<LANES>());
            let read = read.map(|slice| slice.as_chunks::<LANES>());
            let chunks = write.iter().map(|(chunks, _)| chunks.len());
            let chunks = chunks.chain(read.iter().map(|(chunks, _)| chunks.len()));
            for c in 0..chunks.min().unwrap_or(0) {
                // Copies, so that the compiler need not fear that one slice is part of another.
                let mut w: [[T; LANES]; W] = from_fn(|j| write[j].0[c]);
                let r: [[T; LANES]; R] = from_fn(|j| read[j].0[c]);
                // Terms of their own first: sums that go on from element to element kept the
                // compiler from making vectors of the rest.
                let mut terms = [[0.0; LANES]; S];
                for k in 0..LANES {
                    let (new, of_sums) = f(from_fn(|j| w[j][k]), from_fn(|j| r[j][k]));
                    for j in 0..W {
                        w[j][k] = new[j];
                    }
                    for s in 0..S {
                        terms[s][k] = of_sums[s];
                    }
                }
                for (sum, terms) in sums.iter_mut().zip(&terms) {
                    for (lane, term) in sum.iter_mut().zip(terms) {
                        *lane += term;
                    }
                }
                for j in 0..W {
                    write[j].0[c] = w[j];
                }
            }
            let rests = write.iter().map(|(_, rest)| rest.len());
            let rests = rests.chain(read.iter().map(|(_, rest)| rest.len()));
            for k in 0..rests.min().unwrap_or(0) {
                let (new, terms) = f(from_fn(|j| write[j].1[k]), from_fn(|j| read[j].1[k]));
                for j in 0..W {
                    write[j].1[k] = new[j];
                }
                for (sum, term) in sums.iter_mut().zip(terms) {
                    sum[k] += term;
                }
            }
            sums.map(sum_lanes)
        },
    )
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
    if let Some(middle) = middle(values.len()) {
        let (values, rest) = values.split_at(middle);
        let (first, later) = both(|| first_unusable(values), || first_unusable(rest));
        return first.or(later.map(|index| middle + index));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of many magnitudes, so that any other order of additions gives other bits.
    fn values(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (i as f32 * 0.7).sin() * 10f32.powi(i as i32 % 7 - 3))
            .collect()
    }

    /// The definition of the sum, without vectors.
    fn scalar_sum_of_squares(values: &[f32]) -> f64 {
        let mut lanes = [0.0; LANES];
        for (i, &x) in values.iter().enumerate() {
            lanes[i % LANES] += f64::from(x) * f64::from(x);
        }
        sum_lanes(lanes)
    }

    #[test]
    fn sums_have_the_same_bits_whatever_the_registers() {
        for count in [0, 1, 31, 32, 33, 1000, BLOCK, 2 * BLOCK + 17] {
            let values = values(count);
            assert_eq!(sum_of_squares(&values), scalar_sum_of_squares(&values));
        }
    }

    #[test]
    fn a_walk_updates_every_element_and_sums_as_the_plain_sum_does() {
        for count in [0, 1, 31, 32, 33, 1000] {
            let (mut a, mut b, c) = (values(count), values(count), values(count));
            let [squares, twice] = walk(
                [&mut a, &mut b],
                [&c],
                #[inline(always)]
                |[a, b], [c]| {
                    let square = c.as_f64() * c.as_f64();
                    ([a + c, b - c], [square, 2.0 * square])
                },
            );
            assert_eq!(squares, scalar_sum_of_squares(&c));
            assert_eq!(twice, 2.0 * squares);
            assert!(a.iter().zip(&c).all(|(a, c)| *a == 2.0 * c));
            assert!(b.iter().all(|b| *b == 0.0));
        }
    }

    #[test]
    fn lanes_are_added_by_halves() {
        // Only an order in which the first meets the middle one, before either swallows a 1, sums them right.
        let mut lanes = [1.0; LANES];
        (lanes[0], lanes[LANES / 2]) = (1e16, -1e16);
        assert_eq!(sum_lanes(lanes), (LANES - 2) as f64);
    }

    #[test]
    fn the_first_unusable_value_is_found() {
        let mut values = values(2 * BLOCK);
        assert_eq!(first_unusable(&values), None);
        values[BLOCK + 3] = f32::NAN;
        assert_eq!(first_unusable(&values), Some(BLOCK + 3));
        values[5] = f32::NEG_INFINITY;
        assert_eq!(first_unusable(&values), Some(5));
    }
}
