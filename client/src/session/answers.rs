//! What each message of the server means for what is held and asked.

use std::sync::Arc;

use leasehold_proto::v1::{self, acquire_answer::Outcome, acquire_request::Subject, attach_response, event::Event};
use uuid::Uuid;

use super::{EARLY_ENDS_KEPT, Session, Turn};
use crate::{
    clock::Moment,
    convert::{duration_unless_zero, site_key},
    event::{ClientEvent, Standing},
    guard::{LeaseGuard, Record},
    lease::{Lease, LeaseEvent, LeaseId},
    refusal::{AcquireError, Ended, Refusal, RequestError, reason},
    requests::{Asked, Pending},
};

impl Session {
    /// Takes in one message of the server.
    pub(crate) fn received(&mut self, answer: v1::AttachResponse, now: Moment) -> Turn {
        // Acknowledged with the next message: by then it has been dealt with.
        self.answers_received = self.answers_received.max(answer.answer_number);
        match answer.message {
            Some(attach_response::Message::Acquired(answer)) => self.acquired(answer, now),
            Some(attach_response::Message::Released(answer)) => self.released(answer, now),
            Some(attach_response::Message::Beat(answer)) => {
                let sent_at = self.beats.as_mut().and_then(|beats| beats.answered(answer.number));
                // A refused beat renewed nothing. Where that does not pass by itself the server ends the stream.
                if let Some(sent_at) = sent_at.filter(|_| answer.refusal.is_none()) {
                    self.holdings.renewed(sent_at, now);
                }
                Turn::Stay
            }
            Some(attach_response::Message::IdleSet(answer)) => {
                self.idle_set(&answer, now);
                Turn::Stay
            }
            Some(attach_response::Message::Event(event)) => self.event(event, now),
            Some(attach_response::Message::TakenOver(answer)) => self.taken_over(answer, now),
            Some(attach_response::Message::Witness(said)) => {
                self.has_new_witnesses |= self.witnesses.take(said);
                Turn::Stay
            }
            // A second welcome, or something newer than this library.
            Some(attach_response::Message::Welcome(_)) | None => Turn::Stay,
        }
    }

    fn acquired(&mut self, answer: v1::AcquireAnswer, now: Moment) -> Turn {
        let Ok(id) = Uuid::from_slice(&answer.request_id) else {
            return Turn::Stay;
        };
        let is_open = matches!(self.requests.get(id), Some(Pending { asked: Asked::Lease { .. }, .. }));
        if is_open {
            self.strangers.unanswered.remove(&id);
        }
        let turn = match answer.outcome {
            Some(Outcome::Lease(lease)) => {
                self.granted(id, lease, now);
                Turn::Stay
            }
            Some(Outcome::Refusal(refusal)) if is_open => self.refused(id, refusal.into(), now),
            Some(Outcome::Waiting(waiting)) if is_open => {
                self.waiting(id, waiting);
                Turn::Stay
            }
            Some(Outcome::Refusal(_) | Outcome::Waiting(_)) | None => Turn::Stay,
        };
        self.settle_strangers(now);
        turn
    }

    fn granted(&mut self, id: Uuid, lease: v1::Lease, now: Moment) {
        let number = lease.lease_id;
        self.saw(number);
        self.strangers.leases.remove(&number);
        let live = lease.state() != v1::LeaseState::Ended;
        let pending = match self.requests.get(id) {
            Some(Pending { asked: Asked::Lease { .. }, .. }) => self.requests.remove(id),
            _ => None,
        };
        let Some(Pending { asked: Asked::Lease { reply, .. }, begun, sent_at, .. }) = pending else {
            // Its caller gave up. (Named twice, it is one that is held.)
            if live && self.holdings.get(number).is_none() {
                self.give_back(&[number], now);
            }
            return;
        };
        if !live {
            let message = format!("Lease {number} ended before its answer arrived.");
            let _ = reply.send(Err(AcquireError::Ended(Ended::new(lease.end_reason, message))));
            return;
        }
        if let Some(ended) = self.early_ends.remove(&number) {
            let _ = reply.send(Err(AcquireError::Ended(ended)));
            return;
        }
        let Some(handle) = self.handle.upgrade() else {
            self.give_back(&[number], now);
            return;
        };
        let record = Record::new(Lease::from(lease), sent_at.unwrap_or(begun), now, self.holdings.heart());
        let record = Arc::new(record);
        self.holdings.add(Arc::clone(&record), now);
        // Where the caller has gone, the guard drops, which releases the lease.
        let _ = reply.send(Ok(LeaseGuard::new(record, handle)));
    }

    /// A request for a lease was refused.
    fn refused(&mut self, id: Uuid, refusal: Refusal, now: Moment) -> Turn {
        if refusal.is_temporary() {
            return self.put_off(id, refusal, now);
        }
        if let Some(Pending { asked: Asked::Lease { reply, .. }, .. }) = self.requests.remove(id) {
            let _ = reply.send(Err(AcquireError::Refused(refusal)));
        }
        Turn::Stay
    }

    fn put_off(&mut self, id: Uuid, refusal: Refusal, now: Moment) -> Turn {
        let turn = if refusal.reason == reason::NOT_ACTIVE { Turn::Elsewhere } else { Turn::Stay };
        self.requests.put_off(id, now, refusal);
        turn
    }

    fn waiting(&mut self, id: Uuid, waiting: v1::Waiting) {
        let Some(Pending { asked: Asked::Lease { message, .. }, .. }) = self.requests.get(id) else {
            return;
        };
        let subject = match &message.subject {
            Some(Subject::Logon(logon)) => &logon.user,
            Some(Subject::Station(station)) => &station.station,
            Some(Subject::Units(units)) => &units.key,
            None => return,
        };
        self.tell(ClientEvent::Waiting {
            subject: Arc::from(subject.as_str()),
            position: waiting.position,
            pools: waiting.pools.into(),
        });
    }

    fn released(&mut self, answer: v1::ReleaseAnswer, now: Moment) -> Turn {
        let Ok(id) = Uuid::from_slice(&answer.request_id) else {
            return Turn::Stay;
        };
        match self.requests.get(id).map(|pending| &pending.asked) {
            Some(Asked::Release { .. } | Asked::Withdrawal { .. }) => {}
            Some(Asked::Lease { .. } | Asked::Idle { .. } | Asked::TakeOver { .. }) | None => return Turn::Stay,
        }
        if let Some(refusal) = answer.refusal.clone().map(Refusal::from)
            && refusal.is_temporary()
        {
            return self.put_off(id, refusal, now);
        }
        for outcome in &answer.outcomes {
            self.strangers.leases.remove(&outcome.lease_id);
        }
        self.strangers.unanswered.remove(&id);
        if let Some(Pending { asked: Asked::Release { reply: Some(reply), .. }, .. }) = self.requests.remove(id) {
            // What has ended or is unknown is as good as released (LEASE-10).
            let refusal = answer
                .refusal
                .or_else(|| answer.outcomes.into_iter().find_map(|outcome| outcome.refusal))
                .map(Refusal::from)
                .filter(|refusal| refusal.reason != reason::LEASE_ENDED && refusal.reason != reason::LEASE_UNKNOWN);
            let _ = reply.send(refusal.map_or(Ok(()), |refusal| Err(RequestError::Refused(refusal))));
        }
        self.settle_strangers(now);
        Turn::Stay
    }

    /// Leases of an earlier run are this run's now; in the hands of nobody here, they go back.
    fn taken_over(&mut self, answer: v1::TakeOverAnswer, now: Moment) -> Turn {
        let Ok(id) = Uuid::from_slice(&answer.request_id) else {
            return Turn::Stay;
        };
        let Some(Pending { asked: Asked::TakeOver { .. }, .. }) = self.requests.get(id) else {
            return Turn::Stay;
        };
        let refusal = answer.refusal.map(Refusal::from);
        if let Some(refusal) = &refusal
            && refusal.is_temporary()
        {
            return self.put_off(id, refusal.clone(), now);
        }
        let Some(Pending { asked: Asked::TakeOver { reply, .. }, begun, sent_at, .. }) = self.requests.remove(id)
        else {
            return Turn::Stay;
        };
        self.strangers.unanswered.remove(&id);
        let handle = self.handle.upgrade();
        let mut guards = Vec::with_capacity(answer.leases.len());
        let mut unwanted = Vec::new();
        for lease in answer.leases {
            let number = lease.lease_id;
            self.saw(number);
            self.strangers.leases.remove(&number);
            self.predecessors.send_if_modified(|left| left.leases.remove(&number));
            let is_over = lease.state() == v1::LeaseState::Ended || self.early_ends.remove(&number).is_some();
            if is_over || self.holdings.get(number).is_some() {
                continue;
            }
            match (&handle, &reply) {
                (Some(handle), Some(_)) => {
                    let heart = self.holdings.heart();
                    let record = Arc::new(Record::new(lease.into(), sent_at.unwrap_or(begun), now, heart));
                    self.holdings.add(Arc::clone(&record), now);
                    guards.push(LeaseGuard::new(record, Arc::clone(handle)));
                }
                _ => unwanted.push(number),
            }
        }
        self.give_back(&unwanted, now);
        if let Some(reply) = reply {
            // Where the caller has gone, the guards drop, which releases the leases.
            let _ = reply.send(refusal.map_or(Ok(guards), |refusal| Err(RequestError::Refused(refusal))));
        }
        self.settle_strangers(now);
        Turn::Stay
    }

    fn idle_set(&mut self, answer: &v1::SetIdleAnswer, now: Moment) {
        let Ok(id) = Uuid::from_slice(&answer.request_id) else {
            return;
        };
        if !matches!(self.requests.get(id), Some(Pending { asked: Asked::Idle { .. }, .. })) {
            return;
        }
        let of_a_lease = || answer.outcomes.iter().find_map(|outcome| outcome.refusal.clone());
        let refusal = answer.refusal.clone().or_else(of_a_lease).map(Refusal::from);
        if let Some(refusal) = &refusal
            && refusal.is_temporary()
        {
            self.requests.put_off(id, now, refusal.clone());
            return;
        }
        if let Some(Pending { asked: Asked::Idle { lease, idle, reply, .. }, .. }) = self.requests.remove(id) {
            if refusal.is_none()
                && let Some(record) = self.holdings.get(lease)
            {
                record.mark_idle(idle);
            }
            let _ = reply.send(refusal.map_or(Ok(()), |refusal| Err(RequestError::Refused(refusal))));
        }
    }

    fn event(&mut self, event: v1::Event, now: Moment) -> Turn {
        match event.event {
            Some(Event::LeaseEnded(ended)) => {
                self.strangers.leases.remove(&ended.lease_id);
                let number = ended.lease_id;
                let ended = Ended::new(ended.reason, ended.message);
                if self.holdings.get(number).is_some() {
                    self.end(number, &ended);
                } else {
                    self.early_ends.insert(number, ended);
                    if self.early_ends.len() > EARLY_ENDS_KEPT {
                        self.early_ends.pop_first();
                    }
                }
            }
            Some(Event::LeaseWarned(warned)) => {
                let ends_in = duration_unless_zero(warned.ends_in_ms);
                if let Some(record) = self.holdings.get(warned.lease_id) {
                    record.tell(LeaseEvent::Warned {
                        reason: warned.reason.clone(),
                        message: warned.message.clone(),
                        ends_in,
                    });
                    self.tell(ClientEvent::LeaseWarned {
                        lease: LeaseId::new(warned.lease_id),
                        reason: warned.reason.into(),
                        message: warned.message.into(),
                        ends_in,
                    });
                }
            }
            Some(Event::LeaseChanged(changed)) => self.changed(changed, now),
            Some(Event::SiteKeysChanged(changed)) => {
                let keys: Arc<[String]> = changed.keys.iter().map(|key| key.key.clone()).collect();
                self.site_keys_heard = true;
                let watches_all = self.watches_all_site_keys;
                self.site_keys.send_modify(|known| {
                    if watches_all {
                        // What is not among all that there are is licensed no longer.
                        known.keys.clear();
                    }
                    known.keys.extend(changed.keys.into_iter().map(site_key));
                });
                self.tell(ClientEvent::SiteKeysChanged { keys });
            }
            Some(Event::Drain(drain)) => {
                self.tell(ClientEvent::Drain { message: drain.message.into() });
                return Turn::Drain;
            }
            Some(Event::Notice(notice)) => {
                self.tell(ClientEvent::Notice { reason: notice.reason.into(), message: notice.message.into() });
            }
            Some(Event::StandingChanged(changed)) => {
                let standing = Standing::from(changed);
                self.standing.send_replace(Some(standing.clone()));
                self.tell(ClientEvent::StandingChanged { standing });
            }
            // Newer than this library.
            None => {}
        }
        Turn::Stay
    }

    fn changed(&mut self, changed: v1::LeaseChanged, now: Moment) {
        let Some(lease) = changed.lease else { return };
        let number = lease.lease_id;
        let Some(record) = self.holdings.get(number) else {
            return;
        };
        record.change(lease.into(), now);
        record.tell(LeaseEvent::Changed { added: changed.added.clone(), removed: changed.removed.clone() });
        self.holdings.look(number, now);
        self.tell(ClientEvent::LeaseChanged {
            lease: LeaseId::new(number),
            added: changed.added.into(),
            removed: changed.removed.into(),
        });
    }

    /// What the server said of leases that it had not named at the welcome. Without its word they are given up: it
    /// holds them no longer.
    pub(crate) fn doubts(&mut self, leases: &[u64], outcomes: Vec<v1::LeaseOutcome>, now: Moment) {
        let mut live = std::collections::BTreeSet::new();
        let mut said = std::collections::BTreeMap::new();
        for outcome in outcomes {
            match outcome.refusal {
                None => drop(live.insert(outcome.lease_id)),
                Some(refusal) => {
                    said.insert(outcome.lease_id, Ended::from_refusal(refusal.into()));
                }
            }
        }
        for lease in leases {
            if live.contains(lease) {
                self.holdings.doubt(*lease, false, now);
                continue;
            }
            let gone = || Ended::new(reason::GONE, format!("The license server holds lease {lease} no longer."));
            let ended = said.remove(lease).unwrap_or_else(gone);
            self.end(*lease, &ended);
        }
    }
}
