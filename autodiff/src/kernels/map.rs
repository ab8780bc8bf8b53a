//! Functions of every element of a slice.

use super::simd::transcendental;
use super::simd::{Kernel, Lanes, own_name};
use crate::kernels::{Job, Real};
use std::marker::PhantomData;

/// One of the functions.
#[derive(Clone, Copy, Debug)]
enum Function {
    Exp,
    Sigmoid,
    Softplus,
    Tanh,
}

/// A function to apply to a slice.
pub struct Map<'a, T> {
    function: Function,
    /// Readable for `len` elements.
    x: *const T,
    /// Writable for `len` elements; `x` itself or apart from all of it.
    y: *mut T,
    len: usize,
    borrowed: PhantomData<(&'a [T], &'a mut [T])>,
}

impl<'a, T> Map<'a, T> {
    fn new(function: Function, x: &'a [T], y: &'a mut [T]) -> Self {
        assert_eq!(x.len(), y.len(), "{function:?}: lengths");
        Self {
            function,
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            len: y.len(),
            borrowed: PhantomData,
        }
    }

    fn in_place(function: Function, y: &'a mut [T]) -> Self {
        let (y, len) = (y.as_mut_ptr(), y.len());
        Self {
            function,
            x: y,
            y,
            len,
            borrowed: PhantomData,
        }
    }

    /// Calls `f` on register after register; the lanes beyond the end are 0.
    #[inline(always)]
    fn each<L: Lanes<T>>(self, lanes: L, f: impl Fn(L::Register) -> L::Register) {
        let whole = self.len - self.len % L::WIDTH;
        for i in (0..whole).step_by(L::WIDTH) {
            // SAFETY: i + WIDTH <= len.
            unsafe { lanes.store(self.y.add(i), f(lanes.load(self.x.add(i)))) }
        }
        if whole < self.len {
            let rest = lanes.first(self.len - whole);
            // SAFETY: the mask ends at len.
            unsafe {
                let x = lanes.load_masked(rest, self.x.add(whole));
                lanes.store_masked(rest, self.y.add(whole), f(x));
            }
        }
    }
}

impl<T: Real> Kernel<T> for Map<'_, T> {
    type Output = ();
    own_name! {}

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        macro_rules! each {
            ($f:ident) => {
                self.each(
                    lanes,
                    #[inline(always)]
                    |x| transcendental::$f(lanes, x),
                )
            };
        }
        match self.function {
            Function::Exp => each!(exp),
            Function::Sigmoid => each!(sigmoid),
            Function::Softplus => each!(softplus),
            Function::Tanh => each!(tanh),
        }
    }
}

macro_rules! on_slices {
    ($($(#[$doc:meta])* $name:ident, $in_place:ident, $function:ident;)*) => {$(
        $(#[$doc])*
        /// In f64 it is within 3 units of what the standard library makes of it.
        ///
        /// # Panics
        /// If the slices differ in length.
        pub fn $name<T: Real>(x: &[T], y: &mut [T]) {
            T::run(Job::Map(Map::new(Function::$function, x, y)));
        }

        #[doc = concat!("As [`", stringify!($name), "`], over its argument.")]
        pub fn $in_place<T: Real>(x: &mut [T]) {
            T::run(Job::Map(Map::in_place(Function::$function, x)));
        }
    )*};
}

on_slices! {
    /// yᵢ = e^xᵢ, within 1 unit in the last place in f32.
    exp, exp_in_place, Exp;
    /// yᵢ = 1/(1 + e^−xᵢ), within 2.5 units in the last place in f32.
    sigmoid, sigmoid_in_place, Sigmoid;
    /// yᵢ = ln(1 + e^xᵢ), within 2 units in the last place in f32.
    softplus, softplus_in_place, Softplus;
    /// yᵢ = tanh xᵢ, within 2 units in the last place in f32; odd.
    tanh, tanh_in_place, Tanh;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::testing::{Level, on_every_level};

    impl Function {
        const ALL: [Self; 4] = [Self::Exp, Self::Sigmoid, Self::Softplus, Self::Tanh];

        /// By the standard library.
        fn reference(self, x: f64) -> f64 {
            match self {
                Self::Exp => x.exp(),
                Self::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
                Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
                Self::Tanh => x.tanh(),
            }
        }
    }

    fn apply<T: Real>(level: Level, function: Function, x: &[T]) -> Vec<T> {
        let mut y = vec![T::nan(); x.len()];
        level.run(Map::new(function, x, &mut y));
        y
    }

    /// |y − exact| in units in the last place of an `f32`.
    fn ulps_f32(y: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        if y == rounded || y.is_nan() && exact.is_nan() {
            return 0.0;
        }
        if rounded.is_infinite() || y.is_infinite() {
            return f64::INFINITY;
        }
        let magnitude = rounded.abs().max(f32::MIN_POSITIVE);
        let ulp = f64::from(magnitude.next_up()) - f64::from(magnitude);
        (f64::from(y) - exact).abs() / ulp
    }

    /// Largest error over the bit patterns of `f32` from `first` on by `step`.
    fn worst(level: Level, function: Function, step: usize) -> (f64, f32) {
        const BLOCK: usize = 1 << 16;
        let mut worst = (0.0, 0.0);
        for first in (0..1 << 32).step_by(step * BLOCK) {
            let patterns = (first..1usize << 32).step_by(step).take(BLOCK);
            let x: Vec<f32> = patterns.map(|bits| f32::from_bits(bits as u32)).collect();
            for (&x, &y) in x.iter().zip(&apply(level, function, &x)) {
                let error = ulps_f32(y, function.reference(f64::from(x)));
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        }
        worst
    }

    fn within_the_promised_error(step: usize) {
        on_every_level(|name, level| {
            for (function, bound) in Function::ALL.into_iter().zip([1.0, 2.5, 2.0, 2.0]) {
                let (error, x) = worst(level, function, step);
                println!("{name}: {function:?} is wrong by {error:.3} ulp at {x:e}");
                assert!(error <= bound, "{name}: {function:?}({x:e}), {error} ulp");
            }
        });
    }

    /// One bit pattern in 4099, a prime: infinities, NaNs and subnormal numbers too. Who
    /// changes a coefficient sets the step to 1, for all of them, once: it takes minutes.
    #[test]
    fn a_sample_of_all_floats() {
        within_the_promised_error(4099);
    }

    /// Against the standard library, itself wrong by up to 1 ulp, or 2 where it is
    /// composed of two calls.
    #[test]
    fn doubles() {
        let grid = (-80_000..80_000).map(|i| f64::from(i) * 0.01 + 1e-3 / f64::from(i | 1));
        let small = (1..320).map(|e| 0.77 * 10f64.powi(-e));
        let x: Vec<f64> = grid.chain(small.clone()).chain(small.map(|x| -x)).collect();
        on_every_level(|name, level| {
            for function in Function::ALL {
                let y = apply(level, function, &x);
                let mut worst = (0.0, 0.0);
                for (&x, &y) in x.iter().zip(&y) {
                    let exact = function.reference(x);
                    let magnitude = exact.abs().max(f64::MIN_POSITIVE);
                    let error = (y - exact).abs() / (magnitude.next_up() - magnitude);
                    if y != exact && (error.is_nan() || error > worst.0) {
                        worst = (error, x);
                    }
                }
                let (error, x) = worst;
                println!("{name}: {function:?} differs by {error} ulp at {x:e}");
                assert!(error <= 3.0, "{name}: {function:?}({x:e}), {error} ulp");
            }
        });
    }

    fn special<T: Real>(level: Level, name: &str) {
        let (inf, nan) = (T::infinity(), T::nan());
        let (zero, one) = (T::zero(), T::one());
        let at = |function, x| apply(level, function, &[x])[0];
        for (function, x, y) in [
            (Function::Exp, zero, one),
            (Function::Exp, -zero, one),
            (Function::Exp, inf, inf),
            (Function::Exp, -inf, zero),
            (Function::Exp, T::nearest(1e30), inf),
            (Function::Exp, T::nearest(-1e30), zero),
            (Function::Sigmoid, inf, one),
            (Function::Sigmoid, -inf, zero),
            (Function::Sigmoid, zero, T::nearest(0.5)),
            (Function::Softplus, inf, inf),
            (Function::Softplus, -inf, zero),
            (Function::Softplus, T::nearest(1e30), T::nearest(1e30)),
            (Function::Tanh, inf, one),
            (Function::Tanh, -inf, -one),
            (Function::Tanh, zero, zero),
            (Function::Tanh, T::nearest(1e30), one),
            (
                Function::Tanh,
                T::min_positive_value(),
                T::min_positive_value(),
            ),
        ] {
            assert!(at(function, x) == y, "{name}: {function:?}({x})");
        }
        assert!(at(Function::Tanh, -zero).is_sign_negative(), "{name}");
        for function in Function::ALL {
            assert!(at(function, nan).is_nan(), "{name}: {function:?}(NaN)");
        }
    }

    #[test]
    fn ends_of_the_range() {
        on_every_level(|name, level| {
            special::<f32>(level, name);
            special::<f64>(level, name);
        });
    }

    #[test]
    fn tanh_is_odd() {
        let x: Vec<f32> = (0..3000).map(|i| i as f32 * 0.007).collect();
        let negative: Vec<f32> = x.iter().map(|x| -x).collect();
        on_every_level(|name, level| {
            let y = apply(level, Function::Tanh, &x);
            let of_negative = apply(level, Function::Tanh, &negative);
            let odd = y.iter().zip(&of_negative).all(|(y, n)| *y == -n);
            assert!(odd, "{name}");
        });
    }

    /// A result has the same bits wherever in a slice it is, nothing beyond the end is
    /// touched, and an argument can be overwritten.
    #[test]
    fn every_length_in_place() {
        on_every_level(|name, level| {
            for function in Function::ALL {
                for len in 0..40 {
                    let x: Vec<f32> = (0..len).map(|i| i as f32 * 0.37 - 7.0).collect();
                    let alone = |&x: &f32| apply(level, function, &[x])[0];
                    let mut expected: Vec<f32> = x.iter().map(alone).collect();
                    assert_eq!(apply(level, function, &x), expected, "{name}");
                    let mut padded = [&x[..], &[7.0; 16]].concat();
                    level.run(Map::in_place(function, &mut padded[..len]));
                    expected.extend([7.0; 16]);
                    assert_eq!(padded, expected, "{name}: {len}");
                }
            }
        });
    }

    #[test]
    #[should_panic(expected = "lengths")]
    fn slices_of_two_lengths_are_refused() {
        tanh(&[0.0; 3], &mut [0.0; 2]);
    }
}
