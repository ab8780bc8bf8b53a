//! What the drawings contain. The pictures are left in the build folder (`tmp/gallery`), to be looked at.

use std::{fs, path::Path};

use paper_figures::{
    Pieces, pieces,
    results::{Figure, Parsed, parse},
    sheet,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures;

const BLUE: &str = "#0072B2";
const VERMILLION: &str = "#D55E00";
const BAND: &str = "fill-opacity=\"0.22\"";

fn figure(file: &Value) -> Figure {
    match parse(&file.to_string()).expect("a valid file") {
        Parsed::Figure(figure) => figure,
        _ => panic!("expected a figure"),
    }
}

fn draw(file: &Value) -> String {
    sheet(&figure(file))
}

/// Draws and leaves the picture to be looked at.
fn shown(file: &Value) -> String {
    let svg = draw(file);
    let gallery = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gallery");
    let id = file["id"].as_str().expect("an id");
    fs::create_dir_all(&gallery).expect("a folder");
    fs::write(gallery.join(id).with_extension("svg"), &svg).expect("written");
    svg
}

/// The elements of a kind that contain all of `parts`; each is on a line of its own.
fn elements<'a>(svg: &'a str, kind: &str, parts: &[&str]) -> Vec<&'a str> {
    let start = format!("<{kind} ");
    svg.lines()
        .filter(|line| line.starts_with(&start) && parts.iter().all(|part| line.contains(part)))
        .collect()
}

/// The texts of an SVG, but for the grounds of those that have one.
fn texts(svg: &str) -> Vec<&str> {
    elements(svg, "text", &[])
        .into_iter()
        .filter(|line| !line.contains("halo"))
        .map(|line| {
            let rest = line.split('>').nth(1);
            rest.and_then(|rest| rest.split('<').next())
                .expect("a text")
        })
        .collect()
}

fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let value = element.split(&format!(" {name}=\"")).nth(1);
    value
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("{name} of {element}"))
}

/// The places of a path, which is a start and the ways from there on, perhaps several times.
fn places(element: &str) -> Vec<(i32, i32)> {
    let mut all = Vec::new();
    for piece in attribute(element, "d")
        .trim_end_matches('z')
        .split('M')
        .skip(1)
    {
        let numbers = piece
            .split(['l', ' '])
            .map(|n| n.parse().expect("a number"));
        let numbers: Vec<i32> = numbers.collect();
        let (mut x, mut y) = (0, 0);
        for pair in numbers.chunks(2) {
            (x, y) = (x + pair[0], y + pair[1]);
            all.push((x, y));
        }
    }
    all
}

fn heights(element: &str) -> impl Iterator<Item = i32> {
    places(element).into_iter().map(|(_, y)| y)
}

fn stroke(colour: &str) -> String {
    format!("stroke=\"{colour}\"")
}

fn fill(colour: &str) -> String {
    format!("fill=\"{colour}\"")
}

#[test]
fn a_figure_has_its_bands_lines_titles_and_legend() {
    let svg = shown(&fixtures::figure2());
    let swatches_and_bands = |colour: &str| elements(&svg, "path", &[&fill(colour), BAND]).len();
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
    let lines = elements(&svg, "path", &[&stroke(BLUE)]);
    assert_eq!(lines.len(), 3 + 2, "a curve is one element, dashed or not");
    let pieces = |line: &&str| attribute(line, "d").matches('M').count();
    let dashed: Vec<usize> = lines.iter().map(pieces).filter(|n| *n > 1).collect();
    assert!(
        dashed.len() == 2 && dashed[0] > 30,
        "L4Adam* is dashed: {dashed:?}"
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
fn a_caption_does_not_say_what_is_said_once_a_page() {
    let svg = draw(&fixtures::figure2());
    for once in ["Deviations", "commit", "12.3", "23.4"] {
        assert!(!svg.contains(once), "{once}");
    }
}

#[test]
fn texts_stay_on_the_sheet_and_the_legend_below_the_plots() {
    for file in [
        fixtures::figure1(),
        fixtures::figure2(),
        fixtures::figure3(),
        fixtures::figure8(),
        fixtures::figure_sensitivity(),
        fixtures::figure_of_oddities(),
    ] {
        let svg = shown(&file);
        let size = attribute(&svg, "viewBox")
            .split(' ')
            .map(|n| n.parse().expect("a number"));
        let size: Vec<i32> = size.collect();
        let grid = elements(&svg, "path", &["class=\"grid\""]);
        let lowest_plot_point = grid.into_iter().flat_map(heights).max();
        let below = |y: i32| Some(y) > lowest_plot_point;
        let samples = elements(&svg, "path", &["--dark"]);
        assert!(
            samples.into_iter().any(|e| heights(e).all(below)),
            "{}",
            file["id"]
        );
        for text in elements(&svg, "text", &[]) {
            if text.contains("transform") {
                continue;
            }
            let number = |name| attribute(text, name).parse::<i32>().expect("a number");
            let (x, y) = (number("x"), number("y"));
            assert!(
                (0..=size[2]).contains(&x) && (0..=size[3]).contains(&y),
                "{text}"
            );
        }
    }
}

#[test]
fn a_long_name_of_an_axis_leaves_room_for_the_plot() {
    for name in [
        "a loss whose name goes on and on ".repeat(20),
        "x".repeat(2000),
    ] {
        let mut file = fixtures::figure2();
        for axes in 0..2 {
            file["axes"][axes]["y"]["name"] = name.as_str().into();
        }
        let svg = draw(&file);
        let grid = elements(&svg, "path", &["class=\"grid\""]);
        let across = places(grid[0]).into_iter().map(|(x, _)| x);
        let (left, right) = (across.clone().min(), across.max());
        let width = right.expect("a grid") - left.expect("a grid");
        let sheet = attribute(&svg, "viewBox")
            .split(' ')
            .nth(2)
            .expect("a width");
        let sheet: i32 = sheet.parse().expect("a number");
        assert!(width > sheet / 4, "{width} of {sheet}");
    }
}

#[test]
fn a_loss_of_zero_reaches_a_labelled_floor() {
    let svg = shown(&fixtures::figure3());
    let texts = texts(&svg);
    assert!(texts.contains(&"0"), "the floor's label");
    assert!(
        texts.contains(&"L4Adam* (reaches 0 in (a); 1 of 5 diverged)"),
        "{texts:?}"
    );
    let filled = |colour: &str| {
        let paths = elements(&svg, "path", &[&fill(colour)]);
        paths
            .into_iter()
            .filter(|e| !e.contains("fill-opacity"))
            .collect::<Vec<_>>()
    };
    let arrowheads = filled(BLUE);
    assert_eq!(arrowheads.len(), 1);
    let floor = heights(arrowheads[0]).max();
    let lowest_ink = elements(&svg, "path", &[&stroke(BLUE)])
        .into_iter()
        .flat_map(heights)
        .filter(|y| Some(*y) <= floor)
        .max();
    assert_eq!(lowest_ink, floor, "the line runs along the floor");
    assert!(filled(VERMILLION).is_empty(), "L4Mom* stays above");
}

#[test]
fn an_illustration_has_its_lines_arrows_and_words() {
    let file = fixtures::figure1();
    let svg = shown(&file);
    assert!(
        elements(&svg, "path", &[BAND]).is_empty(),
        "nothing has a band"
    );
    let (step, part) = ("#CC79A7", "#D55E00");
    for (colour, what) in [(step, "the full step"), (part, "the fraction of it")] {
        let heads = elements(&svg, "path", &[&fill(colour)]);
        assert_eq!(
            heads.len(),
            2 + 1,
            "{what}: an arrowhead a panel, and the legend's"
        );
        // The panels are drawn before the legend. A head is corner, tip, corner.
        let tip = places(heads[0])[1];
        let shaft = places(elements(&svg, "path", &[&stroke(colour)])[0]);
        assert!(
            tip.0 < shaft[0].0 && tip.1 > shaft[0].1,
            "{what} goes down to the left"
        );
    }
    let texts = texts(&svg);
    for text in ["θ", "predicted minimum", "tangent at θ", "α of it"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    assert!(!svg.contains("n = 0"), "nothing was run");
}

#[test]
fn a_sweep_has_markers_bars_rings_and_the_published_setting() {
    let svg = shown(&fixtures::figure_sensitivity());
    let (orange, sky) = ("#E69F00", "#56B4E9");
    let dots = |colour: &str| elements(&svg, "circle", &[&fill(colour)]).len();
    assert_eq!(
        (dots(orange), dots(sky)),
        (6 + 1, 9 + 1),
        "a dot a rate, and the legend's"
    );
    let rings = |colour: &str| elements(&svg, "circle", &[&stroke(colour)]);
    assert_eq!((rings(orange).len(), rings(sky).len()), (2, 3));
    let level = |ring: &&str| attribute(ring, "cy").to_owned();
    let (msgd, adam) = (level(&rings(orange)[0]), level(&rings(sky)[0]));
    assert_ne!(msgd, adam, "one method's ring does not hide the other's");
    assert!(
        texts(&svg).contains(&"0.0005"),
        "the published rate is marked"
    );
    let shared = texts(&svg).into_iter().filter(|text| *text == "0.15");
    assert_eq!(shared.count(), 1, "what two methods have is marked once");
    assert!(svg.contains("Markers: n = 3 runs; bars: from the least to the greatest run."));
    assert!(
        svg.contains("Rings at the upper edge: a run diverged there, so the mean is infinite.")
    );
}

#[test]
fn the_pieces_are_the_sheets_panels_and_entries() {
    let Pieces { panels, legend } = pieces(&figure(&fixtures::figure3()));
    assert_eq!(panels.len(), 2);
    assert!(texts(&panels[0]).contains(&"(a) Training loss"));
    assert!(texts(&panels[1]).contains(&"(b) Test accuracy"));
    for svg in &panels {
        assert!(svg.contains("width=\"3.3in\"") && !texts(svg).contains(&"mSGD"));
    }
    let entries: Vec<&str> = legend.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        entries,
        [
            "mSGD",
            "Adam",
            "L4Mom*",
            "L4Adam* (reaches 0 in (a); 1 of 5 diverged)"
        ]
    );
}

#[test]
fn every_colour_has_another_for_a_dark_ground() {
    for file in [
        fixtures::figure1(),
        fixtures::figure3(),
        fixtures::figure_sensitivity(),
    ] {
        let svg = draw(&file);
        let drawn = svg
            .lines()
            .filter(|line| line.starts_with(['<']) && line.contains("=\"#"));
        for element in drawn {
            let has_class = ["sheet", "ink", "grid", "halo"]
                .iter()
                .any(|class| element.contains(&format!("class=\"{class}\"")));
            assert!(
                has_class || element.contains("style=\"--dark:#"),
                "{element}"
            );
        }
    }
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
    ));
    assert!(svg.len() < 100_000, "{}", svg.len());
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    assert_eq!(draw(&fixtures::figure3()), draw(&fixtures::figure3()));
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        2 => Just(0.0),
        1 => Just(5e-324),
        1 => Just(-1e-310),
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
