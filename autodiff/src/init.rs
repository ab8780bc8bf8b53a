//! Initial values of parameters, for [`Params::add`](crate::Params::add).
//!
//! ```
//! use autodiff::{Params, init};
//! use rand::SeedableRng;
//!
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
//! let mut params = Params::<f32>::new();
//! params.add("w", [784, 10], init::glorot_uniform(784, 10, &mut rng))?;
//! params.add("b", [10], init::zeros())?;
//! # Ok::<(), autodiff::Error>(())
//! ```

use crate::Real;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

/// A source of initial values, element after element.
pub type Fill<'a, T> = Box<dyn FnMut() -> T + 'a>;

/// N(0, 1).
pub fn standard_normal<T: Real>(rng: &mut impl Rng) -> Fill<'_, T> {
    Box::new(|| {
        let x: f64 = StandardNormal.sample(rng);
        T::nearest(x)
    })
}

/// N(0, deviation²), drawn again until it is within two deviations of 0.
///
/// `deviation` is that before the cut; what is left has 0.88 of it. So did
/// `tf.variance_scaling_initializer` until mid-2018: it has divided by that factor only
/// since then (tensorflow/tensorflow#18854).
pub fn truncated_normal<T: Real>(deviation: f64, rng: &mut impl Rng) -> Fill<'_, T> {
    Box::new(move || {
        loop {
            let x: f64 = StandardNormal.sample(rng);
            if x.abs() < 2.0 {
                return T::nearest(x * deviation);
            }
        }
    })
}

/// Glorot & Bengio (2010), "Xavier": uniform in ±√(6 / (fan_in + fan_out)).
pub fn glorot_uniform<T: Real>(fan_in: usize, fan_out: usize, rng: &mut impl Rng) -> Fill<'_, T> {
    let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
    Box::new(move || {
        let u: f64 = StandardUniform.sample(rng);
        T::nearest((2.0 * u - 1.0) * limit)
    })
}

/// Zeros.
pub fn zeros<T: Real>() -> Fill<'static, T> {
    Box::new(T::zero)
}

/// Ones.
pub fn ones<T: Real>() -> Fill<'static, T> {
    Box::new(T::one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn glorot_fills_its_interval() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut fill = glorot_uniform::<f64>(784, 300, &mut rng);
        let values: Vec<f64> = (0..20_000).map(|_| fill()).collect();
        let limit = (6.0f64 / 1084.0).sqrt();
        assert!(values.iter().all(|x| x.abs() <= limit));
        let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
        assert!(
            (variance / (limit * limit / 3.0) - 1.0).abs() < 0.05,
            "{variance}"
        );
    }

    #[test]
    fn truncated_normal_is_cut_and_not_scaled_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut fill = truncated_normal::<f64>(0.5, &mut rng);
        let values: Vec<f64> = (0..20_000).map(|_| fill()).collect();
        let largest = values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(0.99 < largest && largest < 1.0, "{largest}");
        let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
        // Of a standard normal between -2 and 2: 1 − 4φ(2)/(2Φ(2) − 1) = 0.7737.
        assert!((variance / 0.25 - 0.7737).abs() < 0.03, "{variance}");
    }

    #[test]
    fn standard_normal_has_mean_0_and_variance_1() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut fill = standard_normal::<f64>(&mut rng);
        let values: Vec<f64> = (0..20_000).map(|_| fill()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }
}
