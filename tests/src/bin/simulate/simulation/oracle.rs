//! Judges what the daemon does by what was asked, what was acknowledged, what became durable and the grants in force. It
//! shares no code with the engine; the rules are cited as the specification names them. Changes of rows are judged in
//! `oracle/durable.rs`, answers in `oracle/answers.rs`, the whole now and then in `oracle/recount.rs`.

mod answers;
mod durable;
mod recount;

use std::collections::{BTreeMap, BTreeSet};

use super::{asked::Asked, books::Books, tally::Tally};

pub(crate) use answers::{AdminAsk, Sent, SentWhat};

/// Everything that the oracle knows.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) books: Books,
    pub(crate) asked: Vec<Asked>,
    pub(crate) tally: Tally,
    /// The first law that was broken, and how.
    pub(crate) violation: Option<String>,
    /// Commits so far.
    pub(crate) commits: u64,
    /// Lease time, by the oracle's own reckoning.
    pub(crate) now: u64,
    /// Everything given to the daemon, counted.
    pub(crate) order: u64,
    /// Each lease that ever became durable, with what asked for it.
    known: BTreeMap<u64, usize>,
    /// Those that ended, with the commit of it; forgotten ones stay.
    ended: BTreeMap<u64, u64>,
    highest: u64,
    last_audit: u64,
    /// Releases asked for, by identity and lease.
    releases: BTreeSet<(u8, u64)>,
    /// Administrators' acts that end leases, by what they name: the commit until which they may have had their effect.
    revoked_leases: BTreeMap<u64, u64>,
    revoked_users: BTreeMap<u32, u64>,
    /// The last word on revoked keys, in the order of all that was given.
    revocations: u64,
    /// Idle rules that were ever asked for.
    pub(crate) idle_rules: bool,
    /// Runs that asked to attach: identity, instance, run, and since when.
    attached: Vec<(u8, u8, u128, u64)>,
    /// Users and stations whose keys, methods or rows changed in this commit.
    touched_users: BTreeSet<u32>,
    touched_stations: BTreeSet<u32>,
    /// Users with new leases in this commit.
    logged_on: BTreeSet<u32>,
    /// A fault of storage is known and not yet over (LEASE-11).
    pub(crate) failing: bool,
    /// Storage failed since the last start.
    pub(crate) failed_since_start: bool,
    /// The lease time of this start.
    pub(crate) started: u64,
    /// Time has nothing to do in the turn whose answers are heard now.
    pub(crate) settled: bool,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            books: Books::new(),
            asked: Vec::new(),
            tally: Tally::default(),
            violation: None,
            commits: 0,
            now: 0,
            order: 0,
            known: BTreeMap::new(),
            ended: BTreeMap::new(),
            highest: 0,
            last_audit: 0,
            releases: BTreeSet::new(),
            revoked_leases: BTreeMap::new(),
            revoked_users: BTreeMap::new(),
            revocations: 0,
            idle_rules: false,
            attached: Vec::new(),
            touched_users: BTreeSet::new(),
            touched_stations: BTreeSet::new(),
            logged_on: BTreeSet::new(),
            failing: false,
            failed_since_start: false,
            started: 0,
            settled: false,
        }
    }

    /// Keeps the first violation.
    pub(crate) fn broken(&mut self, law: &str, how: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(format!("{law}: {}", how()));
        }
    }

    /// Time goes on.
    pub(crate) fn at(&mut self, now: u64) {
        if now != self.now {
            let back = now < self.now;
            self.now = now;
            self.books.look_at_time(now, back);
        }
    }

    /// The daemon is gone; nothing that it had not made durable is.
    pub(crate) fn crashed(&mut self) {
        for asked in &mut self.asked {
            (asked.waits, asked.perhaps_waits) = (None, false);
        }
        let commits = self.commits;
        for until in self.revoked_leases.values_mut().chain(self.revoked_users.values_mut()) {
            *until = (*until).min(commits);
        }
        self.failing = false;
    }

    /// It goes on at this moment of lease time, from the stored mark (LEASE-7).
    pub(crate) fn restarted(&mut self, now: u64) {
        let (then, failed) = (self.now, std::mem::take(&mut self.failed_since_start));
        self.started = now;
        self.now = now;
        self.books.revoked.0 = false;
        self.books.restarted(then, now, failed);
        // Successions are not remembered over a start.
        self.attached.clear();
    }

    /// The stream of a holder is gone: nobody waits by it.
    pub(crate) fn gone(&mut self, apps: impl Fn(usize) -> bool) {
        for asked in self.asked.iter_mut().filter(|asked| asked.waits.is_some() && apps(asked.app)) {
            asked.waits = None;
        }
    }

    /// Somebody waits, as far as is known.
    pub(crate) fn somebody_waits(&self) -> bool {
        self.asked.iter().any(|asked| asked.perhaps_waits)
    }
}
