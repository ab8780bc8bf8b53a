//! Dashes that survive noise.
//!
//! Dashes measured along a jagged line shrink to nothing, because most of its length goes up and down. Here they are
//! measured along the line's trend: the line with its height averaged twice over [`WINDOW`]. A line that only rises or only falls
//! has no noise, and is its own trend. A peak is narrow along the trend, and would be missing where it falls into a gap: what stands
//! out from the trend is inked in any case.

use crate::canvas::{Position, points};

/// The horizontal distance over which the trend averages, in points.
const WINDOW: f64 = 6.0;
/// A point stands out if it is so many points away from the trend,
const PEAK: f64 = 4.0;
/// and so many times as far as half of the line's points are: noise is no peak.
const PEAK_OF_NOISE: f64 = 3.0;

/// The pieces of `path` that are inked, for dashes and gaps of the given lengths in units.
pub fn pieces(path: &[Position], dash: i32, gap: i32) -> Vec<Vec<Position>> {
    let period = f64::from((dash + gap).max(1));
    let inked = |s: f64| s.rem_euclid(period) < f64::from(dash);
    let trend = Trend::of(path);
    let mut pieces: Vec<Vec<Position>> = vec![];
    let mut is_open = false;
    for (i, ends) in path.windows(2).enumerate() {
        let lengths = &trend.lengths[i..i + 2];
        let is_peak = trend.stands_out[i] || trend.stands_out[i + 1];
        let cuts = match is_peak {
            true => vec![(lengths[0], lengths[1])],
            false => cuts(lengths[0], lengths[1], f64::from(dash), period),
        };
        for (from, to) in cuts {
            if !is_peak && !inked(0.5 * (from + to)) {
                is_open = false;
                continue;
            }
            let share = |s: f64| {
                if lengths[1] > lengths[0] {
                    (s - lengths[0]) / (lengths[1] - lengths[0])
                } else {
                    1.0
                }
            };
            match pieces.last_mut().filter(|_| is_open) {
                Some(piece) => piece.push(between(ends, share(to))),
                None => pieces.push(vec![
                    between(ends, if to > from { share(from) } else { 0.0 }),
                    between(ends, share(to)),
                ]),
            }
            is_open = true;
        }
    }
    pieces
}

/// The parts of `from..=to` between the places where ink begins or ends.
fn cuts(from: f64, to: f64, dash: f64, period: f64) -> Vec<(f64, f64)> {
    let (first, last) = ((from / period).floor() as i64, (to / period).floor() as i64);
    let edges = (first..=last).flat_map(|i| [i as f64 * period, i as f64 * period + dash]);
    let inside = edges.filter(|&edge| from < edge && edge < to);
    let stops: Vec<f64> = std::iter::once(from).chain(inside).chain([to]).collect();
    stops.windows(2).map(|w| (w[0], w[1])).collect()
}

fn between(ends: &[Position], share: f64) -> Position {
    let mix = |a: i32, b: i32| (f64::from(a) + share * f64::from(b - a)).round() as i32;
    (mix(ends[0].0, ends[1].0), mix(ends[0].1, ends[1].1))
}

/// Where a line goes but for its noise.
struct Trend {
    /// The length of the trend from the first point to each.
    lengths: Vec<f64>,
    /// Whether the line is far from it at each point.
    stands_out: Vec<bool>,
}

impl Trend {
    fn of(path: &[Position]) -> Self {
        let line: Vec<f64> = path.iter().map(|&(_, y)| f64::from(y)).collect();
        let heights = match line.is_sorted() || line.iter().rev().is_sorted() {
            true => line.clone(),
            // Twice, because one average still jumps whenever a spike enters or leaves its window.
            false => averaged(path, &averaged(path, &line)),
        };
        let mut length = 0.0;
        let mut lengths = vec![0.0];
        for (ends, height) in path.windows(2).zip(heights.windows(2)) {
            length += f64::from(ends[1].0 - ends[0].0).hypot(height[1] - height[0]);
            lengths.push(length);
        }
        let away = line
            .iter()
            .zip(&heights)
            .map(|(y, trend)| (y - trend).abs());
        let away: Vec<f64> = away.collect();
        let mut sorted = away.clone();
        sorted.sort_by(f64::total_cmp);
        let noise = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let far = (PEAK_OF_NOISE * noise).max(f64::from(points(PEAK)));
        Self {
            lengths,
            stands_out: away.into_iter().map(|away| away > far).collect(),
        }
    }
}

/// For each point, the mean of `heights` over the points within half a window of it.
fn averaged(path: &[Position], heights: &[f64]) -> Vec<f64> {
    let half = points(0.5 * WINDOW);
    let (mut start, mut end, mut sum) = (0, 0, 0.0);
    path.iter()
        .map(|&(x, _)| {
            while end < path.len() && path[end].0 <= x + half {
                sum += heights[end];
                end += 1;
            }
            while path[start].0 < x - half {
                sum -= heights[start];
                start += 1;
            }
            sum / (end - start) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_cut_by_its_length() {
        let cut = pieces(&[(0, 0), (100, 0)], 30, 20);
        assert_eq!(cut, [vec![(0, 0), (30, 0)], vec![(50, 0), (80, 0)]]);
    }

    #[test]
    fn a_dash_bends_with_its_line() {
        let cut = pieces(&[(0, 0), (300, 0), (600, 0), (900, 0)], 400, 100);
        assert_eq!(
            cut,
            [
                vec![(0, 0), (300, 0), (400, 0)],
                vec![(500, 0), (600, 0), (900, 0)]
            ]
        );
    }

    #[test]
    fn noise_does_not_shorten_the_dashes() {
        let jagged: Vec<Position> = (0..1000)
            .map(|i| (2 * i, if i % 2 == 0 { 0 } else { 100 }))
            .collect();
        let cut = pieces(&jagged, 60, 40);
        assert!((19..=21).contains(&cut.len()), "{}", cut.len());
        let spans = cut
            .iter()
            .map(|piece| piece[piece.len() - 1].0 - piece[0].0);
        assert!(spans.clone().max() <= Some(62), "{:?}", spans.max());
    }

    #[test]
    fn stairs_are_dashed_on_their_risers_too() {
        let cut = pieces(&[(0, 0), (10, 0), (10, 100)], 30, 20);
        assert_eq!(cut[0], [(0, 0), (10, 0), (10, 20)]);
        assert_eq!(cut[1], [(10, 40), (10, 70)]);
    }

    #[test]
    fn a_peak_in_a_gap_is_inked() {
        // Six points in each dash and in each gap: of ten peaks some fall into gaps.
        let mut path: Vec<Position> = (0..400).map(|i| (5 * i, 1000 + i % 3)).collect();
        for peak in (7..400).step_by(40) {
            path[peak].1 = 200;
        }
        let inked: Vec<Position> = pieces(&path, 30, 30).concat();
        for peak in (7..400).step_by(40) {
            assert!(inked.contains(&path[peak]), "{peak}");
        }
        assert!(inked.len() < 350, "the rest is still dashed");
    }

    #[test]
    fn vertical_strokes_belong_to_the_dash_they_are_in() {
        let path = vec![(0, 0), (10, 0), (10, 500), (20, 500), (30, 0)];
        let cut = pieces(&path, 300, 200);
        assert_eq!(cut, [path]);
    }
}
