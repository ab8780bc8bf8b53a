//! The fourth part: the default policy's test accuracy beside the others', at the end and over the epochs.

use serde_json::Value;

use super::SOON;
use crate::judge::case::{Case, plain_arms};
use crate::judge::comparison::mean_accuracy;
use crate::judge::statistics::Estimate;
use crate::judge::trace::{paired, traces};
use crate::judge::{all, words};
use crate::methods::{DROPS, EPOCHS};
use crate::numbers::{ArmNumbers, Numbers, Role};

pub(super) fn wins(case: &mut Case<'_>) {
    let what = "the default policy wins in test accuracy, right after its first drop";
    let numbers = case.numbers;
    let Some(policy) = case.arm(Role::DefaultPolicy) else {
        case.part_without_arms(what);
        return;
    };
    let others: Vec<&ArmNumbers> = plain_arms(numbers)
        .filter(|arm| arm.role != Role::DefaultPolicy)
        .collect();
    let epochs = numbers.length as f64;
    let drop = epochs * DROPS[0] as f64 / EPOCHS as f64;
    let soon = drop + (SOON * epochs).max(1.0);
    let since = leads_since(numbers, policy, &others);
    let right_after = since.is_some_and(|epoch| epoch as f64 > drop && epoch as f64 <= soon);
    let leads: Option<Vec<Estimate>> = others
        .iter()
        .map(|arm| lead_at_end(numbers, policy, arm))
        .collect();
    let ahead = leads.as_ref().and_then(|leads| {
        let ahead: Vec<Option<bool>> = leads.iter().map(|lead| lead.is_above(0.0)).collect();
        all(&ahead)
    });
    let finals = measure_finals(case, policy, &others);
    let least = measure_least(case, leads.as_deref().unwrap_or_default());
    let measured = since.map_or_else(|| words::value(f64::INFINITY), Value::from);
    case.measured
        .insert("leads_from_epoch".to_owned(), measured);
    let since = since.map_or_else(
        || "it is not in the lead at the end".to_owned(),
        |epoch| format!("it is in the lead for good from epoch {epoch} on"),
    );
    let evidence = format!(
        "mean test accuracies after the last epoch in per cent: {finals}; the policy's least lead, in points, is {least}; it first \
         drops after epoch {drop:.1}, and {since} (holds if that is after the drop and not after epoch {soon:.1}, and no 95 % \
         interval of a lead holds 0)"
    );
    let holds = if right_after { ahead } else { Some(false) };
    case.part(what, holds, evidence);
}

/// The epoch from which on the policy's mean accuracy is above each other's to the end; `None` if it is not at the end.
fn leads_since(numbers: &Numbers, policy: &ArmNumbers, others: &[&ArmNumbers]) -> Option<u64> {
    let leads = |epoch: u64| {
        let accuracy = |arm| mean_accuracy(numbers, arm, epoch);
        let Some(policy) = accuracy(policy) else {
            return false;
        };
        let mut others = others.iter().filter_map(|arm| accuracy(arm));
        others.all(|other| other < policy)
    };
    let epochs = (1..=numbers.length).rev();
    epochs.take_while(|epoch| leads(*epoch)).last()
}

/// How much more accurate the policy is after the last epoch; `None` if that was not measured.
fn lead_at_end(numbers: &Numbers, policy: &ArmNumbers, other: &ArmNumbers) -> Option<Estimate> {
    let end = policy.step_after(numbers.length);
    let [policy, other] = [policy, other].map(|arm| traces(numbers, arm));
    Estimate::of(&paired(&policy, &other, |run| run.accuracy_at(end)))
}

fn measure_least(case: &mut Case<'_>, leads: &[Estimate]) -> String {
    let least = leads.iter().min_by(|a, b| a.mean.total_cmp(&b.mean));
    let Some(least) = least else {
        return "unknown".to_owned();
    };
    case.measure("lead_over_next_best".to_owned(), least);
    words::estimate(least)
}

fn measure_finals(case: &mut Case<'_>, policy: &ArmNumbers, others: &[&ArmNumbers]) -> String {
    let numbers = case.numbers;
    let mut finals = Vec::new();
    for arm in std::iter::once(policy).chain(others.iter().copied()) {
        if let Some(accuracy) = mean_accuracy(numbers, arm, numbers.length) {
            case.measured
                .insert(format!("accuracy_{}", arm.name), words::value(accuracy));
            finals.push(format!("{} {accuracy:.2}", arm.name));
        }
    }
    finals.join(", ")
}
