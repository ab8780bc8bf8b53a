//! Masks on every instruction set.

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
