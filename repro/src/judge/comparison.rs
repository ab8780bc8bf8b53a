//! Two arms compared, seed by seed, on the logarithm.

use super::case::{Case, best, l4, name, plain_arms};
use super::statistics::{Estimate, log10_above, mean};
use super::trace::{Trace, floor, paired, traces};
use super::words;
use crate::numbers::{ArmNumbers, Base, Numbers};

/// The smoothed loss below which a run has converged, on the DNC and MNIST: far above the floor of the arithmetic, and on the DNC
/// all methods at their best rates get there.
pub const THRESHOLD: f64 = 1e-3;

/// Over the runs of an arm, after so many epochs.
pub fn mean_accuracy(numbers: &Numbers, arm: &ArmNumbers, epoch: u64) -> Option<f64> {
    let step = arm.step_after(epoch);
    let runs = traces(numbers, arm);
    let accuracies: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.accuracy_at(step))
        .collect();
    mean(&accuracies)
}

/// What of a run is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Mean training loss of the last tenth.
    FinalLoss,
    /// Steps until the loss is for good below [`THRESHOLD`].
    StepsToThreshold,
    /// Mean of log10 loss over the run.
    MeanLoss,
}

impl Measure {
    /// Its logarithm; infinite of a run that diverged or never got there.
    pub fn log10(self, run: &Trace<'_>, floor: f64) -> Option<f64> {
        match self {
            Self::FinalLoss => Some(log10_above(run.final_loss()?, floor)),
            Self::StepsToThreshold => Some(run.steps_to(THRESHOLD)?.log10()),
            Self::MeanLoss => run.mean_log_loss(floor),
        }
    }

    /// In words.
    pub fn words(self) -> String {
        match self {
            Self::FinalLoss => "final training loss (mean of the last tenth)".to_owned(),
            Self::StepsToThreshold => {
                format!("steps until the loss is below {THRESHOLD:e} for good")
            }
            Self::MeanLoss => "training loss (geometric mean over the run)".to_owned(),
        }
    }

    /// The same, and where losses are cut.
    fn words_with(self, floor: f64) -> String {
        match self {
            Self::StepsToThreshold => self.words(),
            _ => format!(
                "{}, none taken below {}",
                self.words(),
                words::number(floor)
            ),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::FinalLoss => "final_loss",
            Self::StepsToThreshold => "steps_to_threshold",
            Self::MeanLoss => "mean_loss",
        }
    }
}

/// The runs of an arm, with its name.
pub struct Side<'n> {
    pub name: String,
    pub runs: Vec<Trace<'n>>,
}

impl Side<'_> {
    /// The geometric mean over the runs. `None` if it was not measured.
    pub fn centre(&self, measure: Measure, floor: f64) -> Option<f64> {
        let logs: Vec<f64> = self
            .runs
            .iter()
            .filter_map(|run| measure.log10(run, floor))
            .collect();
        mean(&logs).map(|mean| 10_f64.powf(mean))
    }

    /// Runs of which it is infinite: that diverged, or never got there.
    pub fn infinite(&self, measure: Measure, floor: f64) -> usize {
        let logs = self.runs.iter().filter_map(|run| measure.log10(run, floor));
        logs.filter(|log| log.is_infinite()).count()
    }

    fn words(&self, measure: Measure, floor: f64) -> String {
        let centre = self.centre(measure, floor);
        let centre = centre.map_or_else(|| "no value".to_owned(), words::number);
        let diverged = self.runs.iter().filter(|run| run.diverged()).count();
        let diverged = match diverged {
            0 => String::new(),
            _ => format!(", {diverged} diverged"),
        };
        format!("{} {centre} (n = {}{diverged})", self.name, self.runs.len())
    }
}

/// The side with the lowest mean, and where that is infinite of several, the one of which most runs get there.
pub fn best_of<'s, 'n>(
    sides: &'s [Side<'n>],
    measure: Measure,
    numbers: &Numbers,
) -> Option<&'s Side<'n>> {
    let floor = floor(numbers.task);
    let height = |side: &Side<'_>| side.centre(measure, floor).unwrap_or(f64::INFINITY);
    let infinite = |side: &Side<'_>| side.infinite(measure, floor);
    sides.iter().min_by(|one, other| {
        let by_mean = height(one).total_cmp(&height(other));
        by_mean.then(infinite(one).cmp(&infinite(other)))
    })
}

/// The ratio of what is measured on the logarithm, ours to theirs by seed, with its interval. `None` if they have no seed in common.
pub fn ratio(
    ours: &Side<'_>,
    theirs: &Side<'_>,
    log10: impl Fn(&Trace<'_>) -> Option<f64>,
) -> Option<Estimate> {
    let log_ratio = Estimate::against(&paired(&ours.runs, &theirs.runs, log10))?;
    Some(log_ratio.from_log10())
}

/// Epochs at the end over which an accuracy is averaged beside that of the last, which moves from one epoch to the next.
const LAST_EPOCHS: u64 = 5;

/// By how many points L4 over a base method has a higher test accuracy than that at its best rate and at Table 1's, after each of
/// these epochs and in the mean of the last [`LAST_EPOCHS`], by seed: a remark that decides nothing.
pub fn remark_accuracies(case: &mut Case<'_>, base: Base, epochs: &[u64]) {
    let Some(arm) = plain_arms(case.numbers).find(|arm| arm.role == l4(base)) else {
        return;
    };
    let theirs = [case.optional_side(best(base)), case.published_side(base)];
    for theirs in theirs.into_iter().flatten() {
        remark_accuracies_over(case, arm, &theirs, epochs);
    }
}

fn remark_accuracies_over(
    case: &mut Case<'_>,
    arm: &ArmNumbers,
    theirs: &Side<'_>,
    epochs: &[u64],
) {
    let (numbers, ours) = (case.numbers, name(arm.role));
    let our_runs = traces(numbers, arm);
    let mut found = Vec::new();
    let mut add = |key: String, what: String, accuracy: &dyn Fn(&Trace<'_>) -> Option<f64>| {
        if let Some(points) = Estimate::of(&paired(&our_runs, &theirs.runs, accuracy)) {
            case.measure(
                format!("accuracy_{ours}_over_{}_{key}", theirs.name),
                &points,
            );
            found.push(format!("{what} {}", words::estimate(&points)));
        }
    };
    for epoch in epochs {
        let (key, what) = (format!("epoch_{epoch}"), format!("after epoch {epoch}"));
        add(key, what, &|run| run.accuracy_at(arm.step_after(*epoch)));
    }
    if let Some(before) = numbers.length.checked_sub(LAST_EPOCHS) {
        let (key, what) = (
            format!("last_{LAST_EPOCHS}_epochs"),
            format!("in the mean of the last {LAST_EPOCHS} epochs"),
        );
        add(key, what, &|run| {
            let last = before + 1..=numbers.length;
            let last = last.map(|epoch| run.accuracy_at(arm.step_after(epoch)));
            mean(&last.collect::<Option<Vec<_>>>()?)
        });
    }
    if !found.is_empty() {
        case.remark(format!(
            "Points of test accuracy of {ours} over {}: {}",
            theirs.name,
            words::list(&found)
        ));
    }
}

/// `ours` against `theirs`, as the log10 of their ratio.
pub struct Comparison {
    /// Below 0 where ours is lower. `None` if they have no seed in common.
    pub log_ratio: Option<Estimate>,
    /// What was measured of both, and the ratio.
    pub words: String,
    /// It is infinite of every run of either: no run gets there.
    neither: bool,
}

impl Comparison {
    /// Compares, and keeps the numbers in the case.
    pub fn of(case: &mut Case<'_>, measure: Measure, ours: &Side<'_>, theirs: &Side<'_>) -> Self {
        let floor = floor(case.numbers.task);
        let differences = paired(&ours.runs, &theirs.runs, |run| measure.log10(run, floor));
        let log_ratio = Estimate::against(&differences);
        let ratio = log_ratio.as_ref().map(Estimate::from_log10);
        if let Some(ratio) = ratio {
            case.measure(
                format!("{}_{}_over_{}", measure.key(), ours.name, theirs.name),
                &ratio,
            );
        }
        for side in [ours, theirs] {
            if let Some(centre) = side.centre(measure, floor) {
                case.measured.insert(
                    format!("{}_{}", measure.key(), side.name),
                    words::value(centre),
                );
            }
        }
        let ratio = ratio.map_or_else(
            || "no seed in common".to_owned(),
            |ratio| words::estimate(&ratio),
        );
        let words = format!(
            "{}, geometric means: {}, {}; ratio by seed {ratio}",
            measure.words_with(floor),
            ours.words(measure, floor),
            theirs.words(measure, floor)
        );
        let neither = [ours, theirs]
            .iter()
            .all(|side| side.infinite(measure, floor) == side.runs.len());
        Self {
            log_ratio,
            words,
            neither,
        }
    }

    /// Ours is lower; `None` where no run of either gets there, which decides nothing.
    pub fn is_lower(&self) -> Option<bool> {
        self.log_ratio?.is_below(0.0).filter(|_| !self.neither)
    }

    /// Ours is not higher; `None` where no run of either gets there, which is no tie.
    pub fn is_not_higher(&self) -> Option<bool> {
        let higher = self.log_ratio?.is_higher().filter(|_| !self.neither)?;
        Some(!higher)
    }

    /// Ours is lower by more than this factor.
    pub fn is_lower_by(&self, factor: f64) -> Option<bool> {
        let below = self.log_ratio?.is_below(-factor.log10());
        below.filter(|_| !self.neither)
    }
}
