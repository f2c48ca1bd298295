//! Replies to check-ins: what is taken is written and taken again, and no file in it has a name that leads out of a folder.
#![no_main]

use leasehold_keys::check_in::CheckInReply;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(reply) = CheckInReply::read(bytes) else { return };
    assert!(reply.files.iter().all(|file| !file.name.contains(['/', '\\', '\0']) && !file.name.starts_with('.')));
    // Escapes may be longer than what they stand for.
    let Ok(written) = reply.write() else { return };
    assert_eq!(CheckInReply::read(&written).as_ref(), Ok(&reply));
});
