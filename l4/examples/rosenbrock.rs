//! Rosenbrock's valley, `(1 − x)² + 100·(y − x²)²`, by every first-order method of the crate.
//!
//! ```text
//! cargo run -p l4 --example rosenbrock
//! ```

use l4::rate_free::{
    AliG, DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW, ScheduleFreePlus,
    SpsMax,
};
use l4::{Adam, L4Adam, L4Mom, Momentum, Nesterov, Optimizer, RmsProp, Schedule, Sgd};

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
        Box::new(Nesterov::new(Schedule::constant(1e-4)?)),
        Box::new(RmsProp::new(Schedule::constant(1e-3)?)),
        Box::new(Sgd::new(Schedule::constant(1e-3)?)),
        Box::new(SpsMax::new()),
        Box::new(AliG::new()),
        Box::new(Momo::new()),
        Box::new(MomoAdam::new()),
        Box::new(DAdaptAdam::new()),
        Box::new(Prodigy::new()),
        Box::new(Dog::new()),
        Box::new(ScheduleFreeAdamW::new()),
        Box::new(ScheduleFreePlus::new()),
        Box::new(Mechanic::new(Adam::new(Schedule::constant(1.0)?))),
    ];
    println!(
        "{:<19} {:>6} {:>12}  {:>9}",
        "method", "steps", "loss", "last rate"
    );
    for mut optimizer in optimizers {
        let mut x = START;
        let mut rate = 0.0;
        for _ in 0..STEPS {
            let (loss, mut gradient) = loss_and_gradient(x);
            rate = optimizer.step(loss, &mut x, &mut gradient)?.learning_rate;
        }
        if let Some(&[a, b]) = optimizer.evaluation_point() {
            x = [a, b];
        }
        let loss = loss_and_gradient(x).0;
        println!(
            "{:<19} {STEPS:>6} {loss:>12.3e}  {rate:>9.3e}",
            optimizer.name()
        );
    }
    Ok(())
}
