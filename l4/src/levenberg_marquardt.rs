//! LMA, the Levenberg–Marquardt algorithm, for nonlinear least squares: what section 3.1.1 (Table 2)
//! compares L4 with.

use nalgebra::{Cholesky, DMatrix, DMatrixView, DVector, Dyn};

use crate::config::positive;
use crate::{ConfigError, Settings, State, StateError};

/// A least-squares problem: the loss is `F(x) = ½·‖r(x)‖²` for residuals r.
pub trait LeastSquares {
    /// m, the number of residuals.
    fn residual_count(&self) -> usize;

    /// n, the number of parameters.
    fn parameter_count(&self) -> usize;

    /// Writes r(x), of length m.
    fn residuals(&mut self, x: &[f64], r: &mut [f64]);

    /// Writes the Jacobian at x, of shape m×n, row by row: `j[i·n + k] = ∂rᵢ/∂xₖ`. The slice holds
    /// the last Jacobian, or zeros at first, so constant entries need not be written again.
    fn jacobian(&mut self, x: &[f64], j: &mut [f64]);
}

/// The Levenberg–Marquardt algorithm: Gauss–Newton steps, damped by the gain ratio.
///
/// ```
/// use l4::{LeastSquares, LevenbergMarquardt, LevenbergMarquardtOutcome};
///
/// /// Rosenbrock's valley, ½·(1 − x)² + 50·(y − x²)².
/// struct Rosenbrock;
///
/// impl LeastSquares for Rosenbrock {
///     fn residual_count(&self) -> usize {
///         2
///     }
///
///     fn parameter_count(&self) -> usize {
///         2
///     }
///
///     fn residuals(&mut self, x: &[f64], r: &mut [f64]) {
///         r.copy_from_slice(&[1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])]);
///     }
///
///     fn jacobian(&mut self, x: &[f64], j: &mut [f64]) {
///         j.copy_from_slice(&[-1.0, 0.0, -20.0 * x[0], 10.0]);
///     }
/// }
///
/// let mut solver = LevenbergMarquardt::new(Rosenbrock);
/// let mut x = [-1.2, 1.0];
/// while solver.step(&mut x)?.outcome != LevenbergMarquardtOutcome::Stationary {}
/// assert_eq!(x, [1.0, 1.0]);
/// # Ok::<(), l4::LevenbergMarquardtError>(())
/// ```
///
/// Each step solves `(JᵀJ + λI)·h = −Jᵀr` (Levenberg 1944, Marquardt 1963; Nocedal and Wright,
/// *Numerical Optimization*, Eq. 10.31 onwards on the equivalent trust region) by Cholesky
/// factorisation and compares the loss's true reduction with the one that the linear model
/// predicts:
///
/// ```text
/// ρ = (F(x) − F(x + h)) / (½·hᵀ(λh − Jᵀr))
/// ```
///
/// With ρ > 0 the step is taken and `λ ← λ·max(1/3, 1 − (2ρ − 1)³), ν ← 2`; otherwise
/// `λ ← λ·ν, ν ← 2ν` (Nielsen 1999; Algorithm 3.16 of Madsen, Nielsen and Tingleff, *Methods for
/// Non-Linear Least Squares Problems*, 2004). λ starts at 1e-3 times the largest diagonal element
/// of JᵀJ and never falls below the rounding error of that element, which keeps directions that
/// do not change the residuals (the gauge freedom of a factorised matrix) from blowing up.
///
/// The normal equations square the Jacobian's condition number. That costs accuracy of the single
/// step, not of the limit: the gradient Jᵀr is exact to rounding, so later steps correct it.
///
/// One call of [`step`](Self::step) makes one attempt to solve the linear system, whether or not
/// the step is then taken: that is the unit of the paper's Table 2.
#[derive(Clone, Debug)]
pub struct LevenbergMarquardt<P> {
    problem: P,
    initial_damping: f64,
    step: u64,
    /// λ; `None` until a step was accepted or rejected.
    damping: Option<f64>,
    /// ν, the factor on λ at the next rejection.
    growth: f64,
    model: Model,
    /// Scratch for r(x + h).
    trial_residuals: DVector<f64>,
}

/// The problem linearised at a point.
#[derive(Clone, Debug)]
struct Model {
    /// Where `residuals` were taken, if anywhere.
    at: Option<Vec<f64>>,
    /// Whether the fields after `residuals` belong there too.
    linearised: bool,
    residuals: DVector<f64>,
    /// Jᵀ: nalgebra stores columns one after another, and so the rows of J.
    jacobian: DMatrix<f64>,
    /// JᵀJ.
    hessian: DMatrix<f64>,
    /// Jᵀr.
    gradient: DVector<f64>,
}

/// What happened in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevenbergMarquardtStep {
    /// F = ½·‖r‖² at the point that the step started from.
    pub loss_before: f64,
    /// F at the point where it left x.
    pub loss_after: f64,
    /// The λ of this step's linear system.
    pub damping: f64,
    /// What became of x.
    pub outcome: LevenbergMarquardtOutcome,
}

/// The result of a step that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevenbergMarquardtOutcome {
    /// The loss fell; x moved.
    Accepted,
    /// The loss did not fall, was not finite at the trial point, or JᵀJ + λI was not numerically
    /// positive definite. x is unchanged; the next step is more strongly damped.
    Rejected,
    /// The gradient is zero or the step too small to change x: no later step will do better.
    Stationary,
}

/// Why a step was refused. x and the damping are untouched.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LevenbergMarquardtError {
    /// x is not of the problem's length.
    #[error("the problem has {expected} parameters, x has {found}")]
    ParameterCount {
        /// The problem's number of parameters.
        expected: usize,
        /// The length of x.
        found: usize,
    },

    /// A residual at x is NaN or infinite, or the sum of squares overflows.
    #[error("the residuals at x are not finite, or ½·‖r‖² = {loss} overflows: start elsewhere")]
    NonFiniteResiduals {
        /// ½·‖r‖².
        loss: f64,
    },

    /// An element of the Jacobian at x is NaN or infinite, or JᵀJ overflows.
    #[error("the Jacobian at x is not finite, or JᵀJ overflows: check the derivatives")]
    NonFiniteJacobian,
}

use LevenbergMarquardtError as Error;
use LevenbergMarquardtOutcome as Outcome;

impl<P: LeastSquares> LevenbergMarquardt<P> {
    /// A solver for `problem`.
    pub fn new(problem: P) -> Self {
        let (m, n) = (problem.residual_count(), problem.parameter_count());
        LevenbergMarquardt {
            problem,
            initial_damping: 1e-3,
            step: 0,
            damping: None,
            growth: 2.0,
            model: Model::new(m, n),
            trial_residuals: DVector::zeros(m),
        }
    }

    /// Sets the first λ, as a multiple of the largest diagonal element of JᵀJ; above 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] outside that range.
    pub fn initial_damping(mut self, factor: f64) -> Result<Self, ConfigError> {
        self.initial_damping = positive("the initial damping", factor)?;
        Ok(self)
    }

    /// The problem.
    pub fn problem(&self) -> &P {
        &self.problem
    }

    /// Every setting, as [`Optimizer::settings`](crate::Optimizer::settings).
    pub fn settings(&self) -> Settings {
        Settings::of("LMA").with_number("initial_damping", self.initial_damping)
    }

    /// Bytes of the linearised problem: J, JᵀJ, Jᵀr, and the residuals here and at the trial point.
    pub fn state_bytes(&self) -> usize {
        let Model {
            residuals,
            jacobian,
            hessian,
            gradient,
            ..
        } = &self.model;
        let vectors = residuals.len() + self.trial_residuals.len() + gradient.len();
        (vectors + jacobian.len() + hessian.len()) * size_of::<f64>()
    }

    /// One attempt to improve `x`. It evaluates the residuals once (at the first step, or where
    /// `x` is not what the last step left, twice) and the Jacobian at most once.
    ///
    /// # Errors
    ///
    /// [`LevenbergMarquardtError`], with `x` untouched.
    pub fn step(&mut self, x: &mut [f64]) -> Result<LevenbergMarquardtStep, Error> {
        self.linearise(x)?;
        self.step += 1;
        let loss_before = half_square(&self.model.residuals);
        let damping = self.next_damping();
        let outcome = self.attempt(x, damping);
        Ok(LevenbergMarquardtStep {
            loss_before,
            loss_after: half_square(&self.model.residuals),
            damping,
            outcome,
        })
    }

    /// λ and ν, the step count; x is the caller's to keep. From these and the same x the solver
    /// goes on bit for bit.
    pub fn state(&self) -> State<f64> {
        let state = State::new(self.step);
        match self.damping {
            None => state,
            Some(damping) => state
                .with_scalar("damping", damping)
                .with_scalar("growth", self.growth),
        }
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    ///
    /// [`StateError`], with the solver untouched, when the entries are not those of
    /// [`state`](Self::state).
    pub fn restore(&mut self, state: State<f64>) -> Result<(), StateError> {
        let mut reader = state.into_reader()?;
        let step = reader.step();
        // Steps at a stationary point are counted, but damp nothing.
        let (damping, growth) = if reader.has_scalar("damping") {
            let damping = reader.positive_scalar("damping")?;
            (Some(damping), reader.positive_scalar("growth")?)
        } else {
            (None, 2.0)
        };
        reader.finish()?;
        (self.step, self.damping, self.growth) = (step, damping, growth);
        Ok(())
    }

    /// Brings the model to `x`, as far as it is not there already.
    fn linearise(&mut self, x: &[f64]) -> Result<(), Error> {
        let (expected, found) = (self.problem.parameter_count(), x.len());
        if expected != found {
            return Err(Error::ParameterCount { expected, found });
        }
        let model = &mut self.model;
        if model.at.as_deref() != Some(x) {
            (model.at, model.linearised) = (None, false);
            self.problem.residuals(x, model.residuals.as_mut_slice());
            let loss = half_square(&model.residuals);
            if !loss.is_finite() {
                return Err(Error::NonFiniteResiduals { loss });
            }
            model.at = Some(x.to_vec());
        }
        if !model.linearised {
            self.problem.jacobian(x, model.jacobian.as_mut_slice());
            model.form_normal_equations()?;
            model.linearised = true;
        }
        Ok(())
    }

    /// λ for the system at the model's point.
    fn next_damping(&self) -> f64 {
        let largest = self.model.hessian.diagonal().max();
        match self.damping {
            None => self.initial_damping * largest,
            Some(damping) => damping.max(f64::EPSILON * largest),
        }
    }

    /// Solves the damped system and judges its step; on acceptance the model is at the new point.
    fn attempt(&mut self, x: &mut [f64], damping: f64) -> Outcome {
        if self.model.gradient.iter().all(|&g| g == 0.0) {
            return Outcome::Stationary;
        }
        let Some(h) = self.model.solve(damping) else {
            return self.reject(damping);
        };
        let trial: Vec<f64> = x.iter().zip(&h).map(|(x, h)| x + h).collect();
        if trial == x {
            return Outcome::Stationary;
        }
        let residuals = self.trial_residuals.as_mut_slice();
        self.problem.residuals(&trial, residuals);
        let gain_ratio = self.model.reduction(&self.trial_residuals)
            / self.model.predicted_reduction(&h, damping);
        // False for NaN too. An infinite loss gives −∞.
        if gain_ratio > 0.0 {
            x.copy_from_slice(&trial);
            self.accept(damping, gain_ratio, trial);
            return Outcome::Accepted;
        }
        self.reject(damping)
    }

    fn accept(&mut self, damping: f64, gain_ratio: f64, x: Vec<f64>) {
        let factor = 1.0 - (2.0 * gain_ratio - 1.0).powi(3);
        self.damping = Some(damping * factor.max(1.0 / 3.0));
        self.growth = 2.0;
        self.model.move_to(x, &mut self.trial_residuals);
    }

    fn reject(&mut self, damping: f64) -> Outcome {
        // The bounds matter only after hundreds of rejections in a row.
        self.damping = Some((damping * self.growth).min(f64::MAX));
        self.growth = (2.0 * self.growth).min(f64::MAX);
        Outcome::Rejected
    }
}

impl Model {
    fn new(m: usize, n: usize) -> Self {
        Model {
            at: None,
            linearised: false,
            residuals: DVector::zeros(m),
            jacobian: DMatrix::zeros(n, m),
            hessian: DMatrix::zeros(n, n),
            gradient: DVector::zeros(n),
        }
    }

    /// Takes over a point whose residuals are known, leaving the old ones as scratch.
    fn move_to(&mut self, x: Vec<f64>, residuals: &mut DVector<f64>) {
        std::mem::swap(&mut self.residuals, residuals);
        (self.at, self.linearised) = (Some(x), false);
    }

    fn form_normal_equations(&mut self) -> Result<(), Error> {
        let (n, m) = self.jacobian.shape();
        // J is the same memory read by rows: one matrix product and no copy.
        let jacobian = DMatrixView::<f64, Dyn, Dyn>::from_slice_with_strides(
            self.jacobian.as_slice(),
            m,
            n,
            n,
            1,
        );
        self.hessian.gemm(1.0, &self.jacobian, &jacobian, 0.0);
        self.gradient
            .gemv(1.0, &self.jacobian, &self.residuals, 0.0);
        // A NaN or ∞ anywhere in J makes its own square sum, on JᵀJ's diagonal, not finite.
        let diagonal_is_finite = self.hessian.diagonal().iter().all(|x| x.is_finite());
        let gradient_is_finite = self.gradient.iter().all(|x| x.is_finite());
        if diagonal_is_finite && gradient_is_finite {
            return Ok(());
        }
        Err(Error::NonFiniteJacobian)
    }

    /// h with `(JᵀJ + λI)·h = −Jᵀr`; `None` where rounding leaves no positive definite matrix.
    fn solve(&self, damping: f64) -> Option<DVector<f64>> {
        let mut damped = self.hessian.clone();
        for k in 0..damped.nrows() {
            damped[(k, k)] += damping;
        }
        let h = Cholesky::new(damped)?.solve(&-&self.gradient);
        h.iter().all(|x| x.is_finite()).then_some(h)
    }

    /// F(x) − F(x + h) = ½·Σ (r − r')(r + r'), which loses no digits when the two are close.
    fn reduction(&self, trial_residuals: &DVector<f64>) -> f64 {
        let pairs = self.residuals.iter().zip(trial_residuals);
        0.5 * pairs.map(|(r, s)| (r - s) * (r + s)).sum::<f64>()
    }

    /// ½·hᵀ(λh − Jᵀr), positive for h from [`solve`](Self::solve).
    fn predicted_reduction(&self, h: &DVector<f64>, damping: f64) -> f64 {
        0.5 * (damping * h.norm_squared() - h.dot(&self.gradient))
    }
}

fn half_square(residuals: &DVector<f64>) -> f64 {
    0.5 * residuals.norm_squared()
}
