//! The daemon's lives: started on what is on disk, driven turn by turn, killed.

use leasehold_engine::{
    Engine, Limits,
    command::{Command, FolderFile, HostFinding},
    decision::{Reply, Told},
    time::{LeaseTime, Now, WallTime},
};
use leaseholdd::{
    clock::Clock,
    core::{Answer, Bounds, EventReceiver, Phase, Refused, ReplyReceiver, ReplySender, Stepped, replies},
};

use super::World;
use crate::simulation::{
    apps::{Down, Letter},
    chance::Chance,
    disk::{Entry, SimStore},
    oracle::{Sent, SentWhat},
    tally::Kind,
    vendor::{self, Vendor},
};

/// A stream, as the daemon has it.
pub(super) struct Door {
    pub(super) conn: u32,
    pub(super) holder: u32,
    events: EventReceiver,
}

/// A daemon that runs.
pub(super) struct Life {
    pub(super) core: Stepped<SimStore>,
    clock: Clock,
    sender: ReplySender,
    receiver: ReplyReceiver,
    /// Commands given to it, by tag.
    sent: Vec<Sent>,
    pub(super) doors: Vec<Option<Door>>,
    /// Connections that have ended.
    closed: Vec<u32>,
    /// Lease time at the start, and the machine's when it began to serve.
    mark_ms: u64,
    served_ms: u64,
}

impl Life {
    /// The moment as the daemon has it, for questions.
    pub(super) fn now(&self) -> Now {
        Now { lease: self.core.lease_time(), ..self.clock.now() }
    }
}

impl World {
    /// Lease time by the world's own reckoning: from the mark, as long as the daemon has served (LEASE-7, LEASE-8).
    pub(super) fn lease_now(&self) -> u64 {
        self.life.as_ref().map_or(self.oracle.now, |life| life.mark_ms + (self.boot_ms - life.served_ms))
    }

    pub(super) fn start(&mut self) {
        self.oracle.crashed();
        let mark = self.disk.borrow().mark;
        let mark_ms = mark.map_or(0, |mark| mark.lease.as_ms());
        self.oracle.restarted(mark_ms);
        let clock = Clock::of_hands(self.hands.clone());
        clock.continue_from(mark.unwrap_or_default());
        let mut engine = Engine::new(Limits::default());
        {
            let disk = self.disk.borrow();
            let lasting = disk.rows.iter().enumerate().filter(|(kind, _)| !matches!(kind, 13 | 14));
            for row in lasting.flat_map(|(_, rows)| rows.values()) {
                engine.restore(row.clone());
            }
            if disk.unsettled > 0 {
                self.oracle.tally.happened(Kind::Unsettled);
            }
        }
        self.lives += 1;
        engine.begin_epoch(self.seed.rotate_left(32) ^ self.lives);
        let store = SimStore::open(&self.disk);
        let core = Stepped::start(engine, store, clock.clone(), Bounds::default());
        let (sender, receiver) = replies(1 << 20);
        let doors = self.apps.iter().map(|_| None).collect();
        let served_ms = self.boot_ms;
        let life =
            Life { core, clock, sender, receiver, sent: Vec::new(), doors, closed: Vec::new(), mark_ms, served_ms };
        self.life = Some(life);
        self.admin_busy = false;
        self.folder_due = false;
        self.tell(|| format!("the daemon starts at lease time {mark_ms}"));
        // As the daemon does before it serves.
        self.give_revocations();
        self.give_folder();
        for _ in 0..4 {
            self.turn_core(usize::MAX, false);
            self.turn_writer(usize::MAX);
        }
        if let Some(life) = &mut self.life {
            // 03, Witness: what was said of what was durable accuses no later life, whatever ended the one before.
            if let Some(kind) = self.said.and_then(|said| life.core.engine().would_be_found(said)) {
                let said = self.said;
                self.oracle.broken("LEASE-4", || format!("an honest state is found {} by {said:?}", kind.as_str()));
            }
            life.served_ms = self.boot_ms;
            life.core.core().set_phase(Phase::Serving);
        }
    }

    /// What runs is gone, in the middle of whatever it did.
    pub(super) fn kill(&mut self, kind: Kind) {
        if self.life.take().is_some() {
            self.happened(kind);
            self.over();
        }
    }

    fn over(&mut self) {
        self.tell(|| "the daemon is gone".to_owned());
        self.life = None;
        self.oracle.crashed();
        for number in 0..self.apps.len() {
            let (conn, run) = (self.apps[number].conn, self.apps[number].run);
            if conn != 0 {
                self.send_down(number, conn, run, Down::Cut);
            }
        }
    }

    pub(super) fn stop(&mut self) {
        let Some(life) = &self.life else { return };
        life.core.stop();
        self.happened(Kind::Stopped);
        while self.life.as_ref().is_some_and(|life| !life.core.has_stopped()) {
            if !self.turn_core(usize::MAX, false) {
                self.turn_writer(usize::MAX);
            }
        }
        if let Some(life) = &self.life {
            life.core.say_last_word();
        }
        while self.turn_writer(usize::MAX) {}
        if let Some(life) = self.life.take() {
            let Life { core, mut receiver, sent, .. } = life;
            core.end();
            // A last commit may have failed.
            (self.oracle.failed_since_start, self.oracle.failing) = (true, true);
            while let Some(tagged) = receiver.try_recv() {
                let sent = sent[usize::try_from(tagged.tag).unwrap_or(0)].clone();
                self.oracle.answered(&sent, &tagged.answer, false);
            }
            self.over();
        }
    }

    /// Gives a command to the daemon.
    pub(super) fn give(&mut self, mut sent: Sent, command: Command) {
        let Some(life) = &mut self.life else { return };
        self.oracle.submitted(&mut sent);
        let tag = life.sent.len() as u64;
        life.sent.push(sent);
        if let Err(refused) = life.core.core().submit_to(command, &life.sender, tag) {
            let sent = life.sent[life.sent.len() - 1].clone();
            self.answer(&sent, Err(refused), false);
        }
    }

    fn own(&self, what: SentWhat) -> Sent {
        Sent { app: None, identity: u8::MAX, holder: None, at: self.lease_now(), order: 0, waited: false, what }
    }

    pub(super) fn give_own(&mut self, what: SentWhat, command: Command) {
        let sent = self.own(what);
        self.give(sent, command);
    }

    pub(super) fn give_revocations(&mut self) {
        let revoked = self.folder.revoked;
        let keys = if revoked { vec![(Vendor::get().issuing_key, WallTime::from_ms(0))] } else { Vec::new() };
        self.give_own(SentWhat::Revocations(revoked), Command::Revocations(keys));
    }

    pub(super) fn give_folder(&mut self) {
        let (folder, variant) = (self.folder, self.nature.variant);
        let files = (0..vendor::LICENSES).filter(|license| folder.present[*license]).map(|license| FolderFile {
            name: format!("file-{license}.i3lic"),
            terms: Vendor::get().file(variant, license, folder.sequences[license]).terms.clone(),
            host: match license {
                0 if !folder.here => HostFinding::Other("no factor matches".into()),
                _ => HostFinding::Primary,
            },
        });
        let files = files.collect();
        self.give_own(SentWhat::Folder, Command::Folder(files));
    }

    /// A turn of the core loop.
    pub(super) fn decide(&mut self, chance: &mut Chance) -> bool {
        let Some(life) = &self.life else { return false };
        if !life.core.has_something_to_decide() {
            return false;
        }
        let most = match chance.below(10) {
            0..=4 => 1,
            5..=6 => 2 + chance.index(6),
            _ => usize::MAX,
        };
        let alone = most == 1 || life.core.core().queued() == 1;
        self.turn_core(most, alone)
    }

    fn turn_core(&mut self, most: usize, alone: bool) -> bool {
        let now = self.lease_now();
        self.oracle.at(now);
        let Some(life) = &mut self.life else { return false };
        if self.folder_due && life.core.core().grants_available() {
            self.folder_due = false;
            self.give_revocations();
            self.give_folder();
        }
        let Some(life) = &mut self.life else { return false };
        let quiet = alone
            && life.core.core().queued() <= 1
            && life.core.all_written()
            && !life.core.has_unheard()
            && !self.oracle.failing;
        self.oracle.settled = life.core.wakeup().is_none_or(|at| at > LeaseTime::from_ms(now));
        if !life.core.decide(most) {
            return false;
        }
        if life.core.lease_time().as_ms() != now {
            let shown = life.core.lease_time().as_ms();
            self.oracle.broken("LEASE-8", || format!("it decides at lease time {shown}, and it is {now}"));
        }
        let fails = life.core.core().storage_fault().borrow().is_some();
        self.oracle.failing = fails;
        self.oracle.failed_since_start |= fails;
        self.hear(quiet && !fails);
        true
    }

    pub(super) fn write(&mut self, chance: &mut Chance) -> bool {
        let most = if chance.percent(50) { usize::MAX } else { 1 + chance.index(3) };
        self.turn_writer(most)
    }

    pub(super) fn turn_writer(&mut self, most: usize) -> bool {
        let now = self.lease_now();
        self.oracle.at(now);
        let Some(life) = &mut self.life else { return false };
        let done = life.core.write(most);
        let happened = std::mem::take(&mut self.disk.borrow_mut().happened);
        for kind in happened {
            self.tell(|| format!("storage: {}", kind.name()));
            self.happened(kind);
        }
        self.take_log();
        if let Some(life) = self.life.as_ref().filter(|_| done.is_ok()) {
            let (core, fails) = (&life.core, life.core.core().storage_fault().borrow().is_some());
            if core.all_written() && !core.has_unheard() && !fails {
                self.said = core.engine().reached();
            }
        }
        match done {
            Ok(false) => false,
            Ok(true) => {
                self.hear(false);
                true
            }
            Err(why) => {
                self.tell(|| format!("the process ends: {why}"));
                self.over();
                true
            }
        }
    }

    /// What became durable goes through the oracle's hands.
    fn take_log(&mut self) {
        let mut disk = self.disk.borrow_mut();
        let log = std::mem::take(&mut disk.log);
        for entry in log {
            match entry {
                Entry::Change(change) => {
                    if let Some(story) = &mut self.story {
                        story.push(format!("durable: {:?}", change.after.as_ref().or(change.before.as_ref())));
                    }
                    self.oracle.change(&change);
                    disk.settle(*change);
                }
                Entry::Commit => self.oracle.committed(),
            }
        }
    }

    /// Answers and events that have left the daemon.
    fn hear(&mut self, quiet: bool) {
        while let Some(tagged) = self.life.as_mut().and_then(|life| life.receiver.try_recv()) {
            let Some(life) = &mut self.life else { return };
            let place = usize::try_from(tagged.tag).unwrap_or(0);
            let sent = life.sent[place].clone();
            life.sent[place].waited |= !tagged.is_last();
            self.answer(&sent, tagged.answer, quiet);
        }
        for number in 0..self.apps.len() {
            let Some(life) = &mut self.life else { return };
            let Some(door) = &mut life.doors[number] else { continue };
            let (conn, mut told) = (door.conn, Vec::new());
            let cut = door.events.try_recv(&mut told).is_err();
            if cut {
                life.doors[number] = None;
            }
            let over: Vec<u64> = told
                .iter()
                .filter_map(|told| if let Told::Ended { lease, .. } = told { Some(lease.0) } else { None })
                .collect();
            let run = self.apps[number].run;
            if !over.is_empty() {
                self.send_down(number, conn, run, Down::Over { leases: over });
            }
            if cut {
                self.oracle.gone(|app| app == number);
                self.send_down(number, conn, run, Down::Cut);
            }
        }
    }

    fn answer(&mut self, sent: &Sent, answer: Result<Answer, Refused>, quiet: bool) {
        self.tell(|| format!("answer to {sent:?}: {answer:?}"));
        self.oracle.answered(sent, &answer, quiet);
        let Some(number) = sent.app else {
            match (&sent.what, &answer) {
                (SentWhat::Admin(_), _) => self.admin_busy = false,
                // The folder is looked at again until it could be judged.
                (SentWhat::Folder | SentWhat::Revocations(_), Err(_)) => self.folder_due = true,
                _ => {}
            }
            return;
        };
        if let SentWhat::Attach { conn, run, .. } = sent.what {
            if let Ok(Answer::Reply(Reply::Attached { holder, leases, predecessor, .. })) = answer {
                let Some(life) = &mut self.life else { return };
                let events = life.core.core().subscribe(holder);
                if life.closed.contains(&conn) {
                    life.core.core().detach(events);
                    self.oracle.gone(|app| app == number);
                    return;
                }
                life.doors[number] = Some(Door { conn, holder: holder.0, events });
                let ids = |leases: Vec<leasehold_engine::ids::LeaseId>| leases.into_iter().map(|id| id.0).collect();
                self.send_down(
                    number,
                    conn,
                    run,
                    Down::Attached { leases: ids(leases), predecessor: ids(predecessor) },
                );
            }
            return;
        }
        let down = match (&sent.what, answer) {
            (SentWhat::Acquire { ask, lie: false }, Ok(Answer::Lease(view))) => {
                Down::Granted { ask: *ask, lease: view.id.0, ended: view.ended.is_some() }
            }
            (SentWhat::Acquire { ask, lie: false }, Ok(Answer::Reply(_))) => Down::Waiting { ask: *ask },
            (SentWhat::Acquire { ask, lie: false }, Err(refused)) => {
                Down::Refused { ask: *ask, for_good: matches!(refused, Refused::Rule(_)) }
            }
            (SentWhat::Renew { .. }, Ok(Answer::Reply(Reply::Leases(outcomes)))) => {
                let gone = outcomes.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| id.0);
                Down::Over { leases: gone.collect() }
            }
            _ => return,
        };
        let run = self.apps[number].run;
        let conn = self.apps[number].conn;
        self.send_down(number, conn, run, down);
    }

    fn send_down(&mut self, app: usize, conn: u32, run: u128, what: Down) {
        let sent_ms = self.boot_ms;
        self.down.push(Letter { app, conn, run, sent_ms, what });
    }

    /// The end of a connection reaches the daemon.
    pub(super) fn hang_up(&mut self, number: usize) {
        let conn = self.apps[number].conn;
        let Some(life) = &mut self.life else { return };
        life.closed.push(conn);
        if let Some(door) = life.doors[number].take() {
            life.closed.push(door.conn);
            life.core.core().detach(door.events);
            self.oracle.gone(|app| app == number);
        }
    }

    /// Until nothing is left to do at this moment.
    pub(super) fn pump(&mut self) {
        for _ in 0..1_000 {
            let decided = self.life.as_ref().is_some_and(|life| life.core.has_something_to_decide())
                && self.turn_core(usize::MAX, false);
            let wrote = self.turn_writer(usize::MAX);
            if self.life.is_none() || !decided && !wrote {
                return;
            }
        }
        self.oracle.broken("rest", || "the core finds no rest".to_owned());
    }
}
