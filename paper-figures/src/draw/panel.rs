//! One panel: its axes, its words, and where its plot lies.

use super::{
    AXIS_WIDTH, GAP, GRID_WIDTH, PANEL_WIDTH, PLOT_HEIGHT, Shown, TICK_LABEL,
    plot::{self, Drawn, Plot},
};
use crate::{
    canvas::{Anchor, Canvas, INCH, Paint, Position, Type, points},
    curve::Curve,
    palette::Look,
    results::{Axes, Figure, Series},
    scale::{Extent, Floor, Scale, Ticks},
};

const TITLE: Type = Type {
    bold: true,
    ..Type::of_size(8.0)
}
.anchored(Anchor::Middle);
const AXIS_NAME: Type = Type::of_size(8.0).anchored(Anchor::Middle);
const MAJOR_TICK: f64 = 3.0;
const MINOR_TICK: f64 = 1.6;

/// More lines than this of the vertical axis' name would leave the plot too little of the panel's width.
const MOST_NAME_LINES: usize = 4;

/// A pixel column, well below a line's width: what happens inside one cannot be told apart.
const COLUMN: i32 = INCH / 150;

/// One panel, measured and ready to be drawn anywhere.
pub struct Panel<'a> {
    axes: &'a Axes,
    title: Vec<String>,
    x_name: Vec<String>,
    y_name: Vec<String>,
    x: Scale,
    y: Scale,
    x_ticks: Ticks,
    y_ticks: Ticks,
    /// From the panel's left edge to the plot's.
    left: i32,
    plot_width: i32,
    drawn: Vec<Drawn<'a>>,
}

impl<'a> Panel<'a> {
    pub fn new(axes: &'a Axes, figure: &'a Figure) -> Self {
        let own = |s: &&Series| s.panel == axes.panel;
        let series: Vec<&Series> = figure.series.iter().filter(own).collect();
        let (x, y) = (x_scale(axes, &series), y_scale(axes, &series));
        let title = match figure.axes.len() {
            1 => axes.title.clone(),
            _ => format!("({}) {}", axes.panel, axes.title),
        };
        let y_ticks = y.ticks((PLOT_HEIGHT / (2 * TICK_LABEL.line_height())) as usize);
        let y_name = y_name(&axes.y.name);
        let left = points(GAP)
            + y_name.len() as i32 * AXIS_NAME.line_height()
            + points(GAP)
            + widest(&y_ticks)
            + points(GAP + MAJOR_TICK);
        let (x_ticks, plot_width) = fitting_x_ticks(&x, PANEL_WIDTH - left);
        let columns = (plot_width / COLUMN) as usize;
        let drawn = series.into_iter().enumerate().map(|(index, series)| Drawn {
            series,
            curve: Curve::new(series, &x, &y, columns),
            index,
        });
        Self {
            axes,
            title: TITLE.wrapped(&title, plot_width),
            x_name: AXIS_NAME.wrapped(&axes.x.name, plot_width),
            y_name,
            drawn: drawn.collect(),
            x,
            y,
            x_ticks,
            y_ticks,
            left,
            plot_width,
        }
    }

    pub fn title(&self) -> String {
        self.title.join(" ")
    }

    pub fn letter(&self) -> &str {
        &self.axes.panel
    }

    pub fn floor(&self) -> Option<Floor> {
        self.y.floor()
    }

    pub fn series(&self) -> impl Iterator<Item = &'a Series> {
        self.drawn.iter().map(|drawn| drawn.series)
    }

    pub fn reaches_floor(&self, method: &str) -> bool {
        let own = |d: &&Drawn<'_>| d.series.method == method;
        self.drawn
            .iter()
            .filter(own)
            .any(|d| d.curve.reaches_floor.is_some())
    }

    pub fn height_above_plot(&self) -> i32 {
        points(2.0 * GAP) + self.title.len() as i32 * TITLE.line_height()
    }

    pub fn height_below_plot(&self) -> i32 {
        points(MAJOR_TICK + 2.0 * GAP)
            + TICK_LABEL.line_height()
            + self.x_name.len() as i32 * AXIS_NAME.line_height()
    }

    /// Draws the panel with its left edge and its plot's upper edge at the given place.
    pub fn draw(&self, canvas: &mut Canvas, (left, top): Position, shown: &[Shown<'_>]) {
        let plot = Plot {
            left: left + self.left,
            top,
            width: self.plot_width,
            height: PLOT_HEIGHT,
        };
        self.draw_grid(canvas, &plot);
        let with_look: Vec<(&Drawn<'_>, Look)> = self
            .drawn
            .iter()
            .filter_map(|drawn| {
                let own = shown.iter().find(|s| s.name == drawn.series.method)?;
                Some((drawn, own.look))
            })
            .collect();
        for (drawn, look) in &with_look {
            drawn.draw_band(canvas, &plot, *look);
        }
        self.draw_frame(canvas, &plot);
        // Below the lines: their words are long, and a point may lie on them.
        plot::draw_verticals(canvas, &plot, &self.x, &with_look);
        for (drawn, look) in &with_look {
            drawn.draw_line(canvas, &plot, *look);
        }
        for (drawn, _) in &with_look {
            drawn.draw_words(canvas, &plot, (&self.x, &self.y));
        }
        self.draw_words(canvas, &plot, left);
    }

    fn draw_grid(&self, canvas: &mut Canvas, plot: &Plot) {
        let upright = self
            .x_ticks
            .major
            .iter()
            .map(|(x, _)| [(*x, 0.0), (*x, 1.0)]);
        let level = self
            .y_ticks
            .major
            .iter()
            .map(|(y, _)| [(0.0, *y), (1.0, *y)]);
        let lines: Vec<Vec<Position>> = upright
            .chain(level)
            .map(|ends| plot.place_all(&ends))
            .collect();
        canvas.strokes(&lines, Paint::Grid, points(GRID_WIDTH));
    }

    /// The two axes with their ticks, which point outwards, away from the data.
    fn draw_frame(&self, canvas: &mut Canvas, plot: &Plot) {
        let both = |ticks: &Ticks| {
            let major = ticks.major.iter().map(|(p, _)| (*p, points(MAJOR_TICK)));
            let minor = ticks.minor.iter().map(|p| (*p, points(MINOR_TICK)));
            major.chain(minor).collect::<Vec<_>>()
        };
        let mut lines = vec![plot.place_all(&[(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)])];
        for (p, length) in both(&self.x_ticks) {
            let (x, y) = plot.place((p, 0.0));
            lines.push(vec![(x, y), (x, y + length)]);
        }
        for (p, length) in both(&self.y_ticks) {
            let (x, y) = plot.place((0.0, p));
            lines.push(vec![(x - length, y), (x, y)]);
        }
        canvas.strokes(&lines, Paint::Ink, points(AXIS_WIDTH));
    }

    fn draw_words(&self, canvas: &mut Canvas, plot: &Plot, left: i32) {
        let (middle, bottom) = (plot.left + plot.width / 2, plot.top + plot.height);
        for (i, line) in self.title.iter().rev().enumerate() {
            let above = points(GAP) + TITLE.line_height() / 2 + i as i32 * TITLE.line_height();
            canvas.text(line, (middle, plot.top - above), TITLE);
        }
        let label_top = bottom + points(MAJOR_TICK + 0.5 * GAP);
        for (p, label) in &self.x_ticks.major {
            let at = (
                plot.place((*p, 0.0)).0,
                label_top + TICK_LABEL.line_height() / 2,
            );
            canvas.text(label, at, TICK_LABEL.anchored(Anchor::Middle));
        }
        let label_right = plot.left - points(MAJOR_TICK + GAP / 2.0);
        for (p, label) in &self.y_ticks.major {
            let at = (label_right, plot.place((0.0, *p)).1);
            canvas.text(label, at, TICK_LABEL.anchored(Anchor::End));
        }
        for (i, line) in self.x_name.iter().enumerate() {
            let y = label_top + TICK_LABEL.line_height() + AXIS_NAME.line_height() / 2;
            canvas.text(
                line,
                (middle, y + i as i32 * AXIS_NAME.line_height()),
                AXIS_NAME,
            );
        }
        for (i, line) in self.y_name.iter().enumerate() {
            let x = left
                + points(GAP)
                + AXIS_NAME.line_height() / 2
                + i as i32 * AXIS_NAME.line_height();
            let upwards = Type {
                upwards: true,
                ..AXIS_NAME
            };
            canvas.text(line, (x, plot.top + plot.height / 2), upwards);
        }
    }
}

/// The horizontal axis. Markers stand apart from its ends, which curves may touch.
fn x_scale(axes: &Axes, series: &[&Series]) -> Scale {
    let marked = series
        .iter()
        .flat_map(|s| s.marks.iter().map(|mark| mark.x));
    let values = series
        .iter()
        .flat_map(|s| s.x.iter().chain(&s.infinite).copied());
    let apart = series
        .iter()
        .any(|s| s.style == crate::results::Style::Markers);
    Scale::new(axes.x.scale, Extent::of(values.chain(marked)), apart)
}

fn y_scale(axes: &Axes, series: &[&Series]) -> Scale {
    let marked = series
        .iter()
        .flat_map(|s| s.marks.iter().filter_map(|mark| mark.y));
    let values = series
        .iter()
        .flat_map(|s| [&s.mean, &s.low, &s.high])
        .flatten()
        .copied();
    Scale::new(axes.y.scale, Extent::of(values.chain(marked)), true)
}

fn y_name(name: &str) -> Vec<String> {
    let mut lines = AXIS_NAME.wrapped(name, PLOT_HEIGHT);
    if lines.len() > MOST_NAME_LINES {
        lines.truncate(MOST_NAME_LINES);
        lines[MOST_NAME_LINES - 1].push_str(" …");
    }
    lines
}

fn widest(ticks: &Ticks) -> i32 {
    let widths = ticks.major.iter().map(|(_, label)| TICK_LABEL.width(label));
    widths.max().unwrap_or(0)
}

/// As many labels as stand apart, and the plot's width, which leaves room for the last label to stick out.
fn fitting_x_ticks(x: &Scale, available: i32) -> (Ticks, i32) {
    let fitting = |room: usize| {
        let ticks = x.ticks(room);
        let label = widest(&ticks);
        let plot_width = available - (label / 2 + points(2.0)).max(points(2.0 * GAP));
        let distances = ticks.major.windows(2).map(|w| w[1].0 - w[0].0);
        let nearest = distances.fold(1.0, f64::min) * f64::from(plot_width);
        let stand_apart = nearest >= f64::from(label + points(2.0 * GAP));
        (stand_apart, (ticks, plot_width))
    };
    let mut candidates = (3..=8).rev().map(fitting);
    let found = candidates.find(|(stand_apart, _)| *stand_apart);
    found.unwrap_or_else(|| fitting(2)).1
}
