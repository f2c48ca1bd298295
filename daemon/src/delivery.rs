//! Delivery (04): closed usage files go to the licensor, one at a time, oldest first; its signed receipts are taken and kept;
//! what is acknowledged and old enough goes. Sealing and the bookkeeping of segments is the usage room's. Leases never wait
//! for anything here.

mod attempt;
mod bucket;
mod deadline;
mod driver;
mod endpoint;
mod examine;
mod file_body;
mod imprint;
mod memory;
mod receipts;
mod secrets;
mod settings;
mod state;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use leasehold_engine::{
    row::UsageSegmentRow,
    time::{DAY_MS, WallTime},
};
use leasehold_keys::trust::Trust;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
};

pub use deadline::{Deadline, Nearness, Period, Zone, deadlines};
pub use settings::{BucketSettings, Destination, NotADestination, Settings, bucket_endpoint};
pub use state::{Failure, FileState, FileView, Held, Mode, State};

use crate::{
    clock::Clock,
    core::{Core, Refused},
    usage::{Progress, ProgressFault, Usage},
    way_out::{Network, Trouble, doctor},
};
use driver::{Driver, Stop};
use memory::Memory;
use receipts::{Brought, Receipts};

/// What delivery stands on.
pub struct Ground {
    /// Where attempts are remembered, and `usage/` is.
    pub state_directory: PathBuf,
    /// The core.
    pub core: Core,
    /// The clock of the core.
    pub clock: Clock,
    /// The usage room, which keeps the books.
    pub usage: Usage,
    /// The roots in force, asked for at each receipt.
    pub trust: Box<dyn Fn() -> Trust + Send + Sync>,
    /// What the doctor's small object in a bucket is called after: the installation's ID.
    pub installation: String,
    /// The site's time zone.
    pub zone: Zone,
    /// The way out.
    pub network: Network,
}

/// Everything that the handle and its task share.
struct Inner {
    settings: Settings,
    state_directory: PathBuf,
    core: Core,
    clock: Clock,
    usage: Usage,
    trust: Box<dyn Fn() -> Trust + Send + Sync>,
    installation: String,
    zone: Zone,
    network: Network,
    receipts: Receipts,
    memory: Mutex<Memory>,
    /// Held by who puts the memory on disk.
    writing: tokio::sync::Mutex<()>,
    hurry: Notify,
    /// How often somebody asked for an attempt at once …
    asked: AtomicU64,
    /// … and as how many of them all that was due was tried.
    tried: watch::Sender<u64>,
    state: watch::Sender<State>,
}

/// A handle to delivery. Cheap to clone; when the last is dropped, nothing more goes out.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl Delivery {
    /// Starts it. Nothing goes out before the core has left [`crate::core::Phase::Starting`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: Settings, ground: Ground) -> Self {
        let Ground { state_directory, core, clock, usage, trust, installation, zone, network } = ground;
        let memory = Memory::open(&state_directory, clock.now());
        let inner = Arc::new(Inner {
            receipts: Receipts::of(&state_directory.join("usage")),
            settings,
            state_directory,
            core,
            clock,
            usage,
            trust,
            installation,
            zone,
            network,
            memory: Mutex::new(memory),
            writing: tokio::sync::Mutex::default(),
            hurry: Notify::new(),
            asked: AtomicU64::new(0),
            tried: watch::Sender::default(),
            state: watch::Sender::default(),
        });
        let stop = Driver::start(inner.clone());
        Self { inner, stop: Arc::new(Mutex::new(Some(stop))) }
    }

    /// How it is, and every change of that.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.inner.state.subscribe()
    }

    /// Every usage file that is kept, by number, with how far it has come.
    ///
    /// # Errors
    /// See [`Core::read`].
    pub async fn files(&self) -> Result<Vec<FileView>, Refused> {
        let inner = &self.inner;
        let read = |engine: &leasehold_engine::Engine, now| {
            (engine.usage_segments().cloned().collect::<Vec<_>>(), driver::mode(&engine.usage_plan(now)), now)
        };
        let (rows, mode, now) = inner.core.read(read).await?;
        let folder = inner.receipts.clone();
        // Where they cannot be seen, none is shown.
        let receipts = blocking(move || Ok(folder.names())).await.unwrap_or_default();
        let uploading = inner.state.borrow().uploading.clone();
        let zone = inner.zone.time_zone();
        let view = |row: UsageSegmentRow| {
            let waits = row.closed.is_some() && row.acknowledged.is_none() && mode == Mode::Automatic;
            let (way, own) = inner.memory(|memory| {
                let own = memory.file(&row.file).and_then(|attempts| attempts.failure(now));
                (memory.way().and_then(|way| way.failure(now)), own)
            });
            let held = own.as_ref().filter(|_| waits).and_then(|own| FileState::of(&own.trouble));
            // What is the matter with this file alone says more; it goes no sooner than the way does.
            let failure = match (own, way) {
                (Some(own), Some(way)) if held.is_some() => Some(Failure { again: own.again.max(way.again), ..own }),
                (Some(own), None) => Some(own),
                (_, way) => way,
            };
            let failure = failure.filter(|_| waits);
            let due = deadline::due(&row, &zone).filter(|_| row.acknowledged.is_none());
            let (due, due_day) = due.unzip();
            let state = if row.acknowledged.is_some() {
                FileState::Acknowledged
            } else if uploading.as_deref() == Some(&row.file) {
                FileState::Uploading
            } else if let Some(held) = held {
                held
            } else if due.is_some_and(|due| due <= now.wall) {
                FileState::Overdue
            } else if row.closed.is_none() {
                FileState::Open
            } else if row.uploaded.is_some() {
                FileState::Uploaded
            } else {
                FileState::Closed
            };
            let receipt = receipts.contains(&row.file).then(|| inner.receipts.path(&row.file));
            let keep_ms = i64::from(inner.settings.keep_days) * DAY_MS;
            let kept_until = row.acknowledged.filter(|_| mode != Mode::Local).map(|at| at.plus_ms(keep_ms));
            FileView { path: inner.usage.path(&row), state, due, due_day, failure, receipt, kept_until, row }
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Takes a receipt that came by hand.
    ///
    /// # Errors
    /// [`Trouble::ReceiptForOther`], [`Trouble::ReceiptNotSigned`], [`Trouble::Garbage`], or what could not be kept. The
    /// file stays as it was.
    pub async fn take_receipt(&self, receipt: Vec<u8>) -> Result<UsageSegmentRow, Trouble> {
        let inner = &self.inner;
        let read = |engine: &leasehold_engine::Engine, now| (engine.usage_segments().cloned().collect::<Vec<_>>(), now);
        let (rows, now) = inner.core.read(read).await.map_err(not_noted)?;
        let said = (inner.trust)()
            .usage_receipt(&receipt, now.wall)
            .map_err(|refusal| receipts::unverified(&refusal, Brought::ByHand))?;
        let row = rows.into_iter().find(|row| row.file == said.name.to_string()).ok_or_else(|| {
            Trouble::ReceiptForOther { why: format!("it is for {}, and no such file is kept here", said.name) }
        })?;
        inner.take(receipt, &row, now.wall, Brought::ByHand).await?;
        inner.remember(|memory| memory.done(&row.file)).await;
        Ok(row)
    }

    /// Has everything that waits tried now.
    pub async fn hurry(&self) {
        self.inner.remember(Memory::hurry).await;
        self.inner.asked.fetch_add(1, Ordering::AcqRel);
        self.inner.hurry.notify_one();
    }

    /// Has everything that waits tried now, and waits until it was, at most so long; true where it was.
    pub async fn send_now(&self, within: Duration) -> bool {
        self.hurry().await;
        let ticket = self.inner.asked.load(Ordering::Acquire);
        let mut tried = self.inner.tried.subscribe();
        matches!(tokio::time::timeout(within, tried.wait_for(|tried| *tried >= ticket)).await, Ok(Ok(_)))
    }

    /// Tests the way out, step by step. Into a bucket a small object is written.
    ///
    /// # Errors
    /// See [`Core::read`].
    pub async fn doctor(&self) -> Result<doctor::Report, Refused> {
        let inner = &self.inner;
        let (plan, now) = inner.core.read(|engine, now| (engine.usage_plan(now), now)).await?;
        let probe = format!("{}.probe", inner.installation);
        let licensed = plan.destination.as_deref();
        Ok(examine::examine(&inner.settings, &inner.network, licensed, &probe, now.wall).await)
    }

    /// Ends it. An attempt under way is given up, and made again after the next start.
    pub async fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            stop.stop().await;
        }
    }
}

impl Inner {
    fn memory<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is remembered, and puts it on disk where that made a difference.
    async fn remember(&self, change: impl FnOnce(&mut Memory)) {
        {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let before = memory.clone();
            change(&mut memory);
            if *memory == before {
                return;
            }
        }
        let _turn = self.writing.lock().await;
        let (memory, folder) = (self.memory(Memory::clone), self.state_directory.clone());
        let disk = blocking(move || memory.keep(&folder)).await.err().map(|trouble| {
            format!("when usage files were last tried cannot be kept: {trouble}. To do: {}", trouble.remedy())
        });
        self.state.send_if_modified(|state| {
            let changed = state.disk != disk;
            state.disk = disk;
            changed
        });
    }

    fn uploading(&self, file: Option<&str>) {
        self.state.send_modify(|state| state.uploading = file.map(str::to_owned));
    }

    async fn kept_receipt(&self, file: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let (receipts, file) = (self.receipts.clone(), file.to_owned());
        blocking(move || receipts.kept(&file)).await
    }

    /// Verifies a receipt for a file, keeps it, and notes that the file is acknowledged.
    async fn take(
        &self,
        receipt: Vec<u8>,
        row: &UsageSegmentRow,
        now: WallTime,
        brought: Brought,
    ) -> Result<(), Trouble> {
        let verified = receipts::verified(&receipt, &(self.trust)(), row, now, brought)?;
        let (receipts, file) = (self.receipts.clone(), row.file.clone());
        blocking(move || receipts.keep(&file, &verified)).await?;
        if row.uploaded.is_none() {
            self.progress(row.number, Progress::Uploaded(now)).await?;
        }
        self.progress(row.number, Progress::Acknowledged(now)).await
    }

    async fn progress(&self, segment: u32, progress: Progress) -> Result<(), Trouble> {
        self.usage.progress(segment, progress).await.map_err(|fault| match fault {
            ProgressFault::File { file, fault } => Trouble::Disk { path: Path::new(&file).to_owned(), why: fault },
            fault => Trouble::NotNoted { why: fault.to_string() },
        })
    }
}

fn not_noted(refused: Refused) -> Trouble {
    Trouble::NotNoted { why: refused.to_string() }
}

/// Does what waits for disks where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => Err(Trouble::NotNoted { why: fault.to_string() }),
    }
}
