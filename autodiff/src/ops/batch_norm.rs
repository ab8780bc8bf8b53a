//! Batch normalisation (Ioffe & Szegedy, 2015) over all axes but the last, and the
//! same with a ReLU on top as one operation.
//!
//! Over the n elements of each channel, with mean μ and variance σ² = Σ(x − μ)²/n,
//!
//! x̂ = (x − μ)/√(σ² + ε), y = scale·x̂ + shift; with the ReLU, y = max(scale·x̂ + shift, 0).
//!
//! dshift += Σ dy, dscale += Σ dy·x̂,
//! dx += scale/√(σ² + ε) · (dy − (Σ dy + x̂·Σ dy·x̂)/n);
//!
//! with the ReLU, dy counts only where y > 0. In inference μ and σ² are constants, the
//! running ones, and the sums drop out of dx.
//!
//! The operation does little arithmetic on much memory, so what counts is how often it
//! goes through x: twice forward (statistics, y) and twice backward (the two sums, dx).
//! It never reads y back: y > 0 is decided again from x, by the same arithmetic.

use crate::kernels::Term;
use crate::kernels::channels::{Gradients, Layout, Line, Normaliser, merge};
use crate::parallel::{ChunksOf, chunks_of, for_each};
use crate::{Error, Inputs, Op, Real, Shape, Var};

/// What batch normalisation normalises by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The batch's own mean and variance; every forward pass also moves the running
    /// ones towards them, unless they are not finite.
    Training,
    /// The running mean and variance.
    Inference,
}

/// The constants of batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// What the mean and variance are those of.
    pub mode: BatchNormMode,
    /// running ← decay · running + (1 − decay) · batch; in \[0, 1\].
    pub decay: f64,
    /// ε, added to the variance; finite and not negative.
    pub epsilon: f64,
}

impl BatchNormConfig {
    /// What is wrong with the constants.
    fn check(self) -> Result<(), String> {
        let Self { decay, epsilon, .. } = self;
        if !(0.0..=1.0).contains(&decay) {
            return Err(format!("the decay must be in [0, 1], found {decay}"));
        }
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(format!(
                "ε must be finite and not negative, found {epsilon}"
            ));
        }
        Ok(())
    }
}

/// The operation that [`Var::batch_norm`] and [`Var::batch_norm_relu`] record.
/// [`Tape::op_mut`](crate::Tape::op_mut) reaches it, to save and restore the running
/// statistics.
///
/// These start at mean 0 and variance 1. The batch's variance enters the running one
/// with Bessel's correction, Σ(x − μ)²/(n − 1), as in TensorFlow's fused kernel and in
/// PyTorch, although the batch itself is normalised by Σ(x − μ)²/n.
pub struct BatchNorm<T> {
    config: BatchNormConfig,
    relu: bool,
    layout: Layout,
    running_mean: Vec<T>,
    running_variance: Vec<T>,
    /// By channel: the mean, and 1/√(variance + ε), that the last forward pass used.
    mean: Vec<T>,
    inverse_deviation: Vec<T>,
    normaliser: Normaliser<T>,
    gradients: Gradients<T>,
    /// By chunk: four sums by channel.
    partial_sums: Vec<f64>,
}

impl<T: Real> BatchNorm<T> {
    pub(crate) fn new(config: BatchNormConfig, relu: bool) -> Self {
        let normaliser = Normaliser::new(Layout::default(), relu);
        Self {
            config,
            relu,
            layout: Layout::default(),
            running_mean: Vec::new(),
            running_variance: Vec::new(),
            mean: Vec::new(),
            inverse_deviation: Vec::new(),
            gradients: Gradients::new(&normaliser),
            normaliser,
            partial_sums: Vec::new(),
        }
    }

    /// By channel.
    pub fn running_mean(&self) -> &[T] {
        &self.running_mean
    }

    /// By channel.
    pub fn running_variance(&self) -> &[T] {
        &self.running_variance
    }

    /// Replaces the running statistics.
    ///
    /// # Errors
    /// [`Error::Length`] if there is not one of each for every channel; [`Error::Value`] if a mean is not finite, or a
    /// variance not a finite number of at least 0.
    pub fn set_running(&mut self, mean: &[T], variance: &[T]) -> Result<(), Error> {
        let expected = self.layout.channels;
        for (what, found) in [
            ("running means", mean.len()),
            ("running variances", variance.len()),
        ] {
            Error::check_length(what, expected, found)?;
        }
        Error::check_values("running mean", "a finite number", mean, T::is_finite)?;
        Error::check_values(
            "running variance",
            "a finite number of at least 0",
            variance,
            |v: T| v.is_finite() && v >= T::zero(),
        )?;
        self.running_mean.copy_from_slice(mean);
        self.running_variance.copy_from_slice(variance);
        Ok(())
    }

    /// Allocates for x, scale and shift of these shapes. Sums are taken in the chunks of
    /// [`Layout`], or in any other ones of which there are at most `chunks`.
    pub(crate) fn prepare(
        &mut self,
        [x, scale, shift]: [Shape; 3],
        chunks: usize,
    ) -> Result<(), String> {
        let Some(&channels) = x.last() else {
            return Err("expected at least one axis".to_owned());
        };
        if *scale != [channels] || *shift != [channels] {
            return Err(
                "expected x: [.., channels], scale: [channels], shift: [channels]".to_owned(),
            );
        }
        if x.elements() == 0 {
            return Err("the mean of nothing is undefined".to_owned());
        }
        self.config.check()?;
        self.layout = Layout::new(x.elements() / channels, channels);
        self.running_mean = vec![T::zero(); channels];
        self.running_variance = vec![T::one(); channels];
        self.mean = vec![T::zero(); channels];
        self.inverse_deviation = vec![T::zero(); channels];
        self.normaliser = Normaliser::new(self.layout, self.relu);
        self.gradients = Gradients::new(&self.normaliser);
        self.partial_sums = vec![0.0; self.layout.chunks().max(chunks) * 4 * channels];
        Ok(())
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether it normalises by what [`moments`](Layout::moments) finds in x.
    pub(crate) fn reads_moments(&self) -> bool {
        self.config.mode == BatchNormMode::Training
    }

    /// For each of so many chunks of x: room for [`Layout::moments`].
    pub(crate) fn moments(&mut self, chunks: usize) -> ChunksOf<'_, f64> {
        let sums = 4 * self.layout.channels;
        chunks_of(&mut self.partial_sums[..chunks * sums], sums)
    }

    /// The lines that x is normalised by, after [`moments`](Self::moments) were found in
    /// chunks of so many rows.
    pub(crate) fn settle(&mut self, chunk_rows: usize, [scale, shift]: [&[T]; 2]) {
        match self.config.mode {
            BatchNormMode::Training => self.merge_moments(chunk_rows),
            BatchNormMode::Inference => self.running_statistics(),
        }
        let (mean, inverse) = (&self.mean, &self.inverse_deviation);
        self.normaliser.set(|c| Line {
            mean: mean[c],
            slope: scale[c] * inverse[c],
            shift: shift[c],
        });
    }

    /// [`settle`](Self::settle), for which it goes through x.
    pub(crate) fn measure(&mut self, x: &[T], parameters: [&[T]; 2]) {
        let layout = self.layout;
        if self.reads_moments() {
            for_each(
                layout.chunks(),
                self.moments(layout.chunks()),
                |chunk, sums| {
                    layout.moments(&x[layout.range(chunk)], 0, sums);
                },
            );
        }
        self.settle(layout.chunk_rows, parameters);
    }

    /// The mean and variance of the batch: Chan, Golub & LeVeque (1979), pairs of
    /// (mean, Σ(x − mean)²) of blocks, merged in order.
    fn merge_moments(&mut self, chunk_rows: usize) {
        let layout = self.layout;
        let (first, rest) = self.partial_sums.split_at_mut(4 * layout.channels);
        let (mean, squares) = first[..2 * layout.channels].split_at_mut(layout.channels);
        for (before, sums) in (chunk_rows..layout.rows)
            .step_by(chunk_rows)
            .zip(rest.chunks_exact(4 * layout.channels))
        {
            let other = sums[..2 * layout.channels].split_at(layout.channels);
            let rows = chunk_rows.min(layout.rows - before);
            merge(before, (mean, squares), rows, other);
        }
        for c in 0..layout.channels {
            let variance = squares[c] / layout.rows as f64;
            self.mean[c] = T::nearest(mean[c]);
            self.inverse_deviation[c] = T::nearest(1.0 / (variance + self.config.epsilon).sqrt());
            let bessel = squares[c] / (layout.rows.max(2) - 1) as f64;
            // A bad batch must not spoil the averages for good.
            if !(mean[c].is_finite() && bessel.is_finite()) {
                continue;
            }
            let step = |running: T, batch: f64| {
                let decay = self.config.decay;
                T::nearest(decay * running.in_f64() + (1.0 - decay) * batch)
            };
            self.running_mean[c] = step(self.running_mean[c], mean[c]);
            self.running_variance[c] = step(self.running_variance[c], bessel);
        }
    }

    fn running_statistics(&mut self) {
        self.mean.copy_from_slice(&self.running_mean);
        for (inverse, &variance) in self
            .inverse_deviation
            .iter_mut()
            .zip(&self.running_variance)
        {
            *inverse = T::nearest(1.0 / (variance.in_f64() + self.config.epsilon).sqrt());
        }
    }

    /// What normalises x, once [`settle`](Self::settle) has run.
    pub(crate) fn normaliser(&self) -> &Normaliser<T> {
        &self.normaliser
    }

    /// The normaliser, and for each of so many chunks zeros for Σ dy and Σ dy·(x − μ) by channel.
    pub(crate) fn gradient_sums(&mut self, chunks: usize) -> (&Normaliser<T>, ChunksOf<'_, f64>) {
        self.partial_sums.fill(0.0);
        let sums = 4 * self.layout.channels;
        let all = &mut self.partial_sums[..chunks * sums];
        (&self.normaliser, chunks_of(all, sums))
    }

    /// Adds the gradients of scale and shift, which are these operands, and finds dx as a function
    /// of x and dy, after [`gradient_sums`](Self::gradient_sums) were taken.
    pub(crate) fn settle_gradients(
        &mut self,
        dx: &mut crate::Gradients<T>,
        [scale, shift]: [usize; 2],
    ) {
        let channels = self.layout.channels;
        let (total, rest) = self.partial_sums.split_at_mut(4 * channels);
        for sums in rest.chunks_exact(4 * channels) {
            total
                .iter_mut()
                .zip(sums)
                .for_each(|(total, sum)| *total += sum);
        }
        let (by_shift, by_slope) = total[..2 * channels].split_at(channels);
        if let Some(dscale) = dx.of(scale) {
            let terms = by_slope.iter().zip(&self.inverse_deviation);
            dscale.add(terms.map(|(&sum, &inverse)| T::nearest(sum * inverse.in_f64())));
        }
        if let Some(dshift) = dx.of(shift) {
            dshift.add(by_shift.iter().map(|&sum| T::nearest(sum)));
        }
        let counted = match self.config.mode {
            BatchNormMode::Training => 1.0 / self.layout.rows as f64,
            BatchNormMode::Inference => 0.0,
        };
        let inverse = &self.inverse_deviation;
        self.gradients.set(&self.normaliser, |c| {
            // x̂·Σ dy·x̂/n = (x − μ)·tilt
            let inverse = inverse[c].in_f64();
            let tilt = by_slope[c] * counted * inverse * inverse;
            [T::nearest(by_shift[c] * counted), T::nearest(tilt)]
        });
    }

    /// The gradient by x, once [`settle_gradients`](Self::settle_gradients) has run.
    pub(crate) fn gradients(&self) -> &Gradients<T> {
        &self.gradients
    }

    /// dx += the gradient by x of a chunk.
    pub(crate) fn write_gradient(&self, x: &[T], dy: &[T], dx: &mut [T], term: Term) {
        self.gradients
            .differentiate(&self.normaliser, [x, dy], dx, term);
    }
}

impl<T: Real> Op<T> for BatchNorm<T> {
    fn name(&self) -> &'static str {
        if self.relu {
            "batch_norm_relu"
        } else {
            "batch_norm"
        }
    }

    fn set_training(&mut self, training: bool) {
        self.config.mode = match training {
            true => BatchNormMode::Training,
            false => BatchNormMode::Inference,
        };
    }

    fn infer(&mut self, inputs: &[Shape]) -> Result<Shape, String> {
        self.prepare([inputs[0], inputs[1], inputs[2]], 0)?;
        Ok(inputs[0])
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        self.measure(&x[0], [&x[1], &x[2]]);
        let (layout, normaliser, x) = (self.layout, &self.normaliser, &x[0]);
        for_each(layout.chunks(), chunks_of(y, layout.chunk()), |chunk, y| {
            normaliser.normalise(&x[layout.range(chunk)], y);
        });
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut crate::Gradients<T>) {
        let (layout, x) = (self.layout, &x[0]);
        let (normaliser, sums) = self.gradient_sums(layout.chunks());
        for_each(layout.chunks(), sums, |chunk, sums| {
            let range = layout.range(chunk);
            normaliser.add_gradient_sums(&x[range.clone()], &dy[range], sums);
        });
        self.settle_gradients(dx, [1, 2]);
        let Some(dx) = dx.of(0) else { return };
        let (values, term) = dx.parts();
        let chunks = chunks_of(values, layout.chunk());
        for_each(layout.chunks(), chunks, |chunk, dx| {
            let range = layout.range(chunk);
            self.write_gradient(&x[range.clone()], &dy[range], dx, term);
        });
    }
}

impl<T: Real> Var<'_, T> {
    /// (x − mean)/√(variance + ε)·scale + shift, with the mean and variance of each
    /// channel, an element of the last axis; `scale` and `shift` are \[channels\].
    /// [`BatchNorm`] has the details and keeps the running statistics.
    #[track_caller]
    pub fn batch_norm(self, scale: Self, shift: Self, config: BatchNormConfig) -> Self {
        let op = BatchNorm::new(config, false);
        self.graph().apply(op, &[self, scale, shift])
    }

    /// `batch_norm(..).relu()` without keeping what is between the two.
    #[track_caller]
    pub fn batch_norm_relu(self, scale: Self, shift: Self, config: BatchNormConfig) -> Self {
        let op = BatchNorm::new(config, true);
        self.graph().apply(op, &[self, scale, shift])
    }
}

#[cfg(test)]
mod tests;
