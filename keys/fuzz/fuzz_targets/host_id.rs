//! Host IDs: what is taken has one written form.
#![no_main]

use leasehold_keys::host::HostId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(id) = text.parse::<HostId>() else { return };
    assert_eq!(id.to_string().parse(), Ok(id));
});
