//! The engine as its owner sees it: restore, apply, undo, look. One command is one [`Turn`], which decides on the state as
//! it is and then changes rows; the rules are in the rooms beside this one.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_keys::{activation::LicenseId, time::WallTime};

use crate::{
    answers::Remembered,
    command::Command,
    decision::{Outcome, Reply},
    denial::Denials,
    grants::FileState,
    holder::Succession,
    ids::{HolderId, LeaseId, PoolId},
    queue::{Place, Queue, Walk},
    refusal::{EndReason, Refusal},
    row::{Change, Row, SiteRow},
    standing::{Due, Sweep},
    state::State,
    time::{LeaseTime, Now},
};

/// Stated bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers remembered per identity (LEASE-3).
    pub answers_per_identity: u64,
    /// Requests waiting per pool.
    pub waiting_per_pool: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answers_per_identity: 1_000_000, waiting_per_pool: 10_000 }
    }
}

/// Every licensing decision of a site.
#[derive(Debug)]
pub struct Engine {
    pub(crate) state: State,
    pub(crate) queue: Queue,
    pub(crate) limits: Limits,
    pub(crate) denials: Denials,
    pub(crate) releases: Remembered,
    pub(crate) successions: BTreeMap<HolderId, Succession>,
    /// How leases ended whose answers are forgotten, the newest 65,536; only to say so.
    pub(crate) recently_ended: BTreeMap<LeaseId, EndReason>,
    /// How far the holders have been looked at, where they are too many for one look.
    pub(crate) contacts_stored: Option<HolderId>,
    /// Runs on which nothing hangs, as far as that look has come, each with its last contact.
    pub(crate) idle_runs: Vec<(LeaseTime, HolderId)>,
    /// Pools whose waiters are being gone through, and how far.
    pub(crate) serving: BTreeMap<PoolId, Walk>,
    /// How far the leases of a closing pool have been told (LEVEL-5).
    pub(crate) closing_told: BTreeMap<PoolId, LeaseId>,
    /// Idle leases that were warned, and when they end.
    pub(crate) idle_warned: BTreeMap<LeaseId, LeaseTime>,
    /// How far the idle leases have been looked at, where they are too many for one look.
    pub(crate) idle_looked: Option<(LeaseTime, LeaseId)>,
    /// Idle leases are not looked at again before.
    pub(crate) idle_look_at: LeaseTime,
    /// What each file was when files were last looked at; only to tell what changed.
    pub(crate) file_states: Option<BTreeMap<LicenseId, FileState>>,
    pub(crate) next_file_boundary: Option<WallTime>,
    /// The leases and waiting requests that another enforcement stage concerns are being gone through.
    pub(crate) sweep: Option<Sweep>,
    /// What stage 6 leaves for 12 hours has been ended.
    pub(crate) stage_ended: bool,
    /// When the standing is to be looked at next.
    pub(crate) standing_due: Due,
    pub(crate) next_stamp: LeaseTime,
    /// The date up to which ends of files were told.
    pub(crate) last_date: WallTime,
    /// The moment of the last command.
    pub(crate) last_now: Now,
}

/// One command being decided.
pub(crate) struct Turn<'a> {
    pub engine: &'a mut Engine,
    pub now: Now,
    pub out: Outcome,
}

/// A point to which a turn can be rolled back.
pub(crate) struct Savepoint {
    changes: usize,
    events: usize,
    notices: usize,
}

/// Leases that may end by themselves in one turn; the next turn goes on.
const EXPIRIES_PER_TURN: usize = 64;
/// The same where time itself has the turn.
const EXPIRIES_PER_TICK: usize = 2_048;

impl Engine {
    /// An empty site.
    pub fn new(limits: Limits) -> Self {
        Self {
            state: State::default(),
            queue: Queue::default(),
            limits,
            denials: Denials::default(),
            releases: Remembered::default(),
            successions: BTreeMap::new(),
            recently_ended: BTreeMap::new(),
            contacts_stored: None,
            idle_runs: Vec::new(),
            serving: BTreeMap::new(),
            closing_told: BTreeMap::new(),
            idle_warned: BTreeMap::new(),
            idle_looked: None,
            idle_look_at: LeaseTime::default(),
            file_states: None,
            next_file_boundary: None,
            sweep: None,
            stage_ended: false,
            standing_due: Due::default(),
            next_stamp: LeaseTime::default(),
            last_date: WallTime::default(),
            last_now: Now { lease: LeaseTime::default(), wall: WallTime::default(), unconfirmed_ms: 0 },
        }
    }

    /// Takes one stored row. Rows come kind by kind, in the order in which [`Row`] lists the kinds; then
    /// [`Engine::recover`]. Denials and audit entries need not be given.
    pub fn restore(&mut self, row: Row) {
        self.state.absorb(&Change { before: None, after: Some(row) });
    }

    /// After all rows are restored, and before the first command: gives each lease that was live at the stop one full TTL
    /// (LEASE-7) and computes what files grant now. `now.lease` is the stored mark.
    pub fn recover(&mut self, now: Now) -> Outcome {
        self.last_now = now;
        self.last_date = self.state.dated(now);
        self.next_stamp = now.lease.plus_ms(crate::upkeep::STAMP_EVERY_MS);
        let mut turn = Turn { engine: self, now, out: Outcome::default() };
        turn.grace_after_restart();
        turn.refresh_grants();
        turn.warn_of_ends(true);
        // What a stage had begun to end or to give back may have been cut short by the stop.
        turn.engine.begin_sweep();
        turn.out
    }

    /// Decides one command. Nothing of the outcome may be seen before its changes are durable, but for refusals.
    pub fn apply(&mut self, now: Now, command: Command) -> (Result<Reply, Refusal>, Outcome) {
        self.last_now = now;
        let mut turn = Turn { engine: self, now, out: Outcome::default() };
        let tick = matches!(command, Command::Tick);
        if turn.engine.standing_is_due(now) {
            // Whatever comes is decided at the stage that the site is at by now.
            turn.refresh_grants();
        }
        let expiries = if tick { EXPIRIES_PER_TICK } else { EXPIRIES_PER_TURN };
        turn.end_due(expiries);
        let reply = turn.decide(command);
        turn.serve_queue();
        turn.serve_concerned();
        turn.settle_pools(tick);
        (reply, turn.out)
    }

    /// Takes changes back that were certainly not committed (LEASE-11): all changes since the last commit, in the order in
    /// which they were made. Requests that were waiting and had been granted in them do not wait any more.
    pub fn undo(&mut self, changes: Vec<Change>) {
        let site = self.state.site;
        for change in changes.into_iter().rev() {
            self.state.absorb(&change.reversed());
        }
        self.state.recount_shares();
        self.state.freed.clear();
        self.denials.forget_stored();
        // A number that was given once is never given to something else: who heard of it may still use it.
        self.state.site.last_entity = site.last_entity;
        self.state.site.last_denial = site.last_denial;
        self.forget_what_did_not_last();
        let now = self.last_now;
        let mut turn = Turn { engine: self, now, out: Outcome::default() };
        turn.refresh_derived();
        // What time had brought is taken back with the rest: it is looked at again at once.
        self.next_file_boundary = Some(self.state.dated(now));
        self.next_stamp = now.lease;
    }

    /// After an undo: what is not a row, and hangs on rows that are gone or back.
    fn forget_what_did_not_last(&mut self) {
        let state = &mut self.state;
        for identity in self.releases.forget_undone(|lease| state.leases.contains_key(&lease)) {
            if let Some(count) = state.answer_counts.get_mut(&identity) {
                *count = count.saturating_sub(1);
            }
        }
        let gone: Vec<HolderId> =
            self.successions.keys().filter(|holder| !state.holders.contains_key(holder)).copied().collect();
        for holder in gone {
            // The run that was cut off was never told, and goes on.
            let displaced = self.successions.remove(&holder).and_then(|succession| succession.displaced);
            if let Some(old) = displaced.and_then(|old| state.holders.get_mut(&old)) {
                old.attached = true;
            }
        }
        let homeless = self.queue.waiters.iter().filter(|(_, waiter)| !state.holders.contains_key(&waiter.holder));
        let homeless: Vec<(Place, u32)> = homeless.map(|(place, waiter)| (*place, waiter.identity)).collect();
        for (place, identity) in homeless {
            if let Some(waiter) = self.queue.leave(identity, place) {
                state.list_waiter(&self.queue, place, &waiter.pools, &[], self.last_now.lease);
            }
        }
        self.begin_sweep();
        // Warnings went with the rest; they are given again.
        self.idle_warned.clear();
        self.closing_told.clear();
    }

    /// When [`Command::Tick`] is wanted next, in lease time. At most a minute away.
    pub fn next_wakeup(&self, now: Now) -> Option<LeaseTime> {
        let looking = self.contacts_stored.is_some() || self.state.identities_looked.is_some();
        if !self.serving.is_empty() || !self.state.freed.is_empty() || looking || self.sweep.is_some() {
            return Some(now.lease);
        }
        let date = self.state.dated(now);
        let at_wall = |wall: WallTime| now.lease.plus_ms(u64::try_from(wall.as_ms() - date.as_ms()).unwrap_or(0));
        [
            Some(self.next_stamp),
            self.state.timers.first().map(|(at, _)| *at),
            self.queue.next_deadline(),
            self.successions.values().map(|succession| succession.until).min(),
            self.next_file_boundary.map(at_wall),
            self.state.assignment_ends.first().map(|(ms, _)| at_wall(WallTime::from_ms(*ms))),
            self.next_idle(now),
            self.next_standing_moment(now),
            self.next_pool_moment(now),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.max(now.lease))
    }
}

impl Turn<'_> {
    fn decide(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Attach(attach) => self.attach(attach),
            Command::Detach(holder) => self.detach(holder),
            Command::Beat(holder) => self.beat(holder),
            Command::Acquire(acquire) => self.acquire(*acquire),
            Command::CancelWait { from, request } => self.cancel_wait(&from, request),
            Command::Abandon(ticket) => self.abandon(ticket),
            Command::Renew { from, leases } => self.renew(&from, &leases),
            Command::Release(release) => self.release(release),
            Command::SetIdle { from, leases, idle } => self.set_idle(&from, &leases, idle),
            Command::TakeOver { holder, leases } => self.take_over(holder, &leases),
            Command::AnswersReceived { holder, requests } => self.answers_received(holder, &requests),
            Command::Administer { by, act } => self.administer(&by, act),
            Command::Folder(files) => self.folder(files),
            Command::Revocations(keys) => self.revocations(keys),
            Command::Usage(step) => self.usage_step(step),
            Command::CheckedIn(answer) => self.checked_in(answer),
            Command::Asked { license_id, asked } => self.asked(license_id, asked),
            Command::SettleDenials => {
                self.settle_denials();
                Ok(Reply::Done)
            }
            Command::Tick => self.tick(),
        }
    }

    /// The one way in which rows change.
    pub(crate) fn change(&mut self, before: Option<Row>, after: Option<Row>) {
        let change = Change { before, after };
        self.engine.state.absorb(&change);
        self.out.changes.push(change);
    }

    /// Changes the site's one row.
    pub(crate) fn change_site(&mut self, edit: impl FnOnce(&mut SiteRow)) {
        let before = self.engine.state.site;
        let mut after = before;
        edit(&mut after);
        if before != after {
            self.change(Some(Row::Site(before)), Some(Row::Site(after)));
        }
    }

    /// The next number of a user, station, workgroup, organization or holder.
    pub(crate) fn next_entity(&mut self) -> u32 {
        self.change_site(|site| site.last_entity += 1);
        self.engine.state.site.last_entity
    }

    pub(crate) fn save(&self) -> Savepoint {
        Savepoint { changes: self.out.changes.len(), events: self.out.events.len(), notices: self.out.notices.len() }
    }

    /// Takes back what was done since the savepoint: a refused or dry-run act leaves nothing behind.
    pub(crate) fn roll_back(&mut self, to: &Savepoint) {
        for change in self.out.changes.split_off(to.changes).into_iter().rev() {
            self.engine.state.absorb(&change.reversed());
        }
        self.out.events.truncate(to.events);
        self.out.notices.truncate(to.notices);
    }

    /// After an undo: what hangs on files and organizations, without changing a row.
    fn refresh_derived(&mut self) {
        self.refresh(false);
        // The rows that this would change are decided afresh by the next turn.
        let changes = std::mem::take(&mut self.out.changes);
        for change in changes.into_iter().rev() {
            self.engine.state.absorb(&change.reversed());
        }
    }

    /// Offers what was freed to those who wait, first come first served (03, Queue and shares).
    pub(crate) fn serve_queue(&mut self) {
        let mut budget = crate::waiting::WAITERS_PER_TURN;
        let mut budget_behind = budget;
        loop {
            let mut freed: BTreeSet<PoolId> = std::mem::take(&mut self.engine.state.freed);
            self.engine.state.free_jointly(&mut freed);
            for pool in freed {
                let waited_for = self.engine.state.pools.get(&pool).filter(|pool| !pool.waiters.is_empty());
                if let Some(free) = waited_for.map(|waited_for| waited_for.free(pool.method)) {
                    // A walk that is under way is not begun anew: else those at its end would never be reached while seats
                    // come free all the time. Those whom it has passed are looked at beside it.
                    let walk = self.engine.serving.entry(pool).or_insert(Walk { least: free, ..Walk::default() });
                    walk.again = walk.after.is_some();
                    if walk.again && free > walk.least {
                        (walk.least, walk.behind) = (free, Some(None));
                    }
                }
            }
            let Some((pool, place)) = self.next_to_serve(budget_behind > 0) else {
                return;
            };
            let Some(walk) = self.engine.serving.get_mut(&pool) else {
                return;
            };
            if walk.after.is_some_and(|after| place <= after) {
                budget_behind -= 1;
                walk.behind = Some(Some(place));
            } else if budget > 0 {
                budget -= 1;
                walk.after = Some(place);
            } else {
                return;
            }
            self.try_waiter(place);
        }
    }
}
