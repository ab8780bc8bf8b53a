//! SVG: lines, polygons, dots, arrows and text on a sheet, in units of 1/600 inch.
//!
//! What is not data has a class (`sheet`, `ink`, `grid`, `halo`), and what is data has, besides its colour, the custom
//! property `--dark`: a page that shows the drawing inside itself can so give it other colours on a dark ground. On its own
//! the SVG is dark on white.

use std::fmt::Write;

use crate::{
    dash,
    escape::xml,
    font,
    palette::{self, Colour, Look},
};

/// Units per inch.
pub const INCH: i32 = 600;

/// A position: right and down from the upper left corner.
pub type Position = (i32, i32);

/// So many typographic points, in units.
pub fn points(n: f64) -> i32 {
    (n * f64::from(INCH) / 72.0).round() as i32
}

/// What something is drawn in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Paint {
    /// Axes and words.
    Ink,
    /// What data are read against.
    Grid,
    /// A method's colour.
    Data(Colour),
}

const INK: &str = "#222222";
const GRID: &str = "#E4E4E4";

impl Paint {
    /// As the attribute `name`, with what tells a page to change it.
    fn attributes(self, name: &str) -> String {
        match self {
            Self::Ink => format!("{name}=\"{INK}\" class=\"ink\""),
            Self::Grid => format!("{name}=\"{GRID}\" class=\"grid\""),
            Self::Data(colour) => format!(
                "{name}=\"{}\" style=\"--dark:{}\"",
                palette::hex(colour),
                palette::hex(palette::on_dark(colour))
            ),
        }
    }
}

/// Which end of a text is at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The left one.
    Start,
    /// The middle.
    Middle,
    /// The right one.
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// The em, in points.
    pub size: f64,
    /// Whether it is bold.
    pub bold: bool,
    /// Which end of the text is at its position; its middle height is.
    pub anchor: Anchor,
    /// Whether it runs upwards.
    pub upwards: bool,
    /// What it is written in.
    pub paint: Paint,
    /// Whether the ground shows around the letters, to keep them apart from lines behind them.
    pub halo: bool,
}

impl Type {
    /// Left-aligned, regular, in ink.
    pub const fn of_size(size: f64) -> Self {
        Self {
            size,
            bold: false,
            anchor: Anchor::Start,
            upwards: false,
            paint: Paint::Ink,
            halo: false,
        }
    }

    /// The same, aligned otherwise.
    pub const fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    /// The distance between two lines' centres, in units.
    pub fn line_height(&self) -> i32 {
        points(1.25 * self.size)
    }

    /// How long `text` is, in units.
    pub fn width(&self, text: &str) -> i32 {
        points(self.size * font::ems(text, self.bold))
    }

    /// `text` broken at spaces into lines no longer than `room`, where its words allow.
    pub fn wrapped(&self, text: &str, room: i32) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        for word in text.split_whitespace() {
            let last = lines.last().map_or("", String::as_str);
            let longer = format!("{last} {word}");
            if last.is_empty() {
                lines.pop();
                lines.push(word.to_owned());
            } else if self.width(&longer) <= room {
                lines.pop();
                lines.push(longer);
            } else {
                lines.push(word.to_owned());
            }
        }
        lines
    }
}

/// A sheet that is drawn on.
#[derive(Debug)]
pub struct Canvas {
    body: String,
    size: Position,
}

impl Canvas {
    /// An empty sheet of `size` units.
    pub fn new(size: Position) -> Self {
        Self {
            body: String::new(),
            size,
        }
    }

    /// Draws a line through `path` in the manner of `look`.
    pub fn curve(&mut self, path: &[Position], look: Look, width: i32) {
        let paint = Paint::Data(look.colour);
        match look.dash.lengths() {
            None => self.line(path, paint, width),
            Some((dash, gap)) => {
                self.strokes(&dash::pieces(path, points(dash), points(gap)), paint, width);
            }
        }
    }

    /// Draws an unbroken line through `path`.
    pub fn line(&mut self, path: &[Position], paint: Paint, width: i32) {
        self.strokes(&[path.to_vec()], paint, width);
    }

    /// Draws lines that belong together.
    pub fn strokes(&mut self, paths: &[Vec<Position>], paint: Paint, width: i32) {
        let d: String = paths.iter().map(|path| path_data(path)).collect();
        let stroke = paint.attributes("stroke");
        self.element(&format!(
            "<path d=\"{d}\" fill=\"none\" stroke-width=\"{width}\" {stroke}/>"
        ));
    }

    /// Fills the polygon, more or less opaquely.
    pub fn polygon(&mut self, outline: &[Position], paint: Paint, opacity: f64) {
        let (d, fill) = (path_data(outline), paint.attributes("fill"));
        let opacity = match opacity {
            1.0 => String::new(),
            part => format!(" fill-opacity=\"{part}\""),
        };
        self.element(&format!("<path d=\"{d}z\"{opacity} {fill}/>"));
    }

    /// Fills a circle.
    pub fn dot(&mut self, (x, y): Position, radius: i32, paint: Paint) {
        let fill = paint.attributes("fill");
        self.element(&format!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" {fill}/>"
        ));
    }

    /// Draws a circle that shows the ground inside.
    pub fn ring(&mut self, (x, y): Position, radius: i32, paint: Paint, width: i32) {
        let stroke = paint.attributes("stroke");
        self.element(&format!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"none\" stroke-width=\"{width}\" {stroke}/>"
        ));
    }

    /// Sets one line of text.
    pub fn text(&mut self, text: &str, (x, y): Position, kind: Type) {
        let size = points(kind.size);
        let anchor = match kind.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if kind.bold {
            " font-weight=\"bold\""
        } else {
            ""
        };
        // The height of a digit is 0.73 em, so this centres it. Not every renderer knows `dominant-baseline`.
        let below = points(0.36 * kind.size);
        let place = if kind.upwards {
            format!("transform=\"translate({} {y}) rotate(-90)\"", x + below)
        } else {
            format!("x=\"{x}\" y=\"{}\"", y + below)
        };
        let (fill, text) = (kind.paint.attributes("fill"), xml(text));
        let common = format!("{place} font-size=\"{size}\"{anchor}{weight}");
        if kind.halo {
            // A text of its own, because not every renderer knows `paint-order`.
            let width = points(2.0);
            self.element(&format!(
                "<text {common} class=\"halo\" stroke=\"#FFFFFF\" fill=\"#FFFFFF\" stroke-width=\"{width}\" \
                 aria-hidden=\"true\">{text}</text>"
            ));
        }
        self.element(&format!("<text {common} {fill}>{text}</text>"));
    }

    fn element(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The SVG, with a title and a description for whom or what reads rather than looks.
    pub fn finish(self, title: &str, description: &str) -> String {
        let (width, height) = self.size;
        let inches = |units: i32| f64::from(units) / f64::from(INCH);
        let description = match description {
            "" => String::new(),
            text => format!("<desc>{}</desc>\n", xml(text)),
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}in\" height=\"{}in\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" font-family=\"{}\" stroke-linejoin=\"round\">\n<title>{}</title>\n{description}\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\" class=\"sheet\"/>\n{}</svg>\n",
            inches(width),
            inches(height),
            font::FAMILY,
            xml(title),
            self.body
        )
    }
}

/// The first place, and from it the ways from each place to the next, which take fewer digits than the places.
fn path_data(path: &[Position]) -> String {
    let mut data = String::new();
    let Some((x, y)) = path.first() else {
        return data;
    };
    // Writing to a string cannot fail.
    let _ = write!(data, "M{x} {y}");
    for (i, pair) in path.windows(2).enumerate() {
        let separator = if i == 0 { 'l' } else { ' ' };
        let (right, down) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        let _ = write!(data, "{separator}{right} {down}");
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_from_place_to_place() {
        assert_eq!(
            path_data(&[(10, 20), (15, 17), (15, 30)]),
            "M10 20l5 -3 0 13"
        );
        assert_eq!(path_data(&[(1, 2)]), "M1 2");
        assert_eq!(path_data(&[]), "");
    }

    #[test]
    fn lines_break_between_words_only() {
        let kind = Type::of_size(8.0);
        let room = kind.width("two words");
        assert_eq!(kind.wrapped("two words more", room), ["two words", "more"]);
        assert_eq!(kind.wrapped("unbreakable", 1), ["unbreakable"]);
        assert_eq!(kind.wrapped("", room), [""]);
    }

    #[test]
    fn text_cannot_act_as_markup() {
        let mut canvas = Canvas::new((10, 10));
        canvas.text("a <b> & \u{7}", (1, 1), Type::of_size(8.0));
        let svg = canvas.finish("<t>", "<d>");
        assert!(svg.contains(">a &lt;b&gt; &amp;  </text>"), "{svg}");
        assert!(svg.contains("<title>&lt;t&gt;</title>\n<desc>&lt;d&gt;</desc>"));
    }
}
