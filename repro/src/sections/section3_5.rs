//! Section 3.5, a convolutional network on Fashion-MNIST: Figure 7, Table 4.

use datasets::Dataset;

use super::{LOSS, Network, Part, RATE, Section, Show, TableColumn, Task, Unit, What, arm, size};
use crate::cli::Preset;
use crate::methods::Kind;

/// The dropout to which the paper raises it.
const RAISED: f64 = 0.5;

/// The section.
pub static SECTION: Section = Section {
    number: "3.5",
    binary: "section3_5",
    about: "Section 3.5, a convolutional network on Fashion-MNIST: Figure 7 (training loss), Table 4 (test accuracy), and the \
            claims they bear on. L4Adam and L4Mom run at the default alpha with dropout 0.4 and 0.5; Adam and mSGD at the rates \
            of Table 1 and, marked by a star, at the best that `tune` found, with dropout 0.4.",
    parts: &[Part {
        name: "Fashion-MNIST",
        task: Task::Images {
            data: Dataset::FashionMnist,
            network: Network::ConvNet,
            batch: 100,
        },
        unit: Unit::Epochs,
        sizes: &[
            size(Preset::Smoke, 1, 2),
            size(Preset::Quick, 1, 1),
            size(Preset::Reduced, 3, 15),
            size(Preset::Paper, 5, 40),
        ],
        arms: &[
            arm("L4Adam (dropout 0.5)", Kind::L4Adam).dropout(RAISED),
            arm("L4Mom (dropout 0.5)", Kind::L4Mom).dropout(RAISED),
            arm("L4Adam", Kind::L4Adam),
            arm("L4Mom", Kind::L4Mom),
            arm("Adam*", Kind::Adam).searched(),
            arm("mSGD*", Kind::Momentum).searched(),
            arm("Adam", Kind::Adam).at(0.0003),
            arm("mSGD", Kind::Momentum).at(0.01),
        ],
        shows: &[
            Show::Figure {
                id: "figure7",
                title: "Training of a convolutional network on Fashion-MNIST, by tenths of an epoch: (a) the mean loss over all \
                        runs, with dropout 0.4 unless the legend says otherwise; (b) median and range of the effective learning \
                        rate in the run with seed 0",
                panels: &[LOSS, RATE],
            },
            Show::Table {
                id: "table4",
                title: "Test accuracy of a convolutional network on Fashion-MNIST",
                columns: &[
                    TableColumn {
                        key: "dropout",
                        title: "Dropout",
                        unit: None,
                        what: What::Setting("dropout"),
                    },
                    TableColumn {
                        key: "test_accuracy",
                        title: "Test accuracy after {length}",
                        unit: Some("%"),
                        what: What::AtEnd("test_accuracy"),
                    },
                    TableColumn {
                        key: "loss",
                        title: "Mean training loss of the last epoch",
                        unit: None,
                        what: What::AtEnd("stage_loss"),
                    },
                ],
            },
        ],
        deviations: &[
            "The value to which the paper raises the dropout rate from the network's 0.4 is lost in our copy of its text; 0.5 is \
             our reading.",
            "The paper does not say how many runs it made here; 5 for the whole is our choice.",
        ],
    }],
    default: Preset::Quick,
    extra: None,
};
