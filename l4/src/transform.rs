//! The two roles of a gradient: the estimate g and the update direction v.
//!
//! Both are stateful transforms of the minibatch gradient that work element by element: a
//! transform of one parameter sees that parameter's gradient and its own few numbers of memory,
//! [`Transform::Moments`]. So [`L4`](crate::L4) runs the estimate, the direction and their inner
//! product in one loop, in registers, and a new transform is a few lines of scalar arithmetic.

use num_traits::Float;

use crate::config::{checked, non_negative};
use crate::{ConfigError, Real, Settings};

/// A transform's memory for one parameter: `[T; N]`, with N = 0 for none.
pub trait Moments<T>: AsRef<[T]> + AsMut<[T]> + Copy + Send + 'static {
    /// All zero, as before the first step.
    fn zero() -> Self;
}

impl<T: Real, const N: usize> Moments<T> for [T; N] {
    fn zero() -> Self {
        [T::zero(); N]
    }
}

/// The name of a moment that averages squares.
pub const MEAN_SQUARE: &str = "mean_square";

/// What the two roles have in common: named memory, and constants that change from step to step.
pub trait Transform<T: Real>: Send + Sync {
    /// Memory per parameter.
    type Moments: Moments<T>;

    /// A name for each of the moments, under which a saved [`State`](crate::State) holds them:
    /// `g.NAME` for an estimate's, `v.NAME` for a direction's. A saved
    /// [`MEAN_SQUARE`] that is negative is refused.
    const NAMES: &'static [&'static str];

    /// Prepares for step `t`, counted from 1.
    fn begin_step(&mut self, t: u64) {
        let _ = t;
    }

    /// `settings` with the constants of this transform. Names must differ from the rule's and the other transform's: a state
    /// has one scalar for each.
    fn add_to(&self, settings: Settings) -> Settings {
        settings
    }
}

/// The estimator of the gradient of the loss, g.
pub trait GradientEstimate<T: Real>: Transform<T> {
    /// One parameter's g from its minibatch gradient. Mark it `#[inline(always)]`.
    fn estimate(&self, gradient: T, moments: &mut Self::Moments) -> T;
}

/// The update direction v; the parameters move along −v.
pub trait Direction<T: Real>: Transform<T> {
    /// One parameter's v from its minibatch gradient and its g. Mark it `#[inline(always)]`.
    fn direction(&self, gradient: T, g: T, moments: &mut Self::Moments) -> T;
}

/// An exponential moving average with bias correction, Algorithm 2 of the paper:
/// `m ← (1 − 1/τ)·m + x/τ`, from m = 0, with the value `m/(1 − (1 − 1/τ)ᵗ)` after t updates.
#[derive(Clone, Copy, Debug)]
pub struct MovingAverage<T> {
    timescale: f64,
    decay: T,
    weight: T,
    /// 1/(1 − decayᵗ).
    correction: T,
}

impl<T: Real> MovingAverage<T> {
    /// An average over about `timescale` steps, at least 1. Beyond 2²⁵ in `f32`, where 1 − 1/τ rounds to 1, it forgets nothing any more;
    /// from 2⁵⁴ on its bias correction is infinite, and no step is taken.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] below 1 or when not finite.
    pub fn new(timescale: f64) -> Result<Self, ConfigError> {
        let accept = timescale >= 1.0 && timescale.is_finite();
        checked("a timescale", timescale, "a number of at least 1", accept)?;
        Ok(MovingAverage::over(timescale))
    }

    /// `timescale` is at least 1 and finite.
    fn over(timescale: f64) -> Self {
        MovingAverage {
            timescale,
            decay: T::of(1.0 - 1.0 / timescale),
            weight: T::of(1.0 / timescale),
            correction: T::one(),
        }
    }

    /// Sets the bias correction of update number `t`, counted from 1.
    pub fn begin_step(&mut self, t: u64) {
        self.correction = T::of(1.0 / filled(1.0 - 1.0 / self.timescale, t));
    }

    /// Takes `x` into the average `mean` and returns the corrected value.
    #[inline(always)]
    pub fn update(&self, mean: &mut T, x: T) -> T {
        *mean = (self.decay * *mean + self.weight * x).flushed();
        *mean * self.correction
    }
}

/// The same averages in operations of another framework.
#[cfg(any(feature = "burn", feature = "candle"))]
mod over_tensors {
    use super::{AdamDirection, AlongEstimate, AveragedGradient, MovingAverage};
    use crate::tensors::{Tensor, TensorDirection};

    impl MovingAverage<f64> {
        /// [`MovingAverage::update`] number `t` of a tensor: the average and its corrected value.
        fn update_tensor<V: Tensor>(&self, t: u64, mean: &V, x: &V) -> Result<(V, V), V::Error> {
            let mut average = *self;
            average.begin_step(t);
            let mean = mean.combine(average.decay, x, average.weight)?;
            let corrected = mean.scale(average.correction)?;
            Ok((mean, corrected))
        }
    }

    impl AveragedGradient<f64> {
        /// The average and g.
        pub(crate) fn estimate_tensor<V: Tensor>(
            &self,
            t: u64,
            mean: &V,
            gradient: &V,
        ) -> Result<(V, V), V::Error> {
            self.0.update_tensor(t, mean, gradient)
        }
    }

    impl TensorDirection for AlongEstimate {
        fn direction_tensors<V: Tensor>(
            &self,
            _: u64,
            _: &V,
            g: &V,
            _: &[V],
        ) -> Result<(V, Vec<V>), V::Error> {
            Ok((g.clone(), Vec::new()))
        }
    }

    impl TensorDirection for AdamDirection<f64> {
        fn direction_tensors<V: Tensor>(
            &self,
            t: u64,
            gradient: &V,
            g: &V,
            moments: &[V],
        ) -> Result<(V, Vec<V>), V::Error> {
            let squares = gradient.multiply(gradient)?;
            let (mean, corrected) = self.average.update_tensor(t, &moments[0], &squares)?;
            Ok((g.over_root(&corrected, self.epsilon)?, vec![mean]))
        }
    }
}

/// `1 − decayᵗ`, the share of an average's weights that t updates have filled.
pub(crate) fn filled(decay: f64, t: u64) -> f64 {
    // decayᵗ < e^(−40) < 2⁻⁵⁴, half an ulp below 1: nothing left to subtract.
    if t as f64 * (1.0 - decay) > 40.0 {
        return 1.0;
    }
    1.0 - Float::powi(decay, i32::try_from(t).unwrap_or(i32::MAX))
}

/// g = ∇L of the minibatch.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawGradient;

impl<T: Real> Transform<T> for RawGradient {
    type Moments = [T; 0];
    const NAMES: &'static [&'static str] = &[];
}

impl<T: Real> GradientEstimate<T> for RawGradient {
    #[inline(always)]
    fn estimate(&self, gradient: T, _: &mut [T; 0]) -> T {
        gradient
    }
}

/// v = ∇L of the minibatch, whatever g is: plain SGD's direction.
///
/// Paired with another estimate than [`RawGradient`] it can make g·v negative; L4 then does not
/// move ([`Outcome::NoDescent`](crate::Outcome::NoDescent)).
impl<T: Real> Direction<T> for RawGradient {
    #[inline(always)]
    fn direction(&self, gradient: T, _: T, _: &mut [T; 0]) -> T {
        gradient
    }
}

/// Momentum: g = EMA(∇L, τm), over τm = 10 steps. The g of Eq. (7), in both L4Mom and L4Adam.
#[derive(Clone, Copy, Debug)]
pub struct AveragedGradient<T>(MovingAverage<T>);

impl<T: Real> AveragedGradient<T> {
    /// Momentum with another average.
    pub fn over(average: MovingAverage<T>) -> Self {
        AveragedGradient(average)
    }
}

impl<T: Real> Default for AveragedGradient<T> {
    fn default() -> Self {
        AveragedGradient(MovingAverage::over(10.0))
    }
}

impl<T: Real> Transform<T> for AveragedGradient<T> {
    type Moments = [T; 1];
    const NAMES: &'static [&'static str] = &["mean_gradient"];

    fn begin_step(&mut self, t: u64) {
        self.0.begin_step(t);
    }

    fn add_to(&self, settings: Settings) -> Settings {
        settings.with_number("tau_m", self.0.timescale)
    }
}

impl<T: Real> GradientEstimate<T> for AveragedGradient<T> {
    #[inline(always)]
    fn estimate(&self, gradient: T, [mean]: &mut [T; 1]) -> T {
        self.0.update(mean, gradient).squarable()
    }
}

/// v = g: L4Mom's direction, Eq. (7).
#[derive(Clone, Copy, Debug, Default)]
pub struct AlongEstimate;

impl<T: Real> Transform<T> for AlongEstimate {
    type Moments = [T; 0];
    const NAMES: &'static [&'static str] = &[];
}

impl<T: Real> Direction<T> for AlongEstimate {
    #[inline(always)]
    fn direction(&self, _: T, g: T, _: &mut [T; 0]) -> T {
        g
    }
}

/// `v = g/(√EMA(∇L², τs) + δ)` over τs = 1000 steps, with δ = 1e-4: L4Adam's direction, Eq. (7).
///
/// Its numerator is the estimate g itself, so that L4Adam holds the first moment once.
#[derive(Clone, Copy, Debug)]
pub struct AdamDirection<T> {
    average: MovingAverage<T>,
    epsilon: T,
}

impl<T: Real> AdamDirection<T> {
    /// Adam's direction with another average, and another δ (`epsilon`; "delta" in settings and states), at least 0.
    /// At 0 a parameter whose gradient has always been 0 makes v = 0/0 and so every step an
    /// [`Overflow`](crate::StepError::Overflow).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `epsilon` is negative or not finite.
    pub fn over(average: MovingAverage<T>, epsilon: T) -> Result<Self, ConfigError> {
        let epsilon = non_negative("Adam's epsilon", epsilon)?;
        Ok(AdamDirection { average, epsilon })
    }
}

impl<T: Real> Default for AdamDirection<T> {
    fn default() -> Self {
        AdamDirection {
            average: MovingAverage::over(1000.0),
            epsilon: T::of(1e-4),
        }
    }
}

impl<T: Real> Transform<T> for AdamDirection<T> {
    type Moments = [T; 1];
    const NAMES: &'static [&'static str] = &[MEAN_SQUARE];

    fn begin_step(&mut self, t: u64) {
        self.average.begin_step(t);
    }

    fn add_to(&self, settings: Settings) -> Settings {
        settings
            .with_number("tau_s", self.average.timescale)
            .with_number("delta", self.epsilon)
    }
}

impl<T: Real> Direction<T> for AdamDirection<T> {
    #[inline(always)]
    fn direction(&self, gradient: T, g: T, [mean_square]: &mut [T; 1]) -> T {
        let x = gradient.squarable();
        let square = self.average.update(mean_square, x * x);
        g / (square.sqrt() + self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_is_the_power_to_the_last_bit() {
        for decay in [0.0, 0.5, 0.9, 0.999, 0.99999] {
            for t in (1..1000).chain((1..1000).map(|k| 1000 * k)) {
                assert_eq!(filled(decay, t), 1.0 - decay.powi(t as i32));
            }
        }
        assert_eq!(filled(0.999, u64::MAX), 1.0);
    }

    #[test]
    fn an_average_of_a_constant_is_that_constant() {
        let mut average = MovingAverage::<f64>::new(1000.0).unwrap();
        let mut mean = 0.0;
        for t in 1..5000 {
            average.begin_step(t);
            assert!((average.update(&mut mean, 3.0) - 3.0).abs() < 1e-12);
        }
    }
}
