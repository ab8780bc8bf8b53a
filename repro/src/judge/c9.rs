//! C9: on the DNC "L4Adam and L4Mom […] both performed better or on par with the optimized baselines", without gradient
//! clipping, and "L4Mom was more prone to instabilities" (section 3.4).
//!
//! Three parts: for each variant of L4 at its default α, the steps in which the loss gets below [`THRESHOLD`] for good are not
//! more than those of the best tuned baseline, the one with the fewest of all [`BASELINES`] (their geometric mean over seeds;
//! where that is infinite of several, the one of which most runs get there); and L4Mom is the less stable, by its spikes (as in
//! C6). A run that diverges has a spike in every window that it no longer sees. Spikes are compared by seed, as log10 of 1 and
//! their number, by the 95 % interval.

use super::case::{Case, VARIANTS, best, l4, name};
use super::comparison::{Comparison, Measure, Side, best_of};
use super::statistics::{Estimate, mean};
use super::trace::{Trace, floor, paired};
use super::{Claim, Finding, words};
use crate::numbers::{Base, Numbers};

pub use super::comparison::THRESHOLD;

const SECTION: &str = "3.4";
/// What decides.
const MEASURE: Measure = Measure::StepsToThreshold;
/// The methods whose rates are tuned, with clipping.
pub const BASELINES: [Base; 3] = [Base::Adam, Base::Momentum, Base::RmsProp];

/// The verdict; `None` but of section 3.4.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C9, numbers);
    let baselines: Vec<Side<'_>> = BASELINES
        .into_iter()
        .filter_map(|base| case.side(best(base)))
        .collect();
    let unclipped = VARIANTS.map(|base| {
        let arm = case.arm(l4(base))?;
        if arm.setting("max_gradient_norm").is_some() {
            case.lacks(format!("{} without clipping", name(l4(base))));
            return None;
        }
        case.side(l4(base))
    });
    for (base, side) in VARIANTS.into_iter().zip(&unclipped) {
        matches_best(&mut case, &name(l4(base)), side.as_ref(), &baselines);
    }
    for side in &baselines {
        let steps = side.centre(MEASURE, floor(numbers.task));
        case.remark(format!(
            "{} takes {} steps",
            side.name,
            words::number(steps.unwrap_or(f64::INFINITY))
        ));
    }
    let mut clipped = baselines;
    clipped.extend(
        BASELINES
            .into_iter()
            .filter_map(|base| case.published_side(base)),
    );
    for side in unclipped.iter().flatten().chain(&clipped) {
        remark_first(&mut case, side);
    }
    let sides = unclipped.iter().flatten().chain(&clipped);
    let lengths = sides.flat_map(|side| side.runs.iter().map(|run| run.values("loss").len()));
    let windows = lengths.max().unwrap_or(0);
    less_stable(&mut case, &unclipped, windows);
    let counts: Vec<String> = clipped
        .iter()
        .map(|side| {
            let counted = count_spikes(&mut case, side, windows);
            format!("{} has {counted}", side.name)
        })
        .collect();
    if !counts.is_empty() {
        case.remark(format!(
            "Of the baselines, whose gradients are clipped: {}",
            counts.join("; ")
        ));
    }
    Some(case.finding(&format!(
        "for each L4 variant without clipping no more {} than the best tuned baseline needs (the 95 % interval of the ratio not \
         above 1), and more spikes of L4Mom than of L4Adam (the interval of the paired difference of log10(1 + spikes) above 0)",
        MEASURE.words()
    )))
}

/// That a variant of L4 needs no more steps than the best baseline; and, which decides nothing, the same by the mean loss.
fn matches_best(case: &mut Case<'_>, ours: &str, side: Option<&Side<'_>>, baselines: &[Side<'_>]) {
    let what = format!("{ours} matches or beats the best baseline");
    let best_by = |measure| best_of(baselines, measure, case.numbers);
    let (Some(ours), Some(best), Some(lowest)) =
        (side, best_by(MEASURE), best_by(Measure::MeanLoss))
    else {
        case.part_without_arms(what);
        return;
    };
    let comparison = Comparison::of(case, MEASURE, ours, best);
    case.part(what, comparison.is_not_higher(), comparison.words);
    let beside = Comparison::of(case, Measure::MeanLoss, ours, lowest);
    case.remark(format!(
        "Beside it, against the baseline that is best by it, {}",
        beside.words
    ));
}

/// When a method's runs are first below the threshold, and what they do afterwards: it may take long to stay below it for want of
/// speed, or by moves that are far too small for a spike.
fn remark_first(case: &mut Case<'_>, side: &Side<'_>) {
    let found: Option<Vec<_>> = side
        .runs
        .iter()
        .map(|run| run.first_below(THRESHOLD))
        .collect();
    let Some(found) = found else {
        case.remark(format!(
            "Not every run of {} is ever below {THRESHOLD:e}",
            side.name
        ));
        return;
    };
    let logs: Vec<f64> = found
        .iter()
        .map(|(step, _)| (*step as f64).log10())
        .collect();
    let first = mean(&logs).map_or(f64::NAN, |mean| 10_f64.powf(mean));
    let again: Vec<f64> = found.iter().filter_map(|(_, above)| *above).collect();
    let greatest = again.iter().copied().reduce(f64::max);
    case.measured
        .insert(format!("first_below_{}", side.name), words::value(first));
    case.measured.insert(
        format!("above_again_{}", side.name),
        words::values([again.len() as f64, greatest.unwrap_or(0.0)]),
    );
    let afterwards = greatest.map_or_else(String::new, |greatest| {
        format!(
            ", with windows of up to {} after it",
            words::number(greatest)
        )
    });
    case.remark(format!(
        "{} is first below {THRESHOLD:e} after {} steps (geometric mean), and {} of {} runs are above it again{afterwards}",
        side.name,
        words::number(first),
        again.len(),
        found.len()
    ));
}

fn less_stable(case: &mut Case<'_>, unclipped: &[Option<Side<'_>>; 2], windows: usize) {
    let what = "L4Mom is the less stable of the two";
    let [Some(adam), Some(momentum)] = unclipped else {
        case.part_without_arms(what);
        return;
    };
    let log_spikes = |run: &Trace<'_>| Some((1.0 + spikes(run, windows) as f64).log10());
    let counts = [adam, momentum].map(|side| {
        let counted = count_spikes(case, side, windows);
        format!("{} has {counted}", side.name)
    });
    let more = Estimate::of(&paired(&momentum.runs, &adam.runs, log_spikes));
    let difference = more.map_or_else(
        || "no seed in common".to_owned(),
        |more| words::estimate(&more),
    );
    let evidence = format!(
        "{}; difference of log10(1 + spikes) by seed {difference}",
        counts.join("; ")
    );
    case.part(what, more.and_then(|more| more.is_above(0.0)), evidence);
}

/// The spikes of an arm's runs of so many windows, and those that diverged.
fn count_spikes(case: &mut Case<'_>, side: &Side<'_>, windows: usize) -> String {
    let of_runs: Vec<usize> = side.runs.iter().map(|run| spikes(run, windows)).collect();
    let diverged = side.runs.iter().filter(|run| run.diverged()).count();
    case.measured.insert(
        format!("spikes_{}", side.name),
        words::values(of_runs.iter().map(|spikes| *spikes as f64)),
    );
    let by_run: Vec<String> = of_runs.iter().map(usize::to_string).collect();
    format!(
        "spikes in its runs {}, {diverged} diverged",
        words::list(&by_run)
    )
}

/// Spikes of a run, and the windows of so many that it did not get to because it diverged.
fn spikes(run: &Trace<'_>, windows: usize) -> usize {
    let unseen = match run.diverged() {
        true => windows - run.values("loss").len(),
        false => 0,
    };
    run.spikes() + unseen
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::{Rate, Role, TaskName};

    /// 40 windows, below the threshold after so many, with so many spikes above the start, one every second window.
    fn run(windows: usize, spikes: usize) -> Run {
        let loss = move |window: usize| match window {
            _ if window > 0 && window.is_multiple_of(2) && window / 2 <= spikes => 1000.0,
            _ if window < windows => 1.0,
            _ => 1e-4,
        };
        Run::losses(1.., (0..40).map(loss))
    }

    fn reaching(arm: Arm, windows: [usize; 3]) -> Arm {
        arm.runs(windows.map(|windows| run(windows, 0)))
    }

    fn with(l4_adam: Arm, l4_mom: Arm) -> Numbers {
        let rms_prop = Arm::constant(Base::RmsProp, Rate::Best);
        let slow = reaching(Arm::momentum(), [30, 32, 34]);
        let mut numbers = numbers(
            "3.4",
            TaskName::Dnc,
            [
                l4_adam,
                l4_mom,
                reaching(Arm::adam(), [18, 20, 22]),
                slow,
                reaching(rms_prop, [25, 25, 25]),
            ],
        );
        (numbers.length, numbers.paper_length) = (40, 40);
        numbers
    }

    #[test]
    fn steps_are_not_more_than_the_best_baselines() {
        let unstable = || Arm::l4_mom().runs([5, 6, 7].map(|spikes| run(17, spikes)));
        let parts = |windows| judged(judge(&with(reaching(Arm::l4_adam(), windows), unstable())));
        assert_eq!(parts([10, 12, 14]), "+++");
        assert_eq!(parts([18, 20, 22]), "+++", "equal is on par");
        assert_eq!(parts([17, 21, 30]), "+++", "higher on average only");
        assert_eq!(parts([21, 23, 25]), "-++");
        assert_eq!(parts([10, 12, 40]), "-++", "one run never gets there");
        let never = |arm| reaching(arm, [40; 3]);
        let mut nobody = with(never(Arm::l4_adam()), unstable());
        let baselines = nobody.arms.iter_mut().skip(2);
        baselines.for_each(|arm| arm.runs.clone_from(&never(Arm::adam()).0.runs));
        assert_eq!(judged(judge(&nobody)), "?++", "that is no tie");
        let some = reaching(Arm::momentum(), [10, 11, 40]);
        nobody.arms[3].runs.clone_from(&some.0.runs);
        let evidence = judge(&nobody).unwrap().parts.remove(0).evidence;
        assert!(
            evidence.contains("mSGD*"),
            "most of its runs get there: {evidence}"
        );
    }

    #[test]
    fn l4mom_has_more_spikes() {
        let adam = |spikes: [usize; 3]| Arm::l4_adam().runs(spikes.map(|spikes| run(17, spikes)));
        let mom = |spikes: [usize; 3]| Arm::l4_mom().runs(spikes.map(|spikes| run(17, spikes)));
        let parts = |l4_adam, l4_mom| judged(judge(&with(l4_adam, l4_mom)));
        assert_eq!(parts(adam([0, 1, 2]), mom([5, 6, 7])), "+++");
        assert_eq!(
            parts(adam([5, 6, 7]), mom([5, 6, 7])),
            "++-",
            "as many are not more"
        );
        assert_eq!(parts(adam([0, 1, 7]), mom([5, 6, 2])), "++-");
        let mut diverging = mom([0, 0, 0]);
        for run in &mut diverging.0.runs {
            run.diverged_at = Some(20);
            run.metrics["loss"].values.truncate(19);
            run.metrics["loss"].steps.truncate(19);
        }
        assert_eq!(
            parts(adam([0, 1, 2]), diverging),
            "+-+",
            "what diverges never gets there and is unstable"
        );
    }

    #[test]
    fn each_measure_has_its_own_best_baseline_and_spikes_are_told_of_all() {
        let [adam, mom] = [Arm::l4_adam(), Arm::l4_mom()].map(|arm| reaching(arm, [10, 12, 14]));
        let mut numbers = with(adam, mom);
        let rms_prop = numbers.arms.last_mut().unwrap();
        for run in &mut rms_prop.runs {
            run.metrics["loss"].values.fill(1e-5);
            run.metrics["loss"].values[0] = 1.0;
            run.metrics["loss"].values[35] = 0.1;
        }
        let mut published = rms_prop.clone();
        published.role = Role::Constant {
            base: Base::RmsProp,
            rate: Rate::Published,
        };
        numbers.arms.push(published);
        let evidence = judge(&numbers).unwrap().evidence;
        for words in [
            "Adam* takes 20.94 steps",
            "Beside it, against the baseline that is best by it, training loss (geometric mean over the run)",
            "(n = 3), RMSProp* ",
            "whose gradients are clipped: Adam* has spikes in its runs 0, 0 and 0, 0 diverged; mSGD* has spikes in its runs 0, 0 and 0, 0 \
             diverged; RMSProp* has spikes in its runs 1, 1 and 1, 0 diverged; RMSProp at its published rate has spikes in its runs 1, 1 and 1",
        ] {
            assert!(evidence.contains(words), "{words}: {evidence}");
        }
    }

    #[test]
    fn a_first_time_below_the_threshold_is_told_from_the_last() {
        let early = Run::losses(
            1..,
            (0..40).map(|window| match window {
                0..10 => 1.0,
                20 => 2e-3,
                _ => 1e-4,
            }),
        );
        let adam = Arm::l4_adam().runs([early.clone(), early]);
        let evidence = judge(&with(adam, Arm::l4_mom().runs([run(50, 0)])))
            .unwrap()
            .evidence;
        let words = "L4Adam is first below 1e-3 after 11.00 steps (geometric mean), and 2 of 2 runs are above it again, with windows of up \
                     to 0.002000 after it";
        assert!(evidence.contains(words), "{evidence}");
        assert!(
            evidence.contains("Not every run of L4Mom is ever below 1e-3"),
            "{evidence}"
        );
    }

    #[test]
    fn clipping_is_not_what_the_claim_is_about_and_all_baselines_are() {
        let verdict = |numbers: &Numbers| judge(numbers).unwrap().verdict;
        let [adam, mom] = [Arm::l4_adam(), Arm::l4_mom()].map(|arm| reaching(arm, [10, 12, 14]));
        let mut numbers = with(adam.clone(), mom.clone());
        assert_eq!(verdict(&numbers), Verdict::Partly);
        numbers.arms.pop();
        assert_eq!(verdict(&numbers), Verdict::Untested);
        let clipped = adam.set("max_gradient_norm", 50.0);
        assert_eq!(verdict(&with(clipped, mom)), Verdict::Untested);
    }
}
