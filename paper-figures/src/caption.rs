//! The words under a figure: what its lines are and over how many runs. What departs from the protocol and where the numbers
//! come from is said once a page, by [`about`](crate::about).

use crate::results::{Axes, BandKind, Figure, Series, Style};

/// A figure's caption.
pub fn figure(figure: &Figure) -> String {
    let Figure { axes, series, .. } = figure;
    let mut sentences = vec![sentence(&figure.header.title)];
    for (style, lines, spread) in [
        (Style::Curve, "Lines", "band"),
        (Style::Markers, "Markers", "bars"),
    ] {
        let own: Vec<&Series> = series.iter().filter(|s| s.style == style).collect();
        if own.is_empty() {
            continue;
        }
        let whats = by_panel(axes, &own, what);
        let banded: Vec<&Series> = own.into_iter().filter(|s| s.has_band()).collect();
        let bands = by_panel(axes, &banded, |s| band(s.band).to_owned());
        sentences.push(match banded.is_empty() {
            true => format!("{lines}: {whats}."),
            false => format!("{lines}: {whats}; {spread}: {bands}."),
        });
    }
    if series.iter().any(|s| !s.diverged.is_empty()) {
        sentences.push(
            "Diverged runs count up to where they diverged; the legend says how many did."
                .to_owned(),
        );
    }
    if series.iter().any(|s| !s.infinite.is_empty()) {
        sentences.push(
            "Rings at the upper edge: a run diverged there, so the mean is infinite.".to_owned(),
        );
    }
    sentences.join(" ")
}

/// What a line is of. That of one run, and what is no mean of runs, the title names.
fn what(series: &Series) -> String {
    let runs = match series.n {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    match (series.style, series.band) {
        (Style::Curve, BandKind::Range | BandKind::Std) if series.n > 1 => {
            format!("mean of n = {runs}")
        }
        (_, BandKind::ShortTermRange) => "one run".to_owned(),
        _ => format!("n = {runs}"),
    }
}

fn band(kind: BandKind) -> &'static str {
    match kind {
        BandKind::Range => "from the least to the greatest run",
        BandKind::Std => "one standard deviation to either side",
        BandKind::ShortTermRange => "from the least to the greatest value nearby",
        BandKind::None => "none",
    }
}

/// A property of the series: said once where all panels agree on it, else panel by panel.
fn by_panel(axes: &[Axes], series: &[&Series], property: impl Fn(&Series) -> String) -> String {
    let said: Vec<(&str, String)> = axes
        .iter()
        .map(|axes| {
            let shown = series.iter().copied().filter(|s| s.panel == axes.panel);
            (axes.panel.as_str(), by_method(shown, &property))
        })
        .filter(|(_, text)| !text.is_empty())
        .collect();
    match said.as_slice() {
        [(_, first), rest @ ..] if rest.iter().all(|(_, text)| text == first) => first.clone(),
        _ => said
            .iter()
            .map(|(panel, text)| format!("({panel}) {text}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The first series' property, with the methods that differ by name.
fn by_method<'a>(
    series: impl Iterator<Item = &'a Series>,
    property: impl Fn(&Series) -> String,
) -> String {
    let mut all = series.map(|s| (&s.method, property(s)));
    let Some((_, usual)) = all.next() else {
        return String::new();
    };
    let exceptions: Vec<String> = all
        .filter(|(_, value)| *value != usual)
        .map(|(method, value)| format!("{method}: {value}"))
        .collect();
    if exceptions.is_empty() {
        usual
    } else {
        format!("{usual} ({})", exceptions.join("; "))
    }
}

/// `text` with a full stop, unless it ends in some punctuation already.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Axis, Scale};

    #[test]
    fn what_differs_is_said_of_the_panel_or_the_method_it_differs_for() {
        let axes = |panel: &str| {
            let axis = Axis {
                name: "x".into(),
                scale: Scale::Linear,
            };
            Axes {
                panel: panel.into(),
                title: String::new(),
                x: axis.clone(),
                y: axis,
            }
        };
        let series = |panel: &str, method: &str, n| Series {
            n,
            ..Series::computed(panel, method, Style::Curve, &[])
        };
        let said = |series: Vec<Series>| {
            let axes = ["a", "b", "c"].map(axes);
            by_panel(&axes, &series.iter().collect::<Vec<_>>(), |s| {
                s.n.to_string()
            })
        };
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("b", "Adam", 5)]),
            "5"
        );
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("b", "Adam", 3)]),
            "(a) 5, (b) 3"
        );
        assert_eq!(
            said(vec![series("a", "Adam", 5), series("a", "LMA*", 3)]),
            "5 (LMA*: 3)"
        );
    }

    #[test]
    fn sentences_end_once() {
        assert_eq!(sentence("A"), "A.");
        assert_eq!(sentence("A. "), "A.");
    }
}
