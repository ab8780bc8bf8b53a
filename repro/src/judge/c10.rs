//! C10: with the ConvNet on Fashion-MNIST L4's training loss "is roughly an order of magnitude lower than the losses of optimized
//! baselines", and with more dropout there is "an additional gain in test accuracy" (section 3.5).
//!
//! Four parts, two for each variant of L4 at its default α: its final training loss is more than [`LOWER`] times lower than that
//! of the better of the base methods at their best rates, and its test accuracy after the last epoch is higher with more dropout
//! than with less. Both with the 95 % interval.

use super::case::{Case, VARIANTS, best, l4, main_arms, name, plain_dropout};
use super::comparison::{Comparison, Measure, best_of, remark_accuracies};
use super::statistics::{Estimate, HALF_A_DECADE};
use super::trace::{paired, traces};
use super::{Claim, Finding, words};
use crate::numbers::{ArmNumbers, Base, Numbers};

const SECTION: &str = "3.5";
/// Nearer to ten times than to equal.
pub const LOWER: f64 = HALF_A_DECADE;

/// The verdict; `None` but of section 3.5.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C10, numbers);
    for base in VARIANTS {
        lower_loss(&mut case, base);
    }
    for base in VARIANTS {
        more_dropout(&mut case, base);
    }
    for base in VARIANTS {
        remark_accuracies(&mut case, base, &[numbers.length]);
    }
    Some(case.finding(&format!(
        "for each L4 variant a final training loss over {LOWER} times lower than the better baseline's at its best rate (the 95 % \
         interval of the ratio below 1/{LOWER}), and a test accuracy that more dropout raises (the interval of the paired difference \
         above 0)"
    )))
}

fn lower_loss(case: &mut Case<'_>, base: Base) {
    let what = format!("{}'s loss is over {LOWER} times lower", name(l4(base)));
    let (ours, numbers) = (case.side(l4(base)), case.numbers);
    let tuned: Vec<_> = VARIANTS
        .iter()
        .filter_map(|base| case.side(best(*base)))
        .collect();
    let published: Vec<_> = VARIANTS
        .iter()
        .filter_map(|base| case.published_side(*base))
        .collect();
    let lower = |sides| best_of(sides, Measure::FinalLoss, numbers);
    let (Some(ours), Some(tuned)) = (ours, lower(&tuned)) else {
        case.part_without_arms(what);
        return;
    };
    let comparison = Comparison::of(case, Measure::FinalLoss, &ours, tuned);
    case.part(what, comparison.is_lower_by(LOWER), comparison.words);
    if let Some(published) = lower(&published) {
        let comparison = Comparison::of(case, Measure::FinalLoss, &ours, published);
        case.remark(format!("For comparison, {}", comparison.words));
    }
}

fn more_dropout(case: &mut Case<'_>, base: Base) {
    let role = l4(base);
    let what = format!("more dropout raises {}'s test accuracy", name(role));
    let numbers = case.numbers;
    let plain = plain_dropout(numbers);
    let dropout = |arm: &ArmNumbers| {
        arm.setting("dropout")
            .filter(|dropout| Some(*dropout) > plain)
    };
    let more = main_arms(numbers).find(|arm| arm.role == role && dropout(arm).is_some());
    let more = case.compares(more, || format!("{} with more dropout", name(role)));
    let (Some(more), Some(less)) = (more, case.arm(role)) else {
        case.part_without_arms(what);
        return;
    };
    let end = |arm: &ArmNumbers| arm.step_after(numbers.length);
    let differences = paired(&traces(numbers, more), &traces(numbers, less), |run| {
        run.accuracy_at(end(less))
    });
    let Some(gain) = Estimate::of(&differences) else {
        case.lacks(format!("test accuracy of {} at the end", name(role)));
        case.part_without_arms(what);
        return;
    };
    case.measure(format!("accuracy_gain_{}", name(role)), &gain);
    let dropouts = [more, less].map(|arm| arm.setting("dropout").unwrap_or_default());
    let evidence = format!(
        "points gained with dropout {} over {}: {}",
        dropouts[0],
        dropouts[1],
        words::estimate(&gain)
    );
    case.part(what, gain.is_above(0.0), evidence);
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::{Rate, TaskName};

    /// Three runs with this final loss and these accuracies at the end.
    fn arm(arm: Arm, dropout: f64, loss: f64, accuracies: [f64; 3]) -> Arm {
        let run = |accuracy| Run::losses(1.., [loss; 30]).logs("test_accuracy", 30.., [accuracy]);
        arm.set("dropout", dropout).runs(accuracies.map(run))
    }

    const LESS: [f64; 3] = [90.0, 91.0, 92.0];
    const MORE: [f64; 3] = [90.2, 91.22, 92.18];

    fn of(loss: f64, more: [f64; 3], momentum: Arm) -> Numbers {
        let arms = [
            arm(Arm::l4_adam(), 0.5, 1.0, more),
            arm(Arm::l4_mom(), 0.5, 1.0, MORE),
            arm(Arm::l4_adam(), 0.4, loss, LESS),
            arm(Arm::l4_mom(), 0.4, 0.01, LESS),
            arm(Arm::adam(), 0.4, 0.1, LESS),
            momentum.set("dropout", 0.4),
        ];
        numbers("3.5", TaskName::FashionMnist, arms)
    }

    fn parts(loss: f64, more: [f64; 3], momentum: f64) -> String {
        judged(judge(&of(
            loss,
            more,
            arm(Arm::momentum(), 0.4, momentum, LESS),
        )))
    }

    #[test]
    fn the_loss_is_far_below_the_better_baselines() {
        assert_eq!(parts(0.1 / 3.17, MORE, 0.2), "++++");
        assert_eq!(parts(0.1 / 3.15, MORE, 0.2), "-+++");
        assert_eq!(
            parts(0.1 / 3.17, MORE, 0.099),
            "-+++",
            "mSGD is the better one then"
        );
    }

    #[test]
    fn what_neither_side_gets_to_decides_nothing() {
        let mut numbers = of(0.1, MORE, arm(Arm::momentum(), 0.4, 0.2, LESS));
        for arm in &mut numbers.arms[2..] {
            arm.runs
                .iter_mut()
                .for_each(|run| run.diverged_at = Some(3));
        }
        assert!(judged(judge(&numbers)).starts_with("??"));
    }

    #[test]
    fn of_two_baselines_that_diverged_the_one_that_did_less_often_is_the_better() {
        let diverged = |mut arm: Arm, seeds: usize| {
            let runs = arm.0.runs.iter_mut().take(seeds);
            runs.for_each(|run| run.diverged_at = Some(3));
            arm
        };
        let mut numbers = of(0.1, MORE, diverged(arm(Arm::momentum(), 0.4, 0.2, LESS), 1));
        numbers.arms[4] = diverged(arm(Arm::adam(), 0.4, 0.1, LESS), 3).0;
        let evidence = &judge(&numbers).unwrap().parts[0].evidence;
        assert!(
            evidence.contains("mSGD* infinite (n = 3, 1 diverged)"),
            "{evidence}"
        );
    }

    #[test]
    fn what_the_rates_of_table_1_would_say_is_told_and_decides_nothing() {
        let at = |base, loss| {
            let rate = Rate::Published;
            arm(Arm::constant(base, rate), 0.4, loss, LESS).0
        };
        let mut numbers = of(0.1 / 3.15, MORE, arm(Arm::momentum(), 0.4, 0.2, LESS));
        numbers
            .arms
            .extend([at(Base::Adam, 0.4), at(Base::Momentum, 0.3)]);
        let finding = judge(&numbers);
        let ratio = "final_loss_L4Adam_over_mSGD at its published rate";
        let ratio = &finding.as_ref().unwrap().measured[ratio]["mean"];
        assert!(
            (ratio.as_f64().unwrap() - 0.1 / 3.15 / 0.3).abs() < 1e-5,
            "{ratio}"
        );
        assert_eq!(judged(finding), "-+++");
    }

    #[test]
    fn more_dropout_raises_the_accuracy() {
        assert_eq!(parts(0.01, MORE, 0.2), "++++");
        assert_eq!(parts(0.01, LESS, 0.2), "++-+");
        assert_eq!(
            parts(0.01, [90.0, 91.1, 92.9], 0.2),
            "++-+",
            "higher on average only"
        );
        assert_eq!(parts(0.01, [89.0, 90.0, 91.0], 0.2), "++-+");
    }

    #[test]
    fn the_baselines_are_at_their_best_rates() {
        let published = arm(
            Arm::constant(Base::Momentum, Rate::Published),
            0.4,
            0.1,
            LESS,
        );
        let finding = judge(&of(0.01, MORE, published)).unwrap();
        assert_eq!(finding.verdict, Verdict::Untested);
        assert!(
            finding.evidence.contains("there is no mSGD*"),
            "{}",
            finding.evidence
        );
    }
}
