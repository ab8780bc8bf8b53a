//! Figures: curves over shared axes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Divergence, Header, Invalid, finite};

/// A figure of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The panels.
    #[schemars(length(min = 1))]
    pub axes: Vec<Axes>,
    /// The curves, panel by panel.
    pub series: Vec<Series>,
}

/// A panel of a [`Figure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// Its letter, as `"a"`.
    #[schemars(length(min = 1))]
    pub panel: String,
    /// Its title.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
}

/// An axis of a panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What it shows, with the unit if there is one.
    #[schemars(length(min = 1))]
    pub name: String,
    /// How.
    pub scale: Scale,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
}

impl Axis {
    /// An axis divided evenly.
    #[must_use]
    pub fn linear(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scale: Scale::Linear,
        }
    }

    /// An axis divided by powers of ten.
    #[must_use]
    pub fn log(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scale: Scale::Log,
        }
    }
}

/// A curve, with a band around it where it is a mean; or, by its `style`, another thing that is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// The panel it belongs to.
    #[schemars(length(min = 1))]
    pub panel: String,
    /// The method, as in the paper's legend; for a computed line, what it is.
    #[schemars(length(min = 1))]
    pub method: String,
    /// How it is drawn.
    #[serde(default, skip_serializing_if = "Style::is_curve")]
    pub style: Style,
    /// Positions on the horizontal axis.
    pub x: Vec<f64>,
    /// Mean over the runs that got there.
    pub mean: Vec<f64>,
    /// Lower edge of the band; empty where there is none.
    pub low: Vec<f64>,
    /// Upper edge of the band; empty where there is none.
    pub high: Vec<f64>,
    /// Runs, with those that diverged; 0 for what is computed.
    pub n: usize,
    /// What the band shows.
    pub band: BandKind,
    /// Runs that diverged: they count up to there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<Divergence>,
    /// Positions at which the mean is infinite, as a run diverged there. Drawn as open markers at the upper edge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infinite: Vec<f64>,
    /// What is pointed out along it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// How a [`Series`] is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// A line through the means, with the band behind it, in the method's own colour.
    #[default]
    Curve,
    /// A marker at each mean, with a bar from `low` to `high`, joined by a thin line.
    Markers,
    /// A line.
    Line,
    /// A dashed line.
    Dashed,
    /// A dot at each place.
    Point,
    /// An arrow from the first place to the last.
    Arrow,
}

impl Style {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_curve(&self) -> bool {
        *self == Self::Curve
    }
}

/// Something pointed out: text at a place, or a vertical line across the panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Where on the horizontal axis.
    pub x: f64,
    /// Where on the vertical axis; absent for a line from its lower to its upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<f64>,
    /// What is said of it.
    #[schemars(length(min = 1))]
    pub text: String,
}

/// What the band of a [`Series`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BandKind {
    /// From the least to the greatest run.
    #[serde(rename = "range")]
    Range,
    /// One sample standard deviation to each side.
    #[serde(rename = "std")]
    Std,
    /// From the least to the greatest value within the few steps that a point stands for.
    #[serde(rename = "short-term range")]
    ShortTermRange,
    /// There is none.
    #[serde(rename = "none")]
    None,
}

impl Series {
    /// Whether there is a band to be seen: around the mean of a single run there is none.
    #[must_use]
    pub fn has_band(&self) -> bool {
        self.band != BandKind::None
            && self
                .low
                .iter()
                .zip(&self.high)
                .any(|(low, high)| low < high)
    }

    /// Something computed rather than measured, through or from `places`.
    #[must_use]
    pub fn computed(panel: &str, name: &str, style: Style, places: &[(f64, f64)]) -> Self {
        let (x, mean) = places.iter().copied().unzip();
        Self {
            panel: panel.to_owned(),
            method: name.to_owned(),
            style,
            x,
            mean,
            low: Vec::new(),
            high: Vec::new(),
            n: 0,
            band: BandKind::None,
            diverged: Vec::new(),
            infinite: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The same with a vertical line across its panel.
    #[must_use]
    pub fn marked(mut self, x: f64, text: &str) -> Self {
        self.marks.push(Mark {
            x,
            y: None,
            text: text.to_owned(),
        });
        self
    }

    fn check(&self, at: &str) -> Result<(), Invalid> {
        let expected = self.x.len();
        let of_band = if self.band == BandKind::None {
            0
        } else {
            expected
        };
        for (name, values, expected, why) in [
            ("mean", &self.mean, expected, "as many as `x` has"),
            ("low", &self.low, of_band, "as many as the band has"),
            ("high", &self.high, of_band, "as many as the band has"),
        ] {
            if values.len() != expected {
                let problem = format!("expected {expected} values, {why}, found {}", values.len());
                return Err(Invalid::new(format!("{at}.{name}"), problem));
            }
        }
        for (name, values) in [
            ("x", &self.x),
            ("mean", &self.mean),
            ("low", &self.low),
            ("high", &self.high),
            ("infinite", &self.infinite),
        ] {
            for (i, value) in values.iter().enumerate() {
                finite(*value, || format!("{at}.{name}[{i}]"))?;
            }
        }
        for (i, mark) in self.marks.iter().enumerate() {
            finite(mark.x, || format!("{at}.marks[{i}].x"))?;
            finite(mark.y.unwrap_or(0.0), || format!("{at}.marks[{i}].y"))?;
        }
        self.check_order(at)
    }

    /// `x` never decreases, except along what is drawn from place to place; `low` is not above `high`.
    fn check_order(&self, at: &str) -> Result<(), Invalid> {
        let ordered = matches!(self.style, Style::Curve | Style::Markers);
        let fall = self.x.windows(2).position(|pair| pair[1] < pair[0]);
        if let Some(i) = fall.filter(|_| ordered) {
            let problem = format!(
                "expected x never to decrease, found {} after {}",
                self.x[i + 1],
                self.x[i]
            );
            return Err(Invalid::new(format!("{at}.x[{}]", i + 1), problem));
        }
        let mut band = self.low.iter().zip(&self.high);
        match band.position(|(low, high)| low > high) {
            Some(i) => {
                let problem = format!(
                    "expected at most `high` ({}), found {}",
                    self.high[i], self.low[i]
                );
                Err(Invalid::new(format!("{at}.low[{i}]"), problem))
            }
            None => Ok(()),
        }
    }
}

impl Figure {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.axes.is_empty() {
            return Err(Invalid::new(
                "axes",
                "expected at least one panel, found none",
            ));
        }
        for (i, axes) in self.axes.iter().enumerate() {
            if self.axes[..i].iter().any(|a| a.panel == axes.panel) {
                let problem = format!("expected panels to differ, found `{}` twice", axes.panel);
                return Err(Invalid::new(format!("axes[{i}].panel"), problem));
            }
        }
        for (i, series) in self.series.iter().enumerate() {
            let at = format!("series[{i}]");
            series.check(&at)?;
            if !self.axes.iter().any(|a| a.panel == series.panel) {
                let known: Vec<_> = self.axes.iter().map(|a| a.panel.as_str()).collect();
                let problem = format!(
                    "expected a panel of `axes` ({}), found `{}`",
                    known.join(", "),
                    series.panel
                );
                return Err(Invalid::new(format!("{at}.panel"), problem));
            }
            let same = |s: &Series| s.panel == series.panel && s.method == series.method;
            if self.series[..i].iter().any(same) {
                let problem = format!(
                    "expected one series a method, found `{}` twice in panel `{}`",
                    series.method, series.panel
                );
                return Err(Invalid::new(format!("{at}.method"), problem));
            }
        }
        Ok(())
    }
}
