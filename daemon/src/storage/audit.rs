//! The audit log's chain: a link for the entries of each commit, over the link before it, so that an entry that is
//! changed, removed or slipped in later is found. It shows tampering with the file; it is not signed.

use leasehold_engine::{ids::AuditId, row::AuditRow};
use leasehold_keys::digest::Sha256;
use rusqlite::{Connection, OptionalExtension, params};

use super::load;

/// The start of what is hashed for a link: what it is, and in which form.
const PURPOSE: &[u8] = b"leasehold/audit-link/1\n";

/// The link before the first.
const NO_LINK: Sha256 = Sha256([0; 32]);

/// The link over `entries`, after the link `before`: SHA-256 of the purpose, the link before, the count, and each
/// entry's number and time as 8 bytes, highest first, and its texts, each after its length as 8 bytes.
fn link(before: Sha256, entries: &[AuditRow]) -> Sha256 {
    let mut bytes = PURPOSE.to_vec();
    bytes.extend(before.as_bytes());
    bytes.extend((entries.len() as u64).to_be_bytes());
    for entry in entries {
        bytes.extend(entry.id.0.to_be_bytes());
        bytes.extend(entry.at.as_ms().to_be_bytes());
        let identity = entry.identity.to_string();
        for text in [&identity, &entry.action, &entry.subject, &entry.before, &entry.after, &entry.reason] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    Sha256::of(&bytes)
}

/// The end of the chain, for the writer.
pub(super) struct Chain {
    last: Sha256,
}

impl Chain {
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let last: Option<String> = db
            .query_row("SELECT sha256 FROM audit_links ORDER BY first DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        // A link that cannot be read is found by the check; the chain goes on from what can be said of it.
        let last = last.map_or(NO_LINK, |text| text.parse().unwrap_or(NO_LINK));
        Ok(Self { last })
    }

    /// Writes the link over `entries`; the chain goes on from what is returned once that is durable.
    pub(super) fn extend(&self, db: &Connection, entries: &[AuditRow]) -> rusqlite::Result<Chain> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Self { last: self.last }) };
        let sha256 = link(self.last, entries);
        db.prepare_cached("INSERT INTO audit_links VALUES (?,?,?)")?.execute(params![
            first.id.0.cast_signed(),
            last.id.0.cast_signed(),
            sha256.to_string()
        ])?;
        Ok(Self { last: sha256 })
    }
}

/// What the check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Entries that were checked.
    pub entries: u64,
    /// The first entry that is not as it was written, and what is wrong; its link covers the entries of one commit, so
    /// it may be one of those after it.
    pub first_bad: Option<(AuditId, String)>,
    /// The newest link, where all is well and there is one. Who keeps it elsewhere can tell a log that was written anew.
    pub head: Option<Sha256>,
}

/// Checks every entry against the chain.
pub(super) fn verify(db: &Connection) -> rusqlite::Result<AuditVerdict> {
    let mut links = db.prepare("SELECT first, last, sha256 FROM audit_links ORDER BY first")?;
    let mut links = links.query([])?;
    let mut entries = db.prepare("SELECT * FROM audit ORDER BY id")?;
    let mut entries = entries.query([])?;
    let mut before = NO_LINK;
    let mut verdict = AuditVerdict { entries: 0, first_bad: None, head: None };
    let bad = |entries, id, why: &str| {
        Ok(AuditVerdict { entries, first_bad: Some((AuditId(id), why.to_owned())), head: None })
    };
    let mut expected = 1;
    while let Some(row) = links.next()? {
        let (first, last, sha256): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
        if first != expected || last < first {
            return bad(verdict.entries, expected, "the link over it is missing");
        }
        let mut linked = Vec::new();
        for id in first..=last {
            let entry = match entries.next()? {
                Some(row) => load::audit(row).ok(),
                None => None,
            };
            let Some(entry) = entry.filter(|entry| entry.id.0 == id) else {
                return bad(verdict.entries, id, "it is missing, or is no entry");
            };
            linked.push(entry);
            verdict.entries += 1;
        }
        before = link(before, &linked);
        if sha256.parse() != Ok(before) {
            return bad(verdict.entries, first, "it, or another entry of the same commit, was changed");
        }
        expected = last + 1;
    }
    let counted: Option<i64> = db.query_row("SELECT last_audit FROM site", [], |row| row.get(0)).optional()?;
    if counted.is_some_and(|last| last.cast_unsigned() >= expected) {
        return bad(verdict.entries, expected, "the log ends before it, and the site has counted more");
    }
    if let Some(row) = entries.next()? {
        let id: i64 = row.get(0)?;
        return bad(verdict.entries, id.cast_unsigned(), "no link covers it: it was added from outside");
    }
    verdict.head = Some(before).filter(|head| *head != NO_LINK);
    Ok(verdict)
}
