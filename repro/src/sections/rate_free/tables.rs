//! The files that show all tasks together.

use anyhow::Result;
use indexmap::IndexMap;
use paper_figures::number::significant;

use super::standing::{self, Against, Profile, Standing, Yardstick};
use crate::cli::{self, Preset, reference_root};
use crate::engine::reference;
use crate::judge::statistics::Estimate;
use crate::judge::trace::{Trace, traces};
use crate::judge::words;
use crate::methods::{Kind, Method};
use crate::numbers::{ArmNumbers, Numbers, Role};
use crate::report::Report;
use crate::results::{
    Axes, Axis, Cell, CellOfRuns, Column, Entry, Figure, Measured, Series, Style, Table,
};
use crate::sections::{Made, Outcome};
use crate::tasks::{Workload, repeat_copy};
use crate::timing::{paired_ratios, timed_steps};

/// The two variants of L4.
const OURS: [&str; 2] = ["L4Adam", "L4Mom"];
/// A rate of Adam's. The time of its step does not depend on it.
const TIMED_RATE: f64 = 1e-3;
/// The greatest factor that the profile shows.
const GREATEST: f64 = 1e4;

type Row = IndexMap<String, Entry>;

/// Times a step of each arm; or, where nothing is to be computed, takes the times that are committed.
///
/// # Errors
/// If a task cannot be set up, or what is committed is damaged.
pub fn time_steps(made: &Made<'_, '_>, numbers: &mut [Numbers]) -> Result<()> {
    if made.arguments.finished {
        let folder = reference_root().join("rate_free");
        let committed = reference::read(&folder)?.unwrap_or_default();
        take_step_times(numbers, &committed);
        return Ok(());
    }
    for (outcome, numbers) in made.outcomes.iter().zip(numbers) {
        let times = step_times(outcome, pairs(made.preset()))?;
        for (arm, times) in numbers.arms.iter_mut().zip(times) {
            arm.step_times = times;
        }
    }
    Ok(())
}

fn take_step_times(numbers: &mut [Numbers], committed: &[Numbers]) {
    for numbers in numbers {
        let Some(theirs) = committed.iter().find(|other| other.task == numbers.task) else {
            continue;
        };
        for arm in &mut numbers.arms {
            let timed = theirs.arms.iter().find(|other| other.name == arm.name);
            arm.step_times = timed.map_or(Vec::new(), |timed| timed.step_times.clone());
        }
    }
}

/// `rate_free.json`: a row for each method on each task.
#[must_use]
pub fn results(numbers: &[Numbers], report: &Report) -> Table {
    let of = |numbers: &Numbers| -> Vec<Row> {
        let arms = numbers.arms.iter();
        arms.map(|arm| row(numbers, arm)).collect()
    };
    let rows = numbers.iter().flat_map(of).collect();
    let title = format!(
        "Today's methods on tasks of the paper: final training loss (mean of the last tenth of the run), test accuracy (DNC: sequences \
         without a bit error), steps until the loss is for good below a threshold (regression: {:e} of the first loss; MNIST and \
         DNC: {:e}; Fashion-MNIST: {}) and for the first time, the least loss of a window, and the time of a whole training step in units of Adam's without clipping, over pairs of blocks of steps \
         that alternate in one process (where memory comes to lie in it moves a ratio by some hundredths, which ± does not show: section \
         3 has L4's by ten processes)",
        standing::OF_FIRST_LOSS,
        crate::judge::comparison::THRESHOLD,
        standing::WITH_DROPOUT,
    );
    Table {
        header: report.header("rate_free", &title),
        columns: vec![
            Column::new("task", "Task"),
            Column::new("method", "Method"),
            Column::new("loss", "Final training loss"),
            Column::with_unit("accuracy", "Test accuracy", "%"),
            Column::new("steps", "Steps to threshold"),
            Column::new("first", "For the first time"),
            Column::new("least", "Least loss"),
            Column::new("diverged", "Diverged runs"),
            Column::new("time", "Step, times Adam's"),
        ],
        rows,
    }
}

fn row(numbers: &Numbers, arm: &ArmNumbers) -> Row {
    let runs = traces(numbers, arm);
    let diverged = runs.iter().filter(|run| run.diverged()).count();
    let mut row = Row::new();
    row.insert("task".to_owned(), numbers.task.name().into());
    row.insert("method".to_owned(), arm.name.as_str().into());
    row.insert(
        "loss".to_owned(),
        cell(&runs, |run| run.final_loss()).into(),
    );
    let is_tested = |metric: &&str| runs.iter().any(|run| run.logged(metric).next().is_some());
    if let Some(metric) = ["test_accuracy", "right"]
        .iter()
        .find(|metric| is_tested(metric))
    {
        let last = |run: &Trace<'_>| run.logged(metric).last().map(|(_, value)| value);
        row.insert("accuracy".to_owned(), cell(&runs, last).into());
    }
    let steps = cell(&runs, |run| standing::steps(numbers, run));
    row.insert("steps".to_owned(), steps.into());
    let first = cell(&runs, |run| standing::first_steps(numbers, run));
    row.insert("first".to_owned(), first.into());
    let least = |run: &Trace<'_>| run.values("loss").into_iter().reduce(f64::min);
    row.insert("least".to_owned(), cell(&runs, least).into());
    row.insert("diverged".to_owned(), (diverged as u64).into());
    if !arm.step_times.is_empty() {
        let ratios = arm.step_times.iter().copied();
        row.insert("time".to_owned(), Cell::of_values(ratios).into());
    }
    row
}

/// A measure of each run; of one that diverged there is none.
fn cell(runs: &[Trace<'_>], measure: impl Fn(&Trace<'_>) -> Option<f64>) -> Cell {
    Cell::from_runs(runs.iter().map(|run| {
        let diverged = run.run().diverged_at.filter(|_| run.diverged());
        let measured = match (diverged, measure(run).filter(|value| value.is_finite())) {
            (Some(step), _) => Measured::Diverged(step),
            (None, Some(value)) => Measured::Value(value),
            (None, None) => Measured::NotReached,
        };
        (run.seed(), measured)
    }))
}

/// Pairs of blocks of steps that are timed.
fn pairs(preset: Preset) -> u32 {
    match preset {
        Preset::Smoke => 2,
        Preset::Quick => 8,
        Preset::Reduced | Preset::Paper => 40,
    }
}

/// Of each arm, the time of a step in units of Adam's, pair by pair; none of one that diverges at once.
fn step_times(outcome: &Outcome<'_>, pairs: u32) -> Result<Vec<Vec<f64>>> {
    cli::tell(&format!("timing steps on {}", outcome.part.name));
    let Some(any) = outcome.arms.first() else {
        return Ok(Vec::new());
    };
    let steps = timed_steps(at_full_length(any.resolved.workload))?;
    let mut times = Vec::new();
    for arm in &outcome.arms {
        let Some(method) = arm.resolved.method else {
            times.push(Vec::new());
            continue;
        };
        let mut one = steps(method)?;
        let mut other = steps(Method::new(Kind::Adam, TIMED_RATE))?;
        let ratios = paired_ratios(&mut one, &mut other, pairs);
        if let Err(error) = &ratios {
            cli::tell(&format!("{} cannot be timed: {error:#}", arm.name()));
        }
        times.push(ratios.unwrap_or_default());
    }
    Ok(times)
}

/// With steps that all cost the same.
fn at_full_length(workload: Workload<'_>) -> Workload<'_> {
    match workload {
        Workload::RepeatCopy(setting) => Workload::RepeatCopy(repeat_copy::Setting {
            padded: true,
            ..setting
        }),
        other => other,
    }
}

/// Where L4 stands: a table of who is better and who worse, and one of the ratios for each measure that any task has.
pub fn standings(numbers: &[Numbers], report: &Report) -> Vec<Table> {
    let mut tables = vec![summary(numbers, report)];
    let by_measure = Yardstick::ALL.map(|measure| ratios(numbers, measure, report));
    tables.extend(
        by_measure
            .into_iter()
            .filter(|table| !table.rows.is_empty()),
    );
    tables
}

/// `standing.json`.
fn summary(numbers: &[Numbers], report: &Report) -> Table {
    const GROUPS: [(&str, &str, Standing); 5] = [
        ("better", "Better than", Standing::Better),
        ("even", "Not told apart from", Standing::Even),
        ("worse", "Worse than", Standing::Worse),
        ("undecided", "No interval against", Standing::Undecided),
        ("neither", "Neither gets there", Standing::Neither),
    ];
    let mut columns = ["L4", "Task", "Measure"]
        .map(|title| Column::new(&title.to_lowercase(), title))
        .to_vec();
    columns.extend(GROUPS.map(|(key, title, _)| Column::new(key, title)));
    let mut rows = Vec::new();
    for ours in OURS {
        for numbers in numbers {
            for measure in Yardstick::ALL {
                let all = standing::against(numbers, ours, measure);
                if all.is_empty() {
                    continue;
                }
                let mut row = Row::new();
                row.insert("l4".to_owned(), ours.into());
                row.insert("task".to_owned(), numbers.task.name().into());
                row.insert("measure".to_owned(), measure.words(numbers.task).into());
                for (key, _, standing) in GROUPS {
                    let names = named(&all, standing);
                    if !names.is_empty() {
                        row.insert(key.to_owned(), names.as_str().into());
                    }
                }
                rows.push(row);
            }
        }
    }
    let counts: Vec<String> = OURS
        .iter()
        .filter_map(|ours| counted(numbers, ours))
        .collect();
    let title = format!(
        "Where L4 stands at its default α, by the 95 % interval of the mean ratio by seed, each comparison for itself: of twenty that are even one would \
         be taken for a difference by chance; in brackets the ratio of L4's to theirs, \
         below 1 where L4 is better. There is no interval of one seed, nor where theirs alone is infinite in all seeds but one. {}",
        counts.join(" ")
    );
    Table {
        header: report.header("standing", title.trim_end_matches('.')),
        columns,
        rows,
    }
}

/// `Prodigy (0.5), DoG (0.01)`, the farthest first.
fn named(all: &[Against], standing: Standing) -> String {
    let mut group: Vec<&Against> = all.iter().filter(|one| one.standing == standing).collect();
    group.sort_by(|a, b| {
        let far = |one: &Against| one.ratio.mean.log10().abs();
        far(b).total_cmp(&far(a))
    });
    let name = |one: &&Against| match standing {
        Standing::Neither => one.name.clone(),
        _ => format!("{} ({})", one.name, short(one.ratio.mean, 2)),
    };
    group.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// `Against the rate-free methods, …, L4Adam is by training loss better in 27 and worse in 3 of 30 comparisons; by …`; `None` without
/// such a comparison.
fn counted(numbers: &[Numbers], ours: &str) -> Option<String> {
    let by = [
        (Yardstick::Loss, "training loss"),
        (Yardstick::Steps, "steps to the threshold"),
        (Yardstick::Error, "test error"),
    ];
    let by = by.map(|(measure, what)| {
        let standings = against_rate_free(numbers, ours, measure);
        counts(&standings).map(|counts| format!("by {what} {counts}"))
    });
    let by: Vec<String> = by.into_iter().flatten().collect();
    (!by.is_empty()).then(|| {
        let by = by.join("; ");
        format!("Against the rate-free methods, one comparison a method and task, {ours} is {by}.")
    })
}

/// How `ours` stands to each rate-free method on each task.
fn against_rate_free(numbers: &[Numbers], ours: &str, measure: Yardstick) -> Vec<Standing> {
    let mut found = Vec::new();
    for numbers in numbers {
        for one in standing::against(numbers, ours, measure) {
            let arm = numbers.arms.iter().find(|arm| arm.name == one.name);
            if arm.is_some_and(|arm| arm.role == Role::RateFree) {
                found.push(one.standing);
            }
        }
    }
    found
}

/// `better in 20, not told apart in 1 and worse in 2 of 23 comparisons`; `None` of none.
fn counts(standings: &[Standing]) -> Option<String> {
    const WORDS: [(Standing, &str); 5] = [
        (Standing::Better, "better"),
        (Standing::Even, "not told apart"),
        (Standing::Undecided, "without an interval"),
        (Standing::Neither, "not there, like the other,"),
        (Standing::Worse, "worse"),
    ];
    let counted = WORDS.map(|(standing, words)| {
        let count = standings.iter().filter(|one| **one == standing).count();
        (count > 0).then(|| format!("{words} in {count}"))
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    let all = standings.len();
    (all > 0).then(|| format!("{} of {all} comparisons", words::list(&counted)))
}

/// `standing_loss.json`, `standing_steps.json` or `standing_error.json`: a row for each other method, a column for each variant on each task.
fn ratios(numbers: &[Numbers], measure: Yardstick, report: &Report) -> Table {
    let mut columns = vec![Column::new("method", "Against")];
    let mut rows: IndexMap<String, Row> = IndexMap::new();
    for (index, numbers) in numbers.iter().enumerate() {
        for ours in OURS {
            let all = standing::against(numbers, ours, measure);
            if all.is_empty() {
                continue;
            }
            let key = format!("{}_{index}", ours.to_lowercase());
            columns.push(Column::new(&key, &format!("{ours} on {}", numbers.task)));
            for one in all {
                let row = rows.entry(one.name.clone()).or_default();
                row.insert("method".to_owned(), one.name.as_str().into());
                row.insert(key.clone(), ratio(&one).as_str().into());
            }
        }
    }
    let (id, what) = match measure {
        Yardstick::Loss => (
            "standing_loss",
            "final training loss, or on the DNC the geometric mean of the loss over the run, either cut at the floor of the task",
        ),
        Yardstick::Steps => (
            "standing_steps",
            "steps until the loss is for good below the threshold",
        ),
        Yardstick::Error => (
            "standing_error",
            "error on the test images after the last epoch",
        ),
    };
    let title = format!(
        "L4 against each method by the {what}: ratio by seed, geometric mean with its 95 % interval. Below 1 L4 is better; a run that \
         diverged or did not get there counts as infinite"
    );
    Table {
        header: report.header(id, &title),
        columns,
        rows: rows.into_values().collect(),
    }
}

/// `0.5 (0.4 to 0.6)`, and in how many of the seeds theirs is infinite: those count as the best for ours of the others, so that the interval
/// says less than one of all.
fn ratio(one: &Against) -> String {
    let Estimate {
        n,
        cut,
        mean,
        interval,
    } = one.ratio;
    // An interval from 1.02 to 1.14 is not to read as one from 1.0.
    let short = |value| short(value, 3);
    let mean = short(mean);
    let infinite = format!("theirs alone is infinite in {cut} of {n}");
    match (one.standing, interval) {
        (Standing::Neither, _) => "neither gets there".to_owned(),
        (_, Some((low, high))) if low < high || cut > 0 => match cut {
            0 => format!("{mean} ({} to {})", short(low), short(high)),
            _ => format!("{mean} ({} to {}; {infinite})", short(low), short(high)),
        },
        (Standing::Undecided, _) if n == 1 => format!("{mean} (1 seed)"),
        (Standing::Undecided, _) => format!("{mean} (no interval: {infinite})"),
        _ => mean,
    }
}

fn short(value: f64, digits: usize) -> String {
    match value.is_finite() {
        true => significant(value, digits),
        false => words::number(value),
    }
}

/// `profile.json`: a panel a measure.
pub fn profile(numbers: &[Numbers], report: &Report) -> Figure {
    let panels = [
        ("a", "Steps to the threshold", Yardstick::Steps),
        ("b", "Training loss", Yardstick::Loss),
    ];
    let (mut axes, mut series) = (Vec::new(), Vec::new());
    for (letter, title, measure) in panels {
        let profiles = standing::profile(numbers, measure);
        series.extend(profiles.iter().map(|profile| stairs(letter, profile)));
        axes.push(Axes {
            panel: letter.to_owned(),
            title: title.to_owned(),
            x: Axis::log("factor τ of the best"),
            y: Axis::linear("share of tasks within τ"),
        });
    }
    let tasks: Vec<&str> = numbers.iter().map(|numbers| numbers.task.name()).collect();
    let title = format!(
        "Performance profile over {}: the share of tasks on which a method is within a factor τ of the best method of the same seed, a \
         task counting by the share of its seeds, up to τ = {GREATEST:e}; (a) by steps until the loss is for good below the \
         threshold, (b) by the final training loss, on the DNC by its geometric mean over the run",
        words::list(&tasks)
    );
    Figure {
        header: report.header("profile", &title),
        axes,
        series,
    }
}

fn stairs(letter: &str, profile: &Profile) -> Series {
    let mut share = 0.0;
    let mut places = Vec::new();
    for &(factor, gain) in profile
        .gains
        .iter()
        .filter(|(factor, _)| *factor <= GREATEST)
    {
        places.push((factor, share));
        share += gain;
        places.push((factor, share));
    }
    // From the left edge on: there the best are already.
    let at_once = places.iter().rposition(|(factor, _)| *factor <= 1.0);
    places.drain(..at_once.unwrap_or(0));
    if at_once.is_none() {
        places.insert(0, (1.0, 0.0));
    }
    places.push((GREATEST, share));
    let mut series = Series::computed(letter, &profile.name, Style::Curve, &places);
    series.n = profile.runs;
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::made_up::{Arm, numbers};
    use crate::numbers::TaskName;

    fn places(gains: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let profile = Profile {
            name: "A".to_owned(),
            runs: 4,
            gains: gains.to_vec(),
        };
        let series = stairs("a", &profile);
        series.x.into_iter().zip(series.mean).collect()
    }

    #[test]
    fn standings_are_counted_where_there_are_any() {
        assert_eq!(counts(&[]), None);
        let (better, worse) = (Standing::Better, Standing::Worse);
        let said = counts(&[better, worse, better]).unwrap();
        assert_eq!(said, "better in 2 and worse in 1 of 3 comparisons");
    }

    #[test]
    fn a_cell_says_in_how_many_seeds_theirs_is_infinite() {
        let cell = |standing, differences: &[f64]| {
            let ratio = Estimate::against(differences).unwrap();
            let ratio = ratio.from_log10();
            let name = "DoG".to_owned();
            super::ratio(&Against {
                name,
                ratio,
                standing,
            })
        };
        let inf = f64::NEG_INFINITY;
        let (even, better) = (Standing::Even, Standing::Better);
        assert_eq!(cell(even, &[-1.0, 1.0]), "1 (1.97×10⁻¹³ to 5.08×10¹²)");
        let some = cell(better, &[-1.0, -0.9, inf]);
        assert!(
            some.ends_with("; theirs alone is infinite in 1 of 3)"),
            "{some}"
        );
        assert_eq!(
            cell(Standing::Undecided, &[-1.0, inf, inf]),
            "0.100 (no interval: theirs alone is infinite in 2 of 3)"
        );
        assert_eq!(cell(Standing::Undecided, &[-1.0]), "0.100 (1 seed)");
        assert_eq!(cell(better, &[inf, inf]), "0");
        assert_eq!(cell(Standing::Neither, &[0.0, 0.0]), "neither gets there");
    }

    #[test]
    fn a_profile_is_drawn_as_stairs_from_edge_to_edge() {
        let stairs = places(&[(1.0, 0.25), (1.0, 0.25), (3.0, 0.5)]);
        assert_eq!(
            stairs,
            [(1.0, 0.5), (3.0, 0.5), (3.0, 1.0), (GREATEST, 1.0)]
        );
        let late = places(&[(3.0, 0.5), (1e9, 0.5)]);
        assert_eq!(late, [(1.0, 0.0), (3.0, 0.0), (3.0, 0.5), (GREATEST, 0.5)]);
        assert_eq!(places(&[]), [(1.0, 0.0), (GREATEST, 0.0)]);
    }

    #[test]
    fn only_rate_free_methods_are_counted_and_the_farthest_is_named_first() {
        let arms = [
            Arm::l4_adam().losing([1.0, 1.1, 1.2]),
            Arm::adam().losing([10.0, 11.0, 12.0]),
            Arm::new("MoMo", Role::RateFree).losing([2.0, 2.2, 2.4]),
            Arm::new("DoG", Role::RateFree).losing([0.1, 0.11, 0.12]),
        ];
        let all = [numbers("rate_free", TaskName::Mnist, arms)];
        let found = against_rate_free(&all, "L4Adam", Yardstick::Loss);
        assert_eq!(found, [Standing::Better, Standing::Worse]);
        let against = standing::against(&all[0], "L4Adam", Yardstick::Loss);
        let better = named(&against, Standing::Better);
        assert!(better.starts_with("Adam* (0.10), MoMo (0.5"), "{better}");
    }

    #[test]
    fn committed_times_are_those_of_the_same_task_and_method() {
        let with = |name: &str, times: &[f64]| {
            let mut arm = Arm::new(name, Role::RateFree);
            arm.0.step_times = times.to_vec();
            arm
        };
        let committed = [
            numbers("rate_free", TaskName::Dnc, [with("DoG", &[9.0])]),
            numbers(
                "rate_free",
                TaskName::Mnist,
                [with("MoMo", &[2.0]), with("DoG", &[3.0])],
            ),
        ];
        let own = [with("DoG", &[]), with("Prodigy", &[7.0])];
        let mut own = [numbers("rate_free", TaskName::Mnist, own)];
        take_step_times(&mut own, &committed);
        assert_eq!(own[0].arms[0].step_times, [3.0]);
        assert!(
            own[0].arms[1].step_times.is_empty(),
            "not its own of before"
        );
    }
}
