//! The stream of an application server: who may open it, and what becomes of an older one of the same application
//! server (LEASE-13). What goes over it is in `session.rs`.

mod pending;
mod session;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use leasehold_engine::{
    command::{Attach, Command},
    decision::Reply,
    ids::{HolderId, Identity, LeaseId},
};
use leasehold_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use super::{
    convert::{Known, leasing as convert, malformed},
    status,
};
use crate::{
    core::{Core, Refused},
    witness::Witness,
};

/// How long a stream may stay silent before its Hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Answers and events that wait for the transport to take them.
const OUTBOUND: usize = 1_024;

/// How often an application server is to beat, at least. One with leases of a shorter time to live beats more often.
const BEAT_EVERY_MS: u64 = 20_000;

/// Which stream speaks for an application server: the identity and instance, and the number of the stream that attached
/// last. It is locked while one attaches or detaches, so that an old stream never detaches the one that took its place.
type Place = Arc<tokio::sync::Mutex<u64>>;

/// The application servers that are attached or about to be.
#[derive(Debug, Default)]
pub(super) struct Attached {
    places: Mutex<HashMap<(Identity, String), Place>>,
}

impl Attached {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Identity, String), Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, who: &(Identity, String)) -> Place {
        self.lock().entry(who.clone()).or_default().clone()
    }

    /// Forgets a place that nobody uses.
    fn tidy(&self, who: &(Identity, String), place: Place) {
        let mut places = self.lock();
        drop(place);
        if places.get(who).is_some_and(|place| Arc::strong_count(place) == 1) {
            places.remove(who);
        }
    }
}

/// One stream's hold on the place of its application server.
struct Seat<'a> {
    attached: &'a Attached,
    who: (Identity, String),
    place: Place,
    number: u64,
}

/// What the core answered to the attaching.
struct Welcomed {
    holder: HolderId,
    leases: Vec<LeaseId>,
    predecessor: Vec<LeaseId>,
}

impl<'a> Seat<'a> {
    async fn take(attached: &'a Attached, core: &Core, attach: Attach) -> Result<(Self, Welcomed), Refused> {
        let who = (attach.caller.identity.clone(), attach.caller.instance.clone());
        let place = attached.place(&who);
        let mut current = place.lock().await;
        match core.submit(Command::Attach(attach)).await {
            Ok(Reply::Attached { holder, leases, predecessor, displaced }) => {
                *current += 1;
                let number = *current;
                drop(current);
                tracing::debug!(identity = %who.0, instance = %who.1, %holder, ?displaced, leases = leases.len(), "Attached.");
                Ok((Self { attached, who, place, number }, Welcomed { holder, leases, predecessor }))
            }
            answer => {
                drop(current);
                attached.tidy(&who, place);
                match answer {
                    Err(refused) => Err(refused),
                    Ok(reply) => {
                        tracing::error!(?reply, "The engine gave an attaching a wrong answer.");
                        Err(Refused::Overloaded)
                    }
                }
            }
        }
    }

    /// The stream is gone: its leases stand for their time to live. Said only where no other stream took its place.
    async fn leave(self, core: &Core, holder: HolderId) {
        let current = self.place.lock().await;
        if *current == self.number {
            detach(core, holder).await;
        }
        drop(current);
        self.attached.tidy(&self.who, self.place);
    }
}

/// Tells the core that a stream is gone, and again while it is overloaded: an application server that counts as attached
/// for ever would be told of nothing, and its waiting requests would keep their turn.
async fn detach(core: &Core, holder: HolderId) {
    const AGAIN_AFTER: Duration = Duration::from_millis(50);
    while let Err(Refused::Overloaded) = core.submit(Command::Detach(holder)).await {
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// The answers and events of one stream, and how it ends.
#[derive(Debug)]
pub(super) struct Answers {
    messages: mpsc::Receiver<v1::AttachResponse>,
    end: oneshot::Receiver<Status>,
}

impl Stream for Answers {
    type Item = Result<v1::AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.messages.poll_recv(context)) {
            Some(message) => Poll::Ready(Some(Ok(message))),
            // How it ends is said before the last sender goes.
            None => Poll::Ready(self.end.try_recv().ok().map(Err)),
        }
    }
}

/// Serves one stream until it ends. Its first word is the Hello.
pub(super) fn serve(
    core: Core,
    witness: Witness,
    attached: Arc<Attached>,
    installation_id: Arc<str>,
    known: Known,
    inbound: Streaming<v1::AttachRequest>,
) -> Answers {
    let (outbound, messages) = mpsc::channel(OUTBOUND);
    let (say_end, end) = oneshot::channel();
    tokio::spawn(async move {
        let ended = stream(&core, &witness, &attached, &installation_id, known, inbound, &outbound).await;
        if let Err(status) = ended {
            tracing::debug!(code = ?status.code(), message = status.message(), "A stream was ended.");
            // The reader may be gone.
            let _ = say_end.send(status);
        }
        drop(outbound);
    });
    Answers { messages, end }
}

async fn stream(
    core: &Core,
    witness: &Witness,
    attached: &Attached,
    installation_id: &str,
    known: Known,
    mut inbound: Streaming<v1::AttachRequest>,
    outbound: &mpsc::Sender<v1::AttachResponse>,
) -> Result<(), Status> {
    let first = tokio::time::timeout(HELLO_WITHIN, inbound.message())
        .await
        .map_err(|_| {
            status::failed(Code::DeadlineExceeded, "NO_HELLO", "The stream said no Hello for 10 s. Send it first.")
        })?
        .map_err(super::sizes::in_words)?;
    let Some(v1::AttachRequest { message: Some(v1::attach_request::Message::Hello(hello)), .. }) = first else {
        return Err(status::of_rule(malformed("hello", "it is missing; it must be the first message of a stream")));
    };
    let introduction = convert::hello(known, &hello).map_err(status::of_rule)?;
    let identity = introduction.attach.caller.identity.clone();
    // Before anything is granted to it: where this state is behind, numbers go on above what it has seen.
    witness.hear(&introduction.attach.caller, introduction.shown).await;
    let (seat, welcomed) =
        Seat::take(attached, core, introduction.attach).await.map_err(|refused| status::status(&refused))?;
    let holder = welcomed.holder;
    let events = core.subscribe(holder);
    let welcome = welcome(core, installation_id, welcomed).await;
    let mut session = session::Session::new(core, witness, holder, identity, introduction.watched, outbound);
    let end = session.run(welcome, inbound, events).await;
    seat.leave(core, holder).await;
    end.into_status()
}

async fn welcome(core: &Core, installation_id: &str, welcomed: Welcomed) -> v1::Welcome {
    // What wants attention is good to know, and no reason to refuse the stream where the core has too much to do.
    let notices = core.read(|engine, now| engine.status(now).notices).await.unwrap_or_default();
    v1::Welcome {
        installation_id: installation_id.to_owned(),
        lease_ids: welcomed.leases.iter().map(|lease| lease.0).collect(),
        predecessor_lease_ids: welcomed.predecessor.iter().map(|lease| lease.0).collect(),
        beat_every_ms: BEAT_EVERY_MS,
        notices: notices.into_iter().map(|(_, message)| message).collect(),
    }
}
