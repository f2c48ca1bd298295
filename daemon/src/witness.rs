//! The witness room: what this installation says of how far it has come, and what it hears of that from application servers
//! (03, Witness); and leases as signed tokens (03, Signed leases). It signs and verifies; what is evidence is the engine's
//! matter.
//!
//! One statement serves all streams: at most one a second is signed, only where numbers have moved and somebody is attached,
//! and only of what is durable. A grant never waits for a signature.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use leasehold_engine::{
    SignableLease,
    command::{CallerInfo, Command, Reached, Witnessed},
    decision::Reply,
    ids::Identity as Caller,
    row::WitnessRow,
    time::WallTime,
};
use leasehold_keys::{
    lease_token::{LeaseToken, Subject},
    usage::RemarkCode,
    witness::Statement,
};
use tokio::sync::{Notify, watch};

use crate::{
    core::{Core, Refused},
    identity::Identity,
    usage::Usage,
};

/// The least time between two signatures.
const REST: Duration = Duration::from_secs(1);
/// How soon what could not be judged is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Statements of this installation that one stream may show; it needs to show the highest.
const MOST_SHOWN: usize = 2;
/// Statements that wait until evidence can be stored again.
const MOST_WAITING: usize = 64;

/// A statement with the installation's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What is said.
    pub statement: Statement,
    /// The signature.
    pub signature: [u8; 64],
}

/// A statement as an application server shows it; nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it says.
    pub statement: Statement,
    /// What is to be a signature.
    pub signature: Vec<u8>,
}

/// A handle to the room. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    room: Arc<Room>,
}

struct Room {
    core: Core,
    identity: Arc<Identity>,
    usage: Usage,
    said: watch::Sender<Option<Said>>,
    moved: Notify,
    waiting: Mutex<BTreeSet<Statement>>,
}

impl Witness {
    /// Starts the room. It ends with the core.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(core: Core, identity: Arc<Identity>, usage: Usage) -> Self {
        let room = Arc::new(Room {
            core,
            identity,
            usage,
            said: watch::Sender::new(None),
            moved: Notify::new(),
            waiting: Mutex::default(),
        });
        tokio::spawn(room.clone().run());
        Self { room }
    }

    /// What is said, and every change of it. Whoever holds this is told: it counts as attached.
    pub fn follow(&self) -> watch::Receiver<Option<Said>> {
        let mut said = self.room.said.subscribe();
        // What was said before is news to a new stream.
        said.mark_changed();
        self.room.moved.notify_one();
        said
    }

    /// Numbers may have moved: a lease was granted.
    pub fn moved(&self) {
        self.room.moved.notify_one();
    }

    /// Hears what an application server shows, and waits until what comes of it is durable: to be called before it is
    /// attached, so that what it is granted lies above. While evidence cannot be stored it is judged later.
    pub async fn hear(&self, by: &CallerInfo, shown: Vec<Shown>) {
        let ours = self.room.identity.installation_id();
        let shown = shown.into_iter().filter(|shown| shown.statement.installation == ours).take(MOST_SHOWN);
        for Shown { statement, signature } in shown {
            if self.room.has_said(&statement) {
                // It says nothing new whoever signed it.
                continue;
            }
            if let Err(fault) = statement.verify(&signature, &self.room.identity.public_key()) {
                tracing::debug!(identity = %by.identity, "What an application server shows does not count: {fault}.");
                continue;
            }
            let witnessed = Witnessed {
                by: by.identity.clone(),
                host: by.host.clone(),
                shown: Reached { epoch: statement.epoch, epoch_id: statement.epoch_id, fencing: statement.fencing },
                fresh: rand::random(),
            };
            match self.room.judge(witnessed.clone()).await {
                Ok(()) | Err(Refused::Draining | Refused::Rule(_)) => {}
                Err(Refused::Overloaded | Refused::StorageUnavailable(_) | Refused::Starting) => {
                    self.room.clone().judge_later(statement, witnessed);
                }
            }
        }
    }

    /// A lease as a token signed by this installation, made at this moment of trusted time; `None`, with a word in the log,
    /// where it is beyond what a token can say.
    pub fn token(&self, signable: &SignableLease, now: WallTime) -> Option<Vec<u8>> {
        let lease = &signable.lease;
        let subject = match (&lease.user, &lease.station) {
            (Some(user), station) => Subject::User { user: user.clone(), station: station.clone() },
            (None, Some(station)) => Subject::Station(station.clone()),
            (None, None) => Subject::Units,
        };
        let token = LeaseToken {
            installation: self.room.identity.public_key(),
            fencing: lease.id.0,
            issued: now,
            ttl_ms: lease.ends_in_ms.map_or(lease.ttl_ms, |(ms, _)| ms.min(lease.ttl_ms)),
            subject,
            application: lease.application.clone(),
            holder: signable.holder.to_string(),
            licenses: signable.licenses.iter().copied().collect(),
            keys: lease
                .keys
                .iter()
                .map(|held| (held.key.clone(), held.seat.as_ref().map_or(0, |seat| seat.1)))
                .collect(),
        };
        match token.sign(self.room.identity.installation()) {
            Ok(bytes) => Some(bytes),
            Err(fault) => {
                tracing::warn!(lease = lease.id.0, "A lease is given out without a token: {fault}.");
                None
            }
        }
    }

    /// A token for a lease that was granted to this caller; `None` where it has ended since, or the core has too much to do.
    pub async fn token_of(&self, caller: Caller, lease: leasehold_engine::ids::LeaseId) -> Option<Vec<u8>> {
        let question = move |engine: &leasehold_engine::Engine, now: leasehold_engine::time::Now| {
            engine.signable(now, &caller, lease).map(|signable| (signable, now.wall))
        };
        let (signable, now) = self.room.core.read(question).await.ok()?.ok()?;
        self.token(&signable, now)
    }
}

impl Room {
    async fn run(self: Arc<Self>) {
        let unsaid = self.core.read(|engine, now| engine.evidence_perhaps_unsaid(now)).await;
        for evidence in unsaid.iter().flatten() {
            self.remark(evidence);
        }
        loop {
            self.moved.notified().await;
            match self.say().await {
                Ok(()) => {}
                Err(Refused::Draining) => return,
                Err(refused) => {
                    tracing::debug!("Nothing can be said to witnesses now: {refused}.");
                    self.moved.notify_one();
                }
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Signs how far this state has come, where that has changed and somebody is there to hear it.
    async fn say(&self) -> Result<(), Refused> {
        if self.said.receiver_count() == 0 {
            return Ok(());
        }
        // The answer waits until all that it tells of is durable …
        let Some(reached) = self.core.read(|engine, _| engine.reached()).await? else { return Ok(()) };
        // … but for what a start or a renewal owes while nothing can be stored.
        if let Some(why) = &*self.core.storage_fault().borrow() {
            return Err(Refused::StorageUnavailable(why.to_string()));
        }
        let statement = Statement {
            installation: self.identity.installation_id(),
            epoch: reached.epoch,
            epoch_id: reached.epoch_id,
            fencing: reached.fencing,
        };
        if self.said.borrow().is_some_and(|said| said.statement == statement) {
            return Ok(());
        }
        match statement.sign(self.identity.installation()) {
            Ok(signature) => drop(self.said.send_replace(Some(Said { statement, signature }))),
            // Only beyond numbers that nobody comes to.
            Err(fault) => tracing::error!("Nothing can be said to witnesses: {fault}."),
        }
        Ok(())
    }

    /// True for what this very run has said, or could have.
    fn has_said(&self, statement: &Statement) -> bool {
        self.said.borrow().is_some_and(|Said { statement: said, .. }| {
            (said.epoch, said.epoch_id) == (statement.epoch, statement.epoch_id) && statement.fencing <= said.fencing
        })
    }

    async fn judge(&self, witnessed: Witnessed) -> Result<(), Refused> {
        match self.core.submit(Command::Witnessed(witnessed)).await? {
            Reply::Witnessed(Some(evidence)) => {
                self.remark(&evidence);
                self.moved.notify_one();
            }
            Reply::Witnessed(None) => {}
            reply => tracing::error!(?reply, "The engine gave a witness a wrong answer."),
        }
        Ok(())
    }

    /// Judges it once that can be stored. More than a few are not kept: whoever holds them shows them again.
    fn judge_later(self: Arc<Self>, statement: Statement, witnessed: Witnessed) {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= MOST_WAITING || !waiting.insert(statement) {
                return;
            }
        }
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN_AFTER).await;
                match self.judge(witnessed.clone()).await {
                    Err(Refused::Overloaded | Refused::StorageUnavailable(_) | Refused::Starting) => {}
                    Ok(()) | Err(Refused::Draining | Refused::Rule(_)) => break,
                }
            }
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&statement);
        });
    }

    /// It goes out with the next usage record (04).
    fn remark(&self, evidence: &WitnessRow) {
        self.usage.remark(RemarkCode::STATE_RESTORED, evidence.remark());
    }
}
