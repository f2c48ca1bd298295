//! Vectors for other implementations: files that are good, files that are damaged and how, and sets of files. They lie in
//! `tests/usage-vectors/` with an index; `LEASEHOLD_WRITE_VECTORS=1 cargo test -p leasehold-keys` writes them anew.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use super::{
    super::*,
    private,
    vectors_of::{Case, Set, cases, sets},
};
use crate::digest::Sha256;

/// How a file ends, in the index.
fn end(end: &End) -> &'static str {
    match end {
        End::Closed(_) => "closed",
        End::Open => "open",
        End::Torn(_) => "torn",
    }
}

/// An item on one line: kind, milliseconds, user, counter, keys; or remark, milliseconds, code, text.
fn line(item: &Item) -> String {
    let at = item.at().as_ms();
    match item {
        Item::Remark(remark) => format!("remark {at} {} {}", remark.code.0, remark.text),
        _ => {
            let keys: Vec<&str> = item.keys().unwrap().iter().map(|key| key.as_str()).collect();
            let (user, counter) = (item.user().unwrap(), item.counter().unwrap());
            format!("{} {at} {user} {counter} {}", item.kind(), keys.join(","))
        }
    }
}

/// What the index tells of a file.
fn verdict(case: &Case) -> String {
    let mut out = String::new();
    match verify(&case.bytes) {
        Ok(file) => {
            writeln!(out, "end = \"{}\"\nrecords = {}", end(file.end()), file.records()).unwrap();
            writeln!(out, "signed-records = {}\nhead = \"{}\"", file.signed_records(), file.head()).unwrap();
        }
        Err(damage) => {
            writeln!(out, "damage = \"{}\"\noffset = {}", damage.reason(), damage.offset()).unwrap();
            if let Some(record) = damage.at_record() {
                writeln!(out, "record = {record}").unwrap();
            }
        }
    }
    for key in ["licensor", "reader", "other"] {
        match open(&case.bytes, &private(key)) {
            Ok(opened) => match &opened.damage {
                Some(damage) if opened.file.damage().is_none() => {
                    writeln!(out, "opened-by-{key} = \"{}\"", damage.reason()).unwrap();
                }
                _ => writeln!(out, "opened-by-{key} = \"good\"").unwrap(),
            },
            Err(damage) => writeln!(out, "opened-by-{key} = \"{}\"", damage.reason()).unwrap(),
        }
    }
    if let Ok(opened) = open(&case.bytes, &private("licensor")) {
        let items: String = opened.items().map(|item| format!("  {:?},\n", line(item))).collect();
        writeln!(out, "items = [\n{items}]").unwrap();
    }
    out
}

fn report(set: &Set) -> Report {
    let mut sequence = Sequence::new();
    if set.excerpt {
        sequence = sequence.excerpt();
    }
    if let Some(only) = set.only {
        sequence = sequence.of(only);
    }
    for (installation, head) in &set.seen {
        sequence = sequence.seen(*installation, *head);
    }
    for file in &set.acknowledged {
        sequence = sequence.acknowledged(*file);
    }
    for (name, bytes) in &set.files {
        sequence.add(name, bytes);
    }
    sequence.finish()
}

#[test]
fn every_case_is_judged_as_it_must_be() {
    let mut wrong = String::new();
    for case in cases() {
        let verified = verify(&case.bytes);
        let got = match (&verified, case.key) {
            (Err(damage), _) => Some((damage.kind(), damage.at_record())),
            (Ok(_), key) => match open(&case.bytes, &private(key)) {
                Ok(opened) => opened.damage.map(|damage| (damage.kind(), damage.at_record())),
                Err(damage) => Some((damage.kind(), damage.at_record())),
            },
        };
        if got != case.damage {
            writeln!(wrong, "{}: expected {:?}, got {got:?}", case.name, case.damage).unwrap();
        }
        if let (Ok(file), Some(expected)) = (&verified, case.end) {
            assert_eq!(end(file.end()), expected, "{}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_set_is_judged_as_it_must_be() {
    let mut wrong = String::new();
    for set in sets() {
        let got: Vec<_> =
            report(&set).findings.iter().map(|finding| (finding.reason, finding.segment, finding.record)).collect();
        if got != set.findings {
            writeln!(wrong, "{}: expected {:?}, got {got:?}", set.name, set.findings).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_reason_has_its_vector() {
    let (cases, sets) = (cases(), sets());
    let shown: BTreeSet<DamageReason> = cases.iter().filter_map(|case| Some(case.damage?.0)).collect();
    // One file of 17 MiB is too much to keep; a test of its own makes it.
    let elsewhere = [DamageReason::FileTooLarge];
    for reason in DamageReason::ALL {
        assert!(shown.contains(reason) != elsewhere.contains(reason), "{}", reason.code());
    }
    let found: BTreeSet<FindingReason> = sets.iter().flat_map(|set| &set.findings).map(|finding| finding.0).collect();
    assert_eq!(found, FindingReason::ALL.iter().copied().collect());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).chain(sets.iter().map(|set| set.name)).collect();
    assert_eq!(names.len(), cases.len() + sets.len());
}

#[test]
fn a_file_beyond_17_mib_is_refused() {
    assert_eq!(verify(&vec![0; FILE_MAX_BYTES + 1]).unwrap_err().kind(), DamageReason::FileTooLarge);
}

#[test]
fn damage_and_findings_are_sentences_for_people() {
    let told = |text: String| {
        assert!(text.ends_with('.') && !text.contains("..") && text.len() < 600, "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    };
    for case in cases() {
        if let Err(damage) = verify(&case.bytes) {
            assert!(!damage.what().ends_with('.'));
            told(damage.to_string());
        }
    }
    for set in sets() {
        for finding in report(&set).findings {
            told(finding.to_string());
        }
    }
}

#[test]
fn the_stored_vectors_are_these() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/usage-vectors");
    let mut index = String::from(
        "# Usage files, each with what it is: how it ends, or its first damage; and what each key opens. `items` is what the\n\
         # licensor's key opens, up to damage. Sets are files under names, with what is to be found in them.\n\n[keys]\n",
    );
    for key in ["licensor", "reader", "other"] {
        writeln!(index, "{key} = \"{}\"", *private(key).to_text()).unwrap();
    }
    let mut files = Vec::new();
    for case in cases() {
        write!(index, "\n[[file]]\nname = \"{}.usg\"\n{}", case.name, verdict(&case)).unwrap();
        files.push((format!("{}.usg", case.name), case.bytes));
    }
    for set in sets() {
        writeln!(index, "\n[[set]]\nname = \"{}\"\nexcerpt = {}", set.name, set.excerpt).unwrap();
        if let Some(only) = set.only {
            writeln!(index, "only = \"{only}\"").unwrap();
        }
        let seen: String = set.seen.iter().map(|(of, head)| format!("  \"{of} {head}\",\n")).collect();
        let gone: String = set
            .acknowledged
            .iter()
            .map(|file| format!("  \"{} {} {}\",\n", file.installation, file.segment, file.sha256))
            .collect();
        let held: String = set
            .files
            .iter()
            .map(|(name, bytes)| {
                let digest = Sha256::of(bytes);
                let stored = format!("set-{}.usg", &digest.to_string()[..16]);
                if !files.iter().any(|(name, _)| *name == stored) {
                    files.push((stored.clone(), bytes.clone()));
                }
                format!("  {{ name = \"{name}\", file = \"{stored}\" }},\n")
            })
            .collect();
        writeln!(index, "seen = [\n{seen}]\nacknowledged = [\n{gone}]\nfiles = [\n{held}]").unwrap();
        let findings: String = report(&set)
            .findings
            .iter()
            .map(|finding| {
                let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
                let (segment, record) = (number(finding.segment.map(u64::from)), number(finding.record));
                format!("  \"{} {segment} {record}\",\n", finding.reason.code())
            })
            .collect();
        writeln!(index, "findings = [ # reason, segment, record\n{findings}]").unwrap();
    }
    files.push(("index.toml".into(), index.into_bytes()));
    if std::env::var_os("LEASEHOLD_WRITE_VECTORS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in &files {
        let stored = fs::read(folder.join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(stored == *bytes, "{name} differs from what the tests make");
    }
    let stored: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let attributes = ".gitattributes".to_owned();
    assert_eq!(stored, files.iter().map(|(name, _)| name.clone()).chain([attributes]).collect());
}
