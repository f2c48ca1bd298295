//! What an application is told without asking, and how it listens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

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
    /// The site has come to another enforcement stage, or is at stage 3 or worse as this client attaches.
    ///
    /// [`Client::standing`](crate::Client::standing) has the last one. Show its message to those who administer the application, for as long as the stage is 3 or worse. Nothing else is
    /// to be done: what a stage refuses is refused with the reason `ENFORCED`, keys that leave a lease are told by
    /// [`LeaseChanged`](Self::LeaseChanged) and leases that end by [`LeaseEnded`](Self::LeaseEnded). No stage ends a live
    /// call port.
    StandingChanged {
        /// How the site stands.
        standing: Standing,
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

/// The enforcement stage of a site.
///
/// A site of which its licensor has not heard for a grace period goes a stage down for each: 1 fully functional, 2 quiet
/// warning, 3 obtrusive warning, 4 supervisor disabled, 5 ports limited, 6 unlicensed. A check-in in good standing brings it
/// back to stage 1 at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The stage until now, 1 to 6; the same as `stage` where the client is told as it attaches.
    pub before: u8,
    /// The stage from now on, 1 to 6.
    pub stage: u8,
    /// What it is called, such as `ports limited`.
    pub name: Arc<str>,
    /// Stable: `ENFORCED` where something is limited, `STANDING` where it is only said.
    pub reason: Arc<str>,
    /// One or more plain sentences: what is limited, since when, what comes next and what to do.
    pub message: Arc<str>,
    /// The next stage for the worse, and when it comes if no check-in is answered; `None` where none follows.
    pub next: Option<(u8, SystemTime)>,
    /// At stage 6: leases other than call ports end in so long at the latest.
    pub leases_end_in: Option<Duration>,
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
