//! Masks and shuffles on every instruction set.

use super::testing::on_every_level;
use super::*;

/// Stores ones under the mask of n lanes to an array that is longer than a register.
struct Ones<'a, T>(usize, &'a mut [T; 128]);

impl<T: Real> Kernel<T> for Ones<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> usize {
        let mask = lanes.first(self.0);
        // SAFETY: a register has less than 128 elements.
        unsafe { lanes.store_masked(mask, self.1.as_mut_ptr(), lanes.splat(T::one())) };
        L::WIDTH
    }
}

fn masks<T: Real>() {
    on_every_level(|name, level| {
        for n in [
            0,
            1,
            3,
            4,
            8,
            15,
            16,
            17,
            31,
            32,
            33,
            64,
            65,
            1 << 20,
            usize::MAX,
        ] {
            let mut to = [T::zero(); 128];
            let width = level.run(Ones(n, &mut to));
            let ones = to.iter().filter(|x| **x == T::one()).count();
            assert_eq!(ones, n.min(width), "{name}, {n}");
        }
    });
}

#[test]
fn no_mask_is_longer_than_a_register() {
    masks::<f32>();
    masks::<f64>();
}

/// Interleaves the first two registers of an array.
struct Interleave<'a, T>(&'a mut [T; 128]);

impl<T: Real> Kernel<T> for Interleave<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> usize {
        let p = self.0.as_mut_ptr();
        // SAFETY: two registers have less than 128 elements.
        unsafe {
            let halves = lanes.interleave(lanes.load(p), lanes.load(p.add(L::WIDTH)));
            lanes.store(p, halves[0]);
            lanes.store(p.add(L::WIDTH), halves[1]);
        }
        L::WIDTH
    }
}

fn shuffles<T: Real>() {
    on_every_level(|name, level| {
        let mut elements: [T; 128] = std::array::from_fn(|i| T::nearest(i as f64));
        let width = level.run(Interleave(&mut elements));
        for (i, found) in elements[..2 * width].iter().enumerate() {
            let expected = i / 2 + i % 2 * width;
            assert_eq!(found.in_f64(), expected as f64, "{name}, {i} of {width}");
        }
    });
}

#[test]
fn lanes_of_two_registers_are_taken_in_turn() {
    shuffles::<f32>();
    shuffles::<f64>();
}
