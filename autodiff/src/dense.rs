//! Fully connected layers.

use crate::init::{self, Fill};
use crate::{Error, Graph, Param, Params, Real, Var};

/// A fully connected layer: y = x·W + b, W: inputs × outputs, b of length outputs and zero at
/// first.
///
/// ```
/// use autodiff::{Dense, Params, init, record};
/// use rand::SeedableRng;
///
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let mut params = Params::<f32>::new();
/// let hidden = Dense::new(&mut params, "hidden", 2, 8, init::glorot_uniform(2, 8, &mut rng))?;
/// let output = Dense::new(&mut params, "output", 8, 1, init::zeros())?;
/// let (tape, [y]) =
///     record::<f32, _>(|g| Ok([output.apply(hidden.apply(g.input([4, 2])).relu())]))?;
/// assert_eq!(*tape.shape(y)?, [4, 1]);
/// # Ok::<(), autodiff::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    w: Param,
    b: Param,
}

impl Dense {
    /// Adds the parameters `name/kernel` and `name/bias`.
    ///
    /// # Errors
    /// [`Error::DuplicateName`]; [`Error::TooLarge`] if memory cannot hold them.
    pub fn new<T: Real>(
        params: &mut Params<T>,
        name: &str,
        inputs: usize,
        outputs: usize,
        kernel: Fill<T>,
    ) -> Result<Self, Error> {
        Ok(Self {
            w: params.add(format!("{name}/kernel"), [inputs, outputs], kernel)?,
            b: params.add(format!("{name}/bias"), [outputs], init::zeros())?,
        })
    }

    /// The layer's output for x: \[.., inputs\], of two axes or more.
    #[track_caller]
    pub fn apply<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        let graph: &'g Graph<T> = x.graph();
        x.affine(graph.param(self.w), graph.param(self.b))
    }
}
