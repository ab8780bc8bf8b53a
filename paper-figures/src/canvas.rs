//! What the drawing needs of plotters: lines, polygons, dots and text on an SVG, in units of 1/600 inch.
//!
//! plotters places things on whole numbers, so the unit is chosen finer than any screen or printer shows.

use std::sync::OnceLock;

use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Polygon},
    style::{
        Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    dash,
    palette::{Colour, Look},
};

/// Units per inch.
pub const INCH: i32 = 600;
/// The fonts to use for text, best first. The first is the one that the layout is measured with.
pub const FONTS: &str = "DejaVu Sans, Arial, sans-serif";
/// plotters' text sizes are this much larger than the font's em.
const PLOTTERS_SIZE_PER_EM: f64 = 1.24;

/// A position: right and down from the upper left corner.
pub type Position = (i32, i32);

/// The drawing library's message; only an unusable font can cause one.
pub type DrawError = String;

/// So many typographic points, in units.
pub fn points(n: f64) -> i32 {
    (n * f64::from(INCH) / 72.0).round() as i32
}

/// How a text is set: size in points, weight, alignment and direction.
#[derive(Clone, Copy)]
pub struct Type {
    /// The em, in points.
    pub size: f64,
    /// Whether it is bold.
    pub bold: bool,
    /// Which end of the text is at its position.
    pub horizontal: HPos,
    /// Which edge of the text is at its position.
    pub vertical: VPos,
    /// Whether it runs upwards.
    pub upwards: bool,
}

impl Type {
    /// Left-aligned, vertically centred, regular.
    pub const fn of_size(size: f64) -> Self {
        Self {
            size,
            bold: false,
            horizontal: HPos::Left,
            vertical: VPos::Center,
            upwards: false,
        }
    }

    /// The same, aligned otherwise.
    pub const fn aligned(self, horizontal: HPos, vertical: VPos) -> Self {
        Self {
            horizontal,
            vertical,
            ..self
        }
    }

    /// The distance between two lines' centres, in units.
    pub fn line_height(&self) -> i32 {
        points(1.25 * self.size)
    }

    fn style(&self) -> TextStyle<'static> {
        let size = f64::from(points(self.size)) * PLOTTERS_SIZE_PER_EM;
        let style = if self.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let direction = if self.upwards {
            FontTransform::Rotate270
        } else {
            FontTransform::None
        };
        let font = (FONTS, size, style).into_font().transform(direction);
        TextStyle::from(font).pos(Pos::new(self.horizontal, self.vertical))
    }

    /// How long `text` is, in units.
    pub fn width(&self, text: &str) -> Result<i32, DrawError> {
        register_fonts()?;
        let upright = Self {
            upwards: false,
            ..*self
        };
        let ((left, _), (right, _)) = upright
            .style()
            .font
            .layout_box(text)
            .map_err(|e| e.to_string())?;
        Ok(right - left)
    }

    /// `text` broken at spaces into lines no longer than `room`, where its words allow.
    pub fn wrapped(&self, text: &str, room: i32) -> Result<Vec<String>, DrawError> {
        let mut lines: Vec<String> = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines
                .last()
                .filter(|line| !line.is_empty())
                .map(|line| format!("{line} {word}"));
            let fits = line
                .as_deref()
                .map_or(Ok(true), |line| self.width(line).map(|w| w <= room))?;
            match (fits, lines.last_mut()) {
                (true, Some(last)) => *last = line.unwrap_or_else(|| word.to_owned()),
                _ => lines.push(word.to_owned()),
            }
        }
        Ok(lines)
    }
}

/// A white sheet that is drawn on.
pub struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

impl<'a> Canvas<'a> {
    /// A sheet of `size` units that writes its SVG to `svg`.
    pub fn new(svg: &'a mut String, (width, height): Position) -> Result<Self, DrawError> {
        register_fonts()?;
        let size = (width.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        area.fill(&RGBColor(255, 255, 255))
            .map_err(|e| e.to_string())?;
        Ok(Self(area))
    }

    /// Draws a line through `path` in the manner of `look`.
    pub fn curve(&self, path: Vec<Position>, look: Look, width: i32) -> Result<(), DrawError> {
        let Some((dash, gap)) = look.dash.lengths() else {
            return self.line(path, look.colour, width);
        };
        let pieces = dash::pieces(&path, points(dash), points(gap));
        pieces
            .into_iter()
            .try_for_each(|piece| self.line(piece, look.colour, width))
    }

    /// Draws an unbroken line through `path`.
    pub fn line(&self, path: Vec<Position>, colour: Colour, width: i32) -> Result<(), DrawError> {
        self.0
            .draw(&PathElement::new(path, stroke(colour, width)))
            .map_err(|e| e.to_string())
    }

    /// Fills the polygon, more or less opaquely.
    pub fn polygon(
        &self,
        outline: Vec<Position>,
        colour: Colour,
        opacity: f64,
    ) -> Result<(), DrawError> {
        let fill = rgb(colour).mix(opacity).filled();
        self.0
            .draw(&Polygon::new(outline, fill))
            .map_err(|e| e.to_string())
    }

    /// Fills a circle.
    pub fn dot(&self, centre: Position, radius: i32, colour: Colour) -> Result<(), DrawError> {
        self.0
            .draw(&Circle::new(
                centre,
                radius,
                ShapeStyle::from(rgb(colour)).filled(),
            ))
            .map_err(|e| e.to_string())
    }

    /// Sets one line of text.
    pub fn text(&self, text: &str, at: Position, kind: Type) -> Result<(), DrawError> {
        self.0
            .draw_text(&printable(text), &kind.style(), at)
            .map_err(|e| e.to_string())
    }

    /// Completes the SVG.
    pub fn finish(self) -> Result<(), DrawError> {
        self.0.present().map_err(|e| e.to_string())
    }
}

/// `text` without the characters that XML cannot hold.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') {
                ' '
            } else {
                c
            }
        })
        .collect()
}

fn rgb((r, g, b): Colour) -> RGBColor {
    RGBColor(r, g, b)
}

fn stroke(colour: Colour, width: i32) -> ShapeStyle {
    ShapeStyle::from(rgb(colour)).stroke_width(width.unsigned_abs())
}

/// The fonts are part of the program, so that pictures look the same on every machine.
fn register_fonts() -> Result<(), DrawError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        register_font(FONTS, FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(FONTS, FontStyle::Bold, dejavu::sans::bold()).is_ok()
    });
    if *registered {
        Ok(())
    } else {
        Err("the built-in font is unusable".to_owned())
    }
}
