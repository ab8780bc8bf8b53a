//! What the searches for the best settings found, as it is committed below `repro/reference/tune`: sections read the best rates
//! and α from there, and from nowhere else. [`tune`](crate::tune) makes the searches.

use std::cmp::Reverse;
use std::path::Path;

use serde_json::Value;

use crate::engine::reference::{self, NumbersError};
use crate::judge::trace::{Trace, floor};
use crate::methods::{Kind, Knob};
use crate::numbers::{ArmNumbers, Numbers, RunNumbers, TaskName};

/// Stands for a loss of exactly 0, of which there is no logarithm.
const LEAST_LOSS: f64 = 1e-45;

/// How good a run is, the less the better: the logarithm to base 10 of its final loss, which is the mean over the last
/// tenth. On the DNC, where all good runs end on one floor, the mean over the run of the logarithm, cut at that floor.
/// Infinite if it diverged.
#[must_use]
pub fn score(run: &RunNumbers, task: TaskName) -> f64 {
    if run.diverged_at.is_some() {
        return f64::INFINITY;
    }
    if task == TaskName::Dnc {
        let mean = Trace::whole(run).mean_log_loss(floor(task));
        return mean.unwrap_or(f64::INFINITY);
    }
    let last = run.summary.get("final_loss").and_then(Value::as_f64);
    last.map_or(f64::INFINITY, |loss| loss.max(LEAST_LOSS).log10())
}

/// The rule by which a best setting is chosen, in words.
pub const RULE: &str = "lowest mean over the restarts of log10 of the final training loss (the mean over the last tenth of \
                        the run), a divergence counting as infinite; on the DNC, of the mean over the run of log10 of the \
                        loss, cut at the floor of its clipped logits";

/// The mean score of an arm's runs.
#[must_use]
pub fn mean_score(arm: &ArmNumbers, task: TaskName) -> f64 {
    match arm.runs.len() {
        0 => f64::INFINITY,
        n => arm.runs.iter().map(|run| score(run, task)).sum::<f64>() / n as f64,
    }
}

/// What a search, finished or not, has found on a task, by the length of its runs, the longest first.
#[derive(Clone, Debug, Default)]
pub struct Searched(Vec<Numbers>);

impl Searched {
    /// The committed search of a section below `root`, which may have none.
    ///
    /// # Errors
    /// If its file is damaged.
    pub fn open(root: &Path, section: &str) -> Result<Self, NumbersError> {
        let parts = reference::read(&root.join("tune").join(folder(section)))?;
        Ok(Self::of(parts.unwrap_or_default()))
    }

    /// Searches in any order. Those on a synthetic stand-in tell nothing.
    #[must_use]
    pub fn of(mut parts: Vec<Numbers>) -> Self {
        parts.retain(|numbers| !numbers.stand_in);
        parts.sort_by_key(|numbers| Reverse(numbers.length));
        Self(parts)
    }

    /// The searches by the length of their runs, the longest first.
    #[must_use]
    pub fn by_length(&self) -> &[Numbers] {
        &self.0
    }

    /// What reduces the search that decided on the best setting of a method, in words as `"runs of 12 of 250 epochs, one a
    /// setting"`: their length, where it is less than the section's own, and their number, where it is one.
    #[must_use]
    pub fn reduced(&self, kind: Kind) -> Option<String> {
        let (numbers, grid) = self.deciding(kind)?;
        let (length, whole) = (numbers.length, numbers.paper_length);
        let shorter =
            (length < whole).then(|| format!("runs of {length} of {whole} {}", numbers.unit));
        let alone = grid.iter().any(|(_, arm, _)| arm.runs.len() == 1);
        match (shorter, alone) {
            (Some(shorter), true) => Some(format!("{shorter}, one a setting")),
            (None, true) => Some("one run a setting".to_owned()),
            (shorter, false) => shorter,
        }
    }

    /// How the best setting of a method was found, where not all settings were tried at the length that decided, in words as `"the
    /// best of 3 by runs of 40 epochs, taken from 6 by runs of 15"`.
    fn narrowed(&self, kind: Kind) -> Option<String> {
        let (decides, few) = self.deciding(kind)?;
        let (wide, mut many) = self.widest(kind)?;
        if many.len() <= few.len() {
            return None;
        }
        many.sort_by(|a, b| a.2.total_cmp(&b.2));
        let was_taken = |setting: f64| few.iter().any(|(taken, _, _)| *taken == setting);
        let left_out = match many.get(1).filter(|(setting, ..)| !was_taken(*setting)) {
            Some((second, ..)) => format!(", of which the second best, {second}, was left out"),
            None => String::new(),
        };
        Some(format!(
            "the best of {} by runs of {} {unit}, taken from {} by runs of {}{left_out}",
            few.len(),
            decides.length,
            many.len(),
            wide.length,
            unit = decides.unit
        ))
    }

    /// What is to be said of how the best setting of a method was found: what reduces its search, and that not all was tried at one
    /// length.
    pub fn how_found(&self, kind: Kind) -> impl Iterator<Item = String> + use<> {
        let reduced = self.reduced(kind).map(|by| format!("the best by {by}"));
        [reduced, self.narrowed(kind)].into_iter().flatten()
    }

    /// What was tried of a method at the length at which most settings were, in increasing order of its setting.
    #[must_use]
    pub fn tried(&self, kind: Kind) -> Vec<Tried<'_>> {
        self.widest(kind).map_or_else(Vec::new, |(_, grid)| grid)
    }

    /// Of searches that tried as many, the longest.
    fn widest(&self, kind: Kind) -> Option<(&Numbers, Vec<Tried<'_>>)> {
        let grids = self.0.iter().map(|numbers| (numbers, tried(numbers, kind)));
        grids.rev().max_by_key(|(_, grid)| grid.len())
    }

    /// What was tried of a method at the greatest length at which any setting was, and the search that it is of: this decides.
    #[must_use]
    pub fn deciding(&self, kind: Kind) -> Option<(&Numbers, Vec<Tried<'_>>)> {
        let mut grids = self.0.iter().map(|numbers| (numbers, tried(numbers, kind)));
        grids.find(|(_, grid)| !grid.is_empty())
    }

    /// Why there is no best setting of a method on the task of a section, in words.
    pub(crate) fn without_best(&self, kind: Kind, section: &str) -> String {
        let name = kind.name();
        match self.deciding(kind) {
            Some(_) => format!("Every setting of {name} that was tried on this task diverged"),
            None => format!(
                "No search for the best setting of {name} on this task is in repro/reference/tune/{0} (`tune --section {section}` makes \
                 one, to be copied there)",
                folder(section)
            ),
        }
    }

    /// The best setting of a method, where it is at an end of what was tried, and which end: a grid of α, or of rates that were named, is
    /// not extended.
    #[must_use]
    pub fn best_at_an_end(&self, kind: Kind) -> Option<(f64, &'static str)> {
        let best = self.best(kind)?;
        let tried = self.tried(kind);
        match (tried.first()?.0 == best, tried.last()?.0 == best) {
            (true, _) => Some((best, "least")),
            (_, true) => Some((best, "greatest")),
            _ => None,
        }
    }

    /// The best setting of a method at that length; `None` if all diverged there.
    #[must_use]
    pub fn best(&self, kind: Kind) -> Option<f64> {
        let (_, grid) = self.deciding(kind)?;
        let finite = grid.into_iter().filter(|(_, _, score)| score.is_finite());
        let best = finite.min_by(|a, b| a.2.total_cmp(&b.2))?;
        Some(best.0)
    }
}

/// What is varied of a method, in words.
#[must_use]
pub fn knob_in_words(kind: Kind) -> &'static str {
    match kind.knob() {
        Some(Knob::Alpha) => "α",
        _ => "rate",
    }
}

/// A setting that was tried, its numbers, its mean score.
pub type Tried<'n> = (f64, &'n ArmNumbers, f64);

/// What a search tried of a method, in increasing order of its setting.
#[must_use]
pub fn tried(numbers: &Numbers, kind: Kind) -> Vec<Tried<'_>> {
    let arms = numbers.arms.iter().filter(|arm| arm.name == kind.name());
    let mut tried: Vec<_> = arms
        .filter_map(|arm| {
            let setting = arm.setting(kind.knob()?.name())?;
            Some((setting, arm, mean_score(arm, numbers.task)))
        })
        .collect();
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    tried
}

/// The folder of a section's search, below `tune`.
pub(crate) fn folder(section: &str) -> String {
    format!("section{}", section.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::engine::metrics::Column;

    #[test]
    fn a_divergence_is_the_worst_score_and_a_floor_is_cut() {
        let mut run = RunNumbers::default();
        run.summary.insert("final_loss".to_owned(), json!(1e-3));
        assert_eq!(score(&run, TaskName::Mnist), -3.0);
        let (steps, values) = (vec![1, 2], vec![1.0, 1e-12]);
        let column = Column { steps, values };
        run.metrics.insert("loss".to_owned(), column);
        assert_eq!(
            score(&run, TaskName::Dnc),
            floor(TaskName::Dnc).log10() / 2.0
        );
        run.diverged_at = Some(5);
        assert_eq!(score(&run, TaskName::Dnc), f64::INFINITY);
    }

    #[test]
    fn the_widest_grid_is_shown_and_the_longest_runs_decide() {
        let grid = |length, losses: &[(f64, f64)]| {
            let finite = losses.iter().map(|&(rate, loss)| (rate, Some(loss)));
            search(Kind::Adam, length, &finite.collect::<Vec<_>>())
        };
        let reduced = grid(15, &[(1.0, 0.3), (2.0, 0.1), (4.0, 0.2)]);
        let best = |parts| Searched::of(parts).best(Kind::Adam);
        assert_eq!(best(vec![reduced.clone()]), Some(2.0));
        let whole = grid(40, &[(2.0, 0.09), (4.0, 0.08)]);
        assert_eq!(best(vec![reduced.clone(), whole.clone()]), Some(4.0));
        let shorter = Searched::of(vec![reduced.clone()]);
        assert_eq!(
            shorter.reduced(Kind::Adam).as_deref(),
            Some("runs of 15 of 40 epochs, one a setting")
        );
        assert_eq!(shorter.narrowed(Kind::Adam), None, "all at one length");
        let searched = Searched::of(vec![reduced, whole]);
        assert_eq!(
            searched.reduced(Kind::Adam).as_deref(),
            Some("one run a setting")
        );
        assert_eq!(searched.reduced(Kind::Momentum), None, "there is none");
        let settings: Vec<f64> = searched
            .tried(Kind::Adam)
            .iter()
            .map(|tried| tried.0)
            .collect();
        assert_eq!(settings, [1.0, 2.0, 4.0]);
        let narrowed = "the best of 2 by runs of 40 epochs, taken from 3 by runs of 15";
        assert_eq!(searched.narrowed(Kind::Adam).as_deref(), Some(narrowed));
        let (decides, grid) = searched.deciding(Kind::Adam).unwrap();
        assert_eq!((decides.length, grid.len()), (40, 2));
    }

    /// A search by runs of this length, with the final loss at each setting; `None` where it diverged.
    fn search(kind: Kind, length: u64, tried: &[(f64, Option<f64>)]) -> Numbers {
        let arm = |&(setting, loss): &(f64, Option<f64>)| {
            let run = RunNumbers {
                diverged_at: loss.is_none().then_some(7),
                summary: Map::from_iter([("final_loss".to_owned(), json!(loss))]),
                ..RunNumbers::default()
            };
            let knob = kind.knob().unwrap().name();
            ArmNumbers {
                settings: Map::from_iter([(knob.to_owned(), json!(setting))]),
                ..ArmNumbers::measurement(kind.name(), vec![run])
            }
        };
        Numbers {
            length,
            paper_length: 40,
            unit: "epochs".to_owned(),
            arms: tried.iter().map(arm).collect(),
            ..Numbers::default()
        }
    }

    #[test]
    fn what_diverges_is_never_the_best_and_an_end_is_told() {
        let of = |tried: &[(f64, Option<f64>)]| Searched::of(vec![search(Kind::Adam, 40, tried)]);
        let (low, high) = (Some(0.2), Some(0.3));
        let end = |tried: &[(f64, Option<f64>)]| of(tried).best_at_an_end(Kind::Adam);
        assert_eq!(
            end(&[(0.1, low), (0.2, high), (0.3, None)]),
            Some((0.1, "least"))
        );
        assert_eq!(end(&[(0.1, high), (0.2, low)]), Some((0.2, "greatest")));
        assert_eq!(end(&[(0.1, high), (0.2, low), (0.3, None)]), None);
        let none = of(&[(0.1, None)]);
        assert_eq!(none.best(Kind::Adam), None);
        assert!(none.without_best(Kind::Adam, "3.2").ends_with("diverged"));
        let unsearched = Searched::default().without_best(Kind::Adam, "3.2");
        assert!(unsearched.contains("`tune --section 3.2`"), "{unsearched}");
    }

    #[test]
    fn a_second_best_that_was_left_out_is_named() {
        let wide = [(1.0, Some(0.3)), (2.0, Some(0.1)), (4.0, Some(0.2))];
        let wide = search(Kind::Adam, 15, &wide);
        let few = search(Kind::Adam, 40, &[(1.0, Some(0.09)), (2.0, Some(0.08))]);
        let how = "the best of 2 by runs of 40 epochs, taken from 3 by runs of 15, of which the second best, 4, was left out";
        let narrowed = Searched::of(vec![wide, few]).narrowed(Kind::Adam);
        assert_eq!(narrowed.as_deref(), Some(how));
    }
}
