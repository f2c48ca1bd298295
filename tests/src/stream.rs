//! An attached application server: one stream, on which requests are pipelined and events come unasked.

use std::collections::VecDeque;

use leasehold_proto::v1::{
    self, acquire_answer::Outcome, attach_request::Message as Out, attach_response::Message as In, event::Event,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};
use uuid::Uuid;

use crate::{App, Ask, Refused, app, within};

/// A stream. Dropping it cuts it.
pub struct Attached {
    to: mpsc::Sender<v1::AttachRequest>,
    from: Streaming<v1::AttachResponse>,
    /// Heard and not yet asked for.
    heard: VecDeque<v1::AttachResponse>,
    /// How the daemon received it.
    pub welcome: v1::Welcome,
    /// The process that it says it is.
    pub run_id: Vec<u8>,
    /// The highest answer number that it has seen.
    pub answers: u64,
}

impl Attached {
    /// Attaches as a new process.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn open(app: &App) -> Result<Self, Refused> {
        Self::open_as(app, Uuid::new_v4().as_bytes().to_vec()).await
    }

    /// Attaches as this process (again).
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn open_as(app: &App, run_id: Vec<u8>) -> Result<Self, Refused> {
        Self::open_showing(app, run_id, Vec::new()).await
    }

    /// Attaches as this process, and shows what it keeps of what installations have said.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn open_showing(app: &App, run_id: Vec<u8>, witnesses: Vec<v1::Witness>) -> Result<Self, Refused> {
        let hello =
            v1::Hello { caller: Some(app.caller.clone()), run_id: run_id.clone(), witnesses, ..v1::Hello::default() };
        let (to, outgoing) = mpsc::channel(1_024);
        let send = to.send(v1::AttachRequest { message: Some(Out::Hello(hello)), ..Default::default() });
        send.await.expect("the stream takes it");
        let answer = within("the stream", app.leasing.clone().attach(ReceiverStream::new(outgoing))).await?;
        let mut from = answer.into_inner();
        let first = within("the welcome", from.message()).await?;
        let Some(v1::AttachResponse { message: Some(In::Welcome(welcome)), .. }) = first else {
            panic!("the first word is not the welcome but {first:?}");
        };
        Ok(Self { to, from, heard: VecDeque::new(), welcome, run_id, answers: 0 })
    }

    /// Over a connection, under a name.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn over(channel: Channel, name: &str) -> Result<Self, Refused> {
        Self::open(&App::new(channel, name)).await
    }

    /// Sends a message.
    pub async fn send(&self, message: Out) {
        let request = v1::AttachRequest { message: Some(message), answers_received: 0 };
        self.to.send(request).await.expect("the stream takes it");
    }

    /// Says which answers have arrived.
    pub async fn acknowledge(&self, upto: u64) {
        let beat = Out::Beat(v1::Beat { number: 0 });
        let request = v1::AttachRequest { message: Some(beat), answers_received: upto };
        self.to.send(request).await.expect("the stream takes it");
    }

    /// The next message of which `pick` makes something; others are kept for later.
    ///
    /// # Errors
    /// How the stream ended, where it ended before.
    pub async fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&In) -> Option<T>) -> Result<T, Refused> {
        let kept = self.heard.iter().enumerate();
        let found = kept.filter_map(|(at, heard)| Some((at, pick(heard.message.as_ref()?)?))).next();
        if let Some((at, found)) = found {
            self.heard.remove(at);
            return Ok(found);
        }
        loop {
            let message = within(what, self.from.message()).await?;
            let message = message.unwrap_or_else(|| panic!("{what}: the stream ended before"));
            self.answers = self.answers.max(message.answer_number);
            match message.message.as_ref().and_then(&mut pick) {
                Some(found) => return Ok(found),
                None => self.heard.push_back(message),
            }
        }
    }

    /// Asks for a lease and waits for the outcome.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn acquire(&mut self, ask: Ask) -> Result<v1::Lease, Refused> {
        let id = ask.id();
        self.send(Out::Acquire(ask.0)).await;
        self.outcome(&id).await
    }

    /// Asks for a lease that has to be waited for, and waits until the request is in the queue.
    ///
    /// # Errors
    /// What the daemon refuses at once.
    pub async fn enqueue(&mut self, ask: Ask) -> Result<v1::Waiting, Refused> {
        let id = ask.id();
        self.send(Out::Acquire(ask.0)).await;
        let answer = self.find("a place in the queue", |message| match message {
            In::Acquired(answer) if answer.request_id == id => answer.outcome.clone(),
            _ => None,
        });
        match answer.await? {
            Outcome::Waiting(waiting) => Ok(waiting),
            Outcome::Refusal(refusal) => Err(refusal.into()),
            Outcome::Lease(lease) => panic!("granted at once: {lease:?}"),
        }
    }

    /// Waits for the outcome of a request.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub async fn outcome(&mut self, id: &[u8]) -> Result<v1::Lease, Refused> {
        let answer = self.find("an outcome", |message| match message {
            In::Acquired(answer) if answer.request_id == id => match &answer.outcome {
                Some(Outcome::Waiting(_)) | None => None,
                outcome => outcome.clone(),
            },
            _ => None,
        });
        match answer.await? {
            Outcome::Lease(lease) => Ok(lease),
            Outcome::Refusal(refusal) => Err(refusal.into()),
            Outcome::Waiting(_) => unreachable!("left out above"),
        }
    }

    /// Gives leases back; what became of each.
    ///
    /// # Errors
    /// Where the request as a whole is refused.
    pub async fn release(&mut self, leases: &[u64]) -> Result<Vec<Result<(), Refused>>, Refused> {
        let id = Uuid::new_v4().as_bytes().to_vec();
        let release = v1::ReleaseRequest { request_id: id.clone(), lease_ids: leases.to_vec(), ..Default::default() };
        self.send(Out::Release(release)).await;
        let answer = self.find("a release's answer", |message| match message {
            In::Released(answer) if answer.request_id == id => Some(answer.clone()),
            _ => None,
        });
        let answer = answer.await?;
        app::done(answer.refusal)?;
        Ok(answer.outcomes.into_iter().map(|outcome| app::done(outcome.refusal)).collect())
    }

    /// Renews everything; how many leases that were.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn beat(&mut self) -> Result<u64, Refused> {
        let number = u64::from(Uuid::new_v4().as_fields().0) + 1;
        self.send(Out::Beat(v1::Beat { number })).await;
        self.find("a beat's answer", |message| match message {
            In::Beat(answer) if answer.number == number => Some(answer.renewed),
            _ => None,
        })
        .await
    }

    /// Takes over leases of the run before; none named: all.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn take_over(&mut self, leases: &[u64]) -> Result<Vec<(u64, Result<(), Refused>)>, Refused> {
        let id = Uuid::new_v4().as_bytes().to_vec();
        self.send(Out::TakeOver(v1::TakeOver { request_id: id.clone(), lease_ids: leases.to_vec() })).await;
        let answer = self.find("a take-over's answer", |message| match message {
            In::TakenOver(answer) if answer.request_id == id => Some(answer.outcomes.clone()),
            _ => None,
        });
        Ok(answer.await?.into_iter().map(|outcome| (outcome.lease_id, app::done(outcome.refusal))).collect())
    }

    /// What the installation says of how far it had come, once that goes up to this lease at least.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn said(&mut self, lease: u64) -> Result<v1::Witness, Refused> {
        self.find("a statement", |message| match message {
            In::Witness(said) if said.lease_id >= lease => Some(said.clone()),
            _ => None,
        })
        .await
    }

    /// The next event of which `pick` makes something.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn event<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> Result<T, Refused> {
        self.find(what, |message| match message {
            In::Event(v1::Event { event: Some(event) }) => pick(event),
            _ => None,
        })
        .await
    }

    /// The reason for which this lease ended, once it is told.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn end_of(&mut self, lease: u64) -> Result<v1::LeaseEnded, Refused> {
        self.event("the end of a lease", |event| match event {
            Event::LeaseEnded(ended) if ended.lease_id == lease => Some(ended.clone()),
            _ => None,
        })
        .await
    }

    /// The next warning about this lease.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn warning_of(&mut self, lease: u64) -> Result<v1::LeaseWarned, Refused> {
        self.event("a warning", |event| match event {
            Event::LeaseWarned(warned) if warned.lease_id == lease => Some(warned.clone()),
            _ => None,
        })
        .await
    }
}
