//! The task that delivers: one file at a time, oldest first, when it is due; and takes files away when their time is over.
//! It waits for the network and for disks, and nobody waits for it.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use leasehold_engine::{
    UsagePlan,
    row::UsageSegmentRow,
    time::{DAY_MS, LeaseTime, Now},
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    FileState, Held, Inner, Mode, State,
    attempt::{self, Before, Came, Peer},
    blocking,
    deadline::deadlines,
    imprint,
    memory::{Attempts, Memory},
    receipts::Brought,
    settings::Destination,
};
use crate::{
    core::Phase,
    usage::Progress,
    way_out::{Trouble, WAIT_MIN_MS},
};

/// The license, the clock and the root are looked at so often.
const LOOK_EVERY_MS: u64 = 60_000;
/// A file in the bucket that nobody signs for is sent again so often.
const RESEND_AFTER_MS: i64 = DAY_MS;
/// How often files are looked through for those whose time is over.
const CLEAR_EVERY_MS: u64 = 3_600_000;
/// How long ending waits for an attempt under way to be noted.
const END: Duration = Duration::from_millis(500);

/// The running task.
pub(super) struct Driver {
    inner: Arc<Inner>,
    cleared: Option<LeaseTime>,
}

/// Ends the task.
pub(super) struct Stop {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Stop {
    /// An attempt under way is given up: it is made again after the next start.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        if timeout(END, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// What the engine says at one look.
struct Look {
    plan: UsagePlan,
    rows: Vec<UsageSegmentRow>,
    now: Now,
}

/// What is to be done now.
enum Next {
    Try(Box<UsageSegmentRow>),
    Wait(LeaseTime),
}

impl Driver {
    pub(super) fn start(inner: Arc<Inner>) -> Stop {
        let (stop, stopped) = oneshot::channel();
        let driver = Driver { inner, cleared: None };
        let task = tokio::spawn(async move {
            tokio::select! {
                // Also where whoever could stop it is gone.
                _ = stopped => {}
                () = driver.run() => {}
            }
        });
        Stop { stop, task }
    }

    async fn run(mut self) {
        let mut phase = self.inner.core.phase();
        if phase.wait_for(|phase| *phase != Phase::Starting).await.is_err() {
            return;
        }
        let mut changes = self.inner.usage.watch();
        loop {
            changes.borrow_and_update();
            let asked = self.inner.asked.load(Ordering::Acquire);
            let until = match self.look().await {
                None => self.inner.clock.now().lease.plus_ms(LOOK_EVERY_MS),
                Some(look) => {
                    self.clear(&look).await;
                    match self.next(&look) {
                        Next::Try(row) => {
                            self.deliver(&look, &row).await;
                            continue;
                        }
                        Next::Wait(until) => {
                            self.inner.tried.send_replace(asked);
                            until
                        }
                    }
                }
            };
            loop {
                tokio::select! {
                    () = self.inner.hurry.notified() => break,
                    changed = changes.changed() => match changed {
                        Ok(()) => break,
                        // The usage room has ended.
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(self.inner.clock.longest_sleep()) => {
                        if self.inner.clock.now().lease >= until {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Sees what there is, and shows it.
    async fn look(&self) -> Option<Look> {
        let read = |engine: &leasehold_engine::Engine, now: Now| Look {
            plan: engine.usage_plan(now),
            rows: engine.usage_segments().cloned().collect(),
            now,
        };
        let look = self.inner.core.read(read).await.ok()?;
        let waits: BTreeSet<&str> =
            look.rows.iter().filter(|row| row.acknowledged.is_none()).map(|row| row.file.as_str()).collect();
        let destination = attempt::destination(&self.inner.settings, look.plan.destination.as_deref()).ok();
        let settings = {
            let inner = self.inner.clone();
            blocking(move || Ok(imprint::of(&inner.settings, &inner.network, &inner.installation))).await.ok()
        };
        self.inner
            .remember(|memory| {
                memory.retain(|name| waits.contains(name));
                if let Some(destination) = &destination {
                    memory.go_to(&destination.to_string());
                }
                if let Some(settings) = &settings {
                    memory.go_with(settings);
                }
            })
            .await;
        self.show(&look, destination.as_ref());
        Some(look)
    }

    fn show(&self, look: &Look, destination: Option<&Destination>) {
        let zone = self.inner.zone.time_zone();
        let deadlines = deadlines(&look.rows, look.now.wall, &zone);
        let waiting = look.rows.iter().filter(|row| row.closed.is_some() && row.acknowledged.is_none());
        let (waiting, waiting_bytes) = waiting.fold((0, 0), |(count, bytes), row| (count + 1, bytes + row.bytes));
        let mode = mode(&look.plan);
        let (way, held) = self
            .inner
            .memory(|memory| (memory.way().and_then(|way| way.failure(look.now)), held(&look.rows, memory, look.now)));
        self.inner.state.send_if_modified(|state| {
            let after = State {
                mode,
                destination: destination.map(ToString::to_string),
                waiting,
                waiting_bytes,
                // Where nothing waits or goes by itself, nothing is the matter.
                failure: way.filter(|_| waiting > 0 && mode == Mode::Automatic),
                held: if mode == Mode::Automatic { held } else { Vec::new() },
                last_acknowledged: look.rows.iter().filter_map(|row| row.acknowledged).max(),
                deadlines,
                ..state.clone()
            };
            let changed = *state != after;
            *state = after;
            changed
        });
    }

    /// The oldest file that is due; or until when nothing is.
    fn next(&self, look: &Look) -> Next {
        let now = look.now;
        let later = now.lease.plus_ms(LOOK_EVERY_MS);
        if !look.plan.upload {
            return Next::Wait(later);
        }
        self.inner.memory(|memory| {
            if let Some(way) = memory.way()
                && !way.is_due(now)
            {
                return Next::Wait(way.due(now).min(later));
            }
            let mut until = later;
            for row in look.rows.iter().filter(|row| row.acknowledged.is_none() && row.sha256.is_some()) {
                match memory.file(&row.file) {
                    Some(attempts) if !attempts.is_due(now) => until = until.min(attempts.due(now)),
                    _ => return Next::Try(Box::new(row.clone())),
                }
            }
            Next::Wait(until)
        })
    }

    async fn deliver(&self, look: &Look, row: &UsageSegmentRow) {
        self.inner.uploading(Some(&row.file));
        let result = self.attempt(look, row).await;
        let (now, roll) = (self.inner.clock.now(), rand::random::<f64>());
        let now = Now { wall: look.now.wall.max(now.wall), ..now };
        match &result {
            Ok(Came::Receipt(_)) => {
                tracing::info!(file = row.file, bytes = row.bytes, "usage file receipted by the licensor")
            }
            Ok(Came::Sent) => {
                tracing::info!(file = row.file, bytes = row.bytes, "usage file sent; its receipt is awaited")
            }
            Ok(Came::NotYet) => tracing::debug!(file = row.file, "no receipt yet"),
            Err(trouble) => {
                tracing::warn!(
                    file = row.file,
                    trouble = trouble.code(),
                    "a usage file was not delivered: {trouble}. It stays here and is tried again. To do: {}",
                    trouble.remedy()
                );
                if matches!(trouble, Trouble::FileDamaged { .. }) {
                    self.inner.usage.check(row.number);
                }
            }
        }
        self.inner
            .remember(|memory| match result {
                Ok(Came::Receipt(_)) => memory.done(&row.file),
                Ok(Came::Sent) => memory.sent(&row.file, now),
                Ok(Came::NotYet) => memory.not_yet(&row.file, now, roll),
                Err(trouble) => memory.failed(&row.file, trouble, now, roll),
            })
            .await;
        // Last: whoever watches sees what came of it.
        self.inner.uploading(None);
    }

    /// One attempt, and its bookkeeping.
    async fn attempt(&self, look: &Look, row: &UsageSegmentRow) -> Result<Came, Trouble> {
        let inner = &self.inner;
        // A receipt that came and could not be noted, or that lay here before the database was brought back.
        if let Some(kept) = inner.kept_receipt(&row.file).await?
            && inner.take(kept, row, look.now.wall, Brought::ByItself).await.is_ok()
        {
            return Ok(Came::Receipt(bytes::Bytes::new()));
        }
        let destination = attempt::destination(&inner.settings, look.plan.destination.as_deref())?;
        let (settings, network) = (inner.settings.clone(), inner.network.clone());
        let peer = blocking(move || {
            let way = attempt::way(&destination, &settings, &network)?;
            Peer::new(&destination, &settings, &network.surroundings, way)
        })
        .await?;
        let before = inner.memory(|memory| {
            let attempts = memory.file(&row.file);
            let sent = attempts.and_then(|attempts| attempts.sent).or(row.uploaded);
            match sent.map(|sent| look.now.wall.as_ms().saturating_sub(sent.as_ms()) < RESEND_AFTER_MS) {
                Some(true) => Before::Lately,
                Some(false) => Before::LongAgo,
                None if attempts.is_some_and(Attempts::may_have_arrived) => Before::LongAgo,
                None => Before::Never,
            }
        });
        let came = peer.attempt(row, &inner.usage.path(row), before, look.now.wall).await?;
        match &came {
            Came::Receipt(receipt) => inner.take(receipt.to_vec(), row, look.now.wall, Brought::ByItself).await?,
            Came::Sent => inner.progress(row.number, Progress::Uploaded(look.now.wall)).await?,
            Came::NotYet => {}
        }
        Ok(came)
    }

    /// Takes away what was acknowledged long enough ago. Where the license keeps usage here, nothing (004).
    async fn clear(&mut self, look: &Look) {
        let due = self.cleared.is_none_or(|at| look.now.lease.ms_since(at) >= CLEAR_EVERY_MS);
        if !due || mode(&look.plan) == Mode::Local {
            return;
        }
        self.cleared = Some(look.now.lease);
        let keep_ms = i64::from(self.inner.settings.keep_days) * DAY_MS;
        // The newest of an installation stays: the next one continues it.
        let newest: BTreeSet<u32> = {
            let mut last = std::collections::BTreeMap::new();
            for row in &look.rows {
                last.insert(row.file.split('-').next().unwrap_or_default(), row.number);
            }
            last.into_values().collect()
        };
        let mut leftover = None;
        for row in look.rows.iter().filter(|row| !newest.contains(&row.number)) {
            let over = row.acknowledged.is_some_and(|at| look.now.wall.as_ms().saturating_sub(at.as_ms()) >= keep_ms);
            if !over {
                continue;
            }
            match self.inner.usage.progress(row.number, Progress::Forgotten).await {
                Ok(()) => tracing::info!(file = row.file, "usage file taken away: its receipt is old enough"),
                Err(fault) => leftover = Some(fault.to_string()),
            }
        }
        if let Some(fault) = &leftover {
            tracing::debug!("{fault}");
        }
        self.inner.state.send_if_modified(|state| {
            let changed = state.leftover != leftover;
            state.leftover = leftover;
            changed
        });
    }
}

/// Files that wait, and of which the last attempt failed by something of their own.
fn held(rows: &[UsageSegmentRow], memory: &Memory, now: Now) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    for row in rows.iter().filter(|row| row.closed.is_some() && row.acknowledged.is_none()) {
        let Some(failure) = memory.file(&row.file).and_then(|attempts| attempts.failure(now)) else { continue };
        let Some(state) = FileState::of(&failure.trouble) else { continue };
        match held.iter_mut().find(|of| of.failure.trouble.code() == failure.trouble.code()) {
            Some(of) => of.files.push(row.file.clone()),
            None => held.push(Held { state, failure, files: vec![row.file.clone()] }),
        }
    }
    held
}

/// USAGE-1 and USAGE-2.
pub(super) fn mode(plan: &UsagePlan) -> Mode {
    match (plan.upload, plan.collecting) {
        (true, _) => Mode::Automatic,
        (false, true) => Mode::Local,
        (false, false) => Mode::NotCollected,
    }
}

const _: () = assert!(LOOK_EVERY_MS <= WAIT_MIN_MS);
