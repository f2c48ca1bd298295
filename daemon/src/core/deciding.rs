//! The core loop: owns the engine, gives it every command with one reading of the clock for all that waits, and hands
//! what comes of it to the writer. It decides nothing itself. [`Deciding::turn`] is one turn of it and waits for nobody; the
//! thread here drives it, and so does [`super::Stepped`] without threads.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use leasehold_engine::{
    Engine,
    command::Command,
    decision::{LeaseView, Reply},
    ids::{HolderId, Ticket},
    refusal::Refusal,
    time::{LeaseTime, Now},
};

use super::{
    Answer, Bounds, Job, Refused, Shared,
    answer::To,
    batch::{Attachment, Batch, IfUndone, Pending},
    events::Cut,
    failing::{Failing, Fencing},
    writing::{EndsWithProcess, FromWriter, ToWriter, Writer},
};
use crate::storage::{Durable, Store};

/// The marks of lease time and of trusted time are stored at least so often.
const MARK_EVERY_MS: u64 = 60_000;

/// The core's two threads, to be waited for at the end.
pub struct Ended {
    threads: [thread::JoinHandle<()>; 2],
}

impl Ended {
    /// Blocks until everything is decided, durable and answered.
    pub fn wait(self) {
        for thread in self.threads {
            // A panic there has ended the process.
            let _ = thread.join();
        }
    }
}

pub(super) fn spawn(shared: Arc<Shared>, engine: Engine, store: Store, bounds: Bounds) -> std::io::Result<Ended> {
    let (to_writer, told) = mpsc::channel();
    let (says, heard) = mpsc::channel();
    let deciding = Deciding::new(shared.clone(), engine, store.fault(), bounds, to_writer, heard);
    let writer = Writer { shared, store, says, failed: false }.spawn(told)?;
    let core = thread::Builder::new().name("core".into()).spawn(move || {
        let _end = EndsWithProcess("core loop");
        deciding.run();
    })?;
    Ok(Ended { threads: [core, writer] })
}

pub(super) struct Deciding {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    most: usize,
    pub(super) writer: mpsc::Sender<ToWriter>,
    pub(super) heard: mpsc::Receiver<FromWriter>,
    /// Callers whose acquires wait in the engine's queues.
    pub(super) tickets: HashMap<Ticket, To>,
    /// Which attaching of each holder is the present one.
    attached: HashMap<HolderId, u64>,
    attachings: u64,
    last_mark: LeaseTime,
    /// Set while nothing can be stored (LEASE-11).
    pub(super) failing: Option<Failing>,
    /// Set from the word that a commit failed until everything since is given back.
    pub(super) fencing: Option<Fencing>,
}

impl Deciding {
    /// `fault`: why nothing can be stored yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        engine: Engine,
        fault: Option<&str>,
        bounds: Bounds,
        writer: mpsc::Sender<ToWriter>,
        heard: mpsc::Receiver<FromWriter>,
    ) -> Self {
        Self {
            failing: fault.map(|why| Failing::at_start(why, shared.began)),
            shared,
            engine,
            most: bounds.batch,
            writer,
            heard,
            tickets: HashMap::new(),
            attached: HashMap::new(),
            attachings: 0,
            last_mark: LeaseTime::from_ms(0),
            fencing: None,
        }
    }

    fn run(mut self) {
        self.begin();
        let mut jobs = VecDeque::new();
        let mut stopping = false;
        while !stopping {
            let longest = self.may_sleep();
            let may_form = self.shared.queue.take(&mut jobs, self.most, longest);
            let now = self.shared.now();
            self.hear_writer(now);
            while self.is_fencing()
                && let Ok(word) = self.heard.recv()
            {
                self.hear(word, now);
            }
            if may_form {
                stopping = self.turn(now, &mut jobs);
            }
        }
        self.say_last_word();
        self.end();
    }

    /// After the last turn: the writer ends after everything before this.
    pub(super) fn say_last_word(&self) {
        self.shared.queue.close();
        let _ = self.writer.send(ToWriter::Stop);
    }

    /// Hears the writer until it has ended; a failure now is told to those whom it concerns.
    pub(super) fn end(mut self) {
        while let Ok(word) = self.heard.recv() {
            self.hear(word, self.shared.now());
        }
        self.fenced(self.shared.now());
        for (_, to) in self.tickets.drain() {
            to.send(Err(Refused::Draining));
        }
        self.shared.delivery.flush();
        self.shared.hub.close_all();
    }

    /// Before the first turn: recovers what was restored (LEASE-7).
    pub(super) fn begin(&mut self) {
        let mut batch = Batch::new(self.shared.now());
        let recovered = self.engine.recover(batch.now);
        if let Some(failing) = &mut self.failing {
            recovered.notices.iter().for_each(crate::log::notice);
            failing.owe(recovered);
        } else {
            batch.take(recovered);
            (batch.mark_due, batch.is_recovery) = (true, true);
            self.last_mark = batch.now.lease;
            self.hand_over(batch);
        }
        self.shared.show_health();
    }

    /// One turn: decides these jobs at this moment, time's own first where it has something to do, and hands over what
    /// comes of it. True where it was told to stop. Not to be called while [`Deciding::is_fencing`].
    pub(super) fn turn(&mut self, now: Now, jobs: &mut VecDeque<Job>) -> bool {
        let mut stopping = false;
        let (now, clock_told) = self.watch(now);
        let mut batch = Batch::new(now);
        // While nothing can be stored nothing ends by time; it is made up for afterwards.
        let due = |at: LeaseTime| at <= now.lease;
        if self.failing.is_none() && (clock_told || self.engine.next_wakeup(now).is_some_and(due)) {
            self.decide(Command::Tick, To::Nobody, &mut batch);
        }
        for job in jobs.drain(..) {
            match job {
                Job::Command(command, to) => self.decide(*command, to, &mut batch),
                Job::Question(question) => batch.questions.push(question(&self.engine, now)),
                Job::Detach(holder, attaching) => {
                    if self.attached.get(&holder) == Some(&attaching) {
                        self.decide(Command::Detach(holder), To::Nobody, &mut batch);
                    }
                }
                Job::Abandon(ticket) => {
                    // Without an entry it was answered.
                    if self.tickets.remove(&ticket).is_some() {
                        self.decide(Command::Abandon(ticket), To::Nobody, &mut batch);
                    }
                }
                Job::Stop => stopping = true,
            }
        }
        let mark_due = now.lease.ms_since(self.last_mark) >= MARK_EVERY_MS || clock_told || stopping;
        batch.mark_due = mark_due && self.failing.is_none();
        if batch.must_be_stored() {
            self.last_mark = now.lease;
        }
        self.hand_over(batch);
        self.retry_if_due(now, stopping);
        stopping
    }

    /// Compares trusted time with the wall clock. True where that found something: it is to be stored at once, and dates
    /// may have moved.
    fn watch(&self, now: Now) -> (Now, bool) {
        let (now, findings) = self.shared.clock.watch(now);
        for finding in &findings {
            if finding.is_good() { tracing::info!("{finding}") } else { tracing::warn!("{finding}") }
        }
        (now, !findings.is_empty())
    }

    /// When something is to be done though nobody asks.
    pub(super) fn wakeup(&self) -> Option<LeaseTime> {
        match &self.failing {
            Some(failing) => failing.next_try(),
            None => self.engine.next_wakeup(self.shared.now()),
        }
    }

    /// Never longer than the clock allows.
    fn may_sleep(&self) -> Duration {
        let longest = self.shared.clock.longest_sleep();
        let now = self.shared.now();
        self.wakeup().map_or(longest, |at| longest.min(Duration::from_millis(at.ms_since(now.lease))))
    }

    /// Gives one command to the engine and sorts what comes of it.
    pub(super) fn decide(&mut self, command: Command, to: To, batch: &mut Batch) {
        if self.failing.is_some() {
            return self.decide_failing(command, to, batch);
        }
        let asked = Asked::of(&command);
        let undone = match &command {
            Command::Beat(holder) => IfUndone::Again(Box::new(Command::Beat(*holder))),
            Command::Renew { .. } => IfUndone::Again(Box::new(command.clone())),
            _ => IfUndone::Refuse,
        };
        let shown = tracing::enabled!(tracing::Level::DEBUG).then(|| shown(&command));
        let (result, mut outcome) = self.engine.apply(batch.now, command);
        let answers = std::mem::take(&mut outcome.answers);
        if let Some(command) = shown {
            show(&command, &result, &answers, outcome.changes.len());
        }
        batch.take(outcome);
        self.sort(asked, to, undone, result.map_err(Refused::Rule), answers, batch);
    }

    /// Answers: refusals leave at once (LEASE-12), everything else when it is durable.
    pub(super) fn sort(
        &mut self,
        asked: Asked,
        to: To,
        undone: IfUndone,
        result: Result<Reply, Refused>,
        answers: Vec<Answered>,
        batch: &mut Batch,
    ) {
        let mut to = Some(to);
        for (ticket, answer) in answers {
            let caller = if asked == Asked::Acquire(ticket) { to.take() } else { self.tickets.remove(&ticket) };
            let Some(caller) = caller else { continue };
            match answer {
                Ok(lease) => {
                    let answer = Ok(Answer::Lease(Box::new(lease)));
                    batch.replies.push(Pending { to: caller, answer, undone: IfUndone::Abandon(ticket) });
                }
                Err(refusal) => caller.send(Err(Refused::Rule(refusal))),
            }
        }
        let Some(to) = to else { return };
        let reply = match result {
            Ok(reply) => reply,
            Err(refused) => return to.send(Err(refused)),
        };
        match (asked, &reply) {
            (Asked::Acquire(ticket), Reply::Ticketed { waiting: Some(_) }) => {
                if let Some(to) = to.for_waiting() {
                    batch.replies.push(Pending { to, answer: Ok(Answer::Reply(reply)), undone: IfUndone::Nothing });
                }
                self.tickets.insert(ticket, to);
                return;
            }
            (_, Reply::Attached { holder, displaced, .. }) => {
                self.attachings += 1;
                self.attached.insert(*holder, self.attachings);
                if let Some(displaced) = displaced {
                    self.attached.remove(displaced);
                    batch.attachments.push(Attachment::Closed(*displaced, Cut::Displaced));
                }
                batch.attachments.push(Attachment::Opened(*holder, self.attachings));
            }
            (Asked::Detach(holder), _) => {
                self.attached.remove(&holder);
                batch.attachments.push(Attachment::Closed(holder, Cut::Displaced));
            }
            _ => {}
        }
        if !matches!(to, To::Nobody) {
            batch.replies.push(Pending { to, answer: Ok(Answer::Reply(reply)), undone });
        }
    }

    /// To the writer; or straight out, where nothing before it is still to become durable and nothing in it is.
    pub(super) fn hand_over(&mut self, mut batch: Batch) {
        if batch.is_empty() {
            return;
        }
        batch.evidence = self.shared.clock.evidence();
        if !batch.must_be_stored() && self.shared.queue.all_written() {
            return self.shared.deliver(batch);
        }
        self.shared.queue.batch_handed_over();
        // The writer ends before this loop only with the process.
        let _ = self.writer.send(ToWriter::Batch(batch));
    }

    pub(super) fn hear_writer(&mut self, now: Now) {
        while let Ok(word) = self.heard.try_recv() {
            self.hear(word, now);
        }
    }
}

/// A command for the log: what and for whom, on one line.
fn shown(command: &Command) -> String {
    let text = match command {
        Command::Acquire(acquire) => format!("acquire {:?}", acquire.ask),
        Command::Release(release) => format!("release {:?} {:?}", release.leases, release.acquired_by),
        Command::Administer { by, act } => format!("administer by {by}: {act:?}"),
        Command::Folder(files) => format!("folder of {} files", files.len()),
        other => format!("{other:?}"),
    };
    text.chars().take(300).collect()
}

/// One line a decision, at debug.
fn show(command: &str, result: &Result<Reply, Refusal>, answers: &[Answered], changes: usize) {
    for (ticket, answer) in answers {
        match answer {
            Ok(lease) => tracing::debug!(ticket = ticket.0, lease = lease.id.0, holder = lease.holder.0, "granted"),
            Err(refusal) => tracing::debug!(ticket = ticket.0, reason = refusal.reason(), "refused"),
        }
    }
    match result {
        Ok(_) => tracing::debug!(command, changes, "decided"),
        Err(refusal) => tracing::debug!(command, changes, reason = refusal.reason(), "refused"),
    }
}

/// An answer to an acquire, by its ticket.
pub(super) type Answered = (Ticket, Result<LeaseView, Refusal>);

/// What a command was, once the engine has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Acquire(Ticket),
    Detach(HolderId),
    Other,
}

impl Asked {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Acquire(acquire) => Asked::Acquire(acquire.ticket),
            Command::Detach(holder) => Asked::Detach(*holder),
            _ => Asked::Other,
        }
    }
}
