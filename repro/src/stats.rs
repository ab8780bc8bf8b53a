//! Statistics over the runs of a method.

/// Arithmetic mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation, with n − 1 in the denominator; of equal values 0, whatever rounding makes of their mean. `None` of
/// fewer than two values.
#[must_use]
pub fn sample_std(values: &[f64]) -> Option<f64> {
    let centre = mean(values).filter(|_| values.len() > 1)?;
    if values.iter().all(|value| *value == values[0]) {
        return Some(0.0);
    }
    let deviations = || values.iter().map(|value| value - centre);
    // A loss on its way to divergence has a square that is none. A power of two changes no digit.
    let greatest = deviations().fold(1.0, |greatest, deviation| deviation.abs().max(greatest));
    let scale = 2_f64.powi(greatest.log2() as i32);
    let squares: f64 = deviations()
        .map(|deviation| (deviation / scale).powi(2))
        .sum();
    Some(scale * (squares / (values.len() - 1) as f64).sqrt())
}

/// The middle value, or the mean of the two in the middle; infinities are values like any other. `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        0 if upper.is_infinite() => Some(upper),
        0 => Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper)),
        _ => Some(upper),
    }
}

/// Least and greatest value; `None` of nothing.
#[must_use]
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(low, high), &value| {
        (low.min(value), high.max(value))
    }))
}

/// What one run measured over its course.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The run's seed.
    pub seed: u64,
    /// Where: steps, epochs, examples.
    pub x: Vec<f64>,
    /// What, finite; as many as `x`.
    pub y: Vec<f64>,
    /// The step at which the run diverged, if it did. Its curve is shorter then.
    pub diverged: Option<u64>,
}

/// A mean over runs, with a band.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    /// The grid common to the runs.
    pub x: Vec<f64>,
    /// Mean over the runs that got to this x.
    pub mean: Vec<f64>,
    /// Lower edge.
    pub low: Vec<f64>,
    /// Upper edge.
    pub high: Vec<f64>,
}

/// Curves that cannot be averaged.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// A curve's points lie elsewhere than those of the longest curve.
    #[error(
        "the curve of seed {seed} is not on the others' grid: its x[{index}] is {found}, theirs {expected}"
    )]
    Differs {
        /// Whose curve.
        seed: u64,
        /// At which point.
        index: usize,
        /// Its x.
        found: f64,
        /// The others' x.
        expected: f64,
    },
    /// A curve ends early although its run did not diverge.
    #[error(
        "the curve of seed {seed} has {found} points, others {expected}, though the run did not diverge"
    )]
    Short {
        /// Whose curve.
        seed: u64,
        /// Its number of points.
        found: usize,
        /// The greatest number of points.
        expected: usize,
    },
}

/// Averages curves point by point. Where a run has diverged, the mean goes on over those that have not: who draws the band
/// says so ([`Series`](crate::results::Series) does).
///
/// # Errors
/// If the curves are not on one grid, or one is short for another reason than divergence.
pub fn band(curves: &[Curve]) -> Result<Band, GridError> {
    let Some(longest) = curves.iter().max_by_key(|curve| curve.x.len()) else {
        return Ok(Band::default());
    };
    curves
        .iter()
        .try_for_each(|curve| check_grid(curve, &longest.x))?;
    let mut band = Band {
        x: longest.x.clone(),
        ..Band::default()
    };
    for index in 0..band.x.len() {
        let values: Vec<f64> = curves
            .iter()
            .filter_map(|curve| curve.y.get(index).copied())
            .collect();
        let (mean, low, high) = summary(&values);
        band.mean.push(mean);
        band.low.push(low);
        band.high.push(high);
    }
    Ok(band)
}

fn check_grid(curve: &Curve, grid: &[f64]) -> Result<(), GridError> {
    let seed = curve.seed;
    if curve.x.len() < grid.len() && curve.diverged.is_none() {
        return Err(GridError::Short {
            seed,
            found: curve.x.len(),
            expected: grid.len(),
        });
    }
    match curve
        .x
        .iter()
        .zip(grid)
        .position(|(found, expected)| found != expected)
    {
        Some(index) => Err(GridError::Differs {
            seed,
            index,
            found: curve.x[index],
            expected: grid[index],
        }),
        None => Ok(()),
    }
}

/// Mean, least and greatest of at least one value.
fn summary(values: &[f64]) -> (f64, f64, f64) {
    let centre = mean(values).unwrap_or(f64::NAN);
    let (low, high) = range(values).unwrap_or((centre, centre));
    (centre, low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(seed: u64, y: &[f64], diverged: Option<u64>) -> Curve {
        Curve {
            seed,
            x: (0..y.len()).map(|x| x as f64).collect(),
            y: y.to_vec(),
            diverged,
        }
    }

    #[test]
    fn the_standard_deviation_is_the_sample_one() {
        assert_eq!(sample_std(&[1.0, 2.0, 6.0]), Some(7.0_f64.sqrt()));
        assert_eq!(sample_std(&[0.14; 10]), Some(0.0));
        let large = 2_f64.powi(900);
        let std = sample_std(&[0.0, 2.0 * large]);
        assert_eq!(std, Some(2_f64.sqrt() * large));
        assert_eq!(
            (mean(&[]), sample_std(&[1.0]), range(&[])),
            (None, None, None)
        );
        assert_eq!(range(&[2.0, -1.0, 3.0]), Some((-1.0, 3.0)));
    }

    #[test]
    fn the_median_is_in_the_middle_of_infinities_too() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, f64::INFINITY]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn the_mean_goes_on_over_the_runs_that_are_left() {
        let curves = [
            curve(0, &[1.0, 2.0, 4.0], None),
            curve(1, &[3.0, 8.0], Some(2)),
        ];
        let range = band(&curves).unwrap();
        assert_eq!(range.x, [0.0, 1.0, 2.0]);
        assert_eq!(range.mean, [2.0, 5.0, 4.0]);
        assert_eq!(
            (range.low, range.high),
            (vec![1.0, 2.0, 4.0], vec![3.0, 8.0, 4.0])
        );
        assert_eq!(band(&[]).unwrap(), Band::default());
    }

    #[test]
    fn curves_that_do_not_match_are_refused() {
        let short = band(&[curve(0, &[1.0, 2.0], None), curve(7, &[3.0], None)]).unwrap_err();
        assert_eq!(
            short.to_string(),
            "the curve of seed 7 has 1 points, others 2, though the run did not diverge"
        );
        let mut other = curve(7, &[3.0, 4.0], None);
        other.x[1] = 1.5;
        let differs = band(&[
            curve(0, &[1.0, 2.0, 3.0], None),
            Curve {
                diverged: Some(2),
                ..other
            },
        ]);
        assert!(matches!(
            differs,
            Err(GridError::Differs {
                seed: 7,
                index: 1,
                ..
            })
        ));
    }
}
