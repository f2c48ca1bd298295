//! Steps of application servers with their streams and leases.

use super::*;

impl Play {
    pub(super) fn attach(&mut self, at: usize, new_run: bool) {
        let caller = CALLERS[at];
        let run = match self.streams[at] {
            Some(stream) if !new_run => stream.run,
            Some(stream) => stream.run + 1,
            None => 1,
        };
        let attach = Attach { caller: Self::info(caller), run: RunId([run; 16]) };
        let (reply, outcome, over) = self.command(Command::Attach(attach));
        self.end_over(&over);
        let Ok(Reply::Attached { holder, leases, predecessor, .. }) = reply else { panic!("attaching: {reply:?}") };
        let now_ms = self.paper.now_ms;
        let mut own = Vec::new();
        let mut orphans = Vec::new();
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner.caller == caller) {
            match lease.owner.run {
                Some(of) if of == run => {
                    // Left open by 03: a run that is back is alive, so its leases are renewed as by a beat.
                    lease.heard_ms = now_ms;
                    own.push(lease.id);
                }
                Some(_) if *lease.orphan_until_ms.get_or_insert(now_ms + 10_000) > now_ms => orphans.push(lease.id),
                Some(_) | None => {}
            }
        }
        own.sort_unstable();
        orphans.sort_unstable();
        let ids = |leases: Vec<LeaseId>| {
            let mut ids: Vec<u64> = leases.into_iter().map(|lease| lease.0).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(leases), own, "leases of the run (LEASE-13)");
        assert_eq!(ids(predecessor), orphans, "leases of the run before (LEASE-13)");
        if self.streams[at].is_some_and(|old| old.run != run) {
            self.mark_away(Owner { caller, run: self.streams[at].map(|old| old.run) });
        }
        self.streams[at] = Some(Stream { run, holder, open: true });
        self.settle(&outcome, &over, false);
    }

    pub(super) fn mark_away(&mut self, owner: Owner) {
        let now_ms = self.paper.now_ms;
        for waiting in self.paper.waiting.iter_mut().filter(|waiting| waiting.owner == owner) {
            waiting.away_since_ms.get_or_insert(now_ms);
        }
    }

    pub(super) fn detach(&mut self, at: usize) {
        let Some(stream) = self.stream(at) else { return };
        let (_, outcome, over) = self.command(Command::Detach(stream.holder));
        self.end_over(&over);
        self.streams[at] = Some(Stream { open: false, ..stream });
        self.mark_away(Owner { caller: CALLERS[at], run: Some(stream.run) });
        self.settle(&outcome, &over, false);
    }

    pub(super) fn beat(&mut self, at: usize) {
        let Some(stream) = self.stream(at) else { return };
        let (reply, outcome, over) = self.command(Command::Beat(stream.holder));
        self.end_over(&over);
        let owner = Owner { caller: CALLERS[at], run: Some(stream.run) };
        let now_ms = self.paper.now_ms;
        let mut renewed = 0;
        for lease in self.paper.leases.iter_mut().filter(|lease| lease.owner == owner) {
            lease.heard_ms = now_ms;
            renewed += 1;
        }
        assert_eq!(reply, Ok(Reply::Beaten(renewed)), "a beat renews all leases of the run (LEASE-13)");
        self.settle(&outcome, &over, false);
    }

    pub(super) fn release(&mut self, by: By, leases: &[usize], requests: &[usize]) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let wanted: Vec<u128> = requests
            .iter()
            .map(|nth| self.asked.iter().rev().nth(*nth).map_or(u128::MAX, |asked| asked.request))
            .collect();
        let release = Release {
            from,
            request: None,
            leases: ids.iter().copied().map(LeaseId).collect(),
            acquired_by: wanted.iter().map(|request| RequestId(request.to_be_bytes())).collect(),
        };
        let (reply, outcome, mut over) = self.command(Command::Release(release));
        self.end_over(&over);
        if ids.is_empty() && wanted.is_empty() {
            self.settle(&outcome, &over, false);
            return;
        }
        let Ok(Reply::Released(results)) = reply else { panic!("a release is answered as one: {reply:?}") };
        assert_eq!(results.len(), ids.len() + wanted.len());
        let mut named: Vec<(u64, Result<(), Refusal>)> = Vec::new();
        for result in results {
            match (result.acquired_by, result.lease) {
                (None, Some(lease)) => named.push((lease.0, result.result)),
                (Some(request), lease) => {
                    let request = u128::from_be_bytes(request.0);
                    let known = self
                        .remembered
                        .iter()
                        .rev()
                        .find(|known| known.request == request && known.identity == owner.caller.identity);
                    match (known, lease) {
                        (Some(known), Some(lease)) => {
                            assert_eq!(known.lease, lease.0, "released by request (LEASE-14)");
                            named.push((lease.0, result.result));
                        }
                        (Some(known), None) => assert!(
                            known.acknowledged || self.owner_of(known.lease).is_none(),
                            "{known:?} cannot be released by its request: {:?}",
                            result.result
                        ),
                        (None, _) if result.result.is_ok() => {
                            // A request that waits is withdrawn: what it would be granted is wanted no more.
                            let identity = owner.caller.identity;
                            let at = self.paper.waiting.iter().position(|waiting| {
                                waiting.request == request && waiting.owner.caller.identity == identity
                            });
                            let at = at.unwrap_or_else(|| panic!("nothing was granted, and it was released"));
                            self.paper.waiting.remove(at);
                        }
                        (None, _) => {}
                    }
                }
                (None, None) => panic!("a result for nothing"),
            }
        }
        for (id, result) in named {
            if let Some(lease) = self.owner_of(id).cloned() {
                if lease.owner.caller.identity == owner.caller.identity && result.is_ok() {
                    self.paper.end(id, EndReason::Released);
                    over.push((id, vec![EndReason::Released]));
                } else {
                    assert!(matches!(result, Err(Refusal::NotYourLease(_))), "LEASE-9: {result:?} {lease:?} {owner:?}");
                    assert_ne!(lease.owner.caller, owner.caller, "a caller may release its own lease: {lease:?}");
                }
            } else if id == 1_000_000 {
                assert!(matches!(result, Err(Refusal::LeaseUnknown(_))), "{result:?}");
            } else {
                // LEASE-10; to a stranger it may also be said that it is not theirs.
                assert!(
                    matches!(result, Ok(()) | Err(Refusal::LeaseEnded { .. } | Refusal::NotYourLease(_))),
                    "releasing {id} twice: {result:?}"
                );
                let released = self.paper.ended.iter().any(|(ended, why)| *ended == id && *why == EndReason::Released);
                if released && self.caller_of(id) == Some(owner.caller.identity) {
                    assert_eq!(result, Ok(()), "releasing {id} twice (LEASE-10)");
                }
            }
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn caller_of(&self, id: u64) -> Option<Name> {
        self.remembered.iter().find(|known| known.lease == id).map(|known| known.identity)
    }

    pub(super) fn renew(&mut self, by: By, leases: &[usize]) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::Renew { from, leases: ids.iter().copied().map(LeaseId).collect() };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let Ok(Reply::Leases(results)) = reply else { panic!("a renewal is answered as one: {reply:?}") };
        let now_ms = self.paper.now_ms;
        for (id, (lease, result)) in ids.iter().zip(&results) {
            assert_eq!(*id, lease.0);
            self.check_own(*id, owner, result);
            if result.is_ok() {
                self.paper.leases.iter_mut().find(|lease| lease.id == *id).unwrap().heard_ms = now_ms;
            }
        }
        self.settle(&outcome, &over, false);
    }

    /// The answer to an act on one lease by its holder.
    pub(super) fn check_own(&self, id: u64, owner: Owner, result: &Result<(), Refusal>) {
        match (self.owner_of(id), result) {
            (Some(lease), Ok(())) => assert_eq!(lease.owner.caller.identity, owner.caller.identity, "LEASE-9"),
            (Some(lease), Err(refusal)) => {
                assert!(matches!(refusal, Refusal::NotYourLease(_)), "{refusal:?}");
                assert_ne!(lease.owner, owner, "a caller may act on its own lease: {lease:?}");
            }
            (None, Ok(())) => panic!("lease {id} is not live, and was acted on"),
            (None, Err(refusal)) => assert!(
                matches!(refusal, Refusal::LeaseEnded { .. } | Refusal::LeaseUnknown(_) | Refusal::NotYourLease(_)),
                "{refusal:?}"
            ),
        }
    }

    pub(super) fn set_idle(&mut self, by: By, leases: &[usize], idle: bool) {
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::SetIdle { from, leases: ids.iter().copied().map(LeaseId).collect(), idle };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let Ok(Reply::Leases(results)) = reply else { panic!("idling is answered as one: {reply:?}") };
        let now_ms = self.paper.now_ms;
        for (id, (_, result)) in ids.iter().zip(&results) {
            self.check_own(*id, owner, result);
            if result.is_ok() {
                let lease = self.paper.leases.iter_mut().find(|lease| lease.id == *id).unwrap();
                lease.idle_since_ms = idle.then(|| lease.idle_since_ms.unwrap_or(now_ms));
            }
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn take_over(&mut self, at: usize, leases: &[usize]) {
        let Some(stream) = self.stream(at) else { return };
        let ids: Vec<u64> = leases.iter().map(|nth| self.nth(*nth)).collect();
        let command = Command::TakeOver { holder: stream.holder, leases: ids.iter().copied().map(LeaseId).collect() };
        let (reply, outcome, over) = self.command(command);
        self.end_over(&over);
        let owner = Owner { caller: CALLERS[at], run: Some(stream.run) };
        let views = self.views();
        let now_ms = self.paper.now_ms;
        let mut taken = Vec::new();
        if let Ok(Reply::Leases(results)) = &reply {
            taken.extend(results.iter().filter(|(_, result)| result.is_ok()).map(|(lease, _)| lease.0));
        }
        for lease in &mut self.paper.leases {
            let orphan = lease.owner.caller == owner.caller && lease.orphan_until_ms.is_some();
            let wanted = ids.is_empty() || ids.contains(&lease.id);
            let own = lease.owner == owner;
            if taken.contains(&lease.id) {
                assert!(orphan || own, "taken over without a right to it: {lease:?}");
            }
            if orphan && wanted && lease.orphan_until_ms.is_some_and(|until| until > now_ms) {
                assert!(taken.contains(&lease.id), "{lease:?} was not taken over (LEASE-13): {reply:?}");
                lease.owner = owner;
                lease.orphan_until_ms = None;
                // Whether that renews it is left open.
                if let Some(view) = views.iter().find(|view| view.lease.id.0 == lease.id)
                    && view.lease.renewed_ms_ago == 0
                {
                    lease.heard_ms = now_ms;
                }
            }
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn received(&mut self, at: usize, nth: usize) {
        let Some(stream) = self.stream(at) else { return };
        let Some(asked) = self.asked.iter().rev().nth(nth).cloned() else { return };
        let command =
            Command::AnswersReceived { holder: stream.holder, requests: vec![RequestId(asked.request.to_be_bytes())] };
        let (_, outcome, over) = self.command(command);
        self.end_over(&over);
        for known in &mut self.remembered {
            if known.request == asked.request && known.identity == CALLERS[at].identity {
                known.acknowledged = true;
            }
        }
        self.settle(&outcome, &over, false);
    }
}
