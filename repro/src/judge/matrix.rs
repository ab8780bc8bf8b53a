//! The twelve claims by section.

use serde::{Deserialize, Serialize};

use super::{Basis, Claim, Finding, Verdict};

/// All verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The sections, as `"3.2"`: its columns.
    pub sections: Vec<String>,
    /// A row for each claim, in their order.
    pub rows: Vec<Row>,
}

/// A claim's verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which claim.
    pub claim: Claim,
    /// What it says.
    pub text: String,
    /// What the sections come to together.
    pub summary: Summary,
    /// Each section's verdicts: none where it does not bear on the claim, and two where it does with two tasks.
    pub cells: Vec<Vec<Cell>>,
}

/// A verdict in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// On which task.
    pub task: String,
    /// Whether the claim was found to hold.
    pub verdict: Verdict,
    /// On what that rests.
    pub basis: Basis,
    /// The section reports what was measured and does not judge it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported_only: bool,
}

/// A claim's verdict over all its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// By [`Verdict::of`] from the parts on all tasks. A task that the claim is about and that has no verdict is one undecided
    /// part more.
    pub verdict: Verdict,
    /// Reduced if that of any task with a verdict is; the words name the tasks.
    pub basis: Basis,
    /// The verdicts one by one where the claim is about several tasks, as `regression reproduced, MNIST partly (reduced: 2
    /// seeds)`; otherwise empty.
    pub tasks: String,
}

/// The matrix of what [`judge_section`](super::judge_section) found in each section.
#[must_use]
pub fn matrix(sections: &[(String, Vec<Finding>)]) -> Matrix {
    let rows = Claim::ALL.map(|claim| {
        let of_claim = |findings: &[Finding]| -> Vec<Cell> {
            findings
                .iter()
                .filter(|finding| finding.claim == claim)
                .map(Cell::of)
                .collect()
        };
        Row {
            claim,
            text: claim.text().to_owned(),
            summary: summary(claim, sections),
            cells: sections
                .iter()
                .map(|(_, findings)| of_claim(findings))
                .collect(),
        }
    });
    Matrix {
        sections: sections
            .iter()
            .map(|(section, _)| section.clone())
            .collect(),
        rows: rows.into(),
    }
}

fn summary(claim: Claim, sections: &[(String, Vec<Finding>)]) -> Summary {
    let findings = sections.iter().flat_map(|(_, findings)| findings);
    let judged: Vec<&Finding> = findings
        .filter(|finding| finding.claim == claim && !finding.parts.is_empty())
        .collect();
    let mut parts: Vec<Option<bool>> = judged
        .iter()
        .flat_map(|finding| &finding.parts)
        .map(|part| part.holds)
        .collect();
    let is_missing = |task: &&&str| !judged.iter().any(|finding| finding.task == **task);
    let missing: Vec<&str> = claim.tasks().iter().filter(is_missing).copied().collect();
    parts.extend(missing.iter().map(|_| None));
    let tasks: Vec<String> = match claim.tasks() {
        [] => Vec::new(),
        _ => judged
            .iter()
            .map(|finding| format!("{} {}", finding.task, Cell::of(finding).words()))
            .chain(
                missing
                    .iter()
                    .map(|task| format!("{task} {}", Verdict::Untested.words())),
            )
            .collect(),
    };
    Summary {
        verdict: Verdict::of(&parts),
        basis: common_basis(&judged),
        tasks: tasks.join(", "),
    }
}

fn common_basis(judged: &[&Finding]) -> Basis {
    let tested = judged
        .iter()
        .filter(|finding| finding.verdict != Verdict::Untested);
    let reduced: Vec<String> = tested
        .filter_map(|finding| match &finding.basis {
            Basis::Full => None,
            Basis::Reduced(words) if judged.len() == 1 => Some(words.clone()),
            Basis::Reduced(words) => Some(format!("{}: {words}", finding.task)),
        })
        .collect();
    match reduced.is_empty() {
        true => Basis::Full,
        false => Basis::Reduced(reduced.join("; ")),
    }
}

/// A verdict with its basis: a reduced one in parentheses, so that it is never taken for a full one.
fn with_basis(verdict: Verdict, basis: &Basis) -> String {
    let words = verdict.words();
    match basis {
        Basis::Reduced(_) if verdict != Verdict::Untested => format!("({words})"),
        _ => words.to_owned(),
    }
}

impl Cell {
    fn of(finding: &Finding) -> Self {
        Self {
            task: finding.task.clone(),
            verdict: finding.verdict,
            basis: finding.basis.clone(),
            reported_only: finding.parts.is_empty(),
        }
    }

    /// The verdict and what is reduced, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.basis {
            Basis::Reduced(words) if self.verdict != Verdict::Untested => {
                format!("{} (reduced: {words})", self.verdict.words())
            }
            _ => self.verdict.words().to_owned(),
        }
    }

    /// The verdict alone, a reduced one in parentheses.
    #[must_use]
    pub fn short(&self) -> String {
        match self.reported_only {
            true => "reported".to_owned(),
            false => with_basis(self.verdict, &self.basis),
        }
    }
}

impl Summary {
    /// The verdict alone, a reduced one in parentheses.
    #[must_use]
    pub fn short(&self) -> String {
        with_basis(self.verdict, &self.basis)
    }
}

/// For a terminal: a line for each claim, its summary and what each section found.
impl std::fmt::Display for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const WIDTH: usize = 18;
        write!(f, "{:5}{:WIDTH$}", "", "all")?;
        for section in &self.sections {
            write!(f, "{section:WIDTH$}")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(
                f,
                "{:5}{:WIDTH$}",
                row.claim.to_string(),
                row.summary.short()
            )?;
            let lines = row.cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
            for line in 0..lines {
                if line > 0 {
                    write!(f, "{:1$}", "", 5 + WIDTH)?;
                }
                for cells in &row.cells {
                    let cell = cells.get(line).map(Cell::short).unwrap_or_default();
                    write!(f, "{cell:WIDTH$}")?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "In parentheses: on a reduced basis.")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::Part;
    use super::*;

    fn finding(claim: Claim, task: &str, parts: &[Option<bool>], basis: Basis) -> Finding {
        let part = |holds: &Option<bool>| Part {
            what: String::new(),
            holds: *holds,
            evidence: String::new(),
        };
        Finding {
            claim,
            task: task.to_owned(),
            verdict: Verdict::of(parts),
            basis,
            evidence: String::new(),
            parts: parts.iter().map(part).collect(),
            measured: Map::new(),
        }
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    fn summary_of(findings: Vec<Finding>) -> Summary {
        let row = findings[0].claim as usize;
        matrix(&[("3.1".to_owned(), findings)]).rows[row]
            .summary
            .clone()
    }

    #[test]
    fn claims_stand_by_section() {
        let reduced = || Basis::Reduced("1 seed".to_owned());
        let sections = [
            (
                "3.1".to_owned(),
                vec![finding(Claim::C3, "regression", &[YES], Basis::Full)],
            ),
            (
                "3.6".to_owned(),
                vec![
                    finding(Claim::C11, "MNIST", &[YES, NO], Basis::Full),
                    finding(Claim::C11, "DNC", &[NO, NO, NO], reduced()),
                ],
            ),
        ];
        let matrix = matrix(&sections);
        assert_eq!(matrix.sections, ["3.1", "3.6"]);
        let shown = |row: usize, section: usize| {
            let cells = matrix.rows[row].cells[section].iter();
            cells
                .map(|cell| format!("{} {}", cell.task, cell.short()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(shown(2, 0), "regression reproduced");
        assert_eq!(shown(2, 1), "");
        assert_eq!(shown(10, 1), "MNIST partly, DNC (not reproduced)");
        let summary = &matrix.rows[10].summary;
        assert_eq!(summary.verdict, Verdict::NotReproduced, "1 of 5 parts");
        assert_eq!(summary.basis, Basis::Reduced("DNC: 1 seed".to_owned()));
        assert_eq!(
            summary.tasks,
            "MNIST partly, DNC not reproduced (reduced: 1 seed)"
        );
        let text = matrix.to_string();
        let line = text.lines().find(|line| line.starts_with("C11")).unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "C11 (not reproduced) partly"
        );
    }

    #[test]
    fn the_summary_of_c1_gives_all_five_tasks() {
        let of = |task| finding(Claim::C1, task, &[YES, YES], Basis::Full);
        let mut findings: Vec<Finding> = Claim::C1.tasks().iter().map(|task| of(task)).collect();
        assert_eq!(summary_of(findings.clone()).verdict, Verdict::Reproduced);
        findings.pop();
        let four = summary_of(findings);
        assert_eq!(four.verdict, Verdict::Partly);
        let tasks = "regression reproduced, MNIST reproduced, CIFAR-10 reproduced, DNC reproduced, Fashion-MNIST untested";
        assert_eq!(four.tasks, tasks);
    }

    #[test]
    fn what_is_reported_only_does_not_count() {
        let findings = vec![
            finding(Claim::C6, "MNIST", &[YES, YES], Basis::Full),
            finding(Claim::C6, "DNC", &[YES, YES], Basis::Full),
            finding(
                Claim::C6,
                "CIFAR-10",
                &[],
                Basis::Reduced("1 seed".to_owned()),
            ),
        ];
        let cell = Cell::of(&findings[2]);
        assert_eq!(
            (cell.short(), cell.reported_only),
            ("reported".to_owned(), true)
        );
        let summary = summary_of(findings);
        assert_eq!(
            (summary.verdict, summary.basis),
            (Verdict::Reproduced, Basis::Full)
        );
    }

    #[test]
    fn a_single_reduced_basis_is_given_in_its_words_and_that_of_an_untested_task_is_not() {
        let reduced = |parts| {
            finding(
                Claim::C8,
                "CIFAR-10",
                parts,
                Basis::Reduced("1 seed".to_owned()),
            )
        };
        let summary = summary_of(vec![reduced(&[YES, NO])]);
        assert_eq!(
            (summary.short(), summary.basis),
            ("(partly)".to_owned(), Basis::Reduced("1 seed".to_owned()))
        );
        let untested = summary_of(vec![reduced(&[None])]);
        assert_eq!(
            (untested.short(), untested.basis),
            ("untested".to_owned(), Basis::Full)
        );
    }
}
