//! Answers, as they leave the daemon: nothing is acknowledged that is not durable, and nobody is refused wrongly.

use leasehold_engine::{
    decision::{ReleaseOutcome, Reply},
    ids::LeaseId,
    refusal::Refusal,
};
use leaseholdd::core::{Answer, Refused};

use super::{Oracle, durable::STATION};
use crate::simulation::{
    asked::{At, What},
    books::{has, one},
    vendor::{BASIC, KEYS, Key, POOLS, Pool, is_call_port, pool, pool_title},
};

/// A command that was given to the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Whose; `None` of administrators and the daemon itself.
    pub(crate) app: Option<usize>,
    pub(crate) identity: u8,
    /// By which stream.
    pub(crate) holder: Option<u32>,
    /// In lease time.
    pub(crate) at: u64,
    /// In the order of all that was given to the daemon.
    pub(crate) order: u64,
    /// It was told to wait.
    pub(crate) waited: bool,
    pub(crate) what: SentWhat,
}

#[derive(Clone, Debug)]
pub(crate) enum SentWhat {
    Attach { conn: u32, run: u128, instance: u8 },
    Beat,
    Acquire { ask: usize, lie: bool },
    Release { leases: Vec<u64>, by: Vec<usize> },
    Renew { leases: Vec<u64> },
    Idle,
    TakeOver,
    Received { asks: Vec<usize> },
    Cancel { ask: usize },
    Admin(AdminAsk),
    Folder,
    Revocations(bool),
}

#[derive(Clone, Debug)]
pub(crate) enum AdminAsk {
    Assign { user: Option<usize>, station: Option<usize>, key: Key, give: bool },
    RevokeUser(usize),
    RevokeLease(u64),
    DeleteUser(usize),
    DeleteStation(usize),
    Convert { user: usize, concurrent: bool },
    Rule,
    Other,
}

impl Oracle {
    /// A command is given to the daemon's queue.
    pub(crate) fn submitted(&mut self, sent: &mut Sent) {
        self.order += 1;
        sent.order = self.order;
        let sent = &*sent;
        self.perhaps_heard_of(sent);
        match &sent.what {
            SentWhat::Acquire { ask, .. } => {
                let asked = &mut self.asked[*ask];
                if asked.first_submitted == 0 {
                    asked.first_submitted = self.order;
                }
            }
            SentWhat::Release { leases, by } => {
                self.releases.extend(leases.iter().map(|id| (sent.identity, *id)));
                for ask in by {
                    if self.asked[*ask].identity == sent.identity {
                        self.asked[*ask].release_asked = true;
                        self.asked[*ask].waits = None;
                    }
                }
            }
            SentWhat::Received { asks } => {
                for ask in asks {
                    self.asked[*ask].received = true;
                }
            }
            SentWhat::Cancel { ask } => (self.asked[*ask].waits, self.asked[*ask].cancelled) = (None, true),
            SentWhat::Revocations(revoked) => {
                self.revocations = self.order;
                self.books.revoked = (self.books.revoked.0 && *revoked, self.books.revoked.1 || *revoked);
                self.books.add_up(self.now);
            }
            SentWhat::Admin(ask) => self.admin_asked(ask, u64::MAX),
            SentWhat::Attach { run, instance, .. } => {
                self.attached.push((sent.identity, *instance, *run, sent.at));
            }
            SentWhat::Beat | SentWhat::Renew { .. } | SentWhat::Idle | SentWhat::TakeOver | SentWhat::Folder => {}
        }
    }

    /// Acts that end leases may do so until this commit.
    fn admin_asked(&mut self, ask: &AdminAsk, until: u64) {
        match ask {
            AdminAsk::RevokeUser(name) | AdminAsk::DeleteUser(name) => {
                let users: Vec<u32> =
                    self.books.users.iter().filter(|(_, user)| user.name == *name).map(|(id, _)| *id).collect();
                self.revoked_users.extend(users.into_iter().map(|id| (id, until)));
            }
            AdminAsk::DeleteStation(name) => {
                let stations: Vec<u32> =
                    self.books.stations.iter().filter(|(_, it)| it.name == *name).map(|(id, _)| *id).collect();
                self.revoked_users.extend(stations.into_iter().map(|id| (id | STATION, until)));
            }
            AdminAsk::RevokeLease(id) => {
                self.revoked_leases.insert(*id, until);
            }
            AdminAsk::Rule => self.idle_rules = true,
            AdminAsk::Assign { .. } | AdminAsk::Convert { .. } | AdminAsk::Other => {}
        }
    }

    /// An answer has left the daemon. `quiet`: everything that it may rest on is durable, and nothing else was decided in
    /// that turn.
    pub(crate) fn answered(&mut self, sent: &Sent, answer: &Result<Answer, Refused>, quiet: bool) {
        self.heard_of(sent, answer);
        match (&sent.what, answer) {
            (SentWhat::Acquire { ask, lie }, Ok(Answer::Lease(view))) => {
                self.lease_told(*ask, *lie, view.id, view.ended.is_some(), view.ttl_ms);
            }
            (SentWhat::Acquire { ask, .. }, Ok(Answer::Reply(Reply::Ticketed { waiting: Some(_) }))) => {
                let until = sent.at + self.asked[*ask].wait_ms;
                let order = self.order;
                let asked = &mut self.asked[*ask];
                // What ends a wait in the same turn is answered before it.
                let over = sent.order <= asked.last_refused;
                asked.perhaps_waits |= !over;
                let withdrawn = over || asked.release_asked || asked.cancelled;
                if !withdrawn && (asked.lease.is_none() || asked.forgotten) {
                    let since = asked.waits.map_or(order, |(since, _)| since);
                    asked.waits = Some((since, until));
                }
                if asked.wait_ms == 0 {
                    self.broken("queue", || format!("request {ask} waits, and did not ask to"));
                }
            }
            (SentWhat::Acquire { ask, lie }, Err(refused)) => {
                if !lie || sent.waited {
                    self.asked[*ask].last_refused = self.asked[*ask].last_refused.max(sent.order);
                    (self.asked[*ask].waits, self.asked[*ask].perhaps_waits) = (None, false);
                }
                self.tally.refused += 1;
                match refused {
                    Refused::Rule(refusal) => self.refused(*ask, *lie, refusal, quiet && !sent.waited),
                    Refused::StorageUnavailable(_) if !self.failed_since_start => {
                        self.broken("LEASE-11", || format!("refused without a fault of storage: {refused}"));
                    }
                    Refused::StorageUnavailable(_) | Refused::Starting | Refused::Draining | Refused::Overloaded => {}
                }
            }
            (SentWhat::Release { leases, .. }, Ok(Answer::Reply(Reply::Released(outcomes)))) => {
                if outcomes.len() < leases.len() {
                    self.broken("LEASE-10", || format!("{leases:?} were to be released, and {outcomes:?} came of it"));
                }
                for outcome in outcomes {
                    self.released(sent.identity, outcome);
                }
            }
            (SentWhat::Renew { .. } | SentWhat::Idle, Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                for (id, result) in outcomes {
                    self.claimed(sent, *id, result);
                }
            }
            (SentWhat::Renew { .. } | SentWhat::Beat, Err(refused @ Refused::StorageUnavailable(_))) => {
                self.broken("LEASE-11", || format!("a renewal is refused: {refused}"));
            }
            (SentWhat::Beat, Ok(Answer::Reply(Reply::Beaten(count)))) if quiet && self.settled => {
                let holder = sent.holder.unwrap_or(u32::MAX);
                let mine = self.books.leases.values().filter(|lease| lease.holder == holder).count() as u64;
                if mine != *count {
                    self.broken("LEASE-13", || format!("a beat of holder {holder} renews {count} leases of {mine}"));
                }
            }
            (SentWhat::TakeOver, Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                let holder = sent.holder.unwrap_or(u32::MAX);
                for (id, result) in outcomes {
                    let theirs = self.books.leases.get(&id.0).map(|lease| lease.holder);
                    if result.is_ok() && theirs.is_some_and(|theirs| theirs != holder) {
                        self.broken("LEASE-13", || {
                            format!("lease {id} is told to be holder {holder}'s, and is {theirs:?}'s")
                        });
                    }
                }
            }
            (SentWhat::Admin(ask), answer) => {
                self.admin_asked(ask, self.commits);
                if let Ok(Answer::Reply(Reply::Administered(done))) = answer {
                    let given = done.assignments.iter().all(|outcome| outcome.result.is_ok());
                    if done.applied && given {
                        self.administered(ask);
                    }
                }
            }
            (SentWhat::Revocations(revoked), Ok(_)) if sent.order == self.revocations => {
                self.books.revoked = (*revoked, *revoked);
                self.books.add_up(self.now);
            }
            _ => {}
        }
    }

    /// Signs of life that may have been seen, whatever is answered: from when it was given to when it is answered.
    fn perhaps_heard_of(&mut self, sent: &Sent) {
        let now = self.now;
        for (id, holder) in &mut self.books.holders {
            let attaches = matches!(&sent.what, SentWhat::Attach { run, instance, .. }
                if (holder.identity, holder.instance, holder.run) == (sent.identity, *instance, Some(*run)));
            if attaches || sent.holder == Some(*id) {
                holder.heard_hi = holder.heard_hi.max(now);
                holder.perhaps_since_start = true;
            }
        }
        if let SentWhat::Renew { leases } = &sent.what {
            for id in leases {
                if let Some(lease) = self.books.leases.get_mut(id) {
                    lease.renewed_hi = lease.renewed_hi.max(now);
                    lease.perhaps_since_start = true;
                }
            }
        }
    }

    /// Signs of life.
    fn heard_of(&mut self, sent: &Sent, answer: &Result<Answer, Refused>) {
        let (now, started, failing) = (self.now, self.started, self.failing || self.failed_since_start);
        self.perhaps_heard_of(sent);
        if let SentWhat::Attach { .. } = &sent.what
            && let Ok(Answer::Reply(Reply::Attached { holder, .. })) = answer
        {
            if let Some(holder) = self.books.holders.get_mut(&holder.0) {
                holder.heard_hi = holder.heard_hi.max(now);
                holder.perhaps_since_start = true;
                holder.heard_since_start |= sent.at > started && !failing;
            }
            self.books.renew_all(holder.0, sent.at, now, !failing);
        }
        let Some(holder) = sent.holder.and_then(|holder| self.books.holders.get_mut(&holder)) else { return };
        holder.heard_hi = holder.heard_hi.max(now);
        holder.perhaps_since_start = true;
        let sure = matches!(
            (&sent.what, answer),
            (SentWhat::Beat, Ok(_)) | (SentWhat::Renew { .. }, Ok(Answer::Reply(Reply::Leases(_))))
        );
        if sure {
            // What was heard in the very millisecond of the start is not after it.
            holder.heard_since_start |= sent.at > started && !failing;
            if let (true, Some(id)) = (holder.run.is_some(), sent.holder) {
                self.books.renew_all(id, sent.at, now, !failing);
            }
        }
    }

    /// LEASE-2, LEASE-3: what is told of a lease is durable, and the same as before.
    fn lease_told(&mut self, ask: usize, lie: bool, id: LeaseId, ended: bool, ttl_ms: u64) {
        if self.failing {
            self.broken("LEASE-11", || format!("lease {id} is granted while nothing can be stored"));
        }
        match self.known.get(&id.0) {
            None => return self.broken("LEASE-2", || format!("lease {id} is acknowledged, and is not durable")),
            Some(of) if *of != ask => {
                let of = *of;
                return self.broken("LEASE-3", || format!("request {ask} is answered with lease {id} of request {of}"));
            }
            Some(_) => {}
        }
        let wanted = self.asked[ask].ttl_ms + if lie { 1_000 } else { 0 };
        if ttl_ms != wanted {
            self.broken("LEASE-3", || format!("request {ask} with another body is answered with lease {id}"));
        }
        let live = self.books.leases.contains_key(&id.0);
        // One that ended behind the answer, in the same commit, was live when it was given.
        let just_now = self.ended.get(&id.0).is_some_and(|commit| *commit + 1 >= self.commits);
        if ended == live && !just_now {
            self.broken("LEASE-3", || format!("lease {id} is told to be {}", if ended { "over" } else { "live" }));
        }
    }

    /// LEASE-9, LEASE-10: one's own are released, again and again; others' never.
    fn released(&mut self, identity: u8, outcome: &ReleaseOutcome) {
        let Some(id) = outcome.lease else { return };
        let owner = self.known.get(&id.0).map(|ask| self.asked[*ask].identity);
        let live = self.books.leases.contains_key(&id.0);
        match (&outcome.result, owner) {
            (Ok(()), _) if live => {
                self.broken("LEASE-2", || format!("lease {id} is told to be released, and is live"));
            }
            (Err(refusal), Some(owner)) if owner == identity => {
                self.broken("LEASE-10", || format!("the release of lease {id} is refused: {refusal:?}"));
            }
            _ => {}
        }
    }

    /// LEASE-9: renewals and marks, one's own live ones only.
    fn claimed(&mut self, sent: &Sent, id: LeaseId, result: &Result<(), Refusal>) {
        let owner = self.known.get(&id.0).map(|ask| self.asked[*ask].identity);
        let mine = owner == Some(sent.identity);
        let just_now = self.ended.get(&id.0).is_some_and(|commit| *commit + 1 >= self.commits);
        let (now, started, failing) = (self.now, self.started, self.failing || self.failed_since_start);
        match (result, self.books.leases.get_mut(&id.0)) {
            (Ok(()), _) if !mine => {
                self.broken("LEASE-9", || format!("lease {id} of {owner:?} is claimed by {}", sent.identity));
            }
            (Ok(()), None) if !just_now => {
                self.broken("LEASE-4", || format!("lease {id} has ended, and is renewed"));
            }
            (Ok(()), Some(lease)) if matches!(sent.what, SentWhat::Renew { .. }) => {
                // It is told to be renewed, so it stood.
                lease.renewed_lo = lease.renewed_lo.max(sent.at);
                lease.renewed_hi = lease.renewed_hi.max(now);
                // That a run is live is told by its own contacts, not by calls beside its stream.
                let of_run = self.books.holders.get(&lease.holder).is_some_and(|holder| holder.run.is_some());
                if !of_run && !failing {
                    lease.stored_lo = lease.stored_lo.max(sent.at);
                }
                lease.renewed_since_start |= !of_run && sent.at > started && !failing;
                lease.perhaps_since_start = true;
            }
            // While nothing can be stored, what ends by time ends in memory first (LEASE-11).
            (Err(refusal), Some(_)) if mine && !self.failing => {
                self.broken("LEASE-4", || format!("lease {id} is live, and is refused: {refusal:?}"));
            }
            _ => {}
        }
    }

    fn administered(&mut self, ask: &AdminAsk) {
        match ask {
            AdminAsk::Assign { user, station, key, give } => {
                let users = user.and_then(|name| self.books.user_named(name)).map(|(_, user)| user.keys);
                let keys = users.or_else(|| {
                    station.and_then(|name| self.books.station_named(name)).map(|(_, station)| station.keys)
                });
                if keys.is_some_and(|keys| has(keys, *key) != *give) {
                    self.broken("LEASE-2", || format!("{ask:?} is acknowledged, and is not durable"));
                }
            }
            AdminAsk::RevokeLease(id) if self.books.leases.contains_key(id) => {
                self.broken("LEASE-2", || format!("lease {id} is told to be revoked, and is live"));
            }
            AdminAsk::Convert { user, concurrent }
                if self.books.user_named(*user).is_some_and(|(_, user)| user.concurrent != *concurrent) =>
            {
                self.broken("LEASE-2", || format!("{ask:?} is acknowledged, and is not durable"));
            }
            AdminAsk::DeleteUser(name) if self.books.user_named(*name).is_some() => {
                self.broken("LEASE-2", || format!("{ask:?} is acknowledged, and is not durable"));
            }
            _ => {}
        }
    }

    /// A refusal by a rule: in a quiet moment the books must agree.
    fn refused(&mut self, ask: usize, lie: bool, refusal: &Refusal, quiet: bool) {
        let asked = self.asked[ask].clone();
        if matches!(refusal, Refusal::RequestIdReused) {
            if !asked.reused {
                self.broken("LEASE-3", || format!("request {ask} was never used with another body"));
            }
            return;
        }
        if !quiet {
            return;
        }
        self.tally.judged += 1;
        if lie && asked.lease.is_some() && !asked.forgotten && !asked.received {
            return self.broken("LEASE-3", || format!("a request with another body is decided: {refusal:?}"));
        }
        let (user, station) = match &asked.what {
            What::Logon { user, at, .. } => {
                let user = self.books.user_named(*user).map(|(id, _)| id);
                let at =
                    if let At::Station(name) = at { self.books.station_named(*name).map(|(id, _)| id) } else { None };
                (user, at)
            }
            What::Station(name) => (None, self.books.station_named(*name).map(|(id, _)| id)),
            What::Units { .. } => (None, None),
        };
        let remote = matches!(asked.what, What::Logon { at: At::Number, .. });
        let wrong = match refusal {
            Refusal::PoolExhausted(full) => {
                let pool = (0..POOLS).find(|pool| pool_title(*pool) == full.pool.to_string());
                pool.and_then(|pool| self.room_in(pool, &asked.what, user))
            }
            Refusal::NotAssigned { key, .. } => {
                let key = KEYS.iter().position(|name| *name == key.as_str());
                let rights = self.books.rights(user, station, remote);
                // Assignments count in the order of their making, up to the capacity (ALLOC-11).
                let counts = |key: Key| {
                    let assigned = pool(key, false);
                    self.books.least.caps[assigned] >= self.books.assigned[assigned]
                        && self.books.least.caps[assigned] + self.books.least.caps[pool(key, true)] > 0
                };
                key.filter(|key| has(rights, *key) && (0..KEYS.len()).all(counts))
                    .map(|key| ("ALLOC-9", format!("{} is given", KEYS[key])))
            }
            Refusal::NotLicensed { key, .. } => {
                let key = KEYS.iter().position(|name| *name == key.as_str());
                key.filter(|key| {
                    self.books.least.caps[pool(*key, false)] > 0 && self.books.least.caps[pool(*key, true)] > 0
                        || matches!(asked.what, What::Units { .. }) && self.books.least.caps[pool(*key, false)] > 0
                })
                .map(|key| ("LEVEL-5", format!("{} is granted", KEYS[key])))
            }
            Refusal::UserUnknown(_) => user.map(|_| ("ADMIN-2", "the user is there".to_owned())),
            Refusal::StationUnknown(_) => station.map(|_| ("ADMIN-2", "the station is there".to_owned())),
            Refusal::StationNotLicensed { .. } => station
                .and_then(|id| self.books.stations.get(&id))
                .filter(|station| station.keys & one(BASIC) != 0)
                .filter(|_| self.books.least.caps[pool(BASIC, false)] >= self.books.held(pool(BASIC, false)))
                .filter(|_| self.books.least.caps[pool(BASIC, false)] > 0)
                .map(|_| ("STATION-1", "it has its key".to_owned())),
            Refusal::Overloaded { .. } => Some(("LEASE-3", "nothing is near a bound".to_owned())),
            Refusal::NotActive => Some(("LEASE-1", "no file makes this server a standby".to_owned())),
            _ => None,
        };
        if let Some((law, how)) = wrong {
            self.broken(law, || format!("{asked:?} is refused {refusal:?}, but {how}"));
        }
    }

    /// LEASE-5, LEASE-6, ALLOC-7, ALLOC-8: room in a pool that is told to be full.
    fn room_in(&self, pool: Pool, what: &What, user: Option<u32>) -> Option<(&'static str, String)> {
        let books = &self.books;
        let cap = books.least.caps[pool];
        let (units, computer) = match what {
            What::Units { units, .. } => (u64::from(*units), None),
            What::Logon { computer, .. } => (1, *computer),
            What::Station(_) => (1, None),
        };
        let mine = |lease: &crate::simulation::books::Lease| lease.user.is_some() && lease.user == user;
        let has_seat = books.leases.values().any(|lease| {
            mine(lease)
                && lease.seats.iter().any(|seat| seat.0 == pool && seat.2)
                && books.lapses_not_before(lease) > self.now
                && lease.ends.is_none()
        });
        if has_seat {
            return Some(("ALLOC-7", "the user has a seat there".to_owned()));
        }
        if self.somebody_waits() {
            return None;
        }
        let moves = |lease: &crate::simulation::books::Lease| {
            let here = computer.map(|number| format!("computer-{number}"));
            mine(lease) && here.is_some_and(|here| lease.computer.as_ref().is_some_and(|there| there.as_str() != here))
        };
        let mut held = books.assigned[pool];
        let mut seated: Vec<u32> = Vec::new();
        for lease in books.leases.values().filter(|lease| books.lapses_by(lease) > self.now) {
            for (_, units, shared) in lease.seats.iter().filter(|seat| seat.0 == pool) {
                match lease.user.filter(|_| *shared) {
                    Some(user) if seated.contains(&user) => {}
                    Some(user) => {
                        seated.push(user);
                        held += 1;
                    }
                    None if moves(lease) => {}
                    None => held += u64::from(*units),
                }
            }
        }
        let joint = books.most.unlicensed || books.least.unlicensed;
        if held + units <= cap && !(joint && is_call_port(pool)) {
            return Some(("LEASE-5", format!("{held} of {cap} are held at {}", self.now)));
        }
        None
    }
}
