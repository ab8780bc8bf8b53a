//! C6: "even in short time period it fully spans 2 or more orders of magnitude […]. None of this causes instabilities in the
//! training itself" (section 3.2; of the DNC, "jumping across multiple orders of magnitude", section 3.4).
//!
//! Two parts, over every run of L4, at the default α and, where it was run, at the best:
//!
//! - at least [`SHARE`] of a run's windows span two orders of magnitude, of those in which every rate is above 0;
//! - stability: no run diverges, and none has a spike, a window whose mean loss is above 100 times the least so far and above
//!   1 % of the first window's.
//!
//! Judged on MNIST and the DNC, where the paper shows it. On the networks of sections 3.3 and 3.5 the same is reported.

use super::case::{Case, VARIANTS, l4, l4_best, name};
use super::comparison::Side;
use super::trace::{SPIKE, SPIKE_OF_FIRST, TWO_ORDERS, Trace};
use super::{Claim, Finding, words};
use crate::numbers::Numbers;
use crate::stats::range;

const JUDGED: [&str; 2] = ["3.2", "3.4"];
const REPORTED: [&str; 2] = ["3.3", "3.5"];
/// At least this part of the windows of a run span two orders of magnitude.
pub const SHARE: f64 = 0.1;
const PARTS: [&str; 2] = ["rates span two orders of magnitude", "training is stable"];

/// The verdict on one task; `None` if it is no task of this claim.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    let section = numbers.section.as_str();
    if !JUDGED.contains(&section) && !REPORTED.contains(&section) {
        return None;
    }
    let mut case = Case::new(Claim::C6, numbers);
    let needed: Vec<_> = VARIANTS
        .map(l4)
        .into_iter()
        .filter_map(|role| case.side(role))
        .collect();
    let optional = VARIANTS
        .map(l4_best)
        .into_iter()
        .filter_map(|role| case.optional_side(role));
    let sides: Vec<_> = needed.into_iter().chain(optional).collect();
    let found: Vec<Found> = sides
        .iter()
        .map(|side| Found::of(&mut case, side))
        .collect();
    if found.is_empty() {
        case.parts_without_arms(PARTS);
    } else {
        parts(&mut case, &found);
    }
    let names: Vec<String> = match sides.is_empty() {
        true => VARIANTS.map(|base| name(l4(base))).into(),
        false => sides.iter().map(|side| side.name.clone()).collect(),
    };
    Some(match JUDGED.contains(&section) {
        true => case.finding(&format!(
            "such a span in at least {:.0} % of the windows of every run of {}, and no run that diverges or has a spike, a window \
             whose mean loss is above {SPIKE} times the least so far and above {:.0} % of the first window's",
            100.0 * SHARE,
            words::list(&names),
            100.0 * SPIKE_OF_FIRST
        )),
        false => case.reported("the paper shows it of MNIST and the DNC"),
    })
}

fn parts(case: &mut Case<'_>, found: &[Found]) {
    let words = |of: fn(&Found) -> &String| -> String {
        let words: Vec<&str> = found.iter().map(|found| of(found).as_str()).collect();
        words.join(", ")
    };
    let evidence = format!(
        "windows (those with a rate of 0 left out) in which the greatest rate is at least {TWO_ORDERS} times the least: {}",
        words(|found| &found.spans)
    );
    let moves = found.iter().all(|found| found.moves);
    case.part(PARTS[0], Some(moves), evidence);
    let is_stable = found.iter().all(|found| found.is_stable);
    case.part(PARTS[1], Some(is_stable), words(|found| &found.spikes));
    case.remark(format!(
        "Of the windows in the first quarter of a run alone, such are at least: {}",
        words(|found| &found.early_spans)
    ));
}

/// What the runs of an arm do, with what was measured of it in words.
struct Found {
    /// Enough windows of every run span two orders.
    moves: bool,
    spans: String,
    early_spans: String,
    /// No run diverges or has a spike.
    is_stable: bool,
    spikes: String,
}

impl Found {
    fn of(case: &mut Case<'_>, side: &Side<'_>) -> Self {
        let Side { name, runs } = side;
        let windows: Vec<(usize, usize)> = runs.iter().map(Trace::wide_windows).collect();
        let (wide, all) = windows
            .iter()
            .fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        let shares: Vec<f64> = windows.into_iter().map(share).collect();
        let least = range(&shares).map_or(f64::INFINITY, |(least, _)| least);
        let early = runs.iter().map(|run| run.first_quarter().wide_windows());
        let early = early.map(share).fold(f64::INFINITY, f64::min);
        let diverged = runs.iter().filter(|run| run.diverged()).count();
        let spikes: Vec<usize> = runs.iter().map(Trace::spikes).collect();
        let spiking = spikes.iter().filter(|spikes| **spikes > 0).count();
        let measured = [
            ("least_share_in_first_quarter", words::value(100.0 * early)),
            ("share_of_wide_windows", words::values(shares)),
            (
                "spikes",
                words::values(spikes.iter().map(|spikes| *spikes as f64)),
            ),
            ("diverged", diverged.into()),
        ];
        let measured = measured.map(|(what, value)| (format!("{what}_{name}"), value));
        case.measured.extend(measured);
        Self {
            moves: least >= SHARE,
            spans: format!(
                "{name} {wide} of {all}, at least {:.1} % in a run",
                100.0 * least
            ),
            early_spans: format!("{name} {:.1} %", 100.0 * early),
            is_stable: diverged == 0 && spiking == 0,
            spikes: format!(
                "{name} {} in {spiking} of {} runs, {diverged} diverged",
                words::count(spikes.iter().sum(), "spike"),
                runs.len()
            ),
        }
    }
}

/// Such windows among all of a run.
fn share((wide, all): (usize, usize)) -> f64 {
    wide as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::{Alpha, Base, TaskName};

    /// 20 windows, of which so many span two orders.
    fn run(wide: usize) -> Run {
        let high = (0..20).map(|window| if window < wide { 100.0 } else { 99.0 });
        Run::losses(1.., [1.0; 20])
            .rates(1.0, 1.0)
            .logs("learning_rate_max", 1.., high)
    }

    fn finding(section: &str, task: TaskName, odd: Run) -> Option<Finding> {
        let arms = [
            Arm::l4_adam().runs([run(2), odd, run(2)]),
            Arm::l4_mom().runs([run(2), run(2), run(2)]),
        ];
        judge(&numbers(section, task, arms))
    }

    #[test]
    fn a_tenth_of_the_windows_of_every_run_are_wide() {
        let parts = |odd| judged(finding("3.2", TaskName::Mnist, odd));
        assert_eq!(parts(run(2)), "++");
        assert_eq!(parts(run(1)), "-+");
        let zeros = run(1).logs(
            "learning_rate_min",
            1..,
            (0..20).map(|window| f64::from(window < 10)),
        );
        assert_eq!(
            parts(zeros),
            "++",
            "1 of the 10 windows without a rate of 0"
        );
    }

    #[test]
    fn the_first_quarter_of_the_runs_is_told_apart() {
        let evidence = finding("3.2", TaskName::Mnist, run(1)).unwrap().evidence;
        let words = "first quarter of a run alone, such are at least: L4Adam 20.0 %, L4Mom 40.0 %";
        assert!(evidence.contains(words), "{evidence}");
    }

    #[test]
    fn no_run_is_unstable() {
        let parts = |odd| judged(finding("3.4", TaskName::Dnc, odd));
        let last = |loss| {
            (0..20).map(move |window| {
                if window < 19 {
                    [1.0, 1e-4][window % 2]
                } else {
                    loss
                }
            })
        };
        let flat = |loss| {
            run(2).logs(
                "loss",
                1..,
                (0..20).map(move |window| [1.0, 1e-4, loss][window.min(2)]),
            )
        };
        assert_eq!(parts(flat(0.01)), "++");
        assert_eq!(parts(flat(0.011)), "+-");
        assert_eq!(parts(run(2).diverged(20)), "+-");
        assert_eq!(parts(run(2).diverged(31)), "++", "after the length");
        assert_eq!(parts(run(0).logs("loss", 1.., last(1.0))), "--");
    }

    #[test]
    fn the_best_alpha_counts_where_it_was_run() {
        let mut numbers = numbers(
            "3.2",
            TaskName::Mnist,
            [Arm::l4_adam().runs([run(2)]), Arm::l4_mom().runs([run(2)])],
        );
        assert_eq!(judged(judge(&numbers)), "++");
        numbers
            .arms
            .push(Arm::l4(Base::Momentum, Alpha::Best).runs([run(1)]).0);
        assert_eq!(judged(judge(&numbers)), "-+");
        numbers.arms.remove(0);
        assert_eq!(judge(&numbers).unwrap().verdict, Verdict::Untested);
    }

    #[test]
    fn without_a_run_of_l4_there_is_nothing_to_list() {
        let none = judge(&numbers("3.2", TaskName::Mnist, [])).unwrap();
        assert_eq!(none.verdict, Verdict::Untested);
        let words = none.parts.iter().map(|part| part.evidence.as_str());
        assert_eq!(
            words.collect::<Vec<_>>(),
            ["what it compares was not run"; 2]
        );
    }

    #[test]
    fn other_networks_are_reported_and_not_judged() {
        let reported = finding("3.5", TaskName::FashionMnist, run(1)).unwrap();
        assert_eq!(
            (reported.verdict, reported.parts.len()),
            (Verdict::Untested, 0)
        );
        assert!(
            reported
                .evidence
                .contains("L4Adam 5 of 60, at least 5.0 % in a run"),
            "{}",
            reported.evidence
        );
        assert_eq!(finding("3.6", TaskName::Mnist, run(2)), None);
    }
}
