//! C3: "standard optimizers have great difficulty reaching convergence", and L4 "can break this 'optimization floor'"
//! (sections 3.1 and 4).
//!
//! Four parts. For each variant of L4 at its default α: every run gets to a loss of 1e-14 of its first within the run. For
//! each base method at its best constant rate: no run does. The counts at larger marks, the losses at the end and L4 at its
//! best α are reported.

use super::case::{Case, VARIANTS, best, l4, l4_best, name, plain_arms};
use super::course::{Course, courses};
use super::numbers::{Numbers, Role};
use super::statistics::median;
use super::{Claim, Finding, words};

const SECTION: &str = "3.1";
/// Marks of relative loss, as the runs name them; the last decides.
pub const MARKS: [&str; 3] = ["1e-6", "1e-10", "1e-14"];

/// The verdict; `None` but of section 3.1.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let [.., decides] = MARKS;
    let mut case = Case::new(Claim::C3, numbers);
    for base in VARIANTS {
        let what = format!("every run of {} reaches {decides}", name(l4(base)));
        part(&mut case, l4(base), what, |reached, runs| reached == runs);
    }
    for base in VARIANTS {
        let what = format!("no run of {} does", name(best(base)));
        part(&mut case, best(base), what, |reached, _| reached == 0);
    }
    for role in VARIANTS.map(l4_best) {
        if let Some(arm) = plain_arms(numbers).find(|arm| arm.role == role) {
            let words = reached(&mut case, role, &courses(numbers, arm));
            case.remark(format!("{}: {words}", name(role)));
        }
    }
    Some(case.finding(&format!(
        "a loss of {decides} of the first in every run of both L4 variants at the default α, and in none of their base methods at \
         the best constant rates"
    )))
}

fn part(case: &mut Case<'_>, role: Role, what: String, holds: fn(usize, usize) -> bool) {
    let Some(runs) = case.courses(role) else {
        case.part_without_arms(what);
        return;
    };
    let [.., decides] = MARKS;
    let holds = holds(count(&runs, decides), runs.len());
    let words = reached(case, role, &runs);
    case.part(what, Some(holds), words);
}

fn count(runs: &[Course<'_>], mark: &str) -> usize {
    runs.iter()
        .filter(|run| run.step_of(mark).is_some())
        .count()
}

/// How many runs get to each mark, and the loss at the end.
fn reached(case: &mut Case<'_>, role: Role, runs: &[Course<'_>]) -> String {
    let counts: Vec<String> = MARKS
        .iter()
        .map(|mark| format!("{} of {} to {mark}", count(runs, mark), runs.len()))
        .collect();
    let last: Vec<f64> = runs.iter().filter_map(relative_loss).collect();
    let last = median(&last).unwrap_or(f64::NAN);
    let measured = MARKS
        .iter()
        .map(|mark| count(runs, mark) as f64)
        .chain([last]);
    case.measured.insert(name(role), words::values(measured));
    format!(
        "{}, median loss at the end {} of the first",
        words::list(&counts),
        words::number(last)
    )
}

fn relative_loss(run: &Course<'_>) -> Option<f64> {
    if run.diverged() {
        return Some(f64::INFINITY);
    }
    let summary = |name: &str| run.run().summary.get(name)?.as_f64();
    Some(summary("final_loss")? / summary("first_loss")?)
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Arm, Run, evidence, judged, numbers};
    use super::*;

    /// Five runs of which so many reach the mark, the last of them at this step.
    fn reaching(arm: Arm, mark: &str, count: usize, last: u64) -> Arm {
        let run = |index: usize| {
            let run = Run::losses(1.., [1.0; 30])
                .summary("first_loss", 2.0)
                .summary("final_loss", 1e-9);
            match index {
                _ if index + 1 == count => run.reaches(mark, last),
                _ if index < count => run.reaches(mark, 3),
                _ => run,
            }
        };
        arm.runs((0..5).map(run))
    }

    fn parts(l4_adam: Arm, adam: Arm) -> String {
        let l4_mom = reaching(Arm::l4_mom(), "1e-14", 5, 3);
        let momentum = reaching(Arm::momentum(), "1e-14", 0, 3);
        judged(judge(&numbers(
            "3.1",
            "regression",
            [l4_adam, l4_mom, adam, momentum],
        )))
    }

    #[test]
    fn every_run_of_l4_and_none_of_its_bases_gets_there() {
        let l4 = |mark, count, last| reaching(Arm::l4_adam(), mark, count, last);
        let adam = |mark, count| reaching(Arm::adam(), mark, count, 3);
        assert_eq!(parts(l4("1e-14", 5, 30), adam("1e-14", 0)), "++++");
        assert_eq!(
            parts(l4("1e-14", 5, 31), adam("1e-14", 0)),
            "-+++",
            "after the end"
        );
        assert_eq!(parts(l4("1e-14", 4, 3), adam("1e-14", 0)), "-+++");
        assert_eq!(parts(l4("1e-10", 5, 3), adam("1e-10", 5)), "-+++");
        assert_eq!(parts(l4("1e-14", 5, 3), adam("1e-14", 1)), "++-+");
    }

    #[test]
    fn the_evidence_has_the_counts_and_the_loss_at_the_end() {
        let arm = reaching(Arm::l4_adam(), "1e-10", 4, 3);
        let finding = judge(&numbers("3.1", "regression", [arm])).unwrap();
        let words = "0 of 5 to 1e-6, 4 of 5 to 1e-10 and 0 of 5 to 1e-14, median loss at the end 5.000×10⁻¹⁰ of the first";
        assert!(evidence(&finding).contains(words), "{finding:?}");
    }
}
