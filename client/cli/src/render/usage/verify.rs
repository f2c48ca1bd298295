//! `leasehold usage verify`: whether usage files are what was written.

use leasehold_keys::usage::{End, Report};
use leasehold_proto::v1;
use serde::Serialize;

use crate::render::{
    Document, given,
    page::{Page, Tone, counted, number},
};

/// The document of `leasehold usage verify`.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyUsageDocument {
    /// Whether nothing was found.
    pub intact: bool,
    /// Files that were looked at.
    pub files: u32,
    /// Records in them.
    pub records: u64,
    /// How far the files of each installation reach.
    pub installations: Vec<StandingDocument>,
    /// What is wrong.
    pub findings: Vec<FindingDocument>,
    /// What was compared with what, and what such a check cannot show.
    pub message: String,
}

/// How far the files of an installation reach.
#[derive(Clone, Debug, Serialize)]
pub struct StandingDocument {
    /// The installation.
    pub installation_id: String,
    /// The first segment that is there.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// Segments that are there.
    pub files: u32,
    /// Records of the last.
    pub records: u64,
    /// Those of them that a signature vouches for.
    pub signed_records: u64,
    /// How the last ends: `closed`, `open` or `torn`.
    pub end: String,
    /// The chain after its last record, in hexadecimal.
    pub head: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct FindingDocument {
    /// A stable code, such as `missing-segments`.
    pub reason: String,
    /// The file; null where it is not there.
    pub file: Option<String>,
    /// Whose.
    pub installation_id: Option<String>,
    /// In which segment it shows.
    pub segment: Option<u32>,
    /// At which record, from 1.
    pub record: Option<u64>,
    /// What kind of damage, where a file is damaged.
    pub damage: Option<String>,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl From<v1::VerifyUsageResponse> for VerifyUsageDocument {
    fn from(answer: v1::VerifyUsageResponse) -> Self {
        let standing = |standing: v1::UsageStanding| StandingDocument {
            installation_id: standing.installation_id,
            first: standing.first,
            last: standing.last,
            files: standing.files,
            records: standing.records,
            signed_records: standing.signed_records,
            end: standing.end,
            head: standing.head,
        };
        let finding = |finding: v1::UsageFinding| FindingDocument {
            reason: finding.reason,
            file: given(finding.file),
            installation_id: given(finding.installation_id),
            segment: Some(finding.segment).filter(|segment| *segment > 0),
            record: Some(finding.record).filter(|record| *record > 0),
            damage: given(finding.damage),
            message: finding.message,
        };
        Self {
            intact: answer.findings.is_empty(),
            files: answer.files,
            records: answer.records,
            installations: answer.installations.into_iter().map(standing).collect(),
            findings: answer.findings.into_iter().map(finding).collect(),
            message: answer.message,
        }
    }
}

impl VerifyUsageDocument {
    /// What came out of files that were looked at here.
    #[must_use]
    pub fn of(report: &Report, files: u32, records: u64, message: String) -> Self {
        let installations = report.installations.iter().map(|standing| StandingDocument {
            installation_id: standing.installation.to_string(),
            first: standing.first,
            last: standing.head.segment,
            files: standing.files,
            records: standing.head.records,
            signed_records: standing.signed_records,
            end: match standing.end {
                End::Closed(_) => "closed",
                End::Open => "open",
                End::Torn(_) => "torn",
            }
            .to_owned(),
            head: standing.head.chain.to_string(),
        });
        let findings = report.findings.iter().map(|finding| FindingDocument {
            reason: finding.reason.code().to_owned(),
            file: finding.file.clone(),
            installation_id: finding.installation.map(|installation| installation.to_string()),
            segment: finding.segment,
            record: finding.record,
            damage: finding.damage.map(|damage| damage.code().to_owned()),
            message: finding.to_string(),
        });
        Self {
            intact: report.findings.is_empty(),
            files,
            records,
            installations: installations.collect(),
            findings: findings.collect(),
            message,
        }
    }
}

impl Document for VerifyUsageDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let checked =
            format!("{}, {}", counted(self.files.into(), "file", "files"), counted(self.records, "record", "records"));
        match self.findings.len() as u64 {
            0 => page.line_in(Tone::Good, &format!("usage is as it was written: {checked}")),
            count => page.line_in(
                Tone::Bad,
                &format!("usage is NOT as it was written: {} in {checked}", counted(count, "finding", "findings")),
            ),
        }
        for finding in &self.findings {
            page.marked(Tone::Bad, &finding.reason, &finding.message);
        }
        if !self.installations.is_empty() {
            page.gap();
        }
        for standing in &self.installations {
            page.line(&standing.text());
        }
        if !self.message.is_empty() {
            page.line_in(Tone::Dim, &self.message);
        }
    }
}

impl StandingDocument {
    fn text(&self) -> String {
        let Self { installation_id, first, last, records, signed_records, .. } = self;
        let segments = if first == last { format!("segment {last}") } else { format!("segments {first} to {last}") };
        let end = match self.end.as_str() {
            "closed" => "is closed".to_owned(),
            "torn" => "ends within a record, which the daemon writes again from its database".to_owned(),
            _ if signed_records < records => format!(
                "is being written: {} of {} are signed for, the others will be within the hour",
                number(*signed_records),
                counted(*records, "record", "records")
            ),
            _ => "is being written".to_owned(),
        };
        format!("installation {installation_id}: {segments}; the last {end}")
    }
}
