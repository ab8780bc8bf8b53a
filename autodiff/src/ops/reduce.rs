//! Sums and means over any axes.
//!
//! y = c · Σ x over the reduced axes, with c = 1 (sum) or 1/count (mean); so
//! dx += c · dy, stretched back along them.

use crate::kernels::strided::{Walk, add_stretched, reduce};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct Reduce {
    name: &'static str,
    axes: Vec<usize>,
    mean: bool,
    keep: bool,
    /// Elements of x per element of y, if a mean is taken; else 1.
    count: usize,
    // Operands: x, y.
    walk: Walk<2>,
}

/// For a reduction of x over these axes: the walk over x and the result, the elements of x
/// for each of the result, and its shape.
pub(super) fn reduced(
    x: Shape,
    axes: &[usize],
    keep: bool,
) -> Result<(Walk<2>, usize, Shape), String> {
    for (i, axis) in axes.iter().enumerate() {
        if *axis >= x.rank() {
            return Err(format!("there is no axis {axis}"));
        }
        if axes[..i].contains(axis) {
            return Err(format!("axis {axis} is named twice"));
        }
    }
    let kept = axes.iter().fold(x, |shape, &axis| shape.with(axis, 1));
    let mut strides = kept.strides();
    axes.iter().for_each(|&axis| strides[axis] = 0);
    let left = (0..x.rank()).filter(|axis| !axes.contains(axis));
    let left: Vec<usize> = left.map(|axis| x[axis]).collect();
    let without = Shape::new(&left).expect("no more axes than x");
    Ok((
        Walk::new(x, [x.strides(), strides]),
        axes.iter().map(|&axis| x[axis]).product(),
        if keep { kept } else { without },
    ))
}

impl<T: Real> Op<T> for Reduce {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let (walk, count, y) = reduced(inputs[0], &self.axes, self.keep)?;
        if self.mean && count == 0 {
            return Err("the mean of nothing is undefined".to_owned());
        }
        self.walk = walk;
        self.count = if self.mean { count } else { 1 };
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        reduce(&self.walk, &x[0], y);
        if self.mean {
            // Not times 1/n, which is rounded: a mean of ones is 1.
            let count = T::nearest(self.count as f64);
            y.iter_mut().for_each(|y| *y /= count);
        }
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        let scale = T::nearest(1.0 / self.count as f64);
        add_stretched(&self.walk, scale, dy, dx.zeroed());
    }
}

impl<T: Real> Var<'_, T> {
    pub(super) fn all_axes(self) -> Vec<usize> {
        (0..self.recorded_shape().rank()).collect()
    }

    #[track_caller]
    fn reduce(self, name: &'static str, axes: &[usize], mean: bool, keep: bool) -> Self {
        let op = Reduce {
            name,
            axes: axes.to_vec(),
            mean,
            keep,
            count: 1,
            walk: Walk::default(),
        };
        self.graph().apply(op, &[self])
    }

    /// Sum of all elements, a scalar.
    #[track_caller]
    pub fn sum(self) -> Self {
        self.reduce("sum", &self.all_axes(), false, false)
    }

    /// Mean of all elements, a scalar.
    #[track_caller]
    pub fn mean(self) -> Self {
        self.reduce("mean", &self.all_axes(), true, false)
    }

    /// Sum over these axes, which disappear.
    #[track_caller]
    pub fn sum_over(self, axes: &[usize]) -> Self {
        self.reduce("sum_over", axes, false, false)
    }

    /// Sum over these axes, each of which stays with extent 1, so that the result
    /// broadcasts against the operand.
    #[track_caller]
    pub fn sum_keep(self, axes: &[usize]) -> Self {
        self.reduce("sum_keep", axes, false, true)
    }

    /// Mean over these axes, which disappear.
    #[track_caller]
    pub fn mean_over(self, axes: &[usize]) -> Self {
        self.reduce("mean_over", axes, true, false)
    }

    /// Mean over these axes, each of which stays with extent 1.
    #[track_caller]
    pub fn mean_keep(self, axes: &[usize]) -> Self {
        self.reduce("mean_keep", axes, true, true)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate};

    fn x() -> Vec<f64> {
        (0..24).map(|i| (i * i % 17) as f64 - 5.0).collect()
    }

    #[test]
    fn values() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let x: (&[usize], &[f64]) = (&[2, 3], &data);
        assert_close(&evaluate(&[x], |v| v[0].sum()), &[21.0], 0.0, "sum");
        assert_close(&evaluate(&[x], |v| v[0].mean()), &[3.5], 0.0, "mean");
        assert_close(
            &evaluate(&[x], |v| v[0].sum_over(&[0])),
            &[5.0, 7.0, 9.0],
            0.0,
            "columns",
        );
        assert_close(
            &evaluate(&[x], |v| v[0].mean_over(&[1])),
            &[2.0, 5.0],
            0.0,
            "rows",
        );
    }

    #[test]
    fn the_mean_of_ones_is_one() {
        for n in 1..100 {
            let ones = vec![1.0; n];
            assert_eq!(evaluate(&[(&[n], &ones)], |v| v[0].mean()), [1.0], "{n}");
        }
    }

    #[test]
    fn any_axes_agree_with_naive_loops() {
        let data = x();
        let sum = |keep: [bool; 3]| {
            let mut out = [0.0; 24];
            for (i, &x) in data.iter().enumerate() {
                let index = [i / 12, i / 4 % 3, i % 4];
                let [a, b, c] = std::array::from_fn(|k| if keep[k] { index[k] } else { 0 });
                out[(a * 3 + b) * 4 + c] += x;
            }
            (0..24)
                .filter(|i| {
                    (keep[0] || i / 12 == 0)
                        && (keep[1] || i / 4 % 3 == 0)
                        && (keep[2] || i % 4 == 0)
                })
                .map(|i| out[i])
                .collect::<Vec<_>>()
        };
        let all: [&[usize]; 8] = [&[], &[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];
        for axes in all {
            let keep = [0, 1, 2].map(|a| !axes.contains(&a));
            let found = evaluate(&[(&[2, 3, 4], &data)], |v| v[0].sum_over(axes));
            assert_close(&found, &sum(keep), 0.0, &format!("{axes:?}"));
            assert_gradients(&[(&[2, 3, 4], &data)], |v| v[0].sum_over(axes));
            assert_gradients(&[(&[2, 3, 4], &data)], |v| v[0].mean_keep(axes));
        }
    }

    #[test]
    fn kept_axes_broadcast_back() {
        let data = x();
        assert_gradients(&[(&[4, 6], &data)], |v| {
            v[0] - v[0].mean_keep(&[1]) * v[0].sum_keep(&[0])
        });
    }

    #[test]
    fn axes_that_are_not_there_or_named_twice_are_errors() {
        for axes in [&[2][..], &[1, 1]] {
            let error = error_of(|g| g.input([2, 3]).sum_over(axes));
            assert!(error.starts_with("sum_over of [2, 3]"), "{error}");
        }
    }

    #[test]
    fn the_mean_of_nothing_is_an_error() {
        let error = error_of(|g| g.input([0, 3]).mean_over(&[0]));
        assert!(error.contains("the mean of nothing"), "{error}");
    }
}
