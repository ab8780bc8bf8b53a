//! The look of each method: the same colour and dashes in every figure.
//!
//! Colours are the eight of Okabe and Ito ("Color Universal Design", 2008), which people with any common colour
//! vision remain able to tell apart, with the yellow darkened because it carries lines on white.
//! A method's name is read as `base[*][, qualifier]`:
//!
//! - the base decides the hue: [`FIXED`] for the paper's methods, [`TODAY`] for today's rate-free ones, one of [`SPARE`] by a
//!   hash of the name for others;
//! - `*` (best rate) and any qualifier such as `dropout 0.5` decide the dashes;
//! - the qualifier `batch N` decides the shade instead: the smaller the batch, the lighter; what is lighter than the base has short
//!   dashes too, or it would be lost among its neighbours' bands.

/// Red, green, blue.
pub type Colour = (u8, u8, u8);

/// How a method's line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The line's colour; the band has it too, translucent.
    pub colour: Colour,
    /// The line's pattern.
    pub dash: Dash,
}

/// The pattern of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
    /// Short dashes.
    Short,
}

impl Dash {
    const ALL: [Self; 4] = [Self::Solid, Self::Dashed, Self::Dotted, Self::Short];

    /// Lengths of a dash and of the gap after it, in points; `None` where unbroken.
    pub fn lengths(self) -> Option<(f64, f64)> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some((5.0, 2.0)),
            Self::Dotted => Some((1.2, 1.8)),
            Self::Short => Some((2.6, 1.6)),
        }
    }
}

/// The methods of the paper, by the base of their names.
const FIXED: [(&str, Colour); 10] = [
    ("mSGD", (0xE6, 0x9F, 0x00)),
    ("Mom", (0xE6, 0x9F, 0x00)),
    ("Momentum", (0xE6, 0x9F, 0x00)),
    ("SGD", (0xB8, 0xA8, 0x00)),
    ("Adam", (0x56, 0xB4, 0xE9)),
    ("L4Adam", (0x00, 0x72, 0xB2)),
    ("L4Mom", (0xD5, 0x5E, 0x00)),
    ("RMSProp", (0x00, 0x9E, 0x73)),
    ("LMA", (0xCC, 0x79, 0xA7)),
    ("default policy", (0x00, 0x00, 0x00)),
];

/// Today's rate-free methods: colours that L4, Adam and mSGD leave, each for one method along the gradient and one that moves as
/// Adam does, which have other dashes.
const TODAY: [(&str, Look); 10] = [
    ("SPS_max", solid((0x00, 0x9E, 0x73))),
    ("ALI-G", solid((0xCC, 0x79, 0xA7))),
    ("MoMo", solid((0x00, 0x00, 0x00))),
    ("DoG", solid((0x80, 0x80, 0x80))),
    ("MoMo-Adam", short((0x00, 0x00, 0x00))),
    ("D-Adaptation", short((0x00, 0x9E, 0x73))),
    ("Prodigy", short((0xCC, 0x79, 0xA7))),
    ("schedule-free AdamW", short((0xB8, 0xA8, 0x00))),
    ("ScheduleFree+", short((0x5C, 0x40, 0x33))),
    ("Mechanic", short((0x80, 0x80, 0x80))),
];

const fn solid(colour: Colour) -> Look {
    Look {
        colour,
        dash: Dash::Solid,
    }
}

const fn short(colour: Colour) -> Look {
    Look {
        colour,
        dash: Dash::Short,
    }
}

/// Colours that no method of the paper has: a grey and a dark brown, which differ from the others in lightness too.
const SPARE: [Colour; 2] = [(0x80, 0x80, 0x80), (0x5C, 0x40, 0x33)];

/// Colours of computed lines, which no method draws, in the order in which a figure names them.
const COMPUTED: [Colour; 6] = [
    (0x44, 0x44, 0x44),
    (0x00, 0x72, 0xB2),
    (0x00, 0x9E, 0x73),
    (0xCC, 0x79, 0xA7),
    (0xD5, 0x5E, 0x00),
    (0xE6, 0x9F, 0x00),
];

/// The look of the computed line that is the `index`th of its figure.
pub fn computed(index: usize, dash: Dash) -> Look {
    Look {
        colour: COMPUTED[index % COMPUTED.len()],
        dash,
    }
}

/// A colour as SVG and CSS write it.
pub fn hex((r, g, b): Colour) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// The same hue for a dark ground: lightened until it stands out from it. Black becomes white.
pub fn on_dark(colour: Colour) -> Colour {
    const ENOUGH: f64 = 0.22;
    if colour == (0, 0, 0) {
        return (0xFF, 0xFF, 0xFF);
    }
    let lighter = |share: f64| mixed(colour, 255.0, share);
    (0..=20)
        .map(|twentieth| lighter(f64::from(twentieth) / 20.0))
        .find(|&c| luminance(c) >= ENOUGH)
        .unwrap_or((0xFF, 0xFF, 0xFF))
}

/// The relative luminance, as WCAG 2 defines it: 0 for black, 1 for white.
fn luminance((r, g, b): Colour) -> f64 {
    let linear = |c: u8| match f64::from(c) / 255.0 {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

/// `colour` with a share of it replaced by a level of grey.
fn mixed((r, g, b): Colour, towards: f64, share: f64) -> Colour {
    let mix = |c: u8| (f64::from(c) + share * (towards - f64::from(c))).round() as u8;
    (mix(r), mix(g), mix(b))
}

/// The looks of `methods`, in their order.
///
/// A method of the paper always has its own look. Another one has the look that its name hashes to, or, where a method
/// before it in the list has that look already, the next free one.
pub fn looks<'a>(methods: &[&'a str]) -> Vec<(&'a str, Look)> {
    let mut taken: Vec<(&str, Look)> = Vec::new();
    for &method in methods {
        let candidates = candidates(&Name::parse(method));
        let is_free = |look: &&Look| !taken.iter().any(|(_, t)| t == *look);
        let look = candidates.iter().find(is_free).unwrap_or(&candidates[0]);
        taken.push((method, *look));
    }
    taken
}

/// A method's name, taken apart.
struct Name<'a> {
    base: &'a str,
    starred: bool,
    qualifier: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(method: &'a str) -> Self {
        let (name, qualifier) = match method.split_once([',', '(']) {
            Some((name, qualifier)) => (name, Some(qualifier.trim_end_matches(')').trim())),
            None => (method, None),
        };
        let name = name.trim();
        let base = name.trim_end_matches('*');
        Self {
            base,
            starred: base.len() < name.len(),
            qualifier,
        }
    }

    fn batch(&self) -> Option<f64> {
        let size = self
            .qualifier?
            .strip_prefix("batch")?
            .trim_start_matches([' ', '=']);
        size.parse().ok().filter(|&n: &f64| n >= 1.0)
    }
}

/// The looks a method may have, best first; never empty.
fn candidates(name: &Name<'_>) -> Vec<Look> {
    let today = TODAY.iter().find(|(base, _)| *base == name.base);
    if let Some((_, look)) = today {
        return vec![*look];
    }
    let fixed = FIXED
        .iter()
        .find(|(base, _)| base.eq_ignore_ascii_case(name.base))
        .map(|&(_, colour)| colour);
    let colours: Vec<Colour> = match fixed {
        Some(colour) => vec![colour],
        None => rotated(&SPARE, hash(name.base)),
    };
    let batch = name.batch();
    let dashes = match (fixed, name.starred, batch, name.qualifier) {
        (_, true, _, _) => rotated(&Dash::ALL, 1),
        (_, _, None, Some(qualifier)) => rotated(&Dash::ALL[1..], hash(qualifier)),
        (_, _, Some(batch), _) if batch < PURE_BATCH => rotated(&Dash::ALL, 3),
        (None, ..) => rotated(&Dash::ALL, hash(name.base) / 2),
        _ => Dash::ALL.to_vec(),
    };
    let shade = |colour| batch.map_or(colour, |n| shaded(colour, n));
    let of_colour = |&colour: &Colour| {
        dashes.iter().map(move |&dash| Look {
            colour: shade(colour),
            dash,
        })
    };
    colours.iter().flat_map(of_colour).collect()
}

fn rotated<T: Copy>(items: &[T], by: usize) -> Vec<T> {
    let by = by % items.len();
    [&items[by..], &items[..by]].concat()
}

/// The batch size that has a method's own hue.
const PURE_BATCH: f64 = 16.0;

/// The shade of a batch size: light at 8, the pure hue at 16, darker from there on. No lighter, or it could not be seen on white.
fn shaded(colour: Colour, batch: f64) -> Colour {
    let octaves = (batch / PURE_BATCH).log2().clamp(-1.0, 2.0);
    match octaves < 0.0 {
        true => mixed(colour, 255.0, -0.18 * octaves),
        false => mixed(colour, 0.0, 0.3 * octaves),
    }
}

/// FNV-1a: unlike the standard library's hasher, fixed for all time.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |h, byte| {
        (h ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash >> 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(method: &str) -> Look {
        looks(&[method])[0].1
    }

    #[test]
    fn the_papers_methods_have_fixed_colours() {
        for (method, colour) in [
            ("mSGD", (0xE6, 0x9F, 0x00)),
            ("Adam", (0x56, 0xB4, 0xE9)),
            ("L4Adam", (0x00, 0x72, 0xB2)),
            ("L4Mom", (0xD5, 0x5E, 0x00)),
            ("RMSProp", (0x00, 0x9E, 0x73)),
            ("LMA", (0xCC, 0x79, 0xA7)),
            ("default policy", (0, 0, 0)),
        ] {
            assert_eq!(
                look(method),
                Look {
                    colour,
                    dash: Dash::Solid
                },
                "{method}"
            );
        }
    }

    #[test]
    fn a_methods_look_does_not_depend_on_its_company() {
        let all = [
            "SGD",
            "L4Mom*",
            "mSGD",
            "L4Adam",
            "RMSProp",
            "L4Adam*",
            "Adam",
            "LMA*",
            "default policy",
        ];
        for (method, in_company) in looks(&all) {
            assert_eq!(in_company, look(method), "{method}");
        }
    }

    #[test]
    fn todays_methods_are_told_apart_from_each_other_and_from_what_they_are_compared_with() {
        let compared = ["L4Adam", "L4Mom", "Adam*", "mSGD*"];
        let names: Vec<&str> = TODAY
            .iter()
            .map(|(name, _)| *name)
            .chain(compared)
            .collect();
        let looks = looks(&names);
        for (index, (name, own)) in looks.iter().enumerate() {
            assert_eq!(*own, look(name), "{name}: whatever its company");
            assert!(
                looks[..index].iter().all(|(_, other)| other != own),
                "{name}"
            );
        }
    }

    #[test]
    fn a_star_keeps_the_hue_and_changes_the_dashes() {
        for method in ["L4Adam", "L4Mom", "LMA"] {
            let starred = look(&format!("{method}*"));
            assert_eq!(starred.colour, look(method).colour);
            assert_eq!(starred.dash, Dash::Dashed);
        }
    }

    #[test]
    fn batch_sizes_are_shades_from_light_to_dark() {
        let brightness = |batch: u32| {
            let Look {
                colour: (r, g, b),
                dash,
            } = look(&format!("L4Adam, batch {batch}"));
            assert_eq!(dash == Dash::Solid, batch > 8, "{batch}");
            u32::from(r) + u32::from(g) + u32::from(b)
        };
        let shades = [8, 16, 32, 64].map(brightness);
        assert!(shades.is_sorted_by(|a, b| a > b), "{shades:?}");
        assert_eq!(look("L4Adam, batch 16").colour, look("L4Adam").colour);
        // The lightest of the two hues. 3 is what WCAG asks of what is no text.
        for method in ["L4Adam, batch 8", "L4Mom, batch 8"] {
            let contrast = 1.05 / (luminance(look(method).colour) + 0.05);
            assert!(contrast >= 3.0, "{method}: {contrast}");
        }
    }

    #[test]
    fn other_qualifiers_change_the_dashes_only() {
        let plain = look("L4Adam");
        let qualified = look("L4Adam (dropout 0.5)");
        assert_eq!(qualified.colour, plain.colour);
        assert_ne!(qualified.dash, plain.dash);
    }

    #[test]
    fn unknown_methods_get_distinct_fixed_looks_from_the_rest() {
        let names = [
            "Lion",
            "AdaHessian",
            "Shampoo",
            "AdaGrad",
            "Muon",
            "SPS",
            "L-BFGS",
        ];
        let assigned = looks(&names);
        for (i, (name, look)) in assigned.iter().enumerate() {
            assert!(SPARE.contains(&look.colour), "{name}");
            assert!(
                assigned[..i].iter().all(|(_, other)| other != look),
                "{name}"
            );
        }
        assert_eq!(assigned, looks(&names));
    }

    #[test]
    fn every_colour_stands_out_from_a_dark_ground() {
        // 4.5 times the ground's luminance is what WCAG asks of text; lines need 3.
        let ground = luminance((0x16, 0x18, 0x1D));
        let methods = [
            "mSGD",
            "SGD",
            "Adam",
            "L4Adam",
            "L4Mom",
            "RMSProp",
            "LMA",
            "default policy",
            "x",
            "L4Adam, batch 64",
        ];
        for (method, look) in looks(&methods) {
            let contrast = (luminance(on_dark(look.colour)) + 0.05) / (ground + 0.05);
            assert!(contrast >= 4.5, "{method}: {contrast}");
        }
        assert_eq!(
            on_dark((0x56, 0xB4, 0xE9)),
            (0x56, 0xB4, 0xE9),
            "light enough"
        );
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash("foobar"), 0xbf9c_f968 >> 8);
    }
}
