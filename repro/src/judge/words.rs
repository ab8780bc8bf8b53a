//! Numbers and intervals in sentences, and in the `measured` of a verdict.

use paper_figures::number::measured;
use serde_json::{Value, json};

use super::statistics::Estimate;

/// A number of four digits; of a run that diverged or never got there, "infinite"; NaN is what was not measured.
pub fn number(value: f64) -> String {
    match value {
        _ if value.is_nan() => "not measured".to_owned(),
        _ if value.is_infinite() => "infinite".to_owned(),
        _ => measured(value),
    }
}

/// A number for `measured`, to six digits: logarithms may differ in their last bits between machines, and what is committed
/// is compared with what the rules say on another.
pub fn value(value: f64) -> Value {
    match value {
        _ if value.is_finite() => json!(format!("{value:.5e}").parse::<f64>().unwrap_or(value)),
        _ => json!(number(value)),
    }
}

/// Several numbers for `measured`.
pub fn values(of: impl IntoIterator<Item = f64>) -> Value {
    of.into_iter().map(value).collect()
}

/// An estimate with its interval and count, as `0.5 (95 % interval 0.4 to 0.6, n = 5)`, and how many of the seeds are without
/// bound.
pub fn estimate(estimate: &Estimate) -> String {
    let n = estimate.n;
    let interval = match estimate.interval {
        Some((low, high)) => format!("95 % interval {} to {}, n = {n}", number(low), number(high)),
        None => format!("n = {n}: no interval, reported only"),
    };
    let cut = match estimate.cut {
        0 => String::new(),
        cut => format!("; {cut} of them without bound, taken as the most favourable of the others"),
    };
    format!("{} ({interval}{cut})", number(estimate.mean))
}

/// An estimate for `measured`.
pub fn estimate_value(estimate: &Estimate) -> Value {
    let mut written = json!({"n": estimate.n, "mean": value(estimate.mean)});
    if let Some((low, high)) = estimate.interval {
        written["interval"] = values([low, high]);
    }
    written
}

/// `1 seed`, `3 seeds`.
pub fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// `a, b and c`.
pub fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_put_into_words() {
        let three = Estimate::of(&[1.0, 1.0, 1.0]).unwrap();
        assert_eq!(estimate(&three), "1 (95 % interval 1 to 1, n = 3)");
        let one = Estimate::of(&[2.0]).unwrap();
        assert_eq!(estimate(&one), "2 (n = 1: no interval, reported only)");
        let cut = Estimate::against(&[-2.0, -1.0, f64::NEG_INFINITY]).unwrap();
        assert!(estimate(&cut).starts_with("-1.667 (95 % interval"));
        assert!(estimate(&cut).contains("n = 3; 1 of them without bound"));
        assert_eq!(number(f64::INFINITY), "infinite");
        assert_eq!(value(f64::INFINITY), "infinite");
        assert_eq!(value(1.234_567_89e-7), 1.23457e-7);
        assert_eq!(
            estimate_value(&three),
            json!({"n": 3, "mean": 1.0, "interval": [1.0, 1.0]})
        );
        assert_eq!([count(1, "seed"), count(3, "seed")], ["1 seed", "3 seeds"]);
        assert_eq!([list(&["a"]), list(&["a", "b", "c"])], ["a", "a, b and c"]);
    }
}
