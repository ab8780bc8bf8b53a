//! The state of an unfinished run: it goes on to the same result, or says what is wrong.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Change, Run};
use libfuzzer_sys::fuzz_target;

static RUN: OnceLock<Run> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let run = RUN.get_or_init(|| Run::new().expect("the run is computed"));
    if let Some((_, change)) = Change::read(input) {
        run.check("checkpoint.safetensors", change, "result.json")
            .expect("files are written");
    }
});
