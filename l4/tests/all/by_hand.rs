//! Every first-order optimiser against steps worked by hand, in `f32` and `f64`.
//!
//! The arithmetic stands beside each step, with the constants of the paper written out, so that
//! changing any of them in the crate turns a test red.

use l4::{Adam, L4Adam, L4Mom, Momentum, Optimizer, Outcome, Real, RmsProp, Schedule, Sgd, Step};

/// An optimiser and the parameters it moves, from θ = (0, …), where relative errors stay small.
struct Run<T, O, const N: usize> {
    optimizer: O,
    theta: [T; N],
}

impl<T: Real, O: Optimizer<T>, const N: usize> Run<T, O, N> {
    fn new(optimizer: O) -> Self {
        let theta = [T::zero(); N];
        Run { optimizer, theta }
    }

    /// A step that is expected to move each θ by −`update`; returns it for closer looks.
    fn step(&mut self, loss: f64, gradient: [f64; N], update: [f64; N]) -> Step<T> {
        let before = self.theta;
        let mut gradient = gradient.map(T::of);
        let step = self
            .optimizer
            .step(T::of(loss), &mut self.theta, &mut gradient)
            .unwrap();
        for k in 0..N {
            assert_close(before[k] - self.theta[k], update[k]);
        }
        step
    }
}

fn assert_close<T: Real>(found: T, expected: f64) {
    let (found, ulps) = (found.as_f64(), 64.0);
    let tolerance = ulps * T::epsilon().as_f64() * expected.abs().max(1e-3);
    assert!(
        (found - expected).abs() <= tolerance,
        "found {found}, expected {expected}"
    );
}

fn rate<T: Real>(rate: f64) -> Schedule<T> {
    Schedule::constant(T::of(rate)).unwrap()
}

/// Runs a generic test for both number types.
macro_rules! in_f32_and_f64 {
    ($($test:ident),* $(,)?) => {
        mod f32 { $(#[test] fn $test() { super::$test::<f32>(); })* }
        mod f64 { $(#[test] fn $test() { super::$test::<f64>(); })* }
    };
}

in_f32_and_f64!(
    sgd,
    scheduled_sgd,
    momentum,
    adam,
    rmsprop,
    l4mom,
    l4adam,
    l4_epsilon,
    l4adam_epsilon,
    l4_settings,
);

fn sgd<T: Real>() {
    let mut run = Run::<T, _, 2>::new(Sgd::new(rate(0.1)));
    run.step(1.0, [3.0, -1.0], [0.1 * 3.0, -0.1]);
    let step = run.step(-7.0, [0.5, 4.0], [0.1 * 0.5, 0.1 * 4.0]);
    assert_eq!(step, Step::at_rate(T::of(0.1)));
}

fn scheduled_sgd<T: Real>() {
    let rates = vec![T::of(0.5), T::of(0.25)];
    let schedule = Schedule::piecewise_constant(vec![1], rates).unwrap();
    let mut run = Run::<T, _, 1>::new(Sgd::new(schedule));
    run.step(1.0, [2.0], [1.0]);
    run.step(1.0, [2.0], [1.0]);
    let step = run.step(1.0, [2.0], [0.5]);
    assert_eq!(step.learning_rate, T::of(0.25));
}

fn momentum<T: Real>() {
    let mut run = Run::<T, _, 2>::new(Momentum::new(rate(0.01)));
    // a = ∇L
    run.step(1.0, [1.0, -2.0], [0.01 * 1.0, 0.01 * -2.0]);
    // a = 0.9·(1, −2) + (0.5, 0) = (1.4, −1.8)
    run.step(1.0, [0.5, 0.0], [0.01 * 1.4, 0.01 * -1.8]);
    // a = 0.9·(1.4, −1.8) + (−1, 1) = (0.26, −0.62)
    run.step(1.0, [-1.0, 1.0], [0.01 * 0.26, 0.01 * -0.62]);
}

fn adam<T: Real>() {
    let mut run = Run::<T, _, 2>::new(Adam::new(rate(0.01)));
    // m = 0.1·(1, −2), v = 0.001·(1, 4); rate 0.01·√(1 − 0.999)/(1 − 0.9)
    let lr = 0.01 * 0.001f64.sqrt() / 0.1;
    let update = [
        lr * 0.1 / (0.001f64.sqrt() + 1e-4),
        lr * -0.2 / (0.004f64.sqrt() + 1e-4),
    ];
    run.step(1.0, [1.0, -2.0], update);
    // m = 0.9·(0.1, −0.2) + 0.1·(0.5, 0) = (0.14, −0.18)
    // v = 0.999·(0.001, 0.004) + 0.001·(0.25, 0) = (0.001249, 0.003996)
    // 1 − 0.999² = 0.001999, 1 − 0.9² = 0.19
    let lr = 0.01 * 0.001999f64.sqrt() / 0.19;
    let update = [
        lr * 0.14 / (0.001249f64.sqrt() + 1e-4),
        lr * -0.18 / (0.003996f64.sqrt() + 1e-4),
    ];
    run.step(1.0, [0.5, 0.0], update);
    // m = 0.9·(0.14, −0.18) + 0.1·(−1, 1) = (0.026, −0.062)
    // v = 0.999·(0.001249, 0.003996) + 0.001·(1, 1) = (0.002247751, 0.004992004)
    // 1 − 0.999³ = 0.002997001, 1 − 0.9³ = 0.271
    let lr = 0.01 * 0.002997001f64.sqrt() / 0.271;
    let update = [
        lr * 0.026 / (0.002247751f64.sqrt() + 1e-4),
        lr * -0.062 / (0.004992004f64.sqrt() + 1e-4),
    ];
    let step = run.step(1.0, [-1.0, 1.0], update);
    assert_eq!(step, Step::at_rate(T::of(0.01)));
}

fn rmsprop<T: Real>() {
    let mut run = Run::<T, _, 2>::new(RmsProp::new(rate(0.01)));
    // ms = 0.9·1 + 0.1·(4, 0) = (1.3, 0.9)
    run.step(1.0, [2.0, 0.0], [0.01 * 2.0 / (1.3f64 + 1e-10).sqrt(), 0.0]);
    // ms = 0.9·(1.3, 0.9) + 0.1·(1, 9) = (1.27, 1.71)
    let update = [
        0.01 / (1.27f64 + 1e-10).sqrt(),
        0.01 * -3.0 / (1.71f64 + 1e-10).sqrt(),
    ];
    run.step(1.0, [1.0, -3.0], update);
    // With decay 0, ms = (1e-5)² = 1e-10 and 1e-10 + 1e-10 under the root.
    let forgetful = RmsProp::new(rate(0.01)).decay(0.0).unwrap();
    let mut run = Run::<T, _, 1>::new(forgetful);
    run.step(1.0, [1e-5], [0.01 * 1e-5 / 2e-10f64.sqrt()]);
}

fn l4mom<T: Real>() {
    let mut run = Run::<T, _, 2>::new(L4Mom::new());
    // m = 0.1·(1, −2); g = v = m/(1 − 0.9) = (1, −2); g·v = 5
    // Lmin = 0.75·2 = 1.5
    let eta = 0.15 * (2.0 - 0.9 * 1.5) / (5.0 + 1e-12);
    let step = run.step(2.0, [1.0, -2.0], [eta, eta * -2.0]);
    assert_close(step.learning_rate, eta);
    assert_close(step.l_min.unwrap(), 1.5);
    assert_close(step.inner_product.unwrap(), 5.0);
    assert_eq!(step.outcome, Outcome::Updated);
    // m = 0.9·(0.1, −0.2) + 0.1·(0.5, 0) = (0.14, −0.18); g = v = m/(1 − 0.9²)
    // Lmin = min(1.5·1.001, 1) = 1
    let v = [0.14 / 0.19, -0.18 / 0.19];
    let eta = 0.15 * (1.0 - 0.9 * 1.0) / (v[0] * v[0] + v[1] * v[1] + 1e-12);
    let step = run.step(1.0, [0.5, 0.0], [eta * v[0], eta * v[1]]);
    assert_close(step.l_min.unwrap(), 1.0);
    // m = 0.9·(0.14, −0.18) + 0.1·(−1, 1) = (0.026, −0.062); g = v = m/(1 − 0.9³)
    // Lmin = min(1·(1 + 1/1000), 4) = 1.001
    let v = [0.026 / 0.271, -0.062 / 0.271];
    let eta = 0.15 * (4.0 - 0.9 * 1.001) / (v[0] * v[0] + v[1] * v[1] + 1e-12);
    let step = run.step(4.0, [-1.0, 1.0], [eta * v[0], eta * v[1]]);
    assert_close(step.l_min.unwrap(), 1.001);
}

fn l4adam<T: Real>() {
    let mut run = Run::<T, _, 2>::new(L4Adam::new());
    // g as in l4mom: (1, −2)
    // s = 0.001·(1, 4), corrected by 1 − 0.999: (1, 4); v = (1/(1 + 1e-4), −2/(2 + 1e-4))
    let v = [1.0 / 1.0001, -2.0 / 2.0001];
    let eta = 0.15 * (2.0 - 0.9 * 1.5) / (v[0] - 2.0 * v[1] + 1e-12);
    let step = run.step(2.0, [1.0, -2.0], [eta * v[0], eta * v[1]]);
    assert_close(step.learning_rate, eta);
    assert_close(step.inner_product.unwrap(), v[0] - 2.0 * v[1]);
    // g = (0.14, −0.18)/0.19
    // s = 0.999·(0.001, 0.004) + 0.001·(0.25, 0) = (0.001249, 0.003996), by 1 − 0.999² = 0.001999
    let g = [0.14 / 0.19, -0.18 / 0.19];
    let v = [
        g[0] / ((0.001249f64 / 0.001999).sqrt() + 1e-4),
        g[1] / ((0.003996f64 / 0.001999).sqrt() + 1e-4),
    ];
    let eta = 0.15 * (1.0 - 0.9 * 1.0) / (g[0] * v[0] + g[1] * v[1] + 1e-12);
    run.step(1.0, [0.5, 0.0], [eta * v[0], eta * v[1]]);
    // g = (0.026, −0.062)/0.271
    // s = 0.999·(0.001249, 0.003996) + 0.001·(1, 1) = (0.002247751, 0.004992004),
    // by 1 − 0.999³ = 0.002997001
    let g = [0.026 / 0.271, -0.062 / 0.271];
    let v = [
        g[0] / ((0.002247751f64 / 0.002997001).sqrt() + 1e-4),
        g[1] / ((0.004992004f64 / 0.002997001).sqrt() + 1e-4),
    ];
    let eta = 0.15 * (4.0 - 0.9 * 1.001) / (g[0] * v[0] + g[1] * v[1] + 1e-12);
    let step = run.step(4.0, [-1.0, 1.0], [eta * v[0], eta * v[1]]);
    assert_close(step.l_min.unwrap(), 1.001);
}

/// Where g·v = (1e-6)² = 1e-12, ε = 1e-12 halves the step.
fn l4_epsilon<T: Real>() {
    let mut run = Run::<T, _, 1>::new(L4Mom::new());
    let eta = 0.15 * (1.0 - 0.9 * 0.75) / (1e-12 + 1e-12);
    run.step(1.0, [1e-6], [eta * 1e-6]);
}

/// Where |∇L| = 1e-4, the constant 1e-4 halves the direction: g = 1e-4, v = 1/2.
fn l4adam_epsilon<T: Real>() {
    let mut run = Run::<T, _, 1>::new(L4Adam::new());
    let eta = 0.15 * (1.0 - 0.9 * 0.75) / (1e-4 * 0.5 + 1e-12);
    let step = run.step(1.0, [1e-4], [eta * 0.5]);
    assert_close(step.inner_product.unwrap(), 0.5e-4);
}

/// Every setter reaches the formula.
fn l4_settings<T: Real>() {
    let mut run = Run::<T, _, 1>::new(
        L4Mom::new()
            .alpha(T::of(0.25))
            .and_then(|l4| l4.gamma(T::of(0.5)))
            .and_then(|l4| l4.gamma0(T::of(0.25)))
            .and_then(|l4| l4.tau(T::of(2.0)))
            .and_then(|l4| l4.epsilon(T::of(1.0)))
            .unwrap(),
    );
    // g = v = 1, Lmin = 0.25·4 = 1
    run.step(4.0, [1.0], [0.25 * (4.0 - 0.5 * 1.0) / (1.0 + 1.0)]);
    // Lmin = 1·(1 + 1/2)
    run.step(4.0, [1.0], [0.25 * (4.0 - 0.5 * 1.5) / (1.0 + 1.0)]);
}
