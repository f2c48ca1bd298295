//! What the accepted files grant at a moment: which of them are in effect, what their grants add up to, when that
//! changes next. Looks, never changes.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{
    activation::{FileKind, HostRole, Level, Units},
    name::PoolName,
    time::{DAY_MS, WallTime},
};

use crate::{
    ids::PoolId,
    row::{FileRow, Warning},
    state::State,
    time::{LeaseTime, Now},
};

/// A file that is gone from the folder, or whose host no longer matches, runs on for so long (02).
pub(crate) const GRACE_MS: u64 = 72 * 3_600_000;
/// A trial ends so many days after issue (LEVEL-3).
const TRIAL_DAYS: i64 = 60;
/// Call ports of an unlicensed site, all keys together.
pub(crate) const UNLICENSED_CALL_PORTS: u32 = 2;

/// What an accepted file is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    InEffect,
    NotYet,
    Ended,
    Missing,
    Unloaded,
    Deactivated,
    HostLost,
    Revoked,
    /// An add-on without a base in effect, or beside an evaluation base (LEVEL-4).
    BaseMissing,
}

impl FileState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            FileState::InEffect => "in effect",
            FileState::NotYet => "not yet",
            FileState::Ended => "ended",
            FileState::Missing => "missing",
            FileState::Unloaded => "unloaded",
            FileState::Deactivated => "deactivated",
            FileState::HostLost => "host lost",
            FileState::Revoked => "revoked",
            FileState::BaseMissing => "base missing",
        }
    }
}

/// When a file's grants end: not-after, or 60 days after issue for a trial (LEVEL-3).
pub(crate) fn ends(file: &FileRow) -> WallTime {
    match file.terms.level {
        Level::Trial => file.terms.not_after.min(file.terms.issued.plus_ms(TRIAL_DAYS * DAY_MS)),
        Level::Production | Level::Development | Level::Evaluation => file.terms.not_after,
    }
}

fn in_grace(since: Option<LeaseTime>, now: Now) -> bool {
    since.is_none_or(|since| now.lease.ms_since(since) < GRACE_MS)
}

impl State {
    /// The date by which files and timed assignments begin and end (05, Time): what has surely come. While trusted time
    /// rests on a jump of the wall clock, that is the line known before, or the last moment at which the licensor signed
    /// a file that is held here. So a wrong clock ends nothing, and a site that was off for months has what it bought
    /// meanwhile.
    pub(crate) fn dated(&self, now: Now) -> WallTime {
        if now.unconfirmed_ms == 0 {
            return now.wall;
        }
        let signed = self.files.values().map(|file| file.terms.issued).max();
        signed.map_or(now, |signed| now.vouched_by(signed)).confirmed()
    }

    fn own_state(&self, file: &FileRow, now: Now) -> FileState {
        let date = self.dated(now);
        if file.unloaded {
            FileState::Unloaded
        } else if file.terms.is_deactivation() {
            FileState::Deactivated
        } else if self.revoked.get(&file.terms.key_sha256()).is_some_and(|from| *from <= date) {
            FileState::Revoked
        } else if date < file.terms.not_before {
            FileState::NotYet
        } else if date >= ends(file) {
            FileState::Ended
        } else if !in_grace(file.absent_since, now) {
            FileState::Missing
        } else if self.host_lost(file) && !in_grace(file.host_lost_since, now) {
            FileState::HostLost
        } else {
            FileState::InEffect
        }
    }

    /// True where this host did not match the file when it was last looked at.
    pub(crate) fn host_lost(&self, file: &FileRow) -> bool {
        file.host_lost_since.is_some() && !self.matched_again.contains(&file.terms.license_id)
    }

    pub(crate) fn file_state(&self, file: &FileRow, now: Now) -> FileState {
        let own = self.own_state(file, now);
        if own != FileState::InEffect || file.terms.kind == FileKind::Base {
            return own;
        }
        let has_base = self.files.values().any(|base| {
            base.terms.kind == FileKind::Base
                && base.terms.product == file.terms.product
                && base.terms.level != Level::Evaluation
                && self.own_state(base, now) == FileState::InEffect
        });
        if has_base { FileState::InEffect } else { FileState::BaseMissing }
    }

    pub(crate) fn files_in_effect(&self, now: Now) -> impl Iterator<Item = &FileRow> {
        self.files.values().filter(move |file| self.file_state(file, now) == FileState::InEffect)
    }

    /// 02: a server that matches a file as its switchover server stands by until it is promoted.
    pub(crate) fn is_standby(&self, now: Now) -> bool {
        !self.site.promoted && self.files_in_effect(now).any(|file| file.host_role == Some(HostRole::Switchover))
    }

    /// LEVEL-2.
    pub(crate) fn is_development(&self, now: Now) -> bool {
        self.files_in_effect(now).any(|file| file.terms.level == Level::Development)
    }

    pub(crate) fn level_warnings(&self) -> Vec<Warning> {
        if self.development { vec![Warning::NotForProduction] } else { Vec::new() }
    }

    /// What is granted at a moment, by pool: over license IDs, grants add up (02). Without any file in effect, two units
    /// of each call-port key, two together (01, Levels).
    pub(crate) fn grants_at(&self, now: Now) -> (BTreeMap<PoolId, Units>, Option<u64>) {
        let mut grants: BTreeMap<PoolId, Units> = BTreeMap::new();
        let mut any = false;
        for file in self.files_in_effect(now) {
            any = true;
            for grant in &file.terms.grants {
                let Some(id) = self.pool_id(&grant.pool) else {
                    continue;
                };
                let sum = grants.entry(id).or_insert(Units::Count(0));
                *sum = match (*sum, grant.units) {
                    (Units::Count(a), Units::Count(b)) => Units::Count(a.saturating_add(b)),
                    (Units::Unlimited, _) | (_, Units::Unlimited) => Units::Unlimited,
                };
            }
        }
        if any {
            return (grants, None);
        }
        for (key, _) in self.catalog.all().filter(|(_, definition)| definition.def.call_port) {
            let method = leasehold_keys::name::Method::Assignable;
            grants.insert(PoolId { key, method }, Units::Count(UNLICENSED_CALL_PORTS));
        }
        (grants, Some(u64::from(UNLICENSED_CALL_PORTS)))
    }

    /// A pool's number, where its key has one.
    pub(crate) fn pool_id(&self, name: &PoolName) -> Option<PoolId> {
        let key = self.catalog.find(name.key.as_str()).or_else(|| self.key_ids.get(&name.key).copied())?;
        Some(PoolId { key, method: name.method })
    }

    /// The moments after now at which some file begins or ends.
    pub(crate) fn file_boundaries(&self, now: Now) -> BTreeSet<WallTime> {
        let date = self.dated(now);
        self.files
            .values()
            .flat_map(|file| {
                let revoked = self.revoked.get(&file.terms.key_sha256()).copied();
                [Some(file.terms.not_before), Some(ends(file)), revoked]
            })
            .flatten()
            .filter(|moment| *moment > date)
            .collect()
    }

    /// The moments in lease time after now at which some grace ends.
    pub(crate) fn grace_ends(&self, now: Now) -> Option<LeaseTime> {
        self.files
            .values()
            .flat_map(|file| [file.absent_since, file.host_lost_since])
            .flatten()
            .map(|since| since.plus_ms(GRACE_MS))
            .filter(|end| *end > now.lease)
            .min()
    }
}
