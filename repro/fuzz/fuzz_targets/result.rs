//! Result files: what is accepted can be drawn.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use paper_figures::results::{ResultFile, parse};
use tempfile::TempDir;

static FOLDER: OnceLock<TempDir> = OnceLock::new();

fuzz_target!(|text: &str| {
    let Ok(file) = parse(text) else { return };
    assert_eq!(file.check(), Ok(()));
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder"));
    fs::write(folder.path().join("result.json"), text).expect("written");
    paper_figures::publish(folder.path()).expect("what is accepted can be drawn");
});
