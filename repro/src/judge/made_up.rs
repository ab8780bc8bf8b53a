//! Made-up numbers, for tests of the rules from both sides of their edges.

use std::ops::RangeFrom;

use serde_json::Value;

use super::Finding;
use crate::engine::metrics::{Column, Milestone};
use crate::numbers::{Alpha, ArmNumbers, Base, Numbers, Rate, Role, RunNumbers, TaskName};

/// A section's numbers of the paper's length, 30 units, on the published data.
pub fn numbers(section: &str, task: TaskName, arms: impl IntoIterator<Item = Arm>) -> Numbers {
    Numbers {
        section: section.to_owned(),
        task,
        preset: "paper".to_owned(),
        unit: "epochs".to_owned(),
        length: 30,
        paper_length: 30,
        other_data: None,
        stand_in: false,
        arms: arms.into_iter().map(|arm| arm.0).collect(),
    }
}

/// An arm with one step a unit and seeds from 0.
#[derive(Clone)]
pub struct Arm(pub ArmNumbers);

impl Arm {
    pub fn new(name: &str, role: Role) -> Self {
        Self(ArmNumbers {
            role,
            ..ArmNumbers::measurement(name, Vec::new())
        })
    }

    pub fn l4(base: Base, alpha: Alpha) -> Self {
        Self::new(
            &super::case::name(Role::L4 { base, alpha }),
            Role::L4 { base, alpha },
        )
    }

    pub fn constant(base: Base, rate: Rate) -> Self {
        let role = Role::Constant { base, rate };
        Self::new(&super::case::name(role), role)
    }

    pub fn l4_adam() -> Self {
        Self::l4(Base::Adam, Alpha::Default)
    }

    pub fn l4_mom() -> Self {
        Self::l4(Base::Momentum, Alpha::Default)
    }

    pub fn adam() -> Self {
        Self::constant(Base::Adam, Rate::Best)
    }

    pub fn momentum() -> Self {
        Self::constant(Base::Momentum, Rate::Best)
    }

    pub fn policy() -> Self {
        Self::new("default policy", Role::DefaultPolicy)
    }

    pub fn set(mut self, setting: &str, value: impl Into<Value>) -> Self {
        self.0.settings.insert(setting.to_owned(), value.into());
        self
    }

    pub fn runs(mut self, runs: impl IntoIterator<Item = Run>) -> Self {
        self.0.runs = (0..)
            .zip(runs)
            .map(|(seed, run)| RunNumbers { seed, ..run.0 })
            .collect();
        self
    }

    /// Runs that keep these losses for three windows.
    pub fn losing<const N: usize>(self, losses: [f64; N]) -> Self {
        self.runs(losses.map(|loss| Run::losses(1.., [loss; 3])))
    }
}

/// A run.
#[derive(Clone, Default)]
pub struct Run(pub RunNumbers);

impl Run {
    /// Window by window, with the steps at which they end.
    pub fn losses(steps: RangeFrom<u64>, losses: impl IntoIterator<Item = f64>) -> Self {
        Self::default().logs("loss", steps, losses)
    }

    pub fn logs(
        mut self,
        metric: &str,
        steps: RangeFrom<u64>,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        let (steps, values) = steps.zip(values).unzip();
        self.0
            .metrics
            .insert(metric.to_owned(), Column { steps, values });
        self
    }

    /// Every step s of every metric becomes s · over / under.
    pub fn stretch(mut self, over: u64, under: u64) -> Self {
        let columns = self.0.metrics.values_mut();
        columns
            .flat_map(|column| &mut column.steps)
            .for_each(|step| *step = *step * over / under);
        self
    }

    /// In every window, as many as there are losses.
    pub fn rates(self, low: f64, high: f64) -> Self {
        let windows = self.0.metrics["loss"].values.len();
        self.logs("learning_rate_min", 1.., vec![low; windows])
            .logs("learning_rate_max", 1.., vec![high; windows])
    }

    pub fn diverged(mut self, step: u64) -> Self {
        self.0.diverged_at = Some(step);
        self
    }

    pub fn summary(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.summary.insert(name.to_owned(), value.into());
        self
    }

    pub fn reaches(mut self, mark: &str, step: u64) -> Self {
        let milestone = Milestone { step, seconds: 1.0 };
        self.0.milestones.insert(mark.to_owned(), milestone);
        self
    }
}

/// Which parts hold, as `+`, do not, as `-`, or are undecided, as `?`.
pub fn parts(finding: &Finding) -> String {
    let sign = |holds| match holds {
        Some(true) => '+',
        Some(false) => '-',
        None => '?',
    };
    finding.parts.iter().map(|part| sign(part.holds)).collect()
}

/// All that a finding says was measured.
pub fn evidence(finding: &Finding) -> String {
    let parts = finding.parts.iter().map(|part| part.evidence.as_str());
    parts
        .chain([finding.evidence.as_str()])
        .collect::<Vec<_>>()
        .join("\n")
}

/// The parts, and that the verdict is that of the parts.
pub fn judged(finding: Option<Finding>) -> String {
    let finding = finding.expect("the numbers bear on the claim");
    let holds: Vec<_> = finding.parts.iter().map(|part| part.holds).collect();
    assert_eq!(
        finding.verdict,
        super::verdict(&holds),
        "{}",
        finding.evidence
    );
    parts(&finding)
}
