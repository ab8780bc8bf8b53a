//! From a series' numbers to the lines and bands that are drawn, in a panel's unit square.
//!
//! Values that a log axis cannot hold lie on its floor, and long series are thinned so that the picture
//! is the same: of the points that share a pixel column, the first, the lowest, the highest and the last are kept.

use crate::{
    results::{Series, Style},
    scale::Scale,
};

/// A point of the unit square, `(0, 0)` being the lower left corner.
pub type Point = (f64, f64);

/// A line that travels this many times the panel's height is jagged.
const JAGGED: f64 = 6.0;

/// One series, ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The mean; a single point is a dot.
    pub line: Vec<Point>,
    /// The band's outline; empty without one, or where it has a single point.
    pub band: Vec<Point>,
    /// Whether the mean goes up and down so often that a thick line would hide what is behind it.
    pub is_jagged: bool,
    /// For each point, the ends of its bar.
    pub bars: Vec<[Point; 2]>,
    /// Where on the horizontal axis the mean is infinite.
    pub infinite: Vec<f64>,
    /// Where the mean first is at the floor of a log axis, having no other place.
    pub reaches_floor: Option<Point>,
}

impl Curve {
    /// Places `series` on the two axes, for a panel so many pixel columns wide.
    pub fn new(series: &Series, x: &Scale, y: &Scale, columns: usize) -> Self {
        let at = |i: usize, v: f64| (x.position(series.x[i]), y.position(v));
        let mean: Vec<Point> = series
            .mean
            .iter()
            .enumerate()
            .map(|(i, &v)| at(i, v))
            .collect();
        let edges: Vec<_> = series
            .low
            .iter()
            .zip(&series.high)
            .zip(&series.x)
            .map(|((&low, &high), &at)| (x.position(at), y.position(low), y.position(high)))
            .collect();
        // What is drawn from place to place may go back, and is not long.
        let line = match series.style {
            Style::Curve => thinned(&mean, columns),
            _ => mean,
        };
        let floor = series.mean.iter().position(|&v| y.on_floor(v));
        Self {
            is_jagged: climb(&line) > JAGGED,
            line,
            band: match edges.len() {
                0 | 1 => Vec::new(),
                _ => outline(&edges, columns),
            },
            bars: edges
                .iter()
                .map(|&(x, low, high)| [(x, low), (x, high)])
                .collect(),
            infinite: series.infinite.iter().map(|&at| x.position(at)).collect(),
            reaches_floor: floor.map(|i| at(i, 0.0)),
        }
    }
}

fn climb(line: &[Point]) -> f64 {
    line.windows(2).map(|w| (w[1].1 - w[0].1).abs()).sum()
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
    use crate::{results::Scale as Spacing, scale::Extent};

    fn series(mean: Vec<f64>) -> Series {
        Series {
            x: (0..mean.len()).map(|i| i as f64).collect(),
            low: mean.clone(),
            high: mean.clone(),
            mean,
            n: 5,
            ..Series::computed("a", "L4Adam", Style::Curve, &[])
        }
    }

    fn curve(kind: Spacing, mean: Vec<f64>, columns: usize) -> Curve {
        let x = Scale::new(
            Spacing::Linear,
            Extent::of([0.0, mean.len() as f64 - 1.0]),
            false,
        );
        let y = Scale::new(kind, Extent::of(mean.iter().copied()), true);
        Curve::new(&series(mean), &x, &y, columns)
    }

    #[test]
    fn a_band_needs_two_points() {
        assert!(curve(Spacing::Linear, vec![1.0], 100).band.is_empty());
        assert_eq!(curve(Spacing::Linear, vec![1.0, 2.0], 100).band.len(), 4);
    }

    #[test]
    fn zero_on_a_log_axis_is_drawn_on_the_floor_and_reported() {
        let c = curve(Spacing::Log, vec![1.0, 1e-4, 0.0, 1e-4, 0.0], 100);
        let heights: Vec<f64> = c.line.iter().map(|p| p.1).collect();
        assert_eq!((heights[2], heights[4]), (0.0, 0.0));
        assert!(heights[3] > 0.05);
        assert_eq!(c.reaches_floor, Some((0.5, 0.0)));
    }

    #[test]
    fn zero_on_a_linear_axis_is_a_value_like_others() {
        assert_eq!(
            curve(Spacing::Linear, vec![1.0, 0.0], 100).reaches_floor,
            None
        );
    }

    #[test]
    fn only_a_line_that_keeps_going_up_and_down_is_jagged() {
        let jagged = (0..100).map(|i| f64::from(i % 2)).collect();
        assert!(curve(Spacing::Linear, jagged, 100).is_jagged);
        let monotone = (0..100).map(f64::from).collect();
        assert!(!curve(Spacing::Linear, monotone, 100).is_jagged);
    }

    #[test]
    fn thinning_keeps_every_columns_extremes() {
        let mut mean: Vec<f64> = (0..100_000).map(|i| ((i * 37) % 101) as f64).collect();
        mean[54_321] = 500.0;
        mean[54_322] = -500.0;
        let c = curve(Spacing::Linear, mean, 200);
        let line = &c.line;
        assert!(line.len() <= 4 * 201, "{}", line.len());
        let highest = line.iter().map(|p| p.1).fold(0.0, f64::max);
        let lowest = line.iter().map(|p| p.1).fold(1.0, f64::min);
        assert!(
            (highest - lowest - 1.0 / 1.08).abs() < 1e-9,
            "the spikes survive: {lowest}..{highest}"
        );
        assert!(line.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(c.band.len() <= 4 * 201);
    }
}
