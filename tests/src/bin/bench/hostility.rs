//! Clients that mean ill, or are broken: each kind for a while, with someone who renews beside. What is measured is how
//! long renewals take and what the daemon's memory comes to. That limits hold is shown by `tests/tests/hostility.rs`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use leasehold_proto::v1;
use leaseholdd::clock::stopwatch_us;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    load::{self, Attached, Fault},
    measure::Plan,
    renewer::{Renewals, Renewer},
    site::{FULL, Site},
};

/// Leases that are renewed meanwhile.
const LEASES: u32 = 1_000;
const IDLE: usize = 10_000;
/// Connections of one address are limited, so they come from several.
const ADDRESSES: usize = 5;
/// File descriptors that this program uses beside its connections.
const SPARE_FILES: u64 = 500;

/// What one kind did.
#[derive(Debug, Serialize)]
pub(crate) struct Attack {
    pub(crate) what: String,
    pub(crate) renewals: Renewals,
    pub(crate) before_mib: f64,
    pub(crate) most_mib: f64,
    /// When they are gone, a second later.
    pub(crate) after_mib: f64,
}

/// What hangs on to the daemon until it is dropped.
type Held = Box<dyn std::any::Any + Send>;

/// Every kind, one after the other.
pub(crate) async fn all(plan: &Plan, site: &Site) -> Result<Vec<Attack>, Fault> {
    // Nothing on a connection is asked for here for longer than this.
    let seconds = plan.seconds.max(1.0);
    let address: SocketAddr = site.tcp.trim_start_matches("http://").parse()?;
    let idle = IDLE.min(usize::try_from(allowed_files().saturating_sub(SPARE_FILES))?);
    let mut all =
        vec![attack(site, "nobody, for comparison".into(), seconds, async |_| Ok(Box::new(()) as Held)).await?];
    all.push(
        attack(site, format!("{idle} idle connections from {ADDRESSES} addresses"), seconds, async |_| {
            Ok(Box::new(connections(address, idle, b"").await?) as Held)
        })
        .await?,
    );
    // An HTTP/2 connection that says its first words and falls silent.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    all.push(
        attack(site, "1,500 half-open HTTP/2 connections".into(), seconds, async |_| {
            Ok(Box::new(connections(address, 1_500, PREFACE).await?) as Held)
        })
        .await?,
    );
    all.push(
        attack(site, "64 streams that ask and never read".into(), seconds, async |_| slow_readers(site).await).await?,
    );
    all.push(
        attack(site, "messages of 8 MiB, 32 at a time".into(), seconds, async |until| huge(site, until).await).await?,
    );
    all.push(attack(site, "8,000 streams that never say Hello".into(), seconds, async |_| silent(site).await).await?);
    all.push(
        attack(site, "streams opened and cut, 256 at a time".into(), seconds, async |until| cut(site, until).await)
            .await?,
    );
    Ok(all)
}

/// As many files as the system lets this program have.
fn allowed_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok() {
        most
    } else {
        limit.current.unwrap_or(most)
    }
}

async fn attack(
    site: &Site,
    what: String,
    seconds: f64,
    act: impl AsyncFnOnce(u64) -> Result<Held, Fault>,
) -> Result<Attack, Fault> {
    const SAMPLE: Duration = Duration::from_millis(50);
    let daemon = site.daemon()?;
    let before = daemon.resident_kib();
    let renewer = Renewer::start(&site.tcp, LEASES, seconds).await?;
    let until_us = stopwatch_us() + (seconds * 1e6) as u64;
    let sampled = async {
        let mut most = before;
        while stopwatch_us() < until_us {
            most = most.max(daemon.resident_kib());
            tokio::time::sleep(SAMPLE).await;
        }
        most
    };
    let (held, most, renewals) = tokio::join!(act(until_us), sampled, renewer.found());
    drop(held?);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = daemon.resident_kib();
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let attack =
        Attack { what, renewals: renewals?, before_mib: mib(before), most_mib: mib(most), after_mib: mib(after) };
    eprintln!(
        "{}: renewals' p99 {:.1} ms; {:.0} MiB, at most {:.0}",
        attack.what,
        attack.renewals.p99_ms(),
        attack.before_mib,
        attack.most_mib
    );
    Ok(attack)
}

/// Connections that say these words and no more.
async fn connections(to: SocketAddr, count: usize, words: &'static [u8]) -> Result<Vec<TcpStream>, Fault> {
    /// Opened at once.
    const AT_ONCE: usize = 128;
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for number in 0..count {
        let gate = gate.clone();
        opening.spawn(async move {
            let _turn = gate.acquire().await;
            let socket = TcpSocket::new_v4()?;
            let last = u8::try_from(1 + number % ADDRESSES).unwrap_or(1);
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
            let mut stream = socket.connect(to).await?;
            // Those beyond a limit are closed already.
            let _ = stream.write_all(words).await;
            Ok::<_, std::io::Error>(stream)
        });
    }
    let mut all = Vec::new();
    while let Some(opened) = opening.join_next().await {
        // Refused by the system: its queue of connections is full.
        if let Ok(stream) = opened? {
            all.push(stream);
        }
    }
    Ok(all)
}

async fn slow_readers(site: &Site) -> Result<Held, Fault> {
    const STREAMS: usize = 64;
    const ASKED: usize = 8_192;
    let mut all = Vec::new();
    for number in 0..STREAMS {
        let mut stream = Attached::new(&site.tcp, &format!("slow-{number}")).await?;
        for _ in 0..ASKED {
            stream.ask(FULL)?;
        }
        all.push(stream);
    }
    Ok(Box::new(all))
}

async fn huge(site: &Site, until_us: u64) -> Result<Held, Fault> {
    const AT_ONCE: usize = 32;
    const BYTES: usize = 8 << 20;
    let name = "x".repeat(BYTES);
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let mut client = load::connect(&site.tcp).await?.max_encoding_message_size(2 * BYTES);
        let name = name.clone();
        tasks.spawn(async move {
            while stopwatch_us() < until_us {
                let asked = load::acquire(&name, None, 0);
                if client.acquire(asked).await.is_ok() {
                    return Err("a message of 8 MiB was taken");
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(Box::new(()))
}

async fn silent(site: &Site) -> Result<Held, Fault> {
    const CONNECTIONS: usize = 8;
    const STREAMS: usize = 1_000;
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = load::connect(&site.tcp).await?;
        for _ in 0..STREAMS {
            let mut client = client.clone();
            let nothing = tokio_stream::pending::<v1::AttachRequest>();
            // Refused where there are too many.
            all.push(client.attach(nothing).await.ok());
        }
    }
    Ok(Box::new(all))
}

async fn cut(site: &Site, until_us: u64) -> Result<Held, Fault> {
    const CONNECTIONS: usize = 8;
    const AT_ONCE: usize = 32;
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = load::connect(&site.tcp).await?;
        for _ in 0..AT_ONCE {
            let mut client = client.clone();
            tasks.spawn(async move {
                while stopwatch_us() < until_us {
                    // The server may close a connection that does nothing else.
                    drop(client.attach(tokio_stream::pending::<v1::AttachRequest>()).await);
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(Box::new(()))
}
