//! The legend: entries of equal width, as many side by side as fit.

use super::{BAND_OPACITY, CURVE_WIDTH, DOT, GAP, PANEL_WIDTH, Shown, THIN_WIDTH, plot};
use crate::{
    canvas::{Canvas, Paint, Position, Type, points},
    results::Style,
};

const TEXT: Type = Type::of_size(7.0);
/// How long the sample of a line is, in points.
const SAMPLE: f64 = 22.0;
/// How far the sample of a band reaches to either side, in points.
const BAND: f64 = 2.5;

pub struct Legend<'a> {
    entries: Vec<(&'a Shown<'a>, Vec<String>)>,
    columns: usize,
    column_width: i32,
    left: i32,
}

impl<'a> Legend<'a> {
    pub fn new(shown: &'a [Shown<'a>], text: impl Fn(&str) -> String, width: i32) -> Self {
        let margins = points(SAMPLE + 4.0 * GAP);
        let lines = |s: &Shown<'_>| TEXT.wrapped(&text(s.name), PANEL_WIDTH - margins);
        let entries: Vec<_> = shown.iter().map(|s| (s, lines(s))).collect();
        let lines = entries.iter().flat_map(|(_, lines)| lines);
        let longest = lines.map(|line| TEXT.width(line)).max().unwrap_or(0);
        let column_width = longest + margins;
        let most = (width / column_width).max(1) as usize;
        // The fewest rows, and then no more columns than they need: 4 + 4 rather than 5 + 3.
        let rows = entries.len().div_ceil(most).max(1);
        let columns = entries.len().div_ceil(rows).max(1);
        Self {
            entries,
            columns,
            column_width,
            left: (width - columns as i32 * column_width) / 2,
        }
    }

    fn row_heights(&self) -> impl Iterator<Item = i32> {
        let lines = |row: &[(_, Vec<String>)]| row.iter().map(|(_, lines)| lines.len()).max();
        let rows = self.entries.chunks(self.columns);
        rows.map(move |row| lines(row).unwrap_or(1) as i32 * TEXT.line_height())
    }

    pub fn height(&self) -> i32 {
        self.row_heights().sum::<i32>() + points(2.0 * GAP)
    }

    pub fn draw(&self, canvas: &mut Canvas, top: i32) {
        let mut y = top + points(GAP);
        for (row, height) in self.entries.chunks(self.columns).zip(self.row_heights()) {
            for (i, (shown, lines)) in row.iter().enumerate() {
                let left = self.left + i as i32 * self.column_width + points(GAP);
                let middle = y + TEXT.line_height() / 2;
                draw_sample(canvas, (left, middle), shown);
                for (i, line) in lines.iter().enumerate() {
                    let at = (
                        left + points(SAMPLE + GAP),
                        middle + i as i32 * TEXT.line_height(),
                    );
                    canvas.text(line, at, TEXT);
                }
            }
            y += height;
        }
    }
}

/// The sample alone, as an SVG.
pub fn sample(shown: &Shown<'_>) -> String {
    let half = points(4.0);
    let mut canvas = Canvas::new((points(SAMPLE), 2 * half));
    draw_sample(&mut canvas, (0, half), shown);
    canvas.finish(shown.name, "")
}

/// What `shown` is drawn like, from `left` on.
fn draw_sample(canvas: &mut Canvas, (left, middle): Position, shown: &Shown<'_>) {
    let right = left + points(SAMPLE);
    let paint = Paint::Data(shown.look.colour);
    let ends = [(left, middle), (right, middle)];
    let centre = ((left + right) / 2, middle);
    match shown.style {
        Style::Curve | Style::Line | Style::Dashed => {
            if shown.has_band {
                let (top, bottom) = (middle - points(BAND), middle + points(BAND));
                let swatch = [(left, top), (right, top), (right, bottom), (left, bottom)];
                canvas.polygon(&swatch, paint, BAND_OPACITY);
            }
            canvas.curve(&ends, shown.look, points(CURVE_WIDTH));
        }
        Style::Markers => {
            canvas.curve(&ends, shown.look, points(THIN_WIDTH));
            let bar = [
                (centre.0, middle - points(3.5)),
                (centre.0, middle + points(3.5)),
            ];
            canvas.line(&bar, paint, points(THIN_WIDTH));
            canvas.dot(centre, points(DOT), paint);
        }
        Style::Point => canvas.dot(centre, points(DOT), paint),
        Style::Arrow => plot::draw_arrow(canvas, &ends, shown.look),
    }
}
