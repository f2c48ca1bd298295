//! How fast core and storage are by themselves, without a wire: durable acquires and releases over streams, and a restart
//! with many leases. `cargo run --release -p leaseholdd --example commits -- [STREAMS] [IN_FLIGHT] [SECONDS] [LEASES] [DIR]`.
//! With a folder its state is kept there, and with 0 streams only its restart is measured. It judges nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use leasehold_engine::{
    Limits,
    command::{Acquire, Ask, Attach, CallerInfo, Command, FolderFile, HostFinding, Origin, Release},
    decision::Reply,
    ids::{HolderId, Identity, LeaseId, RequestId, RunId, Ticket},
};
use leasehold_keys::{
    activation::{Activation, Model},
    dev::DevLicensor,
};
use leaseholdd::{
    clock::{Clock, stopwatch_us},
    core::{Answer, Bounds, Core, Ended, Phase, Restored, replies, restore},
    storage::StateDir,
};
use tokio::task::JoinSet;

#[path = "../src/test_site.rs"]
mod test_site;

const KEY: &str = "I3_SESSION_RECORDER";

fn file(licensor: &DevLicensor) -> anyhow::Result<FolderFile> {
    let grants = [("I3_FEATURE_VIRTUAL_CLOUD", 1), (KEY, 4_000_000)];
    let terms = Activation { model: Model::Subscription, ..test_site::terms(1, &grants) };
    let issued = terms.issued;
    let terms = licensor.trust()?.activation(&licensor.issue(&terms)?, issued)?;
    Ok(FolderFile { name: "bench.i3lic".to_owned(), terms: Arc::new(terms), host: HostFinding::Unbound })
}

/// Opens the state directory and starts the core; the time that this takes, in ms, is told.
fn start(dir: &StateDir, licensor: &DevLicensor) -> anyhow::Result<(Core, Ended)> {
    let clock = Clock::system();
    let began_us = stopwatch_us();
    let Restored { engine, store, rows, .. } = restore(dir, &licensor.trust()?, Limits::default(), &clock)?;
    let loaded_us = stopwatch_us();
    let (core, ended) = Core::start(engine, store, clock, Bounds::default())?;
    core.set_phase(Phase::Serving);
    if rows > 1_000 {
        println!(
            "restart: {rows} rows read in {} ms, granting after {} ms",
            (loaded_us - began_us) / 1_000,
            (stopwatch_us() - began_us) / 1_000
        );
    }
    Ok((core, ended))
}

fn acquire(holder: HolderId, request: u128) -> Command {
    let ask = Ask::Units { key: KEY.parse().unwrap_or_else(|_| unreachable!("a key's name")), units: 1 };
    Command::Acquire(Box::new(Acquire {
        from: Origin::Stream(holder),
        request: RequestId(request.to_be_bytes()),
        ask,
        ttl_ms: 3_600_000,
        wait_ms: 0,
        priority: 0,
        ticket: Ticket(0),
    }))
}

async fn attach(core: &Core, number: u8) -> anyhow::Result<HolderId> {
    let caller = CallerInfo {
        identity: Identity::Name(format!("stream-{number}").parse()?),
        instance: String::new(),
        application: "bench".parse()?,
        version: None,
        host: String::new(),
    };
    let Reply::Attached { holder, .. } =
        core.submit(Command::Attach(Attach { caller, run: RunId([number; 16]) })).await?
    else {
        anyhow::bail!("not attached")
    };
    Ok(holder)
}

/// Keeps `in_flight` operations under way: each granted lease is released, each released one acquired anew. Answers are
/// acknowledged as a client does it. Returns the operations done and the latencies of some, in µs.
async fn stream(core: Core, number: u8, in_flight: usize, until_us: u64) -> anyhow::Result<(u64, Vec<u64>)> {
    let holder = attach(&core, number).await?;
    let (sender, mut receiver) = replies(in_flight * 2 + 64);
    let mut request = u128::from(number) << 64;
    let mut began = vec![0_u64; in_flight];
    let mut asked = vec![RequestId([0; 16]); in_flight];
    for (slot, began) in began.iter_mut().enumerate() {
        request += 1;
        *began = stopwatch_us();
        asked[slot] = RequestId(request.to_be_bytes());
        core.submit_to(acquire(holder, request), &sender, slot as u64)?;
    }
    let (mut done, mut latencies, mut answers, mut received) = (0_u64, Vec::new(), Vec::new(), Vec::new());
    let mut open = in_flight;
    while open > 0 {
        receiver.recv_many(&mut answers, 4_096).await;
        let now_us = stopwatch_us();
        for tagged in answers.drain(..) {
            if tagged.tag == u64::MAX {
                continue;
            }
            let slot = tagged.tag as usize;
            done += 1;
            if done % 16 == 0 {
                latencies.push(now_us - began[slot]);
            }
            began[slot] = now_us;
            match tagged.answer? {
                Answer::Lease(lease) => {
                    received.push(asked[slot]);
                    let release = Release {
                        from: Origin::Stream(holder),
                        request: None,
                        leases: vec![lease.id],
                        acquired_by: Vec::new(),
                    };
                    core.submit_to(Command::Release(release), &sender, tagged.tag)?;
                }
                Answer::Reply(_) if now_us < until_us => {
                    request += 1;
                    asked[slot] = RequestId(request.to_be_bytes());
                    core.submit_to(acquire(holder, request), &sender, tagged.tag)?;
                }
                Answer::Reply(_) => open -= 1,
            }
        }
        if received.len() >= 64 {
            let requests = std::mem::take(&mut received);
            core.submit_to(Command::AnswersReceived { holder, requests }, &sender, u64::MAX)?;
        }
    }
    Ok((done, latencies))
}

async fn throughput(core: &Core, streams: u8, in_flight: usize, seconds: u64) -> anyhow::Result<()> {
    let began_us = stopwatch_us();
    let until_us = began_us + seconds * 1_000_000;
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        tasks.spawn(stream(core.clone(), number, in_flight / usize::from(streams), until_us));
    }
    let (mut done, mut latencies) = (0, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (count, some) = ended??;
        done += count;
        latencies.extend(some);
    }
    let took_us = stopwatch_us() - began_us;
    latencies.sort_unstable();
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or(0);
    println!(
        "{streams} streams, {in_flight} in flight: {} durable operations/s, p50 {} us, p99 {} us",
        done * 1_000_000 / took_us,
        at(50),
        at(99)
    );
    Ok(())
}

/// Takes so many leases and leaves them.
async fn fill(core: &Core, leases: u64) -> anyhow::Result<()> {
    let holder = attach(core, 200).await?;
    let (sender, mut receiver) = replies(8_192);
    let (mut sent, mut granted, mut answers) = (0_u64, 0_u64, Vec::new());
    let mut last = LeaseId(0);
    while granted < leases {
        while sent < leases && sent - granted < 4_096 {
            sent += 1;
            core.submit_to(acquire(holder, (200 << 64) + u128::from(sent)), &sender, sent)?;
        }
        receiver.recv_many(&mut answers, 4_096).await;
        for tagged in answers.drain(..) {
            if let Answer::Lease(lease) = tagged.answer? {
                granted += 1;
                last = last.max(lease.id);
            }
        }
    }
    println!("{granted} leases taken, the last is {last}");
    Ok(())
}

async fn bench(dir: &Path, streams: u8, in_flight: usize, seconds: u64, leases: u64) -> anyhow::Result<()> {
    let dir = StateDir::open(&dir.join("state"))?;
    let licensor = DevLicensor::from_seed(&[7; 32])?;
    let (core, ended) = start(&dir, &licensor)?;
    if streams == 0 {
        core.stop();
        tokio::task::spawn_blocking(move || ended.wait()).await?;
        return Ok(());
    }
    core.submit(Command::Folder(vec![file(&licensor)?])).await?;
    for _ in 0..3 {
        throughput(&core, streams, in_flight, seconds).await?;
    }
    throughput(&core, 1, 1, seconds.min(2)).await?;
    fill(&core, leases).await?;
    throughput(&core, streams, in_flight, seconds).await?;
    core.stop();
    tokio::task::spawn_blocking(move || ended.wait()).await?;
    let (core, ended) = start(&dir, &licensor)?;
    core.stop();
    tokio::time::timeout(Duration::from_secs(30), tokio::task::spawn_blocking(move || ended.wait())).await??;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let numbers: Vec<u64> = std::env::args().skip(1).take(4).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    let passing = tempfile::tempdir()?;
    let kept = std::env::args().nth(5).map(PathBuf::from);
    let dir = kept.as_deref().unwrap_or(passing.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (streams, in_flight) = (u8::try_from(number(0, 8))?, usize::try_from(number(1, 256))?);
    runtime.block_on(bench(dir, streams, in_flight, number(2, 5), number(3, 100_000)))
}
