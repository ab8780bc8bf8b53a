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

use crate::kernels::channels::{Layout, Lines, Panel, merge};
use crate::parallel::{chunks_of, for_each};
use crate::{Error, Gradients, Inputs, Op, Real, Shape, Var};

/// What batch normalisation normalises by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The batch's own mean and variance; every forward pass also moves the running
    /// ones towards them.
    Training,
    /// The running mean and variance.
    Inference,
}

/// The constants of batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// What the mean and variance are those of.
    pub mode: BatchNormMode,
    /// running ← decay · running + (1 − decay) · batch.
    pub decay: f64,
    /// ε, added to the variance.
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
    /// By chunk: four sums by channel.
    partial_sums: Vec<f64>,
}

impl<T: Real> BatchNorm<T> {
    fn new(config: BatchNormConfig, relu: bool) -> Self {
        Self {
            config,
            relu,
            layout: Layout::default(),
            running_mean: Vec::new(),
            running_variance: Vec::new(),
            mean: Vec::new(),
            inverse_deviation: Vec::new(),
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
    /// [`Error::Length`] if there is not one of each for every channel.
    pub fn set_running(&mut self, mean: &[T], variance: &[T]) -> Result<(), Error> {
        let expected = self.layout.channels;
        for (what, found) in [
            ("running means", mean.len()),
            ("running variances", variance.len()),
        ] {
            Error::check_length(what, expected, found)?;
        }
        self.running_mean.copy_from_slice(mean);
        self.running_variance.copy_from_slice(variance);
        Ok(())
    }

    /// The mean and variance of the batch: Chan, Golub & LeVeque (1979), pairs of
    /// (mean, Σ(x − mean)²) of blocks, merged in order.
    fn batch_statistics(&mut self, x: &[T]) {
        let layout = self.layout;
        let sums = chunks_of(&mut self.partial_sums, 4 * layout.channels);
        for_each(layout.chunks(), sums, |chunk, sums| {
            let (merged, block) = sums.split_at_mut(2 * layout.channels);
            layout.moments(&x[layout.range(chunk)], merged, block);
        });
        let (first, rest) = self.partial_sums.split_at_mut(4 * layout.channels);
        let (mean, squares) = first[..2 * layout.channels].split_at_mut(layout.channels);
        for (chunk, sums) in (1..).zip(rest.chunks_exact(4 * layout.channels)) {
            let other = sums[..2 * layout.channels].split_at(layout.channels);
            let before = chunk * layout.chunk_rows;
            let rows = layout.range(chunk).len() / layout.channels;
            merge(before, (mean, squares), rows, other);
        }
        for c in 0..layout.channels {
            let variance = squares[c] / layout.rows as f64;
            self.mean[c] = T::nearest(mean[c]);
            self.inverse_deviation[c] = T::nearest(1.0 / (variance + self.config.epsilon).sqrt());
            let bessel = squares[c] / (layout.rows.max(2) - 1) as f64;
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

    fn lines(&self, panel: Panel, scale: &[T], shift: &[T]) -> Lines<T> {
        let spread = |c: &dyn Fn(usize) -> T| self.layout.spread(panel, c);
        Lines {
            mean: spread(&|c| self.mean[c]),
            slope: spread(&|c| scale[c] * self.inverse_deviation[c]),
            shift: spread(&|c| shift[c]),
        }
    }

    /// Σ dy and Σ dy·(x − μ), by channel, as the first two sums of chunk 0.
    fn gradient_sums(&mut self, x: &Inputs<T>, dy: &[T]) {
        let mut partial_sums = std::mem::take(&mut self.partial_sums);
        let (layout, relu) = (self.layout, self.relu);
        let (x, scale, shift) = (&x[0], &x[1], &x[2]);
        let sums = chunks_of(&mut partial_sums, 4 * layout.channels);
        for_each(layout.chunks(), sums, |chunk, sums| {
            let range = layout.range(chunk);
            let (x, dy) = (&x[range.clone()], &dy[range]);
            sums.fill(0.0);
            let (by_shift, by_slope) = sums.split_at_mut(layout.channels);
            for panel in layout.panels() {
                let lines = self.lines(panel, scale, shift);
                for (x, dy) in x.chunks(layout.block).zip(dy.chunks(layout.block)) {
                    let [a, b] = panel.gradient_sums(x, dy, &lines, relu);
                    layout.fold(panel, &a, by_shift);
                    layout.fold(panel, &b, by_slope);
                }
            }
        });
        let (first, rest) = partial_sums.split_at_mut(4 * layout.channels);
        for sums in rest.chunks_exact(4 * layout.channels) {
            first
                .iter_mut()
                .zip(sums)
                .for_each(|(total, sum)| *total += sum);
        }
        self.partial_sums = partial_sums;
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
        let [x, scale, shift] = [inputs[0], inputs[1], inputs[2]];
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
        self.partial_sums = vec![0.0; self.layout.chunks() * 4 * channels];
        Ok(x)
    }

    fn forward(&mut self, x: &Inputs<T>, y: &mut [T]) {
        match self.config.mode {
            BatchNormMode::Training => self.batch_statistics(&x[0]),
            BatchNormMode::Inference => self.running_statistics(),
        }
        let (layout, relu) = (self.layout, self.relu);
        let (x, scale, shift) = (&x[0], &x[1], &x[2]);
        for_each(layout.chunks(), chunks_of(y, layout.chunk()), |chunk, y| {
            let x = &x[layout.range(chunk)];
            for panel in layout.panels() {
                panel.normalise(x, &self.lines(panel, scale, shift), relu, y);
            }
        });
    }

    fn backward(&mut self, x: &Inputs<T>, _: &[T], dy: &[T], dx: &mut Gradients<T>) {
        self.gradient_sums(x, dy);
        let (layout, relu) = (self.layout, self.relu);
        let sums = self.partial_sums[..2 * layout.channels].split_at(layout.channels);
        let (by_shift, by_slope) = sums;
        if let Some(dscale) = dx.of(1) {
            let terms = by_slope.iter().zip(&self.inverse_deviation);
            dscale.add(terms.map(|(&sum, &inverse)| T::nearest(sum * inverse.in_f64())));
        }
        if let Some(dshift) = dx.of(2) {
            dshift.add(by_shift.iter().map(|&sum| T::nearest(sum)));
        }
        let Some(dx) = dx.of(0) else { return };
        let counted = match self.config.mode {
            BatchNormMode::Training => 1.0 / layout.rows as f64,
            BatchNormMode::Inference => 0.0,
        };
        let (x, scale, shift) = (&x[0], &x[1], &x[2]);
        let (values, term) = dx.parts();
        let chunks = chunks_of(values, layout.chunk());
        for_each(layout.chunks(), chunks, |chunk, values| {
            let range = layout.range(chunk);
            let (x, dy) = (&x[range.clone()], &dy[range]);
            for panel in layout.panels() {
                let lines = self.lines(panel, scale, shift);
                let mean_dy = layout.spread(panel, |c| T::nearest(by_shift[c] * counted));
                // x̂·Σ dy·x̂/n = (x − μ)·tilt
                let tilt = layout.spread(panel, |c| {
                    let inverse = self.inverse_deviation[c].in_f64();
                    T::nearest(by_slope[c] * counted * inverse * inverse)
                });
                panel.gradient(x, dy, &lines, [&mean_dy, &tilt], relu, values, term);
            }
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
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradients, error_of, evaluate, numbers};
    use crate::{Params, Slot, Tape};

    const TRAINING: BatchNormConfig = BatchNormConfig {
        mode: BatchNormMode::Training,
        decay: 0.9,
        epsilon: 0.25,
    };
    const INFERENCE: BatchNormConfig = BatchNormConfig {
        mode: BatchNormMode::Inference,
        ..TRAINING
    };

    type Operands<'a> = [(&'a [usize], &'a [f64]); 3];

    #[test]
    fn value() {
        // The second channel has mean 3, variance 2: deviations of ±2, ±1, 0 over 1.5.
        let x = [0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 5.0];
        let operands: Operands = [(&[5, 2], &x), (&[2], &[1.0, 3.0]), (&[2], &[0.5, 1.0])];
        let y = evaluate(&operands, |v| v[0].batch_norm(v[1], v[2], TRAINING));
        let expected = [0.5, -3.0, 0.5, -1.0, 0.5, 1.0, 0.5, 3.0, 0.5, 5.0];
        assert_close(&y, &expected, 1e-15, "y");
        let y = evaluate(&operands, |v| v[0].batch_norm_relu(v[1], v[2], TRAINING));
        assert_close(&y, &expected.map(|y| y.max(0.0)), 1e-15, "cut off");
    }

    /// Rows that fill lanes, that share them with others, and that need two panels.
    #[test]
    fn gradients() {
        for shape in [
            &[13, 3][..],
            &[2, 3, 3, 16],
            &[7, 1],
            &[3, 67],
            &[2, 130],
            &[9],
        ] {
            let channels = *shape.last().unwrap();
            let all = numbers(shape.iter().product::<usize>() + 2 * channels);
            let (x, rest) = all.split_at(all.len() - 2 * channels);
            let (scale, shift) = rest.split_at(channels);
            let operands: Operands = [(shape, x), (&[channels], scale), (&[channels], shift)];
            for config in [TRAINING, INFERENCE] {
                assert_gradients(&operands, |v| v[0].batch_norm(v[1], v[2], config));
                assert_gradients(&operands, |v| v[0].batch_norm_relu(v[1], v[2], config));
            }
            let fused = evaluate(&operands, |v| v[0].batch_norm(v[1], v[2], TRAINING));
            let composed = evaluate(&operands, |v| {
                let x = v[0].reshape([v[0].recorded_shape().elements() / channels, channels]);
                let deviations = x - x.mean_keep(&[0]);
                let variance = deviations.square().mean_keep(&[0]);
                deviations / (variance + 0.25).sqrt() * v[1] + v[2]
            });
            assert_close(&fused, &composed, 1e-13, "composed");
        }
    }

    #[test]
    fn gradients_add_to_those_of_other_users() {
        let x = numbers(33);
        let operands: Operands = [(&[11, 3], &x), (&[3], &[1.0, -2.0, 0.5]), (&[3], &[0.1; 3])];
        assert_gradients(&operands, |v| {
            v[0].batch_norm_relu(v[1], v[2], TRAINING) + v[0] * v[1] + v[2]
        });
    }

    /// Batch normalisation of data, with its slot and that of the data.
    fn record(shape: [usize; 2], config: BatchNormConfig) -> (Tape<f32>, Slot, Slot) {
        let (tape, [x, y]) = crate::record(|g| {
            let x = g.input(shape);
            let channels = shape[1];
            let scale = g.constant([channels], &vec![1.0; channels]);
            let shift = g.constant([channels], &vec![0.0; channels]);
            Ok([x, x.batch_norm(scale, shift, config)])
        })
        .unwrap();
        (tape, x, y)
    }

    #[test]
    fn running_statistics_follow_the_batches() {
        let none = Params::new();
        let (mut tape, x, y) = record([4, 1], TRAINING);
        // Mean 3, and a variance of 20/3 after Bessel.
        tape.set(x, &[0.0, 2.0, 4.0, 6.0]).unwrap();
        tape.forward(&none).unwrap();
        tape.forward(&none).unwrap();
        let op = tape.op_mut::<BatchNorm<f32>>(y).unwrap();
        let mean = 0.9 * 0.3 + 0.3;
        let variance = 0.9 * (0.9 + 0.1 * 20.0 / 3.0) + 0.1 * 20.0 / 3.0;
        assert!((op.running_mean()[0] - mean).abs() < 1e-6);
        assert!((op.running_variance()[0] - variance).abs() < 1e-6);
        let (mean, variance) = (op.running_mean().to_vec(), op.running_variance().to_vec());

        let (mut tape, x, y) = record([1, 1], INFERENCE);
        let op = tape.op_mut::<BatchNorm<f32>>(y).unwrap();
        op.set_running(&mean, &variance).unwrap();
        assert!(op.set_running(&mean, &[]).is_err(), "no variance");
        tape.set(x, &[2.0]).unwrap();
        let pass = tape.forward(&none).unwrap();
        let expected = (2.0 - mean[0]) / (variance[0] + 0.25).sqrt();
        assert!((pass.value(y).unwrap()[0] - expected).abs() < 1e-6);
    }

    /// 70,001 rows around 1000 with a deviation of 1: squares summed in f32 around any
    /// point far from the mean would leave nothing of the variance.
    #[test]
    fn statistics_are_accurate_in_f32() {
        for channels in [1, 3, 16, 70] {
            let none = Params::new();
            let (mut tape, x, y) = record([70_001, channels], TRAINING);
            let data: Vec<f32> = numbers(70_001 * channels)
                .iter()
                .map(|x| (1000.0 + x) as f32)
                .collect();
            tape.set(x, &data).unwrap();
            tape.forward(&none).unwrap();
            let op = tape.op_mut::<BatchNorm<f32>>(y).unwrap();
            for c in 0..channels {
                let column = || data[c..].iter().step_by(channels).map(|&x| f64::from(x));
                let mean = column().sum::<f64>() / 70_001.0;
                let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / 70_001.0;
                let inverse = 1.0 / (variance + 0.25).sqrt();
                assert!(
                    (f64::from(op.mean[c]) - mean).abs() < 1e-4,
                    "{channels}: mean"
                );
                let found = f64::from(op.inverse_deviation[c]);
                assert!(
                    (found / inverse - 1.0).abs() < 1e-6,
                    "{channels}: {found} for {inverse}"
                );
            }
        }
    }

    #[test]
    fn wrong_shapes_are_errors() {
        for (x, scale, shift) in [([0, 2], 2, 2), ([4, 2], 3, 2), ([4, 2], 2, 1)] {
            let error = error_of(|g| {
                g.input(x)
                    .batch_norm(g.input([scale]), g.input([shift]), TRAINING)
            });
            assert!(error.starts_with("batch_norm of ["), "{error}");
        }
    }

    #[test]
    fn constants_that_are_none_are_errors() {
        let message = |decay, epsilon| {
            let config = BatchNormConfig {
                decay,
                epsilon,
                ..TRAINING
            };
            error_of(|g| {
                g.input([4, 2])
                    .batch_norm(g.input([2]), g.input([2]), config)
            })
        };
        for epsilon in [-1.0, f64::NAN, f64::INFINITY] {
            let message = message(0.9, epsilon);
            assert!(message.contains("ε must be finite"), "{message}");
        }
        for decay in [-0.1, 1.1, f64::NAN] {
            let message = message(decay, 1e-5);
            assert!(message.contains("the decay must be"), "{message}");
        }
    }
}
