//! Means, intervals and trends over seeds. Pairs are formed by seed before anything is averaged.
//!
//! The quantiles of Student's t are statrs's: one small crate, exact for any number of seeds, where a table would have to stop.

use statrs::distribution::{ContinuousCDF, StudentsT};

pub use crate::stats::{mean, median, sample_std};

/// √10, between equal and ten times.
pub const HALF_A_DECADE: f64 = 3.16;

/// log10 of a loss, a rate or a number of steps, cut below at `floor`: exactly 0 has a logarithm too, and what lies under the
/// resolution of the arithmetic is not ranked. Infinity, as of a diverged run, stays infinity, and what is no number none.
#[must_use]
pub fn log10_above(value: f64, floor: f64) -> f64 {
    match value.is_nan() {
        true => value,
        false => value.max(floor).log10(),
    }
}

/// `ours − theirs`. Where both are infinite, as of two runs that diverged, it is a tie.
#[must_use]
pub fn difference(ours: f64, theirs: f64) -> f64 {
    if ours == theirs { 0.0 } else { ours - theirs }
}

/// The mean of one value a seed, and how far the seeds fix it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Number of seeds.
    pub n: usize,
    /// Those of them without bound, which count as far as the finite ones bear out: see [`against`](Self::against).
    pub cut: usize,
    /// Their mean.
    pub mean: f64,
    /// The 95 % interval of the mean by Student's t, lower and upper end; a single seed has none.
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// Of finite values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values)?;
        let n = values.len();
        let interval = sample_std(values).map(|std| {
            let half_width = student_t_975(n - 1) * std / (n as f64).sqrt();
            (mean - half_width, mean + half_width)
        });
        Some(Self {
            n,
            cut: 0,
            mean,
            interval,
        })
    }

    /// Of differences by which a claim is borne out if they lie **below** 0. Each infinity is taken against the claim:
    ///
    /// - +∞ in any seed (ours diverged, theirs did not): the mean is +∞, and so are both ends of its interval;
    /// - −∞ (theirs diverged, ours did not) counts as the lowest finite difference of the other seeds, so that one diverged
    ///   baseline neither decides alone nor is missing. Where every seed has −∞, so have the mean and the interval. Where only
    ///   one has not, there is no interval: it would be that of one. Nor is there where all that have not are ties, as of
    ///   runs of which neither gets there: they bear out nothing.
    #[must_use]
    pub fn against(differences: &[f64]) -> Option<Self> {
        let n = differences.len();
        let all = |value: f64| Self {
            n,
            cut: 0,
            mean: value,
            interval: (n > 1).then_some((value, value)),
        };
        if differences
            .iter()
            .any(|value| value.is_nan() || *value == f64::INFINITY)
        {
            return Some(all(f64::INFINITY));
        }
        let finite = || {
            differences
                .iter()
                .copied()
                .filter(|value| value.is_finite())
        };
        let Some(lowest) = finite().reduce(f64::min) else {
            return (n > 0).then(|| all(f64::NEG_INFINITY));
        };
        let taken: Vec<f64> = differences.iter().map(|value| value.max(lowest)).collect();
        let estimate = Self::of(&taken)?;
        let cut = n - finite().count();
        let bears_out = n - cut > 1 && finite().any(|difference| difference != 0.0);
        Some(Self {
            cut,
            interval: estimate.interval.filter(|_| cut == 0 || bears_out),
            ..estimate
        })
    }

    /// The interval lies below `bound`; `None` where there is none.
    #[must_use]
    pub fn is_below(&self, bound: f64) -> Option<bool> {
        self.interval.map(|(_, high)| high < bound)
    }

    /// The interval lies above `bound`; `None` where there is none.
    #[must_use]
    pub fn is_above(&self, bound: f64) -> Option<bool> {
        self.interval.map(|(low, _)| low > bound)
    }

    /// Of what [`against`](Self::against) made: ours is higher. A seed in which theirs alone diverged keeps it from that, however high
    /// the others are.
    #[must_use]
    pub fn is_higher(&self) -> Option<bool> {
        self.is_above(0.0).map(|above| above && self.cut == 0)
    }

    /// With each value and the direction changed by a monotone function, as `|x| -x` or `|x| 10^x`.
    #[must_use]
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        let ends = |(low, high)| {
            let (a, b): (f64, f64) = (change(low), change(high));
            (a.min(b), a.max(b))
        };
        Self {
            mean: change(self.mean),
            interval: self.interval.map(ends),
            ..*self
        }
    }

    /// That of the quantities of whose log10 this is.
    #[must_use]
    pub fn from_log10(&self) -> Self {
        self.map(|log| 10_f64.powf(log))
    }
}

/// The 97.5 % quantile of Student's t.
fn student_t_975(degrees_of_freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, degrees_of_freedom as f64)
        .map_or(f64::INFINITY, |student| student.inverse_cdf(0.975))
}

/// The slope of the least-squares line through (x, y). With infinite y, what it tends to as they grow without bound together:
/// ±∞, or NaN where they balance. `None` of fewer than two different x.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let x: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
    let centre = mean(&x)?;
    let squares: f64 = x.iter().map(|x| (x - centre).powi(2)).sum();
    if squares == 0.0 {
        return None;
    }
    let infinite = points.iter().filter(|(_, y)| y.is_infinite());
    let pull: f64 = infinite
        .clone()
        .map(|(x, y)| (x - centre) * y.signum())
        .sum();
    if infinite.count() > 0 {
        // The distances from a mean that is rounded do not balance to the last bit.
        let size: f64 = x.iter().map(|x| (x - centre).abs()).sum();
        return Some(match pull.abs() <= 1e-9 * size {
            true => f64::NAN,
            false => pull * f64::INFINITY,
        });
    }
    let products: f64 = points.iter().map(|(x, y)| (x - centre) * y).sum();
    Some(products / squares)
}

/// A claim that something rises, from one slope a seed: an [`Estimate`] of the slope, each infinity taken against the claim.
#[must_use]
pub fn rising(slopes: &[f64]) -> Option<Estimate> {
    let falling: Vec<f64> = slopes.iter().map(|slope| -slope).collect();
    Some(Estimate::against(&falling)?.map(|value| -value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::LOG10_2;

    const INF: f64 = f64::INFINITY;

    fn assert_near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-6 * expected.abs(),
            "{found}, not {expected}"
        );
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, expected) in [
            (1, 12.706_204_736),
            (2, 4.302_652_730),
            (4, 2.776_445_105),
            (9, 2.262_157_163),
            (199, 1.971_956_544),
        ] {
            assert_near(student_t_975(degrees), expected);
        }
    }

    #[test]
    fn an_interval_is_students() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let (low, high) = estimate.interval.unwrap();
        let half_width = 2.776_445_105 * (2.5_f64 / 5.0).sqrt();
        assert_near(low, 3.0 - half_width);
        assert_near(high, 3.0 + half_width);
        assert_eq!((estimate.n, estimate.mean), (5, 3.0));
        assert_eq!(estimate.is_above(low - 1e-9), Some(true));
        assert_eq!(estimate.is_above(low + 1e-9), Some(false));
        assert_eq!(estimate.is_below(high + 1e-9), Some(true));
        assert_eq!(estimate.is_below(high - 1e-9), Some(false));
    }

    #[test]
    fn one_seed_has_no_interval_and_none_has_no_estimate() {
        let one = Estimate::of(&[-3.0]).unwrap();
        assert_eq!(
            (one.mean, one.interval, one.is_below(0.0)),
            (-3.0, None, None)
        );
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::against(&[]), None);
        assert_eq!(Estimate::against(&[INF]).unwrap().is_below(0.0), None);
    }

    #[test]
    fn infinities_count_against_the_claim() {
        let below = |differences: &[f64]| Estimate::against(differences).unwrap().is_below(0.0);
        assert_eq!(below(&[-1.0, -1.1, -0.9]), Some(true));
        assert_eq!(below(&[-1.0, -1.1, INF]), Some(false), "ours diverged");
        assert_eq!(below(&[-1.0, -1.1, f64::NAN]), Some(false));
        assert_eq!(below(&[-1.0, -1.1, -INF]), Some(true), "theirs diverged");
        assert_eq!(
            below(&[1.0, 1.1, -INF]),
            Some(false),
            "it does not decide alone"
        );
        assert_eq!(below(&[-INF, -INF]), Some(true));
        assert_eq!(below(&[-0.01, -INF]), None, "nor with one other");
        assert_eq!(below(&[-0.01, -INF, -INF]), None, "one is no interval");
        assert_eq!(Estimate::against(&[-1.0, -1.1, -INF]).unwrap().cut, 1);
        let lost = Estimate::against(&[-9.0, -9.0, INF]).unwrap();
        assert_eq!(lost.is_above(0.0), Some(true), "so `not higher` fails");
        assert_eq!(lost.is_higher(), Some(true));
        let theirs = Estimate::against(&[0.1, 0.11, -INF]).unwrap();
        assert_eq!(
            (theirs.is_above(0.0), theirs.is_higher()),
            (Some(true), Some(false)),
            "theirs alone diverged"
        );
        assert_eq!(difference(INF, INF), 0.0);
        assert_eq!(difference(1.0, INF), -INF);
    }

    #[test]
    fn logarithms_are_cut_at_the_floor() {
        assert_eq!(log10_above(0.0, 1e-7), -7.0);
        assert_eq!(log10_above(1e-9, 1e-7), -7.0);
        assert_near(log10_above(2.0, 1e-7), LOG10_2);
        assert_eq!(log10_above(INF, 1e-7), INF);
    }

    #[test]
    fn slopes_are_those_of_least_squares() {
        assert_eq!(slope(&[(3.0, 1.0), (4.0, 3.0), (5.0, 5.0)]), Some(2.0));
        assert_near(
            slope(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0), (3.0, 3.0)]).unwrap(),
            0.6,
        );
        assert_eq!(slope(&[(3.0, 1.0), (3.0, 2.0)]), None);
        assert_eq!(slope(&[(3.0, INF), (4.0, 1.0), (5.0, 2.0)]), Some(-INF));
        assert_eq!(slope(&[(3.0, 0.0), (4.0, 1.0), (5.0, INF)]), Some(INF));
        assert!(slope(&[(3.0, INF), (5.0, INF)]).unwrap().is_nan());
    }

    #[test]
    fn a_trend_needs_its_interval_above_0() {
        let rises = |slopes: &[f64]| rising(slopes).unwrap().is_above(0.0);
        assert_eq!(rises(&[0.9, 1.0, 1.1]), Some(true));
        assert_eq!(rises(&[-0.5, 1.0, 1.1]), Some(false));
        assert_eq!(rises(&[0.9, 1.0, -INF]), Some(false));
        assert_eq!(rises(&[0.9, 1.0, INF]), Some(true));
        assert_eq!(rises(&[0.9, 1.0, f64::NAN]), Some(false));
    }

    #[test]
    fn infinities_on_all_sizes_balance() {
        let weights = [96_f64, 192.0, 384.0];
        for y in [INF, -INF] {
            let slope = slope(&weights.map(|weights| (weights.log2(), y))).unwrap();
            assert!(slope.is_nan(), "{slope}");
        }
    }

    #[test]
    fn ties_of_failures_bear_out_no_win() {
        let estimate = |differences: &[f64]| Estimate::against(differences).unwrap();
        assert_eq!(estimate(&[-INF, -INF, -INF, 0.0, 0.0]).interval, None);
        assert!(estimate(&[-INF, -INF, -INF, 0.0, -1.0]).interval.is_some());
        assert_eq!(estimate(&[0.0, 0.0, 0.0]).interval, Some((0.0, 0.0)));
    }

    #[test]
    fn what_is_no_number_is_not_the_least() {
        assert!(log10_above(f64::NAN, 1e-7).is_nan());
    }
}
