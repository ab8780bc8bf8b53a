//! Section 3.3, a residual network on CIFAR-10: Figures 4 and 5.

use anyhow::{Context, Result};
use datasets::Dataset;
use paper_figures::number;

use super::{
    LOSS, Network, Outcome, Panel, Part, RATE, Section, Show, Size, Task, Unit, arm, size,
};
use crate::cli::Preset;
use crate::judge::words;
use crate::methods::{DROPS, EPOCHS, HEAVY_BALL, Kind};
use crate::report::Report;
use crate::results::{Axes, Axis, Figure};

const TEST_ACCURACY: Panel = Panel {
    title: "Test accuracy",
    metric: "test_accuracy",
    y: "test accuracy [%]",
    log: false,
    ..LOSS
};

/// The section.
pub static SECTION: Section = Section {
    number: "3.3",
    binary: "section3_3",
    about: "Section 3.3, ResNet-32 on CIFAR-10: Figure 4 (effective learning rates), Figure 5 (training loss and test accuracy), \
            and the claims they bear on. The default policy is the hand-made schedule of the network's authors; L4Adam and L4Mom \
            run at the default alpha, mSGD and Adam at the rates of Table 1 and, marked by a star, at the best that `tune` found.",
    parts: &[Part {
        name: "CIFAR-10",
        task: Task::Images {
            data: Dataset::Cifar10,
            network: Network::ResNet,
            batch: 128,
        },
        unit: Unit::Epochs,
        sizes: &[
            size(Preset::Smoke, 1, 2),
            Size {
                examples: Some(50 * 128),
                ..size(Preset::Quick, 1, 2)
            },
            size(Preset::Reduced, 1, 12),
            size(Preset::Paper, 3, 250),
        ],
        arms: &[
            arm("default policy", Kind::Momentum).policy(0.1),
            arm("mSGD*", Kind::Momentum).searched(),
            arm("Adam*", Kind::Adam).searched(),
            arm("L4Adam", Kind::L4Adam),
            arm("L4Mom", Kind::L4Mom),
            arm("mSGD", Kind::Momentum).at(0.004),
            arm("Adam", Kind::Adam).at(0.0002),
        ],
        shows: &[
            Show::Own(figure4),
            Show::Figure {
                id: "figure5",
                title: "Training of ResNet-32 on CIFAR-10: (a) mean loss over tenths of an epoch, with the L2 penalty; (b) test \
                        accuracy after each epoch, by batch normalisation's running statistics; (c) the same by statistics that \
                        20 training batches give with the weights as they are",
                panels: &[
                    LOSS,
                    TEST_ACCURACY,
                    Panel {
                        title: "Test accuracy, statistics estimated anew",
                        metric: "reestimated_test_accuracy",
                        ..TEST_ACCURACY
                    },
                ],
            },
        ],
        deviations: &[
            "The paper does not say how many runs it made here; 3 for the whole is our choice, the fewest by which a verdict is not called reduced.",
            "Of the settings that the shorter search tried only the best is run here, beside that of Table 1, and not the two best.",
        ],
    }],
    default: Preset::Quick,
    extra: None,
};

/// Figure 4, with the default policy's rates once more, as those of an averaged gradient that makes the same steps.
fn figure4(outcome: &Outcome<'_>, report: &mut Report) -> Result<()> {
    let mut series = Vec::new();
    for arm in outcome
        .arms
        .iter()
        .filter(|arm| (RATE.of)(arm.resolved.arm))
    {
        let rates = outcome
            .series(arm, "a", &RATE)?
            .context("a run has no rates")?;
        if arm.name() == "default policy" {
            let mut averaged = rates.clone();
            averaged.method += " (×10)";
            let edges = [&mut averaged.mean, &mut averaged.low, &mut averaged.high];
            edges
                .into_iter()
                .flatten()
                .for_each(|rate| *rate *= HEAVY_BALL);
            series.push(averaged);
        }
        series.push(rates);
    }
    let drops = DROPS.map(|epoch| outcome.size.length as f64 * epoch as f64 / EPOCHS as f64);
    let title = format!(
        "Effective learning rates of ResNet-32 on CIFAR-10 in the run with seed 0: median and range over tenths of an epoch. The \
         default policy is a heavy ball's rate, which falls tenfold after epochs {}, the same parts of the run as in the paper; ten \
         times it (×10) is the rate at which an averaged gradient, as L4Mom's, makes steps of the same size",
        words::list(&drops.map(number::exact))
    );
    Ok(report.figure(&Figure {
        header: report.header("figure4", &title),
        axes: vec![Axes {
            panel: "a".to_owned(),
            title: RATE.title.to_owned(),
            x: Axis::linear(Unit::Epochs.axis()),
            y: Axis::log(RATE.y),
        }],
        series,
    })?)
}
