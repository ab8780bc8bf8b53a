//! C12: "the new update equation (3) is invariant to affine loss transformations" aL + b with a > 0 (section 2.3).
//!
//! A part for each of L4Adam and L4Mom: the optimiser itself, in its core form, run for [`STEPS`] steps on L and on aL + b from
//! the same weights, keeps to one trajectory but for rounding.
//!
//! It reads the runs of an arm of [`Role::Measurement`] named [`AFFINE_INVARIANCE`], one for each optimiser, by these entries of their summary:
//!
//! - `optimizer`: `L4Adam` or `L4Mom`. Core form is γ0 = 1, τ = ∞, ε = 0 and δ = 0 (of Adam's denominator), with γ = 1: of a
//!   γ < 1 the shift b keeps a rest (1 − γ)b in Eq. 6. Lmin is given, and moves along with the loss, as Eq. 4 asks of it.
//! - `steps`: of each trajectory.
//! - `largest_difference`: the largest over the steps t of ‖θ′ₜ − θₜ‖/‖θₜ‖, where θ is the trajectory on L and θ′ that on aL + b,
//!   of the transform for which it is largest in relation to `rounding`.
//! - `rounding`: the same distance, between the trajectory on L and one on L to which at every step an error of a few units in
//!   the last place of aL + b was added: what rounding the transformed loss alone does. The bound is measured; that an error is
//!   of up to 8 units is our choice.

use serde_json::Value;

use super::case::{Case, VARIANTS, l4, name};
use super::{Claim, Finding, words};
use crate::numbers::{AFFINE_INVARIANCE, Numbers, Role, RunNumbers};

/// Steps of each trajectory at least.
pub const STEPS: u64 = 100;

/// The verdict; `None` without the arm.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    let arm = numbers
        .arms
        .iter()
        .find(|arm| arm.role == Role::Measurement && arm.name == AFFINE_INVARIANCE)?;
    // The trajectories have a length of their own, whatever that of the section's runs.
    let whole = Numbers {
        length: numbers.paper_length,
        ..numbers.clone()
    };
    let mut case = Case::new(Claim::C12, &whole);
    case.rests_on(format!("{STEPS} steps"));
    for optimizer in VARIANTS.map(l4).map(name) {
        let of = |run: &&RunNumbers| {
            run.summary.get("optimizer").and_then(Value::as_str) == Some(&optimizer)
        };
        part(&mut case, &optimizer, arm.runs.iter().find(of));
    }
    Some(case.finding(&format!(
        "for both optimisers, in core form, the same trajectory of {STEPS} steps on L and on aL + b but for rounding"
    )))
}

fn part(case: &mut Case<'_>, optimizer: &str, run: Option<&RunNumbers>) {
    let what = format!("{optimizer} takes the same steps");
    let number = |name: &str| run?.summary.get(name)?.as_f64();
    let numbers = (
        number("steps"),
        number("largest_difference"),
        number("rounding"),
    );
    let (Some(steps), Some(difference), Some(rounding)) = numbers else {
        case.lacks(format!("trajectories of {optimizer}"));
        case.part_without_arms(what);
        return;
    };
    if steps < STEPS as f64 {
        case.lacks(format!("trajectories of {optimizer} with {STEPS} steps"));
    }
    case.measured
        .insert(optimizer.to_owned(), words::values([difference, rounding]));
    let evidence = format!(
        "in core form (γ = γ0 = 1, τ = ∞, ε = δ = 0, Lmin given and moved along with the loss) on a quadratic of four parameters the \
         largest relative difference in {steps} steps is {}, and rounding makes up to {}",
        words::number(difference),
        words::number(rounding)
    );
    let same = run.is_some_and(|run| run.diverged_at.is_none()) && difference <= rounding;
    case.part(what, Some(same), evidence);
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;
    use crate::numbers::TaskName;

    fn of(steps: u64, difference: f64, optimizer: &str) -> Numbers {
        let run = |optimizer: &str, difference| {
            Run::default()
                .summary("optimizer", optimizer)
                .summary("steps", steps)
                .summary("largest_difference", difference)
                .summary("rounding", 1e-12)
        };
        let runs = [run("L4Adam", difference), run(optimizer, 1e-15)];
        numbers(
            "3",
            TaskName::RunningTime,
            [Arm::new(AFFINE_INVARIANCE, Role::Measurement).runs(runs)],
        )
    }

    #[test]
    fn trajectories_agree_to_rounding() {
        let parts = |difference| judged(judge(&of(100, difference, "L4Mom")));
        assert_eq!(parts(1e-12), "++");
        assert_eq!(parts(1.001e-12), "-+");
        let mut diverged = of(100, 0.0, "L4Mom");
        diverged.arms[0].runs[0].diverged_at = Some(7);
        assert_eq!(judged(judge(&diverged)), "-+");
    }

    #[test]
    fn both_optimisers_take_a_hundred_steps() {
        let verdict = |numbers| judge(&numbers).unwrap().verdict;
        assert_eq!(verdict(of(100, 0.0, "L4Mom")), Verdict::Reproduced);
        assert_eq!(verdict(of(99, 0.0, "L4Mom")), Verdict::Untested);
        assert_eq!(verdict(of(100, 0.0, "L4 over SGD")), Verdict::Untested);
        assert_eq!(judge(&numbers("3", TaskName::RunningTime, [])), None);
    }
}
