//! The rate-free methods against their authors' implementations, and as optimisers like any other.

use l4::rate_free::{
    AliG, DAdaptAdam, Dog, Mechanic, Momo, MomoAdam, Prodigy, ScheduleFreeAdamW, ScheduleFreePlus,
    SpsMax,
};
use l4::{
    ClipByGlobalNorm, Optimizer, Real, Schedule, Segment, Setting, Sgd, State, StateError,
    StepError, WeightDecay,
};

fn mechanic<T: Real>() -> Mechanic<Sgd<T>, T> {
    Mechanic::new(Sgd::new(Schedule::constant(T::one()).unwrap()))
}

fn all<T: Real>() -> Vec<Box<dyn Optimizer<T>>> {
    vec![
        Box::new(SpsMax::new()),
        Box::new(AliG::new()),
        Box::new(Momo::new()),
        Box::new(MomoAdam::new()),
        Box::new(DAdaptAdam::new()),
        Box::new(Prodigy::new()),
        Box::new(Dog::new()),
        Box::new(ScheduleFreeAdamW::new()),
        Box::new(ScheduleFreePlus::new()),
        Box::new(mechanic()),
    ]
}

/// `f = ½·Σ aₖ·xₖ²` and its gradient.
fn quadratic<T: Real>(curvature: &[f64], x: &[T]) -> (T, Vec<T>) {
    let terms = x.iter().zip(curvature);
    let gradient: Vec<T> = terms.map(|(&x, &a)| T::of(a) * x).collect();
    let products = x.iter().zip(&gradient).map(|(&x, &g)| (x * g).as_f64());
    (T::of(0.5 * products.sum::<f64>()), gradient)
}

/// Five steps of the authors' own code in float64, with a = (1, 10, 100), from (3, −2, 1). Of the
/// schedule-free methods, y.
#[test]
fn the_authors_implementations_come_out() {
    let expected = [
        [2.721290764, -0.675474777, -0.2449465961],
        [2.341375032, 0.8630159168, 0.1394250091],
        [2.974457414, -1.830151586, 0.1724254461],
        // With lr = 1 instead of its default.
        [2.056987574, -1.063450133, 0.1105036613],
        [2.999457129, -1.999457134, 0.9994571509],
        [2.999901889, -1.999901889, 0.9999018892],
        [2.999999185, -1.999994567, 0.9999728334],
        [2.99200338, -1.992005072, 0.9920101568],
        [2.065626686, -1.070076127, 0.1020169362],
        [2.999961046, -1.999740311, 0.9987018934],
    ];
    let mut optimizers = all::<f64>();
    optimizers[3] = Box::new(MomoAdam::new().rate(1.0).unwrap());
    for (mut optimizer, expected) in optimizers.into_iter().zip(expected) {
        let mut x = [3.0, -2.0, 1.0];
        for _ in 0..5 {
            let (loss, mut gradient) = quadratic(&[1.0, 10.0, 100.0], &x);
            optimizer.step(loss, &mut x, &mut gradient).unwrap();
        }
        for (x, expected) in x.into_iter().zip(expected) {
            let error = (x - expected).abs();
            assert!(error < 1e-8, "{}: {x} {expected}", optimizer.name());
        }
    }
}

const LENGTHS: [usize; 4] = [33, 0, 100, 1];
const PARAMETERS: usize = 134;

fn problem<T: Real>(x: &[T]) -> (T, Vec<T>) {
    let curvature: Vec<f64> = (0..x.len()).map(|k| 1.0 + k as f64 / 50.0).collect();
    quadratic(&curvature, x)
}

fn start<T: Real>() -> Vec<T> {
    (0..PARAMETERS)
        .map(|k| T::of((k as f64 * 0.7).sin()))
        .collect()
}

fn train<T: Real>(optimizer: &mut dyn Optimizer<T>, x: &mut [T], steps: usize) {
    for _ in 0..steps {
        let (loss, mut gradient) = problem(x);
        optimizer.step(loss, x, &mut gradient).unwrap();
    }
}

fn segments<'a>(mut params: &'a mut [f64], mut grads: &'a mut [f64]) -> Vec<Segment<'a, f64>> {
    let mut segments = Vec::new();
    for length in LENGTHS {
        let (tensor, rest) = params.split_at_mut(length);
        let (gradient, rest_of_grads) = grads.split_at_mut(length);
        (params, grads) = (rest, rest_of_grads);
        segments.push((tensor, gradient));
    }
    segments
}

#[test]
fn segments_step_as_the_flat_vector_does() {
    for (mut flat, mut split) in all::<f64>().into_iter().zip(all()) {
        let (mut x, mut parts) = (start::<f64>(), start::<f64>());
        train(&mut *flat, &mut x, 10);
        for _ in 0..10 {
            let (loss, mut gradient) = problem(&parts);
            split
                .step_segments(loss, &mut segments(&mut parts, &mut gradient))
                .unwrap();
        }
        for (x, y) in x.iter().zip(&parts) {
            assert!((x - y).abs() < 1e-12, "{}: {x} {y}", flat.name());
        }
        assert_eq!(
            flat.evaluation_point().map(<[f64]>::len),
            split.evaluation_point().map(<[f64]>::len)
        );
    }
}

fn continues_exactly<T: Real>() {
    for (mut original, mut restored) in all::<T>().into_iter().zip(all::<T>()) {
        let mut x = start();
        train(&mut *original, &mut x, 4);
        restored.restore(original.state()).unwrap();
        let mut resumed = x.clone();
        train(&mut *original, &mut x, 4);
        train(&mut *restored, &mut resumed, 4);
        assert_eq!(x, resumed, "{}", original.name());
        assert_eq!(restored.state(), original.state(), "{}", original.name());
        assert_eq!(restored.evaluation_point(), original.evaluation_point());
    }
}

#[test]
fn every_method_continues_exactly() {
    continues_exactly::<f32>();
    continues_exactly::<f64>();
}

#[test]
fn no_moment_stays_subnormal_where_gradients_are_0() {
    for mut optimizer in all::<f32>() {
        let mut x = [0.5; 3];
        optimizer.step(1.0, &mut x, &mut [4e-18; 3]).unwrap();
        for _ in 0..1000 {
            optimizer.step(1.0, &mut x, &mut [0.0; 3]).unwrap();
        }
        for (name, values) in optimizer.state().vectors {
            let found = values.iter().find(|x| x.is_subnormal());
            assert_eq!(found, None, "{}: {name}", optimizer.name());
        }
    }
}

#[test]
fn a_state_from_before_the_first_step_starts_afresh() {
    for (fresh, mut used) in all::<f64>().into_iter().zip(all::<f64>()) {
        train(&mut *used, &mut start::<f64>(), 3);
        used.restore(fresh.state()).unwrap();
        assert_eq!(used.state(), fresh.state());
        let (mut x, mut y) = (start::<f64>(), start::<f64>());
        let mut fresh = fresh;
        train(&mut *used, &mut x, 2);
        train(&mut *fresh, &mut y, 2);
        assert_eq!(x, y, "{}", used.name());
    }
}

#[test]
fn foreign_states_are_refused_and_change_nothing() {
    let states: Vec<State<f32>> = all::<f32>()
        .into_iter()
        .map(|mut optimizer| {
            train(&mut *optimizer, &mut start::<f32>(), 2);
            optimizer.state()
        })
        .collect();
    for (k, own) in states.iter().enumerate() {
        let mut optimizer = all::<f32>().swap_remove(k);
        optimizer.restore(own.clone()).unwrap();
        for (other, foreign) in states.iter().enumerate() {
            if other != k {
                let error = optimizer.restore(foreign.clone()).unwrap_err();
                assert!(
                    matches!(
                        error,
                        StateError::Missing { .. } | StateError::Unexpected { .. }
                    ),
                    "{error}"
                );
            }
        }
        assert_eq!(optimizer.state(), *own);
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    for mut optimizer in all::<f32>() {
        let mut x = start::<f32>();
        train(&mut *optimizer, &mut x, 2);
        let (state, before) = (optimizer.state(), x.clone());
        let mut bad = vec![1.0; PARAMETERS];
        bad[7] = f32::NAN;
        let error = optimizer.step(1.0, &mut x, &mut bad);
        assert!(matches!(
            error,
            Err(StepError::UnusableGradient { index: 7, .. })
        ));
        let error = optimizer.step(f32::NAN, &mut x, &mut [1.0; PARAMETERS]);
        assert!(matches!(error, Err(StepError::NonFiniteLoss { .. })));
        let error = optimizer.step(1.0, &mut x, &mut [1.0; 3]);
        assert!(matches!(error, Err(StepError::GradientCount { .. })));
        if !state.vectors.is_empty() {
            let error = optimizer.step(1.0, &mut [1.0; 3], &mut [1.0; 3]);
            assert!(matches!(error, Err(StepError::ParameterCount { .. })));
        }
        assert_eq!((optimizer.state(), x), (state, before));
    }
}

/// The column "vectors" of the table in the module's documentation, and its last one.
#[test]
fn memory_and_evaluation_are_as_documented() {
    const PARAMETERS: usize = 10_000;
    let vectors = all::<f32>().into_iter().map(|mut optimizer| {
        let (mut x, mut gradient) = ([1.0; PARAMETERS], [1.0; PARAMETERS]);
        assert!(optimizer.evaluation_point().is_none());
        optimizer.step(1.0, &mut x, &mut gradient).unwrap();
        let vectors = optimizer.state_bytes() / (4 * PARAMETERS);
        (vectors, optimizer.evaluation_point().is_some())
    });
    let elsewhere = [
        false, false, false, false, false, false, true, true, true, false,
    ];
    let expected = [0, 1, 1, 2, 3, 4, 2, 3, 4, 2].into_iter().zip(elsewhere);
    assert_eq!(vectors.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn wrappers_pass_the_evaluation_point_on() {
    let decayed = WeightDecay::new(Dog::<f64>::new(), 0.01).unwrap();
    let mut optimizer = ClipByGlobalNorm::new(Box::new(decayed), 1.0).unwrap();
    assert!(optimizer.evaluation_point().is_none());
    optimizer.step(1.0, &mut [1.0], &mut [1.0]).unwrap();
    assert_eq!(optimizer.evaluation_point().map(<[f64]>::len), Some(1));
}

#[test]
fn settings_are_the_published_defaults() {
    let written = |optimizer: &dyn Optimizer<f32>| {
        let entries = optimizer.settings().into_iter().skip(1);
        let entries = entries.map(|(name, setting)| match setting {
            Setting::Number(x) => format!("{name}={x:e}"),
            Setting::Text(text) => format!("{name}={text}"),
            Setting::List(list) => format!("{name}={}", list.len()),
        });
        entries.collect::<Vec<_>>().join(" ")
    };
    let expected = [
        "c=5e-1 eta_max=1e0 epsilon=1e-8",
        "eta_max=1e-1 momentum=9e-1 epsilon=1e-5",
        "rate=1e0 beta=9e-1 lower_bound=0e0",
        "rate=1e-2 beta1=9e-1 beta2=9.99e-1 epsilon=1e-8 lower_bound=0e0",
        "beta1=9e-1 beta2=9.99e-1 epsilon=1e-8 d0=1e-6",
        "beta1=9e-1 beta2=9.99e-1 epsilon=1e-8 d0=1e-6 d_coef=1e0",
        "r_eps=1e-6",
        "rate=2.5e-3 beta1=9e-1 beta2=9.99e-1 epsilon=1e-8",
        "rate=1e0 beta1=9e-1 beta2=9.5e-1 epsilon=1e-8 beta=9e-1",
        "s_init=1e-8 lambda=1e-2 mechanic_epsilon=1e-8 mechanic_betas=6 base=SGD rate=1e0",
    ];
    for (optimizer, expected) in all::<f32>().iter().zip(expected) {
        assert_eq!(written(&**optimizer), expected);
    }
    let bounded = Prodigy::<f32>::new().growth(1.02).unwrap();
    assert!(written(&bounded).ends_with("growth=1.02e0"));
}

#[test]
fn settings_outside_their_range_are_refused() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(SpsMax::new().c(value).is_err());
        assert!(SpsMax::new().eta_max(value).is_err());
        assert!(AliG::<f32>::new().eta_max(value).is_err());
        assert!(Momo::<f32>::new().rate(value).is_err());
        assert!(MomoAdam::<f32>::new().rate(value).is_err());
        assert!(DAdaptAdam::<f32>::new().d0(value).is_err());
        assert!(Prodigy::<f32>::new().d0(value).is_err());
        assert!(Prodigy::<f32>::new().d_coef(value).is_err());
        assert!(Dog::<f32>::new().r_eps(value).is_err());
        assert!(ScheduleFreeAdamW::<f32>::new().rate(value).is_err());
        assert!(ScheduleFreePlus::<f32>::new().rate(value).is_err());
        assert!(mechanic::<f32>().s_init(value).is_err());
    }
    assert!(DAdaptAdam::<f32>::new().growth(0.9).is_err());
    assert!(Prodigy::<f32>::new().growth(f64::NAN).is_err());
    assert!(Momo::<f32>::new().lower_bound(f64::NAN).is_err());
    assert!(mechanic::<f32>().lambda(-0.1).is_err());
}

type Case = (Box<dyn Optimizer<f64>>, f64, [f64; 2], [f64; 2]);

/// The square of 1.2e154 fits an f64, the sum of two does not; nor does its product with 1e200, nor 1e300/1e-20.
#[test]
fn what_overflows_is_refused_with_the_parameters_untouched() {
    let (near, far, steep) = ([1.0, -2.0], [1e200; 2], [1.2e154; 2]);
    let cases: [Case; 7] = [
        (Box::new(SpsMax::new()), 1.0, near, steep),
        (Box::new(AliG::new()), 1.0, near, steep),
        (Box::new(Dog::new()), 1.0, near, steep),
        (Box::new(mechanic()), 1.0, near, steep),
        (Box::new(Momo::new()), 1.0, far, steep),
        (Box::new(MomoAdam::new()), 1.0, far, steep),
        (Box::new(ScheduleFreePlus::new()), 1e300, near, [1e-20; 2]),
    ];
    for (mut optimizer, loss, start, mut gradient) in cases {
        let mut x = start;
        let error = optimizer.step(loss, &mut x, &mut gradient);
        let name = optimizer.name();
        assert!(
            matches!(error, Err(StepError::Overflow { .. })),
            "{name}: {error:?}"
        );
        assert_eq!(x, start, "{name}");
    }
    // Prodigy's product is with what was moved.
    let (mut prodigy, mut x) = (Prodigy::<f64>::new(), [0.0; 2]);
    prodigy.step(1.0, &mut x, &mut [1.0; 2]).unwrap();
    x = [-1e200; 2];
    let error = prodigy.step(1.0, &mut x, &mut [1.2e154; 2]);
    assert!(
        matches!(error, Err(StepError::Overflow { .. })),
        "{error:?}"
    );
    assert_eq!(x, [-1e200; 2]);
}
