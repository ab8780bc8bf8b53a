//! The schema that other programs read: it is that of the types, and it accepts and refuses what they do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use paper_figures::results::{parse, schema};
use serde_json::{Value, json};

use crate::fixtures;

fn validator() -> Validator {
    let schema = schema().to_value();
    jsonschema::draft202012::meta::validate(&schema).expect("the schema itself is valid");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn valid(schema: &Validator, value: &Value) -> Result<(), String> {
    let errors = schema.iter_errors(value);
    let errors: Vec<String> = errors
        .map(|e| format!("{e} at {}", e.instance_path()))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/results.schema.json");
    let committed = fs::read_to_string(&path).expect("a schema");
    let committed: Value = serde_json::from_str(&committed).expect("JSON");
    assert!(
        committed == schema().to_value(),
        "paper-figures/schema/results.schema.json is not that of the types any more; rewrite it with\n  \
         cargo run -p paper-figures -- --schema > paper-figures/schema/results.schema.json"
    );
}

#[test]
fn every_committed_result_is_valid() {
    let schema = validator();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../repro/reference");
    let files = json_files(&reference);
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).expect("a file");
        let file = serde_json::from_str(&text).expect("JSON");
        let place = path.display();
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{place}: {errors}"));
        parse(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(file["id"].as_str(), stem, "{place}");
    }
}

fn json_files(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => json_files(&path),
        false => vec![path],
    });
    let is_json = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
    files.filter(is_json).collect()
}

#[test]
fn what_the_types_accept_is_valid() {
    let schema = validator();
    for file in fixtures::all() {
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{}: {errors}", file["id"]));
    }
}

#[test]
fn a_broken_file_is_invalid() {
    let schema = validator();
    let (table, figure, claims) = (fixtures::table2(), fixtures::figure3(), fixtures::claims());
    // Which file, where in it, and what is put there; `None` takes it away.
    let breakages = [
        (&table, "/provenance/git_commit", None),
        (
            &table,
            "/provenance/data/files",
            Some(json!([{"name": "x", "sha256": "0123", "verified": true}])),
        ),
        (&table, "/provenance/started", Some(json!("yesterday"))),
        (&table, "/provenance/jobs", Some(json!(0))),
        (&table, "/protocol/seeds", None),
        (&table, "/protocol/colour", Some(json!("blue"))),
        (&table, "/deviations", None),
        (&table, "/colour", Some(json!("blue"))),
        (&table, "/columns/0/key", None),
        (&table, "/rows/0/steps/mean", Some(Value::Null)),
        (&table, "/rows/0/steps/std", Some(Value::Null)),
        (&table, "/rows/2/seconds/std", Some(json!(0.0))),
        (&table, "/rows/2/seconds/mean", Some(json!(0.0))),
        (&table, "/rows/2/seconds/diverged/0/step", None),
        (&table, "/rows/0/steps/values/0", Some(Value::Null)),
        (&table, "/rows/0/steps", Some(Value::Null)),
        (&figure, "/series/0/mean/0", Some(Value::Null)),
        (&figure, "/series/0/band", Some(json!("wide"))),
        (&figure, "/series/0/style", Some(json!("wavy"))),
        (&figure, "/series/0/marks", Some(json!([{"x": 1.0}]))),
        (&figure, "/series/0/low", None),
        (&figure, "/axes/0/x/scale", Some(json!("cubic"))),
        (&figure, "/series", None),
        (&figure, "/rows", Some(json!([]))),
        (&claims, "/claims/0/verdict", Some(json!("maybe"))),
        (&claims, "/claims/0/basis", Some(json!("reduced"))),
        (&claims, "/claims/0/parts", Some(json!([{"holds": true}]))),
        (&claims, "/claims/0/evidence", None),
    ];
    for (file, pointer, value) in breakages {
        let mut file = file.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match (file.pointer_mut(parent).expect(pointer), value) {
            (Value::Array(items), Some(value)) => {
                items[key.parse::<usize>().expect("an index")] = value
            }
            (Value::Object(object), Some(value)) => drop(object.insert(key.to_owned(), value)),
            (Value::Object(object), None) => {
                assert!(object.remove(key).is_some(), "{pointer} is there");
            }
            _ => unreachable!("{pointer}"),
        }
        assert!(valid(&schema, &file).is_err(), "{pointer} went through");
    }
}
