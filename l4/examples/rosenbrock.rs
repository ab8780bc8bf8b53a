//! Rosenbrock's valley, `(1 − x)² + 100·(y − x²)²`, by every optimiser of the crate.
//!
//! ```text
//! cargo run -p l4 --example rosenbrock
//! ```

use l4::{Adam, L4Adam, L4Mom, Momentum, Optimizer, Schedule, Sgd};

const START: [f64; 2] = [-1.2, 1.0];
const STEPS: usize = 5000;

fn loss_and_gradient([x, y]: [f64; 2]) -> (f64, [f64; 2]) {
    let (a, b) = (1.0 - x, y - x * x);
    (a * a + 100.0 * b * b, [-2.0 * a - 400.0 * x * b, 200.0 * b])
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
            let (loss, mut gradient) = loss_and_gradient(x);
            rate = optimizer.step(loss, &mut x, &mut gradient)?.learning_rate;
        }
        let loss = loss_and_gradient(x).0;
        println!(
            "{:<8} {STEPS:>6} {loss:>12.3e}  {rate:>9.3e}",
            optimizer.name()
        );
    }
    Ok(())
}
