//! The usage room (04): seals what the engine tells of logons and logoffs into segments, and writes their files. The engine
//! and the database decide what was used; this room only carries it, and leases never wait for it. How files get to the
//! licensor, and how long they are kept then, is decided elsewhere, by [`Usage::watch`], [`Usage::segments`] and
//! [`Usage::progress`].
//!
//! What it keeps (USAGE-6):
//!
//! - An event is in the database from the commit of the logon or logoff that it reports; one later commit stores the sealed
//!   record and takes the event away. Only then are the very bytes appended to the file.
//! - Bytes that were sealed and not committed are never written, and their key is dropped.
//! - A file is a copy: whatever befalls it, it is made again from the database until it is acknowledged, or was found whole
//!   a week after it was closed.
//! - No copy replaces what this installation sealed and the database does not hold, as where an older database was put back:
//!   such a file is set aside, and told.

pub mod bundle;
mod copies;
mod disk;
mod draft;
mod driver;
mod heart;
mod look;
mod naming;
pub mod proof;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use leasehold_engine::{row::UsageSegmentRow, time::WallTime};
use leasehold_keys::usage::{RemarkCode, UsagePublicKey};
use tokio::sync::{oneshot, watch};

pub use naming::{NamesSetting, PSEUDONYM_KEY_FILE};

use crate::{
    clock::Clock,
    core::{Core, Refused},
    identity::Identity,
    storage::Reader,
};
use driver::{Ask, Driver};

/// What the room is asked and told that waits; it takes them all at each turn.
const ASKS_MAX: usize = 256;

/// What the configuration says of usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How users are called (USAGE-8).
    pub names: NamesSetting,
    /// The customer's own key: whoever holds its private half can open every file too.
    pub reader: Option<UsagePublicKey>,
}

/// How the room is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// USAGE-1: events are collected.
    pub collecting: bool,
    /// Events that are not sealed yet, when the room looked last.
    pub waiting: usize,
    /// When something was sealed, by trusted time; `None`: nothing was since the start.
    pub last_sealed: Option<WallTime>,
    /// Why nothing can be sealed, and what to do; events wait in the database.
    pub trouble: Option<String>,
    /// Why files cannot be written, and what to do; what they lack waits in the database.
    pub disk: Option<String>,
    /// Files that lack something which the database holds.
    pub behind: usize,
    /// Files that are gone or are not what was written, and that nobody has acknowledged.
    pub missing: Vec<String>,
    /// Files in the folder that an older database would have replaced, and that were set aside: they hold what that database
    /// does not. Until somebody has sent them to the licensor and taken them away.
    pub aside: Vec<String>,
    /// Rises whenever segments have changed: begun, grown, closed, or moved on.
    pub changes: u64,
}

/// How far a closed segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its file was uploaded whole. The first time counts.
    Uploaded(WallTime),
    /// A receipt of the licensor for its very bytes was taken. Its records leave the database.
    Acknowledged(WallTime),
    /// It has been kept long enough: its file and its row go. Only what is acknowledged may, and never the newest of its
    /// installation, which the next one continues.
    Forgotten,
}

/// Why a segment did not move on.
#[derive(Debug, thiserror::Error)]
pub enum ProgressFault {
    /// There is none.
    #[error("there is no usage segment {0}")]
    Unknown(u32),
    /// It is being written.
    #[error("the usage segment {0} is not closed")]
    Open(u32),
    /// It must stay.
    #[error("the usage segment {0} must stay: it is not acknowledged, or is the newest of its installation")]
    Stays(u32),
    /// Its file could not be taken away.
    #[error("the usage file {file} cannot be removed: {fault}")]
    File {
        /// Which.
        file: String,
        /// Why.
        fault: String,
    },
    /// The core does not take it.
    #[error(transparent)]
    Core(#[from] Refused),
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealNowFault {
    /// The room cannot seal, as [`State::trouble`] tells.
    #[error("{0}")]
    Trouble(String),
    /// The core does not take it.
    #[error(transparent)]
    Core(#[from] Refused),
}

/// A handle to the room. Cheap to clone; when the last is dropped, the room ends where it is, as by a kill.
#[derive(Clone)]
pub struct Usage {
    core: Core,
    folder: Arc<Path>,
    asks: mpsc::SyncSender<Ask>,
    state: watch::Receiver<State>,
}

/// What the room stands on.
pub struct Ground {
    /// Where its folder `usage/` and its key are.
    pub state_directory: PathBuf,
    /// The core.
    pub core: Core,
    /// The clock of the core.
    pub clock: Clock,
    /// Reads the core's database.
    pub reader: Reader,
    /// Who signs.
    pub identity: Arc<Identity>,
    /// The usage key of the root in force, asked for at each turn.
    pub licensor: Box<dyn Fn() -> [u8; 32] + Send>,
}

impl Usage {
    /// Starts the room on a thread of its own. It does nothing until the core has left [`crate::core::Phase::Starting`].
    ///
    /// # Errors
    /// The system gives no thread.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: Settings, ground: Ground) -> std::io::Result<Self> {
        let (asks, asked) = mpsc::sync_channel(ASKS_MAX);
        let (said, state) = watch::channel(State::default());
        let core = ground.core.clone();
        let driver = Driver::new(settings, ground, asked, said);
        let folder = driver.folder().into();
        let runtime = tokio::runtime::Handle::current();
        thread::Builder::new().name("usage".into()).spawn(move || driver.run(&runtime))?;
        Ok(Self { core, folder, asks, state })
    }

    /// Says something of the server in the next usage record, such as evidence about its clock; at most 512 bytes of
    /// `text` go out. Nothing is said while no usage is collected. What is not sealed yet is lost in a crash.
    pub fn remark(&self, code: RemarkCode, text: impl Into<String>) {
        let text = text.into();
        if self.asks.try_send(Ask::Remark(code, text)).is_err() {
            tracing::warn!(%code, "a remark is left out of the usage files: too many wait, or the daemon stops");
        }
    }

    /// How it is, and every change of that.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// All segments that are kept, by number.
    ///
    /// # Errors
    /// See [`Core::read`].
    pub async fn segments(&self) -> Result<Vec<UsageSegmentRow>, Refused> {
        self.core.read(|engine, _| engine.usage_segments().cloned().collect()).await
    }

    /// Where a segment's file is.
    pub fn path(&self, segment: &UsageSegmentRow) -> PathBuf {
        self.folder.join(&segment.file)
    }

    /// Has a file compared byte by byte, and made again where it is not what was written. [`State::behind`] and
    /// [`State::missing`] tell what came of it.
    pub fn check(&self, segment: u32) {
        // Where too much waits, whoever asks finds the file as it is and asks again.
        let _ = self.asks.try_send(Ask::Check(segment));
    }

    /// Seals what waits at this moment, instead of within a minute; tells how many events that were.
    ///
    /// # Errors
    /// See [`SealNowFault`]; what waits is sealed later.
    pub async fn seal(&self) -> Result<u64, SealNowFault> {
        let (to, answer) = oneshot::channel();
        self.asks.try_send(Ask::Seal(to)).map_err(|why| match why {
            mpsc::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::TrySendError::Disconnected(_) => Refused::Draining,
        })?;
        answer.await.map_err(|_| Refused::Draining)?
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes durable how far a segment has come. The room is the only one that changes segments.
    ///
    /// # Errors
    /// See [`ProgressFault`].
    pub async fn progress(&self, segment: u32, progress: Progress) -> Result<(), ProgressFault> {
        let (to, answer) = oneshot::channel();
        self.asks.try_send(Ask::Progress(segment, progress, to)).map_err(|why| match why {
            mpsc::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::TrySendError::Disconnected(_) => Refused::Draining,
        })?;
        answer.await.map_err(|_| Refused::Draining)?
    }

    /// Seals what waits, closes the segment, syncs its file and ends. To be called before the core is stopped; bounded by
    /// the caller: what is not sealed is sealed at the next start.
    pub async fn stop(&self) {
        let (to, ended) = oneshot::channel();
        if self.asks.try_send(Ask::Stop(to)).is_ok() {
            let _ = ended.await;
        }
    }
}
