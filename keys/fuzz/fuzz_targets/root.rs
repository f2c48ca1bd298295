//! The text of roots: what is taken is written and taken again, unchanged.
#![no_main]

use leasehold_keys::root::Root;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(root) = Root::parse(text) else { return };
    assert_eq!(Root::parse(&root.render()).as_ref(), Ok(&root));
});
