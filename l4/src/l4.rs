//! Algorithm 1: the L4 meta-optimiser.

use crate::config::{checked, fraction, non_negative, positive};
use crate::optimizer::require_finite;
use crate::simd::{BLOCK, LANES, dispatch, sum_lanes};
use crate::{
    AdamDirection, AlongEstimate, AveragedGradient, ConfigError, Direction, GradientEstimate,
    MomentBuffer, Moments, Optimizer, Outcome, Real, Settings, State, StateError, StateReader,
    Step, StepError, check_inputs, fit_moments, stepsize,
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

/// L4 over a gradient estimate `G` and an update direction `D`, Algorithm 1 of the paper.
///
/// Each step, with the minibatch loss L at θ:
///
/// 1. update both transforms with the minibatch gradient, giving g and v
/// 2. at the first step `Lmin ← γ0·L`, later `Lmin ← min(Lmin, L)`
/// 3. `η ← α·(L − γ·Lmin)/(g·v + ε)`, Eq. (6): [`stepsize`]
/// 4. `θ ← θ − η·v`
/// 5. `Lmin ← (1 + 1/τ)·Lmin`, Eq. (5)
///
/// Defaults: α = 0.15, γ = 0.9, γ0 = 0.75, τ = 1000, ε = 1e-12.
///
/// Memory is walked twice: for step 1 and g·v, which leaves v in the gradient's place, and for
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
    alpha: T,
    gamma: T,
    gamma0: T,
    tau: T,
    epsilon: T,
    estimate: G,
    direction: D,
    step: u64,
    /// After forgetting; `None` before the first step.
    l_min: Option<T>,
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
            assert!(G::NAMES.len() * size_of::<T>() == size_of::<G::Moments>());
            assert!(D::NAMES.len() * size_of::<T>() == size_of::<D::Moments>());
        }
        L4 {
            name,
            alpha: T::of(0.15),
            gamma: T::of(0.9),
            gamma0: T::of(0.75),
            tau: T::of(1000.0),
            epsilon: T::of(1e-12),
            estimate,
            direction,
            step: 0,
            l_min: None,
            estimate_moments: MomentBuffer::new(),
            direction_moments: MomentBuffer::new(),
        }
    }

    /// Sets α, the fraction of the linearised step to the minimum taken at each step: the main
    /// hyperparameter. Above 0; the paper finds values from 0.1 to 0.3 relevant.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when not positive and finite.
    pub fn alpha(mut self, alpha: T) -> Result<Self, ConfigError> {
        self.alpha = positive("alpha", alpha)?;
        Ok(self)
    }

    /// Sets γ, the fraction of Lmin believed attainable, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn gamma(mut self, gamma: T) -> Result<Self, ConfigError> {
        self.gamma = fraction("gamma", gamma)?;
        Ok(self)
    }

    /// Sets γ0, the fraction of the first loss that Lmin starts at, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn gamma0(mut self, gamma0: T) -> Result<Self, ConfigError> {
        self.gamma0 = fraction("gamma0", gamma0)?;
        Ok(self)
    }

    /// Sets τ, the timescale in steps at which Lmin grows, above 0; infinity for never.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when not positive.
    pub fn tau(mut self, tau: T) -> Result<Self, ConfigError> {
        self.tau = checked("tau", tau, "a positive number or infinity", tau > T::zero())?;
        Ok(self)
    }

    /// Sets ε, added to g·v in the denominator, at least 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when negative or not finite.
    pub fn epsilon(mut self, epsilon: T) -> Result<Self, ConfigError> {
        self.epsilon = non_negative("epsilon", epsilon)?;
        Ok(self)
    }

    /// Step 2 of the algorithm.
    fn lowest_loss(&self, loss: T) -> T {
        match self.l_min {
            None => self.gamma0 * loss,
            Some(l_min) => l_min.min(loss),
        }
    }

    /// Step 5 of the algorithm.
    fn forget(&self, l_min: T) -> T {
        // The bound matters only at losses near the end of the number range.
        ((T::one() + self.tau.recip()) * l_min).min(T::max_value())
    }

    /// Step 3 of the algorithm, with the cases that Eq. (6) does not cover.
    fn choose_step(&self, loss: T, l_min: T, inner_product: T) -> Result<(T, Outcome), StepError> {
        let target = self.gamma * l_min;
        require_finite("the inner product g·v", inner_product)?;
        if loss <= target {
            return Ok((T::zero(), Outcome::TargetReached));
        }
        if inner_product <= T::zero() {
            return Ok((T::zero(), Outcome::NoDescent));
        }
        let eta = stepsize(self.alpha, loss, target, inner_product, self.epsilon);
        require_finite("the stepsize η", eta)?;
        Ok((eta, Outcome::Updated))
    }
}

impl<G: GradientEstimate<T>, D: Direction<T>, T: Real> Optimizer<T> for L4<G, D, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn settings(&self) -> Settings {
        let settings = Settings::of(self.name)
            .with_number("alpha", self.alpha)
            .with_number("gamma", self.gamma)
            .with_number("gamma0", self.gamma0)
            .with_number("tau", self.tau)
            .with_number("epsilon", self.epsilon);
        self.direction.add_to(self.estimate.add_to(settings))
    }

    fn step(&mut self, loss: T, params: &mut [T], grads: &mut [T]) -> Result<Step<T>, StepError> {
        if loss < T::zero() && loss.is_finite() {
            let loss = loss.as_f64();
            return Err(StepError::NegativeLoss { loss });
        }
        check_inputs(loss, params, grads)?;
        let (count, steps) = (params.len(), self.step);
        fit_moments(&mut self.estimate_moments, G::Moments::zero(), steps, count)?;
        fit_moments(
            &mut self.direction_moments,
            D::Moments::zero(),
            steps,
            count,
        )?;

        self.step += 1;
        self.estimate.begin_step(self.step);
        self.direction.begin_step(self.step);
        let inner_product = T::of(first_pass(
            &self.estimate,
            &self.direction,
            &mut self.estimate_moments,
            &mut self.direction_moments,
            grads,
        ));
        let l_min = self.lowest_loss(loss);
        self.l_min = Some(self.forget(l_min));
        let (eta, outcome) = self.choose_step(loss, l_min, inner_product)?;
        if outcome == Outcome::Updated {
            second_pass(eta, params, grads);
        }
        Ok(Step {
            learning_rate: eta,
            l_min: Some(l_min),
            inner_product: Some(inner_product),
            outcome,
        })
    }

    fn state(&self) -> State<T> {
        let mut state = State::new(self.step);
        if let Some(l_min) = self.l_min {
            state = state.with_scalar("l_min", l_min);
        }
        state = save_moments(state, "g", G::NAMES, &self.estimate_moments);
        save_moments(state, "v", D::NAMES, &self.direction_moments)
    }

    fn restore(&mut self, state: State<T>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        let l_min = match step {
            0 => None,
            _ => Some(reader.scalar("l_min")?),
        };
        let estimate_moments = read_moments(&mut reader, "g", G::NAMES)?;
        let direction_moments = read_moments(&mut reader, "v", D::NAMES)?;
        reader.finish()?;
        (self.step, self.l_min) = (step, l_min);
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

/// Step 4 of the algorithm: θ ← θ − η·v.
fn second_pass<T: Real>(eta: T, params: &mut [T], direction: &[T]) {
    dispatch(
        #[inline(always)]
        || {
            for (param, &v) in params.iter_mut().zip(direction) {
                *param = *param - eta * v;
            }
        },
    );
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
        let values = reader.vector(&format!("{role}.{name}"))?;
        for (moments, value) in moments.iter_mut().zip(values) {
            moments.as_mut()[k] = value;
        }
    }
    Ok(moments)
}
