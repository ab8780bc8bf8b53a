//! C5: "by then the loss is 0 (within machine precision) on every batch and thus [the rate is 0]; a global optimum was found"
//! (section 3.2).
//!
//! Two parts: L4Adam at its default α, and at its best. Each holds if every run has an epoch in which the loss of every batch
//! is exactly 0 and the rate of every step is 0. Runs count as far as they go, also beyond the length of Table 3.

use super::case::{Case, l4, l4_best, name};
use super::statistics::median;
use super::trace::{Trace, whole_traces};
use super::{Claim, Finding, words};
use crate::numbers::{Base, Numbers, Role};

const SECTION: &str = "3.2";

/// The verdict; `None` but of section 3.2.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C5, numbers);
    for role in [l4(Base::Adam), l4_best(Base::Adam)] {
        part(&mut case, role);
    }
    Some(case.finding(
        "in every run of L4Adam, at the default α and at the best, an epoch in which every batch has a loss of exactly 0 and every \
         step a rate of 0",
    ))
}

fn part(case: &mut Case<'_>, role: Role) {
    let what = format!("{} gets to 0 in every run", name(role));
    let Some(arm) = case.arm(role) else {
        case.part_without_arms(what);
        return;
    };
    let runs = whole_traces(arm);
    let first: Vec<Option<u64>> = runs
        .iter()
        .map(|run| first_zero_epoch(run, arm.steps_per_unit))
        .collect();
    let there: Vec<String> = first.iter().flatten().map(u64::to_string).collect();
    let smallest = runs
        .iter()
        .flat_map(|run| run.values("largest_batch_loss"))
        .reduce(f64::min);
    let epochs = runs
        .iter()
        .filter_map(|run| run.logged("largest_batch_loss").last())
        .map(|(step, _)| step / arm.steps_per_unit)
        .max()
        .unwrap_or(0);
    case.rests_on(format!("Runs of up to {epochs} epochs"));
    let since = match there.is_empty() {
        true => String::new(),
        false => format!(", first in epoch {}", words::list(&there)),
    };
    let evidence = format!(
        "such an epoch in {} of {} runs{since}; the least that an epoch's largest batch loss gets to is {}",
        there.len(),
        runs.len(),
        words::number(smallest.unwrap_or(f64::NAN))
    );
    let measured = first
        .iter()
        .map(|epoch| epoch.map_or(f64::INFINITY, |epoch| epoch as f64));
    case.measured.insert(
        format!("first_zero_epoch_{}", name(role)),
        words::values(measured),
    );
    case.part(what, Some(there.len() == runs.len()), evidence);
    remark_shares(case, &name(role), &runs, arm.steps_per_unit as f64);
}

/// Which part of an epoch's batches have a loss of exactly 0: whether a run is on its way there, or has been nearer.
fn remark_shares(case: &mut Case<'_>, name: &str, runs: &[Trace<'_>], batches: f64) {
    let shares: Vec<Vec<f64>> = runs
        .iter()
        .map(|run| {
            run.values("zero_loss_batches")
                .iter()
                .map(|zeros| 100.0 * zeros / batches)
                .collect()
        })
        .collect();
    let greatest: Vec<f64> = shares
        .iter()
        .filter_map(|run| run.iter().copied().reduce(f64::max))
        .collect();
    let last: Vec<f64> = shares
        .iter()
        .filter_map(|run| run.last().copied())
        .collect();
    let (Some(greatest), Some(last)) = (median(&greatest), median(&last)) else {
        return;
    };
    case.measured.insert(
        format!("zero_batches_{name}"),
        words::values([greatest, last]),
    );
    let mut first_with = |key: &str, least: f64| {
        let first = |run: &Vec<f64>| run.iter().position(|share| *share >= least);
        let epochs: Vec<Option<usize>> = shares
            .iter()
            .map(|run| first(run).map(|before| before + 1))
            .collect();
        let measured = epochs
            .iter()
            .map(|epoch| epoch.map_or(f64::INFINITY, |epoch| epoch as f64));
        case.measured
            .insert(format!("{key}_zero_epoch_{name}"), words::values(measured));
        let there: Vec<String> = epochs.iter().flatten().map(usize::to_string).collect();
        match there.len() {
            0 => "in no run".to_owned(),
            n => format!(
                "in {n} of {} runs, first in epoch {}",
                epochs.len(),
                words::list(&there)
            ),
        }
    };
    let half = first_with("half", 50.0);
    let nine_in_ten = first_with("nine_in_ten", 90.0);
    case.remark(format!(
        "A loss of exactly 0 have {} % of the batches of a run's best epoch with {name}, and {} % of its last epoch's (medians of the \
         runs); half of an epoch's batches {half}; nine in ten {nine_in_ten}",
        words::number(greatest),
        words::number(last)
    ));
}

/// The first epoch, from 1, with nothing but losses and rates of exactly 0.
fn first_zero_epoch(run: &Trace<'_>, steps_per_epoch: u64) -> Option<u64> {
    let losses = run.logged("largest_batch_loss");
    let rates = run.logged("zero_rate_steps");
    let all_zero = |((step, loss), (at, rates)): &((u64, f64), (u64, f64))| {
        *loss == 0.0 && step == at && *rates == steps_per_epoch as f64
    };
    losses
        .zip(rates)
        .find(all_zero)
        .map(|((step, _), _)| step / steps_per_epoch)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, evidence, judged, numbers};
    use super::*;
    use crate::numbers::{Alpha, TaskName};

    /// 40 epochs of 10 steps of which the last has this loss and so many steps of rate 0.
    fn run(loss: f64, zero_rates: f64) -> Run {
        let then = |last: f64, before: f64| {
            (1..=40).map(move |epoch| if epoch == 40 { last } else { before })
        };
        Run::default()
            .logs("largest_batch_loss", 1.., then(loss, 0.1))
            .logs("zero_rate_steps", 1.., then(zero_rates, 10.0))
            .logs("zero_loss_batches", 1.., then(zero_rates, 4.0))
            .stretch(10, 1)
    }

    fn numbers_of(run: Run) -> Numbers {
        let zero = self::run(0.0, 10.0);
        let mut arms = [
            Arm::l4_adam().runs([zero.clone(), run, zero.clone()]),
            Arm::l4(Base::Adam, Alpha::Best).runs([zero.clone(), zero.clone(), zero]),
        ];
        arms.iter_mut().for_each(|arm| arm.0.steps_per_unit = 10);
        numbers("3.2", TaskName::Mnist, arms)
    }

    #[test]
    fn one_epoch_is_exactly_zero_in_losses_and_rates_even_after_the_length() {
        let parts = |run| judged(judge(&numbers_of(run)));
        assert_eq!(parts(run(0.0, 10.0)), "++");
        assert_eq!(parts(run(f64::MIN_POSITIVE, 10.0)), "-+");
        assert_eq!(parts(run(0.0, 9.0)), "-+");
        let said = evidence(&judge(&numbers_of(run(0.1, 10.0))).unwrap());
        let words = "in 2 of 3 runs, first in epoch 40 and 40; the least that an epoch's largest batch loss gets to is 0";
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn the_share_of_batches_at_zero_is_reported() {
        let finding = judge(&numbers_of(run(0.1, 2.0))).unwrap();
        let words = "100 % of the batches of a run's best epoch with L4Adam, and 100 % of its last epoch's (medians of the runs); \
                     half of an epoch's batches in 2 of 3 runs, first in epoch 40 and 40; nine in ten in";
        assert!(finding.evidence.contains(words), "{}", finding.evidence);
        let mut falling = numbers_of(run(0.1, 2.0));
        falling.arms[0].runs.drain(2..);
        falling.arms[0].runs.remove(0);
        let evidence = judge(&falling).unwrap().evidence;
        assert!(
            evidence.contains("40 % of the batches of a run's best epoch with L4Adam, and 20 % of"),
            "{evidence}"
        );
    }

    #[test]
    fn both_alphas_are_compared() {
        let mut numbers = numbers_of(run(0.0, 10.0));
        numbers.arms.pop();
        assert_eq!(judge(&numbers).unwrap().verdict, Verdict::Untested);
    }
}
