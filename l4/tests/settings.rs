//! Every optimiser reports the settings that it has, and the memory that it takes.

use l4::{
    Adam, AdamDirection, AveragedGradient, ClipByGlobalNorm, L4, L4Adam, L4Mom, LeastSquares,
    LevenbergMarquardt, Momentum, MovingAverage, Nesterov, Optimizer, RawGradient, RmsProp,
    Schedule, Setting, Settings, Sgd,
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
fn a_schedule_shows_its_rates_and_their_last_steps() {
    let schedule = Schedule::piecewise_constant(vec![39_000, 58_500], vec![0.1, 0.01, 0.001]);
    let clipped = ClipByGlobalNorm::new(Momentum::new(schedule.unwrap()), 50.0).unwrap();
    assert_eq!(
        settings(clipped),
        "optimizer=heavy ball rates=[0.1, 0.01, 0.001] after_steps=[39000.0, 58500.0] \
         momentum=0.9 max_gradient_norm=50"
    );
}

#[test]
fn state_takes_the_bytes_that_the_documentation_says() {
    let bytes = |mut optimizer: Box<dyn Optimizer<f32>>| {
        assert_eq!(optimizer.state_bytes(), 0);
        optimizer
            .step(1.0, &mut [1.0; 1000], &mut [1.0; 1000])
            .unwrap();
        optimizer.state_bytes()
    };
    assert_eq!(bytes(Box::new(Sgd::new(rate(0.1)))), 0);
    assert_eq!(bytes(Box::new(Momentum::new(rate(0.1)))), 4000);
    assert_eq!(bytes(Box::new(Nesterov::new(rate(0.1)))), 4000);
    assert_eq!(bytes(Box::new(RmsProp::new(rate(0.1)))), 4000);
    assert_eq!(bytes(Box::new(Adam::new(rate(0.1)))), 8000);
    assert_eq!(bytes(Box::new(L4Mom::new())), 4000);
    assert_eq!(bytes(Box::new(L4Adam::new())), 8000);
    let clipped = ClipByGlobalNorm::new(Momentum::new(rate(0.1)), 50.0).unwrap();
    assert_eq!(bytes(Box::new(clipped)), 4000);
}

struct Nothing;

impl LeastSquares for Nothing {
    fn residual_count(&self) -> usize {
        3
    }

    fn parameter_count(&self) -> usize {
        2
    }

    fn residuals(&mut self, _: &[f64], _: &mut [f64]) {}

    fn jacobian(&mut self, _: &[f64], _: &mut [f64]) {}
}

#[test]
fn levenberg_marquardt() {
    let solver = LevenbergMarquardt::new(Nothing)
        .initial_damping(0.01)
        .unwrap();
    assert_eq!(
        written(&solver.settings()),
        "optimizer=LMA initial_damping=0.01"
    );
    // J 3×2, JᵀJ 2×2, Jᵀr 2, r twice 3.
    assert_eq!(solver.state_bytes(), 8 * (6 + 4 + 2 + 6));
}
