//! Algorithm 1 over the tensors of another framework: what its adapters share.
//!
//! [`L4`](crate::L4)'s loops are over slices; here each is an operation of the framework, on the
//! device that the tensors are on. The host reads once a step: the loss, and of each parameter
//! ‖∇L‖² and its share of g·v. What it refuses is refused before anything has changed,
//! but for an overflow of g·v or η, of which averages and Lmin have then taken the step in.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::step_rule::check_loss;
use crate::{
    AveragedGradient, L4, MEAN_SQUARE, Outcome, Setting, Settings, State, StateError, Step,
    StepError, StepRule, Transform,
};

/// The operations that a step is made of, out of place.
pub trait Tensor: Clone {
    type Error;

    /// Zeros of the same shape, number type and device.
    fn zeros_like(&self) -> Result<Self, Self::Error>;

    /// a·self + b·x.
    fn combine(&self, a: f64, x: &Self, b: f64) -> Result<Self, Self::Error>;

    fn scale(&self, a: f64) -> Result<Self, Self::Error>;

    /// Element by element.
    fn multiply(&self, x: &Self) -> Result<Self, Self::Error>;

    /// self/(√x + δ).
    fn over_root(&self, x: &Self, delta: f64) -> Result<Self, Self::Error>;

    /// Σ self·x, as a tensor of one element.
    fn dot(&self, x: &Self) -> Result<Self, Self::Error>;

    /// The numbers in tensors of one element each.
    fn read(ones: &[Self]) -> Result<Vec<f64>, Self::Error>;

    /// The first element that is not finite or whose square is not, and its index.
    fn first_unusable(&self) -> Result<Option<(usize, f64)>, Self::Error>;
}

/// A [`Direction`](crate::Direction) that can be had from whole tensors:
/// [`AlongEstimate`](crate::AlongEstimate) and [`AdamDirection`](crate::AdamDirection).
pub trait TensorDirection: Transform<f64> {
    /// v, and the moments after update number `t`.
    #[doc(hidden)]
    fn direction_tensors<V: Tensor>(
        &self,
        t: u64,
        gradient: &V,
        g: &V,
        moments: &[V],
    ) -> Result<(V, Vec<V>), V::Error>;
}

/// What is remembered of one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Memory<V> {
    /// Steps at which it had a gradient: the averages are over these.
    pub(crate) steps: u64,
    pub(crate) mean_gradient: V,
    /// Of the direction, in the order of its names.
    pub(crate) moments: Vec<V>,
}

/// L4 over tensors, each under a name of its own.
#[derive(Clone, Debug)]
pub(crate) struct TensorL4<V, D> {
    pub(crate) rule: StepRule<f64>,
    estimate: AveragedGradient<f64>,
    direction: D,
    pub(crate) memories: BTreeMap<String, Memory<V>>,
}

/// A step, and v of each parameter that had a gradient.
type Stepped<V> = (Step<f64>, Vec<V>);

/// A step that did not come about.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    Refused(StepError),
    Framework(E),
}

impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Failure::Framework(error)
    }
}

impl<V: Tensor, D: TensorDirection> TensorL4<V, D> {
    /// With the constants of `l4`, before the first step.
    pub(crate) fn new(l4: L4<AveragedGradient<f64>, D, f64>) -> Self
    where
        D: crate::Direction<f64>,
    {
        let (rule, estimate, direction) = l4.into_parts();
        TensorL4 {
            rule,
            estimate,
            direction,
            memories: BTreeMap::new(),
        }
    }

    /// Steps 1 to 3 and 5 of the algorithm, given the loss, a tensor of one element, and the
    /// gradients by the parameters that have one. Returns the step and each one's v, for the caller
    /// to move the parameters by −η·v unless η is 0.
    pub(crate) fn step(
        &mut self,
        loss: V,
        grads: &[(String, V)],
    ) -> Result<Stepped<V>, Failure<V::Error>> {
        let (mut directions, mut memories) = (Vec::new(), Vec::new());
        let (mut squares, mut products) = (Vec::new(), Vec::new());
        for (name, gradient) in grads {
            let (g, v, memory) = self.transform(name, gradient)?;
            squares.push(gradient.dot(gradient)?);
            products.push(g.dot(&v)?);
            directions.push(v);
            memories.push((name.clone(), memory));
        }
        let scalars: Vec<V> = [loss].into_iter().chain(squares).chain(products).collect();
        let scalars = V::read(&scalars)?;
        let (loss, (squares, products)) = (scalars[0], scalars[1..].split_at(grads.len()));
        check_loss(loss).map_err(Failure::Refused)?;
        check_gradients(squares, grads)?;

        self.memories.extend(memories);
        let step = self.rule.step(loss, products.iter().sum());
        Ok((step.map_err(Failure::Refused)?, directions))
    }

    /// Step 1 for one parameter: g, v and what is then to be remembered.
    fn transform(&self, name: &str, gradient: &V) -> Result<(V, V, Memory<V>), V::Error> {
        let memory = match self.memories.get(name) {
            Some(memory) => memory.clone(),
            None => Memory {
                steps: 0,
                mean_gradient: gradient.zeros_like()?,
                moments: D::NAMES
                    .iter()
                    .map(|_| gradient.zeros_like())
                    .collect::<Result<_, _>>()?,
            },
        };
        let t = memory.steps + 1;
        let (mean_gradient, g) =
            self.estimate
                .estimate_tensor(t, &memory.mean_gradient, gradient)?;
        let (v, moments) = self
            .direction
            .direction_tensors(t, gradient, &g, &memory.moments)?;
        let memory = Memory {
            steps: t,
            mean_gradient,
            moments,
        };
        Ok((g, v, memory))
    }

    /// The constants of both transforms.
    fn transform_constants(&self) -> Vec<(&'static str, f64)> {
        let settings = self.estimate.add_to(Settings::of("L4"));
        let numbers = self.direction.add_to(settings).into_iter();
        let number = |(name, setting)| match setting {
            Setting::Number(value) => Some((name, value)),
            _ => None,
        };
        numbers.filter_map(number).collect()
    }

    /// All but the memories, as [`L4`] saves it.
    pub(crate) fn scalars(&self) -> State<f64> {
        let constants = self.transform_constants().into_iter();
        constants.fold(self.rule.state(), |state, (name, value)| {
            state.with_scalar(name, value)
        })
    }

    /// The rule of a saved state, whose transforms have to have the constants of these.
    pub(crate) fn read_scalars(&self, state: State<f64>) -> Result<StepRule<f64>, StateError> {
        let mut reader = state.into_reader()?;
        let rule = StepRule::read(&mut reader)?;
        for (name, value) in self.transform_constants() {
            reader.same_scalar(name, value)?;
        }
        reader.finish()?;
        Ok(rule)
    }
}

impl<V> Memory<V> {
    /// Every tensor under its name in a saved state.
    pub(crate) fn named<D: TensorDirection>(&self) -> impl Iterator<Item = (String, &V)> {
        let moments = D::NAMES.iter().map(|name| format!("v.{name}"));
        let first = [(String::from(MEAN_GRADIENT), &self.mean_gradient)];
        first.into_iter().chain(moments.zip(&self.moments))
    }

    /// The memory of so many steps, from its tensors by name.
    pub(crate) fn from_named<D: TensorDirection, E>(
        steps: u64,
        mut take: impl FnMut(&str) -> Result<V, E>,
    ) -> Result<Self, E> {
        Ok(Memory {
            steps,
            mean_gradient: take(MEAN_GRADIENT)?,
            moments: D::NAMES
                .iter()
                .map(|name| take(&format!("v.{name}")))
                .collect::<Result<_, _>>()?,
        })
    }
}

const MEAN_GRADIENT: &str = "g.mean_gradient";

/// Whether anything is to be moved.
pub(crate) fn moves(step: &Step<f64>) -> bool {
    step.outcome == Outcome::Updated
}

fn check_gradients<V: Tensor>(
    squares: &[f64],
    grads: &[(String, V)],
) -> Result<(), Failure<V::Error>> {
    let Some(bad) = squares.iter().position(|square| !square.is_finite()) else {
        return Ok(());
    };
    let error = match grads[bad].1.first_unusable()? {
        Some((index, value)) => StepError::UnusableGradient { index, value },
        None => StepError::Overflow {
            quantity: "the gradient's squared norm",
            value: squares[bad],
        },
    };
    Err(Failure::Refused(error))
}

/// A saved average is finite, and of squares not negative.
pub(crate) fn check_average(name: &str, values: &[f64]) -> Result<(), StateError> {
    let squares = name.ends_with(MEAN_SQUARE);
    let damaged = |x: &&f64| !x.is_finite() || (squares && **x < 0.0);
    match values.iter().find(damaged) {
        None => Ok(()),
        Some(&value) => Err(StateError::Value {
            name: name.into(),
            expected: match squares {
                true => "finite numbers of at least 0",
                false => "finite numbers",
            },
            value,
        }),
    }
}
