//! C2: "throughout the experiments we have observed neither any runtime increase nor additional memory requirements arising
//! from the adaptation" (section 3).
//!
//! Three parts: the time of L4Adam, the time of L4Mom, and memory. Whole training steps of L4 and of its base method
//! alternate in one process, in pairs, and each process gives a ratio of times, the geometric mean over its pairs. A time part
//! holds if on each of the [`WORKLOADS`] the 95 % interval of the ratio over processes (geometric mean) reaches below [`LONGEST`];
//! the memory part if nowhere the optimiser's state has more bytes than its base method's.
//!
//! It reads the runs of [`Role::Measurement`] whose summary has `workload`, `variant` (`L4Adam`, `L4Mom`), `ratios` and
//! `state_bytes_per_parameter` (of L4, of its base).

use serde::Deserialize;
use serde_json::Value;

use super::case::{Case, VARIANTS, l4, name};
use super::statistics::Estimate;
use super::{Claim, Finding, all, words};
use crate::numbers::{Numbers, Role, RunNumbers};

/// The tasks of sections 3.1 to 3.5, as they are timed.
pub const WORKLOADS: [&str; 5] = ["regression", "mlp", "convnet", "resnet32", "dnc"];
/// A step that takes so many times the base method's is not measurably longer.
pub const LONGEST: f64 = 1.02;

/// What was measured of a variant on a workload.
#[derive(Deserialize)]
struct Timed {
    workload: String,
    variant: String,
    ratios: Vec<f64>,
    /// Of L4 and of its base.
    #[serde(rename = "state_bytes_per_parameter")]
    bytes: [f64; 2],
}

impl Timed {
    fn of(run: &RunNumbers) -> Option<Self> {
        serde_json::from_value(Value::Object(run.summary.clone())).ok()
    }

    /// The ratio of whole steps, L4's over its base method's.
    fn ratio(&self) -> Option<Estimate> {
        let logs: Vec<f64> = self.ratios.iter().map(|ratio| ratio.ln()).collect();
        Some(Estimate::of(&logs)?.map(f64::exp))
    }
}

/// The verdict; `None` if no times were measured.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    let measurements = numbers
        .arms
        .iter()
        .filter(|arm| arm.role == Role::Measurement);
    let timed: Vec<Timed> = measurements
        .flat_map(|arm| arm.runs.iter().filter_map(Timed::of))
        .collect();
    if timed.is_empty() {
        return None;
    }
    let mut case = Case::new(Claim::C2, numbers);
    for base in VARIANTS {
        let variant = name(l4(base));
        let of_variant: Vec<&Timed> = timed
            .iter()
            .filter(|timed| timed.variant == variant)
            .collect();
        time(&mut case, &variant, &of_variant);
    }
    memory(&mut case, &timed);
    Some(case.finding(&format!(
        "for both variants and on all of {} a 95 % interval of the ratio of whole training steps that reaches below {LONGEST}, \
         and no more bytes of optimiser state than the base method has",
        words::list(&WORKLOADS)
    )))
}

fn time(case: &mut Case<'_>, variant: &str, timed: &[&Timed]) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for workload in WORKLOADS {
        let found = timed.iter().find(|timed| timed.workload == workload);
        let Some(ratio) = found.and_then(|timed| timed.ratio()) else {
            case.lacks(format!("timing of {variant} on {workload}"));
            holds.push(None);
            continue;
        };
        case.measure(format!("time_ratio_{variant}_{workload}"), &ratio);
        holds.push(ratio.interval.map(|(low, _)| low < LONGEST));
        measured.push(format!("{workload} {}", words::estimate(&ratio)));
    }
    let evidence = format!(
        "times its base method's step, by processes: {}",
        measured.join(", ")
    );
    case.part(format!("{variant} takes no longer"), all(&holds), evidence);
}

fn memory(case: &mut Case<'_>, timed: &[Timed]) {
    let larger: Vec<String> = timed
        .iter()
        .filter(|timed| timed.bytes[0] > timed.bytes[1])
        .map(|timed| format!("{} on {}", timed.variant, timed.workload))
        .collect();
    let bytes = timed.iter().map(|timed| {
        let [ours, theirs] = timed.bytes.map(words::number);
        format!(
            "{} {} {ours} against {theirs}",
            timed.workload, timed.variant
        )
    });
    let bytes: Vec<String> = bytes.collect();
    let mut evidence = format!("bytes of state a parameter, {}", bytes.join(", "));
    if !larger.is_empty() {
        evidence += &format!("; more in {}", words::list(&larger));
    }
    case.part(
        "the optimiser's state is no larger",
        Some(larger.is_empty()),
        evidence,
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::TaskName;

    /// All ten measurements, with other ratios and bytes of L4Adam on one workload.
    fn measured(ratios: [f64; 3], bytes: [f64; 2]) -> Numbers {
        let arm = |workload: &str, variant: &str| {
            let odd = workload == "mlp" && variant == "L4Adam";
            let ratios = if odd { ratios } else { [1.0, 1.01, 1.02] };
            let bytes = if odd { bytes } else { [8.0, 8.0] };
            let run = Run::default()
                .summary("workload", workload)
                .summary("variant", variant)
                .summary("ratios", json!(ratios))
                .summary("state_bytes_per_parameter", json!(bytes));
            Arm::new(&format!("{workload} {variant}"), Role::Measurement).runs([run])
        };
        let arms = WORKLOADS
            .into_iter()
            .flat_map(|workload| ["L4Adam", "L4Mom"].map(|variant| arm(workload, variant)));
        numbers("3", TaskName::RunningTime, arms)
    }

    #[test]
    fn every_workload_counts() {
        let parts = |ratios, bytes| judged(judge(&measured(ratios, bytes)));
        assert_eq!(parts([1.0, 1.01, 1.02], [8.0, 8.0]), "+++");
        assert_eq!(parts([1.10, 1.11, 1.12], [8.0, 8.0]), "-++");
        assert_eq!(
            parts([1.00, 1.11, 1.22], [8.0, 8.0]),
            "+++",
            "the interval reaches below"
        );
        assert_eq!(parts([1.0, 1.01, 1.02], [8.1, 8.0]), "++-");
        assert_eq!(parts([1.0, 1.01, 1.02], [4.0, 8.0]), "+++");
        let edge = |ratio| parts([ratio; 3], [8.0, 8.0]);
        assert_eq!(
            (edge(1.0199), edge(1.0201)),
            ("+++".to_owned(), "-++".to_owned())
        );
    }

    #[test]
    fn all_ten_measurements_are_needed() {
        let mut nine = measured([1.0; 3], [8.0; 2]);
        nine.arms.pop();
        let finding = judge(&nine).unwrap();
        assert_eq!(finding.verdict, Verdict::Untested);
        assert!(
            finding.evidence.contains("no timing of L4Mom on dnc"),
            "{}",
            finding.evidence
        );
        nine.arms.clear();
        assert_eq!(judge(&nine), None);
    }
}
