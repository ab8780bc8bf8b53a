//! The layout of a figure, and its drawing as an SVG.
//!
//! ```text
//! +-- panel (a) ---------------+-- panel (b) ---------------+   PANEL_WIDTH each, two to a row
//! |        title               |        title               |
//! | y  +------------------+    | y  +------------------+    |
//! | n  |   plot           |    | n  |   plot           |    |   PLOT_HEIGHT
//! | a  |                  |    | a  |                  |    |
//! | m  +------------------+    | m  +------------------+    |
//! |     x name                 |     x name                 |
//! +----------------------------+----------------------------+
//! |  -- method (notes)    -- method (notes)    -- method    |   the legend, below the data
//! +----------------------------------------------------------+
//! ```
//!
//! Sizes are those of print: a panel is as wide as a paper's column, so text and strokes are given in points.

use plotters::style::text_anchor::{HPos, VPos};

use crate::{
    canvas::{Canvas, DrawError, INCH, Position, Type, points},
    curve::{Curve, Point},
    palette::{self, Colour, Look},
    results::{Axes, Figure, Series},
    scale::{Extent, Floor, Scale, Ticks},
};

const PANEL_WIDTH: i32 = 33 * INCH / 10;
const PLOT_HEIGHT: i32 = 19 * INCH / 10;
const PANELS_A_ROW: usize = 2;

const TITLE: Type = Type {
    bold: true,
    ..Type::of_size(8.0)
}
.aligned(HPos::Center, VPos::Center);
const AXIS_NAME: Type = Type::of_size(8.0).aligned(HPos::Center, VPos::Center);
const TICK_LABEL: Type = Type::of_size(7.0);
const LEGEND: Type = Type::of_size(7.0);

const CURVE_WIDTH: f64 = 1.3;
const JAGGED_WIDTH: f64 = 0.7;
const AXIS_WIDTH: f64 = 0.6;
const GRID_WIDTH: f64 = 0.4;
const MAJOR_TICK: f64 = 3.0;
const MINOR_TICK: f64 = 1.6;
const GAP: f64 = 3.0;
const SAMPLE: f64 = 22.0;
const MARKER: f64 = 3.0;

/// A pixel column, well below a line's width: what happens inside one cannot be told apart.
const COLUMN: i32 = INCH / 150;

const BAND_OPACITY: f64 = 0.22;
const INK: Colour = (0x22, 0x22, 0x22);
const GRID: Colour = (0xE4, 0xE4, 0xE4);

/// A drawn figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// The SVG as plotters writes it, sized in units.
    pub svg: String,
    /// Width and height in units of 1/[`INCH`] inch.
    pub size: Position,
}

/// Draws all panels of `figure` and the legend below them.
pub fn draw(figure: &Figure) -> Result<Drawing, DrawError> {
    let methods = methods(figure);
    let looks = palette::looks(&methods);
    let panels: Vec<Panel<'_>> = figure
        .axes
        .iter()
        .map(|axes| Panel::new(axes, figure))
        .collect::<Result<_, _>>()?;
    let width = PANEL_WIDTH * panels.len().min(PANELS_A_ROW) as i32;
    let legend = Legend::new(&looks, |method| notes(&panels, method), width)?;

    let rows: Vec<Row<'_>> = rows(&panels);
    let height = rows.last().map_or(0, |row| row.bottom) + legend.height();
    let mut svg = String::new();
    let canvas = Canvas::new(&mut svg, (width, height))?;
    for row in &rows {
        for (i, panel) in row.panels.iter().enumerate() {
            panel.draw(&canvas, (i as i32 * PANEL_WIDTH, row.plot_top), &looks)?;
        }
    }
    legend.draw(&canvas, height - legend.height())?;
    canvas.finish()?;
    Ok(Drawing {
        svg,
        size: (width, height),
    })
}

/// The methods in the order of their first series.
fn methods(figure: &Figure) -> Vec<&str> {
    let mut methods: Vec<&str> = Vec::new();
    for series in &figure.series {
        if !methods.contains(&series.method.as_str()) {
            methods.push(&series.method);
        }
    }
    methods
}

/// What the legend says about a method besides its name.
fn notes(panels: &[Panel<'_>], method: &str) -> Vec<String> {
    let its = |panel: &Panel<'_>| {
        panel
            .curves
            .iter()
            .any(|(s, c)| s.method == method && c.reaches_floor.is_some())
    };
    let reaching: Vec<&Panel<'_>> = panels.iter().filter(|panel| its(panel)).collect();
    let mut notes: Vec<String> = Vec::new();
    if let Some(floor) = reaching
        .iter()
        .filter_map(|panel| panel.y.floor())
        .max_by_key(|f| *f == Floor::Negative)
    {
        let place = match reaching.len() {
            n if n == panels.len() => String::new(),
            _ => format!(
                " in {}",
                reaching
                    .iter()
                    .map(|p| format!("({})", p.axes.panel))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        notes.push(format!("reaches {}{place}", floor.label()));
    }
    let series = || {
        panels
            .iter()
            .flat_map(|p| &p.curves)
            .map(|(s, _)| *s)
            .filter(|s| s.method == method)
    };
    if series().all(|s| s.mean.is_empty() && s.infinite.is_empty()) {
        notes.push("no values".to_owned());
    }
    let diverged = series().map(|s| s.diverged.len()).max().unwrap_or(0);
    if diverged > 0 {
        let runs = series().map(|s| s.n).max().unwrap_or(0).max(diverged);
        notes.push(format!("{diverged} of {runs} diverged"));
    }
    notes
}

/// A row of panels, their plots at one height.
struct Row<'a> {
    panels: &'a [Panel<'a>],
    plot_top: i32,
    bottom: i32,
}

fn rows<'a>(panels: &'a [Panel<'a>]) -> Vec<Row<'a>> {
    let mut top = 0;
    let mut rows = Vec::new();
    for panels in panels.chunks(PANELS_A_ROW) {
        let title_lines = panels.iter().map(|p| p.title.len()).max().unwrap_or(0) as i32;
        let plot_top = top + points(2.0 * GAP) + title_lines * TITLE.line_height();
        let below = panels
            .iter()
            .map(Panel::height_below_plot)
            .max()
            .unwrap_or(0);
        top = plot_top + PLOT_HEIGHT + below;
        rows.push(Row {
            panels,
            plot_top,
            bottom: top,
        });
    }
    rows
}

/// One panel, measured and ready to be drawn anywhere.
struct Panel<'a> {
    axes: &'a Axes,
    title: Vec<String>,
    x_name: Vec<String>,
    y_name: Vec<String>,
    y: Scale,
    x_ticks: Ticks,
    y_ticks: Ticks,
    /// From the panel's left edge to the plot's.
    left: i32,
    plot_width: i32,
    curves: Vec<(&'a Series, Curve)>,
}

impl<'a> Panel<'a> {
    fn new(axes: &'a Axes, figure: &'a Figure) -> Result<Self, DrawError> {
        let series: Vec<&Series> = figure
            .series
            .iter()
            .filter(|s| s.panel == axes.panel)
            .collect();
        let xs = series.iter().flat_map(|s| s.x.iter().copied());
        let ys = series
            .iter()
            .flat_map(|s| [&s.mean, &s.low, &s.high])
            .flatten()
            .copied();
        let x = Scale::new(axes.x.scale, Extent::of(xs), false);
        let y = Scale::new(axes.y.scale, Extent::of(ys), true);

        let title = if figure.axes.len() > 1 {
            format!("({}) {}", axes.panel, axes.title)
        } else {
            axes.title.clone()
        };
        let y_ticks = y.ticks((PLOT_HEIGHT / (2 * TICK_LABEL.line_height())) as usize);
        let y_name = AXIS_NAME.wrapped(&axes.y.name, PLOT_HEIGHT)?;
        let left = points(GAP)
            + y_name.len() as i32 * AXIS_NAME.line_height()
            + points(GAP)
            + widest(&y_ticks)?
            + points(GAP + MAJOR_TICK);
        let (x_ticks, plot_width) = fitting_x_ticks(&x, PANEL_WIDTH - left)?;
        let columns = (plot_width / COLUMN) as usize;
        Ok(Self {
            axes,
            title: TITLE.wrapped(&title, plot_width)?,
            x_name: AXIS_NAME.wrapped(&axes.x.name, plot_width)?,
            y_name,
            y,
            x_ticks,
            y_ticks,
            left,
            plot_width,
            curves: series
                .into_iter()
                .map(|s| (s, Curve::new(s, &x, &y, columns)))
                .collect(),
        })
    }

    fn height_below_plot(&self) -> i32 {
        points(MAJOR_TICK + 2.0 * GAP)
            + TICK_LABEL.line_height()
            + self.x_name.len() as i32 * AXIS_NAME.line_height()
    }

    /// Draws the panel with its left edge and its plot's upper edge at the given place.
    fn draw(
        &self,
        canvas: &Canvas<'_>,
        (left, top): Position,
        looks: &[(&str, Look)],
    ) -> Result<(), DrawError> {
        let plot = Plot {
            left: left + self.left,
            top,
            width: self.plot_width,
            height: PLOT_HEIGHT,
        };
        self.draw_grid(canvas, &plot)?;
        let look = |s: &Series| {
            looks
                .iter()
                .find(|(m, _)| *m == s.method)
                .map(|(_, look)| *look)
        };
        let curves = || {
            self.curves
                .iter()
                .filter_map(|(s, curve)| Some((look(s)?, curve)))
        };
        for (look, curve) in curves() {
            if !curve.band.is_empty() {
                canvas.polygon(plot.place_all(&curve.band), look.colour, BAND_OPACITY)?;
            }
        }
        self.draw_frame(canvas, &plot)?;
        for (look, curve) in curves() {
            let width = points(if curve.is_jagged {
                JAGGED_WIDTH
            } else {
                CURVE_WIDTH
            });
            match curve.line.as_slice() {
                [] => {}
                &[point] => canvas.dot(plot.place(point), points(CURVE_WIDTH), look.colour)?,
                line => canvas.curve(plot.place_all(line), look, width)?,
            }
            if let Some(point) = curve.reaches_floor {
                canvas.polygon(arrowhead(plot.place(point)), look.colour, 1.0)?;
            }
        }
        self.draw_words(canvas, &plot, left)
    }

    fn draw_grid(&self, canvas: &Canvas<'_>, plot: &Plot) -> Result<(), DrawError> {
        for (x, _) in &self.x_ticks.major {
            canvas.line(
                vec![plot.place((*x, 0.0)), plot.place((*x, 1.0))],
                GRID,
                points(GRID_WIDTH),
            )?;
        }
        for (y, _) in &self.y_ticks.major {
            canvas.line(
                vec![plot.place((0.0, *y)), plot.place((1.0, *y))],
                GRID,
                points(GRID_WIDTH),
            )?;
        }
        Ok(())
    }

    /// The two axes with their ticks, which point outwards, away from the data.
    fn draw_frame(&self, canvas: &Canvas<'_>, plot: &Plot) -> Result<(), DrawError> {
        let axes = [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)];
        canvas.line(plot.place_all(&axes), INK, points(AXIS_WIDTH))?;
        let both = |ticks: &Ticks| {
            let major = ticks.major.iter().map(|(p, _)| (*p, points(MAJOR_TICK)));
            major
                .chain(ticks.minor.iter().map(|p| (*p, points(MINOR_TICK))))
                .collect::<Vec<_>>()
        };
        for (p, length) in both(&self.x_ticks) {
            let (x, y) = plot.place((p, 0.0));
            canvas.line(vec![(x, y), (x, y + length)], INK, points(AXIS_WIDTH))?;
        }
        for (p, length) in both(&self.y_ticks) {
            let (x, y) = plot.place((0.0, p));
            canvas.line(vec![(x - length, y), (x, y)], INK, points(AXIS_WIDTH))?;
        }
        Ok(())
    }

    fn draw_words(&self, canvas: &Canvas<'_>, plot: &Plot, left: i32) -> Result<(), DrawError> {
        let (middle, bottom) = (plot.left + plot.width / 2, plot.top + plot.height);
        for (i, line) in self.title.iter().rev().enumerate() {
            let y =
                plot.top - points(GAP) - TITLE.line_height() / 2 - i as i32 * TITLE.line_height();
            canvas.text(line, (middle, y), TITLE)?;
        }
        let label_top = bottom + points(MAJOR_TICK + 0.5 * GAP);
        for (p, label) in &self.x_ticks.major {
            let at = (
                plot.place((*p, 0.0)).0,
                label_top + TICK_LABEL.line_height() / 2,
            );
            canvas.text(label, at, TICK_LABEL.aligned(HPos::Center, VPos::Center))?;
        }
        let label_right = plot.left - points(MAJOR_TICK + GAP / 2.0);
        for (p, label) in &self.y_ticks.major {
            let at = (
                label_right,
                plot.place((0.0, *p)).1 + points(0.1 * TICK_LABEL.size),
            );
            canvas.text(label, at, TICK_LABEL.aligned(HPos::Right, VPos::Center))?;
        }
        for (i, line) in self.x_name.iter().enumerate() {
            let y = label_top + TICK_LABEL.line_height() + AXIS_NAME.line_height() / 2;
            canvas.text(
                line,
                (middle, y + i as i32 * AXIS_NAME.line_height()),
                AXIS_NAME,
            )?;
        }
        for (i, line) in self.y_name.iter().enumerate() {
            let x = left
                + points(GAP)
                + AXIS_NAME.line_height() / 2
                + i as i32 * AXIS_NAME.line_height();
            canvas.text(
                line,
                (x, plot.top + plot.height / 2),
                Type {
                    upwards: true,
                    ..AXIS_NAME
                },
            )?;
        }
        Ok(())
    }
}

fn widest(ticks: &Ticks) -> Result<i32, DrawError> {
    let widths = ticks
        .major
        .iter()
        .map(|(_, label)| TICK_LABEL.width(label))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(widths.into_iter().max().unwrap_or(0))
}

/// As many labels as stand apart, and the plot's width, which leaves room for the last label to stick out.
fn fitting_x_ticks(x: &Scale, available: i32) -> Result<(Ticks, i32), DrawError> {
    let mut fitting = None;
    for room in (2..=8).rev() {
        let ticks = x.ticks(room);
        let label = widest(&ticks)?;
        let plot_width = available - (label / 2 + points(2.0)).max(points(2.0 * GAP));
        let nearest = ticks
            .major
            .windows(2)
            .map(|w| w[1].0 - w[0].0)
            .fold(1.0, f64::min);
        let stand_apart =
            nearest * f64::from(plot_width) >= f64::from(label) + f64::from(points(2.0 * GAP));
        fitting = Some((ticks, plot_width));
        if stand_apart {
            break;
        }
    }
    fitting.ok_or_else(|| "no ticks".to_owned())
}

/// The rectangle that data are drawn in, in units.
struct Plot {
    left: i32,
    top: i32,
    width: i32,
    height: i32,
}

impl Plot {
    fn place(&self, (x, y): Point) -> Position {
        let right = (x * f64::from(self.width)).round() as i32;
        let up = (y * f64::from(self.height)).round() as i32;
        (self.left + right, self.top + self.height - up)
    }

    fn place_all(&self, path: &[Point]) -> Vec<Position> {
        let mut placed: Vec<Position> = path.iter().map(|&p| self.place(p)).collect();
        placed.dedup();
        placed
    }
}

/// A triangle that points down at the place where a curve leaves a log axis.
fn arrowhead((x, y): Position) -> Vec<Position> {
    let half = points(MARKER);
    vec![(x - half, y - 2 * half), (x + half, y - 2 * half), (x, y)]
}

/// The legend: entries of equal width, as many side by side as fit.
struct Legend {
    entries: Vec<(Look, Vec<String>)>,
    columns: usize,
    column_width: i32,
    left: i32,
}

impl Legend {
    fn new(
        looks: &[(&str, Look)],
        notes: impl Fn(&str) -> Vec<String>,
        width: i32,
    ) -> Result<Self, DrawError> {
        let margins = points(SAMPLE + 4.0 * GAP);
        let mut entries = Vec::new();
        let mut longest = 0;
        for &(method, look) in looks {
            let notes = notes(method);
            let text = if notes.is_empty() {
                method.to_owned()
            } else {
                format!("{method} ({})", notes.join("; "))
            };
            let lines = LEGEND.wrapped(&text, PANEL_WIDTH - margins)?;
            for line in &lines {
                longest = longest.max(LEGEND.width(line)?);
            }
            entries.push((look, lines));
        }
        let column_width = longest + margins;
        let most = (width / column_width).max(1) as usize;
        // The fewest rows, and then no more columns than they need: 4 + 4 rather than 5 + 3.
        let rows = entries.len().div_ceil(most).max(1);
        let columns = entries.len().div_ceil(rows).max(1);
        let left = (width - columns as i32 * column_width) / 2;
        Ok(Self {
            entries,
            columns,
            column_width,
            left,
        })
    }

    fn row_heights(&self) -> Vec<i32> {
        let lines = |row: &[(Look, Vec<String>)]| {
            row.iter().map(|(_, lines)| lines.len()).max().unwrap_or(1)
        };
        self.entries
            .chunks(self.columns)
            .map(|row| lines(row) as i32 * LEGEND.line_height())
            .collect()
    }

    fn height(&self) -> i32 {
        self.row_heights().iter().sum::<i32>() + points(2.0 * GAP)
    }

    fn draw(&self, canvas: &Canvas<'_>, top: i32) -> Result<(), DrawError> {
        let mut y = top + points(GAP);
        for (row, height) in self.entries.chunks(self.columns).zip(self.row_heights()) {
            for (i, (look, lines)) in row.iter().enumerate() {
                self.draw_entry(
                    canvas,
                    (self.left + i as i32 * self.column_width + points(GAP), y),
                    *look,
                    lines,
                )?;
            }
            y += height;
        }
        Ok(())
    }

    fn draw_entry(
        &self,
        canvas: &Canvas<'_>,
        at: Position,
        look: Look,
        lines: &[String],
    ) -> Result<(), DrawError> {
        let (left, middle) = (at.0, at.1 + LEGEND.line_height() / 2);
        let band = points(2.5);
        let right = left + points(SAMPLE);
        let swatch = vec![
            (left, middle - band),
            (right, middle - band),
            (right, middle + band),
            (left, middle + band),
        ];
        canvas.polygon(swatch, look.colour, BAND_OPACITY)?;
        canvas.curve(
            vec![(left, middle), (right, middle)],
            look,
            points(CURVE_WIDTH),
        )?;
        for (i, line) in lines.iter().enumerate() {
            canvas.text(
                line,
                (
                    right + points(GAP),
                    middle + i as i32 * LEGEND.line_height(),
                ),
                LEGEND,
            )?;
        }
        Ok(())
    }
}
