//! A license server that does what a test tells it, message by message, on a Unix socket in a folder of its own.
//!
//! It decides nothing and remembers nothing: every answer is the test's.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use leasehold_client::{Client, ClientBuilder, Endpoint};
use leasehold_proto::v1::{
    self,
    acquire_answer::Outcome,
    attach_request::Message,
    attach_response, event,
    leasing_server::{Leasing, LeasingServer},
};
use tokio::{net::UnixListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport};
use tonic_types::{ErrorDetails, StatusExt};

/// Nothing in these tests takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(10);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen"),
    }
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for sockets")
}

pub(crate) fn endpoint(folder: &tempfile::TempDir, name: &str) -> Endpoint {
    Endpoint::unix(folder.path().join(name)).expect("a short path")
}

pub(crate) fn client(servers: impl IntoIterator<Item = Endpoint>) -> ClientBuilder {
    Client::builder().servers(servers).name("acd-server-2").application("Interaction Desktop")
}

/// Answers that the test prepared for unary calls.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) site_keys: Vec<v1::SiteKey>,
    /// What a renewal says of a lease; others are renewed.
    pub(crate) renewals: BTreeMap<u64, v1::Refusal>,
    /// Given to `Explain` and `Entitlements` in turn before an empty answer.
    pub(crate) failures: VecDeque<Status>,
}

pub(crate) struct Server {
    /// A runtime of its own, so that a crash takes its connections along.
    runtime: Option<Runtime>,
    attaches: mpsc::UnboundedReceiver<Attach>,
    pub(crate) prepared: Arc<Mutex<Prepared>>,
}

/// A stream that a client opened, in the hands of the test.
pub(crate) struct Attach {
    pub(crate) hello: v1::Hello,
    pub(crate) acknowledged: u64,
    /// Beats are answered by `next` unless this is set.
    pub(crate) is_mute: bool,
    requests: Streaming<v1::AttachRequest>,
    answers: Option<mpsc::UnboundedSender<Result<v1::AttachResponse, Status>>>,
    answered: u64,
}

impl Server {
    pub(crate) fn start(endpoint: &Endpoint) -> Self {
        let path = endpoint.socket_path().expect("a socket").to_owned();
        Self::listen(&path)
    }

    fn listen(path: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (opened, attaches) = mpsc::unbounded_channel();
        let prepared = Arc::new(Mutex::new(Prepared::default()));
        let script = Script { opened, prepared: Arc::clone(&prepared) };
        let _entered = runtime.enter();
        // What a crashed server left behind.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("a socket");
        let serving = transport::Server::builder()
            .add_service(LeasingServer::new(script))
            .serve_with_incoming(UnixListenerStream::new(listener));
        drop(runtime.spawn(serving));
        Self { runtime: Some(runtime), attaches, prepared }
    }

    /// The next client that attaches.
    pub(crate) async fn attach(&mut self) -> Attach {
        soon("a client attaches", self.attaches.recv()).await.expect("the server runs")
    }

    /// The next client that attaches, accepted with these leases.
    pub(crate) async fn welcome(&mut self, leases: &[u64]) -> Attach {
        let mut attach = self.attach().await;
        attach.welcome(leases);
        attach
    }

    /// Whether a client attached that the test has not taken yet.
    pub(crate) fn has_been_asked(&mut self) -> bool {
        !self.attaches.is_empty()
    }

    /// Ends at once, with every connection.
    pub(crate) fn crash(mut self) {
        self.runtime.take().expect("still there").shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Attach {
    fn send(&mut self, message: attach_response::Message, answer_number: u64) {
        let response = v1::AttachResponse { message: Some(message), answer_number };
        let answers = self.answers.as_ref().expect("the stream is open");
        // The client may have gone: that is its right.
        let _ = answers.send(Ok(response));
    }

    pub(crate) fn welcome(&mut self, leases: &[u64]) {
        let welcome = v1::Welcome {
            installation_id: "test-installation".to_owned(),
            lease_ids: leases.to_vec(),
            beat_every_ms: 60_000,
            ..v1::Welcome::default()
        };
        self.send(attach_response::Message::Welcome(welcome), 0);
    }

    /// Accepts a new run, whose predecessor left these leases.
    pub(crate) fn welcome_after(&mut self, predecessor: &[u64]) {
        let welcome = v1::Welcome {
            predecessor_lease_ids: predecessor.to_vec(),
            beat_every_ms: 60_000,
            ..v1::Welcome::default()
        };
        self.send(attach_response::Message::Welcome(welcome), 0);
    }

    pub(crate) async fn next_take_over(&mut self) -> v1::TakeOver {
        match self.next().await {
            Message::TakeOver(take_over) => take_over,
            other => panic!("not a taking over: {other:?}"),
        }
    }

    pub(crate) fn taken_over(&mut self, request: &v1::TakeOver, leases: Vec<v1::Lease>) {
        self.answered += 1;
        let answer = v1::TakeOverAnswer {
            request_id: request.request_id.clone(),
            outcomes: leases.iter().map(|lease| v1::LeaseOutcome { lease_id: lease.lease_id, refusal: None }).collect(),
            refusal: None,
            leases,
        };
        self.send(attach_response::Message::TakenOver(answer), self.answered);
    }

    pub(crate) fn take_over_answered(&mut self, answer: v1::TakeOverAnswer) {
        self.send(attach_response::Message::TakenOver(answer), 0);
    }

    /// Refuses the client, or ends the stream, with this status.
    pub(crate) fn fail(mut self, status: Status) {
        let answers = self.answers.take().expect("the stream is open");
        let _ = answers.send(Err(status));
    }

    /// The next message that is not a beat; nothing where the client has closed its half.
    pub(crate) async fn next_or_end(&mut self) -> Option<Message> {
        loop {
            let request = soon("the client sends something", self.requests.message()).await.ok()??;
            self.acknowledged = request.answers_received;
            match request.message.expect("a message") {
                Message::Beat(beat) => {
                    if !self.is_mute {
                        let answer = v1::BeatAnswer { number: beat.number, renewed: 0, refusal: None };
                        self.send(attach_response::Message::Beat(answer), 0);
                    }
                }
                other => return Some(other),
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Message {
        self.next_or_end().await.expect("the client has not closed its half")
    }

    pub(crate) async fn next_acquire(&mut self) -> v1::AcquireRequest {
        match self.next().await {
            Message::Acquire(acquire) => acquire,
            other => panic!("not an acquire: {other:?}"),
        }
    }

    pub(crate) async fn next_release(&mut self) -> v1::ReleaseRequest {
        match self.next().await {
            Message::Release(release) => release,
            other => panic!("not a release: {other:?}"),
        }
    }

    pub(crate) fn acquired(&mut self, request_id: &[u8], outcome: Outcome) {
        let number = match &outcome {
            Outcome::Lease(_) => {
                self.answered += 1;
                self.answered
            }
            Outcome::Refusal(_) | Outcome::Waiting(_) => 0,
        };
        let answer = v1::AcquireAnswer { request_id: request_id.to_vec(), outcome: Some(outcome) };
        self.send(attach_response::Message::Acquired(answer), number);
    }

    pub(crate) fn grant(&mut self, acquire: &v1::AcquireRequest, lease_id: u64) {
        self.acquired(&acquire.request_id, Outcome::Lease(lease(acquire, lease_id)));
    }

    pub(crate) fn refuse(&mut self, acquire: &v1::AcquireRequest, refusal: v1::Refusal) {
        self.acquired(&acquire.request_id, Outcome::Refusal(refusal));
    }

    pub(crate) fn released(&mut self, release: &v1::ReleaseRequest) {
        self.answered += 1;
        let outcomes = release
            .lease_ids
            .iter()
            .map(|lease_id| v1::ReleaseOutcome { lease_id: *lease_id, ..v1::ReleaseOutcome::default() })
            .collect();
        let request_id = release.request_id.clone();
        let answer = v1::ReleaseAnswer { request_id, outcomes, refusal: None };
        self.send(attach_response::Message::Released(answer), self.answered);
    }

    pub(crate) fn idle_set(&mut self, request: &v1::SetIdleRequest, refusal: Option<v1::Refusal>) {
        let outcomes = request.lease_ids.iter().map(|id| v1::LeaseOutcome { lease_id: *id, refusal: refusal.clone() });
        let request_id = request.request_id.clone();
        let answer = v1::SetIdleAnswer { request_id, outcomes: outcomes.collect(), refusal: None };
        self.send(attach_response::Message::IdleSet(answer), 0);
    }

    pub(crate) fn say(&mut self, witness: v1::Witness) {
        self.send(attach_response::Message::Witness(witness), 0);
    }

    pub(crate) fn tell(&mut self, event: event::Event) {
        self.send(attach_response::Message::Event(v1::Event { event: Some(event) }), 0);
    }
}

/// A live lease, as asked for.
pub(crate) fn lease(acquire: &v1::AcquireRequest, lease_id: u64) -> v1::Lease {
    let user = match &acquire.subject {
        Some(v1::acquire_request::Subject::Logon(logon)) => logon.user.clone(),
        _ => String::new(),
    };
    v1::Lease {
        lease_id,
        state: v1::LeaseState::Live.into(),
        user,
        ttl_ms: if acquire.ttl_ms == 0 { 60_000 } else { acquire.ttl_ms },
        ..v1::Lease::default()
    }
}

pub(crate) fn refusal(code: Code, reason: &str) -> v1::Refusal {
    v1::Refusal {
        code: code.into(),
        reason: reason.to_owned(),
        message: format!("Refused by the script: {reason}."),
        ..v1::Refusal::default()
    }
}

/// A refusal as unary calls give it.
pub(crate) fn status(code: Code, reason: &str) -> Status {
    let facts = HashMap::from([("pool".to_owned(), "P".to_owned())]);
    let details = ErrorDetails::with_error_info(reason, leasehold_proto::ERROR_DOMAIN, facts);
    Status::with_error_details(code, format!("Refused by the script: {reason}."), details)
}

struct Script {
    opened: mpsc::UnboundedSender<Attach>,
    prepared: Arc<Mutex<Prepared>>,
}

impl Script {
    fn failure(&self) -> Result<(), Status> {
        self.prepared.lock().expect("whole").failures.pop_front().map_or(Ok(()), Err)
    }
}

#[tonic::async_trait]
impl Leasing for Script {
    type AttachStream = UnboundedReceiverStream<Result<v1::AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut requests = request.into_inner();
        let Some(v1::AttachRequest { message: Some(Message::Hello(hello)), .. }) = requests.message().await? else {
            return Err(Status::invalid_argument("the first message is not a hello"));
        };
        let (answers, stream) = mpsc::unbounded_channel();
        let attach = Attach { hello, acknowledged: 0, is_mute: false, requests, answers: Some(answers), answered: 0 };
        let _ = self.opened.send(attach);
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn sign_leases(
        &self,
        request: Request<v1::SignLeasesRequest>,
    ) -> Result<Response<v1::SignLeasesResponse>, Status> {
        self.failure()?;
        let refusal = Some(refusal(Code::NotFound, "LEASE_UNKNOWN"));
        let one = |lease_id| v1::SignedLease { lease_id, token: Vec::new(), refusal: refusal.clone() };
        let leases = request.into_inner().lease_ids.into_iter().map(one).collect();
        Ok(Response::new(v1::SignLeasesResponse { leases }))
    }

    async fn activation_files(
        &self,
        _: Request<v1::ActivationFilesRequest>,
    ) -> Result<Response<v1::ActivationFilesResponse>, Status> {
        self.failure()?;
        Ok(Response::new(v1::ActivationFilesResponse::default()))
    }

    async fn site_keys(&self, _: Request<v1::SiteKeysRequest>) -> Result<Response<v1::SiteKeysResponse>, Status> {
        let keys = self.prepared.lock().expect("whole").site_keys.clone();
        Ok(Response::new(v1::SiteKeysResponse { keys, ..v1::SiteKeysResponse::default() }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let prepared = self.prepared.lock().expect("whole");
        let outcomes = request
            .into_inner()
            .lease_ids
            .into_iter()
            .map(|lease_id| v1::LeaseOutcome { lease_id, refusal: prepared.renewals.get(&lease_id).cloned() })
            .collect();
        Ok(Response::new(v1::RenewResponse { outcomes }))
    }

    async fn entitlements(
        &self,
        request: Request<v1::EntitlementsRequest>,
    ) -> Result<Response<v1::EntitlementsResponse>, Status> {
        self.failure()?;
        let subjects = request
            .into_inner()
            .subjects
            .into_iter()
            .map(|subject| v1::SubjectEntitlement {
                subject: Some(subject),
                any_of: true,
                ..v1::SubjectEntitlement::default()
            })
            .collect();
        Ok(Response::new(v1::EntitlementsResponse { subjects }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        self.failure()?;
        Ok(Response::new(v1::ExplainResponse::default()))
    }

    async fn acquire(&self, _: Request<v1::AcquireRequest>) -> Result<Response<v1::AcquireResponse>, Status> {
        Err(Status::unimplemented("the library acquires on its stream"))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("the library releases on its stream"))
    }

    async fn set_idle(&self, _: Request<v1::SetIdleRequest>) -> Result<Response<v1::SetIdleResponse>, Status> {
        Err(Status::unimplemented("the library marks on its stream"))
    }
}
