//! Claim C12, section 2.3: the core of L4 takes the same trajectory on L and on a·L + b, Eq. (4).
//!
//! "Core" is the update without the heuristics of section 2.4: Lmin is given, is not forgotten (τ = ∞) and is believed in whole
//! (γ = 1), and no constant guards a denominator (ε = 0, δ = 0). Lmin moves along with the loss.

use anyhow::{Context, Result};
use l4::{AdamDirection, AlongEstimate, AveragedGradient, Direction, L4, MovingAverage, Optimizer};
use rand::{Rng, RngExt};
use serde_json::json;

use crate::engine::streams::{Purpose, stream};
use crate::numbers::{AFFINE_INVARIANCE, ArmNumbers, RunNumbers};

/// Steps of each trajectory.
const STEPS: u64 = 100;
/// Transforms that are tried.
const TRANSFORMS: usize = 100;
/// Curvatures of the quadratic loss ½Σ cᵢxᵢ² + 1.
const CURVATURES: [f64; 4] = [0.01, 0.1, 1.0, 10.0];
/// The start.
const START: [f64; 4] = [3.0, -2.0, 1.0, -0.5];
/// The least loss, which the core form is told.
const LEAST: f64 = 1.0;

/// a·L + b.
#[derive(Clone, Copy)]
struct Transform {
    a: f64,
    b: f64,
}

/// A loss as it reaches the optimiser.
#[derive(Clone, Copy)]
enum Seen {
    /// Transformed.
    As(Transform),
    /// As it is, but with the errors that rounding a·L + b to a few units in the last place makes of it.
    Rounded(Transform),
}

/// Units in the last place by which a loss may be off: it is a sum of a few terms.
const UNITS: f64 = 8.0;

impl Seen {
    /// a, b, and the error to be added, in the unit of the loss that is seen.
    fn of(self, loss: f64, rng: &mut impl Rng) -> (f64, f64, f64) {
        match self {
            Seen::As(Transform { a, b }) => (a, b, 0.0),
            Seen::Rounded(Transform { a, b }) => {
                let size = loss.abs() + b.abs() / a;
                (
                    1.0,
                    0.0,
                    UNITS * f64::EPSILON * size * rng.random_range(-1.0..1.0),
                )
            }
        }
    }
}

/// θ after every step, with Lmin told at the first.
fn trajectory<D: Direction<f64>>(
    core: impl Fn() -> Result<L4<AveragedGradient<f64>, D, f64>>,
    seen: Seen,
    rng: &mut impl Rng,
) -> Result<Vec<[f64; 4]>> {
    let mut optimizer = core()?;
    let mut theta = START;
    let mut path = Vec::new();
    for step in 0..=STEPS {
        let squares = CURVATURES.iter().zip(theta).map(|(c, x)| c * x * x);
        let loss = 0.5 * squares.sum::<f64>() + LEAST;
        let (a, b, error) = seen.of(loss, rng);
        let mut gradient: Vec<f64> = CURVATURES
            .iter()
            .zip(theta)
            .map(|(c, x)| a * c * x)
            .collect();
        optimizer.step(a * loss + b + error, &mut theta, &mut gradient)?;
        if step == 0 {
            // γ0 = 1 takes the first loss for the least, and so makes no step: from here on Lmin is the true one.
            let mut state = optimizer.state();
            let l_min = state.scalars.get_mut("l_min").context("L4 keeps no Lmin")?;
            *l_min = a * LEAST + b;
            optimizer.restore(state)?;
        } else {
            path.push(theta);
        }
    }
    Ok(path)
}

/// The largest distance between two trajectories, relative to the size of the first.
fn difference(one: &[[f64; 4]], other: &[[f64; 4]]) -> f64 {
    let distance = |(a, b): (&[f64; 4], &[f64; 4])| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let size = a.iter().map(|a| a * a).sum::<f64>();
        (squares / size).sqrt()
    };
    one.iter().zip(other).map(distance).fold(0.0, f64::max)
}

fn measure_one<D: Direction<f64> + Copy>(
    name: &'static str,
    direction: D,
    epsilon: f64,
) -> Result<RunNumbers> {
    let core = || -> Result<_> {
        let core = L4::compose(name, AveragedGradient::default(), direction);
        let core = core.gamma(1.0)?.gamma0(1.0)?.tau(f64::INFINITY)?;
        Ok(core.epsilon(epsilon)?)
    };
    let rng = &mut stream(0, Purpose::Data);
    let identity = Seen::As(Transform { a: 1.0, b: 0.0 });
    let plain = trajectory(core, identity, rng)?;
    let (mut largest, mut rounding) = (0.0_f64, 0.0_f64);
    let mut worst = 0.0_f64;
    for _ in 0..TRANSFORMS {
        let a = 10_f64.powf(rng.random_range(-3.0..3.0));
        let b = rng.random_range(-0.5..10.0) * a;
        let transform = Transform { a, b };
        let found = difference(&plain, &trajectory(core, Seen::As(transform), rng)?);
        let mut allowed = 0.0_f64;
        for _ in 0..4 {
            let rounded = trajectory(core, Seen::Rounded(transform), rng)?;
            allowed = allowed.max(difference(&plain, &rounded));
        }
        if found / allowed > worst {
            (worst, largest, rounding) = (found / allowed, found, allowed);
        }
    }
    let summary = json!({
        "optimizer": name, "steps": STEPS, "transforms": TRANSFORMS,
        "largest_difference": largest, "rounding": rounding,
    });
    let summary = summary.as_object().cloned().unwrap_or_default();
    Ok(RunNumbers::measured(
        format!("invariance of {name}"),
        summary,
    ))
}

/// Both optimisers in their core form, compared on L and on a·L + b. Of all transforms that with the largest difference in
/// relation to what rounding explains is told.
///
/// # Errors
/// If an optimiser refuses a step.
pub fn measure() -> Result<Vec<ArmNumbers>> {
    let adam = AdamDirection::over(MovingAverage::new(1000.0)?, 0.0)?;
    let runs = vec![
        measure_one("L4Adam", adam, 0.0)?,
        measure_one("L4Mom", AlongEstimate, 0.0)?,
    ];
    Ok(vec![ArmNumbers::measurement(AFFINE_INVARIANCE, runs)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_is_invariant_and_the_heuristics_are_not() {
        let measured = measure().unwrap();
        for run in &measured[0].runs {
            let number = |name| run.summary[name].as_f64().unwrap();
            let (found, allowed) = (number("largest_difference"), number("rounding"));
            assert!(found <= allowed && allowed < 1e-6, "{found:e} {allowed:e}");
        }
        // With a constant in the denominator the step depends on a.
        let run = measure_one("L4Mom", AlongEstimate, 1e-3).unwrap();
        let number = |name| run.summary[name].as_f64().unwrap();
        let (found, allowed) = (number("largest_difference"), number("rounding"));
        assert!(found > 1e3 * allowed, "{found:e} {allowed:e}");
    }
}
