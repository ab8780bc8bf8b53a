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
//! - **Length**: only the first [`length`](Numbers::length) units of a run count, but for C5, C11 on the DNC, and C12,
//!   which have lengths of their own. Under
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
pub(crate) mod comparison;
#[cfg(test)]
pub(crate) mod made_up;
pub mod statistics;
pub(crate) mod trace;
pub(crate) mod words;

use crate::numbers::Numbers;
pub use committed::{committed, judge_all};
use paper_figures::results::CLAIMS;
pub use paper_figures::results::{Basis, Finding, Part, Verdict};

/// Runs under this part of the paper's length do not test a claim: one in 3.
pub const SHORTEST: u64 = 3;
/// A full basis has at least so many seeds.
pub const FULL_SEEDS: usize = 3;

/// A claim of the paper, as this project numbers them: [`text`](Self::text) says what each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
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
    /// What the paper says, in a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        CLAIMS[self as usize].1
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

/// `true` if all hold, `false` if one does not, and otherwise undecided.
fn all(holds: &[Option<bool>]) -> Option<bool> {
    if holds.contains(&Some(false)) {
        return Some(false);
    }
    (!holds.is_empty() && !holds.contains(&None)).then_some(true)
}

/// Of so many parts at least this many hold where a claim is partly reproduced.
const fn parts_for_partly(parts: usize) -> usize {
    parts.div_ceil(2)
}

/// All verdicts on the numbers of one section, of which it has one file a task. `others` are the numbers of other sections,
/// as far as they are at hand: C8 compares with MNIST's. What was trained on a stand-in for the data is not judged.
#[must_use]
pub fn judge_section<'n>(
    section: &'n [Numbers],
    others: impl IntoIterator<Item = &'n Numbers>,
) -> Vec<Finding> {
    let real = |numbers: &&Numbers| !numbers.stand_in;
    let mnist = section
        .iter()
        .chain(others)
        .filter(real)
        .find(|numbers| numbers.section == c8::MNIST_SECTION);
    type Rule<'r> = &'r dyn Fn(&Numbers) -> Option<Finding>;
    let rules: [Rule<'_>; 12] = [
        &c1::judge,
        &c2::judge,
        &c3::judge,
        &c4::judge,
        &c5::judge,
        &c6::judge,
        &c7::judge,
        &|numbers| c8::judge(numbers, mnist),
        &c9::judge,
        &c10::judge,
        &c11::judge,
        &c12::judge,
    ];
    let findings = rules
        .iter()
        .flat_map(|rule| section.iter().filter(real).filter_map(rule));
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::made_up::{Arm, numbers};
    use super::*;
    use crate::numbers::TaskName;

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
    fn claims_stand_in_their_order() {
        for (index, claim) in [(0, Claim::C1), (7, Claim::C8), (11, Claim::C12)] {
            assert_eq!(CLAIMS[index], (claim.to_string().as_str(), claim.text()));
        }
    }

    #[test]
    fn a_section_is_judged_by_the_claims_that_its_task_bears_on() {
        let claims = |section: &str, task: TaskName| {
            let numbers = numbers(section, task, [Arm::l4_adam()]);
            let findings = judge_section(&[numbers], &[]);
            let claims = findings.iter().map(|finding| finding.id.clone());
            claims.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(claims("3.1", TaskName::Regression), "C1 C3");
        assert_eq!(claims("3.2", TaskName::Mnist), "C1 C5 C6 C7");
        assert_eq!(claims("3.3", TaskName::Cifar10), "C1 C6 C8");
        assert_eq!(claims("3.4", TaskName::Dnc), "C1 C6 C9");
        assert_eq!(claims("3.5", TaskName::FashionMnist), "C1 C6 C10");
        assert_eq!(claims("3.6", TaskName::Mnist), "C11");
        assert_eq!(claims("3.6", TaskName::Dnc), "C11");
        let mut stand_in = numbers("3.2", TaskName::Mnist, [Arm::l4_adam()]);
        stand_in.stand_in = true;
        assert_eq!(judge_section(&[stand_in], &[]), []);
    }

    #[test]
    fn a_stand_in_for_mnist_is_not_compared_with() {
        use super::made_up::Run;
        let arms = || {
            let arms = [Arm::l4_adam(), Arm::l4_mom()];
            arms.map(|arm| arm.runs([Run::losses(1.., [1.0]).rates(1.0, 100.0)]))
        };
        let here = [numbers("3.3", TaskName::Cifar10, arms())];
        let lacks_mnist = |stand_in| {
            let mnist = Numbers {
                stand_in,
                ..numbers("3.2", TaskName::Mnist, arms())
            };
            let findings = judge_section(&here, &[mnist]);
            let c8 = findings.into_iter().find(|finding| finding.id == "C8");
            c8.unwrap().evidence.contains("no rates of L4Adam on MNIST")
        };
        assert!(!lacks_mnist(false) && lacks_mnist(true));
    }
}
