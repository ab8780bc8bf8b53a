//! What the rules read off a run.

use super::statistics::{difference, log10_above, mean};
use crate::numbers::{ArmNumbers, Numbers, RunNumbers, TaskName};

/// Losses up to this count as equal in float32, in which images are learnt: the unit of rounding, and so about the least
/// cross-entropy above 0 that a softmax has in it.
const FLOOR_FLOAT32: f64 = f32::EPSILON as f64;
/// The same for the regression, whose loss is a squared residual in float64.
const FLOOR_FLOAT64: f64 = f64::EPSILON * f64::EPSILON;
/// The least loss that the DNC has: an output whose logit is at its bound, ±20, on the right side, costs ln(1 + e⁻²⁰), and
/// 16.25 outputs of a sequence count on average: 5 in each of L·R + 1 steps, with L and R 1 or 2.
const FLOOR_DNC: f64 = 16.25 * 2.061_153_620_314_381e-9;

/// A window spans two orders of magnitude if its greatest rate is so many times its least.
pub const TWO_ORDERS: f64 = 100.0;
/// A spike is a window whose mean loss is above so many times the least of the windows before it,
pub const SPIKE: f64 = 100.0;
/// and above this part of the first window's.
pub const SPIKE_OF_FIRST: f64 = 0.01;

/// Where losses on a task cannot be told from the least that there is.
#[must_use]
pub fn floor(task: TaskName) -> f64 {
    match task {
        TaskName::Regression => FLOOR_FLOAT64,
        TaskName::Dnc => FLOOR_DNC,
        TaskName::Mnist | TaskName::Cifar10 | TaskName::FashionMnist | TaskName::RunningTime => {
            FLOOR_FLOAT32
        }
    }
}

/// A run up to a last step.
#[derive(Clone, Copy)]
pub struct Trace<'n> {
    run: &'n RunNumbers,
    end: u64,
}

/// The runs of an arm over the section's length, which some of them may exceed.
pub fn traces<'n>(numbers: &Numbers, arm: &'n ArmNumbers) -> Vec<Trace<'n>> {
    let end = arm.step_after(numbers.length);
    arm.runs.iter().map(|run| Trace { run, end }).collect()
}

/// The runs of an arm as far as they go.
pub fn whole_traces(arm: &ArmNumbers) -> Vec<Trace<'_>> {
    arm.runs.iter().map(Trace::whole).collect()
}

/// `ours − theirs` of what is measured, for every seed that both have, in the order of ours. Seeds of which it was not
/// measured are left out.
pub fn paired(
    ours: &[Trace<'_>],
    theirs: &[Trace<'_>],
    measure: impl Fn(&Trace<'_>) -> Option<f64>,
) -> Vec<f64> {
    let pair = |one: &Trace<'_>| {
        let other = theirs.iter().find(|other| other.run.seed == one.run.seed)?;
        Some(difference(measure(one)?, measure(other)?))
    };
    ours.iter().filter_map(pair).collect()
}

impl<'n> Trace<'n> {
    /// A run as far as it goes.
    pub fn whole(run: &'n RunNumbers) -> Self {
        let end = u64::MAX;
        Self { run, end }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.run.seed
    }

    /// The run as a whole.
    pub fn run(&self) -> &'n RunNumbers {
        self.run
    }

    /// Its first quarter.
    pub fn first_quarter(&self) -> Self {
        let last = self.logged("loss").last().map_or(0, |(step, _)| step);
        Self {
            end: last / 4,
            ..*self
        }
    }

    /// Whether it diverged on the way.
    pub fn diverged(&self) -> bool {
        self.run.diverged_at.is_some_and(|step| step <= self.end)
    }

    /// A metric with the steps at which it was logged.
    pub fn logged(&self, metric: &str) -> impl Iterator<Item = (u64, f64)> + Clone + 'n {
        let end = self.end;
        let columns = self.run.metrics.get(metric).into_iter();
        columns
            .flat_map(|column| {
                column
                    .steps
                    .iter()
                    .copied()
                    .zip(column.values.iter().copied())
            })
            .take_while(move |(step, _)| *step <= end)
    }

    /// A metric without its steps.
    pub fn values(&self, metric: &str) -> Vec<f64> {
        self.logged(metric).map(|(_, value)| value).collect()
    }

    /// Final training loss: the mean over the last tenth of the steps, to which a window counts by its length; infinite of a
    /// diverged run.
    pub fn final_loss(&self) -> Option<f64> {
        if self.diverged() {
            return Some(f64::INFINITY);
        }
        let (last, _) = self.logged("loss").last()?;
        let in_last_tenth = |step: u64| 10 * u128::from(step) > 9 * u128::from(last);
        let (mut sum, mut steps, mut before) = (0.0, 0, 0);
        for (step, loss) in self.logged("loss") {
            if in_last_tenth(step) {
                sum += (step - before) as f64 * loss;
                steps += step - before;
            }
            before = step;
        }
        Some(sum / steps as f64)
    }

    /// The step at which the window ends from which on all windows have mean losses below the threshold. The logged windows
    /// (a tenth of an epoch, 1,600 sequences) are all the smoothing there is. Infinite if the last window is not below it, or
    /// the run diverged.
    pub fn steps_to(&self, threshold: f64) -> Option<f64> {
        if self.diverged() {
            return Some(f64::INFINITY);
        }
        self.logged("loss").next()?;
        let mut since = None;
        for (step, loss) in self.logged("loss") {
            match loss < threshold {
                true => since = since.or(Some(step)),
                false => since = None,
            }
        }
        Some(since.map_or(f64::INFINITY, |step| step as f64))
    }

    /// The step at which the first window ends whose mean loss is below the threshold; infinite if there is none.
    pub fn steps_to_first(&self, threshold: f64) -> Option<f64> {
        if !self.diverged() {
            self.logged("loss").next()?;
        }
        let found = self.first_below(threshold);
        Some(found.map_or(f64::INFINITY, |(step, _)| step as f64))
    }

    /// The step at which the first window ends whose mean loss is below the threshold, and the greatest of the windows after it
    /// that are not, if any; infinite of a run that diverged.
    pub fn first_below(&self, threshold: f64) -> Option<(u64, Option<f64>)> {
        let (first, _) = self.logged("loss").find(|(_, loss)| *loss < threshold)?;
        let after = self.logged("loss").filter(|(step, _)| *step > first);
        let above = after
            .map(|(_, loss)| loss)
            .filter(|loss| *loss >= threshold);
        let diverged = self.diverged().then_some(f64::INFINITY);
        Some((first, above.chain(diverged).reduce(f64::max)))
    }

    /// The mean of log10 loss over the run, each window cut at the floor; infinite of a diverged run.
    pub fn mean_log_loss(&self, floor: f64) -> Option<f64> {
        if self.diverged() {
            return Some(f64::INFINITY);
        }
        let logs: Vec<f64> = self
            .logged("loss")
            .map(|(_, loss)| log10_above(loss, floor))
            .collect();
        mean(&logs)
    }

    /// The step at which it passed a mark.
    pub fn step_of(&self, mark: &str) -> Option<u64> {
        let milestone = self.run.milestones.get(mark)?;
        Some(milestone.step).filter(|step| *step <= self.end)
    }

    /// The test accuracy that was measured at a step; 0 of a run that had diverged before, or in that step.
    pub fn accuracy_at(&self, step: u64) -> Option<f64> {
        let diverged_at = self.run.diverged_at.unwrap_or(u64::MAX);
        if diverged_at < step {
            return Some(0.0);
        }
        let mut logged = self.logged("test_accuracy");
        let logged = logged.find(|(at, _)| *at == step).map(|(_, value)| value);
        logged.or((diverged_at == step).then_some(0.0))
    }

    /// How many windows span [`TWO_ORDERS`], and of how many. Windows with a step of rate 0, which has no order of magnitude,
    /// do not count.
    pub fn wide_windows(&self) -> (usize, usize) {
        let (low, high) = (
            self.values("learning_rate_min"),
            self.values("learning_rate_max"),
        );
        let moving: Vec<f64> = low
            .iter()
            .zip(&high)
            .filter(|(low, _)| **low > 0.0)
            .map(|(low, high)| high / low)
            .collect();
        let wide = moving.iter().filter(|ratio| **ratio >= TWO_ORDERS).count();
        (wide, moving.len())
    }

    /// Windows whose mean loss is above [`SPIKE`] times the least so far and above [`SPIKE_OF_FIRST`] of the first window's.
    pub fn spikes(&self) -> usize {
        let losses = self.values("loss");
        let Some(&first) = losses.first() else {
            return 0;
        };
        let mut least = first;
        let mut spikes = 0;
        for loss in losses {
            spikes += usize::from(loss > SPIKE * least && loss > SPIKE_OF_FIRST * first);
            least = least.min(loss);
        }
        spikes
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Arm, Run, numbers};
    use super::*;

    const INF: f64 = f64::INFINITY;

    /// What is read off a run of 10 units of one step.
    fn read<T>(run: Run, read: impl Fn(&Trace<'_>) -> T) -> T {
        let arm = Arm::l4_adam().runs([run]);
        let mut numbers = numbers("3.2", TaskName::Mnist, [arm]);
        numbers.length = 10;
        read(&traces(&numbers, &numbers.arms[0])[0])
    }

    #[test]
    fn the_final_loss_is_the_mean_of_the_last_tenth() {
        let final_loss = |run| read(run, |run| run.final_loss());
        assert_eq!(
            final_loss(Run::losses(0.., [9.0; 20]).stretch(1, 2)),
            Some(9.0)
        );
        let mut losses = [9.0; 10];
        losses[9] = 1.0;
        assert_eq!(final_loss(Run::losses(1.., losses)), Some(1.0));
        let arm = Arm::l4_adam().runs([Run::losses(1.., (1..=20).map(f64::from))]);
        let mut twenty = numbers("3.2", TaskName::Mnist, [arm]);
        twenty.length = 20;
        let runs = traces(&twenty, &twenty.arms[0]);
        assert_eq!(runs[0].final_loss(), Some(19.5), "of steps 19 and 20");
        let mut uneven = Run::losses(1.., [9.0, 9.0, 3.0, 8.0]);
        uneven.0.metrics["loss"].steps = vec![1, 5, 9, 10];
        assert_eq!(final_loss(uneven.clone()), Some(8.0));
        uneven.0.metrics["loss"].steps = vec![1, 3, 7, 7];
        assert_eq!(
            final_loss(uneven),
            Some(3.0),
            "a window counts by its length"
        );
        assert_eq!(final_loss(Run::losses(1.., losses).diverged(10)), Some(INF));
        assert_eq!(final_loss(Run::losses(1.., losses).diverged(11)), Some(1.0));
        assert_eq!(final_loss(Run::losses(1.., [])), None);
    }

    #[test]
    fn what_comes_after_the_length_does_not_count() {
        let mut losses = [1.0; 20];
        losses[10] = 5.0;
        assert_eq!(
            read(Run::losses(1.., losses), |run| run.final_loss()),
            Some(1.0)
        );
        assert_eq!(
            read(Run::losses(1.., losses), |run| run.values("loss").len()),
            10
        );
    }

    #[test]
    fn below_a_threshold_is_for_good() {
        let steps = |losses: [f64; 4]| read(Run::losses(1.., losses), |run| run.steps_to(0.5));
        assert_eq!(steps([1.0, 0.4, 0.4, 0.4]), Some(2.0));
        assert_eq!(
            steps([1.0, 0.4, 0.5, 0.4]),
            Some(4.0),
            "0.5 is not below 0.5"
        );
        assert_eq!(steps([0.4, 0.4, 0.4, 0.6]), Some(INF));
        assert_eq!(steps([0.4; 4]), Some(1.0));
        let diverged = Run::losses(1.., [0.4; 4]).diverged(5);
        assert_eq!(read(diverged, |run| run.steps_to(0.5)), Some(INF));
    }

    #[test]
    fn below_a_threshold_at_first_may_not_be_for_good() {
        let first = |losses: [f64; 4]| read(Run::losses(1.., losses), |run| run.first_below(0.5));
        assert_eq!(first([1.0, 0.4, 0.4, 0.4]), Some((2, None)));
        assert_eq!(first([1.0, 0.4, 0.5, 0.7]), Some((2, Some(0.7))));
        assert_eq!(first([1.0; 4]), None);
        let diverged = Run::losses(1.., [1.0, 0.4]).diverged(3);
        let first = read(diverged, |run| run.first_below(0.5));
        assert_eq!(first, Some((2, Some(INF))));
    }

    #[test]
    fn an_accuracy_counts_that_was_measured_before_the_run_diverged() {
        let accuracy = |run: Run, step| read(run, |run| run.accuracy_at(step));
        let run = |epochs: usize| Run::default().logs("test_accuracy", 1.., vec![98.0; epochs]);
        assert_eq!(accuracy(run(5), 5), Some(98.0));
        assert_eq!(accuracy(run(5), 6), None);
        assert_eq!(
            accuracy(run(5).diverged(5), 5),
            Some(98.0),
            "in the step after it"
        );
        assert_eq!(accuracy(run(4).diverged(5), 5), Some(0.0), "in that step");
        assert_eq!(accuracy(run(5).diverged(5), 6), Some(0.0));
    }

    #[test]
    fn logarithms_of_losses_are_averaged_above_the_floor() {
        let mean = |losses: [f64; 2]| read(Run::losses(1.., losses), |run| run.mean_log_loss(1e-4));
        assert_eq!(mean([1.0, 1e-2]), Some(-1.0));
        assert_eq!(mean([1.0, 0.0]), Some(-2.0));
    }

    #[test]
    fn a_window_is_wide_from_two_orders_on_and_rates_of_0_do_not_count() {
        let wide = |low, high| {
            read(Run::losses(1.., [1.0]).rates(low, high), |run| {
                run.wide_windows()
            })
        };
        assert_eq!(wide(1.0, 100.0), (1, 1));
        assert_eq!(wide(1.0, 99.9), (0, 1));
        assert_eq!(wide(0.0, 99.9), (0, 0));
    }

    #[test]
    fn a_spike_is_far_above_the_least_so_far_and_not_tiny() {
        let spikes =
            |losses: &[f64]| read(Run::losses(1.., losses.iter().copied()), |run| run.spikes());
        assert_eq!(spikes(&[1.0, 1e-3, 0.11, 0.11]), 2);
        assert_eq!(spikes(&[1.0, 1e-3, 0.1]), 0, "100 times the least");
        assert_eq!(spikes(&[1.0, 0.0, 0.011]), 1);
        assert_eq!(spikes(&[1.0, 0.0, 0.01]), 0, "1 % of the first");
        assert_eq!(spikes(&[1.0, 101.0]), 1);
        assert_eq!(spikes(&[1.0, 0.11, 1e-3]), 0, "only what came before");
    }

    #[test]
    fn pairs_have_one_seed() {
        let ours = Arm::l4_adam().runs([Run::losses(1.., [1.0]), Run::losses(1.., [5.0])]);
        let mut theirs = Arm::adam().runs([Run::losses(1.., [2.0]), Run::losses(1.., [3.0])]);
        theirs.0.runs[0].seed = 1;
        theirs.0.runs[1].seed = 7;
        let numbers = numbers("3.2", TaskName::Mnist, [ours, theirs]);
        let [ours, theirs] = [0, 1].map(|arm| traces(&numbers, &numbers.arms[arm]));
        assert_eq!(paired(&ours, &theirs, |run| run.final_loss()), [3.0]);
    }

    #[test]
    fn a_run_that_diverges_before_its_first_row_is_not_missing() {
        let at_once = || Run::losses(1.., []).diverged(1);
        assert_eq!(read(at_once(), |run| run.steps_to(1e-3)), Some(INF));
        assert_eq!(read(at_once(), |run| run.steps_to_first(1e-3)), Some(INF));
        let unmeasured = || Run::losses(1.., []);
        assert_eq!(read(unmeasured(), |run| run.steps_to(1e-3)), None);
        assert_eq!(read(unmeasured(), |run| run.steps_to_first(1e-3)), None);
    }
}
