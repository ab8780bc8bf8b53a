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

use super::case::{Case, VARIANTS, best, l4, name, plain_arms};
use super::comparison::{Comparison, Measure};
use super::course::{Course, TWO_ORDERS, courses, paired};
use super::statistics::{Estimate, HALF_A_DECADE, mean};
use super::{Claim, Finding, all, words};
use crate::methods::{DROPS, EPOCHS, HEAVY_BALL};
use crate::numbers::{ArmNumbers, Base, Numbers, Role};
use crate::stats::range;

const SECTION: &str = "3.3";
/// Whose rates C8 compares with.
pub const MNIST_SECTION: &str = "3.2";
/// Steady rates span two orders of magnitude in less than this part of the windows,
pub const STEADY: f64 = 0.1;
/// and MNIST's in more than this.
pub const UNSTEADY: f64 = 0.5;
/// Test accuracy by batch statistics that are estimated anew.
const ESTIMATED: &str = "reestimated_test_accuracy";
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
    if numbers.length != numbers.paper_length {
        case.reduced("the schedule's drops sooner in proportion".to_owned());
    }
    steady(&mut case, mnist);
    tracks(&mut case);
    beats(&mut case);
    wins(&mut case);
    remark_moves(&mut case);
    remark_estimated(&mut case);
    Some(case.finding("all four"))
}

/// The part of the windows of an arm that span two orders of magnitude.
fn wide_share(runs: &[Course<'_>]) -> Option<f64> {
    let windows = runs.iter().map(Course::wide_windows);
    let (wide, all) = windows.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
    (all > 0).then(|| wide as f64 / all as f64)
}

fn steady(case: &mut Case<'_>, mnist: Option<&Numbers>) {
    let mut holds = Vec::new();
    let mut measured = Vec::new();
    for role in VARIANTS.map(l4) {
        let here = case.courses(role).and_then(|runs| wide_share(&runs));
        let there = mnist.and_then(|mnist| {
            let arm = plain_arms(mnist).find(|arm| arm.role == role)?;
            wide_share(&courses(mnist, arm))
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

fn tracks(case: &mut Case<'_>) {
    let what = "L4Mom's rate tracks the schedule until its second drop";
    let sides = (
        case.courses(l4(Base::Momentum)),
        case.courses(Role::DefaultPolicy),
        case.arm(Role::DefaultPolicy),
    );
    let (Some(ours), Some(policy), Some(arm)) = sides else {
        case.part_without_arms(what);
        return;
    };
    let steps = arm.step_after(case.numbers.length) as f64;
    let [first, second, third] = DROPS.map(|drop| steps * drop as f64 / EPOCHS as f64);
    let between_drops = [
        (0.0, first),
        (first, second),
        (second, third),
        (third, steps),
    ];
    let ratios = between_drops.map(|within| log_rate_ratios(&ours, &policy, within));
    let [Some(before), Some(between), later, last] =
        ratios.each_ref().map(|logs| mean(logs).map(f64::exp))
    else {
        case.lacks("rates of L4Mom beside the schedule's".to_owned());
        case.part_without_arms(what);
        return;
    };
    let near = |ratio: f64| (TRACKS.recip()..=TRACKS).contains(&ratio);
    case.measured.insert(
        "rate_over_schedule".to_owned(),
        words::values(
            [Some(before), Some(between), later, last]
                .into_iter()
                .flatten(),
        ),
    );
    let (least, greatest) =
        range(&ratios[0]).map_or((before, before), |(low, high)| (low.exp(), high.exp()));
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
    case.part(what, Some(near(before) && near(between)), evidence);
    let first_rate = policy
        .iter()
        .find_map(|run| run.values("learning_rate").first().copied());
    if let Some(rate) = first_rate.filter(|_| case.numbers.length < case.numbers.paper_length) {
        remark_unmoved(case, &ours, rate, arm.step_after(DROPS[0]));
    }
}

/// In a shorter run, L4Mom's rates beside the schedule with its first drop where the paper has it: what of the second part is owed
/// to the drops' coming sooner.
fn remark_unmoved(case: &mut Case<'_>, ours: &[Course<'_>], at_first: f64, drop: u64) {
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

/// The logarithms of logged rates over those that the policy logged at the same steps, after the first and up to the second of two
/// steps; of those above 0.
fn log_rate_ratios(
    ours: &[Course<'_>],
    policy: &[Course<'_>],
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

fn wins(case: &mut Case<'_>) {
    let what = "the default policy wins in test accuracy, right after its first drop";
    let numbers = case.numbers;
    let Some(policy) = case.arm(Role::DefaultPolicy) else {
        case.part_without_arms(what);
        return;
    };
    let others: Vec<&ArmNumbers> = plain_arms(numbers)
        .filter(|arm| arm.role != Role::DefaultPolicy)
        .collect();
    let epochs = numbers.length;
    let leads = |epoch: u64| {
        let accuracy = |arm| mean_accuracy(numbers, arm, epoch);
        accuracy(policy).is_some_and(|policy| {
            others
                .iter()
                .all(|arm| accuracy(arm).is_none_or(|other| other < policy))
        })
    };
    let lead = (1..=epochs).rev().take_while(|epoch| leads(*epoch)).last();
    let drop = epochs as f64 * DROPS[0] as f64 / EPOCHS as f64;
    let soon = drop + (SOON * epochs as f64).max(1.0);
    let right_after = lead.is_some_and(|epoch| epoch as f64 > drop && epoch as f64 <= soon);
    let leads = others.iter().map(|arm| lead_at_end(numbers, policy, arm));
    let leads: Option<Vec<Estimate>> = leads.collect();
    let least = leads.iter().flatten();
    let least = least.min_by(|a, b| a.mean.total_cmp(&b.mean));
    if let Some(least) = least {
        case.measure("lead_over_next_best".to_owned(), least);
    }
    let least = least.map_or_else(|| "unknown".to_owned(), words::estimate);
    let ahead = leads.as_ref().and_then(|leads| {
        let ahead: Vec<Option<bool>> = leads.iter().map(|lead| lead.is_above(0.0)).collect();
        all(&ahead)
    });
    let holds = if right_after { ahead } else { Some(false) };
    let mut finals = Vec::new();
    for arm in std::iter::once(policy).chain(others.iter().copied()) {
        if let Some(accuracy) = mean_accuracy(numbers, arm, epochs) {
            case.measured
                .insert(format!("accuracy_{}", arm.name), words::value(accuracy));
            finals.push(format!("{} {accuracy:.2}", arm.name));
        }
    }
    let since = lead.map_or_else(
        || "it is not in the lead at the end".to_owned(),
        |epoch| format!("it is in the lead for good from epoch {epoch} on"),
    );
    case.measured
        .insert("leads_from_epoch".to_owned(), lead.into());
    let evidence = format!(
        "mean test accuracies after the last epoch in per cent: {}; the policy's least lead, in points, is {least}; it first drops \
         after epoch {drop:.1}, and {since} (holds if that is after the drop and not after epoch {soon:.1}, and no 95 % interval of a \
         lead holds 0)",
        finals.join(", ")
    );
    case.part(what, holds, evidence);
}

/// How much more accurate the policy is after the last epoch; `None` if that was not measured.
fn lead_at_end(numbers: &Numbers, policy: &ArmNumbers, other: &ArmNumbers) -> Option<Estimate> {
    let end = policy.step_after(numbers.length);
    let [policy, other] = [policy, other].map(|arm| courses(numbers, arm));
    Estimate::of(&paired(&policy, &other, |run| run.accuracy_at(end)))
}

fn mean_accuracy(numbers: &Numbers, arm: &ArmNumbers, epoch: u64) -> Option<f64> {
    let step = arm.step_after(epoch);
    let accuracies: Vec<f64> = courses(numbers, arm)
        .iter()
        .filter_map(|run| run.accuracy_at(step))
        .collect();
    mean(&accuracies)
}

/// How far the accuracy moves from epoch to epoch, by batch normalisation's running statistics and by ones that are estimated anew:
/// what of it is the averages' lag, and not the weights'.
fn remark_moves(case: &mut Case<'_>) {
    let numbers = case.numbers;
    let greatest = |arm, metric| {
        let runs = courses(numbers, arm);
        let moves = runs.iter().filter_map(|run| greatest_move(run, metric));
        moves.reduce(f64::max)
    };
    let mut moves = Vec::new();
    for arm in plain_arms(numbers) {
        let both = ["test_accuracy", ESTIMATED].map(|metric| greatest(arm, metric));
        let [Some(running), Some(estimated)] = both else {
            continue;
        };
        case.measured.insert(
            format!("greatest_change_{}", arm.name),
            words::values([running, estimated]),
        );
        moves.push(format!("{} {running:.1} and {estimated:.1}", arm.name));
    }
    if !moves.is_empty() {
        case.remark(format!(
            "The greatest change of test accuracy from one epoch to the next after the first tenth of a run, in points, by running \
             batch statistics and by ones estimated anew: {}",
            moves.join(", ")
        ));
    }
}

/// The accuracies at the end by statistics that are estimated anew: what of the differences is the weights'.
fn remark_estimated(case: &mut Case<'_>) {
    let numbers = case.numbers;
    let mut ends = Vec::new();
    for arm in plain_arms(numbers) {
        let runs = courses(numbers, arm);
        let at_end = |(step, _): &(u64, f64)| *step == arm.step_after(numbers.length);
        let last = runs
            .iter()
            .filter_map(|run| run.logged(ESTIMATED).find(at_end));
        let last: Vec<f64> = last.map(|(_, accuracy)| accuracy).collect();
        let Some(end) = mean(&last) else { continue };
        let key = format!("accuracy_by_estimated_statistics_{}", arm.name);
        case.measured.insert(key, words::value(end));
        ends.push(format!("{} {end:.2}", arm.name));
    }
    if !ends.is_empty() {
        case.remark(format!(
            "Mean test accuracies after the last epoch by statistics estimated anew, in per cent: {}",
            ends.join(", ")
        ));
    }
}

fn greatest_move(run: &Course<'_>, metric: &str) -> Option<f64> {
    let values: Vec<f64> = run.logged(metric).map(|(_, value)| value).collect();
    let settled = &values[values.len() / 10..];
    let moves = settled.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    moves.reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Arm, Run, judged, numbers, parts};
    use super::super::{Basis, Verdict};
    use super::*;
    use crate::numbers::TaskName;
    use serde_json::Value;

    /// 20 epochs in which the schedule drops after the 8th and the 12th. What a test changes of the paper's outcome.
    #[derive(Clone, Copy)]
    struct Outcome {
        /// L4Adam's windows, of 20, that span two orders.
        wide: u64,
        /// The same on MNIST.
        mnist_wide: u64,
        /// L4Mom's rate before the first drop and after it.
        rates: [f64; 2],
        /// L4Adam's loss and accuracy; its base has 0.5 and 80.
        loss: f64,
        accuracy: f64,
        /// From which epoch on the policy leads, by 5 points in the mean, and by so many more or fewer from seed to seed.
        lead: u64,
        spread: f64,
        seeds: usize,
    }

    const PAPERS: Outcome = Outcome {
        wide: 1,
        mnist_wide: 11,
        rates: [1.0, 0.1],
        loss: 0.3,
        accuracy: 85.0,
        lead: 9,
        spread: 1.0,
        seeds: 3,
    };

    fn run(rate: impl Fn(u64) -> f64, wide: u64, loss: f64, accuracy: impl Fn(u64) -> f64) -> Run {
        let epochs = || 1..=20;
        let span = |epoch| if epoch <= wide { 100.0 } else { 99.0 };
        Run::losses(1.., epochs().map(|_| loss))
            .logs("learning_rate", 1.., epochs().map(&rate))
            .logs("learning_rate_min", 1.., epochs().map(&rate))
            .logs(
                "learning_rate_max",
                1..,
                epochs().map(|epoch| span(epoch) * rate(epoch)),
            )
            .logs("test_accuracy", 1.., epochs().map(accuracy))
    }

    fn finding(outcome: Outcome) -> Finding {
        let Outcome {
            wide,
            mnist_wide,
            rates: [before, after],
            loss,
            accuracy,
            lead,
            spread,
            seeds,
        } = outcome;
        let of = |arm: Arm, run: Run| arm.runs(vec![run; seeds]);
        let schedule = |epoch| if epoch <= 8 { 0.1 } else { 0.01 };
        let arms = [
            of(Arm::l4_adam(), run(|_| 0.1, wide, loss, |_| accuracy)),
            of(
                Arm::l4_mom(),
                run(
                    |epoch| if epoch <= 8 { before } else { after },
                    0,
                    0.3,
                    |_| 85.0,
                ),
            ),
            of(Arm::adam(), run(|_| 0.1, 0, 0.5, |_| 80.0)),
            of(Arm::momentum(), run(|_| 0.1, 0, 0.5, |_| 80.0)),
            Arm::policy().runs((0..seeds).map(|seed| {
                let end = 90.0 + spread * (seed as f64 - 1.0);
                let accuracy = move |epoch| if epoch < lead { 70.0 } else { end };
                run(schedule, 0, 0.4, accuracy)
            })),
        ];
        let mut here = numbers("3.3", TaskName::Cifar10, arms);
        (here.length, here.paper_length) = (20, 20);
        let mnist = |arm: Arm| of(arm, run(|_| 0.1, mnist_wide, 1.0, |_| 98.0));
        let mnist = numbers(
            "3.2",
            TaskName::Mnist,
            [mnist(Arm::l4_adam()), mnist(Arm::l4_mom())],
        );
        judge(&here, Some(&mnist)).unwrap()
    }

    #[test]
    fn each_part_has_two_sides() {
        let parts = |outcome| judged(Some(finding(outcome)));
        assert_eq!(parts(PAPERS), "++++");
        assert_eq!(parts(Outcome { wide: 2, ..PAPERS }), "-+++");
        assert_eq!(
            parts(Outcome {
                mnist_wide: 10,
                ..PAPERS
            }),
            "-+++"
        );
        for (rates, expected) in [
            ([1.0, 0.3159], "++++"),
            ([1.0, 0.317], "+-++"),
            ([1.0, 0.0317], "++++"),
            ([1.0, 0.0316], "+-++"),
            ([3.159, 0.1], "++++"),
            ([3.17, 0.1], "+-++"),
        ] {
            assert_eq!(parts(Outcome { rates, ..PAPERS }), expected);
        }
        // The schedule of the test falls no further.
        let measured = finding(PAPERS).measured;
        let close =
            |found: &Value, expected: f64| (found.as_f64().unwrap() - expected).abs() < 1e-5;
        let ratios = measured["rate_over_schedule"].as_array().unwrap();
        assert_eq!(ratios.len(), 4);
        assert!(ratios.iter().all(|ratio| close(ratio, 1.0)), "{ratios:?}");
        assert_eq!(
            parts(Outcome {
                loss: 0.5,
                ..PAPERS
            }),
            "++-+"
        );
        assert_eq!(
            parts(Outcome {
                accuracy: 80.0,
                ..PAPERS
            }),
            "++-+"
        );
        assert_eq!(parts(Outcome { lead: 10, ..PAPERS }), "++++");
        assert_eq!(
            parts(Outcome { lead: 8, ..PAPERS }),
            "+++-",
            "before the drop"
        );
        assert_eq!(
            parts(Outcome { lead: 11, ..PAPERS }),
            "+++-",
            "not right after it"
        );
        let wider = Outcome {
            spread: 3.0,
            ..PAPERS
        };
        assert_eq!(parts(wider), "+++-", "not told from equal");
        assert_eq!(
            parts(Outcome {
                accuracy: 91.0,
                ..PAPERS
            }),
            "+++-",
            "not in the end"
        );
    }

    #[test]
    fn one_seed_leaves_the_comparison_open() {
        let single = finding(Outcome { seeds: 1, ..PAPERS });
        assert_eq!(
            (parts(&single).as_str(), single.verdict),
            ("++??", Verdict::Partly)
        );
    }

    #[test]
    fn in_a_shorter_run_the_schedule_is_shorter_and_that_is_said() {
        let flat = |rate: f64| run(move |_| rate, 0, 0.4, |_| 80.0);
        let arms = [
            Arm::policy().runs([flat(0.1)]),
            Arm::l4_mom().runs([flat(0.2)]),
        ];
        let mut here = numbers("3.3", TaskName::Cifar10, arms);
        (here.length, here.paper_length) = (20, 250);
        let finding = judge(&here, None).unwrap();
        let unmoved = finding.measured["rate_over_schedule_unmoved"].as_f64();
        assert!((unmoved.unwrap() - 0.2).abs() < 1e-6);
        let Some(Basis::Reduced(words)) = finding.basis else {
            panic!("it is shorter")
        };
        assert!(words.contains("drops sooner in proportion"), "{words}");
        here.paper_length = 20;
        let whole = judge(&here, None).unwrap();
        assert!(!whole.measured.contains_key("rate_over_schedule_unmoved"));
    }

    #[test]
    fn without_mnist_there_is_nothing_to_compare_with() {
        let here = numbers("3.3", TaskName::Cifar10, [Arm::l4_adam().losing([1.0])]);
        let finding = judge(&here, None).unwrap();
        assert_eq!(finding.verdict, Verdict::Untested);
        assert!(
            finding.evidence.contains("no rates of L4Adam on MNIST"),
            "{}",
            finding.evidence
        );
        assert_eq!(judge(&numbers("3.2", TaskName::Mnist, []), None), None);
    }

    #[test]
    fn what_the_running_statistics_do_to_the_accuracy_is_said() {
        let swings = |points: f64| move |epoch: u64| 80.0 + points * ((epoch + 1) % 2) as f64;
        let arm = Arm::l4_adam().runs([Run::default()
            .logs("test_accuracy", 1.., (1..=20).map(swings(20.0)))
            .logs("reestimated_test_accuracy", 1.., (1..=20).map(swings(1.5)))]);
        let mut here = numbers("3.3", TaskName::Cifar10, [arm]);
        (here.length, here.paper_length) = (20, 20);
        let evidence = judge(&here, None).unwrap().evidence;
        assert!(evidence.contains("L4Adam 20.0 and 1.5"), "{evidence}");
        let at_end = "by statistics estimated anew, in per cent: L4Adam 81.50.";
        assert!(evidence.contains(at_end), "{evidence}");
    }
}
