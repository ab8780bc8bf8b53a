//! Plain or compressed files: never more than the limit is unpacked.
#![no_main]

use datasets::formats::read_plain_or_gzip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    for size in [0, 100, 10_000] {
        if let Ok(unpacked) = read_plain_or_gzip(content, size) {
            assert!(unpacked.len() as u64 <= size);
        }
    }
});
