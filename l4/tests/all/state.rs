//! Saving and restoring: every optimiser goes on bit for bit, and refuses what is not its own.

use l4::{
    Adam, AlongEstimate, AveragedGradient, ClipByGlobalNorm, L4, L4Adam, L4Mom, Momentum,
    MovingAverage, Nesterov, Optimizer, RawGradient, Real, RmsProp, Schedule, Sgd, State,
    StateError, StepError,
};

/// More than one block of the inner loops, and not a multiple of anything.
const PARAMETERS: usize = 4999;

fn all<T: Real>() -> Vec<Box<dyn Optimizer<T>>> {
    let rates = || {
        let values = vec![T::of(0.1), T::of(0.05)];
        Schedule::piecewise_constant(vec![5], values).unwrap()
    };
    let max_norm = T::of(0.5);
    vec![
        Box::new(Sgd::new(rates())),
        Box::new(Momentum::new(rates())),
        Box::new(Nesterov::new(rates())),
        Box::new(Adam::new(rates())),
        Box::new(RmsProp::new(rates())),
        Box::new(L4Adam::new()),
        Box::new(L4Mom::new()),
        Box::new(L4::compose("raw", RawGradient, RawGradient)),
        Box::new(L4::compose(
            "mixed",
            AveragedGradient::default(),
            RawGradient,
        )),
        Box::new(ClipByGlobalNorm::new(Momentum::new(rates()), max_norm).unwrap()),
    ]
}

/// Some steps on `½·Σ cₖ·(xₖ − 1)²`, with cₖ between 1 and 2.
fn train<T: Real>(optimizer: &mut dyn Optimizer<T>, params: &mut [T], steps: usize) {
    for _ in 0..steps {
        let curvature = |k: usize| T::one() + T::of(k as f64 / PARAMETERS as f64);
        let offset = params.iter().map(|&x| x - T::one());
        let mut grads: Vec<T> = offset.enumerate().map(|(k, x)| curvature(k) * x).collect();
        let loss = params.iter().zip(&grads).fold(T::zero(), |sum, (&x, &g)| {
            sum + T::of(0.5) * g * (x - T::one())
        });
        optimizer.step(loss, params, &mut grads).unwrap();
    }
}

fn continues_exactly<T: Real>() {
    for (mut original, mut restored) in all::<T>().into_iter().zip(all::<T>()) {
        let mut params = vec![T::of(0.25); PARAMETERS];
        train(&mut *original, &mut params, 4);
        restored.restore(original.state()).unwrap();
        assert_eq!(restored.state(), original.state(), "{}", original.name());

        let mut resumed = params.clone();
        train(&mut *original, &mut params, 4);
        train(&mut *restored, &mut resumed, 4);
        assert_eq!(params, resumed, "{}", original.name());
        assert_eq!(restored.state(), original.state(), "{}", original.name());
    }
}

#[test]
fn every_optimiser_continues_exactly() {
    continues_exactly::<f32>();
    continues_exactly::<f64>();
}

#[test]
fn a_state_from_before_the_first_step_starts_afresh() {
    for (fresh, mut used) in all::<f64>().into_iter().zip(all::<f64>()) {
        train(&mut *used, &mut [0.0; PARAMETERS], 2);
        used.restore(fresh.state()).unwrap();
        assert_eq!(used.state(), fresh.state());
        train(&mut *used, &mut [0.0; 3], 1);
    }
}

#[test]
fn the_entries_are_the_documented_ones() {
    let entries = |optimizer: &mut dyn Optimizer<f64>| {
        train(optimizer, &mut [0.0; 3], 2);
        let state = optimizer.state();
        assert_eq!(state.step, 2);
        let scalars: Vec<String> = state.scalars.into_keys().collect();
        let vectors: Vec<String> = state.vectors.into_keys().collect();
        (scalars.join(" "), vectors.join(" "))
    };
    let expected = [
        ("", ""),
        ("", "accumulator"),
        ("", "accumulator"),
        ("", "first_moment second_moment"),
        ("", "mean_square"),
        (
            "alpha delta epsilon gamma gamma0 l_min tau tau_m tau_s",
            "g.mean_gradient v.mean_square",
        ),
        (
            "alpha epsilon gamma gamma0 l_min tau tau_m",
            "g.mean_gradient",
        ),
        ("alpha epsilon gamma gamma0 l_min tau", ""),
        (
            "alpha epsilon gamma gamma0 l_min tau tau_m",
            "g.mean_gradient",
        ),
        ("", "accumulator"),
    ];
    for (mut optimizer, (scalars, vectors)) in all().into_iter().zip(expected) {
        assert_eq!(entries(&mut *optimizer), (scalars.into(), vectors.into()));
    }
}

/// The kinds of optimiser by the entries of their states; states of one kind are alike.
#[test]
fn the_state_of_another_optimiser_is_refused_and_changes_nothing() {
    let states: Vec<State<f32>> = all()
        .into_iter()
        .map(|mut optimizer| {
            train(&mut *optimizer, &mut [0.0; 5], 2);
            optimizer.state()
        })
        .collect();
    let alike = |a: &State<f32>, b: &State<f32>| {
        a.scalars.keys().eq(b.scalars.keys()) && a.vectors.keys().eq(b.vectors.keys())
    };
    let mut refused = 0;
    for (k, own) in states.iter().enumerate() {
        let mut optimizer = all().swap_remove(k);
        optimizer.restore(own.clone()).unwrap();
        for other in states.iter().filter(|other| !alike(own, other)) {
            let error = optimizer.restore(other.clone()).unwrap_err();
            assert!(
                matches!(
                    error,
                    StateError::Missing { .. } | StateError::Unexpected { .. }
                ),
                "{error}"
            );
            assert_eq!(optimizer.state(), *own);
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[test]
fn an_average_of_squares_is_not_negative() {
    let damage = |state: State<f32>, name| state.with_vector(name, vec![1.0, -1.0]);
    let rates = || Schedule::constant(0.1f32).unwrap();
    let two = State::new(1).with_vector("first_moment", vec![0.0; 2]);
    let adam = Adam::new(rates()).restore(damage(two, "second_moment"));
    let rmsprop = RmsProp::new(rates()).restore(damage(State::new(1), "mean_square"));
    let mut l4_adam = L4Adam::new();
    train(&mut l4_adam, &mut [0.0; 2], 1);
    let l4_adam = l4_adam.restore(damage(l4_adam.state(), "v.mean_square"));
    for error in [adam, rmsprop, l4_adam] {
        assert!(matches!(error, Err(StateError::Value { value: -1.0, .. })));
    }
}

#[test]
fn a_restored_state_fixes_the_number_of_parameters() {
    for mut optimizer in all::<f64>() {
        train(&mut *optimizer, &mut [0.0; 5], 1);
        let state = optimizer.state();
        if state.vectors.is_empty() {
            continue;
        }
        let error = optimizer.step(1.0, &mut [0.0; 4], &mut [1.0; 4]);
        let (expected, found) = (5, 4);
        assert_eq!(error, Err(StepError::ParameterCount { expected, found }));
        assert_eq!(optimizer.state(), state);
    }
}

#[test]
fn l4_goes_on_with_the_constants_that_were_saved() {
    let mut original = L4Adam::<f32>::new();
    let mut params = vec![0.25; PARAMETERS];
    train(&mut original, &mut params, 2);
    original.rule_mut().set_alpha(0.05).unwrap();
    original.rule_mut().set_tau(f32::INFINITY).unwrap();
    let mut restored = L4Adam::<f32>::new();
    restored.restore(original.state()).unwrap();
    assert_eq!(restored.rule(), original.rule());
    let mut resumed = params.clone();
    train(&mut original, &mut params, 2);
    train(&mut restored, &mut resumed, 2);
    assert_eq!(params, resumed);
}

#[test]
fn l4_refuses_the_moments_of_other_averages() {
    let average = MovingAverage::new(5.0).unwrap();
    let mut other = L4::compose("other", AveragedGradient::over(average), AlongEstimate);
    train(&mut other, &mut [0.0f32; 3], 1);
    let mut optimizer = L4Mom::<f32>::new();
    let before = optimizer.state();
    let expected = StateError::Setting {
        name: "tau_m".into(),
        expected: 10.0,
        found: 5.0,
    };
    assert_eq!(optimizer.restore(other.state()), Err(expected));
    assert_eq!(optimizer.state(), before);
}

#[test]
fn counts_and_losses_that_no_run_can_have_are_refused() {
    for mut optimizer in all::<f64>() {
        train(&mut *optimizer, &mut [0.0; 3], 1);
        let state = optimizer.state();
        let endless = State {
            step: u64::MAX,
            ..state.clone()
        };
        let error = optimizer.restore(endless);
        assert!(matches!(error, Err(StateError::Value { .. })), "{error:?}");
        if state.scalars.contains_key("l_min") {
            let error = optimizer.restore(state.clone().with_scalar("l_min", -1.0));
            assert!(matches!(error, Err(StateError::Value { .. })), "{error:?}");
        }
        assert_eq!(optimizer.state(), state);
    }
}
