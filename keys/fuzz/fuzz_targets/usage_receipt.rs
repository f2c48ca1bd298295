//! The text of usage receipts: what is taken is written and taken again, unchanged.
#![no_main]

use leasehold_keys::usage::UsageReceipt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(receipt) = UsageReceipt::parse(text) else { return };
    assert_eq!(UsageReceipt::parse(&receipt.render()).as_ref(), Ok(&receipt));
});
