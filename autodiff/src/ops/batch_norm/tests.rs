//! Values, gradients, statistics and errors of batch normalisation.

use super::*;
use crate::testing::{
    assert_close, assert_gradients, error_of, evaluate, numbers, value_and_gradient,
};
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
        assert_close(&fused, &evaluate(&operands, composed), 1e-13, "composed");
    }
}

/// Of other operations only.
fn composed<'g>(v: &[Var<'g, f64>]) -> Var<'g, f64> {
    let (elements, channels) = [v[0], v[1]].map(|v| v.recorded_shape().elements()).into();
    let x = v[0].reshape([elements / channels, channels]);
    let deviations = x - x.mean_keep(&[0]);
    let variance = deviations.square().mean_keep(&[0]);
    deviations / (variance + 0.25).sqrt() * v[1] + v[2]
}

/// Whose sums are those of several chunks.
#[test]
fn gradients_of_many_rows() {
    const ROWS: usize = 70_001;
    let x = numbers(3 * ROWS);
    let operands: Operands = [
        (&[ROWS, 3], &x),
        (&[3], &[1.0, -2.0, 0.5]),
        (&[3], &[0.1; 3]),
    ];
    let gradient = |f: for<'g> fn(&[Var<'g, f64>]) -> Var<'g, f64>| {
        value_and_gradient(&operands, |v| {
            let y = f(v);
            (y * v[0].sin() + y.relu()).sum()
        })
        .1
    };
    let expected = gradient(composed);
    let found = gradient(|v| v[0].batch_norm(v[1], v[2], TRAINING));
    assert_close(&found, &expected, 1e-11, "batch_norm");
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
    for (mean, variance) in [(f32::NAN, 1.0), (0.0, -1.0), (0.0, f32::INFINITY)] {
        let error = op.set_running(&[mean], &[variance]).unwrap_err();
        assert!(matches!(error, crate::Error::Value { .. }), "{error}");
    }
    tape.set(x, &[2.0]).unwrap();
    let pass = tape.forward(&none).unwrap();
    let expected = (2.0 - mean[0]) / (variance[0] + 0.25).sqrt();
    assert!((pass.value(y).unwrap()[0] - expected).abs() < 1e-6);
}

#[test]
fn a_bad_batch_leaves_the_running_statistics() {
    let none = Params::new();
    let (mut tape, x, y) = record([4, 2], TRAINING);
    let bad = [f32::NAN, 0.0, 2.0, 2.0, 4.0, 4.0, 6.0, 6.0];
    tape.set(x, &bad).unwrap();
    tape.forward(&none).unwrap();
    let op = tape.op::<BatchNorm<f32>>(y).unwrap();
    assert_eq!((op.running_mean()[0], op.running_variance()[0]), (0.0, 1.0));
    assert!(op.running_mean()[1] > 0.0, "the other channel's move");
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
