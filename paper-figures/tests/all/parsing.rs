//! Broken result files are refused with a message that says where and why, and never panic.

use paper_figures::results::{Entry, Parsed, parse};
use serde_json::{Value, json};

use crate::fixtures;

/// Sets what lies at a JSON pointer, or adds it to the object there.
fn with(mut file: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match file.pointer_mut(parent).expect("an existing place") {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        place => place[key] = value,
    }
    file
}

fn without(mut file: Value, parent: &str, key: &str) -> Value {
    file.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("an object")
        .remove(key);
    file
}

#[test]
fn what_breaks_the_contract_is_named() {
    use fixtures::{claims, figure3, table2};
    for (file, at, problem) in [
        (json!([1]), "", "expected a JSON object"),
        (json!({}), "", "missing field `id`"),
        (without(figure3(), "", "series"), "", "found none of them"),
        (
            without(figure3(), "", "provenance"),
            "",
            "missing field `provenance`",
        ),
        (
            without(figure3(), "/provenance", "git_commit"),
            "provenance",
            "missing field `git_commit`",
        ),
        (
            with(figure3(), "/title", json!(3)),
            "title",
            "expected a string",
        ),
        (
            with(figure3(), "/deviations", json!("none")),
            "deviations",
            "expected a sequence",
        ),
        (
            with(figure3(), "/series", json!({})),
            "series",
            "expected a sequence",
        ),
        (
            with(figure3(), "/axes", json!([])),
            "axes",
            "at least one panel",
        ),
        (
            with(figure3(), "/axes/1/panel", json!("a")),
            "axes[1].panel",
            "`a` twice",
        ),
        (
            with(figure3(), "/axes/0/y/scale", json!("square")),
            "axes[0].y.scale",
            "unknown variant `square`",
        ),
        (
            with(figure3(), "/series/1/mean/3", json!("NaN")),
            "series[1].mean[3]",
            "expected f64",
        ),
        (
            with(figure3(), "/series/1/x/3", json!(null)),
            "series[1].x[3]",
            "expected f64",
        ),
        (
            with(figure3(), "/series/1/x/3", json!(-1)),
            "series[1].x[3]",
            "never to decrease",
        ),
        (
            with(figure3(), "/series/1/mean", json!([1.0])),
            "series[1].mean",
            "expected 31 values, as many as `x` has, found 1",
        ),
        (
            with(figure3(), "/series/1/high/2", json!(-1e9)),
            "series[1].low[2]",
            "expected at most `high`",
        ),
        (
            with(figure3(), "/series/1/mean/2", json!(1e301)),
            "series[1].mean[2]",
            "at most 1e300",
        ),
        (
            with(figure3(), "/series/1/panel", json!("z")),
            "series[1].panel",
            "(a, b), found `z`",
        ),
        (
            with(figure3(), "/series/1/method", json!("mSGD")),
            "series[1].method",
            "`mSGD` twice in panel `a`",
        ),
        (
            with(figure3(), "/series/1/n", json!(2.5)),
            "series[1].n",
            "expected usize",
        ),
        (
            with(table2(), "/columns", json!([])),
            "columns",
            "at least one column",
        ),
        (
            with(table2(), "/rows/1", json!([])),
            "rows[1]",
            "expected a map",
        ),
        (
            with(table2(), "/rows/1/steps", json!(true)),
            "rows[1].steps",
            "expected a string, a number, or an object",
        ),
        (
            with(table2(), "/rows/1/steps/mean", json!("x")),
            "rows[1].steps.mean",
            "expected f64",
        ),
        (
            with(figure3(), "/series/1/mean/2", json!(null)),
            "series[1].mean[2]",
            "expected f64",
        ),
        (
            with(figure3(), "/series/1/band", json!("none")),
            "series[1].low",
            "expected 0 values",
        ),
        (
            with(figure3(), "/series/1/style", json!("wavy")),
            "series[1].style",
            "unknown variant `wavy`",
        ),
        (
            with(figure3(), "/series/1/colour", json!("red")),
            "series[1].colour",
            "unknown field `colour`",
        ),
        (
            with(figure3(), "/colour", json!("red")),
            "",
            "unknown field `colour`",
        ),
        (
            with(table2(), "/rows/1/colour", json!("red")),
            "rows[1].colour",
            "the key of a column (method, weights, steps, seconds), found `colour`",
        ),
        (
            with(table2(), "/columns/1/key", json!("method")),
            "columns[1].key",
            "`method` twice",
        ),
        (
            with(table2(), "/rows/1/steps/n", json!(4)),
            "rows[1].steps.n",
            "expected 3, the number of `values`, found 4",
        ),
        (
            with(table2(), "/rows/1/steps/mean", json!(null)),
            "rows[1].steps.mean",
            "expected a number if there are values",
        ),
        (
            with(table2(), "/rows/1/steps/std", json!(null)),
            "rows[1].steps.std",
            "expected a number if there are two values",
        ),
        (
            without(table2(), "/rows/1/steps", "std"),
            "rows[1].steps",
            "missing field `std`",
        ),
        (
            with(claims(), "/claims/0/basis", json!("half")),
            "claims[0].basis",
            "unknown variant `half`",
        ),
        (
            without(
                with(claims(), "/claims/1/id", json!("C3")),
                "/claims/1",
                "task",
            ),
            "claims[1].id",
            "`C3` twice",
        ),
        (
            without(table2(), "/rows/1/steps", "n"),
            "rows[1].steps",
            "missing field `n`",
        ),
        (
            with(claims(), "/claims/0/verdict", json!("maybe")),
            "claims[0].verdict",
            "unknown variant `maybe`",
        ),
        (
            without(claims(), "/claims/1", "evidence"),
            "claims[1]",
            "missing field `evidence`",
        ),
    ] {
        let found = parse(&file.to_string()).expect_err(problem);
        assert_eq!(found.at.trim_matches('.'), at, "{found}");
        assert!(
            found.problem.contains(problem),
            "expected {problem}, found {found}"
        );
    }
}

#[test]
fn text_that_is_not_json_is_named_by_line() {
    for (text, problem) in [
        ("", "EOF while parsing a value at line 1"),
        ("{\"id\": NaN}", "expected value at line 1"),
        ("{\"id\": 1e999}", "number out of range"),
        ("{\n\"id\": \"x\"", "EOF while parsing an object at line 2"),
    ] {
        let found = parse(text).expect_err(problem);
        assert!(
            found.problem.contains(problem),
            "expected {problem}, found {found}"
        );
    }
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    let text = fixtures::table2().to_string();
    for end in text.char_indices().map(|(i, _)| i) {
        assert!(parse(&text[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_row_may_leave_entries_out() {
    let file = without(fixtures::table2(), "/rows/0", "steps");
    let Parsed::Table(table) = parse(&file.to_string()).expect("valid") else {
        panic!("expected a table")
    };
    assert_eq!(table.rows[0].get("steps"), None);
    assert_eq!(table.rows[3]["steps"], Entry::Integer(17));
}

#[test]
fn what_is_read_is_written_as_it_was() {
    use fixtures::{claims, figure2, figure3, figure8, table2};
    for file in [claims(), figure2(), figure3(), figure8(), table2()] {
        let again = serde_json::to_value(parse(&file.to_string()).expect("valid"));
        assert_eq!(again.expect("JSON"), file);
    }
}
