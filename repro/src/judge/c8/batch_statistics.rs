//! What batch normalisation's running statistics do to the test accuracy: beside it stands the same by statistics that are
//! estimated anew from training batches. It decides no part.

use crate::judge::case::{Case, plain_arms};
use crate::judge::statistics::mean;
use crate::judge::trace::{Trace, traces};
use crate::judge::words;

/// Test accuracy by batch statistics that are estimated anew.
const ESTIMATED: &str = "reestimated_test_accuracy";

/// How far the accuracy moves from epoch to epoch, by batch normalisation's running statistics and by ones that are estimated anew:
/// what of it is the averages' lag, and not the weights'.
pub(super) fn remark_moves(case: &mut Case<'_>) {
    let numbers = case.numbers;
    let greatest = |arm, metric| {
        let runs = traces(numbers, arm);
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
pub(super) fn remark_estimated(case: &mut Case<'_>) {
    let numbers = case.numbers;
    let mut ends = Vec::new();
    for arm in plain_arms(numbers) {
        let runs = traces(numbers, arm);
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

fn greatest_move(run: &Trace<'_>, metric: &str) -> Option<f64> {
    let values = run.values(metric);
    let settled = &values[values.len() / 10..];
    let moves = settled.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    moves.reduce(f64::max)
}
