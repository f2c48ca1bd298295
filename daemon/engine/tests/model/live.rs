//! After a command: leases that ended, and what live leases still hold.

use super::*;

impl Play {
    /// After a command: waiting requests that were answered, leases that ended, keys that came and went, and the counts of
    /// all pools. `expected`: leases that must have ended, with reasons to choose from. `free`: the command may change
    /// what live leases hold, or end them.
    pub(super) fn settle(&mut self, outcome: &Outcome, expected: &[(u64, Vec<EndReason>)], free: bool) {
        let views = self.views();
        self.check_ends(outcome, expected, &views, free);
        self.check_kept(&views, free);
        self.serve(outcome);
        self.hear(&views);
        self.check_leases(&views);
        self.check_waiting();
        self.check_assignments();
        self.check_pools();
        if self.tally.commands.is_multiple_of(16) {
            self.look(false);
        }
    }

    /// Left open by 03: whatever comes down a run's stream shows that the run lives, and may renew its leases as a beat does.
    pub(super) fn hear(&mut self, views: &[HeldLeaseView]) {
        let Some(contact) = self.contact.take() else { return };
        let now_ms = self.paper.now_ms;
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner == contact) {
            let now = |view: &&HeldLeaseView| view.lease.id.0 == lease.id && view.lease.renewed_ms_ago == 0;
            if views.iter().any(|view| now(&view)) {
                lease.heard_ms = now_ms;
            }
        }
    }

    pub(super) fn views(&self) -> Vec<HeldLeaseView> {
        let filter = LeaseFilter { limit: 1_000, ..LeaseFilter::default() };
        self.site.engine.leases(self.site.now(), &filter).unwrap()
    }

    /// Why the engine says that a lease ended: by an event to its holder, or in its row.
    pub(super) fn told_end(outcome: &Outcome, id: u64) -> Vec<EndReason> {
        let mut told = Vec::new();
        for event in &outcome.events {
            if let Told::Ended { lease, reason, .. } = event.what
                && lease.0 == id
            {
                told.push(reason);
            }
        }
        for change in &outcome.changes {
            if let Some(Row::Lease(row)) = &change.after
                && row.id.0 == id
                && let Some((_, reason)) = row.ended
            {
                told.push(reason);
            }
        }
        told
    }

    pub(super) fn check_ends(
        &mut self,
        outcome: &Outcome,
        expected: &[(u64, Vec<EndReason>)],
        views: &[HeldLeaseView],
        free: bool,
    ) {
        let live = |id: u64| views.iter().any(|view| view.lease.id.0 == id);
        for (id, reasons) in expected {
            self.tally.ended += 1;
            assert!(!live(*id), "lease {id} is over ({reasons:?}) and still live");
            let told = Self::told_end(outcome, *id);
            assert!(told.iter().all(|reason| reasons.contains(reason)), "lease {id} ended {told:?}, not {reasons:?}");
            if !reasons.contains(&EndReason::Released) {
                assert!(!told.is_empty(), "nobody was told that lease {id} ended");
            }
            if let Some(reason) = told.first()
                && let Some(ended) = self.paper.ended.iter_mut().find(|(ended, _)| ended == id)
            {
                ended.1 = *reason;
            }
        }
        let displaced = self.displaced_by_served(outcome);
        let gone: Vec<Lease> = self.paper.leases.iter().filter(|lease| !live(lease.id)).cloned().collect();
        for lease in gone {
            if displaced.contains(&lease.id) {
                // It ends where the request that waited is granted.
                continue;
            }
            let told = Self::told_end(outcome, lease.id);
            assert!(!told.is_empty(), "lease {} is gone, and nobody was told why", lease.id);
            let why = told[0];
            assert!(told.iter().all(|other| *other == why), "lease {} ended {told:?}", lease.id);
            assert!(self.may_end(&lease, why, free), "lease {} ended {why:?} for no reason: {lease:?}", lease.id);
            self.tally.ended += 1;
            self.paper.end(lease.id, why);
        }
    }

    /// Leases that a request which waited, and was granted now, displaces (ALLOC-8).
    pub(super) fn displaced_by_served(&self, outcome: &Outcome) -> Vec<u64> {
        let served = |waiting: &&Waiting| {
            outcome.answers.iter().any(|(ticket, answer)| answer.is_ok() && waiting.tickets.contains(&ticket.0))
        };
        self.paper.waiting.iter().filter(served).flat_map(|waiting| self.paper.displaced_by(&waiting.what)).collect()
    }

    /// Whether a lease may end, though no rule of the model says that it must.
    pub(super) fn may_end(&self, lease: &Lease, why: EndReason, free: bool) -> bool {
        match why {
            // ALLOC-16: what it needs was taken away, or nothing is left.
            EndReason::Unassigned | EndReason::StationNotLicensed if free => {
                self.station_closed(lease) || self.lost_what_it_needs(lease)
            }
            EndReason::HolderRestarted => lease.orphan_until_ms.is_some_and(|until| until <= self.paper.now_ms),
            // ALLOC-11: 24 hours, and an hour from the warning.
            EndReason::CapacityLowered => self.above.iter().any(|(pool, since)| {
                self.paper.now_ms >= since + 25 * 3_600_000 && lease.held.iter().any(|(key, _)| *key == pool.key)
            }),
            _ => false,
        }
    }

    /// The station of a lease was switched off, or lost a key that it must be given.
    pub(super) fn station_closed(&self, lease: &Lease) -> bool {
        let logon = lease.what.user().is_some();
        lease.what.station().is_some_and(|name| {
            let station = self.paper.station(name);
            station.is_none_or(|station| self.paper.standing_fault(station, logon).is_some())
        })
    }

    /// A key that the lease needs is not a right of its subject any more; or, where it names none, nothing is.
    pub(super) fn lost_what_it_needs(&self, lease: &Lease) -> bool {
        let mut rights = self.rights_left(lease);
        // ALLOC-11: what it holds of a pool that was lowered stays with it.
        let mut subjects: Vec<Subject> = lease.what.user().map(Subject::User).into_iter().collect();
        subjects.extend(lease.what.station().map(Subject::Station));
        for given in subjects.into_iter().flat_map(|subject| self.paper.given_to(subject)) {
            // What another key brought along has no seat of its own to stay in.
            let seated = |(key, seat): &Held| *key == given.pool.key && (seat.is_some() || !given.pool.concurrent);
            if lease.held.iter().any(seated) && self.paper.capacity(given.pool) > 0 {
                rights.push(given.pool.key);
                rights.extend(included_in(given.pool.key));
            }
        }
        loop {
            let met = |required: &Key| rights.contains(required) || self.paper.site_has(required);
            let kept: Vec<Key> = rights.iter().copied().filter(|key| fact(key).requires.iter().all(met)).collect();
            if kept.len() == rights.len() {
                break;
            }
            rights = kept;
        }
        lease.what.needed().iter().any(|key| !rights.contains(key)) || rights.is_empty()
    }

    /// Keys that a live lease could hold now, were there room: what it holds and is still given, and what it could get.
    pub(super) fn rights_left(&self, lease: &Lease) -> Vec<Key> {
        // Leases of the user stand beside it: a new decision, without displacement.
        let what = match lease.what.clone() {
            What::Logon { user, at, needed: _, .. } => What::Logon { user, at, computer: None, needed: Vec::new() },
            What::Station { station, .. } => What::Station { station, needed: Vec::new() },
            units @ What::Units { .. } => units,
        };
        let mut paper = self.paper.clone();
        if matches!(what, What::Logon { at: At::Number(_), .. }) {
            // Its own seat is free for it.
            paper.leases.retain(|other| other.id != lease.id);
        }
        match paper.decide(&what, &[]) {
            Decision::Granted(held) => held.into_iter().map(|(key, _)| key).collect(),
            Decision::Refused(_) => Vec::new(),
        }
    }

    /// What live leases hold: as before, unless the command may change it; then nothing without a right to it, and nothing
    /// lost that could be kept.
    pub(super) fn check_kept(&mut self, views: &[HeldLeaseView], free: bool) {
        let leases = self.paper.leases.clone();
        for lease in &leases {
            let Some(view) = views.iter().find(|view| view.lease.id.0 == lease.id) else { continue };
            let held = held_of(&view.lease);
            if held == lease.held {
                continue;
            }
            assert!(free, "lease {} held {:?} and now {held:?}", lease.id, lease.held);
            assert!(
                lease.what.needed().iter().all(|key| held.iter().any(|(other, _)| other == key)),
                "lease {} lives on without a key that it needs: {held:?} {lease:?}",
                lease.id
            );
            let at = self.paper.leases.iter().position(|other| other.id == lease.id).unwrap();
            self.paper.leases[at].held.clone_from(&held);
        }
        if free {
            for lease in leases.iter().filter(|lease| views.iter().any(|view| view.lease.id.0 == lease.id)) {
                self.check_justified(lease);
            }
        }
    }

    /// After a change: each key of a live lease is still a right of its subject, and a right with a free seat is had.
    pub(super) fn check_justified(&self, before: &Lease) {
        let lease = self.paper.leases.iter().find(|lease| lease.id == before.id).unwrap();
        if matches!(lease.what, What::Units { .. }) {
            assert_eq!(lease.held, before.held, "units stay as they are");
            return;
        }
        assert!(!self.station_closed(lease), "a lease lives on at a station that cannot be used: {lease:?}");
        let by_number = matches!(lease.what, What::Logon { at: At::Number(_), .. });
        let mut brought = lease.what.station().map(|station| self.paper.station_rights(station)).unwrap_or_default();
        if by_number {
            brought.extend([BASIC, CLIENT]);
        }
        // ALLOC-11: what the station brought when there was room for it stays with the lease.
        for given in lease.what.station().map(|name| self.paper.given_to(Subject::Station(name))).unwrap_or_default() {
            let key = given.pool.key;
            if self.paper.capacity(given.pool) > 0 && before.held.contains(&(key, None)) {
                brought.push(key);
                brought.extend(included_in(key));
            }
        }
        let given: Vec<&Given> =
            lease.what.user().map(|user| self.paper.given_to(Subject::User(user))).unwrap_or_default();
        for (key, seat) in &lease.held {
            let number = *key == BASIC && by_number;
            let own = given.iter().find(|given| given.pool.key == *key);
            let included = lease.held.iter().any(|(other, _)| included_in(other).contains(key));
            assert!(
                number || brought.contains(key) || own.is_some() || included,
                "lease {} holds {key} without a right to it: {lease:?}",
                lease.id
            );
            let wants_seat =
                number || (own.is_some_and(|own| own.pool.concurrent) && !included && !brought.contains(key));
            assert_eq!(seat.is_some(), wants_seat, "lease {}: the seat of {key}: {lease:?}", lease.id);
            let met =
                |required: &Key| lease.has(required) || brought.contains(required) || self.paper.site_has(required);
            assert!(
                fact(key).requires.iter().all(met) || before.has(key),
                "lease {} holds {key} without what it requires",
                lease.id
            );
        }
        // Nothing is lost that the subject still has a right to and could have.
        let could = self.rights_left(lease);
        for (key, _) in &before.held {
            assert!(
                lease.has(key) || !could.contains(key),
                "lease {} lost {key}, which it has a right to: {before:?} {lease:?}",
                lease.id
            );
        }
    }

    /// ALLOC-16: a key that was given just now is tried at once by every live lease of its subject.
    pub(super) fn check_tried(&self, subject: Subject, key: Key) {
        for lease in &self.paper.leases {
            let of = match subject {
                Subject::User(user) => lease.what.user() == Some(user),
                Subject::Station(station) => lease.what.station() == Some(station),
            };
            let sought = self
                .paper
                .waiting
                .iter()
                .any(|waiting| self.paper.pools_of(&waiting.what).iter().any(|pool| pool.key == key));
            if of && !sought && !lease.has(key) {
                assert!(
                    !self.rights_left(lease).contains(&key),
                    "{key} was given to {subject:?}, there is room, and lease {} did not get it: {lease:?}",
                    lease.id
                );
            }
        }
    }
}
