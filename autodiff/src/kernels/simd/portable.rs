//! Plain scalars.

use super::{Kernel, Lanes, scale_in_two_steps, sealed};
use crate::kernels::Real;

/// Plain scalars, for any machine.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl sealed::Sealed for Portable {}

impl<T: Real> Lanes<T> for Portable {
    type Register = T;
    type Mask = bool;
    const WIDTH: usize = 1;
    const REGISTERS: usize = 16;

    fn splat(self, x: T) -> T {
        x
    }
    fn mul_add(self, a: T, b: T, c: T) -> T {
        a * b + c
    }
    fn add(self, a: T, b: T) -> T {
        a + b
    }
    fn sub(self, a: T, b: T) -> T {
        a - b
    }
    fn mul(self, a: T, b: T) -> T {
        a * b
    }
    fn div(self, a: T, b: T) -> T {
        a / b
    }
    fn min(self, a: T, b: T) -> T {
        if a < b { a } else { b }
    }
    fn max(self, a: T, b: T) -> T {
        if a > b { a } else { b }
    }
    fn copysign(self, a: T, b: T) -> T {
        a.copysign(b)
    }
    fn select_less(self, a: T, b: T, x: T, y: T) -> T {
        if a < b { x } else { y }
    }
    fn interleave(self, a: T, b: T) -> [T; 2] {
        [a, b]
    }
    fn power_of_two(self, n: T) -> T {
        T::power_of_two(n)
    }
    fn scale(self, x: T, n: T) -> T {
        scale_in_two_steps(self, x, n)
    }
    fn sum(self, a: T) -> T {
        a
    }
    fn nonzeros(self, a: T) -> u64 {
        u64::from(a != T::zero())
    }
    fn first(self, n: usize) -> bool {
        n > 0
    }
    fn call<K: Kernel<T>>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    unsafe fn load(self, p: *const T) -> T {
        // SAFETY: the caller vouches for one element.
        unsafe { *p }
    }
    unsafe fn load_masked(self, mask: bool, p: *const T) -> T {
        // SAFETY: the caller vouches for one element if the mask has it.
        if mask { unsafe { *p } } else { T::zero() }
    }
    unsafe fn store(self, p: *mut T, x: T) {
        // SAFETY: the caller vouches for one element.
        unsafe { *p = x }
    }
    unsafe fn store_masked(self, mask: bool, p: *mut T, x: T) {
        if mask {
            // SAFETY: the caller vouches for one element if the mask has it.
            unsafe { *p = x }
        }
    }
}
