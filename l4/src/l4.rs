//! Algorithm 1: the L4 meta-optimiser.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::parallel::{both, middle};
use crate::simd::{BLOCK, LANES, descend, dispatch, sum_lanes};
use crate::step_rule::check_loss;
use crate::{
    AdamDirection, AlongEstimate, AveragedGradient, ConfigError, Direction, GradientEstimate,
    MomentBuffer, Moments, Optimizer, Outcome, Real, Segment, Setting, Settings, State, StateError,
    StateReader, Step, StepError, StepRule, check_inputs, fit_moments, with_ranges,
};

/// L4Mom: g = v = momentum, Eq. (7).
pub type L4Mom<T = f32> = L4<AveragedGradient<T>, AlongEstimate, T>;

/// L4Adam: g = momentum, v = Adam's direction, Eq. (7).
pub type L4Adam<T = f32> = L4<AveragedGradient<T>, AdamDirection<T>, T>;

impl<T: Real> L4Mom<T> {
    /// L4Mom with the paper's constants.
    pub fn new() -> Self {
        L4::compose("L4Mom", AveragedGradient::default(), AlongEstimate)
    }
}

impl<T: Real> L4Adam<T> {
    /// L4Adam with the paper's constants.
    pub fn new() -> Self {
        L4::compose(
            "L4Adam",
            AveragedGradient::default(),
            AdamDirection::default(),
        )
    }
}

impl<T: Real> Default for L4Mom<T> {
    fn default() -> Self {
        L4Mom::new()
    }
}

impl<T: Real> Default for L4Adam<T> {
    fn default() -> Self {
        L4Adam::new()
    }
}

/// L4 over a gradient estimate `G` and an update direction `D`: Algorithm 1 of the paper.
///
/// Step 1 of the algorithm, g·v and step 4 are here, the loops over parameters; steps 2, 3 and 5
/// are [`StepRule`]'s.
///
/// After the check of the gradient memory is walked twice: for step 1 and g·v, which leaves v in the gradient's place, and for
/// step 4. Both go forwards: starting the second where the first has just been would find more in
/// cache, but defeats the hardware's prefetching and measured slower.
#[derive(Clone, Debug)]
pub struct L4<G, D, T = f32>
where
    G: GradientEstimate<T>,
    D: Direction<T>,
    T: Real,
{
    name: &'static str,
    rule: StepRule<T>,
    estimate: G,
    direction: D,
    estimate_moments: MomentBuffer<G::Moments, 256>,
    direction_moments: MomentBuffer<D::Moments, 512>,
}

impl<G: GradientEstimate<T>, D: Direction<T>, T: Real> L4<G, D, T> {
    /// L4 with any pair of transforms and the default constants.
    ///
    /// The pair should keep g·v ≥ 0, as the paper asks (section 2.4); where it does not, the
    /// step does not move ([`Outcome::NoDescent`]).
    pub fn compose(name: &'static str, estimate: G, direction: D) -> Self {
        const {
            assert!(
                G::NAMES.len() * size_of::<T>() == size_of::<G::Moments>(),
                "the gradient estimate has to have one name for each of its moments"
            );
            assert!(
                D::NAMES.len() * size_of::<T>() == size_of::<D::Moments>(),
                "the direction has to have one name for each of its moments"
            );
        }
        L4 {
            name,
            rule: StepRule::new(),
            estimate,
            direction,
            estimate_moments: MomentBuffer::new(),
            direction_moments: MomentBuffer::new(),
        }
    }

    /// Sets α: [`StepRule::set_alpha`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside its range.
    pub fn alpha(mut self, alpha: T) -> Result<Self, ConfigError> {
        self.rule.set_alpha(alpha)?;
        Ok(self)
    }

    /// Sets γ: [`StepRule::set_gamma`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside its range.
    pub fn gamma(mut self, gamma: T) -> Result<Self, ConfigError> {
        self.rule.set_gamma(gamma)?;
        Ok(self)
    }

    /// Sets γ0: [`StepRule::set_gamma0`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside its range.
    pub fn gamma0(mut self, gamma0: T) -> Result<Self, ConfigError> {
        self.rule.set_gamma0(gamma0)?;
        Ok(self)
    }

    /// Sets τ: [`StepRule::set_tau`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside its range.
    pub fn tau(mut self, tau: T) -> Result<Self, ConfigError> {
        self.rule.set_tau(tau)?;
        Ok(self)
    }

    /// Sets ε: [`StepRule::set_epsilon`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside its range.
    pub fn epsilon(mut self, epsilon: T) -> Result<Self, ConfigError> {
        self.rule.set_epsilon(epsilon)?;
        Ok(self)
    }

    /// Lmin, the constants and the number of steps.
    pub fn rule(&self) -> &StepRule<T> {
        &self.rule
    }

    /// The rule, to change its constants or Lmin while training runs. Leave
    /// [`StepRule::step`] to the optimiser: it counts a step for which no gradient was averaged.
    pub fn rule_mut(&mut self) -> &mut StepRule<T> {
        &mut self.rule
    }

    /// What an adapter for another framework's tensors needs.
    #[cfg(any(feature = "burn", feature = "candle"))]
    pub(crate) fn into_parts(self) -> (StepRule<T>, G, D) {
        (self.rule, self.estimate, self.direction)
    }

    /// The constants of both transforms.
    fn transform_settings(&self) -> Settings {
        let settings = self.estimate.add_to(Settings::of(self.name));
        self.direction.add_to(settings)
    }
}

impl<G: GradientEstimate<T>, D: Direction<T>, T: Real> Optimizer<T> for L4<G, D, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn settings(&self) -> Settings {
        let settings = self.rule.add_to(Settings::of(self.name));
        self.direction.add_to(self.estimate.add_to(settings))
    }

    fn step_segments(
        &mut self,
        loss: T,
        segments: &mut [Segment<'_, T>],
    ) -> Result<Step<T>, StepError> {
        check_loss(loss)?;
        let (count, steps) = (check_inputs(loss, segments)?, self.rule.steps());
        fit_moments(&mut self.estimate_moments, G::Moments::zero(), steps, count)?;
        fit_moments(
            &mut self.direction_moments,
            D::Moments::zero(),
            steps,
            count,
        )?;

        self.estimate.begin_step(steps + 1);
        self.direction.begin_step(steps + 1);
        let mut inner_product = 0.0;
        for (range, _, grads) in with_ranges(segments) {
            inner_product += first_pass(
                &self.estimate,
                &self.direction,
                &mut self.estimate_moments[range.clone()],
                &mut self.direction_moments[range],
                grads,
            );
        }
        let step = self.rule.step(loss, T::of(inner_product))?;
        if step.outcome == Outcome::Updated {
            for (params, direction) in segments {
                descend(step.learning_rate, params, direction);
            }
        }
        Ok(step)
    }

    fn state(&self) -> State<T> {
        let mut state = self.rule.state();
        for (name, setting) in self.transform_settings() {
            if let Setting::Number(value) = setting {
                state = state.with_scalar(name, value);
            }
        }
        state = save_moments(state, "g", G::NAMES, &self.estimate_moments);
        save_moments(state, "v", D::NAMES, &self.direction_moments)
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let rule = StepRule::read(&mut reader)?;
        for (name, setting) in self.transform_settings() {
            if let Setting::Number(value) = setting {
                reader.same_scalar(name, value)?;
            }
        }
        let estimate_moments = read_moments(&mut reader, "g", G::NAMES)?;
        let direction_moments = read_moments(&mut reader, "v", D::NAMES)?;
        reader.finish()?;
        self.rule = rule;
        self.estimate_moments = estimate_moments.into();
        self.direction_moments = direction_moments.into();
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.estimate_moments.bytes() + self.direction_moments.bytes()
    }
}

/// Step 1 of the algorithm and g·v: leaves v in `grads`.
fn first_pass<T: Real, G: GradientEstimate<T>, D: Direction<T>>(
    estimate: &G,
    direction: &D,
    estimate_moments: &mut [G::Moments],
    direction_moments: &mut [D::Moments],
    grads: &mut [T],
) -> f64 {
    let Some(middle) = middle(grads.len()) else {
        return first_pass_of_part(
            estimate,
            direction,
            estimate_moments,
            direction_moments,
            grads,
        );
    };
    let (gm, gm_rest) = estimate_moments.split_at_mut(middle);
    let (vm, vm_rest) = direction_moments.split_at_mut(middle);
    let (grads, grads_rest) = grads.split_at_mut(middle);
    let (first, rest) = both(
        || first_pass(estimate, direction, gm, vm, grads),
        || first_pass(estimate, direction, gm_rest, vm_rest, grads_rest),
    );
    first + rest
}

fn first_pass_of_part<T: Real, G: GradientEstimate<T>, D: Direction<T>>(
    estimate: &G,
    direction: &D,
    estimate_moments: &mut [G::Moments],
    direction_moments: &mut [D::Moments],
    grads: &mut [T],
) -> f64 {
    dispatch(
        #[inline(always)]
        || {
            let mut inner_product = 0.0;
            let blocks = grads
                .chunks_mut(BLOCK)
                .zip(estimate_moments.chunks_mut(BLOCK))
                .zip(direction_moments.chunks_mut(BLOCK));
            for ((grads, estimate_moments), direction_moments) in blocks {
                // Chunks of constant length: their loop needs no checks and sums in registers.
                let (grads, grads_rest) = grads.as_chunks_mut::<LANES>();
                let (gm, gm_rest) = estimate_moments.as_chunks_mut::<LANES>();
                let (vm, vm_rest) = direction_moments.as_chunks_mut::<LANES>();
                let mut lanes = [T::zero(); LANES];
                for ((grads, gm), vm) in grads.iter_mut().zip(gm).zip(vm) {
                    transform(estimate, direction, gm, vm, grads, &mut lanes);
                }
                transform(
                    estimate, direction, gm_rest, vm_rest, grads_rest, &mut lanes,
                );
                inner_product += sum_lanes(lanes).as_f64();
            }
            inner_product
        },
    )
}

/// The first pass over at most [`LANES`] parameters: each one's g·v is added to its own lane.
#[inline(always)]
fn transform<T: Real, G: GradientEstimate<T>, D: Direction<T>>(
    estimate: &G,
    direction: &D,
    estimate_moments: &mut [G::Moments],
    direction_moments: &mut [D::Moments],
    grads: &mut [T],
    lanes: &mut [T; LANES],
) {
    let moments = estimate_moments.iter_mut().zip(direction_moments);
    let grads = grads.iter_mut().zip(lanes);
    for ((grad, lane), (estimate_moments, direction_moments)) in grads.zip(moments) {
        let g = estimate.estimate(*grad, estimate_moments);
        let v = direction.direction(*grad, g, direction_moments);
        *lane = *lane + g * v;
        *grad = v;
    }
}

fn save_moments<T: Real, M: Moments<T>>(
    mut state: State<T>,
    role: &str,
    names: &[&str],
    moments: &[M],
) -> State<T> {
    for (k, name) in names.iter().enumerate() {
        let values = moments.iter().map(|moments| moments.as_ref()[k]).collect();
        state = state.with_vector(&format!("{role}.{name}"), values);
    }
    state
}

fn read_moments<T: Real, M: Moments<T>>(
    reader: &mut StateReader<T>,
    role: &str,
    names: &[&str],
) -> Result<Vec<M>, StateError> {
    let mut moments = vec![M::zero(); reader.parameters()];
    for (k, name) in names.iter().enumerate() {
        let is_square = *name == crate::MEAN_SQUARE;
        let name = format!("{role}.{name}");
        let values = match is_square {
            true => reader.squares(&name)?,
            false => reader.vector(&name)?,
        };
        for (moments, value) in moments.iter_mut().zip(values) {
            moments.as_mut()[k] = value;
        }
    }
    Ok(moments)
}
