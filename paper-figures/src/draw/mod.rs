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
//! Sizes are those of print: a panel is as wide as a paper's column, so text and strokes are given in points. A page that
//! can be narrow takes the [`pieces`] instead of the [`sheet`], and puts the panels where it has room.

mod legend;
mod panel;
mod plot;

use crate::{
    canvas::{Canvas, INCH, Type},
    caption,
    palette::{self, Dash, Look},
    results::{Figure, Series, Style},
    scale::Floor,
};
use legend::Legend;
use panel::Panel;

const PANEL_WIDTH: i32 = 33 * INCH / 10;
const PLOT_HEIGHT: i32 = 19 * INCH / 10;
const PANELS_A_ROW: usize = 2;

const TICK_LABEL: Type = Type::of_size(7.0);

const CURVE_WIDTH: f64 = 1.3;
const THIN_WIDTH: f64 = 0.7;
const AXIS_WIDTH: f64 = 0.6;
const GRID_WIDTH: f64 = 0.4;
const GAP: f64 = 3.0;
const MARKER: f64 = 3.0;
/// The radius of a dot.
const DOT: f64 = 1.9;

const BAND_OPACITY: f64 = 0.22;

/// A method, or a computed line, as the whole figure shows it.
#[derive(Clone, Debug, PartialEq)]
struct Shown<'a> {
    name: &'a str,
    look: Look,
    style: Style,
    /// Whether it has a band anywhere.
    has_band: bool,
}

/// All panels of `figure` and the legend below them, as one SVG.
pub fn sheet(figure: &Figure) -> String {
    let shown = shown(figure);
    let panels: Vec<Panel<'_>> = panels(figure);
    let width = PANEL_WIDTH * panels.len().min(PANELS_A_ROW) as i32;
    let legend = Legend::new(&shown, |name| text(&panels, name), width);

    let rows = rows(&panels);
    let height = rows.last().map_or(0, |row| row.bottom) + legend.height();
    let mut canvas = Canvas::new((width, height));
    for row in &rows {
        for (i, panel) in row.panels.iter().enumerate() {
            panel.draw(&mut canvas, (i as i32 * PANEL_WIDTH, row.plot_top), &shown);
        }
    }
    legend.draw(&mut canvas, height - legend.height());
    canvas.finish(&figure.header.title, &caption::figure(figure))
}

/// A figure for a page that arranges it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// An SVG a panel.
    pub panels: Vec<String>,
    /// For each method, an SVG that shows its line, and its name with notes.
    pub legend: Vec<(String, String)>,
}

/// The panels of `figure` and the entries of its legend, an SVG each.
pub fn pieces(figure: &Figure) -> Pieces {
    let shown = shown(figure);
    let panels = panels(figure);
    let one = |panel: &Panel<'_>| {
        let row = &rows(std::slice::from_ref(panel))[0];
        let mut canvas = Canvas::new((PANEL_WIDTH, row.bottom));
        panel.draw(&mut canvas, (0, row.plot_top), &shown);
        canvas.finish(&format!("{}: {}", figure.header.title, panel.title()), "")
    };
    let entry = |s: &Shown<'_>| (legend::sample(s), text(&panels, s.name));
    Pieces {
        panels: panels.iter().map(one).collect(),
        legend: shown.iter().map(entry).collect(),
    }
}

fn panels(figure: &Figure) -> Vec<Panel<'_>> {
    let axes = figure.axes.iter();
    axes.map(|axes| Panel::new(axes, figure)).collect()
}

/// The methods and computed lines in the order of their first series.
fn shown<'a>(figure: &'a Figure) -> Vec<Shown<'a>> {
    let mut firsts: Vec<&'a Series> = Vec::new();
    for series in &figure.series {
        if !firsts.iter().any(|first| first.method == series.method) {
            firsts.push(series);
        }
    }
    let is_measured = |s: &&&Series| matches!(s.style, Style::Curve | Style::Markers);
    let methods: Vec<&str> = firsts
        .iter()
        .filter(is_measured)
        .map(|s| s.method.as_str())
        .collect();
    let looks = palette::looks(&methods);
    let of = |(index, first): (usize, &'a Series)| {
        let own = |s: &&Series| s.method == first.method;
        let measured = looks.iter().find(|(method, _)| *method == first.method);
        Shown {
            name: &first.method,
            look: measured.map_or_else(
                || palette::computed(index, dash(first.style)),
                |(_, look)| *look,
            ),
            style: first.style,
            has_band: figure.series.iter().filter(own).any(Series::has_band),
        }
    };
    firsts.into_iter().enumerate().map(of).collect()
}

fn dash(style: Style) -> Dash {
    match style {
        Style::Dashed => Dash::Dashed,
        _ => Dash::Solid,
    }
}

/// What the legend says about a method: its name, and what is to be known about its curves.
fn text(panels: &[Panel<'_>], name: &str) -> String {
    let notes = notes(panels, name);
    if notes.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({})", notes.join("; "))
    }
}

fn notes(panels: &[Panel<'_>], method: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(reached_floor(panels, method));
    let series: Vec<&Series> = panels
        .iter()
        .flat_map(Panel::series)
        .filter(|s| s.method == method)
        .collect();
    if series
        .iter()
        .all(|s| s.mean.is_empty() && s.infinite.is_empty())
    {
        notes.push("no values".to_owned());
    }
    let diverged = series.iter().map(|s| s.diverged.len()).max().unwrap_or(0);
    if diverged > 0 {
        let runs = series.iter().map(|s| s.n).max().unwrap_or(0).max(diverged);
        notes.push(format!("{diverged} of {runs} diverged"));
    }
    notes
}

/// In which panels a method's curve gets to 0 on a log axis, if in any.
fn reached_floor(panels: &[Panel<'_>], method: &str) -> Option<String> {
    let reaching: Vec<&Panel<'_>> = panels
        .iter()
        .filter(|panel| panel.reaches_floor(method))
        .collect();
    let floors = reaching.iter().filter_map(|panel| panel.floor());
    let floor = floors.max_by_key(|floor| *floor == Floor::Negative)?;
    let place = match reaching.len() {
        n if n == panels.len() => String::new(),
        _ => {
            let letters: Vec<String> = reaching
                .iter()
                .map(|p| format!("({})", p.letter()))
                .collect();
            format!(" in {}", letters.join(", "))
        }
    };
    Some(format!("reaches {}{place}", floor.label()))
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
        let above = panels.iter().map(Panel::height_above_plot).max();
        let below = panels.iter().map(Panel::height_below_plot).max();
        let plot_top = top + above.unwrap_or(0);
        top = plot_top + PLOT_HEIGHT + below.unwrap_or(0);
        rows.push(Row {
            panels,
            plot_top,
            bottom: top,
        });
    }
    rows
}
