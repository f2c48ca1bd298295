//! The client that an application holds: it passes wishes to the keeper and waits for what comes of them.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use leasehold_proto::v1::{self, leasing_client::LeasingClient};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tonic::{Response, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    clock,
    command::{Acquiring, Command},
    endpoint::Endpoint,
    event::{ClientEvent, Events, Standing},
    guard::{Handle, LeaseGuard},
    keeper::{Connection, Keeper},
    lease::{LeaseId, SiteKeys},
    link::obstacle,
    question::{Entitlement, Explanation, Subject, entitlements},
    refusal::{AcquireError, ConnectError, Invalid, Obstacle, RequestError, Unreleased},
    request::{Acquire, check_name, check_optional_name},
    session::{MOST_TAKEN_A_MESSAGE, Predecessors, Session},
    witnesses::{WitnessFile, Witnesses},
};

const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);
const DEFAULT_IN_FLIGHT: usize = 1_024;
const MOST_IN_FLIGHT: usize = 65_536;
const EVENTS_KEPT: usize = 256;

/// A client of the license server: one run of one application server.
///
/// It is cheap to clone, and all clones are the same client. One background task keeps one stream for all of its
/// leases. When the last clone and the last guard are gone, that task ends by itself.
///
/// Two clients of the same name and instance are, to the server, one that restarted: the later one ends the
/// earlier one's leases (LEASE-13). Give processes that run beside each other different instances.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
    pub(crate) caller: v1::Caller,
    connection: watch::Receiver<Connection>,
    channel: watch::Receiver<Option<Channel>>,
    site_keys: watch::Receiver<SiteKeys>,
    predecessors: watch::Receiver<Predecessors>,
    standing: watch::Receiver<Option<Standing>>,
    /// Only to subscribe to: with the keeper gone, listeners hear that nothing more comes.
    events: broadcast::WeakSender<ClientEvent>,
}

/// What a client is made of; see [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    servers: Vec<Endpoint>,
    caller: v1::Caller,
    watched_site_keys: Vec<String>,
    patience: Duration,
    in_flight: usize,
    witness_file: Option<PathBuf>,
}

impl ClientBuilder {
    /// The servers, best first: the next is tried when one fails. By default those of [`Endpoint::defaults`].
    pub fn servers(mut self, servers: impl IntoIterator<Item = Endpoint>) -> Self {
        self.servers = servers.into_iter().collect();
        self
    }

    /// The application server's name, such as `acd-server-2`. Over loopback it is the identity that owns the leases;
    /// over a Unix socket the user that runs the process is.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.caller.name = name.into();
        self
    }

    /// The product's name, such as `Interaction Desktop`.
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.caller.application = application.into();
        self
    }

    /// The product's version, such as `2020.2.1`; checked against the license where given.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.caller.version = version.into();
        self
    }

    /// Tells processes apart that run beside each other under one name or, over a Unix socket, under one user. It should
    /// stay the same when the process restarts. By default the name.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.caller.instance = instance.into();
        self
    }

    /// The machine that it runs on, for administrators to see.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.caller.host = host.into();
        self
    }

    /// The site-wide keys whose changes are wanted; by default all.
    pub fn watching<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.watched_site_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// How long a request is tried, beyond what it may wait in the queue; 10 s by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many requests may be in flight at once, 1 to 65,536; 1,024 by default. Others wait for a place, under
    /// their own deadline. A request that waits in a queue of the server is in flight.
    pub fn in_flight(mut self, most: usize) -> Self {
        self.in_flight = most;
        self
    }

    /// Keeps in this file the highest statement that each installation has signed of how far it had come, so that a
    /// server whose state was put back or copied is found out though this application restarted too: it is shown the
    /// statement whenever the client attaches. Its folder must exist and be writable. Written at most once a second, in one
    /// step. Without a file they are kept for as long as the client lives.
    pub fn witness_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.witness_file = Some(path.into());
        self
    }

    /// Makes the client, which begins to connect in the background. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Invalid`] where a value is not allowed, [`ConnectError::Witnesses`] where their file cannot be
    /// read.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn build(mut self) -> Result<Client, ConnectError> {
        self.check()?;
        if self.caller.instance.is_empty() {
            // Over a Unix socket the identity is the user's: without this, two applications of one user would
            // displace each other.
            self.caller.instance.clone_from(&self.caller.name);
        }
        let Self { servers, caller, watched_site_keys, patience, in_flight, witness_file } = self;
        let file = witness_file.map(WitnessFile::new);
        let witnesses = match &file {
            Some(file) => file.load().map_err(|error| ConnectError::Witnesses {
                path: file.path().display().to_string(),
                cause: error.to_string(),
            })?,
            None => Witnesses::default(),
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        let handle = Arc::new(Handle { commands, permits: Arc::new(Semaphore::new(in_flight)), patience });
        let events = broadcast::Sender::new(EVENTS_KEPT);
        let (connection_sender, connection) = watch::channel(Connection::Connecting);
        let (channel_sender, channel) = watch::channel(None);
        let (site_keys_sender, site_keys) = watch::channel(SiteKeys::default());
        let (weak_handle, weak_events) = (Arc::downgrade(&handle), events.downgrade());
        let mut session = Session::new(weak_handle, events, site_keys_sender, witnesses);
        session.watches_all_site_keys = watched_site_keys.is_empty();
        let client = Client {
            handle,
            caller: caller.clone(),
            connection,
            channel,
            site_keys,
            predecessors: session.predecessors.subscribe(),
            standing: session.standing.subscribe(),
            events: weak_events,
        };
        let hello = v1::Hello {
            caller: Some(caller),
            run_id: Uuid::new_v4().as_bytes().to_vec(),
            highest_lease_id: 0,
            watch_site_keys: watched_site_keys,
            witnesses: Vec::new(),
        };
        let keeper = Keeper::new(session, inbox, hello, servers, connection_sender, channel_sender, file);
        tokio::spawn(keeper.run());
        Ok(client)
    }

    /// Makes the client and waits until a server has accepted it, for as long as the client's patience.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build); [`ConnectError::Refused`] where a server will not have this application;
    /// [`ConnectError::NoServer`] where none has accepted it in time.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let patience = self.patience;
        let client = self.build()?;
        let mut connection = client.connection.clone();
        let mut last = None;
        let attached = async {
            loop {
                match &*connection.borrow_and_update() {
                    Connection::Attached { .. } => return Ok(()),
                    Connection::Detached { obstacle: Obstacle::Refused(refusal) } if !refusal.is_temporary() => {
                        return Err(ConnectError::Refused(refusal.clone()));
                    }
                    Connection::Detached { obstacle } => last = Some(obstacle.clone()),
                    Connection::Connecting | Connection::Closed => {}
                }
                if connection.changed().await.is_err() {
                    // The keeper lives as long as the client, which is here.
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(patience, attached).await {
            Ok(outcome) => outcome.map(|()| client),
            Err(_) => Err(ConnectError::NoServer { waited: patience, obstacle: last.unwrap_or(Obstacle::Silence) }),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.servers.is_empty() {
            return Err(Invalid::new("servers", "must name at least one"));
        }
        if !(1..=MOST_IN_FLIGHT).contains(&self.in_flight) {
            return Err(Invalid::new("in_flight", "must be 1 to 65,536"));
        }
        if self.patience.is_zero() {
            return Err(Invalid::new("patience", "must be more than nothing"));
        }
        check_name("name", &self.caller.name)?;
        check_name("application", &self.caller.application)?;
        check_optional_name("version", &self.caller.version)?;
        check_optional_name("instance", &self.caller.instance)?;
        check_optional_name("host", &self.caller.host)?;
        self.watched_site_keys.iter().try_for_each(|key| check_name("watched site key", key))
    }
}

impl Client {
    /// Begins a client. A name and an application are needed; everything else has a default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            servers: Endpoint::defaults(),
            caller: v1::Caller::default(),
            watched_site_keys: Vec::new(),
            patience: DEFAULT_PATIENCE,
            in_flight: DEFAULT_IN_FLIGHT,
            witness_file: None,
        }
    }

    /// Acquires a lease: a [`Logon`](crate::Logon), a [`StationUse`](crate::StationUse) or
    /// [`Units`](crate::Units).
    ///
    /// The request keeps its ID over lost connections, restarts and servers, so that it is never granted twice
    /// (LEASE-3). While no server can decide, it is tried again until its wait and the client's patience are over; a
    /// refusal is final. Dropping the future takes the request out of the queue, and gives back what was granted.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] says which of these it was.
    pub async fn acquire(&self, what: impl Into<Acquire>) -> Result<LeaseGuard, AcquireError> {
        let what = what.into();
        what.check()?;
        let begun = clock::now();
        let longest = what.longest_wait().saturating_add(self.handle.patience);
        let permits = Arc::clone(&self.handle.permits);
        let Ok(permit) = tokio::time::timeout(longest, permits.acquire_owned()).await else {
            return Err(AcquireError::NoAnswer { waited: longest, obstacle: Obstacle::Crowded });
        };
        let permit = permit.map_err(|_| AcquireError::Closed)?;
        let id = Uuid::new_v4();
        let (reply, answer) = oneshot::channel();
        let message = what.into_message(id);
        let deadline = begun.plus(longest);
        let acquiring = Acquiring { id, message, begun, deadline, reply, permit };
        self.handle.commands.send(Command::Acquire(Box::new(acquiring))).map_err(|_| AcquireError::Closed)?;
        let mut abandon = AbandonOnDrop { id, handle: &self.handle, is_waiting: true };
        let outcome = answer.await.unwrap_or(Err(AcquireError::Closed));
        abandon.is_waiting = false;
        outcome
    }

    /// The leases of this application server's previous run that can be taken over now: for 10 s after a new run has
    /// attached (LEASE-13). None where the previous run gave everything back, or there was none. Those that are not
    /// taken over end then.
    #[must_use]
    pub fn predecessors(&self) -> Vec<LeaseId> {
        self.predecessors.borrow().at(clock::now())
    }

    /// Takes over what [`predecessors`](Self::predecessors) names, so that a restart of this application ends nobody's
    /// work: the guards' [`lease`](LeaseGuard::lease) says whose each is. To be called right after
    /// [`connect`](ClientBuilder::connect). Leases that ended meanwhile are left out; guards that are dropped give their
    /// leases back.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the server refuses, or does not answer within the client's patience: what it was asked for
    /// and grants late goes back.
    pub async fn take_over(&self) -> Result<Vec<LeaseGuard>, RequestError> {
        let leases: Vec<u64> = self.predecessors().into_iter().map(LeaseId::get).collect();
        let deadline = clock::now().plus(self.handle.patience);
        let mut guards = Vec::with_capacity(leases.len());
        for leases in leases.chunks(MOST_TAKEN_A_MESSAGE) {
            let permits = Arc::clone(&self.handle.permits);
            let patience = deadline.since(clock::now());
            let Ok(permit) = tokio::time::timeout(patience, permits.acquire_owned()).await else {
                return Err(RequestError::NoAnswer { waited: self.handle.patience, obstacle: Obstacle::Crowded });
            };
            let permit = permit.map_err(|_| RequestError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let leases = leases.to_vec();
            self.handle
                .commands
                .send(Command::TakeOver { id: Uuid::new_v4(), leases, deadline, reply, permit })
                .map_err(|_| RequestError::Closed)?;
            guards.extend(answer.await.unwrap_or(Err(RequestError::Closed))?);
        }
        Ok(guards)
    }

    /// The site-wide and counted keys, as they change.
    #[must_use]
    pub fn site_keys(&self) -> watch::Receiver<SiteKeys> {
        self.site_keys.clone()
    }

    /// How the site stands with its licensor, as far as the server had reason to tell since it accepted this client: of a
    /// stage of 3 or worse at once, of others as they change. `None`: nothing is to be shown.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Option<Standing>> {
        self.standing.clone()
    }

    /// Whether there is a server, as it changes.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    /// What happens from now on to the client and all its leases; at most 256 events are kept for a slow listener.
    #[must_use]
    pub fn events(&self) -> Events<ClientEvent> {
        match self.events.upgrade() {
            Some(events) => Events::new(events.subscribe()),
            // The keeper is gone: nothing more comes.
            None => Events::new(broadcast::channel(1).1),
        }
    }

    /// Which of these subjects (1 to 1,000) effectively hold which of these keys (1 to 100), in the order asked. Takes
    /// no lease.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the server refuses, or none answers within the client's patience.
    pub async fn entitlements<K: Into<String>>(
        &self,
        subjects: impl IntoIterator<Item = Subject>,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Entitlement>, RequestError> {
        let subjects: Vec<Subject> = subjects.into_iter().collect();
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        let question = entitlements(self.caller.clone(), subjects, keys)?;
        let answer = self
            .ask(|mut leasing| {
                let question = question.clone();
                async move { leasing.entitlements(question).await }
            })
            .await?;
        Ok(answer.subjects.into_iter().map(Entitlement::from).collect())
    }

    /// The decision that [`acquire`](Self::acquire) would bring now, step by step. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the question itself is refused, or no server answers within the client's patience.
    pub async fn explain(&self, what: impl Into<Acquire>) -> Result<Explanation, RequestError> {
        let what = what.into();
        what.check()?;
        let mut acquire = what.into_message(Uuid::new_v4());
        acquire.caller = Some(self.caller.clone());
        let question = v1::ExplainRequest { acquire: Some(acquire) };
        let answer = self
            .ask(|mut leasing| {
                let question = question.clone();
                async move { leasing.explain(question).await }
            })
            .await?;
        Ok(answer.into())
    }

    /// Releases every lease, and ends the client, within 5 s. Guards end with the reason `SHUTDOWN`.
    ///
    /// # Errors
    ///
    /// [`Unreleased`] where no server has confirmed all of it in time: what is left ends by its TTL.
    pub async fn shutdown(&self) -> Result<(), Unreleased> {
        let (reply, answer) = oneshot::channel();
        if self.handle.commands.send(Command::Shutdown(reply)).is_err() {
            // Shut down before.
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }

    /// Asks a server, the next one where one fails, until there is an answer or patience ends.
    pub(crate) async fn ask<T, A, F>(&self, mut asking: A) -> Result<T, RequestError>
    where
        A: FnMut(LeasingClient<Channel>) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let patience = self.handle.patience;
        let mut channel = self.channel.clone();
        let mut backoff = Backoff::new();
        let mut last = None;
        let answer = async {
            loop {
                let found = match channel.wait_for(Option::is_some).await {
                    Ok(found) => found.clone(),
                    Err(_) => return Err(RequestError::Closed),
                };
                let Some(found) = found else { continue };
                match asking(LeasingClient::new(found)).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => match obstacle(&status) {
                        Obstacle::Refused(refusal) if !refusal.is_temporary() => {
                            return Err(RequestError::Refused(refusal));
                        }
                        obstacle => last = Some(obstacle),
                    },
                }
                tokio::time::sleep(backoff.next()).await;
            }
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let obstacle = last.or_else(|| match &*self.connection.borrow() {
                    Connection::Detached { obstacle } => Some(obstacle.clone()),
                    Connection::Connecting | Connection::Attached { .. } | Connection::Closed => None,
                });
                Err(RequestError::NoAnswer { waited: patience, obstacle: obstacle.unwrap_or(Obstacle::Silence) })
            }
        }
    }
}

/// Withdraws a request whose caller stopped waiting.
struct AbandonOnDrop<'a> {
    id: Uuid,
    handle: &'a Handle,
    is_waiting: bool,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            // Where the keeper is gone, it withdrew everything as it went.
            let _ = self.handle.commands.send(Command::Abandon(self.id));
        }
    }
}
