//! Record files: what is accepted has one image per label, each label a class.
//!
//! A record is longer than what a fuzzer likes to mutate, so the input is the seed of a longer
//! file: its first byte says how often the rest is repeated.
#![no_main]

use datasets::formats::cifar10;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&times, rest)) = input.split_first() else {
        return;
    };
    let content = rest.repeat(usize::from(times) + 1);
    let examples = (content.len() / 3073) as u32;
    if let Ok(records) = cifar10::records(&content, examples, 10) {
        assert_eq!(records.images.len(), records.labels.len() * 3072);
        assert_eq!(records.labels.len(), examples as usize);
        assert!(records.labels.iter().all(|&label| label < 10));
    }
    let _ = cifar10::records(&content, u32::MAX, 10);
});
