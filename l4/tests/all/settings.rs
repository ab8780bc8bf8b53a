//! Every optimiser reports the settings that it has, and the memory that it takes.

use l4::{
    Adam, AdamDirection, AveragedGradient, ClipByGlobalNorm, L4, L4Adam, L4Mom, Momentum,
    MovingAverage, Nesterov, Optimizer, RawGradient, RmsProp, Schedule, Setting, Settings, Sgd,
    WeightDecay,
};

/// `name=value` in order.
fn written(settings: &Settings) -> String {
    let entry = |(name, setting): (_, &Setting)| match setting {
        Setting::Number(x) => format!("{name}={x}"),
        Setting::Text(text) => format!("{name}={text}"),
        Setting::List(list) => format!("{name}={list:?}"),
    };
    let entries: Vec<String> = settings.iter().map(entry).collect();
    entries.join(" ")
}

fn settings(optimizer: impl Optimizer<f32>) -> String {
    written(&optimizer.settings())
}

fn rate(rate: f32) -> Schedule<f32> {
    Schedule::constant(rate).unwrap()
}

#[test]
fn defaults_are_the_papers() {
    assert_eq!(settings(Sgd::new(rate(0.7))), "optimizer=SGD rate=0.7");
    assert_eq!(
        settings(Momentum::new(rate(0.004))),
        "optimizer=heavy ball rate=0.004 momentum=0.9"
    );
    assert_eq!(
        settings(Nesterov::new(rate(0.004))),
        "optimizer=Nesterov rate=0.004 momentum=0.9"
    );
    assert_eq!(
        settings(Adam::new(rate(2e-4))),
        "optimizer=Adam rate=0.0002 beta1=0.9 beta2=0.999 epsilon=0.0001"
    );
    assert_eq!(
        settings(RmsProp::new(rate(1e-4))),
        "optimizer=RMSProp rate=0.0001 decay=0.9 epsilon=0.0000000001"
    );
    let l4 = "alpha=0.15 gamma=0.9 gamma0=0.75 tau=1000 epsilon=0.000000000001";
    assert_eq!(
        settings(L4Adam::new()),
        format!("optimizer=L4Adam {l4} tau_m=10 tau_s=1000 delta=0.0001")
    );
    assert_eq!(
        settings(L4Mom::new()),
        format!("optimizer=L4Mom {l4} tau_m=10")
    );
    assert_eq!(
        settings(L4::compose("raw", RawGradient, RawGradient)),
        format!("optimizer=raw {l4}")
    );
}

#[test]
fn every_setter_shows() {
    let momentum = Momentum::new(rate(0.1)).momentum(0.8).unwrap();
    assert!(settings(momentum).ends_with("momentum=0.8"));
    let nesterov = Nesterov::new(rate(0.1)).momentum(0.8).unwrap();
    assert!(settings(nesterov).ends_with("momentum=0.8"));
    let adam = Adam::new(rate(0.1)).betas(0.8, 0.99).unwrap();
    let adam = adam.epsilon(1e-8).unwrap();
    assert!(settings(adam).ends_with("beta1=0.8 beta2=0.99 epsilon=0.00000001"));
    let rmsprop = RmsProp::new(rate(0.1)).decay(0.99).unwrap();
    let rmsprop = rmsprop.epsilon(1e-6).unwrap();
    assert!(settings(rmsprop).ends_with("decay=0.99 epsilon=0.000001"));

    let average = |steps| MovingAverage::new(steps).unwrap();
    let l4 = L4::compose(
        "other",
        AveragedGradient::over(average(5.0)),
        AdamDirection::over(average(500.0), 1e-3f32).unwrap(),
    );
    let l4 = l4
        .alpha(0.25)
        .and_then(|l4| l4.gamma(0.8))
        .and_then(|l4| l4.gamma0(0.7))
        .and_then(|l4| l4.tau(f32::INFINITY))
        .and_then(|l4| l4.epsilon(1e-9));
    assert_eq!(
        settings(l4.unwrap()),
        "optimizer=other alpha=0.25 gamma=0.8 gamma0=0.7 tau=inf epsilon=0.000000001 tau_m=5 \
         tau_s=500 delta=0.001"
    );
}

#[test]
fn schedules_and_wrappers_show_all_that_they_add() {
    let schedule = Schedule::piecewise_constant(vec![39_000, 58_500], vec![0.1, 0.01, 0.001]);
    let clipped = ClipByGlobalNorm::new(Momentum::new(schedule.unwrap()), 50.0).unwrap();
    assert_eq!(
        settings(clipped),
        "optimizer=heavy ball rates=[0.1, 0.01, 0.001] after_steps=[39000.0, 58500.0] \
         momentum=0.9 max_gradient_norm=50"
    );
    let decayed = |decays| WeightDecay::per_segment(Sgd::new(rate(0.1)), decays).unwrap();
    assert_eq!(
        settings(decayed(vec![0.01])),
        "optimizer=SGD rate=0.1 weight_decay=0.01"
    );
    assert_eq!(
        settings(decayed(vec![0.01, 0.0])),
        "optimizer=SGD rate=0.1 weight_decay=[0.01, 0.0]"
    );
}

#[test]
fn state_takes_the_vectors_that_the_documentation_says() {
    const PARAMETERS: usize = 10_000;
    let vectors = |mut optimizer: Box<dyn Optimizer<f32>>| {
        assert_eq!(optimizer.state_bytes(), 0);
        let (mut params, mut grads) = ([1.0; PARAMETERS], [1.0; PARAMETERS]);
        optimizer.step(1.0, &mut params, &mut grads).unwrap();
        // A little more than the numbers, so that they start on their alignment.
        let (bytes, vector) = (optimizer.state_bytes(), 4 * PARAMETERS);
        assert!(bytes % vector <= 1024, "{bytes}");
        bytes / vector
    };
    assert_eq!(vectors(Box::new(Sgd::new(rate(0.1)))), 0);
    assert_eq!(vectors(Box::new(Momentum::new(rate(0.1)))), 1);
    assert_eq!(vectors(Box::new(Nesterov::new(rate(0.1)))), 1);
    assert_eq!(vectors(Box::new(RmsProp::new(rate(0.1)))), 1);
    assert_eq!(vectors(Box::new(Adam::new(rate(0.1)))), 2);
    assert_eq!(vectors(Box::new(L4Mom::new())), 1);
    assert_eq!(vectors(Box::new(L4Adam::new())), 2);
    let clipped = ClipByGlobalNorm::new(Momentum::new(rate(0.1)), 50.0).unwrap();
    assert_eq!(vectors(Box::new(clipped)), 1);
    let decayed = WeightDecay::new(L4Adam::new(), 0.1).unwrap();
    assert_eq!(vectors(Box::new(decayed)), 2);
}
