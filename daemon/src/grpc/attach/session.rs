//! What goes over one attached stream: commands in, answers and events out, many at a time. No task, channel or lock is
//! made for a message; the core's answers come back by tag.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use leasehold_engine::{
    command::{Command, Origin},
    decision::{Reply, Told},
    ids::{HolderId, Identity, LeaseId, RequestId},
    refusal::Refusal,
};
use leasehold_keys::name::KeyName;
use leasehold_proto::v1::{
    self, acquire_answer::Outcome, attach_request::Message as Request, attach_response::Message as Response,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use super::pending::{Asked, Numbered, Pending};
use crate::{
    core::{Answer, Core, Cut, EventReceiver, Phase, Refused, ReplyReceiver, ReplySender, Tagged, replies},
    grpc::{
        convert::{self, MOST_LEASES, leasing, malformed},
        sizes, status,
    },
};

/// Messages and answers that are handled in one go.
const BATCH: usize = 256;
/// Commands of one stream that are being decided; no more is read from it until some are answered.
const MOST_IN_HAND: usize = 4_096;
/// Acquires of one stream that wait in the queue; more are refused.
const MOST_WAITING: usize = 12_288;
/// A stream that takes none of its answers for so long is cut.
const READER_GIVES_UP: Duration = Duration::from_secs(10);
/// Leases that one answer to a taking over carries in full, so that it stays below what clients take by default.
const MOST_IN_FULL: usize = 1_000;
/// How soon a renewal is tried again where the queue was full.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// The application server closed it, or its connection is gone.
    Closed,
    /// It did not take its answers or events.
    TooSlow,
    /// A newer stream of the same application server took its place.
    Displaced,
    /// The daemon stops.
    Stopped,
    /// It said something that no stream may say.
    Broken(Status),
}

impl End {
    pub(super) fn into_status(self) -> Result<(), Status> {
        match self {
            End::Closed => Ok(()),
            End::TooSlow => Err(status::failed(
                Code::ResourceExhausted,
                "READER_TOO_SLOW",
                "The stream was cut: it did not read what was sent to it. Its leases stand for their time to live; attach again \
                 with the same run ID and read without pause.",
            )),
            End::Displaced => Err(status::failed(
                Code::Aborted,
                "DISPLACED",
                "Another stream of the same identity and instance has attached in place of this one. Where two processes are to be \
                 attached at once, give each its own instance.",
            )),
            End::Stopped => Err(status::status(&Refused::Draining)),
            End::Broken(status) => Err(status),
        }
    }
}

/// One attached stream.
pub(super) struct Session<'a> {
    core: &'a Core,
    holder: HolderId,
    identity: Identity,
    watched: Vec<KeyName>,
    outbound: &'a mpsc::Sender<v1::AttachResponse>,
    to: ReplySender,
    replies: ReplyReceiver,
    pending: Pending,
    numbered: Numbered,
    /// All answers up to this one have arrived.
    arrived: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        core: &'a Core,
        holder: HolderId,
        identity: Identity,
        watched: Vec<KeyName>,
        outbound: &'a mpsc::Sender<v1::AttachResponse>,
    ) -> Self {
        // What was in hand may all come to wait while another batch is read.
        let (to, replies) = replies(2 * MOST_IN_HAND + MOST_WAITING + BATCH);
        Self {
            core,
            holder,
            identity,
            watched,
            outbound,
            to,
            replies,
            pending: Pending::default(),
            numbered: Numbered::default(),
            arrived: 0,
        }
    }

    pub(super) async fn run(
        &mut self,
        welcome: v1::Welcome,
        inbound: Streaming<v1::AttachRequest>,
        events: EventReceiver,
    ) -> End {
        match self.serve(welcome, inbound, events).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn serve(
        &mut self,
        welcome: v1::Welcome,
        mut inbound: Streaming<v1::AttachRequest>,
        mut events: EventReceiver,
    ) -> Result<(), End> {
        self.send(Response::Welcome(welcome), 0).await?;
        let mut phase = self.core.phase();
        let (mut draining, mut reading) = (false, true);
        let mut messages = Vec::with_capacity(BATCH);
        let mut answers = Vec::with_capacity(BATCH);
        let mut told = Vec::new();
        loop {
            let room = self.pending.in_hand() < MOST_IN_HAND;
            if !reading && self.pending.in_hand() == 0 {
                return Ok(());
            }
            tokio::select! {
                biased;
                count = self.replies.recv_many(&mut answers, BATCH) => {
                    if count == 0 {
                        return Err(End::Stopped);
                    }
                    for tagged in answers.drain(..) {
                        self.answer(tagged).await?;
                    }
                }
                cut = events.recv(&mut told) => {
                    match cut {
                        Ok(()) => {}
                        Err(Cut::TooSlow) => return Err(End::TooSlow),
                        Err(Cut::Displaced) => return Err(End::Displaced),
                        Err(Cut::Stopped) => return Err(End::Stopped),
                    }
                    for told in told.drain(..) {
                        self.tell(&told).await?;
                    }
                }
                () = drain_of(&mut phase), if !draining => {
                    draining = true;
                    let drain = v1::Drain { message: "The server is stopping. Attach to another, or here when it is back.".to_owned() };
                    self.event(v1::event::Event::Drain(drain)).await?;
                }
                more = next_batch(&mut inbound, &mut messages), if reading && room => {
                    for message in messages.drain(..) {
                        self.hear(message).await?;
                    }
                    self.acknowledge()?;
                    match more {
                        Ok(more) => reading = more,
                        Err(fault) => return Err(End::Broken(sizes::in_words(fault))),
                    }
                }
                () = self.outbound.closed() => return Ok(()),
            }
        }
    }

    // ---- in

    async fn hear(&mut self, message: v1::AttachRequest) -> Result<(), End> {
        self.arrived = self.arrived.max(message.answers_received);
        let from = Origin::Stream(self.holder);
        match message.message {
            // A bare acknowledgement.
            None if message.answers_received > 0 => Ok(()),
            None => Err(broken("message", "it is empty, or of a kind that this server does not know")),
            Some(Request::Hello(_)) => {
                Err(broken("hello", "it came twice; it is the first message of a stream, and no other"))
            }
            Some(Request::Acquire(acquire)) => self.acquire(from, acquire).await,
            Some(Request::Release(release)) => self.release(from, release).await,
            Some(Request::Beat(beat)) => self.beat(beat.number).await,
            Some(Request::CancelWait(cancel)) => {
                // Whatever comes of it is told by the answer to the acquire. A cancel of something that is no request is
                // nothing to answer to.
                let Ok(request) = convert::request_id("cancel_wait.request_id", &cancel.request_id) else {
                    return Ok(());
                };
                self.insist(Command::CancelWait { from, request }, Asked::Quiet).await
            }
            Some(Request::SetIdle(idle)) => self.set_idle(from, idle).await,
            Some(Request::TakeOver(take)) => self.take_over(take).await,
        }
    }

    async fn acquire(&mut self, from: Origin, message: v1::AcquireRequest) -> Result<(), End> {
        let refused = match leasing::acquire(from, &message) {
            Err(refusal) => Refused::Rule(refusal),
            Ok(acquire) if acquire.wait_ms > 0 && self.pending.waiting() >= MOST_WAITING => {
                tracing::debug!(identity = %self.identity, "An acquire was refused: too many of this stream wait.");
                Refused::Rule(Refusal::Overloaded {
                    what: "waiting requests of one stream".into(),
                    most: MOST_WAITING as u64,
                    retry_after_ms: 1_000,
                })
            }
            Ok(acquire) => {
                let asked = Asked::Acquire { request: acquire.request, waits: false };
                match self.submit(Command::Acquire(Box::new(acquire)), asked) {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                }
            }
        };
        self.acquired(echoed(message.request_id), Outcome::Refusal(status::wire_of(&refused)), 0).await
    }

    async fn release(&mut self, from: Origin, message: v1::ReleaseRequest) -> Result<(), End> {
        let checked = convert::request_id("request_id", &message.request_id)
            .and_then(|request| Ok((request, leasing::release(from, Some(request), &message)?)));
        let refused = match checked {
            Err(refusal) => Refused::Rule(refusal),
            Ok((request, release)) => match self.submit(Command::Release(release), Asked::Release(request)) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
        };
        let answer = v1::ReleaseAnswer {
            request_id: echoed(message.request_id),
            outcomes: Vec::new(),
            refusal: Some(status::wire_of(&refused)),
        };
        self.send(Response::Released(answer), 0).await
    }

    /// A renewal must not be lost because others ask for too much: it is tried until the queue takes it.
    async fn beat(&mut self, number: u64) -> Result<(), End> {
        loop {
            match self.submit(Command::Beat(self.holder), Asked::Beat(number)) {
                Ok(()) => return Ok(()),
                Err(Refused::Overloaded) => tokio::time::sleep(AGAIN_AFTER).await,
                Err(refused) => return self.beat_refused(number, &refused).await,
            }
        }
    }

    async fn set_idle(&mut self, from: Origin, message: v1::SetIdleRequest) -> Result<(), End> {
        let checked = convert::request_id("request_id", &message.request_id)
            .and_then(|request| Ok((request, convert::some_lease_ids("lease_ids", &message.lease_ids)?)));
        let refused = match checked {
            Err(refusal) => Refused::Rule(refusal),
            Ok((request, leases)) => {
                match self.submit(Command::SetIdle { from, leases, idle: message.idle }, Asked::SetIdle(request)) {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                }
            }
        };
        self.idle_refused(echoed(message.request_id), &refused).await
    }

    async fn take_over(&mut self, message: v1::TakeOver) -> Result<(), End> {
        let checked = convert::request_id("request_id", &message.request_id)
            .and_then(|request| Ok((request, convert::lease_ids("lease_ids", &message.lease_ids)?)));
        let refused = match checked {
            Err(refusal) => Refused::Rule(refusal),
            Ok((request, leases)) => {
                match self.submit(Command::TakeOver { holder: self.holder, leases }, Asked::TakeOver(request)) {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                }
            }
        };
        self.take_over_refused(echoed(message.request_id), &refused).await
    }

    /// Tells the engine which answers need not be remembered. Where the queue is full, the next message brings it again.
    fn acknowledge(&mut self) -> Result<(), End> {
        while self.numbered.has(self.arrived) && self.core.queued() < MOST_IN_HAND {
            let requests = self.numbered.received(self.arrived, MOST_LEASES);
            let command = Command::AnswersReceived { holder: self.holder, requests };
            match self.submit(command, Asked::Quiet) {
                // They are forgotten by their age then.
                Ok(()) | Err(Refused::Overloaded | Refused::StorageUnavailable(_) | Refused::Rule(_)) => {}
                Err(Refused::Starting | Refused::Draining) => return Err(End::Stopped),
            }
        }
        Ok(())
    }

    fn submit(&mut self, command: Command, asked: Asked) -> Result<(), Refused> {
        let tag = self.pending.insert(asked);
        self.core.submit_to(command, &self.to, tag).inspect_err(|_| {
            self.pending.take(tag);
        })
    }

    /// For what must not be lost because others ask for too much: tried until the queue takes it. Nothing is read from this
    /// stream meanwhile.
    async fn insist(&mut self, command: Command, asked: Asked) -> Result<(), End> {
        loop {
            match self.submit(command.clone(), asked.clone()) {
                Ok(()) => return Ok(()),
                Err(Refused::Overloaded) => tokio::time::sleep(AGAIN_AFTER).await,
                Err(
                    refused @ (Refused::Starting
                    | Refused::Draining
                    | Refused::StorageUnavailable(_)
                    | Refused::Rule(_)),
                ) => {
                    return Err(End::Broken(status::status(&refused)));
                }
            }
        }
    }

    // ---- out

    async fn answer(&mut self, tagged: Tagged) -> Result<(), End> {
        let Tagged { tag, answer } = tagged;
        if let Ok(Answer::Reply(Reply::Ticketed { waiting })) = &answer {
            let Some((position, pools)) = waiting else { return Ok(()) };
            let Some(request) = self.pending.now_waits(tag) else { return Ok(()) };
            tracing::debug!(identity = %self.identity, position, "An acquire waits.");
            return self.acquired(request.0.to_vec(), Outcome::Waiting(leasing::waiting(*position, pools)), 0).await;
        }
        let Some(asked) = self.pending.take(tag) else { return Ok(()) };
        match (asked, answer) {
            (Asked::Quiet, _) => Ok(()),
            (Asked::Acquire { request, .. }, Ok(Answer::Lease(lease))) => {
                tracing::debug!(identity = %self.identity, lease = %lease.id, "Granted.");
                let number = self.numbered.next(request);
                self.acquired(request.0.to_vec(), Outcome::Lease(leasing::lease(&lease)), number).await
            }
            (Asked::Acquire { request, .. }, Err(refused)) => {
                tracing::debug!(identity = %self.identity, refusal = %refused, "Refused.");
                self.acquired(request.0.to_vec(), Outcome::Refusal(status::wire_of(&refused)), 0).await
            }
            (Asked::Release(request), Ok(Answer::Reply(Reply::Released(outcomes)))) => {
                tracing::debug!(identity = %self.identity, leases = outcomes.len(), "Released.");
                let number = self.number(request, outcomes.iter().any(|outcome| outcome.result.is_ok()));
                let outcomes = leasing::release_outcomes(&outcomes);
                let answer = v1::ReleaseAnswer { request_id: request.0.to_vec(), outcomes, refusal: None };
                self.send(Response::Released(answer), number).await
            }
            (Asked::Release(request), Err(refused)) => {
                let refusal = Some(status::wire_of(&refused));
                let answer = v1::ReleaseAnswer { request_id: request.0.to_vec(), outcomes: Vec::new(), refusal };
                self.send(Response::Released(answer), 0).await
            }
            (Asked::Beat(number), Ok(Answer::Reply(Reply::Beaten(renewed)))) => {
                self.send(Response::Beat(v1::BeatAnswer { number, renewed, refusal: None }), 0).await
            }
            (Asked::Beat(number), Err(refused)) => self.beat_refused(number, &refused).await,
            (Asked::SetIdle(request), Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                let number = self.number(request, outcomes.iter().any(|(_, result)| result.is_ok()));
                let outcomes = leasing::lease_outcomes(&outcomes);
                let answer = v1::SetIdleAnswer { request_id: request.0.to_vec(), outcomes, refusal: None };
                self.send(Response::IdleSet(answer), number).await
            }
            (Asked::SetIdle(request), Err(refused)) => self.idle_refused(request.0.to_vec(), &refused).await,
            (Asked::TakeOver(request), Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                self.taken_over(request, &outcomes).await
            }
            (Asked::TakeOver(request), Err(refused)) => self.take_over_refused(request.0.to_vec(), &refused).await,
            (asked, Ok(answer)) => {
                tracing::error!(?asked, ?answer, "The engine gave a wrong answer.");
                Err(End::Broken(Status::internal("The server made a mistake; its log tells which. Attach again.")))
            }
        }
    }

    /// What was taken over, with the leases as they are now: the new run has never seen them.
    async fn taken_over(&mut self, request: RequestId, outcomes: &[(LeaseId, Result<(), Refusal>)]) -> Result<(), End> {
        let taken: Vec<LeaseId> =
            outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(id, _)| *id).take(MOST_IN_FULL).collect();
        let (holder, number) = (self.holder, self.number(request, !taken.is_empty()));
        let question = move |engine: &leasehold_engine::Engine, now| {
            engine.leases_of_run(now, holder, &taken).iter().map(leasing::lease).collect::<Vec<_>>()
        };
        let leases = match self.core.read(question).await {
            Ok(leases) => leases,
            // They are taken over all the same; asked again it is told again.
            Err(refused) => return self.take_over_refused(request.0.to_vec(), &refused).await,
        };
        let outcomes = leasing::lease_outcomes(outcomes);
        let answer = v1::TakeOverAnswer { request_id: request.0.to_vec(), outcomes, refusal: None, leases };
        self.send(Response::TakenOver(answer), number).await
    }

    async fn beat_refused(&mut self, number: u64, refused: &Refused) -> Result<(), End> {
        let refusal = Some(status::wire_of(refused));
        self.send(Response::Beat(v1::BeatAnswer { number, renewed: 0, refusal }), 0).await?;
        match refused {
            // The server is in trouble, and that passes: the leases stand for their time to live.
            Refused::Overloaded | Refused::StorageUnavailable(_) | Refused::Starting | Refused::Draining => Ok(()),
            // A holder whose beats are refused is attached no more: it is to attach again.
            Refused::Rule(_) => Err(End::Broken(status::status(refused))),
        }
    }

    async fn idle_refused(&mut self, request_id: Vec<u8>, refused: &Refused) -> Result<(), End> {
        let refusal = Some(status::wire_of(refused));
        self.send(Response::IdleSet(v1::SetIdleAnswer { request_id, outcomes: Vec::new(), refusal }), 0).await
    }

    async fn take_over_refused(&mut self, request_id: Vec<u8>, refused: &Refused) -> Result<(), End> {
        let answer =
            v1::TakeOverAnswer { request_id, refusal: Some(status::wire_of(refused)), ..v1::TakeOverAnswer::default() };
        self.send(Response::TakenOver(answer), 0).await
    }

    fn number(&mut self, request: RequestId, changed: bool) -> u64 {
        if changed { self.numbered.next(request) } else { 0 }
    }

    async fn tell(&mut self, told: &Told) -> Result<(), End> {
        if let Some(event) = leasing::told(told) {
            return self.event(event).await;
        }
        // Told::SiteKeysChanged: the keys as they are now.
        let watched = self.watched.clone();
        let keys = self
            .core
            .read(move |engine, now| {
                if watched.is_empty() {
                    return engine
                        .site_keys(now, &[])
                        .unwrap_or_default()
                        .iter()
                        .map(leasing::site_key)
                        .collect::<Vec<_>>();
                }
                // One by one, so that a key which the present files do not define does not hide the others.
                let one = |key: &KeyName| match engine.site_keys(now, std::slice::from_ref(key)) {
                    Ok(views) => views.iter().map(leasing::site_key).collect(),
                    Err(refusal) => vec![leasing::unknown_site_key(key, &refusal)],
                };
                watched.iter().flat_map(one).collect()
            })
            .await;
        match keys {
            Ok(keys) => self.event(v1::event::Event::SiteKeysChanged(v1::SiteKeysChanged { keys })).await,
            // It attaches again and asks anew, rather than believe what is old.
            Err(refused) => Err(End::Broken(status::status(&refused))),
        }
    }

    async fn event(&mut self, event: v1::event::Event) -> Result<(), End> {
        self.send(Response::Event(v1::Event { event: Some(event) }), 0).await
    }

    async fn acquired(&mut self, request_id: Vec<u8>, outcome: Outcome, number: u64) -> Result<(), End> {
        self.send(Response::Acquired(v1::AcquireAnswer { request_id, outcome: Some(outcome) }), number).await
    }

    async fn send(&mut self, message: Response, answer_number: u64) -> Result<(), End> {
        let message = v1::AttachResponse { answer_number, message: Some(message) };
        match self.outbound.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::Closed),
            Err(mpsc::error::TrySendError::Full(message)) => {
                match tokio::time::timeout(READER_GIVES_UP, self.outbound.send(message)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Closed),
                    Err(_) => Err(End::TooSlow),
                }
            }
        }
    }
}

/// Waits for messages and takes all that have arrived, up to a batch. False at the end of the stream. Safe to cancel.
async fn next_batch(
    inbound: &mut Streaming<v1::AttachRequest>,
    into: &mut Vec<v1::AttachRequest>,
) -> Result<bool, Status> {
    poll_fn(|context| {
        while into.len() < BATCH {
            match Pin::new(&mut *inbound).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => into.push(message),
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(None) => return Poll::Ready(Ok(false)),
                Poll::Pending if into.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(true)),
            }
        }
        Poll::Ready(Ok(true))
    })
    .await
}

/// Ready when the daemon drains, or its core is gone.
async fn drain_of(phase: &mut watch::Receiver<Phase>) {
    // The guard on the value must not outlive this line: it would block whoever changes the phase.
    drop(phase.wait_for(|phase| *phase == Phase::Draining).await);
}

fn broken(field: &'static str, fault: &str) -> End {
    End::Broken(status::of_rule(malformed(field, fault)))
}

/// A request ID as it came, where it could be one.
fn echoed(request_id: Vec<u8>) -> Vec<u8> {
    if request_id.len() <= 16 { request_id } else { Vec::new() }
}
