//! Plain contents of records, mostly right, read by both readers without the file round them.

use std::{fs, process::Command};

use leasehold_keys::usage::{Names, PseudonymKeyId, plain_items};
use serde_json::{Value, json};

use super::{
    hex, item_fields, python,
    writer::{BEGIN_MS, Chance},
};

const CONTENTS: usize = 4_000;

/// How many users, keys and sets were defined.
struct Defined {
    users: u64,
    keys: u64,
    sets: u64,
}

impl Defined {
    /// A record's operations.
    fn content(&mut self, chance: &mut Chance, pseudonyms: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let most = if chance.one_in(40) { 600 } else { 8 };
        for _ in 0..=chance.below(most) {
            self.operation(chance, pseudonyms, &mut bytes);
        }
        if chance.one_in(12) {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
        if chance.one_in(20) {
            bytes.truncate(chance.below(bytes.len() + 1));
        }
        bytes
    }

    fn operation(&mut self, chance: &mut Chance, pseudonyms: bool, bytes: &mut Vec<u8>) {
        let code = *chance.pick(&[1, 3, 4, 0x10, 0x11, 0x11, 0x12, 0x12, 0x13, 0x14]);
        let code = if code == 0x10 && !chance.one_in(5) { 0x11 } else { code };
        match code {
            1 if pseudonyms != chance.one_in(60) => {
                bytes.push(2);
                bytes.extend(if chance.one_in(20) { [9; 16] } else { chance.bytes() });
                self.users += 1;
            }
            1 | 3 => {
                bytes.push(code);
                text(
                    chance,
                    bytes,
                    &["k_CONCURRENT", "x y", " x", "x ", "é", "\u{feff}", "\u{a0}", "\u{85}", "\u{200b}", ""],
                );
                *(if code == 1 { &mut self.users } else { &mut self.keys }) += 1;
            }
            4 => {
                let most = if chance.one_in(40) { self.keys + 1 } else { self.keys };
                let mut keys: Vec<u64> = (0..most).filter(|_| chance.one_in(2)).collect();
                if chance.one_in(40) {
                    keys.reverse();
                }
                bytes.push(code);
                number(bytes, keys.len() as u64);
                keys.iter().for_each(|key| number(bytes, *key));
                self.sets += 1;
            }
            0x14 => {
                bytes.push(code);
                number(bytes, chance.next() >> chance.below(64));
                number(bytes, if chance.one_in(15) { chance.next() >> chance.below(40) } else { 1 });
                text(chance, bytes, &["", "\u{2028}", "\n", "\u{7f}", "\u{9f}", " ", "\u{202e}"]);
            }
            _ => {
                bytes.push(code);
                number(bytes, chance.next() >> chance.below(64));
                let more = u64::from(chance.one_in(60));
                number(bytes, chance.next() % (self.users + more));
                let counter = if chance.one_in(15) { chance.next() >> chance.below(40) } else { 1 };
                number(bytes, if chance.one_in(60) { 0 } else { counter });
                number(bytes, chance.next() % (self.sets + more));
            }
        }
    }
}

/// A name that was not there before, at times an odd one or a long one.
fn text(chance: &mut Chance, bytes: &mut Vec<u8>, odd: &[&str]) {
    let text = match chance.below(30) {
        0 => (*chance.pick(odd)).to_owned(),
        1 => "x".repeat(chance.below(600)),
        2..=5 => "again".to_owned(),
        _ => format!("n{}", chance.next()),
    };
    number(bytes, text.len() as u64);
    bytes.extend(text.bytes());
}

/// A varint.
fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

#[test]
fn both_readers_take_the_same_contents() {
    let Some(python) = python() else { return };
    let chance = &mut Chance(3_000);
    let (mut lines, mut expected, mut taken) = (String::new(), Vec::new(), 0);
    for _ in 0..CONTENTS {
        let pseudonyms = chance.one_in(2);
        let start = chance.time(BEGIN_MS);
        // Definitions to begin with, so that most of what follows has something to refer to.
        let user: &[u8] = if pseudonyms { &[2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9] } else { &[1, 1, b'u'] };
        let mut contents = vec![[user, &[3, 1, b'k', 3, 1, b'l', 4, 1, 1, 4, 2, 0, 1]].concat()];
        let mut defined = Defined { users: 1, keys: 2, sets: 2 };
        contents.extend((0..1 + chance.below(3)).map(|_| defined.content(chance, pseudonyms)));
        let names = if pseudonyms { Names::Pseudonyms(PseudonymKeyId([1; 8])) } else { Names::Plain };
        let borrowed: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        let items = plain_items(names, start, &borrowed);
        taken += usize::from(items.is_ok());
        let hexes: Vec<String> = contents.iter().map(|content| hex(content)).collect();
        let line = json!({ "pseudonyms": pseudonyms, "start_ms": start.as_ms(), "contents": hexes });
        lines += &format!("{line}\n");
        expected.push((line, items.map(|items| items.iter().map(item_fields).collect::<Vec<_>>())));
    }
    assert!((CONTENTS / 5..CONTENTS * 4 / 5).contains(&taken), "one-sided contents: {taken} of them are good");

    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("contents");
    fs::write(&input, lines).expect("written");
    let output = Command::new(python)
        .arg("-B")
        .arg(super::super::here("foreign/usage_contents.py"))
        .stdin(fs::File::open(&input).expect("opened"))
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), expected.len());
    for (said, (line, expected)) in said.lines().zip(expected) {
        let said: Value = serde_json::from_str(said).expect("JSON");
        match expected {
            Ok(items) => assert_eq!(said, Value::from(items), "Python (left) and Rust on {line}"),
            Err(why) => assert_eq!(said, Value::Null, "Rust says of {line}: {why}"),
        }
    }
}
