//! C4: "the gradients provided by LMA reach convergence in a much smaller number of steps. However, at the same time, LMA is
//! significantly more computationally expensive since each step involves solving a least squares problem. This can be clearly
//! seen from comparing performance on the problem sizes" (section 3.1.1).
//!
//! Three parts, each for LMA against both variants of L4 at their best α, paired by seed, until the loss is 1e-10 of the first:
//!
//! - fewer steps: at each of the [`SIZES`] the ratio of the steps is below [`FEWER`];
//! - dearer steps: at each size the ratio of the times of a step is above [`DEARER`];
//! - a widening gap: the ratio of whole times rises with size, which is the slope of its logarithm over log2 of the weights,
//!   one a seed.
//!
//! Each of these means: with the 95 % interval over seeds. Times are the medians of a run's repeated timings, of which a full
//! basis has [`REPETITIONS`]. A run that does not get to 1e-10 takes infinitely many steps and seconds.

use super::case::{Case, VARIANTS, l4_best, name};
use super::statistics::{Estimate, median, rising, slope};
use super::trace::{Trace, paired, traces};
use super::{Claim, Finding, all, words};
use crate::numbers::{ArmNumbers, Numbers, Role};

const SECTION: &str = "3.1";
/// Numbers of weights: the paper's, "192", and "all dimensions doubled".
pub const SIZES: [u32; 3] = [96, 192, 384];
const MARK: &str = "1e-10";
/// LMA's steps over L4's are fewer than this.
pub const FEWER: f64 = 0.1;
/// The time of LMA's step over that of L4's is more than this.
pub const DEARER: f64 = 10.0;
/// Timings of each run.
pub const REPETITIONS: usize = 3;
const PARTS: [&str; 3] = [
    "LMA needs far fewer steps",
    "its steps are far dearer",
    "the gap widens with size",
];

/// The runs of LMA and of a variant of L4 at a size.
struct Pair<'n> {
    weights: u32,
    variant: String,
    lma: Vec<Trace<'n>>,
    l4: Vec<Trace<'n>>,
}

/// The verdict; `None` if the section has no such comparison.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    let compared = |arm: &ArmNumbers| {
        arm.setting("weights").is_some()
            && arm.settings.get("weights_comparison") == Some(&true.into())
    };
    if numbers.section != SECTION || !numbers.arms.iter().any(compared) {
        return None;
    }
    let mut case = Case::new(Claim::C4, numbers);
    let mut pairs = Vec::new();
    for weights in SIZES {
        let mut arm = |role: Role| {
            let of = |arm: &&ArmNumbers| {
                compared(arm)
                    && arm.role == role
                    && arm.setting("weights") == Some(f64::from(weights))
            };
            let arm = case.compares(numbers.arms.iter().find(of), || {
                format!("{} at {weights} weights", name(role))
            })?;
            Some(traces(numbers, arm))
        };
        let lma = arm(Role::LevenbergMarquardt);
        for role in VARIANTS.map(l4_best) {
            if let (Some(lma), Some(l4)) = (lma.clone(), arm(role)) {
                pairs.push(Pair {
                    weights,
                    variant: name(role),
                    lma,
                    l4,
                });
            }
        }
    }
    if pairs.is_empty() {
        case.parts_without_arms(PARTS);
    } else {
        few_repetitions(&mut case, &pairs);
        fewer(&mut case, &pairs);
        dearer(&mut case, &pairs);
        widening(&mut case, &pairs);
    }
    Some(case.finding(&format!(
        "for LMA against both L4 variants to {MARK} of the first loss (95 % intervals over seeds): under {FEWER} of the steps and \
         over {DEARER} times the time a step at each of {} weights, and a ratio of whole times that rises with size",
        words::list(&SIZES.map(|size| size.to_string()))
    )))
}

fn few_repetitions(case: &mut Case<'_>, pairs: &[Pair<'_>]) {
    let runs = pairs
        .iter()
        .flat_map(|pair| pair.lma.iter().chain(&pair.l4));
    let fewest = runs
        .filter(|run| run.step_of(MARK).is_some())
        .map(|run| repetitions(run).len())
        .min();
    if let Some(fewest) = fewest.filter(|fewest| *fewest < REPETITIONS) {
        case.reduced(words::count(fewest, "timing") + " of each run");
    }
}

/// The seconds of each timing of a run until the mark.
fn repetitions(run: &Trace<'_>) -> Vec<f64> {
    let timings = run
        .run()
        .summary
        .get("repetitions_seconds")
        .and_then(|marks| marks.get(MARK)?.as_array());
    timings
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_f64)
        .collect()
}

fn log_steps(run: &Trace<'_>) -> Option<f64> {
    Some(
        run.step_of(MARK)
            .map_or(f64::INFINITY, |step| (step as f64).log10()),
    )
}

fn log_seconds(run: &Trace<'_>) -> Option<f64> {
    match run.step_of(MARK) {
        None => Some(f64::INFINITY),
        Some(_) => median(&repetitions(run)).map(f64::log10),
    }
}

fn log_seconds_a_step(run: &Trace<'_>) -> Option<f64> {
    run.step_of(MARK)?;
    Some(log_seconds(run)? - log_steps(run)?)
}

fn fewer(case: &mut Case<'_>, pairs: &[Pair<'_>]) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for pair in pairs {
        let ratio = Estimate::against(&paired(&pair.lma, &pair.l4, log_steps));
        holds.push(ratio.and_then(|ratio| ratio.is_below(FEWER.log10())));
        measured.push(ratio_in_words(case, "steps", pair, ratio));
    }
    let evidence = format!(
        "LMA's steps over L4's, geometric means: {}",
        measured.join(", ")
    );
    case.part(PARTS[0], all(&holds), evidence);
}

fn dearer(case: &mut Case<'_>, pairs: &[Pair<'_>]) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for pair in pairs {
        let l4_over_lma = paired(&pair.l4, &pair.lma, log_seconds_a_step);
        let ratio = Estimate::against(&l4_over_lma).map(|ratio| ratio.map(|log| -log));
        holds.push(ratio.and_then(|ratio| ratio.is_above(DEARER.log10())));
        measured.push(ratio_in_words(case, "time_a_step", pair, ratio));
    }
    let evidence = format!("times a step, LMA's over L4's: {}", measured.join(", "));
    case.part(PARTS[1], all(&holds), evidence);
}

/// A ratio from its log10, kept in the case.
fn ratio_in_words(
    case: &mut Case<'_>,
    what: &str,
    pair: &Pair<'_>,
    log_ratio: Option<Estimate>,
) -> String {
    let Pair {
        weights, variant, ..
    } = pair;
    let Some(ratio) = log_ratio.as_ref().map(Estimate::from_log10) else {
        return format!("none of {variant} at {weights} weights");
    };
    case.measure(format!("{what}_LMA_over_{variant}_{weights}"), &ratio);
    format!(
        "{} of {variant} at {weights} weights",
        words::estimate(&ratio)
    )
}

fn widening(case: &mut Case<'_>, pairs: &[Pair<'_>]) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for variant in VARIANTS.map(l4_best).map(name) {
        let of_variant: Vec<&Pair<'_>> = pairs
            .iter()
            .filter(|pair| pair.variant == variant)
            .collect();
        let seeds = of_variant
            .first()
            .map_or(&[][..], |pair| &pair.lma)
            .iter()
            .map(Trace::seed);
        let slopes: Vec<f64> = seeds
            .filter_map(|seed| slope_over_size(&of_variant, seed))
            .collect();
        let Some(slope) = rising(&slopes) else {
            holds.push(None);
            measured.push(format!("none of {variant}"));
            continue;
        };
        let factor = slope.from_log10();
        holds.push(slope.is_above(0.0));
        case.measure(format!("time_ratio_growth_a_doubling_{variant}"), &factor);
        for pair in &of_variant {
            let ratio = Estimate::against(&paired(&pair.lma, &pair.l4, log_seconds));
            let words = ratio_in_words(case, "time", pair, ratio);
            measured.push(words);
        }
        measured.push(format!(
            "which a doubling of the weights multiplies by {}",
            words::estimate(&factor)
        ));
    }
    let evidence = format!(
        "ratios of whole times, LMA's over L4's: {}",
        measured.join(", ")
    );
    case.part(PARTS[2], all(&holds), evidence);
}

/// The slope of log10 of a seed's ratio of times, LMA's over L4's, over log2 of the number of weights.
fn slope_over_size(pairs: &[&Pair<'_>], seed: u64) -> Option<f64> {
    let point = |pair: &&Pair<'_>| {
        let of_seed = |runs: &[Trace<'_>]| {
            runs.iter()
                .find(|run| run.seed() == seed)
                .and_then(log_seconds)
        };
        let log_ratio = super::statistics::difference(of_seed(&pair.lma)?, of_seed(&pair.l4)?);
        Some((f64::from(pair.weights).log2(), log_ratio))
    };
    slope(&pairs.iter().map(point).collect::<Option<Vec<_>>>()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::{Alpha, Base, TaskName};

    /// Three seeds, each a little different, with three timings each.
    fn arm(role: Role, weights: u32, steps: u64, seconds: f64) -> Arm {
        let run = |seed: u64| {
            let seconds = seconds * (1.0 + seed as f64 / 100.0);
            Run::default().reaches(MARK, steps * (100 + seed)).summary(
                "repetitions_seconds",
                json!({MARK: [seconds, 2.0 * seconds, 0.5 * seconds]}),
            )
        };
        Arm::new("an arm", role)
            .set("weights", weights)
            .set("weights_comparison", true)
            .runs((0..3).map(run))
    }

    /// L4's runs take 20 s for 2,000 steps at each size, LMA's these seconds for so many steps.
    fn compared(steps: u64, seconds: [f64; 3]) -> Numbers {
        let arms = SIZES
            .into_iter()
            .zip(seconds)
            .flat_map(|(weights, seconds)| {
                let l4 = |base| {
                    arm(
                        Role::L4 {
                            base,
                            alpha: Alpha::Best,
                        },
                        weights,
                        20,
                        20.0,
                    )
                };
                [
                    l4(Base::Adam),
                    l4(Base::Momentum),
                    arm(Role::LevenbergMarquardt, weights, steps, seconds),
                ]
            });
        let mut numbers = numbers("3.1", TaskName::Regression, arms);
        (numbers.length, numbers.paper_length) = (10_000, 10_000);
        numbers
    }

    #[test]
    fn lma_takes_fewer_dearer_steps_and_falls_behind_with_size() {
        let parts = |steps, seconds| judged(judge(&compared(steps, seconds)));
        assert_eq!(parts(1, [20.0, 30.0, 40.0]), "+++");
        assert_eq!(
            parts(2, [40.0, 50.0, 60.0]),
            "-++",
            "a tenth is not under a tenth"
        );
        assert_eq!(
            parts(1, [10.0, 11.0, 12.0]),
            "+-+",
            "ten times is not more than ten times"
        );
        assert_eq!(parts(1, [10.1, 11.0, 12.0]), "+++");
        assert_eq!(parts(1, [20.0, 20.0, 20.0]), "++-");
        assert_eq!(parts(1, [40.0, 30.0, 20.0]), "++-");
    }

    #[test]
    fn a_run_that_does_not_get_there_is_infinitely_slow() {
        let without = |arm: usize| {
            let mut numbers = compared(1, [20.0, 30.0, 40.0]);
            numbers.arms[arm].runs[0].milestones.clear();
            judged(judge(&numbers))
        };
        assert_eq!(without(2), "-+-", "LMA at the smallest size");
        assert_eq!(
            without(6),
            "++-",
            "L4Adam at the largest size: the gap does not widen"
        );
    }

    #[test]
    fn the_basis_has_three_timings_and_the_claim_all_sizes() {
        let mut numbers = compared(1, [20.0, 30.0, 40.0]);
        assert_eq!(
            judge(&numbers).unwrap().basis,
            Some(super::super::Basis::Full)
        );
        numbers.arms[0].runs[0].summary["repetitions_seconds"][MARK] = json!([20.0]);
        let reduced = judge(&numbers).unwrap().basis;
        assert_eq!(
            reduced,
            Some(super::super::Basis::Reduced(
                "1 timing of each run".to_owned()
            ))
        );
        numbers.arms.truncate(6);
        let finding = judge(&numbers).unwrap();
        assert_eq!(finding.verdict, Verdict::Untested);
        assert!(
            finding.evidence.contains("no LMA at 384 weights"),
            "{}",
            finding.evidence
        );
        numbers
            .arms
            .retain(|arm| arm.role == Role::LevenbergMarquardt);
        let alone = judge(&numbers).unwrap();
        let words = alone.parts.iter().map(|part| part.evidence.as_str());
        assert_eq!(
            words.collect::<Vec<_>>(),
            ["what it compares was not run"; 3]
        );
        numbers.arms.clear();
        assert_eq!(judge(&numbers), None);
    }
}
