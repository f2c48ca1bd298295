//! Host IDs, request notes, signed files and the licenses in them.

use leasehold_proto::v1;
use serde::Serialize;

use super::{
    At, Capacity, Document, NoticeDocument, given, or_empty,
    page::{Page, Tone, number},
    status::{FolderEntryDocument, write_folder},
    table::Cell,
};

/// Of what loading a file changes, this much is told; a first file changes every pool.
const TOLD_EFFECTS: usize = 12;

/// The document of `leasehold host-id`.
#[derive(Clone, Debug, Serialize)]
pub struct HostIdDocument {
    /// The host ID, one string that survives copying by hand.
    pub host_id: String,
    /// The name of the machine.
    pub machine_name: String,
    /// The facts that it rests on.
    pub factors: Vec<FactorDocument>,
}

/// One fact of the host.
#[derive(Clone, Debug, Serialize)]
pub struct FactorDocument {
    /// `platform`, `system`, `disk`, `installation` or `network`.
    pub name: String,
    /// `present` or `missing`.
    pub state: String,
    /// Where it comes from, or why it is missing.
    pub message: Option<String>,
}

impl From<v1::GetHostIdResponse> for HostIdDocument {
    fn from(answer: v1::GetHostIdResponse) -> Self {
        let factors = answer
            .factors
            .into_iter()
            .map(|factor| FactorDocument { name: factor.name, state: factor.state, message: given(factor.message) })
            .collect();
        Self { host_id: answer.host_id, machine_name: answer.machine_name, factors }
    }
}

impl Document for HostIdDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line_in(Tone::Strong, &self.host_id);
        if self.factors.is_empty() {
            return;
        }
        page.gap();
        let rows = self
            .factors
            .iter()
            .map(|factor| {
                let tone = if factor.state == "present" { Tone::Good } else { Tone::Warn };
                vec![
                    Cell::text(&factor.name),
                    Cell::text(&factor.state).tone(tone),
                    Cell::prose(or_empty(&factor.message)),
                ]
            })
            .collect();
        page.table(&["FACTOR", "STATE", "SOURCE"], rows);
    }
}

/// The document of `leasehold request`.
#[derive(Clone, Debug, Serialize)]
pub struct RequestNoteDocument {
    /// The host ID in the note.
    pub host_id: String,
    /// The name of the machine in the note.
    pub machine_name: String,
    /// The note itself, to be sent to the licensor as it is.
    pub request_note: String,
    /// The file that it was written to; null for standard output.
    pub file: Option<String>,
}

impl Document for RequestNoteDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        match &self.file {
            Some(file) => {
                page.line(&format!("the request note for {} is in {file}: send it to your licensor", self.machine_name))
            }
            // The note alone, so that it can be redirected into a file.
            None => page.verbatim(&self.request_note),
        }
    }
}

/// One activation file: what was bought, for whom, and until when.
#[derive(Clone, Debug, Serialize)]
pub struct LicenseDocument {
    /// Stable over re-issues.
    pub license_id: String,
    /// Rises with every re-issue.
    pub sequence: u32,
    /// The customer.
    pub account: Option<String>,
    /// Where it is installed.
    pub install_site: Option<String>,
    /// The product.
    pub product: String,
    /// The product line.
    pub product_line: Option<String>,
    /// The product versions that are covered.
    pub versions: Option<String>,
    /// `perpetual`, `subscription` or `mixed`.
    pub model: String,
    /// `production`, `development`, `trial` or `evaluation`.
    pub level: String,
    /// `base` or `add-on`.
    pub kind: String,
    /// When it was issued.
    pub issued: Option<At>,
    /// From when on it is in effect.
    pub not_before: Option<At>,
    /// When it ends; from 2100 on: no end.
    pub not_after: Option<At>,
    /// Until when newer versions may be installed (SITE-4).
    pub maintenance_end: Option<At>,
    /// `in effect`, `not yet`, `ended`, `missing`, `unloaded`, `superseded` or `deactivated`.
    pub state: String,
    /// Why, where it is not in effect.
    pub message: Option<String>,
    /// The parts that were ordered.
    pub parts: Vec<PartDocument>,
    /// What they grant.
    pub grants: Vec<GrantDocument>,
    /// The file's name.
    pub file_name: Option<String>,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: Option<String>,
    /// The keys that signed it.
    pub signed_by: Vec<String>,
    /// How this host matches.
    pub host: Option<String>,
}

/// A part that was ordered.
#[derive(Clone, Debug, Serialize)]
pub struct PartDocument {
    /// The part number.
    pub number: String,
    /// What it is.
    pub description: String,
    /// Assignable units.
    pub assigned: u32,
    /// Concurrent units.
    pub pooled: u32,
}

/// What a file adds to a pool.
#[derive(Clone, Debug, Serialize)]
pub struct GrantDocument {
    /// The pool.
    pub pool: String,
    /// The units.
    #[serde(flatten)]
    pub units: Capacity,
}

impl From<v1::License> for LicenseDocument {
    fn from(license: v1::License) -> Self {
        let parts = license
            .parts
            .into_iter()
            .map(|part| PartDocument {
                number: part.number,
                description: part.description,
                assigned: part.assigned,
                pooled: part.pooled,
            })
            .collect();
        let grants = license
            .grants
            .into_iter()
            .map(|grant| GrantDocument { pool: grant.pool, units: Capacity::from_wire(&grant.units) })
            .collect();
        Self {
            license_id: license.license_id,
            sequence: license.sequence,
            account: given(license.account),
            install_site: given(license.install_site),
            product: license.product,
            product_line: given(license.product_line),
            versions: given(license.versions),
            model: license.model,
            level: license.level,
            kind: license.kind,
            issued: At::from_wire(license.issued),
            not_before: At::from_wire(license.not_before),
            not_after: At::from_wire(license.not_after),
            maintenance_end: At::from_wire(license.maintenance_end),
            state: license.state,
            message: given(license.message),
            parts,
            grants,
            file_name: given(license.file_name),
            sha256: given(license.sha256),
            signed_by: license.signed_by,
            host: given(license.host),
        }
    }
}

impl LicenseDocument {
    fn tone(&self) -> Tone {
        match self.state.as_str() {
            "in effect" => Tone::Good,
            "not yet" | "missing" => Tone::Warn,
            "ended" => Tone::Bad,
            _ => Tone::Dim,
        }
    }

    fn write_in_full(&self, page: &mut Page<'_>) {
        let clock = page.clock();
        let date = |at: Option<At>| at.map_or_else(String::new, |at| clock.date(at.0));
        let end = match self.not_after {
            Some(at) if clock.end_date(at.0) == "no end" => "no end".to_owned(),
            Some(at) => format!("{} ({})", clock.moment(at.0), clock.distance(at.0)),
            None => String::new(),
        };
        let product = match &self.product_line {
            Some(line) => format!("{} ({line})", self.product),
            None => self.product.clone(),
        };
        // The daemon's verdict on a file that is only checked has been told before: its state is not one of a license.
        let state = match &self.message {
            _ if self.state == "accepted" => String::new(),
            Some(message) => format!("{}: {message}", self.state),
            None => self.state.clone(),
        };
        page.fields(&[
            ("License", format!("{}, sequence {}", self.license_id, self.sequence)),
            ("State", state),
            ("Product", product),
            ("Versions", or_empty(&self.versions).to_owned()),
            ("Terms", format!("{} file, {} level, {}", self.kind, self.level, self.model)),
            ("Account", or_empty(&self.account).to_owned()),
            ("Install site", or_empty(&self.install_site).to_owned()),
            ("Issued", date(self.issued)),
            ("In effect from", date(self.not_before)),
            ("Ends", end),
            ("Maintenance until", date(self.maintenance_end)),
            ("This host", or_empty(&self.host).to_owned()),
            ("Signed by", self.signed_by.join(", ")),
            ("File", or_empty(&self.file_name).to_owned()),
            ("SHA-256", or_empty(&self.sha256).to_owned()),
        ]);
        if !self.parts.is_empty() {
            page.gap();
            let rows = self
                .parts
                .iter()
                .map(|part| {
                    vec![
                        Cell::text(&part.number),
                        Cell::prose(&part.description),
                        Cell::number_or_dim(part.assigned, Tone::Plain),
                        Cell::number_or_dim(part.pooled, Tone::Plain),
                    ]
                })
                .collect();
            page.table(&["PART", "DESCRIPTION", "ASSIGNABLE", "CONCURRENT"], rows);
        }
        if !self.grants.is_empty() {
            page.gap();
            let rows = self
                .grants
                .iter()
                .map(|grant| vec![Cell::text(&grant.pool), Cell::right(grant.units.text())])
                .collect();
            page.table(&["POOL", "GRANTED"], rows);
        }
    }
}

/// The document of `leasehold load`.
#[derive(Clone, Debug, Serialize)]
pub struct LoadDocument {
    /// The file's name in the watched folder.
    pub name: String,
    /// True where it was only checked.
    pub check_only: bool,
    /// `accepted`, `refused`, `superseded` or `waiting`.
    pub state: String,
    /// Why it was refused, in capitals.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub message: Option<String>,
    /// What the file contains, where it could be read.
    pub license: Option<LicenseDocument>,
    /// What loading it changes.
    pub effects: Vec<NoticeDocument>,
}

impl Document for LoadDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        let because = self.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        let what = &self.name;
        match (self.state.as_str(), self.check_only) {
            // The refusal itself is an error, and told as one.
            ("refused", _) => {}
            ("accepted", true) => page.line_in(Tone::Good, &format!("{what} is good and would be accepted{because}")),
            ("accepted", false) => page.line_in(Tone::Good, &format!("{what} is accepted{because}")),
            ("waiting", _) => page.line_in(
                Tone::Warn,
                &format!("{what} is in the watched folder and not judged yet{because}; `leasehold status` will tell"),
            ),
            (state, true) => page.line_in(Tone::Warn, &format!("{what} would be {state}{because}")),
            (state, false) => page.line_in(Tone::Warn, &format!("{what} is {state}{because}")),
        }
        for effect in self.effects.iter().take(TOLD_EFFECTS) {
            page.line(&format!("  {}", effect.message));
        }
        if let Some(more @ 1..) = self.effects.len().checked_sub(TOLD_EFFECTS) {
            page.line(&format!("  and {more} more changes"));
        }
        match &self.license {
            Some(license) if self.check_only => {
                page.gap();
                license.write_in_full(page);
            }
            Some(license) if self.state == "accepted" => {
                page.line_in(Tone::Dim, &format!("`leasehold licenses {}` shows what it contains", license.license_id));
            }
            _ => {}
        }
    }
}

/// The document of `leasehold licenses`.
#[derive(Clone, Debug, Serialize)]
pub struct LicensesDocument {
    /// The licenses.
    pub licenses: Vec<LicenseDocument>,
    /// The files in the watched folder.
    pub folder: Vec<FolderEntryDocument>,
    /// Whether one license was asked for, which is shown in full.
    #[serde(skip)]
    pub in_full: bool,
}

impl Document for LicensesDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        if self.in_full {
            for license in &self.licenses {
                page.gap();
                license.write_in_full(page);
            }
            return;
        }
        if self.licenses.is_empty() {
            page.line_in(Tone::Warn, "no license file is in effect");
        } else {
            let clock = page.clock();
            let rows = self
                .licenses
                .iter()
                .map(|license| {
                    let end = license.not_after.map_or_else(String::new, |at| clock.end_date(at.0));
                    vec![
                        Cell::text(&license.license_id),
                        Cell::text(&license.product),
                        Cell::text(format!("{} {}", license.level, license.kind)),
                        Cell::right(number(license.sequence.into())),
                        Cell::text(end),
                        Cell::text(&license.state).tone(license.tone()),
                        Cell::text(or_empty(&license.file_name)),
                        Cell::prose(or_empty(&license.message)),
                    ]
                })
                .collect();
            page.table(&["LICENSE", "PRODUCT", "KIND", "SEQ", "ENDS", "STATE", "FILE", "NOTE"], rows);
        }
        let others: Vec<FolderEntryDocument> =
            self.folder.iter().filter(|entry| entry.state != "accepted").cloned().collect();
        if !others.is_empty() {
            page.gap();
            page.line("Other files in the watched folder:");
            write_folder(&others, page);
        }
    }
}
