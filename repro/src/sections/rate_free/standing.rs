//! Where L4 stands: comparisons by seed and the performance profile, pure functions of the numbers.

use crate::judge::comparison::THRESHOLD;
use crate::judge::statistics::{Estimate, log10_above};
use crate::judge::trace::{Trace, floor, paired, traces};
use crate::numbers::{Numbers, TaskName};

/// Regression: the part of the first loss below which a run has converged. The tuned baselines get there.
pub const OF_FIRST_LOSS: f64 = 1e-6;
/// Fashion-MNIST: the training loss, with dropout, below which a run has converged. Chosen, before any of today's methods was run
/// on it, a little below what the baselines at Table 1's rates have after 15 epochs.
pub const WITH_DROPOUT: f64 = 0.1;

/// What of a run is compared, the less the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    /// Mean training loss of the last tenth, cut at the floor of the arithmetic. On the DNC, where all good runs end on one
    /// floor, the geometric mean over the run.
    Loss,
    /// Steps until the loss is for good below the task's threshold.
    Steps,
    /// Test error after the last epoch, in per cent, where a task has one; no less than [`LEAST_ERROR`].
    Error,
}

/// One of 10,000 test images, in per cent.
const LEAST_ERROR: f64 = 0.01;

impl Yardstick {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loss, Self::Steps, Self::Error];

    /// Its logarithm; infinite of a run that diverged or never got there, whose test error is 100 %. `None` where it is not
    /// measured.
    fn log10(self, numbers: &Numbers, run: &Trace<'_>) -> Option<f64> {
        match self {
            Self::Loss if numbers.task == TaskName::Dnc => run.mean_log_loss(floor(numbers.task)),
            Self::Loss => Some(log10_above(run.final_loss()?, floor(numbers.task))),
            Self::Steps => Some(steps(numbers, run)?.log10()),
            Self::Error => {
                let accuracy = match run.diverged() {
                    true => classifies(numbers.task).then_some(0.0)?,
                    false => run.logged("test_accuracy").last()?.1,
                };
                Some(log10_above(100.0 - accuracy, LEAST_ERROR))
            }
        }
    }

    /// On a task, in words.
    pub fn words(self, task: TaskName) -> &'static str {
        match self {
            Self::Loss if task == TaskName::Dnc => "training loss, geometric mean over the run",
            Self::Loss => "final training loss",
            Self::Steps => "steps to the threshold",
            Self::Error => "test error",
        }
    }
}

/// Whether there are test images.
fn classifies(task: TaskName) -> bool {
    match task {
        TaskName::Mnist | TaskName::FashionMnist | TaskName::Cifar10 => true,
        TaskName::Regression | TaskName::Dnc | TaskName::RunningTime => false,
    }
}

/// The task's threshold.
fn threshold(numbers: &Numbers, run: &Trace<'_>) -> Option<f64> {
    Some(match numbers.task {
        TaskName::Regression => OF_FIRST_LOSS * run.run().summary.get("first_loss")?.as_f64()?,
        TaskName::FashionMnist => WITH_DROPOUT,
        TaskName::Mnist | TaskName::Dnc | TaskName::Cifar10 | TaskName::RunningTime => THRESHOLD,
    })
}

/// Steps until the loss is for good below the task's threshold; infinite of a run that diverged or never got there.
pub fn steps(numbers: &Numbers, run: &Trace<'_>) -> Option<f64> {
    if run.diverged() {
        return Some(f64::INFINITY);
    }
    run.steps_to(threshold(numbers, run)?)
}

/// Steps until it is below for the first time, wherever it goes from there.
pub fn first_steps(numbers: &Numbers, run: &Trace<'_>) -> Option<f64> {
    let (step, _) = run.first_below(threshold(numbers, run)?)?;
    Some(step as f64)
}

/// What the seeds say of two methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The 95 % interval of the mean difference lies below 0: ours is better.
    Better,
    /// It is neither better nor worse.
    Even,
    /// It lies above 0, and in no seed is theirs alone infinite.
    Worse,
    /// No run of either got there.
    Neither,
    /// There is no interval: of one seed, or where theirs alone is infinite in all seeds but one, or but in ties of failures.
    Undecided,
}

/// One of our methods against another.
#[derive(Clone, Debug, PartialEq)]
pub struct Against {
    /// The other.
    pub name: String,
    /// Ours over theirs; a divergence counts as infinite, and against ours.
    pub ratio: Estimate,
    /// What follows.
    pub standing: Standing,
}

/// The method `ours` against each of the others on a task, in the order of the arms; nothing if it was not run, or the measure is
/// none of the task's.
pub fn against(numbers: &Numbers, ours: &str, measure: Yardstick) -> Vec<Against> {
    let runs = |name: &str| {
        let arm = numbers.arms.iter().find(|arm| arm.name == name);
        arm.map(|arm| traces(numbers, arm)).unwrap_or_default()
    };
    let our_runs = runs(ours);
    let value = |run: &Trace<'_>| measure.log10(numbers, run);
    let gets_there = |runs: &[Trace<'_>]| runs.iter().filter_map(value).any(f64::is_finite);
    let others = numbers.arms.iter().filter(|arm| arm.name != ours);
    let one = |name: &String| {
        let their_runs = runs(name);
        let difference = Estimate::against(&paired(&our_runs, &their_runs, value))?;
        let standing = match (difference.is_below(0.0), difference.is_higher()) {
            _ if !gets_there(&our_runs) && !gets_there(&their_runs) => Standing::Neither,
            (Some(true), _) => Standing::Better,
            (_, Some(true)) => Standing::Worse,
            (None, None) => Standing::Undecided,
            _ => Standing::Even,
        };
        Some(Against {
            name: name.clone(),
            ratio: difference.from_log10(),
            standing,
        })
    };
    others.filter_map(|arm| one(&arm.name)).collect()
}

/// How often a method is within a factor of the best: Dolan and Moré, *Benchmarking optimization software with performance
/// profiles*, Mathematical Programming 91 (2002), ρ(τ).
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The method.
    pub name: String,
    /// Runs that it rests on.
    pub runs: usize,
    /// Factors in increasing order, each with the share of tasks that is gained there. What never gets there is gained nowhere.
    pub gains: Vec<(f64, f64)>,
}

/// The profile of each method that was run on all of the tasks. The best is that of each seed, and a task counts by the share
/// of its seeds; where no method gets there nobody gains.
pub fn profile(all: &[Numbers], measure: Yardstick) -> Vec<Profile> {
    let Some(first) = all.first() else {
        return Vec::new();
    };
    let on_all = |name: &str| {
        let has = |numbers: &Numbers| numbers.arms.iter().any(|arm| arm.name == name);
        all.iter().all(has)
    };
    let names = first.arms.iter().map(|arm| &arm.name);
    let names: Vec<&String> = names.filter(|name| on_all(name)).collect();
    let mut profiles: Vec<Profile> = names
        .iter()
        .map(|name| Profile {
            name: (*name).clone(),
            runs: 0,
            gains: Vec::new(),
        })
        .collect();
    for numbers in all {
        let by_name = |name: &&String| numbers.arms.iter().find(|arm| arm.name == **name);
        let runs = names.iter().filter_map(by_name);
        let runs: Vec<Vec<Trace<'_>>> = runs.map(|arm| traces(numbers, arm)).collect();
        let Some(seeds) = runs.first().map(|runs| runs.iter().map(Trace::seed)) else {
            continue;
        };
        let weight = 1.0 / (all.len() * seeds.len()) as f64;
        for seed in seeds {
            let of_seed = |runs: &Vec<Trace<'_>>| {
                let run = runs.iter().find(|run| run.seed() == seed)?;
                measure.log10(numbers, run)
            };
            let values: Vec<f64> = runs
                .iter()
                .map(|runs| of_seed(runs).unwrap_or(f64::INFINITY))
                .collect();
            let best = values.iter().copied().fold(f64::INFINITY, f64::min);
            for (profile, value) in profiles.iter_mut().zip(values) {
                profile.runs += 1;
                if value.is_finite() {
                    profile.gains.push((10_f64.powf(value - best), weight));
                }
            }
        }
    }
    for profile in &mut profiles {
        profile.gains.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    profiles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::made_up::{Arm, Run, numbers};
    use crate::numbers::Role;

    fn arm<const N: usize>(name: &str, losses: [f64; N]) -> Arm {
        Arm::new(name, Role::RateFree).losing(losses)
    }

    fn by_loss<const N: usize>(arms: [Arm; N]) -> Vec<Against> {
        let numbers = numbers("rate_free", TaskName::Mnist, arms);
        against(&numbers, "L4Adam", Yardstick::Loss)
    }

    fn standing(ours: [f64; 3], theirs: [f64; 3]) -> Against {
        let arms = [Arm::l4_adam().losing(ours), arm("Prodigy", theirs)];
        let found = by_loss(arms);
        assert_eq!(found.len(), 1);
        found[0].clone()
    }

    #[test]
    fn the_interval_decides_from_both_sides() {
        let better = standing([1.0, 2.0, 4.0], [10.0, 21.0, 39.0]);
        assert_eq!(better.standing, Standing::Better);
        assert!((better.ratio.mean - 0.1).abs() < 1e-3, "{better:?}");
        let worse = standing([10.0, 21.0, 39.0], [1.0, 2.0, 4.0]);
        assert_eq!(worse.standing, Standing::Worse);
        let even = standing([1.0, 2.0, 4.0], [1.1, 1.9, 4.1]);
        assert_eq!(even.standing, Standing::Even);
        let (low, high) = even.ratio.interval.unwrap();
        assert!(low < 1.0 && high > 1.0);
    }

    #[test]
    fn test_errors_are_compared_where_there_are_any() {
        let tested = |name: &str, accuracies: [f64; 3]| {
            let run =
                |accuracy| Run::losses(1.., [1.0; 2]).logs("test_accuracy", 1.., [50.0, accuracy]);
            Arm::new(name, Role::RateFree).runs(accuracies.map(run))
        };
        let mut arms = [
            tested("L4Adam", [98.0, 98.0, 98.0]),
            tested("DoG", [99.0, 99.0, 98.9]),
            tested("Prodigy", [96.0, 96.0, 96.0]),
        ];
        arms[2].0.runs[0].diverged_at = Some(2);
        let of = |task: TaskName, arms: [Arm; 3]| {
            against(
                &numbers("rate_free", task, arms),
                "L4Adam",
                Yardstick::Error,
            )
        };
        let found = of(TaskName::Mnist, arms.clone());
        assert_eq!(found[0].standing, Standing::Worse);
        assert!((found[0].ratio.mean - (2.0 * 2.0 * 2.0 / 1.1_f64).cbrt()).abs() < 1e-9);
        assert!((found[1].ratio.mean - (0.02 * 0.5 * 0.5_f64).cbrt()).abs() < 1e-9);
        for arm in &mut arms {
            arm.0.runs.iter_mut().for_each(|run| {
                run.metrics.shift_remove("test_accuracy");
            });
        }
        assert_eq!(of(TaskName::Dnc, arms), []);
    }

    #[test]
    fn one_seed_decides_nothing() {
        let arms = [Arm::l4_adam().losing([1.0]), arm("Prodigy", [10.0])];
        let found = by_loss(arms);
        assert_eq!(found[0].standing, Standing::Undecided);
    }

    #[test]
    fn a_divergence_is_infinite_and_counts_against_ours() {
        let diverging = |name: &str, role| {
            let runs = [1.0, 2.0, 4.0].map(|loss| Run::losses(1.., [loss; 3]).diverged(3));
            Arm::new(name, role).runs(runs)
        };
        let ours = diverging("L4Adam", Role::RateFree);
        let arms = [
            ours.clone(),
            arm("Prodigy", [1e3; 3]),
            diverging("DoG", Role::RateFree),
        ];
        let found = by_loss(arms);
        assert_eq!(found[0].standing, Standing::Worse);
        assert_eq!(found[1].standing, Standing::Neither);
        let arms = [
            Arm::l4_adam().losing([1e3; 3]),
            diverging("DoG", Role::RateFree),
        ];
        let found = by_loss(arms);
        assert_eq!(found[0].standing, Standing::Better);
    }

    #[test]
    fn one_finite_seed_of_several_decides_nothing() {
        let diverged = || Run::losses(1.., [1.0; 3]).diverged(3);
        let theirs = [diverged(), Run::losses(1.., [2.0; 3]), diverged()];
        let arms = [
            Arm::l4_adam().losing([1.0; 3]),
            Arm::new("DoG", Role::RateFree).runs(theirs),
        ];
        let found = by_loss(arms);
        assert_eq!(found[0].standing, Standing::Undecided);
        assert_eq!((found[0].ratio.n, found[0].ratio.cut), (3, 2));
    }

    #[test]
    fn each_task_has_its_threshold() {
        let steps_on = |task: TaskName, losses: [f64; 3]| {
            let mut arm = Arm::l4_adam().runs([Run::losses(1.., losses)]);
            arm.0.runs[0]
                .summary
                .insert("first_loss".to_owned(), 2.0.into());
            let numbers = numbers("rate_free", task, [arm]);
            steps(&numbers, &traces(&numbers, &numbers.arms[0])[0])
        };
        assert_eq!(
            steps_on(TaskName::Regression, [1.0, 2e-6, 1.9e-6]),
            Some(3.0)
        );
        assert_eq!(steps_on(TaskName::Mnist, [1.0, 0.9e-3, 0.9e-3]), Some(2.0));
        assert_eq!(
            steps_on(TaskName::Dnc, [1.0, 1e-3, 1e-3]),
            Some(f64::INFINITY)
        );
        assert_eq!(
            steps_on(TaskName::FashionMnist, [1.0, 0.1, 0.09]),
            Some(3.0)
        );
    }

    #[test]
    fn on_the_dnc_losses_are_averaged_over_the_run() {
        let ours =
            Arm::l4_adam().runs([Run::losses(1.., [1.0, 1e-6]), Run::losses(1.., [1.0, 1e-6])]);
        let theirs = Arm::new("DoG", Role::RateFree).runs([
            Run::losses(1.., [1e-2, 1e-6]),
            Run::losses(1.., [1e-2, 1e-6]),
        ]);
        let numbers = numbers("rate_free", TaskName::Dnc, [ours, theirs]);
        let found = against(&numbers, "L4Adam", Yardstick::Loss);
        assert!((found[0].ratio.mean - 10.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_profile_counts_tasks_by_their_seeds() {
        let mnist = [
            arm("A", [1.0, 4.0]),
            arm("B", [2.0, 2.0]),
            arm("C", [1.0, 1.0]),
        ];
        let diverged = Run::losses(1.., [1.0; 3]).diverged(2);
        let fashion = [
            arm("A", [3.0]),
            Arm::new("B", Role::RateFree).runs([diverged]),
        ];
        let all = [
            numbers("rate_free", TaskName::Mnist, mnist),
            numbers("rate_free", TaskName::FashionMnist, fashion),
        ];
        let found = profile(&all, Yardstick::Loss);
        let names: Vec<&str> = found.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["A", "B"], "C is not on both");
        let gains = |index: usize| -> Vec<(f64, f64)> {
            let gains = found[index].gains.iter();
            gains
                .map(|(factor, share)| ((factor * 1e6).round() / 1e6, *share))
                .collect()
        };
        assert_eq!(gains(0), [(1.0, 0.25), (1.0, 0.5), (2.0, 0.25)]);
        assert_eq!(
            gains(1),
            [(1.0, 0.25), (2.0, 0.25)],
            "its divergence is gained nowhere"
        );
        assert_eq!(found[0].runs, 3);
    }
}
