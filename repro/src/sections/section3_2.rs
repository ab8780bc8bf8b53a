//! Section 3.2, digit recognition on MNIST: Figure 3, Table 3.

use datasets::Dataset;

use super::{LOSS, Network, Part, RATE, Section, Show, TableColumn, Task, Unit, What, arm, size};
use crate::cli::Preset;
use crate::methods::Kind;

/// Where the best α finds a loss of exactly 0 on every minibatch: beyond the paper's Table 3.
pub(super) const EXACTLY_ZERO: u64 = 50;

/// Test accuracies after so many epochs.
const fn after(key: &'static str, title: &'static str, epochs: u64) -> TableColumn {
    TableColumn {
        key,
        title,
        unit: Some("%"),
        what: What::After(epochs, "test_accuracy"),
    }
}

/// The section.
pub static SECTION: Section = Section {
    number: "3.2",
    binary: "section3_2",
    about: "Section 3.2, digit recognition on MNIST: Figure 3 (training loss and effective learning rate), Table 3 (test \
            accuracy), and the claims they bear on. L4Adam and L4Mom run at the default alpha; a star marks the best rate or \
            alpha that `tune` found; mSGD, Adam and SGD run at the rates of Table 1 too.",
    parts: &[Part {
        name: "MNIST",
        task: Task::Images {
            data: Dataset::Mnist,
            network: Network::Mlp,
            batch: 64,
        },
        unit: Unit::Epochs,
        sizes: &[
            size(Preset::Smoke, 2, 2),
            size(Preset::Quick, 2, 6),
            size(Preset::Paper, 5, 30),
        ],
        arms: &[
            arm("mSGD*", Kind::Momentum).searched(),
            arm("Adam*", Kind::Adam).searched(),
            arm("L4Adam", Kind::L4Adam).extended(EXACTLY_ZERO),
            arm("L4Adam*", Kind::L4Adam)
                .searched()
                .extended(EXACTLY_ZERO),
            arm("L4Mom", Kind::L4Mom),
            arm("L4Mom*", Kind::L4Mom).searched(),
            arm("SGD*", Kind::Sgd).searched(),
            arm("mSGD", Kind::Momentum).at(0.05),
            arm("Adam", Kind::Adam).at(0.001),
            arm("SGD", Kind::Sgd).at(0.7),
        ],
        shows: &[
            Show::Figure {
                id: "figure3",
                title: "Training on MNIST, by tenths of an epoch: (a) the mean loss over all runs; (b) median and range of the \
                        effective learning rate in the run with seed 0",
                panels: &[LOSS, RATE],
            },
            Show::Table {
                id: "table3",
                title: "Test accuracy on MNIST",
                columns: &[
                    after("epochs_1", "1 epoch", 1),
                    after("epochs_10", "10 epochs", 10),
                    TableColumn {
                        key: "last",
                        title: "{length}",
                        unit: Some("%"),
                        what: What::AtEnd("test_accuracy"),
                    },
                ],
            },
        ],
        deviations: &[
            "Trained on all 60,000 training images. The authors' notebook drew from 55,000, as TensorFlow's loader held 5,000 \
             back, and still counted 937 steps of 64 as an epoch.",
        ],
    }],
    default: Preset::Quick,
    extra: None,
};
