//! Witnesses: how this state knows that it is older than what it once said, or that another went on from it (03, Witness).
//! Statements are signed and verified elsewhere; what is given here has been.
//!
//! Each start begins an epoch with the next number and a random ID, and fencing numbers belong to the epoch in which they
//! were given. What the installation signed names both, and says only what was durable: a state that does not know it has
//! lost it. Of two servers that go on from one state, each begins an epoch of the same number with another ID.
//!
//! What cannot be told from inside: a state that was put back together with those of all its application servers; two copies
//! that share no application server; and a machine that was copied while it ran, memory and all, until one of the copies is
//! started again or shows a number that the other has not reached.

use serde::Serialize;

use crate::{
    command::{Reached, Witnessed},
    decision::{LeaseView, Notice, Reply},
    engine::{Engine, Turn},
    ids::{Identity, LeaseId},
    refusal::{EndReason, Refusal},
    row::{EpochRow, Row, WitnessKind, WitnessRow},
    time::{DAY_MS, Now},
};

/// Epochs that are remembered, the newest; older ones are not judged.
pub const EPOCHS_KEPT: usize = 1_000;
/// Pieces of evidence that are remembered, the newest.
pub const EVIDENCE_KEPT: usize = 100;
/// Evidence is among the status' notices for so long after it was last shown; the status itself tells of it for ever.
const NOTICED_MS: i64 = 30 * DAY_MS;
/// Evidence that came so shortly before a stop may not have reached a usage record.
const PERHAPS_UNSAID_MS: u64 = 120_000;

/// What witnesses have found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessEvidence {
    /// How often something was shown that this state did not know.
    pub count: u64,
    /// The newest of it.
    pub newest: Option<WitnessRow>,
}

/// A live lease as it may be signed for its holder.
#[derive(Clone, Debug, PartialEq)]
pub struct SignableLease {
    /// The lease.
    pub lease: LeaseView,
    /// Whose it is.
    pub holder: Identity,
    /// The files in effect that grant its keys, in the order of their license IDs.
    pub licenses: Vec<leasehold_keys::activation::LicenseId>,
}

/// What is shown, against what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// Nothing new.
    Known,
    /// More of what was shown before, as evidence of this number.
    More(u64),
    /// Something that this state does not know.
    Unknown(WitnessKind),
}

impl Engine {
    /// The start that is being made begins an epoch with this ID, which is to be random. Before [`Engine::recover`], with
    /// whose changes the epoch becomes durable; without it no epoch begins, and nothing can be said to witnesses.
    pub fn begin_epoch(&mut self, id: u64) {
        self.next_epoch = Some(id);
    }

    /// How far this state has come, to be said to witnesses. It must not be said before it is durable.
    pub fn reached(&self) -> Option<Reached> {
        let (_, epoch) = self.state.epochs.last_key_value()?;
        Some(Reached { epoch: epoch.number, epoch_id: epoch.id, fencing: self.state.site.last_lease })
    }

    /// What witnesses have found.
    pub fn witness_evidence(&self) -> WitnessEvidence {
        let newest = self.state.witnesses.last_key_value().map(|(_, row)| row.clone());
        WitnessEvidence { count: newest.as_ref().map_or(0, |row| row.number), newest }
    }

    /// What witnesses have found, each piece of it that is kept, the oldest first.
    pub fn witnessed(&self) -> impl Iterator<Item = &WitnessRow> {
        self.state.witnesses.values()
    }

    /// Evidence that came so shortly before this moment of running that it may not have been said in a usage record. To be
    /// asked at a start.
    pub fn evidence_perhaps_unsaid(&self, now: Now) -> Vec<WitnessRow> {
        let recent = |row: &&WitnessRow| now.lease.ms_since(row.first_lease) < PERHAPS_UNSAID_MS;
        self.state.witnesses.values().filter(recent).cloned().collect()
    }

    /// In which way this state would be found behind by what is shown; `None` where it would not. Changes nothing.
    pub fn would_be_found(&self, shown: Reached) -> Option<WitnessKind> {
        match self.judge(shown) {
            Judged::Known | Judged::More(_) => None,
            Judged::Unknown(kind) => Some(kind),
        }
    }

    /// The newest evidence, where it is new enough to be noticed.
    pub(crate) fn recent_evidence(&self, now: Now) -> Option<&WitnessRow> {
        let (_, newest) = self.state.witnesses.last_key_value()?;
        (now.wall.as_ms() - newest.last.as_ms() < NOTICED_MS).then_some(newest)
    }

    /// A lease of this identity for a token, or why there is none (LEASE-9).
    ///
    /// # Errors
    /// `LEASE_UNKNOWN`, `LEASE_ENDED`, `NOT_YOUR_LEASE`.
    pub fn signable(&self, now: Now, identity: &Identity, id: LeaseId) -> Result<SignableLease, Refusal> {
        self.own_lease(identity, id)?;
        let ended = |how| Refusal::LeaseEnded { lease: id, how: Some(how) };
        let Some(lease) = self.state.leases.get(&id) else {
            return Err(Refusal::LeaseUnknown(id));
        };
        if self.state.deadline(lease) <= now.lease {
            // It is over though nobody has looked (LEASE-5).
            return Err(ended(lease.row.ends.filter(|(at, _)| *at <= now.lease).map_or(EndReason::Expired, |it| it.1)));
        }
        let view = self.lease_view(&lease.row, now);
        let grants_one = |file: &&crate::row::FileRow| {
            file.terms.grants.iter().any(|grant| view.keys.iter().any(|held| held.key == grant.pool.key))
        };
        let licenses = self.state.files_in_effect(now).filter(grants_one).map(|file| file.terms.license_id).collect();
        Ok(SignableLease { lease: view, holder: identity.clone(), licenses })
    }

    fn judge(&self, shown: Reached) -> Judged {
        let (epochs, last) = (&self.state.epochs, self.state.site.last_lease);
        let mut before = self.state.witnesses.values();
        if let Some(row) = before.find(|row| (row.epoch, row.epoch_id) == (shown.epoch, shown.epoch_id)) {
            return if shown.fencing > row.fencing { Judged::More(row.number) } else { Judged::Known };
        }
        match epochs.get(&shown.epoch) {
            Some(own) if own.id != shown.epoch_id => Judged::Unknown(WitnessKind::Forked),
            Some(own) if shown.fencing > own.last.unwrap_or(last) => Judged::Unknown(WitnessKind::Behind),
            Some(_) => Judged::Known,
            // From before what is remembered, or from before there were epochs.
            None if epochs.first_key_value().is_none_or(|(oldest, _)| shown.epoch < *oldest)
                && shown.fencing <= last =>
            {
                Judged::Known
            }
            None => Judged::Unknown(WitnessKind::Behind),
        }
    }
}

/// What the audit log keeps.
#[derive(Serialize)]
struct Told<'a> {
    kind: &'static str,
    shown_epoch: u64,
    shown_lease: u64,
    own_epoch: u64,
    own_lease: u64,
    by: String,
    host: &'a str,
}

impl Turn<'_> {
    /// The epoch of a start, where it was given one.
    pub(crate) fn begin_start_epoch(&mut self) {
        if let Some(id) = self.engine.next_epoch.take() {
            let number = self.engine.state.epochs.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
            let reached = self.engine.state.site.last_lease;
            self.next_epoch_row(number, id, reached);
        }
    }

    /// Ends the present epoch, whose highest fencing number is `reached`, and begins another.
    fn next_epoch_row(&mut self, number: u64, id: u64, reached: u64) {
        if let Some(open) = self.engine.state.epochs.last_key_value().map(|(_, row)| *row) {
            self.change(Some(Row::Epoch(open)), Some(Row::Epoch(EpochRow { last: Some(reached), ..open })));
        }
        let after = self.engine.state.site.last_lease;
        self.change(None, Some(Row::Epoch(EpochRow { number, id, began: self.now.wall, after, last: None })));
        while self.engine.state.epochs.len() > EPOCHS_KEPT
            && let Some((_, oldest)) = self.engine.state.epochs.first_key_value()
        {
            let oldest = *oldest;
            self.change(Some(Row::Epoch(oldest)), None);
        }
    }

    /// Judges what an application server shows. Where this state is behind it, fencing numbers and epochs go on above it,
    /// and that is kept, audited and told.
    pub(crate) fn witnessed(&mut self, witnessed: Witnessed) -> Reply {
        let shown = witnessed.shown;
        let Some(own) = self.engine.reached() else {
            // A state that has said nothing to anyone has nothing to be judged by.
            return Reply::Witnessed(None);
        };
        match self.engine.judge(shown) {
            Judged::Known => Reply::Witnessed(None),
            Judged::More(number) => {
                if let Some(before) = self.engine.state.witnesses.get(&number).cloned() {
                    let after = WitnessRow { fencing: shown.fencing, last: self.now.wall, ..before.clone() };
                    self.change(Some(Row::Witness(Box::new(before))), Some(Row::Witness(Box::new(after))));
                }
                self.change_site(|site| site.last_lease = site.last_lease.max(shown.fencing));
                Reply::Witnessed(None)
            }
            Judged::Unknown(kind) => Reply::Witnessed(Some(self.found_behind(kind, own, witnessed))),
        }
    }

    fn found_behind(&mut self, kind: WitnessKind, own: Reached, witnessed: Witnessed) -> Box<WitnessRow> {
        let Witnessed { by, host, shown, fresh } = witnessed;
        self.change_site(|site| site.last_lease = site.last_lease.max(shown.fencing));
        if shown.epoch >= own.epoch {
            // What is said from now on is higher than what was shown, so that witnesses keep it instead.
            self.next_epoch_row(shown.epoch.saturating_add(1), fresh, own.fencing);
        }
        let number = self.engine.witness_evidence().count + 1;
        let row = Box::new(WitnessRow {
            number,
            kind,
            epoch: shown.epoch,
            epoch_id: shown.epoch_id,
            fencing: shown.fencing,
            own_epoch: own.epoch,
            own_fencing: own.fencing,
            by,
            host,
            first: self.now.wall,
            first_lease: self.now.lease,
            last: self.now.wall,
        });
        self.change(None, Some(Row::Witness(row.clone())));
        while self.engine.state.witnesses.len() > EVIDENCE_KEPT
            && let Some((_, oldest)) = self.engine.state.witnesses.first_key_value()
        {
            let oldest = Box::new(oldest.clone());
            self.change(Some(Row::Witness(oldest)), None);
        }
        let told = Told {
            kind: kind.as_str(),
            shown_epoch: row.epoch,
            shown_lease: row.fencing,
            own_epoch: row.own_epoch,
            own_lease: row.own_fencing,
            by: row.by.to_string(),
            host: &row.host,
        };
        let told = serde_json::to_string(&told).unwrap_or_default();
        let subject = format!("epoch {}", row.epoch);
        self.audit(&Identity::Daemon, "state found behind", &subject, "", &told, &row.message());
        self.out.notices.push(Notice::StateBehind(row.clone()));
        row
    }
}
