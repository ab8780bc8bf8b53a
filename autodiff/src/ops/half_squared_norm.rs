//! Half the squared norm of several tensors taken together, L = ½ Σ w², a scalar: the
//! L2 penalty.
//!
//! dw += dL·w.

use crate::kernels::squared_norm;
use crate::{Gradients, Graph, Inputs, Op, Real, Shape, Var};

struct HalfSquaredNorm;

impl<T: Real> Op<T> for HalfSquaredNorm {
    fn name(&self) -> &'static str {
        "half_squared_norm"
    }

    fn infer(&mut self, _: &[Shape]) -> Result<Shape, String> {
        Ok(Shape::default())
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let sum: f64 = (0..x.len()).map(|i| squared_norm(&x[i])).sum();
        y[0] = T::nearest(0.5 * sum);
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let scale = dy[0];
        for i in 0..x.len() {
            if let Some(dx) = dx.of(i) {
                dx.add(x[i].iter().map(|&w| scale * w));
            }
        }
    }
}

impl<T: Real> Graph<T> {
    /// ½ Σ w² over all elements of all `vars`, of any shapes. Summed in blocks, and
    /// these in f64, so that millions of f32 weights lose no accuracy.
    #[track_caller]
    pub fn half_squared_norm<'g>(&'g self, vars: &[Var<'g, T>]) -> Var<'g, T> {
        self.apply(HalfSquaredNorm, vars)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, evaluate, numbers};
    use crate::{Params, record};

    #[test]
    fn value() {
        let a: (&[usize], &[f64]) = (&[2], &[1.0, -2.0]);
        let half = evaluate(&[a, (&[], &[3.0])], |v| v[0].graph().half_squared_norm(v));
        assert_close(&half, &[7.0], 0.0, "½(1 + 4 + 9)");
    }

    #[test]
    fn gradients() {
        let (a, b) = (numbers(35), numbers(3));
        assert_gradients(&[(&[5, 7], &a), (&[3], &b)], |v| {
            v[0].graph().half_squared_norm(v) * 0.7
        });
    }

    #[test]
    fn a_variable_named_twice_counts_twice() {
        let a = numbers(3);
        assert_gradients(&[(&[3], &a)], |v| {
            v[0].graph().half_squared_norm(&[v[0], v[0]])
        });
    }

    /// One term after another in f32 would be off by about 2e-2 here: 3·10⁶ terms of
    /// 0.01, each rounded against a sum of up to 3·10⁴.
    #[test]
    fn long_sums_are_accurate_in_f32() {
        let mut params = Params::<f32>::new();
        let w = params.add("w", [3_000_001], || 0.1).unwrap();
        let (mut tape, _) = record(|g| Ok([g.half_squared_norm(&[g.param(w)])])).unwrap();
        let exact = 0.5 * 3_000_001.0 * f64::from(0.1f32).powi(2);
        let found = f64::from(tape.forward(&params).unwrap().loss().unwrap());
        assert!((found / exact - 1.0).abs() < 1e-6, "{found} for {exact}");
    }
}
