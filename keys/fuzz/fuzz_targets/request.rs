//! Host requests: whole notes, and their text alone.
#![no_main]

use leasehold_keys::request::HostRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let verified = HostRequest::verify(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = HostRequest::parse(text);
    if let Ok(request) = verified {
        assert_eq!(request.bytes(), bytes);
    }
});
