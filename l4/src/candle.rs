//! L4 over [candle](https://docs.rs/candle-core)'s variables.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Module, Optimizer, VarBuilder, VarMap, linear, loss};
//! use l4::candle::L4Adam;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::Cpu;
//! let variables = VarMap::new();
//! let layer = linear(2, 1, VarBuilder::from_varmap(&variables, DType::F32, &device))?;
//! let inputs = Tensor::new(&[[1f32, 2.0], [3.0, -1.0], [0.5, 0.5]], &device)?;
//! let targets = Tensor::new(&[[5f32], [0.0], [2.0]], &device)?;
//!
//! let mut optimizer = L4Adam::of_map(&variables, l4::L4Adam::new())?.weight_decay(0.0)?;
//! for _ in 0..1000 {
//!     let loss = loss::mse(&layer.forward(&inputs)?, &targets)?;
//!     optimizer.backward_step(&loss)?;
//! }
//! let loss = loss::mse(&layer.forward(&inputs)?, &targets)?.to_scalar::<f32>()?;
//! assert!(loss < 1e-3, "{loss}");
//! # Ok(())
//! # }
//! ```
//!
//! The configuration is the crate's own optimiser: `l4::L4Mom::new().alpha(0.1)?` for another α.
//! [`backward_step`](Optimizer::backward_step) computes the gradients and steps;
//! [`step_with_loss`](L4::step_with_loss) takes gradients that were changed or added up before, and
//! answers with η and Lmin. The trait's [`step`](Optimizer::step) is always an error: it does not
//! pass the loss.
//!
//! Every tensor operation runs on the device of its variable; the host reads once a step, the loss and two
//! numbers for each variable (one by one where number types or devices differ). Variables without a gradient in a step are left as they are, as candle's optimisers
//! leave them; their averages are over the steps in which they had one.
//!
//! Averages of gradients that have become 0 decay to subnormal numbers, which some CPUs compute with many times slower. The
//! crate's own optimisers put 0 in their place; here that would be four more operations for each average, and is left out.
//!
//! α takes the learning rate's place: [`learning_rate`](Optimizer::learning_rate) and
//! [`set_learning_rate`](Optimizer::set_learning_rate) are α, so that a schedule scales the steps.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, VarMap};

use crate::config::non_negative;
use crate::optimizer::require_finite;
use crate::simd::first_unusable;
use crate::tensors::{self, Failure, Memory, TensorDirection, TensorL4, check_average};
use crate::{
    AdamDirection, AlongEstimate, AveragedGradient, ConfigError, Direction, State, StateError,
    Step, StepError, StepRule,
};

/// L4Adam over candle's variables.
pub type L4Adam = L4<AdamDirection<f64>>;

/// L4Mom over candle's variables.
pub type L4Mom = L4<AlongEstimate>;

/// L4 over candle's variables, with the direction `D`.
#[derive(Debug)]
pub struct L4<D> {
    l4: TensorL4<Tensor, D>,
    variables: Vec<Variable>,
    /// An α that was out of range and so not set.
    refused_alpha: Option<ConfigError>,
}

#[derive(Debug)]
struct Variable {
    name: String,
    var: Var,
    weight_decay: f64,
}

/// What can go wrong. Becomes a [`candle_core::Error`] under `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The step was refused: variables and, but for [`StepError::Overflow`], averages are as before.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The gradient of a variable cannot be taken; all is as before.
    #[error("variable `{name}`: {error}")]
    Gradient {
        /// Which.
        name: String,
        /// Why, an index counting within the variable.
        error: StepError,
    },
    /// A saved state does not fit; the optimiser is as before.
    #[error(transparent)]
    State(#[from] StateError),
    /// A saved average does not have its variable's shape; the optimiser is as before.
    #[error(
        "the saved `{name}` has the shape {found:?}, expected {expected:?}: restore over the variables that it was saved with"
    )]
    Shape {
        /// Which.
        name: String,
        /// The variable's.
        expected: Vec<usize>,
        /// The average's.
        found: Vec<usize>,
    },
    /// A setting is outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => candle_core::Error::wrap(error),
        }
    }
}

impl From<Failure<candle_core::Error>> for Error {
    fn from(failure: Failure<candle_core::Error>) -> Self {
        match failure {
            Failure::Refused(error) => Error::Step(error),
            Failure::Framework(error) => Error::Candle(error),
        }
    }
}

impl<D: TensorDirection + Direction<f64>> L4<D> {
    /// L4 over the variables of a map, under their names.
    ///
    /// # Errors
    ///
    /// candle's, for a variable of floating point that is neither f32 nor f64. Integers are left out.
    pub fn of_map(
        variables: &VarMap,
        config: crate::L4<AveragedGradient<f64>, D, f64>,
    ) -> candle_core::Result<Self> {
        // A poisoned lock leaves the map as it was: entries are only ever added whole.
        let data = variables.data().lock().unwrap_or_else(|e| e.into_inner());
        let mut named: Vec<(String, Var)> =
            data.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        L4::named(named, config)
    }

    /// L4 over variables under names, which a saved state holds.
    ///
    /// # Errors
    ///
    /// candle's, for a name given twice or a variable of floating point that is neither f32 nor f64.
    /// Integers are left out, as candle's optimisers leave them out.
    pub fn named(
        variables: impl IntoIterator<Item = (String, Var)>,
        config: crate::L4<AveragedGradient<f64>, D, f64>,
    ) -> candle_core::Result<Self> {
        let variables = variables.into_iter();
        let floats = variables.filter(|(_, var)| var.dtype().is_float());
        let variables: Vec<Variable> = floats.map(Variable::new).collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = variables.iter().map(|v| &v.name[..]).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            candle_core::bail!("two variables are named {}", twice[0]);
        }
        Ok(L4 {
            l4: TensorL4::new(config),
            variables,
            refused_alpha: None,
        })
    }

    /// Sets the decoupled weight decay λ, at least 0, of all variables: θ ← θ − η·λ·θ after each
    /// step, as [`WeightDecay`](crate::WeightDecay). η has no upper bound, so λ has to be far below 1/η.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when λ is negative or not finite.
    pub fn weight_decay(self, decay: f64) -> Result<Self, ConfigError> {
        self.weight_decay_by(|_, _| decay)
    }

    /// The same with a λ for each variable, by its name and itself: none for biases is
    /// `|_, var| if var.rank() > 1 { 0.01 } else { 0.0 }`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when one is negative or not finite.
    pub fn weight_decay_by(
        mut self,
        decay: impl Fn(&str, &Var) -> f64,
    ) -> Result<Self, ConfigError> {
        for Variable {
            name,
            var,
            weight_decay,
        } in &mut self.variables
        {
            *weight_decay = non_negative("a weight decay", decay(name, var))?;
        }
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

    /// One step, given the gradients of `loss`, a tensor of one element, at the variables.
    ///
    /// # Errors
    ///
    /// [`Error::Step`] as [`Optimizer::step_segments`](crate::Optimizer::step_segments) refuses it, or
    /// [`Error::Gradient`] where a variable's gradient is the reason; [`Error::Config`] after a learning
    /// rate that cannot be α; [`Error::Candle`].
    pub fn step_with_loss(&mut self, grads: &GradStore, loss: &Tensor) -> Result<Step<f64>, Error> {
        if let Some(error) = self.refused_alpha.take() {
            return Err(error.into());
        }
        let gradient = |v: &Variable| Some((v.name.clone(), grads.get(&v.var)?.detach()));
        let with_gradient = |v: &&Variable| grads.get(&v.var).is_some();
        let gradients: Vec<_> = self.variables.iter().filter_map(gradient).collect();
        let stepped = self.l4.step(loss.detach(), &gradients);
        let (step, directions) = stepped.map_err(|failure| blaming(failure, &gradients))?;
        check_rate(&step, &directions)?;
        if tensors::moves(&step) {
            let moved = self.variables.iter().filter(with_gradient);
            for (variable, direction) in moved.zip(directions) {
                variable.descend(step.learning_rate, &direction)?;
            }
        }
        Ok(step)
    }

    /// Everything needed to go on from here, for [`candle_core::safetensors::save`]: the rule, and by the name of each
    /// variable its λ and averages.
    ///
    /// # Errors
    ///
    /// candle's.
    pub fn state(&self) -> candle_core::Result<HashMap<String, Tensor>> {
        let mut state = HashMap::new();
        let State { step, scalars, .. } = self.l4.scalars();
        let mut add = |name: String, tensor| state.insert(name, tensor);
        add("rule.step".into(), number(step as i64)?);
        for (name, value) in scalars {
            add(format!("rule.{name}"), number(value)?);
        }
        for variable in &self.variables {
            add(variable.decay_name(), number(variable.weight_decay)?);
        }
        for (variable, memory) in &self.l4.memories {
            add(format!("{variable}.steps"), number(memory.steps as i64)?);
            for (name, tensor) in memory.named::<D>() {
                add(format!("{variable}.{name}"), tensor.clone());
            }
        }
        Ok(state)
    }

    /// Goes on from a saved state, with the same variables under the same names. α and each λ are then the saved ones.
    /// Variables without names of their own ([`new`](Optimizer::new)) have to come in the order that they were saved in:
    /// in another, those of equal shape get each other's averages, and no error says so.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when the entries are not those of [`state`](Self::state) or a number is outside
    /// its range; [`Error::Shape`]; [`Error::Candle`].
    pub fn restore(&mut self, mut saved: HashMap<String, Tensor>) -> Result<(), Error> {
        let mut rule = State::new(take_count(&mut saved, "rule.step")?);
        let (mut decays, mut memories) = (Vec::new(), Vec::new());
        for variable in &self.variables {
            decays.push(take_decay(&mut saved, &variable.decay_name())?);
            let steps = format!("{}.steps", variable.name);
            if !saved.contains_key(&steps) {
                continue;
            }
            let steps = take_count(&mut saved, &steps)?;
            let memory = Memory::from_named::<D, Error>(steps, |name| {
                let name = format!("{}.{name}", variable.name);
                variable.fitting(&name, take(&mut saved, &name)?)
            })?;
            memories.push((variable.name.clone(), memory));
        }
        // After the variables, whose names may begin with `rule.` too.
        for (name, tensor) in saved {
            let scalar = name.strip_prefix("rule.").filter(|_| tensor.rank() == 0);
            let Some(scalar) = scalar else {
                return Err(StateError::Unexpected { name }.into());
            };
            rule = rule.with_scalar(scalar, tensor.to_dtype(DType::F64)?.to_scalar()?);
        }
        let rule = self.l4.read_scalars(rule)?;
        self.l4.rule = rule;
        self.l4.memories = memories.into_iter().collect();
        for (variable, decay) in self.variables.iter_mut().zip(decays) {
            variable.weight_decay = decay;
        }
        // α is the saved one, whatever was asked for before.
        self.refused_alpha = None;
        Ok(())
    }
}

impl<D: TensorDirection + Direction<f64>> Optimizer for L4<D> {
    /// The crate's own optimiser, with its constants.
    type Config = crate::L4<AveragedGradient<f64>, D, f64>;

    /// Variables are named by their place, "0", "1" and so on, in a saved state. The order of `VarMap::all_vars` is
    /// another one in every run: use [`of_map`](L4::of_map) where a state is to be restored in another.
    fn new(variables: Vec<Var>, config: Self::Config) -> candle_core::Result<Self> {
        let named = variables.into_iter().enumerate();
        L4::named(named.map(|(k, var)| (k.to_string(), var)), config)
    }

    /// Always an error: L4 needs the loss.
    fn step(&mut self, _: &GradStore) -> candle_core::Result<()> {
        candle_core::bail!(
            "L4 computes its stepsize from the loss, which `step` does not pass: call \
             `backward_step(&loss)`, or `step_with_loss(&grads, &loss)`"
        )
    }

    fn backward_step(&mut self, loss: &Tensor) -> candle_core::Result<()> {
        let grads = loss.backward()?;
        self.step_with_loss(&grads, loss)?;
        Ok(())
    }

    /// α.
    fn learning_rate(&self) -> f64 {
        self.l4.rule.alpha()
    }

    /// Sets α. One that is not positive and finite is not set, and makes the next step an error: a schedule that ends at 0
    /// has to end before it.
    fn set_learning_rate(&mut self, alpha: f64) {
        self.refused_alpha = self.l4.rule.set_alpha(alpha).err();
    }
}

impl Variable {
    fn new((name, var): (String, Var)) -> candle_core::Result<Self> {
        if !matches!(var.dtype(), DType::F32 | DType::F64) {
            candle_core::bail!(
                "variable {name} is {:?}, but L4's averages of squares need f32 or f64",
                var.dtype()
            );
        }
        Ok(Variable {
            name,
            var,
            weight_decay: 0.0,
        })
    }

    /// Of λ in a saved state.
    fn decay_name(&self) -> String {
        format!("{}.weight_decay", self.name)
    }

    /// θ ← θ − η·v, then θ ← θ − η·λ·θ.
    fn descend(&self, eta: f64, direction: &Tensor) -> candle_core::Result<()> {
        let moved = self.var.as_detached_tensor().sub(&(direction * eta)?)?;
        if self.weight_decay == 0.0 {
            return self.var.set(&moved);
        }
        self.var
            .set(&(&moved - (&moved * (eta * self.weight_decay))?)?)
    }

    /// A saved average, on the device of this variable.
    fn fitting(&self, name: &str, saved: Tensor) -> Result<Tensor, Error> {
        if saved.shape() != self.var.shape() {
            return Err(Error::Shape {
                name: name.into(),
                expected: self.var.dims().to_vec(),
                found: saved.dims().to_vec(),
            });
        }
        let tensor = saved.to_dtype(self.var.dtype())?;
        let tensor = tensor.to_device(self.var.device())?;
        let on_host = tensor.flatten_all()?.to_device(&Device::Cpu)?;
        check_average(name, &on_host.to_dtype(DType::F64)?.to_vec1()?)?;
        Ok(tensor)
    }
}

/// The error, with the name of the variable whose gradient is the reason.
fn blaming(failure: Failure<candle_core::Error>, gradients: &[(String, Tensor)]) -> Error {
    use StepError::{Overflow, UnusableGradient};
    let Failure::Refused(error @ (UnusableGradient { .. } | Overflow { .. })) = failure else {
        return failure.into();
    };
    let squared_norm = |g: &Tensor| tensors::Tensor::read(&[tensors::Tensor::dot(g, g)?]);
    // Where this fails too, the name is missing and the error still told.
    let beyond = |g: &Tensor| squared_norm(g).is_ok_and(|square| !square[0].is_finite());
    match gradients.iter().find(|(_, gradient)| beyond(gradient)) {
        Some((name, _)) => Error::Gradient {
            name: name.clone(),
            error,
        },
        None => error.into(),
    }
}

/// Moves are made in the variables' types, in which η has to be finite too.
fn check_rate(step: &Step<f64>, directions: &[Tensor]) -> Result<(), StepError> {
    match directions.iter().any(|v| v.dtype() == DType::F32) {
        true => require_finite("the stepsize η", step.learning_rate as f32),
        false => Ok(()),
    }
}

/// Σ x of a vector: over blocks first, since one running sum in f32 is off in the fifth digit after a thousand numbers.
fn total(x: Tensor) -> candle_core::Result<Tensor> {
    let count = x.elem_count();
    if count <= BLOCK {
        return x.sum_all();
    }
    let (blocks, rest) = (count / BLOCK, count % BLOCK);
    let whole = x.narrow(0, 0, count - rest)?.reshape((blocks, BLOCK))?;
    let whole = total(whole.sum(1)?)?;
    match rest {
        0 => Ok(whole),
        _ => whole + x.narrow(0, count - rest, rest)?.sum_all()?,
    }
}

const BLOCK: usize = 128;

fn number<T: candle_core::NdArray>(value: T) -> candle_core::Result<Tensor> {
    Tensor::new(value, &Device::Cpu)
}

fn take(saved: &mut HashMap<String, Tensor>, name: &str) -> Result<Tensor, Error> {
    let tensor = saved.remove(name);
    let name = name.into();
    tensor.ok_or(Error::State(StateError::Missing {
        kind: "tensor",
        name,
    }))
}

fn take_count(saved: &mut HashMap<String, Tensor>, name: &str) -> Result<u64, Error> {
    let value: i64 = take(saved, name)?.to_dtype(DType::I64)?.to_scalar()?;
    u64::try_from(value).map_err(|_| {
        Error::State(StateError::Value {
            name: name.into(),
            expected: "a count",
            value: value as f64,
        })
    })
}

fn take_decay(saved: &mut HashMap<String, Tensor>, name: &str) -> Result<f64, Error> {
    let value: f64 = take(saved, name)?.to_dtype(DType::F64)?.to_scalar()?;
    let decay = non_negative("a weight decay", value);
    decay.map_err(|error| {
        Error::State(StateError::Value {
            name: name.into(),
            expected: error.expected,
            value,
        })
    })
}

impl tensors::Tensor for Tensor {
    type Error = candle_core::Error;

    fn zeros_like(&self) -> candle_core::Result<Self> {
        Tensor::zeros_like(self)
    }

    fn combine(&self, a: f64, x: &Self, b: f64) -> candle_core::Result<Self> {
        (self * a)? + (x * b)?
    }

    fn scale(&self, a: f64) -> candle_core::Result<Self> {
        self * a
    }

    fn multiply(&self, x: &Self) -> candle_core::Result<Self> {
        self * x
    }

    fn over_root(&self, x: &Self, delta: f64) -> candle_core::Result<Self> {
        self / (x.sqrt()? + delta)?
    }

    fn dot(&self, x: &Self) -> candle_core::Result<Self> {
        total((self * x)?.flatten_all()?)
    }

    fn read(ones: &[Self]) -> candle_core::Result<Vec<f64>> {
        let alike =
            |t: &Tensor| t.dtype() == ones[0].dtype() && t.device().same_device(ones[0].device());
        if ones.iter().all(alike) {
            let flat: Vec<Tensor> = ones
                .iter()
                .map(|t| t.reshape(1))
                .collect::<Result<_, _>>()?;
            return Tensor::cat(&flat, 0)?
                .to_device(&Device::Cpu)?
                .to_dtype(DType::F64)?
                .to_vec1();
        }
        let read = |t: &Tensor| {
            t.reshape(())?
                .to_device(&Device::Cpu)?
                .to_dtype(DType::F64)?
                .to_scalar()
        };
        ones.iter().map(read).collect()
    }

    fn first_unusable(&self) -> candle_core::Result<Option<(usize, f64)>> {
        let flat = self.flatten_all()?.to_device(&Device::Cpu)?;
        Ok(match flat.dtype() {
            DType::F32 => {
                let values: Vec<f32> = flat.to_vec1()?;
                first_unusable(&values).map(|k| (k, f64::from(values[k])))
            }
            _ => {
                let values: Vec<f64> = flat.to_dtype(DType::F64)?.to_vec1()?;
                first_unusable(&values).map(|k| (k, values[k]))
            }
        })
    }
}
