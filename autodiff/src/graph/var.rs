//! Values while they are recorded.

use super::Graph;
use crate::memory::Slot;
use crate::{Error, Real, Shape};
use std::fmt;

/// A value of the computation being recorded. Copy it freely.
///
/// # The operations
///
/// x, a, b are operands, y is the result, and each derivative is what is *added* to the
/// operand's gradient. `T` is [`f32`] or [`f64`]; c is a constant of that type.
///
/// | method | y | derivative |
/// |---|---|---|
/// | `a + b`, `a - b` | broadcast | da = dy, db = ±dy |
/// | `a * b` | aᵢ·bᵢ, broadcast | da = dy·b, db = dy·a |
/// | `a / b` | aᵢ/bᵢ, broadcast | da = dy/b, db = −dy·a/b² |
/// | `x + c`, `x - c`, `c - x`, `-x` | ±x ± c | dx = ±dy |
/// | `x * c`, `x / c` | c·x, x/c | dx = c·dy, dy/c |
/// | `c / x`, [`recip`](Var::recip), [`powf`](Var::powf) | c/x, 1/x, xᶜ | dx = −dy·c/x², −dy·y², dy·c·xᶜ⁻¹ |
/// | [`maximum`](Var::maximum), [`minimum`](Var::minimum) | the larger, the smaller, broadcast | the chosen one's = dy |
/// | [`exp`](Var::exp) | eˣ | dx = dy·y |
/// | [`ln`](Var::ln) | ln x | dx = dy/x |
/// | [`sqrt`](Var::sqrt) | √x | dx = dy/2y |
/// | [`square`](Var::square) | x² | dx = dy·2x |
/// | [`abs`](Var::abs), [`sin`](Var::sin), [`cos`](Var::cos) | \|x\|, sin x, cos x | dx = dy·sign x, dy·cos x, −dy·sin x |
/// | [`sigmoid`](Var::sigmoid) | 1/(1 + e⁻ˣ) | dx = dy·y(1 − y) |
/// | [`tanh`](Var::tanh) | tanh x | dx = dy·(1 − y²) |
/// | [`relu`](Var::relu), [`gelu`](Var::gelu) | max(x, 0); ½x(1 + tanh u(x)) | dx = dy where x > 0; dy·y′ |
/// | [`softplus`](Var::softplus) | ln(1 + eˣ) | dx = dy/(1 + e⁻ˣ) |
/// | [`clamp`](Var::clamp) | min(max(x, low), high) | dx = dy in [low, high], bounds included |
/// | [`matmul`](Var::matmul) | A·B, in batches | dA = dY·Bᵀ, dB = Aᵀ·dY |
/// | [`affine`](Var::affine) | x·W + b | dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ rows of dy |
/// | [`conv2d`](Var::conv2d) | x ∗ k, k shifted along x: images \[n, h, w, c\], kernels \[h, w, ci, co\] | dx = dy ∗ k flipped, its channels exchanged; dk = x ∗ dy |
/// | [`conv2d_bias_relu`](Var::conv2d_bias_relu) | max(x ∗ k + b, 0) | as `conv2d` where y > 0, db = Σ pixels of dy |
/// | [`sum`](Var::sum), [`sum_over`](Var::sum_over), [`sum_keep`](Var::sum_keep) | Σ x over axes | dx = dy, stretched |
/// | [`mean`](Var::mean), [`mean_over`](Var::mean_over), [`mean_keep`](Var::mean_keep) | Σ x / n over axes | dx = dy/n, stretched |
/// | [`max`](Var::max), [`max_over`](Var::max_over), [`max_keep`](Var::max_keep) | the largest over axes | dx = dy at the first of the largest |
/// | [`min`](Var::min), [`min_over`](Var::min_over), [`min_keep`](Var::min_keep) | the smallest over axes | dx = dy at the first of the smallest |
/// | [`conv2d_bias_relu_max_pool`](Var::conv2d_bias_relu_max_pool) | the largest of each window of max(x ∗ k + b, 0) | as `conv2d` at the first of the largest, if that is above 0 |
/// | [`max_pool2d`](Var::max_pool2d) | the largest of each window | dx = dy at the first of the largest |
/// | [`global_average_pool`](Var::global_average_pool) | Σ x / n over an image | dx = dy/n, stretched |
/// | [`batch_norm`](Var::batch_norm), [`batch_norm_relu`](Var::batch_norm_relu) | a·x̂ + b, x̂ = (x − μ)/√(σ² + ε) by channel | da = Σ dy·x̂, db = Σ dy, dx = a/√(σ² + ε)·(dy − (db + x̂·da)/n) |
/// | [`residual_block`](Var::residual_block) | relu(norm₂(relu(norm₁(x)) ∗ k₁)) ∗ k₂ + x | those of its parts |
/// | [`layer_norm`](Var::layer_norm) | a·x̂ + b, x̂ by row | da = Σ dy·x̂, db = Σ dy over the rows; dx = (g − (Σ g + x̂·Σ g·x̂)/n)/√(σ² + ε), g = a·dy, Σ along the row |
/// | [`dropout`](Var::dropout) | m·x, m random | dx = m·dy |
/// | [`half_squared_norm`](Graph::half_squared_norm) | ½ Σ w² over several operands | dw = dy·w |
/// | [`softmax`](Var::softmax) | e^xᵢ / Σⱼ e^xⱼ over the last axis | dx = y·(dy − ⟨dy, y⟩) |
/// | [`log_softmax`](Var::log_softmax), [`logsumexp`](Var::logsumexp) | x − L; L = ln Σⱼ e^xⱼ | dx = dy − softmax(x)·Σ dy; dy·softmax(x) |
/// | [`cross_entropy`](Var::cross_entropy) | −ln softmax(x)ᵢ, i the label of the row | dx = dy·(softmax(x) − eᵢ) |
/// | [`softmax_cross_entropy`](Var::softmax_cross_entropy) | −1/n Σₙ Σᵢ tₙᵢ ln softmax(xₙ)ᵢ | dx = dy/n·(softmax(x)·Σᵢtᵢ − t), dt = −dy/n·ln softmax(x) |
/// | [`sigmoid_cross_entropy`](Var::sigmoid_cross_entropy) | −tᵢ ln σ(xᵢ) − (1 − tᵢ) ln(1 − σ(xᵢ)), σ the sigmoid | dx = dy·(σ(x) − t), dt = −dy·x |
/// | [`product_squared_error`](Var::product_squared_error) | Σ R², R = A·B − C | dA = 2dy·R·Bᵀ, dB = 2dy·Aᵀ·R, dC = −2dy·R |
/// | [`squared_error`](Var::squared_error) | Σᵢ (aᵢ − bᵢ)² | da = 2dy·(a − b), db = −da |
/// | [`reshape`](Var::reshape) | the same elements | dx = dy |
/// | [`transpose`](Var::transpose), [`permute`](Var::permute) | axes in another order | dx = dy in the old order |
/// | [`slice`](Var::slice), [`slices`](Var::slices), [`split`](Var::split) | ranges of axes | dx = dy inside, 0 outside |
/// | [`gather`](Var::gather) | rows of a table by [`Indices`] | dtable = dy at the rows |
/// | [`less`](Var::less), [`select`](Var::select) | 1 where a < b; a or b as a mask says | none; the chosen one's = dy |
/// | [`stop_gradient`](Var::stop_gradient) | x | none |
/// | [`concat`](Graph::concat), [`stack`](Graph::stack) | side by side along an axis | each its part of dy |
///
/// *Broadcast* means: axes are aligned at the last one, and where one operand has
/// extent 1, or no axis, it is stretched; its gradient is summed over what it was
/// stretched along. Shapes that an operation is not defined for make
/// [`record`](crate::record) fail with the operation, the shapes and the line of your source.
pub struct Var<'g, T> {
    pub(super) graph: &'g Graph<T>,
    /// `None` once an operation has failed; whatever is built on it fails too.
    pub(super) index: Option<usize>,
}

impl<T> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Var<'_, T> {}

/// Integers below a bound, recorded by [`Graph::indices`].
pub struct Indices<'g, T> {
    pub(crate) var: Var<'g, T>,
    pub(crate) below: usize,
}

impl<T> Clone for Indices<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Indices<'_, T> {}

impl<'g, T> Indices<'g, T> {
    /// The same as a variable, to be returned from [`record`](crate::record).
    pub fn var(self) -> Var<'g, T> {
        self.var
    }
}

impl<T: Real> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.shape() {
            Ok(shape) => write!(f, "Var of shape {shape}"),
            Err(error) => write!(f, "Var that failed: {error}"),
        }
    }
}

impl<'g, T: Real> Var<'g, T> {
    /// Its shape.
    ///
    /// # Errors
    /// The error of the recording, once an operation on wrong shapes has failed: a value
    /// that comes of it has no shape.
    pub fn shape(&self) -> Result<Shape, Error> {
        match (self.index, self.graph.error()) {
            (None, Some(error)) => Err(error),
            _ => Ok(self.recorded_shape()),
        }
    }

    /// Its shape; that of a scalar if an operation before it failed.
    pub(crate) fn recorded_shape(&self) -> Shape {
        let recording = self.graph.recording.borrow();
        self.index
            .map_or(Shape::default(), |i| recording.vars[i].shape)
    }

    /// Its handle on the tape that the recording becomes: for those that the array which
    /// [`record`](crate::record) returns has no room for.
    pub fn slot(&self) -> Slot {
        self.graph.settle(self);
        Slot {
            recording: self.graph.id,
            index: self.index,
        }
    }

    /// The recording it belongs to.
    pub fn graph(&self) -> &'g Graph<T> {
        self.graph
    }

    /// The same elements, row-major, in another shape. Costs nothing at run time.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let Some(index) = self.index else { return self };
        let from = self.recorded_shape();
        if shape.elements_in_memory::<T>() != Some(from.elements()) {
            let why = "both need the same number of elements".to_owned();
            return self.graph.fail("reshape", vec![from, shape], why);
        }
        self.graph.settle(&self);
        let recording = &mut *self.graph.recording.borrow_mut();
        let storage = recording.vars[index].storage;
        let index = recording.var(shape, storage);
        Var { index, ..self }
    }
}
