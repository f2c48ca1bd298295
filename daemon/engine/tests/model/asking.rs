//! Steps that ask for a lease, wait for one, or withdraw; and answers to those who waited.

use super::*;

impl Play {
    pub(super) fn ask(what: &What) -> Ask {
        match what {
            What::Logon { user, at, computer, needed } => Ask::Logon {
                user: label(user),
                place: match at {
                    At::Nowhere => Place::None,
                    At::Station(station) => Place::Station(label(station)),
                    At::Number(number) => Place::DynamicRemote(label(number)),
                },
                computer: computer.map(label),
                needed: labels(needed),
                application: None,
            },
            What::Station { station, needed } => Ask::Station { station: label(station), needed: labels(needed) },
            What::Units { key, units } => Ask::Units { key: label(key), units: *units },
        }
    }

    pub(super) fn acquire(&mut self, by: By, what: &What, ttl_s: u64, wait_s: u64, priority: u8, again: Again) {
        let back = |nth: usize| self.asked.iter().rev().nth(nth).cloned();
        let fresh = u128::from_be_bytes(self.site.request().0);
        let asked = Asked { by, request: fresh, what: what.clone(), ttl_s, wait_s, priority };
        let asked = match again {
            Again::Fresh => asked,
            Again::Whole(nth) => back(nth).unwrap_or(asked),
            Again::Id(nth) => Asked { request: back(nth).map_or(fresh, |old| old.request), ..asked },
        };
        self.asked.push(asked.clone());
        let (from, owner) = self.origin(asked.by);
        self.contact = owner.run.map(|_| owner);
        let ticket = self.site.ticket();
        let command = Acquire {
            from,
            request: RequestId(asked.request.to_be_bytes()),
            ask: Self::ask(&asked.what),
            ttl_ms: asked.ttl_s * 1_000,
            wait_ms: asked.wait_s * 1_000,
            priority: asked.priority,
            ticket,
        };
        let rows_before = self.site.engine.lasting_rows();
        let (reply, outcome, mut over) = self.command(Command::Acquire(Box::new(command)));
        self.end_over(&over);
        let got = match reply {
            Err(refusal) => Got::Refused(refusal),
            Ok(Reply::Ticketed { waiting: Some(_) }) => Got::Waits,
            Ok(Reply::Ticketed { waiting: None }) => {
                match outcome.answers.iter().find(|(answered, _)| *answered == ticket) {
                    Some((_, Ok(view))) => Got::Granted(Box::new(view.clone())),
                    Some((_, Err(refusal))) => Got::Refused(refusal.clone()),
                    None => panic!("no answer for {ticket:?}"),
                }
            }
            Ok(other) => panic!("an acquire is not answered {other:?}"),
        };
        // Waiting requests that were served before this one was decided.
        let own = outcome.answers.iter().position(|(answered, _)| *answered == ticket).unwrap_or(usize::MAX);
        let before = Outcome { answers: outcome.answers.iter().take(own).cloned().collect(), ..Outcome::default() };
        self.serve(&before);
        if !self.repeated(&asked, owner, ticket, &got) {
            let displaced = self.paper.displaced_by(&asked.what);
            self.decided(&asked, owner, ticket, &got);
            if matches!(got, Got::Granted(_)) {
                // A lease that expired in the same breath gave its seats back first.
                if over.is_empty() {
                    laws::seats_pass_on(&rows_before, &outcome.changes);
                }
                over.extend(displaced.into_iter().map(|id| (id, vec![EndReason::LoggedOnElsewhere])));
            }
        }
        if let (Got::Refused(_), true, 0) = (&got, over.is_empty(), own.min(outcome.answers.len())) {
            laws::only_a_denial(&outcome.changes);
        }
        self.settle(&outcome, &over, false);
    }

    /// LEASE-3: true where the request is known, and was answered as it should be.
    pub(super) fn repeated(&mut self, asked: &Asked, owner: Owner, ticket: Ticket, got: &Got) -> bool {
        let identity = owner.caller.identity;
        let rest = (asked.ttl_s, asked.wait_s, asked.priority);
        let known =
            self.remembered.iter().rev().find(|known| known.identity == identity && known.request == asked.request);
        if let Some(known) = known.filter(|known| !known.acknowledged).cloned() {
            self.tally.repeated += 1;
            match got {
                Got::Granted(view) => {
                    assert_eq!(known.what, asked.what, "another body was answered (LEASE-3)");
                    assert_eq!(view.id.0, known.lease, "the same request, another lease (LEASE-3)");
                    let ended = self.paper.ended.iter().find(|(id, _)| *id == known.lease).map(|(_, why)| *why);
                    assert_eq!(view.ended, ended, "the lease's present state (LEASE-3)");
                }
                // Whether times and class belong to the body is left open.
                Got::Refused(refusal) => assert!(
                    matches!(refusal, Refusal::RequestIdReused) && (known.what != asked.what || known.rest != rest),
                    "{asked:?} repeats {known:?} and was refused {refusal:?}"
                ),
                Got::Waits => panic!("{asked:?} was answered already, and waits"),
            }
            return true;
        }
        let now_ms = self.paper.now_ms;
        let stands = !self.paper.displaced_by(&asked.what).is_empty();
        let Some(waiting) = self
            .paper
            .waiting
            .iter_mut()
            .find(|waiting| waiting.owner.caller.identity == identity && waiting.request == asked.request)
        else {
            return false;
        };
        let overtaken = waiting.overtaken && waiting.what == asked.what && stands;
        match got {
            Got::Refused(Refusal::LoggedOnElsewhere { .. }) => {
                assert!(overtaken, "{waiting:?} was overtaken by nobody (ALLOC-8)");
                let request = asked.request;
                self.paper
                    .waiting
                    .retain(|waiting| waiting.request != request || waiting.owner.caller.identity != identity);
                true
            }
            Got::Waits | Got::Granted(_) if overtaken => {
                panic!("{waiting:?} would throw the newer logon out (ALLOC-8)")
            }
            Got::Waits => {
                waiting.overtaken = false;
                assert_eq!(waiting.what, asked.what, "another body joined a waiting request (LEASE-3)");
                self.tally.repeated += 1;
                // It joins the first; one whose caller was gone is there again.
                waiting.tickets =
                    if waiting.away_since_ms.take().is_some() { Vec::new() } else { waiting.tickets.clone() };
                waiting.tickets.push(ticket.0);
                waiting.owner = owner;
                true
            }
            Got::Refused(Refusal::RequestIdReused) => {
                assert!(
                    waiting.what != asked.what
                        || (waiting.ttl_ms, waiting.priority) != (asked.ttl_s * 1_000, asked.priority)
                        || asked.wait_s > 0,
                    "{asked:?} repeats {waiting:?}"
                );
                true
            }
            // A place that was kept for a caller who went away: decided anew, it may be served at once.
            Got::Granted(_) | Got::Refused(_) if waiting.away_since_ms.is_some() || waiting.deadline_ms <= now_ms => {
                let request = asked.request;
                self.paper
                    .waiting
                    .retain(|waiting| waiting.request != request || waiting.owner.caller.identity != identity);
                false
            }
            other => panic!("{asked:?} repeats {waiting:?}, and got {other:?}"),
        }
    }

    pub(super) fn decided(&mut self, asked: &Asked, owner: Owner, ticket: Ticket, got: &Got) {
        // What others wait for is theirs: surely what they lack now; perhaps whatever they could take.
        let there = self.paper.waiting.clone();
        let lacked: Vec<Pool> = there.iter().flat_map(|waiting| self.paper.pools_lacked(&waiting.what)).collect();
        let sought: Vec<Pool> = there.iter().flat_map(|waiting| self.paper.pools_of(&waiting.what)).collect();
        let free = self.paper.decide(&asked.what, &[]);
        let strict = self.paper.decide(&asked.what, &lacked);
        let wide = self.paper.decide(&asked.what, &sought);
        let mut right = vec![strict];
        if !right.contains(&wide) {
            self.tally.either += 1;
            right.push(wide);
        }
        // Or so many units as they want are set aside, by all of them or by the first; of all that they could take, or of
        // what they cannot do without.
        let units = |waiting: &Waiting| if let What::Units { units, .. } = waiting.what { u64::from(units) } else { 1 };
        for needed in [false, true] {
            let pools = |waiting: &Waiting| {
                if needed { self.paper.pools_needed(&waiting.what) } else { self.paper.pools_of(&waiting.what) }
            };
            let sought: Vec<Pool> = there.iter().flat_map(pools).collect();
            let free = |pool: &Pool| self.paper.free_without(*pool, &self.paper.displaced_by(&asked.what));
            let claims = |pool: &Pool| -> Vec<u64> {
                there.iter().filter(|waiting| pools(waiting).contains(pool)).map(units).collect()
            };
            let by_one = sought
                .iter()
                .copied()
                .filter(|pool| free(pool) <= claims(pool).into_iter().max().unwrap_or(0))
                .collect();
            let by_all = sought.iter().copied().filter(|pool| free(pool) <= claims(pool).iter().sum()).collect();
            for blocked in [sought.clone(), by_one, by_all] {
                let decision = self.paper.decide(&asked.what, &blocked);
                if !right.contains(&decision) {
                    self.tally.either += 1;
                    right.push(decision);
                }
            }
        }
        // Only who does not wait never overtakes: who waits is in the queue, and what is free goes to the first whom it
        // satisfies. A place that is kept for a caller who is away gives way or not.
        let yields = |waiting: &Waiting| waiting.away_since_ms.is_some() || asked.wait_s > 0;
        if !right.contains(&free) && there.iter().any(yields) {
            self.tally.either += 1;
            right.push(free);
        }
        match got {
            Got::Granted(view) => {
                self.grant(view, owner, &asked.what, asked.ttl_s * 1_000, &right);
                if let (Some(user), Some(here)) = (asked.what.user(), asked.what.computer()) {
                    let moved = |waiting: &&Waiting| {
                        let elsewhere = waiting.what.computer().is_some_and(|there| there != here);
                        waiting.what.user() == Some(user) && elsewhere && waiting.away_since_ms.is_none()
                    };
                    let overtaken = self.paper.waiting.iter().find(moved);
                    assert!(overtaken.is_none(), "{overtaken:?} waits to throw out {asked:?} (ALLOC-8)");
                }
                self.paper.overtake(&asked.what, u64::MAX);
                self.remember(owner, asked.request, &asked.what, view.id.0);
            }
            Got::Refused(refusal) => {
                self.tally.refused += 1;
                let whys: Vec<Why> = right
                    .iter()
                    .filter_map(
                        |decision| if let Decision::Refused(whys) = decision { Some(whys.clone()) } else { None },
                    )
                    .flatten()
                    .collect();
                assert!(is_one_of(refusal, &whys), "{asked:?} was refused {refusal:?}; the model: {right:?}");
                assert!(
                    asked.wait_s == 0 || !self.may_wait(&asked.what),
                    "{asked:?} would wait, and was refused {refusal:?}"
                );
            }
            Got::Waits => {
                self.tally.waited += 1;
                assert!(asked.wait_s > 0, "{asked:?} waits though it would not");
                assert!(
                    right.iter().any(|decision| matches!(decision, Decision::Refused(_))),
                    "{asked:?} waits; the model: {right:?}"
                );
                assert!(
                    self.paper.would_be_granted_with_room(&asked.what),
                    "{asked:?} waits for what it will never get"
                );
                self.arrivals += 1;
                self.paper.waiting.push(Waiting {
                    owner,
                    request: asked.request,
                    tickets: vec![ticket.0],
                    what: asked.what.clone(),
                    ttl_ms: asked.ttl_s * 1_000,
                    priority: asked.priority,
                    arrival: self.arrivals,
                    deadline_ms: self.paper.now_ms + asked.wait_s * 1_000,
                    away_since_ms: None,
                    overtaken: false,
                });
            }
        }
    }

    /// Worth waiting for: room is all that is missing, and more units than there are will never be free.
    pub(super) fn may_wait(&self, what: &What) -> bool {
        let possible = match what {
            What::Units { key, units } => u64::from(*units) <= self.paper.capacity(assignable(key)),
            // An assignment beyond the capacity waits for no seat.
            What::Logon { user, .. } => !self
                .paper
                .given_to(Subject::User(user))
                .iter()
                .any(|given| !given.pool.concurrent && !self.paper.active(given)),
            What::Station { .. } => false,
        };
        possible && self.paper.would_be_granted_with_room(what)
    }

    pub(super) fn cancel(&mut self, by: By, nth: usize) {
        let Some(waiting) = self.paper.waiting.get(nth).cloned() else { return };
        let (from, owner) = self.origin(by);
        self.contact = owner.run.map(|_| owner);
        let request = RequestId(waiting.request.to_be_bytes());
        let (reply, outcome, over) = self.command(Command::CancelWait { from, request });
        self.end_over(&over);
        self.serve(&outcome);
        if owner.caller.identity == waiting.owner.caller.identity && reply.is_ok() {
            self.paper.waiting.retain(|other| {
                other.request != waiting.request || other.owner.caller.identity != owner.caller.identity
            });
        }
        self.settle(&outcome, &over, false);
    }

    pub(super) fn abandon(&mut self, nth: usize) {
        let Some(waiting) = self.paper.waiting.get(nth).cloned() else { return };
        let ticket = Ticket(*waiting.tickets.last().unwrap());
        let (_, outcome, over) = self.command(Command::Abandon(ticket));
        self.end_over(&over);
        let now_ms = self.paper.now_ms;
        if let Some(waiting) = self.paper.waiting.iter_mut().find(|waiting| waiting.tickets.contains(&ticket.0)) {
            waiting.tickets.retain(|other| *other != ticket.0);
            if waiting.tickets.is_empty() {
                waiting.tickets.push(ticket.0);
                waiting.away_since_ms.get_or_insert(now_ms);
            }
        }
        self.settle(&outcome, &over, false);
    }

    /// Answers to requests that waited.
    pub(super) fn serve(&mut self, outcome: &Outcome) {
        for (ticket, answer) in &outcome.answers {
            let Some(at) = self.paper.waiting.iter().position(|waiting| waiting.tickets.contains(&ticket.0)) else {
                continue;
            };
            let waiting = self.paper.waiting[at].clone();
            match answer {
                Ok(view) if waiting.tickets.len() > 1 && self.owner_of(view.id.0).is_some() => {
                    // A ticket that joined.
                }
                Ok(view) => {
                    self.tally.served += 1;
                    assert!(waiting.away_since_ms.is_none(), "a seat for somebody who is not there: {waiting:?}");
                    // Left open: a seat that comes free before the refusal of a request whose time is over is still its own.
                    for other in &self.paper.waiting {
                        let sooner = other.priority <= waiting.priority && other.arrival < waiting.arrival;
                        let there = other.away_since_ms.is_none() && other.deadline_ms > self.paper.now_ms;
                        let served = outcome.answers.iter().any(|(ticket, _)| other.tickets.contains(&ticket.0));
                        if sooner && there && !served {
                            assert!(
                                !matches!(self.paper.decide(&other.what, &[]), Decision::Granted(_)),
                                "{waiting:?} overtook {other:?}"
                            );
                        }
                    }
                    let right = [self.paper.decide(&waiting.what, &[])];
                    self.grant(view, waiting.owner, &waiting.what, waiting.ttl_ms, &right);
                    self.remember(waiting.owner, waiting.request, &waiting.what, view.id.0);
                    self.paper.overtake(&waiting.what, waiting.arrival);
                    for more in &waiting.tickets {
                        let told = outcome.answers.iter().any(|(ticket, answer)| {
                            ticket.0 == *more && answer.as_ref().is_ok_and(|other| other.id == view.id)
                        });
                        assert!(told, "ticket {more} of {waiting:?} has no answer");
                    }
                    self.paper.waiting.remove(at);
                }
                // Its stream is gone and told so; its place is kept for it.
                Err(Refusal::Cancelled) if waiting.away_since_ms.is_some() => {}
                Err(refusal) => {
                    let late = waiting.deadline_ms <= self.paper.now_ms;
                    // ALLOC-8: overtaken by a newer logon of the same user at the computer that is named.
                    let overtaken = matches!(refusal, Refusal::LoggedOnElsewhere { user, computer }
                        if waiting.what.user() == Some(user.as_str())
                            && waiting.what.computer().is_some_and(|here| here != computer.as_str()));
                    assert!(
                        late || overtaken
                            || matches!(refusal, Refusal::Cancelled)
                            || !self.paper.would_be_granted_with_room(&waiting.what),
                        "{waiting:?} was refused before its deadline: {refusal:?}"
                    );
                    self.paper.waiting.remove(at);
                }
            }
        }
    }

    pub(super) fn remember(&mut self, owner: Owner, request: u128, what: &What, lease: u64) {
        let identity = owner.caller.identity;
        let rest = self.asked.iter().rev().find(|asked| {
            asked.request == request && asked.what == *what && CALLERS[asked.by.caller].identity == identity
        });
        let rest = rest.map_or((0, 0, 0), |asked| (asked.ttl_s, asked.wait_s, asked.priority));
        self.remembered.push(Remembered { identity, request, what: what.clone(), rest, lease, acknowledged: false });
    }

    /// A grant, checked against what the model would give: any of `right`.
    pub(super) fn grant(&mut self, view: &LeaseView, owner: Owner, what: &What, ttl_ms: u64, right: &[Decision]) {
        let held = held_of(view);
        assert!(
            right.iter().any(|decision| *decision == Decision::Granted(held.clone())),
            "{what:?} was granted {held:?}; the model: {right:?}"
        );
        for (_, seat) in &held {
            if let Some((pool, units)) = seat {
                self.check_room(what, *pool, *units);
            }
        }
        let id = view.id.0;
        let last =
            self.paper.leases.iter().map(|lease| lease.id).chain(self.paper.ended.iter().map(|(id, _)| *id)).max();
        assert!(last.is_none_or(|last| id > last), "lease {id} after {last:?} (LEASE-4)");
        assert_eq!(view.ttl_ms, ttl_ms);
        assert_eq!(view.ended, None);
        self.tally.granted += 1;
        for displaced in self.paper.displaced_by(what) {
            self.tally.displaced += 1;
            self.paper.end(displaced, EndReason::LoggedOnElsewhere);
        }
        let now_ms = self.paper.now_ms;
        self.paper.leases.push(Lease {
            id,
            owner,
            what: what.clone(),
            held,
            ttl_ms,
            heard_ms: now_ms,
            idle_since_ms: None,
            orphan_until_ms: None,
        });
    }

    /// LEASE-1, said once more without the decision: a seat that is new was free.
    pub(super) fn check_room(&self, what: &What, pool: Pool, units: u32) {
        let without = self.paper.displaced_by(what);
        let has = what.user().is_some_and(|user| {
            pool.concurrent
                && self.paper.leases.iter().any(|lease| {
                    lease.what.user() == Some(user)
                        && lease.held.iter().any(|(_, seat)| seat.is_some_and(|(of, _)| of == pool))
                })
        });
        assert!(
            has || self.paper.in_use_without(pool, &without) + u64::from(units) <= self.paper.capacity(pool),
            "a grant takes {pool:?} above its capacity"
        );
    }
}
