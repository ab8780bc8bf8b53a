//! The schema describes what the sections write.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use repro::sections::{
    self, Section, rate_free, section3_1, section3_2, section3_3, section3_4, section3_5,
    section3_6,
};
use serde_json::{Value, json};
use tempfile::tempdir;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema() -> Validator {
    jsonschema::draft202012::new(&paper_figures::results::schema().to_value()).unwrap()
}

fn valid(schema: &Validator, value: &Value) -> Result<(), String> {
    let errors: Vec<String> = schema
        .iter_errors(value)
        .map(|e| format!("{} at {}", e, e.instance_path()))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}

/// Runs a section into a directory.
fn run(section: &'static Section, out: &Path, words: &str) {
    let out = out.to_str().unwrap();
    let words = ["section", "--preset", "smoke", "--out", out]
        .into_iter()
        .chain(words.split(';'));
    let arguments = sections::parse(section, words).unwrap();
    sections::run(section, &arguments).unwrap();
}

/// A file of a directory, which is as the schema has it.
fn check(out: &Path, id: &str) -> Value {
    let file = read(&out.join(id).with_extension("json"));
    valid(&schema(), &file).unwrap_or_else(|errors| panic!("{id}: {errors}"));
    file
}

#[test]
fn what_the_sections_on_mnist_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path();
    let words = "--seeds;1;--epochs;1;--methods;L4Adam,L4Mom;--tensorboard";
    run(&section3_2::SECTION, out, words);
    let words = "--seeds;1;--epochs;1;--part;mnist;--tensorboard";
    run(&section3_6::SECTION, out, words);
    for id in ["figure3", "table3", "figure8", "claims"] {
        let file = check(out, id);
        assert_eq!(file["provenance"]["data"]["name"], "synthetic MNIST");
    }
    let events = directory.path().join("tensorboard").read_dir().unwrap();
    // Two methods at the one batch size of 3.2, and at the four of 3.6, of which the last is the same.
    assert_eq!(events.count(), 2 * 4);
}

#[test]
fn what_the_sections_on_larger_networks_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path();
    let words = "--epochs;1;--threads;2;--methods";
    run(&section3_5::SECTION, out, &format!("{words};L4Adam"));
    run(
        &section3_3::SECTION,
        out,
        &format!("{words};default policy"),
    );
    for id in ["figure4", "figure5", "figure7", "table4", "claims"] {
        assert_eq!(check(out, id)["provenance"]["threads"], 2);
    }
}

#[test]
fn what_the_sections_on_the_dnc_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path();
    run(&section3_4::SECTION, out, "--seeds;1;--steps;100");
    let table = check(out, "repeat_copy");
    let methods = table["rows"].as_array().unwrap().iter();
    let methods: Vec<&str> = methods.map(|row| row["method"].as_str().unwrap()).collect();
    assert!(
        ["L4Adam", "L4Mom", "RMSProp", "Adam", "mSGD"]
            .iter()
            .all(|name| methods.contains(name))
    );
    let figure = check(out, "figure6");
    // (a) has a curve for each method, (b) the rates of those that choose them, and plain Adam's.
    assert_eq!(
        figure["series"].as_array().unwrap().len(),
        methods.len() + 3
    );
    run(
        &section3_6::SECTION,
        out,
        "--seeds;1;--part;dnc;--sequences;1600",
    );
    let sweep = check(out, "claims");
    let settings = sweep["protocol"]["hyperparameters"].as_object().unwrap();
    assert_eq!(settings.len(), 2 * 4);
    let series = check(out, "figure9")["series"].as_array().unwrap().clone();
    assert_eq!(series.len(), 2 * 4);
    assert!(series.iter().all(|series| series["x"] == json!([1600.0])));
}

#[test]
fn what_is_written_of_todays_methods_is_valid_and_not_judged() {
    let directory = tempdir().unwrap();
    let out = directory.path();
    let words = ["rate_free", "--preset", "smoke", "--task", "regression,dnc"];
    let words = words.into_iter().chain(["--out", out.to_str().unwrap()]);
    let arguments = sections::parse(&rate_free::SECTION, words).unwrap();
    rate_free::run(&arguments).unwrap();
    for id in [
        "loss_3_1",
        "loss_3_4",
        "profile",
        "settings",
        "standing",
        "standing_loss",
        "standing_steps",
    ] {
        check(out, id);
    }
    assert!(
        !out.join("standing_error.json").exists(),
        "neither task has images to test on"
    );
    let table = check(out, "rate_free");
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 14);
    let pairs = rows.iter().map(|row| row["time"]["n"].as_u64());
    assert!(pairs.into_iter().all(|pairs| pairs == Some(2)));
    let protocol = &table["protocol"];
    assert!(protocol["steps"].is_null(), "the tasks differ in it");
    for (arm, length) in [("regression: DoG", 300), ("DNC: DoG", 100)] {
        assert_eq!(protocol["hyperparameters"][arm]["steps"], length, "{arm}");
    }
    let said = table["deviations"].as_array().unwrap();
    assert!(
        said.contains(&json!("Not run here: MNIST, Fashion-MNIST.")),
        "{said:?}"
    );
    assert!(!out.join("claims.json").exists());
    // With another seed asked for, what is finished is what was there, and nothing is computed.
    let words = "rate_free;--preset;smoke;--seeds;3;--finished;--out".split(';');
    let words = words.chain([out.to_str().unwrap()]);
    let arguments = sections::parse(&rate_free::SECTION, words).unwrap();
    rate_free::run(&arguments).unwrap();
    let again = check(out, "rate_free");
    let losses = |table: &Value| -> Vec<Value> {
        let rows = table["rows"].as_array().unwrap().iter();
        rows.map(|row| row["loss"].clone()).collect()
    };
    assert_eq!(losses(&again), losses(&table));
    let said = again["deviations"].as_array().unwrap();
    assert!(
        said.contains(&json!("Not run here: MNIST, Fashion-MNIST.")),
        "{said:?}"
    );
    let numbers = repro::engine::reference::read(out).unwrap().unwrap();
    assert_eq!(numbers.len(), 2);
}

#[test]
fn what_the_section_on_regression_writes_is_valid_and_judged() {
    let directory = tempdir().unwrap();
    let out = directory.path();
    run(&section3_1::SECTION, out, "--seeds;2");
    let claims = check(out, "claims");
    let verdict = |id: &str| {
        let mut claims = claims["claims"].as_array().unwrap().iter();
        claims.find(|claim| claim["id"] == id).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("C12"), "reproduced");
    assert_eq!(verdict("C1"), "untested", "300 of 30,000 steps");
    check(out, "figure2");
    check(out, "table2");
    let protocol = &claims["protocol"];
    let own = |arm: &str| protocol["hyperparameters"][arm]["steps"].as_u64();
    assert_eq!(protocol["steps"], 300);
    assert_eq!((own("L4Adam"), own("LMA*, 96 weights")), (None, Some(1000)));
    assert!(repro::engine::reference::read(out).unwrap().is_some());
}
