//! Committed numbers: what is written is read back, and judged without a panic; other bytes are refused.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use repro::engine::reference::{self, NUMBERS, Reference};
use repro::judge::judge_all;
use repro::numbers::Numbers;
use tempfile::TempDir;

static ROOT: OnceLock<TempDir> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let root = ROOT.get_or_init(|| tempfile::tempdir().expect("a folder"));
    let section = root.path().join("section");
    fs::create_dir_all(&section).expect("a folder");
    let Ok(parts) = serde_json::from_slice::<Vec<Numbers>>(input) else {
        fs::write(section.join(NUMBERS), input).expect("written");
        let _ = reference::read(&section);
        return;
    };
    if reference::write(&section, parts.clone()).is_ok() {
        let read = reference::read(&section).expect("it was written as it is");
        assert_eq!(read, Some(parts));
        let _ = Reference::open(root.path(), Path::new("section"), true);
        let _ = judge_all(root.path(), None, false);
    }
});
