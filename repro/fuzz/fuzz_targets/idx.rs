//! Image and label files: what is accepted has the shape that was asked for.
#![no_main]

use datasets::formats::idx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    for examples in [0, 1, 3] {
        if let Ok(pixels) = idx::images(content, [examples, 2, 2]) {
            assert_eq!(pixels.len(), examples as usize * 4);
        }
        if let Ok(labels) = idx::labels(content, examples, 10) {
            assert_eq!(labels.len(), examples as usize);
            assert!(labels.iter().all(|&label| label < 10));
        }
    }
    let _ = idx::images(content, [u32::MAX; 3]);
    let _ = idx::labels(content, u32::MAX, 10);
});
