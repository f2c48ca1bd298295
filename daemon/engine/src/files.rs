//! The watched folder's files as a set: which are taken, which are refused, and what their coming and going means for
//! pools (02, The activation file; LEVEL-5). The whole set is judged, then swapped in one step.

mod effect;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use leasehold_keys::{
    activation::{FileKind, HostRole, Level, LicenseId, Units},
    definition::{KeyDefinition, Role},
    digest::Sha256,
    marks::{Mark, MarkVerdict, judge},
    name::Label,
    time::{DAY_MS, HOUR_MS, WallTime},
};

use crate::{
    catalog::{Catalog, built_in_call_port},
    command::{FolderFile, HostFinding},
    decision::{Event, FileVerdict, Notice, Reply, Taken, Told},
    engine::Turn,
    grants::{FileState, GRACE_MS, ends},
    ids::{Identity, KeyId},
    refusal::{FileRefusal, Refusal},
    row::{FileRow, KeyRow, PoolStateRow, Row},
    time::Now,
};

/// Earlier sequences that are remembered as superseded.
const EARLIER_MAX: usize = 64;
/// Leases on a pool that has fallen to nothing are told so long ahead (LEVEL-5).
pub(crate) const CLOSING_MS: u64 = 3_600_000;
/// Status and log warn so many days before a file ends (LEVEL-5).
const WARN_DAYS: [i64; 4] = [30, 14, 7, 1];

impl Turn<'_> {
    /// Judges the complete content of the folder.
    pub(crate) fn folder(&mut self, mut files: Vec<FolderFile>) -> Result<Reply, Refusal> {
        let order: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        // What makes room comes first: closing files, then those that supersede others; base files before what needs them;
        // of one license ID the highest first, so that lower ones are superseded.
        files.sort_by(|a, b| {
            let key = |file: &FolderFile| {
                let terms = &file.terms;
                let add_on = terms.kind == FileKind::AddOn;
                (
                    !terms.is_deactivation(),
                    add_on,
                    terms.supersedes.is_empty(),
                    terms.companion_of.is_some(),
                    terms.license_id,
                )
            };
            key(a).cmp(&key(b)).then_with(|| {
                (b.terms.key_epoch(), b.terms.sequence, &a.name).cmp(&(a.terms.key_epoch(), a.terms.sequence, &b.name))
            })
        });
        let mut verdicts: BTreeMap<String, Result<Taken, FileRefusal>> = BTreeMap::new();
        let keys: Vec<(String, (LicenseId, Sha256))> =
            files.iter().map(|file| (file.name.clone(), (file.terms.license_id, file.terms.sha256()))).collect();
        let present: BTreeSet<(LicenseId, Sha256)> = keys.iter().map(|(_, key)| *key).collect();
        for file in files {
            let name = file.name.clone();
            let verdict = self.take_file(file);
            verdicts.insert(name, verdict);
        }
        self.note_absent(&present);
        // A file that was taken at first may have been superseded by one that was looked at later.
        for (name, key) in keys {
            let rules = self.engine.state.files.get(&key.0).is_some_and(|row| row.terms.sha256() == key.1);
            if let Some(verdict @ Ok(Taken::Accepted | Taken::Known)) = verdicts.get_mut(&name)
                && !rules
            {
                *verdict = Ok(Taken::Superseded);
            }
        }
        self.refresh_grants();
        if self.engine.state.is_standby(self.now) {
            self.refuse_who_wait();
        }
        let verdicts = order
            .into_iter()
            .filter_map(|name| {
                verdicts.get(&name).map(|verdict| FileVerdict { name: name.clone(), verdict: verdict.clone() })
            })
            .collect();
        Ok(Reply::Folder(verdicts))
    }

    fn take_file(&mut self, file: FolderFile) -> Result<Taken, FileRefusal> {
        let license = file.terms.license_id;
        let sha256 = file.terms.sha256();
        let known = self.engine.state.files.get(&license).cloned();
        if self.is_superseded(license, file.terms.sequence, sha256) {
            return Ok(Taken::Superseded);
        }
        let mark = self.engine.state.marks.get(&license).copied();
        match judge(&mark, &file.terms) {
            MarkVerdict::Same => {
                if let Some(row) = known {
                    if row.unloaded {
                        return Err(FileRefusal::Unloaded);
                    }
                    return self.keep_file(row, &file);
                }
            }
            MarkVerdict::Newer => {}
            MarkVerdict::Superseded { sequence, .. } => {
                if known.as_ref().is_some_and(|row| row.earlier.contains(&sha256)) {
                    return Ok(Taken::Superseded);
                }
                return Err(FileRefusal::RolledBack { offered: file.terms.sequence, accepted: sequence });
            }
            MarkVerdict::SameSequenceOtherBytes { .. } => {
                return Err(FileRefusal::SameSequenceOtherBytes { sequence: file.terms.sequence });
            }
        }
        self.accept_file(file, known)
    }

    /// True where an accepted file names this one in `supersedes`.
    fn is_superseded(&self, license: LicenseId, sequence: u32, sha256: Sha256) -> bool {
        self.engine.state.files.values().any(|row| {
            row.terms.sha256() != sha256
                && row.terms.supersedes.iter().any(|old| old.license_id == license && sequence <= old.sequence)
        })
    }

    /// The accepted file is seen again: on this host, or no longer (02, Host IDs). The 72 hours of a lost host run once per
    /// sequence: a host that matches again and is lost again goes on with what was left of them.
    fn keep_file(&mut self, row: FileRow, file: &FolderFile) -> Result<Taken, FileRefusal> {
        let mut kept = row.clone();
        kept.absent_since = None;
        kept.name.clone_from(&file.name);
        let license = row.terms.license_id;
        let was_lost = self.engine.state.host_lost(&row);
        if !matches!(file.host, HostFinding::Other(_)) {
            self.engine.state.matched_again.insert(license);
        }
        match &file.host {
            HostFinding::Unbound => {}
            // A closing file only takes away: it runs nowhere, and no host is lost to it.
            HostFinding::Other(_) if row.terms.is_deactivation() => {}
            HostFinding::Primary => kept.host_role = Some(HostRole::Primary),
            HostFinding::Switchover => kept.host_role = Some(HostRole::Switchover),
            HostFinding::Other(comparison) => {
                self.engine.state.matched_again.remove(&license);
                let since = kept.host_lost_since.unwrap_or(self.now.lease);
                kept.host_lost_since = Some(since);
                let gone_ms = self.now.lease.ms_since(since);
                if !was_lost && gone_ms < GRACE_MS {
                    self.out.notices.push(Notice::HostLost {
                        name: file.name.clone(),
                        hours_left: GRACE_MS.saturating_sub(gone_ms) / 3_600_000,
                        comparison: comparison.clone(),
                    });
                }
                if gone_ms >= GRACE_MS {
                    self.put_file(Some(row), kept);
                    return Err(FileRefusal::OtherHost { comparison: comparison.clone() });
                }
            }
        }
        self.put_file(Some(row), kept);
        Ok(Taken::Known)
    }

    fn accept_file(&mut self, file: FolderFile, known: Option<FileRow>) -> Result<Taken, FileRefusal> {
        let host_role = match &file.host {
            HostFinding::Unbound => None,
            HostFinding::Primary => Some(HostRole::Primary),
            HostFinding::Switchover => Some(HostRole::Switchover),
            // A closing file may arrive after the hardware has gone; it only takes away.
            HostFinding::Other(_) if file.terms.is_deactivation() => None,
            HostFinding::Other(comparison) => {
                return Err(FileRefusal::OtherHost { comparison: comparison.clone() });
            }
        };
        let mut earlier = known.as_ref().map(|row| row.earlier.clone()).unwrap_or_default();
        if let Some(row) = &known {
            earlier.push(row.terms.sha256());
            if earlier.len() > EARLIER_MAX {
                earlier.remove(0);
            }
        }
        let row = FileRow {
            terms: Arc::clone(&file.terms),
            name: file.name,
            accepted: self.now.wall,
            host_role,
            absent_since: None,
            host_lost_since: None,
            unloaded: false,
            earlier,
        };
        if !file.terms.is_deactivation() {
            if ends(&row) <= self.engine.state.dated(self.now) {
                return Err(FileRefusal::Ended { not_after: ends(&row), level: row.terms.level });
            }
            self.check_among_others(&row)?;
        }
        let superseded: Vec<FileRow> = self
            .engine
            .state
            .files
            .values()
            .filter(|other| {
                other.terms.license_id != row.terms.license_id
                    && row
                        .terms
                        .supersedes
                        .iter()
                        .any(|old| old.license_id == other.terms.license_id && other.terms.sequence <= old.sequence)
            })
            .cloned()
            .collect();
        self.end_stale_promotion(&row, known.is_none(), &superseded);
        for old in superseded {
            self.audit_file("license superseded", &old, Some(&old), None);
            self.change(Some(Row::File(old)), None);
        }
        let deed = if row.terms.is_deactivation() { "license closed" } else { "license accepted" };
        self.audit_file(deed, &row, known.as_ref(), Some(&row));
        let mark = self.engine.state.marks.get(&row.terms.license_id).copied();
        self.change(mark.map(Row::Mark), Some(Row::Mark(Mark::of(&row.terms))));
        let deactivated = row.terms.is_deactivation();
        self.engine.state.matched_again.remove(&row.terms.license_id);
        self.put_file(known, row);
        Ok(if deactivated { Taken::Deactivated } else { Taken::Accepted })
    }

    /// A promotion is for the pair that it was made for. A file of another license that names this host as its switchover
    /// server makes it a standby again, unless it still serves as a promoted one or this file takes that one's place.
    fn end_stale_promotion(&mut self, row: &FileRow, new: bool, superseded: &[FileRow]) {
        let standby = |other: &FileRow| other.host_role == Some(HostRole::Switchover);
        let serves = superseded.iter().any(standby) || self.engine.state.files_in_effect(self.now).any(standby);
        if new && standby(row) && !serves && self.engine.state.site.promoted {
            self.change_site(|site| site.promoted = false);
            self.audit(
                &Identity::Daemon,
                "stand by",
                "this server",
                "\"promoted\"",
                "",
                "a file of another license names it",
            );
        }
    }

    /// The audit log's entry for what the folder or time did to a license.
    fn audit_file(&mut self, deed: &str, about: &FileRow, before: Option<&FileRow>, after: Option<&FileRow>) {
        let told = |row: Option<&FileRow>| {
            row.map_or_else(String::new, |row| {
                serde_json::json!({
                    "sequence": row.terms.sequence,
                    "file": row.name,
                    "sha256": row.terms.sha256().to_string(),
                    "signed_by": row.terms.signed_by(),
                })
                .to_string()
            })
        };
        let subject = format!("{} {}", about.terms.license_id, title(about));
        self.audit(&Identity::Daemon, deed, &subject, &told(before), &told(after), "");
    }

    /// Keeps in the audit log when a license came into effect and when it left, whatever the cause.
    fn audit_states(&mut self) {
        let now = self.now;
        let states: BTreeMap<LicenseId, FileState> = self
            .engine
            .state
            .files
            .values()
            .map(|row| (row.terms.license_id, self.engine.state.file_state(row, now)))
            .collect();
        let before = self.engine.file_states.replace(states.clone());
        let Some(before) = before else { return };
        for (license, state) in states {
            let was = before.get(&license).copied();
            let Some(row) = self.engine.state.files.get(&license).cloned() else { continue };
            if let Some(was) = was.filter(|was| *was != state) {
                let subject = format!("{license} {}", title(&row));
                let told = |state: FileState| serde_json::Value::from(state.as_str()).to_string();
                self.audit(&Identity::Daemon, "license state", &subject, &told(was), &told(state), "");
            }
        }
    }

    /// One base file at a time per product; add-ons need a base, and not an evaluation's (LEVEL-4); a companion's virtual
    /// cloud needs the server's.
    fn check_among_others(&self, row: &FileRow) -> Result<(), FileRefusal> {
        let state = &self.engine.state;
        // What ended before this one was issued does not stand beside it.
        let now = self.now.vouched_by(row.terms.issued.max(state.dated(self.now)));
        let standing = |other: &&FileRow| {
            other.terms.license_id != row.terms.license_id
                && matches!(state.file_state(other, now), FileState::InEffect | FileState::NotYet)
                && !row
                    .terms
                    .supersedes
                    .iter()
                    .any(|old| old.license_id == other.terms.license_id && other.terms.sequence <= old.sequence)
        };
        let base_of = |product: &Label| {
            state
                .files
                .values()
                .filter(standing)
                .find(|other| other.terms.kind == FileKind::Base && other.terms.product == *product)
        };
        let product = row.terms.product.clone();
        match (row.terms.kind, base_of(&product)) {
            (FileKind::Base, Some(other)) => {
                let other = format!("license {} of {}", other.terms.license_id, other.terms.account);
                return Err(FileRefusal::SecondBase { product, other });
            }
            (FileKind::AddOn, None) => return Err(FileRefusal::NoBase { product }),
            (FileKind::AddOn, Some(base)) if base.terms.level == Level::Evaluation => {
                return Err(FileRefusal::EvaluationTakesNoAddOns { product });
            }
            (FileKind::Base, None) | (FileKind::AddOn, Some(_)) => {}
        }
        if let Some(server) = &row.terms.companion_of
            && grants_role(row, Role::VirtualCloud)
            && !base_of(server).is_some_and(|base| grants_role(base, Role::VirtualCloud))
        {
            return Err(FileRefusal::CompanionWithoutCloud { product: server.clone() });
        }
        Ok(())
    }

    fn put_file(&mut self, before: Option<FileRow>, after: FileRow) {
        if before.as_ref() != Some(&after) {
            self.change(before.map(Row::File), Some(Row::File(after)));
        }
    }

    /// Accepted files that the folder no longer has: reported, and gone after 72 hours.
    fn note_absent(&mut self, present: &BTreeSet<(LicenseId, Sha256)>) {
        let absent: Vec<FileRow> = self
            .engine
            .state
            .files
            .values()
            .filter(|row| !present.contains(&(row.terms.license_id, row.terms.sha256())))
            .filter(|row| row.absent_since.is_none() && !row.unloaded && !row.terms.is_deactivation())
            .cloned()
            .collect();
        for row in absent {
            self.out.notices.push(Notice::FileAbsent { name: row.name.clone(), hours_left: GRACE_MS / 3_600_000 });
            let after = FileRow { absent_since: Some(self.now.lease), ..row.clone() };
            self.put_file(Some(row), after);
        }
    }

    /// 02, Trust: what the roots revoke.
    pub(crate) fn revocations(&mut self, keys: Vec<(Sha256, WallTime)>) -> Result<Reply, Refusal> {
        self.engine.state.revoked = keys.into_iter().collect();
        self.drop_revoked_marks();
        self.refresh_grants();
        Ok(Reply::Done)
    }

    fn drop_revoked_marks(&mut self) {
        let state = &self.engine.state;
        let date = state.dated(self.now);
        let dropped: Vec<Mark> = state
            .marks
            .values()
            .filter(|mark| state.revoked.get(&mark.key_sha256).is_some_and(|from| *from <= date))
            .copied()
            .collect();
        for mark in dropped {
            self.change(Some(Row::Mark(mark)), None);
        }
    }

    /// ADMIN-1, `leasehold unload`: takes the grants of a license ID away at once.
    pub(crate) fn unload(&mut self, license: LicenseId) -> Result<String, Refusal> {
        let Some(row) = self.engine.state.files.get(&license).cloned() else {
            return Err(Refusal::LicenseUnknown(license.to_string()));
        };
        let title = title(&row);
        if !row.unloaded {
            let after = FileRow { unloaded: true, ..row.clone() };
            self.put_file(Some(row), after);
            self.refresh_grants();
        }
        Ok(title)
    }

    /// Warns of files that end in 30, 14, 7 or 1 days (LEVEL-5). Made once a day; at a start any file that ends within 30
    /// days is told, since a warning may have been missed.
    pub(crate) fn warn_of_ends(&mut self, at_start: bool) {
        let (now, date) = (self.now, self.engine.state.dated(self.now));
        let mut notices = Vec::new();
        for row in self.engine.state.files.values() {
            if self.engine.state.file_state(row, now) != FileState::InEffect {
                continue;
            }
            if let Some(days) = warning_days(row, date)
                && (at_start || WARN_DAYS.contains(&days))
            {
                notices.push(Notice::FileEndsSoon { license: row.terms.license_id, title: title(row), days });
            }
        }
        self.out.notices.append(&mut notices);
    }

    /// Tells of files that ended between two moments.
    pub(crate) fn tell_ended(&mut self, from: WallTime, to: WallTime) {
        let ended: Vec<Notice> = self
            .engine
            .state
            .files
            .values()
            .filter(|row| !row.unloaded && !row.terms.is_deactivation() && ends(row) > from && ends(row) <= to)
            .map(|row| Notice::FileEnded { license: row.terms.license_id, title: title(row) })
            .collect();
        self.out.notices.extend(ended);
    }
}

fn grants_role(row: &FileRow, role: Role) -> bool {
    row.terms.grants.iter().any(|grant| {
        row.terms
            .definitions
            .iter()
            .any(|def| def.role == Some(role) && (def.name == grant.pool.key || def.aliases.contains(&grant.pool.key)))
    })
}

/// The account and product of a file, for people.
pub(crate) fn title(row: &FileRow) -> String {
    format!("{} for {} ({})", row.terms.product, row.terms.account, row.name)
}

/// Whole days to a file's end, where that is within the first warning.
pub(crate) fn warning_days(row: &FileRow, now: WallTime) -> Option<i64> {
    let left_ms = ends(row).as_ms() - now.as_ms();
    let days = left_ms.div_euclid(DAY_MS);
    (left_ms > 0 && days <= WARN_DAYS[0]).then_some(days)
}
