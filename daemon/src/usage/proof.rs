//! Whether the files of `usage/` are what was written: by their own chain and signatures, which need no key, and against what
//! the database knows of them. It reads every byte, and changes nothing.

use std::{collections::BTreeMap, io, path::Path};

use leasehold_engine::row::UsageSegmentRow;
use leasehold_keys::usage::{
    Acknowledged, FILE_MAX_BYTES, Finding, FindingReason, Report, SegmentName, Sequence, salvage,
};

use super::disk::before_aside;
use crate::files::{self, ReadFault};

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// What is wrong, and how far the files reach.
    pub report: Report,
    /// Files that were looked at.
    pub files: u32,
    /// Records in them.
    pub records: u64,
    /// Segments whose files are gone or are not what was written.
    pub wrong: Vec<u32>,
    /// The open file lacks what the database holds. It may be on its way at this moment.
    pub open_lags: bool,
}

/// Looks through the folder. `rows`: the segments that are kept, read before the files are.
///
/// # Errors
/// The folder cannot be read.
pub fn prove(folder: &Path, rows: &[UsageSegmentRow]) -> io::Result<Proof> {
    let known: BTreeMap<&str, &UsageSegmentRow> = rows.iter().map(|row| (row.file.as_str(), row)).collect();
    let mut proof = Proof::default();
    // Segments before the oldest that is kept were acknowledged and taken away.
    let mut sequence = Sequence::new().excerpt();
    let mut findings = Vec::new();
    let (names, aside) = names(folder)?;
    for name in aside {
        let what =
            "The file holds records that the database did not: an older database was put back, and the file was set \
                    aside. Send it to the licensor"
                .to_owned();
        findings.push(finding(FindingReason::Replaced, &name, None, what));
    }
    for name in names {
        let row = known.get(name.as_str()).copied();
        let bytes = match files::read(&folder.join(&name), FILE_MAX_BYTES as u64) {
            Ok(bytes) => bytes,
            // Between the two looks.
            Err(ReadFault::Missing) => continue,
            Err(fault) => {
                let what = format!("The file cannot be read: {fault}");
                findings.push(finding(FindingReason::Damaged, &name, None, what));
                proof.wrong.extend(row.map(|row| row.number));
                continue;
            }
        };
        proof.files += 1;
        proof.records += salvage(&bytes).map_or(0, |file| file.records());
        sequence.add(&name, &bytes);
        match row {
            Some(row) if row.closed.is_none() => proof.open_lags |= lags(row, &bytes),
            Some(row) if row.sha256.is_some_and(|sha256| sha256 != leasehold_keys::digest::Sha256::of(&bytes)) => {
                proof.wrong.push(row.number);
            }
            _ => {}
        }
    }
    for row in rows.iter().filter(|row| !folder.join(&row.file).exists()) {
        let Ok(name) = row.file.parse::<SegmentName>() else { continue };
        // The gap is told here, with what the database knows; or is none, where the licensor has signed for the file.
        let sha256 = row.sha256.unwrap_or(row.head);
        sequence =
            sequence.acknowledged(Acknowledged { installation: name.installation, segment: name.segment, sha256 });
        if row.acknowledged.is_none() {
            proof.wrong.push(row.number);
            let what = format!(
                "The file is gone: the database knows it with {} records, and the licensor has not signed for it",
                row.records
            );
            findings.push(finding(FindingReason::MissingSegments, &row.file, None, what));
        }
    }
    let mut report = sequence.finish();
    let told = |report: &Report, file: &str| report.findings.iter().any(|found| found.file.as_deref() == Some(file));
    for row in rows.iter().filter(|row| proof.wrong.contains(&row.number)) {
        let there = !findings.iter().any(|found| found.file.as_deref() == Some(&row.file));
        if there && !told(&report, &row.file) {
            let what = "The file holds together and is another than the one that the database knows".to_owned();
            findings.push(finding(FindingReason::Replaced, &row.file, None, what));
        }
    }
    if proof.open_lags {
        for row in rows.iter().filter(|row| row.closed.is_none()) {
            if !told(&report, &row.file) {
                let what = format!("The file does not hold the {} records that the database knows", row.records);
                findings.push(finding(FindingReason::MissingRecords, &row.file, None, what));
                proof.wrong.push(row.number);
            }
        }
    }
    report.findings.extend(findings);
    report.findings.sort_by(|a, b| {
        (a.installation, a.segment, a.record, a.reason).cmp(&(b.installation, b.segment, b.record, b.reason))
    });
    proof.report = report;
    proof.wrong.sort_unstable();
    proof.wrong.dedup();
    Ok(proof)
}

/// True where the open file is not, up to where the database knows it, what was written.
fn lags(row: &UsageSegmentRow, bytes: &[u8]) -> bool {
    salvage(bytes).ok().and_then(|file| file.chain_after(row.records)) != Some(row.head)
}

/// Usage files of the folder, and those that were set aside, in the order of their names; none where there is no folder yet.
fn names(folder: &Path) -> io::Result<(Vec<String>, Vec<String>)> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(fault) => return Err(fault),
    };
    let (mut names, mut aside) = (Vec::new(), Vec::new());
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".usg") {
            names.push(name);
        } else if before_aside(&name).is_some() {
            aside.push(name);
        }
    }
    names.sort_unstable();
    aside.sort_unstable();
    Ok((names, aside))
}

fn finding(reason: FindingReason, file: &str, record: Option<u64>, what: String) -> Finding {
    let name: Option<SegmentName> = before_aside(file).unwrap_or(file).parse().ok();
    Finding {
        reason,
        file: Some(file.to_owned()),
        installation: name.map(|name| name.installation),
        segment: name.map(|name| name.segment),
        record,
        damage: None,
        what,
    }
}
