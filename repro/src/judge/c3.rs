//! C3: "standard optimizers have great difficulty reaching convergence", and L4 "can break this 'optimization floor'"
//! (sections 3.1 and 4).
//!
//! Four parts. For each variant of L4 at its default α: every run gets to a loss of 1e-14 of its first within the run. For
//! each base method at its best constant rate: no run does. The counts at larger marks, the losses at the end and L4 at its
//! best α are reported, and so is what becomes of both variants with and without the constant ε of Eq. (6), in runs of their
//! own: those of the arm [`EPSILON`], by `optimizer`, `epsilon`, `least_relative_loss` and `final_relative_loss` of their summary.

use super::case::{Case, VARIANTS, best, l4, l4_best, name, plain_arms};
use super::statistics::median;
use super::trace::{Trace, traces};
use super::{Claim, Finding, words};
use crate::numbers::{ArmNumbers, EPSILON, Numbers, Role, RunNumbers};

const SECTION: &str = "3.1";
/// The relative loss that decides,
const DECIDES: f64 = 1e-14;
/// and the marks as the runs name them, of which it is the last.
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
            let words = reached(&mut case, role, &traces(numbers, arm));
            case.remark(format!("{}: {words}", name(role)));
        }
    }
    let epsilon = |arm: &&ArmNumbers| arm.role == Role::Measurement && arm.name == EPSILON;
    if let Some(arm) = numbers.arms.iter().find(epsilon) {
        remark_epsilon(&mut case, &arm.runs);
    }
    Some(case.finding(&format!(
        "a loss of {decides} of the first in every run of both L4 variants at the default α, and in none of their base methods at \
         the best constant rates"
    )))
}

fn part(case: &mut Case<'_>, role: Role, what: String, holds: fn(usize, usize) -> bool) {
    let Some(runs) = case.traces(role) else {
        case.part_without_arms(what);
        return;
    };
    let [.., decides] = MARKS;
    let holds = holds(count(&runs, decides), runs.len());
    let words = reached(case, role, &runs);
    case.part(what, Some(holds), words);
}

fn count(runs: &[Trace<'_>], mark: &str) -> usize {
    runs.iter()
        .filter(|run| run.step_of(mark).is_some())
        .count()
}

/// How many runs get to each mark, and the loss at the end.
fn reached(case: &mut Case<'_>, role: Role, runs: &[Trace<'_>]) -> String {
    let counts: Vec<String> = MARKS
        .iter()
        .map(|mark| format!("{} of {} to {mark}", count(runs, mark), runs.len()))
        .collect();
    let ends: Vec<f64> = runs.iter().filter_map(relative_loss).collect();
    let low = ends.iter().filter(|end| **end <= DECIDES).count();
    let last = median(&ends).unwrap_or(f64::NAN);
    let [.., decides] = MARKS;
    let latest = runs.iter().filter_map(|run| run.step_of(decides)).max();
    case.measured
        .insert(format!("ends_low_{}", name(role)), low.into());
    if let Some(latest) = latest {
        case.measured
            .insert(format!("latest_{}", name(role)), latest.into());
    }
    let latest = latest.map_or_else(String::new, |step| {
        format!(", the latest in step {}", words::number(step as f64))
    });
    let measured = MARKS
        .iter()
        .map(|mark| count(runs, mark) as f64)
        .chain([last]);
    case.measured.insert(name(role), words::values(measured));
    format!(
        "{}{latest}; {low} end below {decides}, median loss at the end {} of the first",
        words::list(&counts),
        words::number(last)
    )
}

/// What ε does, a remark each variant and ε.
fn remark_epsilon(case: &mut Case<'_>, runs: &[RunNumbers]) {
    let key = |run: &RunNumbers| {
        let optimizer = run.summary.get("optimizer")?.as_str()?.to_owned();
        Some((optimizer, run.summary.get("epsilon")?.as_f64()?))
    };
    let mut keys: Vec<(String, f64)> = runs.iter().filter_map(key).collect();
    keys.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.total_cmp(&one.1)));
    keys.dedup();
    for (optimizer, epsilon) in keys {
        let shown = if epsilon == 0.0 {
            "0".to_owned()
        } else {
            format!("{epsilon:e}")
        };
        let same = Some((optimizer.clone(), epsilon));
        let alike: Vec<&RunNumbers> = runs.iter().filter(|run| key(run) == same).collect();
        let number = |run: &&RunNumbers, name| match run.diverged_at {
            Some(_) => None,
            None => run.summary.get(name)?.as_f64(),
        };
        let least = alike
            .iter()
            .filter_map(|run| number(run, "least_relative_loss"));
        let reached = least.filter(|least| *least <= DECIDES).count();
        let ends = alike
            .iter()
            .map(|run| number(run, "final_relative_loss").unwrap_or(f64::INFINITY));
        let ends: Vec<f64> = ends.collect();
        let shown_ends: Vec<String> = ends.iter().map(|end| words::number(*end)).collect();
        let last = median(&ends).unwrap_or(f64::NAN);
        case.measured.insert(
            format!("{optimizer}_ends_with_epsilon_{shown}"),
            words::values(ends),
        );
        let diverged = alike.iter().filter(|run| run.diverged_at.is_some()).count();
        let steps = alike
            .iter()
            .filter_map(|run| run.summary.get("steps")?.as_f64());
        let steps = steps.reduce(f64::max).unwrap_or(f64::NAN);
        case.measured.insert(
            format!("{optimizer}_with_epsilon_{shown}"),
            words::values([reached as f64, alike.len() as f64, last]),
        );
        case.remark(format!(
            "{optimizer} with ε = {shown} in {} steps: {reached} of {} to {DECIDES:e}, losses at the end {} of the first, {diverged} diverged",
            words::number(steps),
            alike.len(),
            words::list(&shown_ends)
        ));
    }
}

fn relative_loss(run: &Trace<'_>) -> Option<f64> {
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
    use crate::numbers::TaskName;

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
            TaskName::Regression,
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
        let finding = judge(&numbers("3.1", TaskName::Regression, [arm])).unwrap();
        let words = "0 of 5 to 1e-6, 4 of 5 to 1e-10 and 0 of 5 to 1e-14; 0 end below 1e-14, median loss at the end 5.000×10⁻¹⁰ of \
                     the first";
        assert!(evidence(&finding).contains(words), "{finding:?}");
        let mut arm = reaching(Arm::l4_adam(), "1e-14", 4, 17);
        arm.0.runs[1]
            .summary
            .insert("final_loss".to_owned(), 2e-15.into());
        let finding = judge(&numbers("3.1", TaskName::Regression, [arm])).unwrap();
        let words = "4 of 5 to 1e-14, the latest in step 17; 1 end below 1e-14";
        assert!(evidence(&finding).contains(words), "{finding:?}");
    }

    #[test]
    fn what_epsilon_does_is_reported_by_variant() {
        let run = |optimizer: &str, epsilon: f64, least: f64| {
            Run::default()
                .summary("optimizer", optimizer)
                .summary("epsilon", epsilon)
                .summary("steps", 30)
                .summary("least_relative_loss", least)
                .summary("final_relative_loss", 2.0 * least)
        };
        let diverged = run("L4Mom", 0.0, 1e-15).diverged(3);
        let arm = Arm::new(EPSILON, Role::Measurement).runs([
            run("L4Adam", 0.0, 1e-15),
            run("L4Adam", 1e-12, 1e-13),
            run("L4Adam", 0.0, 1e-14),
            diverged,
        ]);
        let finding = judge(&numbers(SECTION, TaskName::Regression, [arm])).unwrap();
        for words in [
            "L4Adam with ε = 1e-12 in 30 steps: 0 of 1 to 1e-14",
            "L4Adam with ε = 0 in 30 steps: 2 of 2 to 1e-14, losses at the end 2.000×10⁻¹⁵ and 2.000×10⁻¹⁴ of the first, 0 diverged",
            "L4Mom with ε = 0 in 30 steps: 0 of 1 to 1e-14, losses at the end infinite of the first, 1 diverged",
        ] {
            assert!(finding.evidence.contains(words), "{}", finding.evidence);
        }
    }
}
