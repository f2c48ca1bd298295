//! Many usage files of an installation as one chain: what is missing, changed or put in, without any key.

use std::{collections::BTreeMap, fmt};

use super::{
    damage::DamageReason,
    file::{End, salvage},
    head::Head,
    name::SegmentName,
};
use crate::{digest::Sha256, installation::InstallationId, refusal::reasons};

reasons! {
    /// What is wrong with the files of an installation. Codes are stable.
    FindingReason:
    /// A file is damaged in itself; its [`DamageReason`] says how.
    Damaged = "damaged", "Copy the file again from the server that wrote it; where it is the same there, tell the licensor.";
    /// The name of the file is not what its header says.
    Misnamed = "misnamed", "Name the file as told; nothing else is wrong with it by that.";
    /// A file of an installation that is not asked for.
    Foreign = "foreign", "Keep the files of each installation apart.";
    /// Two different files of one segment.
    TwoFiles = "two-files", "Tell the licensor: a server was restored from a copy or cloned, or a file was forged.";
    /// Segments that nobody has acknowledged are not there.
    MissingSegments = "missing-segments", "Copy the missing files from the server; where they are gone, tell the licensor.";
    /// A file ends before its last record.
    MissingRecords = "missing-records", "Copy the file again from the server that wrote it.";
    /// A file is another than the one that was continued, acknowledged or seen.
    Replaced = "replaced", "Copy the file again from the server that wrote it; where it is the same there, tell the licensor.";
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub reason: FindingReason,
    /// In which file, by the name it was given under.
    pub file: Option<String>,
    /// Whose file.
    pub installation: Option<InstallationId>,
    /// In which segment it shows; of several missing ones, the first.
    pub segment: Option<u32>,
    /// At which record it shows, from 1.
    pub record: Option<u64>,
    /// The damage, of a damaged file.
    pub damage: Option<DamageReason>,
    /// A sentence without its full stop.
    pub what: String,
}

impl fmt::Display for Finding {
    /// `NAME, record 7: ... . What to do.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let Some(record) = self.record {
                write!(f, ", record {record}")?;
            }
            f.write_str(": ")?;
        }
        let remedy = self.damage.map_or(self.reason.remedy(), DamageReason::remedy);
        write!(f, "{}. {remedy}", self.what)
    }
}

/// A file that the licensor has acknowledged: where it is gone, that is no damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub installation: InstallationId,
    /// Which.
    pub segment: u32,
    /// What it was.
    pub sha256: Sha256,
}

impl From<&super::UsageReceipt> for Acknowledged {
    fn from(receipt: &super::UsageReceipt) -> Self {
        Self { installation: receipt.installation(), segment: receipt.name.segment, sha256: receipt.sha256 }
    }
}

/// How far the files of an installation reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The installation.
    pub installation: InstallationId,
    /// The first segment that is there.
    pub first: u32,
    /// Segments that are there.
    pub files: u32,
    /// The end of the newest one that is there.
    pub head: Head,
    /// How the newest one ends.
    pub end: End,
    /// Records of it up to its last signature: those after it nobody vouches for yet.
    pub signed_records: u64,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each installation, in the order of their IDs.
    pub installations: Vec<Standing>,
    /// What is wrong, by installation and segment. None: nothing.
    pub findings: Vec<Finding>,
}

/// Files on their way to a [`Report`]. They may come in any order; each is looked at once and not kept.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    only: Option<InstallationId>,
    excerpt: bool,
    seen: Vec<(InstallationId, Head)>,
    acknowledged: BTreeMap<(InstallationId, u32), Sha256>,
    files: BTreeMap<(InstallationId, u32), Vec<Summary>>,
    findings: Vec<Finding>,
}

/// What is kept of a file.
#[derive(Clone, Debug)]
struct Summary {
    file: String,
    sha256: Sha256,
    head: Head,
    records_before: u64,
    previous_end: Sha256,
    end: End,
    signed_records: u64,
    damaged: bool,
}

impl Sequence {
    /// Files of any installations, each from its first segment on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files of this installation alone.
    #[must_use]
    pub fn of(mut self, installation: InstallationId) -> Self {
        self.only = Some(installation);
        self
    }

    /// Not the first segments need be there: the files of a period, say.
    #[must_use]
    pub fn excerpt(mut self) -> Self {
        self.excerpt = true;
        self
    }

    /// A head that the licensor saw, in a check-in or a file: what leads up to it must be there. Name all of them before
    /// the first [`Self::add`].
    #[must_use]
    pub fn seen(mut self, installation: InstallationId, head: Head) -> Self {
        self.seen.push((installation, head));
        self
    }

    /// A file that may be gone.
    #[must_use]
    pub fn acknowledged(mut self, file: Acknowledged) -> Self {
        self.acknowledged.insert((file.installation, file.segment), file.sha256);
        self
    }

    /// Looks at a file, which lies under `name`.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let file = match salvage(bytes) {
            Ok(file) => file,
            Err(damage) => {
                // Without a header the name is all that tells which file it was.
                let named: Option<SegmentName> = name.parse().ok();
                self.findings.push(Finding {
                    reason: FindingReason::Damaged,
                    file: Some(name.to_owned()),
                    installation: named.map(|named| named.installation),
                    segment: named.map(|named| named.segment),
                    record: None,
                    damage: Some(damage.kind()),
                    what: damage.what().to_owned(),
                });
                return;
            }
        };
        let (installation, segment) = (file.header().installation.id(), file.header().segment);
        let find = |reason, record, damage, what: String| Finding {
            reason,
            file: Some(name.to_owned()),
            installation: Some(installation),
            segment: Some(segment),
            record,
            damage,
            what,
        };
        if self.only.is_some_and(|only| only != installation) {
            let what = format!("The file is of the installation {installation}, which is not the one asked for");
            self.findings.push(find(FindingReason::Foreign, None, None, what));
            return;
        }
        if name != file.name().to_string() {
            let what = format!("By its header the file is {}", file.name());
            self.findings.push(find(FindingReason::Misnamed, None, None, what));
        }
        let mut damaged = file.damage().is_some();
        if let Some(damage) = file.damage() {
            let (record, kind) = (damage.at_record(), Some(damage.kind()));
            self.findings.push(find(FindingReason::Damaged, record, kind, damage.what().to_owned()));
        }
        let sha256 = Sha256::of(bytes);
        let known = self.acknowledged.get(&(installation, segment));
        if !damaged && known.is_some_and(|known| *known != sha256) {
            let what = "The licensor has acknowledged another file of this segment".to_owned();
            self.findings.push(find(FindingReason::Replaced, None, None, what));
            damaged = true;
        }
        for (_, head) in self.seen.iter().filter(|(of, head)| (*of, head.segment) == (installation, segment)) {
            if damaged {
                break;
            }
            let finding = match file.chain_after(head.records) {
                Some(chain) if chain == head.chain => continue,
                Some(_) => find(
                    FindingReason::Replaced,
                    Some(head.records),
                    None,
                    format!("Up to record {} the file is another than the licensor has seen", head.records),
                ),
                None => find(
                    FindingReason::MissingRecords,
                    Some(file.records() + 1),
                    None,
                    format!(
                        "The file ends after {} records, and the licensor has seen {} of them",
                        file.records(),
                        head.records
                    ),
                ),
            };
            self.findings.push(finding);
            damaged = true;
        }
        self.files.entry((installation, segment)).or_default().push(Summary {
            file: name.to_owned(),
            sha256,
            head: file.head(),
            records_before: file.header().records_before,
            previous_end: file.header().previous_end,
            end: file.end().clone(),
            signed_records: file.signed_records(),
            damaged,
        });
    }

    /// Holds the files against each other.
    pub fn finish(mut self) -> Report {
        let mut report = Report::default();
        let mut chains: BTreeMap<InstallationId, BTreeMap<u32, Summary>> = BTreeMap::new();
        for ((installation, segment), mut files) in std::mem::take(&mut self.files) {
            // Of two files of one segment the whole one is the better witness for the rest.
            files.sort_by(|a, b| (a.damaged, &a.file).cmp(&(b.damaged, &b.file)));
            let mut files = files.into_iter();
            let Some(first) = files.next() else { continue };
            // A copy of the same bytes is no second file.
            for other in files.filter(|other| other.sha256 != first.sha256) {
                let what = format!("The file is another than {}, and both are segment {segment}", first.file);
                self.findings.push(about(FindingReason::TwoFiles, installation, segment, &other, None, what));
            }
            chains.entry(installation).or_default().insert(segment, first);
        }
        // Installations of which nothing but a head or a receipt is left.
        for installation in self.seen.iter().map(|(of, _)| *of) {
            if self.only.is_none_or(|only| only == installation) {
                chains.entry(installation).or_default();
            }
        }
        for (installation, chain) in chains {
            self.links(installation, &chain);
            self.gaps(installation, &chain);
            if let (Some((first, _)), Some((_, newest))) = (chain.first_key_value(), chain.last_key_value()) {
                report.installations.push(Standing {
                    installation,
                    first: *first,
                    files: u32::try_from(chain.len()).unwrap_or(u32::MAX),
                    head: newest.head,
                    end: newest.end.clone(),
                    signed_records: newest.signed_records,
                });
            }
        }
        self.findings.sort_by(|a, b| {
            (a.installation, a.segment, a.record, a.reason, &a.file).cmp(&(
                b.installation,
                b.segment,
                b.record,
                b.reason,
                &b.file,
            ))
        });
        report.findings = self.findings;
        report
    }

    /// Each segment ends as the next one says.
    fn links(&mut self, installation: InstallationId, chain: &BTreeMap<u32, Summary>) {
        for ((segment, file), (next_segment, next)) in chain.iter().zip(chain.iter().skip(1)) {
            if file.damaged {
                continue;
            }
            if let End::Torn(torn) = &file.end {
                let what = format!("The file ends within record {}, and a later segment follows", torn.record);
                let record = Some(torn.record);
                self.findings.push(about(FindingReason::MissingRecords, installation, *segment, file, record, what));
                continue;
            }
            if segment + 1 != *next_segment {
                continue;
            }
            let written = next.records_before.checked_sub(file.records_before);
            if file.head.chain == next.previous_end && written == Some(file.head.records) {
                continue;
            }
            let finding = match written {
                Some(written) if written > file.head.records => about(
                    FindingReason::MissingRecords,
                    installation,
                    *segment,
                    file,
                    Some(file.head.records + 1),
                    format!(
                        "The file ends after {} records, and by the next segment it had {written}",
                        file.head.records
                    ),
                ),
                Some(written) if written < file.head.records => about(
                    FindingReason::Replaced,
                    installation,
                    *segment,
                    file,
                    Some(written + 1),
                    format!("The file has {} records, and by the next segment it had {written}", file.head.records),
                ),
                _ => about(
                    FindingReason::Replaced,
                    installation,
                    *segment,
                    file,
                    None,
                    format!("The file is another than the one that segment {next_segment} continues"),
                ),
            };
            self.findings.push(finding);
        }
    }

    /// What should be there and is not.
    fn gaps(&mut self, installation: InstallationId, chain: &BTreeMap<u32, Summary>) {
        let newest = self.seen.iter().filter(|(of, _)| *of == installation).map(|(_, head)| head.segment).max();
        let mut there: Vec<u32> = chain.keys().copied().collect();
        let begin = if self.excerpt { there.first().copied().or(newest).unwrap_or(1) } else { 1 };
        let acknowledged =
            self.acknowledged.range((installation, begin)..=(installation, u32::MAX)).map(|((_, segment), _)| *segment);
        there.extend(acknowledged);
        there.sort_unstable();
        there.dedup();
        let end = there.last().copied().max(newest).unwrap_or(0);
        let mut expected = begin;
        for segment in there.into_iter().chain([end.saturating_add(1)]) {
            if segment > expected {
                let what = if segment - expected == 1 {
                    format!("Segment {expected} of the installation {installation} is missing")
                } else {
                    format!("Segments {expected} to {} of the installation {installation} are missing", segment - 1)
                };
                self.findings.push(Finding {
                    reason: FindingReason::MissingSegments,
                    file: None,
                    installation: Some(installation),
                    segment: Some(expected),
                    record: None,
                    damage: None,
                    what,
                });
            }
            expected = segment.saturating_add(1).max(expected);
        }
    }
}

fn about(
    reason: FindingReason,
    installation: InstallationId,
    segment: u32,
    file: &Summary,
    record: Option<u64>,
    what: String,
) -> Finding {
    Finding {
        reason,
        file: Some(file.file.clone()),
        installation: Some(installation),
        segment: Some(segment),
        record,
        damage: None,
        what,
    }
}
