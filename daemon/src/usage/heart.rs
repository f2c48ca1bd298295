//! What the room decides, as a machine that is driven from outside: given what the engine holds and the time, what is to be
//! committed; given that it was committed or not, what is to be written. It reads no clock, no file and no database.
//!
//! - Sealed bytes leave it once, in a step. Where the step was not committed, the segment is dropped with its key, the
//!   stored part of it is closed, and the next one begins: no nonce is used twice.
//! - A segment opens with who was logged on after all that its chain has told so far. Then come the events, those too that
//!   happened before it began and could not be sealed into the segment before any more: its key was gone (a restart, an
//!   abandoned step) or its file full. So the step that closes a segment begins no other: the next look does, which sees
//!   the engine as that step left it.
//! - A segment tells of one era: who left or changed keys between the end of collecting and its next beginning is told by
//!   no event. Whatever comes from another era closes it, and the next one opens with who is there by then.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use leasehold_engine::{
    UsagePresence,
    command::UsageStep,
    ids::KeyId,
    row::{UsageEventRow, UsageKind, UsageSegmentRow},
    time::LeaseTime,
};
use leasehold_keys::{
    activation::LicenseId,
    name::KeyName,
    time::WallTime,
    usage::{Begun, ITEMS_MAX, Item, KeySet, REMARK_MAX_BYTES, ROTATE_BYTES, Remark, RemarkCode, SealFault, Tail},
};

use super::{
    draft::{Draft, Facts, Outside, Step, Stored, Write, settle, tail_of},
    look::{Glance, View, Wish},
    naming::Naming,
};

/// Events are sealed at the latest so long after they were first seen; with the time between two looks, a minute.
const SEAL_AFTER_MS: u64 = 58_000;
/// Remarks that wait to be sealed; of more, the first stay.
const REMARKS_MAX: usize = 64;
/// Key sets that are remembered by their numbers.
const SETS_MAX: usize = 4_096;
/// Who is logged on takes no more than half of a file: that is some 250,000 users, and leaves room for what they do.
const PRESENCES_MAX_BYTES: u64 = ROTATE_BYTES as u64 / 2;

enum State {
    /// There may be a segment without a close whose key is gone; the next begins for this reason.
    Unsettled(Begun),
    /// No segment is open; the next begins for this reason.
    Closed(Begun),
    Writing(Box<Draft>),
}

/// A step that was given out and not yet heard of.
struct Pending {
    after: State,
    writes: Vec<Write>,
    remarks: usize,
}

/// See the module.
pub(super) struct Heart {
    /// While a step is pending: what it would be if that were never heard of.
    state: State,
    pending: Option<Pending>,
    remarks: VecDeque<Remark>,
    /// Since when events wait.
    waiting_since: Option<LeaseTime>,
    /// Whatever waits is due.
    hurries: bool,
    keys: HashMap<KeyId, KeyName>,
    sets: HashMap<Arc<[KeyId]>, KeySet>,
}

/// What becomes of the room while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Running,
    /// It ends in order: what is open is closed, and nothing is begun.
    Ending,
}

impl Heart {
    pub(super) fn new() -> Self {
        Self {
            state: State::Unsettled(Begun::Restart),
            pending: None,
            remarks: VecDeque::new(),
            waiting_since: None,
            hurries: false,
            keys: HashMap::new(),
            sets: HashMap::new(),
        }
    }

    /// Takes what is to be said of the server itself; it goes out with the next record.
    pub(super) fn remark(&mut self, at: WallTime, code: RemarkCode, text: &str) -> bool {
        if self.remarks.len() >= REMARKS_MAX {
            return false;
        }
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let mut text: String = text.chars().map(plain).collect();
        let end = (0..=REMARK_MAX_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        self.remarks.push_back(Remark { at, code, text });
        true
    }

    /// Events that wait are due at the next look.
    pub(super) fn hurry(&mut self) {
        self.hurries = true;
    }

    /// What has to be seen for the next step; `None` where none is due.
    pub(super) fn due(&mut self, glance: &Glance, outside: &Outside<'_>, course: Course) -> Option<Wish> {
        let now = glance.now;
        let hurries = std::mem::take(&mut self.hurries) && glance.waiting > 0;
        if glance.waiting == 0 {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(now.lease);
        }
        let collecting = glance.plan.collecting;
        if !collecting && glance.waiting == 0 && !matches!(self.state, State::Writing(_)) {
            // There is no file to say them in.
            self.remarks.clear();
        }
        let draft = match &self.state {
            State::Writing(draft) => draft,
            _ if course == Course::Ending => return None,
            State::Closed(_) | State::Unsettled(_) => {
                let begins = collecting || glance.waiting > 0;
                let settles = matches!(self.state, State::Unsettled(_)) && glance.open;
                return (begins || settles).then_some(Wish { presences: begins, rows: true });
            }
        };
        let facts = glance.plan.license.map(|license| facts(license, glance.plan.role, outside));
        let waited = |since: LeaseTime| now.lease.ms_since(since) >= SEAL_AFTER_MS;
        let events = hurries || glance.waiting >= ITEMS_MAX || self.waiting_since.is_some_and(waited);
        let due = course == Course::Ending
            || !collecting
            || draft.era() != glance.plan.era
            || draft.is_over(facts.as_ref(), now).is_some()
            || events
            || !self.remarks.is_empty()
            || draft.wants_signing(now);
        due.then_some(Wish { presences: false, rows: false })
    }

    /// Keys of a view whose names are not known yet; [`Heart::learn`] takes them.
    pub(super) fn unknown_keys(&self, view: &View) -> Vec<KeyId> {
        let events = view.events.iter().map(|event| &event.keys);
        let presences = view.presences.iter().flatten().map(|presence| &presence.keys);
        let mut unknown: Vec<KeyId> = events
            .chain(presences)
            // Sets that were seen before have no news.
            .filter(|keys| !self.sets.contains_key(*keys))
            .flat_map(|keys| keys.iter().copied())
            .filter(|key| !self.keys.contains_key(key))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Takes the names of keys, which never change.
    pub(super) fn learn(&mut self, names: Vec<(KeyId, KeyName)>) {
        self.keys.extend(names);
    }

    /// Segments of a view that are to be closed without their key. What is stored of their files is to be hashed.
    pub(super) fn to_settle<'v>(&self, view: &'v View) -> impl Iterator<Item = &'v UsageSegmentRow> {
        let unsettled = matches!(self.state, State::Unsettled(_));
        view.rows.iter().flatten().filter(move |row| unsettled && row.closed.is_none())
    }

    /// The next step, where anything is to be stored. [`Heart::committed`] or [`Heart::failed`] is to follow.
    ///
    /// # Errors
    /// Nothing could be sealed; it is as after [`Heart::failed`].
    pub(super) fn compose(
        &mut self,
        view: &View,
        stored: Vec<Stored>,
        outside: &Outside<'_>,
        course: Course,
    ) -> Result<Option<UsageStep>, SealFault> {
        let fallback = match &self.state {
            State::Unsettled(begun) | State::Closed(begun) => *begun,
            State::Writing(_) => Begun::Abandoned,
        };
        let mut step = Step::default();
        let (after, sealed_remarks) = match std::mem::replace(&mut self.state, State::Unsettled(fallback)) {
            State::Writing(draft) => self.go_on(draft, &mut step, view, outside, course)?,
            State::Unsettled(begun) | State::Closed(begun) => {
                let end = self.settle_all(&mut step, view, stored, outside)?;
                match (view.plan.license.or(end.license), &view.presences) {
                    (Some(license), Some(presences)) if course == Course::Running => {
                        let facts = facts(license, view.plan.role, outside);
                        let tail = end.tail.as_ref();
                        let place = (end.next, view.events.first().map_or(view.plan.era, |event| event.era));
                        let mut draft = Draft::begin(&mut step, place, begun, tail, facts, view.now, outside)?;
                        self.open(&mut draft, &mut step, presences, outside)?;
                        self.go_on(Box::new(draft), &mut step, view, outside, course)?
                    }
                    _ => (State::Closed(begun), 0),
                }
            }
        };
        if step.is_empty() {
            self.state = after;
            return Ok(None);
        }
        if view.is_all {
            self.waiting_since = None;
        }
        let (command, writes) = step.into_parts();
        self.pending = Some(Pending { after, writes, remarks: sealed_remarks });
        Ok(Some(command))
    }

    /// Seals what waits into the open segment, and closes that where it is over. Tells how it is then, and how many remarks
    /// were sealed.
    fn go_on(
        &mut self,
        mut draft: Box<Draft>,
        step: &mut Step,
        view: &View,
        outside: &Outside<'_>,
        course: Course,
    ) -> Result<(State, usize), SealFault> {
        let mut items: Vec<Item> = self.remarks.iter().cloned().map(Item::Remark).collect();
        let remarks = items.len();
        let own = view.events.iter().take_while(|event| event.era == draft.era()).count();
        let own = view.events.get(..own).unwrap_or_default();
        items.extend(own.iter().map(|event| self.event(event, outside.naming)));
        let sealed = seal(&mut draft, step, &items)?;
        let events = sealed.saturating_sub(remarks);
        step.sealed_through = own.get(..events).and_then(<[_]>::last).map(|event| event.id);
        let others_wait = own.len() < view.events.len();
        let is_all = view.is_all && !others_wait && sealed == items.len();
        let is_past = others_wait || (is_all && draft.era() != view.plan.era);
        let over = || {
            let facts = view.plan.license.map(|license| facts(license, view.plan.role, outside));
            draft.is_over(facts.as_ref(), view.now)
        };
        let closes = if sealed < items.len() {
            Some(Begun::Size)
        } else if is_past || is_all && (course == Course::Ending || !view.plan.collecting) {
            Some(Begun::Changed)
        } else {
            // Events that wait happened before it was over, most of them.
            over().filter(|_| is_all)
        };
        let state = match closes {
            Some(begun) => {
                draft.close(step, outside)?;
                State::Closed(begun)
            }
            None => {
                if draft.wants_signing(view.now) {
                    draft.sign(step, view.now, outside)?;
                }
                State::Writing(draft)
            }
        };
        Ok((state, sealed.min(remarks)))
    }

    /// The step is durable; this is to be written now.
    pub(super) fn committed(&mut self) -> Vec<Write> {
        let Some(Pending { after, writes, remarks }) = self.pending.take() else { return Vec::new() };
        self.remarks.drain(..remarks.min(self.remarks.len()));
        self.state = after;
        writes
    }

    /// The step was not committed, or that is not known: the key is dropped, and what is stored decides.
    pub(super) fn failed(&mut self) {
        self.pending = None;
    }

    /// Closes what is open and has no key any more.
    fn settle_all(
        &self,
        step: &mut Step,
        view: &View,
        mut stored: Vec<Stored>,
        outside: &Outside<'_>,
    ) -> Result<End, SealFault> {
        let mut end = End { next: 1, license: None, tail: None };
        for row in view.rows.iter().flatten() {
            let row = if row.closed.is_none() {
                let hashed = stored.iter().position(|stored| stored.segment == row.number);
                settle(step, row.clone(), hashed.map(|at| stored.swap_remove(at)), outside)?
            } else {
                row.clone()
            };
            end.next = row.number + 1;
            end.license = Some(row.license);
            end.tail = tail_of(&row, outside.installation.id()).or(end.tail);
        }
        Ok(end)
    }

    /// Tells who is logged on.
    fn open(
        &mut self,
        draft: &mut Draft,
        step: &mut Step,
        presences: &[UsagePresence],
        outside: &Outside<'_>,
    ) -> Result<(), SealFault> {
        let items: Vec<Item> = presences
            .iter()
            .map(|presence| Item::Present {
                since: presence.since,
                user: outside.naming.user(&presence.user),
                counter: presence.counter,
                keys: self.set(&presence.keys),
            })
            .collect();
        let mut left = &items[..];
        while !left.is_empty() {
            if draft.row().bytes >= PRESENCES_MAX_BYTES {
                tracing::error!(
                    left_out = left.len(),
                    "more users are logged on than a usage file can open with; what they do is told, that they were there \
                     before stands in the files before this one"
                );
                break;
            }
            let taken = draft.seal(step, left)?;
            left = left.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn event(&mut self, event: &UsageEventRow, naming: &Naming) -> Item {
        let (at, user, counter, keys) = (event.at, naming.user(&event.user), event.counter, self.set(&event.keys));
        match event.what {
            UsageKind::Logon => Item::Logon { at, user, counter, keys },
            UsageKind::Logoff => Item::Logoff { at, user, counter, keys },
            UsageKind::KeysChanged => Item::KeysChanged { at, user, counter, keys },
        }
    }

    fn set(&mut self, keys: &Arc<[KeyId]>) -> KeySet {
        if let Some(set) = self.sets.get(keys) {
            return set.clone();
        }
        let set: KeySet = keys.iter().filter_map(|key| self.keys.get(key).cloned()).collect();
        if self.sets.len() >= SETS_MAX {
            self.sets.clear();
        }
        self.sets.insert(keys.clone(), set.clone());
        set
    }
}

/// Where the next segment begins.
struct End {
    /// The number of its row.
    next: u32,
    /// The license of the last one.
    license: Option<LicenseId>,
    /// The end that it continues: of this installation's last one.
    tail: Option<Tail>,
}

fn facts(license: LicenseId, role: Option<leasehold_keys::activation::HostRole>, outside: &Outside<'_>) -> Facts {
    Facts { license, role, names: outside.naming.names(), recipients: outside.recipients.to_vec() }
}

/// Seals `items`, as many as the file has room for; tells how many.
fn seal(draft: &mut Draft, step: &mut Step, items: &[Item]) -> Result<usize, SealFault> {
    let mut sealed = 0;
    while let Some(left) = items.get(sealed..).filter(|left| !left.is_empty()) {
        match draft.seal(step, left) {
            Ok(taken) => sealed += taken,
            Err(SealFault::Full) if draft.row().records > 0 => break,
            Err(fault) => return Err(fault),
        }
    }
    Ok(sealed)
}
