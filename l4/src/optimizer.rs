//! The trait that all optimisers share, and the checks that all of them make.

use crate::simd::first_unusable;
use crate::{MomentBuffer, Real, Settings, State, StateError, StepError};

/// A first-order optimiser over one flat parameter vector.
///
/// An optimiser learns the number of parameters at its first step (or from a restored state) and
/// from then on refuses any other.
pub trait Optimizer<T: Real>: Send {
    /// The method's name, as in the paper's figures where it appears there.
    fn name(&self) -> &'static str;

    /// Every hyperparameter, read from the optimiser itself: what an experiment reports.
    fn settings(&self) -> Settings;

    /// Updates `params` in place, given the `loss` at `params` and its gradient `grads`.
    ///
    /// `grads` may be used as scratch: afterwards an [`L4`](crate::L4) leaves the update
    /// direction v in it; with the other optimisers its contents are unspecified.
    ///
    /// # Errors
    ///
    /// [`StepError`], with `params` untouched: slices of the wrong length, a loss or gradient
    /// that is not finite, and whatever else the method cannot take.
    fn step(&mut self, loss: T, params: &mut [T], grads: &mut [T]) -> Result<Step<T>, StepError>;

    /// Everything needed to go on from here, bit for bit, with an optimiser built alike.
    fn state(&self) -> State<T>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    ///
    /// [`StateError`], with the optimiser untouched, when the entries are not those of
    /// [`state`](Optimizer::state).
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

    fn step(&mut self, loss: T, params: &mut [T], grads: &mut [T]) -> Result<Step<T>, StepError> {
        (**self).step(loss, params, grads)
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
    /// The effective learning rate η: with L4 the stepsize of Eq. (6), otherwise the schedule's
    /// rate (for Adam without the bias correction, so that it compares with L4Adam's η).
    pub learning_rate: T,
    /// Lmin as used in Eq. (6), before forgetting; L4 only.
    pub l_min: Option<T>,
    /// g·v over all parameters; L4 only.
    pub inner_product: Option<T>,
    /// Whether the parameters moved, and if not, why.
    pub outcome: Outcome,
}

impl<T> Step<T> {
    /// A step with a rate that was not derived from the loss.
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
    TargetReached,
    /// g·v ≤ 0: v is no descent direction, so η = 0 and θ is unchanged, bit for bit.
    NoDescent,
}

/// The checks that every optimiser makes before it touches anything: as many gradient elements
/// as parameters, a finite loss, and a gradient whose elements and their squares are finite.
///
/// # Errors
///
/// The first check that fails, as [`StepError`].
pub fn check_inputs<T: Real>(loss: T, params: &[T], grads: &[T]) -> Result<(), StepError> {
    if params.len() != grads.len() {
        return Err(StepError::GradientCount {
            parameters: params.len(),
            gradients: grads.len(),
        });
    }
    if !loss.is_finite() {
        return Err(StepError::NonFiniteLoss {
            loss: loss.as_f64(),
        });
    }
    match first_unusable(grads) {
        None => Ok(()),
        Some(index) => Err(StepError::UnusableGradient {
            index,
            value: grads[index].as_f64(),
        }),
    }
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
