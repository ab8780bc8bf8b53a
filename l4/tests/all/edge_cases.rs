//! The edge cases of the table in the crate's documentation, one test a row.

use l4::{
    Adam, AveragedGradient, ClipByGlobalNorm, ConfigError, Direction, L4, L4Adam, L4Mom, Momentum,
    MovingAverage, Nesterov, Optimizer, Outcome, RawGradient, Real, RmsProp, Schedule, Sgd,
    StepError, Transform,
};

fn l4s() -> Vec<Box<dyn Optimizer<f32>>> {
    vec![Box::new(L4Adam::new()), Box::new(L4Mom::new())]
}

fn all() -> Vec<Box<dyn Optimizer<f32>>> {
    let rate = || Schedule::constant(0.1).unwrap();
    let mut all = l4s();
    all.push(Box::new(Sgd::new(rate())));
    all.push(Box::new(Momentum::new(rate())));
    all.push(Box::new(Nesterov::new(rate())));
    all.push(Box::new(Adam::new(rate())));
    all.push(Box::new(RmsProp::new(rate())));
    all.push(Box::new(
        ClipByGlobalNorm::new(Sgd::new(rate()), 1.0).unwrap(),
    ));
    all
}

/// θ compared bit for bit: −0 is not 0.
fn bits(params: &[f32]) -> Vec<u32> {
    params.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn first_step_takes_lmin_from_the_first_loss() {
    for mut optimizer in l4s() {
        let step = optimizer.step(8.0, &mut [1.0; 3], &mut [1.0; 3]).unwrap();
        assert_eq!(step.l_min, Some(6.0));
        // γ0 is for the first step alone.
        let step = optimizer.step(4.0, &mut [1.0; 3], &mut [1.0; 3]).unwrap();
        assert_eq!(step.l_min, Some(4.0));
    }
}

#[test]
fn zero_loss_is_a_fixed_point() {
    for mut optimizer in l4s() {
        let mut params = [-0.0, 0.0, 1.5, f32::MIN_POSITIVE];
        let before = bits(&params);
        for gradient in [1.0, -1.0, 0.0] {
            let step = optimizer
                .step(0.0, &mut params, &mut [gradient; 4])
                .unwrap();
            assert_eq!(step.learning_rate.to_bits(), 0);
            assert_eq!(step.outcome, Outcome::TargetReached);
            assert_eq!(step.l_min, Some(0.0));
            assert_eq!(bits(&params), before);
        }
    }
}

#[test]
fn zero_loss_after_others_is_a_fixed_point() {
    for mut optimizer in l4s() {
        let mut params = [1.0, -2.0];
        optimizer.step(5.0, &mut params, &mut [1.0, 2.0]).unwrap();
        let before = bits(&params);
        let step = optimizer.step(0.0, &mut params, &mut [0.0, 0.0]).unwrap();
        assert_eq!(
            (step.learning_rate, step.outcome),
            (0.0, Outcome::TargetReached)
        );
        assert_eq!(bits(&params), before);
    }
}

/// The direction that makes every step an ascent.
struct Uphill;

impl<T: Real> Transform<T> for Uphill {
    type Moments = [T; 0];
    const NAMES: &'static [&'static str] = &[];
}

impl<T: Real> Direction<T> for Uphill {
    #[inline(always)]
    fn direction(&self, _: T, g: T, _: &mut [T; 0]) -> T {
        -g
    }
}

#[test]
fn no_step_along_an_ascent_direction() {
    let mut optimizer = L4::compose("uphill", RawGradient, Uphill);
    let mut params = [1.0, -0.0];
    let step = optimizer.step(1.0, &mut params, &mut [1.0, 2.0]).unwrap();
    assert_eq!(step.inner_product, Some(-5.0));
    assert_eq!(
        (step.learning_rate, step.outcome),
        (0.0, Outcome::NoDescent)
    );
    assert_eq!(bits(&params), bits(&[1.0, -0.0]));
}

#[test]
fn no_step_when_the_gradient_turns_against_its_average() {
    let mut optimizer = L4::compose("mixed", AveragedGradient::default(), RawGradient);
    let mut params = [0.0];
    optimizer.step(1.0, &mut params, &mut [10.0]).unwrap();
    let after_first = params;
    // g is still positive, v = −1.
    let step = optimizer.step(1.0, &mut params, &mut [-1.0]).unwrap();
    assert_eq!(step.outcome, Outcome::NoDescent);
    assert_eq!(params, after_first);
}

#[test]
fn no_step_without_a_gradient() {
    for mut optimizer in l4s() {
        let step = optimizer.step(1.0, &mut [3.0; 2], &mut [0.0; 2]).unwrap();
        assert_eq!(
            (step.learning_rate, step.outcome),
            (0.0, Outcome::NoDescent)
        );
    }
}

#[test]
fn averages_go_on_where_a_gradient_of_0_follows_others() {
    for mut optimizer in l4s() {
        let mut params = [1.0];
        optimizer.step(1.0, &mut params, &mut [1.0]).unwrap();
        let before = params;
        let step = optimizer.step(1.0, &mut params, &mut [0.0]).unwrap();
        assert_eq!(step.outcome, Outcome::Updated);
        assert!(params[0] < before[0]);
    }
}

/// Rounding would keep a subnormal moment from ever getting to 0, and arithmetic with it is slow.
/// The square of 4e-18, with the weight 1/1000, is normal for 300 steps more.
#[test]
fn no_moment_stays_subnormal_where_gradients_are_0() {
    for mut optimizer in all() {
        let mut params = [0.5; 3];
        optimizer.step(1.0, &mut params, &mut [4e-18; 3]).unwrap();
        for _ in 0..1000 {
            optimizer.step(1.0, &mut params, &mut [0.0; 3]).unwrap();
        }
        for (name, values) in optimizer.state().vectors {
            let found = values.iter().find(|x| x.is_subnormal());
            assert_eq!(found, None, "{}: {name}", optimizer.name());
        }
    }
}

#[test]
fn a_step_beyond_the_number_range_is_taken_and_the_next_loss_refused() {
    for mut optimizer in l4s() {
        let mut params = [-f32::MAX];
        optimizer.step(f32::MAX, &mut params, &mut [1.0]).unwrap();
        assert_eq!(params, [f32::NEG_INFINITY]);
        let next = optimizer.step(params[0].abs(), &mut params, &mut [1.0]);
        assert!(matches!(next, Err(StepError::NonFiniteLoss { .. })));
    }
}

#[test]
fn no_parameters_is_no_error() {
    for mut optimizer in all() {
        optimizer.step(1.0, &mut [], &mut []).unwrap();
    }
}

/// Steps once, then makes sure that `loss` and `grads` are refused and nothing has changed.
fn refused(mut optimizer: Box<dyn Optimizer<f32>>, loss: f32, grads: &[f32]) -> StepError {
    let mut params = vec![1.0; grads.len()];
    let mut first = vec![0.5; grads.len()];
    optimizer.step(1.0, &mut params, &mut first).unwrap();
    let (before, state) = (bits(&params), optimizer.state());
    let error = optimizer
        .step(loss, &mut params, &mut grads.to_vec())
        .unwrap_err();
    assert_eq!(bits(&params), before);
    assert_eq!(optimizer.state(), state);
    error
}

#[test]
fn a_loss_that_is_not_finite_is_refused() {
    for loss in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for optimizer in all() {
            let error = refused(optimizer, loss, &[1.0; 3]);
            assert!(matches!(error, StepError::NonFiniteLoss { .. }), "{error}");
        }
    }
}

#[test]
fn an_unusable_gradient_is_refused_wherever_it_stands() {
    for value in [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::LARGEST.next_up(),
    ] {
        for index in [0, 31, 32, 1023, 5000, 5001] {
            let mut grads = vec![1.0; 5002];
            grads[index] = value;
            for optimizer in all() {
                match refused(optimizer, 1.0, &grads) {
                    StepError::UnusableGradient { index: at, .. } => assert_eq!(at, index),
                    error => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn a_negative_loss_is_refused_by_l4_and_taken_by_the_others() {
    for optimizer in l4s() {
        let error = refused(optimizer, -0.5, &[1.0; 3]);
        assert_eq!(error, StepError::NegativeLoss { loss: -0.5 });
        assert!(error.to_string().contains("add a constant"));
    }
    for mut optimizer in all().into_iter().skip(2) {
        optimizer.step(-0.5, &mut [1.0], &mut [1.0]).unwrap();
    }
}

#[test]
fn slices_of_other_lengths_are_refused() {
    for mut optimizer in all() {
        let error = optimizer.step(1.0, &mut [1.0; 3], &mut [1.0; 2]);
        let (parameters, gradients) = (3, 2);
        assert_eq!(
            error,
            Err(StepError::GradientCount {
                parameters,
                gradients
            })
        );
    }
}

/// (1.8e19)² fits an f32, twice that does not.
#[test]
fn an_overflowing_inner_product_is_refused_with_the_parameters_untouched() {
    let mut optimizer = L4Mom::<f32>::new();
    let mut params = [1.0, 2.0];
    let error = optimizer.step(4.0, &mut params, &mut [1.8e19, 1.8e19]);
    assert!(matches!(error, Err(StepError::Overflow { .. })));
    assert_eq!(params, [1.0, 2.0]);
    // As documented: the moments have absorbed the gradient, Lmin the loss.
    let state = optimizer.state();
    assert_eq!(state.step, 1);
    let l_min: f32 = 0.75 * 4.0 * (1.0 + 1.0 / 1000.0);
    assert_eq!(state.scalars["l_min"], f64::from(l_min));
    assert!(state.vectors["g.mean_gradient"].iter().all(|m| *m > 1e18));
}

#[test]
fn an_overflowing_stepsize_is_refused_with_the_parameters_untouched() {
    let mut optimizer = L4Mom::<f32>::new();
    let mut params = [1.0];
    let error = optimizer.step(1e30, &mut params, &mut [1e-10]);
    assert!(matches!(error, Err(StepError::Overflow { .. })));
    assert_eq!(params, [1.0]);
}

#[test]
fn lmin_stays_finite_under_endless_forgetting() {
    let mut optimizer = L4Mom::<f32>::new().tau(1e-3).unwrap();
    for _ in 0..50 {
        optimizer.step(f32::MAX, &mut [0.0], &mut [0.0]).unwrap();
        let state = optimizer.state();
        assert!(state.scalars["l_min"].is_finite());
        L4Mom::<f32>::new().restore(state).unwrap();
    }
}

#[test]
fn hyperparameters_outside_their_range_are_refused() {
    let (l4, nan) = (L4Adam::<f64>::new, f64::NAN);
    let bad = |result: Result<_, ConfigError>| result.err().unwrap().name;
    for value in [0.0, -1.0, nan, f64::INFINITY] {
        assert_eq!(bad(l4().alpha(value)), "alpha");
    }
    for value in [-0.1, 1.1, nan] {
        assert_eq!(bad(l4().gamma(value)), "gamma");
        assert_eq!(bad(l4().gamma0(value)), "gamma0");
    }
    for value in [0.0, -1.0, nan] {
        assert_eq!(bad(l4().tau(value)), "tau");
    }
    for value in [-1e-12, nan, f64::INFINITY] {
        assert_eq!(bad(l4().epsilon(value)), "epsilon");
    }
    for value in [0.5, nan, f64::INFINITY] {
        assert!(MovingAverage::<f64>::new(value).is_err());
    }
    let rate = || Schedule::constant(0.1).unwrap();
    assert!(Momentum::new(rate()).momentum(1.0).is_err());
    assert!(Adam::new(rate()).betas(0.9, 1.0).is_err());
    assert!(Adam::new(rate()).betas(-0.1, 0.999).is_err());
    assert!(Adam::new(rate()).epsilon(-1.0).is_err());
    assert!(RmsProp::new(rate()).decay(nan).is_err());
    assert!(RmsProp::new(rate()).epsilon(0.0).is_err());
}
