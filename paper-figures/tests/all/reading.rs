//! What a person writes beside the results, and what becomes of it on the pages.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures;

/// The claims of a section that has one of them on two tasks.
fn claims() -> Value {
    let claim = |id: &str, task: Option<&str>, verdict: &str, measured: Value| {
        let mut claim = json!({
            "id": id, "claim": "made up", "verdict": verdict, "evidence": "made up", "measured": measured
        });
        if let Some(task) = task {
            claim["task"] = task.into();
        }
        claim
    };
    let measured = json!({
        "steps_Adam*": 2341.26, "loss at 1e-3": 4.43124e-14, "runs": 5, "never": "infinite",
        "ratio": {"n": 5, "mean": 3.66041, "interval": [1.95962, 6.80123]}, "alone": {"n": 1, "mean": 0.5},
        "counts": [5.0, 2.0, 3.70064e-15], "first": ["infinite"], "odd": {"low": 1}, "none": null, "nothing": []
    });
    fixtures::file(
        "claims",
        "Claims of section 3.1",
        json!({"claims": [
            claim("C1", None, "not reproduced", measured),
            claim("C11", Some("MNIST"), "partly", json!({"ratio": 0.25})),
            claim("C11", Some("running time"), "reproduced", json!({"ratio": 4})),
        ]}),
    )
}

fn table() -> Value {
    let mut table = fixtures::table2();
    let mut again = table["rows"][0].clone();
    again["weights"] = 192.into();
    again["seconds"] = 0.5.into();
    table["rows"].as_array_mut().expect("rows").push(again);
    table
}

/// The page of a section with that reading, or why there is none.
fn page(reading: &str) -> Result<String, String> {
    let (folder, result) = published(Some(reading));
    match result {
        Ok(()) => Ok(fs::read_to_string(folder.path().join("README.md")).expect("a page")),
        Err(error) => {
            let names = fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(names, 3, "nothing is written");
            let place = format!("{}:", folder.path().join("reading.md").display());
            let rest = error.strip_prefix(&place);
            Err(rest
                .unwrap_or_else(|| panic!("expected {place}, found {error}"))
                .to_owned())
        }
    }
}

fn published(reading: Option<&str>) -> (TempDir, Result<(), String>) {
    let folder = tempfile::tempdir().expect("a folder");
    for file in [claims(), table()] {
        let name = format!("{}.json", file["id"].as_str().expect("an id"));
        fs::write(folder.path().join(name), file.to_string()).expect("written");
    }
    if let Some(reading) = reading {
        fs::write(folder.path().join("reading.md"), reading).expect("written");
    }
    let result = paper_figures::publish(folder.path());
    (
        folder,
        result.map(|_| ()).map_err(|error| error.to_string()),
    )
}

#[test]
fn references_become_what_the_results_say() {
    for (reference, expected) in [
        ("C1", "not reproduced"),
        ("C11 running time", "reproduced"),
        ("C1:steps_Adam*", "2,341"),
        ("C1:loss at 1e-3", "4.431×10⁻¹⁴"),
        ("C1:loss at\n  1e-3", "4.431×10⁻¹⁴"),
        ("C1:runs", "5"),
        ("C1:never", "infinite"),
        ("C1:ratio", "3.660 (1.960 to 6.801)"),
        ("C1:alone", "0.5000"),
        ("C1:counts", "5, 2 and 3.701×10⁻¹⁵"),
        ("C1:counts#2", "2"),
        ("C1:first", "infinite"),
        ("C11 MNIST:ratio", "0.2500"),
        ("C1=not reproduced", "not reproduced"),
        ("C11 running time:ratio", "4"),
        ("table2[method=LMA*].steps", "12.4 ± 1.1"),
        ("table2[method=a|b].weights", "–"),
        ("table2[weights=192][method=L4Adam*].seconds", "0.5"),
        (
            "table2[method=L4Mom*].steps",
            "8,210 ± 1,203 (n = 3; 2/5 not reached)",
        ),
    ] {
        let page = page(&format!("It is {{{reference}}}."))
            .unwrap_or_else(|error| panic!("{reference}: {error}"));
        assert!(
            page.contains(&format!("\nIt is {expected}.\n")),
            "{reference}: {page}"
        );
    }
}

#[test]
fn what_cannot_be_followed_is_named_with_its_line_and_what_there_is() {
    for (reading, line, parts) in [
        (
            "a {C2:x}",
            1,
            &[
                "`{C2:x}`",
                "claims (C1, C11 MNIST, C11 running time)",
                "`C2`",
            ][..],
        ),
        (
            "a\n\nb {C11:ratio}",
            3,
            &["`{C11:ratio}`", "C11 MNIST, C11 running time"],
        ),
        (
            "a {C1:Adam}",
            1,
            &["`{C1:Adam}`", "steps_Adam*, loss at 1e-3"],
        ),
        ("a {C1:counts#4}", 1, &["`counts#4`"]),
        (
            "a {C1=untested}",
            1,
            &["`{C1=untested}`", "the verdict is not reproduced"],
        ),
        ("a {C1:counts#0}", 1, &["`counts#0`"]),
        ("a {C1:odd}", 1, &["`{C1:odd}`", "an estimate"]),
        ("a {C1:none}", 1, &["found null"]),
        ("a {C1:nothing}", 1, &["found []"]),
        ("a {}", 1, &["`{}`", "claims (C1"]),
        (
            "a {table9[method=LMA*].steps}",
            1,
            &["tables (table2)", "`table9`"],
        ),
        (
            "- a\n- b {table2[method=Lion].steps}",
            2,
            &["[method=LMA*]", "`[method=Lion]`"],
        ),
        (
            "a {table2[method=L4Adam*].steps}",
            1,
            &["each once", "[method=L4Adam*], [method=L4Mom*]"],
        ),
        (
            "a {table2[kind=LMA*].steps}",
            1,
            &["columns (method, weights, steps, seconds)", "`kind`"],
        ),
        (
            "a {table2[method=LMA*].time}",
            1,
            &["columns (method", "`time`"],
        ),
        (
            "a {table2[method=LMA*]}",
            1,
            &["`table2[column=what it shows].column`"],
        ),
        (
            "a {table2[LMA*].steps}",
            1,
            &["`table2[column=what it shows].column`"],
        ),
        ("a\nb {C1", 2, &["expected `}`"]),
        ("a } b", 1, &["found `}`"]),
        ("a\n**b\nc", 2, &["`**` after `**`"]),
        ("a ****", 1, &["`**` after `**`"]),
        ("a [b] c", 1, &["`](` after `[`"]),
        ("a [b](c", 1, &["expected `)`"]),
        ("a [b]()", 1, &["a target without spaces"]),
        ("a [b](c\nd)", 1, &["a target without spaces"]),
        ("a [](c)", 1, &["`](` after `[`"]),
        ("a ] b", 1, &["found `]`"]),
        ("a `b`", 1, &["found ``"]),
        ("a L4Adam\\* b", 1, &["found `\\`"]),
        ("a\n# b", 2, &["found `# b`"]),
        ("> a", 1, &["found `> a`"]),
        ("* a", 1, &["found `* a`"]),
        ("-", 1, &["found `-`"]),
        ("| a |", 1, &["found `| a |`"]),
    ] {
        let error = page(reading).expect_err(reading);
        let problem = error.strip_prefix(&format!("{line}: "));
        let problem =
            problem.unwrap_or_else(|| panic!("{reading}: expected line {line}, found {error}"));
        for part in parts {
            assert!(
                problem.contains(part),
                "{reading}: expected {part}, found {problem}"
            );
        }
    }
}

#[test]
fn paragraphs_and_bullets_stand_between_tables_and_claims() {
    let reading = "One *line*\n  and **{C1} by L4Adam*** of [the\ntable](table2.md).\n\n- a\n  b\n- **c**\n\n- d <e>\nf\n";
    let page = page(reading).expect("a page");
    let expected = "\n\n## Reading\n\nOne \\*line\\* and **not reproduced by L4Adam\\*** of [the table](table2.md).\n\n\
                    - a b\n- **c**\n- d &lt;e> f\n\n## The paper's claims\n\n";
    assert!(page.contains(expected), "{page}");
    let place = |what: &str| page.find(what).expect(what);
    assert!(place("| a\\|b |") < place("## Reading"));
}

#[test]
fn without_a_reading_there_is_no_heading() {
    for reading in [None, Some(""), Some("\n \n")] {
        let (folder, result) = published(reading);
        result.expect("published");
        for page in ["README.md", "report.html"] {
            let page = fs::read_to_string(folder.path().join(page)).expect("a page");
            assert!(!page.contains("Reading"), "{page}");
        }
    }
}
