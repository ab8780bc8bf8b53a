//! Rosenbrock's valley, `(1 − x)² + 100·(y − x²)²`, by every optimiser of the crate.
//!
//! ```text
//! cargo run -p l4 --example rosenbrock
//! ```

use l4::{
    Adam, L4Adam, L4Mom, LeastSquares, LevenbergMarquardt, LevenbergMarquardtOutcome, Momentum,
    Optimizer, Schedule, Sgd,
};

const START: [f64; 2] = [-1.2, 1.0];
const STEPS: usize = 5000;

/// The residuals `(1 − x, 10·(y − x²))`, whose squares add up to the function.
struct Rosenbrock;

impl LeastSquares for Rosenbrock {
    fn residual_count(&self) -> usize {
        2
    }

    fn parameter_count(&self) -> usize {
        2
    }

    fn residuals(&mut self, x: &[f64], r: &mut [f64]) {
        r.copy_from_slice(&[1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])]);
    }

    fn jacobian(&mut self, x: &[f64], j: &mut [f64]) {
        j.copy_from_slice(&[-1.0, 0.0, -20.0 * x[0], 10.0]);
    }
}

/// The function and its gradient 2·Jᵀr.
fn loss_and_gradient(x: &[f64; 2]) -> (f64, [f64; 2]) {
    let (mut r, mut j) = ([0.0; 2], [0.0; 4]);
    Rosenbrock.residuals(x, &mut r);
    Rosenbrock.jacobian(x, &mut j);
    let gradient = [0, 1].map(|k| 2.0 * (j[k] * r[0] + j[2 + k] * r[1]));
    (r[0] * r[0] + r[1] * r[1], gradient)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let optimizers: Vec<Box<dyn Optimizer<f64>>> = vec![
        Box::new(L4Adam::new()),
        Box::new(L4Mom::new()),
        Box::new(Adam::new(Schedule::constant(0.01)?)),
        Box::new(Momentum::new(Schedule::constant(1e-4)?)),
        Box::new(Sgd::new(Schedule::constant(1e-3)?)),
    ];
    println!(
        "{:<8} {:>6} {:>12}  {:>9}",
        "method", "steps", "loss", "last rate"
    );
    for mut optimizer in optimizers {
        let mut x = START;
        let mut rate = 0.0;
        for _ in 0..STEPS {
            let (loss, mut gradient) = loss_and_gradient(&x);
            rate = optimizer.step(loss, &mut x, &mut gradient)?.learning_rate;
        }
        let loss = loss_and_gradient(&x).0;
        println!(
            "{:<8} {STEPS:>6} {loss:>12.3e}  {rate:>9.3e}",
            optimizer.name()
        );
    }

    let mut solver = LevenbergMarquardt::new(Rosenbrock);
    let mut x = START;
    let mut steps = 0;
    while solver.step(&mut x)?.outcome != LevenbergMarquardtOutcome::Stationary {
        steps += 1;
    }
    println!("{:<8} {steps:>6} {:>12.3e}", "LMA", loss_and_gradient(&x).0);
    Ok(())
}
