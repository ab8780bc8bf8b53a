//! L4 over a [burn](https://docs.rs/burn) module.
//!
//! burn's `Optimizer` trait sees one tensor at a time and no loss, so this is an optimiser of its
//! own, as burn's L-BFGS is: it visits the module for the gradients and maps it to move them.
//!
#![cfg_attr(feature = "burn-flex", doc = "```")]
#![cfg_attr(not(feature = "burn-flex"), doc = "```ignore")]
//! # use burn_core as burn;
//! use burn::module::Param;
//! use burn::tensor::{Device, Tensor};
//! use l4::burn::L4Adam;
//!
//! let device = Device::default().autodiff();
//! let inputs = Tensor::<2>::from_data([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], &device);
//! let targets = Tensor::<2>::from_data([[5.0], [0.0], [2.0]], &device);
//! // Any module; here a weight and a bias.
//! let mut model: (Param<Tensor<2>>, Param<Tensor<1>>) = (
//!     Param::from_data([[0.1], [-0.2]], &device),
//!     Param::from_data([0.0], &device),
//! );
//!
//! let mut optimizer = L4Adam::new(l4::L4Adam::new());
//! for _ in 0..1000 {
//!     let outputs = inputs.clone().matmul(model.0.val()) + model.1.val().unsqueeze();
//!     let loss = (outputs - targets.clone()).square().mean();
//!     let (moved, step) = optimizer.backward_step(model, loss);
//!     model = moved;
//!     step?;
//! }
//! let outputs = inputs.matmul(model.0.val()) + model.1.val().unsqueeze();
//! let loss: f32 = (outputs - targets).square().mean().into_scalar();
//! assert!(loss < 1e-3, "{loss}");
//! # Ok::<(), l4::burn::Error>(())
//! ```
//!
//! The configuration is the crate's own optimiser: `l4::L4Mom::new().alpha(0.1)?` for another α.
//!
//! Every tensor operation runs on the module's device; the host reads once a step, the loss and two numbers for each
//! parameter (one by one where number types or devices differ). Averages of half-precision parameters are in f32.
//! Parameters without a gradient in a step are left as they are; their averages are over the steps
//! in which they had one. A parameter marked as distributed loses the mark when it moves.
//!
//! Averages of gradients that have become 0 decay to subnormal numbers, which some CPUs compute with many times slower. The
//! crate's own optimisers put 0 in their place; here that would be several more operations for each average, and is left out.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use burn_core::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn_core::tensor::{Bytes, DType, Device, Gradients, Tensor, TensorData};
use burn_pack::{Reader, Scalar, Writer};

use crate::config::non_negative;
use crate::optimizer::require_finite;
use crate::simd::first_unusable;
use crate::tensors::{self, Failure, Memory, TensorDirection, TensorL4, check_average};
use crate::{
    AdamDirection, AlongEstimate, AveragedGradient, ConfigError, Direction, State, StateError,
    Step, StepError, StepRule,
};

/// L4Adam over a burn module.
pub type L4Adam = L4<AdamDirection<f64>>;

/// L4Mom over a burn module.
pub type L4Mom = L4<AlongEstimate>;

/// L4 over a burn module, with the direction `D`.
///
/// One optimiser trains one module. Parameters are told apart by their paths in it.
#[derive(Clone, Debug)]
pub struct L4<D> {
    l4: TensorL4<Tensor<1>, D>,
    /// λ by group; the last that matches counts.
    decays: Vec<(ParamGroup, f64)>,
    /// Those that have averages, and no others.
    parameters: BTreeMap<String, Parameter>,
}

/// What the averages of a parameter, which are flat, do not tell of it.
#[derive(Clone, Debug)]
struct Parameter {
    /// By which it may be in a group.
    id: ParamId,
    shape: Vec<usize>,
}

/// Why a step was refused. The module is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// As the crate's own optimisers refuse it.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The gradient of a parameter cannot be taken; all is as before.
    #[error("parameter `{path}`: {error}")]
    Gradient {
        /// Which.
        path: String,
        /// Why, an index counting within the parameter.
        error: StepError,
    },
    /// A parameter does not have the shape of its averages; the optimiser is as before.
    #[error(
        "parameter `{path}` has the shape {found:?}, its averages {expected:?}: use one optimiser for each module"
    )]
    Shape {
        /// Which.
        path: String,
        /// The averages'.
        expected: Vec<usize>,
        /// The parameter's.
        found: Vec<usize>,
    },
}

/// Why a state could not be saved: burn's reason.
#[derive(Debug, thiserror::Error)]
#[error("the state cannot be saved: {0}")]
pub struct SaveError(String);

/// Why a saved state was not taken. The optimiser is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are no burnpack, or one with a tensor that cannot be had in its parameter's type.
    #[error("the saved state cannot be read: {0}")]
    Format(String),
    /// The entries are not those of this optimiser.
    #[error(transparent)]
    State(#[from] StateError),
    /// A saved average does not have its parameter's shape.
    #[error(
        "the saved `{name}` has the shape {found:?}, expected {expected:?}: restore with the module that it was saved with"
    )]
    Shape {
        /// Which.
        name: String,
        /// The parameter's.
        expected: Vec<usize>,
        /// The average's.
        found: Vec<usize>,
    },
}

impl From<burn_pack::Error> for RestoreError {
    fn from(error: burn_pack::Error) -> Self {
        RestoreError::Format(format!("{error}"))
    }
}

impl<D: TensorDirection + Direction<f64>> L4<D> {
    /// L4 with the constants of the crate's own optimiser.
    pub fn new(config: crate::L4<AveragedGradient<f64>, D, f64>) -> Self {
        L4 {
            l4: TensorL4::new(config),
            decays: Vec::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// Sets the decoupled weight decay λ, at least 0, of a group of parameters: θ ← θ − η·λ·θ after
    /// each step, as [`WeightDecay`](crate::WeightDecay), whose page says how to choose λ. Where groups
    /// overlap the last one counts; parameters in none have no decay.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when λ is negative or not finite.
    pub fn weight_decay(mut self, group: ParamGroup, decay: f64) -> Result<Self, ConfigError> {
        self.decays
            .push((group, non_negative("a weight decay", decay)?));
        Ok(self)
    }

    /// Lmin, the constants and the number of steps.
    pub fn rule(&self) -> &StepRule<f64> {
        &self.l4.rule
    }

    /// The rule, to change its constants or Lmin while training runs. Leave [`StepRule::step`] to the optimiser: it counts a step
    /// for which no gradient was averaged.
    pub fn rule_mut(&mut self) -> &mut StepRule<f64> {
        &mut self.l4.rule
    }

    /// Computes the gradients of `loss`, a tensor of one element, and steps.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    ///
    /// # Panics
    ///
    /// As burn's `backward`: where `loss` does not depend on a tensor that requires a gradient.
    pub fn backward_step<M: Module>(
        &mut self,
        module: M,
        loss: Tensor<1>,
    ) -> (M, Result<Step<f64>, Error>) {
        let grads = loss.backward();
        self.step(module, loss, &grads)
    }

    /// One step, given the gradients of `loss` at the module's parameters. Of a loss of several numbers that is their sum, as
    /// burn's gradients are of it. Returns the module,
    /// moved; or as it was, where the step is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] as [`Optimizer::step_segments`](crate::Optimizer::step_segments) refuses it, or
    /// [`Error::Gradient`] where a parameter's gradient is the reason; [`Error::Shape`].
    pub fn step<M: Module>(
        &mut self,
        module: M,
        loss: Tensor<1>,
        grads: &Gradients,
    ) -> (M, Result<Step<f64>, Error>) {
        let (step, directions) = match self.directions(&module, loss, grads) {
            Ok((step, directions)) if tensors::moves(&step) => (step, directions),
            Ok((step, _)) => return (module, Ok(step)),
            Err(error) => return (module, Err(error)),
        };
        let mut mover = Mover {
            eta: step.learning_rate,
            directions,
            decays: &self.decays,
            path: Vec::new(),
        };
        (module.map(&mut mover), Ok(step))
    }

    /// All of a step but the move: η, and v by path.
    fn directions<M: Module>(
        &mut self,
        module: &M,
        loss: Tensor<1>,
        grads: &Gradients,
    ) -> Result<(Step<f64>, BTreeMap<String, Tensor<1>>), Error> {
        let (gradients, parameters) = Collector::of(module, grads);
        self.check_shapes(&parameters)?;
        self.follow(&gradients);
        let stepped = self.l4.step(loss.inner().sum(), &gradients);
        self.remember(parameters);
        let (step, directions) = stepped.map_err(|failure| blaming(failure, &gradients))?;
        check_rate(&step, &directions)?;
        let paths = gradients.into_iter().map(|(path, _)| path);
        Ok((step, paths.zip(directions).collect()))
    }

    /// Keeps the parameters that have averages: a refused step gives none to a new one.
    fn remember(&mut self, parameters: BTreeMap<String, Parameter>) {
        let memories = &self.l4.memories;
        let parameters = parameters.into_iter();
        let averaged = parameters.filter(|(path, _)| memories.contains_key(path));
        self.parameters.extend(averaged);
    }

    /// Takes the averages to the devices and number types of the gradients: the module may have gone to others.
    fn follow(&mut self, grads: &[(String, Tensor<1>)]) {
        for (path, gradient) in grads {
            let memory = self.l4.memories.get_mut(path).into_iter();
            let averages =
                memory.flat_map(|m| [&mut m.mean_gradient].into_iter().chain(&mut m.moments));
            for average in averages {
                let moved = average.clone().to_device(&gradient.device());
                *average = moved.cast(gradient.dtype());
            }
        }
    }

    /// burn panics on tensors of two lengths, but where one of them is 1.
    fn check_shapes(&self, parameters: &BTreeMap<String, Parameter>) -> Result<(), Error> {
        for (path, Parameter { shape: found, .. }) in parameters {
            let before = self.parameters.get(path);
            let expected = before.map_or(found, |before| &before.shape);
            if expected != found {
                return Err(Error::Shape {
                    path: path.clone(),
                    expected: expected.clone(),
                    found: found.clone(),
                });
            }
        }
        Ok(())
    }

    /// Everything needed to go on from here, as a burnpack: the rule, and by the path of each parameter that has had a
    /// gradient its λ and averages. Groups are not in it: [`restore`](Self::restore) compares λ.
    ///
    /// # Errors
    ///
    /// [`SaveError`], burn's in words.
    pub fn to_bytes(&self) -> Result<Bytes, SaveError> {
        let (mut tensors, mut numbers) = (Vec::new(), Vec::new());
        for (path, memory) in &self.l4.memories {
            let Parameter { id, shape } = &self.parameters[path];
            let decay = decay_of(&self.decays, *id, path);
            numbers.push((decay_name(path), Scalar::from(decay)));
            numbers.push((format!("{path}.steps"), Scalar::from(memory.steps)));
            for (name, tensor) in memory.named::<D>() {
                let (bytes, _, dtype) = tensor.clone().into_data().into_parts();
                let (name, shape) = (format!("{path}.{name}"), shape.clone());
                tensors.push(burn_pack::Tensor::new(name, dtype, shape, None, bytes));
            }
        }
        let State { step, scalars, .. } = self.l4.scalars();
        let rule = scalars.into_iter();
        let rule = rule.map(|(name, value)| (format!("rule.{name}"), Scalar::from(value)));
        let step = [(String::from("rule.step"), Scalar::from(step))];
        let scalars = numbers.into_iter().chain(rule).chain(step);
        let writer = scalars.fold(Writer::new(tensors), |writer, (name, value)| {
            writer.with_scalar(&name, value)
        });
        let bytes = writer.into_bytes();
        bytes.map_err(|error| SaveError(format!("{error}")))
    }

    /// Goes on from a saved state, with `module` as it was saved or one built alike; averages go to
    /// the devices of its parameters. α is then the saved one. λ has to be that of the state; for another call
    /// [`weight_decay`](Self::weight_decay) afterwards.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when the bytes are not those of [`to_bytes`](Self::to_bytes) or of a
    /// module of other parameters, a parameter has another λ here, or a number is outside its range.
    pub fn restore<M: Module>(&mut self, bytes: Bytes, module: &M) -> Result<(), RestoreError> {
        let reader = Reader::from_bytes(bytes)?;
        let mut scalars = reader.scalars().clone();
        let tensors = reader.into_tensors()?.into_iter();
        let mut tensors: BTreeMap<String, _> = tensors.map(|t| (t.name.clone(), t)).collect();

        let mut rule = State::new(take_count(&mut scalars, "rule.step")?);
        let (mut memories, mut parameters) = (BTreeMap::new(), BTreeMap::new());
        for place in Places::of(module) {
            let steps = format!("{}.steps", place.path);
            if !scalars.contains_key(&steps) {
                continue;
            }
            let steps = take_count(&mut scalars, &steps)?;
            self.check_decay(&place, &mut scalars)?;
            let memory = Memory::from_named::<D, RestoreError>(steps, |name| {
                let name = format!("{}.{name}", place.path);
                let saved = tensors
                    .remove(&name)
                    .ok_or_else(|| missing("tensor", &name))?;
                place.fitting(&name, saved)
            })?;
            memories.insert(place.path.clone(), memory);
            parameters.insert(place.path, place.parameter);
        }
        // After the parameters, whose paths may begin with `rule.` too.
        for (name, scalar) in scalars {
            let Some(name) = name.strip_prefix("rule.") else {
                return Err(StateError::Unexpected { name }.into());
            };
            rule = rule.with_scalar(name, f64::try_from(scalar).unwrap_or(f64::NAN));
        }
        let rule = self.l4.read_scalars(rule)?;
        if let Some(name) = tensors.into_keys().next() {
            return Err(StateError::Unexpected { name }.into());
        }
        (self.l4.rule, self.l4.memories) = (rule, memories);
        self.parameters = parameters;
        Ok(())
    }

    /// Takes λ of a saved state, which has to be the one here.
    fn check_decay(
        &self,
        place: &Place,
        scalars: &mut BTreeMap<String, Scalar>,
    ) -> Result<(), StateError> {
        let name = decay_name(&place.path);
        let saved = scalars.remove(&name);
        let saved = saved.ok_or_else(|| missing("scalar", &name))?;
        let found = f64::try_from(saved).unwrap_or(f64::NAN);
        let expected = decay_of(&self.decays, place.parameter.id, &place.path);
        match found == expected {
            true => Ok(()),
            false => Err(StateError::Setting {
                name,
                expected,
                found,
            }),
        }
    }
}

/// The error, with the path of the parameter whose gradient is the reason.
fn blaming(
    Failure::Refused(error): Failure<Infallible>,
    gradients: &[(String, Tensor<1>)],
) -> Error {
    use StepError::{Overflow, UnusableGradient};
    let beyond = |g: &Tensor<1>| {
        let square = total(g.clone().square());
        !square.into_scalar::<f64>().is_finite()
    };
    let mut gradients = gradients.iter();
    let found = match error {
        UnusableGradient { .. } | Overflow { .. } => gradients.find(|(_, g)| beyond(g)),
        _ => None,
    };
    match found {
        Some((path, _)) => Error::Gradient {
            path: path.clone(),
            error,
        },
        None => error.into(),
    }
}

/// λ of the last group that the parameter is in.
fn decay_of(decays: &[(ParamGroup, f64)], id: ParamId, path: &str) -> f64 {
    let mut groups = decays.iter().rev();
    let group = groups.find(|(group, _)| group.matches(&id, Some(path)));
    group.map_or(0.0, |&(_, decay)| decay)
}

/// Of λ in a saved state.
fn decay_name(path: &str) -> String {
    format!("{path}.weight_decay")
}

/// Moves are made in the averages' type, in which η has to be finite too.
fn check_rate(step: &Step<f64>, directions: &[Tensor<1>]) -> Result<(), StepError> {
    match directions.iter().any(|v| v.dtype() != DType::F64) {
        true => require_finite("the stepsize η", step.learning_rate as f32),
        false => Ok(()),
    }
}

/// A parameter of a module, and what its averages have to be like.
struct Place {
    path: String,
    parameter: Parameter,
    dtype: DType,
    device: Device,
}

impl Place {
    /// A saved average, on the device of this parameter.
    fn fitting(&self, name: &str, saved: burn_pack::Tensor) -> Result<Tensor<1>, RestoreError> {
        let unreadable = |error| RestoreError::Format(format!("{name}: {error}"));
        let (_, dtype, shape, _, bytes) = saved.into_parts()?;
        if shape[..] != self.parameter.shape {
            return Err(RestoreError::Shape {
                name: name.into(),
                expected: self.parameter.shape.clone(),
                found: shape.to_vec(),
            });
        }
        let data = TensorData::try_from_bytes(bytes, shape, dtype).map_err(unreadable)?;
        let data = data.try_cast(self.dtype).map_err(unreadable)?;
        check_average(name, &data.iter::<f64>().collect::<Vec<_>>())?;
        let flat = [data.num_elements()];
        let (bytes, _, dtype) = data.into_parts();
        let data = TensorData::try_from_bytes(bytes, flat, dtype).map_err(unreadable)?;
        Ok(Tensor::from_data(data, (&self.device, dtype)))
    }
}

/// Collects the places of a module.
struct Places {
    path: Vec<String>,
    found: Vec<Place>,
}

impl Places {
    fn of<M: Module>(module: &M) -> Vec<Place> {
        let mut places = Places {
            path: Vec::new(),
            found: Vec::new(),
        };
        module.visit(&mut places);
        places.found
    }
}

impl ModuleVisitor for Places {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.found.push(Place {
            path: self.path.join("."),
            parameter: Parameter {
                id: param.id,
                shape: value.dims().to_vec(),
            },
            dtype: of_averages(value.dtype()),
            device: value.device().inner(),
        });
    }
}

/// In half precision averages stand still, since a step's share is below their last digit, and squares underflow.
fn of_averages(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

fn missing(kind: &'static str, name: &str) -> StateError {
    let name = name.into();
    StateError::Missing { kind, name }
}

fn take_count(scalars: &mut BTreeMap<String, Scalar>, name: &str) -> Result<u64, StateError> {
    let scalar = scalars.remove(name).ok_or_else(|| missing("count", name))?;
    // What an i64 holds leaves room to count on.
    let count = i64::try_from(scalar).ok();
    let count = count.and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| StateError::Value {
        name: name.into(),
        expected: "a count",
        value: f64::try_from(scalar).unwrap_or(f64::NAN),
    })
}

/// Collects the gradients of a module, flat, by the paths of their parameters.
struct Collector<'a> {
    grads: &'a Gradients,
    path: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
    parameters: BTreeMap<String, Parameter>,
}

impl<'a> Collector<'a> {
    /// The gradients, and the parameters that have one.
    fn of<M: Module>(
        module: &M,
        grads: &'a Gradients,
    ) -> (Vec<(String, Tensor<1>)>, BTreeMap<String, Parameter>) {
        let mut collector = Collector {
            grads,
            path: Vec::new(),
            found: Vec::new(),
            parameters: BTreeMap::new(),
        };
        module.visit(&mut collector);
        (collector.found, collector.parameters)
    }
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.grads) {
            let path = self.path.join(".");
            let shape = gradient.dims().to_vec();
            let id = param.id;
            self.parameters
                .insert(path.clone(), Parameter { id, shape });
            let gradient = gradient.inner().flatten(0, D.saturating_sub(1));
            let dtype = of_averages(gradient.dtype());
            self.found.push((path, gradient.cast(dtype)));
        }
    }
}

/// θ ← θ − η·v, then θ ← θ − η·λ·θ, where there is a v.
struct Mover<'a> {
    eta: f64,
    directions: BTreeMap<String, Tensor<1>>,
    decays: &'a [(ParamGroup, f64)],
    path: Vec<String>,
}

impl Mover<'_> {
    fn moved<const D: usize>(
        &self,
        id: ParamId,
        path: &str,
        theta: Tensor<D>,
        v: Tensor<1>,
    ) -> Tensor<D> {
        // In the averages' type, as half precision may hold neither η nor η·λ; rounded once.
        let (own, wide) = (theta.dtype(), v.dtype());
        let v = v.reshape(theta.shape());
        let theta = theta.cast(wide).sub(v.mul_scalar(self.eta));
        let decay = decay_of(self.decays, id, path);
        let theta = match decay == 0.0 {
            true => theta,
            false => theta.clone().sub(theta.mul_scalar(self.eta * decay)),
        };
        theta.cast(own)
    }
}

impl ModuleMapper for Mover<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let path = self.path.join(".");
        let Some(v) = self.directions.remove(&path) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let (checkpointing, requires_grad) = (
            tensor.gradient_checkpointing_strategy(),
            tensor.is_require_grad(),
        );
        let mut moved = Tensor::from_inner(self.moved(id, &path, tensor.inner(), v));
        if let Some(strategy) = checkpointing {
            moved = moved.with_gradient_checkpointing_strategy(strategy);
        }
        Param::from_mapped_value(id, moved.set_require_grad(requires_grad), mapper)
    }
}

/// Σ x: over blocks first, since one running sum in f32 is off in the fifth digit after a thousand numbers.
fn total(x: Tensor<1>) -> Tensor<1> {
    let count = x.shape().num_elements();
    if count <= BLOCK {
        return x.sum();
    }
    let (blocks, rest) = (count / BLOCK, count % BLOCK);
    let whole = x.clone().narrow(0, 0, count - rest);
    let whole = whole.reshape([blocks, BLOCK]).sum_dim(1);
    let whole = total(whole.reshape([blocks]));
    match rest {
        0 => whole,
        _ => whole.add(x.narrow(0, count - rest, rest).sum()),
    }
}

const BLOCK: usize = 128;

impl tensors::Tensor for Tensor<1> {
    type Error = Infallible;

    fn zeros_like(&self) -> Result<Self, Infallible> {
        Ok(Tensor::zeros_like(self))
    }

    fn combine(&self, a: f64, x: &Self, b: f64) -> Result<Self, Infallible> {
        Ok(self.clone().mul_scalar(a).add(x.clone().mul_scalar(b)))
    }

    fn scale(&self, a: f64) -> Result<Self, Infallible> {
        Ok(self.clone().mul_scalar(a))
    }

    fn multiply(&self, x: &Self) -> Result<Self, Infallible> {
        Ok(self.clone().mul(x.clone()))
    }

    fn over_root(&self, x: &Self, delta: f64) -> Result<Self, Infallible> {
        Ok(self.clone().div(x.clone().sqrt().add_scalar(delta)))
    }

    fn dot(&self, x: &Self) -> Result<Self, Infallible> {
        Ok(total(self.clone().mul(x.clone())))
    }

    fn read(ones: &[Self]) -> Result<Vec<f64>, Infallible> {
        let alike = |t: &Self| t.dtype() == ones[0].dtype() && t.device() == ones[0].device();
        Ok(if ones.iter().all(alike) {
            let data = Tensor::cat(ones.to_vec(), 0).into_data();
            data.iter::<f64>().collect()
        } else {
            ones.iter().map(|t| t.clone().into_scalar()).collect()
        })
    }

    fn first_unusable(&self) -> Result<Option<(usize, f64)>, Infallible> {
        let data = self.clone().into_data();
        let values: Vec<f64> = data.iter::<f64>().collect();
        let index = if data.dtype() == DType::F64 {
            first_unusable(&values)
        } else {
            first_unusable(&data.iter::<f32>().collect::<Vec<f32>>())
        };
        Ok(index.map(|k| (k, values[k])))
    }
}
