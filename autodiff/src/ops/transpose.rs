//! Permutations of axes: y[i_p(0), i_p(1), …] = x[i_0, i_1, …].
//!
//! dx is dy permuted back.

use crate::kernels::strided::{Walk, gather, scatter_add};
use crate::{Gradients, Inputs, MAX_RANK, Op, Real, Shape, Var};

struct Permute {
    name: &'static str,
    /// Axis of x that becomes each axis of y.
    order: Vec<usize>,
    // Operands: x, y, walked in the order of y.
    walk: Walk<2>,
}

impl Permute {
    fn new(name: &'static str, order: &[usize]) -> Self {
        Self {
            name,
            order: order.to_vec(),
            walk: Walk::default(),
        }
    }
}

impl<T: Real> Op<T> for Permute {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[0];
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if sorted != (0..x.rank()).collect::<Vec<_>>() {
            return Err(format!("{:?} is no order of {} axes", self.order, x.rank()));
        }
        let mut strides = [0; MAX_RANK];
        let mut y = x;
        for (to, &from) in self.order.iter().enumerate() {
            strides[to] = x.strides()[from];
            y = y.with(to, x[from]);
        }
        self.walk = Walk::new(y, [strides, y.strides()]);
        Ok(y)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        gather(&self.walk, &x[0], y);
    }

    fn backward(&mut self, _: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let Some(dx) = dx.of(0) else { return };
        scatter_add(&self.walk, dy, dx.zeroed());
    }
}

impl<T: Real> Var<'_, T> {
    /// The axes in another order: axis k of the result is axis `order[k]`.
    #[track_caller]
    pub fn permute(self, order: &[usize]) -> Self {
        self.graph().apply(Permute::new("permute", order), &[self])
    }

    /// The transpose of a matrix: the last two axes exchanged. As an operand of [`matmul`](Var::matmul) it is
    /// no operation of its own: on the left the product reads the matrix as it lies, on the right it packs it by
    /// panels, or reads it as it lies where its result is small.
    #[track_caller]
    pub fn transpose(self) -> Self {
        let rank = self.recorded_shape().rank();
        let mut order: Vec<usize> = (0..rank.max(2)).collect();
        order.swap(rank.max(2) - 2, rank.max(2) - 1);
        self.graph().defer(Permute::new("transpose", &order), self)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn values() {
        let x: (&[usize], &[f64]) = (&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let y = evaluate(&[x], |v| v[0].transpose());
        assert_close(&y, &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], 0.0, "transpose");
    }

    #[test]
    fn gradients_in_every_order() {
        let x = numbers(24);
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            assert_gradients(&[(&[2, 3, 4], &x)], |v| v[0].permute(&order));
            let mut back = [0; 3];
            order
                .iter()
                .enumerate()
                .for_each(|(to, &from)| back[from] = to);
            let there_and_back =
                evaluate(&[(&[2, 3, 4], &x)], |v| v[0].permute(&order).permute(&back));
            assert_close(&there_and_back, &x, 0.0, "there and back");
        }
    }

    #[test]
    fn an_axis_named_twice_is_an_error() {
        let error = error_of(|g| g.input([2, 3]).permute(&[0, 0]));
        assert!(error.contains("is no order of 2 axes"), "{error}");
    }
}
