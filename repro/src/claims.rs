//! The paper's claims as this project numbers them, and how verdicts are put into words.

use serde_json::{Map, Value, json};

use crate::results::{Cell, CellOfRuns, Claim, Claims, Verdict};
use crate::table::number;

/// What the paper says, by number.
pub const CLAIMS: [(&str, &str); 12] = [
    (
        "C1",
        "Per task, L4 at its default α reaches a lower training loss than the best constant rate of its own base method.",
    ),
    (
        "C2",
        "L4 adds no measurable run time or memory over its base method.",
    ),
    (
        "C3",
        "On the regression task L4 drives the loss to machine precision, where mSGD and Adam plateau.",
    ),
    (
        "C4",
        "LMA converges in far fewer steps, but dearer ones, and the gap widens with size.",
    ),
    (
        "C5",
        "On MNIST L4Adam reaches a loss of exactly 0 on every batch, and its effective rate then becomes 0.",
    ),
    (
        "C6",
        "Effective rates move over two or more orders of magnitude within a short time, without instability.",
    ),
    (
        "C7",
        "MNIST test accuracy is comparable across methods; L4 is near its final accuracy after 10 epochs.",
    ),
    (
        "C8",
        "On CIFAR-10 effective rates are far steadier; L4Mom's tracks the hand-made schedule for the first 150 epochs; L4 beats \
         the best constant rates; the default policy wins test accuracy in the end, right after its first drop.",
    ),
    (
        "C9",
        "On the DNC both L4 variants match or beat the tuned baselines without clipping; L4Mom is the less stable of the two.",
    ),
    (
        "C10",
        "On Fashion-MNIST L4's training loss is about ten times below the tuned baselines'; more dropout then gains test \
         accuracy.",
    ),
    (
        "C11",
        "Smaller batches help L4 on MNIST and the DNC; batch 8 is the DNC's limit.",
    ),
    (
        "C12",
        "The core update is invariant to affine transforms of the loss.",
    ),
];

/// A claim's number, verdict and evidence.
pub struct Finding {
    /// Its number in [`CLAIMS`].
    pub id: &'static str,
    /// Whether it was found to hold.
    pub verdict: Verdict,
    /// Why, in words, with the rule that decides.
    pub evidence: String,
    /// The numbers behind the words; a JSON object.
    pub measured: Value,
}

impl Finding {
    /// With the claim's text.
    ///
    /// # Panics
    /// If there is no claim of that number: an error of the section's author.
    #[must_use]
    pub fn into_claim(self) -> Claim {
        let text = CLAIMS.iter().find(|(id, _)| *id == self.id);
        let (id, claim) = text.unwrap_or_else(|| panic!("there is no claim {}", self.id));
        let measured = match self.measured {
            Value::Object(measured) => measured,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Claim {
            id: (*id).to_owned(),
            claim: (*claim).to_owned(),
            task: None,
            verdict: self.verdict,
            basis: None,
            parts: Vec::new(),
            evidence: self.evidence,
            measured,
        }
    }
}

/// Reproduced if every part of a claim holds, partly if some do.
pub fn verdict<const N: usize>(parts: [bool; N]) -> Verdict {
    match parts.iter().filter(|part| **part).count() {
        0 => Verdict::NotReproduced,
        held if held == N => Verdict::Reproduced,
        _ => Verdict::Partly,
    }
}

/// C1 on one task: for each pair, the final training losses of L4 at its default α and of its base method at the best
/// constant rate, compared by [`Cell::height`].
#[must_use]
pub fn lower_loss<const N: usize>(task: &str, pairs: [[(&str, Cell); 2]; N]) -> Finding {
    let lower = pairs
        .each_ref()
        .map(|[(_, l4), (_, base)]| l4.height() < base.height());
    let named = || pairs.iter().flatten();
    let described: Vec<String> = named()
        .map(|(name, cell)| format!("{name} {}", mean(cell)))
        .collect();
    let losses: Map<String, Value> = named()
        .map(|(name, cell)| ((*name).to_owned(), json!(cell)))
        .collect();
    Finding {
        id: "C1",
        verdict: verdict(lower),
        evidence: format!(
            "{task}. Mean final training loss: {}. Reproduced would be a lower one for each L4 method than for its base \
             method, partly for one of them.",
            described.join(", ")
        ),
        measured: json!({"final_loss": losses}),
    }
}

/// A cell in a sentence: the mean, with how many runs it stands for and how many diverged.
#[must_use]
pub fn mean(cell: &Cell) -> String {
    let value = cell.mean.map_or_else(|| "no value".to_owned(), number);
    let diverged = match cell.diverged.len() {
        0 => String::new(),
        count => format!(", {count} diverged"),
    };
    format!("{value} (n = {}{diverged})", cell.n)
}

/// A cell of percentages in a sentence: the mean and, of several runs, their standard deviation.
#[must_use]
pub fn spread(cell: &Cell) -> String {
    match (cell.mean, cell.std) {
        (Some(mean), Some(std)) => format!("{mean:.2} ± {std:.2}"),
        (Some(mean), None) => format!("{mean:.2}"),
        (None, _) => "no value".to_owned(),
    }
}

/// For the terminal: a line per claim.
#[must_use]
pub fn render(claims: &Claims) -> String {
    let line = |claim: &Claim| {
        let verdict = match claim.verdict {
            Verdict::Reproduced => "reproduced",
            Verdict::Partly => "partly reproduced",
            Verdict::NotReproduced => "not reproduced",
            Verdict::Untested => "untested",
        };
        format!(
            "{}: {verdict}. {} {}\n",
            claim.id, claim.claim, claim.evidence
        )
    };
    claims.claims.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_diverged_makes_a_loss_higher_than_any_other() {
        use crate::results::Measured::{Diverged, Value};
        let cell = |runs: [_; 2]| Cell::from_runs((0..).zip(runs));
        let verdict = |l4, base| {
            let pair = [("L4Adam", cell(l4)), ("Adam", cell(base))];
            lower_loss("A task", [pair]).verdict
        };
        let (low, high) = ([Value(1.0), Value(1.0)], [Value(2.0), Value(2.0)]);
        let diverged = [Value(0.0), Diverged(7)];
        assert_eq!(verdict(low, high), Verdict::Reproduced);
        assert_eq!(verdict(high, low), Verdict::NotReproduced);
        assert_eq!(verdict(low, diverged), Verdict::Reproduced);
        assert_eq!(verdict(diverged, low), Verdict::NotReproduced);
        assert_eq!(verdict(diverged, diverged), Verdict::NotReproduced);
    }

    #[test]
    fn a_verdict_needs_all_parts() {
        assert_eq!(verdict([true, true]), Verdict::Reproduced);
        assert_eq!(verdict([true, false]), Verdict::Partly);
        assert_eq!(verdict([false, false]), Verdict::NotReproduced);
    }
}
