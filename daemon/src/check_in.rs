//! Check-in (05, The exchange): asks the licensor how each license stands, over the network by itself or by file for a site
//! that has none, and gives what it answers to the engine and to the clock. What an answer means for leases is the
//! engine's; leases never wait for anything here.

mod beside;
mod driver;
mod endpoint;
mod examine;
mod heart;
mod memory;
mod request;
mod trouble;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use leasehold_engine::{
    Engine,
    command::{CheckedIn, Command},
    standing::{Asked, StandingRow, Verdict},
    time::{Now, WallTime},
};
use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, CheckInRequest, CheckInStanding, Outstanding},
    digest::Sha256,
    name::Label,
    note::NoteKind,
    trust::{Presumed, Verified},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

pub use beside::Taken;
pub use endpoint::{Endpoint, NotAnEndpoint};
pub use heart::{Failure, View};
pub use trouble::Trouble;

use crate::{
    clock::{Clock, evidence::Testimony},
    core::{Core, Refused},
    folder::Folder,
    way_out::{Network, Patience, doctor::Report},
};
use driver::{Ask, Driver, Stop};
use heart::Heart;
use request::Speaker;

/// What the driver is asked that waits.
const ASKS_MAX: usize = 64;
/// An answer by file counts for so many days after its request was made.
pub const BY_HAND_DAYS: i64 = 14;

/// How long the licensor is waited for: its answer counts for five minutes.
pub const PATIENCE: Patience =
    Patience { step: Duration::from_secs(15), idle: Duration::from_secs(30), whole: Duration::from_secs(120) };

/// What the configuration says of check-ins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Goes before what activation files name.
    pub endpoint: Option<Endpoint>,
}

/// What check-ins stand on.
pub struct Ground {
    /// Where attempts are remembered.
    pub state_directory: PathBuf,
    /// The core.
    pub core: Core,
    /// The clock of the core.
    pub clock: Clock,
    /// The watched folder, with the trust in force and the identity.
    pub folder: Folder,
    /// The way out.
    pub network: Network,
}

/// What an answer came to that counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// How the license stands, says the licensor.
    pub standing: CheckInStanding,
    /// Its message for the administrator; empty where it has none.
    pub message: String,
    /// What came beside it.
    pub taken: Taken,
}

/// What came of checking in a license.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub license: LicenseId,
    /// What came of it.
    pub result: Result<Done, Trouble>,
}

/// What was taken by hand.
#[derive(Clone, Debug)]
pub enum ByHand {
    /// An answer.
    Answer(LicenseId, Done),
    /// The time that a note told.
    Time(WallTime),
}

/// A request to be carried by hand.
#[derive(Debug)]
pub struct ToCarry {
    /// The note.
    pub note: Verified<CheckInRequest>,
    /// Its answer counts until then.
    pub answer_by: WallTime,
}

/// Why there is no request to be carried.
#[derive(Debug, thiserror::Error)]
pub enum NoRequest {
    /// The core does not take it.
    #[error(transparent)]
    Core(#[from] Refused),
    /// No license, or not that one, asks for check-ins.
    #[error("no license in effect asks for check-ins")]
    NotNeeded,
    /// More than one asks, and none was named.
    #[error("{} licenses check in here; name the one that the request is for: {}", .0.len(), list(.0))]
    Several(Vec<LicenseId>),
    /// It cannot be made.
    #[error("{0}")]
    Trouble(Trouble),
}

fn list(licenses: &[LicenseId]) -> String {
    licenses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Everything that the handle and its task share.
struct Inner {
    settings: Settings,
    state_directory: PathBuf,
    core: Core,
    clock: Clock,
    folder: Folder,
    network: Network,
    boot_id: Label,
    heart: Mutex<Heart>,
    /// The highest counter that was given out for each license in this run. Held while a request is made, so that no two have
    /// the same.
    counters: tokio::sync::Mutex<BTreeMap<LicenseId, u64>>,
}

/// A handle to check-ins. Cheap to clone; when the last is dropped, nothing more is asked.
#[derive(Clone)]
pub struct CheckIns {
    inner: Arc<Inner>,
    asks: mpsc::Sender<Ask>,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl CheckIns {
    /// Starts them. Nothing is asked before the core has left [`crate::core::Phase::Starting`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: Settings, ground: Ground) -> Self {
        let Ground { state_directory, core, clock, folder, network } = ground;
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let inner = Arc::new(Inner {
            heart: Mutex::new(Heart::new(memory::open(&state_directory))),
            settings,
            state_directory,
            core,
            clock,
            folder,
            network,
            boot_id: request::boot_id(),
            counters: tokio::sync::Mutex::default(),
        });
        let stop = Driver::start(inner.clone(), asked);
        Self { inner, asks, stop: Arc::new(Mutex::new(Some(stop))) }
    }

    /// Has what has changed seen at once: after a switchover.
    pub fn look(&self) {
        // Where many wait, it is looked at anyway.
        let _ = self.asks.try_send(Ask::Look);
    }

    /// How check-ins of a license go.
    pub fn view(&self, license: LicenseId) -> View {
        let now = self.inner.clock.now();
        self.inner.heart(|heart| heart.view(license, now))
    }

    /// Where a license checks in, for people, if its file names `licensed`; `None` where that is nowhere.
    pub fn endpoint(&self, licensed: Option<&str>) -> Option<String> {
        match &self.inner.settings.endpoint {
            Some(configured) => Some(configured.to_string()),
            None => licensed.map(str::to_owned),
        }
    }

    /// Checks in now: one license, or all that do. Tells what came of each; of none where none does.
    ///
    /// # Errors
    /// [`Refused`] where the daemon stops.
    pub async fn now(&self, license: Option<LicenseId>) -> Result<Vec<Outcome>, Refused> {
        let (to, outcomes) = oneshot::channel();
        self.asks.send(Ask::Now(license, to)).await.map_err(|_| Refused::Draining)?;
        outcomes.await.map_err(|_| Refused::Draining)?
    }

    /// Makes a request that is carried to the licensor by hand, in place of an earlier one.
    ///
    /// # Errors
    /// See [`NoRequest`].
    pub async fn make_request(&self, license: Option<LicenseId>) -> Result<ToCarry, NoRequest> {
        let inner = &self.inner;
        let license = match license {
            Some(license) => license,
            None => {
                let asked = inner.core.read(|engine, now| engine.standing(now).licenses).await?;
                match asked.as_slice() {
                    [] => return Err(NoRequest::NotNeeded),
                    [one] => one.license,
                    several => return Err(NoRequest::Several(several.iter().map(|it| it.license).collect())),
                }
            }
        };
        let mut counters = inner.counters.lock().await;
        let (note, now) = inner.request(license, &mut counters).await?;
        let (Outstanding { request, nonce, counter, .. }, at) = (note.outstanding(), now.wall);
        let asked = Asked { nonce: nonce.0, request, counter, at };
        inner.core.submit(Command::Asked { license_id: license, asked }).await?;
        drop(counters);
        tracing::info!(%license, counter, "a check-in request was made to be carried by hand");
        Ok(ToCarry { note, answer_by: at.plus_ms(BY_HAND_DAYS * leasehold_engine::time::DAY_MS) })
    }

    /// Takes what came by hand: the answer to a request that was carried, or a time note.
    ///
    /// # Errors
    /// Why it does not count; nothing has changed then.
    pub async fn take_by_hand(&self, note: Vec<u8>) -> Result<ByHand, Trouble> {
        let taken = self.inner.take_by_hand(&note).await;
        match &taken {
            Ok(ByHand::Answer(license, done)) => {
                tracing::info!(%license, standing = %done.standing, message = done.message, "a check-in answer was taken by hand");
            }
            Ok(ByHand::Time(time)) => tracing::info!(%time, "a time note was taken"),
            Err(trouble) => tracing::warn!(
                trouble = crate::way_out::Named::code(trouble),
                "a note that was given by hand changes nothing: {trouble}"
            ),
        }
        taken
    }

    /// Tests the way out to each endpoint, step by step.
    ///
    /// # Errors
    /// See [`Core::read`].
    pub async fn doctor(&self) -> Result<Vec<Report<Trouble>>, Refused> {
        let inner = &self.inner;
        let (licenses, now) = inner.core.read(|engine, now| (engine.standing(now).licenses, now)).await?;
        let mut endpoints: Vec<Option<String>> = licenses.into_iter().map(|license| license.endpoint).collect();
        if inner.settings.endpoint.is_some() {
            endpoints.truncate(1);
        }
        endpoints.sort();
        endpoints.dedup();
        let mut reports = Vec::new();
        for licensed in endpoints {
            let endpoint = Endpoint::of(inner.settings.endpoint.as_ref(), licensed.as_deref());
            reports.push(examine::examine(endpoint, &inner.network, now.wall).await);
        }
        Ok(reports)
    }

    /// Ends them. An attempt under way is given up, and made again after the next start.
    pub async fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            stop.stop().await;
        }
    }
}

impl Inner {
    fn heart<T>(&self, with: impl FnOnce(&mut Heart) -> T) -> T {
        with(&mut self.heart.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A signed request, with a counter that no other has.
    async fn request(
        &self,
        license: LicenseId,
        counters: &mut BTreeMap<LicenseId, u64>,
    ) -> Result<(Verified<CheckInRequest>, Now), NoRequest> {
        let installation = self.folder.identity().installation_id();
        let facts = self.core.read(move |engine, now| request::facts(engine, license, installation, now)).await?;
        let facts = facts.ok_or(NoRequest::NotNeeded)?;
        let stored = facts.standing.row.as_ref().map_or(0, |row| row.counter);
        let counter = stored.max(counters.get(&license).copied().unwrap_or(0)) + 1;
        counters.insert(license, counter);
        let trust = self.folder.trust();
        let speaker = Speaker {
            identity: self.folder.identity(),
            boot_id: &self.boot_id,
            root_version: trust.trust().root().version,
            clock: self.clock.standing(),
        };
        let now = facts.now;
        Ok((request::signed(&facts, counter, &speaker).map_err(NoRequest::Trouble)?, now))
    }

    /// Gives an answer that is genuine, fits and is in time to the engine.
    async fn note(&self, answer: &Verified<CheckInAnswer>, previous: Option<Sha256>) -> Result<(), Trouble> {
        let told = CheckedIn {
            license_id: answer.license_id,
            counter: answer.counter,
            previous,
            answer: answer.sha256(),
            at: answer.time,
            verdict: match answer.standing {
                CheckInStanding::Good => Verdict::Good,
                CheckInStanding::Duplicate => Verdict::Duplicate,
                CheckInStanding::Revoked { from } => Verdict::Revoked { from },
            },
            message: answer.message.as_ref().map_or_else(String::new, ToString::to_string),
        };
        let noted = self.core.submit(Command::CheckedIn(told)).await;
        noted.map(drop).map_err(|refused| Trouble::NotNoted { why: refused.to_string() })
    }

    async fn take_by_hand(&self, note: &[u8]) -> Result<ByHand, Trouble> {
        let of_core = |refused: Refused| Trouble::NotNoted { why: refused.to_string() };
        let now = self.core.read(|_, now| now).await.map_err(of_core)?;
        let trust = self.folder.trust();
        let answer = match trust.trust().check_in_answer(note, presumed(now)) {
            Ok(answer) => answer,
            Err(_) if NoteKind::claimed(note) == Some(NoteKind::Time) => {
                let time = trust.trust().time_note(note, presumed(now)).map_err(|refusal| Trouble::of(&refusal))?;
                self.clock.tell(Testimony { earliest: time.time, latest: None });
                // Through the core, so that it counts before this is answered.
                self.core.read(|_, _| ()).await.map_err(of_core)?;
                return Ok(ByHand::Time(time.time));
            }
            Err(refusal) => return Err(Trouble::of(&refusal)),
        };
        let license = answer.license_id;
        let row = self.core.read(move |engine: &Engine, _| engine.standing_row(license).cloned()).await;
        let not_asked = || Trouble::NotAsked { license: license.to_string() };
        let row: StandingRow = row.map_err(of_core)?.ok_or_else(not_asked)?;
        // Any answer that counts takes away what was asked before, so that this was asked on top of the last one.
        let (asked, previous) = (row.asked.ok_or_else(not_asked)?, row.answer.map(|last| last.sha256));
        let outstanding = Outstanding {
            request: asked.request,
            nonce: leasehold_keys::check_in::Nonce(asked.nonce),
            license_id: license,
            installation: self.folder.identity().installation_id(),
            counter: asked.counter,
        };
        answer.fits(&outstanding).map_err(|refusal| Trouble::of(&refusal))?;
        // The time that the licensor has signed since tells a clock that is not confirmed from a request that is too old.
        if !asked.is_open(Now { wall: now.vouched_by(answer.time).confirmed(), ..now }) {
            return Err(Trouble::TooOld { asked: asked.at });
        }
        // It may be days old: it says that it is not earlier than then, and no more.
        self.clock.tell(Testimony { earliest: answer.time, latest: None });
        self.note(&answer, previous).await?;
        Ok(ByHand::Answer(license, done(&answer, Taken::default())))
    }
}

fn done(answer: &CheckInAnswer, taken: Taken) -> Done {
    let message = answer.message.as_ref().map_or_else(String::new, ToString::to_string);
    Done { standing: answer.standing, message, taken }
}

/// Between the line that is confirmed and trusted time.
fn presumed(now: Now) -> Presumed {
    Presumed { earliest: now.confirmed(), latest: now.wall }
}

/// Does what waits for disks where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => Err(Trouble::NotNoted { why: fault.to_string() }),
    }
}
