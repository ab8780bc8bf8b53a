//! Today's methods that need no rate or no schedule, or take the step from the loss as L4 does: ten of
//! them, as their authors' code has them, with its defaults unless a method's page says otherwise.
//!
//! What each has to know, and what it remembers of each parameter (L4Adam 2, L4Mom 1, Adam 2):
//!
//! | | reads the loss | f\* | θ₀ | a rate | vectors | evaluated at |
//! |---|---|---|---|---|---|---|
//! | [`SpsMax`] | yes | 0 | – | largest step 1 | 0 | θ |
//! | [`AliG`] | yes | 0 | – | largest step 0.1 | 1 | θ |
//! | [`Momo`] | yes | [`lower_bound`](Momo::lower_bound), 0 | – | largest step 1 | 1 | θ |
//! | [`MomoAdam`] | yes | [`lower_bound`](MomoAdam::lower_bound), 0 | – | largest step 0.01/(1 − 0.9ᵏ) | 2 | θ |
//! | [`DAdaptAdam`] | – | – | – | – | 3 | θ |
//! | [`Prodigy`] | – | – | yes | – | 4 | θ |
//! | [`Dog`] | – | – | yes | – | 2 | their average |
//! | [`ScheduleFreeAdamW`] | – | – | – | 0.0025 | 3 | their average x |
//! | [`ScheduleFreePlus`] | yes | 0 | – | a factor, 1 | 4 | their average x |
//! | [`Mechanic`] | as its base | as its base | yes | a factor, 1 | the base's and 2 | θ |
//!
//! A method that reads the loss takes f\* for its least value, as L4 takes 0: drop additive
//! constants. L4 differs from SPS_max, ALI-G and MoMo in that its bound Lmin follows the lowest loss
//! seen, so that no largest step has to be set.
//!
//! Where the last column names an average, [`Optimizer::evaluation_point`](crate::Optimizer) holds
//! it; parameters, loss and gradient are those of training throughout. Some of the originals have
//! weight decay built in (off by default), of kinds of their own: L2 in the gradient, or in MoMo's model.
//! Here it is [`WeightDecay`](crate::WeightDecay) around any, after the step.
//! Sums over parameters are made in `f64`.

mod ali_g;
mod d_adaptation;
mod dog;
mod mechanic;
mod momo;
mod momo_adam;
mod prodigy;
mod schedule_free;
mod schedule_free_plus;
mod sps_max;

pub use ali_g::AliG;
pub use d_adaptation::DAdaptAdam;
pub use dog::Dog;
pub use mechanic::Mechanic;
pub use momo::Momo;
pub use momo_adam::MomoAdam;
pub use prodigy::Prodigy;
pub use schedule_free::ScheduleFreeAdamW;
pub use schedule_free_plus::ScheduleFreePlus;
pub use sps_max::SpsMax;

use crate::{MomentBuffer, Real, Segment, Settings, StepError, fit_moments};

/// Sizes `points` as [`fit_moments`] does; before the first step they are the parameters, θ₀.
fn start_at<T: Real, const ALIGN: usize>(
    points: &mut MomentBuffer<T, ALIGN>,
    segments: &[Segment<'_, T>],
    steps: u64,
    count: usize,
) -> Result<(), StepError> {
    fit_moments(points, T::zero(), steps, count)?;
    if steps == 0 {
        let mut rest = &mut points[..];
        for (params, _) in segments {
            let (here, after) = rest.split_at_mut(params.len());
            here.copy_from_slice(params);
            rest = after;
        }
    }
    Ok(())
}

/// `settings` with the bound on the growth of d, where there is one.
fn with_growth(settings: Settings, growth: f64) -> Settings {
    match growth.is_finite() {
        true => settings.with_number("growth", growth),
        false => settings,
    }
}
