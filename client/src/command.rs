//! Everything that drives the keeper, besides the wire and time.

use leasehold_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::{
    clock::Moment,
    guard::LeaseGuard,
    lease::LeaseId,
    refusal::{AcquireError, RequestError, Unreleased},
};

#[derive(Debug)]
pub(crate) enum Command {
    Acquire(Box<Acquiring>),
    /// Nobody waits for this request any more.
    Abandon(Uuid),
    Release {
        id: Uuid,
        lease: LeaseId,
        deadline: Moment,
        reply: oneshot::Sender<Result<(), RequestError>>,
    },
    /// Its guard is gone.
    Dropped(LeaseId),
    SetIdle {
        id: Uuid,
        lease: LeaseId,
        idle: bool,
        deadline: Moment,
        reply: oneshot::Sender<Result<(), RequestError>>,
        permit: OwnedSemaphorePermit,
    },
    TakeOver {
        id: Uuid,
        leases: Vec<u64>,
        deadline: Moment,
        reply: oneshot::Sender<Result<Vec<LeaseGuard>, RequestError>>,
        permit: OwnedSemaphorePermit,
    },
    Shutdown(oneshot::Sender<Result<(), Unreleased>>),
}

/// A request for a lease, on its way.
#[derive(Debug)]
pub(crate) struct Acquiring {
    pub(crate) id: Uuid,
    pub(crate) message: v1::AcquireRequest,
    pub(crate) begun: Moment,
    pub(crate) deadline: Moment,
    pub(crate) reply: oneshot::Sender<Result<LeaseGuard, AcquireError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}
