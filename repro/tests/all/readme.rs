//! What the README says of the claims is what the committed verdicts are.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The verdict on a claim in a section's committed file; on this task, where there are several.
fn verdict(root: &Path, section: &str, id: &str, task: Option<&str>) -> String {
    let file = root
        .join("repro/reference")
        .join(section)
        .join("claims.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let claims: Value = serde_json::from_str(&text).unwrap();
    let mut claims = claims["claims"].as_array().unwrap().iter();
    let claim =
        claims.find(|claim| claim["id"] == id && task.is_none_or(|task| claim["task"] == task));
    let claim = claim.unwrap_or_else(|| panic!("{section} has no {id}"));
    claim["verdict"].as_str().unwrap().to_owned()
}

/// Every sentence of the README that rests on a verdict ends with a comment that names it: `<!-- section3_1 C3: partly -->`,
/// and its task, if there are several: `<!-- section3_6 C11 DNC: partly -->`.
#[test]
fn the_readme_says_what_the_verdicts_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let comments = readme.split("<!-- section").skip(1);
    let mut checked = 0;
    for comment in comments {
        let (comment, _) = comment.split_once(" -->").unwrap();
        let (place, expected) = comment.split_once(": ").unwrap();
        let (section, claim) = place.split_once(' ').unwrap();
        let (id, task) = match claim.split_once(' ') {
            Some((id, task)) => (id, Some(task)),
            None => (claim, None),
        };
        let found = verdict(&root, &format!("section{section}"), id, task);
        assert_eq!(found, expected, "section{place}");
        checked += 1;
    }
    assert!(checked > 0, "no sentence names its verdict");
}

/// Where a link of a page leads that is none to the web or within the page.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.starts_with("http") && !target.starts_with('#'))
}

#[test]
fn every_link_of_the_readmes_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = ["README.md", "l4/README.md", "repro/reference/README.md"]
        .map(|page| root.join(page))
        .to_vec();
    let found = |page: &PathBuf| links(&fs::read_to_string(page).unwrap()).count();
    assert!(
        pages.iter().all(|page| found(page) > 0),
        "a page without links"
    );
    for section in root.join("repro/reference").read_dir().unwrap() {
        let page = section.unwrap().path().join("README.md");
        pages.extend(page.exists().then_some(page));
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let (target, _) = link.split_once('#').unwrap_or((link, ""));
            let target = page.parent().unwrap().join(target);
            assert!(target.exists(), "{} links {link}", page.display());
        }
    }
}
