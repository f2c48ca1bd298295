//! The room's thread: looks at the engine through the core, lets the heart compose, commits, writes. It blocks where the
//! heart does not, and decides nothing.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use leasehold_engine::{
    Engine,
    command::{Command, UsageStep},
    row::UsageSegmentRow,
    time::Now,
    words::duration,
};
use leasehold_keys::usage::{Clocks, RemarkCode, UsagePublicKey};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use super::{
    Ground, Progress, ProgressFault, SealNowFault, Settings, State,
    copies::{Copies, Worked, stored},
    disk::Disk,
    draft::{Outside, named},
    heart::{Course, Heart},
    look::{EVENTS_PER_STEP, glance, look},
    naming::Naming,
};
use crate::{
    clock::{Clock, evidence::Finding},
    core::{Core, Phase, Refused},
    identity::Identity,
    storage::Reader,
};

/// After something did not work, it is tried again so much later.
const REST: Duration = Duration::from_secs(5);
/// A full queue is tried again after so long …
const OVERLOADED_REST: Duration = Duration::from_millis(100);
/// … at most so often before the step is given up.
const OVERLOADED_MAX: usize = 50;

/// Pieces of work on files between two looks at what is to be sealed.
const PIECES_MAX: usize = 16;

/// What the room is asked.
pub(super) enum Ask {
    Remark(RemarkCode, String),
    Check(u32),
    Seal(oneshot::Sender<Result<u64, SealNowFault>>),
    Progress(u32, Progress, oneshot::Sender<Result<(), ProgressFault>>),
    Stop(oneshot::Sender<()>),
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    /// More is to be done at once.
    On,
    /// Nothing is due.
    Rest,
    /// Something did not work.
    Stuck,
}

pub(super) struct Driver {
    settings: Settings,
    state_directory: PathBuf,
    core: Core,
    clock: Clock,
    reader: Reader,
    identity: Arc<Identity>,
    licensor: Box<dyn Fn() -> [u8; 32] + Send>,
    naming: Option<Naming>,
    heart: Heart,
    copies: Copies,
    has_started: bool,
    asks: mpsc::Receiver<Ask>,
    state: watch::Sender<State>,
}

impl Driver {
    pub(super) fn new(
        settings: Settings,
        ground: Ground,
        asks: mpsc::Receiver<Ask>,
        state: watch::Sender<State>,
    ) -> Self {
        let Ground { state_directory, core, clock, reader, identity, licensor } = ground;
        let copies = Copies::new(Disk::new(&state_directory), reader.clone());
        Self {
            settings,
            state_directory,
            core,
            clock,
            reader,
            identity,
            licensor,
            naming: None,
            heart: Heart::new(),
            copies,
            has_started: false,
            asks,
            state,
        }
    }

    /// Where the files go.
    pub(super) fn folder(&self) -> PathBuf {
        self.copies.disk().path().to_owned()
    }

    /// Until it is told to stop, or its last handle is gone.
    pub(super) fn run(mut self, runtime: &Handle) {
        let phase = self.core.phase();
        let mut rest = Duration::ZERO;
        loop {
            let mut next = self.asks.recv_timeout(rest);
            loop {
                match next {
                    Ok(Ask::Stop(ended)) => {
                        self.end(runtime);
                        // Whoever waited may have lost patience.
                        let _ = ended.send(());
                        return;
                    }
                    Ok(ask) => self.hear(runtime, ask),
                    Err(mpsc::RecvTimeoutError::Timeout) => break,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
                next = self.asks.try_recv().map_err(|why| match why {
                    mpsc::TryRecvError::Empty => mpsc::RecvTimeoutError::Timeout,
                    mpsc::TryRecvError::Disconnected => mpsc::RecvTimeoutError::Disconnected,
                });
            }
            rest = if *phase.borrow() == Phase::Starting {
                self.clock.longest_sleep()
            } else {
                match self.turn(runtime, Course::Running) {
                    Turned::On => Duration::ZERO,
                    Turned::Rest => self.clock.longest_sleep(),
                    Turned::Stuck => REST.min(self.clock.longest_sleep() * 5),
                }
            };
        }
    }

    /// Seals and closes, in as many turns as it takes; what does not work now is left to the next start.
    fn end(&mut self, runtime: &Handle) {
        while self.turn(runtime, Course::Ending) == Turned::On {}
    }

    fn hear(&mut self, runtime: &Handle, ask: Ask) {
        match ask {
            Ask::Remark(code, text) => {
                if !self.heart.remark(self.clock.now().wall, code, &text) {
                    tracing::warn!(%code, "a remark is left out of the usage files: too many wait");
                }
            }
            Ask::Check(segment) => self.copies.check(segment),
            Ask::Seal(to) => {
                let done = self.seal_now(runtime);
                // Who asked may be gone.
                let _ = to.send(done);
            }
            Ask::Progress(segment, progress, to) => {
                let done = self.progress(runtime, segment, progress);
                // Who asked may be gone.
                let _ = to.send(done);
            }
            Ask::Stop(_) => {}
        }
    }

    /// What the wall clock gave away goes out with the next record (05, Time).
    fn remark_on_clock(&mut self) {
        for (at, finding) in self.clock.take_unwritten() {
            if let Some((code, text)) = remark_of(finding)
                && !self.heart.remark(at, code, &text)
            {
                tracing::warn!(%code, "a remark is left out of the usage files: too many wait");
            }
        }
    }

    fn read<T: Send + 'static>(
        &self,
        runtime: &Handle,
        question: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        runtime.block_on(self.core.read(question))
    }

    /// Commits a step; a queue that is full has not taken it, and is asked again with the same bytes.
    fn submit(&self, runtime: &Handle, step: UsageStep) -> Result<(), Refused> {
        for _ in 0..OVERLOADED_MAX {
            match runtime.block_on(self.core.submit(Command::Usage(step.clone()))) {
                Ok(_) => return Ok(()),
                Err(Refused::Overloaded) => runtime.block_on(tokio::time::sleep(OVERLOADED_REST)),
                Err(refused) => return Err(refused),
            }
        }
        Err(Refused::Overloaded)
    }

    fn turn(&mut self, runtime: &Handle, course: Course) -> Turned {
        let sealed = match self.seal(runtime, course) {
            Ok(turned) => {
                self.trouble(None);
                turned
            }
            Err(trouble) => {
                if trouble.is_some() {
                    self.trouble(trouble);
                }
                Turned::Stuck
            }
        };
        let worked = self.tend_files(runtime, course).unwrap_or(Turned::Stuck);
        for text in self.copies.take_untold() {
            let code = RemarkCode::STATE_RESTORED;
            if !self.heart.remark(self.clock.now().wall, code, &text) {
                tracing::warn!(%code, "a remark is left out of the usage files: too many wait");
            }
        }
        self.show();
        match (sealed, worked) {
            (Turned::On, _) => Turned::On,
            (_, Turned::On) => Turned::On,
            (Turned::Stuck, _) | (_, Turned::Stuck) => Turned::Stuck,
            (Turned::Rest, Turned::Rest) => Turned::Rest,
        }
    }

    /// One step, where one is due. The fault says what is to be told; `None` where others tell it already.
    fn seal(&mut self, runtime: &Handle, course: Course) -> Result<Turned, Option<String>> {
        let quietly = |_: Refused| None;
        self.remark_on_clock();
        let seen = self.read(runtime, glance).map_err(quietly)?;
        let shown = (seen.plan.collecting, seen.waiting);
        self.state.send_if_modified(|state| {
            let before = (state.collecting, state.waiting);
            (state.collecting, state.waiting) = shown;
            before != shown
        });
        if self.core.storage_fault().borrow().is_some() {
            // Whatever is sealed now could not be stored, and would only cost a segment.
            return Err(None);
        }
        if self.naming.is_none() {
            if !seen.plan.collecting && seen.waiting == 0 && !seen.open {
                return Ok(Turned::Rest);
            }
            let naming = Naming::open(self.settings.names, &self.state_directory);
            self.naming = Some(naming.map_err(|fault| Some(fault.to_string()))?);
        }
        let recipients = recipients(&(self.licensor)(), self.settings.reader)?;
        let Some(naming) = &self.naming else { return Err(None) };
        let outside = |now: Now| Outside {
            installation: self.identity.installation(),
            recipients: &recipients,
            naming,
            clocks: Clocks { trusted: now.wall, wall: self.clock.standing().wall },
        };
        let Some(wish) = self.heart.due(&seen, &outside(seen.now), course) else { return Ok(Turned::Rest) };
        let view = runtime.block_on(self.core.read(move |engine, now| look(engine, now, wish))).map_err(quietly)?;
        let unknown = self.heart.unknown_keys(&view);
        if !unknown.is_empty() {
            let names = move |engine: &Engine, _: Now| {
                unknown.into_iter().map(|key| (key, engine.key_name(key))).collect::<Vec<_>>()
            };
            let names = runtime.block_on(self.core.read(names)).map_err(quietly)?;
            self.heart.learn(names);
        }
        let hashed: Result<Vec<_>, _> =
            self.heart.to_settle(&view).map(|row| stored(&self.reader, row.number)).collect();
        let hashed = hashed.map_err(|fault| Some(format!("usage cannot be sealed: {fault}")))?;
        let composed = self.heart.compose(&view, hashed, &outside(view.now), course);
        let step = composed.map_err(|fault| Some(format!("usage cannot be sealed: {fault}. Events wait")))?;
        let Some(step) = step else { return Ok(Turned::Rest) };
        match self.submit(runtime, step) {
            Ok(()) => {
                let writes = self.heart.committed();
                self.copies.write(writes);
                self.state.send_modify(|state| {
                    state.changes += 1;
                    state.last_sealed = Some(view.now.wall);
                });
                // Where not all was seen, or a segment was closed, more is due; the next glance tells.
                Ok(Turned::On)
            }
            Err(refused) => {
                self.heart.failed();
                tracing::debug!("a usage step was not stored: {refused}");
                Err(None)
            }
        }
    }

    /// Seals all that waits at this moment; tells how many events that were.
    fn seal_now(&mut self, runtime: &Handle) -> Result<u64, SealNowFault> {
        if *self.core.phase().borrow() == Phase::Starting {
            return Err(Refused::Starting.into());
        }
        let seen = |engine: &Engine, _: Now| {
            let events = engine.unsealed_usage(usize::MAX);
            let eras = events.chunk_by(|a, b| a.era == b.era).count();
            (events.len(), eras, events.last().map(|event| event.id))
        };
        let (waiting, eras, newest) = self.read(runtime, seen)?;
        let Some(newest) = newest else { return Ok(0) };
        // Each era takes a segment of its own, and some may be cut by their size.
        for _ in 0..=waiting / EVENTS_PER_STEP + 2 * eras {
            self.heart.hurry();
            self.turn(runtime, Course::Running);
            let oldest = |engine: &Engine, _: Now| engine.unsealed_usage(1).first().map(|event| event.id);
            if self.read(runtime, oldest)?.is_none_or(|oldest| oldest > newest) {
                return Ok(waiting as u64);
            }
        }
        let why = self.state.borrow().trouble.clone();
        let not_stored = || Refused::StorageUnavailable("a usage step was not stored".to_owned()).into();
        Err(why.map_or_else(not_stored, SealNowFault::Trouble))
    }

    /// Some of what is to be done about the files.
    fn tend_files(&mut self, runtime: &Handle, course: Course) -> Result<Turned, Refused> {
        let now = self.clock.now();
        if self.has_started && !self.copies.has_work(now) {
            return Ok(Turned::Rest);
        }
        if course == Course::Ending && self.copies.behind() == 0 {
            return Ok(Turned::Rest);
        }
        let (rows, now) =
            self.read(runtime, |engine, now| (engine.usage_segments().cloned().collect::<Vec<_>>(), now))?;
        if !self.has_started {
            self.copies.start(&rows);
            self.has_started = true;
        }
        let mut worked = Worked::On;
        for _ in 0..PIECES_MAX {
            worked = self.copies.work(&rows, now);
            if worked != Worked::On {
                break;
            }
        }
        match worked {
            Worked::Idle => Ok(Turned::Rest),
            Worked::On => Ok(Turned::On),
            Worked::MayLeave(segment) => {
                let row = rows.into_iter().find(|row| row.number == segment);
                if let Some(row) = row {
                    let row = UsageSegmentRow { stored: false, ..row };
                    self.submit(runtime, UsageStep { segments: vec![row], ..UsageStep::default() })?;
                    self.state.send_modify(|state| state.changes += 1);
                }
                Ok(Turned::On)
            }
        }
    }

    fn progress(&mut self, runtime: &Handle, segment: u32, progress: Progress) -> Result<(), ProgressFault> {
        let rows = self.read(runtime, |engine, _| engine.usage_segments().cloned().collect::<Vec<_>>())?;
        let row = rows.iter().find(|row| row.number == segment).ok_or(ProgressFault::Unknown(segment))?;
        if row.closed.is_none() {
            return Err(ProgressFault::Open(segment));
        }
        let mut row = row.clone();
        let mut step = UsageStep::default();
        match progress {
            Progress::Uploaded(at) => {
                row.uploaded.get_or_insert(at);
                step.segments.push(row);
            }
            Progress::Acknowledged(at) => {
                row.acknowledged.get_or_insert(at);
                // Before its records go, so that a torn copy is not the last.
                row.stored &= self.copies.is_behind(segment);
                step.segments.push(row);
            }
            Progress::Forgotten => {
                let installation = named(&row).map(|name| name.installation);
                let later = rows.iter().filter(|other| other.number > segment);
                let has_later = later.filter_map(named).any(|name| Some(name.installation) == installation);
                if row.acknowledged.is_none() || !has_later {
                    return Err(ProgressFault::Stays(segment));
                }
                let fault =
                    |fault: std::io::Error| ProgressFault::File { file: row.file.clone(), fault: fault.to_string() };
                self.copies.remove(&row).map_err(fault)?;
                step.forgotten.push(segment);
            }
        }
        self.submit(runtime, step)?;
        self.state.send_modify(|state| state.changes += 1);
        Ok(())
    }

    /// Tells once why nothing can be sealed, and once that it can.
    fn trouble(&self, trouble: Option<String>) {
        self.state.send_if_modified(|state| {
            if state.trouble == trouble {
                return false;
            }
            match &trouble {
                Some(why) => tracing::error!("{why}. Leases go on; what was used waits in the database"),
                None => tracing::info!("usage is sealed again"),
            }
            state.trouble = trouble;
            true
        });
    }

    fn show(&self) {
        self.state.send_if_modified(|state| {
            let after = State {
                disk: self.copies.fault().map(str::to_owned),
                behind: self.copies.behind(),
                missing: self.copies.missing().map(str::to_owned).collect(),
                aside: self.copies.aside().to_vec(),
                ..state.clone()
            };
            let changed = *state != after;
            *state = after;
            changed
        });
    }
}

/// What a usage file says of a finding about the wall clock; nothing of what is in order.
fn remark_of(finding: Finding) -> Option<(RemarkCode, String)> {
    let by = |ms| format!("by {}", duration(ms));
    match finding {
        Finding::RolledBack(ms) => Some((RemarkCode::CLOCK_ROLLED_BACK, by(ms))),
        Finding::Unconfirmed(ms) => Some((RemarkCode::CLOCK_UNCONFIRMED, format!("ahead {}", by(ms)))),
        Finding::Withdrawn(ms) => {
            Some((RemarkCode::CLOCK_SET, format!("back {}: a jump ahead was taken back", by(ms))))
        }
        Finding::SetForward(ms) => Some((RemarkCode::CLOCK_SET, format!("ahead {}, which moves no date", by(ms)))),
        Finding::SetBack(ms) => Some((RemarkCode::CLOCK_SET, format!("back {}, as the licensor says", by(ms)))),
        Finding::SetOn(ms) => Some((RemarkCode::CLOCK_SET, format!("on {}, as the licensor says", by(ms)))),
        Finding::InStep | Finding::Confirmed | Finding::PartlyConfirmed(_) | Finding::Vouched => None,
    }
}

/// The licensor's usage key, and the customer's own where that is another.
fn recipients(licensor: &[u8; 32], reader: Option<UsagePublicKey>) -> Result<Vec<UsagePublicKey>, Option<String>> {
    let licensor = UsagePublicKey::new(*licensor).map_err(|refusal| {
        Some(format!(
            "the usage key of the licensor's root cannot be used: {refusal}; ask the licensor for a newer root"
        ))
    })?;
    let own = reader.filter(|reader| *reader != licensor);
    Ok([licensor].into_iter().chain(own).collect())
}
