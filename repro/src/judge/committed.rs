//! Judging what is committed: every section's numbers below `repro/reference`, its `claims.json`, and the matrix.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use paper_figures::Targets;

use super::{Finding, judge_section};
use crate::engine::files;
use crate::engine::reference::{self, NUMBERS};
use crate::numbers::Numbers;
use crate::results::{self, Claims};

const CLAIMS: &str = "claims.json";

/// A folder of a section and its numbers.
struct Judged {
    folder: PathBuf,
    section: String,
    numbers: Vec<Numbers>,
}

fn all(root: &Path) -> Result<Vec<Judged>> {
    // Beside the paper's claims.
    let apart = ["tune", "rate_free"].map(|name| root.join(name));
    let mut sections = Vec::new();
    for folder in reference::folders(root, NUMBERS)? {
        if apart.iter().any(|other| folder.starts_with(other)) {
            continue;
        }
        let numbers = reference::read(&folder)?.unwrap_or_default();
        let section = numbers.first().map(|numbers| numbers.section.clone());
        sections.extend(section.map(|section| Judged {
            folder,
            section,
            numbers,
        }));
    }
    Ok(sections)
}

/// The committed numbers of all sections but one, for the claims that compare sections.
///
/// # Errors
/// If a file is damaged.
pub fn committed(root: &Path, but: &str) -> Result<Vec<Numbers>> {
    let others = all(root)?
        .into_iter()
        .filter(|judged| judged.section != but);
    Ok(others.flat_map(|judged| judged.numbers).collect())
}

/// Judges all sections below `root` by the rules of this program, and gives the matrix for a terminal, and what was rewritten. What a
/// `claims.json` there says otherwise is rewritten, and so is what on the pages and in the generated blocks of `readme` is not of
/// what lies there; or with `check` a verdict that the rules do not say is an error, and nothing is written.
///
/// # Errors
/// If a file is damaged or cannot be written; with `check`, if a verdict is not what the rules say.
pub fn judge_all(root: &Path, readme: Option<&Path>, check: bool) -> Result<String> {
    let sections = all(root)?;
    ensure!(
        !sections.is_empty(),
        "there are no numbers in {}",
        root.display()
    );
    for folder in reference::folders(root, CLAIMS)? {
        ensure!(
            folder.join(NUMBERS).exists(),
            "{} has {CLAIMS}, but not the {NUMBERS} that it rests on: restore that from version control",
            folder.display()
        );
    }
    let mut found: Vec<(&str, Claims)> = Vec::new();
    let mut rewritten = Vec::new();
    for judged in &sections {
        let others = sections
            .iter()
            .filter(|other| other.section != judged.section)
            .flat_map(|other| &other.numbers);
        let findings = judge_section(&judged.numbers, others);
        let (claims, is_new) = update(&judged.folder, findings, check)?;
        rewritten.extend(is_new.then(|| judged.folder.join(CLAIMS)));
        found.push((&judged.section, claims));
    }
    let columns: Vec<_> = found
        .iter()
        .map(|(section, claims)| (*section, claims))
        .collect();
    let mut text = paper_figures::terminal::matrix(&columns);
    for file in &rewritten {
        text += &format!("wrote {}\n", file.display());
    }
    if !check {
        // Also where no verdict was rewritten: the last call may have been stopped before it came to the pages.
        for file in draw(root, readme)? {
            text += &format!("wrote {}\n", file.display());
        }
    }
    Ok(text)
}

/// Draws what on the pages and pictures of the results below `root`, and in `readme`, is not up to date; says what that was.
fn draw(root: &Path, readme: Option<&Path>) -> Result<Vec<PathBuf>> {
    let (targets, errors) = Targets::read(&[root.to_owned()], None);
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    let mut written = targets.refresh()?;
    if let Some(readme) = readme
        && targets.update(readme)?
    {
        written.push(readme.to_owned());
    }
    Ok(written)
}

/// The claims of a section by the rules of this program, and whether they were written.
fn update(folder: &Path, judged: Vec<Finding>, check: bool) -> Result<(Claims, bool)> {
    let file = folder.join(CLAIMS);
    let text = files::read(&file)?.with_context(|| {
        format!(
            "{} is missing: its section's binary writes it",
            file.display()
        )
    })?;
    let mut claims: Claims =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    if claims.claims == judged {
        return Ok((claims, false));
    }
    let (theirs, ours) = (said(&claims.claims), said(&judged));
    let ours = match theirs == ours {
        true => "the same on other evidence".to_owned(),
        false => ours,
    };
    ensure!(
        !check,
        "{} says {theirs}, but the rules of this program say {ours}: run `cargo run -p repro --bin judge` and commit what it writes",
        file.display()
    );
    claims.claims = judged;
    results::write(folder, &claims)?;
    Ok((claims, true))
}

fn said(claims: &[Finding]) -> String {
    let verdicts = claims
        .iter()
        .map(|claim| format!("{} {}", claim.id, claim.verdict));
    verdicts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::reference_root;
    use std::fs;

    /// Committed files of a section, in a folder of its name in `root`.
    fn copy(root: &Path, section: &str, files: &[&str]) -> PathBuf {
        let (from, to) = (reference_root().join(section), root.join(section));
        fs::create_dir(&to).unwrap();
        for file in files {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
        to
    }

    #[test]
    fn a_verdict_that_the_rules_do_not_say_is_mended_or_an_error() {
        let root = tempfile::tempdir().unwrap();
        let folder = copy(root.path(), "section3_1", &[NUMBERS, CLAIMS]);
        let readme = root.path().join("README.md");
        let block = "<!-- generated: matrix -->\n\n<!-- /generated -->\n";
        fs::write(&readme, block).unwrap();
        let text = fs::read_to_string(folder.join(CLAIMS)).unwrap();
        let wrong = text.replacen("\"partly\"", "\"reproduced\"", 1);
        assert_ne!(text, wrong);
        fs::write(folder.join(CLAIMS), &wrong).unwrap();
        assert!(judge_all(root.path(), Some(&readme), true).is_err());
        assert_eq!(fs::read_to_string(folder.join(CLAIMS)).unwrap(), wrong);
        assert_eq!(fs::read_to_string(&readme).unwrap(), block);
        let said = judge_all(root.path(), Some(&readme), false).unwrap();
        assert!(said.contains("wrote ") && said.contains(CLAIMS), "{said}");
        assert_eq!(fs::read_to_string(folder.join(CLAIMS)).unwrap(), text);
        let drawn = |page: &Path| fs::read_to_string(page).unwrap();
        assert!(drawn(&readme).contains("◐"), "{}", drawn(&readme));
        assert!(drawn(&folder.join("README.md")).contains("partly"));
        let again = judge_all(root.path(), Some(&readme), false).unwrap();
        assert!(!again.contains("wrote "), "{again}");
        let page = folder.join("README.md");
        let whole = drawn(&page);
        fs::write(&page, "as it was before").unwrap();
        let mended = judge_all(root.path(), Some(&readme), false).unwrap();
        assert_eq!(mended.matches("wrote ").count(), 1, "{mended}");
        assert_eq!(drawn(&page), whole);
    }

    #[test]
    fn verdicts_without_the_numbers_that_they_rest_on_are_found() {
        let root = tempfile::tempdir().unwrap();
        copy(root.path(), "section3_1", &[NUMBERS, CLAIMS]);
        judge_all(root.path(), None, true).unwrap();
        copy(root.path(), "section3_2", &[CLAIMS]);
        let error = judge_all(root.path(), None, true).unwrap_err().to_string();
        assert!(error.contains("section3_2 has claims.json"), "{error}");
    }
}
