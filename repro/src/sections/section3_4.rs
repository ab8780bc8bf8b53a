//! Section 3.4, the differentiable neural computer on the repeat-copy task: Figure 6.

use anyhow::{Context, Result, bail};

use super::{LOSS, Panel, Part, RATE, Section, Show, TableColumn, Task, Unit, What, arm, size};
use crate::cli::{self, Execution, Preset};
use crate::engine::experiment::Experiment;
use crate::engine::run::RunResult;
use crate::engine::runner::Runner;
use crate::methods::{Kind, Method};
use crate::tasks::{Training, Workload, repeat_copy};

/// The bound on the gradient's global norm for methods with a constant rate: DeepMind's code has it, and the paper.
pub(super) const MAX_NORM: f64 = 50.0;
/// The paper's batch size.
const BATCH: usize = 16;

const fn right(key: &'static str, title: &'static str) -> TableColumn {
    TableColumn {
        key,
        title,
        unit: Some("%"),
        what: What::AtEnd(key),
    }
}

/// Figure 6(b) has plain Adam's rate, a constant, beside L4's.
const RATES: Panel = Panel {
    of: |arm| (RATE.of)(arm) || arm.name == "Adam",
    ..RATE
};

/// The section.
pub static SECTION: Section = Section {
    number: "3.4",
    binary: "section3_4",
    about: "Section 3.4, the differentiable neural computer on repeat-copy: Figure 6 (training loss and effective learning rate), \
            a table of the sequences that trained networks reproduce without a bit error, and the claims they bear on. RMSProp \
            runs at the rate of DeepMind's code, Adam and mSGD at those of Table 1, and all three, marked by a star, at the best \
            that `tune` found, with gradients clipped to a norm of 50; L4Adam and L4Mom at the default alpha, without clipping. With \
            --show it prints instead what a trained network makes of examples.",
    parts: &[Part {
        name: "DNC",
        task: Task::RepeatCopy { batch: BATCH },
        unit: Unit::Steps,
        sizes: &[
            size(Preset::Smoke, 2, 250),
            size(Preset::Quick, 2, 10_000),
            size(Preset::Paper, 5, 40_000),
        ],
        arms: &[
            arm("RMSProp*", Kind::RmsProp).searched().clipped(MAX_NORM),
            arm("Adam*", Kind::Adam).searched().clipped(MAX_NORM),
            arm("mSGD*", Kind::Momentum).searched().clipped(MAX_NORM),
            arm("L4Adam", Kind::L4Adam),
            arm("L4Mom", Kind::L4Mom),
            arm("RMSProp", Kind::RmsProp).at(1e-4).clipped(MAX_NORM),
            arm("Adam", Kind::Adam).at(0.01).clipped(MAX_NORM),
            arm("mSGD", Kind::Momentum).at(1.2).clipped(MAX_NORM),
        ],
        shows: &[
            Show::Figure {
                id: "figure6",
                title: "Training the DNC on repeat-copy, by windows of 100 steps: (a) the mean loss over all runs; (b) median and \
                        range of the effective learning rate in the run with seed 0",
                panels: &[LOSS, RATES],
            },
            Show::Table {
                id: "repeat_copy",
                title: "Repeat-copy sequences that trained DNCs reproduce without a bit error, of 1,024 each",
                columns: &[
                    right("right", "As trained on"),
                    right("right_longer", "Longer"),
                    right("right_more_repeats", "More repeats"),
                    right("right_longer_more_repeats", "Longer, more repeats"),
                ],
            },
        ],
        deviations: &[
            "The paper says neither for how many steps it trained nor, in the text that is left of it, which rate it tuned RMSProp \
             to: 40,000 steps, after which the best methods have reproduced every sequence for long, and the rate of RMSProp*, the \
             best of our search, are our choice.",
        ],
    }],
    default: Preset::Quick,
    extra: None,
};

/// Prints what a DNC trained by L4Adam, that of the run with seed 0, makes of an example of each kind of sequences. It is trained
/// first unless that run is in the output directory already.
///
/// # Errors
/// If the run fails or standard output cannot be written.
pub fn show(execution: &Execution, steps: u64) -> Result<()> {
    let setting = repeat_copy::Setting {
        batch: BATCH,
        steps,
        padded: false,
    };
    let alpha = Method::default_alpha(Kind::L4Adam).context("it has no α")?;
    let method = Method::new(Kind::L4Adam, alpha);
    let runner = Runner::open(execution.whole(SECTION.binary)?)?;
    let planned = Workload::RepeatCopy(setting).plan(method, 0)?.here();
    let results = runner.run(std::slice::from_ref(&planned))?;
    if let Some(step) = results.first().and_then(RunResult::diverged_at) {
        bail!("the run diverged in step {step}: it leaves no trained network to show");
    }
    let mut training = Training::new(setting.problem(0)?, method, setting.course())?;
    training.load(&runner.final_checkpoint(&planned)?)?;
    Ok(cli::print(&training.problem().show()?)?)
}
