//! Usage files: what is verified lies within the limits, ends where it says, and is opened to what it was.
#![no_main]

use leasehold_keys::usage::{End, FILE_MAX_BYTES, Sequence, UsagePrivateKey, open, salvage, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The key that the seeds are sealed to.
    let key = UsagePrivateKey::from_seed([0x11; 32].into());
    let mut sequence = Sequence::new();
    sequence.add("file.usg", bytes);
    // The name is wrong in any case.
    assert!(!sequence.finish().findings.is_empty());
    let opened = open(bytes, &key);
    let Ok(file) = salvage(bytes) else {
        assert!(opened.is_err() && verify(bytes).is_err());
        return;
    };
    assert_eq!(verify(bytes).is_ok(), file.damage().is_none());
    assert!(bytes.len() <= FILE_MAX_BYTES && file.signed_records() <= file.records());
    let whole = usize::try_from(file.tail().bytes).unwrap();
    match file.end() {
        _ if file.damage().is_some() => assert!(whole < bytes.len()),
        End::Closed(_) | End::Open => assert_eq!(whole, bytes.len()),
        End::Torn(torn) => assert_eq!(torn.offset, whole),
    }
    // What is whole stands by itself.
    assert_eq!(verify(&bytes[..whole]).map(|file| file.head()), Ok(file.head()));
    if let Ok(opened) = opened {
        assert!(opened.records.iter().all(|record| record.record <= file.records()));
    }
});
