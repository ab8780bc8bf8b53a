//! Levenberg–Marquardt on the badly conditioned regression of section 3.1, and at its edges.

use l4::{
    LeastSquares, LevenbergMarquardt, LevenbergMarquardtError as Error,
    LevenbergMarquardtOutcome as Outcome, Settings, State, StateError,
};
use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Two-layer linear regression, Eq. (8): residuals W1·W2·x − y over all samples, for y = A·x and
/// A = diag(linspace(1, 1e-5))·U[0,1]. Parameters: W1 then W2, row by row.
#[derive(Clone)]
struct TwoLayer {
    inputs: usize,
    hidden: usize,
    outputs: usize,
    /// One sample a column.
    x: DMatrix<f64>,
    y: DMatrix<f64>,
}

impl TwoLayer {
    fn new(
        inputs: usize,
        hidden: usize,
        outputs: usize,
        samples: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let x = DMatrix::from_fn(inputs, samples, |_, _| rng.sample(StandardNormal));
        let a = DMatrix::from_fn(outputs, inputs, |row, _| {
            let scale = 1.0 + (1e-5 - 1.0) * row as f64 / (outputs - 1) as f64;
            scale * rng.random::<f64>()
        });
        let y = a * &x;
        TwoLayer {
            inputs,
            hidden,
            outputs,
            x,
            y,
        }
    }

    fn weights(&self, theta: &[f64]) -> (DMatrix<f64>, DMatrix<f64>) {
        let (w1, w2) = theta.split_at(self.outputs * self.hidden);
        (
            DMatrix::from_row_slice(self.outputs, self.hidden, w1),
            DMatrix::from_row_slice(self.hidden, self.inputs, w2),
        )
    }
}

impl LeastSquares for TwoLayer {
    fn residual_count(&self) -> usize {
        self.y.len()
    }

    fn parameter_count(&self) -> usize {
        self.hidden * (self.outputs + self.inputs)
    }

    fn residuals(&mut self, theta: &[f64], r: &mut [f64]) {
        let (w1, w2) = self.weights(theta);
        r.copy_from_slice((w1 * w2 * &self.x - &self.y).as_slice());
    }

    /// ∂rₛₒ/∂W1ₒₕ = (W2·xₛ)ₕ and ∂rₛₒ/∂W2ₕᵢ = W1ₒₕ·xₛᵢ.
    fn jacobian(&mut self, theta: &[f64], j: &mut [f64]) {
        let (w1, w2) = self.weights(theta);
        let hidden = &w2 * &self.x;
        let rows = j.chunks_exact_mut(self.parameter_count());
        for (i, row) in rows.enumerate() {
            let (sample, output) = (i / self.outputs, i % self.outputs);
            let (by_w1, by_w2) = row.split_at_mut(self.outputs * self.hidden);
            for h in 0..self.hidden {
                by_w1[output * self.hidden + h] = hidden[(h, sample)];
                for k in 0..self.inputs {
                    by_w2[h * self.inputs + k] = w1[(output, h)] * self.x[(k, sample)];
                }
            }
        }
    }
}

fn start(problem: &TwoLayer, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..problem.parameter_count())
        .map(|_| rng.sample(StandardNormal))
        .collect()
}

/// Solves until the loss has fallen by `tolerance` and returns the number of steps.
fn steps_to<P: LeastSquares>(problem: P, mut x: Vec<f64>, tolerance: f64) -> Option<u64> {
    let mut solver = LevenbergMarquardt::new(problem);
    let mut first = None;
    for k in 1..=100 {
        let step = solver.step(&mut x).unwrap();
        assert!(step.loss_after <= step.loss_before);
        if step.loss_after <= tolerance * *first.get_or_insert(step.loss_before) {
            return Some(k);
        }
    }
    None
}

/// Condition number 1e5 and h² = 9 directions of gauge freedom, (W1·G)·(G⁻¹·W2) = W1·W2.
#[test]
fn solves_the_badly_conditioned_regression_to_the_last_digits() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let problem = TwoLayer::new(3, 3, 5, 40, &mut rng);
        let x = start(&problem, &mut rng);
        let steps = steps_to(problem, x, 1e-20);
        assert!(
            steps.is_some_and(|steps| steps < 40),
            "seed {seed}: {steps:?}"
        );
    }
}

/// The problem at the paper's size: 10000 residuals, 96 parameters.
#[test]
fn solves_the_regression_of_the_paper() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let problem = TwoLayer::new(6, 6, 10, 1000, &mut rng);
    let x = start(&problem, &mut rng);
    let steps = steps_to(problem, x, 1e-14);
    assert!(steps.is_some_and(|steps| steps < 20), "{steps:?}");
}

/// One residual of one parameter, given with its derivative.
struct Scalar<F>(F);

impl<F: Fn(f64) -> (f64, f64)> LeastSquares for Scalar<F> {
    fn residual_count(&self) -> usize {
        1
    }

    fn parameter_count(&self) -> usize {
        1
    }

    fn residuals(&mut self, x: &[f64], r: &mut [f64]) {
        r[0] = self.0(x[0]).0;
    }

    fn jacobian(&mut self, x: &[f64], j: &mut [f64]) {
        j[0] = self.0(x[0]).1;
    }
}

fn assert_close(found: f64, expected: f64) {
    let tolerance = 1e-12 * expected.abs();
    assert!(
        (found - expected).abs() <= tolerance,
        "found {found}, expected {expected}"
    );
}

/// r = 3(x − 3) at x = 1: F = 18, JᵀJ = 9, Jᵀr = −18, λ = 1e-3·9 = 0.009, h = 18/9.009. The model
/// is exact, so ρ = 1 and λ falls to a third.
#[test]
fn a_linear_problem_by_hand() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x| (3.0 * (x - 3.0), 3.0)));
    let mut x = [1.0];
    let step = solver.step(&mut x).unwrap();
    let h = 18.0 / 9.009;
    assert_close(x[0], 1.0 + h);
    assert_close(step.damping, 0.009);
    assert_close(step.loss_before, 18.0);
    assert_eq!(step.outcome, Outcome::Accepted);
    let loss = 0.5 * (3.0 * (h - 2.0)).powi(2);
    assert!((step.loss_after - loss).abs() < 1e-14);
    assert_close(solver.step(&mut x).unwrap().damping, 0.003);
}

/// r = x³ at x = 1: F = 1/2, J = 3, JᵀJ = 9, Jᵀr = 3, λ = 0.009, h = −3/9.009;
/// predicted ½·h·(λh − 3); λ then by 1 − (2ρ − 1)³, which is above 1/3 here.
#[test]
fn the_gain_ratio_by_hand() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x: f64| (x.powi(3), 3.0 * x * x)));
    let mut x = [1.0];
    solver.step(&mut x).unwrap();
    let h = -3.0 / 9.009;
    assert_close(x[0], 1.0 + h);
    let rho = (0.5 - 0.5 * (1.0 + h).powi(6)) / (0.5 * h * (0.009 * h - 3.0));
    let factor = 1.0 - (2.0 * rho - 1.0).powi(3);
    assert!(factor > 0.4 && factor < 0.5);
    assert_close(solver.step(&mut x).unwrap().damping, 0.009 * factor);
}

/// Gauss–Newton overshoots on r = atan x from x = 10: λ grows by 2, 4, 8, … until it does not.
#[test]
fn rejected_steps_leave_x_and_raise_the_damping_ever_faster() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x: f64| (x.atan(), 1.0 / (1.0 + x * x))));
    let mut x = [10.0];
    let dampings = [(); 4].map(|()| {
        let step = solver.step(&mut x).unwrap();
        assert_eq!((step.outcome, x), (Outcome::Rejected, [10.0]));
        assert_eq!(step.loss_before, step.loss_after);
        step.damping
    });
    assert_close(dampings[0], 1e-3 / 101.0f64.powi(2));
    assert_close(dampings[1], 2.0 * dampings[0]);
    assert_close(dampings[2], 4.0 * dampings[1]);
    assert_close(dampings[3], 8.0 * dampings[2]);
    let mut steps = (0..100).map(|_| solver.step(&mut x).unwrap().outcome);
    assert!(steps.any(|outcome| outcome == Outcome::Stationary));
    assert!(x[0].abs() < 1e-12);
}

#[test]
fn the_damping_does_not_fall_below_rounding() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x| (3.0 * (x - 3.0), 3.0)));
    let state = solver.state().with_scalar("damping", 1e-300);
    let state = State {
        step: 1,
        ..state.with_scalar("growth", 2.0)
    };
    solver.restore(state).unwrap();
    let step = solver.step(&mut [1.0]).unwrap();
    assert_eq!(step.damping, f64::EPSILON * 9.0);
}

#[test]
fn a_trial_point_without_a_loss_is_rejected() {
    // √x is NaN where the first, least damped step leads.
    let mut solver = LevenbergMarquardt::new(Scalar(|x: f64| (x.sqrt() + 1.0, 0.5 / x.sqrt())));
    let mut x = [1.0];
    let step = solver.step(&mut x).unwrap();
    assert_eq!((step.outcome, x), (Outcome::Rejected, [1.0]));
}

#[test]
fn a_solved_problem_is_stationary() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x| (x - 3.0, 1.0)));
    let mut x = [3.0];
    let step = solver.step(&mut x).unwrap();
    assert_eq!(
        (step.outcome, step.loss_after, x),
        (Outcome::Stationary, 0.0, [3.0])
    );
    let mut restored = LevenbergMarquardt::new(Scalar(|x| (x - 3.0, 1.0)));
    restored.restore(solver.state()).unwrap();
    assert_eq!(restored.state(), solver.state());
}

#[test]
fn what_is_not_finite_is_refused() {
    let refused = |r: f64, j: f64| {
        let mut solver = LevenbergMarquardt::new(Scalar(move |_| (r, j)));
        let (mut x, fresh) = ([1.0], solver.state());
        let error = solver.step(&mut x).unwrap_err();
        assert_eq!((x, solver.state()), ([1.0], fresh));
        error
    };
    for r in [f64::NAN, f64::INFINITY, 1e200] {
        assert!(matches!(refused(r, 1.0), Error::NonFiniteResiduals { .. }));
    }
    for j in [f64::NAN, f64::INFINITY, 1e200] {
        assert_eq!(refused(1.0, j), Error::NonFiniteJacobian);
    }
}

#[test]
fn x_of_another_length_is_refused() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x| (x, 1.0)));
    let (expected, found) = (1, 2);
    assert_eq!(
        solver.step(&mut [1.0, 2.0]),
        Err(Error::ParameterCount { expected, found })
    );
}

#[test]
fn continues_exactly_from_a_saved_state() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let problem = TwoLayer::new(3, 3, 5, 40, &mut rng);
    let mut x = start(&problem, &mut rng);
    let mut original = LevenbergMarquardt::new(problem.clone());
    let mut restored = LevenbergMarquardt::new(problem);
    for _ in 0..4 {
        original.step(&mut x).unwrap();
    }
    let mut resumed = x.clone();
    restored.restore(original.state()).unwrap();
    for _ in 0..4 {
        assert_eq!(original.step(&mut x), restored.step(&mut resumed));
        assert_eq!(x, resumed);
    }
    assert_eq!(original.state(), restored.state());
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let mut solver = LevenbergMarquardt::new(Scalar(|x| (3.0 * (x - 3.0), 3.0)));
    solver.step(&mut [1.0]).unwrap();
    let state = solver.state();
    let mut without = state.clone();
    without.scalars.remove("growth");
    let with = state.clone().with_scalar("l_min", 1.0);
    let negative = state.clone().with_scalar("damping", -1.0);
    assert!(matches!(
        solver.restore(without),
        Err(StateError::Missing { .. })
    ));
    assert!(matches!(
        solver.restore(with),
        Err(StateError::Unexpected { .. })
    ));
    assert!(matches!(
        solver.restore(negative),
        Err(StateError::Value { .. })
    ));
    assert_eq!(solver.state(), state);
}

/// The caller may move x between steps; nothing remembered of the old point may leak in.
#[test]
fn x_may_be_moved_between_steps() {
    let problem = || Scalar(|x: f64| (x.exp() - 2.0, x.exp()));
    let mut moved = LevenbergMarquardt::new(problem());
    moved.step(&mut [1.0]).unwrap();
    let mut fresh = LevenbergMarquardt::new(problem());
    fresh.restore(moved.state()).unwrap();
    let (mut a, mut b) = ([0.3], [0.3]);
    assert_eq!(moved.step(&mut a), fresh.step(&mut b));
    assert_eq!(a, b);
}

#[test]
fn settings_and_bytes() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let solver = LevenbergMarquardt::new(TwoLayer::new(2, 1, 3, 5, &mut rng));
    let settings = Settings::of("LMA").with_number("initial_damping", 1e-3);
    assert_eq!(solver.settings(), settings);
    let solver = solver.initial_damping(0.5).unwrap();
    let settings = Settings::of("LMA").with_number("initial_damping", 0.5);
    assert_eq!(solver.settings(), settings);
    // 15 residuals and 5 parameters: J, JᵀJ, Jᵀr, r twice.
    assert_eq!(solver.state_bytes(), 8 * (75 + 25 + 5 + 30));
}
