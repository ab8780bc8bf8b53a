//! An operation of your own: the Huber loss, Σ h(xᵢ), quadratic near zero and
//! linear far out, so that outliers do not dominate (Huber, *Robust Estimation of a
//! Location Parameter*, 1964):
//!
//! ```text
//! h(x)  = ½x²  if |x| <= δ,  else δ·(|x| − ½δ)
//! h′(x) = x    if |x| <= δ,  else δ·sign x
//! ```
//!
//! ```text
//! cargo run -p autodiff --example 04_own_operation
//! ```
//!
//! checks the derivative, then shows what the checker says to a wrong one.

use autodiff::{Gradients, Inputs, Op, Params, Shape, Var, gradcheck, record};

struct Huber {
    delta: f64,
    /// The slope far out: `delta`, unless somebody made a mistake.
    far_slope: f64,
}

impl Op<f64> for Huber {
    fn name(&self) -> &'static str {
        "huber"
    }

    /// Any shape goes in, a scalar comes out.
    fn infer(&mut self, _: &[Shape]) -> Result<Shape, String> {
        Ok(Shape::from([]))
    }

    fn forward(&mut self, x: &Inputs<f64>, y: &mut [f64]) {
        let loss = |x: f64| match x.abs() {
            near if near <= self.delta => 0.5 * near * near,
            far => self.delta * (far - 0.5 * self.delta),
        };
        y[0] = x[0].iter().copied().map(loss).sum();
    }

    /// dxᵢ += dy·h′(xᵢ)
    fn backward(&mut self, x: &Inputs<f64>, _: &[f64], dy: &[f64], dx: &mut Gradients<f64>) {
        let slope = |x: f64| match x.abs() {
            near if near <= self.delta => x,
            _ => self.far_slope * x.signum(),
        };
        let Some(dx) = dx.of(0) else { return };
        dx.add(x[0].iter().map(|&x| dy[0] * slope(x)));
    }
}

fn huber<'g>(x: Var<'g, f64>, far_slope: f64) -> Var<'g, f64> {
    let delta = 1.0;
    x.graph().apply(Huber { delta, far_slope }, &[x])
}

/// Prints the loss, its gradient and what the checker says.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let residuals = [0.5, -0.25, 3.0];
    let mut params = Params::new();
    let mut values = residuals.into_iter();
    let x = params.add("residuals", [3], || values.next().unwrap_or(0.0))?;

    let (mut tape, [_]) = record(|g| Ok([huber(g.param(x), 1.0)]))?;
    let mut grads = params.zeros_like();
    let mut pass = tape.forward(&params)?;
    pass.backward(&mut grads)?;
    println!("residuals  {residuals:?}");
    println!("loss       {}", pass.loss()?);
    println!(
        "gradient   {:?}: the outlier pulls no harder than 1",
        &grads[..]
    );
    assert_eq!(pass.loss()?, 0.125 + 0.03125 + 2.5);
    assert_eq!(grads[..], [0.5, -0.25, 1.0]);

    gradcheck(&params, |g| huber(g.param(x), 1.0))?;
    println!("\ngradcheck of the right derivative: passed");
    match gradcheck(&params, |g| huber(g.param(x), 1.1)) {
        Ok(()) => return Err("the checker passed a wrong derivative".into()),
        Err(error) => println!("gradcheck of a wrong derivative:\n  {error}"),
    }
    Ok(())
}
