//! What goes over one attached stream: commands in, answers and events out, many at a time. No task, channel or lock is
//! made for a message; the core's answers come back by tag. How they are told is in `answers.rs`.

mod answers;

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use leasehold_engine::{
    command::{Command, Origin},
    ids::{HolderId, Identity, LeaseId, RequestId},
    refusal::Refusal,
};
use leasehold_keys::name::KeyName;
use leasehold_proto::v1::{
    self, acquire_answer::Outcome, attach_request::Message as Request, attach_response::Message as Response,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use super::pending::{Asked, Numbered, Pending};
use crate::{
    core::{Core, Cut, EventReceiver, Phase, Refused, ReplyReceiver, ReplySender, replies},
    grpc::{
        convert::{self, MOST_LEASES, leasing, malformed},
        sizes, status,
    },
    witness::{Said, Witness},
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
/// Leases of one stream that are being signed; no more is read from it until some are.
const MOST_TOKENS: usize = 256;
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
    witness: &'a Witness,
    holder: HolderId,
    identity: Identity,
    watched: Vec<KeyName>,
    outbound: &'a mpsc::Sender<v1::AttachResponse>,
    said: watch::Receiver<Option<Said>>,
    /// It is told what is said as soon as that goes up to here; else with its next beat.
    owed: Option<LeaseId>,
    /// Leases that are being signed.
    tokens: JoinSet<(RequestId, v1::Lease)>,
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
        witness: &'a Witness,
        holder: HolderId,
        identity: Identity,
        watched: Vec<KeyName>,
        outbound: &'a mpsc::Sender<v1::AttachResponse>,
    ) -> Self {
        // What was in hand may all come to wait while another batch is read.
        let (to, replies) = replies(2 * MOST_IN_HAND + MOST_WAITING + BATCH);
        Self {
            core,
            witness,
            said: witness.follow(),
            owed: Some(LeaseId(0)),
            tokens: JoinSet::new(),
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
            let room = self.pending.in_hand() < MOST_IN_HAND && self.tokens.len() < MOST_TOKENS;
            if !reading && self.pending.in_hand() == 0 && self.tokens.is_empty() {
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
                Some(signed) = self.tokens.join_next() => {
                    // A panic while signing has been told; the lease can be asked for again.
                    if let Ok((request, lease)) = signed {
                        let number = self.numbered.next(request);
                        self.acquired(request.0.to_vec(), Outcome::Lease(lease), number).await?;
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
                Ok(()) = self.said.changed(), if self.owed.is_some() => self.say().await?,
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
                let asked = Asked::Acquire { request: acquire.request, waits: false, sign: message.sign };
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
