//! Figure 1: the update rule, Eq. (1) to (3), drawn on two losses of one parameter.

use anyhow::{Context, Result};
use l4::{Optimizer, Setting, stepsize};

use crate::report::Report;
use crate::results::{Axes, Axis, Figure, Series, Style};

/// A convex loss of one parameter, and where the step is made from.
struct Loss {
    panel: &'static str,
    title: &'static str,
    loss: fn(f64) -> f64,
    slope: fn(f64) -> f64,
    /// θ before the step.
    theta: f64,
    /// The least loss so far, Lmin.
    l_min: f64,
    /// What is drawn.
    range: (f64, f64),
}

const LOSSES: [Loss; 2] = [
    Loss {
        panel: "a",
        title: "L = θ²/2 + 1",
        loss: |x| 0.5 * x * x + 1.0,
        slope: |x| x,
        theta: 3.0,
        l_min: 1.2,
        range: (-1.0, 3.6),
    },
    Loss {
        panel: "b",
        title: "L = log(1 + exp θ) + exp(−θ)/4",
        loss: |x| x.exp().ln_1p() + 0.25 * (-x).exp(),
        slope: |x| 1.0 / (1.0 + (-x).exp()) - 0.25 * (-x).exp(),
        theta: 3.0,
        l_min: 1.0,
        range: (-2.0, 4.0),
    },
];

/// Places at which a curve is drawn.
const POINTS: u32 = 120;

/// A setting of L4's default.
fn default(name: &str) -> Result<f64> {
    match l4::L4Mom::<f64>::new().settings().get(name) {
        Some(&Setting::Number(value)) => Ok(value),
        _ => anyhow::bail!("L4 has no setting {name}"),
    }
}

/// The loss, its tangent at θ, the level γ·Lmin that it is taken to reach, the step to where the tangent meets that level, and
/// the fraction α of it that is made; all computed by [`stepsize`].
///
/// # Errors
/// If L4 does not tell its constants.
pub fn figure1(report: &Report) -> Result<Figure> {
    let (alpha, gamma) = (default("alpha")?, default("gamma")?);
    let mut series = Vec::new();
    for loss in &LOSSES {
        series.extend(panel(loss, alpha, gamma).context(loss.title)?);
    }
    let axes = LOSSES.iter().map(|loss| Axes {
        panel: loss.panel.to_owned(),
        title: loss.title.to_owned(),
        x: Axis::linear("θ"),
        y: Axis::linear("loss"),
    });
    let title = "What L4 does: the loss is linearised along the update direction, here the gradient; the tangent meets the level \
                 γ·Lmin after the full step of Eq. (2); the fraction α of it is made, Eq. (3)";
    Ok(Figure {
        header: report.header("figure1", title),
        axes: axes.collect(),
        series,
    })
}

fn panel(drawn: &Loss, alpha: f64, gamma: f64) -> Result<Vec<Series>> {
    let &Loss {
        panel,
        loss,
        slope,
        theta,
        l_min,
        range: (low, high),
        ..
    } = drawn;
    let (value, gradient) = (loss(theta), slope(theta));
    let level = gamma * l_min;
    let moved = |alpha| theta - stepsize(alpha, value, level, gradient * gradient, 0.0) * gradient;
    let (full, made) = (moved(1.0), moved(alpha));
    let at = |k: u32| low + (high - low) * f64::from(k) / f64::from(POINTS);
    let curve: Vec<(f64, f64)> = (0..=POINTS).map(|k| (at(k), loss(at(k)))).collect();
    let start = (theta, value);
    let tangent = [start, (full, level)];
    Ok(vec![
        Series::computed(panel, "loss L", Style::Line, &curve),
        Series::computed(panel, "tangent at θ", Style::Dashed, &tangent),
        Series::computed(
            panel,
            "level γ·Lmin",
            Style::Dashed,
            &[(low, level), (high, level)],
        ),
        Series::computed(
            panel,
            "full step",
            Style::Arrow,
            &[(theta, level), (full, level)],
        ),
        Series::computed(
            panel,
            "step of L4, a fraction α of it",
            Style::Arrow,
            &[start, (made, value)],
        ),
        Series::computed(
            panel,
            "before and after the step",
            Style::Point,
            &[start, (made, loss(made))],
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_step_ends_where_the_tangent_meets_the_level() {
        for loss in &LOSSES {
            let series = panel(loss, 0.15, 0.9).unwrap();
            let step = |name: &str| {
                let found = series
                    .iter()
                    .find(|series| series.method.starts_with(name))
                    .unwrap();
                (found.x[1], found.mean[1])
            };
            let (full, level) = step("full");
            let tangent = (loss.loss)(loss.theta) + (loss.slope)(loss.theta) * (full - loss.theta);
            assert!((tangent - 0.9 * loss.l_min).abs() < 1e-12 && (level - tangent).abs() < 1e-12);
            let (made, _) = step("step of L4");
            assert!(((loss.theta - made) / (loss.theta - full) - 0.15).abs() < 1e-12);
            let epsilon = 1e-6;
            let slope = ((loss.loss)(1.0 + epsilon) - (loss.loss)(1.0 - epsilon)) / (2.0 * epsilon);
            assert!((slope - (loss.slope)(1.0)).abs() < 1e-6);
        }
    }
}
