//! Other programs that count seats, each started on loopback with its data on the disk that is measured, and stopped
//! afterwards. They are installed by `tests/rivals/install`; one that is not there is left out, and said to be.

mod etcd;
mod postgres;
mod redis;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use leaseholdd::clock::stopwatch_us;
use tempfile::TempDir;

use crate::{
    children::Process,
    load::{self, Fault, Pools, Timings, Window},
    site::{MANY_POOLS, MANY_SEATS, SEATS},
};

/// How long a program may take to come up.
const UP_WITHIN_US: u64 = 30_000_000;

/// A program that Leasehold is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// A Lua semaphore: a sorted set of deadlines, `appendfsync always`.
    Redis,
    /// A row for each seat, claimed by `FOR UPDATE SKIP LOCKED`.
    Postgres,
    /// A slot for each seat, taken by a transaction under a lease.
    Etcd,
}

/// A client's connection: one claim of a seat, and its end.
pub(crate) trait Claims: Clone + Send + 'static {
    /// Takes a seat of a pool.
    fn acquire(&mut self, pool: usize) -> impl Future<Output = Result<u64, Fault>> + Send;
    /// Gives it back.
    fn release(&mut self, pool: usize, seat: u64) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Connections of one rival, opened once: some programs take long to open them.
enum Clients {
    Redis(Vec<redis::Semaphore>),
    Postgres(Vec<postgres::Rows>),
    Etcd(Vec<etcd::Slots>),
}

/// Those that are installed, running.
pub(crate) struct Rivals {
    // Before the processes: connections end in order.
    clients: Vec<(Rival, Clients)>,
    running: Vec<(Rival, Process)>,
    /// What is left out, in words.
    pub(crate) missing: Vec<String>,
    // After the processes: what they write is removed when they are gone.
    _dir: TempDir,
}

/// Claims in flight on one connection, where a connection carries several …
const SHARE: usize = 32;
/// … and connections that are opened: of PostgreSQL, which carries one.
const CONNECTIONS: usize = 8;
const POSTGRES_CONNECTIONS: usize = 64;

impl Rivals {
    /// Starts what is installed, with data under `above`.
    pub(crate) async fn start(above: &Path) -> Result<Self, Fault> {
        // PostgreSQL refuses to run as root and has to reach its data as another user.
        let open = fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().prefix("leasehold-rivals-").permissions(open).tempdir_in(above)?;
        let mut rivals = Self { clients: Vec::new(), running: Vec::new(), missing: Vec::new(), _dir: dir };
        for rival in [Rival::Redis, Rival::Postgres, Rival::Etcd] {
            let data = rivals._dir.path().join(format!("{rival:?}").to_lowercase());
            fs::create_dir(&data)?;
            let port = free_port()?;
            let command = match rival {
                Rival::Redis => redis::command(&data, port),
                Rival::Postgres => postgres::command(&data, port),
                Rival::Etcd => etcd::command(&data, port),
            };
            match command {
                Ok(command) => {
                    let mut process = Process::of(command, &data.join("log"))?;
                    up(rival, &mut process, port, &data).await?;
                    rivals.running.push((rival, process));
                    let clients = match rival {
                        Rival::Redis => Clients::Redis(redis::connect(port, CONNECTIONS).await?),
                        Rival::Postgres => Clients::Postgres(postgres::connect(port, POSTGRES_CONNECTIONS).await?),
                        Rival::Etcd => Clients::Etcd(etcd::connect(port, CONNECTIONS).await?),
                    };
                    rivals.clients.push((rival, clients));
                }
                Err(why) => rivals.missing.push(format!("{rival:?}: {why}; tests/rivals/install installs it")),
            }
        }
        Ok(rivals)
    }

    /// The process of one, where it is installed.
    pub(crate) fn process(&self, rival: Rival) -> Option<&Process> {
        self.running.iter().find(|(which, _)| *which == rival).map(|(_, process)| process)
    }

    /// Claims and releases, `in_flight` at a time.
    pub(crate) async fn load(
        &self,
        rival: Rival,
        pools: Pools,
        in_flight: usize,
        window: Window,
    ) -> Result<Timings, Fault> {
        let clients = self.clients.iter().find(|(which, _)| *which == rival).map(|(_, clients)| clients);
        let carrying = in_flight.div_ceil(SHARE);
        match clients.ok_or("the rival does not run")? {
            Clients::Redis(all) => load::claims(all.iter().take(carrying), pools, in_flight, window).await,
            Clients::Postgres(all) => load::claims(all.iter(), pools, in_flight, window).await,
            Clients::Etcd(all) => load::claims(all.iter().take(carrying), pools, in_flight, window).await,
        }
    }
}

/// Seats of a pool: of the one large pool, or of each of the many.
const fn seats(pool: usize) -> u32 {
    if pool == 0 { SEATS } else { MANY_SEATS }
}

/// Pools in all.
const POOLS: usize = 1 + MANY_POOLS;

async fn up(rival: Rival, process: &mut Process, port: u16, data: &Path) -> Result<(), Fault> {
    const PAUSE: Duration = Duration::from_millis(20);
    let began = stopwatch_us();
    loop {
        let ready = match rival {
            Rival::Redis => redis::connect(port, 1).await.map(drop),
            Rival::Postgres => postgres::prepare(port).await,
            Rival::Etcd => etcd::connect(port, 1).await.map(drop),
        };
        let Err(fault) = ready else { return Ok(()) };
        let ended = process.ended();
        if ended.is_some() || stopwatch_us() - began > UP_WITHIN_US {
            let log = fs::read_to_string(data.join("log")).unwrap_or_default();
            return Err(format!("{rival:?} does not come up ({fault}; {ended:?}); its log:\n{log}").into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A port that nobody has now. None of the programs could say which it took by itself.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where a program is: in `first`, or on the path.
fn program(name: &str, first: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from(first)).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs something to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|fault| fault.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}
