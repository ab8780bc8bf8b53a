//! C7: "the test performance of all optimizers is comparable", and "the L4 optimizers reach near-final accuracies faster,
//! already after around 10 epochs" (section 3.2).
//!
//! Two parts, on mean accuracies over the runs: after the last epoch, those of all methods at their best rates, of L4 at its
//! default α too, lie within [`COMPARABLE`] points; and none of L4's gains [`NEAR_FINAL`] points or more after epoch
//! [`EARLY`], or diverges. One run of a method decides nothing.

use super::case::{Case, VARIANTS, best, l4, l4_best, name, plain_arms};
use super::comparison::mean_accuracy;
use super::comparison::remark_accuracies;
use super::statistics::Estimate;
use super::trace::{Trace, traces};
use super::{Claim, Finding, words};
use crate::numbers::{Base, Numbers, Role};

const SECTION: &str = "3.2";
/// Percentage points between the best and the worst method.
pub const COMPARABLE: f64 = 1.0;
/// Percentage points that L4 gains after the early epoch.
pub const NEAR_FINAL: f64 = 0.3;
/// The epoch after which L4 is near its final accuracy.
pub const EARLY: u64 = 10;

/// The verdict; `None` but of section 3.2.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C7, numbers);
    comparable(&mut case);
    near_final(&mut case);
    let epochs = [EARLY, numbers.length];
    let epochs = &epochs[usize::from(numbers.length <= EARLY)..];
    for base in VARIANTS {
        remark_accuracies(&mut case, base, epochs);
    }
    Some(case.finding(&format!(
        "mean test accuracies after the last epoch within {COMPARABLE} point of each other over all methods at best rates, and a gain \
         of each L4 variant after epoch {EARLY} of under {NEAR_FINAL} points"
    )))
}

/// The columns of Table 3 at our own best rates.
fn columns() -> impl Iterator<Item = Role> {
    VARIANTS
        .map(best)
        .into_iter()
        .chain(VARIANTS.map(l4))
        .chain(VARIANTS.map(l4_best))
}

fn comparable(case: &mut Case<'_>) {
    let what = "test accuracies are comparable";
    let numbers = case.numbers;
    let needed: Vec<_> = columns().filter_map(|role| case.arm(role)).collect();
    let others = plain_arms(numbers)
        .filter(|arm| arm.role == best(Base::Sgd) || arm.role == best(Base::RmsProp));
    let arms: Vec<_> = needed.into_iter().chain(others).collect();
    let mut accuracies = Vec::new();
    for arm in &arms {
        match mean_accuracy(numbers, arm, numbers.length) {
            Some(accuracy) => accuracies.push((name(arm.role), accuracy)),
            None => case.lacks(format!("test accuracy of {} at the end", name(arm.role))),
        }
    }
    let only = || accuracies.iter().map(|(_, accuracy)| *accuracy);
    let (Some(least), Some(greatest)) = (only().reduce(f64::min), only().reduce(f64::max)) else {
        case.part_without_arms(what);
        return;
    };
    let named: Vec<String> = accuracies
        .iter()
        .map(|(name, accuracy)| format!("{name} {accuracy:.2}"))
        .collect();
    for (name, accuracy) in &accuracies {
        case.measured
            .insert(format!("accuracy_{name}"), words::value(*accuracy));
    }
    let range = greatest - least;
    let evidence = format!(
        "mean test accuracies after the last epoch in per cent: {}; a range of {range:.2}",
        named.join(", ")
    );
    let decides = arms.iter().all(|arm| arm.runs.len() > 1);
    case.part(what, decides.then_some(range <= COMPARABLE), evidence);
}

fn near_final(case: &mut Case<'_>) {
    let what = format!("L4 is near its final accuracy after epoch {EARLY}");
    let numbers = case.numbers;
    if numbers.length <= EARLY {
        case.part(what, None, format!("not more than {EARLY} epochs were run"));
        return;
    }
    let mut gains = Vec::new();
    for role in VARIANTS.map(l4).into_iter().chain(VARIANTS.map(l4_best)) {
        let Some(arm) = case.arm(role) else { continue };
        let runs = traces(numbers, arm);
        let (early, end) = (arm.step_after(EARLY), arm.step_after(numbers.length));
        let gain = |run: &Trace<'_>| Some(run.accuracy_at(end)? - run.accuracy_at(early)?);
        let of_runs: Vec<f64> = runs.iter().filter_map(gain).collect();
        if let Some(gain) = Estimate::of(&of_runs) {
            case.measure(format!("gain_{}", name(role)), &gain);
            let diverged = runs.iter().filter(|run| run.diverged()).count();
            gains.push((name(role), gain, diverged));
        }
    }
    if gains.is_empty() {
        case.part_without_arms(what);
        return;
    }
    let named: Vec<String> = gains
        .iter()
        .map(|(name, gain, diverged)| {
            let gain = words::estimate(gain);
            match diverged {
                0 => format!("{name} {gain}"),
                _ => format!("{name} {gain}, {diverged} diverged"),
            }
        })
        .collect();
    let evidence = format!("points gained from then on: {}", named.join(", "));
    let decides = gains.iter().all(|(_, gain, _)| gain.n > 1);
    let mut gains = gains.iter();
    let holds = gains.all(|(_, gain, diverged)| *diverged == 0 && gain.mean < NEAR_FINAL);
    case.part(what, decides.then_some(holds), evidence);
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::{Alpha, Rate, TaskName};

    /// Three runs of 30 epochs with this accuracy after epoch 10 and at the end.
    fn accurate(arm: Arm, early: f64, last: f64) -> Arm {
        let accuracy = move |epoch| if epoch > 10 { last } else { early };
        arm.runs([0; 3].map(|_| Run::default().logs("test_accuracy", 1.., (1..=30).map(accuracy))))
    }

    fn columns_with(l4_adam: [f64; 2], adam: f64) -> Numbers {
        let [early, last] = l4_adam;
        numbers(
            "3.2",
            TaskName::Mnist,
            [
                accurate(Arm::l4_adam(), early, last),
                accurate(Arm::l4_mom(), 98.0, 98.0),
                accurate(Arm::l4(Base::Adam, Alpha::Best), 98.0, 98.0),
                accurate(Arm::l4(Base::Momentum, Alpha::Best), 98.0, 98.0),
                accurate(Arm::adam(), 90.0, adam),
                accurate(Arm::momentum(), 90.0, 98.0),
            ],
        )
    }

    #[test]
    fn accuracies_are_comparable_within_a_point() {
        let parts = |adam| judged(judge(&columns_with([98.0, 98.0], adam)));
        assert_eq!(parts(97.0), "++");
        assert_eq!(parts(96.99), "-+");
        assert_eq!(parts(99.01), "-+");
    }

    #[test]
    fn l4_gains_little_after_epoch_10() {
        let parts = |early, last| judged(judge(&columns_with([early, last], 98.0)));
        assert_eq!(parts(97.71, 98.0), "++");
        assert_eq!(parts(97.69, 98.0), "+-");
        assert_eq!(parts(99.0, 98.0), "++", "it may lose");
    }

    #[test]
    fn the_accuracies_of_a_variant_and_its_base_are_compared_early_and_in_the_end() {
        let evidence = judge(&columns_with([97.0, 98.0], 98.5)).unwrap().evidence;
        let words = "Points of test accuracy of L4Adam over Adam*: after epoch 10 7 (95 % interval 7 to 7, n = 3), after \
                     epoch 30 -0.5000 (95 % interval -0.5000 to -0.5000, n = 3) and in the mean of the last 5 epochs -0.5000";
        assert!(evidence.contains(words), "{evidence}");
    }

    #[test]
    fn beside_the_best_rate_table_1s_is_reported() {
        let mut numbers = columns_with([98.0, 98.0], 98.0);
        let published = accurate(Arm::constant(Base::Adam, Rate::Published), 96.0, 97.0);
        numbers.arms.push(published.0);
        let evidence = judge(&numbers).unwrap().evidence;
        let words = "L4Adam over Adam at its published rate: after epoch 10 2 (95 % interval 2 to 2, n = 3), after epoch 30 1";
        assert!(evidence.contains(words), "{evidence}");
    }

    #[test]
    fn a_run_that_diverged_is_near_nothing() {
        for step in [5, 20] {
            let mut diverged = columns_with([98.0, 98.0], 98.0);
            diverged.arms[1].runs[0].diverged_at = Some(step);
            assert_eq!(judged(judge(&diverged)), "--");
        }
    }

    #[test]
    fn table_1s_rates_do_not_count_and_diverged_runs_are_wrong_throughout() {
        let mut published = columns_with([98.0, 98.0], 98.0);
        published
            .arms
            .push(accurate(Arm::constant(Base::Adam, Rate::Published), 50.0, 50.0).0);
        assert_eq!(judged(judge(&published)), "++");
        published
            .arms
            .push(accurate(Arm::constant(Base::Sgd, Rate::Best), 50.0, 50.0).0);
        assert_eq!(judged(judge(&published)), "-+");
        let mut diverged = columns_with([98.0, 98.0], 98.0);
        diverged.arms[4].runs[0].diverged_at = Some(20);
        assert_eq!(judged(judge(&diverged)), "-+");
    }

    #[test]
    fn one_seed_decides_nothing() {
        let mut one = columns_with([98.0, 98.0], 98.0);
        one.arms.iter_mut().for_each(|arm| arm.runs.truncate(1));
        assert_eq!(judged(judge(&one)), "??");
    }

    #[test]
    fn ten_epochs_do_not_show_what_comes_after() {
        let mut short = columns_with([98.0, 98.0], 90.0);
        short.length = 10;
        let finding = judge(&short).unwrap();
        assert_eq!(
            (super::super::made_up::parts(&finding), finding.verdict),
            ("-?".to_owned(), Verdict::Untested)
        );
        for length in [10, 6] {
            short.length = length;
            let parts = judge(&short).unwrap().parts;
            assert_eq!(parts[1].evidence, "not more than 10 epochs were run");
        }
    }
}
