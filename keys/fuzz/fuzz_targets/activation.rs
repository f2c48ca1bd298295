//! The text of activation files: what is taken is written and taken again, unchanged.
#![no_main]

use leasehold_keys::activation::Activation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // The signature is not looked at here; one line makes a note of any text.
    let note = [text, b"\n\xe2\x80\x94 a AAAAAAAA\n"].concat();
    let Ok(terms) = Activation::read_unverified(&note) else { return };
    assert_eq!(terms.check(), Ok(()));
    let again = [terms.render().as_bytes(), b"\n\xe2\x80\x94 a AAAAAAAA\n"].concat();
    assert_eq!(Activation::read_unverified(&again).as_ref(), Ok(&terms));
});
