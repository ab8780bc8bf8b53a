//! What changes the identity of runs, and what does not.

use std::fs;
use std::path::{Path, PathBuf};

include!("../../fingerprint.rs");

/// The place, or a source in it.
fn source(place: &str) -> String {
    match place.ends_with(".rs") {
        true => place.to_owned(),
        false => format!("{place}/a.rs"),
    }
}

/// A tree with a source in every place, and a lock file.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for place in TRAINING.iter().chain(&NOT_TRAINING) {
        let file = root.path().join(source(place));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "fn a() {}\n").unwrap();
    }
    fs::write(
        root.path().join("Cargo.lock"),
        "[[package]]\nname = \"rand\"\nversion = \"1\"\n",
    )
    .unwrap();
    root
}

/// Whether the fingerprint is another after this text has been written there.
fn changes(root: &Path, file: &str, text: &str) -> bool {
    let before = fingerprint(root).unwrap();
    fs::write(root.join(file), text).unwrap();
    fingerprint(root).unwrap() != before
}

#[test]
fn code_that_trains_counts_and_what_is_about_it_does_not() {
    let root = tree();
    let root = root.path();
    for place in TRAINING {
        let file = source(place);
        assert!(changes(root, &file, "fn b() {}\n"), "{place}");
        let about = "//! Of b.\n\n// It does nothing.\nfn b() {}\n\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";
        assert!(!changes(root, &file, about), "{place}");
        let early = "#[cfg(test)]\nuse d;\nfn b() {}\nfn e() {}\n";
        assert!(
            changes(root, &file, early),
            "code after a word on tests: {place}"
        );
    }
    assert!(!changes(root, "models/src/tests.rs", "fn f() {}\n"));
    assert!(!changes(root, "datasets/src/fetch/a.rs", "fn b() {}\n"));
    assert!(!changes(root, "l4/src/candle.rs", "fn b() {}\n"));
    let lock = |name| format!("[[package]]\nname = \"{name}\"\nversion = \"2\"\n");
    assert!(changes(root, "Cargo.lock", &lock("rand")));
    assert!(
        changes(root, "Cargo.lock", &lock("clap")),
        "there is none of it"
    );
    assert!(!changes(root, "Cargo.lock", &lock("serde")));
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path() {
    let root = tree();
    fs::remove_dir_all(root.path().join("models")).unwrap();
    let error = fingerprint(root.path()).unwrap_err();
    assert!(error.contains("models"), "{error}");
}

#[test]
fn the_program_has_the_fingerprint_of_its_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    assert_eq!(fingerprint(root).unwrap(), repro::engine::run::FINGERPRINT);
}
