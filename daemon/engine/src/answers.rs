//! Answers that are remembered, so that a request which comes again gets the same one (LEASE-3): those of acquires hang on
//! their leases, those of releases are here.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use crate::{
    command::{Acquire, Ask, Origin},
    decision::{ReleaseOutcome, Reply},
    engine::Turn,
    ids::{HolderId, LeaseId, RequestId},
    refusal::Refusal,
    row::{LeaseRow, Row},
    time::LeaseTime,
};

/// Answers are remembered for so long (LEASE-3).
pub(crate) const REMEMBERED_MS: u64 = 86_400_000;

/// Leases told of in all remembered answers to releases; beyond, the oldest answers are forgotten before their 24 h.
const OUTCOMES_MAX: usize = 2_000_000;

/// Answers to releases that ended something, by request. A release that is repeated after a restart, or after its answer was
/// forgotten, succeeds again by itself (LEASE-10), so these need not last.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    answers: BTreeMap<(u32, RequestId), (LeaseTime, u64, Vec<ReleaseOutcome>)>,
    by_time: BTreeSet<(LeaseTime, u32, RequestId)>,
    /// Over all answers.
    outcomes: usize,
}

impl Remembered {
    pub(crate) fn get(&self, identity: u32, request: RequestId) -> Option<(u64, &Vec<ReleaseOutcome>)> {
        self.answers.get(&(identity, request)).map(|(_, body, outcomes)| (*body, outcomes))
    }

    /// Remembers an answer; returns whose older ones went for it.
    pub(crate) fn remember(
        &mut self,
        (identity, request): (u32, RequestId),
        at: LeaseTime,
        body: u64,
        outcomes: Vec<ReleaseOutcome>,
    ) -> Vec<u32> {
        self.outcomes += outcomes.len();
        self.answers.insert((identity, request), (at, body, outcomes));
        self.by_time.insert((at, identity, request));
        self.forget_beyond(OUTCOMES_MAX)
    }

    fn forget_beyond(&mut self, most: usize) -> Vec<u32> {
        let mut gone = Vec::new();
        while self.outcomes > most
            && let Some(&(_, identity, request)) = self.by_time.first()
            && self.forget(identity, request)
        {
            gone.push(identity);
        }
        gone
    }

    fn forget(&mut self, identity: u32, request: RequestId) -> bool {
        let Some((at, _, outcomes)) = self.answers.remove(&(identity, request)) else {
            return false;
        };
        self.outcomes -= outcomes.len();
        self.by_time.remove(&(at, identity, request))
    }

    /// Changes were taken back: answers that tell of a release which did not last are forgotten. Returns whose went.
    pub(crate) fn forget_undone(&mut self, live: impl Fn(LeaseId) -> bool) -> Vec<u32> {
        let tells = |outcomes: &[ReleaseOutcome]| {
            outcomes.iter().any(|outcome| outcome.result.is_ok() && outcome.lease.is_some_and(&live))
        };
        let undone: Vec<(u32, RequestId)> =
            self.answers.iter().filter(|(_, (_, _, outcomes))| tells(outcomes)).map(|(slot, _)| *slot).collect();
        undone
            .iter()
            .filter(|(identity, request)| self.forget(*identity, *request))
            .map(|(identity, _)| *identity)
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    /// How many are remembered, by identity.
    pub(crate) fn counts(&self) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for (identity, _) in self.answers.keys() {
            *counts.entry(*identity).or_default() += 1;
        }
        counts
    }

    /// Forgets what is older than 24 h; returns whose answers went.
    pub(crate) fn forget_old(&mut self, now: LeaseTime, most: usize) -> Vec<u32> {
        let old: Vec<_> = self
            .by_time
            .iter()
            .take(most)
            .take_while(|(at, _, _)| now.ms_since(*at) >= REMEMBERED_MS)
            .copied()
            .collect();
        old.iter()
            .filter(|(_, identity, request)| self.forget(*identity, *request))
            .map(|(_, identity, _)| *identity)
            .collect()
    }
}

/// The content of a request, to tell a repetition from a reuse of its ID (LEASE-3). How long it would wait may differ.
pub(crate) fn body(ask: &Ask, ttl_ms: u64) -> u64 {
    hash(&(ask, ttl_ms))
}

/// FNV-1a of 64 bits: it is stored, so it must not change with the standard library's hasher.
pub(crate) fn hash<T: Hash>(content: &T) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    content.hash(&mut hasher);
    hasher.finish()
}

impl Turn<'_> {
    /// LEASE-3: the same request again.
    pub(crate) fn answered_before(
        &mut self,
        acquire: &Acquire,
        number: u32,
        asked: u64,
    ) -> Result<Option<Reply>, Refusal> {
        if let Some(&lease) = self.engine.state.answers.get(&(number, acquire.request)) {
            let row = self
                .engine
                .state
                .leases
                .get(&lease)
                .map(|lease| &lease.row)
                .or_else(|| self.engine.state.ended.get(&lease));
            if row.and_then(|row| row.request).is_none_or(|(_, body)| body != asked) {
                return Err(Refusal::RequestIdReused);
            }
            let view = self.view(lease);
            self.out.answers.push((acquire.ticket, view));
            return Ok(Some(Reply::Ticketed { waiting: None }));
        }
        if self.engine.releases.get(number, acquire.request).is_some() {
            return Err(Refusal::RequestIdReused);
        }
        let Some(place) = self.engine.queue.by_request(number, acquire.request) else {
            return Ok(None);
        };
        let Some(waiter) = self.engine.queue.waiters.get(&place) else {
            return Ok(None);
        };
        if body(&waiter.acquire.ask, waiter.acquire.ttl_ms) != asked {
            return Err(Refusal::RequestIdReused);
        }
        let pools = waiter.pools.clone();
        if let Some(refusal) = self.overtaken_at(place) {
            self.leave_queue(number, place, refusal.clone());
            self.out.answers.push((acquire.ticket, Err(refusal)));
            return Ok(Some(Reply::Ticketed { waiting: None }));
        }
        // The lease is to belong to the run that waits for it now.
        let holder = self.holder_of(&acquire.from)?;
        if let Some(waiter) = self.engine.queue.waiters.get_mut(&place) {
            waiter.acquire.from = acquire.from.clone();
            waiter.holder = holder;
        }
        self.engine.queue.add_ticket(place, acquire.ticket, self.now.lease.plus_ms(acquire.wait_ms));
        self.engine.state.note_caller(&self.engine.queue, place, self.now.lease);
        Ok(Some(Reply::Ticketed { waiting: Some(self.position(place, &pools)) }))
    }

    /// LEASE-3: what has arrived need not be remembered.
    pub(crate) fn answers_received(&mut self, holder: HolderId, requests: &[RequestId]) -> Result<Reply, Refusal> {
        let identity = self.identity(&Origin::Stream(holder))?;
        if let Some(number) = self.engine.state.known_identity(&identity) {
            for &request in requests {
                self.forget(number, request);
            }
        }
        Ok(Reply::Done)
    }

    fn forget(&mut self, number: u32, request: RequestId) {
        if self.engine.releases.forget(number, request) {
            self.one_answer_less(number);
            return;
        }
        let Some(id) = self.engine.state.answers.get(&(number, request)).copied() else {
            return;
        };
        if let Some(row) = self.engine.state.ended.get(&id).cloned() {
            if let Some((_, how)) = row.ended {
                self.note_ended(id, how);
            }
            self.change(Some(Row::Lease(Box::new(row))), None);
        } else if let Some(lease) = self.engine.state.leases.get_mut(&id) {
            // Only in memory: a row that still names the request after a restart is merely remembered longer.
            lease.row.request = None;
            self.engine.state.answers.remove(&(number, request));
            self.one_answer_less(number);
        }
    }

    /// Remembers the answer to a release that ended something, where the identity may have one more.
    pub(crate) fn remember_release(&mut self, number: u32, request: RequestId, body: u64, outcomes: &[ReleaseOutcome]) {
        let count = self.engine.state.answer_counts.entry(number).or_default();
        if *count < self.engine.limits.answers_per_identity {
            *count += 1;
            let gone = self.engine.releases.remember((number, request), self.now.lease, body, outcomes.to_vec());
            for number in gone {
                self.one_answer_less(number);
            }
        }
    }

    fn one_answer_less(&mut self, number: u32) {
        if let Some(count) = self.engine.state.answer_counts.get_mut(&number) {
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets answers that are older than 24 h, at most so many.
    pub(crate) fn forget_old_answers(&mut self, most: usize) {
        for number in self.engine.releases.forget_old(self.now.lease, most) {
            self.one_answer_less(number);
        }
        let old: Vec<LeaseRow> = self
            .engine
            .state
            .ended_at
            .iter()
            .take(most)
            .take_while(|(at, _)| self.now.lease.ms_since(*at) >= REMEMBERED_MS)
            .filter_map(|(_, id)| self.engine.state.ended.get(id).cloned())
            .collect();
        for row in old {
            self.change(Some(Row::Lease(Box::new(row))), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_releases_are_bounded_over_all_and_the_oldest_go_first() {
        let mut remembered = Remembered::default();
        let outcome = |id| ReleaseOutcome { lease: Some(LeaseId(id)), acquired_by: None, result: Ok(()) };
        for number in 1..=3_u8 {
            let at = LeaseTime::from_ms(number.into());
            let outcomes = vec![outcome(1), outcome(2)];
            let gone = remembered.remember((number.into(), RequestId([number; 16])), at, 0, outcomes);
            assert!(gone.is_empty(), "{gone:?}");
        }
        assert_eq!(remembered.forget_beyond(4), [1]);
        assert_eq!(remembered.counts(), BTreeMap::from([(2, 1), (3, 1)]));
        assert_eq!(remembered.outcomes, 4);
        // The day's end frees the rest.
        let tomorrow = LeaseTime::from_ms(REMEMBERED_MS + 3);
        assert_eq!(remembered.forget_old(tomorrow, 10), [2, 3]);
        assert_eq!(remembered.outcomes, 0);
    }
}
