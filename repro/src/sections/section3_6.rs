//! Section 3.6, sweeping over batch sizes: Figure 8, on MNIST, and Figure 9, on the DNC.

use datasets::Dataset;

use super::{Arm, LOSS, Network, Panel, Part, Section, Show, Task, Unit, arm, size};
use crate::cli::Preset;
use crate::methods::Kind;

/// The sweep, of both tasks. The last is section 3.2's batch.
const ARMS: &[Arm] = &[
    arm("L4Adam, batch 8", Kind::L4Adam).batch(8),
    arm("L4Adam, batch 16", Kind::L4Adam).batch(16),
    arm("L4Adam, batch 32", Kind::L4Adam).batch(32),
    arm("L4Adam, batch 64", Kind::L4Adam).batch(64),
    arm("L4Mom, batch 8", Kind::L4Mom).batch(8),
    arm("L4Mom, batch 16", Kind::L4Mom).batch(16),
    arm("L4Mom, batch 32", Kind::L4Mom).batch(32),
    arm("L4Mom, batch 64", Kind::L4Mom).batch(64),
];

/// A panel for each method.
const PANELS: &[Panel] = &[
    Panel {
        title: "L4Adam",
        of: |arm| matches!(arm.kind, Kind::L4Adam),
        ..LOSS
    },
    Panel {
        title: "L4Mom",
        of: |arm| matches!(arm.kind, Kind::L4Mom),
        ..LOSS
    },
];

/// The section.
pub static SECTION: Section = Section {
    number: "3.6",
    binary: "section3_6",
    about: "Section 3.6, sweeping over batch sizes: training loss of L4Adam and L4Mom at their default alpha with batches of 8, \
            16, 32 and 64, against the examples processed, on MNIST (Figure 8) and with the DNC on repeat-copy (Figure 9), and \
            what that bears on claim C11.",
    parts: &[
        Part {
            name: "MNIST",
            task: Task::Images {
                data: Dataset::Mnist,
                network: Network::Mlp,
                batch: 64,
            },
            unit: Unit::Epochs,
            sizes: &[
                size(Preset::Smoke, 2, 2),
                size(Preset::Quick, 1, 3),
                size(Preset::Paper, 5, 10),
            ],
            arms: ARMS,
            shows: &[Show::Figure {
                id: "figure8",
                title: "Training on MNIST with batches of different sizes: mean loss over tenths of an epoch, which is 60,000 \
                        examples for all",
                panels: PANELS,
            }],
            deviations: &[
                "MNIST: trained on all 60,000 training images; the authors' notebook drew from 55,000.",
                "MNIST: the paper says neither how many examples it processed nor how many runs it made: the 600,000 examples, 10 \
                 epochs, and 5 runs of `--preset paper` are our choice.",
            ],
        },
        Part {
            name: "DNC",
            task: Task::RepeatCopy { batch: 16 },
            unit: Unit::Sequences,
            sizes: &[
                size(Preset::Smoke, 2, 4_800),
                size(Preset::Quick, 1, 160_000),
                size(Preset::Paper, 5, 640_000),
            ],
            arms: ARMS,
            shows: &[Show::Figure {
                id: "figure9",
                title: "Training the DNC on repeat-copy with batches of different sizes: mean loss over windows of 1,600 sequences",
                panels: PANELS,
            }],
            deviations: &[
                "DNC: the paper says neither how many sequences it processed nor how many runs it made: the 640,000 sequences, as \
                 many as in section 3.4, and 5 runs of `--preset paper` are our choice.",
            ],
        },
    ],
    default: Preset::Quick,
    extra: None,
};
