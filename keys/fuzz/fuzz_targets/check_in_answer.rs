//! The texts of answers to check-ins and of time notes: what is taken is written and taken again, unchanged.
#![no_main]

use leasehold_keys::check_in::{CheckInAnswer, TimeNote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(note) = TimeNote::parse(text) {
        assert_eq!(TimeNote::parse(&note.render()).as_ref(), Ok(&note));
    }
    let Ok(answer) = CheckInAnswer::parse(text) else { return };
    assert_eq!(CheckInAnswer::parse(&answer.render()).as_ref(), Ok(&answer));
});
