//! Eight trainings by the authors' own code, repeated by the crate and by its adapters for other
//! frameworks, each with its own gradients. `trajectories.py` made the numbers, and tells what of that
//! code it changes: float64, and the order of reading and forgetting Lmin.

#[cfg(feature = "burn-flex")]
mod burn;
#[cfg(feature = "candle")]
mod candle;
mod crate_itself;

use serde::Deserialize;

#[derive(Deserialize)]
struct Numbers {
    data: Data,
    cases: Vec<Case>,
}

/// Five batches of eight samples with four inputs and three outputs, used in turn, and the layer
/// that training starts from.
#[derive(Deserialize)]
struct Data {
    inputs: [[[f64; 4]; 8]; 5],
    targets: [[[f64; 3]; 8]; 5],
    labels: [[u8; 8]; 5],
    weight: [[f64; 3]; 4],
    bias: [f64; 3],
}

#[derive(Deserialize)]
struct Case {
    method: String,
    problem: Problem,
    #[serde(flatten)]
    constants: Constants,
    /// Before each step.
    loss: Vec<f64>,
    learning_rate: Vec<f64>,
    /// The parameters after the last step, each flat.
    last: Vec<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Problem {
    /// ½·(x₀² + 10·x₁² + 100·x₂²) from (3, −2, 1).
    Quadratic,
    /// Of a linear layer: the mean over samples of the squared distance to the target.
    Regression,
    /// Of a linear layer: the mean over samples of −log softmax at the label.
    Classification,
}

#[derive(Clone, Copy, Deserialize)]
struct Constants {
    alpha: f64,
    gamma: f64,
    gamma0: f64,
    tau: f64,
    epsilon: f64,
    tau_m: f64,
    tau_s: f64,
    delta: f64,
}

/// The same training elsewhere.
trait Training {
    /// Step number `k`, from 0: the loss before it, and η.
    fn step(&mut self, k: usize) -> (f64, f64);

    /// The parameters, each flat.
    fn params(&self) -> Vec<Vec<f64>>;
}

/// Single precision: ε = 6e-8, times 10 in L − γ·Lmin, and as much again over 50 steps.
const F32: f64 = 1e-5;
const F64: f64 = 1e-11;

/// Repeats every case and compares losses, rates and last parameters, relative to themselves; the
/// parameters, relative to the largest of their tensor.
fn all_agree(tolerance: f64, start: impl for<'a> Fn(&'a Data, &Case) -> Box<dyn Training + 'a>) {
    let numbers: Numbers = serde_json::from_str(include_str!("trajectories.json")).unwrap();
    assert_eq!(numbers.cases.len(), 8);
    for case in &numbers.cases {
        let name = format!("{} on {:?}", case.method, case.problem);
        let mut training = start(&numbers.data, case);
        for (k, (&loss, &rate)) in case.loss.iter().zip(&case.learning_rate).enumerate() {
            let (found_loss, found_rate) = training.step(k);
            assert_near(
                &format!("{name}: loss {k}"),
                found_loss,
                loss,
                tolerance * loss,
            );
            assert_near(
                &format!("{name}: rate {k}"),
                found_rate,
                rate,
                tolerance * rate,
            );
        }
        let params = training.params();
        assert_eq!(params.len(), case.last.len(), "{name}");
        for (found, expected) in params.iter().zip(&case.last) {
            assert_eq!(found.len(), expected.len(), "{name}");
            let largest = expected.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
            for (k, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                assert_near(
                    &format!("{name}: {k}"),
                    found,
                    expected,
                    tolerance * largest,
                );
            }
        }
    }
}

fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    let distance = (found - expected).abs();
    assert!(
        distance <= tolerance,
        "{what}: found {found}, expected {expected}"
    );
}
