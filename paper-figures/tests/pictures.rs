//! What the drawings contain. The pictures are left in the build folder (`tmp/gallery`), to be looked at.

mod fixtures;

use std::{fs, path::Path};

use paper_figures::{
    picture::{Picture, picture},
    results::{Parsed, parse},
};
use proptest::prelude::*;
use serde_json::{Value, json};

const BLUE: &str = "#0072B2";
const VERMILLION: &str = "#D55E00";
const BAND: &str = "opacity=\"0.22\"";

fn draw(file: &Value) -> Picture {
    let Parsed::Figure(figure) = parse(&file.to_string()).expect("a valid file") else {
        panic!("expected a figure")
    };
    picture(&figure).expect("drawn")
}

/// Draws and leaves the picture to be looked at.
fn shown(file: &Value) -> Picture {
    let drawn = draw(file);
    let gallery = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gallery");
    let stem = gallery.join(file["id"].as_str().expect("an id"));
    fs::create_dir_all(&gallery).expect("a folder");
    fs::write(stem.with_extension("svg"), &drawn.svg).expect("written");
    fs::write(stem.with_extension("png"), &drawn.png).expect("written");
    drawn
}

/// The elements of a kind that contain all of `parts`.
fn elements<'a>(svg: &'a str, kind: &str, parts: &[&str]) -> Vec<&'a str> {
    let start = format!("<{kind} ");
    svg.lines()
        .filter(|line| line.starts_with(&start) && parts.iter().all(|part| line.contains(part)))
        .collect()
}

/// The texts of an SVG; plotters writes each on a line of its own.
fn texts(svg: &str) -> Vec<&str> {
    let lines: Vec<&str> = svg.lines().collect();
    lines
        .windows(2)
        .filter(|w| w[0].starts_with("<text "))
        .map(|w| w[1])
        .collect()
}

/// The vertical coordinates of a polyline's or polygon's points.
fn heights(element: &str) -> Vec<i32> {
    let points = element
        .split("points=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("points");
    points
        .split_whitespace()
        .map(|p| p.split(',').nth(1).expect("y").parse().expect("a number"))
        .collect()
}

fn stroke(colour: &str) -> String {
    format!("stroke=\"{colour}\"")
}

fn fill(colour: &str) -> String {
    format!("fill=\"{colour}\"")
}

#[test]
fn a_figure_has_its_bands_lines_titles_and_legend() {
    let svg = shown(&fixtures::figure2()).svg;
    let swatches_and_bands = |colour: &str| elements(&svg, "polygon", &[&fill(colour), BAND]).len();
    assert_eq!(
        swatches_and_bands(BLUE),
        3 + 2,
        "L4Adam twice, L4Adam* once; two legend entries"
    );
    assert_eq!(
        swatches_and_bands("#E69F00"),
        2 + 1,
        "mSGD in both panels; one legend entry"
    );
    assert_eq!(
        elements(&svg, "polyline", &[&stroke("#E69F00")]).len(),
        2 + 1,
        "solid lines are one element each"
    );
    assert!(
        elements(&svg, "polyline", &[&stroke(BLUE)]).len() > 30,
        "L4Adam* is dashed"
    );
    let texts = texts(&svg);
    for text in [
        "(a) Training loss",
        "(b) Effective learning rate",
        "loss",
        "10⁻³⁰",
        "10,000",
        "L4Mom*",
        "RMSProp",
    ] {
        assert_eq!(texts.contains(&text), text != "RMSProp", "{text}");
    }
    assert!(svg.contains("<title>Badly conditioned regression</title>"));
    assert!(svg.contains("mean of n = 5 runs; band: from the least to the greatest run."));
    assert!(svg.contains("width=\"6.6in\""));
}

#[test]
fn texts_stay_on_the_sheet_and_the_legend_below_the_plots() {
    for file in [
        fixtures::figure2(),
        fixtures::figure3(),
        fixtures::figure8(),
        fixtures::figure_of_oddities(),
    ] {
        let svg = shown(&file).svg;
        let size: Vec<i32> = svg
            .split("viewBox=\"0 0 ")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("size")
            .split(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        let attribute = |element: &str, name: &str| -> i32 {
            let value = element
                .split(&format!(" {name}=\""))
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            value.expect("the attribute").parse().expect("a number")
        };
        let lowest_plot_point = elements(&svg, "polyline", &[&stroke("#E4E4E4")])
            .into_iter()
            .flat_map(heights)
            .max();
        let swatches = elements(&svg, "polygon", &[BAND])
            .into_iter()
            .filter(|e| heights(e).iter().min() > lowest_plot_point.as_ref());
        assert!(swatches.count() >= 1);
        for text in elements(&svg, "text", &[]) {
            let (x, y) = (attribute(text, "x"), attribute(text, "y"));
            assert!(
                (0..=size[0]).contains(&x) && (0..=size[1]).contains(&y),
                "{text}"
            );
        }
    }
}

#[test]
fn a_loss_of_zero_reaches_a_labelled_floor() {
    let svg = shown(&fixtures::figure3()).svg;
    let texts = texts(&svg);
    assert!(texts.contains(&"0"), "the floor's label");
    assert!(
        texts.contains(&"L4Adam* (reaches 0 in (a); 1 of 5 diverged)"),
        "{texts:?}"
    );
    let arrowheads: Vec<_> = elements(&svg, "polygon", &[&fill(BLUE), "opacity=\"1\""]);
    assert_eq!(arrowheads.len(), 1);
    let floor = heights(arrowheads[0]).into_iter().max();
    let lowest_ink = elements(&svg, "polyline", &[&stroke(BLUE)])
        .into_iter()
        .flat_map(heights)
        .filter(|y| Some(*y) <= floor)
        .max();
    assert_eq!(lowest_ink, floor, "the line runs along the floor");
    assert!(
        elements(&svg, "polygon", &[&fill(VERMILLION), "opacity=\"1\""]).is_empty(),
        "L4Mom* stays above"
    );
}

#[test]
fn the_png_is_the_svg_at_300_dots_per_inch() {
    let drawn = draw(&fixtures::figure8());
    let reader = png::Decoder::new(std::io::Cursor::new(&drawn.png))
        .read_info()
        .expect("a PNG");
    let info = reader.info();
    assert_eq!(info.width, 990, "3.3 in");
    assert_eq!(info.pixel_dims.map(|d| d.xppu), Some(11811));
}

#[test]
fn a_hundred_thousand_points_make_a_small_file() {
    let x = fixtures::steps(100_000, 1);
    let noisy = fixtures::series("a", "L4Adam", &x, 2.0, |x| 2.0 + fixtures::noise(x));
    let axes = fixtures::axes("a", "t", ("x", "linear"), ("y", "log"));
    let svg = draw(&fixtures::file(
        "f",
        "t",
        json!({"axes": [axes], "series": [noisy]}),
    ))
    .svg;
    assert!(svg.len() < 100_000, "{}", svg.len());
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    assert_eq!(draw(&fixtures::figure3()), draw(&fixtures::figure3()));
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        2 => Just(0.0),
        6 => (-300.0..300.0f64).prop_map(|e| 10f64.powf(e)),
        2 => (-300.0..300.0f64).prop_map(|e| -10f64.powf(e)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_finite_numbers_can_be_drawn(
        mean in prop::collection::vec(any_value(), 0..12), start in -10.0..10.0f64, log_x: bool, log_y: bool,
    ) {
        let scale = |log| if log { "log" } else { "linear" };
        let x: Vec<f64> = (0..mean.len()).map(|i| start + (i / 2) as f64).collect();
        let content = json!({
            "axes": [fixtures::axes("a", "t <&>", ("x", scale(log_x)), ("y", scale(log_y)))],
            "series": [{
                "panel": "a", "method": "L4Adam*", "x": x, "mean": mean, "low": mean, "high": mean, "n": 1,
                "band": "range"
            }]
        });
        draw(&fixtures::file("f", "t \u{7} <b>", content));
    }
}
