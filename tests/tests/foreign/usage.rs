//! Two readers of usage files: `leasehold-keys`, and one in Python that was written from `keys/FORMAT.md` alone. Files of
//! random contents, and files that were damaged, must be told alike, to the item and to the record of the damage.
//!
//! A failure leaves its files behind and says where.

mod contents;
mod damaged;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use leasehold_keys::{
    activation::HostRole,
    digest::Sha256,
    name::KeyName,
    usage::{
        Acknowledged, Begun, End, Head, Header, Item, Names, SegmentFile, Sequence, UsagePrivateKey, User, open,
        salvage,
    },
};
use serde_json::{Value, json};

use self::{
    damaged::{damaged, places, tear},
    writer::{Chance, File, Writer},
};

const CHAINS: u64 = 24;
const DAMAGED: u64 = 10;
const SEQUENCES: u64 = 40;

/// What the reader in Python is to print of a file: its items, and the summary.
fn told(file: &File, key: Option<&UsagePrivateKey>) -> Vec<Value> {
    let (name, bytes) = (&file.name, &file.bytes[..]);
    let mut summary = json!({ "file": name, "sha256": Sha256::of(bytes).to_string(), "size": bytes.len() });
    let mut lines = Vec::new();
    let mut damage;
    match salvage(bytes) {
        Err(refusal) => damage = Some(refusal),
        Ok(segment) => {
            damage = segment.damage().cloned();
            describe(&mut summary, &segment);
            match key.map(|key| open(bytes, key)) {
                None => {}
                Some(Err(refusal)) => damage = Some(refusal),
                Some(Ok(opened)) => {
                    damage = opened.damage.clone();
                    for record in &opened.records {
                        let place = (name.as_str(), segment.header().segment, record.record);
                        lines.extend(record.items.iter().map(|item| item_line(place, item)));
                    }
                }
            }
        }
    }
    if let Some(damage) = damage {
        summary["damage"] = json!(damage.reason());
        if let Some(record) = damage.at_record() {
            summary["record"] = json!(record);
            summary["offset"] = json!(damage.offset());
        }
    }
    lines.push(json!({ "summary": summary }));
    lines
}

fn item_line((name, segment, record): (&str, u32, u64), item: &Item) -> Value {
    let mut line = json!({ "file": name, "segment": segment, "record": record });
    let fields = item_fields(item);
    line.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    line
}

fn item_fields(item: &Item) -> Value {
    let (kind, at_ms) = (item.kind(), item.at().as_ms());
    if let Item::Remark(remark) = item {
        return json!({ "kind": kind, "at_ms": at_ms, "code": remark.code.0, "text": remark.text });
    }
    let user = match item.user().expect("a user") {
        User::Plain(name) => name.to_string(),
        User::Pseudonym(pseudonym) => pseudonym.to_string(),
    };
    let keys: Vec<&str> = item.keys().expect("keys").iter().map(KeyName::as_str).collect();
    json!({ "kind": kind, "at_ms": at_ms, "user": user, "counter": item.counter(), "keys": keys })
}

fn describe(summary: &mut Value, segment: &SegmentFile<'_>) {
    let header: &Header = segment.header();
    let (names, pseudonym_key) = match header.names {
        Names::Plain => ("name", [0; 8]),
        Names::Pseudonyms(key) => ("pseudonym", key.0),
    };
    let end = match (segment.damage(), segment.end()) {
        (Some(_), _) => "damaged",
        (None, End::Closed(_)) => "closed",
        (None, End::Open) => "open",
        (None, End::Torn(_)) => "torn",
    };
    let role = match header.role {
        None => "none",
        Some(HostRole::Primary) => "primary",
        Some(HostRole::Switchover) => "switchover",
    };
    let began = match header.begun {
        Begun::First => "first",
        Begun::Midnight => "midnight",
        Begun::Restart => "restart",
        Begun::Size => "size",
        Begun::Abandoned => "abandoned",
        Begun::Changed => "changed",
    };
    let facts = json!({
        "installation": header.name().installation.to_string(),
        "license": header.license.0.to_string(),
        "role": role,
        "segment": header.segment,
        "began": began,
        "records_before": header.records_before,
        "trusted_ms": header.start.trusted.as_ms(),
        "wall_ms": header.start.wall.as_ms(),
        "end": end,
        "head": segment.head().to_string(),
        "names": names,
        "pseudonym_key": hex(&pseudonym_key),
        "recipients": header.recipients.iter().map(|recipient| hex(&recipient.key.0)).collect::<Vec<_>>(),
        "previous_end": header.previous_end.to_string(),
        "records": segment.records(),
        "signed_records": segment.signed_records(),
    });
    summary.as_object_mut().expect("an object").extend(facts.as_object().expect("an object").clone());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the licensor knows of a chain.
#[derive(Default)]
struct Known {
    seen: Vec<Head>,
    acknowledged: Vec<Acknowledged>,
    excerpt: bool,
}

/// What the reader in Python is to find in several files, in any order.
fn findings(files: &[File], writer: &Writer, known: &Known) -> Vec<Value> {
    let mut sequence = Sequence::new();
    for head in &known.seen {
        sequence = sequence.seen(writer.installation.id(), *head);
    }
    for file in &known.acknowledged {
        sequence = sequence.acknowledged(*file);
    }
    if known.excerpt {
        sequence = sequence.excerpt();
    }
    for file in files {
        sequence.add(&file.name, &file.bytes);
    }
    let report = sequence.finish().findings;
    let lines = report.iter().map(|finding| {
        let installation = finding.installation.map(|id| id.to_string()).unwrap_or_default();
        let (segment, reason) = (finding.segment.unwrap_or_default(), finding.reason.code());
        json!({ "installation": installation, "segment": segment, "reason": reason, "record": finding.record })
    });
    lines.map(|finding| json!({ "finding": finding })).collect()
}

fn sorted(mut lines: Vec<Value>) -> Vec<Value> {
    lines.sort_by_key(Value::to_string);
    lines
}

/// Findings in one order. Which of several files of one segment is held against its neighbors is a reader's own choice.
fn settled(findings: Vec<Value>) -> Vec<Value> {
    let place = |line: &Value| (line["finding"]["installation"].clone(), line["finding"]["segment"].clone());
    let reason = |line: &Value, is: &str| line["finding"]["reason"] == is;
    let doubled: Vec<_> = findings.iter().filter(|line| reason(line, "two-files")).map(place).collect();
    let mut left = sorted(findings);
    left.retain(|line| {
        !doubled.contains(&place(line)) || !(reason(line, "missing-records") || reason(line, "replaced"))
    });
    left.dedup_by(|one, other| one == other && reason(one, "two-files"));
    left
}

/// The first without the second.
fn without(those: &[Value], these: &[Value]) -> Vec<Value> {
    let mut left = those.to_vec();
    for this in these {
        if let Some(at) = left.iter().position(|that| that == this) {
            left.remove(at);
        }
    }
    left
}

/// Python with what the reader needs; none where the test is to be skipped.
fn python() -> Option<PathBuf> {
    let python = super::installed().join("python/bin/python");
    let ready = Command::new(&python).args(["-c", "import cryptography"]).output();
    if ready.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    super::skip("Python with the package cryptography");
    None
}

fn run(python: &Path, program: &str, arguments: &[String]) -> Output {
    Command::new(python)
        .arg("-B")
        .arg(super::here("foreign").join(program))
        .args(arguments)
        .output()
        .expect("Python runs")
}

/// Has both readers read the files, which lie in a new folder, and compares what they say.
fn compare(python: &Path, files: &[File], key: Option<&UsagePrivateKey>, writer: &Writer, known: &Known, case: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = Vec::new();
    match key {
        None => arguments.push("--verify".to_owned()),
        Some(key) => {
            let path = folder.path().join("key");
            fs::write(&path, format!("{}\n", *key.to_text())).expect("written");
            arguments.extend(["--key".to_owned(), path.display().to_string()]);
        }
    }
    let id = writer.installation.id();
    for head in &known.seen {
        arguments.extend(["--seen".to_owned(), format!("{id} {head}")]);
    }
    for file in &known.acknowledged {
        arguments.extend(["--acknowledged".to_owned(), format!("{id} {} {}", file.segment, file.sha256)]);
    }
    arguments.extend(known.excerpt.then(|| "--excerpt".to_owned()));
    let given = format!("{arguments:?}");
    for file in files {
        let path = folder.path().join(&file.name);
        fs::write(&path, &file.bytes).expect("written");
        arguments.push(path.display().to_string());
    }
    let output = run(python, "usage_reader.py", &arguments);
    let said = String::from_utf8(output.stdout).expect("text");
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (found, said): (Vec<Value>, Vec<Value>) = said.into_iter().partition(|line| line.get("finding").is_some());

    let expected: Vec<Value> = files.iter().flat_map(|file| told(file, key)).collect();
    let several = files.len() > 1 || !known.seen.is_empty() || !known.acknowledged.is_empty();
    let expected_findings = settled(if several { findings(files, writer, known) } else { Vec::new() });
    let found = settled(found);
    let differs = said.iter().zip(&expected).find(|(said, expected)| said != expected);
    let damaged = expected.iter().any(|line| line["summary"].get("damage").is_some());
    let code = i32::from(damaged || !expected_findings.is_empty());
    if differs.is_some()
        || said.len() != expected.len()
        || found != expected_findings
        || output.status.code() != Some(code)
    {
        let left = folder.keep();
        panic!(
            "{case}: the readers differ on {left}\n{given}\nPython: {}\nRust:   {}\n{} lines and {} lines\nmore findings of Python: {}\n\
             more findings of Rust:   {}\nPython ended with {} and {}",
            differs.map(|differs| differs.0.to_string()).unwrap_or_default(),
            differs.map(|differs| differs.1.to_string()).unwrap_or_default(),
            said.len(),
            expected.len(),
            Value::from(without(&found, &expected_findings)),
            Value::from(without(&expected_findings, &found)),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            left = left.display(),
        );
    }
}

#[test]
fn a_second_reader_takes_and_refuses_the_vectors() {
    let Some(python) = python() else { return };
    let keys = super::here("../keys").display().to_string();
    let output = run(&python, "usage_vectors.py", &[keys]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.ends_with(b"done\n"), "{errors}");
    eprint!("usage vectors: {errors}");
}

#[test]
fn both_readers_tell_the_same_of_random_files() {
    let Some(python) = python() else { return };
    for seed in 0..CHAINS {
        let chance = &mut Chance(seed);
        let writer = Writer::new(chance);
        let mut files = writer.chain(chance);
        tear(chance, files.last_mut().expect("a file"));
        let stranger = UsagePrivateKey::generate().expect("a key");
        let key = match chance.below(6) {
            0 => None,
            1 => Some(&stranger),
            number => writer.keys.get(number - 2),
        };
        compare(&python, &files, key, &writer, &Known::default(), &format!("seed {seed}"));
    }
}

#[test]
fn both_readers_find_the_same_damage() {
    let Some(python) = python() else { return };
    for seed in 0..DAMAGED {
        let chance = &mut Chance(1_000 + seed);
        let writer = Writer::new(chance);
        let files: Vec<File> = writer.chain(chance);
        let files: Vec<File> = (0..60)
            .map(|number| {
                let whole = &chance.pick(&files).bytes;
                File { name: format!("{number:03}.usg"), bytes: damaged(chance, &writer, whole) }
            })
            .collect();
        compare(&python, &files, writer.keys.first(), &writer, &Known::default(), &format!("damage, seed {seed}"));
    }
}

#[test]
fn both_readers_miss_the_same_in_a_sequence() {
    let Some(python) = python() else { return };
    for seed in 0..SEQUENCES {
        let chance = &mut Chance(2_000 + seed);
        let writer = Writer::new(chance);
        let mut known = Known { excerpt: chance.one_in(4), ..Known::default() };
        let (mut files, mut previous) = (Vec::new(), None);
        for _ in 0..2 + chance.below(5) {
            let (mut file, mut tail) = writer.segment(chance, previous.as_ref());
            if chance.one_in(8) {
                // Another in its place, which the next one may or may not continue.
                let (other, other_tail) = writer.segment(chance, previous.as_ref());
                if other.name == file.name {
                    file = other;
                } else if chance.one_in(2) {
                    (file, tail) = (other, other_tail);
                } else {
                    files.push(other);
                }
            }
            let read = salvage(&file.bytes).expect("what was written");
            if chance.one_in(6) {
                let records = chance.below(usize::try_from(read.records()).expect("small") + 1) as u64;
                let chain = read.chain_after(records).expect("a chain value");
                let chain = if chance.one_in(5) { Sha256([1; 32]) } else { chain };
                known.seen.push(Head { segment: tail.head.segment, records, chain });
            }
            let place = (writer.installation.id(), tail.head.segment);
            if chance.one_in(6) {
                let sha256 = if chance.one_in(5) { Sha256([2; 32]) } else { Sha256::of(&file.bytes) };
                known.acknowledged.push(Acknowledged { installation: place.0, segment: place.1, sha256 });
            }
            match chance.below(12) {
                0 => {}
                1 => {
                    tear(chance, &mut file);
                    files.push(file);
                }
                2 => {
                    let ends = [places(&file.bytes), vec![file.bytes.len()]].concat();
                    file.bytes.truncate(*chance.pick(&ends));
                    files.push(file);
                }
                3 => {
                    file.bytes = damaged(chance, &writer, &file.bytes);
                    files.push(file);
                }
                _ => files.push(file),
            }
            previous = Some(tail);
        }
        if files.is_empty() {
            continue;
        }
        compare(&python, &files, None, &writer, &known, &format!("sequence, seed {seed}"));
    }
}
