//! The two files of a figure: the SVG, with its caption inside, and the PNG, which is that SVG at 300 dots per inch.
//!
//! The PNG is made from the SVG rather than drawn a second time, so the two cannot differ, and thick lines through
//! noisy data are stroked with real joins.

use std::sync::{Arc, OnceLock};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{self, fontdb},
};

use crate::{
    canvas::{INCH, printable},
    caption,
    draw::{self, Drawing},
    results::Figure,
};

const DOTS_PER_INCH: i32 = 300;
const INCHES_PER_METRE: f64 = 39.3701;

/// A figure as files.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The vector drawing.
    pub svg: String,
    /// The same as pixels, at 300 dots per inch.
    pub png: Vec<u8>,
}

/// Draws `figure`.
///
/// # Errors
///
/// The message of the drawing library that could not go on.
pub fn picture(figure: &Figure) -> Result<Picture, String> {
    let Drawing { svg, size } = draw::draw(figure)?;
    let caption = printable(&caption::figure(figure));
    let svg = finished_svg(&svg, size, &figure.header.title, &caption)?;
    let png = png(&svg, size, &caption)?;
    Ok(Picture { svg, png })
}

/// plotters' SVG with its size in inches, round joins, and the title and caption for whom or what reads rather than
/// looks.
fn finished_svg(
    drawn: &str,
    (width, height): (i32, i32),
    title: &str,
    caption: &str,
) -> Result<String, String> {
    let (_, body) = drawn
        .split_once(">\n")
        .ok_or("plotters wrote no svg element")?;
    let inches = |units: i32| f64::from(units) / f64::from(INCH);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}in\" height=\"{}in\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" stroke-linejoin=\"round\">\n<title>{}</title>\n<desc>{}</desc>\n{body}",
        inches(width),
        inches(height),
        escaped(&printable(title)),
        escaped(caption),
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn png(svg: &str, (width, height): (i32, i32), caption: &str) -> Result<Vec<u8>, String> {
    let options = usvg::Options {
        fontdb: fonts(),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|e| e.to_string())?;
    let dots = |units: i32| (units * DOTS_PER_INCH / INCH).unsigned_abs();
    let mut pixels = Pixmap::new(dots(width), dots(height)).ok_or("the figure has no area")?;
    let zoom = |dots: u32, size: f32| dots as f32 / size;
    let (zoom_x, zoom_y) = (
        zoom(pixels.width(), tree.size().width()),
        zoom(pixels.height(), tree.size().height()),
    );
    resvg::render(
        &tree,
        Transform::from_scale(zoom_x, zoom_y),
        &mut pixels.as_mut(),
    );
    encoded(&pixels, caption).map_err(|e| e.to_string())
}

/// The sheet is white throughout, so its alpha carries nothing and is left out.
fn encoded(pixels: &Pixmap, caption: &str) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let per_metre = (f64::from(DOTS_PER_INCH) * INCHES_PER_METRE).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: per_metre,
        yppu: per_metre,
        unit: png::Unit::Meter,
    }));
    encoder.add_itxt_chunk("Description".to_owned(), caption.to_owned())?;
    let rgb: Vec<u8> = pixels
        .pixels()
        .iter()
        .flat_map(|p| [p.red(), p.green(), p.blue()])
        .collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(file)
}

/// The fonts of the layout, and no font of the machine.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    };
    FONTS.get_or_init(load).clone()
}
