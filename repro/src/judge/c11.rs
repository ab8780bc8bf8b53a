//! C11, a verdict each for MNIST and the DNC: "the performance increases with decreasing the batch size"; on the DNC "batch size 8
//! is probably the limit of what L4 can tolerate […] one of the runs of L4Mom diverged. In all other cases, good level of
//! convergence was reached" (section 3.6).
//!
//! - MNIST, a part for each variant: the trend of the log of the final loss, after equally many examples for all batches, over
//!   log2 of the batch is positive.
//! - DNC, a part for each variant: the same for the log of the number of examples after which the loss is below [`THRESHOLD`] for
//!   good; and a part for the limit: runs diverge with batch 8 and none with a larger one.
//!
//! A trend is one slope a seed, over all [`BATCHES`], with the 95 % interval over seeds above 0.

use super::case::{Case, VARIANTS, l4, main_arms, name};
use super::comparison::Measure;
use super::statistics::{Estimate, difference, mean, rising, slope};
use super::trace::{Trace, floor, traces, whole_traces};
use super::{Claim, Finding, words};
use crate::numbers::{ArmNumbers, Base, Numbers, TaskName};

pub use super::comparison::THRESHOLD;

const SECTION: &str = "3.6";
/// The paper's sizes.
pub const BATCHES: [u32; 4] = [8, 16, 32, 64];
/// The limit of what the DNC tolerates.
pub const LIMIT: u32 = 8;

/// The verdict on one task; `None` but of section 3.6.
#[must_use]
pub fn judge(numbers: &Numbers) -> Option<Finding> {
    if numbers.section != SECTION {
        return None;
    }
    let mut case = Case::new(Claim::C11, numbers);
    let sweeps = VARIANTS.map(|base| sweep(&mut case, base));
    for (base, sweep) in VARIANTS.into_iter().zip(&sweeps) {
        trend(&mut case, base, sweep.as_deref());
    }
    let batches = batches();
    if numbers.task != TaskName::Dnc {
        return Some(case.finding(&format!(
            "for each L4 variant a trend of the log of the final loss over log2 of the batch, {batches}, that is positive (95 % \
             interval over seeds above 0)"
        )));
    }
    limit(&mut case, &sweeps);
    Some(case.finding(&format!(
        "for each L4 variant a trend of the log of the examples until the loss is below {THRESHOLD:e} for good over log2 of the batch, \
         {batches}, that is positive (95 % interval over seeds above 0), and runs that diverge with batch {LIMIT} and none with a \
         larger one"
    )))
}

/// The [`BATCHES`], in words.
fn batches() -> String {
    words::list(&BATCHES.map(|batch| batch.to_string()))
}

/// The runs of a variant with a batch.
struct Batch<'n> {
    task: TaskName,
    size: u32,
    runs: Vec<Trace<'n>>,
}

impl Batch<'_> {
    /// The logarithm of what should rise with the batch.
    fn height(&self, run: &Trace<'_>) -> Option<f64> {
        let floor = floor(self.task);
        match self.task {
            TaskName::Dnc => {
                Some(Measure::StepsToThreshold.log10(run, floor)? + f64::from(self.size).log10())
            }
            _ => Measure::FinalLoss.log10(run, floor),
        }
    }
}

/// All batches of a variant. On the DNC a run is taken as far as it goes, as its length in steps depends on the batch.
fn sweep<'n>(case: &mut Case<'n>, base: Base) -> Option<Vec<Batch<'n>>> {
    let numbers = case.numbers;
    let task = numbers.task;
    let batches = BATCHES.map(|size| {
        let of = |arm: &&ArmNumbers| {
            arm.role == l4(base) && arm.setting("batch") == Some(f64::from(size))
        };
        let arm = case.compares(main_arms(numbers).find(of), || {
            format!("{} with batch {size}", name(l4(base)))
        })?;
        let runs = match task {
            TaskName::Dnc => whole_traces(arm),
            _ => traces(numbers, arm),
        };
        Some(Batch { task, size, runs })
    });
    batches.into_iter().collect()
}

fn trend(case: &mut Case<'_>, base: Base, sweep: Option<&[Batch<'_>]>) {
    let variant = name(l4(base));
    let what = format!("smaller batches help {variant}");
    let Some(sweep) = sweep else {
        case.part_without_arms(what);
        return;
    };
    let Some(slope) = rise(sweep) else {
        case.part(what, None, "no seed was run with all batches");
        return;
    };
    let heights = sweep.iter().map(|batch| {
        let logs = batch.runs.iter().filter_map(|run| batch.height(run));
        mean(&logs.collect::<Vec<_>>()).map_or(f64::NAN, |mean| 10_f64.powf(mean))
    });
    let heights: Vec<f64> = heights.collect();
    let factor = slope.from_log10();
    case.measure(format!("growth_a_doubling_{variant}"), &factor);
    case.measured.insert(
        format!("geometric_means_{variant}"),
        words::values(heights.iter().copied()),
    );
    let named: Vec<String> = sweep
        .iter()
        .zip(&heights)
        .map(|(batch, height)| format!("{} with batch {}", words::number(*height), batch.size))
        .collect();
    let evidence = format!(
        "geometric means of {}: {}; a doubling of the batch multiplies it by {}",
        match case.numbers.task {
            TaskName::Dnc => "the examples to the threshold".to_owned(),
            _ => format!("the {}", Measure::FinalLoss.words()),
        },
        named.join(", "),
        words::estimate(&factor)
    );
    case.part(what, slope.is_above(0.0), evidence);
    remark_neighbours(case, &variant, sweep);
    remark_without_largest(case, &variant, sweep);
}

/// What each doubling does by itself: a trend may turn on the way.
fn remark_neighbours(case: &mut Case<'_>, variant: &str, sweep: &[Batch<'_>]) {
    let mut neighbours = Vec::new();
    for pair in sweep.windows(2) {
        let [small, large] = pair else { continue };
        let growth = small.runs.iter().filter_map(|run| {
            let other = large.runs.iter().find(|other| other.seed() == run.seed())?;
            Some(difference(large.height(other)?, small.height(run)?))
        });
        if let Some(growth) = rising(&growth.collect::<Vec<_>>()) {
            let factor = growth.from_log10();
            let (from, to) = (small.size, large.size);
            case.measure(format!("growth_{variant}_{from}_to_{to}"), &factor);
            neighbours.push(format!("from {from} to {to} {}", words::estimate(&factor)));
        }
    }
    case.remark(format!(
        "{variant}, batch by batch: {}",
        words::list(&neighbours)
    ));
}

/// The trend without the largest batch, which may make it alone.
fn remark_without_largest(case: &mut Case<'_>, variant: &str, sweep: &[Batch<'_>]) {
    if let Some((largest, smaller)) = sweep.split_last()
        && let Some(slope) = rise(smaller)
    {
        let factor = slope.from_log10();
        case.measure(
            format!("growth_a_doubling_without_largest_{variant}"),
            &factor,
        );
        case.remark(format!(
            "Without batch {} a doubling multiplies {variant}'s by {}",
            largest.size,
            words::estimate(&factor)
        ));
    }
}

/// The slope by seed of what should rise over the log2 of the batch.
fn rise(sweep: &[Batch<'_>]) -> Option<Estimate> {
    let of_seed = |seed: u64| {
        let point = |batch: &Batch<'_>| {
            let run = batch.runs.iter().find(|run| run.seed() == seed)?;
            Some((f64::from(batch.size).log2(), batch.height(run)?))
        };
        slope(&sweep.iter().map(point).collect::<Option<Vec<_>>>()?)
    };
    let seeds = sweep.first()?.runs.iter().map(Trace::seed);
    rising(&seeds.filter_map(of_seed).collect::<Vec<_>>())
}

/// The sweeps of both variants, where all their batches were run.
type Sweeps<'n> = [Option<Vec<Batch<'n>>>; 2];

/// The runs of both variants with a batch.
fn runs_with<'s, 'n>(sweeps: &'s Sweeps<'n>, size: u32) -> impl Iterator<Item = &'s Trace<'n>> {
    let batches = sweeps.iter().flatten().flatten();
    let batches = batches.filter(move |batch| batch.size == size);
    batches.flat_map(|batch| &batch.runs)
}

fn limit(case: &mut Case<'_>, sweeps: &Sweeps<'_>) {
    let what = format!("batch {LIMIT} is the limit");
    let counts = BATCHES.map(|size| {
        let diverged = runs_with(sweeps, size).filter(|run| run.diverged());
        (size, diverged.count(), runs_with(sweeps, size).count())
    });
    let holds = counts
        .iter()
        .all(|(size, diverged, _)| (*size == LIMIT) == (*diverged > 0));
    let named: Vec<String> = counts
        .iter()
        .map(|(size, diverged, runs)| format!("{diverged} of {runs} with batch {size}"))
        .collect();
    case.measured.insert(
        "diverged".to_owned(),
        words::values(counts.iter().map(|(_, diverged, _)| *diverged as f64)),
    );
    let decided = sweeps.iter().all(Option::is_some);
    case.part(
        what,
        decided.then_some(holds),
        format!("runs of both variants that diverged: {}", named.join(", ")),
    );
    remark_worst(case, sweeps);
    for (base, sweep) in VARIANTS.into_iter().zip(sweeps) {
        remark_spikes(case, base, sweep.as_deref().unwrap_or_default());
    }
}

/// How unstable a variant is with each batch, by the spikes of C6.
fn remark_spikes(case: &mut Case<'_>, base: Base, sweep: &[Batch<'_>]) {
    let variant = name(l4(base));
    let counts: Vec<usize> = sweep
        .iter()
        .map(|batch| batch.runs.iter().map(Trace::spikes).sum())
        .collect();
    if counts.is_empty() {
        return;
    }
    case.measured.insert(
        format!("spikes_{variant}"),
        words::values(counts.iter().map(|spikes| *spikes as f64)),
    );
    case.remark(format!(
        "Spikes of all runs of {variant}, as in C6, with batches {}: {}",
        batches(),
        words::list(&counts.iter().map(usize::to_string).collect::<Vec<_>>())
    ));
}

/// How badly the worst run ends with each batch: clipped logits keep the loss of a network that was lost finite.
fn remark_worst(case: &mut Case<'_>, sweeps: &Sweeps<'_>) {
    let ends = |size| runs_with(sweeps, size).filter_map(Trace::final_loss);
    let worst = BATCHES.map(|size| ends(size).reduce(f64::max));
    let worst: Vec<f64> = worst.into_iter().flatten().collect();
    if worst.len() < BATCHES.len() {
        return;
    }
    case.measured.insert(
        "worst_ends".to_owned(),
        words::values(worst.iter().copied()),
    );
    case.remark(format!(
        "Diverged is a run whose loss is not finite, which the clipped logits make rare; the greatest final losses with batches {} are {}",
        batches(),
        words::list(&worst.into_iter().map(words::number).collect::<Vec<_>>())
    ));
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::made_up::{Arm, Run, judged, numbers};
    use super::*;

    /// Three seeds of each batch, whose losses end at `of(batch, seed)`.
    fn mnist(l4_adam: fn(u32, u64) -> f64) -> Numbers {
        let arm = |arm: fn() -> Arm, of: fn(u32, u64) -> f64| {
            BATCHES.map(|batch| {
                let run = |seed| Run::losses(1.., [of(batch, seed); 30]);
                arm().set("batch", batch).runs((0..3).map(run))
            })
        };
        let rising = |batch, seed| f64::from(batch) * (1.0 + seed as f64 / 10.0);
        numbers(
            "3.6",
            TaskName::Mnist,
            [arm(Arm::l4_adam, l4_adam), arm(Arm::l4_mom, rising)]
                .into_iter()
                .flatten(),
        )
    }

    #[test]
    fn on_mnist_the_loss_rises_with_the_batch() {
        let parts = |of| judged(judge(&mnist(of)));
        assert_eq!(parts(|batch, _| f64::from(batch).sqrt()), "++");
        assert_eq!(parts(|_, _| 1.0), "-+");
        let by_the_largest = |batch, _| {
            if batch == 64 {
                10.0
            } else {
                1.0 / f64::from(batch)
            }
        };
        let finding = judge(&mnist(by_the_largest)).unwrap();
        assert_eq!(judged(Some(finding.clone())), "++");
        let words = "Without batch 64 a doubling multiplies L4Adam's by 0.5000 (95 % interval 0.5000 to 0.5000";
        assert!(finding.evidence.contains(words), "{}", finding.evidence);
        assert_eq!(parts(|batch, _| 1.0 / f64::from(batch)), "-+");
        assert_eq!(
            parts(|batch, seed| if seed == 0 {
                1.0 / f64::from(batch)
            } else {
                f64::from(batch)
            }),
            "-+",
            "not in every seed"
        );
        assert_eq!(
            parts(|batch, seed| if batch == 16 {
                1.2
            } else {
                f64::from(batch) + seed as f64 / 10.0
            }),
            "++",
            "a trend only"
        );
        assert_eq!(
            parts(|batch, _| f64::from(batch) * 1e-10),
            "-+",
            "all on the floor"
        );
    }

    #[test]
    fn all_batches_are_compared() {
        let mut numbers = mnist(|batch, _| f64::from(batch));
        numbers.arms.remove(2);
        let finding = judge(&numbers).unwrap();
        assert_eq!(finding.verdict, Verdict::Untested);
        assert!(
            finding.evidence.contains("no L4Adam with batch 32"),
            "{}",
            finding.evidence
        );
    }

    /// Below the threshold after so many examples for each batch; the runs with `diverging` batches do diverge.
    fn dnc(examples: [u32; 4], diverging: &[u32]) -> Numbers {
        let arm = |arm: fn() -> Arm| {
            BATCHES
                .into_iter()
                .zip(examples)
                .map(move |(batch, examples)| {
                    let loss = move |step: u32| if step * batch < examples { 1.0 } else { 1e-4 };
                    let run = Run::losses(1.., (1..=12_800 / batch).map(loss));
                    let run = |seed| match (diverging.contains(&batch), seed) {
                        (true, 2) => run.clone().diverged(3),
                        _ => run.clone(),
                    };
                    arm().set("batch", batch).runs((0..3).map(run))
                })
        };
        let arms: Vec<Arm> = arm(Arm::l4_mom).chain(arm(Arm::l4_adam)).collect();
        let mut numbers = numbers("3.6", TaskName::Dnc, arms);
        (numbers.length, numbers.paper_length) = (800, 800);
        numbers
    }

    #[test]
    fn on_the_dnc_examples_count_and_not_steps() {
        let parts = |examples| judged(judge(&dnc(examples, &[])));
        assert_eq!(parts([640, 1280, 2560, 5120]), "++-");
        assert_eq!(
            parts([640, 640, 640, 640]),
            "---",
            "fewer steps and as many examples"
        );
        assert_eq!(
            parts([640, 1280, 2560, 20_000]),
            "++-",
            "never, with the largest batch"
        );
        assert_eq!(
            parts([20_000, 1280, 2560, 5120]),
            "---",
            "never, with the smallest"
        );
    }

    #[test]
    fn a_batch_that_never_gets_there_counts_against_the_claim_between_neighbours_too() {
        let mut numbers = dnc([640, 1280, 2560, 5120], &[]);
        // One of L4Adam's runs with batch 64 is lost: it does not bear out more than the other two.
        let largest = numbers
            .arms
            .iter_mut()
            .rfind(|arm| arm.setting("batch") == Some(64.0));
        largest.unwrap().runs[0].diverged_at = Some(3);
        let evidence = judge(&numbers).unwrap().evidence;
        assert!(
            evidence.contains(
                "and from 32 to 64 2.000 (95 % interval 2.000 to 2.000, n = 3; 1 of them"
            ),
            "{evidence}"
        );
    }

    #[test]
    fn batch_8_is_the_limit_if_only_its_runs_diverge() {
        let limit = |diverging: &[u32]| judged(judge(&dnc([640; 4], diverging))).pop();
        assert_eq!(limit(&[8]), Some('+'));
        assert_eq!(limit(&[]), Some('-'));
        assert_eq!(limit(&[8, 16]), Some('-'));
        assert_eq!(limit(&[64]), Some('-'));
    }

    #[test]
    fn the_worst_end_with_each_batch_is_told() {
        let evidence = judge(&dnc([640; 4], &[32])).unwrap().evidence;
        let words = "greatest final losses with batches 8, 16, 32 and 64 are 1.000×10⁻⁴, 1.000×10⁻⁴, infinite and 1.000×10⁻⁴";
        assert!(evidence.contains(words), "{evidence}");
    }

    #[test]
    fn neighbouring_batches_are_compared_and_spikes_are_counted() {
        let evidence = judge(&mnist(
            |batch, _| if batch == 8 { 64.0 } else { f64::from(batch) },
        ))
        .unwrap()
        .evidence;
        let words = "L4Adam, batch by batch: from 8 to 16 0.2500 (95 % interval 0.2500 to 0.2500";
        assert!(evidence.contains(words), "{evidence}");
        let mut numbers = dnc([640; 4], &[]);
        for arm in numbers
            .arms
            .iter_mut()
            .filter(|arm| arm.setting("batch") == Some(64.0))
        {
            arm.runs[1].metrics["loss"].values[20] = 1.0;
        }
        let evidence = judge(&numbers).unwrap().evidence;
        let words =
            "Spikes of all runs of L4Mom, as in C6, with batches 8, 16, 32 and 64: 0, 0, 0 and 1";
        assert!(evidence.contains(words), "{evidence}");
    }
}
