//! Requests without an answer yet: what each is, when it is tried again, and until when somebody waits for it.
//!
//! A request keeps its ID and its body for as long as it lives, over retries and reconnects (LEASE-3). Time is given.

use std::collections::{BTreeSet, HashMap};

use leasehold_proto::v1::{self, attach_request::Message};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    clock::Moment,
    guard::LeaseGuard,
    refusal::{AcquireError, Obstacle, Refusal, RequestError, reason},
};

pub(crate) type Reply = oneshot::Sender<Result<(), RequestError>>;

/// What was asked for, and who waits for the answer.
#[derive(Debug)]
pub(crate) enum Asked {
    Lease {
        message: Box<v1::AcquireRequest>,
        reply: oneshot::Sender<Result<LeaseGuard, AcquireError>>,
    },
    /// Tried until it is answered, since beats would keep the lease alive for ever.
    Release {
        leases: Vec<u64>,
        reply: Option<Reply>,
    },
    /// A lease that nobody waits for any more: out of the queue, and back if it was granted. It goes on to count as
    /// in flight.
    Withdrawal {
        acquire: Uuid,
    },
    Idle {
        lease: u64,
        idle: bool,
        reply: Reply,
    },
    /// Leases of an earlier run. Tried until it is answered, though nobody waits any more: what was taken over without
    /// our knowing would be kept alive for ever.
    TakeOver {
        leases: Vec<u64>,
        reply: Option<oneshot::Sender<Result<Vec<LeaseGuard>, RequestError>>>,
    },
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) asked: Asked,
    pub(crate) begun: Moment,
    /// Its place among those in flight.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// When it was first given to a connection; nothing where no server can know of it.
    pub(crate) sent_at: Option<Moment>,
    /// What last stood in its way, where that was not the connection.
    pub(crate) obstacle: Option<Obstacle>,
    serial: u64,
    deadline: Option<Moment>,
    retry_at: Option<Moment>,
    backoff: Backoff,
}

/// Something that time brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Retry,
    Deadline,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: HashMap<Uuid, Pending>,
    timers: BTreeSet<(Moment, Due, Uuid)>,
    last_serial: u64,
}

impl Requests {
    pub(crate) fn add(
        &mut self,
        id: Uuid,
        asked: Asked,
        permit: Option<OwnedSemaphorePermit>,
        begun: Moment,
        deadline: Option<Moment>,
    ) {
        self.last_serial += 1;
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, Due::Deadline, id));
        }
        let pending = Pending {
            asked,
            begun,
            permit,
            sent_at: None,
            obstacle: None,
            serial: self.last_serial,
            deadline,
            retry_at: None,
            backoff: Backoff::new(),
        };
        self.pending.insert(id, pending);
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Pending> {
        self.pending.get(&id)
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if let Some(deadline) = pending.deadline {
            self.timers.remove(&(deadline, Due::Deadline, id));
        }
        if let Some(retry_at) = pending.retry_at {
            self.timers.remove(&(retry_at, Due::Retry, id));
        }
        Some(pending)
    }

    /// Refused for the time being: tried again after a wait of our own or the server's advice, whichever is longer.
    pub(crate) fn put_off(&mut self, id: Uuid, now: Moment, refusal: Refusal) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        if let Some(retry_at) = pending.retry_at.take() {
            self.timers.remove(&(retry_at, Due::Retry, id));
        }
        let wait = pending.backoff.next().max(refusal.retry_after.unwrap_or_default());
        let retry_at = now.plus(wait);
        pending.retry_at = Some(retry_at);
        pending.obstacle = Some(Obstacle::Refused(refusal));
        self.timers.insert((retry_at, Due::Retry, id));
    }

    /// There is another server, or the same one again: what was put off by one that was starting or stopping need not
    /// wait any more. One that sheds load is still obeyed.
    pub(crate) fn resume(&mut self) {
        for (id, pending) in &mut self.pending {
            let sheds_load =
                matches!(&pending.obstacle, Some(Obstacle::Refused(refusal)) if refusal.reason == reason::OVERLOADED);
            if !sheds_load && let Some(retry_at) = pending.retry_at.take() {
                self.timers.remove(&(retry_at, Due::Retry, *id));
            }
        }
    }

    /// What has come due; each is given once.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(Due, Uuid)> {
        let &(at, due, id) = self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        if let Some(pending) = self.pending.get_mut(&id) {
            match due {
                Due::Retry => pending.retry_at = None,
                Due::Deadline => pending.deadline = None,
            }
        }
        Some((due, id))
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// The messages that put a request to a server, now.
    pub(crate) fn messages(&mut self, id: Uuid, now: Moment) -> Vec<Message> {
        let Some(pending) = self.pending.get_mut(&id) else {
            return Vec::new();
        };
        pending.sent_at.get_or_insert(now);
        let request_id = id.as_bytes().to_vec();
        match &pending.asked {
            Asked::Lease { message, .. } => {
                vec![Message::Acquire(v1::AcquireRequest::clone(message))]
            }
            Asked::Release { leases, .. } => vec![Message::Release(v1::ReleaseRequest {
                request_id,
                lease_ids: leases.clone(),
                ..v1::ReleaseRequest::default()
            })],
            Asked::Withdrawal { acquire, .. } => {
                let acquire = acquire.as_bytes().to_vec();
                vec![
                    Message::CancelWait(v1::CancelWait { request_id: acquire.clone() }),
                    Message::Release(v1::ReleaseRequest {
                        request_id,
                        acquire_request_ids: vec![acquire],
                        ..v1::ReleaseRequest::default()
                    }),
                ]
            }
            Asked::Idle { lease, idle, .. } => vec![Message::SetIdle(v1::SetIdleRequest {
                request_id,
                caller: None,
                lease_ids: vec![*lease],
                idle: *idle,
            })],
            Asked::TakeOver { leases, .. } => {
                vec![Message::TakeOver(v1::TakeOver { request_id, lease_ids: leases.clone() })]
            }
        }
    }

    /// Everything that is not put off, in the order in which it was asked: places in a queue depend on it.
    pub(crate) fn in_order(&self) -> Vec<Uuid> {
        self.in_order_of(|pending| pending.retry_at.is_none())
    }

    fn in_order_of(&self, wanted: impl Fn(&Pending) -> bool) -> Vec<Uuid> {
        let mut found: Vec<(u64, Uuid)> = self
            .pending
            .iter()
            .filter(|(_, pending)| wanted(pending))
            .map(|(id, pending)| (pending.serial, *id))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// The requests for leases, in the order in which they were asked.
    pub(crate) fn for_leases(&self) -> Vec<Uuid> {
        self.in_order_of(|pending| matches!(pending.asked, Asked::Lease { .. }))
    }

    /// Requests that a server may have granted without our knowing.
    pub(crate) fn perhaps_granted(&self) -> BTreeSet<Uuid> {
        self.pending
            .iter()
            .filter(|(_, pending)| match pending.asked {
                Asked::Lease { .. } | Asked::TakeOver { .. } => pending.sent_at.is_some(),
                Asked::Withdrawal { .. } => true,
                Asked::Release { .. } | Asked::Idle { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// The leases that are on their way back.
    pub(crate) fn being_released(&self) -> BTreeSet<u64> {
        self.pending
            .values()
            .filter_map(|pending| match &pending.asked {
                Asked::Release { leases, .. } => Some(leases.iter().copied()),
                Asked::Lease { .. } | Asked::Withdrawal { .. } | Asked::Idle { .. } | Asked::TakeOver { .. } => None,
            })
            .flatten()
            .collect()
    }

    /// Who waits for a release; it is tried on without them.
    pub(crate) fn reply(&mut self, id: Uuid) -> Option<Reply> {
        match &mut self.pending.get_mut(&id)?.asked {
            Asked::Release { reply, .. } => reply.take(),
            Asked::Lease { .. } | Asked::Withdrawal { .. } | Asked::Idle { .. } | Asked::TakeOver { .. } => None,
        }
    }

    /// The requests to take leases over, in the order in which they were asked.
    pub(crate) fn taking_over(&self) -> Vec<Uuid> {
        self.in_order_of(|pending| matches!(pending.asked, Asked::TakeOver { .. }))
    }

    /// Who waits for leases to be taken over; that is tried on without them, where a server may know of it.
    pub(crate) fn waiting_for_takeover(
        &mut self,
        id: Uuid,
    ) -> Option<oneshot::Sender<Result<Vec<LeaseGuard>, RequestError>>> {
        let pending = self.pending.get_mut(&id)?;
        let Asked::TakeOver { reply, .. } = &mut pending.asked else {
            return None;
        };
        let reply = reply.take();
        if pending.sent_at.is_none() {
            self.remove(id);
        }
        reply
    }
}
