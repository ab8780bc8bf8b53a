//! What each method has to know and what it keeps, found out from the optimisers themselves.

use anyhow::{Context, Result};
use indexmap::IndexMap;
use l4::Optimizer;
use serde_json::{Map, Value};

use crate::methods::{Knob, Method};
use crate::report::Report;
use crate::results::{Column, Entry, Table};
use crate::sections::Outcome;

/// Parameters that a trial step is made on: so many that what aligns an optimiser's memory does not count.
const PARAMETERS: usize = 1 << 16;
/// The settings that are a rate, or a bound on one.
const RATES: [&str; 2] = ["rate", "eta_max"];

/// What a method was found to be.
struct Needs {
    reads_the_loss: bool,
    /// At a loss of 0 it stays where it is, but for rounding.
    rests_at_zero: bool,
    keeps_the_start: bool,
    /// Numbers that it remembers of each parameter.
    vectors: u64,
    is_averaged: bool,
}

impl Needs {
    fn of(method: Method) -> Result<Self> {
        let high = after_a_step(method, 1.0)?;
        let low = after_a_step(method, 0.5)?;
        let zero = after_a_step(method, 0.0)?;
        let optimizer = &high.optimizer;
        let bytes = optimizer.state_bytes() as f64 / (PARAMETERS * size_of::<f64>()) as f64;
        let mut vectors = optimizer.state().vectors.into_iter();
        Ok(Self {
            reads_the_loss: high.theta != low.theta,
            rests_at_zero: zero.moved() < 1e-9 * high.moved(),
            keeps_the_start: vectors.any(|(name, _)| name == "start"),
            vectors: bytes.round() as u64,
            is_averaged: optimizer.evaluation_point().is_some(),
        })
    }
}

struct Trial {
    optimizer: Box<dyn Optimizer<f64>>,
    theta: Vec<f64>,
}

impl Trial {
    /// How far the first parameter went.
    fn moved(&self) -> f64 {
        (self.theta[0] - START).abs()
    }
}

/// The parameters before a trial step.
const START: f64 = 1.0;

/// A first step along a gradient so steep that no bound on a step is met.
fn after_a_step(method: Method, loss: f64) -> Result<Trial> {
    let mut optimizer = method.optimizer::<f64>()?;
    let mut theta = vec![START; PARAMETERS];
    optimizer.step(loss, &mut theta, &mut vec![10.0; PARAMETERS])?;
    Ok(Trial { optimizer, theta })
}

/// `settings.json`: a row a method.
///
/// # Errors
/// If nothing was run.
pub fn table(outcomes: &[Outcome<'_>], report: &Report) -> Result<Table> {
    let outcome = outcomes.first().context("no part was run")?;
    let methods = outcome.arms.iter().filter_map(|arm| {
        let method = arm.resolved.method?;
        Some((arm.name(), method))
    });
    let rows = methods.map(|(name, method)| row(name, method));
    let title = "What each method has to know and what it keeps, as the optimisers themselves show: whether a step depends on the \
                 loss's value, and which value it then takes for the least attainable; whether the first parameters are kept; rates \
                 or bounds on them that a user could set; numbers remembered of each parameter; where it is to be evaluated; all \
                 settings in the runs";
    Ok(Table {
        header: report.header("settings", title),
        columns: vec![
            Column::new("method", "Method"),
            Column::new("loss", "Reads the loss"),
            Column::new("least_loss", "f*"),
            Column::new("start", "Keeps θ₀"),
            Column::new("rate", "A rate"),
            Column::new("vectors", "Vectors of state"),
            Column::new("evaluated", "Evaluated at"),
            Column::new("settings", "Settings"),
        ],
        rows: rows.collect::<Result<_>>()?,
    })
}

fn row(name: &str, method: Method) -> Result<IndexMap<String, Entry>> {
    let needs = Needs::of(method)?;
    let is_searched = method.kind.knob() == Some(Knob::Rate);
    let settings = method.settings()?.into_iter();
    let named = settings.filter(|(name, _)| name != "optimizer");
    let (rates, settings): (Map<_, _>, Map<_, _>) =
        named.partition(|(name, _)| RATES.contains(&name.as_str()));
    let mut row: IndexMap<String, Entry> = IndexMap::new();
    let mut put = |key: &str, entry: Entry| row.insert(key.to_owned(), entry);
    put("method", name.into());
    if needs.reads_the_loss {
        put("loss", "yes".into());
    }
    if needs.reads_the_loss && needs.rests_at_zero {
        put("least_loss", 0.0.into());
    }
    if needs.keeps_the_start {
        put("start", "yes".into());
    }
    match is_searched {
        true => put("rate", "searched, by task".into()),
        false if rates.is_empty() => None,
        false => put("rate", in_words(&rates).as_str().into()),
    };
    put("vectors", needs.vectors.into());
    let place = if needs.is_averaged {
        "an average"
    } else {
        "θ"
    };
    put("evaluated", place.into());
    put("settings", in_words(&settings).as_str().into());
    Ok(row)
}

/// `beta1 0.9, beta2 0.999`.
fn in_words(settings: &Map<String, Value>) -> String {
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    };
    let words = settings
        .iter()
        .map(|(name, setting)| format!("{name} {}", value(setting)));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Kind;

    fn needs(kind: Kind) -> Needs {
        let method = Method::untuned(kind).unwrap_or(Method::new(kind, 1e-3));
        Needs::of(method).unwrap()
    }

    #[test]
    fn it_is_found_out_which_methods_read_the_loss() {
        let reading = Kind::ALL.iter().filter(|kind| needs(**kind).reads_the_loss);
        let names: Vec<&str> = reading.map(|kind| kind.name()).collect();
        let expected = [
            "L4Adam",
            "L4Mom",
            "SPS_max",
            "ALI-G",
            "MoMo",
            "MoMo-Adam",
            "ScheduleFree+",
        ];
        assert_eq!(names, expected);
        let reading = |kind: &&Kind| expected.contains(&kind.name());
        let mut reading = Kind::ALL.iter().filter(reading);
        assert!(reading.all(|kind| needs(*kind).rests_at_zero));
    }

    #[test]
    fn it_is_found_out_what_they_keep() {
        let keeping = |what: fn(&Needs) -> bool| -> Vec<&str> {
            let kinds = Kind::ALL.iter().filter(|kind| what(&needs(**kind)));
            kinds.map(|kind| kind.name()).collect()
        };
        assert_eq!(
            keeping(|needs| needs.keeps_the_start),
            ["Prodigy", "DoG", "Mechanic"]
        );
        let averaged = ["DoG", "schedule-free AdamW", "ScheduleFree+"];
        assert_eq!(keeping(|needs| needs.is_averaged), averaged);
        assert_eq!(keeping(|needs| needs.vectors == 0), ["SGD", "SPS_max"]);
        let four = ["Prodigy", "ScheduleFree+", "Mechanic"];
        assert_eq!(keeping(|needs| needs.vectors == 4), four);
    }
}
