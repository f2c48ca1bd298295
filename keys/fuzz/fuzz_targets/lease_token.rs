//! Lease tokens: the layout behind a signature, and what is no token.
#![no_main]

use leasehold_keys::lease_token::LeaseToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(token) = LeaseToken::verify(bytes) {
        let _ = token.expires();
        assert!(!token.holder.is_empty());
    }
});
