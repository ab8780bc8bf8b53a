//! Claim C12, section 2.3: the core update, Eq. (3), does not change under L → a·L + b, Eq. (4).

use l4::{
    AdamDirection, AlongEstimate, AveragedGradient, Direction, GradientEstimate, L4, MovingAverage,
    Optimizer,
};
use proptest::prelude::*;

/// L4 in the form of Eq. (3), as if a first step had left `l_min`: γ = 1 and no forgetting, so
/// that Lmin is the lowest loss; no ε.
fn core<G, D>(estimate: G, direction: D, l_min: f64) -> L4<G, D, f64>
where
    G: GradientEstimate<f64>,
    D: Direction<f64>,
{
    let mut l4 = L4::compose("core", estimate, direction)
        .gamma(1.0)
        .and_then(|l4| l4.tau(f64::INFINITY))
        .and_then(|l4| l4.epsilon(0.0))
        .unwrap();
    l4.step(1.0, &mut [0.0; 4], &mut [0.0; 4]).unwrap();
    let state = l4.state().with_scalar("l_min", l_min);
    l4.restore(state).unwrap();
    l4
}

/// Follows `steps` of (loss, gradient) under the transform and returns θ after each.
fn trajectory<G: GradientEstimate<f64>, D: Direction<f64>>(
    mut l4: L4<G, D, f64>,
    steps: &[(f64, [f64; 4])],
    (a, b): (f64, f64),
) -> Vec<[f64; 4]> {
    let mut theta = [0.0; 4];
    let after = |&(loss, gradient): &(f64, [f64; 4])| {
        let mut gradient = gradient.map(|g| a * g);
        l4.step(a * loss + b, &mut theta, &mut gradient).unwrap();
        theta
    };
    steps.iter().map(after).collect()
}

fn assert_same_path(
    original: Vec<[f64; 4]>,
    transformed: Vec<[f64; 4]>,
) -> Result<(), TestCaseError> {
    for (original, transformed) in original.into_iter().zip(transformed) {
        for (x, y) in original.into_iter().zip(transformed) {
            prop_assert!((x - y).abs() <= 1e-9 * (1.0 + x.abs()), "{x} {y}");
        }
    }
    Ok(())
}

/// Positive gradients keep g·v away from 0, where rounding is all there is.
fn steps() -> impl Strategy<Value = Vec<(f64, [f64; 4])>> {
    let step = (1.0..10.0f64, prop::array::uniform4(0.1..3.0f64));
    prop::collection::vec(step, 1..6)
}

proptest! {
    #[test]
    fn l4mom(steps in steps(), l_min in 0.0..0.9f64, a in 0.1..10.0f64, b in 0.0..10.0f64) {
        let l4 = |l_min| core(AveragedGradient::default(), AlongEstimate, l_min);
        assert_same_path(
            trajectory(l4(l_min), &steps, (1.0, 0.0)),
            trajectory(l4(a * l_min + b), &steps, (a, b)),
        )?;
    }

    /// Without its constant 1e-4, Adam's direction does not see the scale of the loss at all.
    #[test]
    fn l4adam(steps in steps(), l_min in 0.0..0.9f64, a in 0.1..10.0f64, b in 0.0..10.0f64) {
        let direction = || {
            let average = MovingAverage::new(1000.0)?;
            AdamDirection::over(average, f64::MIN_POSITIVE)
        };
        let l4 = |l_min| core(AveragedGradient::default(), direction().unwrap(), l_min);
        assert_same_path(
            trajectory(l4(l_min), &steps, (1.0, 0.0)),
            trajectory(l4(a * l_min + b), &steps, (a, b)),
        )?;
    }
}

/// The heuristics of section 2.4 break the invariance, as the paper says: γ < 1 sees b.
#[test]
fn the_full_algorithm_is_not_invariant_to_a_shift() {
    let eta = |loss| {
        let mut l4 = l4::L4Mom::<f64>::new();
        l4.step(loss, &mut [0.0], &mut [1.0]).unwrap().learning_rate
    };
    assert!(eta(11.0) > 2.0 * eta(1.0));
}
