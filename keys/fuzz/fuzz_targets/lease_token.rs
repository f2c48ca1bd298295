//! Lease tokens: whole ones, and what they say without the signature.
#![no_main]

use leasehold_keys::lease_token::LeaseToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = LeaseToken::verify(bytes);
    if let Some(token) = LeaseToken::read_unverified(bytes) {
        let _ = token.expires();
    }
});
