//! Requests of check-ins: whole notes, and their text alone. What is taken is written and taken again, unchanged.
#![no_main]

use leasehold_keys::check_in::CheckInRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let verified = CheckInRequest::verify(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = text.rsplit_once("\n\n").map_or(text, |(text, _)| text);
    if let Ok(request) = CheckInRequest::parse(text) {
        assert_eq!(CheckInRequest::parse(&request.render()).as_ref(), Ok(&request));
    }
    if let Ok(request) = verified {
        assert_eq!(request.bytes(), bytes);
        assert_eq!(request.outstanding().nonce, request.nonce);
    }
});
