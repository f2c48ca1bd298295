//! The load generator: unary calls and attached streams, a number of them always in flight. The next is asked when one is
//! answered; what is answered after the end is not counted.

use std::collections::HashMap;

use leasehold_proto::v1::{
    self, acquire_answer::Outcome, acquire_request::Subject, attach_request::Message as Asked,
    attach_response::Message as Answer, leasing_client::LeasingClient,
};
use leaseholdd::clock::stopwatch_us;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

/// Whatever ends a benchmark.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// When a measurement begins and ends, on the stopwatch. What comes before warms up.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from_us: u64,
    pub(crate) until_us: u64,
}

/// How long each counted operation took.
#[derive(Default)]
pub(crate) struct Timings {
    pub(crate) each_us: Vec<u32>,
}

impl Timings {
    fn note(&mut self, window: Window, asked_us: u64) -> bool {
        let now = stopwatch_us();
        if asked_us >= window.from_us && now <= window.until_us {
            self.each_us.push(u32::try_from(now - asked_us).unwrap_or(u32::MAX));
        }
        now <= window.until_us
    }
}

pub(crate) fn caller(name: &str) -> v1::Caller {
    v1::Caller { name: name.to_owned(), application: "bench".to_owned(), ..Default::default() }
}

/// A request for one unit.
pub(crate) fn acquire(key: &str, caller: Option<v1::Caller>, ttl_ms: u64) -> v1::AcquireRequest {
    v1::AcquireRequest {
        request_id: Uuid::new_v4().as_bytes().to_vec(),
        caller,
        ttl_ms,
        subject: Some(Subject::Units(v1::ServerUnits { key: key.to_owned(), units: 1 })),
        ..Default::default()
    }
}

fn release(lease: u64, caller: Option<v1::Caller>) -> v1::ReleaseRequest {
    let request_id = Uuid::new_v4().as_bytes().to_vec();
    v1::ReleaseRequest { request_id, caller, lease_ids: vec![lease], ..Default::default() }
}

async fn connect(address: &str) -> Result<LeasingClient<Channel>, Fault> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
    Ok(LeasingClient::new(endpoint.connect().await?))
}

/// What a unary load asks.
#[derive(Clone, Copy)]
pub(crate) enum Unary {
    /// Nothing.
    Empty,
    /// A unit of this key, and then its release.
    Lease(&'static str),
}

/// Unary calls, `in_flight` at a time, of which `share` go over one connection.
pub(crate) async fn unary(
    address: &str,
    asks: Unary,
    in_flight: usize,
    share: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let mut tasks = JoinSet::new();
    for first in (0..in_flight).step_by(share) {
        let connection = connect(address).await?;
        for number in first..in_flight.min(first + share) {
            tasks.spawn(calls(connection.clone(), asks, number, window));
        }
    }
    let mut all = Timings::default();
    while let Some(done) = tasks.join_next().await {
        all.each_us.append(&mut done??.each_us);
    }
    Ok(all)
}

async fn calls(
    mut connection: LeasingClient<Channel>,
    asks: Unary,
    number: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let caller = caller(&format!("unary-{number}"));
    let mut timings = Timings::default();
    loop {
        let asked_us = stopwatch_us();
        match asks {
            Unary::Empty => {
                connection.acquire(v1::AcquireRequest::default()).await?;
                if !timings.note(window, asked_us) {
                    return Ok(timings);
                }
            }
            Unary::Lease(key) => {
                let answer = connection.acquire(acquire(key, Some(caller.clone()), 0)).await?.into_inner();
                timings.note(window, asked_us);
                let lease = answer.lease.ok_or("a grant without a lease")?.lease_id;
                let asked_us = stopwatch_us();
                connection.release(release(lease, Some(caller.clone()))).await?;
                if !timings.note(window, asked_us) {
                    return Ok(timings);
                }
            }
        }
    }
}

/// One attached stream.
pub(crate) struct Attached {
    say: mpsc::UnboundedSender<v1::AttachRequest>,
    answers: Streaming<v1::AttachResponse>,
    /// All answers up to this one have arrived.
    arrived: u64,
    /// When each request was asked.
    asked_us: HashMap<Vec<u8>, u64>,
}

impl Attached {
    /// Attaches an application server of this name.
    pub(crate) async fn new(address: &str, name: &str) -> Result<Self, Fault> {
        let (say, said) = mpsc::unbounded_channel();
        let hello =
            v1::Hello { caller: Some(caller(name)), run_id: Uuid::new_v4().as_bytes().to_vec(), ..Default::default() };
        say.send(v1::AttachRequest { message: Some(Asked::Hello(hello)), answers_received: 0 })?;
        let mut client = connect(address).await?;
        let mut answers = client.attach(Request::new(UnboundedReceiverStream::new(said))).await?.into_inner();
        match answers.message().await? {
            Some(v1::AttachResponse { message: Some(Answer::Welcome(_)), .. }) => {}
            other => return Err(format!("no welcome, but {other:?}").into()),
        }
        Ok(Self { say, answers, arrived: 0, asked_us: HashMap::new() })
    }

    fn acquire(&mut self, key: &str, ttl_ms: u64) -> Result<(), Fault> {
        let message = acquire(key, None, ttl_ms);
        self.asked_us.insert(message.request_id.clone(), stopwatch_us());
        self.say(Asked::Acquire(message))
    }

    fn release(&mut self, lease: u64) -> Result<(), Fault> {
        let message = release(lease, None);
        self.asked_us.insert(message.request_id.clone(), stopwatch_us());
        self.say(Asked::Release(message))
    }

    fn say(&self, message: Asked) -> Result<(), Fault> {
        Ok(self.say.send(v1::AttachRequest { message: Some(message), answers_received: self.arrived })?)
    }

    /// Waits for an answer: when its request was asked, and the lease where it was granted one.
    async fn next(&mut self) -> Result<(u64, Option<u64>), Fault> {
        loop {
            let answer = self.answers.message().await?.ok_or("the stream has ended")?;
            self.arrived = self.arrived.max(answer.answer_number);
            let (request, lease) = match answer.message {
                Some(Answer::Acquired(v1::AcquireAnswer { request_id, outcome: Some(Outcome::Lease(lease)) })) => {
                    (request_id, Some(lease.lease_id))
                }
                Some(Answer::Released(v1::ReleaseAnswer { request_id, refusal: None, .. })) => (request_id, None),
                Some(Answer::Event(_)) => continue,
                other => return Err(format!("not what was asked for: {other:?}").into()),
            };
            let asked_us = self.asked_us.remove(&request).ok_or("an answer to nothing")?;
            return Ok((asked_us, lease));
        }
    }

    /// Acquires and releases, `in_flight` at a time, until the window ends; holds nothing then.
    async fn work(mut self, key: &str, in_flight: usize, window: Window) -> Result<Timings, Fault> {
        let mut timings = Timings::default();
        for _ in 0..in_flight {
            self.acquire(key, 0)?;
        }
        while !self.asked_us.is_empty() {
            let (asked_us, lease) = self.next().await?;
            let more = timings.note(window, asked_us);
            match lease {
                Some(lease) => self.release(lease)?,
                None if more => self.acquire(key, 0)?,
                None => {}
            }
        }
        Ok(timings)
    }

    /// Takes `count` leases that stand for a day, and keeps them.
    pub(crate) async fn fill(mut self, key: &str, count: u32) -> Result<(), Fault> {
        const AT_ONCE: u32 = 1_024;
        const DAY_MS: u64 = 86_400_000;
        let mut left = count;
        while left > 0 || !self.asked_us.is_empty() {
            while left > 0 && self.asked_us.len() < AT_ONCE as usize {
                self.acquire(key, DAY_MS)?;
                left -= 1;
            }
            self.next().await?;
        }
        Ok(())
    }
}

/// Attached streams, `in_flight` requests at a time on all of them together.
pub(crate) async fn streams(
    address: &str,
    key: &'static str,
    streams: usize,
    in_flight: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let stream = Attached::new(address, &format!("stream-{number}")).await?;
        tasks.spawn(stream.work(key, in_flight / streams, window));
    }
    let mut all = Timings::default();
    while let Some(done) = tasks.join_next().await {
        all.each_us.append(&mut done??.each_us);
    }
    Ok(all)
}
