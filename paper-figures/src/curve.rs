//! From a series' numbers to the lines and bands that are drawn, in a panel's unit square.
//!
//! Gaps stay gaps, values that a log axis cannot hold lie on its floor, and long series are thinned so that the picture
//! is the same: of the points that share a pixel column, the first, the lowest, the highest and the last are kept.

use crate::{results::Series, scale::Scale};

/// A point of the unit square, `(0, 0)` being the lower left corner.
pub type Point = (f64, f64);

/// A line that travels this many times the panel's height is jagged.
const JAGGED: f64 = 6.0;

/// One series, ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The mean, one entry for each stretch without a gap; a stretch of one point is a dot.
    pub lines: Vec<Vec<Point>>,
    /// The outlines of the band's stretches.
    pub bands: Vec<Vec<Point>>,
    /// Whether the mean goes up and down so often that a thick line would hide what is behind it.
    pub is_jagged: bool,
    /// Where the mean first is at the floor of a log axis, having no other place.
    pub reaches_floor: Option<Point>,
}

impl Curve {
    /// Places `series` on the two axes, for a panel so many pixel columns wide.
    pub fn new(series: &Series, x: &Scale, y: &Scale, columns: usize) -> Self {
        let at = |i: usize, v: f64| (x.position(series.x[i]), y.position(v));
        let mean = stretches(series.x.len(), |i| series.mean[i].map(|v| at(i, v)));
        let edges = stretches(series.x.len(), |i| {
            let (low, high) = series.low[i].zip(series.high[i])?;
            Some((x.position(series.x[i]), y.position(low), y.position(high)))
        });
        let on_floor = |i: &usize| series.mean[*i].is_some_and(|v| y.on_floor(v));
        let lines: Vec<_> = mean.iter().map(|line| thinned(line, columns)).collect();
        Self {
            is_jagged: lines.iter().map(|line| climb(line)).sum::<f64>() > JAGGED,
            lines,
            bands: edges
                .iter()
                .filter(|e| e.len() > 1)
                .map(|e| outline(e, columns))
                .collect(),
            reaches_floor: (0..series.x.len()).find(on_floor).map(|i| at(i, 0.0)),
        }
    }
}

fn climb(line: &[Point]) -> f64 {
    line.windows(2).map(|w| (w[1].1 - w[0].1).abs()).sum()
}

/// The runs of consecutive indices for which `get` has a value.
fn stretches<T>(len: usize, get: impl Fn(usize) -> Option<T>) -> Vec<Vec<T>> {
    let mut all = vec![vec![]];
    for i in 0..len {
        match (get(i), all.last_mut()) {
            (Some(item), Some(current)) => current.push(item),
            _ => all.push(vec![]),
        }
    }
    all.retain(|stretch| !stretch.is_empty());
    all
}

/// The runs of consecutive `items` that share a pixel column.
fn by_column<T>(items: &[T], columns: usize, x: impl Fn(&T) -> f64) -> impl Iterator<Item = &[T]> {
    let column = move |item: &T| (x(item) * columns as f64) as usize;
    items.chunk_by(move |a, b| column(a) == column(b))
}

fn thinned(line: &[Point], columns: usize) -> Vec<Point> {
    if line.len() <= 2 * columns {
        return line.to_vec();
    }
    let mut kept = Vec::with_capacity(4 * columns);
    for group in by_column(line, columns, |p| p.0) {
        let index_of = |best: Option<(usize, &Point)>| best.map_or(0, |(i, _)| i);
        let by_height = |a: &(usize, &Point), b: &(usize, &Point)| a.1.1.total_cmp(&b.1.1);
        let lowest = index_of(group.iter().enumerate().min_by(by_height));
        let highest = index_of(group.iter().enumerate().max_by(by_height));
        let mut indices = [0, lowest.min(highest), lowest.max(highest), group.len() - 1].to_vec();
        indices.dedup();
        kept.extend(indices.into_iter().map(|i| group[i]));
    }
    kept
}

/// The polygon around a band of `(x, low, high)`: its upper edge rightwards, then its lower edge back.
fn outline(edges: &[(f64, f64, f64)], columns: usize) -> Vec<Point> {
    let widest = |group: &[(f64, f64, f64)]| {
        let low = group.iter().fold(f64::INFINITY, |m, e| m.min(e.1));
        let high = group.iter().fold(f64::NEG_INFINITY, |m, e| m.max(e.2));
        [
            (group[0].0, low, high),
            (group[group.len() - 1].0, low, high),
        ]
    };
    let thin: Vec<_> = if edges.len() <= 2 * columns {
        edges.to_vec()
    } else {
        by_column(edges, columns, |e| e.0)
            .flat_map(widest)
            .collect()
    };
    let upper = thin.iter().map(|&(x, _, high)| (x, high));
    let lower = thin.iter().rev().map(|&(x, low, _)| (x, low));
    upper.chain(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{results::ScaleKind, scale::Extent};

    fn series(mean: Vec<Option<f64>>) -> Series {
        Series {
            panel: "a".into(),
            method: "L4Adam".into(),
            x: (0..mean.len()).map(|i| i as f64).collect(),
            low: mean.clone(),
            high: mean.clone(),
            mean,
            n: 5,
            band: "range".into(),
            diverged: vec![],
        }
    }

    fn curve(kind: ScaleKind, mean: Vec<Option<f64>>, columns: usize) -> Curve {
        let x = Scale::new(
            ScaleKind::Linear,
            Extent::of([0.0, mean.len() as f64 - 1.0]),
            false,
        );
        let y = Scale::new(kind, Extent::of(mean.iter().flatten().copied()), true);
        Curve::new(&series(mean), &x, &y, columns)
    }

    #[test]
    fn gaps_split_the_line_and_a_lone_point_remains() {
        let c = curve(
            ScaleKind::Linear,
            vec![Some(1.0), Some(2.0), None, Some(3.0), None, None, Some(1.0)],
            100,
        );
        assert_eq!(c.lines.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(c.bands.len(), 1, "a band needs two points");
        assert_eq!(c.reaches_floor, None);
    }

    #[test]
    fn zero_on_a_log_axis_is_drawn_on_the_floor_and_reported() {
        let c = curve(
            ScaleKind::Log,
            vec![Some(1.0), Some(1e-4), Some(0.0), Some(1e-4), Some(0.0)],
            100,
        );
        assert_eq!(c.lines.len(), 1);
        let heights: Vec<f64> = c.lines[0].iter().map(|p| p.1).collect();
        assert_eq!((heights[2], heights[4]), (0.0, 0.0));
        assert!(heights[3] > 0.05);
        assert_eq!(c.reaches_floor, Some((0.5, 0.0)));
    }

    #[test]
    fn zero_on_a_linear_axis_is_a_value_like_others() {
        assert_eq!(
            curve(ScaleKind::Linear, vec![Some(1.0), Some(0.0)], 100).reaches_floor,
            None
        );
    }

    #[test]
    fn only_a_line_that_keeps_going_up_and_down_is_jagged() {
        let jagged = (0..100).map(|i| Some(f64::from(i % 2))).collect();
        assert!(curve(ScaleKind::Linear, jagged, 100).is_jagged);
        let monotone = (0..100).map(|i| Some(f64::from(i))).collect();
        assert!(!curve(ScaleKind::Linear, monotone, 100).is_jagged);
    }

    #[test]
    fn thinning_keeps_every_columns_extremes() {
        let mut mean: Vec<Option<f64>> = (0..100_000)
            .map(|i| Some(((i * 37) % 101) as f64))
            .collect();
        mean[54_321] = Some(500.0);
        mean[54_322] = Some(-500.0);
        let c = curve(ScaleKind::Linear, mean, 200);
        let line = &c.lines[0];
        assert!(line.len() <= 4 * 201, "{}", line.len());
        let highest = line.iter().map(|p| p.1).fold(0.0, f64::max);
        let lowest = line.iter().map(|p| p.1).fold(1.0, f64::min);
        assert!(
            (highest - lowest - 1.0 / 1.08).abs() < 1e-9,
            "the spikes survive: {lowest}..{highest}"
        );
        assert!(line.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(c.bands[0].len() <= 4 * 201);
    }
}
