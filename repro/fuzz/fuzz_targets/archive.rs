//! Archives: only what is wanted comes out, within its size.
#![no_main]

use datasets::formats::ReadError;
use datasets::formats::archive::{Wanted, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let wanted = [
        Wanted {
            name: "a",
            size: 10,
        },
        Wanted {
            name: "b",
            size: 1000,
        },
    ];
    let _ = unpack(content, 1010, &wanted, |index, file| {
        assert!(file.len() as u64 <= wanted[index].size);
        Ok::<(), ReadError>(())
    });
});
