//! Broken result files are refused with a message that says where and why, and never panic.

mod fixtures;

use paper_figures::results::{Body, Cell, parse};
use serde_json::{Value, json};

/// Sets what lies at a JSON pointer.
fn with(mut file: Value, pointer: &str, value: Value) -> Value {
    *file.pointer_mut(pointer).expect("an existing place") = value;
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
fn the_fixtures_are_valid() {
    for file in [
        fixtures::figure2(),
        fixtures::figure3(),
        fixtures::figure8(),
        fixtures::table2(),
        fixtures::claims(),
    ] {
        parse(&file.to_string()).expect("valid");
    }
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
            with(figure3(), "/series", json!([])),
            "series",
            "at least one series",
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
            "expected u64",
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
            "expected a string, a number, null",
        ),
        (
            with(table2(), "/rows/1/steps/mean", json!("x")),
            "rows[1].steps.mean",
            "expected f64",
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
fn null_is_a_gap_and_unknown_fields_are_ignored() {
    let mut file = with(fixtures::figure3(), "/series/1/mean/2", json!(null));
    file["series"][1]["colour"] = json!("red");
    file["new"] = json!({"a": [1]});
    let Body::Figure(figure) = parse(&file.to_string()).expect("valid").body else {
        panic!("expected a figure")
    };
    assert_eq!(figure.series[1].mean[2], None);
}

#[test]
fn a_row_may_leave_cells_out() {
    let file = without(fixtures::table2(), "/rows/0", "steps");
    let Body::Table(table) = parse(&file.to_string()).expect("valid").body else {
        panic!("expected a table")
    };
    assert_eq!(table.rows[0][2], Cell::Empty);
    assert_eq!(table.rows[3][2], Cell::Number(17.0));
}
