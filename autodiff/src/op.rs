//! What an operation is.

use crate::kernels::{Matrix, Term, gemm};
use crate::memory::{Buffer, Place, Storage};
use crate::{Real, Shape};
use std::any::Any;
use std::ops::Index;

/// An operation: a function, its shape rule and its derivative in one place.
///
/// An `Op` value belongs to one entry of one tape. `infer` is called once, while it is recorded;
/// the tape then calls `forward` and `backward` step after step; a step may leave `backward` out.
///
/// # State
///
/// What an operation keeps is a field of its type:
///
/// * extents and strides: found by `infer`;
/// * what `forward` leaves for `backward` (probabilities, a mask, an argmax): a
///   buffer, allocated by `infer` so that steps allocate nothing;
/// * what lasts from step to step: running statistics that `forward` updates, the
///   random generator that it draws from.
///   [`Tape::op_mut`](crate::Tape::op_mut) reaches them between steps, to save and to
///   restore them;
/// * scratch, which nobody reads once the call has returned.
///
/// `backward` changes nothing but scratch: after one `forward` it gives the same gradients as
/// often as it is asked. [`gradcheck`](crate::gradcheck()) runs `forward` many times
/// and needs a function of the operands alone: check an operation that draws random
/// numbers with its mask held fixed.
///
/// # Adding an operation
///
/// Here is the sine, complete, with the test that every operation gets:
///
/// ```
/// use autodiff::{Gradients, Inputs, Op, Params, Real, Shape, Var, gradcheck};
///
/// struct Sin;
///
/// impl<T: Real> Op<T> for Sin {
///     fn name(&self) -> &'static str {
///         "sin"
///     }
///
///     fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
///         Ok(inputs[0])
///     }
///
///     fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
///         y.iter_mut().zip(&x[0]).for_each(|(y, x)| *y = x.sin());
///     }
///
///     /// dx += dy · cos x
///     fn backward(&mut self, x: &Inputs<T>, _y: &[T], dy: &[T], dx: &mut Gradients<T>) {
///         let Some(dx) = dx.of(0) else { return };
///         dx.add(x[0].iter().zip(dy).map(|(x, &dy)| dy * x.cos()));
///     }
/// }
///
/// fn sin<'g, T: Real>(x: Var<'g, T>) -> Var<'g, T> {
///     x.graph().apply(Sin, &[x])
/// }
///
/// let mut params = Params::new();
/// let x = params.add("x", [2, 3], || 0.7)?;
/// gradcheck(&params, |g| sin(g.param(x)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To add it to this crate, put it in a file of `src/ops` with its method of [`Var`](crate::Var)
/// and a value worked out by hand. *State* above says where an operation keeps it: a mask,
/// running statistics, a random stream. `cargo run -p autodiff --example 04_own_operation`
/// shows what [`gradcheck`](crate::gradcheck()) says to a wrong derivative.
pub trait Op<T: Real>: Any + Send {
    /// The name that errors show.
    fn name(&self) -> &'static str;

    /// Whether the passes that follow are training: what [`Tape::set_training`] says to each
    /// operation. Most are the same function in any case.
    ///
    /// [`Tape::set_training`]: crate::Tape::set_training
    fn set_training(&mut self, _training: bool) {}

    /// The result's shape for operands of these shapes, or what is wrong with them.
    /// Extents may be multiplied: no product of those of one operand overflows.
    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String>;

    /// Computes y from x. Every element of `y` must be written: it holds the
    /// previous step's result.
    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]);

    /// The chain rule: given dy = ∂L/∂y, adds ∂L/∂xᵢ = Σⱼ dyⱼ · ∂yⱼ/∂xᵢ to every
    /// gradient that [`Gradients::of`] hands out. `y` is what `forward` wrote.
    fn backward(&mut self, x: &Inputs<T>, y: &[T], dy: &[T], dx: &mut Gradients<T>);
}

/// The operands of an operation: `x[i]` is the i-th, flat and row-major.
pub struct Inputs<'a, T> {
    pub(crate) operands: &'a [usize],
    pub(crate) storages: &'a [Storage],
    pub(crate) buffers: &'a [Buffer<T>],
    pub(crate) params: &'a [T],
}

impl<T: Real> Index<usize> for Inputs<'_, T> {
    type Output = [T];

    fn index(&self, i: usize) -> &[T] {
        let storage = self.operands[i];
        match self.storages[storage] {
            Storage::Param { offset, len, .. } => &self.params[offset..offset + len],
            _ => &self.buffers[storage],
        }
    }
}

impl<T> Inputs<'_, T> {
    /// Number of operands.
    pub fn len(&self) -> usize {
        self.operands.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operands.is_empty()
    }
}

/// The gradients of an operation's operands.
pub struct Gradients<'a, T> {
    pub(crate) operands: &'a [usize],
    pub(crate) storages: &'a [Storage],
    pub(crate) buffers: &'a mut [Buffer<T>],
    /// By storage: where its gradient is among `buffers`.
    pub(crate) places: &'a [Place],
    pub(crate) params: &'a mut [T],
    /// By storage: whether this backward pass has written to its gradient.
    pub(crate) written: &'a mut [bool],
}

impl<T: Real> Gradients<'_, T> {
    /// Whether [`of`](Gradients::of) has a gradient for the i-th operand.
    pub fn wants(&self, i: usize) -> bool {
        self.storages[self.operands[i]].differentiable()
    }

    /// The gradient of the i-th operand, or `None` if nobody asks for it (data
    /// and constants).
    pub fn of(&mut self, i: usize) -> Option<Gradient<'_, T>> {
        let storage = self.operands[i];
        if !self.storages[storage].differentiable() {
            return None;
        }
        let values = match self.storages[storage] {
            Storage::Param { offset, len, .. } => &mut self.params[offset..offset + len],
            _ => {
                let Place { buffer, len } = self.places[storage];
                &mut self.buffers[buffer][..len]
            }
        };
        let written = &mut self.written[storage];
        Some(Gradient { values, written })
    }

    /// The gradients of several operands at once, each zeroed if nothing was added to it
    /// before, so that one loop can add to all of them.
    ///
    /// # Panics
    /// If one of them has no gradient or is a parameter, or two are the same value.
    pub fn zeroed<const K: usize>(&mut self, operands: [usize; K]) -> [&mut [T]; K] {
        let storages = operands.map(|i| self.operands[i]);
        for storage in storages {
            let is_param = matches!(self.storages[storage], Storage::Param { .. });
            let has_buffer = self.storages[storage].differentiable() && !is_param;
            assert!(has_buffer, "an operand has no gradient of its own");
        }
        let buffers = self
            .buffers
            .get_disjoint_mut(storages.map(|s| self.places[s].buffer));
        let mut storages = storages.into_iter();
        buffers
            .expect("the operands are different values")
            .map(|buffer| {
                let storage = storages.next().expect("one for each buffer");
                let values = &mut buffer[..self.places[storage].len];
                if !std::mem::replace(&mut self.written[storage], true) {
                    values.fill(T::zero());
                }
                values
            })
    }
}

/// One gradient, to be added to.
///
/// The first operation to write a gradient finds the previous step's content in it and
/// overwrites; the later ones add ([`Term`]). This saves a pass that zeroes it. Each
/// method writes all elements; a gradient that is dropped unwritten has got no term.
pub struct Gradient<'a, T> {
    values: &'a mut [T],
    /// Whether `values` holds terms of this backward pass already.
    written: &'a mut bool,
}

impl<'a, T: Real> Gradient<'a, T> {
    /// Adds one term to each element.
    ///
    /// # Panics
    /// If there are more or fewer terms than elements.
    #[inline(always)]
    pub fn add(self, terms: impl ExactSizeIterator<Item = T>) {
        let (values, term) = self.parts();
        term.write(values, terms);
    }

    /// Adds the matrix product a·b, with a: m×k and b: k×n.
    ///
    /// # Panics
    /// If a length is not that of its matrix.
    pub fn add_product(self, [m, k, n]: [usize; 3], a: Matrix<T>, b: Matrix<T>) {
        let (values, term) = self.parts();
        gemm(m, k, n, a, b, values, term);
    }

    /// The elements, zeroed if nothing was added to them before, so that the
    /// caller can add in any order.
    pub fn zeroed(self) -> &'a mut [T] {
        let (values, term) = self.parts();
        if term == Term::First {
            values.fill(T::zero());
        }
        values
    }

    /// The elements, all of which the caller writes, and what with.
    pub(crate) fn parts(self) -> (&'a mut [T], Term) {
        let written = std::mem::replace(self.written, true);
        let term = if written { Term::Further } else { Term::First };
        (self.values, term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Params, Var, gradcheck, record};

    /// xᵢ yᵢ², with both gradients written in one loop.
    struct Weighted;

    impl Op<f64> for Weighted {
        fn name(&self) -> &'static str {
            "weighted"
        }

        fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
            Ok(inputs[0])
        }

        fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
            for (i, y) in y.iter_mut().enumerate() {
                *y = x[0][i] * x[1][i] * x[1][i];
            }
        }

        fn backward(&mut self, x: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
            let [du, dv] = dx.zeroed([0, 1]);
            for (i, dy) in dy.iter().enumerate() {
                du[i] += dy * x[1][i] * x[1][i];
                dv[i] += 2.0 * dy * x[0][i] * x[1][i];
            }
        }
    }

    fn weighted<'g>(u: Var<'g, f64>, v: Var<'g, f64>) -> Var<'g, f64> {
        u.graph().apply(Weighted, &[u, v])
    }

    #[test]
    fn gradients_of_several_operands_at_once() {
        let mut params = Params::new();
        let [x, y] = [0.7, -0.4].map(|value| {
            let name = format!("{value}");
            params.add(name, [3], move || value).unwrap()
        });
        // Each operand has a second user, before it or after it.
        let check = gradcheck(&params, |g| {
            let (u, v) = (g.param(x).square(), g.param(y).square());
            weighted(u, v) + weighted(v, u) * u
        });
        check.unwrap();
    }

    #[test]
    #[should_panic(expected = "an operand has no gradient of its own")]
    fn an_operand_without_a_gradient_is_refused() {
        let mut params = Params::new();
        let x = params.add("x", [1], || 1.0).unwrap();
        let recorded = record(|g| Ok([weighted(g.param(x).square(), g.constant([1], &[1.0]))]));
        let (mut tape, _) = recorded.unwrap();
        let mut grads = params.zeros_like();
        let _ = tape.forward(&params).unwrap().backward(&mut grads);
    }
}
