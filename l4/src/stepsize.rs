//! The stepsize formula.

use crate::Real;

/// The stepsize of L4, Eq. (6); with `epsilon` = 0, Eq. (3); with `alpha` = 1 as well, Eq. (2):
///
/// ```text
/// η = α·(L − Lmin) / (g·v + ε)
/// ```
///
/// `l_min` is the loss taken to be attainable: γ·Lmin in the full algorithm. `inner_product` is
/// g·v over all parameters. η·v has the unit of the parameters, whatever that of v is. ε has the
/// unit of g·v: loss²/parameter² where v is an averaged gradient, loss/parameter where it is
/// Adam's, so that what is small in the one is not in the other.
///
/// In the form of Eq. (3) the update η·v is invariant to affine transforms of the loss
/// L → a·L + b, Eq. (4), when Lmin moves along and g scales by a (section 2.3).
#[inline]
pub fn stepsize<T: Real>(alpha: T, loss: T, l_min: T, inner_product: T, epsilon: T) -> T {
    alpha * (loss - l_min) / (inner_product + epsilon)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // 0.15·(2 − 0.5)/(4.5 + 0.5) = 0.225/5
        assert_eq!(stepsize(0.15, 2.0, 0.5, 4.5, 0.5), 0.225 / 5.0);
    }

    proptest! {
        /// Claim C12 on Eq. (3), for directions that scale with the gradient (SGD, momentum) or
        /// do not (Adam without its constant).
        #[test]
        fn core_update_is_invariant_to_affine_transforms_of_the_loss(
            (loss, below) in (0.0..10.0f64, 0.01..10.0f64),
            (a, b) in (0.01..100.0f64, -10.0..10.0f64),
            // Positive, so that g·v keeps its digits.
            gradient in prop::array::uniform4(0.1..3.0f64),
            direction in prop::array::uniform4(0.1..3.0f64),
            scales in any::<bool>(),
        ) {
            let dot = |g: &[f64], v: &[f64]| g.iter().zip(v).map(|(g, v)| g * v).sum::<f64>();
            let l_min = loss - below;
            let update = |loss: f64, l_min: f64, g: [f64; 4], v: [f64; 4]| {
                let eta = stepsize(0.15, loss, l_min, dot(&g, &v), 0.0);
                v.map(|v| eta * v)
            };
            let original = update(loss, l_min, gradient, direction);
            let scaled_direction = direction.map(|v| if scales { a * v } else { v });
            let transformed = update(
                a * loss + b,
                a * l_min + b,
                gradient.map(|g| a * g),
                scaled_direction,
            );
            for (original, transformed) in original.iter().zip(transformed) {
                // Forming (aL + b) − (aLmin + b) loses digits when b is large against a·(L − Lmin).
                let condition = 1.0 + (a * loss.abs() + b.abs()) / (a * below);
                let tolerance = 1e-13 * condition * original.abs();
                prop_assert!((original - transformed).abs() <= tolerance);
            }
        }
    }
}
