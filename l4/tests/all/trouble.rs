//! The README's table of reported trouble, one test a row.

use l4::{
    AdamDirection, AveragedGradient, ClipByGlobalNorm, L4, L4Adam, L4Mom, MovingAverage, Optimizer,
    StepError,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// ½·‖θ‖² + `offset`, minimised in `steps` steps; the largest of the last ten losses, without the
/// offset.
fn late_loss(mut optimizer: impl Optimizer<f64>, offset: f64, passed_on: f64) -> f64 {
    let mut theta = [3.0, -2.0];
    let mut losses = Vec::new();
    for _ in 0..3000 {
        let loss = 0.5 * theta.iter().map(|x| x * x).sum::<f64>() + offset;
        losses.push(loss - offset);
        let mut gradient = theta;
        let step = optimizer.step(loss - passed_on, &mut theta, &mut gradient);
        if step.is_err() {
            return f64::INFINITY;
        }
    }
    losses[2990..].iter().copied().fold(0.0, f64::max)
}

#[test]
fn a_constant_offset_keeps_the_loss_away_from_its_minimum_until_it_is_subtracted() {
    for (with, without) in [
        (
            late_loss(L4Adam::new(), 10.0, 0.0),
            late_loss(L4Adam::new(), 10.0, 10.0),
        ),
        (
            late_loss(L4Mom::new(), 10.0, 0.0),
            late_loss(L4Mom::new(), 10.0, 10.0),
        ),
    ] {
        assert!(with > 1e-2 && without < 1e-6, "{with} {without}");
    }
}

/// Fits 40 targets with noise by three weights, on all of them at once; how many times the least
/// loss the largest of the last ten losses is, infinite where it left what numbers can hold.
fn late_loss_over_the_least(mut optimizer: impl Optimizer<f64>, passed_on: f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut uniform = || rng.random_range(-1.0..1.0);
    let x: [[f64; 3]; 40] = core::array::from_fn(|_| core::array::from_fn(|_| uniform()));
    let y: [f64; 40] = core::array::from_fn(|i| x[i][0] - 2.0 * x[i][1] + uniform());
    let at = |w: &[f64; 3]| {
        let (mut loss, mut gradient) = (0.0, [0.0; 3]);
        for (x, y) in x.iter().zip(&y) {
            let error = x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() - y;
            loss += error * error / 80.0;
            gradient
                .iter_mut()
                .zip(x)
                .for_each(|(g, x)| *g += error * x / 40.0);
        }
        (loss, gradient)
    };
    let mut w = [0.0; 3];
    for _ in 0..2000 {
        let (_, gradient) = at(&w);
        w.iter_mut().zip(gradient).for_each(|(w, g)| *w -= g);
    }
    let (least, _) = at(&w);
    let (mut w, mut losses) = ([0.0; 3], Vec::new());
    for _ in 0..3000 {
        let (loss, mut gradient) = at(&w);
        losses.push(loss / least);
        if optimizer
            .step((loss - passed_on * least).max(0.0), &mut w, &mut gradient)
            .is_err()
        {
            return f64::INFINITY;
        }
    }
    losses[2990..].iter().copied().fold(0.0, f64::max)
}

#[test]
fn a_loss_that_the_model_cannot_bring_to_0_is_an_offset_too() {
    let late = [
        (
            late_loss_over_the_least(L4Adam::new(), 0.0),
            late_loss_over_the_least(L4Adam::new(), 1.0),
        ),
        (
            late_loss_over_the_least(L4Mom::new(), 0.0),
            late_loss_over_the_least(L4Mom::new(), 1.0),
        ),
    ];
    for (with, without) in late {
        assert!(with > 1.1 && without < 1.001, "{with} {without}");
    }
    let lower = late_loss_over_the_least(L4Adam::new().alpha(0.05).unwrap(), 0.0);
    assert!(lower < late[0].0, "{lower} {late:?}");
}

#[test]
fn a_negative_loss_is_refused_until_a_constant_is_added() {
    let (mut optimizer, mut theta) = (L4Adam::<f64>::new(), [1.0]);
    let refused = optimizer.step(-0.5, &mut theta, &mut [1.0]);
    assert!(matches!(refused, Err(StepError::NegativeLoss { .. })));
    assert_eq!((theta, optimizer.rule().steps()), ([1.0], 0));
    optimizer.step(-0.5 + 1.0, &mut theta, &mut [1.0]).unwrap();
    assert!(theta[0] < 1.0);
}

/// Fits y = 0 to inputs of 20 numbers, some ten times as large as others, on noisy batches of 8.
struct NoisyFit {
    rng: ChaCha8Rng,
    /// The mean over the batch of |e|, or of ½·e².
    absolute: bool,
    theta: [f64; 20],
}

impl NoisyFit {
    fn new(absolute: bool) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(1);
        NoisyFit {
            rng,
            absolute,
            theta: [1.0; 20],
        }
    }

    /// ‖θ‖ after so many steps; infinite where one was refused.
    fn train(&mut self, optimizer: &mut impl Optimizer<f64>, steps: usize) -> f64 {
        for _ in 0..steps {
            let (loss, mut gradient) = self.loss_and_gradient();
            if optimizer
                .step(loss, &mut self.theta, &mut gradient)
                .is_err()
            {
                return f64::INFINITY;
            }
        }
        self.theta.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    fn loss_and_gradient(&mut self) -> (f64, [f64; 20]) {
        let samples = 8.0;
        let (mut loss, mut gradient) = (0.0, [0.0; 20]);
        for _ in 0..8 {
            let inputs: [f64; 20] = std::array::from_fn(|k| {
                10f64.powf(-(k as f64) / 19.0) * self.rng.random_range(-1.7..1.7)
            });
            let noise = 0.1 * self.rng.random_range(-1.7..1.7);
            let products = inputs.iter().zip(&self.theta).map(|(x, theta)| x * theta);
            let error = products.sum::<f64>() + noise;
            let (of_sample, slope) = match self.absolute {
                true => (error.abs(), error.signum()),
                false => (0.5 * error * error, error),
            };
            loss += of_sample / samples;
            for (g, x) in gradient.iter_mut().zip(inputs) {
                *g += slope * x / samples;
            }
        }
        (loss, gradient)
    }
}

#[test]
fn an_absolute_error_explodes_at_015_on_small_batches_and_a_square_at_025() {
    let l4adam = |alpha| L4Adam::new().alpha(alpha).unwrap();
    let end = |absolute, alpha| NoisyFit::new(absolute).train(&mut l4adam(alpha), 600);
    let found = [
        end(true, 0.10),
        end(true, 0.15),
        end(false, 0.15),
        end(false, 0.25),
    ];
    assert!(found[0] < 1.0 && found[1] > 1e6, "{found:?}");
    assert!(found[2] < 1.0 && found[3] > 1e6, "{found:?}");
}

#[test]
fn from_the_last_saved_state_a_lower_alpha_goes_on() {
    let (mut optimizer, mut fit) = (L4Adam::new(), NoisyFit::new(true));
    fit.train(&mut optimizer, 50);
    let (state, theta) = (optimizer.state(), fit.theta);
    assert!(fit.train(&mut optimizer, 550) > 1e6);

    optimizer.restore(state).unwrap();
    fit.theta = theta;
    optimizer.rule_mut().set_alpha(0.10).unwrap();
    let end = fit.train(&mut optimizer, 550);
    assert!(end < 1.0, "{end}");
}

/// How far one step from (0, 0) goes.
fn moved(mut optimizer: impl Optimizer<f64>, gradient: [f64; 2]) -> f64 {
    let mut theta = [0.0; 2];
    optimizer
        .step(1.0, &mut theta, &mut gradient.clone())
        .unwrap();
    theta[0].hypot(theta[1])
}

#[test]
fn a_lower_alpha_shortens_the_step_and_clipping_lengthens_it() {
    let gradient = [30.0, -40.0];
    let plain = moved(L4Mom::new(), gradient);
    let lower = moved(L4Mom::new().alpha(0.1).unwrap(), gradient);
    assert!((lower / plain - 0.1 / 0.15).abs() < 1e-12);
    // ‖∇L‖ = 50, clipped to 5.
    let clipped = moved(ClipByGlobalNorm::new(L4Mom::new(), 5.0).unwrap(), gradient);
    assert!((clipped / plain - 10.0).abs() < 1e-9);
}

#[test]
fn a_batch_with_nan_can_be_skipped() {
    let run = |with_nan: bool| {
        let (mut optimizer, mut theta) = (L4Adam::<f64>::new(), [1.0, 2.0]);
        for k in 0..20 {
            let loss = theta[0] * theta[0] + theta[1] * theta[1];
            let mut gradient = theta.map(|x| 2.0 * x);
            if with_nan && k % 5 == 3 {
                let refused = optimizer.step(f64::NAN, &mut theta, &mut gradient);
                assert!(matches!(refused, Err(StepError::NonFiniteLoss { .. })));
                let refused = optimizer.step(loss, &mut theta, &mut [f64::NAN, 1.0]);
                assert!(matches!(refused, Err(StepError::UnusableGradient { .. })));
            }
            optimizer.step(loss, &mut theta, &mut gradient).unwrap();
        }
        theta
    };
    assert_eq!(run(false), run(true));
}

/// η of a step with loss 1 and gradient 1, after a first batch of loss `first`.
fn eta_after(first: f64, rests: usize) -> f64 {
    let mut optimizer = L4Mom::<f64>::new();
    optimizer.step(first, &mut [0.0], &mut [1.0]).unwrap();
    let mut eta = 0.0;
    for _ in 0..=rests {
        eta = optimizer
            .step(1.0, &mut [0.0], &mut [1.0])
            .unwrap()
            .learning_rate;
    }
    eta
}

#[test]
fn a_high_first_loss_is_mended_at_once_and_a_low_one_forgotten_slowly() {
    assert_eq!(eta_after(100.0, 0), eta_after(1e6, 0));
    let usual = eta_after(100.0, 0);
    assert!(eta_after(0.1, 0) > 9.0 * usual);
    assert!(eta_after(0.1, 1000) > 7.0 * usual);
    assert!(eta_after(0.1, 3000) < 1.5 * usual);

    let mut from_a_mean = L4Mom::<f64>::new();
    from_a_mean.rule_mut().set_l_min(0.75).unwrap();
    let step = from_a_mean.step(0.9, &mut [0.0], &mut [1.0]).unwrap();
    assert_eq!(step.l_min, Some(0.75));
}

#[test]
fn lmin_does_not_leave_0_by_itself() {
    let mut optimizer = L4Mom::<f64>::new();
    optimizer.step(0.0, &mut [0.0], &mut [1.0]).unwrap();
    for _ in 0..5000 {
        let step = optimizer.step(1.0, &mut [0.0], &mut [1.0]).unwrap();
        assert_eq!(step.l_min, Some(0.0));
    }
    optimizer.rule_mut().set_l_min(0.5).unwrap();
    let step = optimizer.step(1.0, &mut [0.0], &mut [1.0]).unwrap();
    assert_eq!(step.l_min, Some(0.5));
}

/// |v| of a parameter whose gradient is 1 for the first time after 10,000 steps, beside one whose
/// gradient is always 1. L4 leaves v in the gradient's place.
fn direction_after_a_rest(mut optimizer: impl Optimizer<f64>) -> f64 {
    for _ in 0..10_000 {
        let (mut theta, mut gradient) = ([0.0; 2], [1.0, 0.0]);
        optimizer.step(1.0, &mut theta, &mut gradient).unwrap();
    }
    let mut gradient = [1.0, 1.0];
    optimizer.step(1.0, &mut [0.0; 2], &mut gradient).unwrap();
    gradient[1] / gradient[0]
}

#[test]
fn a_rare_gradient_moves_its_parameter_further_under_l4adam_alone() {
    let adam = direction_after_a_rest(L4Adam::new());
    assert!((adam - 0.1 / 0.001f64.sqrt()).abs() < 0.02, "{adam}");
    let momentum = direction_after_a_rest(L4Mom::new());
    assert!((momentum - 0.1).abs() < 1e-12);
    let direction = AdamDirection::over(MovingAverage::new(100.0).unwrap(), 1e-4).unwrap();
    let shorter = L4::compose("shorter", AveragedGradient::default(), direction);
    let shorter = direction_after_a_rest(shorter);
    assert!((shorter - 1.0).abs() < 0.01, "{shorter}");
}
