//! The leases that this run holds, and when each must be looked at again. Time is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Moment,
    guard::{Heart, Record},
    lease::LeaseState,
    refusal::Ended,
};

#[derive(Debug, Default)]
pub(crate) struct Holdings {
    heart: Arc<Heart>,
    held: BTreeMap<u64, Held>,
    /// When to look whether a lease is still confirmed. Renewals do not touch this: an entry that turns out too early
    /// is put off, so that a beat costs nothing for each lease.
    checks: BTreeSet<(Moment, u64)>,
    ttls: BTreeMap<Duration, usize>,
    unconfirmed: BTreeSet<u64>,
}

#[derive(Debug)]
struct Held {
    record: Arc<Record>,
    check_at: Option<Moment>,
}

impl Holdings {
    pub(crate) fn heart(&self) -> Arc<Heart> {
        Arc::clone(&self.heart)
    }

    pub(crate) fn get(&self, lease: u64) -> Option<&Arc<Record>> {
        self.held.get(&lease).map(|held| &held.record)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.held.keys().copied()
    }

    pub(crate) fn shortest_ttl(&self) -> Option<Duration> {
        self.ttls.first_key_value().map(|(ttl, _)| *ttl)
    }

    pub(crate) fn add(&mut self, record: Arc<Record>, now: Moment) {
        let lease = record.id().get();
        *self.ttls.entry(record.ttl()).or_default() += 1;
        self.held.insert(lease, Held { record, check_at: None });
        self.look(lease, now);
    }

    pub(crate) fn remove(&mut self, lease: u64) -> Option<Arc<Record>> {
        let held = self.held.remove(&lease)?;
        if let Some(check_at) = held.check_at {
            self.checks.remove(&(check_at, lease));
        }
        self.unconfirmed.remove(&lease);
        if let Some(count) = self.ttls.get_mut(&held.record.ttl()) {
            *count -= 1;
            if *count == 0 {
                self.ttls.remove(&held.record.ttl());
            }
        }
        Some(held.record)
    }

    /// Ends a lease that is held; false where it is not.
    pub(crate) fn end(&mut self, lease: u64, ended: &Ended) -> bool {
        self.remove(lease).is_some_and(|record| record.end(ended))
    }

    /// A beat sent then was answered: every lease of the run was renewed.
    pub(crate) fn renewed(&mut self, sent_at: Moment, now: Moment) {
        self.heart.beat_answered(sent_at);
        for lease in std::mem::take(&mut self.unconfirmed) {
            self.look(lease, now);
        }
    }

    /// The server did not name it: it is unconfirmed until the server was asked.
    pub(crate) fn doubt(&mut self, lease: u64, doubted: bool, now: Moment) {
        if let Some(held) = self.held.get(&lease) {
            held.record.doubt(doubted);
            self.look(lease, now);
        }
    }

    /// Something about it changed that bears on how long it is confirmed.
    pub(crate) fn look(&mut self, lease: u64, now: Moment) {
        let Some(held) = self.held.get_mut(&lease) else {
            return;
        };
        if let Some(check_at) = held.check_at.take() {
            self.checks.remove(&(check_at, lease));
        }
        if held.record.publish(now) == LeaseState::Confirmed {
            let until = held.record.confirmed_until();
            held.check_at = Some(until);
            self.checks.insert((until, lease));
            self.unconfirmed.remove(&lease);
        } else {
            self.unconfirmed.insert(lease);
        }
    }

    pub(crate) fn tick(&mut self, now: Moment) {
        while let Some(&(at, lease)) = self.checks.first() {
            if at > now {
                break;
            }
            self.look(lease, now);
        }
    }

    pub(crate) fn next_check(&self) -> Option<Moment> {
        self.checks.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holdings: &Holdings, lease_id: u64, ttl_ms: u64, at: u64) -> Arc<Record> {
        let lease = leasehold_proto::v1::Lease { lease_id, ttl_ms, ..leasehold_proto::v1::Lease::default() };
        Arc::new(Record::new(lease.into(), Moment(at), Moment(at), holdings.heart()))
    }

    #[test]
    fn silence_makes_leases_unconfirmed_one_after_the_other_and_a_beat_restores_them_all() {
        let mut holdings = Holdings::default();
        let (short, long) = (record(&holdings, 1, 10_000, 0), record(&holdings, 2, 60_000, 0));
        holdings.add(Arc::clone(&short), Moment(0));
        holdings.add(Arc::clone(&long), Moment(0));
        assert_eq!(holdings.shortest_ttl(), Some(Duration::from_secs(10)));
        assert_eq!(holdings.next_check(), Some(Moment(8_000)));

        // A beat sent at 4 s puts the first look off, when it comes.
        holdings.renewed(Moment(4_000), Moment(4_100));
        holdings.tick(Moment(8_000));
        assert_eq!(short.judge(Moment(8_000)), LeaseState::Confirmed);
        assert_eq!(holdings.next_check(), Some(Moment(12_000)));

        holdings.tick(Moment(12_000));
        assert_eq!((short.shown(), long.shown()), (LeaseState::Unconfirmed, LeaseState::Confirmed));
        holdings.tick(Moment(52_000));
        assert_eq!((short.shown(), long.shown()), (LeaseState::Unconfirmed, LeaseState::Unconfirmed));
        assert_eq!(holdings.next_check(), None, "there is nothing left to look at");

        holdings.renewed(Moment(53_000), Moment(53_050));
        assert_eq!((short.shown(), long.shown()), (LeaseState::Confirmed, LeaseState::Confirmed));
        assert_eq!(holdings.next_check(), Some(Moment(61_000)));
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut holdings = Holdings::default();
        let only = record(&holdings, 1, 10_000, 0);
        holdings.add(Arc::clone(&only), Moment(0));
        assert!(holdings.end(1, &Ended::new("REVOKED", "")));
        assert!(!holdings.end(1, &Ended::new("EXPIRED", "")));
        assert_eq!(only.judge(Moment(1)), LeaseState::Ended(Ended::new("REVOKED", "")));
        assert_eq!((holdings.next_check(), holdings.shortest_ttl()), (None, None));
        assert_eq!(holdings.ids().count(), 0);
    }

    #[test]
    fn a_doubted_lease_is_unconfirmed_until_the_server_has_spoken() {
        let mut holdings = Holdings::default();
        let only = record(&holdings, 1, 10_000, 0);
        holdings.add(Arc::clone(&only), Moment(0));
        holdings.doubt(1, true, Moment(100));
        assert_eq!(only.judge(Moment(100)), LeaseState::Unconfirmed);
        holdings.renewed(Moment(200), Moment(210));
        assert_eq!(only.judge(Moment(210)), LeaseState::Unconfirmed, "the beat did not speak for it");
        holdings.doubt(1, false, Moment(300));
        assert_eq!(only.judge(Moment(300)), LeaseState::Confirmed);
    }
}
