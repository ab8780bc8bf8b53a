//! C8, of section 3.3. Four parts, for the four sentences of the paper:
//!
//! 1. "the adaptive learning rates are much more conservative in behavior compared to MNIST": under [`STEADY`] of the windows
//!    of each variant span two orders of magnitude, while over [`UNSTEADY`] of MNIST's do;
//! 2. "the L4Mom learning rate approximately matches the manually designed schedule […] during the decisive first 150 epochs":
//!    before the first drop, and between it and the second, the geometric mean of L4Mom's rates over the schedule's is within a
//!    factor of [`TRACKS`] of 1, both as rates of an averaged gradient;
//! 3. "Comparing performance against optimized constant learning rates is favorable for L4 optimizers both in terms of loss and
//!    test accuracy": each variant has the lower final loss and the higher final accuracy (95 % intervals);
//! 4. the default policy "in terms of test accuracy […] eventually dominates", and "the decisive gain happens right after the
//!    first drop": it is more accurate at the end than each other (95 % intervals), and has the best mean for good since at most
//!    [`SOON`] of the run after the drop.
//!
//! In a run shorter than the paper's the schedule's drops come sooner, in proportion.

mod batch_statistics;
mod tracks;
mod wins;

use super::case::{Case, VARIANTS, best, l4, name, plain_arms};
use super::comparison::{Comparison, Measure};
use super::statistics::{Estimate, HALF_A_DECADE};
use super::trace::{TWO_ORDERS, Trace, paired, traces};
use super::{Claim, Finding, all, words};
use crate::numbers::Numbers;

const SECTION: &str = "3.3";
/// Whose rates C8 compares with.
pub const MNIST_SECTION: &str = "3.2";
/// Steady rates span two orders of magnitude in less than this part of the windows,
pub const STEADY: f64 = 0.1;
/// and MNIST's in more than this.
pub const UNSTEADY: f64 = 0.5;
/// Nearer to equal than to ten times.
pub const TRACKS: f64 = HALF_A_DECADE;
/// Part of the run, or an epoch if that is more, within which the lead comes "right after" the drop.
pub const SOON: f64 = 0.1;

/// The verdict; `None` but of section 3.3. `mnist` are the numbers of section 3.2.
#[must_use]
pub fn judge(numbers: &Numbers, mnist: Option<&Numbers>) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C8, numbers);
    if numbers.length < numbers.paper_length {
        case.reduced("the schedule's drops sooner in proportion".to_owned());
    }
    steady(&mut case, mnist);
    tracks::tracks(&mut case);
    beats(&mut case);
    wins::wins(&mut case);
    batch_statistics::remark_moves(&mut case);
    batch_statistics::remark_estimated(&mut case);
    Some(case.finding("all four"))
}

/// The part of the windows of an arm that span two orders of magnitude.
fn wide_share(runs: &[Trace<'_>]) -> Option<f64> {
    let windows = runs.iter().map(Trace::wide_windows);
    let (wide, all) = windows.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
    (all > 0).then(|| wide as f64 / all as f64)
}

fn steady(case: &mut Case<'_>, mnist: Option<&Numbers>) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for role in VARIANTS.map(l4) {
        let here = case.traces(role).and_then(|runs| wide_share(&runs));
        let there = mnist.and_then(|mnist| {
            let arm = plain_arms(mnist).find(|arm| arm.role == role)?;
            wide_share(&traces(mnist, arm))
        });
        if there.is_none() {
            case.lacks(format!("rates of {} on MNIST", name(role)));
        }
        let (Some(here), Some(there)) = (here, there) else {
            continue;
        };
        holds.push(here < STEADY && there > UNSTEADY);
        case.measured.insert(
            format!("share_of_wide_windows_{}", name(role)),
            words::values([here, there]),
        );
        measured.push(format!(
            "{} {:.1} %, on MNIST {:.1} %",
            name(role),
            100.0 * here,
            100.0 * there
        ));
    }
    let evidence = format!(
        "windows in which the greatest rate is at least {TWO_ORDERS} times the least: {} (holds if under {:.0} % and on MNIST over \
         {:.0} %)",
        measured.join(", "),
        100.0 * STEADY,
        100.0 * UNSTEADY
    );
    let decided = holds.len() == VARIANTS.len();
    case.part(
        "rates are far steadier than on MNIST",
        decided.then(|| holds.iter().all(|holds| *holds)),
        evidence,
    );
}

fn beats(case: &mut Case<'_>) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for base in VARIANTS {
        let sides = (
            case.side(l4(base)),
            case.side(best(base)),
            case.arm(l4(base)),
        );
        let (Some(ours), Some(theirs), Some(arm)) = sides else {
            holds.push(None);
            continue;
        };
        let loss = Comparison::of(case, Measure::FinalLoss, &ours, &theirs);
        let end = arm.step_after(case.numbers.length);
        let accuracies = paired(&ours.runs, &theirs.runs, |run| run.accuracy_at(end));
        let Some(gain) = Estimate::of(&accuracies) else {
            case.lacks(format!("test accuracy of {} at the end", ours.name));
            holds.push(None);
            continue;
        };
        case.measure(
            format!("accuracy_{}_minus_{}", ours.name, theirs.name),
            &gain,
        );
        holds.extend([loss.is_lower(), gain.is_above(0.0)]);
        measured.push(format!(
            "{}; test accuracy higher by {} points",
            loss.words,
            words::estimate(&gain)
        ));
    }
    let evidence = format!(
        "{} (holds if each is better than its base in both, by 95 % intervals)",
        measured.join("; ")
    );
    case.part("L4 beats the best constant rates", all(&holds), evidence);
}

#[cfg(test)]
mod tests;
