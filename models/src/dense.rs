//! Fully connected layers.

use crate::init::{self, Fill};
use autodiff::{Error, Graph, Param, Params, Real, Var};

/// y = x·W + b, W: inputs × outputs, b of length outputs and zero at first.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    w: Param,
    b: Param,
}

impl Dense {
    /// Adds the parameters `name/kernel` and `name/bias`.
    ///
    /// # Errors
    /// If the name is taken.
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

    /// The layer's output for x: [batch, inputs].
    #[track_caller]
    pub fn apply<'g, T: Real>(&self, x: Var<'g, T>) -> Var<'g, T> {
        let graph: &'g Graph<T> = x.graph();
        x.affine(graph.param(self.w), graph.param(self.b))
    }
}
