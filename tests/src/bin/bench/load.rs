//! The load generator: unary calls and attached streams, a number of them always in flight. The next is asked when one is
//! answered; what is answered after the end is not counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_proto::v1::{
    self, acquire_answer::Outcome, acquire_request::Subject, attach_request::Message as Asked,
    attach_response::Message as Answer, leasing_client::LeasingClient,
};
use leaseholdd::clock::stopwatch_us;
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    rivals::Claims,
    site::{MANY_POOLS, many_key},
};

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

/// A request ID that is like no other: made up once for this program, and counted on. Random ones would cost the generator
/// more than the requests.
fn request_id() -> Vec<u8> {
    static FIRST: OnceLock<u128> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = FIRST.get_or_init(|| Uuid::new_v4().as_u128());
    first.wrapping_add(u128::from(NEXT.fetch_add(1, Ordering::Relaxed))).to_be_bytes().to_vec()
}

/// A request for one unit.
pub(crate) fn acquire(key: &str, caller: Option<v1::Caller>, ttl_ms: u64) -> v1::AcquireRequest {
    v1::AcquireRequest {
        request_id: request_id(),
        caller,
        ttl_ms,
        subject: Some(Subject::Units(v1::ServerUnits { key: key.to_owned(), units: 1 })),
        ..Default::default()
    }
}

fn release(lease: u64, caller: Option<v1::Caller>) -> v1::ReleaseRequest {
    let request_id = request_id();
    v1::ReleaseRequest { request_id, caller, lease_ids: vec![lease], ..Default::default() }
}

pub(crate) async fn connect(address: &str) -> Result<LeasingClient<Channel>, Fault> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
    Ok(LeasingClient::new(endpoint.connect().await?))
}

/// Whose seats are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pools {
    /// One pool's.
    One(&'static str),
    /// All the small ones', by turns.
    Many,
}

impl Pools {
    /// The number of the pool of this turn: 0 for the one, from 1 for the many.
    fn number(self, turn: usize) -> usize {
        match self {
            Pools::One(_) => 0,
            Pools::Many => 1 + turn % MANY_POOLS,
        }
    }

    fn key(self, turn: usize) -> &'static str {
        match self {
            Pools::One(key) => key,
            Pools::Many => many_key(turn % MANY_POOLS),
        }
    }
}

/// Where the turns of one of many workers begin, so that they do not walk together.
const fn first_turn(worker: usize) -> usize {
    worker * 61
}

/// What a unary load asks.
#[derive(Clone, Copy)]
pub(crate) enum Unary {
    /// Nothing.
    Empty,
    /// A unit, and then its release.
    Lease(Pools),
}

/// Claims of another program's seats and their releases, `in_flight` at a time over these connections.
pub(crate) async fn claims<'c, C: Claims>(
    connections: impl Iterator<Item = &'c C> + Clone,
    pools: Pools,
    in_flight: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let mut tasks = JoinSet::new();
    for (number, connection) in (0..in_flight).zip(connections.cycle()) {
        let mut connection = connection.clone();
        tasks.spawn(async move {
            let mut timings = Timings::default();
            for turn in first_turn(number).. {
                let pool = pools.number(turn);
                let asked_us = stopwatch_us();
                let seat = connection.acquire(pool).await?;
                timings.note(window, asked_us);
                let asked_us = stopwatch_us();
                connection.release(pool, seat).await?;
                if !timings.note(window, asked_us) {
                    break;
                }
            }
            Ok::<_, Fault>(timings)
        });
    }
    all(tasks).await
}

/// The timings of all tasks together.
async fn all(mut tasks: JoinSet<Result<Timings, Fault>>) -> Result<Timings, Fault> {
    let mut all = Timings::default();
    while let Some(done) = tasks.join_next().await {
        all.each_us.append(&mut done??.each_us);
    }
    Ok(all)
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
    all(tasks).await
}

async fn calls(
    mut connection: LeasingClient<Channel>,
    asks: Unary,
    number: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let caller = caller(&format!("unary-{number}"));
    let mut timings = Timings::default();
    let mut turn = first_turn(number);
    loop {
        let asked_us = stopwatch_us();
        turn += 1;
        match asks {
            Unary::Empty => {
                connection.acquire(v1::AcquireRequest::default()).await?;
                if !timings.note(window, asked_us) {
                    return Ok(timings);
                }
            }
            Unary::Lease(pools) => {
                let answer = connection.acquire(acquire(pools.key(turn), Some(caller.clone()), 0)).await?.into_inner();
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

/// What became of a request.
struct Heard {
    request: Vec<u8>,
    what: What,
}

enum What {
    Granted(u64),
    Released,
    Refused(String),
}

/// What became of a flood.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Flooded {
    pub(crate) granted: u64,
    /// By reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Everything that is no answer.
    pub(crate) faults: BTreeMap<String, u64>,
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

    /// Asks for a unit of a key, whatever becomes of it.
    pub(crate) fn ask(&mut self, key: &str) -> Result<(), Fault> {
        self.say(Asked::Acquire(acquire(key, None, 0)))
    }

    fn say(&self, message: Asked) -> Result<(), Fault> {
        Ok(self.say.send(v1::AttachRequest { message: Some(message), answers_received: self.arrived })?)
    }

    /// Waits for what becomes of a request.
    async fn hear(&mut self) -> Result<Heard, Fault> {
        loop {
            let answer = self.answers.message().await?.ok_or("the stream has ended")?;
            self.arrived = self.arrived.max(answer.answer_number);
            let (request, what) = match answer.message {
                Some(Answer::Acquired(v1::AcquireAnswer { request_id, outcome: Some(Outcome::Lease(lease)) })) => {
                    (request_id, What::Granted(lease.lease_id))
                }
                Some(Answer::Acquired(v1::AcquireAnswer { request_id, outcome: Some(Outcome::Refusal(refusal)) })) => {
                    (request_id, What::Refused(refusal.reason))
                }
                Some(Answer::Released(v1::ReleaseAnswer { request_id, refusal: None, .. })) => {
                    (request_id, What::Released)
                }
                Some(Answer::Released(v1::ReleaseAnswer { request_id, refusal: Some(refusal), .. })) => {
                    (request_id, What::Refused(refusal.reason))
                }
                Some(Answer::Event(_) | Answer::Witness(_)) => continue,
                other => return Err(format!("not what was asked for: {other:?}").into()),
            };
            return Ok(Heard { request, what });
        }
    }

    /// Waits for an answer: when its request was asked, and the lease where it was granted one. A refusal is a fault.
    async fn next(&mut self) -> Result<(u64, Option<u64>), Fault> {
        let heard = self.hear().await?;
        let lease = match heard.what {
            What::Granted(lease) => Some(lease),
            What::Released => None,
            What::Refused(reason) => return Err(format!("refused: {reason}").into()),
        };
        let asked_us = self.asked_us.remove(&heard.request).ok_or("an answer to nothing")?;
        Ok((asked_us, lease))
    }

    /// Acquires and releases, `in_flight` at a time, until the window ends; holds nothing then.
    async fn work(mut self, pools: Pools, first: usize, in_flight: usize, window: Window) -> Result<Timings, Fault> {
        let mut timings = Timings::default();
        let mut turn = first;
        for _ in 0..in_flight {
            self.acquire(pools.key(turn), 0)?;
            turn += 1;
        }
        while !self.asked_us.is_empty() {
            let (asked_us, lease) = self.next().await?;
            let more = timings.note(window, asked_us);
            match lease {
                Some(lease) => self.release(lease)?,
                None if more => {
                    self.acquire(pools.key(turn), 0)?;
                    turn += 1;
                }
                None => {}
            }
        }
        Ok(timings)
    }

    /// Acquires at times of its own, `every_us` apart, whatever is answered; what is granted is released at once. Only
    /// acquires are timed, from when they are asked.
    async fn paced(mut self, key: &str, every_us: f64, window: Window) -> Result<Timings, Fault> {
        let mut timings = Timings::default();
        let first_us = stopwatch_us();
        let mut asked = 0_u64;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        loop {
            let is_over = stopwatch_us() > window.until_us;
            if is_over && self.asked_us.is_empty() {
                return Ok(timings);
            }
            tokio::select! {
                biased;
                answered = self.next(), if !self.asked_us.is_empty() => {
                    let (asked_us, lease) = answered?;
                    if let Some(lease) = lease {
                        timings.note(window, asked_us);
                        self.release(lease)?;
                    }
                }
                _ = ticks.tick(), if !is_over => {
                    let due = ((stopwatch_us() - first_us) as f64 / every_us) as u64;
                    while asked < due {
                        self.acquire(key, 0)?;
                        asked += 1;
                    }
                }
            }
        }
    }

    /// Keeps `in_flight` acquires unanswered until `until_us`, whatever becomes of them, and counts what does.
    async fn flood(mut self, key: &str, in_flight: usize, until_us: u64) -> Flooded {
        let mut flooded = Flooded::default();
        let mut releasing: HashMap<Vec<u8>, u64> = HashMap::new();
        loop {
            while stopwatch_us() < until_us && self.asked_us.len() < in_flight {
                if self.acquire(key, 0).is_err() {
                    break;
                }
            }
            if self.asked_us.is_empty() {
                return flooded;
            }
            let heard = match self.hear().await {
                Ok(heard) => heard,
                Err(fault) => {
                    *flooded.faults.entry(fault.to_string()).or_default() += 1;
                    return flooded;
                }
            };
            self.asked_us.remove(&heard.request);
            let lease = releasing.remove(&heard.request);
            let again = match heard.what {
                What::Granted(lease) => {
                    flooded.granted += 1;
                    Some(lease)
                }
                What::Released => None,
                What::Refused(reason) => {
                    *flooded.refused.entry(reason).or_default() += 1;
                    lease
                }
            };
            if let Some(lease) = again {
                let message = release(lease, None);
                releasing.insert(message.request_id.clone(), lease);
                self.asked_us.insert(message.request_id.clone(), stopwatch_us());
                if let Err(fault) = self.say(Asked::Release(message)) {
                    *flooded.faults.entry(fault.to_string()).or_default() += 1;
                    return flooded;
                }
            }
        }
    }

    /// Renews all leases of this run; microseconds until that is answered, and how many were renewed.
    pub(crate) async fn beat(&mut self, number: u64) -> Result<(u64, u64), Fault> {
        let asked_us = stopwatch_us();
        self.say(Asked::Beat(v1::Beat { number }))?;
        loop {
            match self.answers.message().await?.ok_or("the stream has ended")?.message {
                Some(Answer::Beat(v1::BeatAnswer { number: of, renewed, refusal: None })) if of == number => {
                    return Ok((stopwatch_us() - asked_us, renewed));
                }
                Some(Answer::Event(_) | Answer::Witness(_)) => {}
                other => return Err(format!("not what was asked for: {other:?}").into()),
            }
        }
    }

    /// Takes `count` leases that stand for a day, and keeps them.
    pub(crate) async fn fill(&mut self, key: &str, count: u32) -> Result<(), Fault> {
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
    pools: Pools,
    streams: usize,
    in_flight: usize,
    window: Window,
) -> Result<Timings, Fault> {
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let stream = Attached::new(address, &format!("stream-{number}")).await?;
        tasks.spawn(stream.work(pools, first_turn(number), in_flight / streams, window));
    }
    all(tasks).await
}

/// Attached streams that acquire `per_s` times a second together, whatever is answered.
pub(crate) async fn paced(
    address: &str,
    key: &'static str,
    streams: usize,
    per_s: f64,
    window: Window,
) -> Result<Timings, Fault> {
    let every_us = streams as f64 * 1e6 / per_s;
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let stream = Attached::new(address, &format!("paced-{number}")).await?;
        tasks.spawn(stream.paced(key, every_us, window));
    }
    all(tasks).await
}

/// Streams, attached before any of them floods: once they do, nobody else is attached soon.
pub(crate) async fn attached(address: &str, streams: usize) -> Result<Vec<Attached>, Fault> {
    let mut all = Vec::new();
    for number in 0..streams {
        all.push(Attached::new(address, &format!("flood-{number}")).await?);
    }
    Ok(all)
}

/// Each of these with `in_flight` acquires unanswered until `until_us`.
pub(crate) async fn flood(
    streams: Vec<Attached>,
    key: &'static str,
    in_flight: usize,
    until_us: u64,
) -> Result<Flooded, Fault> {
    let mut tasks = JoinSet::new();
    for stream in streams {
        tasks.spawn(stream.flood(key, in_flight, until_us));
    }
    let mut all = Flooded::default();
    while let Some(done) = tasks.join_next().await {
        let one = done?;
        all.granted += one.granted;
        for (of, to) in [(one.refused, &mut all.refused), (one.faults, &mut all.faults)] {
            for (what, count) in of {
                *to.entry(what).or_default() += count;
            }
        }
    }
    Ok(all)
}
