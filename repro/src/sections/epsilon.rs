//! What the constant ε of Eq. (6), η = α(L − Lmin)/(gᵀv + ε), does on regression: whether it is what keeps L4 from the loss of
//! 1e-14 of the first that claim C3 is about. gᵀv falls with the loss, ε does not.

use anyhow::Result;
use l4::{L4Adam, L4Mom, Optimizer};
use models::TwoLayerShape;
use serde_json::json;

use crate::numbers::{ArmNumbers, EPSILON, RunNumbers};
use crate::tasks::Problem;
use crate::tasks::regression::Setting;
use crate::tasks::training::Until;

/// Section 3.1's in its paper preset.
const STEPS: u64 = 30_000;
const SEEDS: u64 = 5;
/// The authors', and none.
const EPSILONS: [f64; 2] = [1e-12, 0.0];

/// Both variants at their defaults but for ε, on the problem of section 3.1, run by run.
///
/// # Errors
/// If a problem cannot be drawn.
pub fn measure() -> Result<Vec<ArmNumbers>> {
    let mut runs = Vec::new();
    for epsilon in EPSILONS {
        for seed in 0..SEEDS {
            let adam = L4Adam::new().epsilon(epsilon)?;
            runs.push(run("L4Adam", adam, epsilon, seed)?);
            let mom = L4Mom::new().epsilon(epsilon)?;
            runs.push(run("L4Mom", mom, epsilon, seed)?);
        }
    }
    Ok(vec![ArmNumbers::measurement(EPSILON, runs)])
}

fn run(
    name: &str,
    mut optimizer: impl Optimizer<f64>,
    epsilon: f64,
    seed: u64,
) -> Result<RunNumbers> {
    let setting = Setting {
        shape: TwoLayerShape::PAPER,
        steps: STEPS,
        until: Until::Steps,
    };
    let mut problem = setting.problem(seed)?;
    let mut gradient = problem.params().zeros_like();
    let (mut losses, mut diverged_at) = (Vec::new(), None);
    for step in 0..STEPS {
        let loss = problem.loss_and_gradient(&mut gradient)?;
        let params = problem.params_mut().values_mut();
        if optimizer.step(loss, params, &mut gradient).is_err() {
            diverged_at = Some(step);
            break;
        }
        losses.push(loss);
    }
    let first = losses.first().copied().unwrap_or(f64::NAN);
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let tenth = &losses[losses.len() - losses.len().div_ceil(10)..];
    let last = tenth.iter().sum::<f64>() / tenth.len() as f64;
    let summary = json!({
        "optimizer": name, "epsilon": epsilon, "steps": STEPS,
        "least_relative_loss": least / first, "final_relative_loss": last / first,
    });
    let id = format!("{name} with epsilon {epsilon:e}, seed {seed}");
    Ok(RunNumbers {
        seed,
        diverged_at,
        ..RunNumbers::measured(id, summary.as_object().cloned().unwrap_or_default())
    })
}
