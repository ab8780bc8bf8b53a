//! How long a text is: the layout is measured with the font that the SVG names first.

use std::sync::OnceLock;

use ttf_parser::Face;

/// The fonts to use for text, best first. The first is the one that the layout is measured with.
pub const FAMILY: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

/// The length of `text`, in ems.
pub fn ems(text: &str, bold: bool) -> f64 {
    static FACES: OnceLock<[Option<Face<'static>>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        [dejavu::sans::regular(), dejavu::sans::bold()].map(|font| Face::parse(font, 0).ok())
    });
    text.chars()
        .map(|c| advance(faces[usize::from(bold)].as_ref(), c))
        .sum()
}

/// The width of a character, in ems; about that of a digit where the font does not have it.
fn advance(face: Option<&Face<'_>>, c: char) -> f64 {
    let known = face.and_then(|face| {
        let advance = face.glyph_hor_advance(face.glyph_index(c)?)?;
        Some(f64::from(advance) / f64::from(face.units_per_em()))
    });
    known.unwrap_or(0.64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_of_dejavu_sans_is_0_636_em_wide() {
        assert!((ems("0", false) - 1303.0 / 2048.0).abs() < 1e-12);
        assert!((ems("00", false) - 2.0 * ems("0", false)).abs() < 1e-12);
        assert!(ems("method", true) > ems("method", false));
    }

    #[test]
    fn a_character_that_the_font_lacks_has_a_width() {
        assert!(ems("\u{10ffff}", false) > 0.5);
    }
}
