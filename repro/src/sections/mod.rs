//! The sections of the paper, each a declaration: what is trained, by which methods, how long, what is shown.
//!
//! A [`Section`] has [`Part`]s, most of them one; a part is a task and its [`Arm`]s. [`run()`] trains every arm with every
//! seed, and writes the files.

mod arguments;
mod arms;
mod epsilon;
mod estimate;
mod invariance;
mod made;
mod part;
pub mod rate_free;
mod run;
pub mod section3;
pub mod section3_1;
pub mod section3_2;
pub mod section3_3;
pub mod section3_4;
pub mod section3_5;
pub mod section3_6;
mod show;

pub use arguments::{Arguments, parse};
pub use arms::{Arm, Choice, LMA, arm};
pub use made::Made;
pub use part::{ArmOutcome, Outcome, Resolved};
pub use run::{main, make, run};
pub use show::{LOSS, Panel, RATE, Show, TableColumn, What};

use datasets::Dataset;

use crate::cli::Preset;
use crate::methods::{Kind, Knob};
use crate::numbers::{ArmNumbers, TaskName};

/// A section of the paper.
#[derive(Debug)]
pub struct Section {
    /// Its number, as `"3.1"`.
    pub number: &'static str,
    /// The binary's name, and that of its folders.
    pub binary: &'static str,
    /// What is run and what is written: the head of `--help`.
    pub about: &'static str,
    /// What is trained, apart from each other.
    pub parts: &'static [Part],
    /// The preset that is run unless another is asked for.
    pub default: Preset,
    /// What is measured beside its runs.
    pub extra: Option<fn() -> anyhow::Result<Vec<ArmNumbers>>>,
}

/// A task, and the methods that are compared on it.
#[derive(Debug)]
pub struct Part {
    /// Its name where a section has several.
    pub name: &'static str,
    /// What is learnt.
    pub task: Task,
    /// What its lengths count.
    pub unit: Unit,
    /// Its size in each preset that the section has.
    pub sizes: &'static [Size],
    /// The methods at their settings.
    pub arms: &'static [Arm],
    /// The files that show what came of them.
    pub shows: &'static [Show],
    /// How it departs from the paper in any case, a sentence each.
    pub deviations: &'static [&'static str],
}

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Task {
    /// Badly conditioned regression; full batches.
    Regression,
    /// Classification.
    Images {
        /// Of which images.
        data: Dataset,
        /// By what.
        network: Network,
        /// Examples in a minibatch, unless the arm has its own.
        batch: usize,
    },
    /// Repeat-copy, by the DNC.
    RepeatCopy {
        /// Sequences in a minibatch, unless the arm has its own.
        batch: usize,
    },
}

/// A network for images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// 784–300–100–10.
    Mlp,
    /// TensorFlow's official MNIST network, with dropout 0.4 unless the arm has its own.
    ConvNet,
    /// ResNet-32.
    ResNet,
}

impl Task {
    /// Its name in results and claims.
    #[must_use]
    pub fn name(&self) -> TaskName {
        match self {
            Task::Regression => TaskName::Regression,
            Task::RepeatCopy { .. } => TaskName::Dnc,
            Task::Images { data, .. } => match data {
                Dataset::Mnist => TaskName::Mnist,
                Dataset::Cifar10 => TaskName::Cifar10,
                Dataset::FashionMnist => TaskName::FashionMnist,
            },
        }
    }
}

/// What the length of a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Steps of the task's own batch.
    Steps,
    /// Passes over the training images.
    Epochs,
    /// Sequences, whatever the batch.
    Sequences,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Steps, Self::Epochs, Self::Sequences];

    /// In results, in the plural.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unit::Steps => "steps",
            Unit::Epochs => "epochs",
            Unit::Sequences => "sequences",
        }
    }

    /// On a horizontal axis.
    #[must_use]
    pub fn axis(self) -> &'static str {
        match self {
            Unit::Steps => "step",
            Unit::Epochs => "epoch",
            Unit::Sequences => "sequences processed",
        }
    }
}

/// How much a preset runs of a part.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The preset.
    pub preset: Preset,
    /// Runs of each arm.
    pub seeds: u64,
    /// Of a run, in the part's unit.
    pub length: u64,
    /// Training images, from the first on; all if there is no number.
    pub examples: Option<usize>,
}

/// A size with all training images.
#[must_use]
pub const fn size(preset: Preset, seeds: u64, length: u64) -> Size {
    Size {
        preset,
        seeds,
        length,
        examples: None,
    }
}

impl Part {
    /// Its size in a preset; `None` if the section does not have that.
    #[must_use]
    pub fn size(&self, preset: Preset) -> Option<Size> {
        self.sizes
            .iter()
            .find(|size| size.preset == preset)
            .copied()
    }

    /// The searches for the best settings of its methods: one for each that has a published rate or an α.
    #[must_use]
    pub fn searches(&self) -> Vec<Search> {
        let mut searches: Vec<Search> = Vec::new();
        for arm in self.arms.iter().filter(|arm| arm.is_plain()) {
            let from = match arm.choice {
                Choice::At(rate) => Some(rate),
                Choice::Default if arm.kind.knob().is_some() => None,
                Choice::Default | Choice::Searched | Choice::Policy(_) | Choice::Solver => continue,
            };
            searches.push(Search {
                kind: arm.kind,
                from,
                max_norm: arm.max_norm,
            });
        }
        searches
    }
}

/// A search for the best setting of a method on a part's task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Which method.
    pub kind: Kind,
    /// The published rate, where the search begins; one for α has a grid of its own.
    pub from: Option<f64>,
    /// Clips gradients to this norm.
    pub max_norm: Option<f64>,
}

impl Section {
    /// What the paper's Table 1 has as the best setting of a method on the section's task: a rate, which is run too, or an α.
    #[must_use]
    pub fn published(&self, kind: Kind) -> Option<f64> {
        if kind.knob() == Some(Knob::Alpha) {
            return match self.number {
                "3.1" | "3.2" => Some(0.25),
                "3.3" | "3.4" | "3.5" => Some(0.15),
                _ => None,
            };
        }
        let arms = self.parts.iter().flat_map(|part| part.arms);
        let mut arms = arms.filter(|arm| arm.kind == kind);
        arms.find_map(|arm| match arm.choice {
            Choice::At(rate) => Some(rate),
            _ => None,
        })
    }

    /// The section of the paper on whose task something is trained, and whose searches found the best settings there; `None` if
    /// none is on it.
    #[must_use]
    pub fn of_task(task: Task) -> Option<&'static Self> {
        let on_it = |section: &&&Self| section.parts.iter().any(|part| part.task == task);
        ALL.iter().find(on_it).copied()
    }
}

/// All sections of the paper that train.
pub static ALL: [&Section; 6] = [
    &section3_1::SECTION,
    &section3_2::SECTION,
    &section3_3::SECTION,
    &section3_4::SECTION,
    &section3_5::SECTION,
    &section3_6::SECTION,
];

/// Those on whose tasks settings are searched; 3.6 has the tasks and settings of others.
#[must_use]
pub fn searched() -> &'static [&'static Section] {
    &ALL[..5]
}
