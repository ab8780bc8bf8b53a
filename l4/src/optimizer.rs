//! The trait that all optimisers share, and the checks that all of them make.

use crate::simd::first_unusable;
use alloc::boxed::Box;
use core::ops::Range;

use crate::{MomentBuffer, Real, Settings, State, StateError, StepError};

/// One tensor's parameters and the gradient of the loss by them, both flat and of one length.
pub type Segment<'a, T> = (&'a mut [T], &'a mut [T]);

/// A first-order optimiser over one parameter vector, whole or in segments.
///
/// Sums over parameters, such as g·v, run over all segments: they are parts of one vector and not
/// vectors of their own. The order of segments has to stay the same from step to step.
///
/// An optimiser that remembers something of each parameter learns their number at its first step
/// (or from a restored state) and from then on refuses any other.
pub trait Optimizer<T: Real>: Send {
    /// The method's name, as in the paper's figures where it appears there.
    fn name(&self) -> &'static str;

    /// Every hyperparameter, read from the optimiser itself: what an experiment reports.
    fn settings(&self) -> Settings;

    /// Updates parameters in place, given the `loss` at them and its gradient.
    ///
    /// Gradients may be used as scratch: afterwards an [`L4`](crate::L4) leaves the update
    /// direction v in them; with the other optimisers their contents are unspecified.
    ///
    /// # Errors
    ///
    /// [`StepError`], with the parameters untouched: slices of the wrong length, a loss or gradient
    /// that is not finite, and whatever else the method cannot take.
    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError>;

    /// [`step_segments`](Self::step_segments) where all parameters are one slice.
    ///
    /// # Errors
    ///
    /// As there.
    fn step(&mut self, loss: T, params: &mut [T], grads: &mut [T]) -> Result<Step<T>, StepError> {
        self.step_segments(loss, &mut [(params, grads)])
    }

    /// The parameters to evaluate and to keep, where those are not the ones that the gradient is
    /// taken at: an average of them, say. All segments one after another. `None` for most methods,
    /// and before the first step.
    fn evaluation_point(&self) -> Option<&[T]> {
        None
    }

    /// Everything needed to go on from here, bit for bit, with an optimiser built alike.
    fn state(&self) -> State<T>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    ///
    /// [`StateError`], with the optimiser untouched, when the entries are not those of
    /// [`state`](Optimizer::state). Optimisers whose states have the same entries (such as SGD and SPS_max; heavy ball, Nesterov
    /// and ALI-G; one with and without a wrapper that keeps nothing) are not told apart: restore into the kind that saved it.
    fn restore(&mut self, state: State<T>) -> Result<(), StateError>;

    /// Bytes allocated for what the optimiser remembers of each parameter: 0 before the first step.
    fn state_bytes(&self) -> usize;
}

impl<T: Real, O: Optimizer<T> + ?Sized> Optimizer<T> for Box<O> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn settings(&self) -> Settings {
        (**self).settings()
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        (**self).step_segments(loss, segments)
    }

    fn evaluation_point(&self) -> Option<&[T]> {
        (**self).evaluation_point()
    }

    fn state(&self) -> State<T> {
        (**self).state()
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        (**self).restore(state)
    }

    fn state_bytes(&self) -> usize {
        (**self).state_bytes()
    }
}

/// What happened in one step, for the figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<T> {
    /// The effective learning rate η: with L4 the stepsize of Eq. (6), with a rate-free method the factor on its direction,
    /// otherwise the schedule's rate (for Adam without the bias correction, so that it compares with L4Adam's η).
    pub learning_rate: T,
    /// Lmin as used in Eq. (6), before forgetting; L4 only.
    pub l_min: Option<T>,
    /// g·v over all parameters; L4 only.
    pub inner_product: Option<T>,
    /// Whether the parameters moved, and if not, why.
    pub outcome: Outcome,
}

impl<T> Step<T> {
    /// A step with this rate, and without L4's Lmin and g·v.
    pub fn at_rate(learning_rate: T) -> Self {
        Step {
            learning_rate,
            l_min: None,
            inner_product: None,
            outcome: Outcome::Updated,
        }
    }
}

/// The result of a step that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// θ ← θ − η·v.
    Updated,
    /// L = γ·Lmin, so η = 0 and θ is unchanged, bit for bit. With γ < 1 this means zero loss.
    /// With a rate-free method: the loss, or its model of it, is at or below its lower bound.
    TargetReached,
    /// g·v ≤ 0: v is no descent direction, so η = 0 and θ is unchanged, bit for bit.
    /// With a rate-free method: there is no gradient, or none so far.
    NoDescent,
}

/// The checks that every optimiser makes before it touches anything: as many gradient elements
/// as parameters, a finite loss, and a gradient whose elements and their squares are finite.
/// Returns the number of parameters.
///
/// # Errors
///
/// The first check that fails, as [`StepError`].
pub fn check_inputs<T: Real>(loss: T, segments: &[Segment<'_, T>]) -> Result<usize, StepError> {
    let (loss, mut count) = (loss.as_f64(), 0);
    if !loss.is_finite() {
        return Err(StepError::NonFiniteLoss { loss });
    }
    for (params, grads) in segments {
        let (parameters, gradients) = (params.len(), grads.len());
        if parameters != gradients {
            return Err(StepError::GradientCount {
                parameters,
                gradients,
            });
        }
        if let Some(index) = first_unusable(grads) {
            return Err(StepError::UnusableGradient {
                index: count + index,
                value: grads[index].as_f64(),
            });
        }
        count += parameters;
    }
    Ok(count)
}

/// Each segment's parameters and gradient, and before them its range in a vector over all
/// parameters, such as moments.
pub fn with_ranges<'s, T>(
    segments: &'s mut [Segment<'_, T>],
) -> impl Iterator<Item = (Range<usize>, &'s mut [T], &'s mut [T])> {
    let mut end = 0;
    segments.iter_mut().map(move |(params, grads)| {
        let start = end;
        end += params.len();
        (start..end, &mut **params, &mut **grads)
    })
}

/// Sizes moments at the first step and checks their length at later ones.
///
/// `steps` is the number of steps taken so far. Call it for one vector after [`check_inputs`] and
/// before anything changes; all vectors of an optimiser have one length.
///
/// # Errors
///
/// [`StepError::ParameterCount`] when `moments` belong to another number of parameters.
pub fn fit_moments<M: Copy, const ALIGN: usize>(
    moments: &mut MomentBuffer<M, ALIGN>,
    start: M,
    steps: u64,
    params: usize,
) -> Result<(), StepError> {
    let holds_nothing = size_of::<M>() == 0;
    if holds_nothing || (steps == 0 && moments.is_empty()) {
        moments.resize(params, start);
    }
    if moments.len() != params {
        return Err(StepError::ParameterCount {
            expected: moments.len(),
            found: params,
        });
    }
    Ok(())
}

/// [`StepError::Overflow`] where a number computed from finite ones is not finite.
pub(crate) fn require_finite<T: Real>(quantity: &'static str, value: T) -> Result<(), StepError> {
    if value.is_finite() {
        return Ok(());
    }
    let value = value.as_f64();
    Err(StepError::Overflow { quantity, value })
}
