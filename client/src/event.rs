//! What an application is told without asking, and how it listens.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use crate::{
    endpoint::Endpoint,
    lease::LeaseId,
    refusal::{Ended, Obstacle},
};

/// What happens to a client as a whole: its connection, and all its leases.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A server accepted the client, at first or again.
    Attached {
        /// The server.
        server: Endpoint,
        /// The installation that it is.
        installation_id: Arc<str>,
    },
    /// The connection was lost. Another is being made; leases go on.
    Detached {
        /// Why.
        obstacle: Obstacle,
    },
    /// A request has joined the queue.
    Waiting {
        /// The user, station or key that it is for.
        subject: Arc<str>,
        /// Its place; 1 is next.
        position: u32,
        /// The pools that it waits for.
        pools: Arc<[String]>,
    },
    /// A lease has ended.
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
        /// Why.
        ended: Ended,
    },
    /// A lease will end unless something is done.
    LeaseWarned {
        /// The lease.
        lease: LeaseId,
        /// Stable, in capitals, such as `IDLE`.
        reason: Arc<str>,
        /// One plain sentence.
        message: Arc<str>,
        /// How long until then, where it is known.
        ends_in: Option<Duration>,
    },
    /// Keys joined or left a lease.
    LeaseChanged {
        /// The lease.
        lease: LeaseId,
        /// Keys that it holds now and did not before.
        added: Arc<[String]>,
        /// Keys that it held before and does not now.
        removed: Arc<[String]>,
    },
    /// Site-wide or counted keys changed; [`Client::site_keys`](crate::Client::site_keys) has them.
    SiteKeysChanged {
        /// Their names.
        keys: Arc<[String]>,
    },
    /// The server is stopping; the client goes elsewhere, or comes back when it is.
    Drain {
        /// The server's words.
        message: Arc<str>,
    },
    /// Something that an administrator should know.
    Notice {
        /// Stable, in capitals; may be empty.
        reason: Arc<str>,
        /// One plain sentence.
        message: Arc<str>,
    },
}

/// A bounded stream of events. Whoever reads too slowly loses the oldest ones.
#[derive(Debug)]
pub struct Events<T> {
    receiver: broadcast::Receiver<T>,
}

impl<T: Clone> Events<T> {
    pub(crate) fn new(receiver: broadcast::Receiver<T>) -> Self {
        Self { receiver }
    }

    /// The next event; nothing once no more can come. May be dropped while it waits without losing an event.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
