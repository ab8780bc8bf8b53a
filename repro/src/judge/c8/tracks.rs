//! The second part: L4Mom's rate beside the hand-made schedule's. Both are rates of an averaged gradient: a heavy ball sums where
//! L4's momentum averages, so that the schedule's counts [`HEAVY_BALL`] times.

use super::TRACKS;
use crate::judge::case::{Case, l4};
use crate::judge::statistics::mean;
use crate::judge::trace::Trace;
use crate::judge::words;
use crate::methods::{DROPS, EPOCHS, HEAVY_BALL};
use crate::numbers::{Base, Role};
use crate::stats::range;

pub(super) fn tracks(case: &mut Case<'_>) {
    let what = "L4Mom's rate tracks the schedule until its second drop";
    let sides = (
        case.traces(l4(Base::Momentum)),
        case.traces(Role::DefaultPolicy),
        case.arm(Role::DefaultPolicy),
    );
    let (Some(ours), Some(policy), Some(arm)) = sides else {
        case.part_without_arms(what);
        return;
    };
    let phases = phases(arm.step_after(case.numbers.length) as f64);
    let logs = phases.map(|within| log_rate_ratios(&ours, &policy, within));
    let [Some(before), Some(between), later, last] =
        logs.each_ref().map(|logs| mean(logs).map(f64::exp))
    else {
        case.lacks("rates of L4Mom beside the schedule's".to_owned());
        case.part_without_arms(what);
        return;
    };
    let (least, greatest) =
        range(&logs[0]).map_or((before, before), |(low, high)| (low.exp(), high.exp()));
    let ratios = [Some(before), Some(between), later, last];
    case.measured.insert(
        "rate_over_schedule".to_owned(),
        words::values(ratios.into_iter().flatten()),
    );
    case.measured.insert(
        "rate_over_schedule_before_first_drop".to_owned(),
        words::values([greatest, least]),
    );
    let evidence = format!(
        "the geometric mean of its rates over the schedule's, times {HEAVY_BALL} for a heavy ball, is {} before the first drop, \
         where it is from {} down to {}, and {} from there to the second (holds if both are within a factor of {TRACKS} of 1); \
         then {} to the third, and {} from there on",
        words::number(before),
        words::number(greatest),
        words::number(least),
        words::number(between),
        words::number(later.unwrap_or(f64::NAN)),
        words::number(last.unwrap_or(f64::NAN))
    );
    let near = |ratio: f64| (TRACKS.recip()..=TRACKS).contains(&ratio);
    case.part(what, Some(near(before) && near(between)), evidence);
    if case.numbers.length < case.numbers.paper_length {
        remark_unmoved(case, &ours, &policy, arm.step_after(DROPS[0]));
    }
}

/// The steps before the schedule's first drop, between its drops, and after its third, each as (after, until).
fn phases(steps: f64) -> [(f64, f64); 4] {
    let [first, second, third] = DROPS.map(|drop| steps * drop as f64 / EPOCHS as f64);
    [
        (0.0, first),
        (first, second),
        (second, third),
        (third, steps),
    ]
}

/// The logarithms of logged rates over those that the policy logged at the same steps, after the first and up to the second of two
/// steps; of those above 0.
fn log_rate_ratios(
    ours: &[Trace<'_>],
    policy: &[Trace<'_>],
    (after, until): (f64, f64),
) -> Vec<f64> {
    let schedule = policy.iter().take(1);
    let schedule: Vec<(u64, f64)> = schedule
        .flat_map(|run| run.logged("learning_rate"))
        .collect();
    let log_ratio = |(step, rate): (u64, f64)| {
        let index = schedule.binary_search_by_key(&step, |(at, _)| *at).ok()?;
        Some((rate / (HEAVY_BALL * schedule[index].1)).ln())
    };
    let within = |step: u64| step as f64 > after && step as f64 <= until;
    let rates = ours.iter().flat_map(|run| run.logged("learning_rate"));
    rates
        .filter(|(step, rate)| within(*step) && *rate > 0.0)
        .filter_map(log_ratio)
        .collect()
}

/// In a shorter run, L4Mom's rates beside the schedule with its first drop where the paper has it, at step `drop`: what of the part
/// is owed to the drops' coming sooner.
fn remark_unmoved(case: &mut Case<'_>, ours: &[Trace<'_>], policy: &[Trace<'_>], drop: u64) {
    let mut first_rates = policy.iter().flat_map(|run| run.logged("learning_rate"));
    let Some((_, at_first)) = first_rates.next() else {
        return;
    };
    let rates = ours.iter().flat_map(|run| run.logged("learning_rate"));
    let before = rates.filter(|(step, rate)| *step <= drop && *rate > 0.0);
    let logs: Vec<f64> = before
        .map(|(_, rate)| (rate / (HEAVY_BALL * at_first)).ln())
        .collect();
    let Some(ratio) = mean(&logs).map(f64::exp) else {
        return;
    };
    case.measured
        .insert("rate_over_schedule_unmoved".to_owned(), words::value(ratio));
    case.remark(format!(
        "The schedule's drops come sooner here, in proportion to the length; beside one that first drops after epoch {}, as the \
         paper's, L4Mom's rate up to there would be {} times the schedule's",
        DROPS[0],
        words::number(ratio)
    ));
}
