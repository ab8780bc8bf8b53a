//! The schema describes what the sections write.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use repro::cli;
use repro::experiments::{section3_2, section3_3, section3_4, section3_5, section3_6};
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

#[test]
fn what_the_sections_on_mnist_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let words = "--preset smoke --seeds 1 --epochs 1 --methods L4Adam,L4Mom --tensorboard --out";
    let words = || ["section"].into_iter().chain(words.split(' ')).chain([out]);
    let (common, options) = cli::parse_from(&section3_2::SECTION, words()).unwrap();
    section3_2::run(&common, &options).unwrap();
    let words = words().chain(["--task", "mnist"]);
    let (common, options) = cli::parse_from(&section3_6::SECTION, words).unwrap();
    section3_6::run(&common, &options).unwrap();

    let schema = schema();
    for id in ["figure3", "table3", "figure8", "claims"] {
        let file = read(&directory.path().join(id).with_extension("json"));
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{id}: {errors}"));
        assert_eq!(file["provenance"]["data"]["name"], "synthetic MNIST");
    }
    let events = directory.path().join("tensorboard").read_dir().unwrap();
    // Two methods at the one batch size of 3.2, and at the four of 3.6.
    assert_eq!(events.count(), 2 + 2 * 4);
}

#[test]
fn what_the_sections_on_larger_networks_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let words = "--preset smoke --epochs 1 --threads 2 --out";
    let words = |method| {
        let words = ["section"].into_iter().chain(words.split(' '));
        words.chain([out, "--methods", method])
    };
    let (common, options) = cli::parse_from(&section3_5::SECTION, words("L4Adam")).unwrap();
    section3_5::run(&common, &options).unwrap();
    let (common, options) = cli::parse_from(&section3_3::SECTION, words("default policy")).unwrap();
    section3_3::run(&common, &options).unwrap();

    let schema = schema();
    for id in ["figure4", "figure5", "figure7", "table4", "claims"] {
        let file = read(&directory.path().join(id).with_extension("json"));
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{id}: {errors}"));
        assert_eq!(file["provenance"]["threads"], 2);
    }
}

#[test]
fn what_the_sections_on_the_dnc_write_is_valid() {
    let directory = tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let words = |own: &'static str| {
        let shared = ["section", "--preset", "smoke", "--seeds", "1", "--out", out];
        shared.into_iter().chain(own.split(' '))
    };
    let schema = schema();
    let check = |id: &str| {
        let file = read(&directory.path().join(id).with_extension("json"));
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{id}: {errors}"));
        file
    };
    let own = words("--steps 100");
    let (common, options) = cli::parse_from(&section3_4::SECTION, own).unwrap();
    section3_4::run(&common, options).unwrap();
    let table = check("repeat_copy");
    let methods = table["rows"].as_array().unwrap().iter();
    let methods: Vec<&str> = methods.map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(methods, section3_4::SECTION.methods);
    let figure = check("figure6");
    // (a) has a curve for each method, (b) the rates of three of them.
    assert_eq!(figure["series"].as_array().unwrap().len(), 7 + 3);
    let own = words("--sequences 1600 --epochs 1");
    let (common, options) = cli::parse_from(&section3_6::SECTION, own).unwrap();
    section3_6::run(&common, &options).unwrap();
    let both = check("claims");
    let data = both["provenance"]["data"]["name"].as_str().unwrap();
    assert_eq!(
        data,
        "synthetic MNIST; repeat-copy, drawn anew for each batch"
    );
    let settings = both["protocol"]["hyperparameters"].as_object().unwrap();
    assert_eq!(settings.len(), 2 * 2 * 4);
    let series = check("figure9")["series"].as_array().unwrap().clone();
    assert_eq!(series.len(), 2 * 4);
    assert!(series.iter().all(|series| series["x"] == json!([1600.0])));
}
