//! The badly conditioned linear regression of section 3.1 (Fig. 2), after B. Recht's
//! shallow-linear-net.
//!
//! Inputs *x* ~ N(0, I) and targets *y* = *A x*, where
//!
//! > *A* = diag(linspace(1, 1/condition, outputs)) · U\[0, 1\]^(outputs × inputs).
//!
//! A network W1 W2 fitted to it can reach a loss of exactly zero, yet constant learning rates are
//! reported to stall. The paper's dimensions are those of [`RegressionSpec::default`].
//!
//! ```
//! use datasets::regression::{RegressionProblem, RegressionSpec};
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//!
//! let mut rng = ChaCha8Rng::seed_from_u64(1);
//! let problem = RegressionProblem::generate(RegressionSpec::default(), &mut rng)?;
//! assert_eq!(problem.x.len(), 6 * 1000);
//! assert_eq!(problem.y.len(), 10 * 1000);
//! # Ok::<(), datasets::regression::RegressionError>(())
//! ```

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use thiserror::Error;

/// Dimensions and condition number of a [`RegressionProblem`]. The default is the paper's: 6 → 10,
/// 1000 samples, 1e5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionSpec {
    /// Components of one input *x*.
    pub inputs: usize,
    /// Components of one target *y*.
    pub outputs: usize,
    /// Pairs (*x*, *y*), drawn once.
    pub samples: usize,
    /// Condition number of the diagonal factor of *A*: the scale of its first row over that of its
    /// last. Finite, at least 1, and exactly 1 if there is one row only.
    pub condition: f64,
}

impl Default for RegressionSpec {
    fn default() -> Self {
        Self {
            inputs: 6,
            outputs: 10,
            samples: 1000,
            condition: 1e5,
        }
    }
}

/// A drawn instance of the regression task of section 3.1. All matrices are row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct RegressionProblem {
    /// What it was drawn from.
    pub spec: RegressionSpec,
    /// The map to be learnt, *A*: `outputs × inputs`.
    pub a: Vec<f64>,
    /// The inputs, one sample per column: `inputs × samples`.
    pub x: Vec<f64>,
    /// The targets *y* = *A x*, one sample per column: `outputs × samples`.
    pub y: Vec<f64>,
}

/// A [`RegressionSpec`] from which no problem can be drawn.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RegressionError {
    /// One of the dimensions is zero.
    #[error("regression problem: `{dimension}` is 0, expected at least 1")]
    EmptyDimension {
        /// The field of [`RegressionSpec`].
        dimension: &'static str,
    },
    /// The condition number is below 1, infinite or not a number.
    #[error(
        "regression problem: condition number is {found}, expected a finite number of at least 1"
    )]
    Condition {
        /// The condition number asked for.
        found: f64,
    },
    /// A single row has the scale 1, and so the condition number 1.
    #[error("regression problem: one output has condition number 1, found {found}; add outputs")]
    ConditionOfOneRow {
        /// The condition number asked for.
        found: f64,
    },
    /// The matrices do not fit into memory.
    #[error("regression problem: a {rows} × {columns} matrix of f64 does not fit into memory")]
    TooLarge {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
}

impl RegressionSpec {
    fn check(&self) -> Result<(), RegressionError> {
        let dimensions = [
            ("inputs", self.inputs),
            ("outputs", self.outputs),
            ("samples", self.samples),
        ];
        for (dimension, size) in dimensions {
            if size == 0 {
                return Err(RegressionError::EmptyDimension { dimension });
            }
        }
        let found = self.condition;
        if !found.is_finite() || found < 1.0 {
            return Err(RegressionError::Condition { found });
        }
        if self.outputs == 1 && found != 1.0 {
            return Err(RegressionError::ConditionOfOneRow { found });
        }
        Ok(())
    }

    /// linspace(1, 1/condition, outputs)\[row\].
    fn row_scale(&self, row: usize) -> f64 {
        if self.outputs == 1 {
            return 1.0;
        }
        let last = self.condition.recip();
        let t = row as f64 / (self.outputs - 1) as f64;
        // Not 1 + t·(last − 1): rounding there would spoil the last scale, 1/condition, for large
        // condition numbers.
        (1.0 - t) + t * last
    }
}

impl RegressionProblem {
    /// Draws a problem. From the generator are taken, in this order: U\[0, 1\]^(outputs × inputs)
    /// and then N(0, 1)^(inputs × samples), both row by row.
    ///
    /// # Errors
    /// A dimension of 0, a condition number that is not finite or below 1 (or other than 1 for a
    /// single output), or matrices larger than memory.
    pub fn generate(
        spec: RegressionSpec,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<Self, RegressionError> {
        spec.check()?;
        let RegressionSpec {
            inputs,
            outputs,
            samples,
            ..
        } = spec;
        let mut a = zeros(outputs, inputs)?;
        let mut x = zeros(inputs, samples)?;
        let mut y = zeros(outputs, samples)?;

        for (row, entries) in a.chunks_exact_mut(inputs).enumerate() {
            let scale = spec.row_scale(row);
            for entry in entries {
                let uniform: f64 = StandardUniform.sample(rng);
                *entry = scale * uniform;
            }
        }
        x.fill_with(|| rng.sample(StandardNormal));
        multiply(&a, &x, &mut y, inputs, samples);
        Ok(Self { spec, a, x, y })
    }
}

/// y ← A x, for y starting at zero: `(… × inner) · (inner × columns)`.
fn multiply(a: &[f64], x: &[f64], y: &mut [f64], inner: usize, columns: usize) {
    for (a_row, y_row) in a.chunks_exact(inner).zip(y.chunks_exact_mut(columns)) {
        for (&a_entry, x_row) in a_row.iter().zip(x.chunks_exact(columns)) {
            for (y_entry, &x_entry) in y_row.iter_mut().zip(x_row) {
                *y_entry += a_entry * x_entry;
            }
        }
    }
}

fn zeros(rows: usize, columns: usize) -> Result<Vec<f64>, RegressionError> {
    let too_large = || RegressionError::TooLarge { rows, columns };
    let length = rows.checked_mul(columns).ok_or_else(too_large)?;
    let mut matrix = Vec::new();
    matrix.try_reserve_exact(length).map_err(|_| too_large())?;
    matrix.resize(length, 0.0);
    Ok(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn draw(spec: RegressionSpec, seed: u64) -> Result<RegressionProblem, RegressionError> {
        RegressionProblem::generate(spec, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn targets_are_a_times_x() {
        let spec = RegressionSpec {
            inputs: 3,
            outputs: 4,
            samples: 7,
            condition: 1e3,
        };
        let problem = draw(spec, 1).unwrap();
        for output in 0..4 {
            for sample in 0..7 {
                let expected: f64 = (0..3)
                    .map(|input| problem.a[output * 3 + input] * problem.x[input * 7 + sample])
                    .sum();
                let found = problem.y[output * 7 + sample];
                assert!(
                    (found - expected).abs() < 1e-14,
                    "y[{output}, {sample}]: {found} != {expected}"
                );
            }
        }
    }

    #[test]
    fn the_paper_s_row_scales() {
        let spec = RegressionSpec::default();
        assert_eq!(spec.row_scale(0), 1.0);
        assert!((spec.row_scale(9) - 1e-5).abs() < 1e-20);
        let step = (1.0 - 1e-5) / 9.0;
        for row in 0..10 {
            assert!((spec.row_scale(row) - (1.0 - row as f64 * step)).abs() < 1e-15);
        }
    }

    #[test]
    fn rows_of_a_are_uniform_up_to_their_scale() {
        let spec = RegressionSpec {
            inputs: 4000,
            samples: 1,
            ..RegressionSpec::default()
        };
        let problem = draw(spec, 2).unwrap();
        for (row, entries) in problem.a.chunks_exact(4000).enumerate() {
            let scale = spec.row_scale(row);
            assert!(entries.iter().all(|&entry| (0.0..=scale).contains(&entry)));
            let mean = entries.iter().sum::<f64>() / (4000.0 * scale);
            // Five standard errors of the mean of 4000 uniform draws.
            assert!(
                (mean - 0.5).abs() < 5.0 / (12.0 * 4000.0f64).sqrt(),
                "row {row}: mean {mean}"
            );
        }
    }

    #[test]
    fn inputs_are_standard_normal() {
        let problem = draw(RegressionSpec::default(), 3).unwrap();
        let n = problem.x.len() as f64;
        let mean = problem.x.iter().sum::<f64>() / n;
        let variance = problem.x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 5.0 / n.sqrt(), "mean {mean}");
        assert!(
            (variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
            "variance {variance}"
        );
    }

    #[test]
    fn the_generator_alone_decides() {
        let spec = RegressionSpec::default();
        assert_eq!(draw(spec, 4), draw(spec, 4));
        assert_ne!(draw(spec, 4), draw(spec, 5));
    }

    #[test]
    fn bad_specs_are_errors() {
        let base = RegressionSpec::default();
        let empty = |dimension| RegressionError::EmptyDimension { dimension };
        let cases = [
            (RegressionSpec { inputs: 0, ..base }, empty("inputs")),
            (RegressionSpec { outputs: 0, ..base }, empty("outputs")),
            (RegressionSpec { samples: 0, ..base }, empty("samples")),
            (
                RegressionSpec {
                    condition: 0.5,
                    ..base
                },
                RegressionError::Condition { found: 0.5 },
            ),
            (
                RegressionSpec {
                    condition: f64::INFINITY,
                    ..base
                },
                RegressionError::Condition {
                    found: f64::INFINITY,
                },
            ),
            (
                RegressionSpec { outputs: 1, ..base },
                RegressionError::ConditionOfOneRow { found: 1e5 },
            ),
            (
                RegressionSpec {
                    samples: usize::MAX,
                    ..base
                },
                RegressionError::TooLarge {
                    rows: 6,
                    columns: usize::MAX,
                },
            ),
            (
                RegressionSpec {
                    inputs: 1,
                    samples: usize::MAX / 16,
                    ..base
                },
                RegressionError::TooLarge {
                    rows: 1,
                    columns: usize::MAX / 16,
                },
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(draw(spec, 0), Err(expected), "{spec:?}");
        }
        assert!(
            draw(
                RegressionSpec {
                    condition: f64::NAN,
                    ..base
                },
                0
            )
            .is_err()
        );
        assert!(
            draw(
                RegressionSpec {
                    outputs: 1,
                    condition: 1.0,
                    ..base
                },
                0
            )
            .is_ok()
        );
    }
}
