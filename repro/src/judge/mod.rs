//! What is made of the numbers: verdicts on the paper's claims, each a pure function of [`Numbers`].
//!
//! Whoever doubts a rule edits it and judges again in a second: nothing is trained, no clock and no data set is read. A file
//! a claim holds its rule and the thresholds that decide; the sentence that states the rule in the evidence is made of the
//! same constants. What all rules share:
//!
//! - **Comparisons** are paired by seed, on the logarithm for losses, rates and steps, plainly for accuracies. "Lower" holds
//!   if the 95 % interval of the mean paired difference lies below 0, "not higher" if it does not lie above 0
//!   ([`Estimate`](statistics::Estimate)). One seed has no interval: its difference is reported and decides nothing.
//! - **A diverged run** counts as infinite loss and as 0 % accuracy, never as missing.
//! - **Length**: only the first [`length`](numbers::Numbers::length) units of a run count, but for C5. Under
//!   [a third](SHORTEST) of the paper's, or without an arm that is compared, a claim is untested.
//! - **Parts**: a claim is reproduced if all its parts hold and partly if at least half do ([`verdict`]).

pub mod c1;
pub mod c10;
pub mod c11;
pub mod c12;
pub mod c2;
pub mod c3;
pub mod c4;
pub mod c5;
pub mod c6;
pub mod c7;
pub mod c8;
pub mod c9;
mod case;
mod committed;
mod comparison;
mod course;
#[cfg(test)]
mod made_up;
pub mod matrix;
pub mod numbers;
pub mod statistics;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::results;

pub use committed::{committed, judge_all};
use numbers::Numbers;
pub use paper_figures::results::{Basis, Verdict};

/// Runs under this part of the paper's length do not test a claim: one in 3.
pub const SHORTEST: u64 = 3;
/// A full basis has at least so many seeds.
pub const FULL_SEEDS: usize = 3;

/// A claim of the paper, as this project numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`text` says what each is")]
pub enum Claim {
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    C12,
}

impl Claim {
    /// All, in their order.
    pub const ALL: [Self; 12] = [
        Self::C1,
        Self::C2,
        Self::C3,
        Self::C4,
        Self::C5,
        Self::C6,
        Self::C7,
        Self::C8,
        Self::C9,
        Self::C10,
        Self::C11,
        Self::C12,
    ];

    /// What the paper says, in a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::C1 => {
                "Per task, L4 at its default α reaches a lower training loss than the best constant rate of its own base method."
            }
            Self::C2 => "L4 adds no measurable run time or memory over its base method.",
            Self::C3 => {
                "On the regression task L4 drives the loss to machine precision, where mSGD and Adam plateau."
            }
            Self::C4 => {
                "LMA converges in far fewer steps, but dearer ones, and the gap widens with size."
            }
            Self::C5 => {
                "On MNIST L4Adam reaches a loss of exactly 0 on every batch, and its effective rate then becomes 0."
            }
            Self::C6 => {
                "Effective rates move over two or more orders of magnitude within a short time, without instability."
            }
            Self::C7 => {
                "MNIST test accuracy is comparable across methods; L4 is near its final accuracy after 10 epochs."
            }
            Self::C8 => {
                "On CIFAR-10 effective rates are far steadier; L4Mom's tracks the hand-made schedule for the first 150 epochs; \
                 L4 beats the best constant rates; the default policy wins test accuracy in the end, right after its first drop."
            }
            Self::C9 => {
                "On the DNC both L4 variants match or beat the tuned baselines without clipping; L4Mom is the less stable of the \
                 two."
            }
            Self::C10 => {
                "On Fashion-MNIST L4's training loss is about ten times below the tuned baselines'; more dropout then gains test \
                 accuracy."
            }
            Self::C11 => {
                "Smaller batches help L4 on MNIST and the DNC; batch 8 is the DNC's limit."
            }
            Self::C12 => "The core update is invariant to affine transforms of the loss.",
        }
    }

    /// The tasks on which the claim gets a verdict each; none for a claim that is about one thing only.
    #[must_use]
    pub const fn tasks(self) -> &'static [&'static str] {
        match self {
            Self::C1 => &["regression", "MNIST", "CIFAR-10", "DNC", "Fashion-MNIST"],
            Self::C6 | Self::C11 => &["MNIST", "DNC"],
            _ => &[],
        }
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// From the parts of a claim, each of which holds, does not, or is undecided.
///
/// Undecided parts count as not holding where that takes the verdict up, and as holding where that takes it down: a claim
/// is partly reproduced if half hold already, not reproduced if fewer than half could, and otherwise untested.
#[must_use]
pub fn verdict(parts: &[Option<bool>]) -> Verdict {
    let count = |state| parts.iter().filter(|part| **part == state).count();
    let (holding, undecided) = (count(Some(true)), count(None));
    let half = parts_for_partly(parts.len());
    if parts.is_empty() {
        Verdict::Untested
    } else if holding == parts.len() {
        Verdict::Reproduced
    } else if holding >= half {
        Verdict::Partly
    } else if holding + undecided < half {
        Verdict::NotReproduced
    } else {
        Verdict::Untested
    }
}

/// Of so many parts at least this many hold where a claim is partly reproduced.
const fn parts_for_partly(parts: usize) -> usize {
    parts.div_ceil(2)
}

/// One of the statements that a claim is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What is stated.
    pub what: String,
    /// Whether it holds; absent where the numbers do not decide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What was measured, in words.
    pub evidence: String,
}

/// A verdict on a claim, from the numbers of one task in one section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Which claim.
    pub claim: Claim,
    /// On which task.
    pub task: String,
    /// Whether it was found to hold.
    pub verdict: Verdict,
    /// On what the verdict rests.
    pub basis: Basis,
    /// Why, in plain sentences: the numbers, and the rule that decides.
    pub evidence: String,
    /// What it is made of. None where the claim is reported and not judged.
    pub parts: Vec<Part>,
    /// The numbers in the evidence.
    pub measured: Map<String, Value>,
}

impl Finding {
    /// As it stands in `claims.json`.
    #[must_use]
    pub fn into_claim(self) -> results::Claim {
        let parts = self.parts.into_iter().map(|part| results::Part {
            what: part.what,
            holds: part.holds,
            evidence: part.evidence,
        });
        results::Claim {
            id: self.claim.to_string(),
            task: Some(self.task),
            claim: self.claim.text().to_owned(),
            verdict: self.verdict,
            basis: Some(self.basis),
            parts: parts.collect(),
            evidence: self.evidence,
            measured: self.measured,
        }
    }
}

/// All verdicts on the numbers of one section, of which it has one file a task. `others` are the numbers of other sections,
/// as far as they are at hand: C8 compares with MNIST's. What was trained on a stand-in for the data is not judged.
#[must_use]
pub fn judge_section(section: &[Numbers], others: &[Numbers]) -> Vec<Finding> {
    let rules: [fn(&Numbers) -> Option<Finding>; 11] = [
        c1::judge,
        c2::judge,
        c3::judge,
        c4::judge,
        c5::judge,
        c6::judge,
        c7::judge,
        c9::judge,
        c10::judge,
        c11::judge,
        c12::judge,
    ];
    let real = |numbers: &&Numbers| !numbers.stand_in;
    let mnist = section
        .iter()
        .chain(others)
        .filter(real)
        .find(|numbers| numbers.section == c8::MNIST_SECTION);
    let mut findings: Vec<Finding> = section
        .iter()
        .filter(real)
        .flat_map(|numbers| {
            let judged = rules.iter().filter_map(|rule| rule(numbers));
            judged.chain(c8::judge(numbers, mnist)).collect::<Vec<_>>()
        })
        .collect();
    findings.sort_by_key(|finding| finding.claim);
    findings
}

#[cfg(test)]
mod tests {
    use super::made_up::{Arm, numbers};
    use super::*;

    #[test]
    fn verdicts_need_all_parts_or_half_of_them() {
        const YES: Option<bool> = Some(true);
        const NO: Option<bool> = Some(false);
        for (parts, verdict) in [
            (&[YES, YES][..], Verdict::Reproduced),
            (&[YES, NO], Verdict::Partly),
            (&[YES, NO, NO], Verdict::NotReproduced),
            (&[YES, YES, NO], Verdict::Partly),
            (&[NO, NO], Verdict::NotReproduced),
            (&[], Verdict::Untested),
            (&[None, None], Verdict::Untested),
            (&[YES, None], Verdict::Partly),
            (&[NO, None], Verdict::Untested),
            (&[NO, NO, None], Verdict::NotReproduced),
            (&[YES, NO, NO, None], Verdict::Untested),
        ] {
            assert_eq!(super::verdict(parts), verdict, "{parts:?}");
        }
    }

    #[test]
    fn claims_are_written_as_they_are_read() {
        let written = serde_json::to_value(Claim::ALL).unwrap();
        assert_eq!(written[9], "C10");
        assert_eq!(Claim::C10.to_string(), "C10");
        let verdict = serde_json::to_value(Verdict::NotReproduced).unwrap();
        assert_eq!(verdict, Verdict::NotReproduced.name());
        let basis = Basis::Reduced("1 seed".to_owned());
        assert_eq!(
            serde_json::to_value(basis).unwrap(),
            serde_json::json!({"reduced": "1 seed"})
        );
    }

    #[test]
    fn a_section_is_judged_by_the_claims_that_its_task_bears_on() {
        let claims = |section: &str, task: &str| {
            let numbers = numbers(section, task, [Arm::l4_adam()]);
            let findings = judge_section(&[numbers], &[]);
            let claims = findings.iter().map(|finding| finding.claim.to_string());
            claims.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(claims("3.1", "regression"), "C1 C3");
        assert_eq!(claims("3.2", "MNIST"), "C1 C5 C6 C7");
        assert_eq!(claims("3.3", "CIFAR-10"), "C1 C6 C8");
        assert_eq!(claims("3.4", "DNC"), "C1 C6 C9");
        assert_eq!(claims("3.5", "Fashion-MNIST"), "C1 C6 C10");
        assert_eq!(claims("3.6", "MNIST"), "C11");
        assert_eq!(claims("3.6", "DNC"), "C11");
        let mut stand_in = numbers("3.2", "MNIST", [Arm::l4_adam()]);
        stand_in.stand_in = true;
        assert_eq!(judge_section(&[stand_in], &[]), []);
    }
}
