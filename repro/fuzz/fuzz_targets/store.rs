//! The directory of a finished run: its result is the same, or it says what is wrong.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Change, Run};
use libfuzzer_sys::fuzz_target;

static RUN: OnceLock<Run> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let run = RUN.get_or_init(|| Run::new().expect("the run is computed"));
    let Some((which, change)) = Change::read(input) else {
        return;
    };
    let count = run.names().count();
    let name = run.names().nth(usize::from(which) % count);
    run.check(name.unwrap_or_default(), change, "")
        .expect("files are written");
});
