//! What became of the paper's claims.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Header, Invalid};

/// The paper's claims as this project numbers them, and what each says in a sentence.
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

/// What became of the paper's claims: `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claims {
    /// What every file says first.
    #[serde(flatten)]
    pub header: Header,
    /// The claims that this section tests.
    pub claims: Vec<Finding>,
}

/// A claim of the paper, tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its number in the project's list, as `"C3"`.
    #[schemars(regex(pattern = "^C[0-9]+$"))]
    pub id: String,
    /// The task it was tested on, as `"MNIST"`; absent where the claim names it or the section has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub task: Option<String>,
    /// What the paper says.
    #[schemars(length(min = 1))]
    pub claim: String,
    /// Whether that was found here.
    pub verdict: Verdict,
    /// How much was run to find it; absent in files from before it was stated, and where nothing was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The parts of the claim, where it has several, and which of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Why that verdict, in words.
    #[schemars(length(min = 1))]
    pub evidence: String,
    /// The numbers that the verdict rests on.
    pub measured: Map<String, Value>,
}

/// Whether a claim was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// It holds here.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// At least half of its parts hold here.
    #[serde(rename = "partly")]
    Partly,
    /// It does not hold here.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// Too little was run to say.
    #[serde(rename = "untested")]
    Untested,
}

impl Verdict {
    /// What the files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
            Self::Untested => "untested",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a verdict rests on: `"full"`, or `{"reduced": "60 of 250 epochs, 1 seed"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The paper's length, at least 3 seeds, the published data.
    Full,
    /// Less than that: what is reduced, in a few words.
    Reduced(#[schemars(length(min = 1))] String),
}

/// A part of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What it says.
    #[schemars(length(min = 1))]
    pub what: String,
    /// Whether that holds here; absent where the numbers do not decide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What was measured, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

impl Part {
    /// Whether it holds, in a word or two.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "undecided",
        }
    }
}

impl Claims {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        for (i, claim) in self.claims.iter().enumerate() {
            let same = |other: &Finding| (&other.id, &other.task) == (&claim.id, &claim.task);
            if self.claims[..i].iter().any(same) {
                let problem = format!(
                    "expected one verdict a claim and task, found `{}` twice",
                    claim.id
                );
                return Err(Invalid::new(format!("claims[{i}].id"), problem));
            }
        }
        Ok(())
    }
}
