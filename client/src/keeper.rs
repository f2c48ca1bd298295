//! The one task behind a client: it keeps a stream to a server, feeds it what the application wants, and turns to
//! the next server when one fails.
//!
//! What the messages mean is the session's affair.

use std::time::Duration;

use leasehold_proto::v1::{self, leasing_client::LeasingClient};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tonic::transport::Channel;

use crate::{
    backoff::Backoff,
    clock::{self, Moment},
    command::Command,
    convert::site_key,
    endpoint::Endpoint,
    event::ClientEvent,
    lease::SiteKeys,
    link::{Link, News, Welcomed},
    refusal::{Obstacle, Refusal, Unreleased, reason},
    session::{Closing, MOST_LEASES_A_MESSAGE, Session, Turn},
    witnesses::WitnessFile,
};

/// Commands taken in at once.
const BATCH: usize = 512;
/// Timers stop in suspend: the clock is looked at this often whatever they say.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long answers are awaited from a server that is stopping.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// A connection that lasted this long was a good one: the next trouble begins with short waits.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);
/// Two processes that claim to be one would end each other's leases for ever, as fast as they can attach.
const DISPLACED_REST: Duration = Duration::from_secs(30);
/// How long a shutdown may take.
pub(crate) const SHUTDOWN_BOUND: Duration = Duration::from_secs(5);
/// How often witness statements are written, at most.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// Answers to questions beside the stream.
const LARGEST_LIST_BYTES: usize = 16 * 1024 * 1024;

/// Whether a client has a server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Connection {
    /// None yet, and none has failed yet.
    Connecting,
    /// A server has accepted it.
    Attached {
        /// The server.
        server: Endpoint,
        /// The installation that it is.
        installation_id: String,
    },
    /// None at present; the client goes on trying.
    Detached {
        /// What last stood in the way.
        obstacle: Obstacle,
    },
    /// The client was shut down.
    Closed,
}

pub(crate) struct Keeper {
    session: Session,
    commands: mpsc::UnboundedReceiver<Command>,
    /// All clients and guards are gone where this is false.
    is_wanted: bool,
    hello: v1::Hello,
    servers: Vec<Endpoint>,
    /// The server that is tried next, or used.
    at: usize,
    /// Servers tried since the last rest.
    tried: usize,
    backoff: Backoff,
    link: Link,
    attached_at: Moment,
    connection: watch::Sender<Connection>,
    channel: watch::Sender<Option<Channel>>,
    /// Questions asked beside the stream, of the present connection.
    questions: JoinSet<Answer>,
    witness_file: Option<WitnessFile>,
    stored_at: Moment,
}

impl Keeper {
    pub(crate) fn new(
        session: Session,
        commands: mpsc::UnboundedReceiver<Command>,
        hello: v1::Hello,
        servers: Vec<Endpoint>,
        connection: watch::Sender<Connection>,
        channel: watch::Sender<Option<Channel>>,
        witness_file: Option<WitnessFile>,
    ) -> Self {
        Self {
            session,
            commands,
            is_wanted: true,
            hello,
            servers,
            at: 0,
            tried: 0,
            backoff: Backoff::between_dials(),
            link: Link::Resting(Moment::default()),
            attached_at: Moment::default(),
            connection,
            channel,
            questions: JoinSet::new(),
            witness_file,
            stored_at: Moment::default(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while !self.is_done(clock::now()) {
            let now = clock::now();
            // Not left to the timer: under a flood of messages its turn may be late.
            if self.next_wake().is_some_and(|at| at <= now) {
                self.on_time(now);
            }
            let sleep = self.next_wake().map_or(LONGEST_SLEEP, |at| at.since(now).min(LONGEST_SLEEP));
            tokio::select! {
                count = self.commands.recv_many(&mut batch, BATCH), if self.is_wanted => {
                    self.on_commands(count, &mut batch, clock::now());
                }
                news = self.link.next(&mut self.session) => self.on_news(news, clock::now()),
                Some(answer) = self.questions.join_next() => {
                    if let Ok(answer) = answer {
                        self.on_answer(answer, clock::now());
                    }
                }
                () = tokio::time::sleep(sleep) => self.on_time(clock::now()),
            }
        }
        self.finish().await;
    }

    fn next_wake(&self) -> Option<Moment> {
        let store_at =
            (self.witness_file.is_some() && self.session.has_new_witnesses).then(|| self.stored_at.plus(STORE_EVERY));
        [self.session.next_wake(), self.link.wake_at(), store_at].into_iter().flatten().min()
    }

    fn is_done(&self, now: Moment) -> bool {
        self.session.closing.as_ref().is_some_and(|closing| now >= closing.deadline || self.session.unreleased() == 0)
    }

    async fn finish(mut self) {
        self.channel.send_replace(None);
        if let Some(file) = self.witness_file.take()
            && self.session.has_new_witnesses
        {
            let kept = self.session.witnesses.clone();
            let stored = tokio::task::spawn_blocking(move || file.store(&kept)).await;
            if let Ok(Err(error)) = stored {
                tracing::warn!(%error, "what the installation said last could not be stored");
            }
        }
        let unreleased = self.session.unreleased();
        let outcome = if unreleased == 0 { Ok(()) } else { Err(Unreleased { leases: unreleased }) };
        for reply in self.session.closing.take().map(|closing| closing.replies).unwrap_or_default() {
            let _ = reply.send(outcome.clone());
        }
        self.connection.send_replace(Connection::Closed);
    }

    // ---- commands

    fn on_commands(&mut self, count: usize, batch: &mut Vec<Command>, now: Moment) {
        if count == 0 {
            self.is_wanted = false;
            self.close(None, now);
            return;
        }
        // Drops go back many at a time, but never behind a request that may need their seats.
        let mut dropped = Vec::new();
        for command in batch.drain(..) {
            if let Command::Dropped(lease) = command {
                dropped.push(lease);
                continue;
            }
            self.session.dropped(&std::mem::take(&mut dropped), now);
            match command {
                Command::Shutdown(reply) => self.close(Some(reply), now),
                command => self.session.command(command, now),
            }
        }
        self.session.dropped(&dropped, now);
    }

    fn close(&mut self, reply: Option<oneshot::Sender<Result<(), Unreleased>>>, now: Moment) {
        match &mut self.session.closing {
            Some(closing) => closing.replies.extend(reply),
            None => {
                let deadline = now.plus(SHUTDOWN_BOUND);
                self.session.close(Closing { deadline, replies: reply.into_iter().collect() }, now);
            }
        }
    }

    // ---- time

    fn on_time(&mut self, now: Moment) {
        if !self.session.tick(now) {
            self.lost(Obstacle::Silence, now);
        }
        match &self.link {
            Link::Resting(until) if now >= *until => self.dial(),
            Link::Draining(_, until) if now >= *until => self.rest(now.plus(Backoff::spread())),
            Link::Resting(_) | Link::Draining(..) | Link::Dialing(_) | Link::Attached(_) => {}
        }
        self.store(now);
    }

    fn store(&mut self, now: Moment) {
        let is_due = self.session.has_new_witnesses && now >= self.stored_at.plus(STORE_EVERY);
        if let Some(file) = &self.witness_file
            && is_due
        {
            self.session.has_new_witnesses = false;
            self.stored_at = now;
            let (file, kept) = (file.clone(), self.session.witnesses.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = file.store(&kept) {
                    tracing::warn!(%error, "what the installation said last could not be stored");
                }
            });
        }
    }

    // ---- the link

    fn server(&self) -> Endpoint {
        self.servers[self.at].clone()
    }

    fn dial(&mut self) {
        self.hello.highest_lease_id = self.session.highest_lease_id;
        self.hello.witnesses = self.session.witnesses.shown();
        self.link = Link::dial(self.server(), self.hello.clone());
    }

    fn rest(&mut self, until: Moment) {
        self.tried = 0;
        self.link = Link::Resting(until);
    }

    fn turn_to_next(&mut self) {
        self.at = (self.at + 1) % self.servers.len();
    }

    fn on_news(&mut self, news: News, now: Moment) {
        match news {
            News::Sent => {}
            News::Dialed(Ok(welcomed)) => self.attached(*welcomed, now),
            News::Dialed(Err(obstacle)) => self.dial_failed(obstacle, now),
            News::Lost(obstacle) => self.lost(obstacle, now),
            News::Answer(answer) => match self.session.received(*answer, now) {
                Turn::Stay => {}
                Turn::Drain => self.drain(now),
                Turn::Elsewhere if self.servers.len() > 1 => {
                    let obstacle = Obstacle::Broken("the server is not the active one".to_owned());
                    self.detached(obstacle);
                    self.turn_to_next();
                    let wait = self.backoff.next();
                    self.rest(now.plus(wait));
                }
                // There is no elsewhere: the request is tried here again in a while.
                Turn::Elsewhere => {}
            },
        }
    }

    fn attached(&mut self, welcomed: Welcomed, now: Moment) {
        let Welcomed { server, channel, wire, welcome } = welcomed;
        tracing::info!(%server, installation = %welcome.installation_id, "attached to license server");
        let doubted = self.session.attached(&welcome, now);
        self.attached_at = now;
        self.tried = 0;
        self.link = Link::Attached(wire);
        self.ask(&channel, doubted);
        self.channel.send_replace(Some(channel));
        let installation_id = welcome.installation_id;
        let attached =
            ClientEvent::Attached { server: server.clone(), installation_id: installation_id.as_str().into() };
        // Nobody listening is no failure, here and below.
        let _ = self.session.events.send(attached);
        for message in welcome.notices {
            let notice = ClientEvent::Notice { reason: "".into(), message: message.into() };
            let _ = self.session.events.send(notice);
        }
        self.connection.send_replace(Connection::Attached { server, installation_id });
    }

    fn dial_failed(&mut self, obstacle: Obstacle, now: Moment) {
        tracing::debug!(server = %self.server(), %obstacle, "no license server there");
        let advice = match &obstacle {
            Obstacle::Refused(Refusal { retry_after, .. }) => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        self.session.detached(obstacle.clone());
        self.connection.send_replace(Connection::Detached { obstacle });
        self.turn_to_next();
        self.tried += 1;
        if self.tried < self.servers.len() {
            self.dial();
        } else {
            let wait = self.backoff.next().max(advice);
            self.rest(now.plus(wait));
        }
    }

    /// The connection is no more. The same server is tried first: it may be back before the others know.
    fn lost(&mut self, obstacle: Obstacle, now: Moment) {
        if now.since(self.attached_at) >= GOOD_CONNECTION {
            self.backoff = Backoff::between_dials();
        }
        let wait = match (&obstacle, &self.link) {
            (Obstacle::Refused(refusal), _) if refusal.reason == reason::DISPLACED => {
                tracing::error!(
                    "another client of the same name and instance took this one's place, and its leases with it; give \
                     each process its own instance"
                );
                DISPLACED_REST
            }
            (_, Link::Attached(_)) if now.since(self.attached_at) < GOOD_CONNECTION => self.backoff.next(),
            (_, Link::Attached(_) | Link::Draining(..) | Link::Resting(_) | Link::Dialing(_)) => Backoff::spread(),
        };
        self.detached(obstacle);
        self.rest(now.plus(wait));
    }

    fn detached(&mut self, obstacle: Obstacle) {
        if matches!(self.link, Link::Attached(_)) {
            tracing::info!(server = %self.server(), %obstacle, "detached from license server");
            self.say_detached(&obstacle);
        }
        self.session.detached(obstacle);
    }

    fn say_detached(&mut self, obstacle: &Obstacle) {
        self.questions = JoinSet::new();
        self.channel.send_replace(None);
        let _ = self.session.events.send(ClientEvent::Detached { obstacle: obstacle.clone() });
        self.connection.send_replace(Connection::Detached { obstacle: obstacle.clone() });
    }

    /// The server is stopping: what was asked may still be answered, everything else goes elsewhere.
    fn drain(&mut self, now: Moment) {
        let obstacle = Obstacle::Broken("the server is stopping".to_owned());
        tracing::info!(server = %self.server(), "license server is stopping");
        self.say_detached(&obstacle);
        self.session.detached(obstacle);
        self.turn_to_next();
        let resting = Link::Resting(now);
        self.link = std::mem::replace(&mut self.link, resting).drain(now.plus(DRAIN_PATIENCE));
    }

    // ---- questions beside the stream

    fn ask(&mut self, channel: &Channel, doubted: Vec<u64>) {
        self.session.site_keys_heard = false;
        let asking = LeasingClient::new(channel.clone()).max_decoding_message_size(LARGEST_LIST_BYTES);
        let caller = self.hello.caller.clone();
        self.questions.spawn(site_keys(asking.clone(), caller.clone()));
        for leases in doubted.chunks(MOST_LEASES_A_MESSAGE) {
            self.questions.spawn(doubts(asking.clone(), caller.clone(), leases.to_vec()));
        }
    }

    fn on_answer(&mut self, answer: Answer, now: Moment) {
        match answer {
            // What was heard on the stream since may be newer than this answer.
            Answer::SiteKeys(_) if self.session.site_keys_heard => {
                let channel = self.channel.borrow().clone();
                if let Some(channel) = channel {
                    self.ask(&channel, Vec::new());
                }
            }
            Answer::SiteKeys(keys) => {
                let keys = keys.into_iter().map(site_key).collect();
                self.session.site_keys.send_replace(SiteKeys { known: true, keys });
            }
            Answer::Doubts(leases, outcomes) => self.session.doubts(&leases, outcomes, now),
        }
    }
}

/// What was learned beside the stream.
enum Answer {
    SiteKeys(Vec<v1::SiteKey>),
    /// What the server says of leases that it did not name.
    Doubts(Vec<u64>, Vec<v1::LeaseOutcome>),
}

async fn site_keys(mut asking: LeasingClient<Channel>, caller: Option<v1::Caller>) -> Answer {
    let mut backoff = Backoff::new();
    loop {
        let question = v1::SiteKeysRequest { caller: caller.clone(), ..v1::SiteKeysRequest::default() };
        match asking.site_keys(question).await {
            Ok(response) => return Answer::SiteKeys(response.into_inner().keys),
            Err(status) => tracing::debug!(%status, "site keys not known yet"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// A renewal is the question that says of each lease whether it lives and, if not, why.
async fn doubts(mut asking: LeasingClient<Channel>, caller: Option<v1::Caller>, leases: Vec<u64>) -> Answer {
    let question = v1::RenewRequest { caller, lease_ids: leases.clone() };
    match asking.renew(question).await {
        Ok(response) => Answer::Doubts(leases, response.into_inner().outcomes),
        Err(status) => {
            tracing::debug!(%status, "the server does not say what became of leases");
            Answer::Doubts(leases, Vec::new())
        }
    }
}
