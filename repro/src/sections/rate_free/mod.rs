//! Today's rate-free methods beside L4 and the tuned baselines, on the tasks of sections 3.1, 3.2, 3.4 and 3.5: beyond the paper.
//!
//! No claim of the paper is judged by it. What is concluded, `standing.rs` concludes from the numbers alone.

mod methods;
mod standing;
mod tables;

use std::process::ExitCode;

use anyhow::Result;

use super::{
    Arguments, Arm, LOSS, Made, Panel, Part, Section, Show, Size, arm, make, parse, section3_1,
    section3_2, section3_4, section3_5, size,
};
use crate::cli::{self, Preset};
use crate::methods::Kind;
use crate::numbers::Base;

/// How many there are: ten of today, two of L4, two baselines.
const METHODS: usize = 14;

const ADAM: Arm = arm("Adam*", Kind::Adam).searched();
const MOMENTUM: Arm = arm("mSGD*", Kind::Momentum).searched();
const L4_ADAM: Arm = arm("L4Adam", Kind::L4Adam);

/// All methods, with those whose runs other sections have as they have them there.
const fn methods(adam: Arm, momentum: Arm, l4_adam: Arm) -> [Arm; METHODS] {
    [
        momentum,
        adam,
        l4_adam,
        arm("L4Mom", Kind::L4Mom),
        arm("SPS_max", Kind::SpsMax),
        arm("ALI-G", Kind::AliG),
        arm("MoMo", Kind::Momo),
        arm("DoG", Kind::Dog),
        arm("MoMo-Adam", Kind::MomoAdam),
        arm("D-Adaptation", Kind::DAdaptAdam),
        arm("Prodigy", Kind::Prodigy),
        arm("schedule-free AdamW", Kind::ScheduleFreeAdamW),
        arm("ScheduleFree+", Kind::ScheduleFreePlus),
        arm("Mechanic", Kind::Mechanic),
    ]
}

/// Losses above so many times a run's first are drawn there.
const CEILING: f64 = 10.0;

/// Losses of the methods that move along gradients or their averages, and of those that move as Adam does.
const PANELS: [Panel; 2] = [
    Panel {
        title: "Along the gradient or its average",
        ceiling: Some(CEILING),
        of: |arm| arm.kind.base() != Base::Adam,
        ..LOSS
    },
    Panel {
        title: "As Adam moves",
        ceiling: Some(CEILING),
        of: |arm| arm.kind.base() == Base::Adam,
        ..LOSS
    },
];

const fn losses(id: &'static str, title: &'static str) -> Show {
    Show::Figure {
        id,
        title,
        panels: &PANELS,
    }
}

/// The section.
pub static SECTION: Section = Section {
    number: "rate_free",
    binary: "rate_free",
    about: "Today's rate-free methods beside L4, beyond the paper: ten methods untuned, L4Adam and L4Mom at the \
            default alpha, and Adam and mSGD at the best rates that `tune` found (marked by a star), on the tasks of sections 3.1, \
            3.2, 3.4 and 3.5. Writes rate_free.json (losses, accuracies, steps to a threshold, divergences, time of a step), where \
            L4 stands by paired comparisons, a figure of losses a task, and profile.json, the performance profile over the tasks.",
    parts: &[
        Part {
            name: "regression",
            task: section3_1::SECTION.parts[0].task,
            unit: section3_1::SECTION.parts[0].unit,
            sizes: &[
                size(Preset::Smoke, 2, 300),
                size(Preset::Quick, 3, 10_000),
                size(Preset::Reduced, 5, 30_000),
                size(Preset::Paper, 5, 30_000),
            ],
            arms: &methods(ADAM, MOMENTUM, L4_ADAM),
            shows: &[losses(
                "loss_3_1",
                "Today's methods on badly conditioned regression: mean loss over windows of 100 steps, cut at ten times the first",
            )],
            deviations: &[],
        },
        Part {
            name: "MNIST",
            task: section3_2::SECTION.parts[0].task,
            unit: section3_2::SECTION.parts[0].unit,
            sizes: &[
                size(Preset::Smoke, 2, 2),
                size(Preset::Quick, 2, 2),
                size(Preset::Reduced, 5, 30),
                size(Preset::Paper, 5, 30),
            ],
            arms: &methods(ADAM, MOMENTUM, L4_ADAM.extended(section3_2::EXACTLY_ZERO)),
            shows: &[losses(
                "loss_3_2",
                "Today's methods on MNIST: mean training loss over tenths of an epoch, cut at ten times the first",
            )],
            deviations: &[],
        },
        Part {
            name: "DNC",
            task: section3_4::SECTION.parts[0].task,
            unit: section3_4::SECTION.parts[0].unit,
            sizes: &[
                size(Preset::Smoke, 2, 100),
                size(Preset::Quick, 2, 4_000),
                size(Preset::Reduced, 5, 40_000),
                size(Preset::Paper, 5, 40_000),
            ],
            arms: &methods(
                ADAM.clipped(section3_4::MAX_NORM),
                MOMENTUM.clipped(section3_4::MAX_NORM),
                L4_ADAM,
            ),
            shows: &[losses(
                "loss_3_4",
                "Today's methods on repeat-copy by the DNC: mean training loss over windows of 100 steps, cut at ten times the first",
            )],
            deviations: &[
                "DNC: Adam* and mSGD* have their gradients clipped to a norm of 50, as in section 3.4; no other method has.",
            ],
        },
        Part {
            name: "Fashion-MNIST",
            task: section3_5::SECTION.parts[0].task,
            unit: section3_5::SECTION.parts[0].unit,
            sizes: &[
                size(Preset::Smoke, 1, 1),
                Size {
                    examples: Some(60 * 100),
                    ..size(Preset::Quick, 1, 2)
                },
                size(Preset::Paper, 3, 40),
            ],
            arms: &methods(ADAM, MOMENTUM, L4_ADAM),
            shows: &[losses(
                "loss_3_5",
                "Today's methods on Fashion-MNIST by a convolutional network with dropout 0.4: mean training loss over tenths of an \
                 epoch, cut at ten times the first",
            )],
            deviations: &[],
        },
    ],
    default: Preset::Quick,
    extra: None,
};

/// What holds of all of it.
const NOTES: [&str; 4] = [
    "No method is tuned: each of today's has the defaults of its authors' code, but SPS_max their rule with a constant bound, \
     ALI-G their settings for CIFAR, and Mechanic, which goes around another method, Adam at rate 1 with the ε of our Adam, 1e-4; L4 \
     has its default α.",
    "Adam* and mSGD* alone have the best rates of the committed searches, made on other seeds by the final loss, on the DNC by its \
     geometric mean over the run: on MNIST that is not the rate that is soonest below the threshold.",
    "A method that is to be evaluated elsewhere than where its gradient is taken (the table of settings names them) is shown and \
     compared by the losses of the same minibatches there, and tested there. A step's time is without that.",
    "In the table of losses means are arithmetic, so that one run of five can make them; methods are compared by geometric means.",
];

/// The `main` of the binary.
pub fn main() -> ExitCode {
    cli::main(|| run(&parse(&SECTION, std::env::args_os())?))
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    make(&SECTION, arguments, write)
}

fn write(mut made: Made<'_, '_>) -> Result<()> {
    made.deviations.extend(NOTES.map(str::to_owned));
    if made.arguments.finished {
        let text = "The times of steps are those that are committed.";
        made.deviations.push(text.to_owned());
    }
    let mut numbers = made.numbers()?;
    let mut report = made.report()?;
    made.show(&mut report)?;
    report.figure(&tables::profile(&numbers, &report))?;
    // After what needs no times, as it takes long and is not resumed.
    tables::time_steps(&made, &mut numbers)?;
    report.numbers(numbers.clone())?;
    report.table(&tables::results(&numbers, &report))?;
    for table in tables::standings(&numbers, &report) {
        report.table(&table)?;
    }
    report.table(&methods::table(&made.outcomes, &report)?)?;
    report.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::reference_root;
    use crate::searched::Searched;
    use crate::sections::{Choice, Resolved, Task};
    use datasets::{ImageDataset, synthetic};

    /// A part, with the section of the paper that is on its task.
    fn parts() -> impl Iterator<Item = (&'static Part, &'static Section)> {
        let section = |part: &'static Part| Section::of_task(part.task).unwrap();
        SECTION.parts.iter().map(move |part| (part, section(part)))
    }

    #[test]
    fn the_whole_is_as_long_as_the_papers_sections() {
        let numbers: Vec<&str> = parts().map(|(_, section)| section.number).collect();
        assert_eq!(numbers, ["3.1", "3.2", "3.4", "3.5"]);
        for (part, section) in parts() {
            let length = |part: &Part| part.size(Preset::Paper).unwrap().length;
            assert_eq!(length(part), length(&section.parts[0]), "{}", part.name);
        }
    }

    #[test]
    fn all_of_todays_methods_are_run_untuned() {
        for part in SECTION.parts {
            let untuned = part.arms.iter().filter(|arm| arm.kind.knob().is_none());
            let kinds: Vec<Kind> = untuned.map(|arm| arm.kind).collect();
            let all = Kind::ALL.iter().filter(|kind| kind.knob().is_none());
            assert!(all.clone().all(|kind| kinds.contains(kind)) && kinds.len() == all.count());
            let chosen = part.arms.iter().filter(|arm| arm.choice != Choice::Default);
            let names: Vec<&str> = chosen.map(|arm| arm.name).collect();
            assert_eq!(names, ["mSGD*", "Adam*"]);
        }
    }

    /// Their steps are timed from the same weights.
    #[test]
    fn the_methods_of_a_part_train_the_same_network_on_the_same_minibatches() {
        for arm in SECTION.parts.iter().flat_map(|part| part.arms) {
            assert!(arm.batch.is_none() && arm.dropout.is_none(), "{}", arm.name);
            assert!(arm.until_converged.is_none(), "{}", arm.name);
        }
    }

    #[test]
    fn runs_that_the_sections_have_are_the_same_runs() {
        for (part, section) in parts() {
            let data: Option<ImageDataset> = match part.task {
                Task::Images { data, .. } => Some(synthetic::stand_in(data, 200, 100, [0; 32])),
                _ => None,
            };
            let searched = Searched::open(&reference_root(), section.number).unwrap();
            let run = |part: &Part, arm: &'static Arm| {
                let size = part.size(Preset::Paper).unwrap();
                let arm = Resolved::new(arm, part, size, data.as_ref(), 1, &searched).unwrap()?;
                Some(arm.plan(0).unwrap().spec().id())
            };
            let mut shared = 0;
            for theirs in section.parts[0].arms.iter().filter(|arm| arm.is_plain()) {
                let named = |arm: &&Arm| arm.name == theirs.name;
                if let Some(ours) = part.arms.iter().find(named) {
                    let id = run(part, ours);
                    assert!(id.is_some(), "{}: its search is not there", ours.name);
                    assert_eq!(id, run(&section.parts[0], theirs), "{}", ours.name);
                    shared += 1;
                }
            }
            assert_eq!(shared, 4, "{}", part.name);
        }
    }
}
