//! Our crates against implementations that share no line with them: NumPy and PyTorch.
//!
//! Each module stands beside the Python script of the same name and the JSON that the script wrote, with the versions of
//! what wrote it. The scripts are written from formulas: the paper's, TensorFlow's for the
//! baselines, for the DNC those of Graves et al. and DeepMind's code; `authors.py` alone calls others' programs. They are not
//! run here: the tests compare with the committed numbers. Both sides draw their problems from one integer generator, in `lcg.py` and [`lcg`], and
//! so start from the same bits; what differs from there on is rounding, or a mistake. (`dnc_momentum.py` stands alone: what it
//! found is told in `repro/reference/section3_4/reading.md`.)

mod authors;
mod dnc;
mod lcg;
mod mnist_l4;
mod networks;
mod ops;
mod regression;

/// Panics unless `found` is within `tolerance`, relative to `expected`.
#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs(),
        "{what}: found {found:e}, expected {expected:e}: off by {:.1e} of it, more than {tolerance:.1e}",
        error / expected.abs(),
    );
}

/// Panics unless `weights` have this norm and begin with `first`, within `tolerance` relative to the norm.
#[track_caller]
fn assert_weights(what: &str, weights: &[f64], norm: f64, first: &[f64], tolerance: f64) {
    let found = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
    assert_near(&format!("{what}, norm"), found, norm, tolerance);
    for (k, (found, expected)) in weights.iter().zip(first).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * norm,
            "{what}, weight {k}: found {found:e}, expected {expected:e}, more than {tolerance:.1e} of the norm apart"
        );
    }
}
