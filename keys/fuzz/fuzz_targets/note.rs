//! Notes: what parses lies within the limits and is put together again to the same bytes.
#![no_main]

use leasehold_keys::note::{NOTE_MAX_BYTES, Note, SIGNATURES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(note) = Note::parse(bytes) else { return };
    assert!(bytes.len() <= NOTE_MAX_BYTES);
    assert!((1..=SIGNATURES_MAX).contains(&note.signatures.len()));
    assert!(note.text.ends_with('\n'));
    assert!(bytes.starts_with(note.text.as_bytes()));
    assert_eq!(bytes[note.text.len()], b'\n');
});
