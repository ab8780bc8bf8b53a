//! The schema describes what the program writes, and all that is committed.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use repro::cli::{self, Preset};
use repro::experiments::{section3_2, section3_3, section3_4, section3_5, section3_6};
use repro::engine::provenance::{DataFile, DataSet};
use repro::results::{
    Axes, Axis, Cell, Claim, Claims, Column, Figure, Header, Measured, Protocol, ResultFile,
    Series, Table, Verdict, write,
};
use repro::engine::runner::{Options, Runner};
use repro::stats::{Curve, Spread};
use serde_json::{Map, Value, json};
use tempfile::tempdir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema() -> Validator {
    let schema = read(&root().join("schema/results.schema.json"));
    jsonschema::draft202012::meta::validate(&schema).expect("the schema itself is valid");
    jsonschema::draft202012::new(&schema).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn header(id: &str) -> Header {
    let directory = tempdir().unwrap();
    let runner = Runner::open(Options::new(directory.path())).unwrap();
    let files = vec![DataFile {
        name: "train.gz".into(),
        sha256: "0".repeat(64),
        verified: true,
    }];
    Header {
        id: id.into(),
        title: "A title".into(),
        section: "3.1.1".into(),
        protocol: Protocol {
            preset: Preset::Paper.name().into(),
            seeds: vec![0, 1],
            steps: Some(1000),
            epochs: None,
            examples: None,
            batch: Some(64),
            hyperparameters: [(
                "L4Adam*".to_owned(),
                object(json!({"alpha": 0.25, "tau": 1000})),
            )]
            .into(),
            search: object(json!({"mSGD": [{"rate": 0.1, "score": 0.5}]})),
        },
        deviations: vec!["One thing differs.".into()],
        provenance: runner.provenance(
            "avx512",
            DataSet {
                name: "MNIST".into(),
                files,
            },
        ),
        paper: Some(json!({"steps": 24})),
    }
}

fn table() -> Table {
    use Measured::{Diverged, NotReached, Value};
    let columns = vec![
        Column::new("method", "Method"),
        Column::with_unit("time", "Time", "s"),
    ];
    let cells = [
        vec![Value(1.0), Value(2.0)],
        vec![Value(1.0), Diverged(7), NotReached],
        vec![NotReached],
        vec![],
    ];
    let row = |cell| {
        [
            ("method".to_owned(), "L4Adam*".into()),
            ("time".to_owned(), Cell::from_runs((0..).zip(cell)).into()),
        ]
    };
    Table {
        header: header("table2"),
        columns,
        rows: cells.map(|cell| row(cell).into()).into(),
    }
}

fn figure() -> Figure {
    let curve = |seed, y: &[f64], diverged| Curve {
        seed,
        x: vec![1.0, 2.0][..y.len()].to_vec(),
        y: y.to_vec(),
        diverged,
    };
    let curves = [curve(0, &[1.0, 0.5], None), curve(1, &[3.0], Some(2))];
    let series = [Spread::Range, Spread::Std]
        .map(|spread| Series::over("a", "mSGD", &curves, spread).unwrap());
    let axes = vec![Axes {
        panel: "a".into(),
        title: "Loss".into(),
        x: Axis::linear("step"),
        y: Axis::log("loss"),
    }];
    Figure {
        header: header("figure2"),
        axes,
        series: series.into(),
    }
}

fn claims() -> Claims {
    let claim = |verdict| Claim {
        id: "C3".into(),
        claim: "It converges.".into(),
        verdict,
        evidence: "In 5 of 5 runs.".into(),
        measured: object(json!({"runs": 5})),
    };
    let verdicts = [Verdict::Reproduced, Verdict::Partly, Verdict::NotReproduced];
    Claims {
        header: header("claims"),
        claims: verdicts.map(claim).into(),
    }
}

fn written(file: &impl ResultFile) -> Value {
    let directory = tempdir().unwrap();
    read(&write(directory.path(), file).unwrap())
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
fn what_the_program_writes_is_valid() {
    let schema = schema();
    for file in [written(&table()), written(&figure()), written(&claims())] {
        valid(&schema, &file).unwrap();
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

#[test]
fn every_committed_result_is_valid() {
    let schema = schema();
    for path in json_files(&root().join("reference")) {
        let file = read(&path);
        valid(&schema, &file).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        assert_eq!(
            file["id"],
            path.file_stem().unwrap().to_str().unwrap(),
            "{}",
            path.display()
        );
    }
}

/// None while nothing is committed.
fn json_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = directory.read_dir() else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| {
        if path.is_dir() {
            json_files(&path)
        } else {
            vec![path]
        }
    });
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect()
}

#[test]
fn a_broken_file_is_invalid() {
    let schema = schema();
    // Which file, where in it, and what is put there; `None` takes it away.
    let breakages = [
        (0, "/provenance/git_commit", None),
        (0, "/provenance/data/files/0/sha256", Some(json!("0123"))),
        (0, "/provenance/started", Some(json!("yesterday"))),
        (0, "/protocol/steps", None),
        (0, "/protocol/colour", Some(json!("blue"))),
        (0, "/deviations", None),
        (0, "/colour", Some(json!("blue"))),
        (0, "/columns/0/key", None),
        (0, "/rows/0/time/mean", Some(Value::Null)),
        (0, "/rows/0/time/std", Some(Value::Null)),
        (0, "/rows/1/time/std", Some(json!(0.0))),
        (0, "/rows/3/time/mean", Some(json!(0.0))),
        (0, "/rows/1/time/diverged/0/step", None),
        (0, "/rows/0/time/values/0", Some(Value::Null)),
        (0, "/rows/0/time", Some(Value::Null)),
        (1, "/series/0/mean/0", Some(Value::Null)),
        (1, "/series/0/band", Some(json!("wide"))),
        (1, "/series/0/low", None),
        (1, "/axes/0/x/scale", Some(json!("cubic"))),
        (1, "/series", None),
        (1, "/rows", Some(json!([]))),
        (2, "/claims/0/verdict", Some(json!("maybe"))),
        (2, "/claims/0/evidence", None),
    ];
    let files = [written(&table()), written(&figure()), written(&claims())];
    for (index, pointer, value) in breakages {
        let mut file = files[index].clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let place = file.pointer_mut(parent).unwrap();
        match (place, value) {
            (Value::Array(items), Some(value)) => items[key.parse::<usize>().unwrap()] = value,
            (Value::Object(object), Some(value)) => drop(object.insert(key.to_owned(), value)),
            (Value::Object(object), None) => {
                assert!(object.shift_remove(key).is_some(), "{pointer} is there")
            }
            _ => unreachable!("{pointer}"),
        }
        assert!(valid(&schema, &file).is_err(), "{pointer} went through");
    }
}
