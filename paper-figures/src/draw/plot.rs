//! What is drawn inside a panel's axes.

use super::{BAND_OPACITY, CURVE_WIDTH, DOT, GAP, MARKER, THIN_WIDTH};
use crate::{
    canvas::{Anchor, Canvas, Paint, Position, Type, points},
    curve::{Curve, Point},
    palette::Look,
    results::{Mark, Series, Style},
    scale::Scale,
};

const MARK: Type = Type {
    halo: true,
    ..Type::of_size(7.0)
};

/// The rectangle that data are drawn in, in units.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    pub left: i32,
    pub top: i32,
    pub width: i32,
    pub height: i32,
}

impl Plot {
    pub fn place(&self, (x, y): Point) -> Position {
        let right = (x * f64::from(self.width)).round() as i32;
        let up = (y * f64::from(self.height)).round() as i32;
        (self.left + right, self.top + self.height - up)
    }

    pub fn place_all(&self, path: &[Point]) -> Vec<Position> {
        let mut placed: Vec<Position> = path.iter().map(|&p| self.place(p)).collect();
        placed.dedup();
        placed
    }

    fn right(&self) -> i32 {
        self.left + self.width
    }
}

/// A series, with what its numbers come to on its panel's axes.
pub struct Drawn<'a> {
    pub series: &'a Series,
    pub curve: Curve,
    /// Which of its panel's series it is.
    pub index: usize,
}

impl Drawn<'_> {
    /// The translucent band, which lies behind all lines.
    pub fn draw_band(&self, canvas: &mut Canvas, plot: &Plot, look: Look) {
        if self.series.style != Style::Markers && !self.curve.band.is_empty() {
            let outline = plot.place_all(&self.curve.band);
            canvas.polygon(&outline, Paint::Data(look.colour), BAND_OPACITY);
        }
    }

    /// The line, the markers or the arrow.
    pub fn draw_line(&self, canvas: &mut Canvas, plot: &Plot, look: Look) {
        let paint = Paint::Data(look.colour);
        let path = plot.place_all(&self.curve.line);
        match (self.series.style, path.as_slice()) {
            (_, []) => {}
            (Style::Point, places) => {
                for place in places {
                    canvas.dot(*place, points(DOT), paint);
                }
            }
            (Style::Markers, places) => self.draw_markers(canvas, plot, places, look),
            (Style::Arrow, places) => draw_arrow(canvas, places, look),
            (_, [place]) => canvas.dot(*place, points(CURVE_WIDTH), paint),
            (_, places) => {
                let width = if self.curve.is_jagged {
                    THIN_WIDTH
                } else {
                    CURVE_WIDTH
                };
                canvas.curve(places, look, points(width));
            }
        }
        if let Some(point) = self.curve.reaches_floor {
            canvas.polygon(&arrowhead_down(plot.place(point)), paint, 1.0);
        }
        self.draw_infinite(canvas, plot, paint);
    }

    fn draw_markers(&self, canvas: &mut Canvas, plot: &Plot, places: &[Position], look: Look) {
        let paint = Paint::Data(look.colour);
        canvas.curve(places, look, points(THIN_WIDTH));
        let bars: Vec<Vec<Position>> = self
            .curve
            .bars
            .iter()
            .map(|ends| plot.place_all(ends))
            .filter(|ends| ends.len() > 1)
            .collect();
        if !bars.is_empty() {
            canvas.strokes(&bars, paint, points(THIN_WIDTH));
        }
        for place in places {
            canvas.dot(*place, points(DOT), paint);
        }
    }

    /// Rings at the upper edge, those of each series on a level of their own, so that none hides another.
    fn draw_infinite(&self, canvas: &mut Canvas, plot: &Plot, paint: Paint) {
        for x in &self.curve.infinite {
            let (x, top) = plot.place((*x, 1.0));
            let level = top + points(DOT + 1.0) + self.index as i32 * points(2.0 * DOT + 1.4);
            canvas.ring((x, level), points(DOT), paint, points(THIN_WIDTH));
        }
    }

    /// Words beside places, on top of all lines.
    pub fn draw_words(&self, canvas: &mut Canvas, plot: &Plot, (x, y): (&Scale, &Scale)) {
        for mark in &self.series.marks {
            if let Some(height) = mark.y {
                let at = plot.place((x.position(mark.x), y.position(height)));
                draw_word(canvas, plot, at, mark);
            }
        }
    }
}

/// A word beside a place, to the right of it and above unless it would leave the plot there.
fn draw_word(canvas: &mut Canvas, plot: &Plot, (x, y): Position, mark: &Mark) {
    let (gap, half) = (points(GAP), MARK.line_height() / 2);
    let fits = x + gap + MARK.width(&mark.text) <= plot.right();
    let (x, anchor) = if fits {
        (x + gap, Anchor::Start)
    } else {
        (x - gap, Anchor::End)
    };
    let above = y - half - points(1.0);
    let y = if above - half >= plot.top {
        above
    } else {
        y + half + points(1.0)
    };
    canvas.text(&mark.text, (x, y), MARK.anchored(anchor));
}

/// The vertical lines of a panel's series, each once: one that several series have is in ink.
pub fn draw_verticals(canvas: &mut Canvas, plot: &Plot, x: &Scale, drawn: &[(&Drawn<'_>, Look)]) {
    let mut verticals: Vec<(&Mark, Paint)> = Vec::new();
    for (series, look) in drawn {
        for mark in series.series.marks.iter().filter(|mark| mark.y.is_none()) {
            match verticals.iter_mut().find(|(known, _)| *known == mark) {
                Some((_, paint)) => *paint = Paint::Ink,
                None => verticals.push((mark, Paint::Data(look.colour))),
            }
        }
    }
    for (mark, paint) in verticals {
        draw_vertical(canvas, plot, x.position(mark.x), mark, paint);
    }
}

/// A dotted line from the lower to the upper end of the plot, with its words along it from the bottom, on whichever side has
/// room.
fn draw_vertical(canvas: &mut Canvas, plot: &Plot, x: f64, mark: &Mark, paint: Paint) {
    let (x, bottom) = plot.place((x, 0.0));
    let dash = points(1.5);
    let dashes: Vec<Vec<Position>> = (0..plot.height / (2 * dash))
        .map(|i| bottom - 2 * i * dash)
        .map(|y| vec![(x, y), (x, y - dash)])
        .collect();
    canvas.strokes(&dashes, paint, points(THIN_WIDTH));
    let beside = MARK.line_height() / 2 + points(0.5);
    let x = if x - 2 * beside >= plot.left {
        x - beside
    } else {
        x + beside
    };
    let upwards = Type {
        upwards: true,
        ..MARK
    };
    canvas.text(&mark.text, (x, bottom - points(GAP)), upwards);
}

/// A line with a head at its last place.
pub fn draw_arrow(canvas: &mut Canvas, places: &[Position], look: Look) {
    let [.., before, tip] = places else {
        return;
    };
    let way = (f64::from(tip.0 - before.0), f64::from(tip.1 - before.1));
    let length = way.0.hypot(way.1);
    let along = (way.0 / length, way.1 / length);
    let head = f64::from(points(2.2 * MARKER)).min(length);
    let half = 0.35 * head;
    // Where the head begins, and its two corners there.
    let neck = (
        f64::from(tip.0) - head * along.0,
        f64::from(tip.1) - head * along.1,
    );
    let corner = |side: f64| {
        let (x, y) = (
            neck.0 - side * half * along.1,
            neck.1 + side * half * along.0,
        );
        (x.round() as i32, y.round() as i32)
    };
    let mut shaft = places[..places.len() - 1].to_vec();
    shaft.push((neck.0.round() as i32, neck.1.round() as i32));
    canvas.curve(&shaft, look, points(CURVE_WIDTH));
    canvas.polygon(
        &[corner(1.0), *tip, corner(-1.0)],
        Paint::Data(look.colour),
        1.0,
    );
}

/// A triangle that points down at the place where a curve leaves a log axis.
fn arrowhead_down((x, y): Position) -> Vec<Position> {
    let half = points(MARKER);
    vec![(x - half, y - 2 * half), (x + half, y - 2 * half), (x, y)]
}
