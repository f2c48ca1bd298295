//! `leaseholdd dev` (08, First minutes): a licensor, a sample file for this host and the real daemon with a sample site,
//! in one folder that goes away at the end. It needs nothing, and nothing of it is meant for production.

mod endpoint;
mod play;
mod sample;
mod vendor;
mod words;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use leasehold_engine::view::PoolView;
use leasehold_keys::{activation::Units, host::HostFacts, refusal::Refusal};
use licensor::workshop::{Workshop, WorkshopFault};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    clock::Clock,
    config::Config,
    core::Refused,
    delivery::Destination,
    exit::Exit,
    files,
    folder::EntryState,
    identity::{Identity, IdentityFault, facts_file},
    run::{self, Running, StartFault},
    trust_store,
};
use endpoint::Endpoint;
use play::pace::Pace;
use words::{Run, Story};

/// The port that application servers are told of by default.
const PORT: u16 = 7127;

/// The file that a folder of `leaseholdd dev` is known by.
const MARKER: &str = "made-by-leaseholdd-dev";

/// The sample file's name in the watched folder.
const SAMPLE: &str = "sample.i3lic";

/// The sample file is accepted within two seconds; a busy machine gets more.
const ACCEPTED_MAX: Duration = Duration::from_secs(30);

/// The first check-in is answered within a moment; it is not waited for longer than this …
const CHECKED_IN_MAX: Duration = Duration::from_secs(10);
/// … and is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What `leaseholdd dev` is told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The loopback port for application servers; a free one is taken where it is in use [default: 7127].
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Keep everything in this folder, and go on with it at the next start [default: a temporary folder that is removed].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Do not remove the temporary folder at the end.
    #[arg(long)]
    pub keep: bool,
    /// A play: so many days go by in a second, the licensor is not to be reached, and the site walks through all six stages
    /// of enforcement and back [1 to 12].
    #[arg(long, value_name = "N", conflicts_with_all = ["dir", "keep"], value_parser = clap::value_parser!(u8).range(1..=12))]
    pub days_per_second: Option<u8>,
}

impl Options {
    /// What is worth a line beside what is told: what the tour makes happen (files that come and go) and whatever is wrong. In
    /// the play things go wrong on purpose, and are told by it.
    pub fn log_filter(&self) -> &'static str {
        if self.days_per_second.is_some() { "error" } else { "warn,leaseholdd::folder=info" }
    }
}

/// Why the sample site did not come up.
#[derive(Debug, thiserror::Error)]
pub enum DevFault {
    /// The daemon trusts the licensor that it was built for, and nobody else.
    #[error(
        "this build of leaseholdd has a licensor's root built in and takes that licensor's files only, so `leaseholdd dev` cannot issue one \
         for it. Use a build without LEASEHOLD_ROOT"
    )]
    BuiltInRoot,
    /// The folder holds something else.
    #[error("{0} is not empty and was not made by `leaseholdd dev`. Name a new or empty folder")]
    NotOurs(PathBuf),
    /// A file or folder.
    #[error("{path} cannot be made: {fault}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: io::Error,
    },
    /// The licensor.
    #[error("the licensor of the sample: {0}")]
    Licensor(#[from] WorkshopFault),
    /// A signed note.
    #[error("the sample cannot be issued: {0}")]
    Note(#[from] Refusal),
    /// The installation.
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    /// The daemon.
    #[error(transparent)]
    Start(#[from] StartFault),
    /// The sample file did not become effective.
    #[error("the sample file was not accepted: {0}")]
    NotAccepted(String),
    /// The sample site.
    #[error(transparent)]
    Sample(#[from] sample::SampleFault),
    /// The licensor's endpoint.
    #[error("the licensor's endpoint on loopback does not start: {0}")]
    Endpoint(String),
    /// The core.
    #[error("the daemon does not answer: {0}")]
    Core(#[from] Refused),
    /// The play does not go on.
    #[error("the play does not go on: {0}")]
    Play(String),
    /// The system.
    #[error("the system does not let the program listen to signals: {0}")]
    Signals(io::Error),
}

impl DevFault {
    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        match self {
            DevFault::Start(fault) => fault.exit(),
            DevFault::BuiltInRoot | DevFault::NotOurs(_) => Exit::Usage,
            DevFault::File { .. }
            | DevFault::Licensor(_)
            | DevFault::Note(_)
            | DevFault::Identity(_)
            | DevFault::NotAccepted(_)
            | DevFault::Sample(_)
            | DevFault::Endpoint(_)
            | DevFault::Core(_)
            | DevFault::Play(_)
            | DevFault::Signals(_) => Exit::Failed,
        }
    }
}

/// Brings up the sample site, tells about it on standard output, and runs until Ctrl-C, or until the play is over.
///
/// # Errors
/// See [`DevFault`].
pub async fn run(options: &Options, clock: Clock) -> Result<Exit, DevFault> {
    let signals =
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = signals.map_err(DevFault::Signals)?;
    let hands = options.days_per_second.map(|days| (days, Pace::from(&clock)));
    let clock = hands.as_ref().map_or(clock, |(_, pace)| pace.clock());
    let mut site = tokio::select! {
        site = Site::start(options, clock) => site?,
        _ = interrupt.recv() => return Ok(Exit::Done),
        _ = terminate.recv() => return Ok(Exit::Done),
    };
    if let Some((days, pace)) = hands {
        let mut stdout = io::stdout();
        let played = tokio::select! {
            played = play::play(&mut site, pace, days, &mut stdout) => played,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        let exit = site.stop().await;
        return played.map(|()| exit);
    }
    // Nobody may be reading, and the site is up all the same.
    let _ = io::Write::write_all(&mut io::stdout(), site.story().as_bytes());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(site.stop().await)
}

/// The sample site, running.
pub struct Site {
    place: Place,
    running: Option<Running>,
    /// The licensor's endpoint, to which usage goes and where the site checks in.
    endpoint: Endpoint,
    license: String,
    pools: Vec<PoolView>,
    tcp: String,
    port_taken: Option<u16>,
    invented: bool,
}

impl Site {
    /// Makes everything and starts the daemon.
    ///
    /// # Errors
    /// See [`DevFault`]; a temporary folder is removed then.
    pub async fn start(options: &Options, clock: Clock) -> Result<Self, DevFault> {
        if trust_store::is_built_in() {
            return Err(DevFault::BuiltInRoot);
        }
        let place = Place::make(options)?;
        let mut endpoint = Endpoint::prepare(&place.certificate()).await?;
        let (invented, workshop, first) = place.issue(&clock, &endpoint.url())?;
        endpoint.open(&workshop, &clock).await?;
        // From here on the licensor's folder belongs to its endpoint.
        drop(workshop);
        let port = options.port.unwrap_or(PORT);
        let port_taken = is_taken(port).then_some(port);
        let config = place.config(if port_taken.is_some() { 0 } else { port }, &endpoint.url())?;
        let mut running = run::start(&config, clock.clone(), Path::new("/")).await?;
        let license = accepted(&running).await?;
        sample::make(running.core()).await?;
        if first {
            // A usage file is closed at midnight and when the daemon stops, and goes to the licensor then: so there is one
            // that has gone, and today's beside it.
            let mut usage = running.usage().watch();
            let begun = usage.wait_for(|usage| usage.changes > 0);
            let _ = tokio::time::timeout(ACCEPTED_MAX, begun).await;
            running.stop().await;
            running = run::start(&config, clock, Path::new("/")).await?;
        }
        checked_in(&running).await?;
        let pools = running.core().read(|engine, now| engine.pools(now, None, None)).await?.unwrap_or_default();
        let tcp = running.addresses().iter().find(|address| address.starts_with("http")).cloned().unwrap_or_default();
        let pools = pools.into_iter().filter(|pool| pool.capacity != Units::Count(0)).collect();
        Ok(Self { place, running: Some(running), endpoint, license, pools, tcp, port_taken, invented })
    }

    /// What was made, where it lies, and what to try.
    pub fn story(&self) -> String {
        let place = &self.place;
        Story {
            dir: &place.dir,
            passing: place.passing.is_some(),
            socket: &place.socket(),
            folder: &place.folder(),
            licensor: &place.licensor(),
            endpoint: &self.endpoint.url(),
            usage: &place.state().join("usage"),
            request: &place.request(),
            tcp: &self.tcp,
            port_taken: self.port_taken,
            invented: self.invented,
            license: &self.license,
            pools: &self.pools,
            run: Run::of_this_program(),
        }
        .tell()
    }

    /// The daemon's own socket, for administrators.
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// Where application servers connect, such as `http://127.0.0.1:7127`.
    pub fn tcp(&self) -> &str {
        &self.tcp
    }

    /// Stops the daemon in order, and removes what is not to be kept.
    pub async fn stop(&mut self) -> Exit {
        let exit = match self.running.take() {
            Some(running) => running.stop().await,
            None => Exit::Done,
        };
        self.endpoint.close().await;
        if let Some(passing) = self.place.passing.take() {
            let path = passing.path().to_owned();
            if let Err(fault) = passing.close() {
                tracing::warn!(folder = %path.display(), "The temporary folder is not removed: {fault}");
            }
        }
        exit
    }
}

/// The folder of everything.
struct Place {
    dir: PathBuf,
    /// Set where it is removed at the end.
    passing: Option<TempDir>,
}

impl Place {
    fn make(options: &Options) -> Result<Self, DevFault> {
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |fault| DevFault::File { path, fault }
        };
        let place = match &options.dir {
            Some(dir) => {
                files::make_private_folder(dir).map_err(fault(dir))?;
                // Addresses that are printed must hold wherever they are pasted.
                let dir = dir.canonicalize().map_err(fault(dir))?;
                let empty = fs::read_dir(&dir).map_err(fault(&dir))?.next().is_none();
                if !empty && !dir.join(MARKER).exists() {
                    return Err(DevFault::NotOurs(dir));
                }
                Self { dir, passing: None }
            }
            None => {
                let passing = tempfile::Builder::new().prefix("leasehold-dev-").tempdir();
                let passing = passing.map_err(fault(&std::env::temp_dir()))?;
                let dir = passing.path().to_owned();
                if options.keep {
                    let _ = passing.keep();
                    Self { dir, passing: None }
                } else {
                    Self { dir, passing: Some(passing) }
                }
            }
        };
        for folder in [place.folder(), place.state()] {
            files::make_private_folder(&folder).map_err(fault(&folder))?;
        }
        let marker = place.dir.join(MARKER);
        files::replace(
            &marker,
            b"This folder was made by `leaseholdd dev` and may be removed when it does not run.\n",
            0o600,
        )
        .map_err(fault(&marker))?;
        Ok(place)
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn folder(&self) -> PathBuf {
        self.dir.join("licenses")
    }

    fn licensor(&self) -> PathBuf {
        self.dir.join("licensor")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("leasehold.sock")
    }

    fn facts(&self) -> PathBuf {
        self.dir.join("host-facts.json")
    }

    /// Of the licensor's endpoint.
    fn certificate(&self) -> PathBuf {
        self.dir.join("endpoint.pem")
    }

    fn request(&self) -> PathBuf {
        self.dir.join("this-host.request")
    }

    /// The daemon's configuration.
    fn config(&self, port: u16, endpoint: &str) -> Result<Config, DevFault> {
        let destination: Destination =
            endpoint.parse().map_err(|fault| DevFault::Endpoint(format!("{endpoint}: {fault}")))?;
        let mut config = Config::built_in();
        config.state_dir = self.state();
        config.folder = self.folder();
        config.root = Some(self.licensor().join("root.i3root"));
        config.host_facts = Some(self.facts());
        config.listen.tcp = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        config.listen.unix = Some(self.socket());
        config.listen.unix_mode = 0o600;
        config.delivery.destination = Some(destination);
        // The sample file names the endpoint of its first start; in a folder that is gone on with it is another one.
        config.check_in.endpoint =
            Some(endpoint.parse().map_err(|fault| DevFault::Endpoint(format!("{endpoint}: {fault}")))?);
        config.network.ca = Some(self.certificate());
        Ok(config)
    }

    /// Makes the licensor, this host's request and, the first time, the sample file. Tells whether the machine shows too
    /// little of itself to bind a file to, and whether it was the first time.
    fn issue(&self, clock: &Clock, endpoint: &str) -> Result<(bool, Workshop, bool), DevFault> {
        let fault = |path: PathBuf| move |fault| DevFault::File { path, fault };
        let invented = facts_file::collect_to_or_else(&self.facts(), invent)
            .map_err(|error| DevFault::File { path: error.path, fault: error.fault })?;
        let identity = Identity::open(&self.state(), Some(&self.facts()), Path::new("/"))?;
        let request = identity.request_note(None, None, clock.trusted())?;
        files::replace(&self.request(), request.as_bytes(), 0o644).map_err(fault(self.request()))?;
        let first = !self.licensor().exists();
        let mut workshop = vendor::workshop(&self.licensor(), clock.trusted())?;
        if first {
            let issued = vendor::issue(&mut workshop, request.as_bytes(), endpoint, clock.trusted())?;
            let sample = self.folder().join(SAMPLE);
            files::replace(&sample, issued.note.as_bytes(), 0o644).map_err(fault(sample))?;
        }
        Ok((invented, workshop, first))
    }
}

/// Stands in for the network address of a machine that shows none, such as a container: platform or network must match,
/// and for a sample on one's own machine nothing depends on it.
fn invent(facts: HostFacts) -> Option<HostFacts> {
    let bindable = facts.platform.is_some() || !facts.network.is_empty();
    (!bindable).then(|| HostFacts { network: vec!["instance leaseholdd-dev".to_owned()], ..facts })
}

/// True where somebody listens on the port already.
fn is_taken(port: u16) -> bool {
    port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Waits until the sample file counts, and says what it is. One that was removed on purpose since the first start is not
/// waited for.
async fn accepted(running: &Running) -> Result<String, DevFault> {
    let mut view = running.folder().watch();
    let settled = view.wait_for(|view| {
        view.judged > 0 && view.entries.iter().all(|entry| entry.name != SAMPLE || entry.state != EntryState::Waiting)
    });
    let found = match tokio::time::timeout(ACCEPTED_MAX, settled).await {
        Ok(Ok(view)) => view.entries.iter().find(|entry| entry.name == SAMPLE).cloned(),
        Ok(Err(_)) => return Err(DevFault::Core(Refused::Draining)),
        Err(_) => return Err(DevFault::NotAccepted("it was not judged in time".to_owned())),
    };
    match found {
        Some(entry) if entry.state == EntryState::Refused => Err(DevFault::NotAccepted(entry.message)),
        Some(entry) => Ok(entry.message),
        None => Ok("the sample file is no longer in the folder".to_owned()),
    }
}

/// Waits until the site has checked in, so that what is told of it is so. Where it does not come to that in time, the site is up
/// all the same, and `standing` tells why.
async fn checked_in(running: &Running) -> Result<(), DevFault> {
    let waiting = async {
        loop {
            let standing = running.core().read(|engine, now| engine.standing(now)).await?;
            if standing.licenses.iter().all(|license| license.last_good.is_some()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(CHECKED_IN_MAX, waiting).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests;
