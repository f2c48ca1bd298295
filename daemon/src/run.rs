//! The daemon's life: start, ready, reload, drain, stop. It puts the rooms together and decides nothing in them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    check_in::{self, CheckIns},
    clock::{self, Clock},
    config::Config,
    core::{self, Bounds, Core, Ended, Phase, Restored},
    delivery::{self, Delivery},
    exit::Exit,
    folder::Folder,
    grpc,
    identity::{Identity, IdentityFault},
    log::LogFilter,
    storage::{Durable, OpenFault, StateDir, StateDirFault},
    trust_store::{TrustFault, TrustStore},
    usage::{self, Usage},
    way_out,
};

/// Stopping takes at most so long, in five parts: calls and streams that end by themselves, half a second for
/// delivery and check-ins …
const DRAIN: Duration = Duration::from_secs(1);
/// … usage is sealed and its file closed; what is not is made up for at the next start …
const SEAL: Duration = Duration::from_secs(2);
/// … what was submitted becomes durable …
const FINISH: Duration = Duration::from_secs(5);
/// … and connections that are still open are given up.
const CLOSE: Duration = Duration::from_secs(1);

/// While it is not ready for long, the service manager hears so often that it is at work.
const STILL_STARTING: Duration = Duration::from_secs(10);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirFault),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] OpenFault),
    /// There is no root to trust.
    #[error(transparent)]
    Trust(#[from] TrustFault),
    /// The installation has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] grpc::ListenFault),
    /// The system gives no thread.
    #[error("the system gives no more threads: {0}")]
    Thread(#[from] std::io::Error),
}

impl StartFault {
    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        match self {
            StartFault::StateDir(_) | StartFault::Database(_) | StartFault::Identity(_) => Exit::State,
            StartFault::Trust(_) => Exit::Configuration,
            // These do not mend themselves, so that no service manager need try again.
            StartFault::Listen(
                grpc::ListenFault::Nowhere | grpc::ListenFault::NotLoopback(_) | grpc::ListenFault::NoGroup(_),
            ) => Exit::Configuration,
            StartFault::Listen(_) => Exit::Listen,
            StartFault::Thread(_) => Exit::Failed,
        }
    }
}

/// A daemon that runs.
pub struct Running {
    began_us: u64,
    core: Core,
    ended: Ended,
    folder: Folder,
    usage: Usage,
    delivery: Delivery,
    check_ins: CheckIns,
    addresses: Vec<String>,
    administrators: watch::Sender<BTreeSet<u32>>,
    stop_serving: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), grpc::ServeFault>>,
    watching: JoinHandle<()>,
    /// Ours alone until everything has ended.
    _state: StateDir,
}

/// Starts everything in order: nothing is granted before what is on disk was read, settled and compared with the folder.
/// `machine` is where the file system of this machine begins, whose facts its host ID is made of: `/` but in tests.
///
/// # Errors
/// See [`StartFault`].
pub async fn start(config: &Config, clock: Clock, machine: &Path) -> Result<Running, StartFault> {
    let running = begin(config, clock, machine).await?;
    running.ready().await;
    Ok(running)
}

/// Starts everything but granting: it is heard at its addresses that the daemon starts. [`Running::ready`] is to follow.
///
/// # Errors
/// See [`StartFault`].
pub async fn begin(config: &Config, clock: Clock, machine: &Path) -> Result<Running, StartFault> {
    let began_us = clock::stopwatch_us();
    let state = StateDir::open(&config.state_dir)?;
    let trust = TrustStore::open(state.path(), config.root.as_deref())?;
    // Before anything is written, so that a daemon that cannot listen changes nothing. Who connects meanwhile waits.
    let bound = grpc::Bound::bind(&listening(config)).await?;

    let lost_key = Identity::missing_key(state.path()).filter(|_| state.database().exists());
    let limits = leasehold_engine::Limits {
        answers_per_identity: config.limits.answers_per_identity,
        waiting_per_pool: config.limits.waiting_per_pool,
    };
    let Restored { mut engine, store, rows, left_out, unclean, new } =
        core::restore(&state, trust.trust(), limits, &clock)?;
    // What is granted from here on is told apart from what a copy of this state grants.
    engine.begin_epoch(rand::random());
    let started_at = clock.trusted();
    for file in left_out {
        tracing::error!(
            license = file.license_id,
            "the stored activation file {} no longer verifies and counts no more: {}. Drop in a file that the licensor has signed anew",
            file.name,
            file.why
        );
    }
    let (path, reader) = (store.path().to_owned(), store.reader());
    if let Some(why) = store.fault() {
        tracing::error!(
            "what the last stop left in {} cannot be brought in order: {why}. Renewals are served and nothing is granted until it can",
            path.display()
        );
    }
    tracing::info!(rows, unclean, ms = (clock::stopwatch_us() - began_us) / 1_000, "the state was read");

    // The key is made before anything is stored.
    if let Some(path) = lost_key.filter(|_| !new) {
        tracing::warn!(
            "THE INSTALLATION KEY IS GONE: {} is missing beside a database that is there, and a new key is made. To the licensor this \
             is another installation from now on: a fact of the host ID has changed, and its receipts are not known. If you have \
             a backup, stop the daemon, put the key back and start again; else send the licensor a new request made with \
             `leasehold request`",
            path.display()
        );
    }
    let identity = Arc::new(Identity::open(state.path(), config.host_facts.as_deref(), machine)?);
    let installation = identity.installation_id().to_string();
    let bounds =
        Bounds { queue: config.limits.queue, events_per_stream: config.limits.events_per_stream, ..Bounds::default() };
    let (core, ended) = Core::start(engine, store, clock.clone(), bounds)?;
    let (folder, watching) =
        Folder::start(config.folder.clone(), state.path(), core.clone(), clock.clone(), trust, identity.clone());
    let ground = usage::Ground {
        state_directory: state.path().to_owned(),
        core: core.clone(),
        clock: clock.clone(),
        reader: reader.clone(),
        identity,
        licensor: Box::new({
            let folder = folder.clone();
            move || folder.trust().trust().root().usage_key
        }),
    };
    let usage = Usage::start(config.usage.clone(), ground)?;
    let network = way_out::Network {
        settings: config.network.clone(),
        surroundings: way_out::Surroundings::of_process(),
        patience: way_out::Patience::default(),
    };
    let ground = delivery::Ground {
        state_directory: state.path().to_owned(),
        core: core.clone(),
        clock: clock.clone(),
        usage: usage.clone(),
        trust: Box::new({
            let folder = folder.clone();
            move || folder.trust().trust().clone()
        }),
        installation,
        zone: config.time_zone.clone(),
        network: network.clone(),
    };
    let delivery = Delivery::start(config.delivery.clone(), ground);
    let ground = check_in::Ground {
        state_directory: state.path().to_owned(),
        core: core.clone(),
        clock: clock.clone(),
        folder: folder.clone(),
        // An answer counts for five minutes, and is small.
        network: way_out::Network { patience: check_in::PATIENCE, ..network },
    };
    let check_ins = CheckIns::start(config.check_in.clone(), ground);
    let administrators = watch::Sender::new(config.administrators.clone());
    let facts = grpc::Facts {
        time_zone: config.time_zone.clone(),
        started_at,
        state_directory: state.path().to_owned(),
        administrators: administrators.subscribe(),
    };
    let addresses = bound.addresses();
    let rooms = grpc::Rooms {
        core: core.clone(),
        folder: folder.clone(),
        usage: usage.clone(),
        delivery: delivery.clone(),
        check_ins: check_ins.clone(),
        records: reader,
        clock,
    };
    let (stop_serving, stopped) = oneshot::channel();
    let stop = async {
        // Dropped with what runs: stop too.
        let _ = stopped.await;
    };
    let serving = tokio::spawn(grpc::serve(bound, rooms, facts, stop));
    Ok(Running {
        began_us,
        core,
        ended,
        folder,
        usage,
        delivery,
        check_ins,
        addresses,
        administrators,
        stop_serving,
        serving,
        watching,
        _state: state,
    })
}

fn listening(config: &Config) -> grpc::Settings {
    let socket = config.listen.unix.clone().map(|path| grpc::SocketSettings {
        path,
        mode: config.listen.unix_mode,
        group: config.listen.unix_group.clone(),
    });
    let limits = grpc::Limits {
        connections: config.limits.connections,
        connections_per_address: config.limits.connections_per_address,
        streams_per_connection: config.limits.streams_per_connection,
        header_bytes: config.limits.header_bytes,
        first_request: Duration::from_millis(config.limits.first_request_ms),
        idle: Duration::from_millis(config.limits.idle_ms),
        keepalive: Duration::from_millis(config.limits.keepalive_ms),
    };
    grpc::Settings { tcp: config.listen.tcp.clone(), socket, limits }
}

impl Running {
    /// Waits until the watched folder was judged, and grants from then on.
    pub async fn ready(&self) {
        let mut fault = self.core.storage_fault();
        tokio::select! {
            () = self.folder.judged() => {}
            // Nothing of the folder can be stored: what was accepted before counts, and renewals are served (LEASE-11).
            _ = fault.wait_for(Option::is_some) => {}
        }
        self.core.set_phase(Phase::Serving);
        let ms = (clock::stopwatch_us() - self.began_us) / 1_000;
        tracing::info!(addresses = self.addresses.join(", "), ms, "serving");
    }

    /// The core.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The watched folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// From now on these users administer, and no others (LEASE-9). A call that was let in before goes on to its end.
    pub fn set_administrators(&self, uids: BTreeSet<u32>) {
        self.administrators.send_replace(uids);
    }

    /// Usage files.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Their way to the licensor.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Check-ins.
    pub fn check_ins(&self) -> &CheckIns {
        &self.check_ins
    }

    /// What it listens on, as clients write it.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Drains and stops within 10 s: streams are told, calls end, everything that was submitted becomes durable.
    pub async fn stop(self) -> Exit {
        self.core.set_phase(Phase::Draining);
        let _ = self.stop_serving.send(());
        let mut serving = self.serving;
        let mut served = tokio::time::timeout(DRAIN, &mut serving).await.ok();
        tokio::join!(self.check_ins.stop(), self.delivery.stop());
        if tokio::time::timeout(SEAL, self.usage.stop()).await.is_err() {
            tracing::warn!("sealing usage took too long; nothing of it is lost, and the next start goes on with it");
        }
        self.core.stop();
        let ended = tokio::task::spawn_blocking(move || self.ended.wait());
        let finished = tokio::time::timeout(FINISH, ended).await.is_ok();
        if served.is_none() {
            served = tokio::time::timeout(CLOSE, &mut serving).await.ok();
        }
        self.watching.abort();
        if served.is_none() {
            tracing::info!("connections that were still open are closed");
            serving.abort();
        }
        if finished {
            tracing::info!("stopped");
            Exit::Done
        } else {
            tracing::error!("stopping took too long; what was acknowledged is durable");
            Exit::StopTimedOut
        }
    }
}

/// Tells the service manager; where there is none, nobody hears it.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {fault}");
    }
}

/// Runs the daemon until it is told to stop. For `machine` see [`start`].
pub async fn run(config: Config, file: Option<PathBuf>, clock: Clock, machine: &Path, filter: LogFilter) -> Exit {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("the system does not let the daemon listen to signals");
        return Exit::Failed;
    };
    let running = tokio::select! {
        running = begin(&config, clock, machine) => running,
        _ = terminate.recv() => return Exit::Done,
        _ = interrupt.recv() => return Exit::Done,
    };
    let running = match running {
        Ok(running) => running,
        Err(fault) => {
            tracing::error!("{fault}");
            tell(&[NotifyState::Status(&fault.to_string())]);
            return fault.exit();
        }
    };
    let heart = tokio::spawn(heartbeat(running.core.clone()));
    let readiness = tokio::spawn(say_ready(running.core.clone()));
    let mut config = config;
    let mut is_ready = false;
    loop {
        tokio::select! {
            () = running.ready(), if !is_ready => is_ready = true,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&mut config, file.as_deref(), &filter, &running),
        }
    }
    tracing::info!("stopping");
    readiness.abort();
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    let exit = running.stop().await;
    heart.abort();
    exit
}

/// READY is said when leases can be granted, and not before (08); what the daemon does is shown as it changes.
async fn say_ready(core: Core) {
    let mut health = core.health();
    let mut fault = core.storage_fault();
    let mut ready = false;
    loop {
        let grant = health.borrow_and_update().grant;
        let why = fault.borrow_and_update().clone();
        match (&why, grant) {
            (Some(why), _) => {
                let status = format!("renewing only, nothing can be stored: {why}");
                tell(&[NotifyState::Status(&status)]);
            }
            (None, true) if !ready => {
                ready = true;
                tell(&[NotifyState::Ready, NotifyState::Status("granting")]);
            }
            (None, true) => tell(&[NotifyState::Status("granting")]),
            (None, false) => {}
        }
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            changed = fault.changed() => if changed.is_err() { return },
            // Without this the service manager would kill a daemon that renews and waits for its disk.
            () = tokio::time::sleep(STILL_STARTING), if !ready => {
                tell(&[NotifyState::ExtendTimeoutUsec(3 * u32::try_from(STILL_STARTING.as_micros()).unwrap_or(u32::MAX))]);
            }
        }
    }
}

/// The watchdog is fed as long as a question goes all the way through the core and the writer.
async fn heartbeat(core: Core) {
    let Some(allowed) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::time::sleep(allowed / 3).await;
        if core.is_alive(allowed / 3).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the core does not answer");
        }
    }
}

/// SIGHUP: takes over what can be, and says what cannot.
fn reload(config: &mut Config, file: Option<&Path>, filter: &LogFilter, running: &Running) {
    let newer = match Config::load(file) {
        Ok(newer) => newer,
        Err(faults) => return tracing::error!("nothing was reloaded: {faults}"),
    };
    if newer.log.filter != config.log.filter {
        filter.set(&newer.log.filter);
        tracing::info!("the log filter is now `{}`", newer.log.filter);
        config.log.filter.clone_from(&newer.log.filter);
    }
    if newer.administrators != config.administrators {
        let list = |uids: &BTreeSet<u32>| uids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        running.set_administrators(newer.administrators.clone());
        tracing::info!(
            "the administrators are now the users [{}], and were [{}]",
            list(&newer.administrators),
            list(&config.administrators)
        );
        config.administrators.clone_from(&newer.administrators);
    }
    match config.needs_restart(&newer).as_slice() {
        [] => tracing::info!("the configuration was reloaded"),
        changed => tracing::warn!("the configuration was reloaded; a restart is needed for {}", changed.join(", ")),
    }
}
