//! Layer normalisation (Ba, Kiros & Hinton, 2016) over the last axis.
//!
//! With the mean μ and the variance σ² = Σ(x − μ)²/n of each row,
//!
//! ```text
//! x̂ = (x − μ)/√(σ² + ε)    y = scale·x̂ + shift
//! dshift += Σ dy    dscale += Σ dy·x̂
//! dx += (g − (Σ g + x̂·Σ g·x̂)/n)/√(σ² + ε),   g = dy·scale
//! ```

use crate::memory::{Buffer, empty, scratch};
use crate::{Gradients, Inputs, Op, Real, Shape, Var};

struct LayerNorm<T> {
    epsilon: f64,
    extent: usize,
    /// x̂, and by row 1/√(σ² + ε), kept for the derivative.
    normal: Buffer<T>,
    inverse_deviation: Buffer<T>,
}

impl<T: Real> Op<T> for LayerNorm<T> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x, scale, shift] = [inputs[0], inputs[1], inputs[2]];
        let &extent = x.last().ok_or("expected at least one axis")?;
        if *scale != [extent] || *shift != [extent] || extent == 0 {
            return Err("expected x: [.., n], scale: [n], shift: [n], n at least 1".to_owned());
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            let epsilon = self.epsilon;
            return Err(format!(
                "ε must be finite and not negative, found {epsilon}"
            ));
        }
        self.extent = extent;
        self.normal = scratch(x)?;
        self.inverse_deviation = scratch([x.elements() / extent])?;
        Ok(x)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        let n = self.extent;
        let rows = x[0].chunks_exact(n).zip(y.chunks_exact_mut(n));
        let kept = self
            .normal
            .chunks_exact_mut(n)
            .zip(&mut self.inverse_deviation[..]);
        for ((x_row, y), (normal, inverse)) in rows.zip(kept) {
            let mean = x_row.iter().map(|x| x.in_f64()).sum::<f64>() / n as f64;
            let squares = x_row.iter().map(|x| (x.in_f64() - mean).powi(2));
            let variance = squares.sum::<f64>() / n as f64;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            *inverse = T::nearest(scale);
            for (normal, &x) in normal.iter_mut().zip(x_row) {
                *normal = T::nearest((x.in_f64() - mean) * scale);
            }
            let lines = normal.iter().zip(&x[1]).zip(&x[2]);
            for (y, ((&normal, &scale), &shift)) in y.iter_mut().zip(lines) {
                *y = scale * normal + shift;
            }
        }
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        let n = self.extent;
        let rows = || dy.chunks_exact(n).zip(self.normal.chunks_exact(n));
        if let Some(dscale) = dx.of(1) {
            let dscale = dscale.zeroed();
            for (dy, normal) in rows() {
                let terms = dy.iter().zip(normal);
                let sums = dscale.iter_mut().zip(terms);
                sums.for_each(|(sum, (&dy, &normal))| *sum += dy * normal);
            }
        }
        if let Some(dshift) = dx.of(2) {
            crate::kernels::add_rows(dy, dshift.zeroed());
        }
        let Some(dx) = dx.of(0) else { return };
        let of_rows = dx.zeroed().chunks_exact_mut(n).zip(rows());
        for ((dx, (dy, normal)), &inverse) in of_rows.zip(&self.inverse_deviation[..]) {
            let shares = || dy.iter().zip(&x[1]).map(|(&dy, &scale)| dy * scale);
            let mean = shares().sum::<T>() / T::nearest(n as f64);
            let tilt = shares().zip(normal).map(|(g, &normal)| g * normal);
            let tilt = tilt.sum::<T>() / T::nearest(n as f64);
            for ((dx, g), &normal) in dx.iter_mut().zip(shares()).zip(normal) {
                *dx += inverse * (g - (mean + normal * tilt));
            }
        }
    }
}

impl<T: Real> Var<'_, T> {
    /// (x − mean)/√(variance + ε)·scale + shift, with the mean and variance of each row along
    /// the last axis; `scale` and `shift` are of its extent. ε is finite and not negative.
    #[track_caller]
    pub fn layer_norm(self, scale: Self, shift: Self, epsilon: f64) -> Self {
        let op = LayerNorm {
            epsilon,
            extent: 0,
            normal: empty(),
            inverse_deviation: empty(),
        };
        self.graph().apply(op, &[self, scale, shift])
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};

    #[test]
    fn values() {
        // Mean 2 and variance 5; 5 + 4 is 3².
        let x: (&[usize], &[f64]) = (&[1, 4], &[-1.0, 1.0, 3.0, 5.0]);
        let scale: (&[usize], &[f64]) = (&[4], &[3.0, 3.0, 6.0, 1.0]);
        let shift: (&[usize], &[f64]) = (&[4], &[0.0, 1.0, 0.0, 0.0]);
        let y = evaluate(&[x, scale, shift], |v| v[0].layer_norm(v[1], v[2], 4.0));
        assert_close(&y, &[-3.0, 0.0, 2.0, 1.0], 1e-15, "layer_norm");
    }

    #[test]
    fn gradients() {
        let (x, scale, shift) = (numbers(30), numbers(5), numbers(10).split_off(5));
        assert_gradients(&[(&[2, 3, 5], &x), (&[5], &scale), (&[5], &shift)], |v| {
            v[0].layer_norm(v[1], v[2], 1e-5)
        });
    }

    #[test]
    fn constants_and_shapes_that_do_not_fit_are_errors() {
        for epsilon in [-1.0, f64::NAN] {
            let error = error_of(|g| {
                g.input([2, 3])
                    .layer_norm(g.input([3]), g.input([3]), epsilon)
            });
            assert!(error.contains("ε must be finite"), "{error}");
        }
        let error = error_of(|g| g.input([2, 3]).layer_norm(g.input([2]), g.input([3]), 0.0));
        assert!(error.contains("expected x: [.., n]"), "{error}");
    }
}
