//! Many tensors at once are one parameter vector: sums run over all of them.

use l4::{
    Adam, ClipByGlobalNorm, L4Adam, L4Mom, Momentum, Nesterov, Optimizer, RmsProp, Schedule,
    Segment, Sgd, StepError, WeightDecay,
};

/// Lengths of the tensors, one of them empty; more than a block of the inner loops in all.
const LENGTHS: [usize; 4] = [33, 0, 4000, 1];
const PARAMETERS: usize = 4034;

fn all() -> Vec<Box<dyn Optimizer<f64>>> {
    let rate = || Schedule::constant(0.05).unwrap();
    vec![
        Box::new(Sgd::new(rate())),
        Box::new(Momentum::new(rate())),
        Box::new(Nesterov::new(rate())),
        Box::new(Adam::new(rate())),
        Box::new(RmsProp::new(rate())),
        Box::new(L4Adam::new()),
        Box::new(L4Mom::new()),
        Box::new(ClipByGlobalNorm::new(Sgd::new(rate()), 0.5).unwrap()),
        Box::new(WeightDecay::new(L4Adam::new(), 0.1).unwrap()),
    ]
}

/// `½·Σ cₖ·(xₖ − 1)²` and its gradient, with cₖ between 1 and 2.
fn loss_and_gradient(params: &[f64]) -> (f64, Vec<f64>) {
    let curvature = |k: usize| 1.0 + k as f64 / PARAMETERS as f64;
    let offsets = params.iter().enumerate().map(|(k, x)| (k, x - 1.0));
    let gradient = offsets.clone().map(|(k, x)| curvature(k) * x).collect();
    let loss = offsets.map(|(k, x)| 0.5 * curvature(k) * x * x).sum();
    (loss, gradient)
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
    for (mut flat, mut split) in all().into_iter().zip(all()) {
        let (mut params, mut parts) = (vec![0.25; PARAMETERS], vec![0.25; PARAMETERS]);
        for _ in 0..5 {
            let (loss, mut gradient) = loss_and_gradient(&params);
            let expected = flat.step(loss, &mut params, &mut gradient).unwrap();
            let (loss, mut gradient) = loss_and_gradient(&parts);
            let step = split
                .step_segments(loss, &mut segments(&mut parts, &mut gradient))
                .unwrap();
            // Sums are added up in another order.
            let change = (step.learning_rate / expected.learning_rate - 1.0).abs();
            assert!(change < 1e-12, "{}: {change}", flat.name());
        }
        for (k, (x, y)) in params.iter().zip(&parts).enumerate() {
            assert!((x - y).abs() < 1e-12, "{} at {k}: {x} {y}", flat.name());
        }
        assert_eq!(flat.state_bytes(), split.state_bytes());
        assert_eq!(
            flat.state().vectors.keys().collect::<Vec<_>>(),
            split.state().vectors.keys().collect::<Vec<_>>()
        );
    }
}

/// Vectors of tensors go in as they are.
#[test]
fn l4mom_by_hand() {
    let mut optimizer = L4Mom::<f64>::new();
    let (mut weights, mut bias) = (vec![0.0, 0.0], vec![0.0]);
    let (mut by_weights, mut by_bias) = (vec![1.0, -2.0], vec![2.0]);
    let step = optimizer
        .step_segments(
            4.0,
            &mut [(&mut weights, &mut by_weights), (&mut bias, &mut by_bias)],
        )
        .unwrap();
    // g·v = 1 + 4 + 4; Lmin = 0.75·4
    let eta = 0.15 * (4.0 - 0.9 * 3.0) / 9.0;
    assert!((step.inner_product.unwrap() - 9.0).abs() < 1e-12);
    assert!((weights[1] - 2.0 * eta).abs() < 1e-12 && (bias[0] + 2.0 * eta).abs() < 1e-12);
}

#[test]
fn the_clipped_norm_is_that_of_all_segments() {
    let sgd = Sgd::new(Schedule::constant(1.0).unwrap());
    let mut optimizer = ClipByGlobalNorm::new(sgd, 2.5).unwrap();
    let (mut a, mut b) = ([0.0], [0.0]);
    optimizer
        .step_segments(1.0, &mut [(&mut a, &mut [3.0]), (&mut b, &mut [-4.0])])
        .unwrap();
    assert_eq!((a, b), ([-1.5], [2.0]));
}

#[test]
fn a_bad_segment_is_refused_and_named() {
    for mut optimizer in all() {
        let (mut a, mut b) = ([1.0; 3], [1.0; 2]);
        let error = optimizer.step_segments(
            1.0,
            &mut [(&mut a, &mut [0.5; 3]), (&mut b, &mut [0.5, f64::NAN])],
        );
        assert!(
            matches!(error, Err(StepError::UnusableGradient { index: 4, .. })),
            "{error:?}"
        );
        let error =
            optimizer.step_segments(1.0, &mut [(&mut a, &mut [0.5; 3]), (&mut b, &mut [0.5])]);
        let (parameters, gradients) = (2, 1);
        assert_eq!(
            error,
            Err(StepError::GradientCount {
                parameters,
                gradients
            })
        );
        assert_eq!((a, b), ([1.0; 3], [1.0; 2]));
    }
}
