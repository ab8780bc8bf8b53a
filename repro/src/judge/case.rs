//! A claim on its way to a verdict: which arms it compares, what was found part by part, and what the basis is.

use paper_figures::number;
use serde_json::{Map, Value};

use super::comparison::Side;
use super::statistics::Estimate;
use super::trace::{Trace, traces};
use super::{Basis, Claim, FULL_SEEDS, Finding, Part, SHORTEST, Verdict, parts_for_partly, words};
use crate::numbers::{Alpha, ArmNumbers, Base, Numbers, Rate, Role};

/// The two variants of L4, by their base methods.
pub const VARIANTS: [Base; 2] = [Base::Adam, Base::Momentum];

/// What an arm is called in evidence: the paper's names, with a star at the best rate or α of our own search.
pub fn name(role: Role) -> String {
    let (name, star) = match role {
        Role::L4 {
            base: Base::Adam,
            alpha,
        } => ("L4Adam", alpha == Alpha::Best),
        Role::L4 {
            base: Base::Momentum,
            alpha,
        } => ("L4Mom", alpha == Alpha::Best),
        Role::L4 { base, alpha } => {
            let star = if alpha == Alpha::Best { "*" } else { "" };
            return format!("L4 over {}{star}", method(base));
        }
        Role::Constant { base, rate } => (method(base), rate == Rate::Best),
        Role::RateFree => ("a rate-free method", false),
        Role::DefaultPolicy => ("the default policy", false),
        Role::LevenbergMarquardt => ("LMA", false),
        Role::Measurement => ("a measurement", false),
    };
    format!("{name}{}", if star { "*" } else { "" })
}

fn method(base: Base) -> &'static str {
    match base {
        Base::Adam => "Adam",
        Base::Momentum => "mSGD",
        Base::Sgd => "SGD",
        Base::RmsProp => "RMSProp",
    }
}

/// L4 at its default α.
pub const fn l4(base: Base) -> Role {
    Role::L4 {
        base,
        alpha: Alpha::Default,
    }
}

/// L4 at the best α of our own search.
pub const fn l4_best(base: Base) -> Role {
    Role::L4 {
        base,
        alpha: Alpha::Best,
    }
}

/// A base method at the best constant rate of our own search.
pub const fn best(base: Base) -> Role {
    Role::Constant {
        base,
        rate: Rate::Best,
    }
}

/// The arms of a section's main comparison: not those of 3.1.1, which have other sizes and are run for their times.
pub fn main_arms(numbers: &Numbers) -> impl Iterator<Item = &ArmNumbers> {
    let of_3_1_1 =
        |arm: &ArmNumbers| arm.settings.get("weights_comparison") == Some(&Value::Bool(true));
    numbers.arms.iter().filter(move |arm| !of_3_1_1(arm))
}

/// The least dropout of a section's arms, at which its comparisons are made; absent where no network has any.
pub fn plain_dropout(numbers: &Numbers) -> Option<f64> {
    let dropouts = numbers.arms.iter().filter_map(|arm| arm.setting("dropout"));
    dropouts.reduce(f64::min)
}

/// The arms of the main comparison at the least dropout.
pub fn plain_arms(numbers: &Numbers) -> impl Iterator<Item = &ArmNumbers> {
    let plain = plain_dropout(numbers);
    main_arms(numbers).filter(move |arm| arm.setting("dropout") == plain)
}

/// What is found out about a claim on a task.
pub struct Case<'n> {
    claim: Claim,
    pub numbers: &'n Numbers,
    parts: Vec<Part>,
    remarks: Vec<String>,
    missing: Vec<String>,
    seeds: Option<usize>,
    reduced: Vec<String>,
    /// What reduces the searches that found the arms' settings.
    searched_by: Vec<String>,
    /// Of what the claim rests on, where it is not the section's.
    length: Option<String>,
    /// The numbers in the evidence.
    pub measured: Map<String, Value>,
}

impl<'n> Case<'n> {
    pub fn new(claim: Claim, numbers: &'n Numbers) -> Self {
        Self {
            claim,
            numbers,
            parts: Vec::new(),
            remarks: Vec::new(),
            missing: Vec::new(),
            seeds: None,
            reduced: Vec::new(),
            searched_by: Vec::new(),
            length: None,
            measured: Map::new(),
        }
    }

    /// An arm that the claim compares, at the least dropout. Where it was not run the claim is untested.
    pub fn arm(&mut self, role: Role) -> Option<&'n ArmNumbers> {
        let arm = plain_arms(self.numbers).find(|arm| arm.role == role);
        self.compares(arm, || name(role))
    }

    /// The runs of [`arm`](Self::arm) over the section's length.
    pub fn traces(&mut self, role: Role) -> Option<Vec<Trace<'n>>> {
        let numbers = self.numbers;
        Some(traces(numbers, self.arm(role)?))
    }

    /// The same, with its name, for a [`Comparison`](super::comparison::Comparison).
    pub fn side(&mut self, role: Role) -> Option<Side<'n>> {
        let runs = self.traces(role)?;
        Some(Side {
            name: name(role),
            runs,
        })
    }

    /// Such an arm, if it was run; the claim does without.
    pub fn optional_side(&self, role: Role) -> Option<Side<'n>> {
        let arm = plain_arms(self.numbers).find(|arm| arm.role == role && !arm.runs.is_empty())?;
        let runs = traces(self.numbers, arm);
        Some(Side {
            name: name(role),
            runs,
        })
    }

    /// A base method at the rate of the paper's Table 1, if it was run.
    pub fn published_side(&self, base: Base) -> Option<Side<'n>> {
        let rate = Rate::Published;
        let mut side = self.optional_side(Role::Constant { base, rate })?;
        side.name += " at its published rate";
        Some(side)
    }

    /// An arm that the claim compares; without it, or without a run of it, the claim is untested.
    pub fn compares(
        &mut self,
        arm: Option<&'n ArmNumbers>,
        name: impl Fn() -> String,
    ) -> Option<&'n ArmNumbers> {
        let Some(arm) = arm.filter(|arm| !arm.runs.is_empty()) else {
            self.lacks(name());
            return None;
        };
        let new = |by: &&String| !self.searched_by.contains(by);
        self.searched_by
            .extend(arm.searched_by.iter().find(new).cloned());
        let seeds = arm.runs.len();
        self.seeds = Some(self.seeds.map_or(seeds, |fewest| fewest.min(seeds)));
        Some(arm)
    }

    /// Something that the claim needs and the numbers do not have.
    pub fn lacks(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    /// The claim rests on something of a length of its own, which the evidence then begins with.
    pub fn rests_on(&mut self, length: String) {
        self.length = Some(length);
    }

    /// Something that makes the basis a reduced one.
    pub fn reduced(&mut self, what: String) {
        self.reduced.push(what);
    }

    /// A part, with what was measured in words, without a full stop.
    pub fn part(
        &mut self,
        what: impl Into<String>,
        holds: Option<bool>,
        evidence: impl Into<String>,
    ) {
        self.parts.push(Part {
            what: what.into(),
            holds,
            evidence: evidence.into(),
        });
    }

    /// A part for which an arm is missing.
    pub fn part_without_arms(&mut self, what: impl Into<String>) {
        self.part(what, None, "what it compares was not run");
    }

    /// All parts of a claim, where nothing that they compare was run.
    pub fn parts_without_arms<const N: usize>(&mut self, parts: [&str; N]) {
        for what in parts {
            self.part_without_arms(what);
        }
    }

    /// A sentence of the evidence that decides nothing, without a full stop.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Keeps an estimate in `measured`.
    pub fn measure(&mut self, name: impl Into<String>, estimate: &Estimate) {
        self.measured
            .insert(name.into(), words::estimate_value(estimate));
    }

    fn length_in_words(&self) -> String {
        let Numbers {
            length,
            paper_length,
            unit,
            ..
        } = self.numbers;
        let exact = |length: u64| number::exact(length as f64);
        match length < paper_length {
            true => format!("{} of {} {unit}", exact(*length), exact(*paper_length)),
            false => format!("{} {unit}", exact(*length)),
        }
    }

    fn basis(&self) -> Basis {
        let numbers = self.numbers;
        let mut reduced = Vec::new();
        if numbers.length < numbers.paper_length {
            reduced.push(self.length_in_words());
        }
        if let Some(seeds) = self.seeds.filter(|seeds| *seeds < FULL_SEEDS) {
            reduced.push(words::count(seeds, "seed"));
        }
        reduced.extend(numbers.other_data.clone());
        let by = self.searched_by.iter();
        reduced.extend(by.map(|by| format!("best settings by {by}")));
        reduced.extend(self.reduced.iter().cloned());
        match reduced.is_empty() {
            true => Basis::Full,
            false => Basis::Reduced(reduced.join(", ")),
        }
    }

    fn why_untested(&self) -> Option<String> {
        let numbers = self.numbers;
        let lacking = (!self.missing.is_empty())
            .then(|| format!("there is no {}", self.missing.join(", no ")));
        let short = (numbers.length.saturating_mul(SHORTEST) < numbers.paper_length)
            .then(|| format!("{} are under 1 in {SHORTEST}", self.length_in_words()));
        match (lacking, short) {
            (Some(lacking), Some(short)) => Some(format!("{lacking}, and {short}")),
            (lacking, short) => lacking.or(short),
        }
    }

    /// The verdict. `rule` goes on from "Reproduced would be".
    pub fn finding(mut self, rule: &str) -> Finding {
        let untested = self.why_untested();
        if untested.is_some() {
            self.parts.iter_mut().for_each(|part| part.holds = None);
        }
        let holds: Vec<_> = self.parts.iter().map(|part| part.holds).collect();
        let verdict = super::verdict(&holds);
        let length = (self.length.take()).unwrap_or_else(|| self.length_in_words());
        let opening = match untested {
            Some(why) => format!("Untested, as {why}"),
            None if verdict == Verdict::Untested && self.seeds == Some(1) => {
                format!("Untested, as one seed gives no interval; {length}")
            }
            None => length,
        };
        let partly = match holds.len() {
            0 | 1 => String::new(),
            all => format!(
                "; partly, at least {} of the {all} parts",
                parts_for_partly(all)
            ),
        };
        let evidence = format!(
            "{opening}. {}Reproduced would be {rule}{partly}.",
            self.remarks()
        );
        self.with_evidence(verdict, evidence)
    }

    /// For what is reported only. The verdict is untested, and has no parts.
    pub fn reported(mut self, why: &str) -> Finding {
        let found = |part: Part| format!("{}: {}. ", capitalised(&part.what), part.evidence);
        let parts: String = std::mem::take(&mut self.parts)
            .into_iter()
            .map(found)
            .collect();
        let evidence = format!(
            "{}. {parts}{}Reported and not judged: {why}.",
            self.length_in_words(),
            self.remarks()
        );
        self.with_evidence(Verdict::Untested, evidence)
    }

    fn with_evidence(self, verdict: Verdict, evidence: String) -> Finding {
        Finding {
            id: self.claim.to_string(),
            task: Some(self.numbers.task.name().to_owned()),
            claim: self.claim.text().to_owned(),
            verdict,
            basis: Some(self.basis()),
            parts: self.parts,
            evidence,
            measured: self.measured,
        }
    }

    /// The remarks as sentences, with a space at the end.
    fn remarks(&self) -> String {
        let remarks = self.remarks.iter();
        remarks
            .map(|remark| format!("{}. ", capitalised(remark)))
            .collect()
    }
}

/// As the beginning of a sentence; a name, as mSGD, stays as it is.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_uppercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{Arm, numbers};
    use super::*;
    use crate::numbers::TaskName;

    fn finding(change: impl Fn(&mut Numbers), seeds: usize) -> Finding {
        let arm = Arm::l4_adam().losing([1.0; 5]);
        let mut numbers = numbers("3.2", TaskName::Mnist, [arm]);
        numbers.arms[0].runs.truncate(seeds);
        change(&mut numbers);
        let mut case = Case::new(Claim::C1, &numbers);
        case.arm(l4(Base::Adam));
        case.part("it is", Some(true), "so");
        case.finding("that")
    }

    #[test]
    fn the_basis_is_full_at_full_length_with_three_seeds_of_the_published_data() {
        let basis = |change: fn(&mut Numbers), seeds| match finding(change, seeds).basis {
            Some(Basis::Reduced(words)) => words,
            _ => "full".to_owned(),
        };
        assert_eq!(basis(|_| (), 3), "full");
        assert_eq!(basis(|_| (), 2), "2 seeds");
        assert_eq!(basis(|numbers| numbers.length = 29, 3), "29 of 30 epochs");
        let all = |numbers: &mut Numbers| {
            numbers.length = 10;
            numbers.other_data = Some("re-encoded images".to_owned());
        };
        assert_eq!(basis(all, 1), "10 of 30 epochs, 1 seed, re-encoded images");
    }

    #[test]
    fn a_search_of_shorter_runs_reduces_the_basis_of_what_rests_on_it() {
        let mut arms = [Arm::l4_adam(), Arm::adam()].map(|arm| arm.losing([1.0; 3]));
        arms[1].0.searched_by = Some("runs of 15 of 30 epochs".to_owned());
        let numbers = numbers("3.2", TaskName::Mnist, arms);
        let basis = |role| {
            let mut case = Case::new(Claim::C1, &numbers);
            case.arm(role);
            case.finding("that").basis
        };
        let reduced = "best settings by runs of 15 of 30 epochs".to_owned();
        assert_eq!(basis(best(Base::Adam)), Some(Basis::Reduced(reduced)));
        assert_eq!(basis(l4(Base::Adam)), Some(Basis::Full));
    }

    #[test]
    fn a_third_of_the_length_is_tested_and_less_is_not() {
        let verdict = |length| finding(|numbers| numbers.length = length, 3).verdict;
        assert_eq!(verdict(10), Verdict::Reproduced);
        assert_eq!(verdict(9), Verdict::Untested);
        let short = finding(|numbers| numbers.length = 9, 3);
        assert_eq!(short.parts[0].holds, None);
        assert!(
            short.evidence.contains("9 of 30 epochs are under 1 in 3"),
            "{}",
            short.evidence
        );
        assert_eq!(short.parts[0].evidence, "so");
    }

    #[test]
    fn a_claim_without_an_arm_is_untested() {
        let lacking = finding(|numbers| numbers.arms.clear(), 3);
        assert_eq!(lacking.verdict, Verdict::Untested);
        assert!(
            lacking.evidence.contains("there is no L4Adam."),
            "{}",
            lacking.evidence
        );
        assert_eq!(finding(|_| (), 0).verdict, Verdict::Untested);
    }

    #[test]
    fn a_claim_that_one_seed_leaves_open_says_so() {
        let arm = Arm::l4_adam().losing([1.0; 3]);
        let evidence = |seeds| {
            let mut numbers = numbers("3.2", TaskName::Mnist, [arm.clone()]);
            numbers
                .arms
                .iter_mut()
                .for_each(|arm| arm.runs.truncate(seeds));
            let mut case = Case::new(Claim::C1, &numbers);
            case.arm(l4(Base::Adam));
            case.part("it is", (seeds > 1).then_some(true), "so");
            case.finding("that").evidence
        };
        let open = "Untested, as one seed gives no interval; 30 epochs. Reproduced would be that.";
        assert_eq!(evidence(1), open);
        assert_eq!(evidence(3), "30 epochs. Reproduced would be that.");
    }

    #[test]
    fn comparisons_are_made_at_the_least_dropout_and_without_3_1_1() {
        let arms = [
            Arm::l4_adam().set("dropout", 0.5).losing([1.0]),
            Arm::l4_adam().set("dropout", 0.4).losing([2.0]),
        ];
        let dropouts = numbers("3.5", TaskName::FashionMnist, arms);
        let mut case = Case::new(Claim::C1, &dropouts);
        assert_eq!(
            case.arm(l4(Base::Adam)).unwrap().setting("dropout"),
            Some(0.4)
        );
        let arms = [Arm::l4(Base::Adam, Alpha::Best)
            .set("weights_comparison", true)
            .losing([1.0])];
        let times = numbers("3.1", TaskName::Regression, arms);
        assert!(
            Case::new(Claim::C1, &times)
                .arm(l4_best(Base::Adam))
                .is_none()
        );
    }

    #[test]
    fn names_are_the_papers() {
        assert_eq!(name(l4_best(Base::Momentum)), "L4Mom*");
        assert_eq!(name(best(Base::Momentum)), "mSGD*");
        let published = Role::Constant {
            base: Base::Sgd,
            rate: Rate::Published,
        };
        assert_eq!(name(published), "SGD");
    }
}
