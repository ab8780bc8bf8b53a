//! Axes: where a value lies between an axis' two ends, and which values to mark.
//!
//! A log axis has no place for zero and below. [`Scale::log`] is told whether such values occur; then it keeps
//! [`FLOOR_SHARE`] of its length free below the smallest positive value, puts everything that is not positive on the
//! *floor*, its lower end, and labels the floor, so that a loss of exactly 0 is seen rather than dropped.

use crate::{number, results::Scale as Spacing};

/// The share of a log axis between its floor and the smallest positive value, where values reach zero.
const FLOOR_SHARE: f64 = 0.1;
/// Below the span of a linear axis, and what it is far from.
const LEAST_SPAN: f64 = 1e-300;
/// The share of an axis left free beyond the data at either end.
const MARGIN: f64 = 0.04;
/// Distances between labelled decades.
const DECADE_STRIDES: [i32; 8] = [1, 2, 3, 5, 10, 20, 50, 100];
/// More unlabelled ticks than this are clutter.
const MOST_MINOR: usize = 60;

/// What the values on an axis amount to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    low: f64,
    high: f64,
    smallest_positive: f64,
}

impl Extent {
    /// The extent of all `values`.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let nothing = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            smallest_positive: f64::INFINITY,
        };
        values.into_iter().fold(nothing, |e, v| Self {
            low: e.low.min(v),
            high: e.high.max(v),
            smallest_positive: if v > 0.0 {
                e.smallest_positive.min(v)
            } else {
                e.smallest_positive
            },
        })
    }
}

/// An axis' range and spacing. `low < high`, both finite, in the spaced coordinate (log₁₀ on a log axis).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    kind: Spacing,
    low: f64,
    high: f64,
    floor: Option<Floor>,
}

/// Why a log axis has a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Some value is exactly 0, none is below.
    Zero,
    /// Some value is below 0.
    Negative,
}

impl Floor {
    /// The floor's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Zero => "0",
            Self::Negative => "≤ 0",
        }
    }
}

/// The values to mark on an axis, from low to high.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Ticks {
    /// Positions (0 to 1 along the axis) with labels.
    pub major: Vec<(f64, String)>,
    /// Positions without labels.
    pub minor: Vec<f64>,
}

impl Scale {
    /// An axis over `extent`, with room around it where `margin` is set.
    pub fn new(kind: Spacing, extent: Extent, margin: bool) -> Self {
        match kind {
            Spacing::Linear => Self::linear(extent, margin),
            Spacing::Log => Self::log(extent, margin),
        }
    }

    fn linear(extent: Extent, margin: bool) -> Self {
        let (low, high) = if extent.low <= extent.high {
            (extent.low, extent.high)
        } else {
            (0.0, 1.0)
        };
        // What is narrower has no steps of a normal number.
        let (low, high) = if high - low > LEAST_SPAN {
            (low, high)
        } else {
            let around = if low.abs() > LEAST_SPAN {
                0.5 * low.abs()
            } else {
                1.0
            };
            (low - around, high + around)
        };
        let room = if margin { MARGIN * (high - low) } else { 0.0 };
        // Zero is the natural end of a quantity that has no negative values: no room below it.
        let bottom = if low >= 0.0 && low <= 2.0 * room {
            0.0
        } else {
            low - room
        };
        Self {
            kind: Spacing::Linear,
            low: bottom,
            high: high + room,
            floor: None,
        }
    }

    fn log(extent: Extent, margin: bool) -> Self {
        let floor = match extent.low {
            low if low < 0.0 => Some(Floor::Negative),
            0.0 => Some(Floor::Zero),
            _ => None,
        };
        let has_positive = extent.smallest_positive <= extent.high;
        let (low, high) = if has_positive {
            (extent.smallest_positive.log10(), extent.high.log10())
        } else {
            (-1.0, 1.0)
        };
        let (low, high) = if high - low > 1e-3 {
            (low, high)
        } else {
            (low - 0.5, high + 0.5)
        };
        let room = if margin { MARGIN * (high - low) } else { 0.0 };
        let below = if floor.is_some() {
            (FLOOR_SHARE * (high - low)).max(0.3)
        } else {
            room
        };
        Self {
            kind: Spacing::Log,
            low: low - below,
            high: high + room,
            floor,
        }
    }

    /// Where `v` lies: 0 at the lower end, 1 at the upper; not positive on a log axis is 0, the floor.
    pub fn position(&self, v: f64) -> f64 {
        let spaced = match self.kind {
            Spacing::Linear => v,
            Spacing::Log if v <= 0.0 => return 0.0,
            Spacing::Log => v.log10(),
        };
        ((spaced - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Whether `v` can only be drawn on the floor.
    pub fn on_floor(&self, v: f64) -> bool {
        self.kind == Spacing::Log && v <= 0.0
    }

    /// The floor of a log axis whose values reach 0 or below.
    pub fn floor(&self) -> Option<Floor> {
        self.floor
    }

    /// Ticks with at most about `room` labels (at least 2).
    pub fn ticks(&self, room: usize) -> Ticks {
        let room = room.max(2);
        match self.kind {
            Spacing::Linear => self.linear_ticks(room),
            Spacing::Log => self.log_ticks(room),
        }
    }

    fn linear_ticks(&self, room: usize) -> Ticks {
        let values = round_values(self.low, self.high, room);
        let labels = linear_labels(&values);
        Ticks {
            major: values
                .iter()
                .map(|&v| self.position(v))
                .zip(labels)
                .collect(),
            minor: vec![],
        }
    }

    fn log_ticks(&self, room: usize) -> Ticks {
        let above_floor = if self.floor.is_some() {
            self.low + 0.5 * FLOOR_SHARE * (self.high - self.low)
        } else {
            self.low
        };
        let (first, last) = (above_floor.ceil() as i32, self.high.floor() as i32);
        let mut ticks = if self.high - above_floor < 1.5 {
            self.ticks_within_decade(above_floor, room)
        } else {
            self.decade_ticks(first, last, room)
        };
        if let Some(floor) = self.floor {
            ticks.major.insert(0, (0.0, floor.label().to_owned()));
        }
        ticks
    }

    fn decade_ticks(&self, first: i32, last: i32, room: usize) -> Ticks {
        let multiples = |stride: i32| last.div_euclid(stride) - (first - 1).div_euclid(stride);
        let fits = |stride: &&i32| multiples(**stride) <= room as i32;
        let stride = DECADE_STRIDES.iter().find(fits).copied().unwrap_or(200);
        let at = |decade: f64| (decade - self.low) / (self.high - self.low);
        let (labelled, others): (Vec<i32>, Vec<i32>) =
            (first..=last).partition(|d| d.rem_euclid(stride) == 0);
        let major = labelled
            .into_iter()
            .map(|d| (at(f64::from(d)), number::power_of_ten(d)))
            .collect();
        let minor: Vec<f64> = if stride == 1 {
            let mantissas = (first - 1..=last)
                .flat_map(|d| (2..10).map(move |m| f64::from(d) + f64::from(m).log10()));
            let lowest = if self.floor.is_some() {
                f64::from(first)
            } else {
                self.low
            };
            mantissas
                .filter(|&p| p >= lowest && p <= self.high)
                .map(at)
                .collect()
        } else {
            others.into_iter().map(|d| at(f64::from(d))).collect()
        };
        Ticks {
            major,
            minor: if minor.len() <= MOST_MINOR {
                minor
            } else {
                vec![]
            },
        }
    }

    /// For about one decade: 1, 2, 5 times a power of ten; for much less than one, equally spaced values.
    fn ticks_within_decade(&self, low: f64, room: usize) -> Ticks {
        let decades = low.floor() as i32..=self.high.floor() as i32;
        let inside = |v: &f64| v.log10() >= low && v.log10() <= self.high;
        let series = |mantissas: &'static [f64]| {
            decades
                .clone()
                .flat_map(move |d| mantissas.iter().map(move |m| m * 10f64.powi(d)))
                .filter(inside)
        };
        let round: Vec<f64> = series(&[1.0, 2.0, 5.0]).collect();
        let values = match round.len() {
            0..3 => round_values(10f64.powf(low), 10f64.powf(self.high), room.min(4)),
            _ => round,
        };
        let minor = series(&[1., 2., 3., 4., 5., 6., 7., 8., 9.])
            .map(|v| self.position(v))
            .collect();
        Ticks {
            major: values
                .iter()
                .map(|&v| (self.position(v), minus(&number::exact(v))))
                .collect(),
            minor,
        }
    }
}

/// Multiples of 1, 2, 2.5 or 5 times a power of ten inside `low..=high`, about `room` of them at most.
fn round_values(low: f64, high: f64, room: usize) -> Vec<f64> {
    let raw = (high - low) / room as f64;
    let exponent = raw.log10().floor() as i32;
    // Dividing by 10^-exponent keeps 0.1, 0.2, 0.3, … the nearest doubles, as multiplying by 0.1 would not.
    let power = |m: f64| {
        if exponent < 0 {
            m / 10f64.powi(-exponent)
        } else {
            m * 10f64.powi(exponent)
        }
    };
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|&m| power(m) >= raw)
        .unwrap_or(10.0);
    let slack = 1e-9;
    let (first, last) = (
        (low / power(step) - slack).ceil(),
        (high / power(step) + slack).floor(),
    );
    (0..=(last - first).max(0.0) as usize)
        .map(|i| power((first + i as f64) * step))
        .collect()
}

/// Labels for equally spaced values, all in the same form.
fn linear_labels(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let step = if values.len() > 1 {
        values[1] - values[0]
    } else {
        largest.max(1.0)
    };
    let (unit, suffix) = match largest {
        _ if largest >= 1e9 || (largest > 0.0 && largest < 1e-3) => {
            return values
                .iter()
                .map(|&v| minus(&number::exact(rounded(v))))
                .collect();
        }
        _ if largest >= 1e6 => (1e6, "M"),
        _ if largest >= 1e5 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let decimals = (0..9)
        .find(|&d| is_whole(step / unit * 10f64.powi(d)))
        .unwrap_or(9) as usize;
    let label = |v: f64| minus(&number::decimal(v / unit, decimals));
    values
        .iter()
        .map(|&v| {
            if v == 0.0 {
                "0".to_owned()
            } else {
                label(v) + suffix
            }
        })
        .collect()
}

fn is_whole(v: f64) -> bool {
    (v - v.round()).abs() < 1e-6 * v.abs().max(1e-3)
}

/// `v` without the last bits' dirt, which `exact` would print.
fn rounded(v: f64) -> f64 {
    format!("{v:.9e}").parse().unwrap_or(v)
}

/// The true minus sign, as wide as a digit.
fn minus(label: &str) -> String {
    label.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale(kind: Spacing, values: &[f64]) -> Scale {
        Scale::new(kind, Extent::of(values.iter().copied()), true)
    }

    fn labels(kind: Spacing, values: &[f64], room: usize) -> Vec<String> {
        Scale::new(kind, Extent::of(values.iter().copied()), false)
            .ticks(room)
            .major
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    }

    #[test]
    fn log_labels_are_decades_as_far_apart_as_they_fit() {
        let log = |values: &[f64], room| labels(Spacing::Log, values, room);
        assert_eq!(
            log(&[1e-4, 1.0], 7),
            ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]
        );
        assert_eq!(log(&[1e-30, 1e8], 6), ["10⁻³⁰", "10⁻²⁰", "10⁻¹⁰", "10⁰"]);
        assert_eq!(
            log(&[1e-30, 1e8], 8),
            [
                "10⁻³⁰",
                "10⁻²⁵",
                "10⁻²⁰",
                "10⁻¹⁵",
                "10⁻¹⁰",
                "10⁻⁵",
                "10⁰",
                "10⁵"
            ]
        );
        assert_eq!(log(&[1e-38, 1e-1], 7).len(), 7, "every fifth decade");
        assert_eq!(log(&[1.0, 10.0], 7), ["1", "2", "5", "10"]);
        assert_eq!(log(&[0.5, 200.0], 7), ["10⁰", "10¹", "10²"]);
        assert_eq!(log(&[0.03, 0.9], 7), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(log(&[3.1, 3.4], 7), ["3.1", "3.2", "3.3", "3.4"]);
        assert_eq!(
            log(&[2e-7, 9e-7], 7),
            ["2×10⁻⁷", "4×10⁻⁷", "6×10⁻⁷", "8×10⁻⁷"]
        );
    }

    #[test]
    fn minor_ticks_are_mantissas_or_the_decades_between() {
        let four_decades = scale(Spacing::Log, &[1.0, 1e4]).ticks(7);
        assert!(
            (32..=40).contains(&four_decades.minor.len()),
            "{}",
            four_decades.minor.len()
        );
        let many_decades = scale(Spacing::Log, &[1e-30, 1e8]).ticks(6);
        assert_eq!(many_decades.minor.len(), 39 + 2 - many_decades.major.len());
    }

    #[test]
    fn linear_labels_share_one_form() {
        let linear = |values: &[f64], room| labels(Spacing::Linear, values, room);
        assert_eq!(
            linear(&[0.0, 30000.0], 4),
            ["0", "10,000", "20,000", "30,000"]
        );
        assert_eq!(linear(&[0.0, 600000.0], 4), ["0", "200k", "400k", "600k"]);
        assert_eq!(linear(&[0.0, 5e6], 5), ["0", "1M", "2M", "3M", "4M", "5M"]);
        assert_eq!(
            linear(&[0.0, 1.0], 5),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(linear(&[-1.0, 1.0], 4), ["−1.0", "−0.5", "0", "0.5", "1.0"]);
        assert_eq!(linear(&[0.0, 3e-5], 3), ["0", "1×10⁻⁵", "2×10⁻⁵", "3×10⁻⁵"]);
    }

    #[test]
    fn zero_lies_on_a_labelled_floor_below_every_positive_value() {
        let s = scale(Spacing::Log, &[0.0, 1e-8, 1.0]);
        assert_eq!(s.floor(), Some(Floor::Zero));
        assert_eq!(s.position(0.0), 0.0);
        assert!(s.position(1e-8) > 0.05);
        assert_eq!(s.ticks(8).major[0], (0.0, "0".to_owned()));
        assert_eq!(scale(Spacing::Log, &[-1.0, 1.0]).ticks(8).major[0].1, "≤ 0");
        assert_eq!(scale(Spacing::Log, &[1e-8, 1.0]).floor(), None);
        assert_eq!(scale(Spacing::Log, &[0.0, 0.0]).position(0.0), 0.0);
    }

    proptest! {
        #[test]
        fn ticks_are_few_sorted_distinct_and_inside(
            a in -300.0..300.0f64, b in -300.0..300.0f64, negative: bool, log: bool, margin: bool, room in 2usize..12,
        ) {
            let low = if negative { -10f64.powf(a) } else { 10f64.powf(a) };
            let kind = if log { Spacing::Log } else { Spacing::Linear };
            let s = Scale::new(kind, Extent::of([low, 10f64.powf(b)]), margin);
            let ticks = s.ticks(room);
            prop_assert!(!ticks.major.is_empty() && ticks.major.len() <= room + 5, "{:?}", ticks);
            for pair in ticks.major.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0, "{:?}", ticks.major);
            }
            for p in ticks.major.iter().map(|t| t.0).chain(ticks.minor.iter().copied()) {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&p), "{:?}", ticks);
            }
        }
    }
}
