//! Loops over one row, to be inlined into [`vectorised`], and what every operation does
//! with its gradients.

use super::layout::Segment;
use autodiff::kernels::dispatch;
use autodiff::{Gradient, Real};

/// Partial sums of a [`dot`], side by side: one register of the widest vectors in f32.
const LANES: usize = 16;

/// Calls `f(n, w)` compiled for the best vectors of the machine. The paper's sizes, 16
/// slots of 16 numbers, have code of their own, in which every row is one register:
/// `f` has to use its arguments, and no other copy of them, as the lengths of rows.
#[inline(always)]
pub(super) fn vectorised(n: usize, w: usize, mut f: impl FnMut(usize, usize)) {
    dispatch(
        #[inline(always)]
        move || match (n, w) {
            (16, 16) => f(16, 16),
            _ => f(n, w),
        },
    );
}

/// The part of `v` that belongs to the b-th sequence, `len` numbers long.
#[inline(always)]
pub(super) fn at<T>(v: &[T], b: usize, len: usize) -> &[T] {
    &v[b * len..][..len]
}

/// As [`at`], to be written.
#[inline(always)]
pub(super) fn at_mut<T>(v: &mut [T], b: usize, len: usize) -> &mut [T] {
    &mut v[b * len..][..len]
}

/// Adds to a gradient that somebody asks for.
pub(super) fn add<T: Real>(gradient: Option<Gradient<T>>, terms: &[T]) {
    if let Some(gradient) = gradient {
        gradient.add(terms.iter().copied());
    }
}

/// Adds to one segment of each of the rows of a gradient.
pub(super) fn add_to_segment<T: Real>(
    gradient: Option<Gradient<T>>,
    row: usize,
    segment: Segment,
    terms: &[T],
) {
    let Some(gradient) = gradient else { return };
    let rows = gradient.zeroed().chunks_exact_mut(row);
    for (row, terms) in rows.zip(terms.chunks_exact(segment.len)) {
        add_scaled(segment.of_mut(row), T::one(), terms);
    }
}

/// Σ aᵢbᵢ, in an order fixed by the length alone.
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += a * b;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// y += c·x.
#[inline(always)]
pub(super) fn add_scaled<T: Real>(y: &mut [T], c: T, x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += c * x;
    }
}

/// yᵢ = 1/(1 + e⁻ˣⁱ).
pub(super) fn sigmoid<T: Real>(x: &[T], y: &mut [T]) {
    y.copy_from_slice(x);
    sigmoid_in_place(y);
}

/// As [`sigmoid`], over its argument.
pub(super) fn sigmoid_in_place<T: Real>(x: &mut [T]) {
    x.iter_mut()
        .for_each(|x| *x = ((-*x).exp() + T::one()).recip());
}

/// yᵢ = tanh xᵢ.
pub(super) fn tanh<T: Real>(x: &[T], y: &mut [T]) {
    y.copy_from_slice(x);
    tanh_in_place(y);
}

/// As [`tanh`], over its argument.
pub(super) fn tanh_in_place<T: Real>(x: &mut [T]) {
    x.iter_mut().for_each(|x| *x = x.tanh());
}

/// xᵢ ← ln(1 + e^xᵢ), which cannot overflow.
pub(super) fn softplus_in_place<T: Real>(x: &mut [T]) {
    x.iter_mut()
        .for_each(|x| *x = x.max(T::zero()) + (-x.abs()).exp().ln_1p());
}

/// xᵢ ← e^xᵢ.
pub(super) fn exp_in_place<T: Real>(x: &mut [T]) {
    x.iter_mut().for_each(|x| *x = x.exp());
}

/// xᵢ ← e^xᵢ / Σⱼ e^xⱼ.
#[inline(always)]
pub(super) fn softmax<T: Real>(x: &mut [T]) {
    let largest = x.iter().fold(T::neg_infinity(), |m, &x| m.max(x));
    let mut total = T::zero();
    for x in x.iter_mut() {
        *x = (*x - largest).exp();
        total += *x;
    }
    let scale = total.recip();
    x.iter_mut().for_each(|x| *x *= scale);
}

/// dx = y·(dy − ⟨dy, y⟩) for y = softmax(x).
#[inline(always)]
pub(super) fn softmax_gradient<T: Real>(y: &[T], dy: &[T], dx: &mut [T]) {
    let inner = dot(y, dy);
    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
        *dx = y * (dy - inner);
    }
}
