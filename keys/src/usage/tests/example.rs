//! The worked example of `FORMAT.md` is what the code makes.

use super::{super::*, *};
use crate::digest::hex;

fn example() -> Vec<u8> {
    let recipients = [private("licensor").public()];
    let (mut segment, mut bytes) =
        Segment::begin_with(&installation(), &opening(&recipients), None, entropy(0)).unwrap();
    bytes.extend(segment.seal(&john_smith()[..3]).unwrap().record);
    bytes.extend(segment.close(&installation(), clocks("23:59:59")).unwrap().record);
    bytes
}

/// Hexadecimal, 32 bytes to a line.
fn lines(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex(line) + "\n").collect()
}

#[test]
fn the_worked_example_is_true() {
    let bytes = example();
    let opened = open(&bytes, &private("licensor")).unwrap();
    assert!(opened.items().eq(&john_smith()[..3]));
    let mut encoder = super::content::Encoder::new(Names::Plain, at("07:59:00"));
    let (content, _) = encoder.encode(&john_smith()[..3], 1_000).unwrap();
    let file = verify(&bytes).unwrap();
    let pseudonyms = PseudonymKey::from_seed(Zeroizing::new([7; 32]));
    let told = [
        lines(&bytes),
        lines(&content),
        format!("`{}`", installation().id()),
        format!("`{}`", private("licensor").public()),
        format!("`{}`", private("licensor").public().id()),
        format!("`{}`", file.chain_after(0).unwrap()),
        format!("`{}`", file.chain_after(1).unwrap()),
        format!("`{}`", file.head()),
        format!("`{}`", file.name()),
        format!("`{}`", pseudonyms.pseudonym(&"tina".parse().unwrap())),
        format!("`{}`", pseudonyms.id()),
        format!("`{}`", *pseudonyms.to_text()),
    ];
    let format = include_str!("../../../FORMAT.md");
    let missing: Vec<&String> = told.iter().filter(|part| !format.contains(*part)).collect();
    assert!(
        missing.is_empty(),
        "FORMAT.md does not tell:\n{}",
        missing.into_iter().map(|part| format!("{part}\n")).collect::<String>()
    );
}
