//! C1, a verdict a task: "Across the experiments, it outperforms even the best constant learning rates for the respective
//! gradient-based update rules" (section 3).
//!
//! Two parts, one for each variant of L4 at its default α: its final training loss, the mean of the last tenth, is lower than
//! that of its base method at the best constant rate of our own search. On the DNC, where all methods end on the floor of
//! clipped logits, the steps are compared in which the loss gets below [`THRESHOLD`] for good. What other thresholds would say, and
//! the first time below instead of the last, is reported there. On MNIST too losses end near a floor, that of float32, but most runs of
//! Adam at its best rate do not stay below the threshold: there the steps are reported, and the final loss decides.

use super::case::{Case, VARIANTS, best, l4, name};
use super::comparison::{Comparison, Measure, Side, ratio};
use super::trace::Trace;
use super::{Claim, Finding, words};
use crate::numbers::{Numbers, TaskName};

pub use super::comparison::THRESHOLD;

const SECTIONS: [&str; 5] = ["3.1", "3.2", "3.3", "3.4", "3.5"];

/// Thresholds that do not decide.
const OTHER_THRESHOLDS: [f64; 3] = [1e-1, 1e-2, 1e-4];

/// What decides on a task, and what is reported beside.
fn measures(task: TaskName) -> (Measure, &'static [Measure]) {
    match task {
        TaskName::Dnc => (Measure::StepsToThreshold, &[Measure::MeanLoss]),
        TaskName::Mnist => (
            Measure::FinalLoss,
            &[Measure::StepsToThreshold, Measure::MeanLoss],
        ),
        TaskName::Regression
        | TaskName::Cifar10
        | TaskName::FashionMnist
        | TaskName::RunningTime => (Measure::FinalLoss, &[]),
    }
}

/// The verdict on one task; `None` if it is no task of this claim.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if !SECTIONS.contains(&numbers.section.as_str()) {
        return None;
    }
    let (decides, beside) = measures(numbers.task);
    let mut case = Case::new(Claim::C1, numbers);
    for base in VARIANTS {
        let is_lower = match decides {
            Measure::StepsToThreshold => "takes fewer steps than",
            _ => "is lower than",
        };
        let what = format!("{} {is_lower} {}", name(l4(base)), name(best(base)));
        let ours = case.side(l4(base));
        if let (Some(ours), Some(published)) = (&ours, case.published_side(base)) {
            let comparison = Comparison::of(&mut case, decides, ours, &published);
            case.remark(format!("For comparison, {}", comparison.words));
            if decides == Measure::StepsToThreshold {
                remark_thresholds(&mut case, ours, &published);
            }
        }
        let (Some(ours), Some(theirs)) = (ours, case.side(best(base))) else {
            case.part_without_arms(what);
            continue;
        };
        let comparison = Comparison::of(&mut case, decides, &ours, &theirs);
        case.part(what, comparison.is_lower(), &comparison.words);
        for measure in beside {
            let comparison = Comparison::of(&mut case, *measure, &ours, &theirs);
            case.remark(format!("Beside it, {}", comparison.words));
        }
        if decides == Measure::StepsToThreshold {
            remark_thresholds(&mut case, &ours, &theirs);
        }
    }
    Some(case.finding(&format!(
        "lower {} of both L4 variants at the default α than of their base methods at the best constant rates (the 95 % interval \
         of the ratio below 1)",
        decides.words()
    )))
}

/// How much hangs on the threshold, and on being below it for good.
fn remark_thresholds(case: &mut Case<'_>, ours: &Side<'_>, theirs: &Side<'_>) {
    let sides = format!("{}_over_{}", ours.name, theirs.name);
    let mut found = Vec::new();
    let mut add = |key: String, what: String, log10: &dyn Fn(&Trace<'_>) -> Option<f64>| {
        if let Some(ratio) = ratio(ours, theirs, log10) {
            case.measure(format!("{key}_{sides}"), &ratio);
            found.push(format!("{what} {}", words::estimate(&ratio)));
        }
    };
    for threshold in OTHER_THRESHOLDS {
        let steps = |run: &Trace<'_>| Some(run.steps_to(threshold)?.log10());
        let (key, what) = (
            format!("steps_to_{threshold:e}"),
            format!("below {threshold:e} for good"),
        );
        add(key, what, &steps);
    }
    let what = format!("below {THRESHOLD:e} for the first time");
    add("steps_to_first".to_owned(), what, &|run| {
        Some(run.steps_to_first(THRESHOLD)?.log10())
    });
    if !found.is_empty() {
        let [ours, theirs] = [&ours.name, &theirs.name];
        let found = words::list(&found);
        case.remark(format!(
            "Ratios of the steps of {ours} to those of {theirs} until the loss is {found}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, evidence, judged, numbers};
    use super::*;
    use crate::numbers::{Rate, Role};

    const LOW: [f64; 3] = [1.0e-2, 1.1e-2, 1.2e-2];
    const HIGH: [f64; 3] = [1.3e-2, 1.5e-2, 1.6e-2];

    fn of(
        task: TaskName,
        section: &str,
        l4_adam: Arm,
        l4_mom: Arm,
        adam: Arm,
        momentum: Arm,
    ) -> Option<Finding> {
        judge(&numbers(section, task, [l4_adam, l4_mom, adam, momentum]))
    }

    fn losses(l4_adam: [f64; 3], l4_mom: [f64; 3], adam: [f64; 3], momentum: [f64; 3]) -> String {
        let l4 = [Arm::l4_adam().losing(l4_adam), Arm::l4_mom().losing(l4_mom)];
        let [l4_adam, l4_mom] = l4;
        judged(of(
            TaskName::Mnist,
            "3.2",
            l4_adam,
            l4_mom,
            Arm::adam().losing(adam),
            Arm::momentum().losing(momentum),
        ))
    }

    #[test]
    fn each_variant_is_compared_with_its_base() {
        assert_eq!(losses(LOW, LOW, HIGH, HIGH), "++");
        assert_eq!(losses(LOW, LOW, HIGH, LOW), "+-", "equal is not lower");
        assert_eq!(losses(HIGH, LOW, LOW, HIGH), "-+");
        let noisy = [1.0e-2, 1.1e-2, 1.7e-2];
        assert_eq!(
            losses(noisy, LOW, HIGH, HIGH),
            "-+",
            "lower on average only"
        );
    }

    #[test]
    fn what_is_on_the_floor_is_not_ranked() {
        assert_eq!(losses([1e-9; 3], [1e-8; 3], [1e-8; 3], [1e-6; 3]), "-+");
    }

    #[test]
    fn on_the_dnc_steps_to_the_threshold_are_compared() {
        let reaching = |arm: Arm, windows: [usize; 3]| {
            let run = |windows| {
                let loss = move |window| if window < windows { 1.0 } else { 1e-4 };
                Run::losses(1.., (0..20).map(loss))
            };
            arm.runs(windows.map(run))
        };
        let finding = |ours: [usize; 3]| {
            of(
                TaskName::Dnc,
                "3.4",
                reaching(Arm::l4_adam(), ours),
                reaching(Arm::l4_mom(), [5, 6, 7]),
                reaching(Arm::adam(), [8, 10, 12]),
                reaching(Arm::momentum(), [8, 10, 12]),
            )
        };
        assert_eq!(judged(finding([6, 8, 9])), "++");
        let evidence = evidence(&finding([8, 10, 12]).unwrap());
        let words = "Ratios of the steps of L4Adam to those of Adam* until the loss is below 1e-1 for good 1 (95";
        assert!(evidence.contains(words), "{evidence}");
        let words = "below 1e-3 for the first time 1 (95 % interval 1 to 1, n = 3). ";
        assert!(evidence.contains(words), "{evidence}");
        assert_eq!(judged(finding([8, 10, 12])), "-+");
        assert_eq!(
            judged(finding([6, 8, 20])),
            "-+",
            "one run never gets there"
        );
    }

    #[test]
    fn a_diverged_run_has_infinite_loss() {
        let diverged = |arm: Arm| {
            let mut arm = arm.losing(LOW);
            arm.0.runs[1].diverged_at = Some(4);
            arm
        };
        let verdict = |l4_adam, adam| {
            let [l4_mom, momentum] = [Arm::l4_mom().losing(LOW), Arm::momentum().losing(HIGH)];
            judged(of(TaskName::Mnist, "3.2", l4_adam, l4_mom, adam, momentum))
        };
        assert_eq!(
            verdict(diverged(Arm::l4_adam()), Arm::adam().losing(HIGH)),
            "-+"
        );
        assert_eq!(
            verdict(
                Arm::l4_adam().losing(LOW.map(|x| x / 2.0)),
                diverged(Arm::adam())
            ),
            "++"
        );
    }

    #[test]
    fn one_seed_is_reported_only_and_table_1_is_no_substitute_for_a_search() {
        let one = |arm: Arm, loss| arm.losing([loss]);
        let arms = [
            one(Arm::l4_adam(), 1e-3),
            one(Arm::l4_mom(), 1e-3),
            one(Arm::adam(), 1e-2),
            one(Arm::momentum(), 1e-2),
        ];
        let single = judge(&numbers("3.3", TaskName::Cifar10, arms.clone())).unwrap();
        assert_eq!(single.verdict, Verdict::Untested);
        let said = evidence(&single);
        assert!(
            said.contains("ratio by seed 0.1000 (n = 1: no interval"),
            "{said}"
        );
        let published = arms.map(|mut arm| {
            if let Role::Constant { rate, .. } = &mut arm.0.role {
                *rate = Rate::Published;
            }
            arm
        });
        let published = judge(&numbers("3.3", TaskName::Cifar10, published)).unwrap();
        assert_eq!(published.verdict, Verdict::Untested);
        for words in [
            "there is no Adam*, no mSGD*",
            "Adam at its published rate 0.01000",
        ] {
            assert!(published.evidence.contains(words), "{}", published.evidence);
        }
    }
}
